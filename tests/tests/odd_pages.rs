//! Pages and lists that are unlike PyPI's, through the real server: nothing is dropped in silence, and a field of another form
//! costs that field only. At one tier and at two.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use hyper::Method;
use pypicache_tests::client::{get, get_json, send};
use pypicache_tests::package::{Package, Wheel, noise, plain};
use pypicache_tests::process::Server;
use pypicache_tests::python::{Environment, succeeded};
use pypicache_tests::upstream::{Fault, Upstream};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// Two tiers, the one at the index and the one in front of it.
struct Tiers {
    root: TempDir,
    team: Server,
    laptop: Server,
}

impl Tiers {
    fn new(upstream: &Url) -> Self {
        let root = tempfile::tempdir().unwrap();
        let start = |name: &str, above: &Url| {
            let home = root.path().join(name);
            std::fs::create_dir_all(&home).unwrap();
            Server::start(&home, &["--upstream", above.as_str()])
        };
        let team = start("team", upstream);
        let laptop = start("laptop", &team.index());
        Self { root, team, laptop }
    }

    fn indexes(&self) -> [Url; 2] {
        [self.team.index(), self.laptop.index()]
    }
}

fn document(upstream: &Upstream, path: &str, document: &Value) {
    upstream.script(
        path,
        None,
        Fault::Document(200, JSON, document.to_string().into()),
    );
}

fn page(files: &[Value]) -> Value {
    json!({ "meta": { "api-version": "1.0" }, "name": "acme", "files": files })
}

fn entry(upstream: &Upstream, package: &Package) -> Value {
    json!({
        "filename": package.filename,
        "url": upstream.file_url(package).as_str(),
        "hashes": { "sha256": package.sha256 },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_served_whatever_its_link_looks_like() {
    let upstream = Upstream::start().await;
    let wheel = Wheel::new("acme", "1.0").build();
    upstream.add("acme", wheel.clone());
    let host = upstream.file_url(&wheel);
    for path in [
        "/blob/17",
        "/a//b//",
        "/a%2Fb/c%25d",
        &format!("/{}/x", "long".repeat(300)),
    ] {
        let mut listed = entry(&upstream, &wheel);
        listed["url"] = json!(format!("{}?sig=1", host.join(path).unwrap()));
        upstream.behave();
        document(&upstream, "/simple/acme/", &page(&[listed]));
        let bytes = Fault::Document(200, "application/octet-stream", wheel.bytes.clone());
        upstream.script(path, None, bytes);
        let tiers = Tiers::new(&upstream.url());
        let mut paths = Vec::new();
        for index in tiers.indexes() {
            let url = index.join("acme/").unwrap();
            let page = get_json(&url).await.json();
            let file = url.join(page["files"][0]["url"].as_str().unwrap()).unwrap();
            assert_eq!(get(&file, &[]).await.bytes(), &wheel.bytes, "{path}");
            paths.push(file.path().to_owned());
        }
        assert_eq!(paths[0], paths[1], "the same at every tier");
        let environment = Environment::new(tiers.root.path(), "uv");
        succeeded(&environment.uv_install(&tiers.laptop.index(), &["acme"]));
        let environment = Environment::new(tiers.root.path(), "pip");
        succeeded(&environment.pip_install(&tiers.laptop.index(), &["acme"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_lists_and_nobody_can_be_given_is_told_to_whoever_asks_why() {
    let upstream = Upstream::start().await;
    let file = plain("acme-1.0.tar.gz", noise(100));
    let odd = json!({ "filename": "acme-2.0.tar.gz", "url": "ftp://files.example/acme-2.0.tar.gz" });
    document(
        &upstream,
        "/simple/acme/",
        &page(&[entry(&upstream, &file), odd.clone(), json!(7)]),
    );
    let tiers = Tiers::new(&upstream.url());
    for index in tiers.indexes() {
        assert_eq!(
            get_json(&index.join("acme/").unwrap()).await.json()["files"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        let why = get(&index.join("../-/why/acme").unwrap(), &[])
            .await
            .json()
            .to_string();
        assert!(
            why.contains("2 entries") && why.contains("acme-2.0.tar.gz") && why.contains("no http URL"),
            "{why}"
        );
    }
    tiers.team.says("lists what cannot be served");

    document(
        &upstream,
        "/simple/empty/",
        &json!({ "meta": {}, "name": "empty", "files": [odd] }),
    );
    for index in tiers.indexes() {
        let reply = get_json(&index.join("empty/").unwrap()).await;
        let detail = reply.json()["detail"].to_string();
        assert_eq!(reply.status, 504, "{detail}");
        assert!(detail.contains("none can be taken"), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn html_that_breaks_off_is_an_error_where_nothing_but_the_connection_ends_it() {
    let anchors: String = (0..50)
        .map(|n| format!("<a href=\"acme-{n}.0.tar.gz#sha256={n:064}\">x</a>\n"))
        .collect();
    let cut = Fault::Answer(
        200,
        vec![
            ("content-type", "text/html".to_owned()),
            ("connection", "close".to_owned()),
        ],
        anchors.into(),
    );
    let upstream = Upstream::start().await;
    upstream.script("/simple/acme/", None, Fault::Undelimited(Box::new(cut.clone())));
    let tiers = Tiers::new(&upstream.url());
    for index in tiers.indexes() {
        let reply = get_json(&index.join("acme/").unwrap()).await;
        assert_eq!(reply.status, 504);
        assert!(reply.json()["detail"].to_string().contains("breaks off"));
    }
    upstream.behave();
    upstream.script("/simple/acme/", None, cut);
    let tiers = Tiers::new(&upstream.url());
    for index in tiers.indexes() {
        let page = get_json(&index.join("acme/").unwrap()).await.json();
        assert_eq!(
            page["files"].as_array().unwrap().len(),
            50,
            "with a length it is whole"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_another_form_are_written_as_the_standards_want_them() {
    let upstream = Upstream::start().await;
    let wheel = Wheel::new("acme", "1.0").build();
    upstream.add("acme", wheel.clone());
    let mut listed = entry(&upstream, &wheel);
    listed["upload-time"] = json!("2024-05-06T09:08:09.1234567+02:00");
    listed["gpg-sig"] = json!(true);
    listed["yanked"] = json!("false");
    listed["hashes"] = json!({});
    listed["url"] = json!(format!("{}#sha256={}", upstream.file_url(&wheel), wheel.sha256));
    let mut page = page(&[listed]);
    page["meta"] = json!({ "api-version": "1.99", "_last-serial": 77 });
    page["project-status"] = json!("archived");
    page["versions"] = json!(["1.0", 2]);
    document(&upstream, "/simple/acme/", &page);
    let tiers = Tiers::new(&upstream.url());
    for index in tiers.indexes() {
        let reply = get_json(&index.join("acme/").unwrap()).await;
        let page = reply.json();
        let file = &page["files"][0];
        assert_eq!(file["upload-time"], "2024-05-06T07:08:09.123456Z");
        assert_eq!((file.get("gpg-sig"), &file["yanked"]), (None, &json!(false)));
        assert_eq!(file["hashes"]["sha256"], wheel.sha256);
        assert_eq!(page["project-status"]["status"], "archived");
        assert_eq!(page["versions"], json!(["1.0", "2"]));
        assert_eq!(page["meta"]["_last-serial"], 77);
        let html = get(&index.join("acme/").unwrap(), &[("accept", "text/html")]).await;
        let text = String::from_utf8(html.bytes().to_vec()).unwrap();
        assert!(
            text.contains(r#"name="pypi:project-status" content="archived""#),
            "{text}"
        );
        let environment = Environment::new(tiers.root.path(), &format!("uv-{}", index.port().unwrap()));
        succeeded(&environment.uv_install(&index, &["acme"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn serials_are_passed_on() {
    let upstream = Upstream::start().await;
    let list = json!({
        "meta": { "api-version": "1.4", "_last-serial": 9 },
        "projects": [{ "name": "acme", "_last-serial": 7 }, { "name": "Other" }],
    });
    document(&upstream, "/simple/", &list);
    let tiers = Tiers::new(&upstream.url());
    for index in tiers.indexes() {
        let reply = get_json(&index).await;
        let told = reply.json();
        assert_eq!(told["meta"]["_last-serial"], 9);
        assert_eq!(told["projects"][0], json!({ "name": "acme", "_last-serial": 7 }));
        assert_eq!(told["projects"][1], json!({ "name": "other" }));
        assert_eq!(reply.header("x-pypi-last-serial"), "9");
        assert_eq!(send(Method::HEAD, &index, &[]).await.status, 200);
    }
}
