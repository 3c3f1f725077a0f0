//! The terms of a search, as the flags describe them.
//!
//! Terms with which no search could answer are refused before the load begins: a goal without a share of operations, or
//! a time that is too short for the trials.

use super::trial::FAILED_AFTER;
use crate::cli::FindArgs;
use crate::exit::Failure;
use crate::thresholds::Condition;
use crate::units::{counted, parse_count, show_rate, show_seconds};
use clap::ValueEnum;
use peerloop_measure::{Function, Goal, Search, SearchSettings, Searched};
use std::time::Duration;

/// The quantity whose maximum is searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FindWhat {
    /// Operations per second of all peers together
    #[default]
    Rate,
    /// Peers
    Peers,
}

/// The loads of a search: the first one and the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FindRange {
    low: u64,
    high: u64,
}

/// The ranges of a search without `--find-range`.
const RATES: FindRange = FindRange { low: 1_000, high: 100_000 };
const PEERS: FindRange = FindRange { low: 10, high: 10_000 };

/// The time that a run may last in addition to that of its search: peers that are opened slowly, and the last steps.
const EXTRA_TIME: Duration = Duration::from_secs(3_600);

/// A search for the highest load that meets a goal.
#[derive(Clone, Debug)]
pub(crate) struct Find {
    pub(crate) condition: Condition,
    pub(crate) settings: SearchSettings,
    pub(super) goal: Goal,
    /// The latency of the goal; without one, the time after which an operation has failed.
    pub(super) limit: Duration,
}

impl Find {
    /// Reads the flags; `None` if they describe no search.
    pub(crate) fn new(args: &FindArgs) -> Result<Option<Self>, Failure> {
        let Some(condition) = args.find_max.clone() else { return Ok(None) };
        let goal = Goal::of(&condition.threshold).map_err(|error| Failure::usage(error.to_string()))?;
        let limit = match condition.threshold.function {
            Function::Percentile(_) => Duration::from_nanos(condition.threshold.limit as u64),
            Function::Max | Function::Mean | Function::Count | Function::Rate | Function::Failed => FAILED_AFTER,
        };
        let (searched, usual) = match args.find_what {
            FindWhat::Rate => (Searched::Rate, RATES),
            FindWhat::Peers => (Searched::Peers, PEERS),
        };
        let FindRange { low, high } = args.find_range.unwrap_or(usual);
        let settings = SearchSettings::new(searched, low, high)
            .with_width(args.find_width)
            .with_time(args.find_time)
            .with_confirmations(args.confirm);
        Search::new(goal, settings).map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Some(Self { condition, settings, goal, limit }))
    }

    /// Returns a search of a rate for this goal.
    #[cfg(test)]
    pub(crate) fn example(goal: &str) -> Self {
        let condition = crate::thresholds::parse_condition(goal).expect("the goal is valid");
        let limit = Duration::from_nanos(condition.threshold.limit as u64);
        let goal = Goal::of(&condition.threshold).expect("the goal can be searched");
        let settings = SearchSettings::new(Searched::Rate, RATES.low, RATES.high);
        Self { condition, settings, goal, limit }
    }

    /// Returns the length of the run that carries the search. The search ends it sooner.
    pub(crate) fn run_time(&self) -> Duration {
        self.settings.time.saturating_mul(2).saturating_add(EXTRA_TIME)
    }

    /// Returns whether the number of peers is searched.
    pub(crate) fn is_for_peers(&self) -> bool {
        self.settings.searched == Searched::Peers
    }

    /// Describes the search in parts.
    pub(crate) fn parts(&self) -> [String; 3] {
        let SearchSettings { low, high, time, .. } = self.settings;
        let [low, high] = [low, high].map(|load| shown(self.settings.searched, load));
        [self.condition.text.clone(), format!("from {low} to {high}"), format!("within {}", show_seconds(time))]
    }
}

/// Formats a load: `1500/s`, `116 peers`.
pub(super) fn shown(searched: Searched, load: u64) -> String {
    match searched {
        Searched::Rate => show_rate(load as f64),
        Searched::Peers => counted(load, "peer"),
    }
}

/// Parses a range of loads: `1k..100k`.
pub(crate) fn parse_find_range(text: &str) -> Result<FindRange, String> {
    let refused = |problem: &str| format!("`{text}` is not a range: {problem}; use LOW..HIGH, for example 1k..100k");
    let (low, high) = text.split_once("..").ok_or_else(|| refused("the two dots are missing"))?;
    let number = |text: &str| parse_count(text).map(|count| count as u64).map_err(|error| refused(&error));
    let (low, high) = (number(low)?, number(high)?);
    if low > high { Err(refused("its begin is above its end")) } else { Ok(FindRange { low, high }) }
}

/// Parses a width: `2%`, `0.02`.
pub(crate) fn parse_find_width(text: &str) -> Result<f64, String> {
    let (digits, divisor) = text.strip_suffix('%').map_or((text, 1.0), |digits| (digits, 100.0));
    let width = digits.parse().ok().map(|number: f64| number / divisor);
    let width = width.filter(|width| (0.001..1.0).contains(width));
    width.ok_or_else(|| format!("`{text}` is not a width: use a share from 0.1% to 99%, for example 2%"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse_from};

    fn find(flags: &[&str]) -> Result<Option<Find>, String> {
        let arguments = ["peerloop", "bench"].iter().chain(flags);
        let cli = parse_from(arguments).map_err(|error| error.to_string())?;
        let Some(Command::Bench(args)) = cli.command else { panic!("another command") };
        Find::new(&args.find).map_err(|failure| failure.message)
    }

    #[test]
    fn flags_without_a_goal_are_no_search_and_defaults_are_those_of_the_manual() {
        assert!(find(&[]).unwrap().is_none());
        let rate = find(&["--find-max", "ping_rtt:p99<50ms"]).unwrap().unwrap();
        assert_eq!(rate.settings, SearchSettings::new(Searched::Rate, 1_000, 100_000));
        assert_eq!((rate.limit, rate.is_for_peers()), (Duration::from_millis(50), false));
        assert_eq!(rate.parts(), ["ping_rtt:p99<50ms", "from 1000/s to 100000/s", "within 300 s"]);
        let peers = find(&["--find-max", "ping_rtt:failed<1%", "--find-what", "peers", "--find-range", "1..20k"]);
        let peers = peers.unwrap().unwrap();
        assert_eq!(peers.settings, SearchSettings::new(Searched::Peers, 1, 20_000));
        assert_eq!((peers.limit, peers.is_for_peers()), (FAILED_AFTER, true));
        assert!(peers.run_time() > peers.settings.time);
    }

    #[test]
    fn each_flag_changes_its_own_setting() {
        let flags = ["--find-range", "2k..3k", "--find-width", "5%", "--find-time", "2m", "--confirm", "1"];
        let find = find(&[&["--find-max", "ping_rtt:p99<1s"], &flags[..]].concat()).unwrap().unwrap();
        let expected = SearchSettings::new(Searched::Rate, 2_000, 3_000).with_width(0.05);
        assert_eq!(find.settings, expected.with_time(Duration::from_secs(120)).with_confirmations(1));
    }

    #[test]
    fn impossible_searches_are_refused_with_advice() {
        for (flags, part) in [
            (&["--find-max", "ping_rtt:max<1s"][..], "write p99.9 or failed<0.1%"),
            (&["--find-max", "ping_rtt:p99<1s over 2s"], "a trial has no windows or stages"),
            (&["--find-max", "ping_rtt:p99<1s", "--find-time", "5s"], "give it 37s or more"),
            (&["--find-max", "ping_rtt:p99<1s", "--find-range", "9..5"], "its begin is above its end"),
            (&["--find-max", "ping_rtt:p99<1s", "--find-range", "9"], "the two dots are missing"),
            (&["--find-max", "ping_rtt:p99<1s", "--find-range", "0..5"], "is not a range"),
            (&["--find-max", "ping_rtt:p99<1s", "--find-width", "200%"], "use a share from 0.1% to 99%"),
            (&["--find-max", "ping_rtt:p99<1s", "-r", "5"], "cannot be used with"),
            (&["--find-range", "1..5"], "--find-max"),
        ] {
            let error = find(flags).expect_err("the search is refused");
            assert!(error.contains(part), "{flags:?}: {error}");
        }
    }
}
