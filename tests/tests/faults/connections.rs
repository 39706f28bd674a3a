//! Upstreams that cannot be reached, in every way: held pages wait for nobody, unknown names are told why within two
//! seconds, and at once when the upstream is known to be gone; a return is noticed by itself.

use std::time::Duration;

use pypicache_tests::package::Wheel;
use pypicache_tests::tiers::Tiers;
use pypicache_tests::tls::TlsFront;
use pypicache_tests::upstream::{BlackHole, Fault, Upstream};
use pypicache_tests::virtually::{pass, virtually};
use url::Url;

use crate::{age, detail, ms};

/// How an upstream is not there.
#[derive(Debug, Clone, Copy)]
enum Gone {
    /// It takes connections and never answers.
    Hung,
    /// Nobody listens.
    Refused,
    /// It closes each connection.
    Reset,
    /// Packets to it get lost.
    BlackHole,
}

impl Gone {
    fn cause(self) -> &'static str {
        match self {
            Self::Hung => "no answer within",
            Self::Refused => "no connection",
            Self::Reset => "the answer broke off",
            Self::BlackHole => "no connection: nobody answers at its address",
        }
    }
}

async fn walk(gone: Gone, tier_count: usize) {
    let what = format!("{gone:?} at {tier_count} tiers");
    let mut upstream = Upstream::start().await;
    upstream.add("six", Wheel::new("six", "1.17.0").build());
    let tiers = Tiers::start(tier_count, &upstream.url(), "").await;
    let (before, _) = virtually(tiers.page("six")).await;
    tiers.age(Duration::from_secs(700));
    let mut hole = None;
    match gone {
        Gone::Hung => upstream.script("/", None, Fault::Hang),
        Gone::Reset => upstream.script("/", None, Fault::Reset),
        Gone::Refused => upstream.stop().await,
        Gone::BlackHole => {
            upstream.stop().await;
            hole = Some(BlackHole::at(upstream.address()).await);
        }
    }

    let ((stale, held_waited), (unknown, unknown_waited)) = {
        let both = async { tokio::join!(timed(tiers.page("six")), timed(tiers.page("unknown"))) };
        virtually(both).await.0
    };
    assert_eq!(
        (stale.status.as_u16(), stale.bytes()),
        (200, before.bytes()),
        "{what}"
    );
    assert!(
        age(&stale) >= 700 && held_waited <= ms(560),
        "{what}: {held_waited:?}"
    );
    assert_eq!(unknown.status.as_u16(), 504, "{what}");
    assert!(
        detail(&unknown).contains(gone.cause()),
        "{what}: {}",
        detail(&unknown)
    );
    assert!(unknown_waited <= ms(2000), "{what}: {unknown_waited:?}");

    // By now it is known.
    for _ in 0..3 {
        let (stale, waited) = virtually(tiers.page("six")).await;
        assert_eq!(
            (stale.status.as_u16(), stale.bytes()),
            (200, before.bytes()),
            "{what}"
        );
        assert!(waited <= ms(20), "{what}: {waited:?}");
        let (unknown, waited) = virtually(tiers.page("another")).await;
        assert_eq!(unknown.status.as_u16(), 504, "{what}");
        assert!(waited <= ms(100), "{what}: {waited:?} {}", detail(&unknown));
    }
    tiers.assert_held(&vec![[1, 0, 0]; tier_count], &what).await;

    drop(hole);
    upstream.behave();
    if !matches!(gone, Gone::Hung | Gone::Reset) {
        upstream.restart().await;
    }
    pass(Duration::from_secs(9)).await;
    // The first one is the one that finds out.
    virtually(tiers.page("six")).await;
    let (absent, _) = virtually(tiers.page("unknown")).await;
    assert_eq!(absent.status.as_u16(), 404, "{what}: afterwards");
    let (fresh, _) = virtually(tiers.page("six")).await;
    assert_eq!(
        (fresh.status.as_u16(), age(&fresh)),
        (200, 0),
        "{what}: afterwards"
    );
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let began = tokio::time::Instant::now();
    (work.await, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn hung() {
    for tier_count in [1, 2, 3] {
        walk(Gone::Hung, tier_count).await;
    }
}

#[tokio::test(start_paused = true)]
async fn refused() {
    for tier_count in [1, 2, 3] {
        walk(Gone::Refused, tier_count).await;
    }
}

#[tokio::test(start_paused = true)]
async fn reset() {
    for tier_count in [1, 2, 3] {
        walk(Gone::Reset, tier_count).await;
    }
}

#[tokio::test(start_paused = true)]
async fn black_hole() {
    for tier_count in [1, 2, 3] {
        walk(Gone::BlackHole, tier_count).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_without_an_address() {
    // Too long for any name server to be asked about it.
    let nowhere: Url = format!("http://{}.example/simple/", "a".repeat(64))
        .parse()
        .unwrap();
    let tiers = Tiers::start(2, &nowhere, "").await;
    let (unknown, waited) = virtually(tiers.page("unknown")).await;
    assert_eq!(unknown.status.as_u16(), 504);
    assert!(detail(&unknown).contains("no address"), "{}", detail(&unknown));
    assert!(waited <= ms(100), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_nobody_trusts() {
    let upstream = Upstream::start().await;
    upstream.add("six", Wheel::new("six", "1.17.0").build());
    let front = TlsFront::start(upstream.address()).await;
    let https: Url = format!("https://localhost:{}/simple/", front.address.port())
        .parse()
        .unwrap();
    let tiers = Tiers::start(2, &https, "").await;
    let (unknown, waited) = virtually(tiers.page("six")).await;
    assert_eq!(unknown.status.as_u16(), 504);
    assert!(
        detail(&unknown).contains("no trusted TLS connection"),
        "{}",
        detail(&unknown)
    );
    assert!(waited <= ms(200), "{waited:?}");
    assert_eq!(upstream.requests().len(), 0, "and no way around it");
}

/// Trusted, but not for this host name; and trusted, but leading to where nothing is encrypted.
#[tokio::test(start_paused = true)]
async fn certificates_are_for_their_host_and_redirects_do_not_leave_tls() {
    let upstream = Upstream::start().await;
    upstream.add("six", Wheel::new("six", "1.17.0").build());
    let front = TlsFront::start(upstream.address()).await;
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), &front.authority).unwrap();
    let plain = upstream.url().join("six/").unwrap().to_string();
    let plain = plain.replace("127.0.0.1", "localhost");
    upstream.script("/simple/led-away/", None, Fault::Redirect(plain));
    let context = async |host: &str, project: &str| {
        let mut tiers = Tiers::none();
        let url = format!("https://{host}:{}/simple/", front.address.port());
        let tls = format!("[tls]\nca-file = {:?}\n", authority.path().display().to_string());
        tiers
            .add(&format!(
                "{tls}[[source]]\nname = \"pypi\"\nupstream = \"{url}\"\n"
            ))
            .await;
        virtually(tiers.page(project)).await.0
    };
    assert_eq!(context("localhost", "six").await.status.as_u16(), 200);
    let other = context("127.0.0.1", "six").await;
    assert!(
        detail(&other).contains("no trusted TLS connection"),
        "{}",
        detail(&other)
    );
    let led_away = context("localhost", "led-away").await;
    assert!(
        detail(&led_away).contains("a redirect from https to http"),
        "{}",
        detail(&led_away)
    );
}

/// Credentials are refused: its own cause, and no secret in it.
#[tokio::test(start_paused = true)]
async fn refused_credentials_are_told_without_telling_them() {
    let upstream = Upstream::start().await;
    upstream.want("Basic nobody-knows");
    let mut url = upstream.url();
    url.set_username("ann").unwrap();
    url.set_password(Some("s3cret")).unwrap();
    let tiers = Tiers::start(2, &url, "").await;
    let (reply, _) = virtually(tiers.page("six")).await;
    assert_eq!(reply.status.as_u16(), 504);
    let told = detail(&reply);
    assert!(
        told.contains("access refused (status 401 Unauthorized): check the credentials"),
        "{told}"
    );
    assert!(!told.contains("s3cret"), "{told}");
}
