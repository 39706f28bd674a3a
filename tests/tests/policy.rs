//! Rules for what may enter: by name, version, kind, age; on pages and for files, for what is held already, through
//! tiers; and explained wherever somebody meets them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use pypicache_tests::client::{get, get_json};
use pypicache_tests::package::{Package, Wheel, sdist};
use pypicache_tests::process::{Server, command};
use pypicache_tests::python::{Environment, text};
use pypicache_tests::tiers::Tiers;
use pypicache_tests::upstream::Upstream;

/// The moment at which a manual clock stands.
const NOW: &str = "2023-11-14T22:13:20Z";

fn source(upstream: &Upstream) -> String {
    format!("[[source]]\nname = \"pypi\"\nupstream = \"{}\"\n", upstream.url())
}

fn at(time: &str, package: Package) -> Package {
    Package {
        upload_time: time.to_owned(),
        ..package
    }
}

async fn names(tiers: &Tiers, project: &str) -> Vec<String> {
    let page = tiers.page(project).await.json();
    let files = page["files"].as_array().unwrap();
    files
        .iter()
        .map(|file| file["filename"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_hide_files_on_pages_and_refuse_their_links() {
    let (upstream, mut tiers) = (Upstream::start().await, Tiers::none());
    let (old, new, source_file) = (
        Wheel::new("six", "1.0").build(),
        Wheel::new("six", "2.0").build(),
        sdist("six", "2.0"),
    );
    for package in [&old, &new, &source_file] {
        upstream.add("six", package.clone());
    }
    upstream.add("evil-x", Wheel::new("evil-x", "1.0").build());
    let rules = "[policy]\n[[policy.rule]]\nname = \"old\"\ndeny = [\"six<1.5\", \"evil-*\"]\nreason = \"see the wiki\"\n\
                 [[policy.rule]]\nname = \"wheels-only\"\ndeny = [\"*\"]\nfiles = [\"sdist\"]\n";
    tiers.add(&format!("{rules}{}", source(&upstream))).await;

    let page = tiers.page("six").await;
    assert_eq!(
        page.header("x-pypicache-rule"),
        "kept out: 1 by old, 1 by wheels-only"
    );
    assert_eq!(
        page.json()["versions"],
        serde_json::json!(["2.0"]),
        "a release without files is not there"
    );
    assert_eq!(names(&tiers, "six").await, std::slice::from_ref(&new.filename));
    let html = get(&tiers.url("simple/six/"), &[("accept", "text/html")]).await;
    assert!(
        !String::from_utf8_lossy(html.bytes()).contains("six-1.0"),
        "in both formats"
    );

    let path = |package: &Package| format!("files/pypi{}", upstream.file_url(package).path());
    for link in [path(&old), path(&source_file), format!("{}.metadata", path(&old))] {
        let reply = tiers.get(&link).await;
        assert_eq!(reply.status.as_u16(), 451, "{link}");
        assert!(
            reply.json()["detail"].as_str().unwrap().contains("rule"),
            "{link}"
        );
        assert!(!reply.header("x-pypicache-rule").is_empty());
    }
    assert_eq!(tiers.get(&path(&new)).await.bytes(), &new.bytes);
    assert_eq!(
        upstream.count(&old.filename),
        0,
        "what is kept out is not fetched either"
    );

    let evil = tiers.page("evil-x").await;
    assert_eq!(
        evil.status.as_u16(),
        451,
        "not 404: that would send installers to another index"
    );
    assert!(
        evil.json()["detail"].as_str().unwrap().contains("see the wiki"),
        "{:?}",
        evil.json()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_counts_for_what_is_held_and_for_the_tiers_below() {
    let upstream = Upstream::start().await;
    let package = Wheel::new("six", "1.0").build();
    upstream.add("six", package.clone());
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("rules.toml");
    let start = |rules: &str| {
        std::fs::write(&config, format!("prefetch = false\n{rules}{}", source(&upstream))).unwrap();
        Server::start(home.path(), &["--config", config.to_str().unwrap()])
    };
    let open = start("");
    let page = open.index().join("six/").unwrap();
    let href = get_json(&page).await.json()["files"][0]["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let link = page.join(&href).unwrap();
    assert_eq!(get(&link, &[]).await.bytes(), &package.bytes);
    assert!(open.stop().success(), "the file is held now");
    drop(page);
    let ruled = start("[policy]\n[[policy.rule]]\nname = \"no-six\"\ndeny = [\"six\"]\n");
    for path in [
        link.path().to_owned(),
        format!("{}.metadata", link.path()),
        "/simple/six/".to_owned(),
    ] {
        assert_eq!(
            get_json(&ruled.url.join(&path).unwrap()).await.status.as_u16(),
            451,
            "{path}"
        );
    }

    let mut laptop = Tiers::none();
    let config = format!(
        "[[source]]\nname = \"pypi\"\nupstream = [\"{}\", \"{}\"]\n",
        ruled.index(),
        upstream.url()
    );
    laptop.add(&config).await;
    upstream.forget();
    let page = laptop.page("six").await;
    assert_eq!(
        page.status.as_u16(),
        451,
        "the equal behind the team's tier is not asked instead"
    );
    assert!(
        page.json()["detail"].as_str().unwrap().contains("no-six"),
        "{:?}",
        page.json()
    );
    assert!(
        page.json()["detail"].as_str().unwrap().contains("told by"),
        "it says which tier"
    );
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn young_files_are_seen_when_they_come_of_age() {
    let (upstream, mut tiers) = (Upstream::start().await, Tiers::none());
    upstream.add(
        "six",
        at("2023-11-01T00:00:00Z", Wheel::new("six", "1.0").build()),
    );
    upstream.add(
        "six",
        at("2023-11-13T22:13:20Z", Wheel::new("six", "2.0").build()),
    );
    upstream.add("certifi", at(NOW, Wheel::new("certifi", "9.0").build()));
    upstream.add("new", at(NOW, Wheel::new("new", "1.0").build()));
    let rules = "[policy]\ncool-down = \"3 days\"\ncool-down-exempt = [\"certifi\"]\n";
    tiers.add(&format!("{rules}{}", source(&upstream))).await;
    assert_eq!(names(&tiers, "six").await, ["six-1.0-py3-none-any.whl"]);
    assert_eq!(names(&tiers, "certifi").await, ["certifi-9.0-py3-none-any.whl"]);
    let young = tiers.page("new").await;
    assert_eq!(young.status.as_u16(), 451);
    assert!(
        young.json()["detail"]
            .as_str()
            .unwrap()
            .contains("let in from 2023-11-17T22:13:20Z"),
        "{:?}",
        young.json()
    );
    tiers.age(Duration::from_secs(2 * 86_400 - 1));
    assert_eq!(names(&tiers, "six").await, ["six-1.0-py3-none-any.whl"]);
    tiers.age(Duration::from_secs(1));
    assert_eq!(
        names(&tiers, "six").await,
        ["six-1.0-py3-none-any.whl", "six-2.0-py3-none-any.whl"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn yanked_files_only_by_their_links() {
    let (upstream, mut tiers) = (Upstream::start().await, Tiers::none());
    let yanked = Package {
        yanked: Some("oops".to_owned()),
        ..Wheel::new("six", "2.0").build()
    };
    upstream.add("six", Wheel::new("six", "1.0").build());
    upstream.add("six", yanked.clone());
    tiers
        .add(&format!("[policy]\nyanked = \"locked\"\n{}", source(&upstream)))
        .await;
    assert_eq!(names(&tiers, "six").await, ["six-1.0-py3-none-any.whl"]);
    let link = format!("files/pypi{}", upstream.file_url(&yanked).path());
    assert_eq!(tiers.get(&link).await.bytes(), &yanked.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_hides_nothing_and_tells_all() {
    let (upstream, mut tiers) = (Upstream::start().await, Tiers::none());
    let package = Wheel::new("six", "1.0").build();
    upstream.add("six", package.clone());
    tiers
        .add(&format!(
            "[policy]\ndry-run = true\n[[policy.rule]]\nname = \"no-six\"\ndeny = [\"six\"]\n{}",
            source(&upstream)
        ))
        .await;
    let page = tiers.page("six").await;
    assert_eq!(page.header("x-pypicache-rule"), "kept out: 1 by no-six (dry run)");
    assert_eq!(get(&tiers.file("six").await, &[]).await.bytes(), &package.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn why_walks_the_tiers_and_names_the_rule() {
    let (upstream, mut tiers, home) = (
        Upstream::start().await,
        Tiers::none(),
        tempfile::tempdir().unwrap(),
    );
    upstream.add("six", Wheel::new("six", "1.0").build());
    upstream.add("six", Wheel::new("six", "2.0").build());
    tiers
        .add(&format!(
            "[policy]\n[[policy.rule]]\nname = \"no-old\"\ndeny = [\"six<2\"]\nreason = \"too old\"\n{}",
            source(&upstream)
        ))
        .await;
    let team = tiers.url("simple/");
    tiers
        .add(&format!("[[source]]\nname = \"pypi\"\nupstream = \"{team}\"\n"))
        .await;
    let asked = |requirement: &'static str| {
        let mut why = command(home.path());
        why.args(["why", requirement, "--server", tiers.url("").as_str()]);
        let output = why.output().unwrap();
        (output.status.code(), text(&output))
    };
    let (code, all) = asked("six");
    assert_eq!(code, Some(0), "{all}");
    assert!(
        all.contains("six-1.0-py3-none-any.whl  kept out by rule no-old: too old"),
        "{all}"
    );
    assert!(all.contains("six-2.0-py3-none-any.whl  offered"), "{all}");
    assert_eq!(all.matches("(index /)").count(), 2, "two tiers: {all}");
    let (_, one) = asked("six==2.0");
    assert!(!one.contains("six-1.0-py3"), "{one}");
    let (_, unknown) = asked("no-such");
    assert!(unknown.contains("does not have it"), "{unknown}");
    // uv says what the server said.
    let uv = Environment::new(home.path(), "uv").uv_install(&tiers.url("simple/"), &["six==1.0"]);
    assert!(!uv.status.success());
    let reply = get_json(&tiers.url("-/why/six?version=1.0.0")).await.json();
    assert_eq!(reply["above"]["files"][0]["rule"], "no-old");
}
