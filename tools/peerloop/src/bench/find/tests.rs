//! Searches with simulated targets, whose time passes with their intervals.

use super::driver::{Found, Task, search};
use super::load::{Load, Sample};
use super::results::document;
use super::terms::Find;
use crate::bench::min_peers::MinPeers;
use peerloop_measure::{Answer, Bound, End, Goal, Reason, SearchSettings, Searched, Tally};
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

const MILLI: u64 = 1_000_000;

/// A target that answers operations one after another, and the generator before it.
#[derive(Debug)]
struct Target {
    /// Replies per second.
    capacity: u64,
    /// The longest wait, in milliseconds, beyond which an operation is dropped.
    max_wait: u64,
    max_peers: u64,
    /// The load above which the generator is late, by 60 ms.
    generator: u64,
    /// How long the generator pauses at the begin of every fifth interval, in milliseconds.
    pause: u64,
    /// Whether the generator answers requests in time.
    answers: bool,
    /// The highest load whose peers are all ready or have failed at once.
    settles: u64,
    /// The number of intervals after which the load ends.
    intervals: usize,
    what: Searched,
    // The state.
    load: u64,
    peers: u64,
    now: u64,
    /// The moments at which operations are due that the paused generator owes, in milliseconds.
    owed: Vec<u64>,
    /// The moments at which waiting operations were due, and their lags, in milliseconds.
    waiting: VecDeque<(u64, u64)>,
    /// The same of dropped operations.
    dropped: Vec<(u64, u64)>,
    /// Thousandths of an operation and of a reply.
    parts: (u64, u64),
    restored: u32,
}

impl Target {
    fn new(what: Searched, capacity: u64) -> Self {
        Self {
            capacity,
            max_wait: 100,
            max_peers: u64::MAX,
            generator: u64::MAX,
            pause: 0,
            answers: true,
            settles: u64::MAX,
            intervals: usize::MAX,
            what,
            load: 1,
            peers: 10,
            now: 0,
            owed: Vec::new(),
            waiting: VecDeque::new(),
            dropped: Vec::new(),
            parts: (0, 0),
            restored: 0,
        }
    }

    /// Returns the operations per second. Each peer has ten.
    fn rate(&self) -> u64 {
        if self.what == Searched::Rate { self.load } else { 10 * self.peers }
    }
}

impl Load for Target {
    fn apply(&mut self, load: u64) {
        self.load = load;
        if self.what == Searched::Peers {
            self.peers = load.min(self.max_peers);
        }
    }

    fn restore_peers(&mut self) {
        self.restored += 1;
    }

    fn unanswered(&mut self, ages: Range<Duration>, lags: Range<Duration>) -> Option<u64> {
        let is_within = |&&(due, lag): &&(u64, u64)| {
            ages.contains(&Duration::from_millis(self.now - due)) && lags.contains(&Duration::from_millis(lag))
        };
        let count = self.waiting.iter().chain(&self.dropped).filter(is_within).count() as u64;
        self.answers.then_some(count)
    }

    fn give_up(&mut self, older_than: Duration) -> Option<u64> {
        let before = self.dropped.len();
        self.dropped.retain(|&(due, _)| Duration::from_millis(self.now - due) < older_than);
        self.answers.then_some((before - self.dropped.len()) as u64)
    }

    fn next(&mut self) -> Option<Sample> {
        self.intervals = self.intervals.checked_sub(1)?;
        let (mut planned, mut answered) = (0, 0);
        let (mut latencies, mut send_lags) = (Vec::new(), Vec::new());
        let pause = if (self.now / 100).is_multiple_of(5) { self.pause } else { 0 };
        for millis in 0..100 {
            self.now += 1;
            self.parts.0 += self.rate();
            while self.parts.0 >= 1_000 {
                self.parts.0 -= 1_000;
                planned += 1;
                self.owed.push(self.now);
            }
            let sent = if millis < pause { Vec::new() } else { std::mem::take(&mut self.owed) };
            for due in sent {
                let operation = (due, self.now - due);
                match self.waiting.len() as u64 * 1_000 > self.max_wait * self.capacity {
                    true => self.dropped.push(operation),
                    false => self.waiting.push_back(operation),
                }
            }
            self.parts.1 += self.capacity;
            while self.parts.1 >= 1_000
                && let Some((due, lag)) = self.waiting.pop_front()
            {
                self.parts.1 -= 1_000;
                answered += 1;
                latencies.push(((self.now - due) * MILLI + MILLI / 5, 1));
                send_lags.push((lag * MILLI + 1_000, 1));
            }
            if self.waiting.is_empty() {
                // Idle time saves nothing.
                self.parts.1 = self.parts.1.min(1_000);
            }
        }
        let is_late = self.rate() > self.generator;
        let lag = if is_late { 60 * MILLI } else { 1_000 };
        if is_late {
            latencies.iter_mut().for_each(|(latency, _)| *latency += lag);
        }
        Some(Sample {
            length: Duration::from_millis(100),
            planned,
            absent: 0,
            answered,
            broken: 0,
            peers: self.peers,
            latencies: Tally::from_counts(latencies, 0),
            send_lag: Tally::from_counts(send_lags, 0),
            loop_lag: Tally::from_counts([(lag, 100), (pause.max(1) * MILLI, u64::from(pause > 0))], 0),
        })
    }

    fn busy(&mut self) -> Option<(Duration, Duration)> {
        self.answers.then_some((Duration::from_millis(self.now / 2), Duration::from_millis(self.now)))
    }

    fn is_settled(&mut self) -> bool {
        self.load <= self.settles
    }

    fn show(&mut self, line: &str) {
        assert!(line.starts_with("search  trial ") && line.contains("  best "), "{line}");
    }
}

fn task(what: Searched, low: u64, high: u64) -> Task {
    Task {
        goal: Goal::of(&"ping_rtt:p99<50ms".parse().unwrap()).unwrap(),
        settings: SearchSettings::new(what, low, high),
        limit: Duration::from_millis(50),
        peers: 10,
        min_peers: MinPeers::Share(1_000_000),
        connect_rate: 100.0,
    }
}

fn found(target: &mut Target, low: u64, high: u64) -> Found {
    let task = task(target.what, low, high);
    search(target, task).expect("the settings are valid")
}

/// Asserts that the answer is within 3 % of the capacity, and that every load that passed was answered in time.
#[track_caller]
fn assert_rate(found: &Found, capacity: u64) {
    let Answer::Number { load, above, .. } = found.outcome.answer else { panic!("{found:?}") };
    assert!(load.abs_diff(capacity) * 100 <= 3 * capacity && above > load, "{:?}", found.outcome);
    assert_eq!((found.outcome.end, found.outcome.confirmations, found.is_cut), (End::Narrow, 3, false));
    assert!(found.spent <= Duration::from_secs(120), "{:?}", found.spent);
    for (row, measured) in found.trials.iter().filter(|(row, _)| row.verdict.is_good()) {
        assert!(row.load <= capacity * 103 / 100, "{row:?}");
        assert!(measured.p99.unwrap().as_f64() < 50e6, "{row:?} {measured:?}");
        assert_eq!(measured.length, row.time);
    }
}

#[test]
fn the_rate_of_a_target_that_drops_is_found() {
    for capacity in [1_700, 2_000, 2_345] {
        let mut target = Target::new(Searched::Rate, capacity);
        let found = found(&mut target, 100, 20_000);
        assert_rate(&found, capacity);
        let bad = found.trials.iter().filter(|(row, _)| !row.verdict.is_good()).count();
        assert!(bad >= 2 && target.restored as usize >= bad, "{bad} bad trials, {} recoveries", target.restored);
        let dropping = found.trials.iter().max_by_key(|(row, _)| row.load).unwrap();
        assert!(dropping.1.failed > 0 && dropping.1.answered < dropping.1.planned, "{dropping:?}");
    }
}

#[test]
fn a_target_that_drops_nothing_recovers_before_the_next_trial() {
    let mut target = Target { max_wait: u64::MAX / 1_000_000, ..Target::new(Searched::Rate, 2_000) };
    let found = found(&mut target, 100, 20_000);
    assert_rate(&found, 2_000);
    assert!(target.waiting.len() < 200, "{} operations wait", target.waiting.len());
}

#[test]
fn a_late_generator_is_never_a_limit_of_the_target() {
    let mut target = Target { generator: 3_000, ..Target::new(Searched::Rate, 1_000_000) };
    let found = found(&mut target, 100, 20_000);
    let Answer::AtLeast { load, bound: Bound::Generator { above, reason } } = &found.outcome.answer else {
        panic!("{:?}", found.outcome)
    };
    assert!((2_900..=3_000).contains(load) && *above > 3_000, "{load} {above}");
    assert_eq!(reason.to_string(), "the generator was the limit: its loop woke up to 60.0 ms late");
}

#[test]
fn operations_that_a_target_drops_after_a_pause_of_the_generator_are_not_its_limit() {
    // At 1,000 operations per second, 40 are sent at once after a pause. The queue holds 10 of them.
    let mut target = Target { pause: 40, max_wait: 5, ..Target::new(Searched::Rate, 2_000) };
    let found = found(&mut target, 1_000, 20_000);
    assert!(found.trials[0].1.failed > 0, "{:?}", found.trials);
    let Answer::Nothing { lowest: 1_000, reason, fails: None } = &found.outcome.answer else {
        panic!("{:?}", found.outcome)
    };
    assert_eq!(reason.to_string(), "the generator was the limit: its loop woke up to 40.0 ms late");
}

#[test]
fn a_load_that_fails_is_named_even_if_the_generator_is_the_limit_below_it() {
    let mut target = Target { pause: 40, max_wait: 5, ..Target::new(Searched::Rate, 400) };
    let found = found(&mut target, 1_000, 20_000);
    let document = document(&Find::example("ping_rtt:p99<50ms"), &found);
    assert_eq!((document.load, document.above), (None, Some(500)), "{}", document.reason);
    let begin = "the most that meets ping_rtt:p99<50ms is below 500/s, at which ";
    assert!(document.reason.starts_with(begin), "{}", document.reason);
    assert!(document.reason.contains("; at 250/s, the generator was the limit: "), "{}", document.reason);
}

#[test]
fn a_generator_that_does_not_answer_says_nothing_about_the_target() {
    let mut target = Target { answers: false, ..Target::new(Searched::Rate, 2_000) };
    let found = found(&mut target, 100, 20_000);
    let Answer::Nothing { lowest: 100, reason, fails: None } = &found.outcome.answer else {
        panic!("{:?}", found.outcome)
    };
    assert_eq!(reason.to_string(), "the generator was the limit: it did not answer within a second");
}

#[test]
fn peers_that_open_slowly_do_not_prolong_a_search() {
    // Each trial of more than 100 peers waits for its dials and for 15 s.
    let mut target = Target { settles: 100, ..Target::new(Searched::Peers, 1_000_000) };
    let task = task(Searched::Peers, 10, 10_000);
    let task = Task { settings: task.settings.with_time(Duration::from_secs(160)), connect_rate: 10.0, ..task };
    let found = search(&mut target, task).unwrap();
    assert!(target.now <= 160_000 && found.outcome.end == End::Time, "{} ms, {:?}", target.now, found.outcome);
    assert!(matches!(found.outcome.answer, Answer::AtLeast { load: 160.., bound: Bound::Time }), "{:?}", found.outcome);
}

#[test]
fn the_number_of_peers_that_a_target_accepts_is_exact() {
    for max_peers in [1, 116, 856] {
        let mut target = Target { max_peers, ..Target::new(Searched::Peers, 100_000) };
        let found = found(&mut target, 10, 2_000);
        let Answer::Number { load, above, reason: Reason::MissingPeers(1) } = found.outcome.answer else {
            panic!("{:?}", found.outcome)
        };
        assert_eq!((load, above, found.outcome.confirmations), (max_peers, max_peers + 1, 3));
    }
}

#[test]
fn a_search_that_is_cut_short_reports_its_bounds() {
    // The load ends after the first overload: 400, 800, 1,600 and 3,200 operations per second, each in 3.1 s.
    let mut target = Target { intervals: 4 * 31 + 5, ..Target::new(Searched::Rate, 2_000) };
    let found = found(&mut target, 400, 20_000);
    assert!(found.is_cut);
    let Answer::Number { load: 1_600, above: 3_200, .. } = found.outcome.answer else { panic!("{:?}", found.outcome) };
    assert_eq!(found.trials.len(), 4);
    let begins: Vec<u128> = found.trials.iter().map(|(_, measured)| measured.begin.as_millis()).collect();
    assert_eq!(begins, (0..4).map(|trial| 1_100 + trial * 3_100).collect::<Vec<u128>>());
    let mut ended = Target { intervals: 0, ..Target::new(Searched::Rate, 2_000) };
    let none = search(&mut ended, task(Searched::Rate, 100, 20_000)).unwrap();
    assert!(none.is_cut && none.trials.is_empty());
}
