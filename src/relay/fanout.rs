//! The order in which peers receive announcements: a rotation that visits every peer after each acceptance.
//!
//! A visit brings one peer up to date. The rotation begins with a small slice of peers in the turn of the acceptance,
//! so that the first of them receive the announcement before the others are prepared. Later turns visit larger slices,
//! but a busy loop keeps them small, so that new transactions do not wait for long. While the loop is busy with many
//! transactions, the visits are spread evenly over a fixed interval: each peer is visited once per interval, so
//! announcements become larger instead of more frequent, and some peer still receives each of them at once. The module
//! sends nothing.

use super::inventory::{NONE, PeerIndex};
use crate::limits::{RELAY_BUSY_SLICE, RELAY_FIRST_SLICE, RELAY_INTERVAL, RELAY_MAX_INTERVAL, RELAY_MAX_SLICE, TICK};
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// The shortest time over which the loop's share of busy time and the rate of transactions are measured.
const MEASURE: Duration = Duration::from_millis(20);
/// A measurement over more than this time includes a pause, so it says nothing about the current load.
const MAX_MEASURE: Duration = Duration::from_millis(200);
/// The visits are spread if an interval brings at least this many transactions.
const MIN_BATCH: u64 = 4;
/// By this many places the first peer of a rotation differs from that of the one before. It has no small factors.
const SHIFT: usize = 37;

/// The peers that receive announcements, and the progress of the rotation.
#[derive(Debug)]
pub(super) struct Fanout {
    members: Vec<PeerIndex>,
    /// The place of the next visit.
    at: usize,
    /// The number of visits so far.
    visits: u64,
    /// Positions of the log, each with the number of visits after which all peers have passed it.
    pending: VecDeque<(u64, u64)>,
    slice: usize,
    /// The maximum size of a slice.
    max_slice: usize,
    /// Whether the slice of this turn is shorter than the visits that are due.
    is_cut: bool,
    /// Whether the visits are spread over an interval.
    is_spread: bool,
    interval: Duration,
    /// The moment up to which the visits of a spread rotation have been made.
    visited_until: Instant,
    /// The last measurement: its moment, and the busy time and the head of the log at that moment.
    measured: (Instant, Duration, u64),
}

/// The next step of the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    /// Bring this peer up to date. If there is a position, this is the last peer to pass it.
    Peer(PeerIndex, Option<u64>),
    /// The slice of this turn is over; continue in the next turn.
    NextTurn,
    /// The slice is over; continue at this moment.
    Wait(Instant),
    /// All peers are up to date.
    Done,
}

impl Fanout {
    pub(super) fn new() -> Self {
        Self {
            members: Vec::new(),
            at: 0,
            visits: 0,
            pending: VecDeque::new(),
            slice: 0,
            max_slice: RELAY_MAX_SLICE,
            is_cut: false,
            is_spread: false,
            interval: RELAY_INTERVAL,
            visited_until: Instant::ZERO,
            measured: (Instant::ZERO, Duration::ZERO, 0),
        }
    }

    /// Returns whether no peer receives announcements.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Adds a peer, and returns its place.
    pub(super) fn add(&mut self, peer: PeerIndex) -> u32 {
        self.members.push(peer);
        // The rotation also passes the new place, so all others need one more visit.
        self.pending.iter_mut().for_each(|(ends, _)| *ends += 1);
        self.members.len() as u32 - 1
    }

    /// Removes the peer at a place, and returns the peer that has moved to that place.
    pub(super) fn remove(&mut self, place: u32) -> Option<PeerIndex> {
        if place == NONE || place as usize >= self.members.len() {
            return None;
        }
        self.members.swap_remove(place as usize);
        // The moved peer may have been skipped, so every position that is pending needs a whole rotation again.
        if let Some(&(_, head)) = self.pending.back() {
            self.pending.clear();
            self.accepted(head);
        }
        self.members.get(place as usize).copied()
    }

    /// Requests a visit to every peer for the positions below `head`.
    pub(super) fn accepted(&mut self, head: u64) {
        if self.members.is_empty() {
            return;
        }
        if self.pending.is_empty() {
            self.slice = 0;
            self.at += SHIFT;
        }
        let ends = self.visits + self.members.len() as u64;
        match self.pending.back_mut() {
            Some((last, to)) if *last == ends => *to = head,
            Some(_) | None => self.pending.push_back((ends, head)),
        }
    }

    /// Begins the slice of a turn, and returns the maximum number of its visits. `busy` is the loop's busy time so far,
    /// and `head` the head of the log.
    pub(super) fn begin_slice(&mut self, now: Instant, busy: Duration, head: u64) -> usize {
        self.measure(now, busy, head);
        if !self.is_spread {
            self.slice = (self.slice * 2).clamp(RELAY_FIRST_SLICE, self.max_slice);
            return self.slice;
        }
        let members = self.members.len().max(1) as u64;
        let per_visit = Duration::from_nanos(self.interval.as_nanos() as u64 / members).max(Duration::from_nanos(1));
        // Visits that are late by more than an interval are not made up for, because each peer was skipped once.
        self.visited_until = self.visited_until.max(now.minus(self.interval));
        let due = now.since(self.visited_until).as_nanos() / per_visit.as_nanos();
        let slice = due.min(RELAY_BUSY_SLICE as u128) as u32;
        self.is_cut = due > u128::from(slice);
        self.visited_until = self.visited_until.plus(per_visit * slice);
        slice as usize
    }

    fn measure(&mut self, now: Instant, busy: Duration, head: u64) {
        let (since, busy_before, head_before) = self.measured;
        let elapsed = now.since(since);
        if elapsed >= MEASURE {
            let busy_percent = busy.saturating_sub(busy_before).as_nanos() * 100 / elapsed.as_nanos();
            let is_busy = busy_percent > 50;
            // Larger announcements cost less. Without them, a loop without idle time would fall behind. A rotation that
            // is not spread uses all the time that there is, which says nothing about the interval.
            let factor = match busy_percent {
                0..70 => 0.9,
                70..82 => 0.98,
                82..90 => 1.0,
                _ if self.is_spread => 1.1,
                _ => 1.0,
            };
            self.interval = self.interval.mul_f64(factor).clamp(RELAY_INTERVAL, RELAY_MAX_INTERVAL);
            let accepted = u128::from(head - head_before);
            let has_batches = accepted * RELAY_INTERVAL.as_nanos() >= u128::from(MIN_BATCH) * elapsed.as_nanos();
            self.max_slice = if is_busy { RELAY_BUSY_SLICE } else { RELAY_MAX_SLICE };
            let was_spread = self.is_spread;
            self.is_spread = is_busy && has_batches && elapsed <= MAX_MEASURE;
            if !was_spread {
                self.visited_until = now;
            }
            self.measured = (now, busy, head);
        }
    }

    /// Returns the next step, if `remaining` visits remain in this turn's slice.
    pub(super) fn next(&mut self, remaining: usize, now: Instant) -> Visit {
        if self.pending.is_empty() || self.members.is_empty() {
            self.pending.clear();
            return Visit::Done;
        }
        if remaining == 0 {
            return if self.is_spread && !self.is_cut { Visit::Wait(now.plus(TICK)) } else { Visit::NextTurn };
        }
        self.at = (self.at + 1) % self.members.len();
        self.visits += 1;
        let mut passed = None;
        while let Some(&(ends, head)) = self.pending.front().filter(|(ends, _)| *ends <= self.visits) {
            debug_assert_eq!(ends, self.visits, "a visit was skipped");
            passed = Some(head);
            self.pending.pop_front();
        }
        Visit::Peer(self.members[self.at], passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn run(fanout: &mut Fanout, now: Instant, visit: impl FnMut(PeerIndex, Option<u64>)) -> Visit {
        fanout.measured.0 = now;
        run_at(fanout, now, visit)
    }

    fn run_at(fanout: &mut Fanout, now: Instant, mut visit: impl FnMut(PeerIndex, Option<u64>)) -> Visit {
        let mut remaining = fanout.begin_slice(now, fanout.measured.1, fanout.measured.2);
        loop {
            match fanout.next(remaining, now) {
                Visit::Peer(peer, passed) => visit(peer, passed),
                other => return other,
            }
            remaining -= 1;
        }
    }

    #[test]
    fn a_rotation_visits_each_peer_once_in_growing_slices() {
        let mut fanout = Fanout::new();
        (0..1_000).for_each(|peer| {
            let _ = fanout.add(peer);
        });
        let mut firsts = Vec::new();
        for head in 1..4 {
            fanout.accepted(head);
            let (mut visited, mut sizes) = (Vec::new(), Vec::new());
            loop {
                let before = visited.len();
                let next = run(&mut fanout, Instant::ZERO, |peer, passed| {
                    visited.push(peer);
                    assert_eq!(passed, (visited.len() == 1_000).then_some(head));
                });
                sizes.push(visited.len() - before);
                if next == Visit::Done {
                    break;
                }
                assert_eq!(next, Visit::NextTurn);
            }
            firsts.push(visited[0]);
            visited.sort_unstable();
            assert_eq!(visited, (0..1_000).collect::<Vec<_>>());
            assert_eq!(sizes[..5], [16, 32, 64, 96, 96]);
            assert_eq!(sizes.len(), 13);
        }
        firsts.dedup();
        assert_eq!(firsts.len(), 3, "the rotation begins with the same peer");
    }

    #[test]
    fn a_busy_loop_visits_small_slices() {
        let mut fanout = Fanout::new();
        (0..100).for_each(|peer| {
            let _ = fanout.add(peer);
        });
        let now = Instant::ZERO.plus(MEASURE);
        fanout.accepted(1);
        assert_eq!(fanout.begin_slice(now, MEASURE * 51 / 100, 0), 16);
        assert_eq!([(); 3].map(|()| fanout.begin_slice(now, MEASURE, 0)), [24; 3]);
        assert_eq!(fanout.begin_slice(now.plus(MEASURE), MEASURE, 0), 48);
    }

    #[test]
    fn an_acceptance_during_a_rotation_adds_only_the_missing_visits() {
        let mut fanout = Fanout::new();
        (0..100).for_each(|peer| {
            let _ = fanout.add(peer);
        });
        fanout.accepted(1);
        let mut visits = 0;
        run(&mut fanout, Instant::ZERO, |_, _| visits += 1);
        fanout.accepted(2);
        fanout.accepted(3);
        let mut passed = Vec::new();
        while run(&mut fanout, Instant::ZERO, |_, position| {
            visits += 1;
            passed.extend(position.map(|position| (visits, position)));
        }) != Visit::Done
        {}
        assert_eq!(passed, [(100, 1), (116, 3)]);
    }

    #[test]
    fn a_busy_loop_spreads_its_visits_over_an_interval() {
        for (busy_millis, accepted, is_spread) in [(50, 1_000, false), (51, 1_000, true), (90, 40, false)] {
            let mut fanout = Fanout::new();
            (0..1_000).for_each(|peer| {
                let _ = fanout.add(peer);
            });
            let mut now = Instant::ZERO.plus(Duration::from_millis(100));
            fanout.begin_slice(now, Duration::from_millis(busy_millis), accepted);
            assert_eq!(fanout.is_spread, is_spread, "{busy_millis} ms for {accepted}");
            if !is_spread {
                continue;
            }
            fanout.accepted(accepted + 1);
            let (mut visits, began) = (0, now);
            loop {
                now = now.plus(Duration::from_micros(500));
                let mut next = Visit::NextTurn;
                while next == Visit::NextTurn {
                    next = run_at(&mut fanout, now, |_, _| visits += 1);
                }
                if next == Visit::Done {
                    break;
                }
                assert_eq!(next, Visit::Wait(now.plus(TICK)));
            }
            let took = now.since(began);
            assert_eq!(visits, 1_000);
            assert!(took <= RELAY_INTERVAL && took + Duration::from_millis(2) >= RELAY_INTERVAL, "{took:?}");
        }
    }

    #[test]
    fn the_interval_grows_while_there_is_no_idle_time_and_shrinks_again() {
        let mut fanout = Fanout::new();
        let (mut now, mut busy, mut head) = (Instant::ZERO, Duration::ZERO, 0);
        let mut run_with = |fanout: &mut Fanout, busy_percent: u32, accepted: u64| {
            for _ in 0..50 {
                now = now.plus(MEASURE);
                busy += MEASURE * busy_percent / 100;
                head += accepted;
                fanout.begin_slice(now, busy, head);
            }
            fanout.interval
        };
        assert_eq!(run_with(&mut fanout, 89, 100), RELAY_INTERVAL);
        run_with(&mut fanout, 50, 0);
        assert_eq!(run_with(&mut fanout, 90, 0), RELAY_INTERVAL, "the visits are not spread");
        assert_eq!(run_with(&mut fanout, 90, 100), RELAY_MAX_INTERVAL);
        assert_eq!(run_with(&mut fanout, 82, 100), RELAY_MAX_INTERVAL);
        assert!((RELAY_INTERVAL..RELAY_MAX_INTERVAL).contains(&run_with(&mut fanout, 81, 100)));
        assert_eq!(run_with(&mut fanout, 69, 100), RELAY_INTERVAL);
    }

    #[test]
    fn late_visits_are_made_up_for_up_to_one_interval() {
        for (late, expected) in [(Duration::from_millis(3), 428), (RELAY_INTERVAL, 1_000), (RELAY_INTERVAL * 9, 1_000)]
        {
            let mut fanout = Fanout::new();
            (0..1_000).for_each(|peer| {
                let _ = fanout.add(peer);
            });
            let now = Instant::ZERO.plus(Duration::from_millis(100));
            fanout.begin_slice(now, Duration::from_millis(80), 1_000);
            (fanout.is_spread, fanout.visited_until) = (true, now);
            (0..9).for_each(|head| fanout.accepted(1_001 + head));
            let (now, mut visits) = (now.plus(late), 0);
            fanout.measured.0 = now;
            while run_at(&mut fanout, now, |_, _| visits += 1) == Visit::NextTurn {}
            assert_eq!(visits, expected, "{late:?}");
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Accept,
        Slice,
        Add,
        Remove(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Accept),
            3 => Just(Step::Slice),
            1 => Just(Step::Add),
            1 => (0..100_usize).prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn every_member_passes_every_position(steps in prop::collection::vec(step(), 0..200)) {
            let mut fanout = Fanout::new();
            // The cursor and the place of each member.
            let mut members: BTreeMap<PeerIndex, (u64, u32)> = BTreeMap::new();
            let (mut head, mut next) = (0, 0);
            for step in steps.into_iter().chain(std::iter::repeat_n(Step::Slice, 100)) {
                match step {
                    Step::Accept => {
                        head += 1;
                        fanout.accepted(head);
                    }
                    Step::Slice => {
                        run(&mut fanout, Instant::ZERO, |peer, passed| {
                            members.get_mut(&peer).expect("only members are visited").0 = head;
                            if let Some(passed) = passed {
                                assert!(members.values().all(|(cursor, _)| *cursor >= passed));
                            }
                        });
                    }
                    Step::Add => {
                        members.insert(next, (head, fanout.add(next)));
                        next += 1;
                    }
                    Step::Remove(at) => {
                        let Some((&peer, &(_, place))) = members.iter().nth(at) else { continue };
                        members.remove(&peer);
                        if let Some(moved) = fanout.remove(place) {
                            members.get_mut(&moved).expect("only members move").1 = place;
                        }
                    }
                }
            }
            prop_assert!(members.values().all(|(cursor, _)| *cursor == head));
        }
    }
}
