//! An upstream: a Simple API index reached over HTTP, be it PyPI, another tier of ours, or any other.
//!
//! It keeps nothing (put a [`crate::cached_source::CachedSource`] in front) and decides nothing about fallback. It
//! asks, understands what comes back, and says which of three things happened: found, absent, could not tell.
//!
//! * [`HttpClient`]: connections, TLS, proxies; shared by all upstreams of a process.
//! * `exchange`: one request, sent again where that helps, along redirects that `addresses` allows.
//! * `causes`, `bodies`: what went wrong; what comes in, and how fast it has to.
//! * `pages`: index pages and the project list, conditional requests, what an answer's status means.
//! * `files`: distribution files and siblings, ranges.
//! * `counters`: what is counted.
//! * `call`: a request of those who manage another server of ours.
//! * `preconnect`: a connection to the host of the files that stands before it is needed.
//! * `links`: how the URL of a file becomes its identity, the same at every tier.
//! * `freshness`: RFC 9111's `Cache-Control` and `Age`.
//! * [`Credentials`]: who gets them, and where they are hidden.
//!
//! Imports: `model`, `offload`, `resilience`, `simple`, `source`.

mod addresses;
mod bodies;
mod call;
mod causes;
mod client;
mod counters;
mod credentials;
mod exchange;
mod files;
mod freshness;
mod index_url;
mod links;
mod netrc;
mod pages;
mod preconnect;
mod probe;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderName;
use url::Url;

pub use client::{ClientError, ClientOptions, HttpClient};
pub use counters::UpstreamTotals;
pub use credentials::Credentials;
pub use index_url::IndexUrl;
pub use netrc::{Netrc, NetrcError};

use crate::model::ProjectName;
use crate::source::{
    Answer, CacheMode, Cause, FileReply, FileRequest, IndexSource, ListReply, PageReply, RequestContext,
    SourceError,
};
use addresses::OwnZone;
use counters::Counters;
use index_url::Secrets;
use preconnect::LastUse;
use probe::Proof;

/// PyPI's own Simple API: what the upstream alias `pypi` stands for.
pub const PYPI: &str = "https://pypi.org/simple/";

/// What the log lines of all tiers about one request have in common.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How one upstream is asked.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// This tier's name in `Via`, by which loops are noticed.
    pub pseudonym: Arc<str>,
    /// Sent to the index's own origin, and nowhere else. Credentials in the URL count as well.
    pub credentials: Option<Credentials>,
    /// How long the head of a page's answer may take.
    pub page_timeout: Duration,
    /// How long the head of a file's answer may take.
    pub file_timeout: Duration,
    /// The largest page that is accepted, in bytes after decompression.
    pub page_limit: usize,
    /// Hosts that files may come from wherever they are, beside the index's own. Any other must not be nearer to
    /// this machine than the index.
    pub file_hosts: Vec<String>,
    /// What it means when the upstream refuses (403) a page.
    pub forbidden: Forbidden,
    /// What a page without anything on it means.
    pub empty: Empty,
    /// Whether there is a project list at the index's URL. Where there is not, its 404s count before its first page came.
    pub has_root_list: bool,
    /// Whether a new page makes a connection to the host of its files ready (by a HEAD for one of them).
    pub preconnect: bool,
}

/// What a 403 for a page means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Forbidden {
    /// That the credentials are wrong: nobody can tell whether the project exists.
    #[default]
    Refused,
    /// That there is no such project: some indexes on object stores (PyTorch's) say it like this.
    Absent,
}

/// What a page means that has no files, no versions and no status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Empty {
    /// What it says: a project without files. HTML without any sign of an index is an error.
    #[default]
    Page,
    /// That there is no such project: some repository managers say it like this.
    Absent,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            pseudonym: "pypicache".into(),
            credentials: None,
            page_timeout: Duration::from_millis(1800),
            file_timeout: Duration::from_secs(10),
            page_limit: 128 * 1024 * 1024,
            file_hosts: Vec::new(),
            forbidden: Forbidden::default(),
            empty: Empty::default(),
            has_root_list: true,
            preconnect: false,
        }
    }
}

/// One upstream. Clones share what they learn.
#[derive(Clone)]
pub struct HttpSource {
    name: Arc<str>,
    /// Ends with a slash, carries no credentials.
    index: Url,
    /// The same as text without what is secret in it: whose pages and links are whose.
    label: Arc<str>,
    secrets: Secrets,
    /// Whether it has shown to be an index.
    proof: Arc<Proof>,
    /// Where files with paths of their own lie, if it is a tier of ours.
    tier_files: Option<Url>,
    client: HttpClient,
    options: HttpOptions,
    zone: Arc<OwnZone>,
    files_used: Arc<LastUse>,
    counters: Arc<Counters>,
}

impl HttpSource {
    /// The upstream whose project pages live below `index` (`https://host/simple/`), as a part of the source `name`.
    ///
    /// Credentials in the URL are taken out of it and used as [`HttpOptions::credentials`].
    #[must_use]
    pub fn new(name: &str, index: impl Into<IndexUrl>, client: HttpClient, mut options: HttpOptions) -> Self {
        let (index, credentials, secrets, label) = index.into().into_parts();
        options.credentials = credentials.or(options.credentials);
        let is_known = index.as_str() == PYPI || !options.has_root_list;
        Self {
            tier_files: links::tier_files(&index),
            name: name.into(),
            label,
            index,
            secrets,
            proof: Arc::new(if is_known {
                Proof::given()
            } else {
                Proof::default()
            }),
            client,
            options,
            zone: Arc::default(),
            files_used: Arc::default(),
            counters: Arc::default(),
        }
    }

    /// Text about the index without what is secret in its URL.
    fn shown(&self, text: &str) -> String {
        self.secrets.shown(text)
    }
}

impl HttpSource {
    /// Whether this upstream may hear of the request at all.
    fn is_meant(&self, asked: impl fmt::Display, context: &RequestContext) -> Result<(), SourceError> {
        match &context.pinned_upstream {
            _ if context.cache_mode == CacheMode::OnlyIfCached => Err(SourceError::not_held(asked)),
            Some(pinned_upstream) if *pinned_upstream != self.label => {
                Err(self.failed(asked, Cause::Private(pinned_upstream.clone())))
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, asked: impl fmt::Display, cause: Cause) -> SourceError {
        match cause {
            Cause::Denied(rule) => SourceError::denied(asked, &format!("{rule} (told by {})", self.label)),
            cause => SourceError::unavailable(asked, &self.label, cause),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl IndexSource for HttpSource {
    async fn projects(&self, context: &RequestContext) -> Result<Answer<ListReply>, SourceError> {
        self.is_meant("the project list", context)?;
        self.request_projects(context).await
    }

    async fn page(
        &self,
        project: &ProjectName,
        context: &RequestContext,
    ) -> Result<Answer<PageReply>, SourceError> {
        self.is_meant(project, context)?;
        self.request_page(project, context).await
    }

    async fn file(
        &self,
        request: &FileRequest,
        context: &RequestContext,
    ) -> Result<Answer<FileReply>, SourceError> {
        self.is_meant(&request.path, context)?;
        self.request_file(request, context).await
    }
}

impl fmt::Display for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upstream {}", self.label)
    }
}

impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpSource({} of {})", self.label, self.name)
    }
}
