//! Bounds of messages, set by the protocol or by the reference node.

/// Length of the basic message header.
pub const HEADER_LEN_BYTES: usize = 24;
/// Length of the extended message header: the basic one, then the real command and a 64-bit length.
pub const EXTENDED_HEADER_LEN_BYTES: usize = 44;
/// Largest payload of a `protoconf`, and the limit assumed for a peer until its own `protoconf` arrives (SV Node 1.2.2,
/// protocol.h LEGACY_MAX_PROTOCOL_PAYLOAD_LENGTH).
pub const MAX_LEGACY_PAYLOAD_BYTES: u64 = 1_048_576;
/// Default payload limit of each command without a limit of its own (SV Node 1.2.2, `-maxprotocolrecvpayloadlength`).
pub const MAX_PAYLOAD_BYTES: u64 = 2_097_152;
/// Largest payload of `tx` and `datareftx`.
pub const MAX_TX_PAYLOAD_BYTES: u64 = 1_000_000_000;
/// Default payload limit of `block`, `cmpctblock`, `blocktxn` and `hdrsen`: the node's default maximum block size.
pub const MAX_BLOCK_PAYLOAD_BYTES: u64 = i64::MAX as u64;
/// Divisor in the node's rule for the largest `getblocktxn`: `maximum block size / 215 * 6`, plus a header's length.
pub const GETBLOCKTXN_BLOCK_SHARE_BYTES: u64 = 215;
/// Largest value that is accepted in a received CompactSize (SV Node 1.2.2, serialize.h MAX_SIZE).
pub const MAX_COMPACT_SIZE: u64 = 0xffff_ffff;
/// Our inventory messages may be up to this many times as long as our own payload limit, if the peer accepts them (SV
/// Node 1.2.2, net.cpp GetMaxInvElements).
pub const SEND_LIMIT_FACTOR: u64 = 4;
/// Maximum length of a user agent in `version`.
pub const MAX_USER_AGENT_BYTES: usize = 256;
/// Maximum length of an association id: a type byte and the id.
pub const MAX_ASSOCIATION_ID_BYTES: usize = 129;
/// Maximum length of the stream policy list in `protoconf`: ten names of 64 characters, each with a comma.
pub const MAX_STREAM_POLICIES_BYTES: usize = 650;
/// Maximum length of the stream policy's name in a `createstrm`.
pub const MAX_STREAM_POLICY_BYTES: usize = 64;
/// Length of a compressed public key, in `authresp` and `revokemid`.
pub const PUBLIC_KEY_LEN_BYTES: usize = 33;
/// Minimum length of the signature in `authresp`.
pub const MIN_AUTH_SIGNATURE_BYTES: usize = 70;
/// Maximum length of the signature in `authresp`.
pub const MAX_AUTH_SIGNATURE_BYTES: usize = 72;
/// Maximum length of each of the two signatures in `revokemid`. It is the largest length that fits in one byte.
pub const MAX_MINER_SIGNATURE_BYTES: usize = 255;
/// Maximum length of the message name in `reject`.
pub const MAX_REJECT_MESSAGE_BYTES: usize = 12;
/// Maximum length of the reason in `reject`.
pub const MAX_REJECT_REASON_BYTES: usize = 111;
/// Maximum length of a bloom filter in `filterload`.
pub const MAX_BLOOM_FILTER_BYTES: usize = 36_000;
/// Maximum number of hash functions of a bloom filter.
pub const MAX_BLOOM_HASHES: u32 = 50;
/// Maximum length of a bloom filter element, which `filteradd` carries.
pub const MAX_BLOOM_ELEMENT_BYTES: usize = 520;
/// Maximum number of addresses in one `addr`; a message with more is ignored, and penalised if the manager learns
/// addresses (SV Node 1.2.2, net_processing.cpp ProcessAddrMessage). Also the number of addresses that a peer may send
/// at once after our `getaddr`, and the maximum number that we send in reply to its `getaddr`.
pub const MAX_ADDRESSES_PER_MESSAGE: usize = 1_000;
/// Length of an `addr` payload with the maximum number of addresses: the count in 3 bytes, and 30 bytes for each.
#[cfg(feature = "internals")]
pub const MAX_ADDRESS_PAYLOAD_BYTES: u64 = 3 + 30 * MAX_ADDRESSES_PER_MESSAGE as u64;
/// Maximum number of headers in one `headers`; a message that claims more is penalised (SV Node 1.2.2,
/// net_processing.cpp ProcessHeadersMessage).
pub const MAX_HEADERS_PER_MESSAGE: u64 = 2_000;
