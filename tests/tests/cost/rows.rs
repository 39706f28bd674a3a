//! The requests that are counted, and what they are about.

use pypicache_tests::package::Wheel;
use pypicache_tests::upstream::Upstream;

use crate::client::Connection;

/// A warm request.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    target: Target,
    headers: &'static str,
    pub(crate) status: u16,
}

enum Target {
    Page,
    /// The page, with the tag of what was got before.
    PageAgain,
    /// A file of the page, by its number, with this behind its name.
    File(usize, &'static str),
}

const JSON_GZIP: &str = "Accept: application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01\r\nAccept-Encoding: gzip, deflate\r\n";
const HTML_GZIP: &str = "Accept: text/html\r\nAccept-Encoding: gzip, deflate\r\n";
const FROM_A_TIER: &str = "Accept: application/vnd.pypi.simple.v1+json, text/html;q=0.1\r\nAccept-Encoding: gzip, zstd\r\nVia: 1.1 laptop\r\nX-Request-Id: laptop-1f\r\n";
const PLAIN: &str = "Accept: */*\r\nAccept-Encoding: identity\r\n";
const RANGE: &str = "Accept-Encoding: identity\r\nRange: bytes=65536-81919\r\n";

const fn row(name: &'static str, target: Target, headers: &'static str, status: u16) -> Row {
    Row {
        name,
        target,
        headers,
        status,
    }
}

/// All of them. `page html` is what browsers and old clients get, `page for a tier` what a tier of ours asks.
pub(crate) const ROWS: [Row; 8] = [
    row("page json gzip", Target::Page, JSON_GZIP, 200),
    row("page html gzip", Target::Page, HTML_GZIP, 200),
    row("page for a tier", Target::Page, FROM_A_TIER, 200),
    row("page 304", Target::PageAgain, JSON_GZIP, 304),
    row("small file", Target::File(0, ""), PLAIN, 200),
    row("whole large file", Target::File(LARGE, ""), PLAIN, 200),
    row("range of a large file", Target::File(LARGE, ""), RANGE, 206),
    row("METADATA", Target::File(0, ".metadata"), PLAIN, 200),
];

/// How many files the page lists; the last one is large.
const FILES: usize = 48;
const LARGE: usize = FILES - 1;

/// Puts the one project into an index.
pub(crate) fn corpus(upstream: &Upstream) {
    for number in 0..FILES {
        let payload = if number == LARGE { 200_000 } else { 500 };
        let wheel = Wheel::new("cost", &format!("1.{number}")).payload(payload);
        upstream.add("cost", wheel.build());
    }
}

impl Row {
    /// The request's bytes for a server that answers `connection`, once the thing is warm there: held, rendered, and known.
    pub(crate) fn warmed(&self, connection: &mut Connection) -> String {
        let page = request("/simple/cost/", JSON_GZIP);
        let first = connection.ask(&page);
        let again = format!("If-None-Match: {}\r\n{}", first.header("etag"), self.headers);
        let request = match self.target {
            Target::Page => request("/simple/cost/", self.headers),
            Target::PageAgain => request("/simple/cost/", &again),
            Target::File(number, behind) => {
                let plain = connection.ask(&request(
                    "/simple/cost/",
                    "Accept: application/vnd.pypi.simple.v1+json\r\n",
                ));
                let page: serde_json::Value = serde_json::from_slice(&plain.body).unwrap();
                let link = page["files"][number]["url"].as_str().unwrap();
                let path = link.trim_start_matches("../");
                request(&format!("/{path}{behind}"), self.headers)
            }
        };
        for _ in 0..WARM_UP {
            assert_eq!(connection.ask(&request).status, self.status, "{}", self.name);
        }
        request
    }
}

/// Enough for what is written behind answers, kept for the second request of a neighbour, or grows with the first ones.
const WARM_UP: usize = 100;

fn request(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: cost.example\r\nUser-Agent: cost/1\r\n{headers}\r\n")
}
