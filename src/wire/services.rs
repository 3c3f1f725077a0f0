//! Service bits and their names.
//!
//! Messages carry services as a plain number, because a peer may set any bit; [`Services`] is the readable form.

use crate::protocol::{SERVICE_BITCOIN_CASH, SERVICE_NETWORK};
use std::fmt;

/// A node's services. Their text form is the names of the bits, separated by `|`.
///
/// ```
/// use peerloop::wire::Services;
///
/// let services = Services(0x21);
/// assert!(services.contains(Services::NETWORK));
/// assert_eq!(services.to_string(), "NETWORK|BITCOIN_CASH");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Services(pub u64);

impl Services {
    /// The node serves the whole chain.
    pub const NETWORK: Self = Self(SERVICE_NETWORK);
    /// The node answers `getutxos` (BIP 64). SV Node does not.
    pub const GETUTXO: Self = Self(0x02);
    /// The node accepts `filterload` and related messages.
    pub const BLOOM: Self = Self(0x04);
    /// The node supports Xtreme Thinblocks.
    pub const XTHIN: Self = Self(0x10);
    /// The node belongs to Bitcoin SV or to Bitcoin Cash, after which the bit is named.
    pub const BITCOIN_CASH: Self = Self(SERVICE_BITCOIN_CASH);

    /// The bits that have names, lowest first (SV Node 1.2.2, protocol.h ServiceFlags).
    const NAMED: [(Self, &str); 5] = [
        (Self::NETWORK, "NETWORK"),
        (Self::GETUTXO, "GETUTXO"),
        (Self::BLOOM, "BLOOM"),
        (Self::XTHIN, "XTHIN"),
        (Self::BITCOIN_CASH, "BITCOIN_CASH"),
    ];

    /// Returns whether all services in `wanted` are offered.
    pub const fn contains(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

/// Unnamed bits are printed last, as one hexadecimal number. If no bit is set, the text is `none`.
impl fmt::Display for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut unnamed = self.0;
        let mut separator = "";
        for (service, name) in Self::NAMED.iter().filter(|(service, _)| self.contains(*service)) {
            write!(f, "{separator}{name}")?;
            unnamed &= !service.0;
            separator = "|";
        }
        match (self.0, unnamed) {
            (0, _) => f.write_str("none"),
            (_, 0) => Ok(()),
            (_, unnamed) => write!(f, "{separator}{unnamed:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_bits_are_shown_by_name_and_all_others_as_one_number() {
        for (services, text) in [
            (0, "none"),
            (0x21, "NETWORK|BITCOIN_CASH"),
            (0x25, "NETWORK|BLOOM|BITCOIN_CASH"),
            (0x37, "NETWORK|GETUTXO|BLOOM|XTHIN|BITCOIN_CASH"),
            (0x08, "0x8"),
            (0x8100_0001, "NETWORK|0x81000000"),
            (u64::MAX, "NETWORK|GETUTXO|BLOOM|XTHIN|BITCOIN_CASH|0xffffffffffffffc8"),
        ] {
            assert_eq!(Services(services).to_string(), text);
        }
    }

    #[test]
    fn contains_requires_all_wanted_services() {
        let node = Services(0x21);
        assert!(node.contains(Services::NETWORK) && node.contains(node) && node.contains(Services::default()));
        assert!(!node.contains(Services::BLOOM));
        assert!(!node.contains(Services(0x05)), "one of two wanted services was enough");
    }
}
