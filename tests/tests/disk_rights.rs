//! Who may use what is on the disk: modes, owners, locks, links.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use hyper::StatusCode;
use pypicache_tests::client::{get, get_json};
use pypicache_tests::form::Form;
use pypicache_tests::package::{Package, Wheel};
use pypicache_tests::process::{Server, command};
use pypicache_tests::python::{succeeded, text};
use pypicache_tests::team::{Team, files};
use pypicache_tests::upstream::Upstream;

/// Nobody in particular.
const OTHER: u32 = 65_534;

fn package(version: &str) -> Package {
    Wheel::new("acme-one", version).payload(1000).build()
}

/// Everything below a directory, and itself.
fn everything(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.symlink_metadata().unwrap().is_dir() {
            true => found.extend(everything(&path)),
            false => found.push(path),
        }
    }
    found
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

/// A configuration with a hosted source, in a home of its own.
fn configured(home: &Path, upstream: &Upstream) -> PathBuf {
    let config = home.join("team.toml");
    let text = format!(
        "prefetch = false\n[data]\ndir = \"data\"\n[[source]]\nname = \"private\"\nhosted = true\nprojects = [\"acme-*\"]\n\
         [[source]]\nname = \"pypi\"\nupstream = \"{}\"\n",
        upstream.url()
    )
    .replace("\"data\"", &format!("{:?}", home.join("data")));
    fs::write(&config, text).unwrap();
    config
}

fn run(home: &Path, config: &Path, arguments: &[&str]) -> Output {
    let mut command = command(home);
    command
        .args(arguments)
        .arg("--config")
        .arg(config)
        .output()
        .unwrap()
}

fn token(home: &Path, config: &Path) -> String {
    let made = run(
        home,
        config,
        &["token", "create", "--name", "ci", "--role", "admin"],
    );
    succeeded(&made);
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// Uploads, caches, logs, and backs up: everything that writes.
async fn use_everything(home: &Path, config: &Path, server: &Server, upstream: &Upstream, token: &str) {
    upstream.add("six", Wheel::new("six", "1.0").build());
    let uploaded = Form::of("acme-one", "1.0", &package("1.0"))
        .send(&server.legacy(), Some(token))
        .await;
    assert_eq!(uploaded.status, StatusCode::OK);
    let page = server.index().join("six/").unwrap();
    let href = get_json(&page).await.json()["files"][0]["url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(get(&page.join(&href).unwrap(), &[]).await.status, StatusCode::OK);
    let folder = tempfile::tempdir().unwrap();
    package("2.0").write(folder.path());
    succeeded(&run(home, config, &["import", folder.path().to_str().unwrap()]));
    succeeded(&run(
        home,
        config,
        &["backup", "create", home.join("backup.tar").to_str().unwrap()],
    ));
    assert_eq!(
        get(&server.url.join("-/ready").unwrap(), &[]).await.status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_its_owners_alone_whatever_the_umask() {
    for (umask, line) in [
        ("000", "umask 000; exec \"$0\" \"$@\""),
        ("177", "umask 177; exec \"$0\" \"$@\""),
    ] {
        let (upstream, home) = (Upstream::start().await, tempfile::tempdir().unwrap());
        let config = configured(home.path(), &upstream);
        let server = Server::start_through(home.path(), &["--config", config.to_str().unwrap()], line);
        let token = token(home.path(), &config);
        use_everything(home.path(), &config, &server, &upstream, &token).await;
        let (cache, data) = (home.path().join("cache"), home.path().join("data"));
        assert_eq!(mode(&home.path().join("backup.tar")), 0o600);
        assert!(server.stop().success());
        for path in [everything(&cache), everything(&data)].concat() {
            let wanted = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(&path), wanted, "umask {umask}: {}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_version_left_open_is_closed_and_what_is_shared_on_purpose_stays_shared() {
    let (upstream, home) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let config = configured(home.path(), &upstream);
    let (cache, data) = (home.path().join("cache"), home.path().join("data"));
    for directory in [
        cache.join("v1/blobs"),
        data.join("v1/audit"),
        data.join("v1/hosted/private"),
    ] {
        fs::create_dir_all(directory).unwrap();
    }
    for path in everything(&cache) {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    // As a umask of 022 leaves it below a directory that hands its group on.
    for path in everything(&data) {
        fs::set_permissions(path, Permissions::from_mode(0o2755)).unwrap();
    }
    fs::set_permissions(&data, Permissions::from_mode(0o2770)).unwrap();
    let server = Server::start(home.path(), &["--config", config.to_str().unwrap()]);
    let token = token(home.path(), &config);
    use_everything(home.path(), &config, &server, &upstream, &token).await;
    assert!(server.stop().success());
    assert_eq!(mode(&cache.join("v1")), 0o700);
    for path in everything(&data.join("v1")) {
        assert_eq!(mode(&path) & 0o007, 0, "{}", path.display());
        if path.is_file() {
            assert_eq!(mode(&path), 0o660, "{}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_root_writes_belongs_to_the_owner_of_the_directory() {
    let (upstream, home) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let config = configured(home.path(), &upstream);
    let (cache, data) = (home.path().join("cache"), home.path().join("data"));
    for directory in [&cache, &data] {
        fs::create_dir(directory).unwrap();
        if chown(directory, Some(OTHER), Some(OTHER)).is_err() {
            eprintln!("only root can give a directory to somebody else: nothing to see");
            return;
        }
    }
    let token = token(home.path(), &config);
    let server = Server::start(home.path(), &["--config", config.to_str().unwrap()]);
    use_everything(home.path(), &config, &server, &upstream, &token).await;
    succeeded(&run(
        home.path(),
        &config,
        &[
            "backup",
            "restore",
            home.path().join("backup.tar").to_str().unwrap(),
        ],
    ));
    assert!(server.stop().success());
    for path in [everything(&cache), everything(&data)].concat() {
        assert_eq!(
            path.symlink_metadata().unwrap().uid(),
            OTHER,
            "{}",
            path.display()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_let_nobody_in_or_account_for_nothing_is_not_ready() {
    let team = Team::start().await;
    let _ = team.token("admin", &[]);
    let v1 = team.root.path().join(".local/share/pypicache/v1");
    let (tokens, audit) = (v1.join("tokens.json"), v1.join("audit"));
    let good = fs::read(&tokens).unwrap();
    let ready = async || get(&team.url("-/ready"), &[]).await;
    assert_eq!(ready().await.status, StatusCode::OK);
    fs::write(&tokens, "{").unwrap();
    let told = ready().await;
    assert_eq!(told.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(told.json()["status"], "tokens or users cannot be read");
    assert!(told.json()["detail"].is_string());
    fs::write(&tokens, good).unwrap();
    assert_eq!(ready().await.status, StatusCode::OK);
    fs::remove_dir_all(&audit).unwrap();
    fs::write(&audit, "no directory").unwrap();
    assert_eq!(ready().await.json()["status"], "the audit log cannot be written");
    fs::remove_file(&audit).unwrap();
    assert_eq!(ready().await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_a_lock_hangs_nobody_and_is_named() {
    let team = Team::start().await;
    let token = team.token("admin", &[]);
    assert_eq!(
        Form::of("acme-one", "1.0", &package("1.0"))
            .send(&team.server.legacy(), Some(&token))
            .await
            .status,
        StatusCode::OK
    );
    let v1 = team.root.path().join(".local/share/pypicache/v1");
    let locks = ["tokens.lock", "hosted/private/lock"]
        .map(|name| File::options().write(true).open(v1.join(name)).unwrap());
    for lock in &locks {
        lock.lock().unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    for version in ["3.0", "4.0", "5.0"] {
        package(version).write(folder.path());
    }
    let commands = [
        vec!["token", "revoke", "a-admin"],
        vec!["import", folder.path().to_str().unwrap()],
        vec!["yank", "acme-one", "1.0"],
    ];
    let begun = std::time::Instant::now();
    let ended = std::thread::scope(|scope| {
        let run = |arguments: &Vec<&str>| team.command(arguments, Some(&token));
        let running: Vec<_> = commands
            .iter()
            .map(|arguments| scope.spawn(move || run(arguments)))
            .collect();
        running
            .into_iter()
            .map(|running| running.join().unwrap())
            .collect::<Vec<_>>()
    });
    let upload = Form::of("acme-one", "2.0", &package("2.0"))
        .send(&team.server.legacy(), Some(&token))
        .await;
    assert_eq!(upload.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(upload.header("retry-after"), "60");
    assert!(begun.elapsed().as_secs() < 60);
    for (arguments, output) in commands.iter().zip(&ended) {
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(output));
    }
    let holder = format!("process {} (", std::process::id());
    assert!(
        text(&ended[0]).contains(&holder) && text(&ended[1]).contains(&holder),
        "{ended:?}"
    );
    team.server.says(&holder);
    drop(locks);
    succeeded(&team.command(&["token", "revoke", "a-admin"], None));
    succeeded(&team.command(&["import", folder.path().to_str().unwrap()], None));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_in_an_export_or_a_folder_is_followed() {
    let (team, export, outside) = (
        Team::start().await,
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let secret = package("9.0").write(outside.path());
    let name = secret.file_name().unwrap().to_str().unwrap();
    let directory = export.path().join("ann/dev");
    fs::create_dir_all(&directory).unwrap();
    symlink(&secret, directory.join(name)).unwrap();
    symlink(outside.path(), export.path().join("out")).unwrap();
    let fifo = directory.join("acme_one-8.0-py3-none-any.whl");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let climbing = format!(
        "ann/../../{}/{name}",
        outside.path().file_name().unwrap().to_str().unwrap()
    );
    let paths = [
        format!("ann/dev/{name}"),
        format!("out/{name}"),
        climbing,
        secret.display().to_string(),
        "ann/dev/acme_one-8.0-py3-none-any.whl".to_owned(),
    ];
    let entries: Vec<_> = paths
        .iter()
        .map(|path| serde_json::json!({ "type": "releasefile", "relpath": path, "entrymapping": {} }))
        .collect();
    let index = serde_json::json!({ "indexes": { "ann/dev": { "files": entries } } });
    for is_export in [true, false] {
        if is_export {
            fs::write(export.path().join("dataindex.json"), index.to_string()).unwrap();
        } else {
            fs::remove_file(export.path().join("dataindex.json")).unwrap();
        }
        for arguments in [
            vec!["import", export.path().to_str().unwrap()],
            vec!["import", export.path().to_str().unwrap(), "--dry-run"],
        ] {
            let done = team.command(&arguments, None);
            let count = if is_export { 5 } else { 3 };
            assert_eq!(done.status.code(), Some(1), "{}", text(&done));
            assert!(
                text(&done).contains(&format!("0 there already, {count} left out")),
                "{}",
                text(&done)
            );
            assert!(
                text(&done).contains("symbolic link") && text(&done).contains("no regular file"),
                "{}",
                text(&done)
            );
        }
        assert!(files(&team.server, "acme-one").await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_among_the_uploads_is_neither_served_nor_backed_up() {
    let team = Team::start().await;
    let token = team.token("admin", &[]);
    assert_eq!(
        Form::of("acme-one", "1.0", &package("1.0"))
            .send(&team.server.legacy(), Some(&token))
            .await
            .status,
        StatusCode::OK
    );
    let page = team.server.index().join("acme-one/").unwrap();
    let link = page
        .join(files(&team.server, "acme-one").await[0]["url"].as_str().unwrap())
        .unwrap();
    let stored = team
        .root
        .path()
        .join(".local/share/pypicache/v1/hosted/private/files/acme-one/acme_one-1.0-py3-none-any.whl");
    let secret = team.root.path().join("secret");
    fs::write(&secret, "a secret").unwrap();
    fs::remove_file(&stored).unwrap();
    symlink(&secret, &stored).unwrap();
    let served = get(&link, &[]).await;
    assert!(served.status.is_server_error(), "{}", served.status);
    let archive = team.root.path().join("backup.tar");
    let created = team.command(
        &["backup", "create", "--allow-empty", archive.to_str().unwrap()],
        None,
    );
    assert_eq!(created.status.code(), Some(1), "{}", text(&created));
    assert!(
        !fs::read(&archive)
            .unwrap()
            .windows(8)
            .any(|window| window == b"a secret")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_where_a_server_looks_and_once_for_each_name() {
    let team = Team::start().await;
    let create = |name: &str, more: &[&str]| {
        team.command(
            &[&["token", "create", "--role", "installer", "--name", name], more].concat(),
            None,
        )
    };
    succeeded(&create("ci", &[]));
    let again = create("ci", &[]);
    assert_eq!(
        (again.status.code(), again.stdout.len()),
        (Some(1), 0),
        "{}",
        text(&again)
    );
    assert!(text(&again).contains("already"), "{}", text(&again));
    let wrong = team.root.path().join("typo");
    let refused = create("other", &["--data-dir", wrong.to_str().unwrap()]);
    assert_eq!(
        (refused.status.code(), refused.stdout.len()),
        (Some(2), 0),
        "{}",
        text(&refused)
    );
    assert!(!wrong.exists());
    // A directory of something else.
    fs::create_dir(&wrong).unwrap();
    fs::write(wrong.join("letters.txt"), "").unwrap();
    assert_eq!(
        create("other", &["--data-dir", wrong.to_str().unwrap()])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(fs::read_dir(&wrong).unwrap().count(), 1);
    let fresh = team.root.path().join("fresh");
    succeeded(&create(
        "other",
        &["--data-dir", fresh.to_str().unwrap(), "--init-data"],
    ));
    let listed = team.command(&["token", "list"], None);
    assert_eq!(text(&listed).lines().count(), 1, "{}", text(&listed));
}
