//! What is served: one or several indexes, who may use them, and who this tier is.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::header::HeaderValue;
use pypicache_core::cached_source::CachedSource;
use pypicache_core::hosted_source::HostedSource;
use pypicache_core::http_source::HttpSource;
use pypicache_core::model::{NamePattern, ProjectName};
use pypicache_core::policy_source::PolicySource;
use pypicache_core::prefetching_source::PrefetchingSource;
use pypicache_core::source::IndexSource;
use pypicache_core::store::DiskStore;

use url::Url;

use crate::access::Access;
use crate::client_context::ClientContext;
use crate::http::proxy::Proxies;
use crate::http::render::Renderer;
use crate::observe::audit::{Audit, Event};
use crate::observe::metrics::{Metrics, Totals};

/// One index: its pages below `/<path>/simple/`, its files below `/<path>/files/`.
#[derive(Debug, Clone)]
pub struct Index {
    /// Empty for the index at the root; else one path segment.
    pub path: String,
    /// Who answers.
    pub source: Arc<dyn IndexSource>,
    /// What `source` is, if that asks ahead: its account stands among the metrics.
    pub prefetching: Option<PrefetchingSource>,
    /// Who answers as far as no rules are concerned: uploads are held against this.
    pub(crate) behind: Arc<dyn IndexSource>,
    /// What `source` has in it, if there are rules: it can explain them.
    pub(crate) policy: Option<PolicySource>,
    /// What the index is made of, in the order in which the sources are asked.
    pub(crate) members: Vec<IndexMember>,
    /// Whether it is read without credentials.
    pub anonymous_read: bool,
    /// Where uploads to this index go; the first that a name fits.
    pub hosting: Vec<Hosting>,
}

/// A source as a part of an index, for explanations.
#[derive(Debug, Clone)]
pub(crate) struct IndexMember {
    pub(crate) name: String,
    pub(crate) source: Arc<dyn IndexSource>,
    pub(crate) claims: Vec<NamePattern>,
    /// What it asks, if it is an upstream.
    pub(crate) upstreams: Vec<HttpSource>,
    /// The cache in front of these.
    pub(crate) cached: Option<CachedSource>,
}

/// A hosted source as a part of an index.
#[derive(Debug, Clone)]
pub struct Hosting {
    /// Where files go.
    pub source: HostedSource,
    /// The names that it claims; without any, it takes those that nobody claims.
    pub claims: Vec<NamePattern>,
    /// Projects of others that it adds files to.
    pub overlay: Vec<NamePattern>,
    /// The largest file that is taken, in bytes.
    pub max_upload_size: u64,
}

impl Index {
    /// An index that `source` answers for, which does not ask ahead, takes no uploads, and is open to everybody.
    pub fn new(path: impl Into<String>, source: Arc<dyn IndexSource>) -> Self {
        Self {
            path: path.into(),
            behind: source.clone(),
            source,
            policy: None,
            members: Vec::new(),
            prefetching: None,
            anonymous_read: true,
            hosting: Vec::new(),
        }
    }

    /// Where files of a project go: the source that claims its name, else the first that claims nothing.
    pub(crate) fn hosting_for(&self, project: &ProjectName) -> Option<&Hosting> {
        let is_meant = |hosting: &&Hosting| hosting.claims(project) || hosting.overlays_project(project);
        let claimed = self.hosting.iter().find(is_meant);
        claimed.or_else(|| self.hosting.iter().find(|hosting| hosting.claims.is_empty()))
    }
}

impl Hosting {
    /// Whether the project is another's, to which files may be added.
    pub(crate) fn overlays_project(&self, project: &ProjectName) -> bool {
        self.overlay.iter().any(|pattern| pattern.matches(project))
    }

    /// Whether the configuration says that the name is this source's own.
    pub(crate) fn claims(&self, project: &ProjectName) -> bool {
        self.claims.iter().any(|pattern| pattern.matches(project))
    }
}

/// Everything that one server answers for.
pub struct Site {
    pub(crate) pseudonym: Arc<str>,
    /// What every response says of the way that it came (`Via`).
    pub(crate) via: Option<HeaderValue>,
    pub(crate) indexes: Vec<Index>,
    pub(crate) access: Access,
    pub(crate) proxies: Proxies,
    /// Where it is reached from outside, as far as that was said.
    pub(crate) external_url: Option<Url>,
    pub(crate) scheme: &'static str,
    pub(crate) metrics: Metrics,
    pub(crate) audit: Option<Audit>,
    /// Who used credentials from where within the last hour: written to disk once.
    uses: moka::sync::Cache<(String, IpAddr), ()>,
    pub(crate) renderer: Renderer,
    pub(crate) store: Option<DiskStore>,
    is_stopping: AtomicBool,
}

impl Site {
    /// `pseudonym` names this tier in `Via` and `Cache-Status`; it has to be the one that its sources send, or
    /// loops go unnoticed.
    #[must_use]
    pub fn new(pseudonym: impl Into<Arc<str>>, indexes: Vec<Index>) -> Self {
        let pseudonym = pseudonym.into();
        Self {
            via: HeaderValue::try_from(format!("1.1 {pseudonym}")).ok(),
            pseudonym,
            indexes,
            access: Access::default(),
            proxies: Proxies::default(),
            external_url: None,
            scheme: "http",
            metrics: Metrics::default(),
            audit: None,
            uses: moka::sync::Cache::builder()
                .max_capacity(10_000)
                .time_to_live(Duration::from_secs(3600))
                .build(),
            renderer: Renderer::new(),
            store: None,
            is_stopping: AtomicBool::new(false),
        }
    }

    /// The same, used by those whom `access` lets in.
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// The same as it is reached: behind reverse proxies, by TLS, under a name of its own. (What speaks TLS is
    /// [`ServeOptions::tls`](crate::ServeOptions); this is for links.)
    #[must_use]
    pub fn reached(mut self, proxies: Proxies, is_tls: bool, external_url: Option<Url>) -> Self {
        self.proxies = proxies;
        self.scheme = if is_tls { "https" } else { "http" };
        self.external_url = external_url;
        self
    }

    /// The same, counted together with what was counted before.
    pub(crate) fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// The same with a log of what is done and refused.
    #[must_use]
    pub fn with_audit(mut self, audit: Audit) -> Self {
        self.audit = Some(audit);
        self
    }

    /// Writes down what happened, where that is wanted.
    pub(crate) fn note(&self, event: &Event) {
        if let Some(audit) = &self.audit {
            audit.note(event);
        }
    }

    /// Writes down that credentials are used, once an hour for each place.
    pub(crate) fn note_use(&self, client_context: &ClientContext) {
        let Some(name) = client_context.caller.name() else {
            return;
        };
        let key = (name.to_owned(), client_context.client.address);
        if !self.uses.contains_key(&key) {
            self.uses.insert(key, ());
            self.note(&client_context.event("token-used"));
        }
    }

    /// The same with the store that its sources keep things in.
    #[must_use]
    pub fn with_store(mut self, store: DiskStore) -> Self {
        self.store = Some(store);
        self
    }

    /// Says at `/-/ready` from now on that there is not much time left. For load balancers.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Every hosted source, once.
    pub(crate) fn hosting(&self) -> impl Iterator<Item = &Hosting> {
        // Every source is a part of the index at the root.
        self.indexes.first().into_iter().flat_map(|root| &root.hosting)
    }

    /// What sources and store count themselves, now.
    pub(crate) async fn totals(&self) -> Totals {
        let prefetch = self.indexes.iter().filter_map(|index| {
            let totals = index.prefetching.as_ref()?.totals();
            Some((format!("/{}", index.path), totals))
        });
        // Every source is a part of the index at the root.
        let members = || self.indexes.first().into_iter().flat_map(|root| &root.members);
        let upstreams = members().flat_map(|member| {
            let totals = |upstream: &HttpSource| (member.name.clone(), upstream.totals());
            member.upstreams.iter().map(totals)
        });
        let transfers =
            members().filter_map(|member| Some((member.name.clone(), member.cached.as_ref()?.totals())));
        let (store_bytes, evictions) = match &self.store {
            Some(store) => (store.measured().await, store.evictions()),
            None => (0, 0),
        };
        Totals {
            prefetch: prefetch.collect(),
            upstreams: upstreams.collect(),
            transfers: transfers.collect(),
            store_bytes,
            evictions,
        }
    }

    /// Done when what went out is written to disk as well. For a server that stops.
    pub async fn flush(&self) {
        if let Some(store) = &self.store {
            store.flush().await;
        }
    }

    /// The index that a path belongs to, by its number, and the path below it.
    pub(crate) fn index_of<'a>(&self, path: &'a str) -> Option<(usize, &'a str)> {
        let below = |index: &Index| {
            let rest = path.strip_prefix('/')?.strip_prefix(&*index.path)?;
            rest.starts_with('/').then(|| &path[path.len() - rest.len()..])
        };
        let named = self
            .indexes
            .iter()
            .position(|index| !index.path.is_empty() && below(index).is_some());
        match named {
            Some(number) => Some((number, below(&self.indexes[number])?)),
            None => Some((self.indexes.iter().position(|index| index.path.is_empty())?, path)),
        }
    }
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site")
            .field("pseudonym", &self.pseudonym)
            .field("indexes", &self.indexes)
            .finish_non_exhaustive()
    }
}
