//! Why a source could not tell.

use std::sync::Arc;

/// A request that could not be answered. One variant for each decision a caller takes; never "absent".
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The upstream could not be asked, or did not make sense. Another upstream of the same source, a held
    /// answer, or a later try may help.
    #[error("{asked} could not be had from {upstream}")]
    Unavailable {
        /// What was asked for.
        asked: Arc<str>,
        /// Who was asked (without credentials).
        upstream: Arc<str>,
        /// What went wrong.
        #[source]
        cause: Cause,
    },
    /// It is not held here, and the request must not go further.
    #[error("{asked} is not held, and no upstream may be asked")]
    NotHeld {
        /// What was asked for.
        asked: Arc<str>,
    },
    /// A rule of this tier, or of one above, keeps it out. Nobody else is to be asked, and it is not absent either.
    #[error("{asked} is kept out by a rule: {rule}")]
    Denied {
        /// What was asked for.
        asked: Arc<str>,
        /// Which rule at which tier, and why.
        rule: Arc<str>,
    },
    /// The request came back to a tier that it had passed.
    #[error("the upstreams form a loop: {0}")]
    Loop(
        /// Who noticed, and the way the request took.
        Arc<str>,
    ),
    /// The range that was asked for lies outside the file.
    #[error("the range lies outside the file of {size} bytes")]
    RangeOutside {
        /// The whole file's length in bytes.
        size: u64,
    },
    /// This machine's own disk failed.
    #[error("{asked} could not be read from {place}")]
    Storage {
        /// What was asked for.
        asked: Arc<str>,
        /// The file or directory.
        place: Arc<str>,
        /// What the operating system said.
        #[source]
        cause: Arc<std::io::Error>,
    },
}

/// What went wrong between us and an upstream.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// Its host name cannot be resolved.
    #[error("no address: {0}")]
    Name(Arc<str>),
    /// No connection: nobody there, or no way to it.
    #[error("no connection: {0}")]
    Connect(Arc<str>),
    /// It cannot prove who it is.
    #[error("no trusted TLS connection: {0}")]
    Tls(Arc<str>),
    /// It led to a place that it must not lead to: nearer to this machine than itself, or to too many places.
    #[error("its link is not followed: {0}")]
    Forbidden(Arc<str>),
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// The connection broke, or the answer ended early.
    #[error("the answer broke off: {0}")]
    ConnectionClosed(Arc<str>),
    /// It answered with a status that says nothing about the thing itself.
    #[error("status {0}")]
    Status(http::StatusCode),
    /// It asks to be left alone for a while (429 or 503 with `Retry-After`).
    #[error("status {status}, to be asked again in {} s", wait.as_secs())]
    Busy {
        /// What it answered.
        status: http::StatusCode,
        /// For so long.
        wait: std::time::Duration,
    },
    /// It failed before, and is not asked again yet.
    #[error("it is left alone for {} ms more, since it failed before: {last}", wait.as_millis())]
    CircuitOpen {
        /// For so long.
        wait: std::time::Duration,
        /// What it failed with.
        last: Arc<str>,
    },
    /// It must not hear of the thing: what is held of it came from a source of another upstream's own.
    #[error("it is not asked, since the project belongs to {0}")]
    Private(Arc<str>),
    /// It wants other credentials (401, 403, 407).
    #[error("access refused (status {0}): check the credentials of this upstream")]
    Refused(http::StatusCode),
    /// It answered with something that an index does not say: a portal's page, a broken document.
    #[error("this is no index's answer: {0}")]
    InvalidResponse(Arc<str>),
    /// The bytes are not those that the page promised.
    #[error("the bytes do not fit their description: {0}")]
    Mismatch(Arc<str>),
    /// Every upstream of the source failed; the last word of each, in order.
    #[error("{0}")]
    All(Arc<str>),
    /// A rule of the tier above keeps it out (403), with its explanation.
    #[error("{0}")]
    Denied(Arc<str>),
    /// The tier above said that it could not tell (504), with its own explanation.
    #[error("it could not tell either: {0}")]
    Relayed(Arc<str>),
}

impl SourceError {
    /// "Could not be had from".
    #[must_use]
    pub fn unavailable(asked: impl std::fmt::Display, upstream: &Arc<str>, cause: Cause) -> Self {
        Self::Unavailable {
            asked: asked.to_string().into(),
            upstream: upstream.clone(),
            cause,
        }
    }

    /// "Kept out by a rule".
    #[must_use]
    pub fn denied(asked: impl std::fmt::Display, rule: &str) -> Self {
        Self::Denied {
            asked: asked.to_string().into(),
            rule: rule.into(),
        }
    }

    /// "Not held".
    #[must_use]
    pub fn not_held(asked: impl std::fmt::Display) -> Self {
        Self::NotHeld {
            asked: asked.to_string().into(),
        }
    }

    /// Whether another upstream, a held answer or a later try may help.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::NotHeld { .. })
    }

    /// The whole chain of reasons on one line, for logs and problem documents.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            text.push_str(": ");
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }
}
