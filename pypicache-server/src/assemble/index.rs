//! Sources put together to an index.

use std::sync::Arc;

use pypicache_core::chained_source::{ChainedSource, Member};
use pypicache_core::policy_source::PolicySource;
use pypicache_core::prefetching_source::{PrefetchOptions, PrefetchingSource};
use pypicache_core::source::IndexSource;
use pypicache_core::{Alarms, Clock};

use super::sources::Made;
use crate::Index;
use crate::config::Configuration;

/// The sources in their order, behind the rules, asked ahead.
pub(super) fn index(
    path: String,
    made: &[&Made],
    anonymous_read: bool,
    configuration: &Configuration,
    clock: &Clock,
    alarms: &Alarms,
) -> Index {
    let behind = chain(made, alarms);
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
        members: made.iter().map(|made| made.member.clone()).collect(),
        anonymous_read,
        hosting: made.iter().filter_map(|made| made.hosting.clone()).collect(),
    }
}

/// One source that hears of everything needs no chain around it.
fn chain(made: &[&Made], alarms: &Alarms) -> Arc<dyn IndexSource> {
    match made {
        [only] if only.member.claims.is_empty() => only.member.source.clone(),
        made => {
            let member = |made: &&Made| {
                let overlay = made.hosting.as_ref().map(|hosting| hosting.overlay.clone());
                let member = Member::claiming(made.member.source.clone(), made.member.claims.clone());
                member.laid_over(overlay.unwrap_or_default())
            };
            let members = made.iter().map(member).collect();
            Arc::new(ChainedSource::new(members).with_alarms(alarms.clone()))
        }
    }
}
