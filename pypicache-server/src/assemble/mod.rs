//! From a configuration to a site: the one place that knows every kind of source.
//!
//! `sources` makes each source of the configuration, `index` puts them together: a chain (the guard), rules in front
//! of it, asking ahead in front of these.
//!
//! Imports: `access`, `config`, `data_dir`, `observe`, `site`.

mod index;
mod sources;

use pypicache_core::Clock;
use pypicache_core::http_source::{ClientError, NetrcError};
use pypicache_core::store::{DiskStore, StoreError};

use crate::Site;
use crate::access::tokens::TokenFile;
use crate::access::{Access, Htpasswd, Publishers};
use crate::config::Configuration;
use crate::data_dir;
use index::index;
use sources::SourceBuilder;

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

/// Opens the store and puts the sources together. Nothing is asked of any upstream yet. `clock` tells the age of pages.
pub fn assemble(configuration: &Configuration, clock: Clock) -> Result<Site, AssembleError> {
    // Without it a cache goes on; what needs it says so, and the server is not ready.
    if let Err(error) = data_dir::prepare(&configuration.data_dir) {
        tracing::error!(path = %configuration.data_dir.display(), %error, "the data directory cannot be used");
    }
    let store = DiskStore::open(&configuration.cache_dir, configuration.max_size)?;
    let builder = SourceBuilder::new(configuration, clock.clone(), store)?;
    put_together(configuration, clock, builder)
}

/// The same for a server that runs: it goes on with the store and the name of `running`, and with what was counted.
pub fn assemble_again(
    configuration: &Configuration,
    clock: Clock,
    running: &Site,
) -> Result<Site, AssembleError> {
    let store = match &running.store {
        Some(store) => store.clone(),
        None => DiskStore::open(&configuration.cache_dir, configuration.max_size)?,
    };
    let mut builder = SourceBuilder::new(configuration, clock.clone(), store)?;
    builder.pseudonym = running.pseudonym.clone();
    builder.metrics = running.metrics.clone();
    put_together(configuration, clock, builder)
}

fn put_together(
    configuration: &Configuration,
    clock: Clock,
    mut builder: SourceBuilder,
) -> Result<Site, AssembleError> {
    let built = configuration.sources.iter().map(|source| builder.make(source));
    let built = built.collect::<Result<Vec<_>, _>>()?;
    let alarms = builder.alarms();
    let all: Vec<_> = (0..built.len()).collect();
    let further = configuration.indexes.iter();
    let further = further.map(|further| (further.name.clone(), &*further.sources, further.anonymous_read));
    let root = (String::new(), &*all, configuration.anonymous_read);
    let indexes: Vec<_> = std::iter::once(root)
        .chain(further)
        .map(|(path, numbers, anonymous_read)| {
            let chosen: Vec<_> = numbers.iter().filter_map(|number| built.get(*number)).collect();
            index(path, &chosen, anonymous_read, configuration, &clock, &alarms)
        })
        .collect();
    for index in &indexes {
        tracing::info!(index = format!("/{}", index.path), source = %index.source, "serving");
    }
    let publishers = Publishers::new(configuration.publishers.clone(), builder.client()?);
    let mut access =
        Access::with_tokens(TokenFile::new(&configuration.data_dir, clock)).with_publishers(publishers);
    if let Some((path, role)) = &configuration.users {
        access = access.with_users(Htpasswd::new(path, *role));
    }
    Ok(Site::new(builder.pseudonym, indexes)
        .with_store(builder.store)
        .with_access(access)
        .with_audit(builder.audit)
        .reached(
            configuration.proxies.clone(),
            configuration.tls.is_some(),
            configuration.external_url.clone(),
        )
        .with_metrics(builder.metrics))
}
