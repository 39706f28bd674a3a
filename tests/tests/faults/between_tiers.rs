//! What tiers tell each other: standard headers, nothing private needed.

use std::time::Duration;

use pypicache_tests::client::get;
use pypicache_tests::package::Wheel;
use pypicache_tests::tiers::Tiers;
use pypicache_tests::upstream::Upstream;
use pypicache_tests::virtually::virtually;
use tokio::net::TcpListener;

use crate::detail;

const JSON: (&str, &str) = ("accept", "application/vnd.pypi.simple.v1+json");

#[tokio::test(start_paused = true)]
async fn a_loop_is_told_as_a_story() {
    for tier_count in [1, 2, 3] {
        let mut listeners = Vec::new();
        for _ in 0..tier_count {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let urls: Vec<_> = listeners
            .iter()
            .map(|l| format!("http://{}/simple/", l.local_addr().unwrap()))
            .collect();
        let mut tiers = Tiers::none();
        for (number, listener) in listeners.into_iter().enumerate() {
            let next = &urls[(number + 1) % tier_count];
            tiers.add_at(
                listener,
                &format!("[[source]]\nname = \"pypi\"\nupstream = \"{next}\"\n"),
            );
        }
        let (reply, waited) = virtually(tiers.page("six")).await;
        assert_eq!(reply.status.as_u16(), 508, "{tier_count}");
        let told = detail(&reply);
        let story = "the upstreams form a loop: pypicache-";
        assert!(
            told.starts_with(story)
                && told.contains("was asked for /simple/six/ by itself (Via: 1.1 pypicache-"),
            "{told}"
        );
        assert_eq!(told.matches("1.1 pypicache-").count(), tier_count, "{told}");
        assert!(waited <= crate::ms(100), "{waited:?}");
        let (file, _) = virtually(tiers.get("files/pypi/x/six-1.0.tar.gz")).await;
        assert_eq!(file.status.as_u16(), 508);
        tiers.assert_held(&vec![[0, 0, 0]; tier_count], "a loop").await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_tier_says_what_it_did() {
    let upstream = Upstream::start().await;
    upstream.add("six", Wheel::new("six", "1.0").build());
    let tiers = Tiers::start(3, &upstream.url(), "").await;
    let (first, _) = virtually(tiers.page("six")).await;
    let told = first.header("cache-status").to_owned();
    assert_eq!(told.matches("/pypi\"; fwd=uri-miss; stored").count(), 3, "{told}");
    let (second, _) = virtually(tiers.page("six")).await;
    let told = second.header("cache-status").to_owned();
    assert!(
        told.ends_with("/pypi\"; hit") && told.matches("pypicache-").count() == 1,
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn how_far_a_question_goes_is_for_the_client_to_say() {
    let upstream = Upstream::start().await;
    upstream.add("six", Wheel::new("six", "1.0").build());
    let tiers = Tiers::start(3, &upstream.url(), "").await;
    let context = async |cache_control: &'static str| {
        let url = tiers.url("simple/six/");
        let (reply, _) = virtually(get(&url, &[JSON, ("cache-control", cache_control)])).await;
        (reply.status.as_u16(), upstream.count("/simple/six/"))
    };
    assert_eq!(
        context("only-if-cached").await,
        (504, 0),
        "nothing is held, and nobody is asked"
    );
    assert_eq!(context("max-age=0").await, (200, 1));
    assert_eq!(
        context("max-age=0").await,
        (200, 1),
        "pip says that with each page; it means nothing by it"
    );
    assert_eq!(context("no-cache").await, (200, 2), "all the way up");
    tiers.age(Duration::from_secs(700));
    assert_eq!(context("only-if-cached").await, (200, 2), "however old");
    assert_eq!(context("max-stale").await, (200, 3));
}
