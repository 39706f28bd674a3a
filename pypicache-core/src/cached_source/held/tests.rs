use super::*;
use crate::Clock;
use crate::model::{FileEntry, FilePath, ProjectName, ProjectStatus};

fn page(files: usize, serial: Option<u64>) -> ProjectPage {
    let mut page = ProjectPage::new(ProjectName::parse("six").unwrap());
    let entry = |i| FileEntry::new(FilePath::new(&format!("pypi/x/six-1.{i}.tar.gz")).unwrap());
    page.files = (0..files).map(entry).collect();
    page.last_serial = serial;
    page
}

fn held(page: ProjectPage, clock: &Clock) -> HeldPage {
    let freshness = Freshness {
        age: Duration::from_secs(100),
        lifetime: Duration::from_secs(600),
    };
    HeldPage::new(
        Arc::new(page),
        Vec::new(),
        None,
        freshness,
        clock.now(),
        &CacheOptions::default(),
    )
}

fn paths(page: &ProjectPage) -> Vec<&str> {
    page.files.iter().map(|file| file.path.as_str()).collect()
}

#[test]
fn a_cap_shortens_what_is_left_and_never_lengthens() {
    let options = |cap| CacheOptions {
        max_lifetime: Some(Duration::from_secs(cap)),
        ..CacheOptions::default()
    };
    let told = Freshness {
        age: Duration::from_secs(500),
        lifetime: Duration::from_secs(600),
    };
    assert_eq!(capped(told, &options(30)), Duration::from_secs(530));
    assert_eq!(capped(told, &options(3000)), Duration::from_secs(600));
    assert_eq!(capped(told, &CacheOptions::default()), Duration::from_secs(600));
}

#[test]
fn a_record_from_the_future_is_stale_but_servable() {
    let clock = Clock::manual();
    let held = held(page(1, None), &clock);
    let shortly_before = clock.now() - Duration::from_secs(200);
    assert!(held.freshness(shortly_before).is_fresh());
    let long_before = clock.now() - Duration::from_secs(86_400);
    assert!(!held.freshness(long_before).is_fresh());
    assert!(held.is_servable(long_before));
}

#[test]
fn a_bound_on_staleness_counts_from_the_end_of_the_lifetime() {
    let clock = Clock::manual();
    let options = CacheOptions {
        max_stale: Some(Duration::from_secs(60)),
        ..CacheOptions::default()
    };
    let freshness = Freshness::new(Duration::from_secs(600));
    let held = HeldPage::new(
        Arc::new(page(1, None)),
        Vec::new(),
        None,
        freshness,
        clock.now(),
        &options,
    );
    clock.advance(Duration::from_secs(660));
    assert!(held.is_servable(clock.now()));
    clock.advance(Duration::from_secs(1));
    assert!(!held.is_servable(clock.now()));
}

#[test]
fn vanished_files_are_shown_as_told_and_never_of_a_quarantined_project() {
    let clock = Clock::manual();
    let (before, now) = (held(page(3, None), &clock), page(1, None));
    let vanished = missing(&before, &now);
    assert_eq!(vanished.len(), 2);
    let of = |page: ProjectPage, retention| {
        let options = CacheOptions {
            vanished: retention,
            ..CacheOptions::default()
        };
        HeldPage::new(
            Arc::new(page),
            vanished.clone(),
            None,
            Freshness::default(),
            clock.now(),
            &options,
        )
    };
    let path = vanished[0].path.clone();
    let dropped = of(now.clone(), Retention::Drop);
    assert_eq!(paths(dropped.offered()), ["pypi/x/six-1.0.tar.gz"]);
    assert!(dropped.entry(&path).is_some(), "locked links go on working");
    assert_eq!(of(now.clone(), Retention::Keep).offered().files.len(), 3);
    let marked = of(now.clone(), Retention::Mark);
    assert!(marked.offered().files[1].yanked.is_yanked() && !marked.offered().files[0].yanked.is_yanked());
    let mut quarantined = now;
    quarantined.files.clear();
    quarantined.status.marker = "quarantined".into();
    let kept = of(quarantined, Retention::Keep);
    assert!(kept.offered().files.is_empty() && kept.entry(&path).is_none());
}

#[test]
fn other_bytes_under_a_known_name_are_noticed() {
    let clock = Clock::manual();
    let digest = |text: &[u8]| crate::model::Sha256::of(text);
    let with = |bytes: &[u8]| {
        let mut page = page(2, None);
        page.files[1].hashes = crate::model::Digests::sha256(digest(bytes));
        page
    };
    let held = held(with(b"old"), &clock);
    assert!(changed(&held, &with(b"old")).is_empty());
    let found = changed(&held, &with(b"new"));
    assert_eq!((found.len(), found[0].0), (1, 1));
    assert_eq!(found[0].1.hashes.get_sha256(), Some(digest(b"old")));
}

#[test]
fn age_is_inherited_and_grows() {
    let clock = Clock::manual();
    let held = held(page(1, None), &clock);
    assert!(held.freshness(clock.now()).is_fresh());
    clock.advance(Duration::from_secs(500));
    assert_eq!(held.freshness(clock.now()).age, Duration::from_secs(600));
    assert!(!held.freshness(clock.now()).is_fresh());
}

#[test]
fn a_clock_set_back_makes_nothing_younger() {
    let clock = Clock::manual();
    let held = held(page(1, None), &clock);
    let earlier = clock.now() - Duration::from_secs(200);
    assert_eq!(held.freshness(earlier).age, Duration::from_secs(100));
}

#[test]
fn an_older_serial_and_a_sudden_empty_page_do_not_replace() {
    let clock = Clock::manual();
    let held = held(page(2, Some(10)), &clock);
    assert_eq!(replacement(Some(&held), &page(3, Some(9))), Replacement::KeepHeld);
    assert_eq!(replacement(Some(&held), &page(3, Some(11))), Replacement::Replace);
    assert_eq!(
        replacement(Some(&held), &page(0, Some(11))),
        Replacement::Unconfirmed
    );
    assert_eq!(replacement(None, &page(0, None)), Replacement::Replace);
    let mut quarantined = page(0, None);
    quarantined.status = ProjectStatus {
        marker: "quarantined".into(),
        reason: None,
    };
    assert_eq!(replacement(Some(&held), &quarantined), Replacement::Replace);
}
