//! Charges peers for misbehavior in messages that are meant for the handler, and for too many messages with wrong
//! checksums. Only misbehavior that can be detected without block data is charged. This module never decodes more of a
//! payload than the entry count at its start. SV Node 1.0.13 sends the same rejects and charges the same misbehavior.

use crate::api::Frame;
use crate::error::{Misbehavior, WireError};
use crate::id::LinkId;
use crate::limits::{MAX_EMPTY_GATHERED_BYTES, MAX_HEADERS_PER_MESSAGE, MAX_JUDGED_GATHERED_BYTES};
use crate::protocol::CommandName;
use crate::state::LoopState;
use crate::wire::codec::Reader;
use crate::wire::{Header, RejectCode, Services};

/// Returns whether a message that the handler declines is buffered, so that it can be checked for misbehavior. The
/// caller has checked that the loop has a peer manager.
pub(super) fn is_judged(state: &LoopState, header: &Header) -> bool {
    let max_bytes = match header.command {
        CommandName::HEADERS => MAX_JUDGED_GATHERED_BYTES,
        CommandName::FILTERLOAD | CommandName::FILTERADD if !offers_bloom(state) => MAX_JUDGED_GATHERED_BYTES,
        CommandName::SENDHDRSEN | CommandName::MEMPOOL => MAX_EMPTY_GATHERED_BYTES,
        _ => return false,
    };
    header.payload_len <= max_bytes
}

fn offers_bloom(state: &LoopState) -> bool {
    Services(state.config.services).contains(Services::BLOOM)
}

/// Charges a peer for misbehavior in a message that the handler has received or declined.
pub(super) fn judge(id: LinkId, frame: &Frame<'_>, is_declined: bool, state: &mut LoopState) {
    match frame.command() {
        CommandName::HEADERS => judge_headers(id, frame.payload(), state),
        CommandName::SENDHDRSEN => judge_sendhdrsen(id, state),
        CommandName::FILTERLOAD | CommandName::FILTERADD if !offers_bloom(state) => {
            state.charge(id, Misbehavior::UnwantedBloomFilter);
        }
        CommandName::MEMPOOL if is_declined => state.charge(id, Misbehavior::UnwantedMempoolRequest),
        _ => {}
    }
}

fn judge_headers(id: LinkId, payload: &[u8], state: &mut LoopState) {
    // SV Node checks the count before the entries.
    match Reader::new(CommandName::HEADERS, payload).compact_size() {
        Ok(count) if count > MAX_HEADERS_PER_MESSAGE => state.charge(id, Misbehavior::TooManyHeaders),
        Ok(_) => {}
        Err(error) => charge_overlong_size(id, b"headers", error, state),
    }
}

fn judge_sendhdrsen(id: LinkId, state: &mut LoopState) {
    let Some(link) = state.links.table.get_mut(id) else { return };
    if link.prefers_enriched_headers {
        return state.charge(id, Misbehavior::SecondSendHeaders);
    }
    link.prefers_enriched_headers = true;
}

/// Handles a decoding error: for a count or length above 2^32 - 1, rejects the message and charges the peer. Ignores
/// any other error.
pub(super) fn charge_overlong_size(id: LinkId, message: &[u8], error: WireError, state: &mut LoopState) {
    if matches!(error, WireError::OverlongSize { .. }) {
        state.send_reject(id, message, RejectCode::MALFORMED, b"error parsing message");
        state.charge(id, Misbehavior::OverlongSize);
    }
}

/// Counts a message with a wrong checksum, and charges the peer if it has sent too many such messages in quick
/// succession.
pub(super) fn note_bad_checksum(id: LinkId, state: &mut LoopState) {
    state.telemetry.counters.bad_checksums += 1;
    let now = state.clocks.now();
    let misbehavior = state.manager.as_mut().and_then(|manager| manager.conduct.count_bad_checksum(id, now));
    if let Some(misbehavior) = misbehavior {
        state.charge(id, misbehavior);
    }
}
