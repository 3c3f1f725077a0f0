//! The situations that runs reach, so that a test can show that a swarm has reached all of them.
//!
//! The list of all marks is fixed: close reasons, failed calls, hostile behaviours, messages in each state,
//! circumstances, refused requests, control events, refused hosts, decisions about the next dial, and situations of
//! peers with several streams.

use super::scenario::{ATTACKS, attack_at};
use super::scripted_attacker::{MESSAGES, ROWS, STATES};
use super::trouble::{FAILURES, failures};
use peerloop::api::{ControlEvent, NextDial};
use peerloop::error::{CloseReason, RequestError};
use peerloop::sim::Site;
use peerloop::sim::actor::{Reaction, Setup};
use peerloop::sim::invariant::StreamCase;
use std::fmt;

/// A situation that must arise somewhere in a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u16);

/// A set of marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks([u64; 7]);

/// The labels of the reasons for which a loop closes a connection in a swarm. Four labels are missing: `bad_checksum`
/// closes no connection; the framer refuses another network's magic as `bad_magic` before a `version` can be
/// `wrong_network`; the attack that causes `overlong_size` has marks of its own; nothing in a swarm causes
/// `local_source_address`.
const REASONS: [&str; 44] = [
    "bad_magic",
    "over_limit",
    "truncated_message",
    "non_canonical_size",
    "bad_value",
    "handshake_flood",
    "second_protoconf",
    "protocol_version",
    "wrong_blockchain",
    "banned_user_agent",
    "connect_timeout",
    "handshake_timeout",
    "pong_timeout",
    "header_timeout",
    "body_timeout",
    "send_stalled",
    "local_emfile",
    "local_eaddrnotavail",
    "local_enobufs",
    "refused",
    "reset",
    "aborted",
    "broken_pipe",
    "network_timeout",
    "host_unreachable",
    "network_unreachable",
    "io_error",
    "closed_by_peer",
    "rejected_by_peer",
    "requested",
    "retry_later",
    "unsuitable",
    "too_slow",
    "shutdown",
    "over_capacity",
    "field_too_long",
    "banned",
    "evicted",
    "duplicate",
    "self_connection",
    "ban_score",
    "intolerable",
    "became_stream",
    "stream_refused",
];

/// Circumstances of a run, each prefixed with the number of its fault (E) or threat (P) if it has one.
pub(super) const CIRCUMSTANCES: [&str; 27] = [
    "E1 no descriptor for an accept",
    "E4 no port for a dial",
    "E6 a paused host",
    "E14 a call that a signal interrupts",
    "E16 one byte at a time",
    "E22 a stop during the run",
    "P17 a cut network",
    "a reset from the network",
    "a second loop",
    "a poller like Linux's",
    "a mean poller",
    "a noisy poller",
    "a tiny poller",
    "few inbound slots",
    "short of memory",
    "a thousand peers",
    "shrunk budgets",
    "P12 gossiped addresses",
    "gossip is ignored",
    "a network is trusted",
    "a new fixed list",
    "a dropped fixed list",
    "an outage of minutes or hours",
    "a second handler",
    "a stream to a peer that dialled",
    "a stream to a dialled peer",
    "a stream from another host is refused",
];

/// The rare situations of peers with several streams, in the order of [`StreamCase::ALL`].
const CASES: [&str; StreamCase::ALL.len()] = [
    "a peer ended by the end of its further stream",
    "a graceful close that awaits another stream",
    "a pong on the first stream beside a body on another",
    "a first stream that is read after another",
];

/// The labels of the reasons for which a further stream fails.
const STREAM_FAILURES: [&str; 7] =
    ["handshake_timeout", "rejected_by_peer", "closed_by_peer", "bad_value", "refused", "reset", "local_eaddrnotavail"];

/// The kinds of control events that must occur in a swarm.
const REPORTED: [&str; 20] = [
    "connection_established",
    "handshake_complete",
    "connection_failed",
    "connection_lost",
    "connection_restarting",
    "inbound_rejected",
    "rejected_over_capacity",
    "peer_misbehaved",
    "peer_banned",
    "peer_unbanned",
    "peer_evicted",
    "listener_bound",
    "listener_bind_failed",
    "seed_resolved",
    "seed_failed",
    "book_failing",
    "book_recovered",
    "config_updated",
    "stream_opened",
    "stream_failed",
];

/// Reasons for which the loop refuses an inbound connection because of its host or the host's range.
const KEPT_OUT: [&str; 4] = ["banned", "host_full", "group_full", "too_fast"];

/// Decisions about the next dial of a failed address.
const NEXT: [&str; 4] = ["at once", "after a pause", "on request", "never"];

const REFUSALS: [&str; 10] = [
    "NoSuchPeer",
    "QueueFull",
    "NotReady",
    "TooManyPings",
    "NoPongs",
    "BodyOpen",
    "TooLargeForPeer",
    "Banned",
    "AddressTaken",
    "MaxPeers",
];

const FIRST_FAILURE: usize = REASONS.len();
const FIRST_ROW: usize = FIRST_FAILURE + failures_len();
const FIRST_ATTACK: usize = FIRST_ROW + 2 * ROWS.len();
const FIRST_CELL: usize = FIRST_ATTACK + 2 * ATTACKS as usize;
const FIRST_CIRCUMSTANCE: usize = FIRST_CELL + 2 * STATES.len() * MESSAGES.len();
const FIRST_REFUSAL: usize = FIRST_CIRCUMSTANCE + CIRCUMSTANCES.len();
const FIRST_REPORTED: usize = FIRST_REFUSAL + REFUSALS.len();
const FIRST_KEPT_OUT: usize = FIRST_REPORTED + REPORTED.len();
const FIRST_NEXT: usize = FIRST_KEPT_OUT + KEPT_OUT.len();
const FIRST_CASE: usize = FIRST_NEXT + NEXT.len();
const FIRST_STREAM_FAILURE: usize = FIRST_CASE + CASES.len();
const FIRST_SETUP: usize = FIRST_STREAM_FAILURE + STREAM_FAILURES.len();
const FIRST_REACTION: usize = FIRST_SETUP + Setup::ALL.len();
const COUNT: usize = FIRST_REACTION + Reaction::ALL.len();
const _: () = assert!(COUNT <= 7 * 64, "there are more marks than bits");

const fn failures_len() -> usize {
    let (mut len, mut at) = (0, 0);
    while at < FAILURES.len() {
        len += FAILURES[at].1.len();
        at += 1;
    }
    len
}

impl Mark {
    /// Returns every mark.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..COUNT as u16).map(Self)
    }

    /// Returns the mark of a connection that was closed for this reason, if the list of marks contains it.
    pub(super) fn reason(reason: &CloseReason) -> Option<Self> {
        let index = REASONS.iter().position(|label| *label == reason.label())?;
        Some(Self(index as u16))
    }

    /// Returns the mark of a refused request, if the list of marks contains it.
    pub(super) fn refusal(error: RequestError) -> Option<Self> {
        let name = format!("{error:?}");
        let index = REFUSALS.iter().position(|refusal| *refusal == name)?;
        Some(Self((FIRST_REFUSAL + index) as u16))
    }

    /// Returns the marks of a control event: its kind and, if the event has one, the reason for which a host is refused
    /// or the decision about an address's next dial.
    pub(super) fn of_control(event: &ControlEvent) -> impl Iterator<Item = Self> {
        let place = |first: usize, labels: &[&str], label: &str| {
            labels.iter().position(|known| *known == label).map(|index| Self((first + index) as u16))
        };
        let kind = place(FIRST_REPORTED, &REPORTED, event.label());
        let mut cause = None;
        if let ControlEvent::InboundRejected { refusal, .. } = event {
            cause = place(FIRST_KEPT_OUT, &KEPT_OUT, refusal.label());
        }
        if let ControlEvent::StreamFailed { reason, .. } = event {
            cause = place(FIRST_STREAM_FAILURE, &STREAM_FAILURES, reason.label());
        }
        if let ControlEvent::ConnectionFailed { next, .. } = event {
            let index = match next {
                NextDial::Restart => Some(0),
                NextDial::At(_) => Some(1),
                NextDial::Inaccessible => Some(2),
                NextDial::Never => Some(3),
                // `NextAddress` needs a fixed peer known by name, which no scenario has.
                _ => None,
            };
            cause = index.map(|index: usize| Self((FIRST_NEXT + index) as u16));
        }
        kind.into_iter().chain(cause)
    }

    /// Returns the mark of a hostile peer from [`ROWS`]. If `dials`, the peer dials the loop; otherwise the loop dials
    /// the peer.
    pub(super) fn row(row: usize, dials: bool) -> Self {
        Self((FIRST_ROW + 2 * row + usize::from(dials)) as u16)
    }

    pub(super) fn attack(attack: usize, dials: bool) -> Self {
        Self((FIRST_ATTACK + 2 * attack + usize::from(dials)) as u16)
    }

    pub(super) fn cell(state: usize, message: usize, dials: bool) -> Self {
        let cell = state * MESSAGES.len() + message;
        Self((FIRST_CELL + 2 * cell + usize::from(dials)) as u16)
    }

    pub(super) fn of_case(case: StreamCase) -> Self {
        Self((FIRST_CASE + case as usize) as u16)
    }

    pub(super) fn setup(setup: Setup) -> Self {
        Self((FIRST_SETUP + setup as usize) as u16)
    }

    pub(super) fn reaction(reaction: Reaction) -> Self {
        Self((FIRST_REACTION + reaction as usize) as u16)
    }

    /// Returns the mark of the only circumstance whose text begins with `begins`.
    pub(super) fn circumstance(begins: &str) -> Self {
        let mut found = (0..CIRCUMSTANCES.len()).filter(|&index| CIRCUMSTANCES[index].starts_with(begins));
        let (Some(index), None) = (found.next(), found.next()) else {
            panic!("not exactly one circumstance begins with {begins:?}")
        };
        Self((FIRST_CIRCUMSTANCE + index) as u16)
    }
}

impl Marks {
    pub(super) fn set(&mut self, mark: impl Into<Option<Mark>>) {
        if let Some(Mark(index)) = mark.into() {
            self.0[usize::from(index) / 64] |= 1 << (index % 64);
        }
    }

    /// Sets the marks of the failures that have happened.
    pub(super) fn set_failures(&mut self, has_happened: impl Fn(Site, i32) -> bool) {
        let happened = failures().enumerate().filter(|(_, (site, errno))| has_happened(*site, *errno));
        happened.for_each(|(index, _)| self.set(Mark((FIRST_FAILURE + index) as u16)));
    }

    /// Returns whether a mark is set.
    pub fn contains(&self, Mark(index): Mark) -> bool {
        self.0[usize::from(index) / 64] & 1 << (index % 64) != 0
    }

    /// Sets all marks that are set in `other`.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
    }

    /// Returns the marks that are not set.
    pub fn missing(&self) -> impl Iterator<Item = Mark> {
        Mark::all().filter(|mark| !self.contains(*mark))
    }

    /// Returns the number of marks that are set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Returns whether no mark is set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = usize::from(self.0);
        let direction = |index: usize| if index % 2 == 1 { "dialling" } else { "dialled" };
        if index < FIRST_FAILURE {
            write!(f, "closed: {}", REASONS[index])
        } else if index < FIRST_ROW {
            let (site, errno) = failures().nth(index - FIRST_FAILURE).expect("the index is in the table");
            write!(f, "{site:?} failed with errno {errno}")
        } else if index < FIRST_ATTACK {
            let row = &ROWS[(index - FIRST_ROW) / 2];
            write!(f, "{row:?}, {}", direction(index - FIRST_ROW))
        } else if index < FIRST_CELL {
            let attack = attack_at((index - FIRST_ATTACK) / 2);
            write!(f, "{} ({}), {}", attack.threat, attack.name, direction(index - FIRST_ATTACK))
        } else if index < FIRST_CIRCUMSTANCE {
            let cell = (index - FIRST_CELL) / 2;
            let (state, message) = (STATES[cell / MESSAGES.len()], MESSAGES[cell % MESSAGES.len()]);
            write!(f, "{message} at {state:?}, {}", direction(index - FIRST_CELL))
        } else if index < FIRST_REFUSAL {
            f.write_str(CIRCUMSTANCES[index - FIRST_CIRCUMSTANCE])
        } else if index < FIRST_REPORTED {
            write!(f, "refused with {}", REFUSALS[index - FIRST_REFUSAL])
        } else if index < FIRST_KEPT_OUT {
            write!(f, "reported {}", REPORTED[index - FIRST_REPORTED])
        } else if index < FIRST_NEXT {
            write!(f, "host refused: {}", KEPT_OUT[index - FIRST_KEPT_OUT])
        } else if index < FIRST_CASE {
            write!(f, "next dial: {}", NEXT[index - FIRST_NEXT])
        } else if index < FIRST_STREAM_FAILURE {
            f.write_str(CASES[index - FIRST_CASE])
        } else if index < FIRST_SETUP {
            write!(f, "a stream failed: {}", STREAM_FAILURES[index - FIRST_STREAM_FAILURE])
        } else if index < FIRST_REACTION {
            write!(f, "a peer with two streams that dials: {:?}", Setup::ALL[index - FIRST_SETUP])
        } else {
            write!(f, "a peer with two streams that is dialled: {:?}", Reaction::ALL[index - FIRST_REACTION])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_has_a_unique_name() {
        let mut names: Vec<String> = Mark::all().map(|mark| mark.to_string()).collect();
        assert_eq!(names.len(), COUNT);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), COUNT);
    }

    #[test]
    fn a_set_contains_exactly_the_marks_that_were_set() {
        let mut marks = Marks::default();
        assert!(marks.is_empty());
        for mark in Mark::all().step_by(7) {
            marks.set(mark);
        }
        assert!(Mark::all().enumerate().all(|(index, mark)| marks.contains(mark) == (index % 7 == 0)));
        assert_eq!(marks.len() + marks.missing().count(), COUNT);
        let mut all = Marks::default();
        Mark::all().for_each(|mark| all.set(mark));
        marks.merge(&all);
        assert_eq!((marks, marks.missing().next()), (all, None));
    }
}
