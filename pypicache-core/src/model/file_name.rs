//! The name of a distribution file, and what can be read from it (PEP 427 wheels, PEP 625 sdists, and the
//! older forms that old releases still carry).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use pep440_rs::Version;
use serde::{Deserialize, Serialize};

use super::ProjectName;

/// The longest file name that is accepted, in bytes: what common file systems hold.
const MAX_LEN: usize = 255;

/// How many fronts of a name are tried as a project's.
const MAX_OTHERS: usize = 5;

/// The endings of source archives, present and past.
const SDIST_ENDINGS: [&str; 7] = [".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar.Z", ".tar"];

/// The endings of built files that installers no longer take but old pages still list.
const LEGACY_ENDINGS: [&str; 6] = [".egg", ".exe", ".msi", ".rpm", ".deb", ".dmg"];

/// The name of one distribution file: a single path segment without separators or control characters.
///
/// It is kept as the origin spells it; nothing is normalised, because links and digests belong to this spelling.
///
/// ```
/// use pypicache_core::model::FileName;
/// let file = FileName::parse("Flask_Login-0.6.3-py3-none-any.whl")?;
/// let owners = file.owners();
/// assert_eq!(owners[0].0.as_str(), "flask-login");
/// assert_eq!(owners[0].1.to_string(), "0.6.3");
/// # Ok::<(), pypicache_core::model::InvalidFileName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(Arc<str>);

/// What sort of distribution a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A wheel: carries its METADATA, which can be offered as a sibling.
    Wheel,
    /// A source archive.
    Sdist,
    /// Eggs, installers and other files that only old releases have.
    Legacy,
}

/// The text cannot be the name of a distribution file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a distribution's file name: {reason}")]
pub struct InvalidFileName {
    name: String,
    reason: &'static str,
}

impl FileName {
    /// Checks that `name` is one harmless path segment with an ending that distributions have.
    pub fn parse(name: &str) -> Result<Self, InvalidFileName> {
        let reason = if name.is_empty() || name.len() > MAX_LEN {
            "it has to have 1 to 255 bytes"
        } else if name.starts_with('.') || name.starts_with('-') {
            "it must not start with '.' or '-'"
        } else if name
            .chars()
            .any(|c| c.is_control() || matches!(c, '/' | '\\' | ':'))
        {
            "it must not hold separators or control characters"
        } else if kind_of(name).is_none() {
            "it has none of the endings of wheels, source archives or older distributions"
        } else {
            return Ok(Self(name.into()));
        };
        Err(InvalidFileName {
            name: name.chars().take(MAX_LEN).collect(),
            reason,
        })
    }

    /// A name that [`FileName::parse`] has accepted once.
    pub(super) fn parsed_before(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as the origin spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Wheel, sdist or older, by the ending.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        kind_of(&self.0).unwrap_or(FileKind::Legacy)
    }

    /// The projects and versions that the name may belong to, likeliest first.
    ///
    /// A wheel has exactly one reading. A source archive can have several (`a-b-1.tar.gz` is `a-b` 1), of
    /// which only those with a valid version (PEP 440) count. Empty where nothing can be read.
    #[must_use]
    pub fn owners(&self) -> Vec<(ProjectName, Version)> {
        match self.kind() {
            FileKind::Wheel => wheel_owner(&self.0).into_iter().collect(),
            FileKind::Sdist => stem(&self.0, &SDIST_ENDINGS)
                .map(sdist_owners)
                .unwrap_or_default(),
            FileKind::Legacy => stem(&self.0, &LEGACY_ENDINGS)
                .map(legacy_owners)
                .unwrap_or_default(),
        }
    }

    /// Further projects on whose page the file may stand although its name reads otherwise: every front of the name that
    /// ends at a separator, the longest first, five at the most. For names without a readable version
    /// (`x-SNAPSHOT.tar.gz` of `x`), and for files of another name than their project (`foo_extras-1.0.tar.gz` of `foo`).
    #[must_use]
    pub fn other_owners(&self) -> Vec<ProjectName> {
        let known: Vec<_> = self.owners().into_iter().map(|(project, _)| project).collect();
        let mut others: Vec<ProjectName> = Vec::new();
        for (at, _) in self.0.rmatch_indices(['-', '_', '.']) {
            let Ok(project) = ProjectName::parse(&self.0[..at]) else {
                continue;
            };
            if !known.contains(&project) && !others.contains(&project) {
                others.push(project);
            }
        }
        // The shortest fronts are the likeliest, and the longest ones have endings and tags in them.
        let surplus = others.len().saturating_sub(MAX_OTHERS);
        others.drain(..surplus);
        others
    }

    /// Whether the file is one of `project`'s, as [`FileName::version_for`] says.
    #[must_use]
    pub fn is_of(&self, project: &ProjectName) -> bool {
        self.is_plainly_of(project) || self.version_for(project).is_some()
    }

    /// The common case, without making sense of the version: the project's name and a version of numbers.
    fn is_plainly_of(&self, project: &ProjectName) -> bool {
        let (name, project) = (self.0.as_bytes(), project.as_str().as_bytes());
        let Some((front, rest)) = name.split_at_checked(project.len()) else {
            return false;
        };
        let is_same =
            |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b) || (*b == b'-' && matches!(a, b'_' | b'.'));
        let version = match self.kind() {
            // In a wheel's name, the first hyphen ends the project's.
            FileKind::Wheel if front.contains(&b'-') => None,
            FileKind::Wheel => rest.split(|b| *b == b'-').nth(1),
            FileKind::Sdist => rest
                .strip_suffix(b".tar.gz")
                .and_then(|rest| rest.strip_prefix(b"-")),
            FileKind::Legacy => None,
        };
        let is_number = |part: &[u8]| matches!(part.len(), 1..=18) && part.iter().all(u8::is_ascii_digit);
        rest.starts_with(b"-")
            && front.iter().zip(project).all(is_same)
            && version.is_some_and(|version| version.split(|b| *b == b'.').all(is_number))
    }

    /// The version, if the file is one of `project`'s.
    #[must_use]
    pub fn version_for(&self, project: &ProjectName) -> Option<Version> {
        self.owners()
            .into_iter()
            .find(|(name, _)| name == project)
            .map(|(_, version)| version)
    }
}

fn kind_of(name: &str) -> Option<FileKind> {
    if stem(name, &[".whl"]).is_some() {
        Some(FileKind::Wheel)
    } else if stem(name, &SDIST_ENDINGS).is_some() {
        Some(FileKind::Sdist)
    } else if stem(name, &LEGACY_ENDINGS).is_some() {
        Some(FileKind::Legacy)
    } else {
        None
    }
}

/// The name without its ending, whatever the case of the ending.
fn stem<'a>(name: &'a str, endings: &[&str]) -> Option<&'a str> {
    endings.iter().find_map(|ending| {
        let at = name.len().checked_sub(ending.len())?;
        let tail = name.get(at..)?;
        tail.eq_ignore_ascii_case(ending).then(|| &name[..at])
    })
}

fn wheel_owner(name: &str) -> Option<(ProjectName, Version)> {
    let mut parts = name.split('-');
    let project = ProjectName::parse(parts.next()?).ok()?;
    let version = Version::from_str(parts.next()?).ok()?;
    Some((project, version))
}

/// Every split at a `-` whose right side is a version, the longest name first.
fn sdist_owners(stem: &str) -> Vec<(ProjectName, Version)> {
    let mut owners: Vec<_> = stem
        .rmatch_indices('-')
        .filter_map(|(at, _)| {
            Some((
                ProjectName::parse(&stem[..at]).ok()?,
                Version::from_str(&stem[at + 1..]).ok()?,
            ))
        })
        .collect();
    owners.dedup_by(|a, b| a.0 == b.0);
    owners
}

/// Eggs and installers: `name-version-py2.7…`, `name-version.win32-py2.7`; the version is a prefix.
fn legacy_owners(stem: &str) -> Vec<(ProjectName, Version)> {
    let mut parts = stem.split('-');
    let (Some(name), Some(rest)) = (parts.next(), parts.next()) else {
        return Vec::new();
    };
    let version = rest
        .match_indices('.')
        .map(|(at, _)| &rest[..at])
        .chain([rest])
        .rev()
        .find_map(|prefix| Version::from_str(prefix).ok());
    match (ProjectName::parse(name), version) {
        (Ok(project), Some(version)) => vec![(project, version)],
        _ => Vec::new(),
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl TryFrom<String> for FileName {
    type Error = InvalidFileName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::parse(&name)
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> Self {
        name.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owners(name: &str) -> Vec<String> {
        let file = FileName::parse(name).unwrap();
        file.owners()
            .into_iter()
            .map(|(project, version)| format!("{project} {version}"))
            .collect()
    }

    #[test]
    fn owners_of_real_names() {
        assert_eq!(owners("six-1.17.0-py2.py3-none-any.whl"), ["six 1.17.0"]);
        assert_eq!(
            owners("Foo.Bar-1!2.0+local.1-3-cp311-cp311-manylinux_2_17_x86_64.whl"),
            ["foo-bar 1!2.0+local.1"]
        );
        assert_eq!(
            owners("torch-2.1.0+cu118-cp311-cp311-linux_x86_64.whl"),
            ["torch 2.1.0+cu118"]
        );
        assert_eq!(owners("Foo.Bar-1.0.tar.gz"), ["foo-bar 1.0"]);
        assert_eq!(
            owners("zope.interface-5.0.0-py2.7-win32.egg"),
            ["zope-interface 5.0.0"]
        );
        assert_eq!(owners("pip-0.2.win32-py2.7.exe"), ["pip 0.2"]);
        assert_eq!(owners("python-dateutil-2.8.2.tar.gz"), ["python-dateutil 2.8.2"]);
        assert_eq!(owners("a-b-1-1.tar.gz"), ["a-b-1 1", "a-b 1.post1"]);
        assert!(owners("nothing.zip").is_empty());
    }

    #[test]
    fn other_owners_are_fronts_of_the_name() {
        let others = |name: &str| -> Vec<String> {
            let file = FileName::parse(name).unwrap();
            file.other_owners().iter().map(ToString::to_string).collect()
        };
        assert_eq!(others("x-SNAPSHOT.tar.gz"), ["x-snapshot-tar", "x-snapshot", "x"]);
        assert!(others("foo_extras-1.0.tar.gz").contains(&"foo".to_owned()));
        assert!(
            others("password_strength-0.0.1_1-py2-none-any.whl").contains(&"password-strength".to_owned())
        );
        assert_eq!(others(&format!("{}x.zip", "a-".repeat(100))).len(), MAX_OTHERS);
    }

    #[test]
    fn dangerous_names_are_refused() {
        for name in [
            "",
            "..",
            "../six-1.0.tar.gz",
            "a\\b-1.0.tar.gz",
            "six-1.0\0.tar.gz",
            ".six-1.0.whl",
            "index.html",
            "C:six-1.0.zip",
        ] {
            assert!(FileName::parse(name).is_err(), "{name:?}");
        }
        assert!(FileName::parse(&format!("{}.whl", "a".repeat(252))).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(name in ".{0,40}(\\.whl|\\.tar\\.gz|\\.egg|\\.EXE)?") {
            if let Ok(file) = FileName::parse(&name) {
                let _ = file.owners();
            }
        }

        #[test]
        fn sdists_belong_to_the_name_they_were_made_of(name in "[a-z][a-z0-9]{0,8}(-[a-z]{1,5}){0,2}", version in "[1-9][0-9]?(\\.[0-9]{1,2}){0,3}") {
            let file = FileName::parse(&format!("{name}-{version}.tar.gz")).unwrap();
            let project = ProjectName::parse(&name).unwrap();
            prop_assert_eq!(file.version_for(&project).unwrap(), Version::from_str(&version).unwrap());
        }

        #[test]
        fn the_short_way_says_what_the_long_one_says(
            name in "[aA][-_.]?[b-]{0,2}", rest in "-[0-9.]{1,20}(-py3-none-any|-[0-9.]{1,3}|a1)?", ending in "(\\.whl|\\.tar\\.gz|\\.zip)",
            project in "a(-?b)?",
        ) {
            let file = FileName::parse(&format!("{name}{rest}{ending}")).unwrap();
            let project = ProjectName::parse(&project).unwrap();
            prop_assert_eq!(file.is_of(&project), file.version_for(&project).is_some());
        }
    }
}
