//! What sources, upstreams and the store count themselves, as it is written among the metrics.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use pypicache_core::cached_source::TransferTotals;
use pypicache_core::http_source::UpstreamTotals;
use pypicache_core::prefetching_source::PrefetchTotals;

/// What the sources and the store count themselves, at one moment; each source by its name.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// By the index's path.
    pub(crate) prefetch: Vec<(String, PrefetchTotals)>,
    pub(crate) upstreams: Vec<(String, UpstreamTotals)>,
    pub(crate) transfers: Vec<(String, TransferTotals)>,
    pub(crate) store_bytes: u64,
    pub(crate) evictions: u64,
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

impl Collector for Totals {
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

impl Totals {
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
