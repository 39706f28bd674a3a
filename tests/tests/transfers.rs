//! Cold files: streamed, shared, verified, continued. Seen from the wire, with an upstream that misbehaves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use http_body_util::BodyExt as _;
use hyper::Method;
use pypicache_tests::client::{breaks_off, get, open, send};
use pypicache_tests::laboratory::Laboratory;
use pypicache_tests::package::{Wheel, noise, plain, sha256};
use pypicache_tests::process::Server;
use pypicache_tests::upstream::{Fault, Gate};
use url::Url;

async fn with_bytes(size: usize) -> Laboratory {
    Laboratory::new("big", plain("big-1.0.tar.gz", noise(size))).await
}

/// Whether the body at `url` is these very bytes, compared as they come.
async fn is_whole(url: &Url, expected: &[u8]) -> bool {
    let (mut body, mut position) = (open(Method::GET, url, &[]).await.into_body(), 0);
    while let Some(frame) = body.frame().await {
        let piece = frame.unwrap().into_data().unwrap();
        if expected.get(position..position + piece.len()) != Some(&piece[..]) {
            return false;
        }
        position += piece.len();
    }
    position == expected.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_at_once_cause_one_transfer_and_get_the_right_bytes() {
    let laboratory = with_bytes(80 << 20).await;
    let url = laboratory.file("big").await;
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let (url, expected) = (url.clone(), laboratory.package.bytes.clone());
            tokio::spawn(async move { is_whole(&url, &expected).await })
        })
        .collect();
    for client in clients {
        assert!(client.await.unwrap());
    }
    assert_eq!(laboratory.transfers(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_leave_as_soon_as_they_are_in_and_a_client_that_leaves_stops_nobody() {
    let laboratory = with_bytes(1_000_000).await;
    let gate = Gate::default();
    laboratory
        .upstream
        .script("big-1.0", Some(1), Fault::HoldAfter(300_000, gate.clone()));
    let url = laboratory.file("big").await;
    let mut leaving = open(Method::GET, &url, &[]).await.into_body();
    let mut staying = open(Method::GET, &url, &[]).await.into_body();
    // The upstream still holds the rest back.
    assert!(
        !leaving
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap()
            .is_empty()
    );
    drop(leaving);
    let first = staying.frame().await.unwrap().unwrap().into_data().unwrap();
    gate.open();
    let rest = staying.collect().await.unwrap().to_bytes();
    assert_eq!(sha256(&[first, rest].concat()), laboratory.package.sha256);
    assert_eq!(laboratory.transfers(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_answered_while_the_file_is_coming_in_and_after() {
    let laboratory = with_bytes(9_000_000).await;
    let gate = Gate::default();
    laboratory
        .upstream
        .script("big-1.0", Some(1), Fault::HoldAfter(300_000, gate.clone()));
    let url = laboratory.file("big").await;
    let whole = open(Method::GET, &url, &[]).await;
    let bytes = &laboratory.package.bytes;
    let early = get(&url, &[("range", "bytes=1000-1999")]).await;
    assert_eq!(
        (early.status.as_u16(), early.header("content-range")),
        (206, "bytes 1000-1999/9000000")
    );
    assert_eq!(early.bytes(), &bytes.slice(1000..2000));
    let tail = get(&url, &[("range", "bytes=-500")]).await;
    assert_eq!(
        (tail.status.as_u16(), tail.bytes()),
        (206, &bytes.slice(8_999_500..))
    );
    gate.open();
    assert_eq!(whole.into_body().collect().await.unwrap().to_bytes(), *bytes);
    laboratory.upstream.forget();
    let outside = get(&url, &[("range", "bytes=9000000-")]).await;
    assert_eq!(
        (outside.status.as_u16(), outside.header("content-range")),
        (416, "bytes */9000000")
    );
    let stale = get(&url, &[("range", "bytes=0-9"), ("if-range", "\"other\"")]).await;
    assert_eq!((stale.status.as_u16(), stale.bytes().len()), (200, 9_000_000));
    let huge = get(&url, &[("range", "bytes=-99999999999")]).await;
    assert_eq!((huge.status.as_u16(), huge.bytes().len()), (206, 9_000_000));
    assert_eq!(laboratory.transfers(), 0, "{:#?}", laboratory.upstream.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_never_arrive_whole_and_are_not_kept() {
    let laboratory = with_bytes(500_000).await;
    laboratory.upstream.script("big-1.0", Some(1), Fault::Corrupt);
    let url = laboratory.file("big").await;
    assert!(breaks_off(&url).await);
    assert_eq!(laboratory.held(), 0);
    let right = get(&url, &[]).await;
    assert_eq!(sha256(right.bytes()), laboratory.package.sha256);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_breaks_off_is_continued_by_ranges() {
    let laboratory = with_bytes(1_000_000).await;
    for after in [100_000, 1, 250_000] {
        laboratory
            .upstream
            .script("big-1.0", Some(1), Fault::CutAfter(after));
    }
    let reply = get(&laboratory.file("big").await, &[]).await;
    assert_eq!(sha256(reply.bytes()), laboratory.package.sha256);
    let ranges: Vec<_> = laboratory
        .upstream
        .requests()
        .into_iter()
        .filter_map(|seen| seen.headers.get("range").cloned())
        .collect();
    assert_eq!(ranges, ["bytes=100000-", "bytes=100001-", "bytes=350001-"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_without_ranges_or_lengths_do_as_well() {
    let laboratory = with_bytes(400_000).await;
    laboratory
        .upstream
        .script("big-1.0", Some(1), Fault::CutAfter(150_000));
    laboratory.upstream.script("big-1.0", Some(1), Fault::NoRanges);
    assert_eq!(
        sha256(get(&laboratory.file("big").await, &[]).await.bytes()),
        laboratory.package.sha256
    );
    let laboratory = with_bytes(400_000).await;
    laboratory.upstream.script("big-1.0", None, Fault::NoLength);
    assert_eq!(
        sha256(get(&laboratory.file("big").await, &[]).await.bytes()),
        laboratory.package.sha256
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_proxied_checked_and_taken_out_of_the_wheel_where_it_is_missing() {
    let wheel = Wheel::new("big", "1.0").payload(2_000_000).build();
    let laboratory = Laboratory::new("big", wheel.clone()).await;
    let mut url = laboratory.file("big").await;
    url.set_path(&format!("{}.metadata", url.path()));
    // Advertised, and then not there: other caches hand the 404 on, and installers give up.
    laboratory.upstream.script(
        ".metadata",
        Some(1),
        Fault::Document(404, "text/plain", "gone".into()),
    );
    let reply = get(&url, &[]).await;
    assert_eq!(
        (reply.status.as_u16(), reply.bytes()),
        (200, wheel.metadata.as_ref().unwrap())
    );
    assert!(
        laboratory
            .upstream
            .requests()
            .iter()
            .filter(|seen| seen.path.ends_with(".whl"))
            .all(|seen| seen.headers.contains_key("range"))
    );
    laboratory.upstream.forget();
    assert_eq!(get(&url, &[]).await.bytes(), wheel.metadata.as_ref().unwrap());
    assert_eq!(laboratory.upstream.requests().len(), 0);

    let laboratory = Laboratory::new("big", wheel).await;
    let mut url = laboratory.file("big").await;
    url.set_path(&format!("{}.metadata", url.path()));
    laboratory.upstream.script(".metadata", Some(1), Fault::Corrupt);
    assert_eq!(
        get(&url, &[]).await.bytes(),
        laboratory.package.metadata.as_ref().unwrap(),
        "METADATA that does not fit its digest is not handed on: it is taken out of the wheel"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn head_tells_what_get_would_and_fetches_nothing() {
    let laboratory = with_bytes(300_000).await;
    let url = laboratory.file("big").await;
    let cold = send(Method::HEAD, &url, &[]).await;
    assert_eq!(laboratory.transfers(), 0);
    let warm = get(&url, &[]).await;
    for name in [
        "content-length",
        "content-type",
        "etag",
        "accept-ranges",
        "cache-control",
    ] {
        assert_eq!(cold.header(name), warm.header(name), "{name}");
        assert!(!warm.header(name).is_empty(), "{name}");
    }
    assert_eq!(warm.header("etag"), format!("\"{}\"", laboratory.package.sha256));
    let unchanged = get(&url, &[("if-none-match", warm.header("etag"))]).await;
    assert_eq!((unchanged.status.as_u16(), unchanged.bytes().len()), (304, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_link_works_without_anybody_having_asked_for_the_page() {
    let laboratory = with_bytes(100_000).await;
    let path = laboratory
        .upstream
        .file_url(&laboratory.package)
        .path()
        .to_owned();
    let url = laboratory.cache.url.join(&format!("files/pypi{path}")).unwrap();
    assert_eq!(get(&url, &[]).await.bytes(), &laboratory.package.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_finishes_what_is_under_way() {
    let laboratory = with_bytes(500_000).await;
    let gate = Gate::default();
    laboratory
        .upstream
        .script("big-1.0", Some(1), Fault::HoldAfter(100_000, gate.clone()));
    let url = laboratory.file("big").await;
    let mut body = open(Method::GET, &url, &[]).await.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let Laboratory { cache, package, .. } = laboratory;
    let stopping = tokio::task::spawn_blocking(move || cache.stop());
    gate.open();
    let rest = body.collect().await.unwrap().to_bytes();
    assert_eq!(sha256(&[first, rest].concat()), package.sha256);
    assert!(stopping.await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_no_transfer_and_wrong_bytes_still_do_not_arrive() {
    let mut laboratory = with_bytes(5_000_000).await;
    let upstream = laboratory.upstream.url();
    laboratory.cache.kill();
    laboratory.cache =
        Server::start_limited(laboratory.root.path(), &["--upstream", upstream.as_str()], 2000);
    let url = laboratory.file("big").await;
    let clients = (0..3).map(|_| get(&url, &[]));
    for reply in futures_util::future::join_all(clients).await {
        assert_eq!(sha256(reply.bytes()), laboratory.package.sha256);
    }
    let part = get(&url, &[("range", "bytes=1000-4999998")]).await;
    assert_eq!(part.bytes(), &laboratory.package.bytes.slice(1000..4_999_999));
    laboratory.upstream.script("big-1.0", None, Fault::Corrupt);
    assert!(breaks_off(&url).await);
    assert_eq!(laboratory.held(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_at_the_edges() {
    for size in [0, 1, 262_143, 262_144, 262_145, 524_288] {
        let laboratory = with_bytes(size).await;
        let url = laboratory.file("big").await;
        for _ in ["cold", "warm"] {
            let whole = get(&url, &[]).await;
            assert_eq!(
                (whole.status.as_u16(), whole.bytes()),
                (200, &laboratory.package.bytes),
                "{size}"
            );
            assert_eq!(whole.header("content-length"), size.to_string());
            laboratory.keeps_files(1).await;
        }
        let beyond = get(&url, &[("range", &format!("bytes={size}-"))]).await;
        assert_eq!(beyond.status.as_u16(), 416, "{size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_held_file_is_fetched_again() {
    let mut laboratory = with_bytes(100_000).await;
    get(&laboratory.file("big").await, &[]).await;
    laboratory.keeps_files(1).await;
    laboratory.keeps_pages(1).await;
    laboratory.crash();
    let url = laboratory.file("big").await;
    let digest = &laboratory.package.sha256;
    let blob = laboratory
        .root
        .path()
        .join(format!("cache/v1/blobs/{}/{digest}", &digest[..1]));
    std::fs::write(&blob, b"half").unwrap();
    assert_eq!(get(&url, &[]).await.bytes(), &laboratory.package.bytes);
    assert_eq!(laboratory.transfers(), 2);
}

/// Where an upstream dies, in a file of `size` bytes: five places, other ones in each run.
fn deaths(size: usize) -> Vec<usize> {
    use std::hash::{BuildHasher as _, Hasher as _};
    let draw = || usize::try_from(std::hash::RandomState::new().build_hasher().finish() >> 16).unwrap();
    (0..5).map(|_| draw() % (size / 5)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_survives_five_deaths_of_the_upstream_and_one_of_the_cache() {
    const SIZE: usize = 200 << 20;
    let laboratory = with_bytes(SIZE).await;
    let url = laboratory.file("big").await;
    let places = deaths(SIZE);
    for after in &places {
        laboratory
            .upstream
            .script("big-1.0", Some(1), Fault::CutAfter(*after));
    }
    assert!(is_whole(&url, &laboratory.package.bytes).await, "{places:?}");
    assert_eq!(laboratory.transfers(), 6, "{places:?}");

    // The same again with a cache that is killed in the middle of it.
    let mut laboratory = with_bytes(SIZE).await;
    laboratory
        .upstream
        .script("big-1.0", Some(1), Fault::HoldAfter(120 << 20, Gate::default()));
    for after in &places {
        laboratory
            .upstream
            .script("big-1.0", Some(1), Fault::CutAfter(*after / 4));
    }
    let path = laboratory.file("big").await.path().to_owned();
    let url = laboratory.cache.url.join(&path).unwrap();
    let mut body = open(Method::GET, &url, &[]).await.into_body();
    let mut received = 0;
    while received < 100 << 20 {
        received += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    laboratory.crash();
    laboratory.upstream.forget();
    let url = laboratory.cache.url.join(&path).unwrap();
    assert!(is_whole(&url, &laboratory.package.bytes).await, "{places:?}");
    let first = laboratory
        .upstream
        .requests()
        .into_iter()
        .find(|seen| seen.path.contains("big-1.0"));
    let range = first.unwrap().headers["range"].to_str().unwrap().to_owned();
    let from: usize = range
        .trim_start_matches("bytes=")
        .trim_end_matches('-')
        .parse()
        .unwrap();
    assert!(from >= received, "what had come in was kept: {range}");
    laboratory.keeps_files(1).await;
}
