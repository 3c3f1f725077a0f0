//! The moments at which a pipe acts without an event of a node.
//!
//! There are at most five, so they lie in an array, and the loop wakes the pipe at the earliest.

use super::side::Side;
use crate::handler::Ctx;
use crate::time::Instant;

/// An action that is due at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Dial the node again.
    Dial(Side),
    /// Stop waiting for the probed node's `protoconf`.
    Limits(Side),
    /// Close a ready node whose opposite node is not ready.
    Alone,
}

/// The moment of each action that is to be done.
#[derive(Debug, Default)]
pub(super) struct Deadlines([Option<Instant>; 5]);

const ALL: [Due; 5] = [Due::Dial(Side::A), Due::Dial(Side::B), Due::Limits(Side::A), Due::Limits(Side::B), Due::Alone];

impl Due {
    const fn index(self) -> usize {
        match self {
            Self::Dial(side) => side.index(),
            Self::Limits(side) => 2 + side.index(),
            Self::Alone => 4,
        }
    }
}

impl Deadlines {
    /// Sets the moment of an action; an earlier moment of the same action no longer counts.
    pub(super) fn set(&mut self, due: Due, at: Instant, ctx: &mut Ctx<'_>) {
        self.0[due.index()] = Some(at);
        ctx.wake_at(at);
    }

    pub(super) fn is_set(&self, due: Due) -> bool {
        self.0[due.index()].is_some()
    }

    pub(super) fn cancel(&mut self, due: Due) {
        self.0[due.index()] = None;
    }

    /// Removes and returns an action that is due at `now`.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Due> {
        ALL.into_iter().find(|due| self.0[due.index()].take_if(|at| *at <= now).is_some())
    }

    /// Requests a wake-up at the earliest moment.
    pub(super) fn ask(&self, ctx: &mut Ctx<'_>) {
        if let Some(at) = self.0.iter().flatten().min() {
            ctx.wake_at(*at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_its_own_place_and_is_due_once() {
        let mut deadlines = Deadlines::default();
        for (nanos, due) in (1..).zip(ALL) {
            deadlines.0[due.index()] = Some(Instant::from_nanos(nanos));
        }
        assert_eq!(deadlines.take_due(Instant::ZERO), None);
        for (nanos, due) in (1..).zip(ALL) {
            assert!(deadlines.is_set(due));
            assert_eq!(deadlines.take_due(Instant::from_nanos(nanos)), Some(due));
            assert_eq!(deadlines.take_due(Instant::from_nanos(nanos)), None);
        }
    }
}
