//! Real pip and uv through one, two and three tiers: what is installed is what the origin has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::Path;

use pypicache_tests::client::{get, get_json};
use pypicache_tests::package::{Package, Wheel, plain};
use pypicache_tests::process::Server;
use pypicache_tests::python::{Environment, succeeded, text};
use pypicache_tests::upstream::{Fault, Upstream};
use serde_json::Value;
use url::Url;

/// An index with an application and its requirements.
async fn origin() -> (Upstream, Vec<Package>) {
    let upstream = Upstream::start().await;
    let mut old = plain("acme_app-0.9.tar.gz", b"old".to_vec());
    old.yanked = Some("it never worked".to_owned());
    let packages = vec![
        (
            "acme-app",
            Wheel::new("acme-app", "1.0")
                .requires("acme-lib>=2")
                .requires("Acme.Data")
                .build(),
        ),
        ("acme-app", old),
        ("acme-lib", Wheel::new("acme-lib", "2.0").build()),
        ("acme-lib", Wheel::new("acme-lib", "2.1+local.1").build()),
        (
            "acme-data",
            Wheel::new("Acme.Data", "3.0").payload(3_000_000).build(),
        ),
    ];
    for (project, package) in &packages {
        upstream.add(project, package.clone());
    }
    (
        upstream,
        packages.into_iter().map(|(_, package)| package).collect(),
    )
}

fn directory(root: &Path, name: &str) -> std::path::PathBuf {
    let path = root.join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn tier(root: &Path, name: &str, upstream: &Url) -> Server {
    Server::start(&directory(root, name), &["--upstream", upstream.as_str()])
}

/// Installs with both installers and gives the installed trees, which have to be equal.
fn install(root: &Path, name: &str, index: &Url) -> std::collections::BTreeMap<String, String> {
    let by_pip = Environment::new(root, &format!("{name}-pip"));
    succeeded(&by_pip.pip_install(index, &["acme-app"]));
    let by_uv = Environment::new(root, &format!("{name}-uv"));
    succeeded(&by_uv.uv_install(index, &["acme-app"]));
    assert_eq!(by_pip.tree(), by_uv.tree());
    by_uv.tree()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_tiers_give_every_byte_and_every_field_of_the_origin() {
    let root = tempfile::tempdir().unwrap();
    let (upstream, packages) = origin().await;
    let direct = install(root.path(), "direct", &upstream.url());
    let top = tier(root.path(), "top", &upstream.url());
    let team = tier(root.path(), "team", &top.index());
    let laptop = tier(root.path(), "laptop", &team.index());
    assert_eq!(install(root.path(), "chained", &laptop.index()), direct);

    for project in ["acme-app", "acme-lib", "acme-data"] {
        let page = |index: Url| async move {
            get_json(&index.join(&format!("{project}/")).unwrap())
                .await
                .json()
        };
        let (ours, theirs) = (page(laptop.index()).await, page(upstream.url()).await);
        assert_eq!(comparable(&ours), comparable(&theirs), "{project}");
        assert_eq!(
            ours,
            page(top.index()).await,
            "a page is the same at every tier, links included"
        );
        for file in ours["files"].as_array().unwrap() {
            let url = laptop
                .index()
                .join(&format!("{project}/"))
                .unwrap()
                .join(file["url"].as_str().unwrap())
                .unwrap();
            let package = packages
                .iter()
                .find(|package| package.filename == file["filename"])
                .unwrap();
            assert_eq!(get(&url, &[]).await.bytes(), &package.bytes);
            let path = upstream.file_url(package).path().to_owned();
            assert!(
                url.path().replace("%2B", "+").ends_with(&path),
                "{url} ends in the origin's path {path}"
            );
        }
    }
}

/// A page without what has to differ: where the files are, and keys that are nobody else's.
fn comparable(page: &Value) -> Value {
    let mut page = page.clone();
    page.as_object_mut().unwrap().remove("alternate-locations");
    for file in page["files"].as_array_mut().unwrap() {
        let file = file.as_object_mut().unwrap();
        for key in ["url", "data-dist-info-metadata"] {
            file.remove(key);
        }
        file.retain(|_, value| !value.is_null());
    }
    page
}

/// Debian 12 has pip 23.0.1, Python 3.10 brings 22.3 to 23.0; 22.3 to 23.1 cannot read a JSON page with `dist-info-metadata` (PEP 714).
#[tokio::test(flavor = "multi_thread")]
async fn installers_of_the_last_years_install_through_one_and_two_tiers() {
    const PIPS: [&str; 8] = [
        "21.3.1", "22.2.2", "22.3.1", "23.0.1", "23.1.2", "23.3.2", "24.3.1", "25.3",
    ];
    const UVS: [&str; 2] = ["0.4.30", "0.9.5"];
    let root = tempfile::tempdir().unwrap();
    let (upstream, _) = origin().await;
    let team = tier(root.path(), "team", &upstream.url());
    let laptop = tier(root.path(), "laptop", &team.index());
    let newest = install(root.path(), "newest", &laptop.index());
    for index in [team.index(), laptop.index()] {
        for version in PIPS {
            let name = format!("pip-{version}-{}", index.port().unwrap());
            let environment = Environment::new(root.path(), &name);
            succeeded(&environment.pip_install_by(version, &index, &["acme-app"]));
            assert_eq!(environment.tree(), newest, "pip {version}");
        }
        for version in UVS {
            let name = format!("uv-{version}-{}", index.port().unwrap());
            let environment = Environment::new(root.path(), &name);
            succeeded(&environment.uv_install_by(version, &index, &["acme-app"]));
            assert_eq!(environment.tree(), newest, "uv {version}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_install_asks_the_upstream_for_no_file() {
    let root = tempfile::tempdir().unwrap();
    let (upstream, _) = origin().await;
    let cache = tier(root.path(), "cache", &upstream.url());
    let first = install(root.path(), "first", &cache.index());
    upstream.forget();
    assert_eq!(install(root.path(), "second", &cache.index()), first);
    assert_eq!(upstream.requests().len(), 0, "{:#?}", upstream.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_upstream_gone_and_after_a_restart_held_projects_install_and_unknown_ones_get_504() {
    let root = tempfile::tempdir().unwrap();
    let (mut upstream, _) = origin().await;
    upstream.set_lifetime(0, None);
    let mut team = tier(root.path(), "team", &upstream.url());
    let laptop = tier(root.path(), "laptop", &team.index());
    let first = install(root.path(), "first", &laptop.index());
    let team_index = team.index();
    upstream.stop().await;
    team.kill();
    assert!(laptop.stop().success());
    let laptop = tier(root.path(), "laptop", &team_index);
    assert_eq!(install(root.path(), "offline", &laptop.index()), first);

    let unknown = get_json(&laptop.index().join("never-seen/").unwrap()).await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.header("content-type")),
        (504, "application/problem+json")
    );
    let environment = Environment::new(root.path(), "unknown");
    let output = environment.uv_install(&laptop.index(), &["never-seen"]);
    assert!(!output.status.success());
    assert!(
        text(&output).contains("no connection"),
        "uv tells why: {}",
        text(&output)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_html_index_gets_metadata_siblings() {
    let root = tempfile::tempdir().unwrap();
    let (upstream, _) = origin().await;
    upstream.script("/simple/", None, Fault::OldHtml);
    let cache = tier(root.path(), "cache", &upstream.url());
    install(root.path(), "old", &cache.index());
    let page = get_json(&cache.index().join("acme-data/").unwrap()).await.json();
    assert_eq!(page["files"][0]["core-metadata"], true);
    assert!(
        page["files"][0].get("size").is_none(),
        "what the upstream does not tell is not invented"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_directory_stands_in_front() {
    let root = tempfile::tempdir().unwrap();
    let (upstream, _) = origin().await;
    let wheels = directory(root.path(), "wheels");
    let ours = Wheel::new("acme-lib", "9.0").build();
    std::fs::write(wheels.join(&ours.filename), &ours.bytes).unwrap();
    let arguments = [
        "--dir",
        wheels.to_str().unwrap(),
        "--upstream",
        upstream.url().as_str(),
    ]
    .map(str::to_owned);
    let cache = Server::start(
        &directory(root.path(), "cache"),
        &arguments.each_ref().map(String::as_str),
    );
    let tree = install(root.path(), "mixed", &cache.index());
    assert!(tree.contains_key("acme_lib-9.0.dist-info/METADATA"), "{tree:?}");
    assert_eq!(
        upstream.count("acme-lib"),
        0,
        "a name of ours is never asked of the upstream"
    );
}
