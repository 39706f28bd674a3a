//! Sources put together to an index.

use std::sync::Arc;

use pypicache_core::chained_source::{ChainedSource, Member};
use pypicache_core::policy_source::PolicySource;
use pypicache_core::prefetching_source::{PrefetchOptions, PrefetchingSource};
use pypicache_core::source::IndexSource;
use pypicache_core::{Alarms, Clock};

use super::sources::BuiltSource;
use crate::Index;
use crate::config::Configuration;

/// The sources in their order, behind the rules, asked ahead.
pub(super) fn index(
    path: String,
    built: &[&BuiltSource],
    anonymous_read: bool,
    configuration: &Configuration,
    clock: &Clock,
    alarms: &Alarms,
) -> Index {
    let behind = chain(built, alarms);
    let policy = configuration.policy.clone();
    let policy = policy.map(|rules| PolicySource::new(behind.clone(), rules, clock.clone()));
    let ruled: Arc<dyn IndexSource> = match &policy {
        Some(policy) => Arc::new(policy.clone()),
        None => behind.clone(),
    };
    let is_ahead = configuration.prefetch && !configuration.offline;
    let prefetching = is_ahead.then(|| PrefetchingSource::new(ruled.clone(), PrefetchOptions::default()));
    Index {
        path,
        source: prefetching.clone().map_or(ruled, |source| Arc::new(source)),
        prefetching,
        behind,
        policy,
        members: built.iter().map(|built| built.member.clone()).collect(),
        anonymous_read,
        hosting: built.iter().filter_map(|built| built.hosting.clone()).collect(),
    }
}

/// One source that hears of everything needs no chain around it.
fn chain(built: &[&BuiltSource], alarms: &Alarms) -> Arc<dyn IndexSource> {
    match built {
        [only] if only.member.claims.is_empty() => only.member.source.clone(),
        built => {
            let member = |built: &&BuiltSource| {
                let overlay = built.hosting.as_ref().map(|hosting| hosting.overlay.clone());
                let member = Member::with_claims(built.member.source.clone(), built.member.claims.clone());
                member.with_overlay(overlay.unwrap_or_default())
            };
            let members = built.iter().map(member).collect();
            Arc::new(ChainedSource::new(members).with_alarms(alarms.clone()))
        }
    }
}
