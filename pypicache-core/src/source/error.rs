//! Why a source could not tell.

use std::sync::Arc;

/// A question that could not be answered. One variant for each decision a caller takes; never "absent".
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
    /// It is not held here, and the question must not go further.
    #[error("{asked} is not held, and no upstream may be asked")]
    NotHeld {
        /// What was asked for.
        asked: Arc<str>,
    },
    /// The question came back to a tier that it had passed.
    #[error(
        "the upstreams form a loop: this tier was asked for {asked} by itself (Via: {via}); point one of them elsewhere"
    )]
    Loop {
        /// What was asked for.
        asked: Arc<str>,
        /// The way it took.
        via: Arc<str>,
    },
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
    /// No connection: name resolution, refusal, TLS.
    #[error("no connection: {0}")]
    Connect(Arc<str>),
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// The connection broke, or the answer ended early.
    #[error("the answer broke off: {0}")]
    Broken(Arc<str>),
    /// It answered with a status that says nothing about the thing itself.
    #[error("status {0}")]
    Status(http::StatusCode),
    /// It wants other credentials (401, 403, 407).
    #[error("access refused (status {0}): check the credentials of this upstream")]
    Refused(http::StatusCode),
    /// It answered with something that an index does not say: a portal's page, a broken document.
    #[error("this is no index's answer: {0}")]
    Nonsense(Arc<str>),
    /// The bytes are not those that the page promised.
    #[error("the bytes do not fit their description: {0}")]
    Mismatch(Arc<str>),
    /// Every upstream of the source failed; the last word of each, in order.
    #[error("{0}")]
    All(Arc<str>),
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
