//! Sources of Python packages that chain: a directory, an upstream index, a cache in front, several in order.
//!
//! Everything that answers for projects and files implements one trait, [`IndexSource`](source::IndexSource): three
//! requests, and two kinds of "no" that are never confused. *Absent* is an answer; *could not tell* is an
//! error. Sources wrap sources, so a laptop's cache in front of a team's cache in front of PyPI is one value,
//! in one process or over HTTP between several.
//!
//! | source | answers from |
//! |---|---|
//! | [`DiskSource`](disk_source::DiskSource) | a live directory of wheels and sdists |
//! | [`HostedSource`](hosted_source::HostedSource) | what was uploaded here |
//! | [`HttpSource`](http_source::HttpSource) | an upstream index: PyPI, another tier, any Simple API |
//! | [`CachedSource`](cached_source::CachedSource) | a [store](store::DiskStore) in front of another source |
//! | [`MirroredSource`](mirrored_source::MirroredSource) | the first of several equals that can tell |
//! | [`ChainedSource`](chained_source::ChainedSource) | the first source that owns a name (the guard) |
//! | [`PolicySource`](policy_source::PolicySource) | the source behind, as far as rules allow |
//! | [`PrefetchingSource`](prefetching_source::PrefetchingSource) | the source behind, which it asks ahead of installers |
//!
//! # A tier in twenty lines
//!
//! Our own wheels first, then an upstream behind a cache. (The upstream here is a port where nobody listens: what our
//! directory owns is answered all the same, and what nobody could tell is an error, not "absent".)
//!
//! ```
//! use std::sync::Arc;
//! use pypicache_core::{
//!     cached_source::{CacheOptions, CachedSource}, chained_source::{ChainedSource, Member}, disk_source::DiskSource,
//!     http_source::{ClientOptions, HttpClient, HttpOptions, HttpSource}, model::ProjectName,
//!     source::{IndexSource, IndexSourceExt}, store::DiskStore,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! std::fs::write(directory.path().join("acme_tools-1.0.tar.gz"), b"not even an archive")?;
//!
//! let ours = DiskSource::new("ours", directory.path());
//! let client = HttpClient::new(ClientOptions::default())?;
//! let index: url::Url = "http://127.0.0.1:9/simple/".parse()?;
//! let upstream = HttpSource::new("pypi", index, client, HttpOptions::default());
//! let store = DiskStore::open(directory.path().join(".cache"), None)?;
//! let cached = CachedSource::new("pypi", upstream, store, CacheOptions::default());
//! let chain = ChainedSource::new(vec![Member::new(Arc::new(ours)), Member::new(Arc::new(cached))]);
//!
//! let page = chain.get_page(&ProjectName::parse("Acme.Tools")?).await?.expect("it lies in our directory");
//! assert_eq!(page.page.files[0].filename.as_str(), "acme_tools-1.0.tar.gz");
//! assert!(chain.get_page(&ProjectName::parse("flask")?).await.is_err(), "nobody could tell");
//! # Ok(())
//! # }
//! ```
//!
//! # Where to read on
//!
//! * [`source`]: the trait, its contract, the requests and answers. Start here to write a source of your own,
//!   and run the suite in `conformance` (a feature) on it.
//! * [`model`]: names, files, pages. [`simple`]: how pages look on the wire. [`archive`]: METADATA out of wheels.
//! * [`store`]: what lies on disk, and what survives a power cut.
//!
//! The library reads no environment variables (but for the proxy and certificate ones that every HTTP client
//! honours) and writes nowhere but below the directories it is given.

mod alarm;
pub mod archive;
pub mod cached_source;
pub mod chained_source;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod disk_source;
pub mod hosted_source;
pub mod http_source;
pub mod local_fs;
pub mod mirrored_source;
pub mod model;
mod offload;
pub mod policy_source;
pub mod prefetching_source;
mod resilience;
pub mod simple;
pub mod source;
pub mod store;

pub use alarm::{Alarm, AlarmKind, Alarms};
pub use clock::Clock;
