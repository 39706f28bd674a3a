//! Trusted publishing: jobs of a CI system that upload without a secret, vouched for by a local issuer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use pypicache_tests::client::{Reply, get, post};
use pypicache_tests::form::Form;
use pypicache_tests::issuer::Issuer;
use pypicache_tests::package::Wheel;
use pypicache_tests::python::{Environment, succeeded, text};
use pypicache_tests::team::{Team, files};
use pypicache_tests::tls::TlsFront;
use serde_json::{Value, json};

async fn start(claims: &str) -> (Team, Issuer) {
    let issuer =
        Issuer::start(json!({ "repository": "acme/tools", "ref": "refs/tags/v1", "environment": "release" }))
            .await;
    let front = format!(
        "trusted-proxies = [\"127.0.0.1\"]\n[[access.publisher]]\nissuer = \"{}\"\nprojects = [\"acme-one\"]\nclaims = {claims}\n",
        issuer.url.as_str().trim_end_matches('/')
    );
    (Team::with(&front, "projects = [\"acme-*\"]", "").await, issuer)
}

const CLAIMS: &str = "{ repository = \"acme/tools\", ref = \"refs/tags/*\" }";

static COUNT: AtomicU16 = AtomicU16::new(1);

async fn mint_from(team: &Team, address: &str, body: String) -> Reply {
    let headers = [("content-type", "application/json"), ("x-forwarded-for", address)];
    post(&team.url("_/oidc/mint-token"), &headers, body.into_bytes()).await
}

async fn mint(team: &Team, identity: &str) -> Reply {
    let body = json!({ "token": identity }).to_string();
    // Each from an address of its own, so that nobody is slowed.
    let address = format!("2001:db8:{:x}::1", COUNT.fetch_add(1, Ordering::Relaxed));
    mint_from(team, &address, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_publishes_without_a_secret() {
    let ((team, issuer), home) = (start(CLAIMS).await, tempfile::tempdir().unwrap());
    let package = Wheel::new("acme-one", "1.0").build();
    let path = package.write(home.path());
    let tools = Environment::new(home.path(), "tools");
    // uv asks for tokens over TLS only.
    let front = TlsFront::start(team.server.socket()).await;
    let authority = home.path().join("ca.pem");
    std::fs::write(&authority, &front.authority).unwrap();
    let legacy = format!("https://localhost:{}/legacy/", front.address.port())
        .parse()
        .unwrap();
    let tools = tools.trusting(&authority);
    let published = tools.uv_publish_as_job(&legacy, &issuer.url.join("job").unwrap(), &[&path]);
    succeeded(&published);
    assert_eq!(files(&team.server, "acme-one").await.len(), 1);
    let admin = team.token("admin", &[]);
    assert!(team.done(&["show", "acme-one"], &admin).contains("by acme/tools"));

    let token = mint(&team, &issuer.token(&json!({}))).await.json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let upload = async |project: &'static str| {
        let package = Wheel::new(project, "2.0").build();
        Form::of(project, "2.0", &package)
            .send(&team.server.legacy(), Some(&token))
            .await
            .status
            .as_u16()
    };
    assert_eq!(
        (upload("acme-one").await, upload("acme-two").await),
        (200, 403),
        "for its projects only"
    );
    let refused = team.command(&["yank", "acme-one", "2.0"], Some(&token));
    assert!(text(&refused).contains("scope manage"), "{}", text(&refused));
    // The issuer's keys may change.
    issuer.change_key();
    let at_once = mint(&team, &issuer.token(&json!({}))).await.status.as_u16();
    assert!(
        matches!(at_once, 200 | 422),
        "keys are looked at again, but not at every request: {at_once}"
    );
    assert!(!team.server.output().contains(token.rsplit('-').next().unwrap()));
}

/// What it is, the token, and what is said to it.
fn bad_tokens(issuer: &Issuer, elsewhere: &Issuer, parts: &[String]) -> Vec<(&'static str, String, u16)> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let broken: String = parts[2].chars().rev().collect();
    vec![
        (
            "another repository",
            issuer.token(&json!({ "repository": "evil/tools" })),
            403,
        ),
        (
            "a branch",
            issuer.token(&json!({ "ref": "refs/heads/main" })),
            403,
        ),
        (
            "without a claim",
            issuer.token(&json!({ "repository": null })),
            403,
        ),
        (
            "a claim of another type",
            issuer.token(&json!({ "repository": ["acme/tools"] })),
            403,
        ),
        ("another audience", issuer.token(&json!({ "aud": "pypi" })), 422),
        ("no audience", issuer.token(&json!({ "aud": null })), 422),
        ("expired", issuer.token(&json!({ "exp": now - 120 })), 422),
        ("without an end", issuer.token(&json!({ "exp": null })), 422),
        (
            "an end that is no number",
            issuer.token(&json!({ "exp": "never" })),
            422,
        ),
        ("not valid yet", issuer.token(&json!({ "nbf": now + 600 })), 422),
        (
            "a beginning that is no number",
            issuer.token(&json!({ "nbf": "always" })),
            422,
        ),
        ("from the future", issuer.token(&json!({ "iat": now + 600 })), 422),
        (
            "another issuer's name",
            issuer.token(&json!({ "iss": "https://issuer.example" })),
            403,
        ),
        ("another issuer", elsewhere.token(&json!({})), 403),
        (
            "another issuer in our issuer's name",
            elsewhere.token(&json!({ "iss": issuer.url.as_str().trim_end_matches('/') })),
            422,
        ),
        ("a forged signature", issuer.forged(&json!({})), 422),
        (
            "a broken signature",
            [&*parts[0], &parts[1], &broken].join("."),
            422,
        ),
        ("no signature", format!("{}.{}.", parts[0], parts[1]), 422),
        ("nonsense", "nonsense".to_owned(), 422),
        ("nothing", String::new(), 422),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_tokens_that_are_not_good_get_nothing() {
    let (team, issuer) = start(CLAIMS).await;
    let elsewhere = Issuer::start(json!({ "repository": "acme/tools", "ref": "refs/tags/v1" })).await;
    let good = issuer.token(&json!({}));
    let parts: Vec<_> = good.split('.').map(str::to_owned).collect();
    let cases = bad_tokens(&issuer, &elsewhere, &parts);
    for (what, identity, status) in cases {
        let reply = mint(&team, &identity).await;
        assert_eq!(reply.status.as_u16(), status, "{what}: {:?}", reply.body);
        assert!(reply.json()["errors"][0]["description"].is_string(), "{what}");
    }
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    assert_eq!(
        mint(&team, &format!("{none}.{}.", parts[1]))
            .await
            .status
            .as_u16(),
        422,
        "the algorithm none"
    );
    assert_eq!(
        mint(&team, &good).await.status.as_u16(),
        200,
        "and a good one gets a token"
    );
    assert_eq!(
        post(&team.url("_/oidc/mint-token"), &[], b"{".to_vec())
            .await
            .status
            .as_u16(),
        422
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_tries_tokens_is_slowed() {
    let (team, issuer) = start(CLAIMS).await;
    let mut statuses = Vec::new();
    for _ in 0..11 {
        let body = json!({ "token": issuer.forged(&json!({})) }).to_string();
        statuses.push(mint_from(&team, "192.0.2.1", body).await.status.as_u16());
    }
    assert_eq!((&statuses[..10], statuses[10]), (&[422; 10][..], 429));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_publishers_there_is_no_such_thing() {
    let team = Team::start().await;
    assert_eq!(get(&team.url("_/oidc/audience"), &[]).await.status.as_u16(), 404);
    assert_eq!(mint(&team, "x").await.status.as_u16(), 404);
    let config = team.root.path().join("open.toml");
    std::fs::write(&config, "[[access.publisher]]\nissuer = \"github\"\n").unwrap();
    let checked = team.command(&["config", "check", "--config", config.to_str().unwrap()], None);
    assert!(
        text(&checked).contains("access.publisher.claims"),
        "every job of the world: {}",
        text(&checked)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_a_password_file_publish_and_install() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("htpasswd");
    let hash = bcrypt_of("open-sesame");
    std::fs::write(&path, format!("ann:{hash}\n")).unwrap();
    let front =
        format!("[access]\nanonymous-read = false\nhtpasswd = {path:?}\nhtpasswd-role = \"developer\"\n");
    let team = Team::with(&front, "projects = [\"acme-*\"]", "").await;
    let package = Wheel::new("acme-one", "1.0").build().write(home.path());
    let tools = Environment::new(home.path(), "tools");
    succeeded(&tools.twine_upload_as(&team.server.legacy(), "ann", "open-sesame", &[&package]));
    assert!(
        !tools
            .twine_upload_as(&team.server.legacy(), "ann", "guess", &[&package])
            .status
            .success()
    );
    let mut index = team.server.index();
    index.set_username("ann").unwrap();
    index.set_password(Some("open-sesame")).unwrap();
    succeeded(&Environment::new(home.path(), "pip").pip_install(&index, &["acme-one"]));
    assert!(!team.server.output().contains("open-sesame"));
}

/// By the system's own crypt, which is not the code under test.
fn bcrypt_of(password: &str) -> String {
    let script =
        "import crypt, sys; print(crypt.crypt(sys.argv[1], crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))";
    let output = Command::new("python3")
        .args(["-W", "ignore", "-c", script, password])
        .output()
        .unwrap();
    let hash: Value = String::from_utf8(output.stdout).unwrap().trim().into();
    hash.as_str().unwrap().to_owned()
}
