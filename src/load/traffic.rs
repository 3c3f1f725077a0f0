//! The bytes sent and received in the counted part of a run.

use crate::handler::Ctx;
use crate::limits::HEADER_LEN_BYTES;
use crate::protocol::CommandName;
use crate::stats::{MessageCount, MessageCounts};

/// The messages of a handshake. SV Node sends some of them after its `verack`.
const INTRODUCTION: [CommandName; 7] = [
    CommandName::VERSION,
    CommandName::VERACK,
    CommandName::PROTOCONF,
    CommandName::AUTHCH,
    CommandName::SENDHEADERS,
    CommandName::SENDCMPCT,
    CommandName::FEEFILTER,
];

/// The bytes sent and received in the counted part of the run, including headers. Handshakes are not included, unless
/// the operations of the workload open the connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
}

impl Traffic {
    /// Counts the bytes so far. Without `has_handshakes`, handshakes may still be in progress during the run, so their
    /// messages are excluded by command.
    pub(super) fn so_far(ctx: &Ctx<'_>, has_handshakes: bool) -> Self {
        let counters = ctx.counters();
        let excluded = |counts| if has_handshakes { 0 } else { introduction_bytes(counts) };
        Self {
            sent_bytes: counters.bytes_sent.saturating_sub(excluded(ctx.sent_messages())),
            received_bytes: counters.bytes_received.saturating_sub(excluded(ctx.received_messages())),
        }
    }

    /// Computes the bytes since `begin`.
    pub(super) fn since(self, begin: Self) -> Self {
        Self {
            sent_bytes: self.sent_bytes.saturating_sub(begin.sent_bytes),
            received_bytes: self.received_bytes.saturating_sub(begin.received_bytes),
        }
    }
}

/// Returns the total bytes of all handshake messages, including headers.
fn introduction_bytes(counts: &MessageCounts) -> u64 {
    let bytes = |command| {
        let MessageCount { messages, payload_bytes } = counts.count(command);
        (messages * HEADER_LEN_BYTES as u64).saturating_add(payload_bytes)
    };
    INTRODUCTION.into_iter().map(bytes).fold(0, u64::saturating_add)
}
