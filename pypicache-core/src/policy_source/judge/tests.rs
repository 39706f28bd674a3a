//! Which files rules keep out.

use std::collections::HashSet;
use std::time::Duration;

use super::super::rules::CoolDown;
use super::*;
use crate::model::{FileKind, FilePath, Yanked};

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
    let exact = Rules {
        rules: vec![rule(Verdict::Deny, &["torch==2.1"])],
        ..Rules::default()
    };
    for (file, is_denied) in [
        ("torch-2.1.tar.gz", true),
        ("torch-2.1.0+cpu.tar.gz", true),
        ("torch-2.1.1.tar.gz", false),
    ] {
        assert_eq!(
            denied(&exact, "torch", &entry(file)).is_some(),
            is_denied,
            "{file}"
        );
    }
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
