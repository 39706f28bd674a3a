//! Moving in from other servers, and backups of what is hosted, beside a server that runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::time::{Duration, SystemTime};

use pypicache_tests::client::get;
use pypicache_tests::form::Form;
use pypicache_tests::package::{Wheel, noise, plain, sdist};
use pypicache_tests::process::Server;
use pypicache_tests::python::{Environment, succeeded, text};
use pypicache_tests::team::{Team, files};

#[tokio::test(flavor = "multi_thread")]
async fn folders_of_other_servers_are_brought_in_with_their_times() {
    let (team, folder, home) = (
        Team::start().await,
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    // pypiserver keeps files side by side, localshop and devpi in folders of their own.
    let (one, old) = (Wheel::new("acme-one", "1.0").build(), sdist("acme-one", "0.9"));
    let deep = folder.path().join("+files/ann/dev/+f/6d2/54cd10c835412");
    let mirrored = folder.path().join("+files/root/pypi/+f/aaa");
    for directory in [&deep, &mirrored] {
        fs::create_dir_all(directory).unwrap();
    }
    one.write(&deep);
    Wheel::new("six", "1.0").build().write(&mirrored);
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(1_400_000_000);
    let path = old.write(folder.path());
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(moment)
        .unwrap();
    // As sdists were named, and built files that nobody builds any more.
    plain("Acme.Three-0.1.zip", noise(100)).write(folder.path());
    plain("acme_three-0.1-py2.7.egg", noise(100)).write(folder.path());
    fs::write(folder.path().join("notes.txt"), "no package").unwrap();
    plain("nonsense.whl", noise(10)).write(folder.path());

    let root = folder.path().to_str().unwrap();
    let tried = team.command(&["import", root, "--dry-run"], None);
    assert!(text(&tried).contains("5 would be brought in"), "{}", text(&tried));
    let done = team.command(&["import", root], None);
    assert_eq!(
        done.status.code(),
        Some(1),
        "not everything is a package: {}",
        text(&done)
    );
    assert!(
        text(&done).contains("4 brought in, 0 there already, 1 left out"),
        "{}",
        text(&done)
    );
    let again = team.command(&["import", root], None);
    assert!(
        text(&again).contains("0 brought in, 4 there already"),
        "{}",
        text(&again)
    );

    let listed = files(&team.server, "acme-one").await;
    let times: Vec<_> = listed
        .iter()
        .map(|file| file["upload-time"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(times[0], "2014-05-13T16:53:20.000000Z", "{listed:?}");
    assert_eq!(files(&team.server, "acme-three").await.len(), 2);
    assert!(
        files(&team.server, "six").await.is_empty(),
        "what was mirrored is not ours"
    );
    succeeded(&Environment::new(home.path(), "uv").uv_install(&team.server.index(), &["acme-one==1.0"]));
    assert!(team.upstream.count("acme") == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_devpi_export_is_brought_in() {
    let (team, export) = (Team::start().await, tempfile::tempdir().unwrap());
    let package = Wheel::new("acme-one", "2.0").build();
    let directory = export.path().join("ann/dev/acme-one/2.0");
    fs::create_dir_all(&directory).unwrap();
    package.write(&directory);
    let entry = |kind: &str, relpath: &str| {
        serde_json::json!({ "type": kind, "relpath": relpath, "projectname": "acme-one", "version": "2.0",
            "entrymapping": { "last_modified": "Sat, 21 Nov 2026 11:44:18 GMT" } })
    };
    let relpath = format!("ann/dev/acme-one/2.0/{}", package.filename);
    let climbing = entry("releasefile", "../../etc/acme_one-3.0-py3-none-any.whl");
    let index = serde_json::json!({ "dumpversion": "2", "users": {}, "indexes": {
        "root/pypi": { "indexconfig": {} },
        "ann/dev": { "files": [entry("releasefile", &relpath), entry("doczip", "ann/dev/acme-one.doc.zip"), climbing] } } });
    fs::write(export.path().join("dataindex.json"), index.to_string()).unwrap();
    let done = team.command(&["import", export.path().to_str().unwrap()], None);
    assert_eq!(
        done.status.code(),
        Some(1),
        "not everything was taken: {}",
        text(&done)
    );
    assert!(
        text(&done).contains("its path leads out of the directory"),
        "{}",
        text(&done)
    );
    let listed = files(&team.server, "acme-one").await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["upload-time"], "2026-11-21T11:44:18.000000Z");
    assert_eq!(listed[0]["hashes"]["sha256"], *package.sha256);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_server_is_put_into_another_one() {
    let (team, away) = (Team::start().await, tempfile::tempdir().unwrap());
    let admin = team.token("admin", &[]);
    let package = |version: &str| Wheel::new("acme-one", version).payload(20_000).build();
    let upload = async |server: &Server, version: &'static str| {
        Form::of("acme-one", version, &package(version))
            .send(&server.legacy(), Some(&admin))
            .await
            .status
            .as_u16()
    };
    for version in ["1.0", "2.0", "3.0"] {
        assert_eq!(upload(&team.server, version).await, 200);
    }
    let _ = team.done(&["yank", "acme-one", "1.0", "--reason", "why not"], &admin);
    let _ = team.done(&["delete", "acme-one", "2.0"], &admin);
    let archive = away.path().join("backup.tar.gz");
    succeeded(&team.command(&["backup", "create", archive.to_str().unwrap()], None));
    let before = files(&team.server, "acme-one").await;

    let other = Team::start().await;
    succeeded(&other.command(&["backup", "restore", archive.to_str().unwrap()], None));
    assert_eq!(
        files(&other.server, "acme-one").await,
        before,
        "as they were, on a server that runs"
    );
    let link = other
        .url("simple/acme-one/")
        .join(before[0]["url"].as_str().unwrap())
        .unwrap();
    assert_eq!(get(&link, &[]).await.bytes(), &package("1.0").bytes);
    assert!(
        get(&format!("{link}.metadata").parse().unwrap(), &[])
            .await
            .status
            .is_success()
    );
    let _ = other.done(&["restore", "acme-one", "2.0"], &admin);
    assert_eq!(
        files(&other.server, "acme-one").await.len(),
        3,
        "what was deleted can be restored there too, with the same token"
    );
    let again = other.command(&["backup", "restore", archive.to_str().unwrap()], None);
    assert!(
        text(&again).contains("0 restored, 3 there already"),
        "{}",
        text(&again)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_changes_nothing_and_brings_in_nothing_damaged() {
    let (team, away) = (Team::start().await, tempfile::tempdir().unwrap());
    let admin = team.token("admin", &[]);
    let package = |version: &str| Wheel::new("acme-one", version).payload(20_000).build();
    for version in ["1.0", "2.0", "3.0"] {
        let form = Form::of("acme-one", version, &package(version));
        assert_eq!(
            form.send(&team.server.legacy(), Some(&admin))
                .await
                .status
                .as_u16(),
            200
        );
    }
    let archive = away.path().join("backup.tar");
    succeeded(&team.command(&["backup", "create", archive.to_str().unwrap()], None));
    // What is there stays: other bytes under a name are left out and reported.
    let third = Team::start().await;
    let token = third.token("developer", &[]);
    let changed = Wheel::new("acme-one", "3.0").payload(1).build();
    assert_eq!(
        Form::of("acme-one", "3.0", &changed)
            .send(&third.server.legacy(), Some(&token))
            .await
            .status
            .as_u16(),
        200
    );
    let partly = third.command(&["backup", "restore", archive.to_str().unwrap()], None);
    assert_eq!(partly.status.code(), Some(1));
    assert!(
        text(&partly).contains("other bytes are there under this name"),
        "{}",
        text(&partly)
    );
    assert!(
        text(&partly).contains("2 restored, 0 there already, 1 left out"),
        "{}",
        text(&partly)
    );
    assert!(text(&partly).contains("tokens stay as they are"));
    // A damaged backup puts nothing in that is not what it was.
    let mut bytes = fs::read(&archive).unwrap();
    let at = bytes
        .windows(20)
        .position(|window| window == &package("1.0").bytes[5000..5020])
        .unwrap();
    bytes[at] ^= 1;
    let damaged = away.path().join("damaged.tar");
    fs::write(&damaged, bytes).unwrap();
    let fourth = Team::start().await;
    let refused = fourth.command(&["backup", "restore", damaged.to_str().unwrap()], None);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("is no whole backup"),
        "{}",
        text(&refused)
    );
    assert!(files(&fourth.server, "acme-one").await.is_empty());
    let refused = fourth.command(
        &["backup", "restore", "--partial", damaged.to_str().unwrap()],
        None,
    );
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("not those of its digest"),
        "{}",
        text(&refused)
    );
    assert_eq!(files(&fourth.server, "acme-one").await.len(), 2);
}
