//! Uploads as they should not be: fields, digests, names, archives, forms; and what is left of them: nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::io::Write as _;

use hyper::Method;
use pypicache_tests::client::{get, post, raw, send};
use pypicache_tests::form::{BOUNDARY, Form, basic};
use pypicache_tests::package::{Package, Wheel, noise, sdist, sha256};
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

/// The same with other bytes in the place of the package's, and their digest.
fn of_bytes(filename: &str, bytes: Vec<u8>) -> Form {
    let mut form = good().named(filename).with("sha256_digest", &sha256(&bytes));
    form.fields.retain(|(name, _)| name != "content");
    form.fields.push(("content".to_owned(), bytes.into()));
    form
}

/// Everything below the directory of the hosted source, records left out.
fn left_behind(team: &Team) -> usize {
    let root = team.root.path().join(".local/share/pypicache/v1/hosted/private");
    files_below(&root.join("files"))
        + files_below(&root.join("staging"))
        + files_below(&root.join("projects"))
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
            of_bytes("acme_one-1.0-py3-none-any.whl", noise(1000)),
            400,
            "does not begin with",
        ),
        (
            "no sdist",
            of_bytes("acme_one-1.0.tar.gz", noise(1000)).with("filetype", "sdist"),
            400,
            "cannot be read",
        ),
        (
            "a spelling of the past",
            of_bytes("acme-one-1.0.tar.gz", noise(10)).with("filetype", "sdist"),
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
        assert_eq!(left_behind(&team), 0, "{what}");
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
    assert_eq!(left_behind(&team), 0);
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
async fn forms_that_attack_are_bounded() {
    let team = Team::start().await;
    let token = team.token("developer", &[]);
    let authorization = basic(&token);
    let sent = async |content_type: &str, body: Vec<u8>| {
        let headers = [("content-type", content_type), ("authorization", &*authorization)];
        post(&team.server.legacy(), &headers, body).await.status.as_u16()
    };
    let multipart = format!("multipart/form-data; boundary={BOUNDARY}");
    let part = |name: &str, value: &str| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = good().body();
    assert_eq!(sent("text/plain", body.clone()).await, 400);
    assert_eq!(sent("multipart/form-data", body.clone()).await, 400);
    assert_eq!(
        sent(
            &format!("multipart/form-data; boundary={}", "b".repeat(200)),
            body.clone()
        )
        .await,
        400
    );
    assert_eq!(
        sent(&multipart, body[..body.len() - 40].to_vec()).await,
        400,
        "without its end"
    );
    assert_eq!(
        sent(&multipart, body[..body.len() / 2].to_vec()).await,
        400,
        "half of it"
    );
    assert_eq!(sent(&multipart, noise(100_000)).await, 400);
    assert_eq!(
        sent(&multipart, part("x", "").repeat(100_000).into_bytes()).await,
        413,
        "a hundred thousand fields"
    );
    assert_eq!(
        sent(&multipart, part("description", &"x".repeat(9 << 20)).into_bytes()).await,
        413,
        "a text of 9 MiB"
    );
    let header = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"x\"\r\nX-Long: {}",
        "x".repeat(8 << 20)
    );
    assert_eq!(
        sent(&multipart, header.into_bytes()).await,
        413,
        "a header of 8 MiB"
    );
    let twice = [part("name", "acme-one"), part("name", "acme-two")].concat();
    assert_eq!(sent(&multipart, twice.into_bytes()).await, 400);
    let memory = peak_memory(&team.server);
    assert!(memory < 96 * 1024, "it took {memory} kB");
    assert_eq!(left_behind(&team), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_that_attack_are_bounded() {
    let team = Team::start().await;
    let token = team.token("developer", &[]);
    let gzip = |bytes: &mut dyn Iterator<Item = Vec<u8>>| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        bytes.for_each(|piece| encoder.write_all(&piece).unwrap());
        encoder.finish().unwrap()
    };
    // 4 GiB of zeros behind a header that announces them.
    let mut header = tar::Header::new_gnu();
    header.set_path("acme_one-1.0/bomb").unwrap();
    header.set_size(4 << 30);
    header.set_cksum();
    let mut pieces =
        std::iter::once(header.as_bytes().to_vec()).chain(std::iter::repeat_n(vec![0; 1 << 20], 4096));
    let bomb = gzip(&mut pieces);
    // A hundred thousand members, and one more.
    let mut many = (0..100_002).map(|number| {
        let mut header = tar::Header::new_gnu();
        header.set_path(format!("acme_one-1.0/{number}")).unwrap();
        header.set_size(0);
        header.set_cksum();
        header.as_bytes().to_vec()
    });
    let many = gzip(&mut many);
    // A zip that announces two million members where there are four.
    let mut zip = package().bytes.to_vec();
    let end = zip.len() - 22;
    zip[end + 10..end + 12].copy_from_slice(&[0xff, 0xff]);
    let before = used_seconds(&team.server);
    for (what, form) in [
        (
            "a bomb",
            of_bytes("acme_one-1.0.tar.gz", bomb).with("filetype", "sdist"),
        ),
        (
            "many members",
            of_bytes("acme_one-1.0.tar.gz", many).with("filetype", "sdist"),
        ),
        ("a zip that lies", of_bytes("acme_one-1.0-py3-none-any.whl", zip)),
    ] {
        let reply = form.send(&team.server.legacy(), Some(&token)).await;
        assert_eq!(reply.status.as_u16(), 400, "{what}: {:?}", reply.body);
    }
    let (memory, seconds) = (peak_memory(&team.server), used_seconds(&team.server) - before);
    println!("peak memory {memory} kB, processor time {seconds:.1} s");
    assert!(memory < 128 * 1024, "it took {memory} kB");
    assert!(seconds < 30.0, "it took {seconds} s of processor time");
    assert_eq!(left_behind(&team), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_before_the_file_is_sent() {
    let team = Team::with("", "projects = [\"acme-*\"]\nmax-upload-size = \"1 MB\"", "").await;
    let token = team.token("developer", &[]);
    let ask = |authorization: &str, length: u64| {
        format!(
            "POST /legacy/ HTTP/1.1\r\nHost: x\r\n{authorization}Content-Type: multipart/form-data; boundary=b\r\n\
             Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let told = raw(&team.server.url, ask("", 1000).as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 401 "), "{told}");
    let right = format!("Authorization: {}\r\n", basic(&token));
    let told = raw(&team.server.url, ask(&right, 1 << 40).as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 413 "), "{told}");
    let told = raw(&team.server.url, ask(&right, 1000).as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 100 "), "{told}");
    let large = Wheel::new("acme-one", "1.0").payload(1_100_000).build();
    let reply = Form::of("acme-one", "1.0", &large)
        .send(&team.server.legacy(), Some(&token))
        .await;
    assert_eq!(reply.status.as_u16(), 413);
    assert_eq!(left_behind(&team), 0);
    // The client's answer is in the status line too, where twine looks for it.
    let body = String::from_utf8_lossy(&good().with("version", "one").without("content").body()).into_owned();
    let asked = format!(
        "POST /legacy/ HTTP/1.1\r\nHost: x\r\n{right}Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let told = raw(&team.server.url, asked.as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 400 the form has no file"), "{told}");
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

fn status_of(server: &Server, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process())).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// In kB.
fn peak_memory(server: &Server) -> u64 {
    status_of(server, "VmHWM")
}

fn used_seconds(server: &Server) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.process())).unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // User and system time, in hundredths of a second on Linux.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
