//! One block in transit: its source, and the peers that read it.
//!
//! These are plain values: a flow has at most two sources, and each reader has an offset of its own. Nothing here
//! sends, and nothing here decides when a source is replaced; `fetch` and `pace` do.

use super::kept::{Kept, bytes_of};
use super::passages::{Sources, Stamp};
use crate::address::Host;
use crate::id::PeerId;
use crate::limits::{
    RELAY_BLOCK_GRACE, RELAY_READER_GRACE, RELAY_SMALL_BLOCK_BYTES, RELAY_SMALL_BLOCK_RETAINED_BYTES,
    RELAY_TETHER_RATE, RELAY_TETHER_TIME,
};
use crate::relay::transit::Transit;
use crate::time::Instant;
use crate::wire::{Hash256, Header, StreamType};
use std::time::Duration;

/// A block that is being fetched for its readers.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) hash: Hash256,
    /// `None` until the first source's header has arrived.
    pub(super) transit: Option<Transit>,
    /// The present sources, the first one asked first: one, or two in a race, but none while another one is chosen.
    pub(super) sources: Vec<Source>,
    /// The host that pays for the fetch once the block's length is known.
    pub(super) payer: Option<Host>,
    /// The sources that have failed.
    pub(super) failed: Vec<PeerId>,
    /// The number of sources that were replaced although they have not failed.
    pub(super) moves: u32,
    pub(super) readers: Vec<PeerId>,
    /// The number of sources whose bytes have arrived.
    pub(super) sources_used: u32,
    pub(super) gaps: Gaps,
    /// Whether the bytes of one source differed from those of the sources before it.
    pub(super) has_differed: bool,
    /// The time for which the source has waited for untethered readers.
    pub(super) held: Duration,
    /// The moment at which the block began to arrive.
    pub(super) begun_at: Option<Instant>,
    /// The moment at which the block was complete and right.
    pub(super) completed_at: Option<Instant>,
}

/// The times without a new byte of a block, because its source was lost in the middle.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gaps {
    /// The moment of the last new byte.
    last_byte: Option<Instant>,
    /// Whether the source of that byte was lost.
    is_open: bool,
    longest: Option<Duration>,
}

/// The peer that a block is requested from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) peer: PeerId,
    /// The lane of the transit that the source has for itself.
    pub(super) lane: usize,
    /// The number of the request; later ones have higher numbers.
    pub(super) number: u64,
    /// The stream on which the block arrives; `None` until it does.
    pub(super) stream: Option<StreamType>,
    /// The moment of the request.
    pub(super) asked_at: Instant,
    /// The moment at which reading was paused for the readers.
    pub(super) paused_at: Option<Instant>,
}

/// A block that begins to arrive, before its own header is here.
#[derive(Debug)]
pub(super) struct Arriving {
    pub(super) peer: PeerId,
    pub(super) stream: StreamType,
    /// The message's header.
    pub(super) header: Header,
    /// The moment at which the message's header was read.
    pub(super) begun: Stamp,
    /// The first bytes, fewer than a block's header has.
    pub(super) first: Vec<u8>,
}

/// The progress of a peer that reads a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) hash: Hash256,
    /// The offset of the next byte.
    pub(super) at: u64,
    /// Whether the message has begun.
    pub(super) has_begun: bool,
    /// The time for which the source has waited for this peer.
    pub(super) held: Duration,
    /// The host that pays for the block once its length is known.
    pub(super) payer: Option<Host>,
    /// The recent progress of a tethered reader.
    pub(super) tether: Option<Tether>,
}

/// The progress of a tethered reader since its rate was last checked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tether {
    /// The time for which the source has waited for it.
    held: Duration,
    /// Its offset at the beginning.
    from: u64,
}

impl Arriving {
    pub(super) fn is_from(&self, peer: PeerId, stream: StreamType) -> bool {
        (self.peer, self.stream) == (peer, stream)
    }
}

impl Flow {
    pub(super) fn new(hash: Hash256, reader: PeerId) -> Self {
        Self {
            hash,
            transit: None,
            sources: Vec::new(),
            payer: None,
            failed: Vec::new(),
            moves: 0,
            readers: vec![reader],
            sources_used: 0,
            gaps: Gaps::default(),
            has_differed: false,
            held: Duration::ZERO,
            begun_at: None,
            completed_at: None,
        }
    }

    /// Returns whether a reader can still join: no byte was dropped.
    pub(super) fn holds_start(&self) -> bool {
        self.transit.as_ref().is_none_or(|transit| transit.window().oldest() == 0)
    }

    /// Returns whether the block is small enough to be kept whole among `kept`, and nothing of it was dropped. A source
    /// that sends tiny parts can make a small block retain many times its length; such a block passes like a large one.
    pub(super) fn is_kept_whole(&self, kept: &Kept) -> bool {
        let is_small = |transit: &Transit| {
            transit.header().payload_len <= RELAY_SMALL_BLOCK_BYTES.min(kept.max_bytes() as u64)
                && transit.window().oldest() == 0
                && transit.window().retained_bytes() as u64 <= RELAY_SMALL_BLOCK_RETAINED_BYTES
                && kept.fits(bytes_of(transit.window(), transit.offsets()))
        };
        self.transit.as_ref().is_some_and(is_small)
    }

    /// Returns whether the block was requested and has not begun to arrive. A request cannot be withdrawn.
    pub(super) fn is_awaited(&self) -> bool {
        self.transit.is_none() && !self.sources.is_empty()
    }

    /// Returns the numbers of sources that were used and that were replaced, and the longest gap until `now`.
    pub(super) fn counted_sources(&self, now: Instant) -> Sources {
        Sources {
            used: self.sources_used,
            replaced: self.failed.len() as u32 + self.moves,
            gap: self.gaps.longest(now),
        }
    }

    /// Returns a peer's source.
    pub(super) fn source_of(&self, peer: PeerId) -> Option<Source> {
        self.sources.iter().copied().find(|source| source.peer == peer)
    }

    /// Returns whether a peer is a source, or has failed as one.
    pub(super) fn is_spent(&self, peer: PeerId) -> bool {
        self.failed.contains(&peer) || self.source_of(peer).is_some()
    }

    /// Returns the moment since which a source waits for readers.
    pub(super) fn paused_since(&self) -> Option<Instant> {
        self.sources.iter().filter_map(|source| source.paused_at).min()
    }

    /// Returns a lane that no source has.
    pub(super) fn free_lane(&self) -> Option<usize> {
        (0..Transit::LANES).find(|&lane| self.sources.iter().all(|source| source.lane != lane))
    }

    pub(super) fn is_complete(&self) -> bool {
        self.transit.as_ref().is_some_and(|transit| transit.complete().is_some())
    }
}

impl Gaps {
    /// Notes the arrival of new bytes, which ends a gap.
    pub(super) fn progress(&mut self, now: Instant) {
        *self = Self { last_byte: Some(now), is_open: false, longest: self.longest(now) };
    }

    /// Notes the loss of the source. The gap begins with the last new byte.
    pub(super) fn lose(&mut self) {
        self.is_open = self.last_byte.is_some();
    }

    /// Returns the longest gap, with the one that has not ended; `None` if no source was lost in the middle.
    fn longest(&self, now: Instant) -> Option<Duration> {
        let open = self.last_byte.filter(|_| self.is_open).map(|last| now.since(last));
        self.longest.max(open)
    }
}

impl Reading {
    pub(super) fn of(hash: Hash256) -> Self {
        Self { hash, at: 0, has_begun: false, held: Duration::ZERO, payer: None, tether: None }
    }

    /// Returns whether the reader may hold the source of its block.
    pub(super) fn may_hold(&self, flow: &Flow) -> bool {
        self.tether.is_some() || (self.held < RELAY_READER_GRACE && flow.held < RELAY_BLOCK_GRACE)
    }

    /// Notes that the source has waited for the reader. Returns whether the reader is untethered.
    pub(super) fn hold(&mut self, time: Duration) -> bool {
        let Some(tether) = &mut self.tether else {
            self.held += time;
            return true;
        };
        tether.held += time;
        if tether.held >= RELAY_TETHER_TIME {
            let is_fast = self.at - tether.from >= RELAY_TETHER_RATE * RELAY_TETHER_TIME.as_secs();
            self.tether = is_fast.then_some(Tether { held: Duration::ZERO, from: self.at });
            if !is_fast {
                self.held = RELAY_READER_GRACE;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_begins_with_the_last_new_byte_and_ends_with_the_next_one() {
        let at = |millis: u64| Instant::from_nanos(millis * 1_000_000);
        let longest = |gaps: &Gaps, now| gaps.longest(at(now)).map(|gap| gap.as_millis());
        let mut gaps = Gaps::default();
        gaps.lose();
        assert_eq!(longest(&gaps, 9), None, "nothing had arrived");
        [10, 900].into_iter().for_each(|now| gaps.progress(at(now)));
        assert_eq!(longest(&gaps, 2_000), None, "a source that is slow is not lost");
        // The second source is lost before it is level, too.
        gaps.lose();
        gaps.lose();
        assert_eq!(longest(&gaps, 950), Some(50), "a gap that has not ended counts");
        gaps.progress(at(960));
        gaps.lose();
        assert_eq!(longest(&gaps, 970), Some(60));
        gaps.progress(at(990));
        gaps.lose();
        gaps.progress(at(1_100));
        assert_eq!(longest(&gaps, 9_999), Some(110));
    }
}
