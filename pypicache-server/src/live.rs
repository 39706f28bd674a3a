//! The site that is served now. Another one can take its place while requests are under way: each goes on with the one that
//! it began with.

use std::sync::{Arc, PoisonError, RwLock};

use crate::site::Site;

/// A site that can be replaced. Clones are the same one.
#[derive(Debug, Clone)]
pub struct LiveSite(Arc<RwLock<Arc<Site>>>);

impl LiveSite {
    /// The site for a request that begins now.
    #[must_use]
    pub fn current(&self) -> Arc<Site> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another site in its place.
    pub fn replace(&self, site: Site) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(site);
    }
}

impl From<Arc<Site>> for LiveSite {
    fn from(site: Arc<Site>) -> Self {
        Self(Arc::new(RwLock::new(site)))
    }
}

impl From<Site> for LiveSite {
    fn from(site: Site) -> Self {
        Arc::new(site).into()
    }
}
