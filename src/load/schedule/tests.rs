//! Schedules against lists of moments that are computed stage by stage.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

const ALL: u64 = u64::MAX;

fn whole(connections: usize) -> Share {
    Share::new(Segment::WHOLE, connections)
}

fn second_of(rate: u64) -> Stage {
    Stage::constant(Rate::per_second(rate), Duration::from_secs(1))
}

/// Returns all operations of a schedule.
fn list(mut schedule: Schedule) -> Vec<Due> {
    let mut list = Vec::new();
    while let Some(due) = schedule.due() {
        list.push(due);
        schedule.advance();
    }
    list
}

fn moments(schedule: Schedule) -> Vec<u64> {
    list(schedule).iter().map(|due| due.planned_ns / 1_000_000).collect()
}

#[test]
fn stages_follow_each_other_and_each_begins_anew() {
    let stages = [second_of(2), second_of(0), second_of(3)];
    let even = Schedule::new(&stages, Arrival::Even, whole(1), ALL, 0);
    assert_eq!(moments(even), [0, 500, 2_000, 2_333, 2_666]);
    let empty = Schedule::new(&[], Arrival::Even, whole(1), ALL, 0);
    assert_eq!((empty.due(), empty.rate_at(5), empty.end_before(7)), (None, Rate::ZERO, 7));
}

#[test]
fn a_burst_is_due_at_the_moment_of_its_first_operation_and_the_last_one_may_be_smaller() {
    let stages = [second_of(10), second_of(4)];
    let schedule = Schedule::new(&stages, Arrival::Burst { size: 4 }, whole(3), ALL, 0);
    assert_eq!(moments(schedule.clone()), [0, 0, 0, 0, 400, 400, 400, 400, 800, 800, 1_000, 1_000, 1_000, 1_000]);
    let mut walker = schedule;
    let counts = [0, 1, 400_000_000, 400_000_001, 999_999_999, 1_000_000_001].map(|time_ns| walker.seek(time_ns));
    assert_eq!(counts, [0, 4, 4, 8, 10, 14]);
    let zero = Schedule::new(&stages, Arrival::Burst { size: 0 }, whole(3), ALL, 0);
    assert_eq!(list(zero), list(Schedule::new(&stages, Arrival::Even, whole(3), ALL, 0)));
}

#[test]
fn a_maximum_number_ends_the_schedule_when_the_next_operation_would_be_due() {
    let stages = [second_of(2), second_of(3)];
    let schedule = |max| Schedule::new(&stages, Arrival::Even, whole(2), max, 0);
    assert_eq!(list(schedule(3)).len(), 3);
    assert_eq!([0, 1, 3].map(|max| schedule(max).end_before(ALL)), [0, 500_000_000, 1_333_333_333]);
    assert_eq!([5, 6].map(|max| schedule(max).end_before(9)), [9, 9]);
    let mut schedule = schedule(1);
    assert_eq!(schedule.max_reached_ns(), None);
    schedule.advance();
    assert_eq!((schedule.due(), schedule.max_reached_ns()), (None, Some(500_000_000)));
}

#[test]
fn a_scaled_schedule_keeps_earlier_moments_and_scales_all_later_stages() {
    let ratio = |numerator, denominator| (numerator, NonZeroU32::new(denominator).unwrap());
    let mut schedule = Schedule::new(&[second_of(10), second_of(2)], Arrival::Even, whole(1), ALL, 0);
    let mut before = Vec::new();
    while let Some(due) = schedule.due().filter(|due| due.planned_ns <= 500_000_000) {
        before.push(due.planned_ns / 1_000_000);
        schedule.advance();
    }
    let (numerator, denominator) = ratio(1, 2);
    schedule.scale(550_000_000, numerator, denominator);
    assert_eq!(before, [0, 100, 200, 300, 400, 500]);
    assert_eq!(moments(schedule.clone()), [550, 750, 950, 1_000]);
    assert_eq!([600_000_000, 1_500_000_000].map(|at| schedule.rate_at(at)), [5, 1].map(Rate::per_second));
    schedule.set_rate(600_000_000, Rate::per_second(4));
    assert_eq!(moments(schedule), [550, 600, 850, 1_000, 1_250, 1_500, 1_750]);
}

#[test]
fn a_change_after_the_last_operation_of_a_stage_still_applies_to_the_rest_of_that_stage() {
    let mut schedule = Schedule::new(&[second_of(1), second_of(1)], Arrival::Even, whole(1), ALL, 0);
    schedule.advance();
    assert_eq!(schedule.due().unwrap().planned_ns, 1_000_000_000);
    schedule.set_rate(600_000_000, Rate::per_second(5));
    assert_eq!(moments(schedule), [600, 800, 1_000, 1_200, 1_400, 1_600, 1_800]);
}

#[test]
fn any_number_of_changes_needs_constant_memory() {
    let stage = Stage::constant(Rate::per_second(1_000), Duration::from_secs(3_600));
    let mut schedule = Schedule::new(&[stage, second_of(7)], Arrival::Poisson { seed: 1 }, whole(3), ALL, 0);
    for _ in 0..1_000 {
        let due = schedule.due().unwrap();
        schedule.advance();
        schedule.set_rate(due.planned_ns + 1, Rate::per_second(1_000));
    }
    assert!(schedule.pieces.len() <= 3, "{}", schedule.pieces.len());
}

#[test]
fn random_moments_have_the_rate_of_their_stage() {
    let rate = |per_second| Rate::per_second(per_second);
    let ten = Duration::from_secs(10);
    let stages = [Stage::constant(rate(2_000), ten), Stage::ramp(rate(0), rate(2_000), ten)];
    let schedule = Schedule::new(&stages, Arrival::Poisson { seed: 5 }, whole(1), ALL, 0);
    let all = list(schedule);
    let count = |from_secs: u64, to_secs: u64| {
        let range = from_secs * 1_000_000_000..to_secs * 1_000_000_000;
        all.iter().filter(|due| range.contains(&due.planned_ns)).count() as f64
    };
    // Five standard deviations of a Poisson distribution.
    for (from, to, mean) in [(0, 10, 20_000.0), (0, 5, 10_000.0), (10, 20, 10_000.0), (10, 15, 2_500.0)] {
        let found = count(from, to);
        assert!((found - mean).abs() < 5.0 * f64::sqrt(mean), "{found} instead of {mean} from {from} s to {to} s");
    }
}

fn any_stages() -> impl Strategy<Value = Vec<Stage>> {
    let rate = (0..400_u64, 1..20_u64).prop_map(|(count, tenths)| {
        Rate::new(count, Duration::from_millis(100 * tenths)).expect("the time is not zero")
    });
    let stage = (rate.clone(), rate, any::<bool>(), 0..600_u64).prop_map(|(from, to, is_ramp, millis)| {
        let time = Duration::from_millis(millis);
        if is_ramp { Stage::ramp(from, to, time) } else { Stage::constant(from, time) }
    });
    prop::collection::vec(stage, 0..4)
}

fn any_arrival() -> impl Strategy<Value = Arrival> {
    prop_oneof![
        Just(Arrival::Even),
        any::<u64>().prop_map(|seed| Arrival::Poisson { seed }),
        (0..20_u64).prop_map(|size| Arrival::Burst { size }),
    ]
}

fn any_max() -> impl Strategy<Value = u64> {
    prop_oneof![Just(ALL), 0..100_u64]
}

/// Lists the moments of evenly spaced operations or of bursts from the definition.
fn naive(stages: &[Stage], burst: u64, max: u64) -> Vec<u64> {
    let (mut begin, mut moments) = (0, Vec::new());
    for stage in stages {
        let curve = Curve::of(stage);
        moments.extend((0..stage.operations()).map(|index| begin + curve.moment(index / burst * burst)));
        begin += nanos(stage.time);
    }
    moments.truncate(usize::try_from(max).unwrap_or(usize::MAX));
    moments
}

proptest! {
    #[test]
    fn the_moments_follow_the_stages_in_order(stages in any_stages(), size in 0..9_u64, max in any_max()) {
        let arrival = if size == 0 { Arrival::Even } else { Arrival::Burst { size } };
        let all = list(Schedule::new(&stages, arrival, whole(7), max, 0));
        let found: Vec<u64> = all.iter().map(|due| due.planned_ns).collect();
        prop_assert_eq!(found, naive(&stages, size.max(1), max));
        prop_assert!(all.iter().map(|due| due.index).eq(0..all.len() as u64));
    }

    /// n processes plan exactly the connections and the moments of one.
    #[test]
    fn the_segments_plan_exactly_the_moments_of_the_whole(
        stages in any_stages(),
        arrival in any_arrival(),
        connections in 1..12_usize,
        of in 1..15_u64,
        max in any_max(),
    ) {
        let all = list(Schedule::new(&stages, arrival, whole(connections), max, 3));
        let end_ns = Schedule::new(&stages, arrival, whole(connections), max, 3).end_before(ALL);
        let mut joined = Vec::new();
        for index in 0..of {
            let share = Share::new(Segment::new(index, of).unwrap(), connections);
            let schedule = Schedule::new(&stages, arrival, share, max, 3);
            if share.slots() > 0 {
                prop_assert_eq!(schedule.end_before(ALL), end_ns);
            }
            let own = list(schedule);
            for due in &own {
                let connection = share.connection(share.slot_of(due.index));
                prop_assert_eq!(connection as u64, due.index % connections as u64);
                prop_assert_eq!(connection as u64 % of, index);
            }
            joined.extend(own);
        }
        joined.sort_unstable_by_key(|due| due.index);
        prop_assert_eq!(joined, all);
    }

    /// The counts by time, by stage and by the rest after any cut agree with the operations one by one.
    #[test]
    fn counts_agree_with_the_listed_operations(
        stages in any_stages(),
        arrival in any_arrival(),
        connections in 1..5_usize,
        of in 1..4_u64,
        max in any_max(),
        mut times in prop::collection::vec(0..2_500_000_000_u64, 6),
        done in 0..60_usize,
    ) {
        let share = Share::new(Segment::new(of - 1, of).unwrap(), connections);
        let schedule = Schedule::new(&stages, arrival, share, max, 1);
        let own = list(schedule.clone());
        times.sort_unstable();
        let mut walker = schedule.clone();
        for &time_ns in &times {
            let count = own.iter().filter(|due| due.planned_ns < time_ns).count() as u64;
            prop_assert_eq!(share.count_before(walker.seek(time_ns)), count);
            prop_assert_eq!(walker.due(), own.get(count as usize).copied());
        }
        let mut cursor = schedule;
        let done = done.min(own.len());
        (0..done).for_each(|_| cursor.advance());
        for &time_ns in &times {
            let mut begin_ns = 0;
            let mut expected = Vec::new();
            for stage in &stages {
                let end_ns = (begin_ns + nanos(stage.time)).min(time_ns);
                let range = begin_ns..end_ns.max(begin_ns);
                expected.push(own[done..].iter().filter(|due| range.contains(&due.planned_ns)).count() as u64);
                begin_ns += nanos(stage.time);
            }
            let mut found = vec![0; stages.len()];
            for (stage, range) in cursor.rest(time_ns) {
                found[stage] += share.count_before(range.end) - share.count_before(range.start);
            }
            prop_assert_eq!(found, expected);
        }
    }

    /// Two schedules at different positions agree about all later operations after the same change.
    #[test]
    fn a_change_has_the_same_effect_at_every_position(
        stages in any_stages(),
        arrival in any_arrival(),
        connections in 1..5_usize,
        of in 1..4_u64,
        done in 0..40_usize,
        later in 1..300_000_000_u64,
        percent in 0..300_u32,
    ) {
        let share = Share::new(Segment::new(0, of).unwrap(), connections);
        let mut behind = Schedule::new(&stages, arrival, share, ALL, 2);
        let mut ahead = behind.clone();
        let mut last_ns = 0;
        for _ in 0..done {
            let Some(due) = ahead.due() else { break };
            last_ns = due.planned_ns;
            ahead.advance();
        }
        let at_ns = last_ns + later;
        while ahead.due().is_some_and(|due| due.planned_ns < at_ns) {
            ahead.advance();
        }
        behind.seek(last_ns / 2);
        for schedule in [&mut behind, &mut ahead] {
            schedule.scale(at_ns, percent, NonZeroU32::new(100).unwrap());
        }
        if at_ns < stages.iter().map(|stage| nanos(stage.time)).sum() {
            prop_assert_eq!(behind.rate_at(at_ns), ahead.rate_at(at_ns));
        }
        let old: Vec<Due> = list(behind.clone()).into_iter().filter(|due| due.planned_ns < at_ns).collect();
        let all: Vec<Due> = list(behind.clone());
        prop_assert_eq!(&all[old.len()..], &list(ahead)[..]);
        prop_assert!(all.is_sorted_by_key(|due| due.planned_ns));
    }
}
