//! The moments of replies: drops, delays, the maximum rate and stalls, in exact integer arithmetic.
//!
//! A moment depends only on the moments at which replies were due and on the drawn numbers, never on the loop's lag.

use super::config::{ResponderConfig, Stall};
use crate::limits::RESPONDER_RATE_QUEUE;
use crate::load::rate::Rate;
use crate::time::Instant;
use rand::{Rng, RngExt};
use std::time::Duration;

/// The rules by which replies are dropped and delayed.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    drop_share: f64,
    /// The range of the delay, in nanoseconds.
    delay_nanos: (u64, u64),
    stalls: Option<Stalls>,
    pacer: Option<Pacer>,
    is_open: bool,
}

/// The moment of a reply that has waited for its delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// The reply is sent at this moment; `is_stalled` if a stall delays it.
    At { moment: Instant, is_stalled: bool },
    /// The reply would have to wait for too long, so it is dropped.
    None,
}

impl Gate {
    /// Creates the gate of a loop that started at `began`.
    pub(super) fn new(config: &ResponderConfig, began: Instant) -> Self {
        Self {
            drop_share: config.drop_share,
            delay_nanos: (nanos(config.min_delay), nanos(config.max_delay)),
            stalls: config.stall.map(|stall| Stalls { stall, began }),
            pacer: config.max_rate.map(Pacer::new),
            is_open: !config.alters_replies(),
        }
    }

    /// Returns whether every reply passes at once.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Draws whether a reply is dropped. Without a share, no number is drawn.
    pub(super) fn drops(&self, rng: &mut impl Rng) -> bool {
        self.drop_share > 0.0 && rng.random_bool(self.drop_share)
    }

    /// Draws a reply's delay. Without a range, no number is drawn.
    pub(super) fn delay(&self, rng: &mut impl Rng) -> Duration {
        let (min, max) = self.delay_nanos;
        Duration::from_nanos(if min < max { rng.random_range(min..=max) } else { min })
    }

    /// Returns the moment at which a reply that was due at `due` is sent. Call this in the order in which replies are
    /// due; the moments are then in this order too.
    pub(super) fn slot(&mut self, due: Instant) -> Slot {
        let stalls = self.stalls;
        let end_of_stall = |moment| stalls.map_or(moment, |stalls| stalls.end_after(moment));
        let Some(pacer) = &mut self.pacer else {
            let moment = end_of_stall(due);
            return Slot::At { moment, is_stalled: moment > due };
        };
        let Some(turn) = pacer.turn(due) else { return Slot::None };
        let planned = pacer.moment_of(turn);
        let moment = end_of_stall(planned);
        if moment.since(due) > RESPONDER_RATE_QUEUE {
            return Slot::None;
        }
        let is_stalled = moment > planned;
        pacer.use_turn(if is_stalled { pacer.scaled(moment) } else { turn });
        Slot::At { moment, is_stalled }
    }
}

/// The stalls of a loop that started at `began`.
#[derive(Clone, Copy, Debug)]
struct Stalls {
    stall: Stall,
    began: Instant,
}

impl Stalls {
    /// Returns the end of the stall at `moment`, or `moment` itself if there is none.
    fn end_after(self, moment: Instant) -> Instant {
        let (length, interval) = (nanos(self.stall.length()), nanos(self.stall.interval()));
        let running = nanos(moment.since(self.began));
        let within = running % interval;
        match running >= interval && within < length {
            true => moment.plus(Duration::from_nanos(length - within)),
            false => moment,
        }
    }
}

/// Evenly spaced turns, at least one step of a rate apart. Turns count in fractions of a nanosecond, of which
/// `operations` make up one, so no rounding error adds up.
#[derive(Clone, Debug)]
struct Pacer {
    operations: u128,
    step: u128,
    /// The earliest turn that is free.
    next: u128,
}

impl Pacer {
    fn new(rate: Rate) -> Self {
        let (operations, time_ns) = rate.ratio();
        Self { operations: operations.into(), step: time_ns.into(), next: 0 }
    }

    /// Returns the first free turn that is not before `due`; `None` if the rate is zero.
    fn turn(&self, due: Instant) -> Option<u128> {
        (self.operations > 0).then(|| self.next.max(self.scaled(due)))
    }

    fn use_turn(&mut self, turn: u128) {
        self.next = turn + self.step;
    }

    fn scaled(&self, moment: Instant) -> u128 {
        u128::from(moment.as_nanos()) * self.operations
    }

    /// Returns the moment of a turn, rounded up to a nanosecond.
    fn moment_of(&self, turn: u128) -> Instant {
        Instant::from_nanos(u64::try_from(turn.div_ceil(self.operations)).unwrap_or(u64::MAX))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const MILLI: u64 = 1_000_000;
    const SECOND: u64 = 1_000_000_000;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn gate(config: &ResponderConfig) -> Gate {
        Gate::new(&config.clone().in_range(), at(0))
    }

    fn paced(rate: Rate) -> Gate {
        gate(&ResponderConfig::default().with_max_rate(Some(rate)))
    }

    fn stalling(length: u64, interval: u64) -> ResponderConfig {
        let stall = Stall::new(Duration::from_nanos(length), Duration::from_nanos(interval));
        ResponderConfig::default().with_stall(Some(stall.expect("the stall is shorter than its interval")))
    }

    /// Returns the moments at which replies due at these moments are sent, without the dropped ones.
    fn sent(gate: &mut Gate, due: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let moment = |due| match gate.slot(at(due)) {
            Slot::At { moment, .. } => Some(moment.as_nanos()),
            Slot::None => None,
        };
        due.into_iter().filter_map(moment).collect()
    }

    #[test]
    fn an_unlimited_gate_is_open_and_draws_nothing() {
        let (mut gate, mut rng) = (gate(&ResponderConfig::default()), StdRng::seed_from_u64(1));
        assert!(gate.is_open() && !gate.drops(&mut rng));
        assert_eq!(gate.delay(&mut rng), Duration::ZERO);
        assert_eq!(sent(&mut gate, [5, 5, 9]), [5, 5, 9]);
        assert_eq!(rng, StdRng::seed_from_u64(1));
    }

    #[test]
    fn delays_cover_their_range_evenly_and_drops_have_their_share() {
        let config = ResponderConfig::default().with_delay(Duration::from_nanos(10), Duration::from_nanos(19));
        let (gate, mut rng) = (gate(&config.with_drop_share(0.2)), StdRng::seed_from_u64(7));
        let mut counts = [0_u32; 10];
        (0..10_000).for_each(|_| counts[gate.delay(&mut rng).as_nanos() as usize - 10] += 1);
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
        let dropped = (0..10_000).filter(|_| gate.drops(&mut rng)).count();
        assert!((1_900..2_100).contains(&dropped), "{dropped}");
    }

    #[test]
    fn all_messages_are_dropped_at_a_share_of_one() {
        let (gate, mut rng) = (gate(&ResponderConfig::default().with_drop_share(1.0)), StdRng::seed_from_u64(1));
        assert!((0..1_000).all(|_| gate.drops(&mut rng)));
    }

    #[test]
    fn replies_pause_for_the_length_of_a_stall_once_every_interval_but_not_at_the_start() {
        let mut gate = gate(&stalling(3, 10));
        let moments = (0..34).map(|due| sent(&mut gate, [due])[0]).collect::<Vec<_>>();
        let expected: Vec<u64> =
            (0..34).map(|due| if due >= 10 && due % 10 < 3 { due - due % 10 + 3 } else { due }).collect();
        assert_eq!(moments, expected);
        assert_eq!(gate.slot(at(42)), Slot::At { moment: at(43), is_stalled: true });
        assert_eq!(gate.slot(at(43)), Slot::At { moment: at(43), is_stalled: false });
    }

    #[test]
    fn a_saturated_rate_has_exactly_its_number_of_replies_in_every_second() {
        for rate in [1, 3, 7, 1_000, 19_999] {
            let mut gate = paced(Rate::per_second(rate));
            // Twice as many replies are due, and the queue drops half of them.
            let due = (0..6 * rate).map(|index| index * SECOND / (2 * rate));
            let moments = sent(&mut gate, due);
            assert!(moments.len() as u64 >= 3 * rate && moments.is_sorted(), "{rate}: {}", moments.len());
            for (index, begin) in moments.iter().enumerate() {
                // The reply after the last one within a second is due exactly one second later.
                let Some(next) = moments.get(index + rate as usize) else { break };
                assert_eq!(next - begin, SECOND, "{rate}");
            }
        }
    }

    #[test]
    fn a_reply_waits_for_at_most_100_ms() {
        let mut gate = paced(Rate::per_second(1_000));
        let moments = sent(&mut gate, [0; 500]);
        assert_eq!(moments, (0..=100).map(|index| index * MILLI).collect::<Vec<_>>());
        // A dropped reply uses no turn.
        assert_eq!(sent(&mut gate, [1, MILLI]), [101 * MILLI]);
        assert_eq!(sent(&mut gate, [500 * MILLI]), [500 * MILLI]);
    }

    #[test]
    fn an_idle_time_saves_no_turns() {
        let mut gate = paced(Rate::per_second(1_000));
        assert_eq!(sent(&mut gate, [9 * SECOND; 3]), [0, MILLI, 2 * MILLI].map(|after| 9 * SECOND + after));
        assert_eq!(sent(&mut paced(Rate::ZERO), [0, SECOND]), []);
    }

    #[test]
    fn a_paced_reply_waits_for_the_end_of_a_stall_and_the_turns_continue_from_there() {
        let config = stalling(40 * MILLI, SECOND).with_max_rate(Some(Rate::per_second(100)));
        let mut gate = gate(&config);
        let due = [999, 1_001, 1_002, 1_050, 1_100];
        let moments = sent(&mut gate, due.map(|millis| millis * MILLI));
        assert_eq!(moments, [999, 1_040, 1_050, 1_060, 1_100].map(|millis| millis * MILLI));
        let mut long = Gate::new(&stalling(300 * MILLI, SECOND).with_max_rate(Some(Rate::per_second(100))), at(0));
        assert_eq!(sent(&mut long, [1_100 * MILLI, 1_200 * MILLI]), [1_300 * MILLI]);
    }

    proptest! {
        /// The naive model adds up steps as fractions of two whole numbers.
        #[test]
        fn turns_match_a_naive_model(
            operations in 1_u64..2_000,
            time in 1_u64..5_000_000_000,
            gaps in prop::collection::vec(0_u64..80_000_000, 1..200),
        ) {
            let rate = Rate::new(operations, Duration::from_nanos(time)).expect("the time is above zero");
            let mut gate = paced(rate);
            // The next turn as whole nanoseconds and a numerator over `operations`.
            let (mut due, mut whole, mut part) = (0, 0_u64, 0_u64);
            for gap in gaps {
                due += gap;
                let turn = if whole >= due { (whole, part) } else { (due, 0) };
                let moment = turn.0 + u64::from(turn.1 > 0);
                let expected = (moment - due <= 100 * MILLI).then_some(moment);
                prop_assert_eq!(sent(&mut gate, [due]), expected.into_iter().collect::<Vec<_>>());
                if expected.is_some() {
                    part = turn.1 + time % operations;
                    whole = turn.0 + time / operations + part / operations;
                    part %= operations;
                }
            }
        }
    }
}
