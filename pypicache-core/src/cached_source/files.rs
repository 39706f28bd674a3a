//! Distribution files: found through their project's page, answered from the store, or carried in once for all.

use std::sync::Arc;

use tokio::sync::watch;

use super::Shared;
use super::held::HeldPage;
use super::transfer::{Order, Progress, State, blocking, follow};
use crate::model::{FileEntry, FilePath, ProjectName, ProjectPage, Sha256};
use crate::source::{
    Answer, Ask, Body, ByteRange, Cause, FileQuestion, FileReply, HeldFile, IndexSource as _, LocalFile,
};
use crate::source::{Outcome, Sibling, SourceError, Trail};
use crate::store::RecordKind;

/// A range that begins at most this far ahead of a running transfer waits for it; one further on is asked for by itself.
const FOLLOW_AHEAD: u64 = 4 * 1024 * 1024;

impl Shared {
    pub(super) async fn file(
        self: &Arc<Self>,
        question: &FileQuestion,
        ask: &Ask,
    ) -> Result<Answer<FileReply>, SourceError> {
        let entry = match self.entry_of(question, ask).await? {
            Answer::Found(entry) => entry,
            Answer::Unchanged(freshness) | Answer::Absent(freshness) => return Ok(Answer::Absent(freshness)),
        };
        if let Some(held) = self.held_file(&entry, Sibling::File).await {
            return self.reply_held(&held, question, Outcome::Hit).map(Answer::Found);
        }
        if let Some(size) = entry.size.filter(|_| question.facts_only) {
            return Ok(Answer::Found(self.facts(&entry, size)));
        }
        if self.is_held_only(ask) {
            return Err(SourceError::not_held(&question.path));
        }
        if question.facts_only || self.is_out_of_reach(question) {
            return self.passed(question, entry, ask).await;
        }
        self.followed(question, entry, ask).await
    }

    /// The page's entry for the file. The project is read from the file's name; nothing is absent before a
    /// page that counts has been looked at.
    pub(super) async fn entry_of(
        self: &Arc<Self>,
        question: &FileQuestion,
        ask: &Ask,
    ) -> Result<Answer<Arc<FileEntry>>, SourceError> {
        if let Some(entry) = &question.entry {
            return Ok(Answer::Found(entry.clone()));
        }
        let owners: Vec<ProjectName> = match self.strays.get(&question.path) {
            Some(project) => vec![project],
            None => question
                .path
                .file_name()
                .owners()
                .into_iter()
                .map(|(project, _)| project)
                .collect(),
        };
        for project in &owners {
            let held = self.held(project).await;
            if let Some(entry) = held.and_then(|held| held.entry(&question.path).cloned()) {
                return Ok(Answer::Found(Arc::new(entry)));
            }
        }
        let mut absent = crate::source::Freshness::default();
        for project in &owners {
            match self.page(project, &ask.without_validators()).await? {
                Answer::Found(reply) => {
                    if let Some(entry) = entry_on(&reply.page, &question.path) {
                        return Ok(Answer::Found(entry));
                    }
                    if reply
                        .trail
                        .steps
                        .last()
                        .is_some_and(|step| step.outcome == Outcome::Stale)
                    {
                        return Err(SourceError::not_held(format_args!(
                            "a page of {project} that is young enough to know {}",
                            question.path
                        )));
                    }
                }
                Answer::Unchanged(_) => {}
                Answer::Absent(freshness) => absent = freshness,
            }
        }
        Ok(Answer::Absent(absent))
    }

    /// The complete file or sibling, where the store has it.
    pub(super) async fn held_file(self: &Arc<Self>, entry: &FileEntry, sibling: Sibling) -> Option<HeldFile> {
        let (shared, entry) = (self.clone(), entry.clone());
        let read = move || match shared.known_digest(&entry, sibling) {
            Some(sha256) => shared.blob(&entry, sha256),
            None => Ok(None),
        };
        blocking(read).await.ok()?
    }

    /// Whether the store has it. Blocks.
    pub(super) fn has_file(&self, entry: &FileEntry, sibling: Sibling) -> bool {
        let sha256 = self.known_digest(entry, sibling);
        sha256.is_some_and(|sha256| self.store.has_blob(sha256))
    }

    /// Whether the store has anything of the page. Blocks.
    pub(super) fn has_any_file(&self, held: &HeldPage) -> bool {
        let mut files = held.page.files.iter();
        files.any(|file| self.has_file(file, Sibling::File))
    }

    /// The digest that the page tells, else the one of the bytes that came first. Blocks.
    fn known_digest(&self, entry: &FileEntry, sibling: Sibling) -> Option<Sha256> {
        let noted = || {
            let key = digest_key(&entry.path, sibling);
            self.store.read_record(RecordKind::Digest, &self.name, &key)
        };
        listed_digest(entry, sibling).or_else(noted)
    }

    fn blob(&self, entry: &FileEntry, sha256: Sha256) -> std::io::Result<Option<HeldFile>> {
        self.store.blob(sha256).inspect_err(|error| {
            tracing::warn!(file = %entry.path, store = %self.store, %error, "a held file cannot be read and counts as not held");
        })
    }

    /// Notes the digest of something whose page does not tell it. Other bytes under the same name are
    /// noticed by it later.
    pub(super) async fn note_digest(self: &Arc<Self>, path: &FilePath, sibling: Sibling, sha256: Sha256) {
        let (shared, key) = (self.clone(), digest_key(path, sibling));
        let write = move || {
            shared
                .store
                .write_record(RecordKind::Digest, &shared.name, &key, &sha256)
        };
        if let Err(error) = blocking(write).await {
            tracing::warn!(file = %path, store = %self.store, %error, "a digest cannot be noted");
        }
    }

    pub(super) fn reply_held(
        &self,
        held: &HeldFile,
        question: &FileQuestion,
        outcome: Outcome,
    ) -> Result<FileReply, SourceError> {
        let body = Body::File(LocalFile {
            file: held.file.clone(),
            offset: 0,
            length: held.size,
        });
        let reply = FileReply::of_whole(body, held.sha256, question)?;
        Ok(FileReply {
            trail: Trail::of(&self.name, outcome),
            ..reply
        })
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
            return self.reply_held(&held, question, Outcome::Hit).map(Answer::Found);
        }
        let answer = self
            .inner
            .file(&question.clone().with_entry(entry.clone()), ask)
            .await?;
        if let Answer::Found(reply) = &answer
            && question.range.is_some()
            && reply.part.is_none()
        {
            // The upstream knows no ranges and would send the whole: then it is better kept.
            return self.followed(question, entry, ask).await;
        }
        Ok(answer.map(|reply| FileReply {
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
            State::Asking | State::Flowing { .. } => self
                .reply_flowing(question, &entry, progress, outcome)
                .map(Answer::Found),
            // Complete before this asker came, and merely not in its place yet: a hit.
            State::Done(held) if !led => self.reply_held(&held, question, Outcome::Hit).map(Answer::Found),
            State::Done(held) => self.reply_held(&held, question, outcome).map(Answer::Found),
            State::Absent(freshness) => Ok(Answer::Absent(freshness)),
            State::Failed(SourceError::Storage { place, cause, .. }) => {
                tracing::warn!(file = %question.path, %place, error = %cause, "the file cannot be kept and is passed through");
                let answer = self.inner.file(&question.clone().with_entry(entry), ask).await?;
                Ok(answer.map(|reply| FileReply {
                    trail: reply.trail.then(&self.name, Outcome::Passed),
                    ..reply
                }))
            }
            State::Failed(error) => Err(error),
        }
    }

    fn reply_flowing(
        &self,
        question: &FileQuestion,
        entry: &FileEntry,
        progress: watch::Receiver<Progress>,
        outcome: Outcome,
    ) -> Result<FileReply, SourceError> {
        let size = match &progress.borrow().state {
            State::Flowing { size, .. } => *size,
            _ => None,
        };
        let part = size.map_or(Ok(None), |size| part_of(question, size))?;
        let (offset, length) = match part {
            Some((offset, length)) => (offset, Some(length)),
            None => (0, size),
        };
        let trail = Trail::of(&self.name, outcome);
        Ok(FileReply {
            body: follow(progress, offset, length),
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
            let order = Order {
                source: self.inner.clone(),
                question: FileQuestion::whole(entry.path.clone()).with_entry(entry.clone()),
                ask: ask.without_validators(),
                store: self.store.clone(),
                sha256: entry.hashes.get_sha256(),
                size: entry.size,
                name: self.name.clone(),
            };
            async move {
                // Another transfer may have ended after this asker had looked and before it began its own.
                if let Some(held) = shared.held_file(&entry, Sibling::File).await {
                    progress.send_replace(Progress {
                        readable: held.size,
                        state: State::Done(held),
                    });
                    return;
                }
                if let Err(error) = order.carry_out(&progress).await {
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

fn entry_on(page: &ProjectPage, path: &FilePath) -> Option<Arc<FileEntry>> {
    page.file(path).cloned().map(Arc::new)
}

/// The digest that the page tells.
fn listed_digest(entry: &FileEntry, sibling: Sibling) -> Option<Sha256> {
    match (sibling, entry.core_metadata) {
        (Sibling::File, _) => entry.hashes.get_sha256(),
        (Sibling::Metadata, crate::model::CoreMetadata::Digest(sha256)) => Some(sha256),
        (Sibling::Metadata, _) => None,
    }
}

fn digest_key(path: &FilePath, sibling: Sibling) -> String {
    format!("{path}{}", sibling.suffix())
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
