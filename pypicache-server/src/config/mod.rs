//! Configuration: one TOML file, with environment variables and flags over it, checked before anything starts.
//!
//! 1. [`file`] reads the file as written, every value with its place.
//! 2. [`Overrides`] holds what flags and environment say (the command line merges the two).
//! 3. [`Configuration::load`] makes one checked value of both, or an error that names file, line and key.
//!
//! Nothing here binds, connects or creates a directory; [`crate::assemble`] does.

mod file;
mod resolve;
mod size;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pypicache_core::http_source::Credentials;
use url::Url;

/// Everything that one server needs to know, checked.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Never ask an upstream.
    pub offline: bool,
    /// Where the store lies.
    pub cache_dir: PathBuf,
    /// How many bytes held files may take together.
    pub max_size: Option<u64>,
    /// A PEM file of further certificate authorities for upstreams.
    pub ca_file: Option<PathBuf>,
    /// Where passwords for upstreams may stand.
    pub netrc: Option<PathBuf>,
    /// In order: the first that owns a name answers for it.
    pub sources: Vec<SourceConfiguration>,
    /// Further indexes beside the one at the root.
    pub indexes: Vec<IndexConfiguration>,
}

/// One source.
#[derive(Debug, Clone)]
pub struct SourceConfiguration {
    /// Its name: the first segment of its files' paths.
    pub name: String,
    /// What it is.
    pub kind: SourceKind,
}

/// What a source is made of.
#[derive(Debug, Clone)]
pub enum SourceKind {
    /// A live directory.
    Directory(PathBuf),
    /// Equal upstreams in order of preference.
    Upstream {
        /// Index URLs.
        upstreams: Vec<Url>,
        /// For those without credentials of their own.
        credentials: Option<Credentials>,
        /// How long the head of a page's answer may take.
        timeout: Option<Duration>,
    },
}

/// A further index.
#[derive(Debug, Clone)]
pub struct IndexConfiguration {
    /// Its path segment: `/<name>/simple/`.
    pub name: String,
    /// Numbers of its sources in [`Configuration::sources`].
    pub sources: Vec<usize>,
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
    /// There is no home directory to put the cache in.
    #[error(
        "no home directory is known, so there is no default place for the cache: name one with --cache-dir"
    )]
    NoHome,
}
