//! Compares the timer wheel, step by step, with a naive model: a map that every query scans.

use peerloop::internals::wheel::Wheel;
use std::collections::BTreeMap;

/// An armed key's tick, its position in the order of arming, and whether it was overdue when it was armed.
#[derive(Clone, Copy, Debug)]
struct Armed {
    tick: u64,
    order: u64,
    overdue: bool,
}

/// The wheel as its documentation describes it, without a list or a bitmap.
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

    /// Returns the tick at which the wheel next visits the slot of `armed`, or the last tick passed if `armed` is
    /// overdue.
    fn visit(&self, armed: Armed) -> u64 {
        if armed.overdue { self.cursor } else { self.cursor + 1 + (armed.tick - self.cursor - 1) % self.slots }
    }

    fn next_tick(&self) -> Option<u64> {
        self.armed.values().map(|&armed| self.visit(armed)).min()
    }

    fn earliest(&self) -> Option<u64> {
        self.armed.values().map(|armed| armed.tick).min()
    }

    /// Returns every key due by `now_tick`, in the order in which the wheel returns them.
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
pub enum Step {
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
    /// Expires keys, and arms them again `later` ticks after the current one.
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

/// A tick, usually relative to the current one.
#[derive(Clone, Debug)]
pub enum Moment {
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

/// The wheel and the model of a run. Both execute the same steps, and are compared after each step.
pub struct Run {
    wheel: Wheel,
    model: Model,
    now_tick: u64,
}

impl Run {
    pub fn new(slots: usize, now_tick: u64) -> Self {
        Self { wheel: Wheel::new(slots, now_tick), model: Model::new(slots, now_tick), now_tick }
    }

    fn arm(&mut self, key: u32, tick: u64) {
        self.wheel.arm(key, tick);
        self.model.arm(key, tick);
    }

    fn expire(&mut self, now_tick: u64, limit: usize) -> Vec<u32> {
        const BEFORE: u32 = 99;
        let before = self.model.armed.clone();
        let cursor = self.model.cursor;
        let mut due = vec![BEFORE];
        let more = self.wheel.expire(now_tick, limit, &mut due);
        assert_eq!(due.remove(0), BEFORE, "the vector lost its contents");
        assert_eq!((due.clone(), more), self.model.expire(now_tick, limit));

        assert!(due.len() <= limit);
        assert!(due.iter().all(|key| before[key].tick <= now_tick), "a key was returned early");
        let ticks: Vec<u64> = due.iter().map(|key| before[key]).filter(|a| !a.overdue).map(|a| a.tick).collect();
        if now_tick.saturating_sub(cursor) <= self.model.slots {
            assert!(ticks.is_sorted(), "within one round the ticks are not in order");
        }
        if !more {
            assert!(self.model.armed.values().all(|armed| armed.tick > now_tick), "a due key was not returned");
        } else if now_tick >= cursor {
            assert!(
                self.wheel.next_tick().is_some_and(|next| next <= now_tick),
                "`next_tick` is not due although due keys remain"
            );
        }
        due
    }

    pub fn apply(&mut self, step: &Step) {
        let slots = self.model.slots as usize;
        match *step {
            Step::Arm { key, ref tick } => self.arm(key, tick.tick(self.now_tick, slots)),
            Step::Disarm { key } => {
                assert_eq!(self.wheel.disarm(key), self.model.armed.remove(&key).is_some());
            }
            Step::Expire { ref now, limit } => {
                self.now_tick = self.now_tick.max(now.tick(self.now_tick, slots));
                self.expire(self.now_tick, limit);
            }
            Step::ExpireAndRearm { ref now, limit, later } => {
                self.now_tick = self.now_tick.max(now.tick(self.now_tick, slots));
                for key in self.expire(self.now_tick, limit) {
                    self.arm(key, self.now_tick.saturating_add(later));
                }
            }
            Step::Drain => self.drain(),
            Step::Backwards { ticks } => {
                self.expire(self.now_tick.saturating_sub(ticks), usize::MAX);
            }
        }
        self.compare()
    }

    /// Expires keys, at most two at a time, until no key is armed. The time advances alternately to `next_tick` and
    /// to the earliest armed tick, which may be many rounds later.
    pub fn drain(&mut self) {
        while let Some(earliest) = self.model.earliest() {
            let next = self.wheel.next_tick().expect("a key is armed");
            self.now_tick = self.now_tick.max(next);
            self.expire(self.now_tick, 2);
            self.compare();
            self.now_tick = self.now_tick.max(earliest);
            self.expire(self.now_tick, 2);
            self.compare();
        }
        assert!(self.wheel.is_empty());
    }

    fn compare(&self) {
        assert_eq!(self.wheel.len(), self.model.armed.len());
        assert_eq!(self.wheel.is_empty(), self.model.armed.is_empty());
        for key in 0..32 {
            assert_eq!(self.wheel.armed_tick(key), self.model.armed.get(&key).map(|armed| armed.tick));
        }
        let next = self.wheel.next_tick();
        assert_eq!(next, self.model.next_tick());
        if let Some(next) = next {
            let earliest = self.model.earliest().expect("a key is armed");
            assert!(next >= self.model.cursor, "`next_tick` is before the last tick passed");
            assert!(next <= earliest.max(self.model.cursor), "`next_tick` is after the earliest armed tick");
        }
    }
}
