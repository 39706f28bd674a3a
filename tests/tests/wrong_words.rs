//! What an index says of a file and what the file is, where they differ: the file decides, at one tier and at two, and what
//! was said wrongly is put right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use hyper::Method;
use pypicache_tests::client::{get, get_json, send};
use pypicache_tests::package::{Package, Wheel, noise, plain, sha256, zip};
use pypicache_tests::process::Server;
use pypicache_tests::python::{Environment, succeeded};
use pypicache_tests::upstream::{Fault, Upstream};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// One or two tiers in front of an index.
struct Chain {
    root: TempDir,
    tiers: Vec<Server>,
    origin: Url,
}

impl Chain {
    fn new(upstream: &Upstream, length: usize) -> Self {
        let mut chain = Self {
            root: tempfile::tempdir().unwrap(),
            tiers: Vec::new(),
            origin: upstream.url(),
        };
        for number in 0..length {
            chain.tiers.push(chain.started(number));
        }
        chain
    }

    fn started(&self, number: usize) -> Server {
        let home = self.root.path().join(format!("tier-{number}"));
        std::fs::create_dir_all(&home).unwrap();
        let above = match number {
            0 => self.origin.clone(),
            _ => self.tiers[number - 1].index(),
        };
        Server::start(&home, &["--upstream", above.as_str()])
    }

    /// Ends all tiers as a crash would, and starts them again on what they hold.
    fn crash(&mut self) {
        self.tiers.iter_mut().for_each(Server::kill);
        for number in 0..self.tiers.len() {
            self.tiers[number] = self.started(number);
        }
    }

    fn index(&self) -> Url {
        self.tiers.last().unwrap().index()
    }

    fn page_url(&self, project: &str) -> Url {
        self.index().join(&format!("{project}/")).unwrap()
    }

    async fn page(&self, project: &str) -> Value {
        get_json(&self.page_url(project)).await.json()
    }

    /// The URL of the page's file of that number.
    async fn file(&self, project: &str, number: usize) -> Url {
        let page = self.page(project).await;
        let href = page["files"][number]["url"].as_str().unwrap();
        self.page_url(project).join(href).unwrap()
    }

    fn environment(&self, name: &str) -> Environment {
        Environment::new(self.root.path(), name)
    }
}

fn entry(upstream: &Upstream, package: &Package) -> Value {
    json!({
        "filename": package.filename,
        "url": upstream.file_url(package).as_str(),
        "hashes": { "sha256": package.sha256 },
        "size": package.bytes.len(),
    })
}

/// The index answers for the project with a page of these files.
fn tell(upstream: &Upstream, project: &str, files: &[Value]) {
    let page = json!({ "meta": { "api-version": "1.0" }, "name": project, "files": files });
    let page = Fault::Document(200, JSON, page.to_string().into());
    upstream.script(&format!("/simple/{project}/"), None, page);
}

fn sibling(mut file: Url) -> Url {
    file.set_path(&format!("{}.metadata", file.path()));
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_that_the_page_tells_wrongly_is_put_right_by_the_file() {
    let wheel = Wheel::new("acme", "1.0").payload(2_000_000).build();
    let right = wheel.bytes.len() as u64;
    for size in [right + 1000, right - 50, 0, 10u64.pow(15)] {
        for tiers in [1, 2] {
            let upstream = Upstream::start().await;
            upstream.add("acme", wheel.clone());
            let mut listed = entry(&upstream, &wheel);
            listed["size"] = json!(size);
            tell(&upstream, "acme", &[listed]);
            let chain = Chain::new(&upstream, tiers);
            let url = chain.file("acme", 0).await;
            succeeded(&chain.environment("pip").pip_install(&chain.index(), &["acme"]));
            succeeded(&chain.environment("uv").uv_install(&chain.index(), &["acme"]));
            assert_eq!(get(&url, &[]).await.bytes(), &wheel.bytes);
            let head = send(Method::HEAD, &url, &[]).await;
            assert_eq!(
                head.header("content-length"),
                right.to_string(),
                "{size} at {tiers}"
            );
            let part = get(&url, &[("range", "bytes=-10")]).await;
            assert_eq!(part.bytes(), &wheel.bytes[wheel.bytes.len() - 10..]);
            assert_eq!(
                chain.page("acme").await["files"][0]["size"],
                right,
                "{size} at {tiers}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wheel_without_metadata_of_its_own_has_none_and_its_page_stops_promising_it() {
    let file = |path: &str| {
        (
            path.to_owned(),
            b"Metadata-Version: 2.1\nName: other\nVersion: 9\n".to_vec(),
        )
    };
    let wheels = [
        ("none", zip(&[file("acme.py")])),
        ("foreign", zip(&[file("other-9.dist-info/METADATA")])),
        (
            "two",
            zip(&[
                file("acme-1.0.dist-info/METADATA"),
                file("ACME-1.0.dist-info/METADATA"),
            ]),
        ),
        ("no zip", noise(5000)),
    ];
    for (what, bytes) in wheels {
        for tiers in [1, 2] {
            let upstream = Upstream::start().await;
            let wheel = plain("acme-1.0-py3-none-any.whl", bytes.clone());
            upstream.add("acme", wheel.clone());
            let mut chain = Chain::new(&upstream, tiers);
            let url = sibling(chain.file("acme", 0).await);
            assert_eq!(get(&url, &[]).await.status, 404, "{what} at {tiers}");
            for _ in 0..2 {
                let page = chain.page("acme").await;
                assert_eq!(
                    page["files"][0]["core-metadata"], false,
                    "{what} at {tiers}: {page}"
                );
                let url = sibling(chain.file("acme", 0).await);
                assert_eq!(get(&url, &[]).await.status, 404, "{what} at {tiers}");
                chain.crash();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_of_a_wheel_with_two_directories_is_its_own() {
    let upstream = Upstream::start().await;
    let own = b"Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n".to_vec();
    let foreign = b"Metadata-Version: 2.1\nName: other\nVersion: 9\nRequires-Dist: evil\n".to_vec();
    let members = [
        ("other-9.dist-info/METADATA".to_owned(), foreign),
        ("acme-1.0.dist-info/METADATA".to_owned(), own.clone()),
    ];
    upstream.add("acme", plain("acme-1.0-py3-none-any.whl", zip(&members)));
    let chain = Chain::new(&upstream, 2);
    let reply = get(&sibling(chain.file("acme", 0).await), &[]).await;
    assert_eq!(reply.bytes(), &own);
}

/// Ways to answer a range that say nothing about the file.
fn range_faults(size: usize, whole: &Package) -> Vec<Fault> {
    let document = |status| Fault::Document(status, "text/plain", "".into());
    let part = |range: String, bytes: &[u8]| {
        Fault::Answer(206, vec![("content-range", range)], bytes.to_vec().into())
    };
    let mut faults: Vec<_> = [400, 401, 403, 404, 405, 416, 500, 501, 503].map(document).into();
    faults.extend([
        Fault::NoRanges,
        Fault::Reset,
        part(format!("bytes 0-{}/{size}", size - 1), &whole.bytes),
        part(format!("bytes 7-16/{size}"), &whole.bytes[7..17]),
        part("bytes lots".to_owned(), &whole.bytes[7..17]),
        Fault::Answer(206, vec![], whole.bytes.clone()),
        Fault::Answer(416, vec![("content-range", format!("bytes */{size}"))], "".into()),
        Fault::Answer(416, vec![("content-range", "bytes */0".to_owned())], "".into()),
    ]);
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_answers_ranges_wrongly_is_asked_for_the_whole() {
    let mut wheel = Wheel::new("acme", "1.0").payload(300_000).build();
    let metadata = wheel.metadata.take().unwrap();
    for fault in range_faults(wheel.bytes.len(), &wheel) {
        for tiers in [1, 2] {
            let upstream = Upstream::start().await;
            upstream.add("acme", wheel.clone());
            upstream.script("/packages/", None, Fault::OnRange(Box::new(fault.clone())));
            let chain = Chain::new(&upstream, tiers);
            let url = chain.file("acme", 0).await;
            let part = get(&url, &[("range", "bytes=1000-1999")]).await;
            match part.status.as_u16() {
                206 => {
                    assert_eq!(part.bytes(), &wheel.bytes[1000..2000], "{fault:?} at {tiers}");
                    let range = format!("bytes 1000-1999/{}", wheel.bytes.len());
                    assert_eq!(part.header("content-range"), range);
                }
                status => assert_eq!(
                    (status, part.bytes()),
                    (200, &wheel.bytes),
                    "{fault:?} at {tiers}"
                ),
            }
            // In a cold cache, where METADATA would come by ranges.
            let chain = Chain::new(&upstream, tiers);
            let reply = get(&sibling(chain.file("acme", 0).await), &[]).await;
            assert_eq!(
                (reply.status.as_u16(), reply.bytes()),
                (200, &metadata),
                "{fault:?} at {tiers}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_the_upstream_refuses_is_answered_as_a_get_would_be() {
    let file = plain("acme-1.0.tar.gz", noise(100_000));
    for status in [400, 401, 403, 404, 405, 500, 501] {
        for tiers in [1, 2] {
            let upstream = Upstream::start().await;
            upstream.add("acme", file.clone());
            let mut listed = entry(&upstream, &file);
            listed.as_object_mut().unwrap().remove("size");
            tell(&upstream, "acme", &[listed]);
            let refused = Fault::Document(status, "text/plain", "".into());
            upstream.script("/packages/", None, Fault::OnHead(Box::new(refused)));
            let chain = Chain::new(&upstream, tiers);
            let head = send(Method::HEAD, &chain.file("acme", 0).await, &[]).await;
            assert_eq!(
                (head.status.as_u16(), head.header("content-length")),
                (200, "100000"),
                "{status} at {tiers}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_for_codings_that_are_none_change_no_byte() {
    let wheel = Wheel::new("acme", "1.0").payload(200_000).build();
    let hashes = [
        json!({ "sha256": wheel.sha256 }),
        json!({ "md5": "0".repeat(32) }),
        json!({}),
    ];
    for coding in ["aws-chunked", "identity", "utf-8", "gzip", "aws-chunked, gzip"] {
        for hashes in &hashes {
            for tiers in [1, 2] {
                let upstream = Upstream::start().await;
                upstream.add("acme", wheel.clone());
                let mut listed = entry(&upstream, &wheel);
                listed["hashes"] = hashes.clone();
                tell(&upstream, "acme", &[listed]);
                upstream.script("/packages/", None, Fault::Called(coding));
                let what = format!("{coding} {hashes} at {tiers}");
                let chain = Chain::new(&upstream, tiers);
                let url = chain.file("acme", 0).await;
                let part = get(&url, &[("range", "bytes=-100")]).await;
                let end = &wheel.bytes[wheel.bytes.len() - 100..];
                assert!(
                    part.bytes() == end || part.bytes() == &wheel.bytes,
                    "{what}: {}",
                    part.status
                );
                let whole = get(&url, &[]).await;
                assert_eq!(
                    (whole.status.as_u16(), whole.bytes()),
                    (200, &wheel.bytes),
                    "{what}"
                );
                let metadata = get(&sibling(url), &[]).await;
                assert_eq!(metadata.bytes(), wheel.metadata.as_ref().unwrap(), "{what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_other_names_are_served_as_long_as_the_page_that_lists_them_is_held() {
    let names = [
        ("password-strength", "password_strength-0.0.1_1-py2-none-any.whl"),
        ("x", "x-SNAPSHOT.tar.gz"),
        ("foo", "foo_extras-1.0.tar.gz"),
        ("foo", "unrelated-2.0.tar.gz"),
    ];
    for (project, name) in names {
        for tiers in [1, 2] {
            let mut upstream = Upstream::start().await;
            let file = plain(name, noise(1000));
            upstream.add(project, file.clone());
            let mut chain = Chain::new(&upstream, tiers);
            let url = |chain: &Chain, path: &str| chain.index().join(path).unwrap();
            let path = chain.file(project, 0).await.path().to_owned();
            let state = |when: &str| format!("{name} {when}, {tiers} tiers");
            for _ in 0..200 {
                // Pages are written behind their answers.
                if strays(&chain) == tiers {
                    break;
                }
                let _ = chain.page(project).await;
            }
            chain.crash();
            assert_eq!(
                get(&url(&chain, &path), &[]).await.bytes(),
                &file.bytes,
                "{}",
                state("after a crash")
            );
            chain.crash();
            upstream.stop().await;
            assert_eq!(
                get(&url(&chain, &path), &[]).await.bytes(),
                &file.bytes,
                "{}",
                state("offline")
            );
        }
    }
}

/// How many strays are noted on disk.
fn strays(chain: &Chain) -> usize {
    let below = |path: std::path::PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    (0..chain.tiers.len())
        .map(|number| {
            let records = chain
                .root
                .path()
                .join(format!("tier-{number}/cache/v1/records/strays/pypi"));
            below(records)
                .map(|shard| below(shard.path()).count())
                .sum::<usize>()
        })
        .sum()
}

/// A page speaks for its own project only.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_cannot_say_what_is_behind_the_path_of_another_projects_file() {
    let right = Wheel::new("victim", "1.0").build();
    let wrong = Wheel::new("victim", "1.0").requires("evil-dependency").build();
    for tiers in [1, 2] {
        for digest in [true, false] {
            let upstream = Upstream::start().await;
            upstream.add("victim", right.clone());
            upstream.add("evil", wrong.clone());
            upstream.add("evil-dependency", Wheel::new("evil-dependency", "1.0").build());
            let path = upstream.file_url(&right);
            let mut listed = entry(&upstream, &wrong);
            if !digest {
                listed["hashes"] = json!({});
            }
            // The victim's path, of which the evil page says that it has other bytes.
            listed["url"] = json!(path.as_str());
            tell(&upstream, "evil", &[listed]);
            let mut chain = Chain::new(&upstream, tiers);
            let evil = chain.file("evil", 0).await;
            assert_eq!(
                get(&evil, &[]).await.bytes(),
                &right.bytes,
                "the victim's page decides"
            );
            let metadata = get(&sibling(evil.clone()), &[]).await;
            assert_eq!(metadata.bytes(), right.metadata.as_ref().unwrap());
            chain.crash();
            let _ = chain.page("evil").await;
            let environment = chain.environment("uv");
            succeeded(&environment.uv_install(&chain.index(), &["victim"]));
            assert!(
                environment.tree().keys().all(|path| !path.contains("evil")),
                "{tiers} {digest}"
            );
            assert_eq!(
                sha256(get(&chain.file("victim", 0).await, &[]).await.bytes()),
                right.sha256
            );
        }
    }
}
