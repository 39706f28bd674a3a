//! Counters in Prometheus' text format (version 0.0.4), at `/metrics` of every index. No label carries a project's name.

use std::fmt::Write as _;

use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use pypicache_core::prefetching_source::PrefetchTotals;

use crate::respond::{Reply, full};
use crate::site::Site;

/// A counter of what was asked ahead: its name, what it counts, and where its value is.
type Counter = (&'static str, &'static str, fn(&PrefetchTotals) -> u64);

const PREFETCH: [Counter; 4] = [
    (
        "pypicache_prefetch_fetched_total",
        "Pages and METADATA that were fetched before an installer asked for them.",
        |totals| totals.fetched,
    ),
    (
        "pypicache_prefetch_used_total",
        "Those of them that an installer asked for afterwards.",
        |totals| totals.used,
    ),
    (
        "pypicache_prefetch_wasted_total",
        "Those of them that nobody asked for within a minute.",
        |totals| totals.wasted,
    ),
    (
        "pypicache_prefetch_metadata_bytes_total",
        "Bytes of METADATA that were fetched ahead.",
        |totals| totals.bytes,
    ),
];

/// All counters, each with a sample for every index.
pub(crate) fn metrics(site: &Site) -> Reply {
    let indexes = site.indexes.iter();
    let totals: Vec<_> = indexes
        .filter_map(|index| Some((&index.path, index.prefetching.as_ref()?.totals())))
        .collect();
    let mut text = String::new();
    for (name, help, value) in PREFETCH {
        // Writing to a String does not fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n");
        for (path, totals) in &totals {
            let _ = writeln!(text, "{name}{{index=\"/{path}\"}} {}", value(totals));
        }
    }
    let mut response = Response::new(full(text.into()));
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
