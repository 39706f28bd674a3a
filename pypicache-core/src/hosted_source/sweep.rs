//! Removing what nobody can have any more: files whose time in the trash is over. Only what a record names as removed is ever
//! removed. What no record names is moved aside after a day, to `orphaned/`: a crash left it there, or its record was lost.
//! Files of a project without any record stay where they are.

use std::io;
use std::time::{Duration, SystemTime};

use super::record::State;
use super::{HostedSource, Shared};
use crate::model::{FileName, ProjectName};
use crate::source::SourceError;

/// How long a file stays that no record names.
const LEFT_BEHIND: Duration = Duration::from_secs(86_400);

/// What a sweep did with the files of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Which.
    pub project: ProjectName,
    /// Their bytes are gone.
    pub removed: Vec<FileName>,
    /// No record names them: they were moved aside.
    pub set_aside: Vec<FileName>,
}

impl HostedSource {
    /// Looks through all projects, and tells of those in which something was done. A project that cannot be looked at is
    /// logged, and stops nothing.
    pub async fn sweep(&self) -> Result<Vec<Swept>, SourceError> {
        let projects = self
            .offload("the trash".to_owned(), |shared| shared.disk.directories())
            .await?;
        let mut swept = Vec::new();
        for project in projects {
            // Uploads go on in between.
            let Ok(_turn) = self.shared.turn().await else {
                continue;
            };
            let (wanted, name) = (project.clone(), project.to_string());
            match self.offload(name, move |shared| shared.sweep(&wanted)).await {
                Ok(done) if done.removed.is_empty() && done.set_aside.is_empty() => {}
                Ok(done) => swept.push(done),
                // Whoever holds the lock holds it for every project.
                Err(error) if is_locked(&error) => return Err(error),
                Err(error) => {
                    tracing::error!(%project, error = error.chain(), "a project cannot be swept");
                }
            }
        }
        Ok(swept)
    }
}

fn is_locked(error: &SourceError) -> bool {
    matches!(error, SourceError::Storage { cause, .. } if cause.kind() == io::ErrorKind::ResourceBusy)
}

impl Shared {
    fn sweep(&self, project: &ProjectName) -> io::Result<Swept> {
        let mut swept = Swept {
            project: project.clone(),
            removed: Vec::new(),
            set_aside: Vec::new(),
        };
        let lock = self.disk.lock()?;
        let Some(mut record) = self.disk.read(project)? else {
            tracing::warn!(%project, source = %self.name, "there are files without a record; pypicache import takes them in again");
            return Ok(swept);
        };
        let now = self.options.clock.now();
        for file in &mut record.files {
            if matches!(&file.state, State::Deleted { at, .. } if self.is_over(at, now)) {
                file.state = State::Removed;
                swept.removed.push(file.filename.clone());
            }
        }
        // The record first: a crash in between leaves bytes that are named as removed, which the next sweep finds.
        if !swept.removed.is_empty() {
            self.disk.write(project, &record, &lock)?;
            self.pages.forget(project);
        }
        for stored in self.disk.stored_files(project)? {
            match record.file(&stored) {
                Some(file) if file.state == State::Removed => {
                    tracing::info!(%project, file = %stored, source = %self.name, "removed for good");
                    self.disk.remove(project, &stored)?;
                }
                None if self.disk.age(project, &stored, now)? >= LEFT_BEHIND => {
                    let place = self.disk.set_aside(project, &stored)?;
                    tracing::warn!(%project, file = %stored, source = %self.name, place = %place.display(), "no record names a file: it was moved aside");
                    swept.set_aside.push(stored);
                }
                _ => {}
            }
        }
        Ok(swept)
    }

    /// Whether what was deleted then cannot be restored any more. What cannot be read is kept.
    fn is_over(&self, at: &str, now: SystemTime) -> bool {
        let deleted = at.parse::<jiff::Timestamp>().ok().map(SystemTime::from);
        let age = deleted.and_then(|deleted| now.duration_since(deleted).ok());
        age.is_some_and(|age| age > self.options.retention)
    }
}
