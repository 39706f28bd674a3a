//! What clients get while an upstream is slow, broken, gone, or somebody else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pypicache_core::cached_source::{CacheOptions, CachedSource};
use pypicache_core::http_source::{ClientOptions, HttpClient, HttpOptions, HttpSource};
use pypicache_core::model::ProjectName;
use pypicache_core::source::IndexSourceExt as _;
use pypicache_core::store::DiskStore;
use pypicache_tests::client::{get, get_json};
use pypicache_tests::laboratory::Laboratory;
use pypicache_tests::package::Wheel;
use pypicache_tests::process::Server;
use pypicache_tests::tiers::files_below;
use pypicache_tests::upstream::{Fault, Upstream};

const JSON: (&str, &str) = ("accept", "application/vnd.pypi.simple.v1+json");

async fn six() -> Laboratory {
    Laboratory::new("six", Wheel::new("six", "1.17.0").build()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn three_different_answers_absent_unknown_and_held() {
    let mut laboratory = six().await;
    laboratory.upstream.set_lifetime(0, None);
    let held = laboratory.get("six").await;
    let absent = laboratory.get("nobody-has-this").await;
    assert_eq!(
        (absent.status.as_u16(), absent.header("content-type")),
        (404, "application/problem+json")
    );
    laboratory.upstream.stop().await;
    let unknown = laboratory.get("never-asked").await;
    assert_eq!(unknown.status.as_u16(), 504);
    let detail = unknown.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("never-asked")
            && detail.contains(laboratory.upstream.url().as_str())
            && detail.contains("no connection"),
        "{detail}"
    );
    let stale = laboratory.get("six").await;
    assert_eq!((stale.status.as_u16(), stale.bytes()), (200, held.bytes()));
    assert!(stale.header("cache-status").contains("stale-served"));
    laboratory.upstream.restart().await;
    assert_eq!(
        laboratory.get("never-asked").await.status.as_u16(),
        404,
        "and back again by itself"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_never_becomes_content() {
    let mut laboratory = six().await;
    laboratory.upstream.set_lifetime(0, None);
    let held = laboratory.get("six").await;
    laboratory.keeps_pages(1).await;
    let nonsense = [
        Fault::Document(
            200,
            "text/html",
            "<html>Welcome to the hotel <a href='/login'>log in</a></html>".into(),
        ),
        Fault::Document(
            200,
            "application/vnd.pypi.simple.v1+json",
            r#"{"meta":{"api-version":"1.0"},"files":"#.into(),
        ),
        Fault::Document(
            200,
            "application/vnd.pypi.simple.v1+json",
            r#"{"meta":{"api-version":"1.0"},"files":[]}"#.into(),
        ),
        Fault::Document(200, "application/vnd.pypi.simple.v2+json", "{}".into()),
        Fault::Document(200, "text/plain", "fine".into()),
        Fault::Document(500, "text/plain", "".into()),
        Fault::Document(503, "text/html", "<a href='six-1.0.tar.gz'>x</a>".into()),
        Fault::Document(429, "text/plain", "".into()),
        Fault::Document(403, "text/plain", "".into()),
        Fault::Redirect("http://portal.example/login".into()),
        Fault::CutAfter(20),
        Fault::Reset,
    ];
    for fault in nonsense {
        laboratory.upstream.behave();
        // A new one each time: this one would stop asking an upstream that keeps talking nonsense.
        laboratory.crash();
        laboratory.upstream.script("/simple/", None, fault.clone());
        let reply = laboratory.get("six").await;
        assert_eq!(
            (reply.status.as_u16(), reply.bytes()),
            (200, held.bytes()),
            "{fault:?}"
        );
        // An empty page is a page where nothing was held, and a cut 404 has said what it had to say.
        let tells = matches!(&fault, Fault::Document(200, _, body) if body.ends_with(b"[]}"))
            || matches!(fault, Fault::CutAfter(_));
        if !tells {
            let unknown = laboratory.get("unknown").await;
            assert_eq!(unknown.status.as_u16(), 504, "{fault:?}");
        }
    }
    laboratory.upstream.behave();
    laboratory.crash();
    assert_eq!(
        laboratory.get("unknown").await.status.as_u16(),
        404,
        "nothing of it was kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_upstream_does_not_hold_up_what_is_held() {
    let laboratory = six().await;
    laboratory.upstream.set_lifetime(0, None);
    let held = laboratory.get("six").await;
    laboratory.upstream.script("/simple/", None, Fault::Hang);
    let (known, unknown) = tokio::join!(laboratory.get("six"), laboratory.get("unknown"));
    assert_eq!((known.status.as_u16(), known.bytes()), (200, held.bytes()));
    assert_eq!(unknown.status.as_u16(), 504);
    assert!(
        unknown.json()["detail"]
            .as_str()
            .unwrap()
            .contains("no answer within")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_if_cached_and_offline_ask_nobody() {
    let laboratory = six().await;
    let only = [JSON, ("cache-control", "only-if-cached")];
    assert_eq!(get(&laboratory.page("six"), &only).await.status.as_u16(), 504);
    assert_eq!(laboratory.upstream.requests().len(), 0);
    laboratory.get("six").await;
    assert_eq!(get(&laboratory.page("six"), &only).await.status.as_u16(), 200);
    let Laboratory {
        cache,
        root,
        upstream,
        ..
    } = laboratory;
    assert!(cache.stop().success());
    upstream.forget();
    let offline = Server::start(root.path(), &["--offline", "--upstream", upstream.url().as_str()]);
    assert_eq!(
        get_json(&offline.index().join("six/").unwrap())
            .await
            .status
            .as_u16(),
        200
    );
    assert_eq!(
        get_json(&offline.index().join("other/").unwrap())
            .await
            .status
            .as_u16(),
        504
    );
    assert_eq!(upstream.requests().len(), 0);
}

/// On one thread nothing is written before somebody waits for it, so that this fails where nobody does.
#[tokio::test]
async fn what_was_handed_out_can_be_waited_for_until_it_is_written() {
    let (root, upstream) = (tempfile::tempdir().unwrap(), Upstream::start().await);
    let store = DiskStore::open(root.path(), None).unwrap();
    let client = HttpClient::new(ClientOptions::default()).unwrap();
    let source = HttpSource::new("pypi", upstream.url(), client, HttpOptions::default());
    let cache = CachedSource::new("pypi", source, store.clone(), CacheOptions::default());
    for number in 0..20 {
        let name = format!("leaf-{number}");
        upstream.add(&name, Wheel::new(&name, "1.0").build());
        let project = ProjectName::parse(&name).unwrap();
        assert!(cache.get_page(&project).await.unwrap().is_some());
    }
    store.flush().await;
    assert_eq!(files_below(&root.path().join("v1/records/pages")), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn equals_stand_in_for_each_other_and_files_keep_their_path() {
    let root = tempfile::tempdir().unwrap();
    let (upstream, team_root) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let package = Wheel::new("six", "1.17.0").build();
    upstream.add("six", package.clone());
    let mut team = Server::start(team_root.path(), &["--upstream", upstream.url().as_str()]);
    let laptop = Server::start(
        root.path(),
        &[
            "--upstream",
            team.index().as_str(),
            "--upstream",
            upstream.url().as_str(),
        ],
    );
    let page = laptop.index().join("six/").unwrap();
    let by_team = get_json(&page).await.json();
    team.kill();
    let file = page.join(by_team["files"][0]["url"].as_str().unwrap()).unwrap();
    assert_eq!(
        get(&file, &[]).await.bytes(),
        &package.bytes,
        "the other equal has the file under the same path"
    );
}
