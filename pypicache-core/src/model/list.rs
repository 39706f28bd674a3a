//! The list of a source's projects (PEP 691 "project list").

use serde::{Deserialize, Serialize};

use super::ProjectName;

/// One project on the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedProject {
    /// In normal form.
    pub name: ProjectName,
}

/// All projects of a source, sorted by name, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectList {
    projects: Vec<ListedProject>,
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
        self.projects
            .into_iter()
            .chain(other.projects.iter().cloned())
            .map(|project| project.name)
            .collect()
    }
}

impl FromIterator<ProjectName> for ProjectList {
    fn from_iter<I: IntoIterator<Item = ProjectName>>(names: I) -> Self {
        let mut projects: Vec<_> = names.into_iter().map(|name| ListedProject { name }).collect();
        projects.sort_by(|a, b| a.name.cmp(&b.name));
        projects.dedup();
        Self { projects }
    }
}
