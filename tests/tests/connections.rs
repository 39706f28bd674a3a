//! The ways to an upstream: TLS with its authorities, proxies, credentials.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::net::SocketAddr;

use pypicache_tests::client::{get, get_json};
use pypicache_tests::package::Wheel;
use pypicache_tests::process::Server;
use pypicache_tests::tls::TlsFront;
use pypicache_tests::upstream::{Host, Upstream};

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

#[tokio::test(flavor = "multi_thread")]
async fn credentials_go_to_their_origin_only_and_show_nowhere() {
    let (upstream, root) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let package = Wheel::new("six", "1.17.0").build();
    upstream.add("six", package.clone());
    upstream.want("Basic YW5uOnMzY3JldA==");
    let mut url = upstream.url();
    url.set_username("ann").unwrap();
    url.set_password(Some("s3cret")).unwrap();
    let cache = Server::start(root.path(), &["-v", "--upstream", url.as_str()]);
    let page = cache.index().join("six/").unwrap();
    let reply = get_json(&page).await;
    let file = page
        .join(reply.json()["files"][0]["url"].as_str().unwrap())
        .unwrap();
    assert_eq!(get(&file, &[]).await.bytes(), &package.bytes);
    let leaked = upstream
        .requests()
        .into_iter()
        .filter(|seen| seen.host == Host::Files && seen.headers.contains_key("authorization"));
    assert_eq!(leaked.count(), 0);
    upstream.want("Basic other");
    let refused = get_json(&cache.index().join("other/").unwrap()).await;
    assert!(
        refused.json()["detail"].as_str().unwrap().contains("credentials"),
        "{:?}",
        refused.body
    );
    for secret in ["s3cret", "YW5uOnMzY3JldA"] {
        assert!(
            !cache.output().contains(secret) && !String::from_utf8_lossy(refused.bytes()).contains(secret)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_netrc_and_from_the_configuration_too() {
    let (root, upstream) = (tempfile::tempdir().unwrap(), Upstream::start().await);
    upstream.add("six", Wheel::new("six", "1.17.0").build());
    upstream.want("Basic YW5uOnMzY3JldA==");
    let by_netrc = root.path().join("netrc");
    std::fs::create_dir(&by_netrc).unwrap();
    std::fs::write(
        by_netrc.join(".netrc"),
        "machine 127.0.0.1 login ann password s3cret\n",
    )
    .unwrap();
    let cache = Server::start(&by_netrc, &["--upstream", upstream.url().as_str()]);
    assert_eq!(
        get_json(&cache.index().join("six/").unwrap())
            .await
            .status
            .as_u16(),
        200
    );

    let by_file = root.path().join("file");
    std::fs::create_dir(&by_file).unwrap();
    std::fs::write(by_file.join("password"), "s3cret\n").unwrap();
    let config = by_file.join("p.toml");
    let text = format!(
        "[[source]]\nname = \"pypi\"\nupstream = \"{}\"\nusername = \"ann\"\npassword-file = \"password\"\n",
        upstream.url()
    );
    std::fs::write(&config, text).unwrap();
    let cache = Server::start(&by_file, &["--config", config.to_str().unwrap()]);
    assert_eq!(
        get_json(&cache.index().join("six/").unwrap())
            .await
            .status
            .as_u16(),
        200
    );
}
