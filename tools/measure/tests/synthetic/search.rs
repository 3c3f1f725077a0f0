//! The search for the highest load, against simulated targets whose limit is known.

use crate::target::{Properties, Target};
use peerloop_measure::{
    Answer, Bound, Distrust, End, Goal, Purpose, Reason, Remainder, Search, SearchOutcome, SearchSettings, Searched,
    Share, Step, Trial, TrialVerdict,
};
use std::ops::Range;
use std::time::Duration;

/// The searches of each row, and of rows whose generator is disturbed.
const SEARCHES: u64 = 100;
const DISTURBED: u64 = 200;

fn goal() -> Goal {
    Goal::of(&"ping_rtt:p99<50ms".parse().expect("the threshold is valid")).expect("the threshold is a goal")
}

fn rate(low: u64, high: u64) -> SearchSettings {
    SearchSettings::new(Searched::Rate, low, high)
}

/// Searches to the end and returns the search.
fn search(properties: Properties, settings: SearchSettings, seed: u64) -> Search {
    let mut target = Target::new(properties, seed);
    let mut search = Search::new(goal(), settings).expect("the settings are valid");
    loop {
        match search.step() {
            Step::Trial { load, settle, time, .. } => search.trial_ended(target.trial(load, settle, time)),
            Step::Recover { load, max_p50, calm, at_most } => {
                let (outstanding, elapsed) = target.recover(load, max_p50, calm, at_most);
                search.recovery_ended(outstanding, elapsed);
            }
            Step::Done => break,
        }
        assert!(search.rows().len() < 200, "the search does not end");
    }
    // It stays ended.
    assert_eq!(search.step(), Step::Done);
    assert!(search.spent() <= settings.time, "{:?}", search.spent());
    search
}

/// The answers of many searches.
#[derive(Debug, Default)]
struct Found {
    /// The answers over the truth, in order.
    ratios: Vec<f64>,
    seconds: Vec<f64>,
    /// Answers that are no number or are not confirmed.
    others: Vec<SearchOutcome>,
}

impl Found {
    fn of(name: &str, properties: Properties, truth: f64, settings: SearchSettings) -> Self {
        Self::of_seeds(0..SEARCHES, name, properties, truth, settings)
    }

    fn of_seeds(seeds: Range<u64>, name: &str, properties: Properties, truth: f64, settings: SearchSettings) -> Self {
        let (mut found, searches) = (Self::default(), seeds.end);
        for seed in seeds {
            let search = search(properties, settings, seed);
            found.seconds.push(search.spent().as_secs_f64());
            match search.outcome() {
                SearchOutcome {
                    answer: Answer::Number { load, above, .. },
                    end: End::Narrow,
                    confirmations: 3,
                    ..
                } => {
                    assert!(above > load && above as f64 <= load as f64 * 1.041 + 1.0, "{load} {above}");
                    found.ratios.push(load as f64 / truth);
                }
                other => found.others.push(other),
            }
        }
        found.ratios.sort_by(f64::total_cmp);
        found.seconds.sort_by(f64::total_cmp);
        let within = found.within(0.02);
        println!(
            "search: {name:<42} truth {truth:>7.0}: within 2 % {within:>3} of {searches}, ratio {:.3} to {:.3}, median \
             {:.0} s, longest {:.0} s, others {}",
            found.ratios.first().copied().unwrap_or(f64::NAN),
            found.ratios.last().copied().unwrap_or(f64::NAN),
            found.seconds[found.seconds.len() / 2],
            found.seconds[found.seconds.len() - 1],
            found.others.len(),
        );
        found
    }

    fn within(&self, width: f64) -> usize {
        self.ratios.iter().filter(|ratio| (*ratio - 1.0).abs() <= width).count()
    }
}

#[test]
fn a_known_capacity_is_found_within_two_percent_and_two_minutes() {
    for capacity in [3_333.0, 20_000.0, 77_777.0] {
        let found = Found::of("a fixed capacity", Properties::limited(capacity), capacity, rate(1_000, 100_000));
        assert_eq!(found.within(0.02), SEARCHES as usize, "{:?}", found.others);
        assert!(found.seconds.iter().all(|&seconds| seconds <= 120.0), "{:?}", found.others);
    }
}

#[test]
fn a_noisy_capacity_is_found() {
    for (name, noise, noise_time) in
        [("capacity +-3 % within 50 ms", 0.03, 0.05), ("capacity +-10 % within 20 ms", 0.1, 0.02)]
    {
        let properties = Properties { noise, noise_time, slow: 0.003, ..Properties::limited(20_000.0) };
        let found = Found::of(name, properties, Target::truth(properties), rate(1_000, 100_000));
        assert!(found.within(0.02) >= SEARCHES as usize * 95 / 100, "{:?}", found.others);
        assert!(found.seconds[found.seconds.len() / 2] <= 120.0, "{:?}", found.others);
    }
}

/// In a short trial such a pause is there or not, so the answer is as uncertain as that.
#[test]
fn pauses_that_have_nothing_to_do_with_the_load_mislead_little() {
    for (name, pause_every, pause) in
        [("pauses of 60 ms every 15 s", 15.0, 0.06), ("pauses of 100 ms every minute", 60.0, 0.1)]
    {
        let properties = Properties { pause_every, pause, ..Properties::limited(20_000.0) };
        let found = Found::of(name, properties, Target::truth(properties), rate(1_000, 100_000));
        assert!(found.within(0.2) >= SEARCHES as usize * 9 / 10, "{:?}", found.others);
    }
}

#[test]
fn a_first_value_that_is_too_high_is_halved() {
    let found = Found::of("a range that begins too high", Properties::limited(700.0), 700.0, rate(40_000, 100_000));
    assert_eq!(found.within(0.02), SEARCHES as usize, "{:?}", found.others);
    let nothing = search(Properties::limited(0.5), rate(64, 100), 1).outcome();
    assert!(matches!(nothing.answer, Answer::Nothing { lowest: 1, .. }), "{nothing:?}");
}

#[test]
fn a_target_that_an_overload_weakens_is_found() {
    for (overload_time, lowest) in [(1.0, 0.98), (8.0, 0.5)] {
        let properties =
            Properties { overload_factor: 0.5, overload_time, queue: 0.3, ..Properties::limited(20_000.0) };
        let name = format!("half the capacity for {overload_time} s after an overload");
        let found = Found::of(&name, properties, 20_000.0, rate(1_000, 100_000));
        let enough = found.ratios.iter().filter(|&&ratio| (lowest..=1.001).contains(&ratio)).count();
        assert!(enough >= SEARCHES as usize * 95 / 100, "{:?}", found.others);
    }
}

#[test]
fn a_generator_that_is_slower_than_the_target_is_the_limit() {
    for seed in 0..SEARCHES {
        let properties = Properties { generator: 30_000.0, ..Properties::limited(1e9) };
        let outcome = search(properties, rate(1_000, 100_000), seed).outcome();
        let Answer::AtLeast { load, bound: Bound::Generator { above, reason: Reason::Untrusted(_) } } = outcome.answer
        else {
            panic!("{outcome:?}")
        };
        assert!((29_400..=30_000).contains(&load) && above > 30_000 && outcome.confirmations == 3, "{load}");
        // If the target fails first, the generator does not matter.
        let properties = Properties { generator: 24_000.0, ..Properties::limited(20_000.0) };
        let outcome = search(properties, rate(1_000, 100_000), seed).outcome();
        assert!(matches!(outcome.answer, Answer::Number { load: 19_600..=20_000, .. }), "{outcome:?}");
    }
}

#[test]
fn an_accident_of_the_generator_is_no_limit() {
    let limited = Properties::limited(20_000.0);
    for (name, properties) in [
        ("20 % of trials with a busy generator", Properties { accident: 0.2, ..limited }),
        ("20 % of trials with a late generator", Properties { unsteady: 0.2, ..limited }),
        ("all trials with a late generator", Properties { unsteady: 1.0, ..limited }),
    ] {
        let found = Found::of_seeds(0..DISTURBED, name, properties, 20_000.0, rate(1_000, 100_000));
        assert!(found.within(0.03) >= DISTURBED as usize * 99 / 100, "{:?}", found.others);
        assert!(found.seconds[found.seconds.len() / 2] <= 125.0, "{:?}", found.seconds);
    }
}

#[test]
fn a_generator_that_falls_behind_is_never_the_number_of_a_target() {
    for (capacity, unsteady) in [(1e9, 0.0), (40_000.0, 0.0), (32_000.0, 0.2), (1e9, 1.0)] {
        for seed in 0..SEARCHES / 4 {
            let properties = Properties { generator_speed: 30_000.0, unsteady, ..Properties::limited(capacity) };
            let search = search(properties, rate(1_000, 100_000), seed);
            let Answer::AtLeast { load, bound: Bound::Generator { above, .. } } = search.outcome().answer else {
                panic!("{:?} {:?}", search.outcome(), search.rows())
            };
            assert!((26_000..=30_600).contains(&load) && above > load, "{load} {above}");
        }
    }
}

/// A queue of 5 ms, or 100 operations, overflows above 12,500 operations per second if a pause of 8 ms is made up for.
#[test]
fn operations_that_a_late_generator_makes_a_target_drop_are_not_its_limit() {
    for seed in 0..SEARCHES {
        let properties = Properties { unsteady: 1.0, queue: 0.005, ..Properties::limited(20_000.0) };
        let search = search(properties, rate(1_000, 100_000), seed);
        match search.outcome().answer {
            Answer::AtLeast { load: 12_500..=20_000, bound: Bound::Generator { .. } } => {}
            Answer::Number { load: 19_400..=20_600, .. } => {}
            other => panic!("{other:?} {:?}", search.rows()),
        }
    }
}

#[test]
fn a_limit_of_the_generator_close_to_that_of_the_target_gives_no_wrong_number() {
    let limited = Properties::limited(30_500.0);
    for properties in [
        Properties { generator: 30_000.0, ..limited },
        Properties { generator_speed: 30_000.0, ..limited },
        Properties { generator_speed: 30_000.0, unsteady: 0.2, ..limited },
        Properties { generator: 30_500.0, ..Properties::limited(30_000.0) },
        Properties { generator_speed: 30_500.0, unsteady: 0.2, ..Properties::limited(30_000.0) },
        Properties { generator: 30_000.0, accident: 0.3, noise: 0.03, noise_time: 0.05, ..limited },
    ] {
        let mut numbers = 0;
        for seed in 0..SEARCHES / 2 {
            let search = search(properties, rate(1_000, 100_000), seed);
            match search.outcome().answer {
                Answer::AtLeast { load, bound: Bound::Generator { .. } } => assert!(load <= 31_100, "{load}"),
                Answer::Number { load, above, .. } => {
                    numbers += 1;
                    let is_right =
                        load as f64 <= 1.02 * properties.capacity && above as f64 >= 0.98 * properties.capacity;
                    assert!(is_right, "{load} {above} {:?}", search.rows());
                }
                other => panic!("{other:?} {:?}", search.rows()),
            }
        }
        println!("search: {numbers} numbers of {} searches with {properties:?}", SEARCHES / 2);
    }
}

/// A trial whose generator was busy.
fn busy(load: u64, time: Duration) -> Trial {
    Trial { distrust: Some(Distrust::Busy("its thread was busy".to_owned())), ..trial(load, time, true) }
}

#[test]
fn a_number_never_rests_on_one_short_trial_above_loads_without_a_trusted_one() {
    let search = search_by(rate(1_000, 100_000), |load, time| match load {
        20_301..=20_699 => busy(load, time),
        _ => trial(load, time, load <= 20_300),
    });
    let Answer::Number { load: 20_000..=20_300, above, .. } = search.outcome().answer else {
        panic!("{:?} {:?}", search.outcome(), search.rows())
    };
    let fails = search.rows().iter().filter(|row| row.load == above && row.verdict == TrialVerdict::Fail).count();
    assert!(fails >= 2, "{above} {:?}", search.rows());
}

#[test]
fn the_reason_of_a_number_is_a_trusted_trial() {
    let mut search = Search::new(goal(), rate(1_000, 4_000).with_width(0.99)).unwrap();
    let mut is_cut = false;
    while !is_cut {
        match search.step() {
            Step::Trial { load, time, purpose, .. } => {
                is_cut = purpose == Purpose::Recheck;
                search.trial_ended(if is_cut { busy(load, time) } else { trial(load, time, load < 2_000) });
            }
            Step::Recover { calm, .. } => search.recovery_ended(0, calm),
            Step::Done => panic!("{:?}", search.rows()),
        }
    }
    let Answer::Number { above: 2_000, reason, .. } = search.outcome().answer else { panic!("{:?}", search.outcome()) };
    assert!(matches!(reason, Reason::Goal { .. }), "{reason}");
}

#[test]
fn a_confirming_run_that_was_repeated_still_is_one() {
    // The target tires: long trials pass only up to 15,000. The first confirming run has a busy generator.
    let mut long = 0;
    let search = search_by(rate(1_000, 100_000), |load, time| {
        let is_long = time >= Duration::from_secs(10);
        long += u32::from(is_long);
        if is_long && long == 1 {
            busy(load, time)
        } else {
            trial(load, time, load <= if is_long { 15_000 } else { 20_000 })
        }
    });
    let rows = search.rows();
    let first = rows.iter().position(|row| row.verdict == TrialVerdict::Generator).unwrap();
    assert_eq!((rows[first + 1].load, rows[first + 1].purpose), (rows[first].load, Purpose::Confirm));
    assert!(rows[first..].iter().all(|row| row.time == Duration::from_secs(10)), "{rows:?}");
    assert!(matches!(search.outcome().answer, Answer::Number { load: 14_700..=15_000, .. }), "{:?}", search.outcome());
}

#[test]
fn a_failing_load_above_an_untrusted_one_is_known() {
    let search = search_by(rate(1_000, 100_000), |load, time| match load {
        500 => busy(load, time),
        _ => trial(load, time, false),
    });
    let Answer::Nothing { lowest: 500, reason: Reason::Untrusted(_), fails } = search.outcome().answer else {
        panic!("{:?}", search.outcome())
    };
    assert!(matches!(fails, Some((1_000, Reason::Goal { .. }))), "{fails:?}");
}

#[test]
fn a_load_that_is_trusted_at_last_does_not_slow_the_climb() {
    let mut tries = 0;
    let search = search_by(rate(1_000, 100_000), |load, time| {
        tries += u32::from(load == 4_000);
        if load == 4_000 && tries < 3 { busy(load, time) } else { trial(load, time, load <= 20_000) }
    });
    let climb = search.rows().iter().filter(|row| row.purpose == Purpose::Climb).map(|row| row.load);
    assert_eq!(climb.collect::<Vec<u64>>(), [1_000, 2_000, 4_000, 4_000, 4_000, 8_000, 16_000, 32_000]);
}

#[test]
fn a_generator_that_cannot_carry_the_first_load_ends_the_search_at_once() {
    for (low, trials) in [(1_000, 4), (50_000, 4)] {
        let busy = search_by(rate(low, 100_000), |load, time| Trial {
            distrust: Some(Distrust::Busy("its thread was busy".to_owned())),
            ..trial(load, time, true)
        });
        let Answer::Nothing { lowest, reason: Reason::Untrusted(_), fails: None } = busy.outcome().answer else {
            panic!("{:?}", busy.outcome())
        };
        assert_eq!((lowest, busy.rows().len(), busy.outcome().end), (low, trials, End::Narrow));
    }
    let late = search_by(rate(1_000, 100_000), |load, time| Trial {
        distrust: Some(Distrust::Late { reason: "its loop woke up late".to_owned(), remainder: None }),
        ..trial(load, time, false)
    });
    assert!(matches!(late.outcome().answer, Answer::Nothing { lowest: 1_000, fails: None, .. }));
    let times: Vec<u64> = late.rows().iter().map(|row| row.time.as_secs()).collect();
    assert_eq!(times, [2, 2, 10]);
}

/// Searches a target whose trials depend on nothing but their load.
fn search_by(settings: SearchSettings, mut trial: impl FnMut(u64, Duration) -> Trial) -> Search {
    let mut search = Search::new(goal(), settings).expect("the settings are valid");
    loop {
        match search.step() {
            Step::Trial { load, settle, time, .. } => {
                assert!((1..=settings.high).contains(&load), "{load}");
                search.trial_ended(Trial { elapsed: settle + time, ..trial(load, time) });
            }
            Step::Recover { calm, .. } => search.recovery_ended(0, calm),
            Step::Done => return search,
        }
        assert!(search.rows().len() < 500, "the search does not end");
    }
}

/// A trial in which all operations, or none, are in time.
fn trial(load: u64, time: Duration, is_good: bool) -> Trial {
    let total = (load / 10).max(1);
    let intervals = (time.as_millis() / 100) as u64;
    let share = Share { above: if is_good { 0 } else { total }, total };
    Trial {
        shares: vec![share; intervals as usize],
        planned: total * intervals,
        completed: total * intervals,
        p50: Some(1_000),
        ..Trial::default()
    }
}

/// A trial of a node that accepts so many peers, and evicts others for more.
fn peers_trial(max_peers: u64, load: u64, time: Duration) -> Trial {
    Trial { missing_peers: load.saturating_sub(max_peers), ..trial(10 * load, time, true) }
}

#[test]
fn the_number_of_peers_is_found_exactly() {
    for max_peers in [1, 2, 116, 117, 856, 10_000] {
        for low in [1, 50, 1_000] {
            let settings = SearchSettings::new(Searched::Peers, low, 20_000);
            let search = search_by(settings, |load, time| peers_trial(max_peers, load, time));
            let outcome = search.outcome();
            let Answer::Number { load, above, reason: Reason::MissingPeers(1) } = outcome.answer else {
                panic!("{outcome:?}")
            };
            assert_eq!((load, above, outcome.end, outcome.confirmations), (max_peers, max_peers + 1, End::Narrow, 3));
        }
    }
}

#[test]
fn the_end_of_the_range_is_no_limit_of_the_target() {
    let search = search_by(rate(1_000, 50_000), |load, time| trial(load, time, true));
    let outcome = search.outcome();
    assert_eq!(outcome.answer, Answer::AtLeast { load: 50_000, bound: Bound::Range });
    assert_eq!((outcome.end, outcome.confirmations), (End::Narrow, 3));
}

#[test]
fn a_search_without_time_says_so() {
    let minute = rate(1_000, 100_000).with_time(Duration::from_secs(60));
    let outcome = search_by(minute, |load, time| trial(load, time, load <= 20_000)).outcome();
    let Answer::Number { load: 16_000.., above, .. } = outcome.answer else { panic!("{outcome:?}") };
    assert!(above > 20_000 && outcome.end == End::Time && outcome.confirmations == 3, "{outcome:?}");
    let short = rate(10, 100_000).with_time(Duration::from_secs(40));
    let outcome = search_by(short, |load, time| trial(load, time, true)).outcome();
    assert!(matches!(outcome.answer, Answer::AtLeast { bound: Bound::Time, .. }), "{outcome:?}");
    assert_eq!(outcome.end, End::Time);
}

#[test]
fn a_target_that_does_not_recover_ends_the_search() {
    let mut search = Search::new(goal(), rate(1_000, 100_000)).unwrap();
    let mut recoveries = Vec::new();
    loop {
        match search.step() {
            Step::Trial { load, settle, time, .. } => {
                search.trial_ended(Trial { elapsed: settle + time, ..trial(load, time, load <= 20_000) });
            }
            Step::Recover { load, at_most, max_p50, .. } => {
                assert_eq!(max_p50, Some(1_500));
                recoveries.push(load);
                search.recovery_ended(7, at_most / 10);
            }
            Step::Done => break,
        }
    }
    assert_eq!(recoveries, [3_200, 320, 32, 3, 1]);
    let outcome = search.outcome();
    assert!(matches!(outcome.answer, Answer::Number { load: 16_000, above: 32_000, .. }), "{outcome:?}");
    assert_eq!((outcome.end, outcome.confirmations), (End::NotRecovered, 0));
}

#[test]
fn a_target_recovers_to_the_median_of_a_like_load() {
    // Each peer makes the target slower.
    let mut search = Search::new(goal(), SearchSettings::new(Searched::Peers, 10, 1_000)).unwrap();
    let mut recoveries = Vec::new();
    loop {
        match search.step() {
            Step::Trial { load, settle, time, .. } => {
                let trial = Trial { p50: Some(1_000 * load), ..trial(load, time, load <= 116) };
                search.trial_ended(Trial { elapsed: settle + time, ..trial });
            }
            Step::Recover { load, max_p50, calm, .. } => {
                recoveries.push((load, max_p50));
                search.recovery_ended(0, calm);
            }
            Step::Done => break,
        }
    }
    assert_eq!(recoveries[0], (80, Some(120_000)));
    assert!(recoveries.iter().all(|&(load, max_p50)| max_p50 == Some(1_500 * load)), "{recoveries:?}");
    // A tenth of a rate is seldom one that was tried: the next higher one counts.
    let mut search = Search::new(goal(), rate(1_000, 100_000)).unwrap();
    while let Step::Trial { load, time, .. } = search.step() {
        search.trial_ended(Trial { p50: Some(load), ..trial(load, time, load <= 20_000) });
    }
    assert!(matches!(search.step(), Step::Recover { load: 3_200, max_p50: Some(6_000), .. }), "{:?}", search.step());
}

#[test]
fn one_bad_trial_is_not_believed() {
    // The very first trial of the load 8,000 fails, by a stall that has nothing to do with the target.
    let mut trials = 0;
    let search = search_by(rate(1_000, 100_000), |load, time| {
        trials += u32::from(load == 8_000);
        trial(load, time, load <= 20_000 && !(load == 8_000 && trials == 1))
    });
    let outcome = search.outcome();
    assert!(matches!(outcome.answer, Answer::Number { load: 19_600..=20_000, .. }), "{outcome:?} {:?}", search.rows());
    // A range of loads that always fails is no noise, although much higher loads pass.
    let search = search_by(rate(1_000, 100_000), |load, time| trial(load, time, !(6_000..9_000).contains(&load)));
    assert!(matches!(search.outcome().answer, Answer::Number { load: 5_880..6_000, .. }), "{:?}", search.outcome());
}

#[test]
fn a_confirming_run_that_fails_steps_down() {
    // Short trials pass up to 20,000, but the target tires: long ones pass only up to 15,000.
    let search = search_by(rate(1_000, 100_000), |load, time| {
        trial(load, time, load <= if time < Duration::from_secs(10) { 20_000 } else { 15_000 })
    });
    let outcome = search.outcome();
    assert!(matches!(outcome.answer, Answer::Number { load: 14_700..=15_000, .. }), "{outcome:?}");
    assert_eq!((outcome.end, outcome.confirmations), (End::Narrow, 3));
}

#[test]
fn the_table_names_every_trial() {
    let search = search_by(rate(1_000, 100_000), |load, time| trial(load, time, load <= 20_000));
    let rows = search.rows();
    assert_eq!(rows[..3].iter().map(|row| row.load).collect::<Vec<u64>>(), [1_000, 2_000, 4_000]);
    assert!(rows.iter().all(|row| row.p50 == Some(1_000)));
    assert!(
        rows.iter().any(|row| row.verdict == TrialVerdict::Fail && row.reason.to_string().contains("miss the limit"))
    );
    let settled: Duration = rows.iter().map(|row| row.time).sum();
    assert!(settled < search.spent());
}

proptest::proptest! {
    #[test]
    fn any_capacity_is_found(
        capacity in 1_u64..200_000,
        low in 1_u64..100_000,
        range in 0_u64..100_000,
        is_peers in proptest::bool::ANY,
    ) {
        let searched = if is_peers { Searched::Peers } else { Searched::Rate };
        let settings =
            SearchSettings::new(searched, low, low + range).with_time(Duration::from_secs(100_000));
        let outcome = search_by(settings, |load, time| trial(load, time, load <= capacity)).outcome();
        proptest::prop_assert_eq!((outcome.end, outcome.confirmations), (End::Narrow, 3));
        match outcome.answer {
            Answer::Number { load, above, .. } => {
                let gap = if is_peers { 1 } else { (load / 50).max(1) };
                proptest::prop_assert!(load <= capacity && capacity < above && above - load <= gap);
            }
            Answer::AtLeast { load, bound } => {
                proptest::prop_assert_eq!((load, bound), (low + range, Bound::Range));
                proptest::prop_assert!(capacity >= low + range);
            }
            Answer::Nothing { .. } => proptest::prop_assert!(false, "1 always passes"),
        }
    }

    /// With any trials, the search ends in its time with an answer that its table supports.
    #[test]
    fn every_search_ends(
        seed in proptest::num::u64::ANY,
        low in 1_u64..5_000,
        range in 0_u64..100_000,
        seconds in 40_u64..600,
    ) {
        let mut random = crate::random::Random::new(seed);
        let settings = rate(low, low + range).with_time(Duration::from_secs(seconds));
        let late = |remainder| Some(Distrust::Late { reason: String::new(), remainder });
        let nothing = Remainder { shares: Vec::new(), completed: 0, failed: 0 };
        let mut distrusts = vec![Some(Distrust::Busy(String::new())), late(None), late(Some(nothing))];
        distrusts.resize(10, None);
        let search = search_by(settings, |load, time| {
            let good = trial(load, time, random.uniform() < 0.5);
            let is_short = random.uniform() < 0.3;
            Trial {
                completed: if is_short { good.planned * 97 / 100 } else { good.planned },
                distrust: distrusts[(random.uniform() * 10.0) as usize].clone(),
                ..good
            }
        });
        proptest::prop_assert!(search.spent() <= settings.time + Duration::from_secs(40));
        let has_passed = |load: u64| search.rows().iter().any(|row| row.load == load && row.verdict.is_good());
        let is_untrusted = |reason: &Reason| matches!(reason, Reason::Untrusted(_));
        match search.outcome() {
            SearchOutcome { answer: Answer::Number { load, above, reason }, end, .. } => {
                proptest::prop_assert!(load < above && has_passed(load) && !is_untrusted(&reason));
                let bad = search.rows().iter().filter(|row| row.load == above && !row.verdict.is_good());
                let weight: u64 = bad.map(|row| u64::from(!is_untrusted(&row.reason)) * row.time.as_secs()).sum();
                proptest::prop_assert!(end != End::Narrow || weight > 2, "one short trial decides");
            }
            SearchOutcome { answer: Answer::AtLeast { load, bound }, .. } => {
                proptest::prop_assert!(has_passed(load));
                if let Bound::Generator { reason, .. } = bound {
                    proptest::prop_assert!(is_untrusted(&reason));
                }
            }
            SearchOutcome { answer: Answer::Nothing { .. }, .. } => {}
        }
    }
}
