//! Private packages, with the real tools: publish, install, publish again, yank, delete, restore; at the team's server
//! and through a laptop's cache in front of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use pypicache_core::Clock;
use pypicache_core::hosted_source::{FileSelector, HostedOptions, HostedSource, ManageAction, Upload};
use pypicache_core::model::{FileName, ProjectName};
use pypicache_core::source::IndexSourceExt as _;
use pypicache_tests::client::{get, get_json};
use pypicache_tests::package::{Package, Wheel, sdist};
use pypicache_tests::process::Server;
use pypicache_tests::python::{Environment, succeeded, text};
use pypicache_tests::team::{Team, files};
use pypicache_tests::tiers::files_below;

/// The names of the files that a page lists.
async fn names(server: &Server, project: &str) -> Vec<String> {
    let files = files(server, project).await;
    files
        .iter()
        .map(|file| file["filename"].as_str().unwrap().to_owned())
        .collect()
}

fn written(packages: &[&Package], directory: &Path) -> Vec<std::path::PathBuf> {
    packages.iter().map(|package| package.write(directory)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_twine_and_uv_publish_installs_through_both_tiers() {
    let (team, home) = (Team::start().await, tempfile::tempdir().unwrap());
    let laptop = team.laptop(home.path());
    let token = team.token("developer", &[]);
    let tools = Environment::new(home.path(), "tools");
    let one = Wheel::new("acme-one", "1.0").payload(100_000).build();
    let (two, source) = (
        Wheel::new("acme-two", "2.0").requires("acme-one").build(),
        sdist("acme-two", "2.0"),
    );
    let paths = written(&[&one, &two, &source], home.path());
    let paths: Vec<_> = paths.iter().map(|path| path.as_path()).collect();

    assert!(names(&laptop, "acme-one").await.is_empty());
    succeeded(&tools.twine_upload(&team.server.legacy(), Some(&token), &paths[..1]));
    assert_eq!(
        names(&team.server, "acme-one").await,
        std::slice::from_ref(&one.filename),
        "in the next answer"
    );
    assert_eq!(
        names(&laptop, "acme-one").await,
        std::slice::from_ref(&one.filename),
        "through the tier below as well"
    );
    succeeded(&tools.uv_publish(&team.server.legacy(), Some(&token), &paths[1..], &[]));

    for (name, index) in [("near", laptop.index()), ("far", team.server.index())] {
        let (pip, uv) = (
            Environment::new(home.path(), &format!("{name}-pip")),
            Environment::new(home.path(), &format!("{name}-uv")),
        );
        succeeded(&pip.pip_install(&index, &["acme-two"]));
        succeeded(&uv.uv_install(&index, &["acme-two"]));
        assert_eq!(pip.tree(), uv.tree());
        assert!(pip.tree().contains_key("acme_one.py"));
    }
    let listed = files(&laptop, "acme-two").await;
    assert_eq!(
        listed,
        files(&team.server, "acme-two").await,
        "pages are equal at every tier"
    );
    let wheel = listed
        .iter()
        .find(|file| file["filename"] == *two.filename)
        .unwrap();
    assert_eq!(wheel["hashes"]["sha256"], *two.sha256);
    assert_eq!(wheel["size"], two.bytes.len());
    assert_eq!(wheel["requires-python"], ">=3.8");
    assert!(wheel["upload-time"].as_str().unwrap().ends_with('Z'));
    assert!(wheel["core-metadata"]["sha256"].is_string());
    let page = get_json(&team.url("simple/acme-two/")).await.json();
    assert_eq!(page["versions"], serde_json::json!(["2.0"]));
    assert_eq!(
        team.upstream.requests().len(),
        0,
        "a claimed name is never asked of the public index"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_again_are_fine_and_other_bytes_are_refused() {
    let (team, home) = (Team::start().await, tempfile::tempdir().unwrap());
    let token = team.token("developer", &[]);
    let tools = Environment::new(home.path(), "tools");
    let package = Wheel::new("acme-one", "1.0").build();
    let path = package.write(home.path());
    let other = tempfile::tempdir().unwrap();
    let changed = Wheel::new("acme-one", "1.0")
        .payload(10)
        .build()
        .write(other.path());
    let legacy = team.server.legacy();
    // Without the slash and at the root, as some are configured.
    for url in [&legacy, &legacy, &team.url("legacy"), &team.url("/")] {
        succeeded(&tools.twine_upload(url, Some(&token), &[&path]));
        succeeded(&tools.uv_publish(url, Some(&token), &[&path], &[]));
    }
    let twine = tools.twine_upload(&legacy, Some(&token), &[&changed]);
    assert!(
        !twine.status.success() && text(&twine).contains("already exists"),
        "{}",
        text(&twine)
    );
    let uv = tools.uv_publish(&legacy, Some(&token), &[&changed], &[]);
    assert!(
        !uv.status.success() && text(&uv).contains("already exists"),
        "{}",
        text(&uv)
    );
    let check = ["--check-url", team.server.index().as_str()].map(str::to_owned);
    let check: Vec<_> = check.iter().map(String::as_str).collect();
    succeeded(&tools.uv_publish(&legacy, Some(&token), &[&path], &check));
    let file = &files(&team.server, "acme-one").await[0];
    assert_eq!(file["hashes"]["sha256"], *package.sha256, "the first bytes stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn yanked_deleted_and_restored_on_the_live_server() {
    let (team, home) = (Team::start().await, tempfile::tempdir().unwrap());
    let laptop = team.laptop(home.path());
    let (developer, admin) = (team.token("developer", &[]), team.token("admin", &[]));
    let tools = Environment::new(home.path(), "tools");
    let (old, new) = (
        Wheel::new("acme-one", "1.0").build(),
        Wheel::new("acme-one", "2.0").build(),
    );
    let paths = written(&[&old, &new], home.path());
    succeeded(&tools.twine_upload(&team.server.legacy(), Some(&developer), &[&paths[0], &paths[1]]));

    let refused = team.command(&["yank", "acme-one", "2.0"], Some(&developer));
    assert!(
        !refused.status.success() && text(&refused).contains("scope manage"),
        "{}",
        text(&refused)
    );
    assert!(!team.command(&["yank", "acme-one", "2.0"], None).status.success());

    let printed = team.done(
        &["yank", "acme-one", "2.0", "--reason", "broken on Mondays"],
        &admin,
    );
    assert_eq!(printed.trim(), new.filename);
    let installed = |index: url::Url, name: &'static str, requirement: &'static str, home: &Path| {
        let environment = Environment::new(home, name);
        let output = environment.uv_install(&index, &[requirement]);
        (output.status.success(), text(&output))
    };
    let (_, unpinned) = installed(laptop.index(), "unpinned", "acme-one", home.path());
    assert!(unpinned.contains("acme-one==1.0"), "{unpinned}");
    let (_, pinned) = installed(laptop.index(), "pinned", "acme-one==2.0", home.path());
    assert!(
        pinned.contains("acme-one==2.0") && pinned.contains("broken on Mondays"),
        "{pinned}"
    );
    let pip = Environment::new(home.path(), "pip").pip_install(&laptop.index(), &["acme-one"]);
    assert!(text(&pip).contains("acme-one-1.0"), "{}", text(&pip));
    let _ = team.done(&["unyank", "acme-one", "2.0"], &admin);
    assert!(
        files(&laptop, "acme-one")
            .await
            .iter()
            .all(|file| file["yanked"] == false)
    );

    let _ = team.done(&["delete", "acme-one", "2.0"], &admin);
    assert_eq!(
        names(&laptop, "acme-one").await,
        std::slice::from_ref(&old.filename)
    );
    let file = team.url(&format!("files/private/acme-one/{}", new.filename));
    assert_eq!(get(&file, &[]).await.status.as_u16(), 404);
    let again = tools.twine_upload(&team.server.legacy(), Some(&developer), &[&paths[1]]);
    assert!(
        text(&again).contains("was deleted"),
        "a name is not used again: {}",
        text(&again)
    );
    assert!(team.done(&["show", "acme-one"], &admin).contains("deleted"));
    let _ = team.done(&["restore", "acme-one", "2.0"], &admin);
    assert_eq!(get(&file, &[]).await.bytes(), &new.bytes);
    assert_eq!(names(&laptop, "acme-one").await.len(), 2);

    assert_eq!(
        team.command(&["delete", "acme-one"], Some(&admin)).status.code(),
        Some(2)
    );
    let _ = team.done(&["delete", "acme-one", "--all"], &admin);
    let page = get_json(&team.url("simple/acme-one/")).await;
    assert_eq!(
        (
            page.status.as_u16(),
            page.json()["files"].as_array().unwrap().len()
        ),
        (200, 0),
        "the name stays ours"
    );
    assert!(
        !team
            .command(&["restore", "acme-two"], Some(&admin))
            .status
            .success()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_projects_say_so_and_take_nothing() {
    let (team, home) = (Team::start().await, tempfile::tempdir().unwrap());
    let admin = team.token("admin", &[]);
    let tools = Environment::new(home.path(), "tools");
    let (first, second) = (
        Wheel::new("acme-one", "1.0").build(),
        Wheel::new("acme-one", "2.0").build(),
    );
    let paths = written(&[&first, &second], home.path());
    succeeded(&tools.twine_upload(&team.server.legacy(), Some(&admin), &[&paths[0]]));
    let _ = team.done(
        &["status", "acme-one", "archived", "--reason", "see acme-two"],
        &admin,
    );
    let page = get_json(&team.url("simple/acme-one/")).await.json();
    assert_eq!(
        page["project-status"],
        serde_json::json!({ "status": "archived", "reason": "see acme-two" })
    );
    let refused = tools.twine_upload(&team.server.legacy(), Some(&admin), &[&paths[1]]);
    assert!(text(&refused).contains("archived"), "{}", text(&refused));
    let _ = team.done(&["status", "acme-one", "quarantined"], &admin);
    assert!(names(&team.server, "acme-one").await.is_empty());
    let file = team.url(&format!("files/private/acme-one/{}", first.filename));
    assert_eq!(get(&file, &[]).await.status.as_u16(), 404);
    let _ = team.done(&["status", "acme-one", "active"], &admin);
    succeeded(&tools.twine_upload(&team.server.legacy(), Some(&admin), &[&paths[1]]));
    assert_eq!(names(&team.server, "acme-one").await.len(), 2);
    assert!(
        !team
            .command(&["status", "acme-one", "dead"], Some(&admin))
            .status
            .success()
    );
}

#[tokio::test]
async fn the_trash_is_emptied_when_its_time_is_over() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), Clock::manual());
    let options = HostedOptions {
        retention: Duration::from_secs(86_400),
        clock: clock.clone(),
        ..HostedOptions::default()
    };
    let source = HostedSource::open("private", directory.path(), options).unwrap();
    let project = ProjectName::parse("acme-one").unwrap();
    let publish = async |version: &str| {
        let package = Wheel::new("acme-one", version).build();
        let mut receiving = source.receive().await.unwrap();
        receiving.write(&package.bytes).await.unwrap();
        let upload = upload_of(&project, version, &package.filename);
        source.publish(upload, receiving.finish().await.unwrap()).await
    };
    for version in ["1.0", "2.0"] {
        publish(version).await.unwrap();
    }
    let of = |version: &str| FileSelector {
        version: Some(version.to_owned()),
        filename: None,
    };
    source
        .change(&project, of("1.0"), ManageAction::Delete, None)
        .await
        .unwrap();
    let lying = || files_below(&directory.path().join("files"));
    // What a crash left behind has no record.
    let stray = directory
        .path()
        .join("files/acme-one/acme_one-9.0-py3-none-any.whl");
    std::fs::write(&stray, b"half").unwrap();
    let written = std::fs::File::options().write(true).open(&stray).unwrap();
    written.set_modified(clock.now()).unwrap();
    assert!(source.sweep().await.unwrap().is_empty());
    assert!(stray.exists(), "somebody may be about to write it down");
    clock.advance(Duration::from_secs(86_400));
    // A record that was lost takes no files with it.
    let lost = directory.path().join("files/acme-lost");
    std::fs::create_dir(&lost).unwrap();
    std::fs::write(lost.join("acme_lost-1.0.tar.gz"), b"precious").unwrap();
    let swept = source.sweep().await.unwrap();
    assert_eq!(
        (swept[0].removed.len(), swept[0].set_aside.len()),
        (0, 1),
        "not yet"
    );
    let aside = "orphaned/acme-one/acme_one-9.0-py3-none-any.whl";
    assert!(directory.path().join(aside).exists(), "never removed");
    assert!(lost.join("acme_lost-1.0.tar.gz").exists());
    std::fs::remove_dir_all(&lost).unwrap();
    assert_eq!(
        (lying(), stray.exists()),
        (4, false),
        "both wheels with their METADATA"
    );
    source
        .change(&project, of("1.0"), ManageAction::Restore, None)
        .await
        .unwrap();
    source
        .change(&project, of("1.0"), ManageAction::Delete, None)
        .await
        .unwrap();
    clock.advance(Duration::from_secs(86_401));
    let swept = source.sweep().await.unwrap();
    assert_eq!((swept.len(), swept[0].removed.len()), (1, 1));
    assert_eq!(lying(), 2);
    assert!(
        source
            .change(&project, of("1.0"), ManageAction::Restore, None)
            .await
            .is_err()
    );
    assert!(publish("1.0").await.is_err(), "the name stays taken");
    assert_eq!(
        source.get_page(&project).await.unwrap().unwrap().page.files.len(),
        1
    );
}

fn upload_of(project: &ProjectName, version: &str, filename: &str) -> Upload {
    Upload {
        filename: FileName::parse(filename).unwrap(),
        project: project.clone(),
        version: version.to_owned(),
        digests: Vec::new(),
        attestations: None,
        uploader: None,
        upload_time: None,
        is_of_old: false,
    }
}
