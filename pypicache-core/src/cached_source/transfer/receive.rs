//! The writing side: asks, writes, asks again from where it broke off, and checks the whole.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::StreamExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::parallel_ranges::{ParallelRanges, RangeDownload};
use super::partial_file::PartialFile;
use super::{BATCH, Length, Progress, State, Transfer};
use crate::AlarmKind;
use crate::model::Sha256;
use crate::resilience::{Retry, jitter};
use crate::source::{Answer, Cause, FileReply, SourceError};

/// How often in a row a transfer is continued without much coming in. With the pauses below that is some seconds:
/// less than the 15 after which pip gives up.
const CONTINUATIONS: u32 = 7;

/// How many bytes an attempt has to bring to count as one that brought something.
const PROGRESS: u64 = 10 * 1024;

/// The pause before the first continuation; each further fruitless one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What an encoded file may decode to where its page does not tell its size, in bytes.
const DECODED_LIMIT: u64 = 4 << 30;

/// How one attempt ended.
enum Attempt {
    /// All bytes are there.
    Whole,
    /// All bytes in front of the next range are there.
    UpToTheNext,
    /// It broke off.
    Broken(SourceError),
    /// What came now is of no use. What had come before is none the worse for it.
    Useless(SourceError),
    /// What is there is of no use: the file has less.
    Anew,
    /// There is no such file.
    NotFound,
    /// All bytes came in an encoding, and are elsewhere now.
    Decoded(Box<PartialFile>),
    /// The disk took no more.
    Overflow(SourceError),
}

impl Transfer {
    /// Takes the whole body in and checks it; `None` where there is nothing to be kept.
    pub(super) async fn receive(
        self: &Arc<Self>,
        progress: &watch::Sender<Progress>,
    ) -> Result<Option<(PartialFile, Sha256)>, SourceError> {
        let opened = PartialFile::open(&self.store, self.partial_key(), &self.digests).await;
        let mut partial_file = opened.map_err(|error| self.storage(error))?;
        let mut retry = Retry::new(CONTINUATIONS, FIRST_PAUSE);
        // That halves of it fit together is proved by the digest alone.
        let is_provable = self.partial_key().is_some();
        let mut parallel_ranges = ParallelRanges::new(if is_provable { self.connections } else { 1 });
        loop {
            let position = partial_file.length();
            if let Some(range_download) = parallel_ranges.at(position) {
                if let Err(error) = self.take_in(range_download, &mut partial_file, progress).await {
                    tracing::warn!(file = %self.request.path, error = error.chain(), "the disk takes no more; the rest of the file is passed through");
                    self.overflow(partial_file, progress);
                    return Ok(None);
                }
                continue;
            }
            match self
                .attempt(&mut partial_file, &mut parallel_ranges, progress)
                .await
            {
                Ok(Attempt::Whole) => return self.whole(partial_file).await.map(Some),
                Ok(Attempt::UpToTheNext) => {}
                Ok(Attempt::Anew) => {
                    partial_file.discard();
                    let empty = PartialFile::open(&self.store, self.partial_key(), &self.digests).await;
                    partial_file = empty.map_err(|error| self.storage(error))?;
                }
                Ok(Attempt::Decoded(decoded)) => {
                    partial_file.discard();
                    return self.whole(*decoded).await.map(Some);
                }
                Ok(Attempt::NotFound) => return Ok(None),
                Ok(Attempt::Broken(error)) => {
                    if partial_file.length() >= position + PROGRESS {
                        retry.progressed();
                    }
                    let promised = !matches!(progress.borrow().state, State::Asking);
                    let Some(pause) = retry.next_pause(jitter()).filter(|_| promised) else {
                        partial_file.park(&self.store).await;
                        return Err(error);
                    };
                    tracing::debug!(file = %self.request.path, at = partial_file.length(), error = error.chain(), "a transfer broke off and is continued");
                    sleep(pause).await;
                }
                Ok(Attempt::Useless(error)) => {
                    partial_file.park(&self.store).await;
                    return Err(error);
                }
                Ok(Attempt::Overflow(error)) => {
                    tracing::warn!(file = %self.request.path, error = error.chain(), "the disk takes no more; the rest of the file is passed through");
                    self.overflow(partial_file, progress);
                    return Ok(None);
                }
                Err(error) => {
                    partial_file.discard();
                    return Err(error);
                }
            }
        }
    }

    /// Asks for what is missing, and takes in what comes. An error means that what is there is wrong.
    async fn attempt(
        self: &Arc<Self>,
        partial_file: &mut PartialFile,
        parallel_ranges: &mut ParallelRanges,
        progress: &watch::Sender<Progress>,
    ) -> Result<Attempt, SourceError> {
        let position = partial_file.length();
        if position > 0 && self.size == Some(position) && partial_file.check().is_ok() {
            return Ok(Attempt::Whole);
        }
        let answer = self
            .source
            .file(&self.request_from(position), &self.context)
            .await;
        let reply = match answer {
            Ok(Answer::Found(reply)) => reply,
            Ok(Answer::NotModified(freshness) | Answer::NotFound(freshness)) => {
                progress.send_modify(|progress| progress.state = State::NotFound(freshness));
                return Ok(Attempt::NotFound);
            }
            Err(SourceError::RangeOutside { size }) if size == position => return Ok(Attempt::Whole),
            // There is more of it here than the file has.
            Err(SourceError::RangeOutside { .. }) if position > 0 => return Ok(Attempt::Anew),
            // What came so far is a part of something wrong.
            Err(error) if is_mismatch(&error) => return Err(error),
            Err(error) if error.is_unavailable() => return Ok(Attempt::Broken(error)),
            Err(error) => return Ok(Attempt::Useless(error)),
        };
        if reply.encoded {
            let decoded = self.decode(reply).await;
            return Ok(decoded.map_or_else(Attempt::Useless, |whole| Attempt::Decoded(Box::new(whole))));
        }
        let length = match self.length_of(&reply) {
            Ok(length) if length.sent.is_some_and(|sent| sent < position) => {
                let short = Cause::InvalidResponse("less than what is there already".into());
                return Ok(Attempt::Useless(self.failed(short)));
            }
            Ok(length) => length,
            Err(error) => return Ok(Attempt::Useless(error)),
        };
        let offset = reply.part.map_or(0, |(offset, _)| offset);
        let Some(skip) = position.checked_sub(offset) else {
            let invalid = Cause::InvalidResponse("another part than was asked for".into());
            return Ok(Attempt::Useless(self.failed(invalid)));
        };
        progress.send_modify(|progress| {
            if matches!(progress.state, State::Asking) && !length.is_checked_first() {
                let size = length.promised();
                progress.readable = position.min(size.map_or(position, |size| size.saturating_sub(1)));
                let file = partial_file.file().clone();
                progress.state = State::Flowing { file, size };
            }
        });
        if reply.cache_status.received.is_some() {
            parallel_ranges.use_one_connection();
        }
        let broken = match self
            .pump((reply, skip, length), partial_file, parallel_ranges, progress)
            .await
        {
            Ok(broken) => broken,
            Err(error @ SourceError::Storage { .. }) => return Ok(Attempt::Overflow(error)),
            Err(error) => return Err(error),
        };
        let there = partial_file.length();
        Ok(match broken {
            _ if parallel_ranges.next_start() == Some(there) => Attempt::UpToTheNext,
            None if length.sent.is_none_or(|sent| there == sent) && !is_cut(length, partial_file) => {
                Attempt::Whole
            }
            // All that the page lists is there, and right: what the upstream said about the length was not.
            Some(_) if length.listed == Some(there) && partial_file.check().is_ok() => Attempt::Whole,
            broken => {
                let whole = length.sent.or(length.listed).unwrap_or_default();
                let reason = broken.unwrap_or_else(|| format!("{there} of {whole} bytes came"));
                Attempt::Broken(self.failed(Cause::ConnectionClosed(reason.into())))
            }
        })
    }

    /// Writes one body on; gives the reason where it broke off.
    async fn pump(
        self: &Arc<Self>,
        (reply, mut skip, length): (FileReply, u64, Length),
        partial_file: &mut PartialFile,
        parallel_ranges: &mut ParallelRanges,
        progress: &watch::Sender<Progress>,
    ) -> Result<Option<String>, SourceError> {
        let limit = length.limit();
        let mut batches = reply.body.into_stream().ready_chunks(BATCH);
        let mut waiting_since = Instant::now();
        while let Some(batch) = batches.next().await {
            let waited = waiting_since.elapsed();
            let mut pieces: Vec<Bytes> = Vec::with_capacity(batch.len());
            let mut broken = None;
            for piece in batch {
                match piece {
                    Ok(piece) => pieces.push(without(piece, &mut skip)),
                    Err(error) => broken = Some(error.to_string()),
                }
            }
            let stop = parallel_ranges.next_start();
            if let Some(stop) = stop {
                cut(&mut pieces, stop.saturating_sub(partial_file.length()));
            }
            let added: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
            if partial_file.length() + added > limit {
                let reason = format!("more than the {limit} bytes that are taken in");
                return Err(self.failed(Cause::Mismatch(reason.into())));
            }
            self.append(pieces, partial_file, progress).await?;
            if broken.is_some() || stop == Some(partial_file.length()) {
                return Ok(broken);
            }
            if let Some(size) = length.promised() {
                parallel_ranges.took(added, waited, partial_file.length()..size, self);
            }
            waiting_since = Instant::now();
        }
        Ok(None)
    }

    async fn append(
        &self,
        pieces: Vec<Bytes>,
        partial_file: &mut PartialFile,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), SourceError> {
        let appended = partial_file.append(pieces).await;
        appended.map_err(|error| self.storage(error))?;
        // The last byte is not handed out before the whole was checked.
        let readable = partial_file.length().saturating_sub(1);
        progress.send_modify(|progress| progress.readable = progress.readable.max(readable));
        Ok(())
    }

    /// Writes a range on, as far as it comes.
    async fn take_in(
        &self,
        mut range_download: RangeDownload,
        partial_file: &mut PartialFile,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), SourceError> {
        while let Some(piece) = range_download.piece(partial_file.length()).await {
            self.append(vec![piece], partial_file, progress).await?;
        }
        Ok(())
    }

    /// Takes in a body that is said to be an encoding of the file. Nobody sees any of it before it is clear whether
    /// the bytes themselves or what they decode to is the file.
    async fn decode(&self, reply: FileReply) -> Result<PartialFile, SourceError> {
        let storage = |error| self.storage(error);
        let mut coded = PartialFile::open(&self.store, None, &self.digests)
            .await
            .map_err(storage)?;
        let mut pieces = reply.body.into_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.failed(Cause::ConnectionClosed(error.0)))?;
            if coded.length() + piece.len() as u64 > DECODED_LIMIT {
                return Err(self.failed(Cause::Mismatch("an encoded file without end".into())));
            }
            coded.append(vec![piece]).await.map_err(storage)?;
        }
        // Many servers take the compression of the file itself for one of the transport, or a word of their own for a coding.
        let is_known = coded.checksum().is_decisive();
        let name = self.request.path.file_name();
        let is_gzip_file = name.as_str().ends_with("gz");
        let is_itself = match is_known {
            true => coded.check().is_ok(),
            false => is_gzip_file || !coded.is_gzip().await.map_err(storage)?,
        };
        if is_itself {
            return Ok(coded);
        }
        let decoded = coded
            .decoded(
                &self.store,
                &self.digests,
                self.size.unwrap_or(0).max(DECODED_LIMIT),
            )
            .await;
        decoded.map_err(|error| {
            let reason = format!("an encoding that gives nothing that fits: {error}");
            self.failed(Cause::Mismatch(reason.into()))
        })
    }

    /// Lets the readers go on by themselves from where the disk was full. The space is free again once they are done.
    fn overflow(self: &Arc<Self>, partial_file: PartialFile, progress: &watch::Sender<Progress>) {
        progress.send_modify(|progress| {
            let size = match &progress.state {
                State::Flowing { size, .. } => *size,
                _ => self.size,
            };
            *progress = Progress {
                readable: partial_file.length(),
                state: State::Overflow {
                    file: partial_file.file().clone(),
                    size,
                    transfer: self.clone(),
                    checksum: partial_file.checksum(),
                },
            };
        });
        partial_file.discard();
    }

    async fn whole(&self, partial_file: PartialFile) -> Result<(PartialFile, Sha256), SourceError> {
        match partial_file.check() {
            Ok(sha256) => Ok((partial_file, sha256)),
            Err(error) => {
                let there = partial_file.length();
                partial_file.discard();
                // Of another length it is something else in the place of the file, which happens.
                if let Some(listed) = self.size.filter(|listed| *listed != there) {
                    let reason = format!("the page says {listed} bytes, {there} came; {error}");
                    return Err(self.failed(Cause::Mismatch(reason.into())));
                }
                let detail =
                    format!("an upstream sent other bytes than its page promises, nothing was kept: {error}");
                self.alarms
                    .raise(AlarmKind::WrongBytes, &self.name, &self.request.path, detail);
                Err(self.failed(Cause::Mismatch(error.to_string().into())))
            }
        }
    }
}

/// Whether a body whose length nobody told ended before the file did, by what the page says.
fn is_cut(length: Length, partial_file: &PartialFile) -> bool {
    let is_short = length.listed.is_some_and(|listed| partial_file.length() < listed);
    length.sent.is_none() && is_short && partial_file.check().is_err()
}

/// Whether the source says that its bytes are not the listed ones.
pub(in crate::cached_source) fn is_mismatch(error: &SourceError) -> bool {
    let SourceError::Unavailable { cause, .. } = error else {
        return false;
    };
    matches!(cause, Cause::Mismatch(_))
}

/// Leaves so many bytes of the pieces.
fn cut(pieces: &mut Vec<Bytes>, mut left: u64) {
    pieces.retain_mut(|piece| {
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= piece.len() as u64;
        !piece.is_empty()
    });
}

/// A piece without the bytes at its front that are there already.
fn without(mut piece: Bytes, skip: &mut u64) -> Bytes {
    let skipped = usize::try_from(*skip).unwrap_or(usize::MAX).min(piece.len());
    *skip -= skipped as u64;
    piece.split_off(skipped)
}
