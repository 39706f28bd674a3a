//! What comes in the place of a page: held pages go out as they are with their age, unknown names get 504 and the cause,
//! nothing of it is kept, and all is well again afterwards.

use std::time::Duration;

use bytes::Bytes;
use pypicache_tests::package::Wheel;
use pypicache_tests::tiers::Tiers;
use pypicache_tests::upstream::{Fault, Upstream};
use pypicache_tests::virtually::{pass, virtually};

use crate::{age, detail, ms};

const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// A fault, a word that the explanation has to have, and how long a client for an unknown name waits at the most.
struct Case {
    name: &'static str,
    fault: Fault,
    cause: &'static str,
    within: Duration,
}

fn case(name: &'static str, fault: Fault, cause: &'static str) -> Case {
    Case {
        name,
        fault,
        cause,
        within: ms(400),
    }
}

fn slow(name: &'static str, fault: Fault, cause: &'static str, within: u64) -> Case {
    Case {
        within: ms(within),
        ..case(name, fault, cause)
    }
}

fn json(name: &'static str, body: impl Into<Bytes>, cause: &'static str) -> Case {
    case(name, Fault::Document(200, JSON, body.into()), cause)
}

fn html(name: &'static str, body: &'static str) -> Case {
    case(
        name,
        Fault::Document(200, "text/html", body.into()),
        "this is no index's answer",
    )
}

fn status(code: u16, cause: &'static str) -> Case {
    case("status", Fault::Document(code, "text/plain", "".into()), cause)
}

fn redirect(name: &'static str, to: &str, cause: &'static str) -> Case {
    case(name, Fault::Redirect(to.to_owned()), cause)
}

/// Walks each case through so many tiers.
async fn walk(tier_count: usize, cases: Vec<Case>) {
    for case in cases {
        let upstream = Upstream::start().await;
        upstream.add("six", Wheel::new("six", "1.17.0").build());
        let tiers = Tiers::start(tier_count, &upstream.url(), "").await;
        let what = format!("{} ({:?}) at {tier_count} tiers", case.name, case.fault);
        let (before, _) = virtually(tiers.page("six")).await;
        tiers.age(Duration::from_secs(700));
        // Something new, so that the upstream has to send a page and not only to confirm the held one.
        upstream.add("six", Wheel::new("six", "1.18.0").build());
        upstream.add("unknown", Wheel::new("unknown", "1.0").build());
        upstream.script("/simple/", None, case.fault.clone());

        let (stale, waited) = virtually(tiers.page("six")).await;
        assert_eq!(
            (stale.status.as_u16(), stale.bytes()),
            (200, before.bytes()),
            "{what}"
        );
        assert!(age(&stale) >= 700, "{what}: {:?}", stale.headers);
        assert!(stale.header("cache-status").contains("stale-served"), "{what}");
        assert!(stale.header("cache-control").starts_with("max-age=60,"), "{what}");
        assert!(waited <= ms(560), "{what}: {waited:?}");

        let (unknown, waited) = virtually(tiers.page("unknown")).await;
        assert_eq!(unknown.status.as_u16(), 504, "{what}");
        let told = detail(&unknown);
        assert!(told.contains(case.cause), "{what}: {told}");
        assert!(
            told.contains("unknown") && told.contains(upstream.url().as_str()),
            "{what}: {told}"
        );
        assert_eq!(
            told.matches("could not be had from").count(),
            tier_count,
            "{what}: {told}"
        );
        assert!(waited <= case.within, "{what}: {waited:?}");

        let (list, _) = virtually(tiers.get("simple/")).await;
        assert_eq!(list.status.as_u16(), 504, "{what}: no list is held");
        tiers.assert_held(&vec![[1, 0, 0]; tier_count], &what).await;

        upstream.behave();
        pass(Duration::from_secs(10)).await;
        let (known, _) = virtually(tiers.page("unknown")).await;
        assert_eq!(known.status.as_u16(), 200, "{what}: afterwards");
        let (fresh, _) = virtually(tiers.page("six")).await;
        assert_eq!(
            (fresh.status.as_u16(), age(&fresh)),
            (200, 0),
            "{what}: afterwards"
        );
    }
}

fn statuses_and_portals() -> Vec<Case> {
    vec![
        status(401, "access refused (status 401"),
        status(403, "access refused (status 403"),
        status(407, "access refused (status 407"),
        status(429, "status 429"),
        status(500, "status 500"),
        status(502, "status 502"),
        status(503, "status 503"),
        status(520, "status 520"),
        status(418, "status 418"),
        case(
            "asks to be left alone",
            Fault::Answer(503, vec![("retry-after", "3".into())], "".into()),
            "to be asked again in 3 s",
        ),
        html(
            "portal without links",
            "<html><body>Welcome to the hotel</body></html>",
        ),
        html(
            "portal with links",
            "<html>Welcome <a href='/login'>log in</a> <a href='/terms.zip'>terms</a></html>",
        ),
        html("nothing at all", ""),
        redirect(
            "portal elsewhere",
            "http://portal.example/login",
            "redirects to another host, portal.example",
        ),
        redirect(
            "portal elsewhere, without a scheme",
            "//portal.example/login",
            "redirects to another host",
        ),
        redirect("a file of ours", "file:///etc/passwd", "its link is not followed"),
        redirect(
            "another protocol",
            "ftp://portal.example/simple/",
            "its link is not followed",
        ),
        redirect("nowhere", "http://", "its link is not followed"),
        redirect("in a circle", "/simple/six/", "more than 5 redirects"),
        case(
            "a redirect without a place",
            Fault::Answer(302, Vec::new(), "".into()),
            "its link is not followed",
        ),
        case("connection closed", Fault::Reset, "broke off"),
        case("cut", Fault::ClaimsMore(10), "broke off"),
        case(
            "another type",
            Fault::Document(200, "text/plain", "fine".into()),
            "text/plain",
        ),
        case(
            "a newer format",
            Fault::Document(200, "application/vnd.pypi.simple.v2+json", "{}".into()),
            "v2+json",
        ),
        case(
            "no type",
            Fault::Answer(200, Vec::new(), "fine".into()),
            "its type is",
        ),
    ]
}

fn documents() -> Vec<Case> {
    let deep = format!(
        r#"{{"meta":{{"api-version":"1.0"}},"files":{}"#,
        "[".repeat(100_000)
    );
    let nonsense = "this is no index's answer";
    vec![
        json(
            "truncated",
            r#"{"meta":{"api-version":"1.0"},"name":"six","files":["#,
            nonsense,
        ),
        json("empty object", "{}", nonsense),
        json("no object", "[]", nonsense),
        json(
            "files: null",
            r#"{"meta":{"api-version":"1.0"},"files":null}"#,
            nonsense,
        ),
        json("deep", deep, nonsense),
        json(
            "no text",
            &b"{\"meta\":{\"api-version\":\"1.0\"},\"files\":[],\"name\":\"\xff\"}"[..],
            nonsense,
        ),
        json(
            "a newer version",
            r#"{"meta":{"api-version":"2.0"},"name":"six","files":[]}"#,
            nonsense,
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn one_tier() {
    walk(1, statuses_and_portals()).await;
    walk(1, documents()).await;
}

#[tokio::test(start_paused = true)]
async fn two_tiers() {
    walk(2, statuses_and_portals()).await;
    walk(2, documents()).await;
}

#[tokio::test(start_paused = true)]
async fn three_tiers() {
    walk(3, statuses_and_portals()).await;
    walk(3, documents()).await;
}

#[tokio::test(start_paused = true)]
async fn slow_pages() {
    let cases = || {
        vec![
            slow("no answer", Fault::Hang, "no answer within 1.", 2000),
            slow(
                "a byte a second",
                Fault::Trickle(Duration::from_secs(1)),
                "it stalled",
                2600,
            ),
            slow(
                "a stall in the middle",
                Fault::HoldAfter(5, Default::default()),
                "it stalled",
                2600,
            ),
        ]
    };
    for tier_count in [1, 2, 3] {
        walk(tier_count, cases()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn endless_pages_are_cut() {
    let zeros = vec![b' '; 64 << 20];
    let bomb = {
        use std::io::Write as _;
        let mut once = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        (0..4).for_each(|_| once.write_all(&zeros).unwrap());
        Bytes::from(once.finish().unwrap())
    };
    let headers = vec![
        ("content-type", JSON.to_owned()),
        ("content-encoding", "gzip".to_owned()),
    ];
    let cases = vec![
        slow("endless", Fault::Endless(JSON), "it is larger than", 2600),
        slow(
            "a bomb",
            Fault::Answer(200, headers, bomb),
            "it is larger than",
            2600,
        ),
    ];
    walk(1, cases).await;
}

/// What an index says that may be believed: the page changes, and what is held of its files stays.
#[tokio::test(start_paused = true)]
async fn absence_is_believed_and_taken_back() {
    for (tier_count, gone) in [(1, 404), (2, 404), (3, 404), (1, 410), (3, 410)] {
        let upstream = Upstream::start().await;
        let package = Wheel::new("six", "1.17.0").build();
        upstream.add("six", package.clone());
        let tiers = Tiers::start(tier_count, &upstream.url(), "").await;
        let (file, _) = virtually(tiers.file("six")).await;
        virtually(pypicache_tests::client::get(&file, &[])).await;
        tiers.age(Duration::from_secs(700));
        upstream.script("/simple/", None, Fault::Document(gone, "text/plain", "".into()));
        for project in ["six", "unknown"] {
            let (reply, waited) = virtually(tiers.page(project)).await;
            assert_eq!(
                reply.status.as_u16(),
                404,
                "{project} after {gone} at {tier_count}"
            );
            assert!(waited < ms(60), "{waited:?}");
        }
        let (locked, _) = virtually(pypicache_tests::client::get(&file, &[])).await;
        assert_eq!(locked.bytes(), &package.bytes, "a locked link goes on working");
        upstream.behave();
        tiers.age(Duration::from_secs(61));
        let (back, _) = virtually(tiers.page("six")).await;
        assert_eq!(back.status.as_u16(), 200, "after {gone} at {tier_count}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_moment_of_weakness_is_not_noticed() {
    for fault in [
        Fault::Document(500, "text/plain", "".into()),
        Fault::Document(503, "text/plain", "".into()),
        Fault::Reset,
    ] {
        let upstream = Upstream::start().await;
        upstream.add("six", Wheel::new("six", "1.17.0").build());
        upstream.script("/simple/", Some(1), fault.clone());
        let tiers = Tiers::start(1, &upstream.url(), "").await;
        let (reply, waited) = virtually(tiers.page("six")).await;
        assert_eq!(reply.status.as_u16(), 200, "{fault:?}");
        assert!(waited <= ms(200), "{fault:?}: {waited:?}");
        assert_eq!(upstream.count("/simple/six/"), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_403_means_is_configured() {
    let upstream = Upstream::start().await;
    upstream.script("/simple/", None, Fault::Document(403, "text/html", "no".into()));
    let tiers = Tiers::start(2, &upstream.url(), "forbidden = \"absent\"\n").await;
    let (reply, _) = virtually(tiers.page("unknown")).await;
    assert_eq!(reply.status.as_u16(), 404);
}

#[tokio::test(start_paused = true)]
async fn being_sent_on_to_pypi_means_absent() {
    let upstream = Upstream::start().await;
    let forwarded = format!("{}acme/", pypicache_core::http_source::PYPI);
    upstream.script("/simple/acme/", None, Fault::Redirect(forwarded));
    let tiers = Tiers::start(1, &upstream.url(), "").await;
    let (reply, _) = virtually(tiers.page("acme")).await;
    assert_eq!(
        reply.status.as_u16(),
        404,
        "whom to ask next is this tier's configuration to say"
    );
}

/// Pages that make sense but must not take the place of the held one.
#[tokio::test(start_paused = true)]
async fn pages_that_are_older_or_suddenly_empty_are_not_believed() {
    let page = |serial: &str, files: &str| {
        let headers = vec![
            ("content-type", JSON.to_owned()),
            ("x-pypi-last-serial", serial.to_owned()),
        ];
        let body = format!(r#"{{"meta":{{"api-version":"1.0"}},"name":"six","files":[{files}]}}"#);
        Fault::Answer(200, headers, body.into())
    };
    let other = r#"{"filename":"six-0.1.tar.gz","url":"/six-0.1.tar.gz","hashes":{}}"#;
    for (fault, is_an_error) in [(page("41", other), false), (page("43", ""), true)] {
        let upstream = Upstream::start().await;
        upstream.add("six", Wheel::new("six", "1.17.0").build());
        let tiers = Tiers::start(1, &upstream.url(), "").await;
        let (before, _) = virtually(tiers.page("six")).await;
        tiers.age(Duration::from_secs(700));
        upstream.script("/simple/", None, fault.clone());
        let (reply, _) = virtually(tiers.page("six")).await;
        assert_eq!(reply.bytes(), before.bytes(), "{fault:?}");
        assert_eq!(
            reply.header("cache-status").contains("stale-served"),
            is_an_error,
            "{fault:?}"
        );
    }
}

/// Entries that make no sense are left out; the rest of the page is served.
#[tokio::test(start_paused = true)]
async fn one_bad_entry_does_not_spoil_the_page() {
    let good = r#"{"filename":"six-1.0.tar.gz","url":"/x/six-1.0.tar.gz","hashes":{}}"#;
    let bad = [
        r#""a string""#,
        "null",
        "7",
        r#"{"filename":"../six-1.0.tar.gz","url":"/x","hashes":{}}"#,
        r#"{"filename":"six-1.1.tar.gz"}"#,
        r#"{"filename":"six-1.1.tar.gz","url":"mailto:ann","hashes":{}}"#,
        r#"{"filename":"\ud800.tar.gz","url":"/x","hashes":{}}"#,
    ];
    for bad in bad {
        let upstream = Upstream::start().await;
        let body = format!(r#"{{"meta":{{"api-version":"1.0"}},"name":"six","files":[{bad},{good}]}}"#);
        upstream.script("/simple/", None, Fault::Document(200, JSON, body.into()));
        let tiers = Tiers::start(1, &upstream.url(), "").await;
        let (reply, _) = virtually(tiers.page("six")).await;
        assert_eq!(reply.status.as_u16(), 200, "{bad}");
        let files = reply.json()["files"].clone();
        assert_eq!(files.as_array().unwrap().len(), 1, "{bad}: {files}");
    }
}
