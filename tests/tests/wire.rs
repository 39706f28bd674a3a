//! Pages on the wire: what clients get in good times, and for nonsense of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use hyper::Method;
use pypicache_tests::client::{get, get_json, raw, send};
use pypicache_tests::laboratory::Laboratory;
use pypicache_tests::package::Wheel;

const JSON: (&str, &str) = ("accept", "application/vnd.pypi.simple.v1+json");

async fn six() -> Laboratory {
    Laboratory::new("six", Wheel::new("six", "1.17.0").build()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn representations_have_their_own_tags_and_304s() {
    let laboratory = six().await;
    let url = laboratory.page("six");
    let mut tags = Vec::new();
    for accept in ["application/vnd.pypi.simple.v1+json", "text/html"] {
        for encoding in ["identity", "gzip", "zstd"] {
            let headers = [("accept", accept), ("accept-encoding", encoding)];
            let reply = get(&url, &headers).await;
            assert_eq!(reply.status.as_u16(), 200);
            assert!(reply.header("content-type").starts_with(accept));
            assert_eq!(
                reply.header("content-encoding"),
                if encoding == "identity" { "" } else { encoding }
            );
            let plain = match encoding {
                "gzip" => std::io::read_to_string(flate2::read::GzDecoder::new(&**reply.bytes())).unwrap(),
                "zstd" => String::from_utf8(zstd::decode_all(&**reply.bytes()).unwrap()).unwrap(),
                _ => String::from_utf8(reply.bytes().to_vec()).unwrap(),
            };
            assert!(plain.contains("six-1.17.0-py3-none-any.whl"), "{plain}");
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
    assert_eq!(tags.len(), 6, "one tag for each representation");
    assert_eq!(get(&url, &[("accept", "image/png")]).await.status.as_u16(), 406);
    assert_eq!(laboratory.upstream.count("/simple/six/"), 1, "all from one fetch");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_first_requests_are_one_question_to_the_upstream() {
    let laboratory = six().await;
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
    let laboratory = six().await;
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
async fn bad_input_gets_a_clear_answer_and_touches_nothing() {
    let laboratory = six().await;
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
    let laboratory = six().await;
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
    let laboratory = six().await;
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
async fn the_front_page_says_how_to_use_it_and_the_list_lists() {
    let laboratory = six().await;
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
