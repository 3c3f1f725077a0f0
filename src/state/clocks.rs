//! The loop's time, and the wake-ups that handlers requested: at most one for each lane. A lane is the loop's handler
//! or a part of a composed handler.
//!
//! The reactor sets the monotonic clock and the wall clock; this module never reads the operating system's clocks.
//! The monotonic clock never runs backwards, because otherwise deadlines could expire twice.

use crate::id::Lane;
use crate::time::{Instant, Moment, UnixTime};

/// The loop's current moment, and the wake-ups of its handlers.
#[derive(Debug)]
pub(crate) struct Clocks {
    moment: Moment,
    /// All input that arrived before this moment has been read, or its link is listed as ready in the table.
    pub(crate) input_seen_until: Instant,
    /// The earliest wake-up requested in [`Lane::ROOT`], the lane of the loop's own handler.
    wake_at: Option<Instant>,
    /// The earliest wake-up of each part of a composed handler. A part is added when it first requests a wake-up, so
    /// the list is empty unless handlers are composed.
    parts_wake_at: Vec<(Lane, Option<Instant>)>,
    /// The number of wake-ups that were due and made.
    woken: u64,
}

impl Clocks {
    pub(crate) fn new(now: Instant) -> Self {
        let moment = Moment { now, unix: UnixTime::default() };
        Self { moment, input_seen_until: now, wake_at: None, parts_wake_at: Vec::new(), woken: 0 }
    }

    /// Returns the loop's current moment on the monotonic clock.
    pub(crate) fn now(&self) -> Instant {
        self.moment.now
    }

    /// Returns the wall time that the reactor last set, usually at the turn's start.
    pub(crate) fn unix(&self) -> UnixTime {
        self.moment.unix
    }

    /// Returns [`Clocks::now`] and [`Clocks::unix`] as one moment.
    pub(crate) fn moment(&self) -> Moment {
        self.moment
    }

    /// Advances the monotonic clock to `now`; an earlier moment has no effect.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.moment.now = now.max(self.moment.now);
    }

    /// Sets the wall clock.
    pub(crate) fn set_unix(&mut self, unix: UnixTime) {
        self.moment.unix = unix;
    }

    /// Returns the earliest wake-up of all handlers.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.parts_wake_at.iter().filter_map(|&(_, asked)| asked).chain(self.wake_at).min()
    }

    /// Adds a wake-up for the handler of `lane`. Only the earliest wake-up of a lane is kept.
    pub(crate) fn ask_wake(&mut self, lane: Lane, moment: Instant) {
        let asked = if lane == Lane::ROOT { &mut self.wake_at } else { self.part_wake_at(lane) };
        *asked = Some(asked.map_or(moment, |asked| asked.min(moment)));
    }

    fn part_wake_at(&mut self, lane: Lane) -> &mut Option<Instant> {
        let known = self.parts_wake_at.iter().position(|&(of, _)| of == lane);
        let index = known.unwrap_or_else(|| {
            self.parts_wake_at.push((lane, None));
            self.parts_wake_at.len() - 1
        });
        &mut self.parts_wake_at[index].1
    }

    /// Returns the number of lanes that may have a wake-up. [`Clocks::take_due_wake`] accepts each index below this
    /// number.
    pub(crate) fn wakes(&self) -> usize {
        1 + self.parts_wake_at.len()
    }

    /// Removes the wake-up at `index` if it is due, and returns its lane and moment.
    pub(crate) fn take_due_wake(&mut self, index: usize) -> Option<(Lane, Instant)> {
        let (lane, asked) = match index.checked_sub(1) {
            None => (Lane::ROOT, &mut self.wake_at),
            Some(part) => self.parts_wake_at.get_mut(part).map(|(lane, asked)| (*lane, asked))?,
        };
        let asked = asked.take_if(|asked| *asked <= self.moment.now)?;
        self.woken += 1;
        Some((lane, asked))
    }

    /// Returns the number of wake-ups that were due and made.
    #[cfg(feature = "sim")]
    pub(crate) fn woken(&self) -> u64 {
        self.woken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_never_runs_backwards() {
        let mut clocks = Clocks::new(Instant::from_nanos(5));
        clocks.advance(Instant::from_nanos(7));
        clocks.advance(Instant::from_nanos(6));
        assert_eq!(clocks.now(), Instant::from_nanos(7));
    }

    #[test]
    fn the_earliest_wake_up_is_due_once() {
        let mut clocks = Clocks::new(Instant::ZERO);
        [9, 4, 6].into_iter().for_each(|nanos| clocks.ask_wake(Lane::ROOT, Instant::from_nanos(nanos)));
        clocks.advance(Instant::from_nanos(3));
        assert_eq!(clocks.take_due_wake(0), None);
        clocks.advance(Instant::from_nanos(5));
        assert_eq!(clocks.take_due_wake(0), Some((Lane::ROOT, Instant::from_nanos(4))));
        assert_eq!((clocks.take_due_wake(0), clocks.wake_at()), (None, None));
    }

    #[test]
    fn each_lane_has_its_own_wake_up() {
        let mut clocks = Clocks::new(Instant::from_nanos(5));
        let [first, second] = [false, true].map(|is_second| Lane::ROOT.part(is_second));
        for (lane, nanos) in [(second, 4), (first, 9), (Lane::ROOT, 5), (first, 8), (second, 6)] {
            clocks.ask_wake(lane, Instant::from_nanos(nanos));
        }
        assert_eq!(clocks.wake_at(), Some(Instant::from_nanos(4)));
        let due: Vec<_> = (0..clocks.wakes()).filter_map(|index| clocks.take_due_wake(index)).collect();
        assert_eq!(due, [(Lane::ROOT, Instant::from_nanos(5)), (second, Instant::from_nanos(4))]);
        assert_eq!((clocks.wake_at(), clocks.wakes()), (Some(Instant::from_nanos(8)), 3));
        assert_eq!(clocks.take_due_wake(3), None);
    }
}
