//! Reverse proxies in front of this server: whom to believe about the client's address (RFC 7239), and the part of the
//! path that is theirs.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::FORWARDED;
use ipnet::IpNet;

/// Which proxies there are.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// Addresses and networks whose word about their clients counts.
    pub trusted: Vec<IpNet>,
    /// What they leave in front of our paths: empty, or `/pypi`, without a slash at its end.
    pub path_prefix: String,
}

/// The farthest that proxies in front of proxies are believed.
const MAX_HOPS: usize = 16;

impl Proxies {
    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// The client's address: the peer's, or, as long as that is a trusted proxy's, the one that it says it works for.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let told = match headers.contains_key(FORWARDED) {
            true => forwarded(headers),
            false => x_forwarded_for(headers),
        };
        let mut client = peer;
        // The last one is the nearest: each is said by the one behind it.
        for next in told.into_iter().rev().take(MAX_HOPS) {
            let Some(next) = next else { break };
            client = next;
            if !self.trusts(next) {
                break;
            }
        }
        client
    }

    /// The path as it is here.
    pub(crate) fn strip<'a>(&self, path: &'a str) -> &'a str {
        match path.strip_prefix(&*self.path_prefix) {
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        }
    }
}

/// The addresses in `Forwarded: for=192.0.2.1, for="[2001:db8::1]:4711"`; `None` for what is no address.
fn forwarded(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let values = headers
        .get_all(FORWARDED)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let elements = values.flat_map(|value| value.split(','));
    let told = elements.map(|element| {
        let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
        let node = pairs.into_iter().find(|(key, _)| key.eq_ignore_ascii_case("for"));
        node.and_then(|(_, node)| address(node.trim_matches('"')))
    });
    told.collect()
}

fn x_forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let values = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|node| address(node.trim()))
        .collect()
}

/// An address, with or without brackets and a port.
fn address(node: &str) -> Option<IpAddr> {
    let bracketed = node.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let bare = match bracketed {
        Some((inside, _)) => inside,
        None if node.matches(':').count() == 1 => node.split(':').next().unwrap_or_default(),
        None => node,
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let proxies = Proxies {
            trusted: vec!["127.0.0.1/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
            path_prefix: String::new(),
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        proxies.client(peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let told = [("x-forwarded-for", "192.0.2.7")];
        assert_eq!(client("127.0.0.1", &told), "192.0.2.7");
        assert_eq!(client("198.51.100.1", &told), "198.51.100.1");
        // What the client itself wrote in front is not believed.
        let forged = [("x-forwarded-for", "1.1.1.1, 192.0.2.7, 10.1.2.3")];
        assert_eq!(client("127.0.0.1", &forged), "192.0.2.7");
        assert_eq!(
            client(
                "127.0.0.1",
                &[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-for", "10.0.0.1")]
            ),
            "192.0.2.7"
        );
        assert_eq!(
            client("127.0.0.1", &[("x-forwarded-for", "unknown, nonsense")]),
            "127.0.0.1"
        );
        assert_eq!(client("127.0.0.1", &[]), "127.0.0.1");
    }

    #[test]
    fn the_standard_header_counts_before_the_old_one() {
        let both = [
            (
                "forwarded",
                "for=192.0.2.1;proto=https, For=\"[2001:db8::1]:4711\"",
            ),
            ("x-forwarded-for", "9.9.9.9"),
        ];
        assert_eq!(client("10.0.0.1", &both), "2001:db8::1");
        assert_eq!(
            client("10.0.0.1", &[("forwarded", "for=192.0.2.1:80")]),
            "192.0.2.1"
        );
        assert_eq!(client("10.0.0.1", &[("forwarded", "for=_hidden")]), "10.0.0.1");
    }

    #[test]
    fn the_prefix_is_a_whole_segment() {
        let proxies = Proxies {
            path_prefix: "/pypi".to_owned(),
            ..Proxies::default()
        };
        assert_eq!(proxies.strip("/pypi/simple/"), "/simple/");
        assert_eq!(proxies.strip("/pypi"), "/pypi");
        assert_eq!(proxies.strip("/pypix/simple/"), "/pypix/simple/");
        assert_eq!(
            proxies.strip("/simple/"),
            "/simple/",
            "a proxy may have taken it off"
        );
    }
}
