//! Holding files against rules.

use std::time::SystemTime;

use jiff::Timestamp;
use pep440_rs::Version;

use super::rules::{Denial, Rule, Rules, Target, Undated, Verdict, YankedFiles};
use crate::model::{FileEntry, ProjectName};

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
mod tests;
