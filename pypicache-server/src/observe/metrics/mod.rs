//! Metrics (OpenMetrics text, which Prometheus reads), at `/metrics` of every index. No label carries a project's name.
//!
//! What happens to requests is counted here, as it happens; what the sources count themselves is read off them when
//! somebody looks.

mod totals;

use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use pypicache_core::source::{CacheStatus, Hop};

use crate::http::respond::{Reply, full};
pub(crate) use totals::Totals;

/// Bounds of the times that are counted apart, in seconds.
const SECONDS: [f64; 10] = [0.0001, 0.0005, 0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    cache: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// What is counted here. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    requests: Family<Request, Counter>,
    seconds: Family<Route, Histogram>,
    answers: Family<Outcome, Counter>,
    denials: Family<Reason, Counter>,
    uploads: Family<Reason, Counter>,
    alarms: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            answers: Family::default(),
            denials: Family::default(),
            uploads: Family::default(),
            alarms: Counter::default(),
        }
    }
}

impl Metrics {
    /// A request was answered.
    pub(crate) fn note_request(
        &self,
        route: &'static str,
        status: StatusCode,
        took: Duration,
        cache_status: &CacheStatus,
    ) {
        let status = status.as_u16();
        self.requests.get_or_create(&Request { route, status }).inc();
        self.seconds
            .get_or_create(&Route { route })
            .observe(took.as_secs_f64());
        for Hop { cache, outcome } in &cache_status.hops {
            let labels = Outcome {
                cache: cache.to_string(),
                outcome: outcome.as_str(),
            };
            self.answers.get_or_create(&labels).inc();
        }
    }

    /// Somebody was turned away, or something kept out.
    pub(crate) fn note_denial(&self, reason: &'static str) {
        self.denials.get_or_create(&Reason { reason }).inc();
    }

    /// An upload came to an end.
    pub(crate) fn note_upload(&self, reason: &'static str) {
        self.uploads.get_or_create(&Reason { reason }).inc();
    }

    /// An alarm was raised.
    pub(crate) fn note_alarm(&self) {
        self.alarms.inc();
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("requests", "Requests that were answered.", self.requests.clone());
        registry.register(
            "request_seconds",
            "From the request's head to the head of its answer.",
            self.seconds.clone(),
        );
        registry.register(
            "answers",
            "What a source's cache did for answers.",
            self.answers.clone(),
        );
        registry.register(
            "denials",
            "Requests of somebody who may not, or for what a rule keeps out.",
            self.denials.clone(),
        );
        registry.register(
            "uploads",
            "Files that somebody uploaded, by what became of them.",
            self.uploads.clone(),
        );
        registry.register(
            "alarms",
            "Things that an administrator has to look at; the audit log has them.",
            self.alarms.clone(),
        );
    }

    /// All metrics as text: what is counted here, and `totals`.
    pub(crate) fn reply(&self, totals: Totals) -> Reply {
        let mut registry = Registry::with_prefix("pypicache");
        self.register(&mut registry);
        registry.register_collector(Box::new(totals));
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        let mut response = Response::new(full(text.into()));
        let content_type =
            HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }
}
