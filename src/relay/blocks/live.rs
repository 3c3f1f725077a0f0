//! The admission of readers to large blocks while they pass: only as many as the upload carries.
//!
//! Each reader of a passing block receives it at the source's rate, or is closed once the window has moved past it.
//! With more readers than the upload carries, all would be closed. So the further ones are refused at once, and ask
//! other peers. The first reader, upstreams, and readers of small blocks, which wait for nobody, are never refused. The
//! rate of a block is known once a part of it has passed; before, that of the last large block counts. Nothing here
//! sends or knows a peer.

use super::flow::Flow;
use crate::limits::{RELAY_LIVE_SAMPLE_BYTES, RELAY_SMALL_BLOCK_BYTES};
use crate::time::Instant;

/// The upload and the rate of the last large block, both in bytes per second.
#[derive(Debug)]
pub(super) struct Live {
    upload: Option<u64>,
    last_rate: Option<u64>,
}

impl Live {
    pub(super) fn new(upload: Option<u64>) -> Self {
        Self { upload, last_rate: None }
    }

    /// Notes the rate of a block that has passed.
    pub(super) fn note(&mut self, flow: &Flow, now: Instant) {
        let rate = if is_large(flow) { rate(flow, now) } else { None };
        self.last_rate = rate.or(self.last_rate);
    }

    /// Returns the number of readers of a block, at least 1, that the upload carries beside the readers of the other
    /// blocks in transit; `None` if it carries any number, and while the rate is unknown.
    pub(super) fn max_readers(&self, flow: &Flow, flows: &[Flow], now: Instant) -> Option<usize> {
        let upload = self.upload.filter(|_| is_large(flow))?;
        let rate_of = |flow: &Flow| rate(flow, now).or(self.last_rate);
        let others = flows.iter().filter(|other| other.hash != flow.hash && is_large(other));
        let used = others.fold(0_u64, |used, other| {
            let needed = rate_of(other).unwrap_or(0).saturating_mul(other.readers.len() as u64);
            used.saturating_add(needed)
        });
        let readers = upload.saturating_sub(used) / rate_of(flow)?.max(1);
        Some(usize::try_from(readers).unwrap_or(usize::MAX).max(1))
    }
}

/// Returns whether a block arrives that is too large to be kept whole.
fn is_large(flow: &Flow) -> bool {
    flow.transit.as_ref().is_some_and(|transit| transit.header().payload_len > RELAY_SMALL_BLOCK_BYTES)
}

/// Returns the rate of a block in bytes per second; `None` before a part of it has passed.
fn rate(flow: &Flow, now: Instant) -> Option<u64> {
    let passed = flow.transit.as_ref()?.window().end();
    let nanos = now.since(flow.begun_at?).as_nanos();
    if passed < RELAY_LIVE_SAMPLE_BYTES || nanos == 0 {
        return None;
    }
    u64::try_from(u128::from(passed) * 1_000_000_000 / nanos).ok()
}
