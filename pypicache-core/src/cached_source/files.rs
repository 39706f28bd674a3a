//! Distribution files: found through their project's page, answered from the store, or fetched once for all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Shared;
use super::held::Correction;
use super::options::Files;
use super::pass_through::verified;
use super::transfer::{Progress, State, Transfer, follow, is_mismatch};
use crate::model::{Checksum, FileEntry};
use crate::source::{
    Answer, Body, ByteRange, Cause, FileReply, FileRequest, IndexSource as _, RequestContext,
};
use crate::source::{CacheStatus, Outcome, Sibling, SourceError};

/// A range that begins at most this far ahead of a running transfer waits for it; one further on is asked for by itself.
const FOLLOW_AHEAD: u64 = 4 * 1024 * 1024;

/// How long nobody is given the rest of a file of which wrong bytes came.
const MISMATCH_MEMORY: Duration = Duration::from_secs(60);

impl Shared {
    pub(super) async fn file(
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
        if let Some(held) = self.held_file(&entry, Sibling::File).await {
            return self
                .reply_held(held, request, Outcome::Hit)
                .await
                .map(Answer::Found);
        }
        if let Some(size) = entry.size.filter(|_| request.head_only) {
            return Ok(Answer::Found(self.facts(&entry, size)));
        }
        if self.is_only_if_cached(context) {
            return Err(SourceError::not_held(&request.path));
        }
        let context = &self.ask_for(&entry, context);
        if self.options.files == Files::Stream || request.head_only || self.is_out_of_reach(request) {
            return self.pass_through(request, entry, context).await;
        }
        self.followed(request, entry, context).await
    }

    fn facts(&self, entry: &FileEntry, size: u64) -> FileReply {
        let cache_status = CacheStatus::of(&self.name, Outcome::Bypass);
        FileReply {
            body: Body::empty(),
            size: Some(size),
            part: None,
            sha256: entry.hashes.get_sha256(),
            encoded: false,
            cache_status,
        }
    }

    /// A range of a file that is not held, so far from what is coming in that it would wait too long.
    fn is_out_of_reach(&self, request: &FileRequest) -> bool {
        let Some(range) = request.range else { return false };
        let Some(running) = self.transfers.watch(&(request.path.clone(), Sibling::File)) else {
            // A client that wants the rest from somewhere on is fetching the file; it begins the transfer.
            return !matches!(range, ByteRange::From(_));
        };
        let running = running.borrow();
        let first = match (&running.state, range) {
            (State::Done(_), _) | (_, ByteRange::From(_)) => return false,
            (_, ByteRange::Between(first, _)) => Some(first),
            (State::Flowing { size: Some(size), .. }, range) => range.within(*size).map(|(first, _)| first),
            (_, ByteRange::Last(_)) => None,
        };
        first.is_none_or(|first| first > running.readable + FOLLOW_AHEAD)
    }

    /// Asks the source behind for just this, and keeps nothing of it.
    async fn pass_through(
        self: &Arc<Self>,
        request: &FileRequest,
        entry: Arc<FileEntry>,
        context: &RequestContext,
    ) -> Result<Answer<FileReply>, SourceError> {
        // A transfer may have ended between the look into the store and the look at what is under way.
        if let Some(held) = self.held_file(&entry, Sibling::File).await {
            return self
                .reply_held(held, request, Outcome::Hit)
                .await
                .map(Answer::Found);
        }
        let wanted = self.with_listing(request.clone().with_entry(entry.clone()));
        let answer = self.inner.file(&wanted, context).await?;
        if let Answer::Found(reply) = &answer
            && reply.encoded
            && !request.head_only
        {
            // Only the whole shows whether these are the bytes of the file or an encoding of them.
            return self.followed(request, entry, context).await;
        }
        if let Answer::Found(reply) = &answer
            && self.options.files == Files::Store
            && request.range.is_some()
            && reply.part.is_none()
            && !request.head_only
        {
            // The upstream knows no ranges and would send the whole: then it is better kept.
            return self.followed(request, entry, context).await;
        }
        self.stream_through(answer, request, &entry).await
    }

    /// The source's own answer, checked on its way where it is the whole file.
    async fn stream_through(
        self: &Arc<Self>,
        answer: Answer<FileReply>,
        request: &FileRequest,
        entry: &Arc<FileEntry>,
    ) -> Result<Answer<FileReply>, SourceError> {
        let reply = match answer {
            Answer::Found(reply) => reply,
            other => return Ok(other),
        };
        if reply.encoded && !request.head_only {
            let cause = Cause::Mismatch("it came in an encoding that was not asked for".into());
            return Err(SourceError::unavailable(&request.path, &self.name, cause));
        }
        let is_whole = reply.part.is_none() && !request.head_only;
        let body = match is_whole {
            true => verified(reply.body, Checksum::new(&self.digests_of(entry).await)),
            false => reply.body,
        };
        Ok(Answer::Found(FileReply {
            body,
            sha256: reply.sha256.or(entry.hashes.get_sha256()),
            cache_status: reply.cache_status.then(&self.name, Outcome::Bypass),
            ..reply
        }))
    }

    /// Joins the transfer of the file, or begins it.
    async fn followed(
        self: &Arc<Self>,
        request: &FileRequest,
        entry: Arc<FileEntry>,
        context: &RequestContext,
    ) -> Result<Answer<FileReply>, SourceError> {
        if let Some(error) = self.recent_mismatch(request) {
            return Err(error);
        }
        let (mut progress, led) = self.transfer(&entry, context);
        let outcome = if led { Outcome::Miss } else { Outcome::Collapsed };
        let begun = progress
            .wait_for(|progress| !matches!(progress.state, State::Asking))
            .await;
        let state = begun.map(|progress| progress.state.clone());
        let state = match state {
            Ok(state) => state,
            Err(_) => {
                return Err(SourceError::unavailable(
                    &request.path,
                    &self.name,
                    Cause::ConnectionClosed("the transfer was given up".into()),
                ));
            }
        };
        match state {
            State::Asking | State::Flowing { .. } | State::Overflow { .. } => self
                .reply_flowing(request, &entry, progress, outcome)
                .map(Answer::Found),
            // Complete before this client came, and merely not in its place yet: a hit.
            State::Done(held) if !led => {
                let reply = self.reply_held(held, request, Outcome::Hit).await;
                reply.map(Answer::Found)
            }
            State::Done(held) => self.reply_held(held, request, outcome).await.map(Answer::Found),
            State::NotFound(freshness) => Ok(Answer::NotFound(freshness)),
            State::Failed(SourceError::Storage { place, cause, .. }) => {
                tracing::warn!(file = %request.path, %place, error = %cause, "the file cannot be kept and is passed through");
                let wanted = self.with_listing(request.clone().with_entry(entry.clone()));
                let answer = self.inner.file(&wanted, context).await?;
                self.stream_through(answer, request, &entry).await
            }
            State::Failed(error) => Err(error),
        }
    }

    /// The error that a transfer of the file ended with lately because its bytes were wrong, for somebody who would
    /// go on with a part of these. Who wants all of it is welcome to another try.
    fn recent_mismatch(&self, request: &FileRequest) -> Option<SourceError> {
        let continues = matches!(request.range, Some(ByteRange::From(position)) if position > 0);
        let (since, error) = self.recent_mismatches.get(&request.path)?;
        (continues && since.elapsed() < MISMATCH_MEMORY).then_some(error)
    }

    fn reply_flowing(
        &self,
        request: &FileRequest,
        entry: &FileEntry,
        progress: watch::Receiver<Progress>,
        outcome: Outcome,
    ) -> Result<FileReply, SourceError> {
        let size = match &progress.borrow().state {
            State::Flowing { size, .. } | State::Overflow { size, .. } => *size,
            _ => None,
        };
        let part = size.map_or(Ok(None), |size| part_of(request, size))?;
        let (offset, length) = match part {
            Some((offset, length)) => (offset, Some(length)),
            None => (0, size),
        };
        let cache_status = CacheStatus::of(&self.name, outcome);
        Ok(FileReply {
            body: follow(progress, offset, length, part.is_none()),
            size,
            part,
            sha256: entry.hashes.get_sha256(),
            encoded: false,
            cache_status,
        })
    }

    /// The running transfer of the file, begun where there is none; and whether it was.
    pub(super) fn transfer(
        self: &Arc<Self>,
        entry: &Arc<FileEntry>,
        context: &RequestContext,
    ) -> (watch::Receiver<Progress>, bool) {
        let initial = Progress {
            readable: 0,
            state: State::Asking,
        };
        let begin = |progress: watch::Sender<Progress>| {
            let (shared, entry) = (self.clone(), entry.clone());
            let context = context.clone();
            async move {
                // Another transfer may have ended after this client had looked and before it began its own.
                if let Some(held) = shared.held_file(&entry, Sibling::File).await {
                    progress.send_replace(Progress {
                        readable: held.size,
                        state: State::Done(held),
                    });
                    return;
                }
                let order = Arc::new(Transfer {
                    source: shared.inner.clone(),
                    request: shared
                        .with_listing(FileRequest::whole(entry.path.clone()).with_entry(entry.clone())),
                    digests: shared.digests_of(&entry).await,
                    context,
                    store: shared.store.clone(),
                    size: entry.size,
                    connections: shared.options.connections_per_file,
                    name: shared.name.clone(),
                    alarms: shared.options.alarms.clone(),
                });
                shared.counters.note_begin();
                let carried = order.run(&progress).await;
                let whole = match &progress.borrow().state {
                    State::Done(held) => Some(held.size),
                    _ => None,
                };
                shared.counters.note_end(whole);
                if let Err(error) = carried {
                    if is_mismatch(&error) {
                        let wrong = (Instant::now(), error.clone());
                        shared.recent_mismatches.insert(entry.path.clone(), wrong);
                    }
                    tracing::warn!(file = %entry.path, source = %shared.name, error = error.chain(), "a file could not be fetched");
                }
                let done = match &progress.borrow().state {
                    State::Done(held) => Some(held.clone()),
                    _ => None,
                };
                let Some(held) = done else { return };
                if entry.hashes.get_sha256().is_none() {
                    shared.note_digest(&entry.path, Sibling::File, held.sha256).await;
                }
                if entry.size.is_some_and(|size| size != held.size) {
                    shared.correct(Correction::of_size(&entry, held.size)).await;
                }
            }
        };
        let flight = self
            .transfers
            .join(&(entry.path.clone(), Sibling::File), initial, begin);
        (flight.progress, flight.led)
    }
}

/// Where the asked range lies, `None` for the whole.
fn part_of(request: &FileRequest, size: u64) -> Result<Option<(u64, u64)>, SourceError> {
    match request.range {
        None => Ok(None),
        Some(range) => range
            .within(size)
            .map(Some)
            .ok_or(SourceError::RangeOutside { size }),
    }
}
