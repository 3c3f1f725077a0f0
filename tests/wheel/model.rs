//! Random runs of the timer wheel, compared with a naive model: a map that every query scans.

use peerloop_testkit::wheel::{Moment, Run, Step};
use proptest::collection::vec;
use proptest::prelude::*;

/// Generates ticks near a boundary: of a bitmap word, of the wheel's round, or of an integer type's range.
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases * 6))]

    #[test]
    fn the_wheel_behaves_like_its_naive_model(
        slots in prop::sample::select(vec![1, 2, 8, 64, 128, 4_096, 8_192, 65_536]),
        start in start(),
        steps in vec(step(), 1..120),
    ) {
        let mut run = Run::new(slots, start);
        for step in &steps {
            run.apply(step);
        }
        run.drain();
    }
}
