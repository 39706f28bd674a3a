//! Preconditions and ranges of a request (RFC 9110 sections 13 and 14).

use hyper::HeaderMap;
use hyper::header::{HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE};
use pypicache_core::source::ByteRange;

/// Whether the client's `If-None-Match` names this entity tag (weak comparison).
pub(crate) fn matches(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value
                .split(',')
                .map(str::trim)
                .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == *etag)
        })
}

/// The range that is asked for; `None` for the whole, and for what is no single range of bytes.
pub(crate) fn range(headers: &HeaderMap) -> Option<ByteRange> {
    let spec = headers.get(RANGE)?.to_str().ok()?.trim();
    let (unit, set) = spec.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (first.trim(), last.trim()) {
        ("", count) => number(count).map(ByteRange::Last),
        (first, "") => number(first).map(ByteRange::From),
        (first, last) => match (number(first)?, number(last)?) {
            (first, last) if first <= last => Some(ByteRange::Between(first, last)),
            _ => None,
        },
    }
}

/// Whether a range may be answered with a part: no `If-Range`, or one that names this very tag.
///
/// Dates are not compared: we send none, so a client that has one has it from elsewhere.
pub(crate) fn range_applies(headers: &HeaderMap, etag: impl FnOnce() -> Option<HeaderValue>) -> bool {
    match headers.get(IF_RANGE) {
        None => true,
        Some(tag) => etag().is_some_and(|etag| tag == etag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderName;
    use proptest::prelude::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn ranges_of_all_kinds() {
        let of = |value: &str| range(&headers(RANGE, value));
        assert_eq!(of("bytes=0-0"), Some(ByteRange::Between(0, 0)));
        assert_eq!(of("bytes=5-"), Some(ByteRange::From(5)));
        assert_eq!(of("Bytes = -999999"), Some(ByteRange::Last(999_999)));
        assert_eq!(
            of("bytes=1-99999999999999999999999"),
            Some(ByteRange::Between(1, u64::MAX))
        );
        for value in [
            "bytes=9-5",
            "bytes=abc",
            "bytes=0-1,3-4",
            "bytes=-",
            "lines=1-2",
            "bytes=+1-2",
            "",
            "bytes",
        ] {
            assert_eq!(of(value), None, "{value}");
        }
    }

    #[test]
    fn tags() {
        let of = |value: &str| {
            matches(
                &headers(IF_NONE_MATCH, value),
                &HeaderValue::from_static("\"abc\""),
            )
        };
        assert!(of("\"abc\"") && of("W/\"abc\"") && of("*") && of("\"x\", \"abc\""));
        assert!(!of("\"ab\"") && !of("abc"));
        let known = || Some(HeaderValue::from_static("\"abc\""));
        let applies = |value: &str| range_applies(&headers(IF_RANGE, value), known);
        assert!(applies("\"abc\"") && !applies("W/\"abc\"") && !applies("\"old\""));
        assert!(!applies("Sat, 21 Nov 2026 00:00:00 GMT"));
    }

    proptest! {
        #[test]
        fn never_panics(value in "[ -~]*") {
            let _ = range(&headers(RANGE, &value));
        }
    }

    /// A fuzz target, see the core's `simple::fuzz`.
    #[test]
    fn whatever_range_is_asked_for_stays_inside_the_file() {
        bolero::check!()
            .with_type::<(String, u64)>()
            .for_each(|(text, size)| {
                for text in [text.clone(), format!("bytes={text}")] {
                    let Ok(value) = text.parse() else { continue };
                    let headers = HeaderMap::from_iter([(RANGE, value)]);
                    if let Some((offset, length)) = range(&headers).and_then(|range| range.within(*size)) {
                        assert!(length > 0 && offset.checked_add(length).is_some_and(|end| end <= *size));
                    }
                }
            });
    }
}
