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

/// What a header may name beside an offer, with what it means then.
const WILDCARDS: [(&str, Format, &str); 3] = [
    ("application/*", Format::Json, JSON),
    ("text/*", Format::Html, TEXT_HTML),
    ("*/*", Format::Html, TEXT_HTML),
];

/// The representation for these request headers (`accept`: the values of all such fields); `None` where the client takes none that there is (406).
///
/// No `Accept`, or one that cannot be read, means whatever there is: HTML, for browsers and old clients.
pub(crate) fn negotiate<'a>(
    accept: impl IntoIterator<Item = &'a str>,
    encodings: Option<&str>,
    query: Option<&str>,
) -> Option<Representation> {
    let (format, content_type) = match wanted_format(query) {
        Some(offer) => offer,
        None => best_offer(accept)?,
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

fn best_offer<'a>(accept: impl IntoIterator<Item = &'a str>) -> Option<(Format, &'static str)> {
    let mut offers = [None; OFFERS.len()];
    let mut wildcards = [None; WILDCARDS.len()];
    let mut says_nothing = true;
    for (range, q) in accept
        .into_iter()
        .flat_map(|value| value.split(','))
        .filter_map(weighted)
    {
        says_nothing = false;
        if let Some(number) = OFFERS.iter().position(|(name, ..)| is_named(range, name)) {
            offers[number] = offers[number].max(Some(q));
        } else if let Some(number) = WILDCARDS.iter().position(|(name, ..)| is_named(range, name)) {
            wildcards[number] = wildcards[number].max(Some(q));
        }
    }
    if says_nothing {
        return Some((Format::Html, TEXT_HTML));
    }
    let named = OFFERS.iter().zip(offers);
    // What is named outright wins over a wildcard of the same weight, and a wildcard means JSON or HTML.
    let is_refused = |content_type: &str| {
        let mut of_type = OFFERS
            .iter()
            .zip(offers)
            .filter(|((.., offered), _)| *offered == content_type);
        of_type.next().is_some_and(|(_, q)| q == Some(0))
    };
    let meant = WILDCARDS
        .iter()
        .zip(wildcards)
        .filter(|((.., content_type), _)| !is_refused(content_type));
    let mut best: Option<(u16, Format, &'static str)> = None;
    for (&(_, format, content_type), q) in named.chain(meant) {
        if let Some(q) = q.filter(|q| *q > 0)
            && best.is_none_or(|(known, ..)| q > known)
        {
            best = Some((q, format, content_type));
        }
    }
    best.map(|(_, format, content_type)| (format, content_type))
}

/// Whether a range or coding, as a client wrote it, is the one of this name.
fn is_named(written: &str, name: &str) -> bool {
    let letters = written.bytes().filter(|b| !b.is_ascii_whitespace());
    letters.map(|b| b.to_ascii_lowercase()).eq(name.bytes())
}

/// One element as (name without parameters, weight in thousandths). `None` where it cannot be read.
fn weighted(element: &str) -> Option<(&str, u16)> {
    let mut parts = element.split(';');
    let name = parts.next()?.trim_ascii();
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
    const CODINGS: [&str; 5] = ["zstd", "gzip", "x-gzip", "*", "identity"];
    let mut weights = [None; CODINGS.len()];
    for (coding, q) in header.split(',').filter_map(weighted) {
        if let Some(number) = CODINGS.iter().position(|name| is_named(coding, name)) {
            weights[number].get_or_insert(q);
        }
    }
    let [zstd, gzip, x_gzip, any, identity] = weights;
    let zstd = zstd.unwrap_or(0);
    let gzip = gzip.or(x_gzip).or(any).unwrap_or(0);
    let identity = identity.unwrap_or(0).max(1);
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
            let _ = negotiate(Some(&*accept), Some(&encodings), Some(&query));
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
                let _ = negotiate(Some(&*accept), Some(&pick(encodings)), Some(text));
                let _ = negotiate(None, Some(text), None);
            });
    }
}
