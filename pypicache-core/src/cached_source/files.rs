//! Distribution files: found through their project's page, answered from the store, or carried in once for all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Shared;
use super::options::Files;
use super::passing::verified;
use super::transfer::{Order, Progress, State, follow, is_mismatch};
use crate::model::{Checksum, FileEntry};
use crate::source::{Answer, Ask, Body, ByteRange, Cause, FileQuestion, FileReply, IndexSource as _};
use crate::source::{Outcome, Sibling, SourceError, Trail};

/// A range that begins at most this far ahead of a running transfer waits for it; one further on is asked for by itself.
const FOLLOW_AHEAD: u64 = 4 * 1024 * 1024;

/// How long nobody is given the rest of a file of which wrong bytes came.
const MISTRUST: Duration = Duration::from_secs(60);

impl Shared {
    pub(super) async fn file(
        self: &Arc<Self>,
        question: &FileQuestion,
        ask: &Ask,
    ) -> Result<Answer<FileReply>, SourceError> {
        if let Some(reply) = self.reply_hot(question) {
            return reply.map(Answer::Found);
        }
        let entry = match self.entry_of(question, ask).await? {
            Answer::Found(entry) => entry,
            Answer::Unchanged(freshness) | Answer::Absent(freshness) => return Ok(Answer::Absent(freshness)),
        };
        if let Some(held) = self.held_file(&entry, Sibling::File).await {
            return self
                .reply_held(held, question, Outcome::Hit)
                .await
                .map(Answer::Found);
        }
        if let Some(size) = entry.size.filter(|_| question.facts_only) {
            return Ok(Answer::Found(self.facts(&entry, size)));
        }
        if self.is_held_only(ask) {
            return Err(SourceError::not_held(&question.path));
        }
        let ask = &self.ask_for(&entry, ask);
        if self.options.files == Files::Stream || question.facts_only || self.is_out_of_reach(question) {
            return self.passed(question, entry, ask).await;
        }
        self.followed(question, entry, ask).await
    }

    fn facts(&self, entry: &FileEntry, size: u64) -> FileReply {
        let trail = Trail::of(&self.name, Outcome::Passed);
        FileReply {
            body: Body::empty(),
            size: Some(size),
            part: None,
            sha256: entry.hashes.get_sha256(),
            encoded: false,
            trail,
        }
    }

    /// A stretch of a file that is not held, so far from what is coming in that it would wait too long.
    fn is_out_of_reach(&self, question: &FileQuestion) -> bool {
        let Some(range) = question.range else { return false };
        let Some(running) = self.transfers.watch(&(question.path.clone(), Sibling::File)) else {
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
    async fn passed(
        self: &Arc<Self>,
        question: &FileQuestion,
        entry: Arc<FileEntry>,
        ask: &Ask,
    ) -> Result<Answer<FileReply>, SourceError> {
        // A transfer may have ended between the look into the store and the look at what is under way.
        if let Some(held) = self.held_file(&entry, Sibling::File).await {
            return self
                .reply_held(held, question, Outcome::Hit)
                .await
                .map(Answer::Found);
        }
        let wanted = question.clone().with_entry(entry.clone());
        let answer = self.inner.file(&wanted, ask).await?;
        if let Answer::Found(reply) = &answer
            && self.options.files == Files::Store
            && question.range.is_some()
            && reply.part.is_none()
        {
            // The upstream knows no ranges and would send the whole: then it is better kept.
            return self.followed(question, entry, ask).await;
        }
        self.handed_through(answer, question, &entry).await
    }

    /// The source's own answer, checked on its way where it is the whole file.
    async fn handed_through(
        self: &Arc<Self>,
        answer: Answer<FileReply>,
        question: &FileQuestion,
        entry: &Arc<FileEntry>,
    ) -> Result<Answer<FileReply>, SourceError> {
        let reply = match answer {
            Answer::Found(reply) => reply,
            other => return Ok(other),
        };
        if reply.encoded && !question.facts_only {
            let cause = Cause::Mismatch("it came in an encoding that was not asked for".into());
            return Err(SourceError::unavailable(&question.path, &self.name, cause));
        }
        let is_whole = reply.part.is_none() && !question.facts_only;
        let body = match is_whole {
            true => verified(reply.body, Checksum::new(&self.digests_of(entry).await)),
            false => reply.body,
        };
        Ok(Answer::Found(FileReply {
            body,
            sha256: reply.sha256.or(entry.hashes.get_sha256()),
            trail: reply.trail.then(&self.name, Outcome::Passed),
            ..reply
        }))
    }

    /// Joins the transfer of the file, or begins it.
    async fn followed(
        self: &Arc<Self>,
        question: &FileQuestion,
        entry: Arc<FileEntry>,
        ask: &Ask,
    ) -> Result<Answer<FileReply>, SourceError> {
        if let Some(error) = self.mistrust_of(question) {
            return Err(error);
        }
        let (mut progress, led) = self.transfer(&entry, ask);
        let outcome = if led { Outcome::Miss } else { Outcome::Collapsed };
        let begun = progress
            .wait_for(|progress| !matches!(progress.state, State::Asking))
            .await;
        let state = begun.map(|progress| progress.state.clone());
        let state = match state {
            Ok(state) => state,
            Err(_) => {
                return Err(SourceError::unavailable(
                    &question.path,
                    &self.name,
                    Cause::Broken("the transfer was given up".into()),
                ));
            }
        };
        match state {
            State::Asking | State::Flowing { .. } | State::Overflow { .. } => self
                .reply_flowing(question, &entry, progress, outcome)
                .map(Answer::Found),
            // Complete before this asker came, and merely not in its place yet: a hit.
            State::Done(held) if !led => {
                let reply = self.reply_held(held, question, Outcome::Hit).await;
                reply.map(Answer::Found)
            }
            State::Done(held) => self.reply_held(held, question, outcome).await.map(Answer::Found),
            State::Absent(freshness) => Ok(Answer::Absent(freshness)),
            State::Failed(SourceError::Storage { place, cause, .. }) => {
                tracing::warn!(file = %question.path, %place, error = %cause, "the file cannot be kept and is passed through");
                let wanted = question.clone().with_entry(entry.clone());
                let answer = self.inner.file(&wanted, ask).await?;
                self.handed_through(answer, question, &entry).await
            }
            State::Failed(error) => Err(error),
        }
    }

    /// The error that a transfer of the file ended with lately because its bytes were wrong, for somebody who would
    /// go on with a part of these. Who wants all of it is welcome to another try.
    fn mistrust_of(&self, question: &FileQuestion) -> Option<SourceError> {
        let continues = matches!(question.range, Some(ByteRange::From(position)) if position > 0);
        let (since, error) = self.mistrusted.get(&question.path)?;
        (continues && since.elapsed() < MISTRUST).then_some(error)
    }

    fn reply_flowing(
        &self,
        question: &FileQuestion,
        entry: &FileEntry,
        progress: watch::Receiver<Progress>,
        outcome: Outcome,
    ) -> Result<FileReply, SourceError> {
        let size = match &progress.borrow().state {
            State::Flowing { size, .. } | State::Overflow { size, .. } => *size,
            _ => None,
        };
        let part = size.map_or(Ok(None), |size| part_of(question, size))?;
        let (offset, length) = match part {
            Some((offset, length)) => (offset, Some(length)),
            None => (0, size),
        };
        let trail = Trail::of(&self.name, outcome);
        Ok(FileReply {
            body: follow(progress, offset, length, part.is_none()),
            size,
            part,
            sha256: entry.hashes.get_sha256(),
            encoded: false,
            trail,
        })
    }

    /// The running transfer of the file, begun where there is none; and whether it was.
    pub(super) fn transfer(
        self: &Arc<Self>,
        entry: &Arc<FileEntry>,
        ask: &Ask,
    ) -> (watch::Receiver<Progress>, bool) {
        let initial = Progress {
            readable: 0,
            state: State::Asking,
        };
        let begin = |progress: watch::Sender<Progress>| {
            let (shared, entry) = (self.clone(), entry.clone());
            let ask = ask.clone();
            async move {
                // Another transfer may have ended after this asker had looked and before it began its own.
                if let Some(held) = shared.held_file(&entry, Sibling::File).await {
                    progress.send_replace(Progress {
                        readable: held.size,
                        state: State::Done(held),
                    });
                    return;
                }
                let order = Arc::new(Order {
                    source: shared.inner.clone(),
                    question: FileQuestion::whole(entry.path.clone()).with_entry(entry.clone()),
                    digests: shared.digests_of(&entry).await,
                    ask,
                    store: shared.store.clone(),
                    size: entry.size,
                    connections: shared.options.connections_per_file,
                    name: shared.name.clone(),
                    alarms: shared.options.alarms.clone(),
                });
                shared.account.note_begin();
                let carried = order.carry_out(&progress).await;
                let whole = match &progress.borrow().state {
                    State::Done(held) => Some(held.size),
                    _ => None,
                };
                shared.account.note_end(whole);
                if let Err(error) = carried {
                    if is_mismatch(&error) {
                        let wrong = (Instant::now(), error.clone());
                        shared.mistrusted.insert(entry.path.clone(), wrong);
                    }
                    tracing::warn!(file = %entry.path, source = %shared.name, error = error.chain(), "a file could not be fetched");
                }
                let done = match &progress.borrow().state {
                    State::Done(held) if entry.hashes.get_sha256().is_none() => Some(held.sha256),
                    _ => None,
                };
                if let Some(sha256) = done {
                    shared.note_digest(&entry.path, Sibling::File, sha256).await;
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
fn part_of(question: &FileQuestion, size: u64) -> Result<Option<(u64, u64)>, SourceError> {
    match question.range {
        None => Ok(None),
        Some(range) => range
            .within(size)
            .map(Some)
            .ok_or(SourceError::RangeOutside { size }),
    }
}
