//! The cost of a timer in the wheel, compared with a heap with lazy deletion and an ordered set.
//!
//! All three store one deadline per key. Each iteration advances the time by one tick and handles ten keys. `expire`
//! lets the deadlines of these keys pass and sets new ones. `re_arm` moves the deadlines before they pass, as traffic
//! moves a peer's deadline. Each new deadline is the latest of all, which is the best case for a heap. Times are per
//! iteration, and throughput counts timers.

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use peerloop::internals::limits::WHEEL_SLOTS;
use peerloop::internals::wheel::Wheel;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

const KEYS: [u32; 2] = [1_000, 100_000];
const PER_TICK: u32 = 10;
/// The step from one key to the next. It is coprime to both numbers in [`KEYS`], so all keys are visited, in a
/// scattered order.
const STRIDE: u32 = 7_919;

trait Timers {
    fn arm(&mut self, key: u32, tick: u64);
    fn expire(&mut self, now_tick: u64, due: &mut Vec<u32>);
}

impl Timers for Wheel {
    fn arm(&mut self, key: u32, tick: u64) {
        Self::arm(self, key, tick);
    }

    fn expire(&mut self, now_tick: u64, due: &mut Vec<u32>) {
        Self::expire(self, now_tick, usize::MAX, due);
    }
}

/// A heap in which a moved deadline's old entry stays until the old deadline passes.
struct LazyHeap {
    entries: BinaryHeap<Reverse<(u64, u32)>>,
    ticks: Vec<u64>,
}

impl Timers for LazyHeap {
    fn arm(&mut self, key: u32, tick: u64) {
        self.ticks[key as usize] = tick;
        self.entries.push(Reverse((tick, key)));
    }

    fn expire(&mut self, now_tick: u64, due: &mut Vec<u32>) {
        while let Some(&Reverse((tick, key))) = self.entries.peek()
            && tick <= now_tick
        {
            self.entries.pop();
            if self.ticks[key as usize] == tick {
                due.push(key);
            }
        }
    }
}

struct OrderedSet {
    entries: BTreeSet<(u64, u32)>,
    ticks: Vec<u64>,
}

impl Timers for OrderedSet {
    fn arm(&mut self, key: u32, tick: u64) {
        self.entries.remove(&(self.ticks[key as usize], key));
        self.ticks[key as usize] = tick;
        self.entries.insert((tick, key));
    }

    fn expire(&mut self, now_tick: u64, due: &mut Vec<u32>) {
        while let Some(&(tick, key)) = self.entries.first()
            && tick <= now_tick
        {
            self.entries.pop_first();
            due.push(key);
        }
    }
}

/// Returns the key at position `turn` in a scattered order of all keys.
fn scattered(turn: u32, keys: u32) -> u32 {
    (u64::from(turn) * u64::from(STRIDE) % u64::from(keys)) as u32
}

fn expire(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, keys: u32, mut timers: impl Timers) {
    let period = u64::from(keys / PER_TICK);
    let mut now_tick = 0;
    let mut due = Vec::new();
    for turn in 0..keys {
        timers.arm(scattered(turn, keys), 1 + u64::from(turn) % period);
    }
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            now_tick += 1;
            timers.expire(now_tick, &mut due);
            assert_eq!(due.len(), PER_TICK as usize);
            for key in due.drain(..) {
                timers.arm(key, now_tick + period);
            }
        });
    });
}

fn re_arm(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, keys: u32, mut timers: impl Timers) {
    let timeout = 2 * u64::from(keys / PER_TICK);
    let mut now_tick = 0;
    let mut turn = 0;
    let mut due = Vec::new();
    for key in 0..keys {
        timers.arm(key, timeout);
    }
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            now_tick += 1;
            timers.expire(now_tick, &mut due);
            assert!(due.is_empty());
            for _ in 0..PER_TICK {
                timers.arm(scattered(turn, keys), now_tick + timeout);
                turn = (turn + 1) % keys;
            }
        });
    });
}

fn wheel() -> Wheel {
    Wheel::new(WHEEL_SLOTS, 0)
}

fn lazy_heap(keys: u32) -> LazyHeap {
    LazyHeap { entries: BinaryHeap::new(), ticks: vec![0; keys as usize] }
}

fn ordered_set(keys: u32) -> OrderedSet {
    OrderedSet { entries: BTreeSet::new(), ticks: vec![0; keys as usize] }
}

fn timers(criterion: &mut Criterion) {
    for keys in KEYS {
        let mut group = criterion.benchmark_group(format!("wheel/expire/{keys}"));
        group.throughput(Throughput::Elements(u64::from(PER_TICK)));
        expire(&mut group, "wheel", keys, wheel());
        expire(&mut group, "lazy_heap", keys, lazy_heap(keys));
        expire(&mut group, "ordered_set", keys, ordered_set(keys));
        group.finish();

        let mut group = criterion.benchmark_group(format!("wheel/re_arm/{keys}"));
        group.throughput(Throughput::Elements(u64::from(PER_TICK)));
        re_arm(&mut group, "wheel", keys, wheel());
        re_arm(&mut group, "lazy_heap", keys, lazy_heap(keys));
        re_arm(&mut group, "ordered_set", keys, ordered_set(keys));
        group.finish();
    }
}

criterion_group!(benches, timers);
criterion_main!(benches);
