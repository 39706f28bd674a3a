//! Removing what nobody can have any more: files whose time in the trash is over, and, after a day, files that a crash left
//! beside a record that does not name them. Files of a project without any record stay: whoever lost the record wants them.

use std::io;
use std::time::{Duration, SystemTime};

use super::record::State;
use super::{HostedSource, Shared};
use crate::model::{FileName, ProjectName};
use crate::source::SourceError;

/// How long a file stays that no record names.
const LEFT_BEHIND: Duration = Duration::from_secs(86_400);

impl HostedSource {
    /// Looks through all projects. Gives the names of the files whose bytes were removed.
    pub async fn sweep(&self) -> Result<Vec<FileName>, SourceError> {
        let projects = self
            .offload("the trash".to_owned(), |shared| shared.disk.directories())
            .await?;
        let mut removed = Vec::new();
        for project in projects {
            // Uploads go on in between.
            let _one_at_a_time = self.shared.changing.lock().await;
            let sweep = move |shared: &Shared| shared.sweep(&project);
            removed.extend(self.offload("the trash".to_owned(), sweep).await?);
        }
        Ok(removed)
    }
}

impl Shared {
    fn sweep(&self, project: &ProjectName) -> io::Result<Vec<FileName>> {
        let lock = self.disk.lock()?;
        let Some(mut record) = self.disk.read(project)? else {
            tracing::warn!(%project, source = %self.name, "there are files without a record; pypicache import takes them in again");
            return Ok(Vec::new());
        };
        let now = self.options.clock.now();
        let mut removed = Vec::new();
        for file in &mut record.files {
            if matches!(&file.state, State::Deleted { at, .. } if self.is_over(at, now)) {
                file.state = State::Removed;
                removed.push(file.filename.clone());
            }
        }
        // The record first: a crash in between leaves bytes that nobody names, which the next sweep finds.
        if !removed.is_empty() {
            self.disk.write(project, &record, &lock)?;
            self.pages.forget(project);
        }
        for stored_files in self.disk.stored_files(project)? {
            let is_over = match record.file(&stored_files) {
                Some(file) => file.state == State::Removed,
                None => self.disk.age(project, &stored_files, now)? >= LEFT_BEHIND,
            };
            if is_over {
                tracing::info!(%project, file = %stored_files, source = %self.name, "removed for good");
                self.disk.remove(project, &stored_files)?;
            }
        }
        Ok(removed)
    }

    /// Whether what was deleted then cannot be restored any more. What cannot be read is kept.
    fn is_over(&self, at: &str, now: SystemTime) -> bool {
        let deleted = at.parse::<jiff::Timestamp>().ok().map(SystemTime::from);
        let age = deleted.and_then(|deleted| now.duration_since(deleted).ok());
        age.is_some_and(|age| age > self.options.retention)
    }
}
