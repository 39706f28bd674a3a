//! What happened: the audit log for people, metrics for Prometheus.

pub mod audit;
pub(crate) mod metrics;
