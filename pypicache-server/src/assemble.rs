//! From a configuration to a site: the one place that knows every kind of source.

use std::sync::Arc;

use pypicache_core::cached_source::{CacheOptions, CachedSource};
use pypicache_core::chained_source::ChainedSource;
use pypicache_core::disk_source::DiskSource;
use pypicache_core::http_source::{
    ClientError, ClientOptions, Credentials, HttpClient, HttpOptions, HttpSource, Netrc, NetrcError,
};
use pypicache_core::mirrored_source::{MirrorOptions, MirroredSource};
use pypicache_core::source::IndexSource;
use pypicache_core::store::{DiskStore, StoreError};
use url::Url;

use crate::config::{Configuration, SourceConfiguration, SourceKind};
use crate::{Index, Site};

/// Why a configuration that reads well cannot be put to work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// The cache directory.
    #[error("the store cannot be opened")]
    Store(#[from] StoreError),
    /// TLS, or the extra certificate authorities.
    #[error("upstreams cannot be reached")]
    Client(#[from] ClientError),
    /// A directory of packages.
    #[error("the directory {path} of source {name:?} cannot be made")]
    Directory {
        /// The source.
        name: String,
        /// Its directory.
        path: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The netrc file.
    #[error("passwords for upstreams cannot be looked up")]
    Netrc(#[from] NetrcError),
}

/// What sources are made with.
struct Parts {
    store: DiskStore,
    client: HttpClient,
    netrc: Netrc,
    pseudonym: Arc<str>,
    offline: bool,
}

/// Opens the store and puts the sources together. Nothing is asked of any upstream yet.
pub fn assemble(configuration: &Configuration) -> Result<Site, AssembleError> {
    let parts = Parts {
        store: DiskStore::open(&configuration.cache_dir, configuration.max_size)?,
        client: HttpClient::new(ClientOptions {
            extra_ca_file: configuration.ca_file.clone(),
            ..ClientOptions::default()
        })?,
        netrc: configuration
            .netrc
            .as_deref()
            .map_or_else(|| Ok(Netrc::default()), Netrc::read)?,
        pseudonym: pseudonym(),
        offline: configuration.offline,
    };
    let sources = configuration
        .sources
        .iter()
        .map(|source| parts.source(source))
        .collect::<Result<Vec<_>, _>>()?;
    let mut indexes = vec![Index {
        path: String::new(),
        source: chain(sources.clone()),
    }];
    for index in &configuration.indexes {
        let chosen = index
            .sources
            .iter()
            .filter_map(|number| sources.get(*number).cloned())
            .collect();
        indexes.push(Index {
            path: index.name.clone(),
            source: chain(chosen),
        });
    }
    for index in &indexes {
        tracing::info!(index = format!("/{}", index.path), source = %index.source, "serving");
    }
    Ok(Site::new(parts.pseudonym, indexes))
}

/// One source needs no chain around it.
fn chain(mut sources: Vec<Arc<dyn IndexSource>>) -> Arc<dyn IndexSource> {
    match sources.len() {
        1 => sources.remove(0),
        _ => Arc::new(ChainedSource::new(sources)),
    }
}

impl Parts {
    fn source(&self, source: &SourceConfiguration) -> Result<Arc<dyn IndexSource>, AssembleError> {
        match &source.kind {
            SourceKind::Directory(path) => {
                let failed = |cause| AssembleError::Directory {
                    name: source.name.clone(),
                    path: path.display().to_string(),
                    cause,
                };
                std::fs::create_dir_all(path).map_err(failed)?;
                Ok(Arc::new(DiskSource::new(&source.name, path)))
            }
            SourceKind::Upstream {
                upstreams,
                credentials,
                timeout,
            } => {
                let mut options = HttpOptions {
                    pseudonym: self.pseudonym.clone(),
                    ..HttpOptions::default()
                };
                options.page_timeout = timeout.unwrap_or(options.page_timeout);
                let equals: Vec<_> = upstreams
                    .iter()
                    .map(|url| self.upstream(&source.name, url, credentials.as_ref(), &options))
                    .collect();
                let cache = CacheOptions {
                    offline: self.offline,
                    ..CacheOptions::default()
                };
                let mirror = MirrorOptions {
                    page_timeout: options.page_timeout,
                    ..MirrorOptions::default()
                };
                Ok(Arc::new(CachedSource::new(
                    &source.name,
                    MirroredSource::new(&source.name, equals, mirror),
                    self.store.clone(),
                    cache,
                )))
            }
        }
    }

    /// Credentials in the URL count before those of the source, and these before the netrc file's.
    fn upstream(
        &self,
        name: &str,
        url: &Url,
        credentials: Option<&Credentials>,
        options: &HttpOptions,
    ) -> Arc<dyn IndexSource> {
        let credentials = credentials.cloned().or_else(|| self.netrc.credentials(url));
        let options = HttpOptions {
            credentials,
            ..options.clone()
        };
        Arc::new(HttpSource::new(name, url.clone(), self.client.clone(), options))
    }
}

/// This process's name in `Via`: different in each, so that two tiers of one machine are not taken for a loop.
fn pseudonym() -> Arc<str> {
    use std::hash::{BuildHasher as _, Hasher as _};
    let random = std::hash::RandomState::new().build_hasher().finish();
    format!("pypicache-{:08x}", random >> 32).into()
}
