//! What sources, upstreams and the store count themselves, read off when somebody looks.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use pypicache_core::cached_source::TransferTotals;
use pypicache_core::http_source::UpstreamTotals;
use pypicache_core::prefetching_source::PrefetchTotals;

use crate::site::Site;

/// What the sources count themselves, at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    prefetch: Vec<(String, PrefetchTotals)>,
    upstreams: Vec<(String, UpstreamTotals)>,
    transfers: Vec<(String, TransferTotals)>,
    store_bytes: u64,
    evictions: u64,
}

impl Snapshot {
    pub(super) async fn of(site: &Site) -> Self {
        let prefetch = site.indexes.iter().filter_map(|index| {
            let totals = index.prefetching.as_ref()?.totals();
            Some((format!("/{}", index.path), totals))
        });
        // Every source is a part of the index at the root.
        let members = || site.indexes.first().into_iter().flat_map(|root| &root.members);
        let (store_bytes, evictions) = match &site.store {
            Some(store) => (store.measured().await, store.evictions()),
            None => (0, 0),
        };
        Self {
            prefetch: prefetch.collect(),
            upstreams: members()
                .flat_map(|member| {
                    member
                        .upstreams
                        .iter()
                        .map(|upstream| (member.name.clone(), upstream.totals()))
                })
                .collect(),
            transfers: members()
                .filter_map(|member| Some((member.name.clone(), member.cached.as_ref()?.totals())))
                .collect(),
            store_bytes,
            evictions,
        }
    }
}

/// A counter of `T`: its name, what it counts, and where its value is.
type Counted<T> = (&'static str, &'static str, fn(&T) -> u64);

const PREFETCH: [Counted<PrefetchTotals>; 4] = [
    (
        "prefetch_fetched",
        "Pages and METADATA that were fetched before an installer asked for them.",
        |totals| totals.fetched,
    ),
    (
        "prefetch_used",
        "Those of them that an installer asked for afterwards.",
        |totals| totals.used,
    ),
    (
        "prefetch_wasted",
        "Those of them that nobody asked for within a minute.",
        |totals| totals.wasted,
    ),
    (
        "prefetch_metadata_bytes",
        "Bytes of METADATA that were fetched ahead.",
        |totals| totals.bytes,
    ),
];

const TRANSFERS: [Counted<TransferTotals>; 4] = [
    (
        "transfers_begun",
        "Files that were begun to be fetched.",
        |totals| totals.begun,
    ),
    ("transfers_finished", "Files that came in whole.", |totals| {
        totals.finished
    }),
    ("transfers_failed", "Files that did not come in.", |totals| {
        totals.failed
    }),
    ("transfer_bytes", "Bytes of files that came in whole.", |totals| {
        totals.bytes
    }),
];

const UPSTREAMS: [Counted<UpstreamTotals>; 2] = [
    (
        "upstream_answers",
        "Questions that an upstream answered.",
        |totals| totals.answered,
    ),
    (
        "upstream_failures",
        "Questions that an upstream did not answer.",
        |totals| totals.failed,
    ),
];

const HEALTH: Counted<UpstreamTotals> = (
    "upstream_up",
    "Whether an upstream answered the last question.",
    |totals| u64::from(totals.is_well),
);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let encoder = &mut encoder;
        for (name, help, value) in PREFETCH {
            let samples = self
                .prefetch
                .iter()
                .map(|(index, totals)| ([("index", &**index)], value(totals)));
            counters(encoder, (name, help), samples)?;
        }
        for (name, help, value) in TRANSFERS {
            let samples = self
                .transfers
                .iter()
                .map(|(source, totals)| ([("source", &**source)], value(totals)));
            counters(encoder, (name, help), samples)?;
        }
        for (name, help, value) in UPSTREAMS {
            counters(encoder, (name, help), self.of_upstreams(value))?;
        }
        gauges(encoder, (HEALTH.0, HEALTH.1), self.of_upstreams(HEALTH.2))?;
        let (name, help) = ("store_evictions", "Files that were removed to make room.");
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(self.evictions).encode(metric)?;
        let (name, help) = ("store_bytes", "What held files take, as of the last minute.");
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(self.store_bytes).encode(metric)?;
        self.encode_times(encoder)
    }
}

impl Snapshot {
    fn of_upstreams(
        &self,
        value: fn(&UpstreamTotals) -> u64,
    ) -> impl Iterator<Item = ([(&str, &str); 2], u64)> {
        let labels = |source, upstream| [("source", source), ("upstream", upstream)];
        let upstreams = self.upstreams.iter();
        upstreams.map(move |(source, totals)| (labels(&**source, &*totals.upstream), value(totals)))
    }

    fn encode_times(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "How long the heads of an upstream's answers took.";
        let mut metric = encoder.encode_descriptor("upstream_seconds", help, None, MetricType::Histogram)?;
        for (source, totals) in &self.upstreams {
            let labels = [("source", &**source), ("upstream", &*totals.upstream)];
            let mut before = 0;
            // The encoder sums up by itself.
            let counts = totals.within.iter().map(|(bound, count)| {
                let own = count.saturating_sub(before);
                before = *count;
                (*bound, own)
            });
            let mut buckets: Vec<_> = counts.collect();
            buckets.push((f64::INFINITY, totals.answered.saturating_sub(before)));
            let mut family = metric.encode_family(&labels)?;
            family.encode_histogram::<NoLabelSet>(totals.seconds, totals.answered, &buckets, None)?;
        }
        Ok(())
    }
}

fn counters<'a, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    samples: impl Iterator<Item = ([(&'a str, &'a str); N], u64)>,
) -> Result<(), Error> {
    let mut metric: MetricEncoder<'_> = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in samples {
        ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauges<'a, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    samples: impl Iterator<Item = ([(&'a str, &'a str); N], u64)>,
) -> Result<(), Error> {
    let mut metric: MetricEncoder<'_> = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in samples {
        ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}
