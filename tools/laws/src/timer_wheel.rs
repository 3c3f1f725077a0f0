//! A timer wheel behaves like a sorted map: no timer fires early and no timer is lost, even near the end of a round
//! or near the largest tick.

use crate::tape::Tape;
use peerloop_testkit::wheel::{Moment, Run, Step};

const SLOTS: [usize; 8] = [1, 2, 8, 64, 128, 4_096, 8_192, 65_536];
const EDGES: [u64; 9] = [0, 64, 4_096, 65_536, 1 << 31, 1 << 32, 1 << 63, u64::MAX - 65_536, u64::MAX];
const MAX_STEPS: usize = 200;

pub(crate) fn check(data: &[u8]) {
    let mut tape = Tape::new(data);
    let slots = tape.pick(&SLOTS);
    let start = tape.pick(&EDGES).saturating_add_signed(i64::from(tape.u8()) - 128);
    let mut run = Run::new(slots, start);
    for _ in 0..MAX_STEPS {
        if tape.is_empty() {
            break;
        }
        let step = step(&mut tape);
        run.apply(&step);
    }
    run.drain();
}

fn step(tape: &mut Tape<'_>) -> Step {
    let key = |tape: &mut Tape<'_>| u32::from(tape.u8() % 24);
    let limit = |tape: &mut Tape<'_>| tape.pick(&[usize::MAX, usize::MAX, 0, 1, 2, 3]);
    match tape.u8() {
        0x00..=0x6f => Step::Arm { key: key(tape), tick: moment(tape) },
        0x70..=0x8f => Step::Disarm { key: key(tape) },
        0x90..=0xbf => Step::Expire { now: moment(tape), limit: limit(tape) },
        0xc0..=0xdf => Step::ExpireAndRearm { now: moment(tape), limit: limit(tape), later: u64::from(tape.u8()) },
        0xe0..=0xef => Step::Drain,
        0xf0..=0xff => Step::Backwards { ticks: u64::from(tape.u8()) },
    }
}

fn moment(tape: &mut Tape<'_>) -> Moment {
    match tape.u8() {
        0x00..=0x5f => Moment::Ahead(u64::from(tape.u8())),
        0x60..=0x9f => Moment::Rounds { rounds: u64::from(tape.u8() % 4), off: i64::from(tape.u8() % 5) - 2 },
        0xa0..=0xbf => Moment::Ahead(u64::from(tape.u32()) << (tape.u8() % 16)),
        0xc0..=0xdf => Moment::Behind(u64::from(tape.u8())),
        0xe0..=0xff => Moment::At(tape.u64()),
    }
}
