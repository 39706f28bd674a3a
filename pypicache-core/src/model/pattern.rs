//! Patterns of project names, by which a source claims what is its own.

use std::fmt;

use super::{InvalidProjectName, ProjectName};

/// A project's name, or the front of many: `acme`, `acme-*`.
///
/// ```
/// use pypicache_core::model::{NamePattern, ProjectName};
/// let pattern = NamePattern::parse("Acme_*")?;
/// assert!(pattern.matches(&ProjectName::parse("acme-billing")?));
/// assert!(!pattern.matches(&ProjectName::parse("acmeism")?));
/// # Ok::<(), pypicache_core::model::InvalidProjectName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    front: String,
    is_open: bool,
}

impl NamePattern {
    /// Reads a name, or the front of one with `*` behind it; spelled in any way that means the same.
    pub fn parse(text: &str) -> Result<Self, InvalidProjectName> {
        let Some(front) = text.strip_suffix('*') else {
            let front = ProjectName::parse(text)?.as_str().to_owned();
            return Ok(Self {
                front,
                is_open: false,
            });
        };
        // A front may end in a separator, which a name may not.
        let name = front.trim_end_matches(['-', '_', '.']);
        let separator = if name.len() < front.len() { "-" } else { "" };
        Ok(Self {
            front: format!("{}{separator}", ProjectName::parse(name)?),
            is_open: true,
        })
    }

    /// Whether the name is meant.
    #[must_use]
    pub fn matches(&self, name: &ProjectName) -> bool {
        match self.is_open {
            true => name.as_str().starts_with(&self.front),
            false => name.as_str() == self.front,
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.front, if self.is_open { "*" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fronts_and_names() {
        let matches = |pattern: &str, name: &str| {
            NamePattern::parse(pattern)
                .unwrap()
                .matches(&ProjectName::parse(name).unwrap())
        };
        assert!(matches("acme", "ACME") && !matches("acme", "acme-x"));
        assert!(matches("acme*", "acmeism") && matches("acme*", "acme"));
        assert!(matches("acme.*", "acme_x") && !matches("acme.*", "acme"));
        for bad in ["", "*", "-*", "a c*", "ac*me", "é*"] {
            assert!(NamePattern::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(NamePattern::parse("Acme_*").unwrap().to_string(), "acme-*");
    }
}
