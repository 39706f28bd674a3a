//! Backups that were cut off, hosts that lost or damaged what was uploaded, and data that is not what one thinks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use pypicache_tests::form::Form;
use pypicache_tests::package::{Package, Wheel};
use pypicache_tests::process::command;
use pypicache_tests::python::{succeeded, text};
use pypicache_tests::team::{Team, files};

fn package(project: &str, version: &str) -> Package {
    Wheel::new(project, version).payload(3000).build()
}

async fn upload(team: &Team, token: &str, project: &str, version: &str) -> u16 {
    let form = Form::of(project, version, &package(project, version));
    form.send(&team.server.legacy(), Some(token))
        .await
        .status
        .as_u16()
}

/// A team with files of two projects.
async fn filled() -> (Team, String) {
    let team = Team::start().await;
    let token = team.token("admin", &[]);
    for (project, version) in [("acme-one", "1.0"), ("acme-one", "2.0"), ("acme-two", "1.0")] {
        assert_eq!(upload(&team, &token, project, version).await, 200);
    }
    (team, token)
}

fn hosted(team: &Team, path: &str) -> PathBuf {
    team.root
        .path()
        .join(".local/share/pypicache/v1/hosted/private")
        .join(path)
}

fn audit(team: &Team) -> Vec<serde_json::Value> {
    let log = fs::read_to_string(
        team.root
            .path()
            .join(".local/share/pypicache/v1/audit/audit.jsonl"),
    )
    .unwrap();
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn backup(team: &Team, what: &[&str]) -> Output {
    team.command(&[&["backup"], what].concat(), None)
}

/// Where members of a tar archive begin, and where it ends.
fn borders(bytes: &[u8]) -> Vec<usize> {
    let mut archive = tar::Archive::new(bytes);
    let begins = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().raw_header_position() as usize);
    let mut borders: Vec<_> = begins.collect();
    borders.extend([bytes.len() - 1024, bytes.len() - 512, bytes.len() - 1]);
    borders
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_cut_off_is_refused_and_takes_no_name() {
    let ((team, _), away) = (filled().await, tempfile::tempdir().unwrap());
    let (whole, cut) = (away.path().join("backup.tar"), away.path().join("cut.tar"));
    succeeded(&backup(&team, &["create", whole.to_str().unwrap()]));
    let bytes = fs::read(&whole).unwrap();
    let other = Team::start().await;
    let borders = borders(&bytes);
    assert!(borders.len() > 10);
    for at in borders {
        fs::write(&cut, &bytes[..at]).unwrap();
        let refused = backup(&other, &["restore", cut.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(1), "cut at {at}: {}", text(&refused));
        // Whoever has nothing better takes what is whole of it.
        let partly = backup(&other, &["restore", "--partial", cut.to_str().unwrap()]);
        assert_eq!(partly.status.code(), Some(1), "cut at {at}: {}", text(&partly));
    }
    let again = backup(&other, &["restore", whole.to_str().unwrap()]);
    succeeded(&again);
    assert!(
        text(&again).contains("3 there already, 0 left out"),
        "{}",
        text(&again)
    );
    for project in ["acme-one", "acme-two"] {
        assert_eq!(
            files(&other.server, project).await,
            files(&team.server, project).await
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_backup_lacks_can_be_uploaded() {
    let ((team, _), away) = (filled().await, tempfile::tempdir().unwrap());
    let archive = away.path().join("backup.tar");
    fs::remove_file(hosted(&team, "files/acme-one/acme_one-1.0-py3-none-any.whl")).unwrap();
    let created = backup(&team, &["create", archive.to_str().unwrap()]);
    assert_eq!(created.status.code(), Some(1));
    assert!(
        text(&created)
            .contains("missing: hosted/private/files/acme-one/acme_one-1.0-py3-none-any.whl: it is lost"),
        "{}",
        text(&created)
    );
    let other = Team::start().await;
    let restored = backup(&other, &["restore", archive.to_str().unwrap()]);
    assert_eq!(restored.status.code(), Some(1));
    assert!(
        text(&restored).contains("2 restored, 0 there already, 1 left out"),
        "{}",
        text(&restored)
    );
    let token = other.token("developer", &[]);
    assert_eq!(
        upload(&other, &token, "acme-one", "1.0").await,
        200,
        "its name is not taken"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_and_rotten_uploads_and_records_are_put_back() {
    let ((team, _), away) = (filled().await, tempfile::tempdir().unwrap());
    let archive = away.path().join("backup.tar.gz");
    succeeded(&backup(&team, &["create", archive.to_str().unwrap()]));
    let before = files(&team.server, "acme-one").await;
    let (lost, rotten) = (
        hosted(&team, "files/acme-one/acme_one-1.0-py3-none-any.whl"),
        hosted(&team, "files/acme-one/acme_one-2.0-py3-none-any.whl"),
    );
    fs::remove_file(&lost).unwrap();
    fs::remove_file(hosted(
        &team,
        "files/acme-one/acme_one-2.0-py3-none-any.whl.metadata",
    ))
    .unwrap();
    let mut bytes = fs::read(&rotten).unwrap();
    bytes[1000] ^= 1;
    fs::write(&rotten, bytes).unwrap();
    fs::write(hosted(&team, "projects/acme-two.json"), "{").unwrap();
    let restored = backup(&team, &["restore", archive.to_str().unwrap()]);
    succeeded(&restored);
    assert!(
        text(&restored).contains("2 that were lost or damaged are whole again"),
        "{}",
        text(&restored)
    );
    for (path, version) in [(&lost, "1.0"), (&rotten, "2.0")] {
        assert_eq!(fs::read(path).unwrap(), package("acme-one", version).bytes);
    }
    assert_eq!(files(&team.server, "acme-one").await, before);
    assert_eq!(files(&team.server, "acme-two").await.len(), 1);
    assert!(
        hosted(&team, "orphaned/acme-two.json.1").exists(),
        "what could not be read is kept"
    );
    let again = away.path().join("again.tar");
    succeeded(&backup(&team, &["create", again.to_str().unwrap()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_with_something_missing_never_takes_the_place_of_a_whole_one() {
    let ((team, _), away) = (filled().await, tempfile::tempdir().unwrap());
    let archive = away.path().join("backup.tar");
    succeeded(&backup(&team, &["create", archive.to_str().unwrap()]));
    let good = fs::read(&archive).unwrap();
    fs::write(hosted(&team, "projects/acme-one.json"), "{").unwrap();
    let bad = backup(&team, &["create", archive.to_str().unwrap()]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(
        text(&bad).contains("missing: hosted/private/projects/acme-one.json"),
        "{}",
        text(&bad)
    );
    assert_eq!(fs::read(&archive).unwrap(), good);
    // What is not missing is in it.
    let other = Team::start().await;
    let incomplete = away.path().join("backup.tar.incomplete");
    let restored = backup(&other, &["restore", incomplete.to_str().unwrap()]);
    assert!(text(&restored).contains("1 restored"), "{}", text(&restored));
    assert_eq!(files(&other.server, "acme-two").await.len(), 1);
    let names: Vec<_> = fs::read_dir(away.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "nothing else is left: {names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_nothing_is_an_error() {
    let (team, away) = (Team::start().await, tempfile::tempdir().unwrap());
    let archive = away.path().join("backup.tar");
    let refused = |arguments: &[&str]| {
        let done = backup(
            &team,
            &[&["create", archive.to_str().unwrap()], arguments].concat(),
        );
        assert_ne!(done.status.code(), Some(0), "{arguments:?}: {}", text(&done));
        assert!(!archive.exists(), "{arguments:?}");
    };
    refused(&[]);
    let elsewhere = away.path().join("elsewhere");
    refused(&["--data-dir", elsewhere.to_str().unwrap()]);
    assert!(!elsewhere.exists());
    let config = away.path().join("other.toml");
    fs::write(&config, "[[source]]\nname = \"public\"\nhosted = true\n").unwrap();
    let token = team.token("admin", &[]);
    assert_eq!(upload(&team, &token, "acme-one", "1.0").await, 200);
    refused(&["--config", config.to_str().unwrap()]);
    assert!(!hosted(&team, "../public").exists(), "nothing was made");
    succeeded(&backup(&team, &["create", archive.to_str().unwrap()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_record_costs_no_file() {
    let (mut team, token) = filled().await;
    let lost = hosted(&team, "files/acme-one/acme_one-1.0-py3-none-any.whl");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 86_400);
    for path in [
        &lost,
        &hosted(&team, "files/acme-one/acme_one-2.0-py3-none-any.whl"),
    ] {
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(old)
            .unwrap();
    }
    // Two projects: one with a record that nobody can read, one whose record is gone before the next upload.
    fs::write(hosted(&team, "projects/acme-two.json"), "{").unwrap();
    fs::remove_file(hosted(&team, "projects/acme-one.json")).unwrap();
    let other = Wheel::new("acme-one", "2.0").payload(1).build();
    let status = Form::of("acme-one", "2.0", &other)
        .send(&team.server.legacy(), Some(&token))
        .await
        .status;
    assert_eq!(status.as_u16(), 200);
    team.crash();
    while lost.exists() {
        std::thread::yield_now();
    }
    for version in ["1.0", "2.0"] {
        let aside = hosted(
            &team,
            &format!("orphaned/acme-one/acme_one-{version}-py3-none-any.whl"),
        );
        assert_eq!(fs::read(aside).unwrap(), package("acme-one", version).bytes);
    }
    let aside = hosted(&team, "orphaned");
    let back = team.command(&["import", aside.to_str().unwrap()], None);
    assert!(text(&back).contains("1 brought in"), "{}", text(&back));
    assert_eq!(files(&team.server, "acme-one").await.len(), 2);
    let noted = audit(&team)
        .into_iter()
        .find(|event| event["event"] == "set-aside")
        .unwrap();
    assert_eq!(noted["project"], "acme-one");
    assert_eq!(noted["files"][0], "acme_one-1.0-py3-none-any.whl");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_has_fields_and_is_in_the_backup() {
    let ((team, token), away) = (filled().await, tempfile::tempdir().unwrap());
    let _ = team.done(&["yank", "acme-one", "1.0", "--reason", "it \"breaks\""], &token);
    let _ = team.done(&["delete", "acme-one", "--all"], &token);
    let _ = team.done(&["status", "acme-two", "archived", "--reason", "old"], &token);
    assert_eq!(upload(&team, &token, "acme-two", "9.0").await, 403);
    let log = audit(&team);
    let of = |name: &str| log.iter().find(|event| event["event"] == name).unwrap().clone();
    let wheel = |version: &str| format!("acme_one-{version}-py3-none-any.whl");
    let yank = of("yank");
    assert_eq!(
        (&yank["project"], &yank["version"]),
        (&"acme-one".into(), &"1.0".into())
    );
    assert_eq!(
        (&yank["files"], &yank["reason"]),
        (&serde_json::json!([wheel("1.0")]), &"it \"breaks\"".into())
    );
    assert_eq!(
        of("delete")["files"],
        serde_json::json!([wheel("1.0"), wheel("2.0")])
    );
    assert_eq!(
        (&of("status")["status"], &of("status")["reason"]),
        (&"archived".into(), &"old".into())
    );
    assert_eq!(
        (&of("upload")["version"], &of("upload")["files"]),
        (&"1.0".into(), &serde_json::json!([wheel("1.0")]))
    );
    let refused = of("upload-refused");
    assert_eq!(
        (&refused["project"], &refused["version"], &refused["status"]),
        (&"acme-two".into(), &"9.0".into(), &"403".into())
    );
    assert_eq!(
        (
            &of("token-created")["token"]["name"],
            &of("token-created")["token"]["scope"]
        ),
        (&"a-admin".into(), &"read upload manage".into())
    );
    for event in &log {
        let line = event.to_string();
        assert!(
            !line.contains("Some(") && !line.contains("None") && !line.contains(" { "),
            "{line}"
        );
    }

    let archive = away.path().join("backup.tar");
    succeeded(&backup(&team, &["create", archive.to_str().unwrap()]));
    // On a host where no server has been yet, everything is where it was.
    let home = away.path().join("home");
    let mut restore = command(&home);
    restore
        .args(["backup", "restore", archive.to_str().unwrap(), "--config"])
        .arg(team.root.path().join("team.toml"));
    succeeded(&restore.output().unwrap());
    let restored = fs::read_to_string(home.join(".local/share/pypicache/v1/audit/audit.jsonl")).unwrap();
    assert!(
        restored
            .lines()
            .zip(&log)
            .all(|(line, event)| serde_json::from_str::<serde_json::Value>(line).unwrap() == *event)
    );
    assert!(restored.contains("backup-restored"), "and the log goes on");
    // Beside a server that has a log of its own, it lies beside that.
    let other = Team::start().await;
    let _ = other.token("admin", &[]);
    succeeded(&backup(&other, &["restore", archive.to_str().unwrap()]));
    assert!(
        other
            .root
            .path()
            .join(".local/share/pypicache/v1/audit/restored/audit.jsonl")
            .exists()
    );
}
