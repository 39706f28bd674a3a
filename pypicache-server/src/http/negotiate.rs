//! Which representation a client gets: `Accept`, `?format=` and `Accept-Encoding` (RFC 9110 section 12.5).

use pypicache_core::simple::Format;

/// How a page or list is written for one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Representation {
    pub(crate) format: Format,
    pub(crate) content_type: &'static str,
    pub(crate) encoding: Encoding,
}

/// How the bytes of a page are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Identity, Self::Gzip, Self::Zstd];

    /// What `Content-Encoding` says; `None` where there is nothing to say.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const HTML: &str = "application/vnd.pypi.simple.v1+html; charset=utf-8";
const TEXT_HTML: &str = "text/html; charset=utf-8";

/// The representations in the order that decides between equal weights.
const OFFERS: [(&str, Format, &str); 5] = [
    ("application/vnd.pypi.simple.v1+json", Format::Json, JSON),
    ("application/vnd.pypi.simple.latest+json", Format::Json, JSON),
    ("application/vnd.pypi.simple.v1+html", Format::Html, HTML),
    ("application/vnd.pypi.simple.latest+html", Format::Html, HTML),
    ("text/html", Format::Html, TEXT_HTML),
];

/// The representation for these request headers; `None` where the client takes none that there is (406).
///
/// No `Accept`, or one that cannot be read, means whatever there is: HTML, for browsers and old clients.
pub(crate) fn negotiate(
    accept: Option<&str>,
    encodings: Option<&str>,
    query: Option<&str>,
) -> Option<Representation> {
    let (format, content_type) = match wanted_format(query) {
        Some(offer) => offer,
        None => best_offer(accept.unwrap_or("*/*"))?,
    };
    Some(Representation {
        format,
        content_type,
        encoding: encoding(encodings.unwrap_or_default()),
    })
}

/// `?format=application/vnd.pypi.simple.v1+json`; what is unknown is passed over.
fn wanted_format(query: Option<&str>) -> Option<(Format, &'static str)> {
    let value = query?.split('&').find_map(|pair| pair.strip_prefix("format="))?;
    // A literal plus would be decoded to a space by forms; clients send it either way.
    let value = value
        .replace("%2B", "+")
        .replace("%2b", "+")
        .replace("%2F", "/")
        .replace("%2f", "/");
    OFFERS
        .iter()
        .find(|(name, ..)| *name == value)
        .map(|&(_, format, content_type)| (format, content_type))
}

fn best_offer(accept: &str) -> Option<(Format, &'static str)> {
    let ranges: Vec<(String, u16)> = accept.split(',').filter_map(weighted).collect();
    if ranges.is_empty() {
        return Some((Format::Html, TEXT_HTML));
    }
    let exact = |name: &str| {
        ranges
            .iter()
            .filter(|(range, _)| range == name)
            .map(|(_, q)| *q)
            .max()
    };
    let mut best: Option<(u16, Format, &'static str)> = None;
    for (name, format, content_type) in OFFERS {
        if let Some(q) = exact(name).filter(|q| *q > 0)
            && best.is_none_or(|(known, ..)| q > known)
        {
            best = Some((q, format, content_type));
        }
    }
    // What is named outright wins over a wildcard of the same weight, and a wildcard means JSON or HTML.
    let refused = |name: &str| exact(name) == Some(0);
    let wildcards = [
        ("application/*", JSON, Format::Json),
        ("text/*", TEXT_HTML, Format::Html),
        ("*/*", TEXT_HTML, Format::Html),
    ];
    for (range, content_type, format) in wildcards {
        let name = if format == Format::Json { JSON } else { "text/html" };
        if let Some(q) = exact(range).filter(|q| *q > 0 && !refused(name))
            && best.is_none_or(|(known, ..)| q > known)
        {
            best = Some((q, format, content_type));
        }
    }
    best.map(|(_, format, content_type)| (format, content_type))
}

/// One element as (lower-case name without parameters, weight in thousandths). `None` where it cannot be read.
fn weighted(element: &str) -> Option<(String, u16)> {
    let mut parts = element.split(';');
    let name: String = parts
        .next()?
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .collect::<String>()
        .to_ascii_lowercase();
    if name.is_empty() {
        return None;
    }
    let mut q = 1000;
    for part in parts {
        if let Some((key, value)) = part.split_once('=')
            && key.trim().eq_ignore_ascii_case("q")
        {
            let weight: f32 = value
                .trim()
                .parse()
                .ok()
                .filter(|weight| (0.0..=1.0).contains(weight))?;
            q = (weight * 1000.0).round() as u16;
        }
    }
    Some((name, q))
}

/// The coding with the largest weight; of equals zstd, which is faster to undo, then gzip.
fn encoding(header: &str) -> Encoding {
    let codings: Vec<_> = header.split(',').filter_map(weighted).collect();
    let weight = |name: &str| codings.iter().find(|(coding, _)| coding == name).map(|(_, q)| *q);
    let zstd = weight("zstd").unwrap_or(0);
    let gzip = weight("gzip")
        .or_else(|| weight("x-gzip"))
        .or_else(|| weight("*"))
        .unwrap_or(0);
    let identity = weight("identity").unwrap_or(0).max(1);
    if zstd >= gzip.max(identity) {
        Encoding::Zstd
    } else if gzip >= identity {
        Encoding::Gzip
    } else {
        Encoding::Identity
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(accept: &str) -> Option<&'static str> {
        negotiate(Some(accept), None, None).map(|representation| representation.content_type)
    }

    #[test]
    fn what_real_clients_send() {
        let json = [
            "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
            "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01",
            "application/vnd.pypi.simple.v1+json, */*;q=0.1",
            "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html, text/html;q=0.01",
            "application/vnd.pypi.simple.v1+html;q=0.2, application/vnd.pypi.simple.v1+json, text/html;q=0.01",
            "application/vnd.pypi.simple.latest+json",
            "application/*",
            "APPLICATION/VND.PYPI.SIMPLE.V1+JSON ; Q = 0.500, text/html;q=0.4",
            "text/html, application/vnd.pypi.simple.v1+json",
        ];
        for accept in json {
            assert_eq!(of(accept), Some(JSON), "{accept}");
        }
        for accept in [
            "*/*",
            "text/html",
            "text/*",
            "",
            ",,",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "application/vnd.pypi.simple.v1+json;q=0, */*",
        ] {
            assert_eq!(of(accept), Some(TEXT_HTML), "{accept}");
        }
        assert_eq!(of("application/vnd.pypi.simple.v1+html"), Some(HTML));
        for accept in [
            "image/png",
            "*/*;q=0",
            "application/json",
            "application/vnd.pypi.simple.v2+json",
        ] {
            assert_eq!(of(accept), None, "{accept}");
        }
        assert_eq!(
            negotiate(None, None, None).map(|r| r.content_type),
            Some(TEXT_HTML)
        );
    }

    #[test]
    fn the_query_beats_the_header() {
        let of = |query: &str| negotiate(Some("text/html"), None, Some(query)).map(|r| r.content_type);
        assert_eq!(of("format=application/vnd.pypi.simple.v1+json"), Some(JSON));
        assert_eq!(
            of("x=1&format=application%2Fvnd.pypi.simple.v1%2Bjson"),
            Some(JSON)
        );
        assert_eq!(of("format=pdf"), Some(TEXT_HTML));
    }

    #[test]
    fn encodings() {
        for (header, expected) in [
            ("gzip, deflate", Encoding::Gzip),
            ("gzip, deflate, zstd", Encoding::Zstd),
            ("zstd;q=0.5, gzip", Encoding::Gzip),
            ("zstd;q=0", Encoding::Identity),
            ("*", Encoding::Gzip),
            ("x-gzip", Encoding::Gzip),
            ("Identity", Encoding::Identity),
            ("gzip;q=0", Encoding::Identity),
            ("br", Encoding::Identity),
            ("", Encoding::Identity),
            ("identity;q=1, gzip;q=0.5", Encoding::Identity),
        ] {
            assert_eq!(encoding(header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(accept in ".*", encodings in ".*", query in ".*") {
            let _ = negotiate(Some(&accept), Some(&encodings), Some(&query));
        }
    }

    /// A fuzz target, see the core's `simple::fuzz`.
    #[test]
    fn whatever_a_client_accepts_is_read_without_a_panic() {
        let words = [
            "",
            "text/html",
            "*/*",
            "application/vnd.pypi.simple.v1+json",
            ";q=0",
            ";q=0.5",
            ",",
            "gzip",
            "identity",
        ];
        bolero::check!()
            .with_type::<(Vec<u8>, String, Vec<u8>)>()
            .for_each(|(picks, text, encodings)| {
                let pick = |picks: &[u8]| {
                    picks
                        .iter()
                        .map(|pick| words[usize::from(*pick) % words.len()])
                        .collect::<String>()
                };
                let accept = pick(picks) + text;
                let _ = negotiate(Some(&accept), Some(&pick(encodings)), Some(text));
                let _ = negotiate(None, Some(text), None);
            });
    }
}
