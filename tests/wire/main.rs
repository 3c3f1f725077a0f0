//! The wire, byte for byte: frames of the specification and of a live node, every boundary and every cut, and
//! properties that hold for any bytes.

mod address;
mod auth;
mod block;
mod block_stream;
mod chain;
mod codec;
mod compact;
mod control;
mod double_spend;
mod enriched;
mod exact;
mod filter;
mod frames;
mod headers;
mod inventory;
mod locator;
mod memory;
mod merkle;
mod miner;
mod properties;
mod settings;
mod streams;
mod table;
mod transaction;
mod version;

use peerloop::protocol::CommandName;

/// The bytes of hexadecimal text.
fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text} has half a byte");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}

/// The payload of a frame, which stands behind 24 bytes of header.
fn payload(frame: &str) -> Vec<u8> {
    hex(frame).split_off(24)
}

/// The payload of the first known frame of `command`.
fn known_payload(command: &str) -> Vec<u8> {
    frames::payloads().find(|(name, _)| *name == CommandName::new(command)).expect(command).1
}
