//! One file on its way from the source behind to the store, with any number of readers following.
//!
//! The writer (`receive`) is a task of its own: it takes the body from the source, writes it to a file in the store's
//! staging (`partial_file`), hashes it, and tells through a watch channel how much is there. Readers (`follow`) read that
//! file by position, as far as it has grown; a slow reader holds nobody back, a leaving one cancels nothing, and
//! memory does not depend on the file's size. The last byte is held back until the digest was checked, so a client
//! never gets the whole of a wrong file. Only then is the file published in the store.
//!
//! ```text
//! Asking --> Flowing --(breaks off: again, by a range)--> Flowing --> Done
//!    |          +--(disk full)--> Overflow: readers take the rest from the source themselves
//!    +--> Absent, Failed
//! ```
//!
//! What came in before a failure stays in the store, and the next transfer of the file goes on from there, in this
//! process or another. That the two halves fit together is proved by the digest of the whole; so files without
//! one are begun anew.

mod follow;
mod parallel_ranges;
mod partial_file;
mod receive;

use std::fs::File;
use std::sync::Arc;

use tokio::sync::watch;

use crate::Alarms;
use crate::model::{Checksum, Digests};
use crate::offload::offload;
use crate::source::{
    ByteRange, Cause, FileReply, FileRequest, Freshness, HeldFile, IndexSource, RequestContext, SourceError,
};
use crate::store::DiskStore;
pub(super) use follow::follow;
pub(super) use partial_file::{GZIP_MAGIC, Positioned};
pub(super) use receive::is_mismatch;

/// How many received pieces are written to disk at once, at most.
const BATCH: usize = 64;

/// How many bytes of a file are taken in whose length its upstream does not tell, unless its page says that it is larger.
const UNTOLD_LIMIT: u64 = 1 << 30;

/// Up to this many bytes of another length than the page says are checked before their first byte goes out.
const CHECKED_FIRST: u64 = 1 << 20;

/// The length of a file in bytes, by those who speak of it before it is there.
#[derive(Debug, Clone, Copy)]
struct Length {
    listed: Option<u64>,
    sent: Option<u64>,
}

impl Length {
    /// What clients are told: nothing where it is in doubt.
    fn promised(self) -> Option<u64> {
        self.sent.filter(|_| !self.is_in_doubt())
    }

    /// The most that is taken in.
    fn limit(self) -> u64 {
        self.sent.unwrap_or(self.listed.unwrap_or(0).max(UNTOLD_LIMIT))
    }

    fn is_in_doubt(self) -> bool {
        matches!((self.listed, self.sent), (Some(listed), Some(sent)) if listed != sent)
    }

    /// Whether it is looked at as a whole before anybody gets any of it: what comes in the place of a file (a portal's
    /// page) is another length than the file's, and small.
    fn is_checked_first(self) -> bool {
        self.is_in_doubt() && self.sent.is_some_and(|sent| sent <= CHECKED_FIRST)
    }
}

/// How far a transfer has come.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    /// So many bytes may be read; all of them once the state is `Done`.
    pub(super) readable: u64,
    pub(super) state: State,
}

#[derive(Debug, Clone)]
pub(super) enum State {
    /// The source was asked and has not answered yet.
    Asking,
    /// Bytes are coming in; the whole length in bytes where it is known.
    Flowing { file: Arc<File>, size: Option<u64> },
    /// Complete and verified.
    Done(HeldFile),
    /// There is no such file.
    NotFound(Freshness),
    /// It did not come to an end.
    Failed(SourceError),
    /// The disk took no more. What it took can be read from the file; the rest is for the readers to fetch.
    Overflow {
        file: Arc<File>,
        /// The whole length in bytes where it is known.
        size: Option<u64>,
        transfer: Arc<Transfer>,
        /// Of the readable bytes.
        checksum: Checksum,
    },
}

/// What is to be fetched.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) source: Arc<dyn IndexSource>,
    pub(super) request: FileRequest,
    pub(super) context: RequestContext,
    pub(super) store: DiskStore,
    /// What is known of the bytes.
    pub(super) digests: Digests,
    pub(super) size: Option<u64>,
    /// How many connections it may have.
    pub(super) connections: u32,
    /// Named in errors.
    pub(super) name: Arc<str>,
    /// Who is told of wrong bytes.
    pub(super) alarms: Alarms,
}

impl Transfer {
    /// Carries the transfer out, telling `progress`.
    pub(super) async fn run(self: Arc<Self>, progress: &watch::Sender<Progress>) -> Result<(), SourceError> {
        let (partial_file, sha256) = match self.receive(progress).await {
            Ok(Some(whole)) => whole,
            Ok(None) => return Ok(()),
            Err(error) => {
                progress.send_modify(|progress| progress.state = State::Failed(error.clone()));
                return Err(error);
            }
        };
        let held = HeldFile {
            file: partial_file.file().clone(),
            size: partial_file.length(),
            sha256,
        };
        progress.send_replace(Progress {
            readable: held.size,
            state: State::Done(held),
        });
        let store = self.store.clone();
        if let Err(error) = offload(move || partial_file.publish(&store, sha256)).await {
            tracing::warn!(file = %self.request.path, store = %self.store, %error, "the file was served but cannot be kept");
        }
        Ok(())
    }

    /// What unfinished bytes of the file are kept under; `None` where nothing would prove that they fit.
    fn partial_key(&self) -> Option<String> {
        let decisive = Checksum::new(&self.digests).is_decisive();
        let digests: String = self
            .digests
            .iter()
            .map(|(_, digits)| format!(" {digits}"))
            .collect();
        decisive.then(|| format!("{}{digests}", self.request.path))
    }

    fn request_from(&self, position: u64) -> FileRequest {
        let request = self.request.clone();
        match position {
            0 => request,
            _ => request.with_range(ByteRange::From(position)),
        }
    }

    /// What is known of the whole length. Where a digest decides, what the page says is a hint; else it has to be true, since
    /// nothing else would show that a file is not whole.
    fn length_of(&self, reply: &FileReply) -> Result<Length, SourceError> {
        let is_provable = Checksum::new(&self.digests).is_decisive();
        match (self.size, reply.size) {
            (Some(listed), Some(sent)) if listed != sent && !is_provable => Err(self.failed(
                Cause::Mismatch(format!("the page says {listed} bytes, the upstream {sent}").into()),
            )),
            (listed, sent) if is_provable => Ok(Length { listed, sent }),
            (listed, sent) => Ok(Length {
                listed,
                sent: sent.or(listed),
            }),
        }
    }

    fn failed(&self, cause: Cause) -> SourceError {
        SourceError::unavailable(&self.request.path, &self.name, cause)
    }

    fn storage(&self, error: std::io::Error) -> SourceError {
        SourceError::Storage {
            asked: self.request.path.as_str().into(),
            place: self.store.to_string().into(),
            cause: Arc::new(error),
        }
    }
}
