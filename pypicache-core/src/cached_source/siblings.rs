//! METADATA siblings: held, proxied and checked, or taken out of the wheel.
//!
//! What the page advertises has to be served, or installers give up. So where the upstream offers none, or
//! offers it and then does not have it, METADATA is read out of the wheel: out of the held one, else by a few
//! byte ranges, else (an upstream without ranges) out of the wheel once that has been fetched whole. A wheel without
//! METADATA of its own has its page corrected: the promise was made before the wheel was seen.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::Shared;
use super::held::Correction;
use super::transfer::{GZIP_MAGIC, Positioned, State};
use crate::archive::{ArchiveError, RangedError, wheel_metadata, wheel_metadata_by_ranges};
use crate::model::{CoreMetadata, FileEntry, FileKind, Sha256};
use crate::offload::offload;
use crate::source::{
    Answer, Body, ByteRange, Cause, FileReply, FileRequest, Freshness, HeldFile, IndexSource as _,
    RequestContext,
};
use crate::source::{Outcome, Sibling, SourceError};

/// METADATA and its digest.
pub(super) type Metadata = (Sha256, Bytes);

/// The largest METADATA that is accepted, in bytes.
const METADATA_LIMIT: usize = 16 * 1024 * 1024;

/// How long an upstream may take to begin with METADATA that can be taken out of the wheel as well.
const SIBLING_TIMEOUT: Duration = Duration::from_secs(3);

impl Shared {
    pub(super) async fn metadata(
        self: &Arc<Self>,
        request: &FileRequest,
        context: &RequestContext,
    ) -> Result<Answer<FileReply>, SourceError> {
        if let Some(reply) = self.reply_hot(request) {
            return reply.map(Answer::Found);
        }
        let entry = match self.entry_of(request, context).await? {
            Answer::Found(entry) => entry,
            Answer::NotModified(freshness) | Answer::NotFound(freshness) => {
                return Ok(Answer::NotFound(freshness));
            }
        };
        if entry.core_metadata == CoreMetadata::None {
            return Ok(Answer::NotFound(Freshness::default()));
        }
        if let Some(held) = self.held_file(&entry, Sibling::Metadata).await {
            return self
                .reply_held(held, request, Outcome::Hit)
                .await
                .map(Answer::Found);
        }
        if let Some(wheel) = self.held_file(&entry, Sibling::File).await
            && let Ok(Some(metadata)) = self.out_of_held(&entry, wheel).await
        {
            self.keep(&entry, &metadata).await;
            return self
                .reply_metadata(metadata, request, Outcome::Hit)
                .map(Answer::Found);
        }
        if self.is_only_if_cached(context) {
            return Err(SourceError::not_held(format_args!("{}.metadata", request.path)));
        }
        self.fetched_metadata(request, &entry, context).await
    }

    async fn fetched_metadata(
        self: &Arc<Self>,
        request: &FileRequest,
        entry: &Arc<FileEntry>,
        context: &RequestContext,
    ) -> Result<Answer<FileReply>, SourceError> {
        // While this client looked at the disk, another flight may have ended.
        if let Some(reply) = self.reply_hot(request) {
            return reply.map(Answer::Found);
        }
        let begin = |sender: watch::Sender<_>| {
            let (shared, entry, context) = (self.clone(), entry.clone(), self.ask_for(entry, context));
            async move {
                if let Some(metadata) = shared.hot_metadata(&entry.path) {
                    sender.send_replace(Some(Ok(Answer::Found(metadata))));
                    return;
                }
                let _writing = shared.store.pending_write();
                let answer = shared.proxied_or_derived(&entry, &context).await;
                let found = match &answer {
                    Ok(Answer::Found(metadata)) => Some(metadata.clone()),
                    _ => None,
                };
                // Whoever asks from now on finds it in memory; nobody waits for the disk.
                let is_hot = found
                    .as_ref()
                    .is_some_and(|metadata| shared.keep_hot(&entry.path, metadata));
                if let Some(metadata) = found.as_ref().filter(|_| !is_hot) {
                    shared.keep(&entry, metadata).await;
                }
                sender.send_replace(Some(answer));
                if let Some(metadata) = found.filter(|_| is_hot) {
                    shared.keep(&entry, &metadata).await;
                }
            }
        };
        let mut flight = self
            .sibling_flights
            .join(&(entry.path.clone(), Sibling::Metadata), None, begin);
        let outcome = if flight.led {
            Outcome::Miss
        } else {
            Outcome::Collapsed
        };
        let fetched = flight.result().await.unwrap_or_else(|| {
            Err(self.metadata_failed(entry, Cause::ConnectionClosed("the fetch was given up".into())))
        });
        match fetched? {
            Answer::Found(metadata) => self.reply_metadata(metadata, request, outcome).map(Answer::Found),
            Answer::NotModified(freshness) | Answer::NotFound(freshness) => Ok(Answer::NotFound(freshness)),
        }
    }

    /// The upstream's METADATA, and where it has none, or cannot be asked for it, that of the wheel. A sibling that is not
    /// to be had says nothing about the wheel.
    async fn proxied_or_derived(
        self: &Arc<Self>,
        entry: &Arc<FileEntry>,
        context: &RequestContext,
    ) -> Result<Answer<Metadata>, SourceError> {
        if entry.core_metadata != CoreMetadata::Derived {
            let proxied = self.proxied(entry, context).await;
            match proxied {
                Ok(Answer::Found(_)) | Err(SourceError::Denied { .. } | SourceError::Loop(_)) => {
                    return proxied;
                }
                _ if entry.filename.kind() != FileKind::Wheel => return proxied,
                Ok(_) => {
                    tracing::warn!(file = %entry.path, source = %self.name, "an upstream advertises METADATA and does not have it; it is taken out of the wheel");
                }
                Err(error) => {
                    tracing::warn!(file = %entry.path, source = %self.name, error = error.chain(), "METADATA cannot be fetched; it is taken out of the wheel");
                }
            }
        }
        self.derived(entry, context).await
    }

    async fn proxied(
        self: &Arc<Self>,
        entry: &Arc<FileEntry>,
        context: &RequestContext,
    ) -> Result<Answer<Metadata>, SourceError> {
        let request = self.with_listing(FileRequest::metadata(entry.path.clone()).with_entry(entry.clone()));
        let is_wheel = entry.filename.kind() == FileKind::Wheel;
        let context = RequestContext {
            timeout: is_wheel
                .then(|| context.timeout_within(SIBLING_TIMEOUT))
                .or(context.timeout),
            ..context.clone()
        };
        match self.inner.file(&request, &context).await? {
            Answer::Found(reply) => {
                let encoded = reply.encoded;
                let bytes = reply.body.collect(METADATA_LIMIT).await;
                let bytes = bytes.map_err(|error| {
                    self.metadata_failed(entry, Cause::ConnectionClosed(error.to_string().into()))
                })?;
                let plain = match encoded {
                    true => self.decoded(entry, bytes)?,
                    false => bytes,
                };
                self.checked(entry, plain).map(Answer::Found)
            }
            Answer::NotModified(freshness) | Answer::NotFound(freshness) => Ok(Answer::NotFound(freshness)),
        }
    }

    /// Reads METADATA out of a wheel that is not held. Without a wheel there is none.
    async fn derived(
        self: &Arc<Self>,
        entry: &Arc<FileEntry>,
        context: &RequestContext,
    ) -> Result<Answer<Metadata>, SourceError> {
        match self.derived_by_ranges(entry, context).await {
            Ok(Some(metadata)) => return Ok(Answer::Found(metadata)),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(file = %entry.path, error = error.chain(), "METADATA cannot be had by ranges; the wheel is fetched");
            }
        }
        let (mut progress, _) = self.transfer(entry, context);
        let ended = progress
            .wait_for(|progress| {
                matches!(
                    progress.state,
                    State::Done(_) | State::Failed(_) | State::NotFound(_) | State::Overflow { .. }
                )
            })
            .await;
        match ended.map(|progress| progress.state.clone()) {
            Ok(State::Done(wheel)) => Ok(match self.out_of_held(entry, wheel).await? {
                Some(metadata) => Answer::Found(metadata),
                None => Answer::NotFound(Freshness::default()),
            }),
            Ok(State::Failed(error)) => Err(error),
            Ok(State::NotFound(freshness)) => Ok(Answer::NotFound(freshness)),
            _ => Err(self.metadata_failed(
                entry,
                Cause::ConnectionClosed("the wheel could not be fetched".into()),
            )),
        }
    }

    /// METADATA by a few ranges of the wheel; `None` where the upstream knows none, or the wheel is not like others.
    async fn derived_by_ranges(
        self: &Arc<Self>,
        entry: &Arc<FileEntry>,
        context: &RequestContext,
    ) -> Result<Option<Metadata>, SourceError> {
        let Some(size) = self.size_by_ranges(entry, context).await? else {
            return Ok(None);
        };
        let fetch = |offset, length| self.fetch_range(entry, offset, length, context);
        match wheel_metadata_by_ranges(&entry.filename, size, fetch).await {
            Ok(bytes) => self.checked(entry, bytes).map(Some),
            Err(RangedError::Fetch(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// The wheel's size, if its upstream answers ranges.
    async fn size_by_ranges(
        &self,
        entry: &Arc<FileEntry>,
        context: &RequestContext,
    ) -> Result<Option<u64>, SourceError> {
        let request = self
            .with_listing(FileRequest::whole(entry.path.clone()).with_entry(entry.clone()))
            .with_range(ByteRange::Last(1));
        match self.inner.file(&request, context).await? {
            Answer::Found(reply) if reply.part.is_some() => Ok(reply.size.or(entry.size)),
            _ => Ok(None),
        }
    }

    async fn fetch_range(
        &self,
        entry: &Arc<FileEntry>,
        offset: u64,
        length: u64,
        context: &RequestContext,
    ) -> Result<Bytes, SourceError> {
        let range = ByteRange::Between(offset, offset + length.saturating_sub(1));
        let request = self
            .with_listing(FileRequest::whole(entry.path.clone()).with_entry(entry.clone()))
            .with_range(range);
        match self.inner.file(&request, context).await? {
            Answer::Found(reply) if reply.part == Some((offset, length)) => {
                let limit = usize::try_from(length).unwrap_or(usize::MAX);
                let bytes = reply.body.collect(limit).await;
                bytes.map_err(|error| {
                    self.metadata_failed(entry, Cause::ConnectionClosed(error.to_string().into()))
                })
            }
            _ => Err(self.metadata_failed(
                entry,
                Cause::Mismatch("the upstream answered another range than it was asked for".into()),
            )),
        }
    }

    /// METADATA of a wheel that is held; `None` where it has none that is its own. Then its page no longer promises any, and
    /// where the page promised another one, it promises this.
    async fn out_of_held(
        self: &Arc<Self>,
        entry: &FileEntry,
        wheel: HeldFile,
    ) -> Result<Option<Metadata>, SourceError> {
        let filename = entry.filename.clone();
        let read = move || {
            let reader = Positioned {
                file: wheel.file,
                position: 0,
            };
            match wheel_metadata(std::io::BufReader::new(reader), &filename) {
                Ok(bytes) => Ok(Ok(bytes)),
                Err(ArchiveError::Unreadable(error)) if !is_about_content(&error) => Err(error),
                Err(error) => Ok(Err(error)),
            }
        };
        let read = offload(read).await.map_err(|error| SourceError::Storage {
            asked: format!("{}.metadata", entry.path).into(),
            place: self.store.to_string().into(),
            cause: Arc::new(error),
        })?;
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::info!(file = %entry.path, source = %self.name, %error, "the wheel has no METADATA; none is promised any more");
                let none = Correction::of_metadata(entry, CoreMetadata::None);
                self.correct(none).await;
                return Ok(None);
            }
        };
        let checked = self.checked(entry, bytes.clone());
        if checked.is_err() {
            let own = CoreMetadata::Digest(Sha256::of(&bytes));
            self.correct(Correction::of_metadata(entry, own)).await;
        }
        checked.map(Some)
    }

    /// Undoes a coding that nobody asked for, unless the bytes are right as they are.
    fn decoded(&self, entry: &FileEntry, bytes: Bytes) -> Result<Bytes, SourceError> {
        if self.checked(entry, bytes.clone()).is_ok() && entry.core_metadata != CoreMetadata::Offered {
            return Ok(bytes);
        }
        if !bytes.starts_with(&GZIP_MAGIC) {
            return Ok(bytes);
        }
        let mut plain = Vec::new();
        let read = flate2::read::MultiGzDecoder::new(&*bytes)
            .take(METADATA_LIMIT as u64)
            .read_to_end(&mut plain);
        match read {
            Ok(_) => Ok(plain.into()),
            Err(error) => Err(self.metadata_failed(entry, Cause::Mismatch(error.to_string().into()))),
        }
    }

    fn checked(&self, entry: &FileEntry, bytes: Bytes) -> Result<Metadata, SourceError> {
        let sha256 = Sha256::of(&bytes);
        match entry.core_metadata {
            CoreMetadata::Digest(listed) if sha256 != listed => {
                let reason = format!("the page says sha256 {listed} of METADATA, the bytes have {sha256}");
                Err(self.metadata_failed(entry, Cause::Mismatch(reason.into())))
            }
            _ => Ok((sha256, bytes)),
        }
    }

    async fn keep(self: &Arc<Self>, entry: &FileEntry, (sha256, bytes): &Metadata) {
        let _permit = self.writers.acquire().await.ok();
        let (shared, copy, sha256) = (self.clone(), bytes.clone(), *sha256);
        match offload(move || shared.store.publish_bytes(&copy, sha256)).await {
            Ok(()) if !matches!(entry.core_metadata, CoreMetadata::Digest(_)) => {
                self.note_digest(&entry.path, Sibling::Metadata, sha256).await;
            }
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(file = %entry.path, store = %self.store, %error, "METADATA was served but cannot be kept")
            }
        }
    }

    fn reply_metadata(
        &self,
        (sha256, bytes): Metadata,
        request: &FileRequest,
        outcome: Outcome,
    ) -> Result<FileReply, SourceError> {
        self.reply_whole((Body::Bytes(bytes), sha256), request, outcome)
    }

    fn metadata_failed(&self, entry: &FileEntry, cause: Cause) -> SourceError {
        SourceError::unavailable(format_args!("{}.metadata", entry.path), &self.name, cause)
    }
}

/// Whether a read error says what the bytes are, and not that the disk failed.
fn is_about_content(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::InvalidData
            | std::io::ErrorKind::InvalidInput
            | std::io::ErrorKind::UnexpectedEof
    )
}
