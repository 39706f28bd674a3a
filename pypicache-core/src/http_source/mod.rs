//! An upstream: a Simple API index reached over HTTP, be it PyPI, another tier of ours, or any other.
//!
//! It keeps nothing (put a [`crate::cached_source::CachedSource`] in front) and decides nothing about fallback. It
//! asks, understands what comes back, and says which of three things happened: found, absent, could not tell.
//!
//! * [`HttpClient`]: connections, TLS, proxies; shared by all upstreams of a process.
//! * `pages`: index pages and the project list, conditional questions, what an answer's status means.
//! * `files`: distribution files and siblings, ranges.
//! * `links`: how the URL of a file becomes its identity, the same at every tier.
//! * `freshness`: RFC 9111's `Cache-Control` and `Age`.
//! * [`Credentials`]: who gets them, and where they are hidden.

mod client;
mod credentials;
mod files;
mod freshness;
mod links;
mod pages;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;

pub use client::{ClientError, ClientOptions, HttpClient};
pub use credentials::{Credentials, Netrc, NetrcError};

use crate::model::ProjectName;
use crate::source::{Answer, Ask, FileQuestion, FileReply, IndexSource, ListReply, PageReply, SourceError};

/// PyPI's own Simple API: what the upstream alias `pypi` stands for.
pub const PYPI: &str = "https://pypi.org/simple/";

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
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            pseudonym: "pypicache".into(),
            credentials: None,
            page_timeout: Duration::from_millis(1800),
            file_timeout: Duration::from_secs(10),
            page_limit: 256 * 1024 * 1024,
        }
    }
}

/// One upstream.
pub struct HttpSource {
    name: Arc<str>,
    /// Ends with a slash, carries no credentials.
    index: Url,
    /// The same as text: whose pages and links are whose.
    label: Arc<str>,
    client: HttpClient,
    options: HttpOptions,
}

impl HttpSource {
    /// The upstream whose project pages live below `index` (`https://host/simple/`), as a part of the source `name`.
    ///
    /// Credentials in the URL are taken out of it and used as [`HttpOptions::credentials`].
    #[must_use]
    pub fn new(name: &str, mut index: Url, client: HttpClient, mut options: HttpOptions) -> Self {
        if let Some(credentials) = Credentials::out_of(&mut index) {
            options.credentials = Some(credentials);
        }
        if !index.path().ends_with('/') {
            index.set_path(&format!("{}/", index.path()));
        }
        index.set_query(None);
        index.set_fragment(None);
        let label = index.as_str().into();
        Self {
            name: name.into(),
            index,
            label,
            client,
            options,
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl IndexSource for HttpSource {
    async fn projects(&self, ask: &Ask) -> Result<Answer<ListReply>, SourceError> {
        self.ask_projects(ask).await
    }

    async fn page(&self, project: &ProjectName, ask: &Ask) -> Result<Answer<PageReply>, SourceError> {
        self.ask_page(project, ask).await
    }

    async fn file(&self, question: &FileQuestion, ask: &Ask) -> Result<Answer<FileReply>, SourceError> {
        self.ask_file(question, ask).await
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
