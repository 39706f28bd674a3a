//! How old pages are at each tier, how long they are shown, and which files they list.

use std::time::Duration;

use bytes::Bytes;
use pypicache_tests::client::get;
use pypicache_tests::package::{Package, Wheel, plain};
use pypicache_tests::tiers::Tiers;
use pypicache_tests::upstream::{Fault, Upstream};
use pypicache_tests::virtually::{pass, virtually};

use crate::{age, detail};

const SECOND: Duration = Duration::from_secs(1);

async fn six(version: &str) -> (Upstream, Package) {
    let (upstream, package) = (Upstream::start().await, Wheel::new("six", version).build());
    upstream.add("six", package.clone());
    (upstream, package)
}

fn filenames(page: &serde_json::Value) -> Vec<String> {
    let files = page["files"].as_array().unwrap();
    files
        .iter()
        .map(|file| file["filename"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_third_tier_tells_the_origins_age_and_not_the_sum_of_three_lifetimes() {
    let (upstream, _) = six("1.0").await;
    upstream.set_lifetime(600, Some(100));
    let mut tiers = Tiers::start(1, &upstream.url(), "").await;
    virtually(tiers.page("six")).await;
    for expected in [150, 200] {
        tiers.age(50 * SECOND);
        let above = tiers.url("simple/");
        tiers
            .add(&format!("[[source]]\nname = \"pypi\"\nupstream = \"{above}\"\n"))
            .await;
        let (reply, _) = virtually(tiers.page("six")).await;
        assert_eq!(
            (age(&reply), reply.header("cache-control")),
            (expected, "max-age=600, public")
        );
    }
    tiers.age(399 * SECOND);
    let (reply, _) = virtually(tiers.page("six")).await;
    assert_eq!(
        (age(&reply), upstream.count("/simple/six/")),
        (599, 1),
        "within the origin's lifetime"
    );
    tiers.age(SECOND);
    upstream.set_lifetime(600, Some(7));
    let (reply, _) = virtually(tiers.page("six")).await;
    assert_eq!(
        (age(&reply), upstream.count("/simple/six/")),
        (7, 2),
        "past it, all three ask"
    );
}

#[tokio::test(start_paused = true)]
async fn staleness_is_bounded_where_that_is_configured_and_only_there() {
    for (settings, days, status) in [
        ("", 365, 200),
        ("max-stale = \"30 days\"\n", 29, 200),
        ("max-stale = \"30 days\"\n", 31, 504),
    ] {
        let (mut upstream, _) = six("1.0").await;
        let tiers = Tiers::start(1, &upstream.url(), settings).await;
        virtually(tiers.page("six")).await;
        upstream.stop().await;
        tiers.age(days * 86_400 * SECOND);
        let (reply, _) = virtually(tiers.page("six")).await;
        assert_eq!(reply.status.as_u16(), status, "{settings} after {days} days");
        let url = tiers.url("simple/six/");
        let only = get(&url, &[("cache-control", "only-if-cached")]);
        assert_eq!(virtually(only).await.0.status.as_u16(), status);
    }
}

#[tokio::test(start_paused = true)]
async fn lifetimes_are_capped_where_that_is_configured() {
    let (upstream, _) = six("1.0").await;
    let settings = "max-lifetime = 60\nnegative-lifetime = 5\n";
    let tiers = Tiers::start(1, &upstream.url(), settings).await;
    let asked = async |project: &'static str| {
        virtually(tiers.page(project)).await;
        upstream.count(&format!("/simple/{project}/"))
    };
    assert_eq!((asked("six").await, asked("new").await), (1, 1));
    tiers.age(4 * SECOND);
    assert_eq!((asked("six").await, asked("new").await), (1, 1));
    tiers.age(2 * SECOND);
    upstream.add("new", Wheel::new("new", "1.0").build());
    assert_eq!((asked("six").await, asked("new").await), (1, 2));
    assert_eq!(
        virtually(tiers.page("new")).await.0.status.as_u16(),
        200,
        "an upload is seen soon"
    );
    tiers.age(60 * SECOND);
    assert_eq!(asked("six").await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_can_be_seen_by_itself() {
    let (mut upstream, package) = six("1.0").await;
    upstream.add("six", Wheel::new("six", "2.0").build());
    upstream.add("flask", Wheel::new("flask", "3.0").build());
    let tiers = Tiers::start(2, &upstream.url(), "").await;
    virtually(tiers.page("flask")).await;
    let (file, _) = virtually(tiers.file("six")).await;
    virtually(get(&file, &[])).await;
    tiers.assert_held(&[[2, 1, 0], [2, 1, 0]], "one file").await;
    upstream.stop().await;
    tiers.age(700 * SECOND);

    let view = async |path: &str| {
        let url = tiers.url(path);
        virtually(get(&url, &[("accept", "application/vnd.pypi.simple.v1+json")]))
            .await
            .0
    };
    let held = view("held/simple/six/").await.json();
    assert_eq!(filenames(&held), [package.filename.as_str()]);
    assert_eq!(held["versions"], serde_json::json!(["1.0"]));
    let link = tiers
        .url("held/simple/six/")
        .join(held["files"][0]["url"].as_str().unwrap())
        .unwrap();
    assert_eq!(virtually(get(&link, &[])).await.0.bytes(), &package.bytes);
    let metadata = format!("{link}.metadata").parse().unwrap();
    assert_eq!(
        virtually(get(&metadata, &[])).await.0.bytes(),
        package.metadata.as_ref().unwrap()
    );
    assert_eq!(
        filenames(&view("simple/six/").await.json()).len(),
        2,
        "the page itself lists everything"
    );
    assert_eq!(
        view("held/simple/flask/").await.status.as_u16(),
        404,
        "nothing of it is held"
    );
    assert_eq!(view("held/simple/unknown/").await.status.as_u16(), 404);
    assert_eq!(
        view("held/simple/").await.json()["projects"],
        serde_json::json!([{ "name": "six" }])
    );
    let redirect = virtually(get(&tiers.url("held/simple/Six"), &[])).await.0;
    assert_eq!(
        (redirect.status.as_u16(), redirect.header("location")),
        (301, "six/")
    );
}

#[tokio::test(start_paused = true)]
async fn a_setting_decides_what_pages_list_while_nobody_can_be_asked() {
    for (settings, listed) in [("", 2), ("unreachable = \"held\"\n", 1)] {
        let (mut upstream, _) = six("1.0").await;
        upstream.add("six", Wheel::new("six", "2.0").build());
        let tiers = Tiers::start(1, &upstream.url(), settings).await;
        let (file, _) = virtually(tiers.file("six")).await;
        virtually(get(&file, &[])).await;
        tiers.assert_held(&[[1, 1, 0]], settings).await;
        let (fresh, _) = virtually(tiers.page("six")).await;
        assert_eq!(filenames(&fresh.json()).len(), 2, "as long as all is well");
        tiers.age(700 * SECOND);
        upstream.stop().await;
        for _ in 0..2 {
            let (stale, _) = virtually(tiers.page("six")).await;
            assert_eq!(filenames(&stale.json()).len(), listed, "{settings}");
        }
        upstream.restart().await;
        pass(9 * SECOND).await;
        virtually(tiers.page("six")).await;
        let (fresh, _) = virtually(tiers.page("six")).await;
        assert_eq!(filenames(&fresh.json()).len(), 2, "{settings}");
    }
}

#[tokio::test(start_paused = true)]
async fn held_files_that_vanish_are_kept_marked_or_dropped_and_links_to_them_go_on_working() {
    for (retention, listed, yanked) in [("drop", 1, false), ("keep", 2, false), ("mark", 2, true)] {
        let (upstream, package) = six("1.0").await;
        upstream.add("six", Wheel::new("six", "1.5").build());
        let settings = format!("vanished = \"{retention}\"\n");
        let tiers = Tiers::start(2, &upstream.url(), &settings).await;
        let (file, _) = virtually(tiers.file("six")).await;
        virtually(get(&file, &[])).await;
        tiers.assert_held(&[[1, 1, 0], [1, 1, 0]], retention).await;
        tiers.age(700 * SECOND);
        upstream.remove("six");
        upstream.add("six", Wheel::new("six", "2.0").build());
        let (page, _) = virtually(tiers.page("six")).await;
        let page = page.json();
        assert_eq!(filenames(&page).len(), listed, "{retention}: {page}");
        if listed == 2 {
            assert_eq!(
                page["files"][1]["filename"], package.filename,
                "only what is held"
            );
            assert_eq!(
                page["files"][1]["yanked"] != serde_json::json!(false),
                yanked,
                "{retention}"
            );
        }
        let (locked, _) = virtually(get(&file, &[])).await;
        assert_eq!(locked.bytes(), &package.bytes, "{retention}");

        let body = r#"{"meta":{"api-version":"1.4","project-status":"x"},"name":"six","project-status":{"status":"quarantined"},"versions":[],"files":[]}"#;
        let quarantined = Fault::Document(
            200,
            "application/vnd.pypi.simple.v1+json",
            body.replace(r#","project-status":"x""#, "").into(),
        );
        upstream.script("/simple/", None, quarantined);
        tiers.age(700 * SECOND);
        let (page, _) = virtually(tiers.page("six")).await;
        assert_eq!(filenames(&page.json()).len(), 0, "{retention}: never offered");
        let (locked, _) = virtually(get(&file, &[])).await;
        assert_eq!(locked.status.as_u16(), 404, "{retention}: nor handed out");
    }
}

#[tokio::test(start_paused = true)]
async fn other_bytes_under_a_known_name_do_not_replace_the_held_ones() {
    let upstream = Upstream::start().await;
    let (old, new) = (
        plain("big-1.0.tar.gz", b"old".to_vec()),
        plain("big-1.0.tar.gz", b"new!".to_vec()),
    );
    upstream.add("big", old.clone());
    let tiers = Tiers::start(1, &upstream.url(), "").await;
    let (file, _) = virtually(tiers.file("big")).await;
    virtually(get(&file, &[])).await;
    tiers.assert_held(&[[1, 1, 0]], "the old bytes").await;
    upstream.remove("big");
    upstream.add("big", new.clone());
    tiers.age(700 * SECOND);
    let (page, _) = virtually(tiers.page("big")).await;
    assert_eq!(page.json()["files"][0]["hashes"]["sha256"], old.sha256);
    let (again, _) = virtually(tiers.file("big")).await;
    assert_eq!(virtually(get(&again, &[])).await.0.bytes(), &old.bytes);
}

#[tokio::test(start_paused = true)]
async fn the_project_list_is_held_too() {
    let (mut upstream, _) = six("1.0").await;
    let tiers = Tiers::start(2, &upstream.url(), "").await;
    let list = async || virtually(tiers.get("simple/")).await.0;
    let first = list().await;
    assert_eq!(first.status.as_u16(), 200);
    tiers.age(700 * SECOND);
    pass(SECOND).await;
    upstream.stop().await;
    let stale = list().await;
    assert_eq!((stale.status.as_u16(), stale.bytes()), (200, first.bytes()));
    assert!(age(&stale) >= 700 && stale.header("cache-status").contains("stale-served"));
    let never: Bytes = virtually(tiers.page("unknown")).await.0.bytes().clone();
    assert!(!never.is_empty() && detail(&virtually(tiers.page("unknown")).await.0).contains("no connection"));
}
