//! A cached source in memory and on disk: what one request costs without any HTTP.
//!
//! `cargo bench --package pypicache-core --bench tier`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark"
)]

use std::sync::OnceLock;

use divan::Bencher;
use pypicache_core::cached_source::{CacheOptions, CachedSource};
use pypicache_core::chained_source::ChainedSource;
use pypicache_core::disk_source::DiskSource;
use pypicache_core::model::{FilePath, ProjectName};
use pypicache_core::source::{CacheMode, FileRequest, IndexSource as _, RequestContext};
use pypicache_core::store::DiskStore;
use tempfile::TempDir;
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

struct Fixture {
    runtime: Runtime,
    source: CachedSource,
    store: DiskStore,
    small: FilePath,
    large: FilePath,
    _directory: TempDir,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let files = directory.path().join("files");
        std::fs::create_dir(&files).unwrap();
        std::fs::write(files.join("acme_sdk-1.0.tar.gz"), vec![7; 11_000]).unwrap();
        std::fs::write(files.join("acme_sdk-2.0.tar.gz"), vec![7; 8_000_000]).unwrap();
        let store = DiskStore::open(directory.path().join("cache"), None).unwrap();
        let source = CachedSource::new(
            "files",
            DiskSource::new("files", files),
            store.clone(),
            CacheOptions::default(),
        );
        let name = ProjectName::parse("acme-sdk").unwrap();
        let paths: Vec<_> = runtime.block_on(async {
            let page = source
                .page(&name, &RequestContext::default())
                .await
                .unwrap()
                .found()
                .unwrap()
                .page;
            for file in &page.files {
                let reply = source
                    .file(&FileRequest::whole(file.path.clone()), &RequestContext::default())
                    .await;
                reply
                    .unwrap()
                    .found()
                    .unwrap()
                    .body
                    .collect(9_000_000)
                    .await
                    .unwrap();
            }
            page.files.iter().map(|file| file.path.clone()).collect()
        });
        let of = |version: &str| {
            paths
                .iter()
                .find(|path| path.as_str().contains(version))
                .unwrap()
                .clone()
        };
        Fixture {
            small: of("-1.0"),
            large: of("-2.0"),
            runtime,
            source,
            store,
            _directory: directory,
        }
    })
}

fn context(bencher: Bencher<'_, '_>, path: &FilePath) {
    let fixture = fixture();
    let request = FileRequest::whole(path.clone());
    bencher.bench(|| {
        fixture
            .runtime
            .block_on(fixture.source.file(&request, &RequestContext::default()))
            .unwrap()
    });
}

/// As after a restart: the page's record is read, and the file opened.
#[divan::bench]
fn page_and_small_file_from_disk(bencher: Bencher<'_, '_>) {
    let fixture = fixture();
    let request = FileRequest::whole(fixture.small.clone());
    bencher
        .with_inputs(|| {
            let nothing = ChainedSource::new(Vec::new());
            CachedSource::new("files", nothing, fixture.store.clone(), CacheOptions::default())
        })
        .bench_values(|source| {
            let reply = fixture
                .runtime
                .block_on(source.file(&request, &RequestContext::default()));
            reply.unwrap().found().unwrap()
        });
}

#[divan::bench]
fn held_page(bencher: Bencher<'_, '_>) {
    let (fixture, name) = (fixture(), ProjectName::parse("acme-sdk").unwrap());
    let held = RequestContext {
        cache_mode: CacheMode::OnlyIfCached,
        ..RequestContext::default()
    };
    bencher.bench(|| {
        fixture
            .runtime
            .block_on(fixture.source.page(&name, &held))
            .unwrap()
    });
}

#[divan::bench]
fn small_file_in_memory(bencher: Bencher<'_, '_>) {
    context(bencher, &fixture().small);
}

#[divan::bench]
fn large_file_open(bencher: Bencher<'_, '_>) {
    context(bencher, &fixture().large);
}
