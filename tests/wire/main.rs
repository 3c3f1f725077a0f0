//! The wire format, byte for byte: frames from the specification and from a live node, boundary values, truncations,
//! and properties that hold for any bytes.

mod address;
mod auth;
mod block;
mod block_stream;
mod chain;
mod codec;
mod compact;
mod control;
mod createstrm;
mod double_spend;
mod exact;
mod filter;
mod hdrsen;
mod headers;
mod inventory;
mod locator;
mod memory;
mod merkle;
mod preferences;
mod properties;
mod revokemid;
mod table;
mod transaction;
mod version;
mod work;

use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::wire::MessageRef;
use peerloop_testkit::vectors::payloads;

/// Returns the payload of the first known frame of `command`.
fn known_payload(command: &str) -> Vec<u8> {
    payloads().find(|(name, _)| *name == CommandName::new(command)).expect(command).1
}

/// Asserts that every prefix of `command`'s known payload with at least `first` bytes is reported as truncated, and
/// that bytes after the payload are ignored.
fn assert_cuts_fail_and_more_is_ignored(command: CommandName, first: usize) {
    let whole = known_payload(&command.to_string());
    for cut in first..whole.len() {
        let decoded = MessageRef::decode(command, &whole[..cut]);
        assert_eq!(decoded, Err(WireError::Truncated { command }), "{cut} bytes");
    }
    let longer = [&whole[..], &[0xff; 9]].concat();
    assert_eq!(MessageRef::decode(command, &longer), MessageRef::decode(command, &whole));
}
