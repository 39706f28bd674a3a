//! Uploads as they should not be: fields, digests, names, archives, forms; and what is left of them: nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use hyper::Method;
use pypicache_tests::client::{get, send};
use pypicache_tests::form::Form;
use pypicache_tests::package::{Package, Wheel, noise, sdist};
use pypicache_tests::process::Server;
use pypicache_tests::team::{Team, files};
use pypicache_tests::tiers::files_below;

/// A form for the one package of these tests.
fn good() -> Form {
    Form::of("acme-one", "1.0", &package())
}

fn package() -> Package {
    Wheel::new("acme-one", "1.0").build()
}

/// What it is, the form, and what is said to it.
type Misfit = (&'static str, Form, u16, &'static str);

fn misfits_of_fields() -> Vec<Misfit> {
    vec![
        ("no name", good().without("name"), 400, "no name"),
        ("no version", good().without("version"), 400, "no version"),
        ("no file", good().without("content"), 400, "no file"),
        (
            "another action",
            good().with(":action", "submit"),
            400,
            "file_upload",
        ),
        (
            "another project in the form",
            good().with("name", "acme-two"),
            400,
            "no file name of",
        ),
        (
            "another version in the form",
            good().with("version", "2.0"),
            400,
            "no file name of",
        ),
        ("no version at all", good().with("version", "one"), 400, "PEP 440"),
        (
            "a bad name",
            good().with("name", "-acme"),
            400,
            "not a project name",
        ),
        (
            "another project in METADATA",
            good()
                .with("name", "acme-two")
                .named("acme_two-1.0-py3-none-any.whl"),
            400,
            "does not belong",
        ),
        (
            "another version in METADATA",
            good()
                .with("version", "2.0")
                .named("acme_one-2.0-py3-none-any.whl"),
            400,
            "does not belong",
        ),
        (
            "a wrong kind",
            good().with("filetype", "sdist"),
            400,
            "is no sdist",
        ),
    ]
}

fn misfits_of_files() -> Vec<Misfit> {
    vec![
        (
            "an egg",
            good()
                .with("filetype", "bdist_egg")
                .named("acme_one-1.0-py3.8.egg"),
            400,
            "is no bdist_egg",
        ),
        (
            "a path",
            good().named("../acme_one-1.0-py3-none-any.whl"),
            400,
            "file name",
        ),
        (
            "a backslash",
            good().named("a\\acme_one-1.0-py3-none-any.whl"),
            400,
            "file name",
        ),
        (
            "a wrong digest",
            good().with("sha256_digest", &"0".repeat(64)),
            400,
            "sha256 digest",
        ),
        (
            "a wrong BLAKE2",
            good().with("blake2_256_digest", &"0".repeat(64)),
            400,
            "blake2_256 digest",
        ),
        (
            "a wrong MD5",
            good().with("md5_digest", &"0".repeat(32)),
            400,
            "md5 digest",
        ),
        (
            "odd tags",
            good().named("acme_one-1.0-build-py3-none-any.whl"),
            400,
            "name-version",
        ),
        (
            "no wheel",
            good().holding("acme_one-1.0-py3-none-any.whl", noise(1000)),
            400,
            "does not begin with",
        ),
        (
            "no sdist",
            good()
                .holding("acme_one-1.0.tar.gz", noise(1000))
                .with("filetype", "sdist"),
            400,
            "cannot be read",
        ),
        (
            "a spelling of the past",
            good()
                .holding("acme-one-1.0.tar.gz", noise(10))
                .with("filetype", "sdist"),
            400,
            "PEP 625",
        ),
        (
            "attestations that are none",
            good().with("attestations", "{}"),
            400,
            "attestations",
        ),
        (
            "a name that is not ours",
            Form::of("six", "1.0", &Wheel::new("six", "1.0").build()),
            403,
            "no hosted source",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let team = Team::start().await;
    let token = team.token("developer", &[]);
    let refused = misfits_of_fields().into_iter().chain(misfits_of_files());
    for (what, form, status, detail) in refused {
        let reply = form.send(&team.server.legacy(), Some(&token)).await;
        let told = String::from_utf8_lossy(reply.bytes()).into_owned();
        assert_eq!(reply.status.as_u16(), status, "{what}: {told}");
        assert!(told.contains(detail), "{what}: {told}");
        assert_eq!(team.left_behind(), 0, "{what}");
    }
    assert!(files(&team.server, "acme-one").await.is_empty());
    assert_eq!(team.upstream.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_is_taken_however_it_is_said() {
    let team = Team::start().await;
    let token = team.token("developer", &[]);
    let mut backwards = good();
    backwards.fields.reverse();
    let md5 = "blake2_256_digest";
    let forms = [
        ("in any order of fields", backwards),
        (
            "with digits in capitals",
            good().with("sha256_digest", &package().sha256.to_uppercase()),
        ),
        ("without a digest", good().without("sha256_digest")),
        (
            "with empty fields, as pdm sends them",
            good()
                .with(md5, "")
                .with("requires_python", "")
                .with("license", "UNKNOWN"),
        ),
        (
            "with a name in another spelling",
            good().with("name", "Acme.One").with("version", "1.0.0"),
        ),
        (
            "with a long description",
            good().with("description", &"long ".repeat(400_000)),
        ),
    ];
    for (what, form) in forms {
        let reply = form.send(&team.server.legacy(), Some(&token)).await;
        assert_eq!(reply.status.as_u16(), 200, "{what}: {:?}", reply.body);
    }
    let source = Form::of("acme-one", "1.0", &sdist("acme-one", "1.0"));
    assert_eq!(
        source
            .send(&team.server.legacy(), Some(&token))
            .await
            .status
            .as_u16(),
        200
    );
    assert_eq!(files(&team.server, "acme-one").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn attestations_are_kept_and_served() {
    use base64::Engine as _;
    let team = Team::with(
        "external-url = \"https://pypi.team.example/\"",
        "projects = [\"acme-*\"]",
        "",
    )
    .await;
    let (token, package) = (team.token("developer", &[]), package());
    let statement = |digest: &str| {
        let statement =
            serde_json::json!({ "subject": [{ "name": package.filename, "digest": { "sha256": digest } }] });
        let envelope = serde_json::json!({ "statement": base64::engine::general_purpose::STANDARD.encode(statement.to_string()), "signature": "AA==" });
        serde_json::json!([{ "version": 1, "verification_material": {}, "envelope": envelope }]).to_string()
    };
    let wrong = good()
        .with("attestations", &statement(&"0".repeat(64)))
        .send(&team.server.legacy(), Some(&token))
        .await;
    assert_eq!(wrong.status.as_u16(), 400);
    assert_eq!(team.left_behind(), 0);
    let right = good()
        .with("attestations", &statement(&package.sha256))
        .send(&team.server.legacy(), Some(&token))
        .await;
    assert_eq!(right.status.as_u16(), 200, "{:?}", right.body);
    let path = format!("integrity/acme-one/1.0/{}/provenance", package.filename);
    assert_eq!(
        files(&team.server, "acme-one").await[0]["provenance"],
        format!("https://pypi.team.example/{path}")
    );
    let served = get(
        &team.url(&path),
        &[("accept", "application/vnd.pypi.integrity.v1+json")],
    )
    .await;
    assert_eq!(
        served.header("content-type"),
        "application/vnd.pypi.integrity.v1+json"
    );
    let bundle = &served.json()["attestation_bundles"][0];
    assert_eq!(
        (
            &bundle["publisher"]["kind"],
            bundle["attestations"].as_array().unwrap().len()
        ),
        (&"pypicache".into(), 1)
    );
    assert_eq!(
        get(&team.url(&path), &[("accept", "text/html")])
            .await
            .status
            .as_u16(),
        406
    );
    let none = get(
        &team.url("integrity/acme-one/1.0/acme_one-9.0-py3-none-any.whl/provenance"),
        &[],
    )
    .await;
    assert_eq!(none.status.as_u16(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_uploads_and_goes_on_reading() {
    let team = Team::start().await;
    let token = team.token("developer", &[]);
    assert_eq!(
        good()
            .send(&team.server.legacy(), Some(&token))
            .await
            .status
            .as_u16(),
        200
    );
    let address = team.server.address();
    let config = team.root.path().join("team.toml");
    let Team { server, root, .. } = team;
    assert!(server.stop().success());
    let full = Server::start_limited(root.path(), &["--config", config.to_str().unwrap()], 200);
    assert_ne!(full.address(), address);
    let large = Wheel::new("acme-one", "2.0").payload(500_000).build();
    let reply = Form::of("acme-one", "2.0", &large)
        .send(&full.legacy(), Some(&token))
        .await;
    assert_eq!(reply.status.as_u16(), 507, "{:?}", reply.body);
    assert_eq!(files(&full, "acme-one").await.len(), 1);
    let hosted = root.path().join(".local/share/pypicache/v1/hosted/private");
    assert_eq!(files_below(&hosted.join("staging")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_than_post_upload_nothing() {
    let team = Team::start().await;
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        for path in ["legacy", "legacy/"] {
            let reply = send(method.clone(), &team.url(path), &[]).await;
            assert_eq!(
                (reply.status.as_u16(), reply.header("allow")),
                (405, "POST, OPTIONS"),
                "{method} {path}"
            );
        }
    }
    assert_eq!(
        send(Method::POST, &team.url("simple/"), &[])
            .await
            .status
            .as_u16(),
        405,
        "uv says what that means"
    );
}
