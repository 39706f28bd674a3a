//! A team's server: hosted projects before public ones, with tokens, and a laptop's cache in front of it.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Mutex;

use serde_json::Value;
use tempfile::TempDir;
use url::Url;

use crate::client::get_json;
use crate::process::{Server, command};
use crate::python::{succeeded, text};
use crate::tiers::files_below;
use crate::upstream::Upstream;

/// The server, what is behind it, and where it keeps what it has.
#[derive(Debug)]
pub struct Team {
    /// The public index.
    pub upstream: Upstream,
    /// The server.
    pub server: Server,
    /// The server's home.
    pub root: TempDir,
    config: PathBuf,
    /// The roles of the tokens that were made.
    tokens: Mutex<Vec<String>>,
}

impl Team {
    /// A source `private` that claims `acme-*`, before the public index; open to readers.
    pub async fn start() -> Self {
        Self::with("", "projects = [\"acme-*\"]\n", "").await
    }

    /// The same with lines at the front of the configuration, for the hosted source, and at the end.
    pub async fn with(front: &str, hosted: &str, end: &str) -> Self {
        let (upstream, root) = (Upstream::start().await, tempfile::tempdir().unwrap());
        let config = root.path().join("team.toml");
        let text = format!(
            "prefetch = false\n{front}\n[[source]]\nname = \"private\"\nhosted = true\n{hosted}\n\
             [[source]]\nname = \"pypi\"\nupstream = \"{}\"\n{end}",
            upstream.url()
        );
        std::fs::write(&config, text).unwrap();
        let server = Server::start(root.path(), &["--config", config.to_str().unwrap()]);
        Self {
            upstream,
            server,
            root,
            config,
            tokens: Mutex::default(),
        }
    }

    /// A token of this role, with further options of `pypicache token create`.
    #[must_use]
    pub fn token(&self, role: &str, more: &[&str]) -> String {
        // No two tokens have one name: further ones of a role are numbered.
        let mut roles = self.tokens.lock().unwrap();
        roles.push(role.to_owned());
        let count = roles.iter().filter(|known| *known == role).count();
        let name = match count {
            1 => format!("a-{role}"),
            count => format!("a-{role}-{count}"),
        };
        let arguments = [&["token", "create", "--name", &name, "--role", role], more].concat();
        let output = self.command(&arguments, None);
        succeeded(&output);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// `pypicache ARGUMENTS` on the server's host, with a token where one is given.
    #[must_use]
    pub fn command(&self, arguments: &[&str], token: Option<&str>) -> Output {
        let mut command = command(self.root.path());
        command
            .env("PYPICACHE_CONFIG", &self.config)
            .env("PYPICACHE_SERVER", self.server.url.as_str());
        if let Some(token) = token {
            command.env("PYPICACHE_TOKEN", token);
        }
        command.args(arguments).output().unwrap()
    }

    /// The same, which has to succeed; gives what it printed.
    #[must_use]
    pub fn done(&self, arguments: &[&str], token: &str) -> String {
        let output = self.command(arguments, Some(token));
        succeeded(&output);
        text(&output)
    }

    /// Ends the server as a crash would, and starts it again.
    pub fn crash(&mut self) {
        let address = self.server.address();
        self.server.kill();
        self.server = Server::start_at(
            &address,
            self.root.path(),
            &["--config", self.config.to_str().unwrap()],
        );
    }

    /// A laptop's cache in front of the server, with its home in a directory of its own.
    #[must_use]
    pub fn laptop(&self, home: &Path) -> Server {
        Server::start(home, &["--upstream", self.server.index().as_str()])
    }

    /// How many files there are of uploads: distributions, siblings, records, and what is being received.
    #[must_use]
    pub fn left_behind(&self) -> usize {
        let root = self.root.path().join(".local/share/pypicache/v1/hosted/private");
        ["files", "staging", "projects"]
            .iter()
            .map(|part| files_below(&root.join(part)))
            .sum()
    }

    /// A URL at the server.
    #[must_use]
    pub fn url(&self, path: &str) -> Url {
        self.server.url.join(path).unwrap()
    }
}

/// The files on a project's page at a server, by name.
pub async fn files(server: &Server, project: &str) -> Vec<Value> {
    let page = server.index().join(&format!("{project}/")).unwrap();
    let reply = get_json(&page).await;
    match reply.status.as_u16() {
        200 => reply.json()["files"].as_array().unwrap().clone(),
        404 => Vec::new(),
        other => panic!("{other}: {:?}", reply.body),
    }
}
