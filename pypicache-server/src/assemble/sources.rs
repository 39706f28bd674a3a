//! Making the sources of a configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pypicache_core::cached_source::{CacheOptions, CachedSource};
use pypicache_core::disk_source::DiskSource;
use pypicache_core::hosted_source::{HostedOptions, HostedSource};
use pypicache_core::http_source::{
    ClientError, ClientOptions, HttpClient, HttpOptions, HttpSource, IndexUrl, Netrc,
};
use pypicache_core::mirrored_source::{MirrorOptions, MirroredSource};
use pypicache_core::source::IndexSource;
use pypicache_core::store::DiskStore;
use pypicache_core::{AlarmKind, Alarms, Clock};

use super::AssembleError;
use crate::Hosting;
use crate::config::{
    Configuration, HostedConfiguration, SourceConfiguration, SourceKind, UpstreamConfiguration,
};
use crate::observe::audit::{Audit, Event};
use crate::observe::metrics::Metrics;
use crate::site::IndexMember;

/// How long a connection to an upstream may take to stand where an equal stands behind it.
const HASTY_CONNECT: Duration = Duration::from_millis(500);

/// What sources are made with.
pub(super) struct SourceBuilder {
    pub(super) store: DiskStore,
    pub(super) pseudonym: Arc<str>,
    pub(super) audit: Audit,
    pub(super) metrics: Metrics,
    clients: Clients,
    netrc: Netrc,
    offline: bool,
    prefetch: bool,
    clock: Clock,
    hosted_options: HostedOptions,
}

/// A source, ready to be put into indexes.
pub(super) struct BuiltSource {
    pub(super) member: IndexMember,
    /// What it takes, if it takes uploads.
    pub(super) hosting: Option<Hosting>,
}

impl SourceBuilder {
    pub(super) fn new(
        configuration: &Configuration,
        clock: Clock,
        store: DiskStore,
    ) -> Result<Self, AssembleError> {
        Ok(Self {
            store,
            pseudonym: pseudonym(),
            audit: Audit::new(&configuration.data_dir, clock.clone()),
            metrics: Metrics::default(),
            clients: Clients {
                ca_file: configuration.ca_file.clone(),
                built: BTreeMap::new(),
            },
            netrc: Netrc::of_user(configuration.netrc.as_deref(), configuration.home.as_deref())?,
            offline: configuration.offline,
            prefetch: configuration.prefetch,
            hosted_options: HostedOptions {
                retention: configuration.retention,
                external_url: configuration.external_url.clone(),
                clock: clock.clone(),
            },
            clock,
        })
    }

    pub(super) fn make(&mut self, source: &SourceConfiguration) -> Result<BuiltSource, AssembleError> {
        let mut cached = None;
        let (built, upstreams, hosting): (Arc<dyn IndexSource>, _, _) = match &source.kind {
            SourceKind::Directory(path) => {
                std::fs::create_dir_all(path).map_err(directory_failed(&source.name, path))?;
                (Arc::new(DiskSource::new(&source.name, path)), Vec::new(), None)
            }
            SourceKind::Hosted(hosted) => {
                let hosting = self.hosting(source, hosted)?;
                (Arc::new(hosting.source.clone()), Vec::new(), Some(hosting))
            }
            SourceKind::Upstream(upstream) => {
                let equals = self.equals(&source.name, upstream)?;
                let built = self.cached(&source.name, equals.clone(), upstream);
                cached = Some(built.clone());
                (Arc::new(built), equals, None)
            }
        };
        Ok(BuiltSource {
            member: IndexMember {
                name: source.name.clone(),
                source: built,
                claims: source.projects.clone(),
                upstreams,
                cached,
            },
            hosting,
        })
    }

    fn hosting(
        &self,
        source: &SourceConfiguration,
        hosted: &HostedConfiguration,
    ) -> Result<Hosting, AssembleError> {
        let opened = HostedSource::open(&source.name, &hosted.dir, self.hosted_options.clone());
        Ok(Hosting {
            source: opened.map_err(directory_failed(&source.name, &hosted.dir))?,
            claims: source.projects.clone(),
            overlay: hosted.overlay.clone(),
            max_upload_size: hosted.max_upload_size,
        })
    }

    fn cached(&self, name: &str, equals: Vec<HttpSource>, upstream: &UpstreamConfiguration) -> CachedSource {
        let usual = MirrorOptions::default();
        let options = MirrorOptions {
            page_timeout: upstream.timeout.unwrap_or(usual.page_timeout),
            hedge: upstream.hedge,
            ..usual
        };
        let equals = equals
            .into_iter()
            .map(|equal| Arc::new(equal) as Arc<dyn IndexSource>);
        let mirrored = MirroredSource::new(name, equals.collect(), options);
        let options = self.cache_options(upstream);
        CachedSource::new(name, mirrored, self.store.clone(), options)
    }

    /// For others than indexes.
    pub(super) fn client(&mut self) -> Result<HttpClient, ClientError> {
        self.clients.get(None)
    }

    /// Alarms are counted and written to disk.
    pub(super) fn alarms(&self) -> Alarms {
        let (audit, metrics) = (self.audit.clone(), self.metrics.clone());
        Alarms::to(move |alarm| {
            metrics.note_alarm();
            let is_project = alarm.kind == AlarmKind::NameElsewhere;
            audit.note(&Event {
                project: is_project.then(|| alarm.subject.clone()),
                files: Vec::from_iter((!is_project).then(|| alarm.subject.clone())),
                source: Some(alarm.source.to_string()),
                reason: Some(alarm.kind.to_string()),
                detail: Some(alarm.detail.clone()),
                ..Event::new("alarm")
            });
        })
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
            alarms: self.alarms(),
            ..usual
        }
    }

    /// Credentials in a URL count before those of the source, and these before the netrc file's.
    fn equals(
        &mut self,
        name: &str,
        upstream: &UpstreamConfiguration,
    ) -> Result<Vec<HttpSource>, AssembleError> {
        let usual = HttpOptions::default();
        let last = upstream.upstreams.len().saturating_sub(1);
        let equal = |(number, url): (usize, &IndexUrl)| -> Result<HttpSource, AssembleError> {
            let hasty = (number < last).then_some(HASTY_CONNECT);
            let client = self.clients.get(upstream.connect_timeout.or(hasty))?;
            let credentials = upstream.credentials.clone();
            let options = HttpOptions {
                pseudonym: self.pseudonym.clone(),
                credentials: credentials.or_else(|| self.netrc.credentials_for(url.host()?)),
                page_timeout: upstream.timeout.unwrap_or(usual.page_timeout),
                file_hosts: upstream.file_hosts.clone(),
                forbidden: upstream.forbidden,
                empty: upstream.empty,
                has_root_list: upstream.has_root_list,
                preconnect: self.prefetch,
                ..usual.clone()
            };
            Ok(HttpSource::new(name, url.clone(), client, options))
        };
        upstream.upstreams.iter().enumerate().map(equal).collect()
    }
}

fn directory_failed(name: &str, path: &std::path::Path) -> impl Fn(std::io::Error) -> AssembleError {
    let (name, path) = (name.to_owned(), path.display().to_string());
    move |cause| AssembleError::Directory {
        name: name.clone(),
        path: path.clone(),
        cause,
    }
}

/// Connection pools, one for each time-out with connections.
struct Clients {
    ca_file: Option<PathBuf>,
    built: BTreeMap<Option<Duration>, HttpClient>,
}

impl Clients {
    fn get(&mut self, connect_timeout: Option<Duration>) -> Result<HttpClient, ClientError> {
        if let Some(client) = self.built.get(&connect_timeout) {
            return Ok(client.clone());
        }
        let client = HttpClient::new(ClientOptions {
            extra_ca_file: self.ca_file.clone(),
            connect_timeout,
            ..ClientOptions::default()
        })?;
        self.built.insert(connect_timeout, client.clone());
        Ok(client)
    }
}

/// This process's name in `Via`: different in each, so that two tiers of one machine are not taken for a loop.
fn pseudonym() -> Arc<str> {
    use std::hash::{BuildHasher as _, Hasher as _};
    let random = std::hash::RandomState::new().build_hasher().finish();
    format!("pypicache-{:08x}", random >> 32).into()
}
