//! Which host a request is for (RFC 9112 section 3.2, RFC 9113 section 8.3.1): said once, and readable. Two servers on the way that
//! read two different hosts out of one request are how requests are smuggled.

use hyper::Version;
use hyper::header::{HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

/// What is wrong with it, in a sentence for the client.
pub(crate) fn problem_with(head: &Parts) -> Option<&'static str> {
    let mut told = head.headers.get_all(HOST).iter();
    let (first, second) = (told.next(), told.next());
    if second.is_some() {
        return Some("A request has one Host.");
    }
    match (first, head.version) {
        (None, Version::HTTP_11) => Some("A request of HTTP/1.1 has a Host."),
        (Some(host), _) if !is_readable(host) => {
            Some("The Host is no host name or address, with a port or without.")
        }
        (Some(host), Version::HTTP_2) if is_another(host, head) => {
            Some("Host and :authority are not the same.")
        }
        _ => None,
    }
}

/// An empty one is what clients send whose target has no authority.
fn is_readable(host: &HeaderValue) -> bool {
    let Ok(text) = host.to_str() else { return false };
    if is_plain(text) {
        return true;
    }
    let has_port = |authority: &Authority| {
        let port = authority
            .as_str()
            .strip_prefix(authority.host())
            .unwrap_or_default();
        port.is_empty()
            || port
                .strip_prefix(':')
                .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    text.is_empty() || text.parse().is_ok_and(|authority| has_port(&authority))
}

/// What nearly every request has: a name or an address of version 4, perhaps with a port. Told without reading it as more.
fn is_plain(text: &str) -> bool {
    let (name, port) = text.split_once(':').unwrap_or((text, "0"));
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty()
        && name.bytes().all(is_of_name)
        && (1..=5).contains(&port.len())
        && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_another(host: &HeaderValue, head: &Parts) -> bool {
    let authority = head.uri.authority().map(Authority::as_str);
    authority.is_some_and(|authority| !authority.as_bytes().eq_ignore_ascii_case(host.as_bytes()))
}
