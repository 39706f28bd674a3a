//! Configuration: one TOML file, with environment variables and flags over it, checked before anything starts.
//!
//! 1. [`file`] reads the file as written, every value with its place.
//! 2. [`Overrides`] holds what flags and environment say (the command line merges the two).
//! 3. [`Configuration::load`] makes one checked value of both, or an error that names file, line and key.
//!
//! Nothing here binds, connects or creates a directory; [`crate::assemble`] does.
//!
//! Imports: `access`, `http`.

mod access;
pub mod duration;
mod file;
mod front;
mod policy;
mod resolve;
mod size;
mod source;
mod upstream;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pypicache_core::cached_source::{Files, Retention, Unreachable};
use pypicache_core::http_source::{Credentials, Empty, Forbidden, IndexUrl};
use pypicache_core::model::NamePattern;
use pypicache_core::policy_source::Rules;
use url::Url;

use crate::access::{Publisher, Role};
use crate::http::proxy::Proxies;

/// Everything that one server needs to know, checked.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Never ask an upstream.
    pub offline: bool,
    /// Ask upstreams ahead of installers.
    pub prefetch: bool,
    /// Where the store lies.
    pub cache_dir: PathBuf,
    /// Where rests what cannot be fetched again: uploads, tokens, the audit log.
    pub data_dir: PathBuf,
    /// Certificate and key, in PEM, for TLS towards clients.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Reverse proxies in front.
    pub proxies: Proxies,
    /// How long deleted uploads can be restored.
    pub retention: Duration,
    /// Where this server is reached from outside, as far as that has to be said.
    pub external_url: Option<Url>,
    /// Whether the index at the root is read without credentials.
    pub anonymous_read: bool,
    /// A file of users with passwords, and the role that they have.
    pub users: Option<(PathBuf, Role)>,
    /// Jobs of CI systems that may upload.
    pub publishers: Vec<Publisher>,
    /// How many bytes held files may take together.
    pub max_size: Option<u64>,
    /// A PEM file of further certificate authorities for upstreams.
    pub ca_file: Option<PathBuf>,
    /// A netrc file that was named (`$NETRC`), with passwords for upstreams.
    pub netrc: Option<PathBuf>,
    /// The home directory, whose `.netrc` is read else.
    pub home: Option<PathBuf>,
    /// What may be seen, in all indexes.
    pub policy: Option<Rules>,
    /// In order: the first that owns a name answers for it.
    pub sources: Vec<SourceConfiguration>,
    /// Further indexes beside the one at the root.
    pub indexes: Vec<IndexConfiguration>,
}

impl Configuration {
    /// The same with what a running server cannot change; differences are reported.
    #[must_use]
    pub fn with_fixed_parts_of(mut self, running: &Self) -> Self {
        let mut waiting = Vec::new();
        let mut keep = |is_same: bool, what: &'static str| {
            if !is_same {
                waiting.push(what);
            }
        };
        keep(self.listen == running.listen, "listen");
        keep(self.tls == running.tls, "tls.cert and tls.key");
        keep(
            self.cache_dir == running.cache_dir && self.max_size == running.max_size,
            "cache",
        );
        keep(self.data_dir == running.data_dir, "data.dir");
        if !waiting.is_empty() {
            tracing::warn!(
                keys = waiting.join(", "),
                "these take effect when the server is started again"
            );
        }
        self.listen = running.listen;
        self.tls = running.tls.clone();
        self.cache_dir = running.cache_dir.clone();
        self.max_size = running.max_size;
        self.data_dir = running.data_dir.clone();
        self
    }
}

/// One source.
#[derive(Debug, Clone)]
pub struct SourceConfiguration {
    /// Its name: the first segment of its files' paths.
    pub name: String,
    /// The names that it claims for itself; see [`pypicache_core::chained_source::Member::with_claims`].
    pub projects: Vec<NamePattern>,
    /// What it is.
    pub kind: SourceKind,
}

/// What a source is made of.
#[derive(Debug, Clone)]
pub enum SourceKind {
    /// A live directory.
    Directory(PathBuf),
    /// Files that are uploaded.
    Hosted(HostedConfiguration),
    /// Upstreams with a store in front.
    Upstream(Box<UpstreamConfiguration>),
}

/// Where uploads rest, and what is taken.
#[derive(Debug, Clone)]
pub struct HostedConfiguration {
    /// Below the data directory.
    pub dir: PathBuf,
    /// The largest file that is taken, in bytes.
    pub max_upload_size: u64,
    /// Projects of others that it adds files to; see [`pypicache_core::chained_source::Member::with_overlay`].
    pub overlay: Vec<NamePattern>,
}

/// Equal upstreams in order of preference, and how they are treated. Times that are not said are those of
/// [`pypicache_core::http_source::HttpOptions`] and [`pypicache_core::cached_source::CacheOptions`], where all of
/// these are explained.
#[derive(Debug, Clone)]
pub struct UpstreamConfiguration {
    /// Index URLs.
    pub upstreams: Vec<IndexUrl>,
    /// For those without credentials of their own.
    pub credentials: Option<Credentials>,
    /// How long the head of a page's answer may take, all upstreams together.
    pub timeout: Option<Duration>,
    /// How long a connection may take to stand.
    pub connect_timeout: Option<Duration>,
    /// When the next upstream is asked as well.
    pub hedge: Option<Duration>,
    /// Hosts that files may come from wherever they are.
    pub file_hosts: Vec<String>,
    /// What a 403 for a page means.
    pub forbidden: Forbidden,
    /// What a page without anything on it means.
    pub empty: Empty,
    /// Whether there is a project list at the index's URL.
    pub has_root_list: bool,
    /// How long a page is fresh at the most.
    pub max_lifetime: Option<Duration>,
    /// How long an absence counts at the most.
    pub negative_lifetime: Option<Duration>,
    /// How long past its lifetime a page is shown.
    pub max_stale: Option<Duration>,
    /// What becomes of held files that the origin no longer lists.
    pub vanished: Retention,
    /// What a stale page lists while nobody can be asked.
    pub unreachable: Unreachable,
    /// Whether files are kept.
    pub files: Files,
    /// How many connections one large file may have.
    pub connections_per_file: Option<u32>,
}

impl UpstreamConfiguration {
    /// With nothing said but who they are.
    #[must_use]
    pub fn new(upstreams: Vec<IndexUrl>) -> Self {
        Self {
            upstreams,
            credentials: None,
            timeout: None,
            connect_timeout: None,
            hedge: None,
            file_hosts: Vec::new(),
            forbidden: Forbidden::default(),
            empty: Empty::default(),
            has_root_list: true,
            max_lifetime: None,
            negative_lifetime: None,
            max_stale: None,
            vanished: Retention::default(),
            unreachable: Unreachable::default(),
            files: Files::default(),
            connections_per_file: None,
        }
    }
}

/// A further index.
#[derive(Debug, Clone)]
pub struct IndexConfiguration {
    /// Its path segment: `/<name>/simple/`.
    pub name: String,
    /// Numbers of its sources in [`Configuration::sources`].
    pub sources: Vec<usize>,
    /// Whether it is read without credentials.
    pub anonymous_read: bool,
}

/// What flags and environment say; each beats the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The file to read; without, the usual place is looked at.
    pub config: Option<PathBuf>,
    /// Where to listen.
    pub listen: Option<String>,
    /// Where the store lies.
    pub cache_dir: Option<PathBuf>,
    /// Where rests what cannot be fetched again.
    pub data_dir: Option<PathBuf>,
    /// Upstreams of the last upstream source.
    pub upstreams: Vec<String>,
    /// Never ask an upstream.
    pub offline: bool,
    /// A live directory in front of all sources.
    pub dir: Option<PathBuf>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Something in the file is wrong.
    #[error("{}:{line}: {key}: {problem}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key, with the tables around it.
        key: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A flag or environment variable is wrong.
    #[error("{option}: {problem}")]
    Option {
        /// The flag, in its long form.
        option: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// There is no home directory to put the cache and the data in.
    #[error(
        "no home directory is known, so there are no default places: name them with --cache-dir and --data-dir"
    )]
    NoHome,
}
