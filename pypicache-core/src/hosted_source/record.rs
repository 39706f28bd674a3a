//! What is written to disk of a project.

use serde::{Deserialize, Serialize};

use crate::model::{FileName, ProjectStatus, Sha256, Yanked};

/// All that there is of a hosted project. The document on disk, and the one that administrators are shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProjectRecord {
    /// PEP 792.
    #[serde(default)]
    pub status: ProjectStatus,
    /// In the order of their uploads; no name twice, since a name is never used again.
    pub files: Vec<HostedFile>,
}

/// One file that was uploaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostedFile {
    /// As it was uploaded.
    pub filename: FileName,
    /// As its METADATA spells it.
    pub version: String,
    /// Digest of the file.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size: u64,
    /// When it was uploaded (RFC 3339, UTC).
    pub upload_time: String,
    /// By whom, where that is known: the name of a token or user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploader: Option<String>,
    /// As its METADATA spells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_python: Option<String>,
    /// Digest of the METADATA that lies beside a wheel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Sha256>,
    /// Whether attestations lie beside it (PEP 740).
    #[serde(default)]
    pub has_provenance: bool,
    /// PEP 592.
    #[serde(default)]
    pub yanked: Yanked,
    /// Whether it is there.
    #[serde(default)]
    pub state: State,
}

/// Whether a file is there. Its name stays taken in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// On its project's page.
    #[default]
    Offered,
    /// Not offered any more, and to be restored for a while.
    Deleted {
        /// When (RFC 3339, UTC).
        at: String,
        /// By whom.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// Its bytes are gone.
    Removed,
}

impl ProjectRecord {
    /// The file of this name, there or not.
    #[must_use]
    pub fn file(&self, name: &FileName) -> Option<&HostedFile> {
        self.files.iter().find(|file| file.filename == *name)
    }

    /// PEP 792: "no files are offered".
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.status.marker == "quarantined"
    }

    /// PEP 792: a project that is archived or quarantined takes no uploads.
    #[must_use]
    pub fn takes_uploads(&self) -> bool {
        !matches!(self.status.marker.as_str(), "archived" | "quarantined")
    }
}
