//! Who sends a request: from where, with which credentials, and under which id its log lines can be found.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use crate::access::Caller;
use crate::http::header_text;
use crate::observe::audit::Event;

/// The header that carries a request's id from tier to tier.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken over.
const MAX_ID: usize = 64;

/// From where somebody asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// Whether that is this machine.
    pub(crate) is_local: bool,
}

/// Who asks, as far as it is known.
#[derive(Debug)]
pub(crate) struct ClientContext {
    pub(crate) client: Client,
    pub(crate) caller: Caller,
    /// The request's id.
    pub(crate) request_id: HeaderValue,
}

impl ClientContext {
    /// An event of this request.
    pub(crate) fn event(&self, event: &'static str) -> Event {
        Event {
            who: self.caller.name().map(str::to_owned),
            from: Some(self.client.address),
            request: self.request_id.to_str().ok().map(str::to_owned),
            ..Event::new(event)
        }
    }
}

/// The id that the tier below gave, if it is a plain one; else one of our own.
pub(crate) fn request_id(headers: &HeaderMap, pseudonym: &str) -> HeaderValue {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let is_plain = |id: &&HeaderValue| {
        let bytes = id.as_bytes();
        let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        (1..=MAX_ID).contains(&bytes.len()) && bytes.iter().all(fits)
    };
    if let Some(given) = headers.get(REQUEST_ID).filter(is_plain) {
        return given.clone();
    }
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let front = pseudonym.rsplit('-').next().unwrap_or_default();
    header_text::value(format_args!("{front}-{number:x}")).unwrap_or(HeaderValue::from_static("none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_ids_are_kept_and_others_replaced() {
        let with = |id: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
            request_id(&headers, "pypicache-00ff00ff")
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(with(b"ci-7.a_B"), "ci-7.a_B");
        for odd in [&b""[..], b"a b", b"a\xffb", b"<x>", &[b'a'; 65]] {
            assert!(with(odd).starts_with("00ff00ff-"), "{odd:?}");
        }
        let none = || request_id(&HeaderMap::new(), "pypicache-1");
        assert_ne!(none(), none());
    }
}
