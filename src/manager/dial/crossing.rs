//! Crossing connections: two peers dial each other at the same moment, and both must decide alike which links to keep.
//!
//! They decide without exchanging messages. If each side knows both listening addresses, the link opened by the
//! smaller address is kept; otherwise both links are kept. Nothing is stored here.

use crate::error::Side;
use std::net::SocketAddr;

/// The decision about two links that may connect the same peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Both links, because the addresses do not show whether the links connect the same peers.
    Both,
    /// Only this link: the one that [`resolve_crossing`]'s `opener` has opened.
    This,
    /// Only the other link: the one that the other side has opened.
    Other,
}

/// Decides which of two crossing links is kept: this one, which `opener` opened, or the one that the other side
/// opened.
///
/// `ours` is the address at which the peer dialled us: the receiver's address in its `version`. `theirs` is the
/// peer's IP address with the port that its `version` names. `None`, port 0 or an unspecified IP address means that
/// the listening address is unknown. Both links are kept if an address is unknown or both are equal.
pub(crate) fn resolve_crossing(opener: Side, ours: Option<SocketAddr>, theirs: Option<SocketAddr>) -> Keep {
    let (Some(ours), Some(theirs)) = (ours.and_then(listening), theirs.and_then(listening)) else {
        return Keep::Both;
    };
    let stays = match ours.cmp(&theirs) {
        std::cmp::Ordering::Less => Side::Local,
        std::cmp::Ordering::Greater => Side::Remote,
        std::cmp::Ordering::Equal => return Keep::Both,
    };
    if stays == opener { Keep::This } else { Keep::Other }
}

fn listening(address: SocketAddr) -> Option<SocketAddr> {
    let is_one = address.port() != 0 && !address.ip().to_canonical().is_unspecified();
    is_one.then(|| crate::address::canonical(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{IpAddr, SocketAddrV6};

    fn address(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn req_e31_the_link_opened_by_the_smaller_address_is_kept() {
        for (smaller, larger) in [
            ("1.2.3.4:8333", "1.2.3.5:8333"),
            ("2.0.0.0:8333", "10.0.0.0:8333"),
            ("1.2.3.4:8333", "1.2.3.4:18333"),
            ("1.2.3.4:65535", "1.2.3.5:1"),
            ("1.2.3.4:8333", "[2001:4860::1]:8333"),
            ("[::ffff:1.2.3.4]:8333", "1.2.3.5:8333"),
        ] {
            assert_eq!(resolve_crossing(Side::Local, address(smaller), address(larger)), Keep::This, "{smaller}");
            assert_eq!(resolve_crossing(Side::Remote, address(smaller), address(larger)), Keep::Other, "{smaller}");
            assert_eq!(resolve_crossing(Side::Local, address(larger), address(smaller)), Keep::Other, "{smaller}");
            assert_eq!(resolve_crossing(Side::Remote, address(larger), address(smaller)), Keep::This, "{smaller}");
        }
    }

    #[test]
    fn req_e31_both_links_are_kept_if_a_listening_address_is_unknown_or_both_are_equal() {
        let known = address("1.2.3.4:8333");
        for unknown in [None, address("1.2.3.5:0"), address("0.0.0.0:8333"), address("[::]:8333"), known] {
            for opener in [Side::Local, Side::Remote] {
                assert_eq!(resolve_crossing(opener, known, unknown), Keep::Both, "{unknown:?}");
                assert_eq!(resolve_crossing(opener, unknown, known), Keep::Both, "{unknown:?}");
            }
        }
    }

    fn any_address() -> impl Strategy<Value = SocketAddr> {
        let few = (0_u8..4, 0_u16..3).prop_map(|(host, port)| ([1, 2, 3, host], port).into());
        let mapped = (0_u8..4, 0_u16..3)
            .prop_map(|(host, port)| {
                SocketAddrV6::new([0, 0, 0, 0, 0, 0xffff, 0x102, u16::from(host)].into(), port, 7, 9)
            })
            .prop_map(SocketAddr::V6);
        let any = (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from);
        prop_oneof![few, mapped, any]
    }

    proptest! {
        #[test]
        fn req_e31_both_sides_make_the_same_decision(a in any_address(), b in any_address()) {
            // `a` opened one link, and `b` the other. Each side decides about the link that it accepted.
            let of_a = resolve_crossing(Side::Remote, Some(a), Some(b));
            let of_b = resolve_crossing(Side::Remote, Some(b), Some(a));
            match of_a {
                Keep::Both => prop_assert_eq!(of_b, Keep::Both),
                Keep::This => prop_assert_eq!(of_b, Keep::Other),
                Keep::Other => prop_assert_eq!(of_b, Keep::This),
            }
            // A side that decides about the link that it dialled keeps the same link.
            let swapped = |keep| match keep {
                Keep::Both => Keep::Both,
                Keep::This => Keep::Other,
                Keep::Other => Keep::This,
            };
            prop_assert_eq!(resolve_crossing(Side::Local, Some(a), Some(b)), swapped(of_a));
        }
    }
}
