//! Replies that wait: for their delay, for their turn, or for room.
//!
//! A delayed reply is in a heap until it is due, and then in a queue until the moment that the gate gives it. Both are
//! bounded by the bytes of one peer's replies and of all replies together. A reply to a closed peer counts until its
//! moment.

use super::gate::{Gate, Slot};
use crate::id::PeerId;
use crate::limits::{
    MAX_RESPONDER_PEER_WAITING_BYTES, MAX_RESPONDER_WAITING_BYTES, RESPONDER_REPLIES_PER_WAKE, RESPONDER_REPLY_BYTES,
};
use crate::time::Instant;
use bytes::Bytes;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;

/// The answer to one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The `pong` with this nonce.
    Pong(u64),
    /// The `headers` of the blocks at these heights.
    Headers(Range<u32>),
    /// The `getdata` with this payload, which requests announced items.
    Request(Bytes),
    /// Everything that the `getdata` with this payload requests.
    Items(Bytes),
}

/// A reply that waits.
#[derive(Debug)]
pub(super) struct Reply {
    /// The moment at which it is due and, once it is released, the moment at which it is sent.
    due: Instant,
    /// The number of the reply, which orders replies that are due at the same moment.
    number: u64,
    pub(super) peer: PeerId,
    pub(super) answer: Answer,
}

// A reply is in one of two lists after the other, and each list may have twice the room that its replies need.
const _: () = assert!(4 * size_of::<Reply>() <= RESPONDER_REPLY_BYTES, "a reply costs more than its bound states");

impl Answer {
    /// Returns the number of bytes that the answer counts while it waits.
    pub(super) fn waiting_bytes(&self) -> usize {
        RESPONDER_REPLY_BYTES
            + match self {
                Self::Pong(_) | Self::Headers(_) => 0,
                Self::Request(payload) | Self::Items(payload) => payload.len(),
            }
    }
}

impl PartialEq for Reply {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Reply {}

impl PartialOrd for Reply {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Reply {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

/// The replies that wait for a moment.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    delayed: BinaryHeap<Reverse<Reply>>,
    /// The replies after their delay, in the order of their moments.
    released: VecDeque<Reply>,
    next_number: u64,
}

impl Waiting {
    pub(super) fn push(&mut self, due: Instant, peer: PeerId, answer: Answer) {
        let number = self.next_number;
        self.next_number += 1;
        self.delayed.push(Reverse(Reply { due, number, peer, answer }));
    }

    /// Gives replies that are due by `now` their moments, at most [`RESPONDER_REPLIES_PER_WAKE`] of them. Calls
    /// `passed` with each of them, with `true` for a stalled one and `None` for one that would wait for too long and is
    /// dropped.
    pub(super) fn release(&mut self, gate: &mut Gate, now: Instant, mut passed: impl FnMut(&Reply, Option<bool>)) {
        for _ in 0..RESPONDER_REPLIES_PER_WAKE {
            if self.delayed.peek().is_none_or(|Reverse(reply)| reply.due > now) {
                return;
            }
            let Some(Reverse(mut reply)) = self.delayed.pop() else { return };
            match gate.slot(reply.due) {
                Slot::At { moment, is_stalled } => {
                    passed(&reply, Some(is_stalled));
                    reply.due = moment;
                    self.released.push_back(reply);
                }
                Slot::None => passed(&reply, None),
            }
        }
    }

    /// Removes and returns the next reply whose moment has arrived.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Reply> {
        if self.released.front()?.due > now {
            return None;
        }
        self.released.pop_front()
    }

    /// Returns the earliest moment at which [`Waiting::release`] or [`Waiting::pop`] has work.
    pub(super) fn next_moment(&self) -> Option<Instant> {
        let delayed = self.delayed.peek().map(|Reverse(reply)| reply.due);
        let released = self.released.front().map(|reply| reply.due);
        delayed.into_iter().chain(released).min()
    }
}

/// The bytes of all waiting replies.
#[derive(Debug, Default)]
pub(super) struct Budget {
    used_bytes: usize,
}

impl Budget {
    /// Counts the bytes of a reply, of whose peer `peer_bytes` are counted. Returns `false`, and counts nothing, if
    /// that would exceed a limit.
    pub(super) fn reserve(&mut self, peer_bytes: &mut usize, bytes: usize) -> bool {
        let fits = *peer_bytes + bytes <= MAX_RESPONDER_PEER_WAITING_BYTES
            && self.used_bytes + bytes <= MAX_RESPONDER_WAITING_BYTES;
        if fits {
            *peer_bytes += bytes;
            self.used_bytes += bytes;
        }
        fits
    }

    /// Uncounts the bytes of a reply. `peer_bytes` is `None` if the peer is closed.
    pub(super) fn release(&mut self, peer_bytes: Option<&mut usize>, bytes: usize) {
        self.used_bytes -= bytes;
        if let Some(peer_bytes) = peer_bytes {
            *peer_bytes -= bytes;
        }
    }

    #[cfg(test)]
    pub(super) fn used_bytes(&self) -> usize {
        self.used_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkId;
    use crate::load::rate::Rate;
    use crate::load::responder::config::{ResponderConfig, Stall};
    use proptest::prelude::*;
    use std::time::Duration;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn peer() -> PeerId {
        PeerId::of(LinkId::new(3, 1))
    }

    fn pong(waiting: &mut Waiting, due: u64, nonce: u64) {
        waiting.push(at(due), peer(), Answer::Pong(nonce));
    }

    /// Releases and removes all replies whose moment has arrived, and returns their nonces.
    fn popped(waiting: &mut Waiting, gate: &mut Gate, now: u64) -> Vec<u64> {
        waiting.release(gate, at(now), |_, _| ());
        let answers = std::iter::from_fn(|| waiting.pop(at(now)).map(|reply| reply.answer));
        answers.map(|answer| if let Answer::Pong(nonce) = answer { nonce } else { panic!("no pong") }).collect()
    }

    fn gate(config: ResponderConfig) -> Gate {
        Gate::new(&config, at(0))
    }

    #[test]
    fn replies_are_sent_in_the_order_in_which_they_are_due() {
        let (mut waiting, mut gate) = (Waiting::default(), gate(ResponderConfig::default()));
        [(9, 1), (4, 2), (4, 3), (7, 4)].into_iter().for_each(|(due, nonce)| pong(&mut waiting, due, nonce));
        assert_eq!(waiting.next_moment(), Some(at(4)));
        assert_eq!(popped(&mut waiting, &mut gate, 3), []);
        assert_eq!(popped(&mut waiting, &mut gate, 7), [2, 3, 4]);
        assert_eq!(waiting.next_moment(), Some(at(9)));
        assert_eq!(popped(&mut waiting, &mut gate, 100), [1]);
        assert_eq!(waiting.next_moment(), None);
    }

    #[test]
    fn a_released_reply_waits_for_its_moment_and_the_lag_of_the_loop_changes_no_moment() {
        let stall = Stall::new(Duration::from_nanos(5), Duration::from_nanos(10));
        let (mut waiting, mut gate) = (Waiting::default(), gate(ResponderConfig::default().with_stall(stall)));
        [9, 11, 14, 15].into_iter().for_each(|due| pong(&mut waiting, due, due));
        let mut stalled = Vec::new();
        waiting.release(&mut gate, at(14), |reply, is_stalled| stalled.push((reply.due.as_nanos(), is_stalled)));
        assert_eq!(stalled, [(9, Some(false)), (11, Some(true)), (14, Some(true))]);
        assert_eq!(popped(&mut waiting, &mut gate, 14), [9]);
        assert_eq!(waiting.next_moment(), Some(at(15)));
        assert_eq!(popped(&mut waiting, &mut gate, 15), [11, 14, 15]);
    }

    #[test]
    fn a_dropped_reply_is_reported_and_removed() {
        let config = ResponderConfig::default().with_max_rate(Some(Rate::per_second(1)));
        let (mut waiting, mut gate) = (Waiting::default(), gate(config));
        [0, 1].into_iter().for_each(|due| pong(&mut waiting, due, due));
        let mut passed = Vec::new();
        waiting.release(&mut gate, at(1), |reply, slot| passed.push((reply.due.as_nanos(), slot)));
        assert_eq!(passed, [(0, Some(false)), (1, None)]);
        assert_eq!(popped(&mut waiting, &mut gate, 1), [0]);
        assert_eq!(waiting.next_moment(), None);
    }

    #[test]
    fn a_limit_refuses_what_exceeds_it_and_nothing_else() {
        let mut budget = Budget::default();
        let mut peers = vec![0; MAX_RESPONDER_WAITING_BYTES / MAX_RESPONDER_PEER_WAITING_BYTES];
        for peer_bytes in &mut peers {
            assert!(budget.reserve(peer_bytes, MAX_RESPONDER_PEER_WAITING_BYTES - 1) && budget.reserve(peer_bytes, 1));
            assert!(!budget.reserve(peer_bytes, 1));
        }
        let mut other = 0;
        assert!(!budget.reserve(&mut other, 1));
        assert_eq!((other, budget.used_bytes()), (0, MAX_RESPONDER_WAITING_BYTES));
        budget.release(Some(&mut peers[0]), 5);
        budget.release(None, 3);
        assert_eq!(
            (peers[0], budget.used_bytes()),
            (MAX_RESPONDER_PEER_WAITING_BYTES - 5, MAX_RESPONDER_WAITING_BYTES - 8)
        );
        assert!(!budget.reserve(&mut peers[1], 1) && !budget.reserve(&mut other, 9) && budget.reserve(&mut other, 8));
    }

    proptest! {
        /// However late the loop is, and in however many steps it works, the same replies are sent in the same order.
        #[test]
        fn the_lag_of_the_loop_changes_neither_the_order_nor_the_drops(
            mut arrivals in prop::collection::vec((0_u64..3_000_000_000, 0_u64..200_000_000), 1..100),
            lags in prop::collection::vec(1_000_000_u64..400_000_000, 1..20),
        ) {
            arrivals.sort_unstable();
            let stall = Stall::new(Duration::from_millis(50), Duration::from_millis(700));
            let config =
                ResponderConfig::default().with_max_rate(Some(Rate::per_second(30))).with_stall(stall);
            let run = |lags: &[u64]| {
                let (mut waiting, mut gate, mut sent) = (Waiting::default(), gate(config.clone()), Vec::new());
                let mut lags = lags.iter().cycle();
                let mut rest = arrivals.iter().enumerate().peekable();
                let mut now = 0;
                // A late loop receives several messages at once.
                while rest.peek().is_some() || waiting.next_moment().is_some() {
                    now += lags.next().copied().unwrap_or(1_000_000);
                    while let Some((nonce, (arrival, delay))) = rest.next_if(|(_, (arrival, _))| *arrival <= now) {
                        pong(&mut waiting, arrival + delay, nonce as u64);
                    }
                    sent.extend(popped(&mut waiting, &mut gate, now));
                }
                sent
            };
            let all_at_once = {
                let (mut waiting, mut gate) = (Waiting::default(), gate(config.clone()));
                arrivals.iter().enumerate().for_each(|(nonce, (arrival, delay))| {
                    pong(&mut waiting, arrival + delay, nonce as u64);
                });
                popped(&mut waiting, &mut gate, u64::MAX)
            };
            prop_assert_eq!(run(&lags), all_at_once);
        }
    }
}
