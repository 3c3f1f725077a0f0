//! The handshake's frames that are the same for every peer, encoded once for each configuration.

use crate::config::{Config, Multistreams};
use crate::wire::{MessageRef, ProtoconfRef};

/// The stream policies that an SV Node lists. A node that we dial may disconnect if the list lacks `Default`.
const STREAM_POLICIES: &[u8] = b"BlockPriority,Default";
/// The list of a node whose peers have one stream each.
const SINGLE_STREAM_POLICIES: &[u8] = b"Default";

/// The encoded frames, which depend only on the configuration.
#[derive(Debug)]
pub(super) struct HandshakeFrames {
    pub(super) verack: Vec<u8>,
    pub(super) protoconf: Vec<u8>,
    pub(super) sendheaders: Vec<u8>,
}

impl HandshakeFrames {
    pub(super) fn new(config: &Config) -> Self {
        let magic = config.magic_bytes();
        let frame = |message: MessageRef<'_>| {
            let mut bytes = Vec::new();
            message.encode_frame(magic, &mut bytes);
            bytes
        };
        let max_recv_payload_bytes = u32::try_from(config.max_message_bytes).expect("the configuration is validated");
        Self {
            verack: frame(MessageRef::Verack),
            protoconf: frame(MessageRef::Protoconf(ProtoconfRef {
                max_recv_payload_bytes,
                stream_policies: Some(match config.multistreams {
                    Multistreams::Off => SINGLE_STREAM_POLICIES,
                    Multistreams::Accept | Multistreams::Open => STREAM_POLICIES,
                }),
            })),
            sendheaders: frame(MessageRef::SendHeaders),
        }
    }
}
