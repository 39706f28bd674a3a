//! Pages on the wire: what clients get in good times, in outages, and for nonsense of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use hyper::Method;
use pypicache_tests::client::{Reply, get, get_json, raw, send};
use pypicache_tests::package::{Package, Wheel};
use pypicache_tests::process::Server;
use pypicache_tests::upstream::{Fault, Host, Upstream};
use tempfile::TempDir;
use url::Url;

const JSON: (&str, &str) = ("accept", "application/vnd.pypi.simple.v1+json");

struct Laboratory {
    upstream: Upstream,
    package: Package,
    cache: Server,
    root: TempDir,
}

impl Laboratory {
    async fn new() -> Self {
        let (upstream, root) = (Upstream::start().await, tempfile::tempdir().unwrap());
        let package = Wheel::new("six", "1.17.0").build();
        upstream.add("six", package.clone());
        let cache = Server::start(root.path(), &["--upstream", upstream.url().as_str()]);
        Self {
            upstream,
            package,
            cache,
            root,
        }
    }

    fn page(&self, project: &str) -> Url {
        self.cache.index().join(&format!("{project}/")).unwrap()
    }

    async fn get(&self, project: &str) -> Reply {
        get_json(&self.page(project)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn representations_have_their_own_tags_and_304s() {
    let laboratory = Laboratory::new().await;
    let url = laboratory.page("six");
    let mut tags = Vec::new();
    for accept in ["application/vnd.pypi.simple.v1+json", "text/html"] {
        for encoding in ["identity", "gzip"] {
            let headers = [("accept", accept), ("accept-encoding", encoding)];
            let reply = get(&url, &headers).await;
            assert_eq!(reply.status.as_u16(), 200);
            assert!(reply.header("content-type").starts_with(accept));
            assert_eq!(
                reply.header("content-encoding"),
                if encoding == "gzip" { "gzip" } else { "" }
            );
            assert_eq!(reply.header("vary"), "Accept, Accept-Encoding");
            assert_eq!(reply.header("content-length"), reply.bytes().len().to_string());
            assert_eq!(reply.header("x-pypi-last-serial"), "42");
            let head = send(Method::HEAD, &url, &headers).await;
            for name in [
                "content-type",
                "content-length",
                "etag",
                "cache-control",
                "vary",
                "content-encoding",
            ] {
                assert_eq!(head.header(name), reply.header(name), "{name}");
            }
            let tag = reply.header("etag").to_owned();
            let unchanged = get(
                &url,
                &[
                    headers[0],
                    headers[1],
                    ("if-none-match", &format!("\"x\", W/{tag}")),
                ],
            )
            .await;
            assert_eq!(
                (
                    unchanged.status.as_u16(),
                    unchanged.bytes().len(),
                    unchanged.header("etag")
                ),
                (304, 0, &*tag)
            );
            assert!(!unchanged.header("cache-control").is_empty() && !unchanged.header("date").is_empty());
            tags.push(tag);
        }
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4, "one tag for each representation");
    assert_eq!(get(&url, &[("accept", "image/png")]).await.status.as_u16(), 406);
    assert_eq!(laboratory.upstream.count("/simple/six/"), 1, "all from one fetch");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_first_requests_are_one_question_to_the_upstream() {
    let laboratory = Laboratory::new().await;
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let url = laboratory.page("six");
            tokio::spawn(async move { get_json(&url).await.status.as_u16() })
        })
        .collect();
    for client in clients {
        assert_eq!(client.await.unwrap(), 200);
    }
    assert_eq!(laboratory.upstream.count("/simple/six/"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_page_is_confirmed_and_then_hit() {
    let laboratory = Laboratory::new().await;
    laboratory.upstream.set_lifetime(600, Some(600));
    let first = laboratory.get("six").await;
    assert_eq!(first.header("age"), "600", "the age is the upstream's, not ours");
    laboratory.upstream.set_lifetime(600, None);
    let second = laboratory.get("six").await;
    assert!(
        second.header("cache-status").contains("fwd-status=304"),
        "{}",
        second.header("cache-status")
    );
    let third = laboratory.get("six").await;
    assert!(
        third.header("cache-status").ends_with("; hit"),
        "{}",
        third.header("cache-status")
    );
    assert_eq!(laboratory.upstream.count("/simple/six/"), 2);
    assert_eq!(first.bytes(), third.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn three_different_answers_absent_unknown_and_held() {
    let mut laboratory = Laboratory::new().await;
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
    let laboratory = Laboratory::new().await;
    laboratory.upstream.set_lifetime(0, None);
    let held = laboratory.get("six").await;
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
    assert_eq!(
        laboratory.get("unknown").await.status.as_u16(),
        404,
        "nothing of it was kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_upstream_does_not_hold_up_what_is_held() {
    let laboratory = Laboratory::new().await;
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
    let laboratory = Laboratory::new().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_a_clear_answer_and_touches_nothing() {
    let laboratory = Laboratory::new().await;
    let target = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let long_name = format!("/simple/{}/", "a".repeat(300));
    let not_found = [
        "/files/..%2f..%2fetc/passwd",
        "/files/pypi/%2e%2e/%2e%2e/etc/passwd",
        "/files/pypi/..\\..\\x-1.0.whl",
        "/files/pypi/%252e%252e/x-1.0.whl",
        "/files//etc/passwd",
        "/files/C:/x",
        "/files/pypi/%5c%5cx-1.0.whl",
        "/files/pypi/a%00b-1.0.whl",
        "/simple/%00/",
        "/simple/a%0Ab/",
        "/simple/-x/",
        "/simple/../",
        "/simple//six/",
        "/simple/%E2%84%AA/",
        "/nothing",
        &long_name,
    ];
    for path in not_found {
        let answer = raw(&laboratory.cache.url, target(path).as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 400"),
            "{path}: {answer}"
        );
    }
    let oversized = format!(
        "GET /simple/six/ HTTP/1.1\r\nHost: x\r\nX-Big: {}\r\n\r\n",
        "a".repeat(100 * 1024)
    );
    assert!(
        raw(&laboratory.cache.url, oversized.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
    let many = format!(
        "GET /simple/six/ HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "X-A: b\r\n".repeat(10_000)
    );
    assert!(
        raw(&laboratory.cache.url, many.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
    let twofold = "POST /simple/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc";
    assert!(
        raw(&laboratory.cache.url, twofold.as_bytes())
            .await
            .starts_with("HTTP/1.1 400")
    );
    let post = send(Method::POST, &laboratory.page("six"), &[]).await;
    assert_eq!(
        (post.status.as_u16(), post.header("allow")),
        (405, "GET, HEAD, OPTIONS")
    );
    assert_eq!(
        laboratory.upstream.requests().len(),
        0,
        "{:#?}",
        laboratory.upstream.requests()
    );
    assert_eq!(
        std::fs::read_dir(laboratory.root.path().join("cache/v1/blobs"))
            .unwrap()
            .count(),
        0
    );
    // A malformed Accept counts as none.
    assert_eq!(
        get(&laboratory.page("six"), &[("accept", ";;;q=x")])
            .await
            .status
            .as_u16(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_spellings_are_sent_to_the_right_one() {
    let laboratory = Laboratory::new().await;
    for (path, to) in [
        ("simple", "simple/"),
        ("simple/six", "six/"),
        ("simple/SIX/", "../six/"),
        ("simple/S_ix?format=x", "s-ix/"),
    ] {
        let reply = get(&laboratory.cache.url.join(path).unwrap(), &[]).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("location")),
            (301, to),
            "{path}"
        );
    }
    assert_eq!(laboratory.upstream.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_is_noticed_and_named() {
    let laboratory = Laboratory::new().await;
    let via = laboratory.get("six").await.header("via").to_owned();
    let reply = get(
        &laboratory.page("six"),
        &[JSON, ("via", &format!("1.1 other, {via}"))],
    )
    .await;
    assert_eq!(reply.status.as_u16(), 508);
    assert!(reply.json()["detail"].as_str().unwrap().contains("loop"));
    let seen = laboratory.upstream.requests();
    assert_eq!(
        seen[0].headers["via"],
        via.as_str(),
        "upstreams are told who asks"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_go_to_their_origin_only_and_show_nowhere() {
    let (upstream, root) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let package = Wheel::new("six", "1.17.0").build();
    upstream.add("six", package.clone());
    upstream.want("Basic YW5uOnMzY3JldA==");
    let mut url = upstream.url();
    url.set_username("ann").unwrap();
    url.set_password(Some("s3cret")).unwrap();
    let cache = Server::start(root.path(), &["-v", "--upstream", url.as_str()]);
    let page = cache.index().join("six/").unwrap();
    let reply = get_json(&page).await;
    let file = page
        .join(reply.json()["files"][0]["url"].as_str().unwrap())
        .unwrap();
    assert_eq!(get(&file, &[]).await.bytes(), &package.bytes);
    let leaked = upstream
        .requests()
        .into_iter()
        .filter(|seen| seen.host == Host::Files && seen.headers.contains_key("authorization"));
    assert_eq!(leaked.count(), 0);
    upstream.want("Basic other");
    let refused = get_json(&cache.index().join("other/").unwrap()).await;
    assert!(
        refused.json()["detail"].as_str().unwrap().contains("credentials"),
        "{:?}",
        refused.body
    );
    for secret in ["s3cret", "YW5uOnMzY3JldA"] {
        assert!(
            !cache.output().contains(secret) && !String::from_utf8_lossy(refused.bytes()).contains(secret)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_netrc_and_from_the_configuration_too() {
    let (root, upstream) = (tempfile::tempdir().unwrap(), Upstream::start().await);
    upstream.add("six", Wheel::new("six", "1.17.0").build());
    upstream.want("Basic YW5uOnMzY3JldA==");
    let by_netrc = root.path().join("netrc");
    std::fs::create_dir(&by_netrc).unwrap();
    std::fs::write(
        by_netrc.join(".netrc"),
        "machine 127.0.0.1 login ann password s3cret\n",
    )
    .unwrap();
    let cache = Server::start(&by_netrc, &["--upstream", upstream.url().as_str()]);
    assert_eq!(
        get_json(&cache.index().join("six/").unwrap())
            .await
            .status
            .as_u16(),
        200
    );

    let by_file = root.path().join("file");
    std::fs::create_dir(&by_file).unwrap();
    std::fs::write(by_file.join("password"), "s3cret\n").unwrap();
    let config = by_file.join("p.toml");
    let text = format!(
        "[[source]]\nname = \"pypi\"\nupstream = \"{}\"\nusername = \"ann\"\npassword-file = \"password\"\n",
        upstream.url()
    );
    std::fs::write(&config, text).unwrap();
    let cache = Server::start(&by_file, &["--config", config.to_str().unwrap()]);
    assert_eq!(
        get_json(&cache.index().join("six/").unwrap())
            .await
            .status
            .as_u16(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn equals_stand_in_for_each_other_and_files_keep_their_path() {
    let root = tempfile::tempdir().unwrap();
    let (upstream, team_root) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let package = Wheel::new("six", "1.17.0").build();
    upstream.add("six", package.clone());
    let team = Server::start(team_root.path(), &["--upstream", upstream.url().as_str()]);
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

#[tokio::test(flavor = "multi_thread")]
async fn the_front_page_says_how_to_use_it_and_the_list_lists() {
    let laboratory = Laboratory::new().await;
    let front = get(&laboratory.cache.url, &[]).await;
    let text = String::from_utf8(front.bytes().to_vec()).unwrap();
    let index = laboratory.cache.index();
    assert!(
        text.contains(&format!("--index-url {index}")) && text.contains(&format!("--default-index {index}")),
        "{text}"
    );
    let list = get(&index, &[JSON]).await.json();
    assert_eq!(list["projects"][0]["name"], "six");
    let hostile = get(&laboratory.cache.url, &[("host", "<script>")]).await;
    assert!(!String::from_utf8_lossy(hostile.body.as_deref().unwrap_or_default()).contains("<script>"));
    assert_eq!(laboratory.package.filename, "six-1.17.0-py3-none-any.whl");
}

/// Two indexes in order, as a configuration file says it.
fn chain(root: &std::path::Path, first: &Url, second: &Url) -> Server {
    let config = root.join("chain.toml");
    let source = |name: &str, url: &Url| format!("[[source]]\nname = \"{name}\"\nupstream = \"{url}\"\n");
    std::fs::write(&config, source("private", first) + &source("pypi", second)).unwrap();
    Server::start(root, &["--config", config.to_str().unwrap()])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_owner_of_a_name_answers_for_all_of_it() {
    let (root, private, public) = (
        tempfile::tempdir().unwrap(),
        Upstream::start().await,
        Upstream::start().await,
    );
    let (ours, theirs) = (
        Wheel::new("acme", "1.0").build(),
        Wheel::new("acme", "99.0").build(),
    );
    private.add("acme", ours.clone());
    public.add("acme", theirs.clone());
    public.add("six", Wheel::new("six", "1.17.0").build());
    let cache = chain(root.path(), &private.url(), &public.url());
    let page = cache.index().join("acme/").unwrap();
    let files = get_json(&page).await.json()["files"].clone();
    assert_eq!(files.as_array().unwrap().len(), 1);
    assert_eq!(files[0]["filename"], ours.filename);
    let path = |upstream: &Upstream, package| {
        cache
            .url
            .join(&format!("files/pypi{}", upstream.file_url(package).path()))
            .unwrap()
    };
    assert_eq!(
        get(&path(&public, &theirs), &[]).await.status.as_u16(),
        404,
        "not by its link either"
    );
    assert_eq!(
        public.requests().len(),
        0,
        "a name of the first is never asked of the second"
    );
    assert_eq!(
        get_json(&cache.index().join("six/").unwrap())
            .await
            .status
            .as_u16(),
        200
    );
    let list = get(&cache.index(), &[JSON]).await.json();
    assert_eq!(list["projects"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_first_cannot_tell_the_second_is_not_asked() {
    let (root, mut private, public) = (
        tempfile::tempdir().unwrap(),
        Upstream::start().await,
        Upstream::start().await,
    );
    public.add("acme", Wheel::new("acme", "99.0").build());
    let url = private.url();
    private.stop().await;
    let cache = chain(root.path(), &url, &public.url());
    assert_eq!(
        get_json(&cache.index().join("acme/").unwrap())
            .await
            .status
            .as_u16(),
        504
    );
    let path = cache
        .url
        .join("files/pypi/packages/acme-99.0-py3-none-any.whl")
        .unwrap();
    assert_eq!(get(&path, &[]).await.status.as_u16(), 504);
    assert_eq!(public.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn further_indexes_have_their_own_path() {
    let (root, upstream) = (tempfile::tempdir().unwrap(), Upstream::start().await);
    let package = Wheel::new("six", "1.17.0").build();
    upstream.add("six", package.clone());
    let config = root.path().join("p.toml");
    let text = format!(
        "[[source]]\nname = \"private\"\nhosted = true\n[[source]]\nname = \"pypi\"\nupstream = \"{}\"\n[[index]]\nname = \"only-ours\"\nsources = [\"private\"]\n[[index]]\nname = \"all\"\nsources = [\"private\", \"pypi\"]\n",
        upstream.url()
    );
    std::fs::write(&config, text).unwrap();
    let cache = Server::start(root.path(), &["--config", config.to_str().unwrap()]);
    assert_eq!(
        get_json(&cache.url.join("only-ours/simple/six/").unwrap())
            .await
            .status
            .as_u16(),
        404
    );
    let page = cache.url.join("all/simple/six/").unwrap();
    let file = page
        .join(get_json(&page).await.json()["files"][0]["url"].as_str().unwrap())
        .unwrap();
    assert!(file.path().starts_with("/all/files/pypi/"), "{file}");
    assert_eq!(get(&file, &[]).await.bytes(), &package.bytes);
    // A tier in front of such an index keeps the paths that it has there.
    let near_root = tempfile::tempdir().unwrap();
    let near = Server::start(
        near_root.path(),
        &["--upstream", cache.url.join("all/simple/").unwrap().as_str()],
    );
    let near_page = near.index().join("six/").unwrap();
    let href = get_json(&near_page).await.json()["files"][0]["url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        near_page.join(&href).unwrap().path(),
        file.path().strip_prefix("/all").unwrap()
    );
}
