//! What happened: the audit log for people, metrics for Prometheus.
//!
//! Imports: `data_dir`, `http`.

pub mod audit;
pub mod log;
pub(crate) mod metrics;
