//! How the server is reached: TLS with an authority of the test's own, certificates that change, and a real nginx in front
//! that has a path of its own for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::process::Command;

use pypicache_tests::client::{get, get_json};
use pypicache_tests::nginx::Nginx;
use pypicache_tests::package::Wheel;
use pypicache_tests::process::{Server, command};
use pypicache_tests::python::{Environment, succeeded, text};
use pypicache_tests::team::Team;
use pypicache_tests::tls::Authority;
use url::Url;

fn write_certificate(authority: &Authority, directory: &Path) {
    let (certificate, key) = authority.certificate();
    // The key first: a server that looks in between finds a pair that does not fit, and keeps the old one.
    std::fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(directory.join("cert.pem"), certificate.pem()).unwrap();
}

/// The serial number of the certificate that the server shows.
fn shown_serial(address: &str) -> String {
    let script = format!(
        "openssl s_client -connect {address} -servername localhost </dev/null 2>/dev/null | openssl x509 -noout -serial"
    );
    text(&Command::new("sh").args(["-c", &script]).output().unwrap())
}

/// A server that speaks TLS, with a token for it.
fn closed_tls_server(home: &Path) -> (Server, String) {
    let config = home.join("tls.toml");
    std::fs::write(
        &config,
        "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n[access]\nanonymous-read = false\n\
         [[source]]\nname = \"private\"\nhosted = true\nprojects = [\"acme-*\"]\n",
    )
    .unwrap();
    let config = config.to_str().unwrap();
    let server = Server::start(home, &["--config", config]);
    let arguments = [
        "token", "create", "--name", "ci", "--role", "admin", "--config", config,
    ];
    let output = command(home).args(arguments).output().unwrap();
    succeeded(&output);
    (
        server,
        String::from_utf8(output.stdout).unwrap().trim().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_over_tls_and_new_certificates_are_noticed() {
    let (home, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let ca = home.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    write_certificate(&authority, home.path());
    let (server, token) = closed_tls_server(home.path());
    assert_eq!(server.url.scheme(), "https");
    let mut url = server.url.clone();
    url.set_host(Some("localhost")).unwrap();
    let package = Wheel::new("acme-one", "1.0").build();
    let path = package.write(home.path());
    let tools = Environment::new(home.path(), "tools").trusting(&ca);
    succeeded(&tools.twine_upload(&url.join("legacy/").unwrap(), Some(&token), &[&path]));
    succeeded(&tools.uv_publish(&url.join("legacy/").unwrap(), Some(&token), &[&path], &[]));
    let untrusting = Environment::new(home.path(), "untrusting");
    assert!(
        !untrusting
            .twine_upload(&url.join("legacy/").unwrap(), Some(&token), &[&path])
            .status
            .success()
    );
    let mut index = url.join("simple/").unwrap();
    index.set_username("__token__").unwrap();
    index.set_password(Some(&token)).unwrap();
    succeeded(
        &Environment::new(home.path(), "pip")
            .trusting(&ca)
            .pip_install(&index, &["acme-one"]),
    );
    succeeded(
        &Environment::new(home.path(), "uv")
            .trusting(&ca)
            .uv_install(&index, &["acme-one"]),
    );

    // A laptop's cache, and the commands.
    let near = home.path().join("near.toml");
    std::fs::write(
        &near,
        format!("[tls]\nca-file = \"ca.pem\"\n[[source]]\nname = \"pypi\"\nupstream = \"{index}\"\n"),
    )
    .unwrap();
    let laptop_home = tempfile::tempdir().unwrap();
    let laptop = Server::start(laptop_home.path(), &["--config", near.to_str().unwrap()]);
    let page = get_json(&laptop.index().join("acme-one/").unwrap()).await;
    assert_eq!(page.json()["files"][0]["hashes"]["sha256"], *package.sha256);
    let mut yank = command(home.path());
    yank.env("PYPICACHE_TOKEN", &token)
        .args(["yank", "acme-one", "1.0", "--ca-file"])
        .arg(&ca)
        .args(["--server", url.as_str()]);
    succeeded(&yank.output().unwrap());

    changed_certificates(&server, &authority, home.path());
    succeeded(
        &Environment::new(home.path(), "again")
            .trusting(&ca)
            .uv_install(&index, &["acme-one==1.0"]),
    );
}

/// New files are used, ones that cannot be used are not.
fn changed_certificates(server: &Server, authority: &Authority, directory: &Path) {
    let address = server.address();
    let first = shown_serial(&address);
    assert!(first.starts_with("serial="), "{first}");
    write_certificate(authority, directory);
    while shown_serial(&address) == first {
        std::thread::yield_now();
    }
    let second = shown_serial(&address);
    std::fs::write(directory.join("cert.pem"), "nonsense").unwrap();
    while !server.output().contains("the old certificate stays in use") {
        assert_eq!(shown_serial(&address), second);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_may_have_a_path_of_its_own_for_it() {
    let team = Team::with(
        "trusted-proxies = [\"127.0.0.1\"]\npath-prefix = \"/kept\"\n[access]\nanonymous-read = false\n",
        "projects = [\"acme-*\"]",
        "",
    )
    .await;
    let (nginx, home) = (Nginx::start(&team.server.url), tempfile::tempdir().unwrap());
    let token = team.token("developer", &[]);
    let tools = Environment::new(home.path(), "tools");
    let package = Wheel::new("acme-one", "1.0").build();
    let path = package.write(home.path());
    for prefix in ["packages", "kept"] {
        succeeded(&tools.twine_upload(&nginx.url(&format!("{prefix}/legacy/")), Some(&token), &[&path]));
        succeeded(&tools.uv_publish(
            &nginx.url(&format!("{prefix}/legacy/")),
            Some(&token),
            &[&path],
            &[],
        ));
        let mut index: Url = nginx.url(&format!("{prefix}/simple/"));
        index.set_username("__token__").unwrap();
        index.set_password(Some(&token)).unwrap();
        let name = |tool: &str| format!("{prefix}-{tool}");
        succeeded(&Environment::new(home.path(), &name("pip")).pip_install(&index, &["Acme.One"]));
        succeeded(&Environment::new(home.path(), &name("uv")).uv_install(&index, &["acme-one"]));
        let laptop_home = tempfile::tempdir().unwrap();
        let laptop = Server::start(laptop_home.path(), &["--upstream", index.as_str()]);
        let page = get_json(&laptop.index().join("acme-one/").unwrap()).await.json();
        let expected = format!("../../files/private/acme-one/{}", package.filename);
        assert_eq!(page["files"][0]["url"], *expected, "the same path at every tier");
        let slashless = get(
            &nginx.url(&format!("{prefix}/simple/Acme_One")),
            &[("authorization", &pypicache_tests::form::basic(&token))],
        )
        .await;
        assert_eq!(
            (slashless.status.as_u16(), slashless.header("location")),
            (301, "acme-one/")
        );
    }
    // Whose guesses are slowed is the client behind nginx, not nginx.
    let guess = async |client: &str, number: usize| {
        let authorization = pypicache_tests::form::basic(&format!("wrong-{number}"));
        get(
            &team.url("simple/"),
            &[("authorization", &authorization), ("x-forwarded-for", client)],
        )
        .await
        .status
        .as_u16()
    };
    for number in 0..10 {
        assert_eq!(guess("192.0.2.1", number).await, 401);
    }
    assert_eq!(
        (guess("192.0.2.1", 10).await, guess("192.0.2.2", 11).await),
        (429, 401)
    );
}
