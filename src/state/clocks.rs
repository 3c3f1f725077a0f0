//! The loop's time, and the moment at which the handler asked to be called.
//!
//! The reactor sets both clocks; nothing here reads one. Time never runs backwards: a clock that stepped back would let
//! deadlines pass twice.

use crate::time::{Instant, Moment, UnixTime};

/// The loop's present moment, and the moments that count from it.
#[derive(Debug)]
pub(crate) struct Clocks {
    moment: Moment,
    /// All input that arrived before this moment is listed in the table or was looked at.
    pub(crate) input_seen_until: Instant,
    /// The earliest moment that the handler asked for.
    wake_at: Option<Instant>,
}

impl Clocks {
    pub(crate) fn new(now: Instant) -> Self {
        Self { moment: Moment { now, unix: UnixTime::default() }, input_seen_until: now, wake_at: None }
    }

    /// Returns the moment of what is being handled.
    pub(crate) fn now(&self) -> Instant {
        self.moment.now
    }

    /// Returns the wall time when the turn began, for version stamps and ban expiry.
    pub(crate) fn unix(&self) -> UnixTime {
        self.moment.unix
    }

    /// Returns the time by both clocks.
    pub(crate) fn moment(&self) -> Moment {
        self.moment
    }

    /// Moves the monotonic clock on to `now`, or leaves it where it is if that is earlier.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.moment.now = now.max(self.moment.now);
    }

    /// Sets the wall clock.
    pub(crate) fn set_unix(&mut self, unix: UnixTime) {
        self.moment.unix = unix;
    }

    /// Returns the earliest moment that the handler asked for.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    /// Adds a moment at which the handler is to be called; only the earliest is kept.
    pub(crate) fn ask_wake(&mut self, moment: Instant) {
        self.wake_at = Some(self.wake_at.map_or(moment, |asked| asked.min(moment)));
    }

    /// Returns the moment that the handler asked for if it has come, and forgets it.
    pub(crate) fn take_due_wake(&mut self) -> Option<Instant> {
        self.wake_at.take_if(|asked| *asked <= self.moment.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_runs_backwards() {
        let mut clocks = Clocks::new(Instant::from_nanos(5));
        clocks.advance(Instant::from_nanos(7));
        clocks.advance(Instant::from_nanos(6));
        assert_eq!(clocks.now(), Instant::from_nanos(7));
    }

    #[test]
    fn the_earliest_moment_asked_for_is_due_once() {
        let mut clocks = Clocks::new(Instant::ZERO);
        [9, 4, 6].into_iter().for_each(|nanos| clocks.ask_wake(Instant::from_nanos(nanos)));
        clocks.advance(Instant::from_nanos(3));
        assert_eq!(clocks.take_due_wake(), None);
        clocks.advance(Instant::from_nanos(5));
        assert_eq!(clocks.take_due_wake(), Some(Instant::from_nanos(4)));
        assert_eq!((clocks.take_due_wake(), clocks.wake_at()), (None, None));
    }
}
