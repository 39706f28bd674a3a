//! Caches inside the test's own process, one in front of the other, under a clock that the test moves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pypicache_core::Clock;
use pypicache_server::assemble::assemble;
use pypicache_server::config::{Configuration, Overrides};
use pypicache_server::{ServeOptions, serve};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use url::Url;

use crate::client::{Reply, get, get_json};
use crate::virtually::quiet;

/// A chain of caches; the first one is the nearest to the upstream.
#[derive(Debug)]
pub struct Tiers {
    /// What they take for the time of day.
    pub clock: Clock,
    root: TempDir,
    urls: Vec<Url>,
    servers: JoinSet<()>,
}

impl Tiers {
    /// So many tiers in front of `upstream`, each with these further lines for its source.
    pub async fn start(count: usize, upstream: &Url, settings: &str) -> Self {
        let mut tiers = Self::none();
        for _ in 0..count {
            let above = tiers.urls.last().map_or(upstream.clone(), index_of);
            tiers
                .add(&format!(
                    "[[source]]\nname = \"pypi\"\nupstream = \"{above}\"\n{settings}"
                ))
                .await;
        }
        tiers
    }

    /// No tier yet.
    #[must_use]
    pub fn none() -> Self {
        Self {
            clock: Clock::manual(),
            root: tempfile::tempdir().unwrap(),
            urls: Vec::new(),
            servers: JoinSet::new(),
        }
    }

    /// Adds a tier with a configuration of its own (below the line for the cache directory).
    pub async fn add(&mut self, configuration: &str) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.add_at(listener, configuration)
    }

    /// The same where a socket listens already.
    pub fn add_at(&mut self, listener: TcpListener, configuration: &str) -> Url {
        // What is asked ahead is told apart from what is asked for by those tests that are about it.
        self.begin(listener, "prefetch = false\n", configuration)
    }

    /// The same with lines above the one for the cache directory.
    pub async fn add_with(&mut self, front: &str, configuration: &str) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.begin(listener, front, configuration)
    }

    fn begin(&mut self, listener: TcpListener, front: &str, configuration: &str) -> Url {
        let directory = self.directory(self.urls.len() + 1);
        let file = self.root.path().join(format!("{}.toml", self.urls.len() + 1));
        std::fs::write(
            &file,
            format!(
                "{front}[cache]\ndir = {:?}\n[data]\ndir = {:?}\n{configuration}",
                directory.display().to_string(),
                directory.join("data").display().to_string()
            ),
        )
        .unwrap();
        let overrides = Overrides {
            config: Some(file),
            ..Overrides::default()
        };
        let site = assemble(&Configuration::load(&overrides).unwrap(), self.clock.clone()).unwrap();
        let url: Url = format!("http://{}/", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        self.servers.spawn(async move {
            let never = std::future::pending();
            serve(listener, Arc::new(site), ServeOptions::default(), never)
                .await
                .unwrap();
        });
        self.urls.push(url.clone());
        url
    }

    /// Ends all servers and their connections: from now on they refuse.
    pub async fn stop(&mut self) {
        self.servers.shutdown().await;
    }

    /// Where a tier keeps what it holds; they are counted from 1, the nearest to the upstream.
    #[must_use]
    pub fn directory(&self, tier: usize) -> PathBuf {
        self.root.path().join(format!("tier-{tier}"))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.urls.len()
    }

    /// The URL of something at the tier that clients use.
    #[must_use]
    pub fn url(&self, path: &str) -> Url {
        self.urls.last().unwrap().join(path).unwrap()
    }

    /// A project's page at the tier that clients use, as JSON.
    pub async fn page(&self, project: &str) -> Reply {
        get_json(&self.url(&format!("simple/{project}/"))).await
    }

    /// The URL of a project's first file there, as its page tells it.
    pub async fn file(&self, project: &str) -> Url {
        let page = self.page(project).await.json();
        let href = page["files"][0]["url"].as_str().unwrap();
        self.url(&format!("simple/{project}/")).join(href).unwrap()
    }

    /// GET at the tier that clients use.
    pub async fn get(&self, path: &str) -> Reply {
        get(&self.url(path), &[]).await
    }

    /// Lets the time of day go on, for pages: timers do not notice.
    pub fn age(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Asserts what all tiers hold: for each the numbers of pages and of files, and of files that are not whole. What
    /// is written behind answers has a moment to arrive.
    pub async fn assert_held(&self, expected: &[[usize; 3]], what: &str) {
        for _ in 0..500 {
            if self.held() == expected {
                return;
            }
            quiet().await;
        }
        assert_eq!(self.held(), expected, "{what}");
    }

    fn held(&self) -> Vec<[usize; 3]> {
        let of = |tier| {
            let root = self.directory(tier).join("v1");
            ["records/pages", "blobs", "partial"].map(|part| files_below(&root.join(part)))
        };
        (1..=self.count()).map(of).collect()
    }
}

fn index_of(tier: &Url) -> Url {
    tier.join("simple/").unwrap()
}

/// How many files there are anywhere in a directory.
#[must_use]
pub fn files_below(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => files_below(&entry.path()),
            false => 1,
        })
        .sum()
}
