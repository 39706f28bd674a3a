//! The ways to an upstream: TLS with its authorities, and proxies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::net::SocketAddr;

use pypicache_tests::client::get_json;
use pypicache_tests::package::Wheel;
use pypicache_tests::process::Server;
use pypicache_tests::tls::TlsFront;
use pypicache_tests::upstream::Upstream;

async fn upstream() -> (Upstream, SocketAddr) {
    let upstream = Upstream::start().await;
    upstream.add("six", Wheel::new("six", "1.17.0").build());
    let address = SocketAddr::from(([127, 0, 0, 1], upstream.url().port().unwrap()));
    (upstream, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_counts_only_if_its_authority_is_trusted() {
    let (root, (_upstream, address)) = (tempfile::tempdir().unwrap(), upstream().await);
    let front = TlsFront::start(address).await;
    let url = format!("https://localhost:{}/simple/", front.address.port());
    let authority = root.path().join("ca.pem");
    std::fs::write(&authority, &front.authority).unwrap();
    let config = root.path().join("p.toml");
    std::fs::write(
        &config,
        format!("[tls]\nca-file = \"ca.pem\"\n[[source]]\nname = \"pypi\"\nupstream = \"{url}\"\n"),
    )
    .unwrap();
    let with_ca_file = Server::start(root.path(), &["--config", config.to_str().unwrap()]);
    assert_eq!(
        get_json(&with_ca_file.index().join("six/").unwrap())
            .await
            .status
            .as_u16(),
        200
    );

    let elsewhere = tempfile::tempdir().unwrap();
    let variables = [("SSL_CERT_FILE", authority.to_str().unwrap())];
    let with_variable = Server::start_with(elsewhere.path(), &["--upstream", &url], &variables);
    assert_eq!(
        get_json(&with_variable.index().join("six/").unwrap())
            .await
            .status
            .as_u16(),
        200
    );

    let elsewhere = tempfile::tempdir().unwrap();
    let without = Server::start(elsewhere.path(), &["--upstream", &url]);
    let refused = get_json(&without.index().join("six/").unwrap()).await;
    assert_eq!(refused.status.as_u16(), 504);
    assert!(
        refused.json()["detail"].as_str().unwrap().contains("certificate"),
        "{:?}",
        refused.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_the_environment_are_used_and_exceptions_honoured() {
    let (root, (upstream, address)) = (tempfile::tempdir().unwrap(), upstream().await);
    // The scripted upstream answers whatever host a request is for, as a proxy does.
    let proxy = format!("http://{address}");
    let through = Server::start_with(
        root.path(),
        &["--upstream", "http://index.example/simple/"],
        &[("HTTP_PROXY", &proxy), ("http_proxy", &proxy)],
    );
    assert_eq!(
        get_json(&through.index().join("six/").unwrap())
            .await
            .status
            .as_u16(),
        200
    );
    assert_eq!(upstream.count("/simple/six/"), 1);
    let variables = [
        ("HTTP_PROXY", proxy.as_str()),
        ("http_proxy", &proxy),
        ("NO_PROXY", "localhost"),
    ];
    let past = Server::start_with(
        &root.path().join("past"),
        &["--upstream", "http://localhost:9/simple/"],
        &variables,
    );
    assert_eq!(
        get_json(&past.index().join("six/").unwrap())
            .await
            .status
            .as_u16(),
        504
    );
    assert_eq!(upstream.count("/simple/six/"), 1);
}
