//! Local addresses to connect from: `10.0.0.5`, or `10.0.0.5/28` for that address and all higher ones in its network.
//!
//! Every address has its own range of ports, so several addresses multiply the possible connections. In a network of
//! four addresses or more, the first address and, for IPv4, the broadcast address are never used.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Maximum number of addresses of one source: more than any machine needs.
const MAX_ADDRESSES: u128 = 4_096;

/// A local address, or a range from a local address to the end of its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    first: IpAddr,
    count: u32,
}

impl Source {
    /// Returns the source's addresses, lowest first.
    pub(crate) fn addresses(self) -> impl Iterator<Item = IpAddr> {
        (0..self.count).map(move |offset| match self.first {
            IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() + offset)),
            IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from_bits(first.to_bits() + u128::from(offset))),
        })
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("`{text}` is not an address: use IP or IP/PREFIX, for example 127.0.0.2/28");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u32>().map_err(|_| refused())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let (bits, width) = match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let prefix = prefix.unwrap_or(width);
        if prefix > width {
            return Err(refused());
        }
        let host_mask = if prefix == 0 { u128::MAX >> (128 - width) } else { (1u128 << (width - prefix)) - 1 };
        let (network, mut last) = (bits & !host_mask, bits | host_mask);
        let mut first = bits;
        if width - prefix >= 2 {
            first = first.max(network + 1);
            last -= u128::from(address.is_ipv4());
        }
        match last.checked_sub(first) {
            None => Err(format!("`{text}` contains no usable source address")),
            Some(more) if more >= MAX_ADDRESSES => {
                Err(format!("`{text}` contains more than {MAX_ADDRESSES} addresses: use a longer prefix"))
            }
            Some(more) => {
                let first = match address {
                    IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(first as u32)),
                    IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(first)),
                };
                Ok(Self { first, count: more as u32 + 1 })
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => write!(f, "{}", self.first),
            count => write!(f, "{} and {} more", self.first, count - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addresses(text: &str) -> Vec<String> {
        let source: Source = text.parse().unwrap();
        source.addresses().map(|address| address.to_string()).collect()
    }

    #[test]
    fn an_address_without_other_addresses_in_its_network_is_used_alone() {
        assert_eq!(addresses("127.0.0.1"), ["127.0.0.1"]);
        assert_eq!(addresses("127.0.0.1/32"), ["127.0.0.1"]);
        assert_eq!(addresses("::1"), ["::1"]);
        assert_eq!(addresses("255.255.255.255"), ["255.255.255.255"]);
    }

    #[test]
    fn a_network_is_used_from_the_given_address_to_its_last_host() {
        assert_eq!(addresses("127.0.0.2/28").len(), 13);
        assert_eq!(addresses("127.0.0.12/28"), ["127.0.0.12", "127.0.0.13", "127.0.0.14"]);
        assert_eq!(addresses("10.0.0.0/30"), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(addresses("10.0.0.0/31"), ["10.0.0.0", "10.0.0.1"]);
        assert_eq!(addresses("fd00::/126"), ["fd00::1", "fd00::2", "fd00::3"]);
    }

    #[test]
    fn invalid_addresses_and_networks_with_too_many_addresses_are_refused() {
        for wrong in ["", "x", "127.0.0.1/", "127.0.0.1/33", "127.0.0.1/-1", "::1/129", "127.0.0.1/8/8", "localhost"] {
            assert!(wrong.parse::<Source>().unwrap_err().contains("127.0.0.2/28"), "{wrong}");
        }
        for large in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "fd00::/64"] {
            assert!(large.parse::<Source>().unwrap_err().contains("4096"), "{large}");
        }
        assert!("10.0.0.3/30".parse::<Source>().unwrap_err().contains("no usable"), "the error has another text");
    }

    proptest! {
        #[test]
        fn every_address_is_in_the_network_and_not_below_the_given_one(bits: u32, prefix in 21u32..=32) {
            let text = format!("{}/{prefix}", Ipv4Addr::from_bits(bits));
            let Ok(source) = text.parse::<Source>() else { return Ok(()) };
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            for address in source.addresses() {
                let IpAddr::V4(address) = address else { panic!("{address} is of another family") };
                prop_assert_eq!(address.to_bits() & mask, bits & mask);
                prop_assert!(address.to_bits() >= bits);
            }
        }
    }
}
