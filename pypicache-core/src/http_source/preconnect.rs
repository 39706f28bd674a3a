//! A connection to the host of the files that stands before the first file is asked for.
//!
//! A new connection costs one to three times the way there and back before anything can be asked on it. Whoever asks
//! for a page asks for METADATA or a file of it next, and often from another host. So while a new page is on its way to
//! its reader, the head of its last file (the newest, mostly) is asked for, unless files were asked for lately. The
//! answer is of no interest; the connection is kept by the pool.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::ACCEPT_ENCODING;
use http::{Method, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::HttpSource;
use super::exchange::{Outcome, OutgoingRequest, RequestKind};
use crate::model::ProjectPage;

/// For so long a connection that was used is thought to be kept. Pools and servers keep idle ones for a minute or more.
const KEPT: Duration = Duration::from_secs(45);

/// How long the answer may take; it is not waited for by anybody.
const PATIENCE: Duration = Duration::from_secs(5);

/// When files were asked for last, of one upstream.
#[derive(Debug, Default)]
pub(super) struct LastUse {
    /// A std mutex: held for a read or a write.
    at: Mutex<Option<Instant>>,
}

impl LastUse {
    /// Notes a use now, and says whether it is the first for a while.
    pub(super) fn begin(&self) -> bool {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = at.is_none_or(|at| at.elapsed() > KEPT);
        *at = Some(Instant::now());
        is_first
    }

    fn forget(&self) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl HttpSource {
    /// Lets a connection to the host of the page's files stand soon. Returns at once.
    pub(super) fn preconnect(&self, page: &ProjectPage) {
        let last = page.files.last().and_then(|file| self.link_of(file));
        let Some(url) = last.filter(|_| self.options.preconnect && self.files_used.begin()) else {
            return;
        };
        let source = self.clone();
        tokio::spawn(async move { source.touch(url).await });
    }

    async fn touch(&self, url: Url) {
        let outgoing = OutgoingRequest {
            asked: "a connection",
            method: Method::HEAD,
            url,
            kind: RequestKind::File,
            timeout: PATIENCE,
            with_headers: &|builder| builder.header(ACCEPT_ENCODING, "identity"),
        };
        let is_ready = match self.exchange_once(&outgoing).await {
            // Who refuses a HEAD (links that are signed for GET, say) has answered on a connection all the same.
            Ok(Outcome::Answered(response)) => response.status() != StatusCode::NOT_FOUND,
            Ok(Outcome::OtherHost(_)) => false,
            Err(error) => {
                tracing::debug!(source = %self.label, %error, "no connection could be made ready");
                false
            }
        };
        if !is_ready {
            // There is no connection, or no file to ask for; the next page tries again.
            self.files_used.forget();
        }
    }
}
