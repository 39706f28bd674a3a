//! Running a server: health, metrics, ids of requests through tiers, a new configuration without a restart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::process::Command;

use pypicache_tests::client::{get, get_json, open};
use pypicache_tests::form::Form;
use pypicache_tests::package::Wheel;
use pypicache_tests::process::Server;
use pypicache_tests::team::{Team, files};
use pypicache_tests::upstream::Upstream;

fn hang_up(server: &Server) {
    let status = Command::new("kill")
        .args(["-HUP", &server.process().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Waits for a word in the log.
fn says(server: &Server, word: &str, times: usize) {
    while server.output().matches(word).count() < times {
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_takes_its_place_and_a_bad_one_does_not() {
    let (upstream, home) = (Upstream::start().await, tempfile::tempdir().unwrap());
    upstream.add("six", Wheel::new("six", "1.0").build());
    let config = home.path().join("p.toml");
    let write = |front: &str| {
        std::fs::write(
            &config,
            format!(
                "prefetch = false\n{front}[[source]]\nname = \"pypi\"\nupstream = \"{}\"\n",
                upstream.url()
            ),
        )
        .unwrap();
    };
    write("");
    let server = Server::start(home.path(), &["--config", config.to_str().unwrap()]);
    let page = server.index().join("six/").unwrap();
    assert_eq!(get_json(&page).await.status.as_u16(), 200);
    write("[policy]\n[[policy.rule]]\nname = \"no-six\"\ndeny = [\"six\"]\n");
    hang_up(&server);
    says(&server, "the new configuration is in use", 1);
    assert_eq!(get_json(&page).await.status.as_u16(), 451);
    let requests = |text: &str| {
        text.lines()
            .find(|line| line.starts_with("pypicache_requests_total{route=\"page\",status=\"200\"}"))
            .map(str::to_owned)
    };
    let metrics = get(&server.url.join("metrics").unwrap(), &[]).await;
    assert!(
        requests(&String::from_utf8_lossy(metrics.bytes())).is_some(),
        "what was counted before is not forgotten"
    );

    std::fs::write(&config, "[policy]\ncool-down = \"soon\"\n").unwrap();
    hang_up(&server);
    says(&server, "the old one stays in use", 1);
    server.says("policy.cool-down");
    assert_eq!(get_json(&page).await.status.as_u16(), 451, "the rules stay");
    write("listen = \"127.0.0.1:1\"\n");
    hang_up(&server);
    says(&server, "the new configuration is in use", 2);
    assert_eq!(get_json(&page).await.status.as_u16(), 200);
    assert!(server.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_outlive_a_new_configuration() {
    let (team, file) = (
        Team::start().await,
        Wheel::new("six", "1.0").payload(2_000_000).build(),
    );
    team.upstream.add("six", file.clone());
    let page = team.server.index().join("six/").unwrap();
    let href = get_json(&page).await.json()["files"][0]["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let under_way = open(hyper::Method::GET, &page.join(&href).unwrap(), &[]).await;
    hang_up(&team.server);
    says(&team.server, "the new configuration is in use", 1);
    let body = http_body_util::BodyExt::collect(under_way.into_body())
        .await
        .unwrap()
        .to_bytes();
    assert_eq!(body, file.bytes);
}

fn has_line(reply: &pypicache_tests::client::Reply, wanted: &str) -> bool {
    let text = String::from_utf8_lossy(reply.bytes());
    text.lines().any(|line| line == wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_happened_and_name_no_project() {
    let mut team = Team::start().await;
    let token = team.token("developer", &[]);
    let package = Wheel::new("acme-one", "1.0").build();
    team.upstream
        .add("six", Wheel::new("six", "1.0").payload(10_000).build());
    assert_eq!(
        Form::of("acme-one", "1.0", &package)
            .send(&team.server.legacy(), Some(&token))
            .await
            .status
            .as_u16(),
        200
    );
    let _ = Form::of("acme-one", "2.0", &package)
        .send(&team.server.legacy(), Some(&token))
        .await;
    let _ = Form::of("acme-one", "1.0", &package)
        .send(&team.server.legacy(), Some("wrong"))
        .await;
    let page = team.server.index().join("six/").unwrap();
    let href = get_json(&page).await.json()["files"][0]["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let size = get(&page.join(&href).unwrap(), &[]).await.bytes().len();
    let _ = get_json(&page).await;
    team.upstream.stop().await;
    let _ = get_json(&team.server.index().join("unknown/").unwrap()).await;
    // A transfer is over when its file is in its place, which is behind the answer.
    let mut metrics = get(&team.url("metrics"), &[]).await;
    let began = std::time::Instant::now();
    while !has_line(&metrics, "pypicache_transfers_finished_total{source=\"pypi\"} 1")
        && began.elapsed().as_secs() < 10
    {
        metrics = get(&team.url("metrics"), &[]).await;
    }
    assert!(
        metrics
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let text = String::from_utf8(metrics.bytes().to_vec()).unwrap();
    let upstream = team.upstream.url();
    for line in [
        "pypicache_requests_total{route=\"page\",status=\"200\"} 2".to_owned(),
        "pypicache_requests_total{route=\"page\",status=\"504\"} 1".to_owned(),
        "pypicache_requests_total{route=\"upload\",status=\"401\"} 1".to_owned(),
        "pypicache_answers_total{cache=\"pypi\",outcome=\"miss\"} 2".to_owned(),
        "pypicache_answers_total{cache=\"pypi\",outcome=\"hit\"} 1".to_owned(),
        "pypicache_denials_total{reason=\"credentials\"} 1".to_owned(),
        "pypicache_uploads_total{reason=\"new\"} 1".to_owned(),
        "pypicache_uploads_total{reason=\"refused\"} 1".to_owned(),
        format!("pypicache_upstream_up{{source=\"pypi\",upstream=\"{upstream}\"}} 0"),
        "pypicache_transfers_finished_total{source=\"pypi\"} 1".to_owned(),
        format!("pypicache_transfer_bytes_total{{source=\"pypi\"}} {size}"),
        "pypicache_store_evictions_total 0".to_owned(),
        "pypicache_alarms_total 0".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    for name in [
        "pypicache_store_bytes ",
        "pypicache_upstream_seconds_count",
        "pypicache_request_seconds_bucket",
        "pypicache_upstream_failures_total",
    ] {
        assert!(text.contains(name), "{name} in\n{text}");
    }
    assert!(!text.contains("acme") && !text.contains("six"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_without_credentials() {
    let team = Team::with("[access]\nanonymous-read = false\n", "", "").await;
    for path in ["-/live", "-/ready"] {
        assert_eq!(get(&team.url(path), &[]).await.status.as_u16(), 200, "{path}");
    }
    assert_eq!(get(&team.url("metrics"), &[]).await.status.as_u16(), 401);
    let hosted = team
        .root
        .path()
        .join(".local/share/pypicache/v1/hosted/private/projects");
    std::fs::remove_dir_all(&hosted).unwrap();
    let ready = get(&team.url("-/ready"), &[]).await;
    assert_eq!(
        (ready.status.as_u16(), &ready.json()["status"]),
        (503, &"hosted data cannot be read".into())
    );
    assert_eq!(get(&team.url("-/live"), &[]).await.status.as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_a_request_goes_through_all_tiers() {
    let (team, home) = (Team::start().await, tempfile::tempdir().unwrap());
    team.upstream.add("six", Wheel::new("six", "1.0").build());
    let laptop = team.laptop(home.path());
    let reply = get(
        &laptop.index().join("six/").unwrap(),
        &[("x-request-id", "ci-job-7")],
    )
    .await;
    assert_eq!(reply.header("x-request-id"), "ci-job-7");
    for server in [&team.server, &laptop] {
        says(server, "request=\"ci-job-7\"", 1);
    }
    let seen = team.upstream.requests();
    assert_eq!(seen[0].headers["x-request-id"], "ci-job-7");
    let own = get(&laptop.index().join("six/").unwrap(), &[]).await;
    assert!(!own.header("x-request-id").is_empty());
    assert!(files(&laptop, "six").await.len() == 1);
}
