//! The site that is served now. Another one can take its place while requests are under way: each goes on with the one that
//! it began with.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::site::Site;

/// A site that can be replaced. Clones are the same one.
#[derive(Debug, Clone)]
pub struct LiveSite(watch::Sender<Arc<Site>>);

impl LiveSite {
    /// The site for a request that begins now.
    #[must_use]
    pub fn current(&self) -> Arc<Site> {
        self.0.borrow().clone()
    }

    /// Puts another site in its place.
    pub fn replace(&self, site: Site) {
        self.0.send_replace(Arc::new(site));
    }

    /// The same for one connection.
    pub(crate) fn followed(&self) -> FollowedSite {
        let mut receiver = self.0.subscribe();
        let site = Arc::new(receiver.borrow_and_update().clone());
        FollowedSite(Mutex::new(Followed { receiver, site }))
    }
}

/// The live site as one connection sees it. Requests of one connection count their references at a place of its own:
/// one that all requests of all connections count at would go to and fro between the processors.
pub(crate) struct FollowedSite(Mutex<Followed>);

#[expect(
    clippy::redundant_allocation,
    reason = "the outer count is this connection's own"
)]
struct Followed {
    receiver: watch::Receiver<Arc<Site>>,
    site: Arc<Arc<Site>>,
}

impl FollowedSite {
    /// The site for a request that begins now.
    #[expect(
        clippy::redundant_allocation,
        reason = "the outer count is this connection's own"
    )]
    pub(crate) fn current(&self) -> Arc<Arc<Site>> {
        let mut followed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An error says that nobody can replace it any more.
        if followed.receiver.has_changed().unwrap_or(false) {
            let site = Arc::clone(&followed.receiver.borrow_and_update());
            followed.site = Arc::new(site);
        }
        followed.site.clone()
    }
}

impl From<Arc<Site>> for LiveSite {
    fn from(site: Arc<Site>) -> Self {
        Self(watch::Sender::new(site))
    }
}

impl From<Site> for LiveSite {
    fn from(site: Site) -> Self {
        Arc::new(site).into()
    }
}
