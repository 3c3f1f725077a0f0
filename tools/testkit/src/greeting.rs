//! The messages with which a bare socket becomes a loop's peer on regtest, for benchmarks and tests of whole loops.

use peerloop::Network;
use peerloop::protocol::PROTOCOL_VERSION;
use peerloop::time::UnixTime;
use peerloop::wire::{MessageRef, NetAddress, Sender, Version};
use std::borrow::Cow;

pub const MAGIC: [u8; 4] = Network::Regtest.magic();

pub fn frame(message: &MessageRef<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode_frame(MAGIC, &mut bytes);
    bytes
}

/// Returns a dialler's first messages: `version` and `verack`.
pub fn greeting() -> Vec<u8> {
    let version = Version {
        protocol_version: PROTOCOL_VERSION as i32,
        services: 0,
        time: UnixTime::from_secs(0),
        receiver: NetAddress::UNSPECIFIED,
        sender: Some(Sender { address: NetAddress::UNSPECIFIED, nonce: 1 }),
        user_agent: Some(b"/Bitcoin SV:1.2.2/".as_slice().into()),
        start_height: Some(0),
        relay: Some(true),
        association_id: None,
    };
    [frame(&MessageRef::Version(Cow::Owned(version))), frame(&MessageRef::Verack)].concat()
}
