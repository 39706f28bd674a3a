//! Who may read, upload and manage: with the real tools, for every route and method, for guessers; and that no secret gets
//! into a log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::atomic::{AtomicU16, Ordering};

use hyper::Method;
use pypicache_tests::client::{Reply, get, post, send};
use pypicache_tests::form::{Form, basic};
use pypicache_tests::package::{Package, Wheel};
use pypicache_tests::process::{Server, command};
use pypicache_tests::python::{Environment, succeeded, text};
use pypicache_tests::team::Team;
use url::Url;

const CLOSED: &str = "[access]\nanonymous-read = false\n";

fn with_credentials(url: &Url, token: &str) -> Url {
    let mut url = url.clone();
    url.set_username("__token__").unwrap();
    url.set_password(Some(token)).unwrap();
    url
}

static COUNT: AtomicU16 = AtomicU16::new(1);

async fn asked(method: &Method, url: &Url, token: Option<&str>) -> Reply {
    // Each from an address of its own, where the server believes that: so nobody is slowed.
    let address = format!("2001:db8:{:x}::1", COUNT.fetch_add(1, Ordering::Relaxed));
    let authorization = token.map(basic);
    let mut headers: Vec<_> = authorization
        .as_deref()
        .map(|value| ("authorization", value))
        .into_iter()
        .collect();
    headers.push(("x-forwarded-for", &address));
    match *method {
        Method::POST => post(url, &headers, Vec::new()).await,
        _ => send(method.clone(), url, &headers).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_server_serves_those_who_have_a_token() {
    let (team, home) = (
        Team::with(CLOSED, "projects = [\"acme-*\"]", "").await,
        tempfile::tempdir().unwrap(),
    );
    let package = Wheel::new("acme-one", "1.0").build();
    let path = package.write(home.path());
    let (installer, developer) = (team.token("installer", &[]), team.token("developer", &[]));
    let tools = Environment::new(home.path(), "tools");

    for refused in [
        tools.twine_upload(&team.server.legacy(), None, &[&path]),
        tools.twine_upload(&team.server.legacy(), Some("wrong"), &[&path]),
        tools.twine_upload(&team.server.legacy(), Some(&installer), &[&path]),
        tools.uv_publish(&team.server.legacy(), None, &[&path], &[]),
        tools.uv_publish(&team.server.legacy(), Some(&installer), &[&path], &[]),
    ] {
        assert!(!refused.status.success(), "{}", text(&refused));
        let told = text(&refused);
        assert!(
            told.contains("Credential not found")
                || told.contains("401")
                || told.contains("403")
                || told.contains("scope upload"),
            "{told}"
        );
    }
    succeeded(&tools.twine_upload(&team.server.legacy(), Some(&developer), &[&path]));

    let environment = |name: &str| Environment::new(home.path(), name);
    assert!(
        !environment("a")
            .pip_install(&team.server.index(), &["acme-one"])
            .status
            .success()
    );
    assert!(
        !environment("b")
            .uv_install(&team.server.index(), &["acme-one"])
            .status
            .success()
    );
    let index = with_credentials(&team.server.index(), &installer);
    succeeded(&environment("c").pip_install(&index, &["acme-one"]));
    succeeded(&environment("d").uv_install(&index, &["acme-one"]));
    // netrc, as pip and uv read it.
    std::fs::write(
        home.path().join(".netrc"),
        format!("machine 127.0.0.1 login __token__ password {installer}\n"),
    )
    .unwrap();
    succeeded(&environment("e").pip_install(&team.server.index(), &["acme-one"]));
    succeeded(&environment("f").uv_install(&team.server.index(), &["acme-one"]));

    // A laptop's cache that has the token, and asks none of its own users for one.
    let laptop_home = tempfile::tempdir().unwrap();
    let laptop = Server::start(laptop_home.path(), &["--upstream", index.as_str()]);
    let other = tempfile::tempdir().unwrap();
    succeeded(&Environment::new(other.path(), "g").uv_install(&laptop.index(), &["acme-one"]));
    for server in [&team.server, &laptop] {
        assert!(!server.output().contains(&installer) && !server.output().contains(&developer));
    }
}

/// What each of the tokens below gets; for POST with an empty body, 400 means that it got in.
fn expected() -> [(Method, &'static str, [u16; 8]); 15] {
    [
        (Method::GET, "/", [200, 200, 200, 200, 200, 200, 200, 200]),
        (Method::GET, "-/live", [200, 200, 200, 200, 200, 200, 200, 200]),
        (Method::GET, "-/ready", [200, 200, 200, 200, 200, 200, 200, 200]),
        (Method::GET, "simple/", [401, 401, 200, 200, 403, 403, 401, 200]),
        (
            Method::GET,
            "simple/acme-one/",
            [401, 401, 200, 200, 403, 403, 401, 200],
        ),
        (
            Method::HEAD,
            "simple/acme-one/",
            [401, 401, 200, 200, 403, 403, 401, 200],
        ),
        (
            Method::GET,
            "simple/Acme_One",
            [401, 401, 301, 301, 301, 301, 401, 301],
        ),
        (
            Method::GET,
            "held/simple/acme-one/",
            [401, 401, 200, 200, 403, 403, 401, 200],
        ),
        (
            Method::GET,
            "files/private/acme-one/acme_one-1.0-py3-none-any.whl",
            [401, 401, 200, 200, 403, 403, 401, 200],
        ),
        (
            Method::GET,
            "files/private/acme-one/acme_one-1.0-py3-none-any.whl.metadata",
            [401, 401, 200, 200, 403, 403, 401, 200],
        ),
        (
            Method::GET,
            "-/why/acme-one",
            [401, 401, 200, 200, 403, 403, 401, 200],
        ),
        (
            Method::GET,
            "-/projects/acme-one",
            [401, 401, 403, 403, 403, 403, 401, 200],
        ),
        (
            Method::POST,
            "-/projects/acme-one",
            [401, 401, 403, 403, 403, 403, 401, 400],
        ),
        (Method::POST, "legacy/", [401, 401, 403, 400, 400, 400, 401, 400]),
        (Method::POST, "/", [401, 401, 403, 400, 400, 400, 401, 400]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_and_method_asks_for_its_scope() {
    let front = format!("trusted-proxies = [\"127.0.0.1\"]\n{CLOSED}");
    let team = Team::with(&front, "projects = [\"acme-*\", \"other\"]", "").await;
    let admin = team.token("admin", &[]);
    for (project, version) in [("acme-one", "1.0"), ("other", "1.0")] {
        let package = Wheel::new(project, version).build();
        assert_eq!(
            Form::of(project, version, &package)
                .send(&team.server.legacy(), Some(&admin))
                .await
                .status
                .as_u16(),
            200
        );
    }
    let tokens = [
        None,
        Some("pypicache-00000000-0000".to_owned()),
        Some(team.token("installer", &[])),
        Some(team.token("developer", &[])),
        Some(team.token("admin", &["--project", "other"])),
        Some(team.token("admin", &["--source", "elsewhere"])),
        Some(team.token("admin", &["--expires", "0.000001 s"])),
        Some(admin),
    ];
    let expected = expected();
    for (method, path, statuses) in &expected {
        for (token, status) in tokens.iter().zip(statuses) {
            let reply = asked(method, &team.url(path), token.as_deref()).await;
            let case = format!(
                "{method} {path} with token {:?}",
                tokens.iter().position(|known| known == token)
            );
            assert_eq!(reply.status.as_u16(), *status, "{case}");
            if *status == 401 {
                assert!(reply.header("www-authenticate").starts_with("Basic "), "{case}");
            }
        }
    }
    for method in [
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::TRACE,
        Method::CONNECT,
    ] {
        for path in [
            "simple/acme-one/",
            "legacy/",
            "-/projects/acme-one",
            "files/private/acme-one/acme_one-1.0-py3-none-any.whl",
        ] {
            let status = asked(&method, &team.url(path), tokens[7].as_deref())
                .await
                .status
                .as_u16();
            assert!(matches!(status, 400 | 405), "{method} {path}: {status}");
        }
    }
    let page = asked(&Method::GET, &team.url("simple/acme-one/"), tokens[2].as_deref()).await;
    assert!(
        page.header("cache-control").contains("private"),
        "{}",
        page.header("cache-control")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_project_changes_no_other() {
    let team = Team::with("", "projects = [\"acme-*\"]", "").await;
    let (all, one) = (
        team.token("admin", &[]),
        team.token("admin", &["--project", "acme-one"]),
    );
    let package = |name: &str| Wheel::new(name, "1.0").build();
    let upload = async |name: &'static str, token: &str| {
        Form::of(name, "1.0", &package(name))
            .send(&team.server.legacy(), Some(token))
            .await
            .status
            .as_u16()
    };
    assert_eq!(
        (
            upload("acme-two", &one).await,
            upload("acme-two", &all).await,
            upload("acme-one", &one).await
        ),
        (403, 200, 200)
    );
    for arguments in [
        &["yank", "acme-two", "1.0"][..],
        &["delete", "acme-two", "1.0"],
        &["delete", "acme-two", "--all"],
        &["status", "acme-two", "quarantined"],
        &["show", "acme-two"],
    ] {
        let output = team.command(arguments, Some(&one));
        assert!(
            !output.status.success() && text(&output).contains("not for the project"),
            "{}",
            text(&output)
        );
    }
    let _ = team.done(&["yank", "acme-one", "1.0"], &one);
    // A form may say two names; the file's own decides nothing either.
    let twice = Form::of("acme-one", "1.0", &package("acme-two"))
        .send(&team.server.legacy(), Some(&one))
        .await;
    assert_eq!(twice.status.as_u16(), 400);
    assert_eq!(
        upload("acme-three", &team.token("developer", &["--source", "elsewhere"])).await,
        403
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_tokens_are_worth_nothing_at_once() {
    let team = Team::with(CLOSED, "", "").await;
    let token = team.token("installer", &[]);
    let read = async || {
        asked(&Method::GET, &team.url("simple/"), Some(&token))
            .await
            .status
            .as_u16()
    };
    assert_eq!(read().await, 200);
    let listed = team.command(&["token", "list"], None);
    assert!(
        text(&listed).contains("a-installer") && !text(&listed).contains(&token),
        "{}",
        text(&listed)
    );
    succeeded(&team.command(&["token", "revoke", "a-installer"], None));
    assert_eq!(read().await, 401);
    assert_eq!(
        team.command(&["token", "revoke", "a-installer"], None)
            .status
            .code(),
        Some(1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_is_slowed_and_others_are_not() {
    let team = Team::with(CLOSED, "", "").await;
    let token = team.token("installer", &[]);
    let guess = async |number: usize| {
        asked(
            &Method::GET,
            &team.url("simple/"),
            Some(&format!("pypicache-{number:08x}-00")),
        )
        .await
    };
    let mut statuses = Vec::new();
    for number in 0..12 {
        statuses.push(guess(number).await.status.as_u16());
    }
    assert_eq!(statuses[..10], [401; 10]);
    let slowed = guess(12).await;
    assert_eq!((slowed.status.as_u16(), statuses[11]), (429, 429));
    assert!(slowed.header("retry-after").parse::<u32>().unwrap() >= 1);
    assert_eq!(
        asked(&Method::GET, &team.url("simple/"), Some(&token))
            .await
            .status
            .as_u16(),
        200
    );
    assert_eq!(
        get(&team.url("simple/"), &[]).await.status.as_u16(),
        401,
        "who has none is told to bring some"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_gets_into_a_log() {
    let upstream_password = "upstream-s3cret-password";
    let hosted = "projects = [\"acme-*\"]";
    let end = format!("username = \"ann\"\npassword = \"{upstream_password}\"\n");
    let team = Team::with(CLOSED, hosted, &end).await;
    let token = team.token("admin", &[]);
    let (wrong, bearer) = ("pypicache-deadbeef-guessed-secret", "Bearer bearer-s3cret-token");
    let package: Package = Wheel::new("acme-one", "1.0").build();
    for presented in [token.as_str(), wrong] {
        let _ = Form::of("acme-one", "1.0", &package)
            .send(&team.server.legacy(), Some(presented))
            .await;
        for path in [
            "simple/acme-one/",
            "simple/six/",
            "-/projects/acme-one",
            "simple/?token=query",
        ] {
            let _ = asked(&Method::GET, &team.url(path), Some(presented)).await;
        }
    }
    let _ = get(&team.url("simple/"), &[("authorization", bearer)]).await;
    let _ = team.command(&["-v", "yank", "acme-one", "1.0"], Some(&token));
    let mut serve = command(team.root.path());
    let checked = serve
        .args(["config", "check", "--config"])
        .arg(team.root.path().join("team.toml"))
        .output()
        .unwrap();
    let audit = std::fs::read_to_string(
        team.root
            .path()
            .join(".local/share/pypicache/v1/audit/audit.jsonl"),
    )
    .unwrap();
    let secret = token.rsplit('-').next().unwrap();
    for (name, log) in [
        ("log", team.server.output()),
        ("audit log", audit.clone()),
        ("config check", text(&checked)),
    ] {
        for hidden in [
            secret,
            "guessed-secret",
            "bearer-s3cret",
            upstream_password,
            &basic(&token)[6..],
            &basic(wrong)[6..],
        ] {
            assert!(!log.contains(hidden), "{hidden} in the {name}:\n{log}");
        }
    }
    for event in [
        "token-created",
        "token-used",
        "turned-away",
        "\"upload\"",
        "\"yank\"",
    ] {
        assert!(audit.contains(event), "{event}:\n{audit}");
    }
    let upload: serde_json::Value = audit
        .lines()
        .find(|line| line.contains("\"upload\""))
        .map(|line| serde_json::from_str(line).unwrap())
        .unwrap();
    assert_eq!(
        (&upload["who"], &upload["sha256"]),
        (&"a-admin".into(), &package.sha256.as_str().into())
    );
    assert_eq!(
        (&upload["from"], &upload["source"]),
        (&"127.0.0.1".into(), &"private".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_index_says_who_reads_it() {
    let further = "[[index]]\nname = \"open\"\nsources = [\"private\"]\nanonymous-read = true\n[[index]]\nname = \"closed\"\nsources = [\"private\"]\n";
    let team = Team::with(CLOSED, "projects = [\"acme-*\"]", further).await;
    let token = team.token("developer", &[]);
    let package = Wheel::new("acme-one", "1.0").build();
    // Uploads go to an index's hosted source, by whichever index they come.
    let sent = Form::of("acme-one", "1.0", &package)
        .send(&team.url("closed/legacy/"), Some(&token))
        .await;
    assert_eq!(sent.status.as_u16(), 200);
    let statuses = async |path: &str| asked(&Method::GET, &team.url(path), None).await.status.as_u16();
    assert_eq!(statuses("open/simple/acme-one/").await, 200);
    assert_eq!(
        statuses(&format!("open/files/private/acme-one/{}", package.filename)).await,
        200
    );
    assert_eq!(
        (
            statuses("simple/acme-one/").await,
            statuses("closed/simple/acme-one/").await
        ),
        (401, 401)
    );
    assert_eq!(
        asked(&Method::POST, &team.url("open/legacy/"), None)
            .await
            .status
            .as_u16(),
        401,
        "reading is all"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn web_pages_of_others_change_nothing() {
    let team = Team::start().await;
    let token = team.token("admin", &[]);
    let authorization = basic(&token);
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "null"),
    ] {
        for path in ["legacy/", "-/projects/acme-one"] {
            let reply = post(
                &team.url(path),
                &[("authorization", &authorization), (name, value)],
                Vec::new(),
            )
            .await;
            assert_eq!(reply.status.as_u16(), 403, "{name}: {value}");
        }
    }
    let own = [
        ("authorization", &*authorization),
        ("origin", team.server.url.as_str().trim_end_matches('/')),
    ];
    assert_eq!(
        post(&team.url("legacy/"), &own, Vec::new()).await.status.as_u16(),
        400,
        "it got in"
    );
}
