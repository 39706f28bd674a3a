//! One file on its way from the source behind to the store, with any number of readers following.
//!
//! The writer is a task of its own: it takes the body from the source, writes it to a staged file, hashes it, and tells
//! through a watch channel how much is there. Readers read that file by position, as far as it has grown; a slow
//! reader holds nobody back, a leaving one cancels nothing, and memory does not depend on the file's size. The
//! last byte is held back until the digest was checked, so a client never gets the whole of a wrong file. Only
//! then is the file published in the store. A body that breaks off is continued by a range.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::watch;

use crate::model::{Sha256, Sha256Hasher};
use crate::source::{
    Answer, Ask, Body, BodyError, ByteRange, Cause, FileQuestion, FileReply, Freshness, HeldFile,
};
use crate::source::{IndexSource, LocalFile, READ_CHUNK, SourceError};
use crate::store::{DiskStore, Staging};

/// How often a body that broke off is continued before the transfer fails.
const CONTINUATIONS: u32 = 5;

/// How many received pieces are written to disk at once, at most.
const BATCH: usize = 64;

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
    Absent(Freshness),
    /// It did not come to an end.
    Failed(SourceError),
}

/// What the writer needs to know.
pub(super) struct Order {
    pub(super) source: Arc<dyn IndexSource>,
    pub(super) question: FileQuestion,
    pub(super) ask: Ask,
    pub(super) store: DiskStore,
    /// What the page says of the file.
    pub(super) sha256: Option<Sha256>,
    pub(super) size: Option<u64>,
    /// Named in errors.
    pub(super) name: Arc<str>,
}

/// The file as far as it is written.
struct Written {
    staging: Staging,
    hasher: Sha256Hasher,
    length: u64,
}

impl Order {
    /// Carries the transfer out, telling `progress`. Gives the complete file.
    pub(super) async fn carry_out(self, progress: &watch::Sender<Progress>) -> Result<(), SourceError> {
        let written = match self.receive(progress).await {
            Ok(Some(written)) => written,
            Ok(None) => return Ok(()),
            Err(error) => {
                progress.send_modify(|p| p.state = State::Failed(error.clone()));
                return Err(error);
            }
        };
        let held = HeldFile {
            file: written.staging.file().clone(),
            size: written.length,
            sha256: written.hasher.clone().finish(),
        };
        let sha256 = held.sha256;
        progress.send_modify(|p| {
            *p = Progress {
                readable: held.size,
                state: State::Done(held),
            }
        });
        let store = self.store.clone();
        let published = blocking(move || store.publish(written.staging, sha256)).await;
        if let Err(error) = published {
            tracing::warn!(file = %self.question.path, store = %self.store, %error, "the file was served but cannot be kept");
        }
        Ok(())
    }

    /// Takes the whole body in and checks it; `None` where the source says that there is no such file.
    async fn receive(&self, progress: &watch::Sender<Progress>) -> Result<Option<Written>, SourceError> {
        let mut written: Option<Written> = None;
        let mut continuations = 0;
        loop {
            let position = written.as_ref().map_or(0, |w| w.length);
            let reply = match self.source.file(&self.question_from(position), &self.ask).await {
                Err(error) if error.is_unavailable() && position > 0 && continuations < CONTINUATIONS => {
                    continuations += 1;
                    tokio::time::sleep(Duration::from_millis(100) * continuations).await;
                    continue;
                }
                answer => answer?,
            };
            let reply = match reply {
                Answer::Found(reply) => reply,
                Answer::Unchanged(freshness) | Answer::Absent(freshness) => {
                    progress.send_modify(|p| p.state = State::Absent(freshness));
                    return Ok(None);
                }
            };
            let size = self.agreed_size(&reply)?;
            if written.is_none() {
                let store = self.store.clone();
                let staging = blocking(move || store.stage())
                    .await
                    .map_err(|error| self.storage(error))?;
                let file = staging.file().clone();
                progress.send_modify(|p| p.state = State::Flowing { file, size });
                written = Some(Written {
                    staging,
                    hasher: Sha256Hasher::default(),
                    length: 0,
                });
            }
            // A source without ranges starts anew: what is there already is skipped.
            let skip = position - reply.part.map_or(0, |(offset, _)| offset.min(position));
            let broken = self.pump(reply, skip, written.as_mut(), progress).await?;
            let length = written.as_ref().map_or(0, |w| w.length);
            match broken {
                None if size.is_none_or(|size| length == size) => break,
                _ if continuations < CONTINUATIONS => {
                    continuations += 1;
                    tracing::debug!(file = %self.question.path, at = length, "a body broke off and is continued");
                    tokio::time::sleep(Duration::from_millis(50) * continuations).await;
                }
                broken => {
                    let reason = broken
                        .unwrap_or_else(|| format!("{length} of {} bytes came", size.unwrap_or_default()));
                    return Err(self.failed(Cause::Broken(reason.into())));
                }
            }
        }
        let Some(written) = written else { return Ok(None) };
        self.check(&written)?;
        Ok(Some(written))
    }

    /// Writes one body on; gives the reason where it broke off.
    async fn pump(
        &self,
        reply: FileReply,
        mut skip: u64,
        written: Option<&mut Written>,
        progress: &watch::Sender<Progress>,
    ) -> Result<Option<String>, SourceError> {
        let Some(written) = written else { return Ok(None) };
        let mut batches = reply.body.into_stream().ready_chunks(BATCH);
        while let Some(batch) = batches.next().await {
            let mut pieces: Vec<Bytes> = Vec::with_capacity(batch.len());
            let mut broken = None;
            for piece in batch {
                match piece {
                    Ok(mut piece) => {
                        let skipped = skip.min(piece.len() as u64);
                        skip -= skipped;
                        let _ =
                            piece.split_to(usize::try_from(skipped).unwrap_or(usize::MAX).min(piece.len()));
                        pieces.push(piece);
                    }
                    Err(error) => broken = Some(error.to_string()),
                }
            }
            self.append(written, pieces).await?;
            let readable = written.length.saturating_sub(1);
            progress.send_modify(|p| p.readable = readable);
            if broken.is_some() {
                return Ok(broken);
            }
        }
        Ok(None)
    }

    /// Writes and hashes pieces off the runtime's threads.
    async fn append(&self, written: &mut Written, pieces: Vec<Bytes>) -> Result<(), SourceError> {
        let added: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if self.size.is_some_and(|size| written.length + added > size) {
            return Err(self.failed(Cause::Mismatch(
                format!("more bytes than the page's {}", self.size.unwrap_or(0)).into(),
            )));
        }
        let file = written.staging.file().clone();
        let mut hasher = std::mem::take(&mut written.hasher);
        written.hasher = blocking(move || {
            for piece in &pieces {
                (&*file).write_all(piece)?;
                hasher.update(piece);
            }
            Ok(hasher)
        })
        .await
        .map_err(|error| self.storage(error))?;
        written.length += added;
        Ok(())
    }

    fn check(&self, written: &Written) -> Result<(), SourceError> {
        let found = written.hasher.clone().finish();
        match self.sha256 {
            Some(expected) if expected != found => {
                tracing::warn!(file = %self.question.path, %expected, %found, "an upstream sent other bytes than its page promises; nothing was kept");
                Err(self.failed(Cause::Mismatch(
                    format!("the page says sha256 {expected}, the bytes have {found}").into(),
                )))
            }
            _ => Ok(()),
        }
    }

    fn agreed_size(&self, reply: &FileReply) -> Result<Option<u64>, SourceError> {
        match (self.size, reply.size) {
            (Some(listed), Some(sent)) if listed != sent => Err(self.failed(Cause::Mismatch(
                format!("the page says {listed} bytes, the upstream {sent}").into(),
            ))),
            (listed, sent) => Ok(listed.or(sent)),
        }
    }

    fn question_from(&self, position: u64) -> FileQuestion {
        let question = self.question.clone();
        if position > 0 {
            question.with_range(ByteRange::From(position))
        } else {
            question
        }
    }

    fn failed(&self, cause: Cause) -> SourceError {
        SourceError::unavailable(&self.question.path, &self.name, cause)
    }

    fn storage(&self, error: std::io::Error) -> SourceError {
        SourceError::Storage {
            asked: self.question.path.as_str().into(),
            place: self.store.to_string().into(),
            cause: Arc::new(error),
        }
    }
}

/// The body of a file that is still coming in: from `offset`, `length` bytes (`None`: to the end).
pub(super) fn follow(progress: watch::Receiver<Progress>, offset: u64, length: Option<u64>) -> Body {
    Body::Stream(Box::pin(follow_stream(progress, offset, length)))
}

fn follow_stream(
    progress: watch::Receiver<Progress>,
    offset: u64,
    length: Option<u64>,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    let end = length.map_or(u64::MAX, |length| offset.saturating_add(length));
    stream::unfold(Some((progress, offset)), move |reader| async move {
        let (mut progress, position) = reader?;
        match next_piece(&mut progress, position, end).await {
            Ok(Some(piece)) => {
                let position = position + piece.len() as u64;
                Some((Ok(piece), Some((progress, position))))
            }
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
}

/// Waits until there is something to read at `position`, and reads it.
async fn next_piece(
    progress: &mut watch::Receiver<Progress>,
    position: u64,
    end: u64,
) -> Result<Option<Bytes>, BodyError> {
    if position >= end {
        return Ok(None);
    }
    let grown =
        progress.wait_for(|p| p.readable > position || matches!(p.state, State::Done(_) | State::Failed(_)));
    let now = grown
        .await
        .map_err(|_| BodyError::new("the transfer was given up"))?
        .clone();
    let file = match now.state {
        State::Flowing { file, .. } => file,
        State::Done(held) => held.file,
        State::Failed(error) if now.readable <= position => return Err(BodyError::new(error.chain())),
        _ => return Err(BodyError::new("the transfer did not begin")),
    };
    let length = now.readable.min(end).saturating_sub(position);
    if length == 0 {
        return Ok(None);
    }
    let stretch = LocalFile {
        file,
        offset: position,
        length,
    };
    blocking(move || stretch.read_at(0, READ_CHUNK))
        .await
        .map(Some)
        .map_err(BodyError::new)
}

/// Runs blocking disk work off the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(std::io::Error::other)?
}
