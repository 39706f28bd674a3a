//! Real installers with the network off after a restart, pages a year old, and no switch set anywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;

use pypicache_tests::package::Wheel;
use pypicache_tests::process::Server;
use pypicache_tests::python::{Environment, succeeded, text};
use pypicache_tests::tiers::files_below;
use pypicache_tests::upstream::Upstream;
use serde_json::Value;
use tempfile::TempDir;

const YEAR: u64 = 365 * 86_400;

/// A cache that has seen the packages installed once.
struct Offline {
    upstream: Upstream,
    cache: Server,
    root: TempDir,
}

impl Offline {
    async fn new() -> Self {
        let (upstream, root) = (Upstream::start().await, tempfile::tempdir().unwrap());
        let application = Wheel::new("acme-app", "1.0").requires("acme-lib>=1.0");
        upstream.add("acme-app", application.build());
        for version in ["1.0", "2.0"] {
            upstream.add("acme-lib", Wheel::new("acme-lib", version).build());
        }
        let cache = Server::start(root.path(), &["--upstream", upstream.url().as_str()]);
        Self {
            upstream,
            cache,
            root,
        }
    }

    fn environment(&self, name: &str) -> Environment {
        Environment::new(self.root.path(), name)
    }

    /// Ends the upstream and the cache, lets a year pass, and starts the cache again.
    async fn a_year_later(&mut self) {
        self.upstream.stop().await;
        let address = self.cache.address();
        // What was answered last is still being written.
        let store = self.root.path().join("cache/v1");
        let under_way = || files_below(&store.join("partial")) + files_below(&store.join("staging"));
        while files_below(&store.join("records/pages")) < 2 || under_way() > 0 {
            tokio::task::yield_now().await;
        }
        self.cache.kill();
        let records = self.root.path().join("cache/v1/records/pages");
        assert_eq!(age(&records), 2, "two pages are held");
        let upstream = self.upstream.url();
        self.cache = Server::start_at(&address, self.root.path(), &["--upstream", upstream.as_str()]);
    }
}

/// Makes all pages in a directory a year older, and counts them.
fn age(directory: &Path) -> usize {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            if path.is_dir() {
                return age(&path);
            }
            let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let seconds = &mut record["response_time"]["secs_since_epoch"];
            *seconds = (seconds.as_u64().unwrap() - YEAR).into();
            fs::write(&path, record.to_string()).unwrap();
            1
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn pip_and_uv_install_what_is_held() {
    let mut offline = Offline::new().await;
    let online = offline.environment("online");
    succeeded(&online.uv_install(&offline.cache.index(), &["acme-app"]));
    offline.a_year_later().await;
    let index = offline.cache.index();
    for name in ["pip", "uv"] {
        let environment = offline.environment(name);
        let output = match name {
            "pip" => environment.pip_install(&index, &["acme-app"]),
            _ => environment.uv_install(&index, &["acme-app"]),
        };
        succeeded(&output);
        assert_eq!(environment.tree(), online.tree(), "{name}");
    }
    // The view of what is held: a resolver picks what can be installed, not what is newest.
    let environment = offline.environment("held");
    let held = offline.cache.url.join("held/simple/").unwrap();
    succeeded(&environment.uv_install(&held, &["acme-lib"]));
    let unknown = environment.pip_install(&index, &["never-seen"]);
    assert!(!unknown.status.success(), "{}", text(&unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_of_what_is_held_lets_a_resolver_choose_what_exists() {
    let mut offline = Offline::new().await;
    let online = offline.environment("online");
    succeeded(&online.uv_install(&offline.cache.index(), &["acme-app", "acme-lib==1.0"]));
    offline.a_year_later().await;
    let held = offline.cache.url.join("held/simple/").unwrap();
    for name in ["pip", "uv"] {
        let environment = offline.environment(name);
        let output = match name {
            "pip" => environment.pip_install(&held, &["acme-app"]),
            _ => environment.uv_install(&held, &["acme-app"]),
        };
        succeeded(&output);
        assert_eq!(
            environment.tree(),
            online.tree(),
            "{name} takes the older version, which is held"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_installs_go_on_too() {
    let mut offline = Offline::new().await;
    let project = offline.root.path().join("project");
    fs::create_dir(&project).unwrap();
    let manifest = format!(
        "[project]\nname = \"work\"\nversion = \"1.0\"\nrequires-python = \">=3.8\"\ndependencies = [\"acme-app\"]\n\
         [[tool.uv.index]]\nurl = \"{}\"\ndefault = true\n",
        offline.cache.index()
    );
    fs::write(project.join("pyproject.toml"), manifest).unwrap();
    let online = offline.environment("online");
    succeeded(&online.uv(&project, &["sync"]));
    let export = [
        "export",
        "--frozen",
        "--format",
        "pylock.toml",
        "--output-file",
        "pylock.toml",
        "--quiet",
    ];
    succeeded(&online.uv(&project, &export));
    offline.a_year_later().await;

    let synced = offline.environment("synced");
    succeeded(&synced.uv(&project, &["sync", "--frozen"]));
    assert_eq!(synced.tree(), online.tree());

    let lock = project.join("pylock.toml");
    let piped = offline.environment("piped");
    succeeded(&piped.pip_install(&offline.cache.index(), &["-r", lock.to_str().unwrap()]));
    assert_eq!(piped.tree(), online.tree());
}
