//! A team's server: how long it takes from an upload to the page that lists it, and what rules cost a page.
//!
//! "Beside" an upload stands what the disk itself takes for the same: three files written, synced and renamed, with their
//! directories. Beside pages with rules stand those of the same server without.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use pypicache_tests::client::get_json;
use pypicache_tests::form::Form;
use pypicache_tests::package::Wheel;
use pypicache_tests::process::{Server, command};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::Effort;
use crate::corpus::JSON;
use crate::load::{Question, load, once};
use crate::report::Report;

/// Files of the large project.
const MANY: usize = 5000;

/// How many rules stand in front of pages.
const RULES: usize = 1000;

pub(crate) fn measure(effort: Effort, report: &mut Report) {
    let runtime = Runtime::new().unwrap();
    uploads(&runtime, effort, report);
    rules(effort, report);
}

fn uploads(runtime: &Runtime, effort: Effort, report: &mut Report) {
    let home = tempfile::tempdir().unwrap();
    let hosted = home.path().join(".local/share/pypicache/v1/hosted/private");
    prefill(&hosted);
    let config = home.path().join("team.toml");
    fs::write(&config, "[[source]]\nname = \"private\"\nhosted = true\n").unwrap();
    let config = config.to_str().unwrap();
    let server = Server::start(home.path(), &["--config", config]);
    let arguments = [
        "token",
        "create",
        "--name",
        "b",
        "--role",
        "developer",
        "--config",
        config,
    ];
    let output = command(home.path()).args(arguments).output().unwrap();
    let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let count = 40 * effort.rounds;
    for (project, what) in [("few", "a new project"), ("many", "a project of 5,000 files")] {
        let mut times: Vec<_> = (0..count)
            .map(|number| runtime.block_on(one_upload(&server, &token, project, &format!("2.{number}"))))
            .collect();
        note(
            &mut times,
            &format!("upload to {what} until its page lists it"),
            "pypicache",
            report,
        );
    }
    let mut times: Vec<_> = (0..count)
        .map(|number| durable_writes(home.path(), number))
        .collect();
    for what in ["a new project", "a project of 5,000 files"] {
        note(
            &mut times,
            &format!("upload to {what} until its page lists it"),
            "disk",
            report,
        );
    }
}

fn note(times: &mut [f64], row: &str, system: &'static str, report: &mut Report) {
    times.sort_by(f64::total_cmp);
    report.add(&format!("{row}: median"), "ms", system, times[times.len() / 2]);
    report.add(
        &format!("{row}: 99th percentile"),
        "ms",
        system,
        times[times.len() * 99 / 100],
    );
}

/// In milliseconds.
async fn one_upload(server: &Server, token: &str, project: &'static str, version: &str) -> f64 {
    let package = Wheel::new(project, version).payload(20_000).build();
    let form = Form::of(project, version, &package);
    let page = server.index().join(&format!("{project}/")).unwrap();
    let began = Instant::now();
    assert_eq!(
        form.send(&server.legacy(), Some(token)).await.status.as_u16(),
        200
    );
    let listed = get_json(&page).await;
    let took = began.elapsed();
    assert!(String::from_utf8_lossy(listed.bytes()).contains(&package.filename));
    took.as_secs_f64() * 1000.0
}

/// The record of a project with many files, as uploads would have left it. Nobody asks for the files themselves.
fn prefill(hosted: &Path) {
    let file = |number: usize| {
        json!({ "filename": format!("many-1.{number}-py3-none-any.whl"), "version": format!("1.{number}"), "size": 20_000,
            "sha256": format!("{number:064x}"), "upload_time": "2024-05-06T07:08:09.123456Z", "requires_python": ">=3.8",
            "metadata": format!("{number:064x}") })
    };
    let record = json!({ "files": (0..MANY).map(file).collect::<Vec<_>>() });
    fs::create_dir_all(hosted.join("projects")).unwrap();
    fs::write(hosted.join("projects/many.json"), record.to_string()).unwrap();
}

/// What an upload writes, without a server: wheel, METADATA, record. In milliseconds.
fn durable_writes(directory: &Path, number: usize) -> f64 {
    let began = Instant::now();
    for (name, length) in [("wheel", 20_000), ("metadata", 100), ("record", 400)] {
        let (staged, target) = (
            directory.join(format!("{name}.new")),
            directory.join(format!("{name}-{number}")),
        );
        let mut file = File::create(&staged).unwrap();
        file.write_all(&vec![7; length]).unwrap();
        file.sync_data().unwrap();
        fs::rename(staged, target).unwrap();
    }
    for _ in 0..2 {
        File::open(directory).unwrap().sync_all().unwrap();
    }
    began.elapsed().as_secs_f64() * 1000.0
}

fn rules(effort: Effort, report: &mut Report) {
    let home = [(); 2].map(|()| tempfile::tempdir().unwrap());
    // Each is about the project, and none keeps anything out: the worst case.
    let rule = |number: usize| {
        format!("[[policy.rule]]\nname = \"r{number}\"\ndeny = [\"many==99.{number}\", \"other-{number}\"]\n")
    };
    let all: String = (0..RULES).map(rule).collect();
    let start = |home: &Path, rules: &str| {
        prefill(&home.join(".local/share/pypicache/v1/hosted/private"));
        let config = home.join("p.toml");
        fs::write(
            &config,
            format!("{rules}[[source]]\nname = \"private\"\nhosted = true\n"),
        )
        .unwrap();
        Server::start(home, &["--config", config.to_str().unwrap()])
    };
    let servers = [
        ("pypicache", start(home[0].path(), &format!("[policy]\n{all}"))),
        ("without rules", start(home[1].path(), "")),
    ];
    let request = Question::new("/simple/many/", &[("accept", JSON), ("accept-encoding", "gzip")]);
    let row = "page of 5,000 files behind 1,000 rules";
    for (system, server) in &servers {
        let began = Instant::now();
        assert_eq!(once(server.socket(), &request).status, 200);
        let took = began.elapsed().as_secs_f64() * 1000.0;
        report.add(&format!("{row}: the first"), "ms", system, took);
        once(server.socket(), &request);
    }
    for _ in 0..effort.rounds {
        for (system, server) in &servers {
            let time = Duration::from_millis(effort.milliseconds);
            let brought = load(server.socket(), &request, 16, time);
            report.add(row, "requests/s", system, brought.per_second);
        }
    }
}
