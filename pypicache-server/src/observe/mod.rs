//! What happened: the audit log for people, metrics for Prometheus.
//!
//! Imports: `http`.

pub mod audit;
pub(crate) mod metrics;
