//! Changing what is offered: yank, delete, restore, close. Atomic for all files of one call.

use std::io;
use std::str::FromStr as _;

use pep440_rs::Version;
use serde::{Deserialize, Serialize};

use super::record::{HostedFile, ProjectRecord, State};
use super::{HostedSource, Shared};
use crate::model::{FileName, ProjectName, ProjectStatus, Yanked};

/// What is to happen to files, or to a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum ManageAction {
    /// To be ignored unless pinned (PEP 592).
    Yank {
        /// Why.
        #[serde(default)]
        reason: Option<String>,
    },
    /// The reverse.
    Unyank,
    /// Off the page; the bytes stay for a while.
    Delete,
    /// The reverse, as long as the bytes are there.
    Restore,
    /// The project's status (PEP 792). Concerns no single file.
    Status {
        /// `active`, `archived`, `quarantined` or `deprecated`.
        status: String,
        /// Why.
        #[serde(default)]
        reason: Option<String>,
    },
}

/// Which files of a project: all, those of a release, or one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSelector {
    /// Only this release.
    #[serde(default)]
    pub version: Option<String>,
    /// Only this file.
    #[serde(default)]
    pub filename: Option<String>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManageError {
    /// There is no such project, release or file.
    #[error("there is no {0} here")]
    Unknown(String),
    /// The change makes no sense.
    #[error("{0}")]
    Refused(String),
    /// Somebody else has been changing records for too long: to be tried again later.
    #[error("the change cannot be made now")]
    Busy(#[source] io::Error),
    /// This machine's disk failed.
    #[error("the change cannot be written down")]
    Storage(#[source] io::Error),
}

impl From<io::Error> for ManageError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ResourceBusy => Self::Busy(error),
            _ => Self::Storage(error),
        }
    }
}

impl HostedSource {
    /// Does it, and gives the names of the files that are not what they were before. `by` is who does it.
    pub async fn change(
        &self,
        project: &ProjectName,
        selection: FileSelector,
        change: ManageAction,
        by: Option<String>,
    ) -> Result<Vec<FileName>, ManageError> {
        let _turn = self.shared.turn().await?;
        let (shared, project) = (self.shared.clone(), project.clone());
        let work = move || shared.change(&project, &selection, &change, by);
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(ManageError::Storage(io::Error::other(error))))
    }
}

impl Shared {
    fn change(
        &self,
        project: &ProjectName,
        selection: &FileSelector,
        change: &ManageAction,
        by: Option<String>,
    ) -> Result<Vec<FileName>, ManageError> {
        let lock = self.disk.lock()?;
        let mut record = self
            .disk
            .read(project)?
            .ok_or_else(|| ManageError::Unknown(format!("project {project}")))?;
        let before = record.clone();
        if let ManageAction::Status { status, reason } = change {
            record.status = checked_status(status, reason.as_deref())?;
        } else {
            self.change_files(project, &mut record, selection, change, by)?;
        }
        if record != before {
            self.disk.write(project, &record, &lock)?;
            self.pages.forget(project);
        }
        let pairs = before.files.into_iter().zip(record.files);
        Ok(pairs
            .filter(|(old, new)| old != new)
            .map(|(old, _)| old.filename)
            .collect())
    }

    fn change_files(
        &self,
        project: &ProjectName,
        record: &mut ProjectRecord,
        selection: &FileSelector,
        change: &ManageAction,
        by: Option<String>,
    ) -> Result<(), ManageError> {
        let unknown = || ManageError::Unknown(format!("{}{project}", selection.text()));
        let chosen = selection.chosen(record)?;
        if chosen.is_empty() {
            return Err(unknown());
        }
        let now = self.now();
        let mut fits = false;
        for file in chosen {
            match (change, &file.state) {
                (ManageAction::Yank { reason }, State::Offered) => file.yanked = yanked(reason.as_deref())?,
                (ManageAction::Unyank, State::Offered) => file.yanked = Yanked::No,
                (ManageAction::Delete, State::Offered) => {
                    file.state = State::Deleted {
                        at: now.clone(),
                        by: by.clone(),
                    };
                }
                (ManageAction::Restore, State::Deleted { .. }) => file.state = State::Offered,
                (ManageAction::Restore, State::Offered) => {}
                _ => continue,
            }
            fits = true;
        }
        // Files that are there cannot be restored, and deleted ones cannot be yanked: that is as if there were none.
        if fits { Ok(()) } else { Err(unknown()) }
    }
}

impl FileSelector {
    /// The files that are meant.
    fn chosen<'a>(&self, record: &'a mut ProjectRecord) -> Result<Vec<&'a mut HostedFile>, ManageError> {
        let version = self.version.as_deref().map(|text| {
            Version::from_str(text)
                .map_err(|_| ManageError::Refused(format!("{text:?} is no version (PEP 440)")))
        });
        let version = version.transpose()?;
        let is_meant = |file: &&mut HostedFile| {
            let of_version = version
                .as_ref()
                .is_none_or(|wanted| Version::from_str(&file.version).is_ok_and(|own| own == *wanted));
            of_version
                && self
                    .filename
                    .as_deref()
                    .is_none_or(|wanted| file.filename.as_str() == wanted)
        };
        Ok(record.files.iter_mut().filter(is_meant).collect())
    }

    fn text(&self) -> String {
        match (&self.filename, &self.version) {
            (Some(name), _) => format!("file {name:?} in such a state of "),
            (None, Some(version)) => format!("release {version:?} in such a state of "),
            (None, None) => "file in such a state of ".to_owned(),
        }
    }
}

/// Reasons stand on pages: bounded, and one line.
fn checked_reason(reason: Option<&str>) -> Result<Option<String>, ManageError> {
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    match reason {
        Some(text) if text.len() > 1000 || text.chars().any(char::is_control) => Err(ManageError::Refused(
            "a reason is one line of at most 1,000 bytes".to_owned(),
        )),
        reason => Ok(reason.map(str::to_owned)),
    }
}

fn yanked(reason: Option<&str>) -> Result<Yanked, ManageError> {
    Ok(checked_reason(reason)?.map_or(Yanked::Yes, Yanked::Because))
}

fn checked_status(marker: &str, reason: Option<&str>) -> Result<ProjectStatus, ManageError> {
    match marker {
        "active" | "archived" | "quarantined" | "deprecated" => Ok(ProjectStatus {
            marker: marker.to_owned(),
            reason: checked_reason(reason)?,
        }),
        other => Err(ManageError::Refused(format!(
            "{other:?} is no status: active, archived, quarantined or deprecated (PEP 792)"
        ))),
    }
}
