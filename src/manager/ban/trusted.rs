//! The networks that are exempt from the caps per host and per range, and from accept rates, scores, bans and
//! evictions.
//!
//! An IPv4-mapped address counts as IPv4, both in a query and, with a prefix of at least 96 bits, in the list. Any
//! other IPv6 network contains no IPv4 addresses, however short its prefix: even `::/0` contains none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A fixed list of networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trusted {
    /// The first and last address of each network, in order. No network lies within an earlier one.
    ranges: Box<[(IpAddr, IpAddr)]>,
}

impl Trusted {
    /// Returns the list of networks with the given addresses and prefix lengths in bits. Address bits after the
    /// prefix are ignored. A network whose prefix is longer than the address contains only that address.
    pub(crate) fn new(networks: &[(IpAddr, u8)]) -> Self {
        let mut ranges: Vec<_> = networks.iter().map(|&(address, bits)| range(address, bits)).collect();
        // Any two networks are disjoint or nested. Among networks with the same start, the largest sorts last.
        ranges.sort_unstable();
        ranges.dedup_by(|(_, last), (_, earlier_last)| *last <= *earlier_last);
        Self { ranges: ranges.into() }
    }

    /// Returns whether one of the networks contains `address`.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let beyond = self.ranges.partition_point(|&(first, _)| first <= address);
        self.ranges[..beyond].last().is_some_and(|&(_, last)| address <= last)
    }
}

/// Returns the first and last address of a network.
fn range(address: IpAddr, bits: u8) -> (IpAddr, IpAddr) {
    const MAPPED_BITS: u8 = 96;
    match address {
        IpAddr::V4(address) => range_v4(address, bits),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(inner) if bits >= MAPPED_BITS => range_v4(inner, bits - MAPPED_BITS),
            _ => {
                let host_bits = u128::MAX.checked_shr(bits.into()).unwrap_or(0);
                let (first, last) = (address.to_bits() & !host_bits, address.to_bits() | host_bits);
                (Ipv6Addr::from_bits(first).into(), Ipv6Addr::from_bits(last).into())
            }
        },
    }
}

fn range_v4(address: Ipv4Addr, bits: u8) -> (IpAddr, IpAddr) {
    let host_bits = u32::MAX.checked_shr(bits.into()).unwrap_or(0);
    let (first, last) = (address.to_bits() & !host_bits, address.to_bits() | host_bits);
    (Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(last).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn trusted(networks: &[&str]) -> Trusted {
        let parse = |network: &&str| {
            let (address, bits) = network.split_once('/').unwrap();
            (ip(address), bits.parse().unwrap())
        };
        Trusted::new(&networks.iter().map(parse).collect::<Vec<_>>())
    }

    #[test]
    fn a_network_contains_exactly_the_addresses_with_its_prefix() {
        let list = trusted(&["192.168.7.9/22", "2001:db8:8000::1/33", "10.0.0.1/32", "::1/128"]);
        for inside in
            ["192.168.4.0", "192.168.7.255", "2001:db8:8000::", "2001:db8:ffff:ffff:ffff::", "10.0.0.1", "::1"]
        {
            assert!(list.contains(ip(inside)), "{inside}");
        }
        for outside in ["192.168.3.255", "192.168.8.0", "2001:db8:7fff::", "2001:db9::", "10.0.0.0", "10.0.0.2", "::2"]
        {
            assert!(!list.contains(ip(outside)), "{outside}");
        }
    }

    #[test]
    fn an_ipv4_address_is_the_same_in_every_notation() {
        for list in [trusted(&["10.1.0.0/16"]), trusted(&["::ffff:10.1.2.3/112"])] {
            assert!(list.contains(ip("10.1.2.3")) && list.contains(ip("::ffff:10.1.2.3")));
            assert!(!list.contains(ip("10.2.0.0")) && !list.contains(ip("::ffff:10.2.0.0")));
        }
        assert!(trusted(&["::ffff:0:0/96"]).contains(ip("8.8.8.8")));
    }

    #[test]
    fn trusting_all_of_one_family_does_not_trust_the_other() {
        let (v4, v6) = (trusted(&["0.0.0.0/0"]), trusted(&["::/0"]));
        assert!(v4.contains(ip("255.255.255.255")) && v4.contains(ip("::ffff:0.0.0.0")) && !v4.contains(ip("::1")));
        assert!(v6.contains(ip("ffff::")) && v6.contains(ip("::")) && !v6.contains(ip("::ffff:1.2.3.4")));
        assert!(!trusted(&["::ffff:1.2.3.4/95"]).contains(ip("1.2.3.4")));
    }

    #[test]
    fn no_address_is_trusted_by_default() {
        assert!(!Trusted::default().contains(ip("127.0.0.1")));
    }

    /// Generates addresses so similar that they are often in the same network.
    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u8>().prop_map(|low| IpAddr::from([10, 0, low >> 6, low << 2])),
            any::<u8>().prop_map(|low| IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x0a00, u16::from(low)])),
            any::<u8>().prop_map(|low| IpAddr::from([0x2001, u16::from(low >> 6), 0, 0, 0, 0, 0, u16::from(low)])),
        ]
    }

    fn is_within(network: Ipv6Addr, bits: u8, address: Ipv6Addr) -> bool {
        (0..bits).all(|bit| (network.to_bits() ^ address.to_bits()) << bit & 1 << 127 == 0)
    }

    proptest! {
        #[test]
        fn an_address_is_in_the_list_exactly_when_its_first_bits_match_a_network(
            networks in prop::collection::vec((address(), 0..=128_u8), 0..12),
            asked in prop::collection::vec(address(), 1..20),
        ) {
            let networks: Vec<(IpAddr, u8)> =
                networks.into_iter().map(|(ip, bits)| (ip, if ip.is_ipv4() { bits % 33 } else { bits })).collect();
            let list = Trusted::new(&networks);
            for address in asked {
                let in_network = |&(network, bits): &(IpAddr, u8)| match (network, address.to_canonical()) {
                    (IpAddr::V4(network), IpAddr::V4(address)) => {
                        (0..bits).all(|bit| (network.to_bits() ^ address.to_bits()) << bit & 1 << 31 == 0)
                    }
                    (IpAddr::V6(network), IpAddr::V6(address)) => is_within(network, bits, address),
                    (IpAddr::V6(network), IpAddr::V4(address)) => {
                        bits >= 96 && is_within(network, bits, address.to_ipv6_mapped())
                    }
                    (IpAddr::V4(_), IpAddr::V6(_)) => false,
                };
                prop_assert_eq!(list.contains(address), networks.iter().any(in_network), "{}", address);
            }
        }
    }
}
