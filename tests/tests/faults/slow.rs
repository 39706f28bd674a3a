//! Large files whose upstream is slow on each connection: they come in several ranges, in order, and checked as ever.

use std::time::Duration;

use pypicache_tests::client::get;
use pypicache_tests::package::{Package, noise, plain};
use pypicache_tests::tiers::Tiers;
use pypicache_tests::upstream::{Fault, Upstream};
use pypicache_tests::virtually::virtually;

use crate::ms;

const SIZE: usize = 24_000_000;

/// 10 MB a second on each connection: all of the file in 2.4 s.
fn slowly() -> Fault {
    Fault::Slow(1_000_000, ms(100))
}

async fn upstream() -> (Upstream, Package) {
    let (upstream, package) = (Upstream::start().await, plain("large-1.0.tar.gz", noise(SIZE)));
    upstream.add("large", package.clone());
    (upstream, package)
}

/// How long a client waits for all of it, which is right.
async fn time(tiers: &Tiers, package: &Package) -> Duration {
    let url = tiers.file("large").await;
    let (reply, waited) = virtually(get(&url, &[])).await;
    assert!(
        reply.body.as_ref() == Ok(&package.bytes),
        "{:?}",
        reply.body.map(|body| body.len())
    );
    waited
}

fn ranges(upstream: &Upstream) -> Vec<String> {
    let requests = upstream
        .requests()
        .into_iter()
        .filter(|seen| seen.path.ends_with(".tar.gz"));
    requests
        .map(|seen| {
            seen.headers
                .get("range")
                .map_or("whole".to_owned(), |range| range.to_str().unwrap().to_owned())
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_rest_comes_by_several_connections() {
    for tiers in [1, 2] {
        let (upstream, package) = upstream().await;
        upstream.script(".tar.gz", None, slowly());
        let tiers = Tiers::start(tiers, &upstream.url(), "").await;
        let waited = time(&tiers, &package).await;
        assert!(waited < ms(1500), "{waited:?} at {} tiers", tiers.count());
        assert_eq!(ranges(&upstream).len(), 4, "{:?}", ranges(&upstream));
        tiers
            .assert_held(&vec![[1, 1, 0]; tiers.count()], "nothing but the file")
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn by_one_connection_where_that_is_configured() {
    let (upstream, package) = upstream().await;
    upstream.script(".tar.gz", None, slowly());
    let tiers = Tiers::start(1, &upstream.url(), "connections-per-file = 1\n").await;
    assert!(time(&tiers, &package).await > ms(2300));
    assert_eq!(ranges(&upstream), ["whole"]);
}

#[tokio::test(start_paused = true)]
async fn a_fast_file_comes_by_one_connection() {
    let (upstream, package) = upstream().await;
    upstream.script(".tar.gz", None, Fault::Slow(5_000_000, ms(100)));
    let tiers = Tiers::start(1, &upstream.url(), "").await;
    assert!(time(&tiers, &package).await < ms(900));
    assert_eq!(ranges(&upstream), ["whole"]);
}

#[tokio::test(start_paused = true)]
async fn stretches_that_go_wrong_cost_time_and_nothing_else() {
    for fault in [
        Fault::CutAfter(1_500_000),
        Fault::Reset,
        Fault::NoRanges,
        Fault::Hang,
        Fault::Answer(503, Vec::new(), "no".into()),
    ] {
        let (upstream, package) = upstream().await;
        upstream.script(".tar.gz", Some(1), slowly());
        upstream.script(".tar.gz", Some(3), fault.clone());
        upstream.script(".tar.gz", None, slowly());
        let tiers = Tiers::start(1, &upstream.url(), "").await;
        let waited = time(&tiers, &package).await;
        assert!(waited < ms(7000), "{fault:?}: {waited:?}");
        tiers.assert_held(&[[1, 1, 0]], &format!("{fault:?}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_byte_in_a_stretch_is_found() {
    let (upstream, _) = upstream().await;
    upstream.script(".tar.gz", Some(1), slowly());
    upstream.script(".tar.gz", None, Fault::Corrupt);
    let tiers = Tiers::start(1, &upstream.url(), "").await;
    let url = tiers.file("large").await;
    let (reply, _) = virtually(get(&url, &[])).await;
    assert!(reply.body.is_err(), "a wrong file was handed out whole");
    tiers.assert_held(&[[1, 0, 0]], "nothing of it is kept").await;
}
