//! The list of a source's projects (PEP 691 "project list").

use serde::{Deserialize, Serialize};

use super::ProjectName;

/// One project on the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedProject {
    /// In normal form.
    pub name: ProjectName,
    /// PyPI's serial of its last change, where the origin tells it.
    #[serde(default, rename = "_last-serial", skip_serializing_if = "Option::is_none")]
    pub last_serial: Option<u64>,
}

/// All projects of a source, sorted by name, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectList {
    projects: Vec<ListedProject>,
    /// PyPI's serial of the last change to any project, where the origin tells it.
    #[serde(default)]
    pub last_serial: Option<u64>,
}

impl ProjectList {
    /// The list, sorted.
    #[must_use]
    pub fn projects(&self) -> &[ListedProject] {
        &self.projects
    }

    /// Both lists as one.
    #[must_use]
    pub fn merged(self, other: &Self) -> Self {
        let last_serial = self.last_serial.max(other.last_serial);
        let projects = self.projects.into_iter().chain(other.projects.iter().cloned());
        Self {
            last_serial,
            ..projects.collect()
        }
    }
}

impl FromIterator<ListedProject> for ProjectList {
    fn from_iter<I: IntoIterator<Item = ListedProject>>(projects: I) -> Self {
        let mut projects: Vec<_> = projects.into_iter().collect();
        // Stable: of one name told twice the first counts.
        projects.sort_by(|a, b| a.name.cmp(&b.name));
        projects.dedup_by(|a, b| a.name == b.name);
        Self {
            projects,
            last_serial: None,
        }
    }
}

impl FromIterator<ProjectName> for ProjectList {
    fn from_iter<I: IntoIterator<Item = ProjectName>>(names: I) -> Self {
        let listed = |name| ListedProject {
            name,
            last_serial: None,
        };
        names.into_iter().map(listed).collect()
    }
}
