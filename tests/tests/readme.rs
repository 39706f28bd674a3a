//! Every command in the README does what it says there.
//!
//! Commands that name PyPI or a team's server are run against a scripted upstream instead, on ports of the system's choice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::Path;

use pypicache_tests::client::get;
use pypicache_tests::package::Wheel;
use pypicache_tests::process::{Server, command};
use pypicache_tests::python::{Environment, succeeded};
use pypicache_tests::upstream::Upstream;

const README: &str = include_str!("../../README.md");

/// The lines of all fenced blocks in this language.
fn blocks(language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let fences = README.split(&*opening).skip(1);
    fences
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

/// `pypicache serve` with the README's arguments, as far as they do not name a port or a host.
fn serve(root: &Path, arguments: &[&str], upstream: &Upstream) -> Server {
    let url = upstream.url();
    let mut local: Vec<&str> = arguments
        .iter()
        .map(|argument| {
            if argument.starts_with("http://team.example") {
                url.as_str()
            } else {
                argument
            }
        })
        .collect();
    if !local.contains(&"--upstream") && !local.contains(&"--config") {
        local.extend(["--upstream", url.as_str()]);
    }
    Server::start(root, &local)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_works() {
    let (root, upstream) = (tempfile::tempdir().unwrap(), Upstream::start().await);
    upstream.add("flask", Wheel::new("flask", "3.0").build());
    let config = root.path().join("pypicache.toml");
    // The places that only a team's host has.
    let wheels = root.path().join("wheels");
    for toml in blocks("toml") {
        let local = toml.replace("/srv/wheels", wheels.to_str().unwrap()).replace(
            "upstream = \"pypi\"",
            &format!("upstream = \"{}\"", upstream.url()),
        );
        // The last one is the team's, which is served below.
        std::fs::write(&config, local).unwrap();
        succeeded(
            &command(root.path())
                .args(["config", "check", "--config"])
                .arg(&config)
                .output()
                .unwrap(),
        );
    }
    let mut executed = 0;
    let mut running: Option<Server> = None;
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        let words: Vec<&str> = line
            .split_whitespace()
            .map(|word| {
                if word == "pypicache.toml" {
                    config.to_str().unwrap()
                } else {
                    word
                }
            })
            .collect();
        match &words[..] {
            ["cargo", "run", "--release", "--", "serve"] => {
                running = Some(serve(root.path(), &[], &upstream))
            }
            // This very run; what the checks of every commit call is the same line.
            ["cargo", "test", "--workspace", "--all-features"] => {
                assert!(include_str!("../../.ci/run").lines().any(|ci| ci == line))
            }
            ["pypicache", "serve", arguments @ ..] => {
                let server = serve(root.path(), arguments, &upstream);
                assert_eq!(get(&server.url, &[]).await.status.as_u16(), 200, "{line}");
                running = Some(server);
            }
            ["pypicache", "config", "check", arguments @ ..] => {
                let output = command(root.path())
                    .args(["config", "check"])
                    .args(arguments)
                    .output()
                    .unwrap();
                succeeded(&output);
                assert!(String::from_utf8_lossy(&output.stdout).contains("50000000000 bytes"));
            }
            ["pip", "install", "--index-url", _, project] => {
                succeeded(
                    &Environment::new(root.path(), "pip")
                        .pip_install(&running.as_ref().unwrap().index(), &[project]),
                );
            }
            ["uv", "pip", "install", "--default-index", _, project] => {
                succeeded(
                    &Environment::new(root.path(), "uv")
                        .uv_install(&running.as_ref().unwrap().index(), &[project]),
                );
            }
            _ => panic!("nothing here tries this command: {line}"),
        }
        executed += 1;
    }
    assert!(executed >= 8, "{executed}");
}

#[test]
fn a_wrong_configuration_is_refused_with_file_line_and_key() {
    let root = tempfile::tempdir().unwrap();
    let config = root.path().join("p.toml");
    std::fs::write(&config, "\n[cache]\nmax-size = \"lots\"\n").unwrap();
    for arguments in [["config", "check"].as_slice(), &["serve"]] {
        let output = command(root.path())
            .args(arguments)
            .arg("--config")
            .arg(&config)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            text.contains("p.toml:3: cache.max-size: this is no size"),
            "{text}"
        );
    }
}

#[test]
fn json_output_is_json() {
    let root = tempfile::tempdir().unwrap();
    let output = command(root.path())
        .args([
            "config",
            "check",
            "--json",
            "--upstream",
            "http://ann:s3cret@team.example/simple/",
        ])
        .output()
        .unwrap();
    succeeded(&output);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["sources"][0]["from"][0], "http://team.example/simple/");
}
