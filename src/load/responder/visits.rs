//! The moments at which peers are closed on purpose, each the same time after the peer's handshake.
//!
//! The list has at most twice as many entries as there are peers, and a few more.

use crate::id::PeerId;
use crate::time::Instant;
use std::collections::VecDeque;

/// Number of entries below which entries of closed peers are kept.
const MIN_SWEPT: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Visits {
    /// The peers in the order of their ends.
    ends: VecDeque<(Instant, PeerId)>,
}

impl Visits {
    /// Adds a peer whose end is not before that of any other peer. `ready` is the number of peers, and `is_live`
    /// returns whether a peer is still connected.
    pub(super) fn push(&mut self, end: Instant, peer: PeerId, ready: usize, is_live: impl Fn(PeerId) -> bool) {
        if self.ends.len() >= MIN_SWEPT.max(2 * ready) {
            self.ends.retain(|&(_, peer)| is_live(peer));
        }
        self.ends.push_back((end, peer));
    }

    /// Removes and returns the next peer whose end has arrived.
    pub(super) fn pop(&mut self, now: Instant) -> Option<PeerId> {
        let &(end, peer) = self.ends.front()?;
        if end > now {
            return None;
        }
        self.ends.pop_front();
        Some(peer)
    }

    /// Returns the next end.
    pub(super) fn next_moment(&self) -> Option<Instant> {
        self.ends.front().map(|&(end, _)| end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkId;

    fn peer(slot: u32, generation: u32) -> PeerId {
        PeerId::of(LinkId::new(slot, generation))
    }

    #[test]
    fn peers_end_in_order() {
        let mut visits = Visits::default();
        (0..5).for_each(|slot| visits.push(Instant::from_nanos(u64::from(slot)), peer(slot, 0), 5, |_| true));
        let ended: Vec<_> = std::iter::from_fn(|| visits.pop(Instant::from_nanos(2))).collect();
        assert_eq!(ended, [peer(0, 0), peer(1, 0), peer(2, 0)]);
        assert_eq!(visits.next_moment(), Some(Instant::from_nanos(3)));
    }

    #[test]
    fn peers_that_close_themselves_do_not_fill_the_list() {
        let mut visits = Visits::default();
        for generation in 0..10_000 {
            visits.push(Instant::ZERO, peer(0, generation), 1, |peer_| peer_ == peer(0, generation.saturating_sub(1)));
            assert!(visits.ends.len() <= MIN_SWEPT + 1, "{}", visits.ends.len());
        }
        let mut visits = Visits::default();
        for slot in 0..1_000 {
            visits.push(Instant::ZERO, peer(slot, 0), slot as usize, |_| true);
        }
        assert_eq!(visits.ends.len(), 1_000);
    }
}
