//! The protocol's bytes, built by hand: hexadecimal text, checksums and frames of the regression test network.
//!
//! They are built without the library's codec, so that tests can check the codec against them.

use crate::vectors::{NODE_PING, NODE_PING_ANSWER, NODE_PROTOCONF, NODE_VERACK, NODE_VERSION};
use sha2::{Digest, Sha256};

/// The magic of the regression test network.
pub const REGTEST: [u8; 4] = [0xda, 0xb5, 0xbf, 0xfa];

/// Returns the frame of a node's `version`.
pub fn version() -> Vec<u8> {
    hex(NODE_VERSION)
}

/// Returns the frame of a node's `verack`.
pub fn verack() -> Vec<u8> {
    hex(NODE_VERACK)
}

/// Returns the frame of a node's `protoconf`.
pub fn protoconf() -> Vec<u8> {
    hex(NODE_PROTOCONF)
}

/// Returns the messages with which a peer becomes ready: `version` and `verack`.
pub fn ready_bytes() -> Vec<u8> {
    [version(), verack()].concat()
}

/// Returns the frame of a node's `ping`.
pub fn ping() -> Vec<u8> {
    hex(NODE_PING)
}

/// Returns the reply to [`ping`].
pub fn pong() -> Vec<u8> {
    hex(NODE_PING_ANSWER)
}

/// Decodes hexadecimal text. White space is ignored.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    assert!(digits.len().is_multiple_of(2), "{text} has an odd number of digits");
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("the digits are hexadecimal"))
        .collect()
}

/// Encodes bytes as hexadecimal text.
pub fn to_hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Returns the first four bytes of the payload's double SHA-256.
pub fn sha256_twice(payload: &[u8]) -> [u8; 4] {
    *Sha256::digest(Sha256::digest(payload)).first_chunk().expect("a digest has 32 bytes")
}

/// Builds a frame of the regression test network.
pub fn frame(command: &str, payload: &[u8]) -> Vec<u8> {
    let len_bytes = u32::try_from(payload.len()).expect("the payload is small");
    [&header(command, len_bytes, &sha256_twice(payload)), payload].concat()
}

/// Builds a header of the regression test network, valid or not.
pub fn header(command: &str, len_bytes: u32, checksum: &[u8]) -> Vec<u8> {
    let mut bytes = REGTEST.to_vec();
    bytes.extend_from_slice(command.as_bytes());
    bytes.resize(16, 0);
    bytes.extend_from_slice(&len_bytes.to_le_bytes());
    bytes.extend_from_slice(checksum);
    bytes
}

/// Splits a stream into commands and payloads.
///
/// # Panics
///
/// If the stream ends within a frame, has another network's magic, or has a command that is not UTF-8.
pub fn frames(mut stream: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    while !stream.is_empty() {
        assert_eq!(stream[..4], REGTEST, "a frame does not begin with the magic");
        let command =
            String::from_utf8(stream[4..16].to_vec()).expect("the command is UTF-8").trim_end_matches('\0').to_owned();
        let len = u32::from_le_bytes(stream[16..20].try_into().expect("the length has four bytes")) as usize;
        found.push((command, stream[24..24 + len].to_vec()));
        stream = &stream[24 + len..];
    }
    found
}

/// Returns the commands of the frames in a stream.
pub fn commands(stream: &[u8]) -> Vec<String> {
    frames(stream).into_iter().map(|(command, _)| command).collect()
}
