//! An index that imitates PyPI, and misbehaves on command.
//!
//! Pages and files live on two servers with two ports, so two origins, as PyPI's do. Every request is written
//! down ([`Upstream::requests`]); [`Upstream::script`] says what goes wrong with which of them ([`Fault`]).
//! Nothing here waits by itself: a held-back body waits for its [`Gate`].

mod answer;
mod pages;
mod script;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::service::service_fn;
use hyper::{HeaderMap, Method};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use url::Url;

use crate::package::Package;
use script::Script;
pub use script::{Fault, Gate};

/// Which of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Pages.
    Index,
    /// Files and siblings.
    Files,
}

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Which server it came to.
    pub host: Host,
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
}

/// The index. Its servers end when it is dropped.
#[derive(Debug)]
pub struct Upstream {
    state: Arc<State>,
    index: SocketAddr,
    files: SocketAddr,
    servers: JoinSet<()>,
}

/// What both servers share.
#[derive(Debug)]
struct State {
    projects: Mutex<BTreeMap<String, Vec<Package>>>,
    seen: Mutex<Vec<Seen>>,
    script: Script,
    /// `Cache-Control: max-age` and `Age` of pages, in seconds.
    lifetime: Mutex<(u64, Option<u64>)>,
    /// The value of `Authorization` that pages want.
    wanted: Mutex<Option<String>>,
    files: Mutex<String>,
    /// What links to files carry as their signature; others are refused.
    signature: Mutex<Option<u32>>,
}

impl Upstream {
    /// Starts both servers.
    pub async fn start() -> Self {
        let state = Arc::new(State {
            projects: Mutex::default(),
            seen: Mutex::default(),
            script: Script::default(),
            lifetime: Mutex::new((600, None)),
            wanted: Mutex::default(),
            files: Mutex::default(),
            signature: Mutex::default(),
        });
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut upstream = Self {
            state,
            index: any,
            files: any,
            servers: JoinSet::new(),
        };
        upstream.listen().await;
        upstream
    }

    /// Adds a file to a project's page.
    pub fn add(&self, project: &str, package: Package) {
        self.state
            .projects
            .lock()
            .unwrap()
            .entry(project.to_owned())
            .or_default()
            .push(package);
    }

    /// Removes a project.
    pub fn remove(&self, project: &str) {
        self.state.projects.lock().unwrap().remove(project);
    }

    /// The index's URL.
    #[must_use]
    pub fn url(&self) -> Url {
        format!("http://{}/simple/", self.index).parse().unwrap()
    }

    /// Where the index listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.index
    }

    /// The URL of a file.
    #[must_use]
    pub fn file_url(&self, package: &Package) -> Url {
        format!("http://{}{}", self.files, pages::path(package))
            .parse()
            .unwrap()
    }

    /// What goes wrong with requests whose path contains `path`: so many times, or always.
    pub fn script(&self, path: &str, times: Option<u32>, fault: Fault) {
        self.state.script.add(path, times, fault);
    }

    /// Nothing goes wrong any more.
    pub fn behave(&self) {
        self.state.script.clear();
    }

    /// How long pages are fresh, and the `Age` that they come with, in seconds.
    pub fn set_lifetime(&self, max_age: u64, age: Option<u64>) {
        *self.state.lifetime.lock().unwrap() = (max_age, age);
    }

    /// Pages are only for those who send this `Authorization`.
    pub fn want(&self, authorization: &str) {
        *self.state.wanted.lock().unwrap() = Some(authorization.to_owned());
    }

    /// From now on links to files carry this signature, and those with another one have expired.
    pub fn sign(&self, signature: u32) {
        *self.state.signature.lock().unwrap() = Some(signature);
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// How many requests so far were for a path that contains this.
    #[must_use]
    pub fn count(&self, path: &str) -> usize {
        self.requests()
            .iter()
            .filter(|seen| seen.path.contains(path))
            .count()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.state.seen.lock().unwrap().clear();
    }

    /// Ends both servers and all their connections: from now on they refuse.
    pub async fn stop(&mut self) {
        self.servers.shutdown().await;
    }

    /// Starts both servers again where they were.
    pub async fn restart(&mut self) {
        self.listen().await;
    }

    async fn listen(&mut self) {
        for host in [Host::Index, Host::Files] {
            let address = if host == Host::Index {
                &mut self.index
            } else {
                &mut self.files
            };
            let listener = TcpListener::bind(*address).await.unwrap();
            *address = listener.local_addr().unwrap();
            if host == Host::Files {
                *self.state.files.lock().unwrap() = address.to_string();
            }
            self.servers.spawn(accept(listener, host, self.state.clone()));
        }
    }
}

/// An address at which packets get lost: its queue of connections is full, and nobody takes one from it.
#[derive(Debug)]
pub struct BlackHole {
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    /// At an address that is free.
    pub async fn at(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1).unwrap();
        let mut queue = Vec::new();
        let timeout = std::time::Duration::from_millis(100);
        // Blocking, and so by real time: the queue is full when a connection does not stand at once.
        let connect = move || std::net::TcpStream::connect_timeout(&address, timeout);
        while let Ok(stream) = tokio::task::spawn_blocking(connect).await.unwrap() {
            stream.set_nonblocking(true).unwrap();
            queue.push(TcpStream::from_std(stream).unwrap());
        }
        Self {
            _listener: listener,
            _queue: queue,
        }
    }
}

async fn accept(listener: TcpListener, host: Host, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        let service = service_fn(move |request| {
            let state = state.clone();
            async move { answer::answer(&state, host, request).await }
        });
        connections.spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
    }
}
