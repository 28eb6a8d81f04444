//! Where attempts come from: an IPv4 address, or the IPv6 network a household or a server is given.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// One source of attempts. IPv6 counts by /64: whoever has one address has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Source {
    V4(Ipv4Addr),
    /// The upper half of the address.
    V6(u64),
}

impl Source {
    /// The source of an address; an IPv4 address that came over an IPv6 socket counts as IPv4.
    pub(crate) fn of(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V4(address) => Source::V4(address),
            IpAddr::V6(address) => Source::V6((address.to_bits() >> 64) as u64),
        }
    }

    /// The address itself, or the first of the network.
    pub(crate) fn address(self) -> IpAddr {
        match self {
            Source::V4(address) => address.into(),
            Source::V6(upper) => Ipv6Addr::from_bits(u128::from(upper) << 64).into(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::V4(address) => address.fmt(f),
            Source::V6(_) => write!(f, "{}/64", self.address()),
        }
    }
}

/// A text that names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no IP address")]
pub(crate) struct InvalidSource(String);

impl FromStr for Source {
    type Err = InvalidSource;

    /// Reads an address, also with the `/64` that listings show.
    fn from_str(text: &str) -> Result<Source, InvalidSource> {
        let bare = text.strip_suffix("/64").filter(|bare| bare.contains(':')).unwrap_or(text);
        bare.parse().map(Source::of).map_err(|_| InvalidSource(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_counts_by_its_network_and_mapped_addresses_as_ipv4() {
        let rows = [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::/64", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ];
        for (text, shown) in rows {
            let source: Source = text.parse().unwrap();
            assert_eq!(source.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<Source>().unwrap(), source);
            assert_eq!(Source::of(source.address()), source);
        }
        for text in ["", "x", "203.0.113.7/64", "2001:db8::/48", "all"] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }
}
