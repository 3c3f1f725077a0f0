//! A host's poller. Each of its personalities reports new events in a different legal way.
//!
//! An event is an edge: it is queued once when something new can be seen, and shows the state at the moment when it
//! is collected. A host may rely only on the behaviour that all personalities share. No personality ever loses an event
//! that a host needs. A wait shows every event of an earlier moment, up to [`EVENTS_PER_TURN`].

use super::connection::{Edge, EndId, Mask};
use super::tape::Chance;
use crate::limits::EVENTS_PER_TURN;
use crate::net::Readiness;
use crate::time::Instant;
use std::collections::VecDeque;

/// The behaviour of a host's poller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Poller {
    /// Like epoll: every arrival causes an event, even if earlier data is unread, and an event shows the whole state.
    #[default]
    Linux,
    /// The minimum on which a host may rely. It reports new data only after the host has drained the earlier data: the
    /// host's last read was short or returned `WouldBlock`. An event shows only the readiness that caused it, unless it
    /// reports the connection's end.
    Mean,
    /// Like [`Poller::Linux`], plus events that have no cause, are repeated, or are for a closed socket.
    Noisy,
    /// Like [`Poller::Linux`], but events are shown in random order, and each wait shows at most three of them until
    /// the clock advances.
    Tiny,
}

/// Maximum number of tokens that a [`Poller::Noisy`] remembers for its false events.
const MAX_RECENT: usize = 8;

/// A notification for a host.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pending {
    Link(EndId),
    Listener(u32),
    Forged(Readiness),
}

/// One host's events that wait to be collected.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) poller: Poller,
    events: VecDeque<Pending>,
    /// The moment at which the first event entered the empty queue.
    waits_since: Instant,
    recent: Vec<u64>,
}

impl Queue {
    /// Discards all events, because they do not outlive the process that they are for.
    pub(super) fn renew(&mut self) {
        *self = Self { poller: self.poller, ..Self::default() };
    }

    pub(super) fn push(&mut self, pending: Pending, now: Instant) {
        if self.events.is_empty() {
            self.waits_since = now;
        }
        self.events.push_back(pending);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Returns whether an event from before `now` waits. The next wait must show such an event.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        !self.is_empty() && self.waits_since < now
    }

    /// Returns the maximum number of events that the next wait shows.
    pub(super) fn len_to_show(&self, now: Instant, chance: &Chance) -> usize {
        match self.poller {
            Poller::Tiny if !self.is_late(now) && !self.is_empty() => 3 - chance.below(3) as usize,
            Poller::Linux | Poller::Mean | Poller::Noisy | Poller::Tiny => EVENTS_PER_TURN,
        }
    }

    pub(super) fn pop(&mut self, chance: &Chance) -> Option<Pending> {
        match self.poller {
            Poller::Tiny if self.events.len() > 1 => {
                let at = chance.below(u32::try_from(self.events.len()).unwrap_or(u32::MAX));
                self.events.swap_remove_front(at as usize)
            }
            Poller::Linux | Poller::Mean | Poller::Noisy | Poller::Tiny => self.events.pop_front(),
        }
    }

    /// Adds a noisy poller's false events.
    pub(super) fn add_noise(&mut self, ready: &mut Vec<Readiness>, chance: &Chance) {
        if self.poller != Poller::Noisy {
            return;
        }
        for event in &*ready {
            if self.recent.len() == MAX_RECENT {
                self.recent.remove(0);
            }
            self.recent.push(event.token);
        }
        if !ready.is_empty() && ready.len() < EVENTS_PER_TURN && chance.one_in(4) {
            ready.push(*chance.pick(ready));
        }
        if !self.recent.is_empty() && ready.len() < EVENTS_PER_TURN && chance.one_in(4) {
            let (token, hung_up) = (*chance.pick(&self.recent), chance.one_in(8));
            ready.push(Readiness { token, readable: true, writable: true, hung_up });
        }
    }
}

impl Poller {
    /// Returns the part of a notification that is queued for an endpoint. `is_drained` states whether the endpoint's
    /// reader knows that it has read everything.
    pub(super) fn edge(self, edge: Edge, is_drained: bool) -> Edge {
        match self {
            Self::Mean => Edge { readable: edge.readable && is_drained, ..edge },
            Self::Linux | Self::Noisy | Self::Tiny => edge,
        }
    }

    /// Returns the part of an endpoint's state that an event shows. `owed` is the readiness that caused the event.
    pub(super) fn shown(self, mask: Mask, owed: Edge) -> Mask {
        match self {
            Self::Mean if !mask.hung_up => Mask {
                readable: mask.readable && owed.readable,
                writable: mask.writable && owed.writable,
                hung_up: false,
            },
            Self::Linux | Self::Mean | Self::Noisy | Self::Tiny => mask,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tape::Tape;
    use super::*;

    fn queue_of(poller: Poller, count: u32) -> Queue {
        let mut queue = Queue { poller, ..Queue::default() };
        (0..count).for_each(|index| queue.push(Pending::Listener(index), Instant::from_nanos(5)));
        queue
    }

    fn popped(queue: &mut Queue, chance: &Chance) -> Vec<u32> {
        let index = |pending| match pending {
            Pending::Listener(index) => index,
            Pending::Link(_) | Pending::Forged(_) => panic!("not a listener's event: {pending:?}"),
        };
        std::iter::from_fn(|| queue.pop(chance)).map(index).collect()
    }

    #[test]
    fn a_tiny_poller_shows_few_new_events_and_all_earlier_ones() {
        let chance = Tape::from_seed(1).stream(0);
        let queue = queue_of(Poller::Tiny, 100);
        let shown = |nanos| queue.len_to_show(Instant::from_nanos(nanos), &chance);
        let at_once: Vec<usize> = (0..50).map(|_| shown(5)).collect();
        assert!(at_once.iter().all(|count| (1..=3).contains(count)), "{at_once:?}");
        assert!((1..=3).all(|count| at_once.contains(&count)), "{at_once:?}");
        assert_eq!(shown(6), EVENTS_PER_TURN);
        assert_eq!(queue_of(Poller::Linux, 100).len_to_show(Instant::from_nanos(5), &chance), EVENTS_PER_TURN);
    }

    #[test]
    fn a_tiny_poller_shuffles_events_and_loses_none() {
        let chance = Tape::from_seed(1).stream(0);
        let in_order: Vec<u32> = (0..20).collect();
        assert_eq!(popped(&mut queue_of(Poller::Linux, 20), &chance), in_order);
        let mut shuffled = popped(&mut queue_of(Poller::Tiny, 20), &chance);
        assert_ne!(shuffled, in_order);
        shuffled.sort_unstable();
        assert_eq!(shuffled, in_order);
    }

    #[test]
    fn a_noisy_poller_repeats_events_and_invents_others_for_recent_tokens() {
        let chance = Tape::from_seed(1).stream(0);
        let mut queue = queue_of(Poller::Noisy, 0);
        let (mut repeated, mut invented) = (0, 0);
        for token in 0..100 {
            let real = Readiness { token, readable: true, writable: false, hung_up: false };
            let mut ready = vec![real];
            queue.add_noise(&mut ready, &chance);
            assert_eq!(ready[0], real);
            repeated += ready[1..].iter().filter(|event| **event == real).count();
            invented += ready[1..].iter().filter(|event| event.writable).count();
            assert!(ready.iter().all(|event| event.token <= token && event.token + 8 > token));
        }
        assert!(repeated > 10 && invented > 10, "{repeated} {invented}");
        let mut ready = Vec::new();
        queue_of(Poller::Linux, 0).add_noise(&mut ready, &chance);
        assert_eq!(ready, []);
    }

    #[test]
    fn a_mean_poller_reports_new_data_only_to_a_drained_reader_and_shows_only_the_cause_of_an_event() {
        let edge = Edge { readable: true, writable: true };
        assert_eq!(Poller::Mean.edge(edge, false), Edge { readable: false, writable: true });
        assert_eq!(Poller::Mean.edge(edge, true), edge);
        assert_eq!(Poller::Linux.edge(edge, false), edge);
        let mask = Mask { readable: true, writable: true, hung_up: false };
        let owed = Edge { readable: true, writable: false };
        assert_eq!(Poller::Mean.shown(mask, owed), Mask { writable: false, ..mask });
        assert_eq!(Poller::Linux.shown(mask, owed), mask);
        let ended = Mask { hung_up: true, ..mask };
        assert_eq!(
            Poller::Mean.shown(ended, owed),
            ended,
            "an event that reports the end does not show the whole state"
        );
    }
}
