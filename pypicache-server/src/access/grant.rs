//! What a token allows.

use std::fmt;

use pypicache_core::model::{NamePattern, ProjectName};
use serde::{Deserialize, Serialize};

use super::Refusal;

/// One thing that a token may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Pages and files of indexes that are not open to everybody.
    Read,
    /// New files.
    Upload,
    /// Yanking, deleting, restoring, closing; and looking at all that is recorded.
    Manage,
}

/// The sets of scopes that people have names for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads.
    Installer,
    /// Reads and uploads.
    Developer,
    /// Everything.
    Admin,
}

impl Role {
    /// What the role may do.
    #[must_use]
    pub fn scopes(self) -> Vec<Scope> {
        match self {
            Self::Installer => vec![Scope::Read],
            Self::Developer => vec![Scope::Read, Scope::Upload],
            Self::Admin => vec![Scope::Read, Scope::Upload, Scope::Manage],
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Upload => "upload",
            Self::Manage => "manage",
        })
    }
}

/// What somebody may do, and under which name they are written to disk.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The token's or user's name.
    pub name: String,
    /// What they may do at all.
    pub scopes: Vec<Scope>,
    /// With which projects; empty: with all.
    pub projects: Vec<NamePattern>,
    /// With files of which sources; empty: of all.
    pub sources: Vec<String>,
}

impl Grant {
    /// Whether it is for some projects or sources only.
    pub(crate) fn is_limited(&self) -> bool {
        !self.projects.is_empty() || !self.sources.is_empty()
    }

    /// Whether it is for this project.
    pub(crate) fn covers_project(&self, project: &ProjectName) -> Result<(), Refusal> {
        match self.projects.is_empty() || self.projects.iter().any(|pattern| pattern.matches(project)) {
            true => Ok(()),
            false => Err(Refusal::NotAllowed(format!(
                "The token {:?} is not for the project {project}.",
                self.name
            ))),
        }
    }

    /// Whether it is for files of this source.
    pub(crate) fn covers_source(&self, source: &str) -> Result<(), Refusal> {
        match self.sources.is_empty() || self.sources.iter().any(|own| own == source) {
            true => Ok(()),
            false => Err(Refusal::NotAllowed(format!(
                "The token {:?} is not for the source {source}.",
                self.name
            ))),
        }
    }
}
