//! How old an upstream's answer is and how long it counts: RFC 9111 for a shared cache.

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL};

use crate::source::Freshness;

/// What a page without any word about it counts for.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);

/// What "absent" counts for at the most.
const ABSENCE_LIFETIME: Duration = Duration::from_secs(60);

/// Age and lifetime of an answer with these headers.
///
/// `Age` is taken at its word, so that a page three tiers down is as old as the top tier says. The lifetime is
/// `s-maxage`, else `max-age`; `no-store` and `no-cache` mean none.
pub(super) fn freshness_of(headers: &HeaderMap) -> Freshness {
    let mut lifetime = None;
    let mut shared_lifetime = None;
    let directives = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok());
    for directive in directives.flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "max-age" => lifetime = lifetime.or(seconds(value)),
            "s-maxage" => shared_lifetime = shared_lifetime.or(seconds(value)),
            "no-store" | "no-cache" | "private" => shared_lifetime = Some(Duration::ZERO),
            _ => {}
        }
    }
    let age = headers
        .get(AGE)
        .and_then(|value| value.to_str().ok())
        .and_then(seconds)
        .unwrap_or_default();
    Freshness {
        age,
        lifetime: shared_lifetime.or(lifetime).unwrap_or(DEFAULT_LIFETIME),
    }
}

/// The same for "there is no such thing": short, whatever the upstream says.
pub(super) fn absence_of(headers: &HeaderMap) -> Freshness {
    let told = freshness_of(headers);
    let lifetime = if headers.contains_key(CACHE_CONTROL) {
        told.lifetime
    } else {
        ABSENCE_LIFETIME
    };
    Freshness {
        age: told.age.min(ABSENCE_LIFETIME),
        lifetime: lifetime.min(ABSENCE_LIFETIME),
    }
}

/// Delta-seconds (RFC 9111 section 1.2.2): what is too large to hold is very long.
fn seconds(text: &str) -> Option<Duration> {
    let digits = text.trim().trim_matches('"');
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| Duration::from_secs(digits.parse::<u64>().unwrap_or(u64::MAX).min(1 << 31)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_and_ages() {
        let cases = [
            (vec![], 0, 600),
            (vec![("cache-control", "max-age=600, public")], 0, 600),
            (
                vec![
                    ("cache-control", "public, s-maxage=30, max-age=600"),
                    ("age", "17"),
                ],
                17,
                30,
            ),
            (vec![("cache-control", "no-cache, max-age=600")], 0, 0),
            (vec![("cache-control", "Max-Age=\"5\"")], 0, 5),
            (vec![("cache-control", "max-age=-1"), ("age", "x")], 0, 600),
            (
                vec![("cache-control", "max-age=99999999999999999999999")],
                0,
                1 << 31,
            ),
        ];
        for (headers, age, lifetime) in cases {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect();
            let found = freshness_of(&map);
            assert_eq!(
                (found.age.as_secs(), found.lifetime.as_secs()),
                (age, lifetime),
                "{headers:?}"
            );
        }
    }

    /// A fuzz target, see `simple::fuzz`.
    #[test]
    fn whatever_an_upstream_says_of_its_age_is_bounded() {
        bolero::check!()
            .with_type::<(String, String)>()
            .for_each(|(cache_control, age)| {
                let mut headers = HeaderMap::new();
                for (name, text) in [(CACHE_CONTROL, cache_control), (AGE, age)] {
                    if let Ok(value) = text.parse() {
                        headers.insert(name, value);
                    }
                }
                let told = freshness_of(&headers);
                assert!(told.lifetime.as_secs() <= 1 << 31 && told.age.as_secs() <= 1 << 31);
                assert!(absence_of(&headers).lifetime <= ABSENCE_LIFETIME);
            });
    }
}
