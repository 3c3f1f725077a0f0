//! The protocol's constants: networks, command names, versions and service bits.
//!
//! These constants need no codec, so the error types can use them too.

use std::fmt;
use std::str::FromStr;

/// Our protocol version (SV Node 1.2.2, version.h PROTOCOL_VERSION).
pub const PROTOCOL_VERSION: u32 = 70_016;
/// The oldest accepted protocol version (SV Node 1.2.2, version.h MIN_PEER_PROTO_VERSION).
pub const MIN_PROTOCOL_VERSION: u32 = 31_800;
/// The version above which peers answer pings (BIP 31).
pub const PONG_ABOVE_VERSION: u32 = 60_000;
/// The version from which peers understand `sendheaders`.
pub const SENDHEADERS_VERSION: u32 = 70_012;
/// The version from which peers understand extended headers.
pub const EXTENDED_PAYLOAD_VERSION: u32 = 70_016;
/// Service bit of a node that serves the whole chain.
pub const SERVICE_NETWORK: u64 = 0x01;
/// Service bit of Bitcoin Cash and Bitcoin SV nodes (NODE_BITCOIN_CASH in SV Node).
pub const SERVICE_BITCOIN_CASH: u64 = 0x20;

/// A Bitcoin SV network.
///
/// ```
/// use peerloop::Network;
/// use peerloop::protocol::{CommandName, UnknownNetwork};
///
/// assert_eq!("regtest".parse(), Ok(Network::Regtest));
/// assert_eq!("moon".parse::<Network>(), Err(UnknownNetwork));
/// assert_eq!(Network::from_magic(Network::Regtest.magic()), Some(Network::Regtest));
/// assert!(CommandName::new("inv").is_well_formed());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// The main network.
    Mainnet,
    /// The public test network.
    Testnet,
    /// The scaling test network.
    Stn,
    /// A private network for tests.
    Regtest,
}

impl Network {
    /// All networks.
    pub const ALL: [Self; 4] = [Self::Mainnet, Self::Testnet, Self::Stn, Self::Regtest];

    /// Returns the four bytes at the start of every message, in wire order (SV Node 1.2.2, chainparams.cpp netMagic).
    pub const fn magic(self) -> [u8; 4] {
        match self {
            Self::Mainnet => [0xe3, 0xe1, 0xf3, 0xe8],
            Self::Testnet => [0xf4, 0xe5, 0xf3, 0xf4],
            Self::Stn => [0xfb, 0xce, 0xc4, 0xf9],
            Self::Regtest => [0xda, 0xb5, 0xbf, 0xfa],
        }
    }

    /// Returns the TCP port on which the network's nodes listen.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Mainnet => 8_333,
            Self::Testnet => 18_333,
            Self::Stn => 9_333,
            Self::Regtest => 18_444,
        }
    }

    /// Returns the names that resolve to the network's nodes (SV Node 1.2.2, chainparams.cpp vSeeds).
    pub const fn dns_seeds(self) -> &'static [&'static str] {
        match self {
            Self::Mainnet => &["seed.bitcoinsv.io", "seed.satoshisvision.network", "seed.bitcoinseed.directory"],
            Self::Testnet => {
                &["testnet-seed.bitcoinsv.io", "testnet-seed.bitcoincloud.net", "testnet-seed.bitcoinseed.directory"]
            }
            Self::Stn => &["stn-seed.bitcoinsv.io", "stn-seed.bitcoinseed.directory"],
            Self::Regtest => &[],
        }
    }

    /// Returns the name as users type it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Testnet => "testnet",
            Self::Stn => "stn",
            Self::Regtest => "regtest",
        }
    }

    /// Returns the network with this magic, or `None` if the magic is unknown.
    pub fn from_magic(magic: [u8; 4]) -> Option<Self> {
        Self::ALL.into_iter().find(|network| network.magic() == magic)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The error for a string that is not a network's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownNetwork;

impl fmt::Display for UnknownNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown network: use mainnet, testnet, stn or regtest")
    }
}

impl std::error::Error for UnknownNetwork {}

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(text: &str) -> Result<Self, UnknownNetwork> {
        match text {
            "mainnet" | "main" => Ok(Self::Mainnet),
            "testnet" | "test" => Ok(Self::Testnet),
            "stn" => Ok(Self::Stn),
            "regtest" => Ok(Self::Regtest),
            _ => Err(UnknownNetwork),
        }
    }
}

/// Returns the name of a `reject` code, if it has one (SV Node 1.2.2, consensus/validation.h).
pub(crate) const fn reject_code_name(code: u8) -> Option<&'static str> {
    Some(match code {
        0x01 => "malformed",
        0x10 => "invalid",
        0x11 => "obsolete",
        0x12 => "duplicate",
        0x13 => "soft consensus freeze",
        0x40 => "nonstandard",
        0x41 => "dust",
        0x42 => "insufficient fee",
        0x43 => "checkpoint",
        0x44 => "too busy",
        0x45 => "rate exceeded",
        0x60 => "stream setup",
        0x70 => "auth connection setup",
        _ => return None,
    })
}

/// A command's name in the header: twelve bytes, padded with NUL.
///
/// Any twelve bytes are representable; [`CommandName::is_well_formed`] returns whether a node would accept them.
// Two integers, because every message's name is compared with many others. The first byte is the most significant, so
// names sort like text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
// Twelve bytes instead of sixteen, because each row's close reason may store a name.
#[repr(Rust, packed(4))]
pub struct CommandName {
    head: u64,
    tail: u32,
}

/// Declares a constant for each command, and the list of all.
macro_rules! commands {
    ($($(#[$doc:meta])* $NAME:ident = $name:literal,)*) => {
        impl CommandName {
            $(
                #[doc = concat!("`", $name, "`")]
                $(#[doc = ""] #[$doc])*
                pub const $NAME: Self = Self::new($name);
            )*

            /// All names of the protocol (SV Node 1.2.2, protocol.cpp NetMsgType).
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$NAME),*];
        }
    };
}

commands! {
    VERSION = "version",
    VERACK = "verack",
    PROTOCONF = "protoconf",
    AUTHCH = "authch",
    AUTHRESP = "authresp",
    CREATESTRM = "createstrm",
    STREAMACK = "streamack",
    SENDHEADERS = "sendheaders",
    SENDHDRSEN = "sendhdrsen",
    SENDCMPCT = "sendcmpct",
    FEEFILTER = "feefilter",
    PING = "ping",
    PONG = "pong",
    GETADDR = "getaddr",
    ADDR = "addr",
    INV = "inv",
    GETDATA = "getdata",
    NOTFOUND = "notfound",
    GETBLOCKS = "getblocks",
    GETHEADERS = "getheaders",
    HEADERS = "headers",
    GETHDRSEN = "gethdrsen",
    HDRSEN = "hdrsen",
    TX = "tx",
    BLOCK = "block",
    MERKLEBLOCK = "merkleblock",
    CMPCTBLOCK = "cmpctblock",
    GETBLOCKTXN = "getblocktxn",
    BLOCKTXN = "blocktxn",
    MEMPOOL = "mempool",
    FILTERLOAD = "filterload",
    FILTERADD = "filteradd",
    FILTERCLEAR = "filterclear",
    REJECT = "reject",
    DSDETECTED = "dsdetected",
    REVOKEMID = "revokemid",
    DATAREFTX = "datareftx",
    /// A form of the header, not a command.
    EXTMSG = "extmsg",
}

impl CommandName {
    /// Returns the index in [`CommandName::ALL`], or that list's length for an unknown name.
    // This runs for every message, so it is a hash without collisions and one comparison.
    #[inline]
    #[doc(hidden)]
    pub const fn index(self) -> usize {
        let index = INDEXES[self.hash(INDEX_FACTOR)] as usize;
        let named = &Self::ALL[index];
        if named.head == self.head && named.tail == self.tail { index } else { Self::ALL.len() }
    }

    #[inline]
    const fn hash(self, factor: u64) -> usize {
        let product = (self.head ^ self.tail as u64).wrapping_mul(factor);
        (product >> (u64::BITS - INDEX_BITS)) as usize
    }

    /// Creates the name `text`.
    ///
    /// # Panics
    ///
    /// If `text` has more than twelve bytes. In a constant, this is a compile error.
    pub const fn new(text: &str) -> Self {
        let text = text.as_bytes();
        assert!(text.len() <= 12, "a command name has more than twelve bytes");
        let mut bytes = [0; 12];
        let mut at = 0;
        while at < text.len() {
            bytes[at] = text[at];
            at += 1;
        }
        Self::from_bytes(bytes)
    }

    /// Creates a name from these bytes, which may be malformed.
    #[inline]
    pub const fn from_bytes(bytes: [u8; 12]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Self { head: u64::from_be_bytes([a, b, c, d, e, f, g, h]), tail: u32::from_be_bytes([i, j, k, l]) }
    }

    /// Returns the twelve bytes on the wire.
    #[inline]
    pub const fn to_bytes(self) -> [u8; 12] {
        let [a, b, c, d, e, f, g, h] = self.head.to_be_bytes();
        let [i, j, k, l] = self.tail.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    /// Returns whether every byte before the first NUL is printable ASCII and every byte after it is NUL. A node
    /// drops messages with other names (SV Node 1.2.2, protocol.cpp CheckCommandFormat). Twelve NULs are well formed.
    #[inline]
    pub const fn is_well_formed(&self) -> bool {
        if self.tail == 0 {
            return is_text_before_nul(self.head);
        }
        let head_ends_with_nul = self.head & 0xff == 0;
        is_text_before_nul(self.head) && !head_ends_with_nul && is_text_before_nul((self.tail as u64) << 32)
    }
}

const INDEX_BITS: u32 = 8;
/// The first factor that gives every name in [`CommandName::ALL`] a different hash.
const INDEX_FACTOR: u64 = {
    let mut factor = 0x9e37_79b9_7f4a_7c15;
    while indexes(factor).is_none() {
        factor = factor.wrapping_mul(0x5851_f42d_4c95_7f2d);
    }
    factor
};
/// For each hash, the index of the name with this hash; 0 if no name has it.
const INDEXES: [u8; 1 << INDEX_BITS] = indexes(INDEX_FACTOR).expect("the factor has no collisions");

/// Returns the indexes by hash, or `None` if two names have the same hash.
const fn indexes(factor: u64) -> Option<[u8; 1 << INDEX_BITS]> {
    let mut by_hash = [u8::MAX; 1 << INDEX_BITS];
    let mut index = 0;
    while index < CommandName::ALL.len() {
        let hash = CommandName::ALL[index].hash(factor);
        if by_hash[hash] != u8::MAX {
            return None;
        }
        by_hash[hash] = index as u8;
        index += 1;
    }
    let mut hash = 0;
    while hash < by_hash.len() {
        if by_hash[hash] == u8::MAX {
            by_hash[hash] = 0;
        }
        hash += 1;
    }
    Some(by_hash)
}

/// Returns whether the bytes of `word`, the most significant first, are printable characters and then only NULs. Either
/// part may be empty.
#[inline]
const fn is_text_before_nul(word: u64) -> bool {
    // All bytes are checked at once, because this runs for every message. As long as no byte has its highest bit set,
    // an addition that sets it in some bytes does not carry into the next byte.
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHEST_BITS: u64 = 0x80 * ONES;
    let has_delete_or_above = (word | word.wrapping_add(ONES)) & HIGHEST_BITS != 0;
    let printable = word.wrapping_add(0x60 * ONES) & HIGHEST_BITS;
    let nul = HIGHEST_BITS & !word.wrapping_add(0x7f * ONES);
    // The addition clears the marks of the NULs at the end, and keeps the mark of every NUL that precedes any other
    // byte.
    let nul_before_text = (nul | (0x7f * ONES)).wrapping_add(1) & nul;
    !has_delete_or_above && printable ^ nul == HIGHEST_BITS && nul_before_text == 0
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.to_bytes();
        let len = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        write!(f, "{}", bytes[..len].escape_ascii())
    }
}

impl fmt::Debug for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_has_its_own_index_and_all_other_names_share_one() {
        for (place, name) in CommandName::ALL.into_iter().enumerate() {
            assert_eq!(name.index(), place);
            let bytes = name.to_bytes();
            for at in 0..12 {
                let mut other = bytes;
                other[at] ^= 1;
                let is_named = CommandName::ALL.contains(&CommandName::from_bytes(other));
                assert_eq!(CommandName::from_bytes(other).index() == 38, !is_named, "{other:?}");
            }
        }
        assert_eq!(CommandName::from_bytes([0; 12]).index(), 38);
        assert_eq!(CommandName::from_bytes([0xff; 12]).index(), 38);
    }

    #[test]
    fn req_e42_networks_are_found_by_name_and_magic() {
        for network in Network::ALL {
            assert_eq!(network.name().parse(), Ok(network));
            assert_eq!(Network::from_magic(network.magic()), Some(network));
        }
        assert_eq!("Bitcoin".parse::<Network>(), Err(UnknownNetwork));
        assert_eq!(Network::from_magic([0xe8, 0xf3, 0xe1, 0xe3]), None, "a reversed magic was accepted");
    }

    /// Returns whether a name is well formed by the rule as SV Node states it.
    fn is_well_formed(bytes: [u8; 12]) -> bool {
        let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(12);
        bytes[..len].iter().all(|byte| (0x20..=0x7e).contains(byte)) && bytes[len..].iter().all(|&byte| byte == 0)
    }

    #[test]
    fn is_well_formed_follows_the_nodes_rule_for_every_pair_of_bytes_at_every_position() {
        for (first, second) in (0..=255).flat_map(|first| (0..=255).map(move |second| (first, second))) {
            for at in 0..11 {
                for (before, behind) in [(b'a', 0), (b'a', b'z'), (0, 0), (b'~', 0)] {
                    let mut bytes = [before; 12];
                    bytes[at..].fill(behind);
                    (bytes[at], bytes[at + 1]) = (first, second);
                    let judged = CommandName::from_bytes(bytes).is_well_formed();
                    assert_eq!(judged, is_well_formed(bytes), "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn command_names_follow_the_nodes_rule_sort_like_text_and_are_displayed_escaped() {
        assert!(CommandName::new("ping").is_well_formed());
        assert!(CommandName::new("twelve bytes").is_well_formed());
        assert!(CommandName::new("").is_well_formed());
        assert!(!CommandName::from_bytes(*b"ping\0x\0\0\0\0\0\0").is_well_formed());
        assert!(!CommandName::from_bytes(*b"pi\x1fng\0\0\0\0\0\0\0").is_well_formed());
        assert!(!CommandName::from_bytes([0xff; 12]).is_well_formed());
        assert!(!CommandName::from_bytes(*b"\0ping\0\0\0\0\0\0\0").is_well_formed());
        assert_eq!(CommandName::new("addr").to_bytes(), *b"addr\0\0\0\0\0\0\0\0");
        assert!(CommandName::new("addr") < CommandName::new("getaddr"), "names do not sort like text");
        assert_eq!(CommandName::from_bytes(*b"a\0b\n\0\0\0\0\0\0\0\0").to_string(), "a\\x00b\\n");
    }
}
