//! Judges messages that belong to the handler: misbehavior that shows without a chain, and without more of the payload
//! than its first count. SV Node 1.0.13 answers and charges the same. It never decodes a whole message.

use super::Engine;
use crate::api::Frame;
use crate::error::{Misbehavior, WireError};
use crate::id::LinkId;
use crate::limits::{MAX_EMPTY_GATHERED_BYTES, MAX_HEADERS_PER_MESSAGE, MAX_JUDGED_GATHERED_BYTES};
use crate::protocol::CommandName;
use crate::state::LoopState;
use crate::wire::codec::Reader;
use crate::wire::{Header, RejectCode, Services};

/// Returns whether a loop with a peer manager gathers a message that the handler discards, in order to judge it.
pub(super) fn is_judged(state: &LoopState, header: &Header) -> bool {
    let max_bytes = match header.command {
        CommandName::HEADERS => MAX_JUDGED_GATHERED_BYTES,
        CommandName::FILTERLOAD | CommandName::FILTERADD if !offers_bloom(state) => MAX_JUDGED_GATHERED_BYTES,
        CommandName::SENDHDRSEN | CommandName::CREATESTRM | CommandName::STREAMACK | CommandName::MEMPOOL => {
            MAX_EMPTY_GATHERED_BYTES
        }
        _ => return false,
    };
    header.payload_len <= max_bytes
}

fn offers_bloom(state: &LoopState) -> bool {
    Services(state.config.services).contains(Services::BLOOM)
}

impl Engine {
    /// Charges a peer for a message that the handler has had, or declined.
    pub(super) fn judge(&mut self, id: LinkId, frame: &Frame<'_>, is_declined: bool) {
        match frame.command() {
            CommandName::HEADERS => self.judge_headers(id, frame.payload()),
            CommandName::SENDHDRSEN => self.judge_sendhdrsen(id),
            CommandName::FILTERLOAD | CommandName::FILTERADD if !offers_bloom(&self.state) => {
                self.misbehaved(id, Misbehavior::UnwantedBloomFilter);
            }
            CommandName::MEMPOOL if is_declined => self.misbehaved(id, Misbehavior::UnwantedMempoolRequest),
            command @ (CommandName::CREATESTRM | CommandName::STREAMACK) => self.refuse_stream(id, command),
            _ => {}
        }
    }

    fn judge_headers(&mut self, id: LinkId, payload: &[u8]) {
        // The node looks at the count before anything that it counts.
        match Reader::new(CommandName::HEADERS, payload).compact_size() {
            Ok(count) if count > MAX_HEADERS_PER_MESSAGE => self.misbehaved(id, Misbehavior::TooManyHeaders),
            Ok(_) => {}
            Err(error) => self.charge_overlong_size(id, b"headers", error),
        }
    }

    fn judge_sendhdrsen(&mut self, id: LinkId) {
        let Some(link) = self.state.links.table.get_mut(id) else { return };
        if link.prefers_enriched_headers {
            return self.misbehaved(id, Misbehavior::SecondSendHeaders);
        }
        link.prefers_enriched_headers = true;
    }

    /// Rejects and charges a count or length above 2^32 - 1; any other error costs nothing.
    pub(super) fn charge_overlong_size(&mut self, id: LinkId, message: &[u8], error: WireError) {
        if matches!(error, WireError::OverlongSize { .. }) {
            self.state.send_reject(id, message, RejectCode::MALFORMED, b"error parsing message");
            self.misbehaved(id, Misbehavior::OverlongSize);
        }
    }

    /// Rejects the setup of a stream on a connection that has had its `version`, and closes the connection, also that
    /// of a trusted host.
    pub(super) fn refuse_stream(&mut self, id: LinkId, command: CommandName) {
        let (message, reason): (&[u8], &[u8]) = match command {
            CommandName::CREATESTRM => (b"createstrm", b"Invalid createstream scenario"),
            _ => (b"streamack", b"Invalid streamack"),
        };
        self.state.send_last_reject(id, message, RejectCode::NONSTANDARD, reason);
        self.misbehaved(id, Misbehavior::LateStreamSetup);
        self.state.links.close(id, Misbehavior::LateStreamSetup.into(), self.state.clocks.now());
    }
}
