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

use peerloop::protocol::CommandName;
use peerloop_testkit::vectors::payloads;

/// Returns the payload of the first known frame of `command`.
fn known_payload(command: &str) -> Vec<u8> {
    payloads().find(|(name, _)| *name == CommandName::new(command)).expect(command).1
}
