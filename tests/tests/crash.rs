//! Many uploads at once, and servers that are killed in the middle of them: what was answered for is there, and nothing is
//! there by half.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hyper::StatusCode;
use pypicache_tests::client::{get, try_post};
use pypicache_tests::form::{BOUNDARY, Form, basic};
use pypicache_tests::package::{Package, Wheel};
use pypicache_tests::process::Server;
use pypicache_tests::team::{Team, files};
use tokio::task::JoinSet;
use url::Url;

/// How many uploads there are at once.
const COUNT: usize = 100;

fn package(number: usize, payload: usize) -> Package {
    Wheel::new(project(number), &format!("1.{number}"))
        .payload(payload)
        .build()
}

/// All uploads are of a few projects, so that they get into each other's way.
fn project(number: usize) -> &'static str {
    ["acme-one", "acme-two", "acme-three"][number % 3]
}

/// Sends a package; the status, if there is an answer.
async fn upload(
    legacy: Url,
    token: String,
    number: usize,
    package: Package,
) -> (Package, Option<StatusCode>) {
    let form = Form::of(project(number), &format!("1.{number}"), &package);
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let authorization = basic(&token);
    let headers = [
        ("content-type", &*content_type),
        ("authorization", &*authorization),
    ];
    let status = try_post(&legacy, &headers, Bytes::from(form.body())).await;
    (package, status)
}

/// Every file that is listed, with its bytes, which have to be those of its digest.
async fn offered(server: &Server) -> BTreeMap<String, Bytes> {
    let mut offered = BTreeMap::new();
    for project in ["acme-one", "acme-two", "acme-three"] {
        let page = server.index().join(&format!("{project}/")).unwrap();
        for file in files(server, project).await {
            let link = page.join(file["url"].as_str().unwrap()).unwrap();
            let reply = get(&link, &[]).await;
            let bytes = reply.bytes().clone();
            assert_eq!(
                pypicache_tests::package::sha256(&bytes),
                file["hashes"]["sha256"].as_str().unwrap()
            );
            let metadata = get(&format!("{link}.metadata").parse().unwrap(), &[]).await;
            let digest = pypicache_tests::package::sha256(metadata.bytes());
            assert_eq!(digest, file["core-metadata"]["sha256"].as_str().unwrap());
            offered.insert(file["filename"].as_str().unwrap().to_owned(), bytes);
        }
    }
    offered
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_different_files_at_once() {
    let team = Team::start().await;
    let token = team.token("developer", &[]);
    let mut uploads = JoinSet::new();
    for number in 0..COUNT {
        uploads.spawn(upload(
            team.server.legacy(),
            token.clone(),
            number,
            package(number, 20_000),
        ));
    }
    while let Some(done) = uploads.join_next().await {
        let (package, status) = done.unwrap();
        assert_eq!(status, Some(StatusCode::OK), "{}", package.filename);
    }
    assert_eq!(offered(&team.server).await.len(), COUNT);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_under_two_contents_has_one_of_them() {
    let team = Team::start().await;
    let token = team.token("developer", &[]);
    let (one, other) = (package(0, 1000), package(0, 2000));
    assert_eq!(one.filename, other.filename);
    let mut uploads = JoinSet::new();
    for number in 0..COUNT {
        let package = if number % 2 == 0 { &one } else { &other };
        uploads.spawn(upload(team.server.legacy(), token.clone(), 0, package.clone()));
    }
    let mut statuses = BTreeMap::new();
    while let Some(done) = uploads.join_next().await {
        let (package, status) = done.unwrap();
        let seen: &mut Vec<_> = statuses.entry(package.sha256).or_default();
        seen.push(status.unwrap().as_u16());
    }
    let bytes = offered(&team.server).await.remove(&one.filename).unwrap();
    for package in [&one, &other] {
        let expected = if package.bytes == bytes { 200 } else { 409 };
        assert!(
            statuses[&package.sha256].iter().all(|status| *status == expected),
            "{statuses:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_a_kill_and_the_rest_is_whole_or_not_there() {
    let mut team = Team::start().await;
    let token = team.token("developer", &[]);
    let (mut answered, mut sent) = (BTreeMap::new(), BTreeMap::new());
    let mut cut = 0;
    // Each round ends after so many answers: early, in the middle, late.
    for (round, answers) in [0, 1, 7, 20, 45, 60].into_iter().enumerate() {
        let mut uploads = JoinSet::new();
        for number in 0..COUNT {
            let number = round * COUNT + number;
            let package = package(number, 50_000);
            sent.insert(package.filename.clone(), package.bytes.clone());
            uploads.spawn(upload(team.server.legacy(), token.clone(), number, package));
        }
        let mut seen = 0;
        while seen < answers {
            let (package, status) = uploads.join_next().await.unwrap().unwrap();
            assert_eq!(status, Some(StatusCode::OK));
            answered.insert(package.filename, package.bytes);
            seen += 1;
        }
        team.crash();
        while let Some(done) = uploads.join_next().await {
            match done.unwrap() {
                (package, Some(status)) if status == StatusCode::OK => {
                    answered.insert(package.filename, package.bytes);
                }
                _ => cut += 1,
            }
        }
        let offered = offered(&team.server).await;
        for (name, bytes) in &answered {
            assert_eq!(offered.get(name), Some(bytes), "{name} was answered for");
        }
        for (name, bytes) in &offered {
            assert_eq!(sent.get(name), Some(bytes), "{name} is there by half");
        }
    }
    assert!(cut > 100, "the kills came too late: {cut}");
    println!("{} answered for, {cut} cut off", answered.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_directory_take_uploads_together() {
    let team = Team::start().await;
    let config = team.root.path().join("team.toml");
    let second = Server::start(team.root.path(), &["--config", config.to_str().unwrap()]);
    let token = team.token("developer", &[]);
    let mut uploads = JoinSet::new();
    for number in 0..COUNT {
        let server = if number % 2 == 0 { &team.server } else { &second };
        uploads.spawn(upload(
            server.legacy(),
            token.clone(),
            number,
            package(number, 1000),
        ));
    }
    while let Some(done) = uploads.join_next().await {
        assert_eq!(done.unwrap().1, Some(StatusCode::OK));
    }
    let (one, other) = (offered(&team.server).await, offered(&second).await);
    assert_eq!(one.len(), COUNT);
    assert_eq!(one, other, "each sees what the other took");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_configurations_and_commands_cost_no_upload() {
    let team = Team::start().await;
    let token = team.token("developer", &[]);
    let is_over = AtomicBool::new(false);
    let statuses = std::thread::scope(|scope| {
        for command in [
            &["import", "/dev/null/none"][..],
            &["backup", "create", "/dev/null", "--allow-empty"][..],
        ] {
            let (team, is_over) = (&team, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let process = team.server.process().to_string();
                    let told = std::process::Command::new("kill")
                        .args(["-HUP", &process])
                        .status();
                    assert!(told.unwrap().success());
                    let _ = team.command(command, None);
                }
            });
        }
        let uploads = async {
            let mut statuses = Vec::new();
            for round in 0..3 {
                let mut uploads = JoinSet::new();
                for number in round * COUNT..(round + 1) * COUNT {
                    uploads.spawn(upload(
                        team.server.legacy(),
                        token.clone(),
                        number,
                        package(number, 1000),
                    ));
                }
                while let Some(done) = uploads.join_next().await {
                    statuses.push(done.unwrap().1);
                }
            }
            statuses
        };
        let statuses = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(uploads));
        is_over.store(true, Ordering::Relaxed);
        statuses
    });
    let failed: Vec<_> = statuses
        .iter()
        .filter(|status| **status != Some(StatusCode::OK))
        .collect();
    assert!(failed.is_empty(), "{failed:?} of {}", statuses.len());
    assert_eq!(offered(&team.server).await.len(), 3 * COUNT);
}
