//! The message header, and the limits on the payload length that a header claims. A basic header has 24 bytes. The
//! extended form, which a payload above 4 GiB - 1 needs, has 44.
//!
//! Decoding a header checks nothing. [`payload_limit`] returns a command's largest payload, and the framer checks
//! this limit before it reads any payload. The magic is not part of [`Header`]: the framer compares the magic's bytes
//! as they arrive, and [`Header::encode`] writes the magic.

use super::hash::{Hash256, digest_one_block};
use crate::limits::{
    EXTENDED_HEADER_LEN_BYTES, GETBLOCKTXN_BLOCK_SHARE_BYTES, HEADER_LEN_BYTES, MAX_BLOCK_PAYLOAD_BYTES,
    MAX_LEGACY_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES, MAX_TX_PAYLOAD_BYTES,
};
use crate::protocol::CommandName;
use sha2::Sha256;
use std::ops::Range;

/// The offsets of the fields (SV Node 1.2.2, protocol.h CMessageHeader).
mod field {
    use super::Range;

    pub(super) const MAGIC: Range<usize> = 0..4;
    pub(super) const COMMAND: Range<usize> = 4..16;
    pub(super) const PAYLOAD_LEN: Range<usize> = 16..20;
    pub(super) const CHECKSUM: Range<usize> = 20..24;
    pub(super) const REAL_COMMAND: Range<usize> = 24..36;
    pub(super) const REAL_PAYLOAD_LEN: Range<usize> = 36..44;
}

/// The maximum length in bytes of an input that fits in one SHA-256 block together with its padding.
pub(crate) const MAX_ONE_BLOCK_BYTES: usize = 55;

/// A message header without its magic.
///
/// ```
/// use peerloop::Network;
/// use peerloop::protocol::CommandName;
/// use peerloop::wire::Header;
/// use peerloop::wire::header::checksum;
///
/// let (magic, payload) = (Network::Mainnet.magic(), [1, 2, 3, 4, 5, 6, 7, 8]);
/// let bytes = Header::of(CommandName::PING, &payload).encode(magic);
/// assert_eq!(bytes, *b"\xe3\xe1\xf3\xe8ping\0\0\0\0\0\0\0\0\x08\0\0\0\x25\x02\xfa\x94");
/// let header = Header::decode(&bytes);
/// assert_eq!((header.len_bytes(), header.checksum), (Header::len_of(&bytes), Some(checksum(&payload))));
///
/// let large = Header { command: CommandName::BLOCK, payload_len: 1 << 32, checksum: None };
/// assert!(large.is_extended());
/// assert_eq!(Header::decode_extended(&large.encode_extended(magic)), large);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The command.
    pub command: CommandName,
    /// The length of the payload in bytes.
    pub payload_len: u64,
    /// The first four bytes of SHA-256 applied twice to the payload; `None` in the extended form.
    pub checksum: Option<[u8; 4]>,
}

impl Header {
    /// Returns the header of a message.
    ///
    /// # Panics
    ///
    /// If the payload has more than 4 GiB - 1 bytes, the limit of a basic header.
    pub fn of(command: CommandName, payload: &[u8]) -> Self {
        assert!(u32::try_from(payload.len()).is_ok(), "the payload is too long for a basic header");
        Self { command, payload_len: payload.len() as u64, checksum: Some(checksum(payload)) }
    }

    /// Returns the length of the header that starts with these bytes. Like the node, this compares only the first six
    /// bytes of the command (SV Node 1.2.2, protocol.cpp CMessageHeader::IsExtended).
    #[inline]
    pub fn len_of(basic: &[u8; HEADER_LEN_BYTES]) -> usize {
        if basic[field::COMMAND].starts_with(b"extmsg") { EXTENDED_HEADER_LEN_BYTES } else { HEADER_LEN_BYTES }
    }

    /// Returns the length of this header on the wire.
    #[inline]
    pub const fn len_bytes(&self) -> usize {
        if self.is_extended() { EXTENDED_HEADER_LEN_BYTES } else { HEADER_LEN_BYTES }
    }

    /// Returns whether the header has the extended form.
    #[inline]
    pub const fn is_extended(&self) -> bool {
        self.checksum.is_none()
    }

    /// Reads the fields of a basic header after the magic. The magic is not checked.
    #[inline]
    pub fn decode(bytes: &[u8; HEADER_LEN_BYTES]) -> Self {
        Self {
            command: CommandName::from_bytes(bytes[field::COMMAND].try_into().expect("the field has twelve bytes")),
            payload_len: u64::from(u32::from_le_bytes(four(&bytes[field::PAYLOAD_LEN]))),
            checksum: Some(four(&bytes[field::CHECKSUM])),
        }
    }

    /// Reads an extended header after the magic. Like the node, this ignores the outer length and checksum.
    pub fn decode_extended(bytes: &[u8; EXTENDED_HEADER_LEN_BYTES]) -> Self {
        let command = bytes[field::REAL_COMMAND].try_into().expect("the field has twelve bytes");
        let payload_len = bytes[field::REAL_PAYLOAD_LEN].try_into().expect("the field has eight bytes");
        Self { command: CommandName::from_bytes(command), payload_len: u64::from_le_bytes(payload_len), checksum: None }
    }

    /// Writes a basic header with a network's magic.
    ///
    /// # Panics
    ///
    /// If the header is extended, or the payload length does not fit in 32 bits.
    pub fn encode(&self, magic: [u8; 4]) -> [u8; HEADER_LEN_BYTES] {
        let checksum = self.checksum.expect("a basic header has a checksum");
        let len = u32::try_from(self.payload_len).expect("the payload length fits in a basic header");
        basic(magic, self.command, len, checksum)
    }

    /// Writes an extended header with a network's magic.
    pub fn encode_extended(&self, magic: [u8; 4]) -> [u8; EXTENDED_HEADER_LEN_BYTES] {
        let mut bytes = [0; EXTENDED_HEADER_LEN_BYTES];
        bytes[..HEADER_LEN_BYTES].copy_from_slice(&basic(magic, CommandName::EXTMSG, u32::MAX, [0; 4]));
        bytes[field::REAL_COMMAND].copy_from_slice(&self.command.to_bytes());
        bytes[field::REAL_PAYLOAD_LEN].copy_from_slice(&self.payload_len.to_le_bytes());
        bytes
    }
}

fn basic(magic: [u8; 4], command: CommandName, len: u32, checksum: [u8; 4]) -> [u8; HEADER_LEN_BYTES] {
    let mut bytes = [0; HEADER_LEN_BYTES];
    bytes[field::MAGIC].copy_from_slice(&magic);
    bytes[field::COMMAND].copy_from_slice(&command.to_bytes());
    bytes[field::PAYLOAD_LEN].copy_from_slice(&len.to_le_bytes());
    bytes[field::CHECKSUM].copy_from_slice(&checksum);
    bytes
}

fn four(field: &[u8]) -> [u8; 4] {
    field.try_into().expect("the field has four bytes")
}

/// Returns the first four bytes of SHA-256 applied twice to `payload`.
pub fn checksum(payload: &[u8]) -> [u8; 4] {
    if payload.len() > MAX_ONE_BLOCK_BYTES {
        return checksum_of_hash(&Hash256::of(payload));
    }
    // Most messages are small. For them a hasher's bookkeeping costs a third as much as the hash itself.
    let mut block = [0; 64];
    block[..payload.len()].copy_from_slice(payload);
    let once = digest_one_block(block, payload.len());
    let mut block = [0; 64];
    for (bytes, word) in block.as_chunks_mut().0.iter_mut().zip(once) {
        *bytes = word.to_be_bytes();
    }
    digest_one_block(block, 32)[0].to_be_bytes()
}

/// Returns the checksum of the bytes fed to `hasher`, for payloads that are never held whole.
pub(crate) fn finish_checksum(hasher: Sha256) -> [u8; 4] {
    checksum_of_hash(&Hash256::finish(hasher))
}

/// Returns the checksum of a payload with this hash.
pub(crate) fn checksum_of_hash(hash: &Hash256) -> [u8; 4] {
    four(&hash.as_bytes()[..4])
}

/// The largest payloads that a node accepts (SV Node 1.2.2, protocol.cpp CMessageHeader::IsOversized).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadLimits {
    /// The limit in bytes of every command without its own limit, including unknown commands. Our `protoconf`
    /// announces it. Default 2 MiB, at least 1 MiB.
    pub max_message_bytes: u64,
    /// The limit in bytes of `block`, `cmpctblock`, `blocktxn` and `hdrsen`. Default 2^63 - 1.
    pub max_block_bytes: u64,
}

impl Default for PayloadLimits {
    fn default() -> Self {
        Self { max_message_bytes: MAX_PAYLOAD_BYTES, max_block_bytes: MAX_BLOCK_PAYLOAD_BYTES }
    }
}

impl PayloadLimits {
    /// Returns whether `command` may claim a payload of `payload_len` bytes.
    #[inline]
    pub(crate) fn allow(&self, command: CommandName, payload_len: u64) -> bool {
        // Fast path: pings and empty messages are smaller than every command's limit.
        let smallest = self.max_message_bytes.min(self.max_block_bytes).min(MIN_GETBLOCKTXN_BYTES);
        payload_len <= smallest || payload_len <= payload_limit(command, self)
    }
}

/// Returns the largest payload in bytes that `command` may claim; a larger claim closes the connection.
///
/// ```
/// use peerloop::protocol::CommandName;
/// use peerloop::wire::PayloadLimits;
/// use peerloop::wire::header::payload_limit;
///
/// let limits = PayloadLimits { max_block_bytes: 4_000_000_000, ..PayloadLimits::default() };
/// assert_eq!(payload_limit(CommandName::BLOCK, &limits), 4_000_000_000);
/// assert_eq!(payload_limit(CommandName::TX, &limits), 1_000_000_000);
/// assert_eq!(payload_limit(CommandName::INV, &limits), 2_097_152);
/// ```
pub fn payload_limit(command: CommandName, limits: &PayloadLimits) -> u64 {
    match command {
        CommandName::PING | CommandName::PONG => limits.max_message_bytes,
        CommandName::PROTOCONF => MAX_LEGACY_PAYLOAD_BYTES,
        CommandName::TX | CommandName::DATAREFTX => MAX_TX_PAYLOAD_BYTES,
        CommandName::BLOCK | CommandName::CMPCTBLOCK | CommandName::BLOCKTXN | CommandName::HDRSEN => {
            limits.max_block_bytes
        }
        CommandName::GETBLOCKTXN => getblocktxn_limit(limits.max_block_bytes),
        _ => limits.max_message_bytes,
    }
}

/// The minimum limit of `getblocktxn`, for any block size.
const MIN_GETBLOCKTXN_BYTES: u64 = 24;

/// Returns the largest payload of a `getblocktxn` in bytes. The list of indexes may have six bytes for every
/// [`GETBLOCKTXN_BLOCK_SHARE_BYTES`] of the largest block. The length of a header is added: 24 bytes, or 44 if the list
/// may have 4 GiB or more.
const fn getblocktxn_limit(max_block_bytes: u64) -> u64 {
    let indexes = max_block_bytes / GETBLOCKTXN_BLOCK_SHARE_BYTES * 6;
    let header = if indexes > u32::MAX as u64 { 44 } else { 24 };
    indexes + header
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Digest;

    const PING: [u8; 24] = *b"\xe3\xe1\xf3\xe8ping\0\0\0\0\0\0\0\0\x08\0\0\0\x25\x02\xfa\x94";

    #[test]
    fn the_specifications_ping_decodes_and_encodes() {
        let header = Header::decode(&PING);
        assert_eq!(header.command, CommandName::PING);
        assert_eq!(header.payload_len, 8);
        assert_eq!(header, Header::of(CommandName::PING, &[1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!(header.encode([0xe3, 0xe1, 0xf3, 0xe8]), PING);
    }

    #[test]
    fn the_specifications_extended_block_header_decodes_and_encodes() {
        let text = *b"\xe3\xe1\xf3\xe8extmsg\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0block\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0";
        assert_eq!(Header::len_of(text.first_chunk().expect("the text is longer than a basic header")), 44);
        let header = Header::decode_extended(&text);
        assert_eq!(header, Header { command: CommandName::BLOCK, payload_len: 1 << 32, checksum: None });
        assert_eq!((header.is_extended(), header.len_bytes()), (true, 44));
        assert_eq!(header.encode_extended([0xe3, 0xe1, 0xf3, 0xe8]), text);
    }

    #[test]
    fn the_first_six_command_bytes_mark_an_extended_header() {
        let mut head = PING;
        assert_eq!(Header::len_of(&head), 24);
        head[4..16].copy_from_slice(b"extmsgXYZ\0\0\0");
        assert_eq!(Header::len_of(&head), 44);
        head[4..16].copy_from_slice(b"extms\0\0\0\0\0\0\0");
        assert_eq!(Header::len_of(&head), 24);
    }

    #[test]
    fn the_checksum_of_an_empty_payload_matches_the_protocol() {
        assert_eq!(checksum(&[]), [0x5d, 0xf6, 0xe0, 0xe2]);
    }

    #[test]
    fn the_checksum_matches_a_double_sha_256_at_every_length_up_to_200_bytes() {
        let bytes: Vec<u8> = (0..200_u8).map(|at| at.wrapping_mul(73) ^ 0xa5).collect();
        for len in 0..=bytes.len() {
            let twice = Sha256::digest(Sha256::digest(&bytes[..len]));
            assert_eq!(checksum(&bytes[..len]), twice[..4], "{len} bytes");
            assert_eq!(finish_checksum(Sha256::new_with_prefix(&bytes[..len])), twice[..4], "{len} bytes");
        }
    }

    #[test]
    fn a_payload_is_allowed_exactly_up_to_its_commands_limit() {
        let commands = CommandName::ALL.into_iter().chain([CommandName::new("no such")]);
        for (command, least) in commands.flat_map(|command| [0, 8, 23, 24, 25, 1 << 20].map(|least| (command, least))) {
            let limits = PayloadLimits { max_message_bytes: least, max_block_bytes: least };
            let limit = payload_limit(command, &limits);
            for len in (0..40).chain([limit, limit + 1]) {
                assert_eq!(limits.allow(command, len), len <= limit, "{command} of {len} bytes, limits {least}");
            }
        }
    }

    #[test]
    fn the_limits_match_the_node() {
        let limits = PayloadLimits::default();
        for (command, limit) in [
            ("protoconf", 1_048_576),
            ("tx", 1_000_000_000),
            ("datareftx", 1_000_000_000),
            ("block", (1 << 63) - 1),
            ("cmpctblock", (1 << 63) - 1),
            ("blocktxn", (1 << 63) - 1),
            ("hdrsen", (1 << 63) - 1),
            ("getblocktxn", ((1 << 63) - 1) / 215 * 6 + 44),
            ("ping", 2_097_152),
            ("inv", 2_097_152),
            ("no such", 2_097_152),
        ] {
            assert_eq!(payload_limit(CommandName::new(command), &limits), limit, "{command}");
        }
        let small = PayloadLimits { max_block_bytes: 4_000_000_000, ..limits };
        assert_eq!(payload_limit(CommandName::GETBLOCKTXN, &small), 4_000_000_000 / 215 * 6 + 24);
    }
}
