//! Where a link or a redirect may lead: never nearer to this machine than the upstream that told it.
//!
//! An index on the internet must not make us ask this machine, the machines around it, or the address at which
//! clouds hand out passwords; an index of the house may keep its files on another machine of the house. The
//! address is checked where the connection is made, so a name that resolves differently the second time gets
//! nobody anywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::Instant;
use url::{Host, Url};

/// How near an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Zone {
    /// The internet.
    Public,
    /// RFC 1918, RFC 4193, RFC 6598: the house.
    Private,
    /// This machine.
    Loopback,
    /// The wire (RFC 3927, RFC 4291), where clouds keep their metadata; multicast and the like as well.
    Wire,
}

impl Zone {
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => match embedded(address) {
                Some(inner) => Self::of_v4(inner),
                None if address.is_loopback() || address.is_unspecified() => Self::Loopback,
                None if address.is_multicast() || address.is_unicast_link_local() => Self::Wire,
                None if address.is_unique_local() => Self::Private,
                None => Self::Public,
            },
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
        if address.is_loopback() || address.octets()[0] == 0 {
            Self::Loopback
        } else if address.is_link_local() || address.is_broadcast() || address.is_multicast() {
            Self::Wire
        } else if address.is_private() || shared {
            Self::Private
        } else {
            Self::Public
        }
    }

    /// Whether somebody in this zone may send us to `other`.
    pub(super) fn may_lead_to(self, other: Self) -> bool {
        match other {
            Self::Public => true,
            Self::Private => matches!(self, Self::Private | Self::Loopback),
            Self::Loopback => self == Self::Loopback,
            Self::Wire => self == Self::Wire,
        }
    }
}

/// The IPv4 address inside a mapped, compatible, translated (RFC 6052) or 6to4 one.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let parts = address.segments();
    let tail = || Ipv4Addr::from((u32::from(parts[6]) << 16) | u32::from(parts[7]));
    match parts {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(tail()),
        [0, 0, 0, 0, 0, 0, 0, last] if last <= 1 => None,
        [0, 0, 0, 0, 0, 0, ..] => Some(tail()),
        [0x2002, high, low, ..] => Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        _ => None,
    }
}

/// Resolves names by the system, and keeps only addresses that a zone may lead to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resolver {
    /// `None`: all of them.
    pub(super) from: Option<Zone>,
}

/// Why a name was not resolved.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("{name} cannot be resolved: {cause}")]
    Unknown { name: String, cause: std::io::Error },
    #[error("{name} is {address}, which is nearer to this machine than the index that points there")]
    Guarded { name: String, address: IpAddr },
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let from = self.from;
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found: Result<Vec<SocketAddr>, _> = found.map(Iterator::collect);
            let found = match found {
                Ok(found) => found,
                Err(cause) => return Err(ResolveError::Unknown { name, cause }.into()),
            };
            let refused = found.first().map(SocketAddr::ip);
            let allowed =
                |address: &SocketAddr| from.is_none_or(|from| from.may_lead_to(Zone::of(address.ip())));
            let kept: Vec<_> = found.into_iter().filter(allowed).collect();
            match (kept.is_empty(), refused) {
                (true, Some(address)) => Err(ResolveError::Guarded { name, address }.into()),
                _ => Ok(Box::new(kept.into_iter()) as Addrs),
            }
        })
    }
}

/// The zone that an upstream is in. Names are looked up, and remembered for a minute: a laptop moves.
#[derive(Debug, Default)]
pub(super) struct OwnZone {
    /// A std mutex: held for a read or a write, never across an await.
    known: Mutex<Option<(Instant, Zone)>>,
}

const REMEMBERED: Duration = Duration::from_secs(60);

impl OwnZone {
    pub(super) async fn of(&self, index: &Url) -> Zone {
        let name = match index.host() {
            Some(Host::Ipv4(address)) => return Zone::of(address.into()),
            Some(Host::Ipv6(address)) => return Zone::of(address.into()),
            Some(Host::Domain(name)) => name,
            None => return Zone::Public,
        };
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, zone)) = known
            && at.elapsed() < REMEMBERED
        {
            return zone;
        }
        // Who cannot be looked up (behind a proxy, say) gets the least rights.
        let zone = match tokio::net::lookup_host((name, 0)).await {
            Ok(mut found) => found
                .next()
                .map_or(Zone::Public, |address| Zone::of(address.ip())),
            Err(_) => Zone::Public,
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), zone));
        zone
    }
}

/// The zone of a URL whose host is an address; `None` for names, whose address is checked when they are resolved.
pub(super) fn literal_zone(url: &Url) -> Option<Zone> {
    match url.host()? {
        Host::Ipv4(address) => Some(Zone::of(address.into())),
        Host::Ipv6(address) => Some(Zone::of(address.into())),
        Host::Domain(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_all_their_disguises() {
        let zone = |text: &str| {
            literal_zone(&Url::parse(&format!("http://{text}/")).unwrap()).unwrap_or_else(|| panic!("{text}"))
        };
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "2130706433",
            "0x7f.1",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
        ] {
            assert_eq!(zone(text), Zone::Loopback, "{text}");
        }
        for text in [
            "169.254.169.254",
            "[fe80::1]",
            "[::ffff:a9fe:a9fe]",
            "255.255.255.255",
            "[ff02::1]",
            "224.0.0.1",
        ] {
            assert_eq!(zone(text), Zone::Wire, "{text}");
        }
        for text in [
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "[fd00::1]",
            "[2002:a00:1::]",
        ] {
            assert_eq!(zone(text), Zone::Private, "{text}");
        }
        for text in ["192.0.2.1", "172.32.0.1", "[2001:db8::1]", "100.128.0.1"] {
            assert_eq!(zone(text), Zone::Public, "{text}");
        }
    }

    #[test]
    fn nobody_leads_nearer() {
        use Zone::{Loopback, Private, Public, Wire};
        let allowed = [
            (Public, vec![Public]),
            (Private, vec![Public, Private]),
            (Loopback, vec![Public, Private, Loopback]),
        ];
        for (from, to) in allowed {
            for zone in [Public, Private, Loopback, Wire] {
                assert_eq!(from.may_lead_to(zone), to.contains(&zone), "{from:?} to {zone:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_not_followed_from_outside() {
        let resolve = |from| Resolver { from }.resolve("localhost".parse().unwrap());
        assert!(resolve(None).await.unwrap().next().is_some());
        assert!(resolve(Some(Zone::Loopback)).await.is_ok());
        let Err(error) = resolve(Some(Zone::Public)).await else {
            panic!("it was resolved")
        };
        assert!(error.to_string().contains("nearer to this machine"), "{error}");
    }
}
