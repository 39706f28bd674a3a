//! What may be seen: rules in order, then bounds of age and size.

use std::collections::HashSet;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use pep440_rs::{Version, VersionSpecifiers};

use crate::model::{FileEntry, FileKind, InvalidProjectName, NamePattern, ProjectName};

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
        Ok(Self { pattern, versions })
    }

    fn is_about(&self, project: &ProjectName) -> bool {
        self.pattern
            .as_ref()
            .is_none_or(|pattern| pattern.matches(project))
    }

    /// Whether a version is meant; `unknown` where it cannot be read.
    fn covers(&self, version: Option<&Version>, unknown: bool) -> bool {
        match (&self.versions, version) {
            (None, _) => true,
            (Some(specifiers), Some(version)) => specifiers.contains(version),
            (Some(_), None) => unknown,
        }
    }
}

/// The part of [`Rules`] that is about one project: with a thousand rules, a file is held against a few.
pub(super) struct ProjectRules<'a> {
    all: &'a Rules,
    project: &'a ProjectName,
    rules: Vec<(&'a Rule, Vec<&'a Target>)>,
    exempt: Vec<&'a Target>,
}

impl Rules {
    pub(super) fn for_project<'a>(&'a self, project: &'a ProjectName) -> ProjectRules<'a> {
        let about = |targets: &'a [Target]| -> Vec<&'a Target> {
            targets.iter().filter(|target| target.is_about(project)).collect()
        };
        let rules = self.rules.iter().filter_map(|rule| {
            let targets = about(&rule.targets);
            (rule.targets.is_empty() || !targets.is_empty()).then_some((rule, targets))
        });
        ProjectRules {
            all: self,
            project,
            rules: rules.collect(),
            exempt: self
                .cool_down
                .as_ref()
                .map(|cool_down| about(&cool_down.exempt))
                .unwrap_or_default(),
        }
    }
}

impl ProjectRules<'_> {
    /// Whether nothing that is said concerns any file.
    pub(super) fn is_silent(&self) -> bool {
        let bounds = (self.all.max_size.is_some(), self.all.cool_down.is_some());
        self.rules.is_empty() && bounds == (false, false) && self.all.yanked == YankedFiles::Listed
    }

    /// Why the file is not to be seen now; `None` where it is.
    pub(super) fn denial(&self, file: &FileEntry, now: SystemTime) -> Option<Denial> {
        let version = file.filename.version_for(self.project);
        for (rule, targets) in &self.rules {
            // What cannot be read is not let in by a rule, and kept out by one.
            let unknown = rule.verdict == Verdict::Deny;
            let is_meant = targets.is_empty()
                || targets
                    .iter()
                    .any(|target| target.covers(version.as_ref(), unknown));
            if is_meant && rule.fits(file) {
                return match rule.verdict {
                    Verdict::Allow => None,
                    Verdict::Deny => Some(denial(
                        &rule.name,
                        rule.reason
                            .clone()
                            .unwrap_or_else(|| "it is on the list".to_owned()),
                    )),
                };
            }
        }
        self.yanked(file)
            .or_else(|| self.too_large(file))
            .or_else(|| self.too_young(file, version.as_ref(), now))
    }

    fn yanked(&self, file: &FileEntry) -> Option<Denial> {
        let only_listed = match self.all.yanked {
            YankedFiles::Listed => return None,
            YankedFiles::Locked => true,
            YankedFiles::Never => false,
        };
        let why = || "it was yanked".to_owned();
        file.yanked.is_yanked().then(|| Denial {
            only_listed,
            ..denial("yanked", why())
        })
    }

    fn too_large(&self, file: &FileEntry) -> Option<Denial> {
        let (limit, size) = (self.all.max_size?, file.size?);
        let is_denied = size > limit && !self.is_own(file);
        is_denied.then(|| {
            denial(
                "max-file-size",
                format!("it has {size} bytes, {limit} are allowed"),
            )
        })
    }

    fn too_young(&self, file: &FileEntry, version: Option<&Version>, now: SystemTime) -> Option<Denial> {
        let cool_down = self.all.cool_down.as_ref()?;
        if self.is_own(file) || self.exempt.iter().any(|target| target.covers(version, false)) {
            return None;
        }
        let uploaded = file
            .upload_time
            .as_deref()
            .and_then(|time| time.parse::<Timestamp>().ok());
        let Some(uploaded) = uploaded else {
            let why = "nobody tells when it was uploaded".to_owned();
            return (cool_down.undated == Undated::Deny).then(|| denial("cool-down", why));
        };
        let until = SystemTime::from(uploaded).checked_add(cool_down.period)?;
        (now < until).then(|| {
            let shown =
                Timestamp::try_from(until).map_or_else(|_| "later".to_owned(), |until| format!("{until:.0}"));
            Denial {
                until: Some(until),
                ..denial(
                    "cool-down",
                    format!("it was uploaded {uploaded:.0}, and is let in from {shown} on"),
                )
            }
        })
    }

    fn is_own(&self, file: &FileEntry) -> bool {
        self.all.own_sources.contains(file.path.source())
    }
}

fn denial(rule: &str, reason: String) -> Denial {
    Denial {
        rule: rule.into(),
        reason,
        until: None,
        only_listed: false,
    }
}

impl Rule {
    fn fits(&self, file: &FileEntry) -> bool {
        let is_of_kind = self.kinds.is_empty() || self.kinds.contains(&file.filename.kind());
        is_of_kind
            && (self.tags.is_empty() || tags(file.filename.as_str()).iter().any(|tag| self.fits_tag(tag)))
    }

    fn fits_tag(&self, tag: &str) -> bool {
        self.tags
            .iter()
            .any(|pattern| glob(pattern.as_bytes(), tag.as_bytes()))
    }
}

/// The tags of a wheel, compressed sets taken apart (PEP 425); of other files none.
fn tags(name: &str) -> Vec<String> {
    let Some(stem) = name.strip_suffix(".whl") else {
        return Vec::new();
    };
    let mut parts = stem.rsplit('-');
    let (Some(platforms), Some(abis), Some(pythons)) = (parts.next(), parts.next(), parts.next()) else {
        return Vec::new();
    };
    let mut tags = Vec::new();
    for python in pythons.split('.') {
        for abi in abis.split('.') {
            tags.extend(
                platforms
                    .split('.')
                    .map(|platform| format!("{python}-{abi}-{platform}")),
            );
        }
    }
    tags
}

/// Whether `*` of the pattern can stand for the rest of the text. Goes back to the last star only, so that no pattern takes long.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and up to where it stands for the text.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(byte), _) if *byte == text[t] => (p, t) = (p + 1, t + 1),
            (_, Some((at, covered))) => {
                star = Some((at, covered + 1));
                (p, t) = (at + 1, covered + 1);
            }
            (_, None) => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FilePath, Yanked};

    fn entry(name: &str) -> FileEntry {
        FileEntry::new(FilePath::new(&format!("pypi/x/{name}")).unwrap())
    }

    fn rule(verdict: Verdict, targets: &[&str]) -> Rule {
        Rule {
            name: targets.join(" ").into(),
            verdict,
            targets: targets.iter().map(|text| Target::parse(text).unwrap()).collect(),
            kinds: Vec::new(),
            tags: Vec::new(),
            reason: None,
        }
    }

    fn denied(rules: &Rules, project: &str, file: &FileEntry) -> Option<String> {
        let project = ProjectName::parse(project).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        rules
            .for_project(&project)
            .denial(file, now)
            .map(|denial| denial.rule.to_string())
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = Rules {
            rules: vec![
                rule(Verdict::Allow, &["six==1.0"]),
                rule(Verdict::Deny, &["six<1.5", "evil-*"]),
                rule(Verdict::Deny, &["*==9.*"]),
            ],
            ..Rules::default()
        };
        let of = |project: &str, file: &str| denied(&rules, project, &entry(file));
        assert_eq!(of("six", "six-1.0.tar.gz"), None);
        assert_eq!(of("six", "six-1.2.tar.gz").as_deref(), Some("six<1.5 evil-*"));
        assert_eq!(of("six", "six-1.6.tar.gz"), None);
        assert_eq!(
            of("evil-x", "evil_x-1.0-py3-none-any.whl").as_deref(),
            Some("six<1.5 evil-*")
        );
        assert_eq!(of("other", "other-9.3.tar.gz").as_deref(), Some("*==9.*"));
        assert_eq!(
            of("six", "six-nonsense.zip").as_deref(),
            Some("six<1.5 evil-*"),
            "what cannot be read is kept out"
        );
    }

    #[test]
    fn kinds_and_tags() {
        let no_sdists = Rules {
            rules: vec![Rule {
                kinds: vec![FileKind::Sdist, FileKind::Legacy],
                ..rule(Verdict::Deny, &["*"])
            }],
            ..Rules::default()
        };
        assert!(denied(&no_sdists, "six", &entry("six-1.0.tar.gz")).is_some());
        assert!(denied(&no_sdists, "six", &entry("six-1.0-py3-none-any.whl")).is_none());
        let no_windows = Rules {
            rules: vec![Rule {
                tags: vec!["*-win32".to_owned(), "cp2*-*-*".to_owned()],
                ..rule(Verdict::Deny, &["*"])
            }],
            ..Rules::default()
        };
        for (name, is_denied) in [
            ("six-1.0-py3-none-any.whl", false),
            ("six-1.0-py3-none-win_amd64.win32.whl", true),
            ("six-1.0-py3.cp27-none-any.whl", true),
            ("six-1.0.tar.gz", false),
        ] {
            assert_eq!(
                denied(&no_windows, "six", &entry(name)).is_some(),
                is_denied,
                "{name}"
            );
        }
    }

    #[test]
    fn ages_sizes_and_yanked_files() {
        let rules = Rules {
            max_size: Some(100),
            yanked: YankedFiles::Never,
            cool_down: Some(CoolDown {
                period: Duration::from_secs(86_400),
                exempt: vec![Target::parse("six==2.0").unwrap()],
                undated: Undated::Deny,
            }),
            own_sources: HashSet::from(["private".to_owned()]),
            ..Rules::default()
        };
        let dated = |name: &str, time: &str| FileEntry {
            upload_time: Some(time.into()),
            ..entry(name)
        };
        let (old, young) = ("2023-11-13T22:13:20Z", "2023-11-13T22:13:21Z");
        let of = |file: &FileEntry| denied(&rules, "six", file);
        assert_eq!(of(&dated("six-1.0.tar.gz", old)), None);
        assert_eq!(of(&dated("six-1.0.tar.gz", young)).as_deref(), Some("cool-down"));
        assert_eq!(of(&dated("six-2.0.tar.gz", young)), None);
        assert_eq!(
            of(&entry("six-1.0.tar.gz")).as_deref(),
            Some("cool-down"),
            "without a date"
        );
        let own = FileEntry::new(FilePath::new("private/six/six-1.0.tar.gz").unwrap());
        assert_eq!(of(&own), None);
        let large = FileEntry {
            size: Some(101),
            ..dated("six-1.0.tar.gz", old)
        };
        assert_eq!(of(&large).as_deref(), Some("max-file-size"));
        let yanked = FileEntry {
            yanked: Yanked::Yes,
            ..dated("six-1.0.tar.gz", old)
        };
        assert_eq!(of(&yanked).as_deref(), Some("yanked"));
    }

    #[test]
    fn targets_that_cannot_be_read() {
        for text in ["", "<1", "six<", "six<x", "a b", "six==1.0 or 2"] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }
}
