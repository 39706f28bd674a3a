//! What may be seen: rules in order, then bounds of age and size.

use std::collections::HashSet;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pep440_rs::{Operator, Version, VersionSpecifiers};

use crate::model::{FileKind, InvalidProjectName, NamePattern, ProjectName};

/// What may be seen of whatever is behind. Checked in this order: the first [`Rule`] that a file fits decides (one that
/// allows it ends all checks); then yanked files, size and age.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// In order.
    pub rules: Vec<Rule>,
    /// What becomes of yanked files.
    pub yanked: YankedFiles,
    /// The largest file, in bytes. Files of unknown size pass.
    pub max_size: Option<u64>,
    /// How old files have to be.
    pub cool_down: Option<CoolDown>,
    /// Sources (by the first segment of their files' paths) whose files are not asked for size and age: our own.
    pub own_sources: HashSet<String>,
    /// Nothing is kept out; what would be is told all the same.
    pub dry_run: bool,
}

/// One rule. A file fits it where it fits every condition that is set.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What it is called where it decides.
    pub name: Arc<str>,
    /// What it decides.
    pub verdict: Verdict,
    /// Any of these projects and versions; empty: all.
    pub targets: Vec<Target>,
    /// Any of these kinds; empty: all.
    pub kinds: Vec<FileKind>,
    /// Wheels with a tag (`cp311-cp311-win_amd64`) that any of these fits, in which `*` stands for anything; empty: all files.
    pub tags: Vec<String>,
    /// Why; told to whoever asks for what it keeps out.
    pub reason: Option<String>,
}

/// What a rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// In, whatever else is said behind.
    Allow,
    /// Out.
    Deny,
}

/// Projects and versions: `flask`, `acme-*`, `*`, `requests<2.31`, `urllib3==2.0.*`.
#[derive(Debug, Clone)]
pub struct Target {
    /// `None`: every project.
    pattern: Option<NamePattern>,
    versions: Option<VersionSpecifiers>,
    /// The one version that is meant, where the specifier says just that: most rules do, and it is quickly compared. (PEP 440:
    /// local versions fit as well, which is for the specifier to say.)
    exact: Option<Version>,
}

/// How old files have to be before they are seen: attacks are mostly found within days.
#[derive(Debug, Clone)]
pub struct CoolDown {
    /// Counted from the upload time that the page tells.
    pub period: Duration,
    /// Not for these.
    pub exempt: Vec<Target>,
    /// What becomes of files whose page tells no upload time.
    pub undated: Undated,
}

/// What becomes of files without an upload time under a [`CoolDown`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Undated {
    /// Nobody knows how old they are: kept out.
    #[default]
    Deny,
    /// Let in.
    Allow,
}

/// What becomes of yanked files (PEP 592).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum YankedFiles {
    /// Listed with their mark: installers take them only where they are pinned.
    #[default]
    Listed,
    /// Not listed; links that a lock file holds work.
    Locked,
    /// Not to be had.
    Never,
}

/// Why something is not to be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The name of the rule.
    pub rule: Arc<str>,
    /// In words.
    pub reason: String,
    /// From when on it is, if that is certain.
    pub until: Option<SystemTime>,
    /// Only the page does not show it: whoever has the link gets it.
    pub only_listed: bool,
}

/// A target that cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTarget {
    /// In front, there is neither a name nor a pattern.
    #[error(transparent)]
    Name(#[from] InvalidProjectName),
    /// Behind, there is no version specifier (PEP 440).
    #[error("{0:?} is no version specifier (PEP 440)")]
    Versions(String),
}

impl Target {
    /// Reads a name, the front of one with `*` behind it, or `*`, each with a version specifier behind it or none.
    pub fn parse(text: &str) -> Result<Self, InvalidTarget> {
        let text = text.trim();
        let (name, versions) = text.split_at(text.find(['<', '>', '=', '!', '~']).unwrap_or(text.len()));
        let versions = match versions.is_empty() {
            true => None,
            false => Some(
                VersionSpecifiers::from_str(versions)
                    .map_err(|_| InvalidTarget::Versions(versions.to_owned()))?,
            ),
        };
        let pattern = match name.trim() {
            "*" => None,
            name => Some(NamePattern::parse(name)?),
        };
        let exact = versions.as_ref().and_then(exact);
        Ok(Self {
            pattern,
            versions,
            exact,
        })
    }

    pub(super) fn is_about(&self, project: &ProjectName) -> bool {
        self.pattern
            .as_ref()
            .is_none_or(|pattern| pattern.matches(project))
    }

    /// Whether a version is meant; `unknown` where it cannot be read.
    pub(super) fn covers(&self, version: Option<&Version>, unknown: bool) -> bool {
        if let (Some(exact), Some(version)) = (&self.exact, version)
            && !version.is_local()
        {
            return exact == version;
        }
        match (&self.versions, version) {
            (None, _) => true,
            (Some(specifiers), Some(version)) => specifiers.contains(version),
            (Some(_), None) => unknown,
        }
    }
}

/// The version of `==1.0`. A local version has to be spelled out to be compared, so that is left to the specifier.
fn exact(specifiers: &VersionSpecifiers) -> Option<Version> {
    let [only] = &specifiers[..] else { return None };
    (*only.operator() == Operator::Equal && !only.version().is_local()).then(|| only.version().clone())
}
