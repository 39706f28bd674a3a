//! The suite that every source has to pass, on every kind of source, wrapped and over loopback HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use pypicache_core::Clock;
use pypicache_core::cached_source::{CacheOptions, CachedSource};
use pypicache_core::chained_source::{ChainedSource, Member};
use pypicache_core::conformance::{self, Sample};
use pypicache_core::disk_source::DiskSource;
use pypicache_core::hosted_source::{HostedOptions, HostedSource, Upload};
use pypicache_core::http_source::{ClientOptions, HttpClient, HttpOptions, HttpSource};
use pypicache_core::mirrored_source::{MirrorOptions, MirroredSource};
use pypicache_core::policy_source::{PolicySource, Rule, Rules, Target, Verdict};
use pypicache_core::prefetching_source::{PrefetchOptions, PrefetchingSource};
use pypicache_core::source::IndexSource;
use pypicache_core::store::DiskStore;
use pypicache_server::{Index, ServeOptions, Site, serve};
use tempfile::TempDir;
use url::Url;

struct Sampled {
    sample: Sample,
    directory: TempDir,
}

impl Sampled {
    fn new() -> Self {
        let (sample, directory) = (Sample::standard(), tempfile::tempdir().unwrap());
        std::fs::create_dir(directory.path().join("files")).unwrap();
        sample.write_to(&directory.path().join("files")).unwrap();
        Self { sample, directory }
    }

    fn disk(&self) -> DiskSource {
        DiskSource::new("sample", self.directory.path().join("files"))
    }

    fn cached(&self, number: usize, inner: impl IndexSource) -> CachedSource {
        let store = DiskStore::open(self.directory.path().join(format!("cache-{number}")), None).unwrap();
        CachedSource::new("sample", inner, store, CacheOptions::default())
    }

    async fn check(&self, source: impl IndexSource) {
        conformance::all(&source, &self.sample).await;
    }
}

/// The source behind a real server on a real socket.
async fn over_http(source: impl IndexSource) -> HttpSource {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let index: Url = format!("http://{}/simple/", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let site = Site::new(format!("tier-{index}"), vec![Index::new("", Arc::new(source))]);
    tokio::spawn(serve(
        listener,
        Arc::new(site),
        ServeOptions::default(),
        std::future::pending(),
    ));
    HttpSource::new(
        "sample",
        index,
        HttpClient::new(ClientOptions::default()).unwrap(),
        HttpOptions::default(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn cached() {
    let sampled = Sampled::new();
    let source = sampled.cached(1, sampled.disk());
    sampled.check(source.clone()).await;
    sampled.check(source).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_twice() {
    let sampled = Sampled::new();
    sampled
        .check(sampled.cached(1, sampled.cached(2, sampled.disk())))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prefetching() {
    let sampled = Sampled::new();
    let behind = Arc::new(sampled.cached(1, sampled.disk()));
    sampled
        .check(PrefetchingSource::new(behind, PrefetchOptions::default()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosted() {
    let sampled = Sampled::new();
    let source = HostedSource::open(
        "sample",
        sampled.directory.path().join("hosted"),
        HostedOptions::default(),
    )
    .unwrap();
    for file in &sampled.sample.files {
        let mut receiving = source.receive().await.unwrap();
        receiving.write(&file.bytes).await.unwrap();
        let upload = Upload {
            filename: file.filename.clone(),
            project: file.project.clone(),
            version: file.filename.version_for(&file.project).unwrap().to_string(),
            digests: Vec::new(),
            attestations: None,
            uploader: None,
            upload_time: None,
            is_of_old: false,
        };
        source
            .publish(upload, receiving.finish().await.unwrap())
            .await
            .unwrap();
    }
    sampled.check(source.clone()).await;
    sampled.check(sampled.cached(1, over_http(source).await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_rules_that_keep_nothing_out() {
    let sampled = Sampled::new();
    let rule = Rule {
        name: "none".into(),
        verdict: Verdict::Deny,
        targets: vec![Target::parse("*<0.1").unwrap()],
        kinds: Vec::new(),
        tags: Vec::new(),
        reason: None,
    };
    let rules = Rules {
        rules: vec![rule],
        ..Rules::default()
    };
    sampled
        .check(PolicySource::new(
            Arc::new(sampled.disk()),
            rules.clone(),
            Clock::system(),
        ))
        .await;
    let behind = Arc::new(sampled.cached(1, sampled.disk()));
    sampled
        .check(PolicySource::new(behind, rules, Clock::system()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chained() {
    let sampled = Sampled::new();
    let empty = sampled.directory.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    sampled
        .check(ChainedSource::new(vec![
            Member::new(Arc::new(DiskSource::new("empty", empty))),
            Member::new(Arc::new(sampled.disk())),
        ]))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrored_with_the_first_one_dead() {
    let sampled = Sampled::new();
    let client = HttpClient::new(ClientOptions::default()).unwrap();
    let dead = HttpSource::new(
        "sample",
        "http://127.0.0.1:9/simple/".parse::<url::Url>().unwrap(),
        client,
        HttpOptions::default(),
    );
    sampled
        .check(MirroredSource::new(
            "sample",
            vec![Arc::new(dead), Arc::new(sampled.disk())],
            MirrorOptions::default(),
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_loopback_http() {
    let sampled = Sampled::new();
    sampled.check(over_http(sampled.disk()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_tiers_over_loopback_http() {
    let sampled = Sampled::new();
    let team = over_http(sampled.cached(1, over_http(sampled.disk()).await)).await;
    let laptop = over_http(sampled.cached(2, team)).await;
    sampled.check(sampled.cached(3, laptop)).await;
}
