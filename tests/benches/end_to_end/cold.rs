//! What is not held yet: the first answer about a page, a file for 50 clients at once, small pages one after the other,
//! and the start of the server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pypicache_tests::process::Server;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::Effort;
use crate::corpus::{CannedUpstream, Corpus, JSON, LARGE, SMALL_PROJECTS};
use crate::load::{Connection, Question, once};
use crate::nginx::Nginx;
use crate::report::Report;
use crate::warm::memory;

/// What an upstream on the other side of a country takes.
const LATENCY: Duration = Duration::from_millis(50);

pub(crate) fn measure(corpus: &Corpus, effort: Effort, report: &mut Report) {
    let runtime = Runtime::new().unwrap();
    let (near, far) = (
        corpus.upstream(&runtime, Duration::ZERO),
        corpus.upstream(&runtime, LATENCY),
    );
    for _ in 0..effort.rounds {
        let (directory, began) = (tempfile::tempdir().unwrap(), Instant::now());
        let server = Server::start(directory.path(), &["--upstream", &near.index()]);
        once(server.socket(), &Question::new("/", &[]));
        report.add(
            "start to first answer, empty",
            "ms",
            "pypicache",
            milliseconds(began),
        );
        report.add("memory, idle", "MB", "pypicache", memory(server.process()));
        let nginx = Nginx::start(None, near.address);
        pages("pypicache", server.socket(), report);
        if let Some(nginx) = &nginx {
            pages("nginx-cache", nginx.cache, report);
        }
        restarted(server, &directory, &near, report);
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(directory.path(), &["--upstream", &far.index()]);
        crowd(
            "pypicache",
            server.socket(),
            &format!("/files/pypi{LARGE}"),
            &far,
            corpus,
            &runtime,
            report,
        );
        let nginx = Nginx::start(None, far.address);
        if let Some(nginx) = &nginx {
            crowd("nginx-cache", nginx.cache, LARGE, &far, corpus, &runtime, report);
        }
    }
}

fn page(project: &str) -> Question {
    Question::new(
        format!("/simple/{project}/"),
        &[("accept", JSON), ("accept-encoding", "gzip")],
    )
}

fn pages(system: &'static str, address: SocketAddr, report: &mut Report) {
    once(address, &page("small"));
    let began = Instant::now();
    assert_eq!(once(address, &page("huge")).status, 200);
    report.add(
        "first answer, page of 4,312 files",
        "ms",
        system,
        milliseconds(began),
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let began = Instant::now();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for task in 0..16 {
            tasks.spawn(async move {
                let mut connection = Connection::open(address).await;
                for number in (task..SMALL_PROJECTS).step_by(16) {
                    assert_eq!(
                        connection
                            .context(&page(&format!("leaf-{number}")), || {})
                            .await
                            .status,
                        200
                    );
                }
            });
        }
        tasks.join_all().await;
    });
    let per_second = SMALL_PROJECTS as f64 / began.elapsed().as_secs_f64();
    report.add("cold pages of one file", "pages/s", system, per_second);
}

/// The same server once more, with what it holds.
fn restarted(server: Server, directory: &tempfile::TempDir, upstream: &CannedUpstream, report: &mut Report) {
    let _ = server.stop();
    let began = Instant::now();
    let server = Server::start(directory.path(), &["--upstream", &upstream.index()]);
    assert_eq!(once(server.socket(), &page("huge")).status, 200);
    report.add(
        "start to first held page (4,312 files)",
        "ms",
        "pypicache",
        milliseconds(began),
    );
}

/// 50 clients, one cold file.
fn crowd(
    system: &'static str,
    address: SocketAddr,
    path: &str,
    upstream: &CannedUpstream,
    corpus: &Corpus,
    runtime: &Runtime,
    report: &mut Report,
) {
    once(address, &page("large"));
    let asked_before = upstream.asked();
    let (began, expected, request) = (Instant::now(), corpus.large.clone(), Question::new(path, &[]));
    let slowest = runtime.block_on(async {
        let mut clients = JoinSet::new();
        for _ in 0..50 {
            let (expected, request) = (expected.clone(), request.clone());
            clients.spawn(async move {
                let mut connection = Connection::open(address).await;
                let mut first = Duration::ZERO;
                connection
                    .compare(&request, &expected, || first = began.elapsed())
                    .await;
                first
            });
        }
        clients.join_all().await.into_iter().max().unwrap()
    });
    report.add(
        "50 clients, one cold large file: all done",
        "ms",
        system,
        milliseconds(began),
    );
    report.add(
        "the slowest of their first bytes",
        "ms",
        system,
        slowest.as_secs_f64() * 1000.0,
    );
    report.add(
        "requests for it upstream",
        "requests",
        system,
        (upstream.asked() - asked_before) as f64,
    );
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}
