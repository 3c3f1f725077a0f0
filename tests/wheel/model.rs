//! Random runs against a map that is sorted anew for every question.

use peerloop::wheel::Wheel;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What a key is armed for, and the place in the order of arming.
#[derive(Clone, Copy, Debug)]
struct Armed {
    tick: u64,
    order: u64,
    overdue: bool,
}

/// The wheel as its documentation tells it, without a list or a bitmap.
#[derive(Debug)]
struct Model {
    slots: u64,
    cursor: u64,
    armings: u64,
    armed: BTreeMap<u32, Armed>,
}

impl Model {
    fn new(slots: usize, now_tick: u64) -> Self {
        Self { slots: slots as u64, cursor: now_tick, armings: 0, armed: BTreeMap::new() }
    }

    fn arm(&mut self, key: u32, tick: u64) {
        self.armings += 1;
        self.armed.insert(key, Armed { tick, order: self.armings, overdue: tick <= self.cursor });
    }

    /// The tick at which the slot of `armed` is next come to, or the last one passed if it is overdue.
    fn visit(&self, armed: Armed) -> u64 {
        if armed.overdue { self.cursor } else { self.cursor + 1 + (armed.tick - self.cursor - 1) % self.slots }
    }

    fn next_tick(&self) -> Option<u64> {
        self.armed.values().map(|&armed| self.visit(armed)).min()
    }

    fn earliest(&self) -> Option<u64> {
        self.armed.values().map(|armed| armed.tick).min()
    }

    /// Every key due by `now_tick`, in the order of handing out.
    fn due(&self, now_tick: u64) -> Vec<u32> {
        let mut due: Vec<u32> = self.armed.keys().copied().filter(|key| self.armed[key].tick <= now_tick).collect();
        due.sort_by_key(|key| {
            let armed = self.armed[key];
            (!armed.overdue, self.visit(armed), armed.order)
        });
        due
    }

    fn expire(&mut self, now_tick: u64, limit: usize) -> (Vec<u32>, bool) {
        let mut due = self.due(now_tick);
        let left = due.split_off(limit.min(due.len()));
        for key in &due {
            self.armed.remove(key);
        }
        match left.first().map(|key| self.armed[key]) {
            Some(Armed { overdue: true, .. }) => {}
            Some(first) => self.cursor = self.visit(first) - 1,
            None => self.cursor = self.cursor.max(now_tick),
        }
        (due, !left.is_empty())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Arm {
        key: u32,
        tick: Moment,
    },
    Disarm {
        key: u32,
    },
    Expire {
        now: Moment,
        limit: usize,
    },
    /// Expires, and arms what was handed out again this many ticks later.
    ExpireAndRearm {
        now: Moment,
        limit: usize,
        later: u64,
    },
    Drain,
    Backwards {
        ticks: u64,
    },
}

/// A tick as seen from the present one.
#[derive(Clone, Debug)]
enum Moment {
    Ahead(u64),
    Rounds { rounds: u64, off: i64 },
    Behind(u64),
    At(u64),
}

impl Moment {
    fn tick(&self, now_tick: u64, slots: usize) -> u64 {
        match *self {
            Self::Ahead(ticks) => now_tick.saturating_add(ticks),
            Self::Rounds { rounds, off } => {
                now_tick.saturating_add(rounds.saturating_mul(slots as u64)).saturating_add_signed(off)
            }
            Self::Behind(ticks) => now_tick.saturating_sub(ticks),
            Self::At(tick) => tick,
        }
    }
}

/// Ticks at which a counter of some width, a round or a word of the bitmap begins anew.
fn start() -> impl Strategy<Value = u64> {
    let edges = [0, 64, 4_096, 65_536, 1 << 31, 1 << 32, 1 << 63, u64::MAX - 65_536, u64::MAX];
    (prop::sample::select(edges.to_vec()), -70_i64..70).prop_map(|(edge, off)| edge.saturating_add_signed(off))
}

fn ahead() -> impl Strategy<Value = Moment> {
    prop_oneof![
        8 => (0_u64..40).prop_map(Moment::Ahead),
        4 => (0_u64..300).prop_map(Moment::Ahead),
        3 => (0_u64..4, -2_i64..3).prop_map(|(rounds, off)| Moment::Rounds { rounds, off }),
        1 => (0_u64..1 << 40).prop_map(Moment::Ahead),
    ]
}

fn deadline() -> impl Strategy<Value = Moment> {
    prop_oneof![
        12 => ahead(),
        2 => (0_u64..40).prop_map(Moment::Behind),
        1 => prop::sample::select(vec![0, 1 << 31, 1 << 32, u64::MAX - 1, u64::MAX]).prop_map(Moment::At),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0_u32..24;
    let limit = || prop_oneof![3 => Just(usize::MAX), 3 => 0_usize..4];
    prop_oneof![
        12 => (key.clone(), deadline()).prop_map(|(key, tick)| Step::Arm { key, tick }),
        2 => key.prop_map(|key| Step::Disarm { key }),
        6 => (ahead(), limit()).prop_map(|(now, limit)| Step::Expire { now, limit }),
        3 => (ahead(), limit(), 0_u64..200)
            .prop_map(|(now, limit, later)| Step::ExpireAndRearm { now, limit, later }),
        1 => Just(Step::Drain),
        1 => (0_u64..100).prop_map(|ticks| Step::Backwards { ticks }),
    ]
}

/// Both sides of a run, driven in step and compared after each.
struct Run {
    wheel: Wheel,
    model: Model,
    now_tick: u64,
}

impl Run {
    fn new(slots: usize, now_tick: u64) -> Self {
        Self { wheel: Wheel::new(slots, now_tick), model: Model::new(slots, now_tick), now_tick }
    }

    fn arm(&mut self, key: u32, tick: u64) {
        self.wheel.arm(key, tick);
        self.model.arm(key, tick);
    }

    fn expire(&mut self, now_tick: u64, limit: usize) -> Result<Vec<u32>, TestCaseError> {
        const BEFORE: u32 = 99;
        let before = self.model.armed.clone();
        let cursor = self.model.cursor;
        let mut due = vec![BEFORE];
        let more = self.wheel.expire(now_tick, limit, &mut due);
        prop_assert_eq!(due.remove(0), BEFORE, "what the vector held stays");
        prop_assert_eq!((due.clone(), more), self.model.expire(now_tick, limit));

        prop_assert!(due.len() <= limit);
        prop_assert!(due.iter().all(|key| before[key].tick <= now_tick), "early");
        let ticks: Vec<u64> = due.iter().map(|key| before[key]).filter(|a| !a.overdue).map(|a| a.tick).collect();
        if now_tick.saturating_sub(cursor) <= self.model.slots {
            prop_assert!(ticks.is_sorted(), "within one round the ticks come in order");
        }
        if !more {
            prop_assert!(self.model.armed.values().all(|armed| armed.tick > now_tick), "kept back");
        } else if now_tick >= cursor {
            prop_assert!(self.wheel.next_tick().is_some_and(|next| next <= now_tick), "the next call is now");
        }
        Ok(due)
    }

    fn apply(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let slots = self.model.slots as usize;
        match *step {
            Step::Arm { key, ref tick } => self.arm(key, tick.tick(self.now_tick, slots)),
            Step::Disarm { key } => {
                prop_assert_eq!(self.wheel.disarm(key), self.model.armed.remove(&key).is_some());
            }
            Step::Expire { ref now, limit } => {
                self.now_tick = self.now_tick.max(now.tick(self.now_tick, slots));
                self.expire(self.now_tick, limit)?;
            }
            Step::ExpireAndRearm { ref now, limit, later } => {
                self.now_tick = self.now_tick.max(now.tick(self.now_tick, slots));
                for key in self.expire(self.now_tick, limit)? {
                    self.arm(key, self.now_tick.saturating_add(later));
                }
            }
            Step::Drain => self.drain()?,
            Step::Backwards { ticks } => {
                self.expire(self.now_tick.saturating_sub(ticks), usize::MAX)?;
            }
        }
        self.compare()
    }

    /// Expires at `next_tick`, then at the earliest armed tick, which may be many rounds on, until nothing is armed.
    fn drain(&mut self) -> Result<(), TestCaseError> {
        while let Some(earliest) = self.model.earliest() {
            let next = self.wheel.next_tick().expect("something is armed");
            self.now_tick = self.now_tick.max(next);
            self.expire(self.now_tick, 2)?;
            self.compare()?;
            self.now_tick = self.now_tick.max(earliest);
            self.expire(self.now_tick, 2)?;
            self.compare()?;
        }
        prop_assert!(self.wheel.is_empty());
        Ok(())
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.wheel.len(), self.model.armed.len());
        prop_assert_eq!(self.wheel.is_empty(), self.model.armed.is_empty());
        for key in 0..32 {
            prop_assert_eq!(self.wheel.armed_tick(key), self.model.armed.get(&key).map(|armed| armed.tick));
        }
        let next = self.wheel.next_tick();
        prop_assert_eq!(next, self.model.next_tick());
        if let Some(next) = next {
            let earliest = self.model.earliest().expect("something is armed");
            prop_assert!(next >= self.model.cursor, "before the last tick passed");
            prop_assert!(next <= earliest.max(self.model.cursor), "after the earliest armed tick");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn the_wheel_does_what_a_sorted_map_does(
        slots in prop::sample::select(vec![1, 2, 8, 64, 128, 4_096, 8_192, 65_536]),
        start in start(),
        steps in vec(step(), 1..120),
    ) {
        let mut run = Run::new(slots, start);
        for step in &steps {
            run.apply(step)?;
        }
        run.drain()?;
    }
}
