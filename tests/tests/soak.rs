//! Servers that are killed at random points while clients install: nobody ever gets a wrong answer, and every byte that
//! is held afterwards is the origin's.
//!
//! Some seconds here; longer on demand, with the figures printed:
//! `PYPICACHE_SOAK_SECONDS=600 cargo test --release --package pypicache-tests --test soak -- --nocapture`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pypicache_tests::client::try_get;
use pypicache_tests::package::{Package, Wheel, noise, plain, sha256};
use pypicache_tests::process::Server;
use pypicache_tests::python::{Environment, succeeded};
use pypicache_tests::upstream::Upstream;
use tempfile::TempDir;
use url::Url;

/// What happened.
#[derive(Debug, Default)]
struct Tally {
    installs: AtomicU64,
    files: AtomicU64,
    unanswered: AtomicU64,
    kills: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

impl Tally {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A laptop's cache in front of a team's, each at an address that stays the same.
struct Chain {
    root: TempDir,
    upstream: Url,
    servers: Vec<Option<Server>>,
    addresses: Vec<String>,
}

impl Chain {
    fn start(upstream: Url) -> Self {
        let mut chain = Self {
            root: tempfile::tempdir().unwrap(),
            upstream,
            servers: Vec::new(),
            addresses: vec!["127.0.0.1:0".to_owned(); 2],
        };
        for number in 0..2 {
            let server = chain.launch(number);
            chain.addresses[number] = server.address();
            chain.servers.push(Some(server));
        }
        chain
    }

    fn home(&self, number: usize) -> PathBuf {
        let home = self.root.path().join(format!("tier-{number}"));
        fs::create_dir_all(&home).unwrap();
        home
    }

    fn launch(&self, number: usize) -> Server {
        let above = match number {
            0 => self.upstream.to_string(),
            _ => format!("http://{}/simple/", self.addresses[0]),
        };
        // A cap that is exceeded all the time, so that eviction takes part as well.
        let config = self.home(number).join("config.toml");
        let text = format!(
            "[cache]\nmax-size = \"20 MB\"\n[[source]]\nname = \"pypi\"\nupstream = \"{above}\"\nmax-lifetime = 1\n"
        );
        fs::write(&config, text).unwrap();
        Server::start_at(
            &self.addresses[number],
            &self.home(number),
            &["--config", config.to_str().unwrap()],
        )
    }

    fn kill(&mut self, number: usize) {
        // Before the next one takes its address.
        self.servers[number].take().unwrap().kill();
        self.servers[number] = Some(self.launch(number));
    }

    fn index(&self) -> Url {
        format!("http://{}/simple/", self.addresses[1]).parse().unwrap()
    }
}

fn draw(below: u64) -> u64 {
    std::hash::RandomState::new().build_hasher().finish() % below
}

fn packages() -> BTreeMap<String, Package> {
    let mut packages = BTreeMap::new();
    for number in 0..12 {
        let name = format!("big-{number}");
        let size = 100_000 + number * 400_000;
        packages.insert(name, plain(&format!("big_{number}-1.0.tar.gz"), noise(size)));
    }
    packages
}

/// Takes one file through its page and compares it.
async fn take_file(index: &Url, packages: &BTreeMap<String, Package>, tally: &Tally) {
    let number = usize::try_from(draw(packages.len() as u64)).unwrap();
    let (name, package) = packages.iter().nth(number).unwrap();
    let page = index.join(&format!("{name}/")).unwrap();
    let wrong = |what: String| tally.wrong.lock().unwrap().push(format!("{name}: {what}"));
    let json = [("accept", "application/vnd.pypi.simple.v1+json")];
    let Some((status, body)) = try_get(&page, &json).await else {
        return Tally::count(&tally.unanswered);
    };
    match status.as_u16() {
        200 => {}
        504 => return Tally::count(&tally.unanswered),
        other => return wrong(format!("its page is answered {other}")),
    }
    let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let href = document["files"][0]["url"].as_str().unwrap();
    match try_get(&page.join(href).unwrap(), &[]).await {
        Some((status, body)) if status.as_u16() == 200 && sha256(&body) == package.sha256 => {
            Tally::count(&tally.files)
        }
        Some((status, _)) if status.as_u16() == 504 => Tally::count(&tally.unanswered),
        Some((status, body)) => wrong(format!("its file is answered {status} with {} bytes", body.len())),
        None => Tally::count(&tally.unanswered),
    }
}

/// Installs with the real uv until told to stop; what is installed has to be right.
fn install(root: &Path, index: &Url, tally: &Tally, stop: &AtomicBool) {
    let mut expected = None;
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let environment = Environment::new(root, &format!("environment-{round}"));
        if !environment.uv_install(index, &["acme-app"]).status.success() {
            Tally::count(&tally.unanswered);
            continue;
        }
        Tally::count(&tally.installs);
        let tree = environment.tree();
        if expected.get_or_insert_with(|| tree.clone()) != &tree {
            tally
                .wrong
                .lock()
                .unwrap()
                .push(format!("round {round} installed something else"));
        }
    }
}

/// Checks every held byte against the origin, and gives their number.
fn check_held(root: &Path, origin: &HashMap<String, Vec<u8>>) -> u64 {
    let mut checked = 0;
    for shard in fs::read_dir(root.join("cache/v1/blobs")).unwrap() {
        for blob in fs::read_dir(shard.unwrap().path()).unwrap() {
            let path = blob.unwrap().path();
            let (name, bytes) = (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                fs::read(&path).unwrap(),
            );
            assert_eq!(origin.get(&name), Some(&bytes), "{name} is not the origin's");
            checked += bytes.len() as u64;
        }
    }
    checked
}

/// Fills the index; gives all bytes that may be held, by their digest.
fn fill(upstream: &Upstream, packages: &BTreeMap<String, Package>) -> HashMap<String, Vec<u8>> {
    let application = Wheel::new("acme-app", "1.0")
        .requires("acme-lib")
        .payload(2_000_000)
        .build();
    let library = Wheel::new("acme-lib", "1.0").payload(500_000).build();
    let mut origin = HashMap::new();
    for (name, package) in packages
        .iter()
        .map(|(name, package)| (name.as_str(), package))
        .chain([("acme-app", &application), ("acme-lib", &library)])
    {
        upstream.add(name, package.clone());
        let parts = [Some(&package.bytes), package.metadata.as_ref()];
        origin.extend(
            parts
                .into_iter()
                .flatten()
                .map(|bytes| (sha256(bytes), bytes.to_vec())),
        );
    }
    origin
}

#[tokio::test(flavor = "multi_thread")]
async fn no_wrong_answer_and_no_wrong_byte() {
    let seconds = std::env::var("PYPICACHE_SOAK_SECONDS").map_or(10, |text| text.parse().unwrap());
    let (upstream, packages, tally) = (
        Upstream::start().await,
        Arc::new(packages()),
        Arc::new(Tally::default()),
    );
    let origin = fill(&upstream, &packages);
    let mut chain = Chain::start(upstream.url());
    let (index, stop) = (chain.index(), Arc::new(AtomicBool::new(false)));
    let installer = {
        let (root, index, tally, stop) = (
            chain.root.path().join("home"),
            index.clone(),
            tally.clone(),
            stop.clone(),
        );
        fs::create_dir(&root).unwrap();
        std::thread::spawn(move || install(&root, &index, &tally, &stop))
    };
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (index, packages, tally, stop) =
                (index.clone(), packages.clone(), tally.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    take_file(&index, &packages, &tally).await;
                }
            })
        })
        .collect();
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50 + draw(900))).await;
        tokio::task::block_in_place(|| chain.kill(usize::try_from(draw(2)).unwrap()));
        Tally::count(&tally.kills);
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    installer.join().unwrap();

    // All is well again by itself, and nothing wrong is held.
    let last = Environment::new(chain.root.path(), "last");
    succeeded(&last.uv_install(&index, &["acme-app"]));
    let mut checked = 0;
    for number in 0..2 {
        if let Some(mut server) = chain.servers[number].take() {
            server.kill();
        }
        checked += check_held(&chain.home(number), &origin);
    }
    let wrong = tally.wrong.lock().unwrap();
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "soak of {seconds} s: {} installs, {} files, {} kills, {} unanswered, {checked} held bytes checked, wrong answers: {}",
        of(&tally.installs),
        of(&tally.files),
        of(&tally.kills),
        of(&tally.unanswered),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(of(&tally.files) > 0 && checked > 0);
}
