//! The name of a project in PEP 503 normal form.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name that is accepted, in bytes: far above any real one, far below any path limit.
const MAX_LEN: usize = 128;

/// A project's name in its normal form: lower-case ASCII letters, digits and single `-`.
///
/// Two spellings of one project (`Foo_.Bar`, `foo-bar`) become equal here and stay equal everywhere.
/// Only ASCII is folded: characters that Unicode would lower-case into ASCII are refused, so nobody can
/// smuggle a second spelling past a guard.
///
/// ```
/// use pypicache_core::model::ProjectName;
/// let name = ProjectName::parse("Foo_.Bar")?;
/// assert_eq!(name.as_str(), "foo-bar");
/// assert!(ProjectName::parse("-foo").is_err());
/// # Ok::<(), pypicache_core::model::InvalidProjectName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectName(Arc<str>);

/// The text is no project name (PEP 508: ASCII letters, digits, `-`, `_`, `.`, alphanumeric at both ends).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a project name: ASCII letters, digits, '-', '_' and '.' only, a letter or digit at both ends"
)]
pub struct InvalidProjectName(String);

impl ProjectName {
    /// Checks `name` as PEP 508 defines it and brings it into PEP 503 normal form.
    pub fn parse(name: &str) -> Result<Self, InvalidProjectName> {
        let bytes = name.as_bytes();
        let ends_well = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let valid = bytes.len() <= MAX_LEN
            && ends_well(bytes.first())
            && ends_well(bytes.last())
            && bytes.iter().all(allowed);
        if !valid {
            return Err(InvalidProjectName(name.chars().take(MAX_LEN).collect()));
        }
        let mut normal = String::with_capacity(name.len());
        for c in name.chars() {
            match c {
                '-' | '_' | '.' if normal.ends_with('-') => {}
                '-' | '_' | '.' => normal.push('-'),
                c => normal.push(c.to_ascii_lowercase()),
            }
        }
        Ok(Self(normal.into()))
    }

    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl std::str::FromStr for ProjectName {
    type Err = InvalidProjectName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::parse(name)
    }
}

impl TryFrom<String> for ProjectName {
    type Error = InvalidProjectName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::parse(&name)
    }
}

impl From<ProjectName> for String {
    fn from(name: ProjectName) -> Self {
        name.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_project_are_equal() {
        for spelling in ["foo-bar", "Foo_.Bar", "FOO---BAR", "foo.bar", "foo_bar"] {
            assert_eq!(ProjectName::parse(spelling).unwrap().as_str(), "foo-bar");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(129);
        for text in [
            "",
            ".",
            "..",
            "-foo",
            "foo-",
            "fo o",
            "fo\n",
            "fo\0o",
            "f/oo",
            "\u{212a}elvin",
            "d\u{0130}m",
            &long,
        ] {
            assert!(ProjectName::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn normal_form_is_idempotent(name in "[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?") {
            let once = ProjectName::parse(&name).unwrap();
            prop_assert_eq!(&ProjectName::parse(once.as_str()).unwrap(), &once);
            prop_assert!(!once.as_str().contains("--"));
        }

        #[test]
        fn never_panics(text in ".*") {
            let _ = ProjectName::parse(&text);
        }
    }
}
