//! From a configuration to a site: the one place that knows every kind of source.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pypicache_core::Clock;
use pypicache_core::cached_source::{CacheOptions, CachedSource};
use pypicache_core::chained_source::{ChainedSource, Member};
use pypicache_core::disk_source::DiskSource;
use pypicache_core::hosted_source::{HostedOptions, HostedSource};
use pypicache_core::http_source::{
    ClientError, ClientOptions, HttpClient, HttpOptions, HttpSource, Netrc, NetrcError,
};
use pypicache_core::mirrored_source::{MirrorOptions, MirroredSource};
use pypicache_core::prefetching_source::{PrefetchOptions, PrefetchingSource};
use pypicache_core::source::IndexSource;
use pypicache_core::store::{DiskStore, StoreError};
use url::Url;

use crate::access::Access;
use crate::access::tokens::TokenFile;
use crate::config::{
    Configuration, HostedConfiguration, SourceConfiguration, SourceKind, UpstreamConfiguration,
};
use crate::{Hosting, Index, Site};

/// How long a connection to an upstream may take to stand where an equal stands behind it.
const HASTY_CONNECT: Duration = Duration::from_millis(500);

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
    clients: Clients,
    netrc: Netrc,
    pseudonym: Arc<str>,
    offline: bool,
    prefetch: bool,
    clock: Clock,
    hosted_options: HostedOptions,
    /// The hosted sources that were made, by name.
    hosting: BTreeMap<String, Hosting>,
}

/// Opens the store and puts the sources together. Nothing is asked of any upstream yet. `clock` tells the age of pages.
pub fn assemble(configuration: &Configuration, clock: Clock) -> Result<Site, AssembleError> {
    let mut parts = Parts {
        store: DiskStore::open(&configuration.cache_dir, configuration.max_size)?,
        clients: Clients {
            ca_file: configuration.ca_file.clone(),
            made: BTreeMap::new(),
        },
        netrc: configuration
            .netrc
            .as_deref()
            .map_or_else(|| Ok(Netrc::default()), Netrc::read)?,
        pseudonym: pseudonym(),
        offline: configuration.offline,
        prefetch: configuration.prefetch,
        hosted_options: HostedOptions {
            retention: configuration.retention,
            external_url: configuration.external_url.clone(),
            clock: clock.clone(),
        },
        hosting: BTreeMap::new(),
        clock: clock.clone(),
    };
    let sources = configuration
        .sources
        .iter()
        .map(|source| Ok(Member::claiming(parts.source(source)?, source.projects.clone())))
        .collect::<Result<Vec<_>, AssembleError>>()?;
    let claims_nothing = configuration
        .sources
        .iter()
        .all(|source| source.projects.is_empty());
    let chain = |members: Vec<Member>| -> Arc<dyn IndexSource> {
        match <[_; 1]>::try_from(members) {
            // One source that hears of everything needs no chain around it.
            Ok([only]) if claims_nothing => only.into_source(),
            Ok(only) => Arc::new(ChainedSource::new(only.into())),
            Err(members) => Arc::new(ChainedSource::new(members)),
        }
    };
    let is_ahead = configuration.prefetch && !configuration.offline;
    let hosting_of = |number: &usize| {
        parts
            .hosting
            .get(&configuration.sources.get(*number)?.name)
            .cloned()
    };
    let index = |path: String, numbers: &[usize], anonymous_read: bool| {
        let members = numbers
            .iter()
            .filter_map(|number| sources.get(*number).cloned())
            .collect();
        let source = chain(members);
        let prefetching =
            is_ahead.then(|| PrefetchingSource::new(source.clone(), PrefetchOptions::default()));
        Index {
            path,
            source: prefetching.clone().map_or(source, |source| Arc::new(source)),
            prefetching,
            anonymous_read,
            hosting: numbers.iter().filter_map(hosting_of).collect(),
        }
    };
    let all: Vec<_> = (0..sources.len()).collect();
    let mut indexes = vec![index(String::new(), &all, configuration.anonymous_read)];
    for configured in &configuration.indexes {
        indexes.push(index(
            configured.name.clone(),
            &configured.sources,
            configured.anonymous_read,
        ));
    }
    for index in &indexes {
        tracing::info!(index = format!("/{}", index.path), source = %index.source, "serving");
    }
    let access = Access::with_tokens(TokenFile::new(&configuration.data_dir, clock));
    Ok(Site::new(parts.pseudonym, indexes)
        .with_store(parts.store)
        .with_access(access))
}

impl Parts {
    fn source(&mut self, source: &SourceConfiguration) -> Result<Arc<dyn IndexSource>, AssembleError> {
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
            SourceKind::Hosted(hosted) => self.hosted(source, hosted),
            SourceKind::Upstream(upstream) => {
                let equals = self.equals(&source.name, upstream)?;
                let usual = MirrorOptions::default();
                let options = MirrorOptions {
                    page_timeout: upstream.timeout.unwrap_or(usual.page_timeout),
                    hedge: upstream.hedge,
                    ..usual
                };
                let mirrored = MirroredSource::new(&source.name, equals, options);
                let cached = CachedSource::new(
                    &source.name,
                    mirrored,
                    self.store.clone(),
                    self.cache_options(upstream),
                );
                Ok(Arc::new(cached))
            }
        }
    }

    fn hosted(
        &mut self,
        source: &SourceConfiguration,
        hosted: &HostedConfiguration,
    ) -> Result<Arc<dyn IndexSource>, AssembleError> {
        let failed = |cause| AssembleError::Directory {
            name: source.name.clone(),
            path: hosted.dir.display().to_string(),
            cause,
        };
        let opened =
            HostedSource::open(&source.name, &hosted.dir, self.hosted_options.clone()).map_err(failed)?;
        let hosting = Hosting {
            source: opened.clone(),
            claims: source.projects.clone(),
            max_upload_size: hosted.max_upload_size,
        };
        self.hosting.insert(source.name.clone(), hosting);
        Ok(Arc::new(opened))
    }

    fn cache_options(&self, upstream: &UpstreamConfiguration) -> CacheOptions {
        let usual = CacheOptions::default();
        CacheOptions {
            offline: self.offline,
            max_lifetime: upstream.max_lifetime,
            negative_lifetime: upstream.negative_lifetime.unwrap_or(usual.negative_lifetime),
            max_stale: upstream.max_stale,
            vanished: upstream.vanished,
            unreachable: upstream.unreachable,
            files: upstream.files,
            connections_per_file: upstream
                .connections_per_file
                .unwrap_or(usual.connections_per_file),
            clock: self.clock.clone(),
            ..usual
        }
    }

    /// Credentials in a URL count before those of the source, and these before the netrc file's.
    fn equals(
        &mut self,
        name: &str,
        upstream: &UpstreamConfiguration,
    ) -> Result<Vec<Arc<dyn IndexSource>>, AssembleError> {
        let usual = HttpOptions::default();
        let last = upstream.upstreams.len().saturating_sub(1);
        let equal = |(number, url): (usize, &Url)| -> Result<Arc<dyn IndexSource>, AssembleError> {
            let hasty = (number < last).then_some(HASTY_CONNECT);
            let client = self.clients.get(upstream.connect_timeout.or(hasty))?;
            let credentials = upstream.credentials.clone();
            let options = HttpOptions {
                pseudonym: self.pseudonym.clone(),
                credentials: credentials.or_else(|| self.netrc.credentials(url)),
                page_timeout: upstream.timeout.unwrap_or(usual.page_timeout),
                file_hosts: upstream.file_hosts.clone(),
                forbidden: upstream.forbidden,
                make_ready: self.prefetch,
                ..usual.clone()
            };
            Ok(Arc::new(HttpSource::new(name, url.clone(), client, options)))
        };
        upstream.upstreams.iter().enumerate().map(equal).collect()
    }
}

/// Connection pools, one for each patience with connections.
struct Clients {
    ca_file: Option<PathBuf>,
    made: BTreeMap<Option<Duration>, HttpClient>,
}

impl Clients {
    fn get(&mut self, connect_timeout: Option<Duration>) -> Result<HttpClient, ClientError> {
        if let Some(client) = self.made.get(&connect_timeout) {
            return Ok(client.clone());
        }
        let client = HttpClient::new(ClientOptions {
            extra_ca_file: self.ca_file.clone(),
            connect_timeout,
            ..ClientOptions::default()
        })?;
        self.made.insert(connect_timeout, client.clone());
        Ok(client)
    }
}

/// This process's name in `Via`: different in each, so that two tiers of one machine are not taken for a loop.
fn pseudonym() -> Arc<str> {
    use std::hash::{BuildHasher as _, Hasher as _};
    let random = std::hash::RandomState::new().build_hasher().finish();
    format!("pypicache-{:08x}", random >> 32).into()
}
