//! What comes in the place of a file: clients get all of the right bytes, or an explanation before the first, or a
//! connection that breaks before the last. What is held afterwards is right or nothing.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::Method;
use pypicache_tests::client::{Reply, get, open};
use pypicache_tests::package::{Package, Wheel, noise, plain};
use pypicache_tests::tiers::Tiers;
use pypicache_tests::upstream::{Fault, Gate, Upstream};
use pypicache_tests::virtually::{pass, virtually};
use url::Url;

use crate::{detail, ms};

const SIZE: usize = 1_000_000;

/// What a client gets.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    /// All of it, and it is held.
    Whole,
    /// A part of it; the connection breaks. Nothing is held.
    Broken,
    /// 504, with this in the explanation. Nothing is held.
    Unavailable(&'static str),
    /// 404.
    Absent,
}
use Outcome::{Absent, Broken, Unavailable, Whole};

struct Case {
    name: &'static str,
    /// What goes wrong, how often.
    faults: Vec<(Option<u32>, Fault)>,
    outcome: Outcome,
    within: Duration,
}

fn once(name: &'static str, fault: Fault, outcome: Outcome) -> Case {
    Case {
        name,
        faults: vec![(Some(1), fault)],
        outcome,
        within: ms(400),
    }
}

fn always(name: &'static str, fault: Fault, outcome: Outcome) -> Case {
    Case {
        faults: vec![(None, fault)],
        ..once(name, Fault::Hang, outcome)
    }
}

fn within(millis: u64, case: Case) -> Case {
    Case {
        within: ms(millis),
        ..case
    }
}

fn status(code: u16, cause: &'static str) -> Case {
    within(
        800,
        always(
            "status",
            Fault::Document(code, "text/plain", "".into()),
            Unavailable(cause),
        ),
    )
}

fn document(name: &'static str, content_type: &'static str, cause: &'static str) -> Case {
    let body = "<html>Welcome to the hotel</html>";
    always(
        name,
        Fault::Document(200, content_type, body.into()),
        Unavailable(cause),
    )
}

/// GET that may break off in its body.
async fn fetch(url: Url) -> Result<Reply, ()> {
    let (head, body) = open(Method::GET, &url, &[]).await.into_parts();
    let body = body.collect().await.map_err(|_| ())?.to_bytes();
    Ok(Reply {
        status: head.status,
        headers: head.headers,
        body: Ok(body),
    })
}

async fn walk(tier_count: usize, cases: Vec<Case>) {
    for case in cases {
        let what = format!("{} ({:?}) at {tier_count} tiers", case.name, case.faults);
        let upstream = Upstream::start().await;
        let package = plain("big-1.0.tar.gz", noise(SIZE));
        upstream.add("big", package.clone());
        let tiers = Tiers::start(tier_count, &upstream.url(), "").await;
        let (url, _) = virtually(tiers.file("big")).await;
        for (times, fault) in &case.faults {
            upstream.script("/packages/", *times, fault.clone());
        }
        let (reply, waited) = virtually(fetch(url.clone())).await;
        let of_files = match (&reply, case.outcome) {
            (Ok(reply), Whole) => {
                assert_eq!(
                    (reply.status.as_u16(), reply.bytes()),
                    (200, &package.bytes),
                    "{what}"
                );
                1
            }
            (Err(()), Broken) => 0,
            (Ok(reply), Unavailable(cause)) => {
                assert_eq!(reply.status.as_u16(), 504, "{what}");
                let told = detail(reply);
                assert!(
                    told.contains(cause) && told.contains("big-1.0.tar.gz"),
                    "{what}: {told}"
                );
                0
            }
            (Ok(reply), Absent) => {
                assert_eq!(reply.status.as_u16(), 404, "{what}");
                0
            }
            (reply, _) => panic!("{what}: {:?}", reply.as_ref().map(|reply| reply.status)),
        };
        assert!(waited <= case.within, "{what}: {waited:?}");
        tiers
            .assert_held(&vec![[1, of_files, 0]; tier_count], &what)
            .await;

        upstream.behave();
        pass(Duration::from_secs(10)).await;
        let (again, _) = virtually(fetch(url)).await;
        assert_eq!(again.unwrap().bytes(), &package.bytes, "{what}: afterwards");
        tiers.assert_held(&vec![[1, 1, 0]; tier_count], &what).await;
    }
}

fn surviving() -> Vec<Case> {
    let cuts = [200_000, 1, 0, 300_000, 50_000];
    let deaths = cuts.map(|after| (Some(1), Fault::CutAfter(after)));
    vec![
        once("cut", Fault::CutAfter(100_000), Whole),
        once("cut before the last byte", Fault::CutAfter(SIZE - 1), Whole),
        within(
            1000,
            Case {
                faults: deaths.to_vec(),
                ..once("five deaths", Fault::Hang, Whole)
            },
        ),
        Case {
            faults: vec![(Some(1), Fault::CutAfter(150_000)), (Some(1), Fault::NoRanges)],
            ..once("cut, and no ranges then", Fault::Hang, Whole)
        },
        within(
            11_000,
            once(
                "a stall in the middle",
                Fault::HoldAfter(300_000, Gate::default()),
                Whole,
            ),
        ),
        once("reset before the head", Fault::Reset, Whole),
        once(
            "a moment's weakness",
            Fault::Document(503, "text/plain", "".into()),
            Whole,
        ),
        always("no length", Fault::NoLength, Whole),
        always("more claimed than there is", Fault::ClaimsMore(10), Whole),
        always("gzipped though nobody asked for it", Fault::Gzipped, Whole),
        always("said to be gzipped", Fault::CalledGzipped, Whole),
        within(14_000, always("one byte changed", Fault::Corrupt, Broken)),
    ]
}

fn failing() -> Vec<Case> {
    vec![
        within(
            10_100,
            always("no answer", Fault::Hang, Unavailable("no answer within")),
        ),
        within(
            800,
            always("reset each time", Fault::Reset, Unavailable("broke off")),
        ),
        always("not there", Fault::Document(404, "text/plain", "".into()), Absent),
        always("gone", Fault::Document(410, "text/plain", "".into()), Absent),
        status(401, "access refused (status 401"),
        status(403, "access refused (status 403"),
        status(429, "status 429"),
        status(500, "status 500"),
        status(503, "status 503"),
        document("portal", "text/html", "the page says 1000000 bytes"),
        document(
            "portal in disguise",
            "application/octet-stream",
            "the page says 1000000 bytes",
        ),
        always(
            "redirect to the wire",
            Fault::Redirect("http://169.254.169.254/latest/meta-data".into()),
            Unavailable("nearer to this machine"),
        ),
        always(
            "redirect to the wire in disguise",
            Fault::Redirect("http://[::ffff:a9fe:a9fe]/latest".into()),
            Unavailable("nearer to this machine"),
        ),
        always(
            "redirect to a file",
            Fault::Redirect("file:///etc/passwd".into()),
            Unavailable("not followed"),
        ),
        always(
            "redirect in a circle",
            Fault::Redirect("/packages/x".into()),
            Unavailable("more than 5 redirects"),
        ),
        always(
            "a part nobody asked for",
            Fault::Answer(
                206,
                vec![("content-range", "bytes 5-6/1000000".into())],
                "xx".into(),
            ),
            Unavailable("another part"),
        ),
        always(
            "a part without a place",
            Fault::Answer(206, Vec::new(), "xx".into()),
            Unavailable("without a Content-Range"),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn one_tier() {
    walk(1, surviving()).await;
    walk(1, failing()).await;
}

#[tokio::test(start_paused = true)]
async fn two_tiers() {
    walk(2, surviving()).await;
    walk(2, failing()).await;
}

#[tokio::test(start_paused = true)]
async fn three_tiers() {
    walk(3, surviving()).await;
    walk(3, failing()).await;
}

/// A trickle does not keep a transfer alive for ever, and what came is not thrown away.
#[tokio::test(start_paused = true)]
async fn a_trickle_ends() {
    let upstream = Upstream::start().await;
    upstream.add("big", plain("big-1.0.tar.gz", noise(SIZE)));
    let tiers = Tiers::start(1, &upstream.url(), "").await;
    let (url, _) = virtually(tiers.file("big")).await;
    upstream.script("/packages/", None, Fault::Trickle(Duration::from_secs(4)));
    let transfer = async move {
        let body = open(Method::GET, &url, &[]).await.into_body();
        body.collect().await.is_err()
    };
    let transfer = tokio::spawn(transfer);
    pass(Duration::from_secs(120)).await;
    assert!(virtually(transfer).await.0.unwrap());
    tiers.assert_held(&[[1, 0, 1]], "unfinished").await;
}

/// A link that expires between the page and the file is renewed by the page.
#[tokio::test(start_paused = true)]
async fn a_signed_link_that_expired_is_renewed() {
    for tier_count in [1, 3] {
        let upstream = Upstream::start().await;
        let package = plain("big-1.0.tar.gz", noise(SIZE));
        upstream.add("big", package.clone());
        upstream.sign(1);
        let tiers = Tiers::start(tier_count, &upstream.url(), "").await;
        let (url, _) = virtually(tiers.file("big")).await;
        assert!(
            !url.as_str().contains("sig"),
            "a signature is nobody's business: {url}"
        );
        upstream.sign(2);
        let (reply, _) = virtually(get(&url, &[])).await;
        assert_eq!((reply.status.as_u16(), reply.bytes()), (200, &package.bytes));
        assert_eq!(upstream.count("/simple/big/"), 2);
        upstream.sign(3);
        let (held, _) = virtually(get(&url, &[])).await;
        assert_eq!(held.bytes(), &package.bytes);
    }
}

/// A page without digests: what came first counts, and a portal's page is no file.
#[tokio::test(start_paused = true)]
async fn files_without_digests() {
    let upstream = Upstream::start().await;
    let package = plain("big-1.0.tar.gz", noise(SIZE));
    upstream.add("big", package.clone());
    let anchor = format!("<a href=\"{}\">big-1.0.tar.gz</a>", upstream.file_url(&package));
    upstream.script("/simple/", None, Fault::Document(200, "text/html", anchor.into()));
    let tiers = Tiers::start(2, &upstream.url(), "").await;
    let (url, _) = virtually(tiers.file("big")).await;
    upstream.script(
        "/packages/",
        Some(1),
        Fault::Document(200, "text/html", "<html>Welcome</html>".into()),
    );
    let (portal, _) = virtually(get(&url, &[])).await;
    assert_eq!(portal.status.as_u16(), 504);
    assert!(detail(&portal).contains("text/html"), "{}", detail(&portal));
    let (first, _) = virtually(get(&url, &[])).await;
    assert_eq!(first.bytes(), &package.bytes);
    tiers.assert_held(&[[1, 1, 0], [1, 1, 0]], "held").await;
}

#[tokio::test(start_paused = true)]
async fn siblings() {
    let wheel = Wheel::new("big", "1.0").payload(200_000).build();
    let metadata = wheel.metadata.clone().unwrap();
    let text = |status| Fault::Document(status, "text/plain", "".into());
    let mut cases: Vec<(Option<u32>, Fault)> = vec![
        (Some(1), text(404)),
        (None, text(404)),
        (None, Fault::Gzipped),
        (None, Fault::CalledGzipped),
        (None, Fault::NoLength),
        (Some(1), Fault::Reset),
        (None, Fault::Reset),
        (Some(1), Fault::CutAfter(10)),
        (None, Fault::Corrupt),
        (
            None,
            Fault::Document(200, "text/html", "<html>hotel</html>".into()),
        ),
        (None, Fault::Redirect("file:///etc/passwd".into())),
        (None, Fault::Hang),
    ];
    let statuses = [400, 401, 403, 405, 406, 410, 416, 429, 451, 500, 501, 503];
    cases.extend(statuses.map(|status| (None, text(status))));
    for tier_count in [1, 2] {
        for (times, fault) in &cases {
            let upstream = Upstream::start().await;
            upstream.add("big", wheel.clone());
            let tiers = Tiers::start(tier_count, &upstream.url(), "").await;
            let (mut url, _) = virtually(tiers.file("big")).await;
            url.set_path(&format!("{}.metadata", url.path()));
            upstream.script(".metadata", *times, fault.clone());
            let (reply, waited) = virtually(get(&url, &[])).await;
            assert_eq!(
                (reply.status.as_u16(), reply.bytes()),
                (200, &metadata),
                "{fault:?}"
            );
            assert!(waited < ms(6_100), "{fault:?}: {waited:?}");
            let what = format!("{fault:?} at {tier_count}");
            tiers.assert_held(&vec![[1, 1, 0]; tier_count], &what).await;
        }
    }
}

/// A portal in the place of the rest says nothing about what had come before it.
#[tokio::test(start_paused = true)]
async fn what_is_half_there_survives_a_portal() {
    let upstream = Upstream::start().await;
    let package = plain("big-1.0.tar.gz", noise(SIZE));
    upstream.add("big", package.clone());
    let tiers = Tiers::start(1, &upstream.url(), "").await;
    let (url, _) = virtually(tiers.file("big")).await;
    upstream.script("/packages/", Some(1), Fault::CutAfter(400_000));
    upstream.script("/packages/", None, Fault::Document(403, "text/plain", "".into()));
    assert!(virtually(fetch(url.clone())).await.0.is_err());
    tiers.assert_held(&[[1, 0, 1]], "a part").await;
    upstream.behave();
    let portal = Fault::Document(200, "text/html", "<html>hotel</html>".into());
    upstream.script("/packages/", None, portal);
    let (reply, _) = virtually(fetch(url.clone())).await;
    assert_eq!(reply.unwrap().status.as_u16(), 504);
    tiers.assert_held(&[[1, 0, 1]], "the same part").await;
    upstream.behave();
    upstream.forget();
    let (whole, _) = virtually(fetch(url)).await;
    assert_eq!(whole.unwrap().bytes(), &package.bytes);
    assert_eq!(upstream.requests()[0].headers["range"], "bytes=400000-");
    tiers.assert_held(&[[1, 1, 0]], "the whole").await;
}

/// Advertised, and neither it nor its wheel is there: the origin's word, told at once.
#[tokio::test(start_paused = true)]
async fn siblings_of_what_does_not_exist_are_absent() {
    let upstream = Upstream::start().await;
    upstream.add("big", Wheel::new("big", "1.0").build());
    let tiers = Tiers::start(2, &upstream.url(), "").await;
    let (mut url, _) = virtually(tiers.file("big")).await;
    url.set_path(&format!("{}.metadata", url.path()));
    upstream.script("/packages/", None, Fault::Document(404, "text/plain", "".into()));
    let (reply, waited) = virtually(get(&url, &[])).await;
    assert_eq!(reply.status.as_u16(), 404);
    assert!(waited <= ms(100), "{waited:?}");
}

/// A tier whose local client keeps the files only passes them through, checked all the same.
#[tokio::test(start_paused = true)]
async fn streamed_files_are_checked_and_not_kept() {
    let upstream = Upstream::start().await;
    let package: Package = plain("big-1.0.tar.gz", noise(SIZE));
    upstream.add("big", package.clone());
    let tiers = Tiers::start(1, &upstream.url(), "files = \"stream\"\n").await;
    let (url, _) = virtually(tiers.file("big")).await;
    let (reply, _) = virtually(fetch(url.clone())).await;
    assert_eq!(reply.unwrap().bytes(), &package.bytes);
    let (part, _) = virtually(get(&url, &[("range", "bytes=10-19")])).await;
    assert_eq!(
        (part.status.as_u16(), part.bytes()),
        (206, &package.bytes.slice(10..20))
    );
    upstream.script("/packages/", None, Fault::Corrupt);
    let (corrupt, _) = virtually(fetch(url)).await;
    assert!(corrupt.is_err());
    tiers.assert_held(&[[1, 0, 0]], "nothing is kept").await;
}
