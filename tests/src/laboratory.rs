//! What most tests stand on: an index with one project of one file, and a cold cache in front.

use std::path::Path;

use tempfile::TempDir;
use url::Url;

use crate::client::{Reply, get_json};
use crate::package::Package;
use crate::process::Server;
use crate::upstream::Upstream;

/// The index, the cache (which asks for nothing ahead), and where the cache keeps its files.
#[derive(Debug)]
pub struct Laboratory {
    /// Misbehaves on command.
    pub upstream: Upstream,
    /// The one file.
    pub package: Package,
    /// In front of the upstream.
    pub cache: Server,
    /// The cache's home.
    pub root: TempDir,
}

impl Laboratory {
    /// With `package` as the one file of `project`.
    pub async fn new(project: &str, package: Package) -> Self {
        let (upstream, root) = (Upstream::start().await, tempfile::tempdir().unwrap());
        upstream.add(project, package.clone());
        // Where the server looks for it by itself. What is asked ahead has tests of its own.
        let settings = root.path().join(".config/pypicache");
        std::fs::create_dir_all(&settings).unwrap();
        std::fs::write(settings.join("pypicache.toml"), "prefetch = false\n").unwrap();
        let cache = Server::start(root.path(), &["--upstream", upstream.url().as_str()]);
        Self {
            upstream,
            package,
            cache,
            root,
        }
    }

    /// Ends the cache as a crash would, and starts it again on what it holds.
    pub fn crash(&mut self) {
        self.crash_with(&[]);
    }

    /// The same with further arguments from now on.
    pub fn crash_with(&mut self, arguments: &[&str]) {
        self.cache.kill();
        let url = self.upstream.url();
        let arguments = [&["--upstream", url.as_str()], arguments].concat();
        self.cache = Server::start(self.root.path(), &arguments);
    }

    /// The URL of a project's page at the cache.
    #[must_use]
    pub fn page(&self, project: &str) -> Url {
        self.cache.index().join(&format!("{project}/")).unwrap()
    }

    /// A project's page as JSON.
    pub async fn get(&self, project: &str) -> Reply {
        get_json(&self.page(project)).await
    }

    /// The file's URL at the cache, as the project's page tells it.
    pub async fn file(&self, project: &str) -> Url {
        let href = self.get(project).await.json()["files"][0]["url"]
            .as_str()
            .unwrap()
            .to_owned();
        self.page(project).join(&href).unwrap()
    }

    /// How many requests the upstream saw for the file, its parts and its siblings.
    #[must_use]
    pub fn transfers(&self) -> usize {
        self.upstream.count(&self.package.filename)
    }

    /// Waits until the cache keeps so many pages: they are written behind the answer.
    pub async fn keeps_pages(&self, count: usize) {
        let records = self.root.path().join("cache/v1/records/pages/pypi");
        while files_below(&records) < count {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until the cache keeps so many files.
    pub async fn keeps_files(&self, count: usize) {
        while self.held() < count {
            tokio::task::yield_now().await;
        }
    }

    /// How many whole files the cache holds.
    #[must_use]
    pub fn held(&self) -> usize {
        files_below(&self.root.path().join("cache/v1/blobs"))
    }
}

/// How many files there are in a directory's directories.
fn files_below(directory: &Path) -> usize {
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
    entries(directory)
        .map(|shard| entries(&shard.path()).count())
        .sum()
}
