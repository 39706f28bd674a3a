//! Removing what nobody can have any more: files whose time in the trash is over, and files that a crash left without a
//! record.

use std::io;
use std::time::SystemTime;

use super::record::State;
use super::{HostedSource, Shared};
use crate::model::{FileName, ProjectName};
use crate::source::SourceError;

impl HostedSource {
    /// Looks through all projects. Gives the names of the files whose bytes were removed.
    pub async fn sweep(&self) -> Result<Vec<FileName>, SourceError> {
        let projects = self
            .blocking("the trash".to_owned(), |shared| shared.disk.directories())
            .await?;
        let mut removed = Vec::new();
        for project in projects {
            // Uploads go on in between.
            let _one_at_a_time = self.shared.changing.lock().await;
            let sweep = move |shared: &Shared| shared.sweep(&project);
            removed.extend(self.blocking("the trash".to_owned(), sweep).await?);
        }
        Ok(removed)
    }
}

impl Shared {
    fn sweep(&self, project: &ProjectName) -> io::Result<Vec<FileName>> {
        let lock = self.disk.lock()?;
        // A first upload that crashed left files without a record.
        let mut record = self.disk.read(project)?.unwrap_or_default();
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
        for lying in self.disk.lying(project)? {
            if record
                .file(&lying)
                .is_none_or(|file| file.state == State::Removed)
            {
                self.disk.remove(project, &lying)?;
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
