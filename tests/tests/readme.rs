//! Every command in the README does what it says there.
//!
//! Commands that name PyPI or a team's server are run against a scripted upstream instead, on ports of the system's choice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};

use pypicache_tests::client::get;
use pypicache_tests::package::Wheel;
use pypicache_tests::process::{Server, command};
use pypicache_tests::python::{Environment, succeeded};
use pypicache_tests::upstream::Upstream;
use tempfile::TempDir;

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

/// Words that a shell takes for one.
fn unquoted(words: &[&str]) -> Vec<String> {
    let text = words.join(" ");
    let mut out = Vec::new();
    for (number, part) in text.split('"').enumerate() {
        match number % 2 {
            1 => out.push(part.to_owned()),
            _ => out.extend(part.split_whitespace().map(str::to_owned)),
        }
    }
    out
}

/// A reader who tries one line after the other.
struct Reader {
    root: TempDir,
    upstream: Upstream,
    config: PathBuf,
    /// What lies in `dist`.
    package: PathBuf,
    token: String,
    running: Option<Server>,
}

impl Reader {
    async fn new() -> Self {
        let (root, upstream) = (tempfile::tempdir().unwrap(), Upstream::start().await);
        upstream.add("flask", Wheel::new("flask", "3.0").build());
        let dist = root.path().join("dist");
        std::fs::create_dir(&dist).unwrap();
        Self {
            config: root.path().join("pypicache.toml"),
            package: Wheel::new("acme-tools", "1.0").build().write(&dist),
            token: String::new(),
            running: None,
            upstream,
            root,
        }
    }

    /// Checks every configuration; the last one, which is the team's, stays.
    fn write_configurations(&self) {
        // The places that only a team's host has.
        let data = self.root.path().join("data");
        for toml in blocks("toml") {
            let local = toml.replace("/var/lib/pypicache", data.to_str().unwrap());
            let local = local.replace(
                "upstream = \"pypi\"",
                &format!("upstream = \"{}\"", self.upstream.url()),
            );
            std::fs::write(&self.config, local).unwrap();
            let mut check = command(self.root.path());
            check.env("VENDOR_TOKEN", "a-token");
            succeeded(
                &check
                    .args(["config", "check", "--config"])
                    .arg(&self.config)
                    .output()
                    .unwrap(),
            );
        }
    }

    async fn run(&mut self, line: &str, words: &[&str]) {
        match words {
            ["cargo", "run", "--release", "--", "serve"] => {
                self.running = Some(serve(self.root.path(), &[], &self.upstream))
            }
            // This very run; what the checks of every commit call is the same line.
            ["cargo", "test", "--workspace", "--all-features"] => {
                assert!(include_str!("../../.ci/run").lines().any(|ci| ci == line))
            }
            ["pypicache", "serve", arguments @ ..] => {
                let server = serve(self.root.path(), arguments, &self.upstream);
                assert_eq!(get(&server.url, &[]).await.status.as_u16(), 200, "{line}");
                self.running = Some(server);
            }
            ["pypicache", "config", "check", arguments @ ..] => {
                let output = command(self.root.path())
                    .args(["config", "check"])
                    .args(arguments)
                    .output()
                    .unwrap();
                succeeded(&output);
                assert!(String::from_utf8_lossy(&output.stdout).contains("50000000000 bytes"));
            }
            ["pip", "install", "--index-url", _, project] => {
                succeeded(
                    &Environment::new(self.root.path(), "pip")
                        .pip_install(&self.running.as_ref().unwrap().index(), &[project]),
                );
            }
            ["uv", "pip", "install", "--default-index", _, project] => {
                succeeded(
                    &Environment::new(self.root.path(), "uv")
                        .uv_install(&self.running.as_ref().unwrap().index(), &[project]),
                );
            }
            words => self.run_hosting(line, words),
        }
    }

    /// What is done with uploads and what they need.
    fn run_hosting(&mut self, line: &str, words: &[&str]) {
        match words {
            ["pypicache", "token", "create", arguments @ ..] => {
                let output = command(self.root.path())
                    .args(["token", "create"])
                    .args(arguments)
                    .output()
                    .unwrap();
                succeeded(&output);
                self.token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
            }
            [
                "twine",
                "upload",
                "--repository-url",
                _,
                "--username",
                "__token__",
                "--password",
                "$TOKEN",
                "dist/*",
            ] => {
                let server = self.running.as_ref().unwrap();
                let tools = Environment::new(self.root.path(), "twine");
                succeeded(&tools.twine_upload(&server.legacy(), Some(&self.token), &[&self.package]));
            }
            ["uv", "publish", "--publish-url", _, "--token", "$TOKEN", "dist/*"] => {
                let server = self.running.as_ref().unwrap();
                let tools = Environment::new(self.root.path(), "publish");
                succeeded(&tools.uv_publish(&server.legacy(), Some(&self.token), &[&self.package], &[]));
            }
            [
                "pypicache",
                name @ ("yank" | "delete" | "restore" | "show" | "why"),
                arguments @ ..,
                "--server",
                _,
            ] => {
                let (server, config) = (self.running.as_ref().unwrap(), self.config.to_str().unwrap());
                // One for each of these commands: no two tokens have one name.
                let create = [
                    "token", "create", "--name", name, "--role", "admin", "--config", config,
                ];
                let admin = command(self.root.path()).args(create).output().unwrap();
                let mut managed = command(self.root.path());
                managed
                    .env("PYPICACHE_TOKEN", String::from_utf8(admin.stdout).unwrap().trim())
                    .arg(name)
                    .args(unquoted(arguments))
                    .args(["--server", server.url.as_str()]);
                succeeded(&managed.output().unwrap());
            }
            ["pypicache", name @ ("import" | "backup"), arguments @ ..] => {
                let mut moving = command(self.root.path());
                let arguments = arguments
                    .iter()
                    .map(|word| if *word == "wheels" { "dist" } else { word });
                moving.current_dir(self.root.path()).arg(name).args(arguments);
                succeeded(&moving.output().unwrap());
            }
            _ => panic!("nothing here tries this command: {line}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_works() {
    let mut reader = Reader::new().await;
    reader.write_configurations();
    let config = reader.config.to_str().unwrap().to_owned();
    let mut executed = 0;
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        let words = line
            .split_whitespace()
            .map(|word| if word == "pypicache.toml" { &*config } else { word });
        let words: Vec<&str> = words.collect();
        reader.run(line, &words).await;
        executed += 1;
    }
    assert!(executed >= 18, "{executed}");
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
