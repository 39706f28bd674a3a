//! What is held: pages, 304s, files and ranges, by 16 connections; the server's processor time beside.

use std::net::SocketAddr;
use std::time::Duration;

use pypicache_tests::process::Server;

use crate::Effort;
use crate::corpus::{Corpus, JSON, LARGE};
use crate::load::{Question, load, once};
use crate::nginx::Nginx;
use crate::report::Report;

/// A system that answers, and the processes that do.
struct System {
    name: &'static str,
    address: SocketAddr,
    process: u32,
    /// What stands in front of a file's path.
    files: &'static str,
}

struct Row {
    name: &'static str,
    unit: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    connections: usize,
}

pub(crate) fn measure(corpus: &Corpus, effort: Effort, report: &mut Report) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let upstream = corpus.upstream(&runtime, Duration::ZERO);
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &["--upstream", &upstream.index()]);
    let nginx = Nginx::start(Some(corpus), upstream.address);
    let mut systems = vec![System {
        name: "pypicache",
        address: server.socket(),
        process: server.process(),
        files: "/files/pypi",
    }];
    if let Some(nginx) = &nginx {
        systems.push(System {
            name: "nginx",
            address: nginx.statics,
            process: nginx.process(),
            files: "",
        });
    }
    for row in rows(corpus) {
        for round in 0..=effort.rounds {
            for system in &systems {
                one(&row, system, round, effort, report);
            }
        }
    }
    report.add(
        "memory after all this",
        "MB",
        "pypicache",
        memory(server.process()),
    );
    assert_eq!(server_is_right(corpus, server.socket()), corpus.large.len());
}

fn rows(corpus: &Corpus) -> Vec<Row> {
    let row = |name, unit, path: &str, headers: &[(&'static str, &str)], connections| Row {
        name,
        unit,
        path: path.to_owned(),
        headers: Question::new("", headers).headers,
        connections,
    };
    let packed = [("accept", JSON), ("accept-encoding", "gzip")];
    let small = corpus.file_of("leaf-0");
    vec![
        row("page of 48 files", "requests/s", "/simple/small/", &packed, 16),
        row("page of 244 files", "requests/s", "/simple/medium/", &packed, 16),
        row("page of 4,312 files", "requests/s", "/simple/huge/", &packed, 16),
        row(
            "304 for a page",
            "requests/s",
            "/simple/medium/",
            &[packed[0], packed[1], ("if-none-match", "")],
            16,
        ),
        row("wheel of 11 kB", "requests/s", &small, &[], 16),
        row("METADATA", "requests/s", &format!("{small}.metadata"), &[], 16),
        row("large file, 1 reader", "MB/s", LARGE, &[], 1),
        row("large file, 8 readers", "MB/s", LARGE, &[], 8),
        row(
            "ranges of 16 kB",
            "requests/s",
            LARGE,
            &[("range", "bytes=1000000-1016383")],
            16,
        ),
    ]
}

/// The first round fills the cache and counts for nothing.
fn one(row: &Row, system: &System, round: usize, effort: Effort, report: &mut Report) {
    let is_page = row.path.starts_with("/simple/");
    let front = if is_page { "" } else { system.files };
    let mut request = Question {
        path: format!("{front}{}", row.path),
        headers: row.headers.clone(),
    };
    if round == 0 {
        let unconditional: Vec<_> = row
            .headers
            .iter()
            .filter(|(name, _)| *name != "if-none-match")
            .cloned()
            .collect();
        let page = Question {
            headers: unconditional,
            ..request
        };
        // Twice, since the first answer to a local client is not packed.
        once(system.address, &page);
        once(system.address, &page);
        return;
    }
    if let Some((_, value)) = request
        .headers
        .iter_mut()
        .find(|(name, _)| *name == "if-none-match")
    {
        let plain = Question::new(row.path.clone(), &[("accept", JSON), ("accept-encoding", "gzip")]);
        *value = once(system.address, &plain).etag.unwrap();
    }
    let before = cpu(system.process);
    let brought = load(
        system.address,
        &request,
        row.connections,
        Duration::from_millis(effort.milliseconds),
    );
    let used = cpu(system.process) - before;
    let figure = match row.unit {
        "MB/s" => brought.per_second * (brought.bytes as f64 / brought.answers.max(1) as f64) / 1e6,
        _ => brought.per_second,
    };
    report.add(row.name, row.unit, system.name, figure);
    if is_page {
        let per_thousand = used / brought.answers.max(1) as f64 * 1000.0;
        report.add(
            &format!("{}: processor", row.name),
            "ms per 1,000",
            system.name,
            per_thousand,
        );
    }
}

/// How many bytes of the large file come, after all of them were compared.
fn server_is_right(corpus: &Corpus, server: SocketAddr) -> usize {
    let answer = once(server, &Question::new(format!("/files/pypi{LARGE}"), &[]));
    assert!(answer.body == corpus.large, "the large file came wrong");
    answer.body.len()
}

/// The processor time of a process and its children so far, in milliseconds.
fn cpu(process: u32) -> f64 {
    let children =
        std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    let mut processes: Vec<u32> = children
        .split_whitespace()
        .filter_map(|text| text.parse().ok())
        .collect();
    processes.push(process);
    let of = |process: &u32| -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().ok()? + fields[12].parse::<f64>().ok()?;
        Some(ticks * 10.0)
    };
    processes.iter().filter_map(of).sum()
}

/// Resident memory in megabytes.
pub(crate) fn memory(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: f64 = line
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0);
    kilobytes / 1024.0
}
