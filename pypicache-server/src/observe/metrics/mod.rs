//! Metrics (OpenMetrics text, which Prometheus reads), at `/metrics` of every index. No label carries a project's name.
//!
//! What happens to requests is counted here, as it happens; what the sources count themselves is read off them when
//! somebody looks.

mod shards;
mod totals;

use std::fmt::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use pypicache_core::source::CacheStatus;

use crate::http::respond::{Reply, full};
use shards::{Counts, SECONDS, Shards};
pub(crate) use totals::Totals;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// What is counted here. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    requests: Arc<Shards>,
    denials: Family<Reason, Counter>,
    uploads: Family<Reason, Counter>,
    alarms: Counter,
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
        self.requests.note(route, status.as_u16(), took, cache_status);
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
        registry.register_collector(Box::new(self.requests.sum()));
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

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let encoder = &mut encoder;
        let (name, help) = ("requests", "Requests that were answered.");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for ((route, status), count) in &self.requests {
            let status = status.to_string();
            let labels = [("route", *route), ("status", &*status)];
            ConstCounter::new(*count).encode(metric.encode_family(&labels)?)?;
        }
        let help = "From the request's head to the head of its answer.";
        let mut metric = encoder.encode_descriptor("request_seconds", help, None, MetricType::Histogram)?;
        for (route, times) in &self.times {
            let bounds = SECONDS.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(times.within).collect();
            let labels = [("route", *route)];
            let mut family = metric.encode_family(&labels)?;
            family.encode_histogram::<NoLabelSet>(times.seconds, times.count, &buckets, None)?;
        }
        let (name, help) = ("answers", "What a source's cache did for answers.");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for ((cache, outcome), count) in &self.answers {
            let labels = [("cache", &**cache), ("outcome", *outcome)];
            ConstCounter::new(*count).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
