//! `headers`: block headers, each with an unused transaction count.
//!
//! A node writes 0 for that count but accepts any count, so the items may differ in size. Decoding checks each item
//! once and copies none; iteration reads the items again.

use super::codec::{Reader, field};
use super::hash::Hash256;
use super::list::{Item, List, ListRef};
use crate::error::WireError;
use crate::protocol::{CommandName, Network};

/// The header of a block (SV Node 1.2.2, primitives/block.h CBlockHeader).
///
/// ```
/// use peerloop::Network;
/// use peerloop::wire::{BlockHeader, Hash256};
///
/// let genesis = BlockHeader {
///     version: 1,
///     prev_hash: Hash256::ZERO,
///     merkle_root: "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b".parse()?,
///     time: 1_231_006_505,
///     bits: 0x1d00_ffff,
///     nonce: 2_083_236_893,
/// };
/// assert_eq!(genesis.hash().to_string(), "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f");
/// assert_eq!(genesis.check_proof_of_work(Network::Mainnet), Ok(()));
/// assert_eq!(BlockHeader::decode(&genesis.encode()), genesis);
/// # Ok::<(), peerloop::wire::InvalidHash>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockHeader {
    /// The block version.
    pub version: i32,
    /// The hash of the parent's header, zero for the first block.
    pub prev_hash: Hash256,
    /// The root of the Merkle tree over the transactions' ids.
    pub merkle_root: Hash256,
    /// The miner's clock, in Unix seconds.
    pub time: u32,
    /// The proof-of-work target, in compact form.
    pub bits: u32,
    /// The number that the miner varied to find the block.
    pub nonce: u32,
}

/// An item of `headers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListedHeader {
    /// The header.
    pub header: BlockHeader,
    /// The transaction count after the header. A node sends 0, and ignores a count that it receives.
    pub tx_count: u64,
}

/// A borrowed `headers` message. The headers must be in chain order (SV Node 1.2.2, net_processing.cpp
/// ProcessHeadersMessage). A node with no more headers sends an empty message.
pub type HeadersRef<'a> = ListRef<'a, ListedHeader>;

/// An owned `headers` message.
///
/// ```
/// use peerloop::wire::{BlockHeader, Headers, HeadersRef};
///
/// let header = BlockHeader::decode(&[7; 80]);
/// let mut payload = Vec::new();
/// Headers::from_headers([header]).as_ref().encode(&mut payload);
/// assert_eq!(payload, [&[1][..], &[7; 80], &[0]].concat());
///
/// let received: Vec<BlockHeader> = HeadersRef::decode(&payload)?.iter().map(|item| item.header).collect();
/// assert_eq!(received, [header]);
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
pub type Headers = List<ListedHeader>;

impl BlockHeader {
    /// The length on the wire, in bytes.
    pub const LEN_BYTES: usize = 80;

    /// Returns the header of the network's genesis block (SV Node 1.2.2, chainparams.cpp CreateGenesisBlock).
    ///
    /// ```
    /// use peerloop::Network;
    /// use peerloop::wire::BlockHeader;
    ///
    /// let genesis = BlockHeader::genesis_of(Network::Regtest);
    /// assert_eq!(genesis.hash().to_string(), "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206");
    /// ```
    pub fn genesis_of(network: Network) -> Self {
        let (time, bits, nonce) = match network {
            Network::Mainnet => (1_231_006_505, 0x1d00_ffff, 2_083_236_893),
            Network::Testnet | Network::Stn => (1_296_688_602, 0x1d00_ffff, 414_098_458),
            Network::Regtest => (1_296_688_602, 0x207f_ffff, 2),
        };
        let merkle_root = Hash256::from_bytes([
            0x3b, 0xa3, 0xed, 0xfd, 0x7a, 0x7b, 0x12, 0xb2, 0x7a, 0xc7, 0x2c, 0x3e, 0x67, 0x76, 0x8f, 0x61, 0x7f, 0xc8,
            0x1b, 0xc3, 0x88, 0x8a, 0x51, 0x32, 0x3a, 0x9f, 0xb8, 0xaa, 0x4b, 0x1e, 0x5e, 0x4a,
        ]);
        Self { version: 1, prev_hash: Hash256::ZERO, merkle_root, time, bits, nonce }
    }

    /// Reads a header; any bytes are valid.
    pub fn decode(bytes: &[u8; Self::LEN_BYTES]) -> Self {
        Self {
            version: i32::from_le_bytes(field(bytes, 0)),
            prev_hash: Hash256::from_bytes(field(bytes, 4)),
            merkle_root: Hash256::from_bytes(field(bytes, 36)),
            time: u32::from_le_bytes(field(bytes, 68)),
            bits: u32::from_le_bytes(field(bytes, 72)),
            nonce: u32::from_le_bytes(field(bytes, 76)),
        }
    }

    /// Reads the next header.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        reader.chunk().map(Self::decode)
    }

    /// Returns the wire encoding.
    pub fn encode(&self) -> [u8; Self::LEN_BYTES] {
        let mut bytes = [0; Self::LEN_BYTES];
        bytes[..4].copy_from_slice(&self.version.to_le_bytes());
        bytes[4..36].copy_from_slice(self.prev_hash.as_bytes());
        bytes[36..68].copy_from_slice(self.merkle_root.as_bytes());
        bytes[68..72].copy_from_slice(&self.time.to_le_bytes());
        bytes[72..76].copy_from_slice(&self.bits.to_le_bytes());
        bytes[76..].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// Returns the block hash: the hash of this header.
    pub fn hash(&self) -> Hash256 {
        Hash256::of(&self.encode())
    }
}

impl Item for ListedHeader {
    type Read<'a> = Self;
    type State = ();

    const MIN_BYTES: usize = BlockHeader::LEN_BYTES + 1;
    const COMMAND: CommandName = CommandName::HEADERS;
    const START: () = ();
    const NAMES: [&'static str; 2] = ["Headers", "HeadersRef"];

    fn read(reader: &mut Reader<'_>, (): &mut ()) -> Result<Self, WireError> {
        Ok(Self { header: BlockHeader::read(reader)?, tx_count: reader.compact_size()? })
    }

    fn skip(reader: &mut Reader<'_>, (): &mut ()) -> Result<(), WireError> {
        reader.bytes(BlockHeader::LEN_BYTES)?;
        reader.compact_size().map(drop)
    }
}

impl<'a> HeadersRef<'a> {
    /// Reads the payload of a `headers` and finds the end of each item.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if the payload holds fewer items than its count, [`WireError::NonCanonicalSize`] or
    /// [`WireError::OverlongSize`] if a count is invalid.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        Self::read(&mut Reader::new(CommandName::HEADERS, payload))
    }
}

impl Headers {
    /// Returns the message with these headers; a node accepts at most 2,000.
    pub fn from_headers(headers: impl IntoIterator<Item = BlockHeader>) -> Self {
        Self::of(headers, |header, out| {
            out.extend_from_slice(&header.encode());
            out.push(0);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_genesis_block_has_its_networks_hash_and_a_proof_of_work() {
        let testnet = "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943";
        for (network, hash) in [
            (Network::Mainnet, "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"),
            (Network::Testnet, testnet),
            (Network::Stn, testnet),
            (Network::Regtest, "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"),
        ] {
            let genesis = BlockHeader::genesis_of(network);
            assert_eq!(genesis.hash().to_string(), hash);
            assert_eq!(genesis.check_proof_of_work(network), Ok(()));
        }
    }
}
