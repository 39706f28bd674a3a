//! The file as written: values with their places, not yet looked at.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use pypicache_core::cached_source::{Files, Retention, Unreachable};
use pypicache_core::http_source::{Empty, Forbidden};
use pypicache_core::model::FileKind;
use pypicache_core::policy_source::{Undated, YankedFiles};
use secrecy::SecretString;
use serde::Deserialize;
use toml::Spanned;

use super::ConfigError;
use crate::access::Role;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawConfiguration {
    pub(super) listen: Option<Spanned<String>>,
    pub(super) external_url: Option<Spanned<String>>,
    pub(super) path_prefix: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) trusted_proxies: Vec<Spanned<String>>,
    pub(super) offline: Option<bool>,
    pub(super) prefetch: Option<bool>,
    #[serde(default)]
    pub(super) cache: RawCache,
    #[serde(default)]
    pub(super) data: RawData,
    #[serde(default)]
    pub(super) access: RawAccess,
    #[serde(default)]
    pub(super) tls: RawTls,
    pub(super) policy: Option<RawPolicy>,
    #[serde(default)]
    pub(super) source: Vec<Spanned<RawSource>>,
    #[serde(default)]
    pub(super) index: Vec<Spanned<RawIndex>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawCache {
    pub(super) dir: Option<Spanned<String>>,
    pub(super) max_size: Option<Spanned<RawSize>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawData {
    pub(super) dir: Option<PathBuf>,
    pub(super) retention: Option<Spanned<RawDuration>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawAccess {
    pub(super) anonymous_read: Option<bool>,
    pub(super) htpasswd: Option<PathBuf>,
    pub(super) htpasswd_role: Option<RawRole>,
    #[serde(default)]
    pub(super) publisher: Vec<Spanned<RawPublisher>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPublisher {
    pub(super) issuer: Spanned<String>,
    #[serde(default)]
    pub(super) claims: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) projects: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) sources: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPolicy {
    pub(super) cool_down: Option<Spanned<RawDuration>>,
    #[serde(default)]
    pub(super) cool_down_exempt: Vec<Spanned<String>>,
    pub(super) undated: Option<RawUndated>,
    pub(super) max_file_size: Option<Spanned<RawSize>>,
    pub(super) yanked: Option<RawYanked>,
    #[serde(default)]
    pub(super) dry_run: bool,
    #[serde(default)]
    pub(super) rule: Vec<Spanned<RawRule>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawRule {
    pub(super) name: Option<String>,
    pub(super) allow: Option<Vec<Spanned<String>>>,
    pub(super) deny: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) files: Vec<RawKind>,
    #[serde(default)]
    pub(super) tags: Vec<String>,
    pub(super) reason: Option<String>,
}

/// Kinds of files, in pip's words.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawKind {
    Wheel,
    Sdist,
    Other,
}

impl RawKind {
    pub(super) fn kinds(self) -> &'static [FileKind] {
        match self {
            Self::Wheel => &[FileKind::Wheel],
            Self::Sdist => &[FileKind::Sdist],
            Self::Other => &[FileKind::Legacy],
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawTls {
    pub(super) ca_file: Option<PathBuf>,
    pub(super) cert: Option<Spanned<PathBuf>>,
    pub(super) key: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSource {
    pub(super) name: Spanned<String>,
    pub(super) hosted: Option<bool>,
    pub(super) dir: Option<PathBuf>,
    pub(super) upstream: Option<Spanned<OneOrMany>>,
    pub(super) username: Option<String>,
    pub(super) password: Option<SecretString>,
    pub(super) password_file: Option<Spanned<PathBuf>>,
    pub(super) timeout: Option<Spanned<RawDuration>>,
    pub(super) connections_per_file: Option<Spanned<u32>>,
    pub(super) connect_timeout: Option<Spanned<RawDuration>>,
    pub(super) hedge: Option<Spanned<RawDuration>>,
    pub(super) max_lifetime: Option<Spanned<RawDuration>>,
    pub(super) negative_lifetime: Option<Spanned<RawDuration>>,
    pub(super) max_stale: Option<Spanned<RawDuration>>,
    pub(super) file_hosts: Option<Vec<String>>,
    pub(super) forbidden: Option<RawForbidden>,
    pub(super) empty: Option<RawEmpty>,
    pub(super) root_list: Option<bool>,
    pub(super) vanished: Option<RawVanished>,
    pub(super) unreachable: Option<RawUnreachable>,
    pub(super) files: Option<RawFiles>,
    pub(super) projects: Option<Vec<Spanned<String>>>,
    pub(super) max_upload_size: Option<Spanned<RawSize>>,
    #[serde(default)]
    pub(super) overlay: Vec<Spanned<String>>,
}

/// Seconds, or text with a unit.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum RawDuration {
    Seconds(f64),
    Text(String),
}

/// Makes an enum that reads the words of one of the core's.
macro_rules! words {
    ($name:ident for $of:ty: $($word:ident),+) => {
        #[derive(Debug, Clone, Copy, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub(super) enum $name {
            $($word),+
        }

        impl From<$name> for $of {
            fn from(word: $name) -> Self {
                match word {
                    $($name::$word => Self::$word),+
                }
            }
        }
    };
}

words!(RawForbidden for Forbidden: Refused, Absent);
words!(RawEmpty for Empty: Page, Absent);
words!(RawVanished for Retention: Keep, Mark, Drop);
words!(RawUnreachable for Unreachable: Everything, Held);
words!(RawRole for Role: Installer, Developer, Admin);
words!(RawFiles for Files: Store, Stream);
words!(RawUndated for Undated: Deny, Allow);
words!(RawYanked for YankedFiles: Listed, Locked, Never);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawIndex {
    pub(super) name: Spanned<String>,
    pub(super) sources: Vec<Spanned<String>>,
    pub(super) anonymous_read: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum RawSize {
    Bytes(u64),
    Text(String),
}

impl OneOrMany {
    pub(super) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// A configuration file with its text, so that errors can name lines.
#[derive(Debug)]
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    text: String,
    pub(super) raw: RawConfiguration,
}

impl ConfigFile {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Unreadable {
            path: path.to_owned(),
            cause,
        })?;
        Self::parse(path, text)
    }

    pub(super) fn parse(path: &Path, text: String) -> Result<Self, ConfigError> {
        match toml::from_str(&text) {
            Ok(raw) => Ok(Self {
                path: path.to_owned(),
                text,
                raw,
            }),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                Err(ConfigError::Wrong {
                    path: path.to_owned(),
                    line: line_of(&text, span.start),
                    key: key_at(&text, span.start),
                    problem: error.message().to_owned(),
                })
            }
        }
    }

    /// An error about what stands at `span`.
    pub(super) fn wrong(&self, span: &Range<usize>, key: &str, problem: impl Into<String>) -> ConfigError {
        let line = line_of(&self.text, span.start);
        ConfigError::Wrong {
            path: self.path.clone(),
            line,
            key: key.to_owned(),
            problem: problem.into(),
        }
    }

    /// Relative paths are relative to the file.
    pub(super) fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new(".")).join(path)
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(offset)
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

/// The key on the line at `offset`, for errors that only know a place.
fn key_at(text: &str, offset: usize) -> String {
    let start = text
        .get(..offset)
        .and_then(|front| front.rfind('\n'))
        .map_or(0, |at| at + 1);
    let line = text
        .get(start..)
        .and_then(|rest| rest.lines().next())
        .unwrap_or_default();
    line.split('=')
        .next()
        .unwrap_or_default()
        .trim()
        .chars()
        .take(60)
        .collect()
}
