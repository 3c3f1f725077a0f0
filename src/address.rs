//! The keys by which bans, caps and quotas group addresses that may have the same owner.
//!
//! A [`Host`] is the unit that one owner gets cheaply: a single IPv4 address, or a /64 of IPv6. A [`NetGroup`] is a
//! range that may have a single owner. The ranges are formed as in SV Node (1.2.2, netaddress.cpp GetGroup). A
//! routable IPv4 address that is embedded in an IPv6 address counts as IPv4. Otherwise one peer would count as two
//! hosts, and all IPv4 addresses behind the same translator as one host. This module has no state.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One owner of addresses: an IPv4 address, or a /64 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An IPv4 address, including IPv4-mapped addresses, and routable ones embedded in 6to4, Teredo or translated
    /// addresses.
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address.
    V6(u64),
}

/// A range of addresses that may have a single owner. The value identifies the range; it is not a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetGroup {
    /// All unroutable addresses, including loopback and private ranges.
    Unroutable,
    /// A /16 of IPv4, including IPv4 addresses embedded in 6to4, Teredo or translated addresses.
    V4([u8; 2]),
    /// A /32 of IPv6, or a /36 within Hurricane Electric's 2001:470::/32, whose users get /48s for free.
    V6([u8; 5]),
}

impl Host {
    /// Returns the owner of `address`.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => match embedded_v4(address) {
                Some(inner) if is_routable_v4(inner) => Self::V4(inner),
                Some(_) | None => Self::V6((address.to_bits() >> 64) as u64),
            },
        }
    }
}

impl NetGroup {
    /// Returns the range that contains `address`.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if !is_routable(address) => Self::Unroutable,
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => match embedded_v4(address) {
                Some(inner) => Self::of_v4(inner),
                None => Self::of_v6(address),
            },
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [a, b, _, _] = address.octets();
        Self::V4([a, b])
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let [a, b, c, d, e, ..] = address.octets();
        let is_hurricane_electric = [a, b, c, d] == [0x20, 0x01, 0x04, 0x70];
        Self::V6([a, b, c, d, if is_hurricane_electric { e & 0xf0 } else { 0 }])
    }
}

/// Returns whether `address` is routable on the public internet.
///
/// ```
/// use peerloop::address::is_routable;
///
/// assert!(is_routable("8.8.8.8".parse()?));
/// assert!(!is_routable("192.168.1.1".parse()?));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn is_routable(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_routable_v4(address),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(inner) => is_routable_v4(inner),
            None => is_routable_v6(address),
        },
    }
}

/// Returns `address`, with an IPv4-mapped IPv6 address converted to IPv4.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn is_routable_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && b & 0xc0 == 64;
    let is_benchmarking = a == 198 && b & 0xfe == 18;
    let is_protocol_assignment = [a, b, c] == [192, 0, 0];
    !(a == 0
        || a >= 224
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || is_shared
        || is_benchmarking
        || is_protocol_assignment)
}

fn is_routable_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let is_documentation = (a, b) == (0x2001, 0x0db8);
    let is_orchid = a == 0x2001 && (0x10..0x30).contains(&b);
    // Only 2000::/3 is assigned as global unicast space.
    a & 0xe000 == 0x2000 && !is_documentation && !is_orchid
}

/// Returns the IPv4 address that 6to4, Teredo, NAT64 or stateless translation has embedded in an IPv6 address; `None`
/// for other addresses.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match segments {
        // 6to4
        [0x2002, high, low, ..] => Some(join(high, low)),
        // Teredo: the client's address, inverted
        [0x2001, 0, .., high, low] => Some(join(!high, !low)),
        // NAT64, and stateless translation
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => Some(join(high, low)),
        _ => None,
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(prefix) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*prefix) << 64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ipv6_forms_of_a_routable_ipv4_address_have_its_host_and_group() {
        for text in [
            "1.2.3.4",
            "::ffff:1.2.3.4",
            "2002:102:304::1",
            "2002:102:304:ffff::1",
            "2001:0:5ef5:79fd::fefd:fcfb",
            "2001:0:102:304::fefd:fcfb",
            "64:ff9b::102:304",
            "::ffff:0:1.2.3.4",
        ] {
            assert_eq!(Host::of(ip(text)), Host::V4(Ipv4Addr::new(1, 2, 3, 4)), "{text}");
            assert_eq!(NetGroup::of(ip(text)), NetGroup::V4([1, 2]), "{text}");
        }
    }

    #[test]
    fn an_ipv6_address_with_an_embedded_unroutable_address_is_an_ipv6_host_unless_it_is_ipv4_mapped() {
        for text in ["2002:7f00:1::1", "2002:a00:1::1", "64:ff9b::7f00:1", "2001:0:5ef5:79fd::80ff:fffe"] {
            assert!(matches!(Host::of(ip(text)), Host::V6(_)), "{text}");
        }
        assert_eq!(Host::of(ip("::ffff:127.0.0.1")), Host::V4(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn an_ipv6_host_is_a_slash_64() {
        assert_eq!(Host::of(ip("2a00:1:2:3:4:5:6:7")), Host::of(ip("2a00:1:2:3:ffff::")));
        assert_ne!(Host::of(ip("2a00:1:2:3::")), Host::of(ip("2a00:1:2:4::")));
        assert_eq!(Host::of(ip("2a00:1:2:3:4:5:6:7")).to_string(), "2a00:1:2:3::/64");
    }

    #[test]
    fn groups_are_ipv4_slash_16_ipv6_slash_32_and_hurricane_electric_slash_36() {
        assert_eq!(NetGroup::of(ip("8.8.1.1")), NetGroup::of(ip("8.8.255.1")));
        assert_ne!(NetGroup::of(ip("8.8.1.1")), NetGroup::of(ip("8.9.1.1")));
        assert_eq!(NetGroup::of(ip("2a00:1:2::")), NetGroup::of(ip("2a00:1:ffff::")));
        assert_ne!(NetGroup::of(ip("2a00:1::")), NetGroup::of(ip("2a00:2::")));
        assert_eq!(NetGroup::of(ip("2001:470:1000::")), NetGroup::of(ip("2001:470:1fff::")));
        assert_ne!(NetGroup::of(ip("2001:470:1000::")), NetGroup::of(ip("2001:470:2000::")));
    }

    #[test]
    fn unroutable_addresses_are_one_group_and_public_addresses_are_routable() {
        for text in [
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd87:d87e:eb43::1",
            "ff02::1",
            "2001:db8::1",
            "2001:10::1",
            "2001:20::1",
            "2002:a00:1::1",
            "64:ff9b::7f00:1",
            "::ffff:127.0.0.1",
            "4000::1",
        ] {
            assert_eq!(NetGroup::of(ip(text)), NetGroup::Unroutable, "{text}");
        }
        for text in ["1.1.1.1", "100.63.0.1", "100.128.0.1", "172.32.0.1", "198.20.0.1", "223.1.1.1", "2001:4860::1"] {
            assert!(is_routable(ip(text)), "{text}");
        }
    }
}
