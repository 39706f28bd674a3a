//! Upstreams as people configure them and as they are: wrong URLs, secrets in URLs, passwords in files, indexes with habits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::Path;

use pypicache_tests::client::{get, get_json};
use pypicache_tests::package::{Wheel, noise, plain};
use pypicache_tests::process::Server;
use pypicache_tests::python::{Environment, succeeded};
use pypicache_tests::upstream::{Fault, Upstream};
use serde_json::{Value, json};
use tempfile::TempDir;

const JSON: &str = "application/vnd.pypi.simple.v1+json";

fn started(root: &TempDir, name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Server {
    let home = root.path().join(name);
    std::fs::create_dir_all(&home).unwrap();
    Server::start_with(&home, arguments, variables)
}

/// A tier at the upstream, and another one in front of it.
fn two_tiers(root: &TempDir, arguments: &[&str], variables: &[(&str, &str)]) -> [Server; 2] {
    let team = started(root, "team", arguments, variables);
    let laptop = started(root, "laptop", &["--upstream", team.index().as_str()], &[]);
    [team, laptop]
}

async fn page(server: &Server, project: &str) -> (u16, Value) {
    let reply = get_json(&server.index().join(&format!("{project}/")).unwrap()).await;
    (reply.status.as_u16(), reply.json())
}

fn site(body: &str) -> Fault {
    Fault::Document(200, "text/html", body.to_owned().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_404s_of_a_url_without_an_index_mean_nothing_and_the_right_url_is_named() {
    let upstream = Upstream::start().await;
    upstream.add("acme", Wheel::new("acme", "1.0").build());
    let root_of = |path: &str| upstream.url().join(path).unwrap();
    let home = r##"<html><body><a href="/about/">About</a><a href="#top">top</a><a href="https://other.example/">x</a></body></html>"##;
    upstream.script("/site/", None, site(home));
    for (path, hint) in [
        ("../", "did you mean"),
        ("../nothing/here/", "root-list"),
        ("../site/", "no index"),
    ] {
        let root = tempfile::tempdir().unwrap();
        upstream.forget();
        let url = root_of(path);
        let tiers = two_tiers(&root, &["--upstream", url.as_str()], &[]);
        for server in &tiers {
            for _ in 0..2 {
                let (status, told) = page(server, "acme").await;
                let detail = told["detail"].to_string();
                assert_eq!(status, 504, "{path}: {detail}");
                assert!(
                    detail.contains("no index at this URL") || path == "../site/",
                    "{path}: {detail}"
                );
                assert!(detail.contains(hint) || path == "../site/", "{path}: {detail}");
            }
            let why = get(&server.index().join("../-/why/acme").unwrap(), &[])
                .await
                .json()
                .to_string();
            assert!(!why.contains("does not have it"), "{why}");
        }
        if path == "../" {
            let (_, told) = page(&tiers[0], "other").await;
            assert!(told["detail"].to_string().contains("/simple/?"), "{told}");
            let roots = upstream.requests().iter().filter(|seen| seen.path == "/").count();
            assert_eq!(roots, 1, "asked once");
            let index = tiers[1].index();
            let output = Environment::new(root.path(), "uv").uv_install(&index, &["acme"]);
            assert!(pypicache_tests::python::text(&output).contains("did you mean"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_of_an_index_are_unknown_at_the_first_request() {
    let listing = r#"<html><head><title>Index of /simple/</title></head><body><a href="../">../</a><a href="acme/">acme/</a></body></html>"#;
    let login = Fault::Document(403, "text/html", "<html>no listing</html>".into());
    let roots = [None, Some(site(listing)), Some(login)];
    for root_answer in roots {
        let upstream = Upstream::start().await;
        upstream.add("acme", Wheel::new("acme", "1.0").build());
        if let Some(answer) = &root_answer {
            // The first rule that fits counts: pages are as they are.
            upstream.script("/simple/acme/", None, Fault::Delay(std::time::Duration::ZERO));
            upstream.script(
                "/simple/unknown/",
                None,
                Fault::Document(404, "text/html", "<html>404</html>".into()),
            );
            upstream.script("/simple/", None, answer.clone());
        }
        let root = tempfile::tempdir().unwrap();
        for server in &two_tiers(&root, &["--upstream", upstream.url().as_str()], &[]) {
            assert_eq!(page(server, "unknown").await.0, 404, "{root_answer:?}");
            assert_eq!(page(server, "acme").await.0, 200, "{root_answer:?}");
        }
    }
    let upstream = Upstream::start().await;
    upstream.script("/simple/", None, Fault::Document(404, "text/plain", "".into()));
    let root = tempfile::tempdir().unwrap();
    let config = root.path().join("c.toml");
    let text = format!(
        "[[source]]\nname = \"pypi\"\nupstream = \"{}\"\nroot-list = false\n",
        upstream.url()
    );
    std::fs::write(&config, text).unwrap();
    let server = started(&root, "told", &["--config", config.to_str().unwrap()], &[]);
    assert_eq!(page(&server, "unknown").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_whose_empty_page_means_absent_lets_the_next_source_be_asked() {
    let (nexus, pypi) = (Upstream::start().await, Upstream::start().await);
    pypi.add("acme", Wheel::new("acme", "1.0").build());
    nexus.script(
        "/simple/acme/",
        None,
        site("<html><head><title>Links for acme</title></head><body><h1>Links for acme</h1></body></html>"),
    );
    let root = tempfile::tempdir().unwrap();
    for (key, status) in [("", 504), ("empty = \"absent\"\n", 200)] {
        let text = format!(
            "[[source]]\nname = \"nexus\"\nupstream = \"{}\"\n{key}[[source]]\nname = \"pypi\"\nupstream = \"{}\"\n",
            nexus.url(),
            pypi.url()
        );
        let config = root.path().join("c.toml");
        std::fs::write(&config, text).unwrap();
        let home = tempfile::tempdir().unwrap();
        for server in &two_tiers(&home, &["--config", config.to_str().unwrap()], &[]) {
            let (got, told) = page(server, "acme").await;
            assert_eq!(got, status, "{key}: {told}");
            if status == 504 {
                assert!(told["detail"].to_string().contains("empty = "), "{told}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_url_is_shown_nowhere_and_is_no_part_of_links() {
    const SECRET: &str = "t0ken-of-ann";
    let upstream = Upstream::start().await;
    let wheel = Wheel::new("acme", "1.0").build();
    upstream.add("acme", wheel.clone());
    let host = upstream.url();
    let files = |secret: &str| {
        json!([{
            "filename": wheel.filename, "hashes": { "sha256": wheel.sha256 },
            "url": host.join(&format!("/{secret}/files/{}", wheel.filename)).unwrap().as_str(),
        }])
    };
    let serve = |secret: &str| {
        upstream.behave();
        let page = json!({ "meta": { "api-version": "1.0" }, "name": "acme", "files": files(secret) });
        upstream.script(
            &format!("/{secret}/simple/acme/"),
            None,
            Fault::Document(200, JSON, page.to_string().into()),
        );
        upstream.script(
            &format!("/{secret}/simple/gone/"),
            None,
            Fault::Document(500, "text/plain", "".into()),
        );
        let bytes = Fault::Document(200, "application/octet-stream", wheel.bytes.clone());
        upstream.script(&format!("/{secret}/files/"), None, bytes);
    };
    serve(SECRET);
    let url = format!("{}{{env:INDEX_TOKEN}}/simple/", host.join("/").unwrap());
    let root = tempfile::tempdir().unwrap();
    let tiers = two_tiers(
        &root,
        &["--verbose", "--upstream", &url],
        &[("INDEX_TOKEN", SECRET)],
    );
    let mut seen = String::new();
    for server in &tiers {
        let (status, told) = page(server, "acme").await;
        assert_eq!(status, 200, "{told}");
        let href = told["files"][0]["url"].as_str().unwrap().to_owned();
        assert!(
            href.ends_with(&format!("files/pypi/files/{}", wheel.filename)),
            "{href}"
        );
        let url = server.index().join("acme/").unwrap().join(&href).unwrap();
        assert_eq!(get(&url, &[]).await.bytes(), &wheel.bytes);
        let (status, gone) = page(server, "gone").await;
        assert_eq!(status, 504);
        seen.push_str(&format!("{told} {gone} {}", server.output()));
        for path in ["../metrics", "../-/why/acme", "../-/why/gone", "../"] {
            let reply = get(&server.index().join(path).unwrap(), &[]).await;
            seen.push_str(&String::from_utf8_lossy(reply.bytes()));
        }
    }
    assert!(!seen.contains(SECRET), "{seen}");
    let [mut team, laptop] = tiers;
    drop(laptop);
    team.kill();
    assert!(!on_disk(root.path()).contains(SECRET));

    // Another one takes its place: what is held goes on, and the links of held pages lead there.
    serve("an0ther");
    let fresh = tempfile::tempdir().unwrap();
    copy_records(root.path(), fresh.path());
    let team = started(
        &fresh,
        "team",
        &["--upstream", &url],
        &[("INDEX_TOKEN", "an0ther")],
    );
    let (_, told) = page(&team, "acme").await;
    let url = team
        .index()
        .join("acme/")
        .unwrap()
        .join(told["files"][0]["url"].as_str().unwrap())
        .unwrap();
    assert_eq!(get(&url, &[]).await.bytes(), &wheel.bytes);
}

/// All that lies in files below a directory and is text.
fn on_disk(directory: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => text.push_str(&on_disk(&path)),
            path => text.push_str(&String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default())),
        }
    }
    text
}

/// The held pages without the files.
fn copy_records(from: &Path, to: &Path) {
    let records = "team/cache/v1/records";
    std::fs::create_dir_all(to.join("team/cache/v1")).unwrap();
    let status = std::process::Command::new("cp")
        .arg("-r")
        .arg(from.join(records))
        .arg(to.join(records))
        .status();
    assert!(status.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_netrc_file_that_cannot_be_read_stops_nothing_unless_it_was_named() {
    let upstream = Upstream::start().await;
    upstream.add("acme", plain("acme-1.0.tar.gz", noise(10)));
    let host = upstream.url().host_str().unwrap().to_owned();
    upstream.want("Basic YW5uOnR3byB3b3Jkcw==");
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("team");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join(".netrc"), "not a netrc file\n").unwrap();
    let server = started(&root, "team", &["--upstream", upstream.url().as_str()], &[]);
    assert_eq!(page(&server, "acme").await.0, 504);
    server.says("netrc");
    drop(server);
    let text = format!(
        "# machine {host} login nobody password nothing\nmachine {host} # note\n login ann password \"two words\"\n"
    );
    std::fs::write(
        home.join(".netrc"),
        [text.as_bytes(), b"machine \xff login a password b\n"].concat(),
    )
    .unwrap();
    let server = started(&root, "team", &["--upstream", upstream.url().as_str()], &[]);
    assert_eq!(page(&server, "acme").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_to_places_that_are_no_ascii_are_followed() {
    let upstream = Upstream::start().await;
    let wheel = Wheel::new("acme", "1.0").build();
    upstream.add("acme", wheel.clone());
    let path = upstream.file_url(&wheel).path().to_owned();
    for location in [
        &b"/caf\xc3\xa9/here"[..],
        b"/caf\xe9/here",
        b"/a b/here",
        b" /x/here ",
    ] {
        upstream.behave();
        upstream.script(
            "here",
            None,
            Fault::Document(200, "application/octet-stream", wheel.bytes.clone()),
        );
        upstream.script(&path, None, Fault::RedirectTo(location.to_vec()));
        let root = tempfile::tempdir().unwrap();
        for server in &two_tiers(&root, &["--upstream", upstream.url().as_str()], &[]) {
            let index = server.index();
            let environment = Environment::new(root.path(), &format!("uv-{}", index.port().unwrap()));
            succeeded(&environment.uv_install(&index, &["acme"]));
        }
    }
}
