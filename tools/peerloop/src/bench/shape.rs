//! The shape of a load: its stages, its pace, its arrival, its length, the part of this process, and its start.
//!
//! It is made from the flags. Combinations without a meaning are refused, with advice.

use super::find::Find;
use super::terms::{ArrivalKind, AskedRate, StartAt};
use crate::cli::LoadArgs;
use crate::exit::Failure;
use crate::units::{counted, show_seconds, show_time};
use peerloop::limits::MAX_LOAD_STAGES;
use peerloop::load::{Arrival, Pace, Plan, Rate, Segment, Stage};
use std::time::{Duration, SystemTime};

/// The duration of a run without -d, --stage and -n.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// The step to which the duration of a run with -n is rounded up.
const COUNT_STEP: Duration = Duration::from_millis(1);

/// The shape of a load.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// The stages, at least one. At the pace `Max` there is one, without a rate.
    pub(crate) stages: Vec<Stage>,
    pub(crate) pace: Pace,
    pub(crate) arrival: ArrivalKind,
    /// The number of operations after which the run ends.
    pub(crate) max_operations: Option<u64>,
    pub(crate) connect_rate: Rate,
    pub(crate) segment: Segment,
    /// The moment at which the counted part begins.
    pub(crate) start_at: Option<SystemTime>,
}

/// The defaults of a load, which depend on its target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub(crate) rate_per_peer: Rate,
    pub(crate) connect_rate: Rate,
}

impl Shape {
    /// Makes the shape of a load with this number of peers, in all segments together.
    pub(crate) fn new(args: &LoadArgs, connections: usize, defaults: Defaults) -> Result<Self, Failure> {
        let segment = args.segment.unwrap_or_default();
        if segment.connections(connections) == 0 {
            return Err(Failure::usage(format!(
                "--segment {}/{} has no peer, because the load has only {connections}; use at most as many segments as \
                 peers, or raise -c",
                segment.index() + 1,
                segment.of()
            )));
        }
        let arrival = args.arrival.unwrap_or_default();
        let max_operations = args.count.map(|count| count as u64);
        let (stages, pace) = stages(args, connections, arrival, defaults)?;
        let connect_rate = match (args.connect_rate, args.ramp_up) {
            (Some(_), Some(_)) => {
                return Err(Failure::usage(
                    "--ramp-up cannot be used with --connect-rate: both set the pace of the connections; omit one",
                ));
            }
            (Some(rate), None) => rate,
            // No duration that the flag accepts is too long for a rate.
            (None, Some(time)) => Rate::new(connections as u64, time).unwrap_or(defaults.connect_rate),
            (None, None) => defaults.connect_rate,
        };
        let start_at = args.start_at.map(moment).transpose()?;
        Ok(Self { stages, pace, arrival, max_operations, connect_rate, segment, start_at })
    }

    /// Returns the shape of the run that carries a search. The search changes its load.
    pub(crate) fn of_search(self, find: &Find) -> Self {
        let (rate, pace) = match (find.is_for_peers(), self.stages.first()) {
            (true, Some(stage)) => (stage.from, Pace::PerLivingPeer),
            (_, _) => (Rate::per_second(find.settings.low), Pace::Scheduled),
        };
        Self { stages: vec![Stage::constant(rate, find.run_time())], pace, ..self }
    }

    /// Returns the planned length of the counted part.
    pub(crate) fn duration(&self) -> Duration {
        self.stages.iter().fold(Duration::ZERO, |total, stage| total.saturating_add(stage.time))
    }

    /// Computes the mean rate of the whole load; `None` without a rate.
    pub(crate) fn mean_rate_per_s(&self) -> Option<f64> {
        match (self.pace, &self.stages[..]) {
            (Pace::Max, _) => None,
            // A rate such as 0.1/s remains as exact as it was typed.
            (_, [stage]) if stage.from == stage.to => Some(stage.from.as_per_second()),
            (_, stages) => {
                let mean = |stage: &Stage| f64::midpoint(stage.from.as_per_second(), stage.to.as_per_second());
                let operations: f64 = stages.iter().map(|stage| mean(stage) * stage.time.as_secs_f64()).sum();
                Some(operations / self.duration().as_secs_f64())
            }
        }
    }

    /// Adds the shape to a plan. `seed` is that of the whole load.
    pub(crate) fn apply(&self, plan: Plan, seed: u64) -> Plan {
        let arrival = match self.arrival {
            ArrivalKind::Even => Arrival::Even,
            ArrivalKind::Poisson => Arrival::Poisson { seed },
            ArrivalKind::Burst(size) => Arrival::Burst { size },
        };
        let plan = plan.with_stages(self.stages.clone()).with_arrival(arrival).with_pace(self.pace);
        let plan = plan.with_segment(self.segment);
        match self.max_operations {
            Some(count) => plan.with_max_operations(count),
            None => plan,
        }
    }

    /// Refuses a start at which the peers and the warm-up cannot be ready.
    pub(crate) fn check_start(&self, connections: usize, warmup: Duration) -> Result<(), Failure> {
        let Some(start_at) = self.start_at else { return Ok(()) };
        let ramp = Duration::try_from_secs_f64(connections as f64 / self.connect_rate.as_per_second());
        let needed = ramp.unwrap_or(Duration::MAX).saturating_add(warmup);
        let left = start_at.duration_since(SystemTime::now()).unwrap_or_default();
        if needed <= left {
            return Ok(());
        }
        let [needed, left] = [needed, left].map(show_seconds);
        Err(Failure::usage(format!(
            "--start-at {}: that is in {left}, but opening {} and the warm-up need {needed}; choose a later time, or \
             shorten --ramp-up or --warmup",
            show_time(start_at),
            counted(connections, "peer")
        )))
    }
}

/// Returns the stages and the pace of a load.
fn stages(
    args: &LoadArgs,
    connections: usize,
    arrival: ArrivalKind,
    defaults: Defaults,
) -> Result<(Vec<Stage>, Pace), Failure> {
    if !args.stages.is_empty() {
        return check_stages(args).map(|()| (args.stages.clone(), Pace::Scheduled));
    }
    let per_peer = args.rate_per_peer.unwrap_or(defaults.rate_per_peer);
    let total = || {
        per_peer.times(connections as u64).ok_or_else(|| {
            Failure::usage(format!("--rate-per-peer for {connections} peers is too high; lower one of the two"))
        })
    };
    let (rate, pace) = match args.rate {
        Some(AskedRate::Max) => {
            let duration = duration_at_max(args)?;
            return Ok((vec![Stage::constant(Rate::ZERO, duration)], Pace::Max));
        }
        Some(AskedRate::At(rate)) => (rate, Pace::Scheduled),
        None if args.rate_per_peer.is_some() => (total()?, Pace::PerLivingPeer),
        None => (total()?, Pace::Scheduled),
    };
    let duration = match (args.duration, args.count) {
        (Some(duration), _) => duration,
        (None, Some(count)) => time_of(count as u64, rate, arrival)?,
        (None, None) => DEFAULT_DURATION,
    };
    Ok((vec![Stage::constant(rate, duration)], pace))
}

/// Refuses flags that contradict stages.
fn check_stages(args: &LoadArgs) -> Result<(), Failure> {
    let contradiction = match () {
        () if args.rate.is_some() => "-r: each stage has a rate of its own; omit -r",
        () if args.rate_per_peer.is_some() => {
            "--rate-per-peer: each stage has a rate for all peers together; omit --rate-per-peer"
        }
        () if args.duration.is_some() => "-d: the times of the stages add up to the duration; omit -d",
        () if args.stages.len() > MAX_LOAD_STAGES => {
            let given = args.stages.len();
            return Err(Failure::usage(format!(
                "--stage is given {given} times, and at most {MAX_LOAD_STAGES} stages are supported; join some of them"
            )));
        }
        () => return Ok(()),
    };
    Err(Failure::usage(format!("--stage cannot be used with {contradiction}")))
}

/// Returns the duration of a run at the pace of the peers' replies.
fn duration_at_max(args: &LoadArgs) -> Result<Duration, Failure> {
    if args.arrival.is_some() {
        return Err(Failure::usage(
            "--arrival cannot be used with -r max: each peer's next operation follows the end of the last; omit \
             --arrival, or give -r a number",
        ));
    }
    match (args.duration, args.count) {
        (Some(duration), _) => Ok(duration),
        (None, None) => Ok(DEFAULT_DURATION),
        (None, Some(_)) => {
            Err(Failure::usage("-n with -r max needs a maximum duration, because nobody knows the rate; add -d TIME"))
        }
    }
}

/// Returns a time in which `count` operations are planned. Operations at random need about their mean time; the time
/// is long enough for all but one run in a thousand million.
fn time_of(count: u64, rate: Rate, arrival: ArrivalKind) -> Result<Duration, Failure> {
    let operations = match arrival {
        ArrivalKind::Even | ArrivalKind::Burst(_) => count as f64,
        ArrivalKind::Poisson => count as f64 + 6.0 * (count as f64).sqrt() + 20.0,
    };
    let time = Duration::try_from_secs_f64(operations / rate.as_per_second()).ok();
    // Rounding up makes the end later than the last operation, and so without an effect.
    time.and_then(|time| time.checked_add(COUNT_STEP)).ok_or_else(|| {
        Failure::usage(format!("-n {count} would not end at this rate; raise the rate, or add -d TIME as a maximum"))
    })
}

/// Returns the wall time of a start. A past one is refused.
fn moment(start_at: StartAt) -> Result<SystemTime, Failure> {
    let now = SystemTime::now();
    match start_at {
        StartAt::In(time) => {
            now.checked_add(time).ok_or_else(|| Failure::usage("--start-at is too far ahead; choose an earlier time"))
        }
        StartAt::At(time) if time > now => Ok(time),
        StartAt::At(time) => Err(Failure::usage(format!(
            "--start-at {} has passed: it is {} now; choose a later time, or a time from now such as +10s",
            show_time(time),
            show_time(now)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    const DEFAULTS: Defaults = Defaults { rate_per_peer: Rate::per_second(1), connect_rate: Rate::per_second(100) };

    fn shape(arguments: &[&str]) -> Result<Shape, String> {
        let cli =
            Cli::try_parse_from([&["peerloop", "bench"], arguments].concat()).map_err(|error| error.to_string())?;
        let Some(Command::Bench(args)) = cli.command else { panic!("not a bench") };
        Shape::new(&args.load, args.connections.unwrap_or(100), DEFAULTS).map_err(|failure| failure.message)
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn without_flags_each_planned_peer_has_the_default_rate_for_ten_seconds() {
        let shape = shape(&[]).unwrap();
        assert_eq!(shape.stages, [Stage::constant(Rate::per_second(100), seconds(10))]);
        assert_eq!((shape.pace, shape.segment, shape.start_at), (Pace::Scheduled, Segment::WHOLE, None));
    }

    #[test]
    fn a_rate_per_peer_is_one_of_living_peers() {
        let shape = shape(&["--rate-per-peer", "0.1", "-c", "20"]).unwrap();
        assert_eq!(shape.pace, Pace::PerLivingPeer);
        assert_eq!(shape.stages, [Stage::constant(Rate::per_second(2), seconds(10))]);
    }

    #[test]
    fn stages_add_up_and_have_a_mean_rate() {
        let shape = shape(&["--stage", "1k@30s", "--stage", "1k..5k@30s", "--stage", "0@60s"]).unwrap();
        assert_eq!((shape.stages.len(), shape.duration()), (3, seconds(120)));
        assert_eq!(shape.mean_rate_per_s(), Some(1_000.0));
    }

    #[test]
    fn a_count_has_the_time_that_its_operations_need() {
        let planned = |arguments: &[&str]| {
            let shape = shape(arguments).unwrap();
            let plan = Plan::new(vec![([127, 0, 0, 1], 1).into()], 7, Rate::per_second(1));
            let generator = peerloop::load::Generator::new(shape.apply(plan, 5));
            generator.into_report_of_no_run(peerloop::load::EndCause::NoneReady).work.planned
        };
        for arrival in ["even", "poisson", "burst:7"] {
            for (count, rate) in [("1", "1"), ("10", "3/m"), ("1234", "0.7/ms"), ("99", "1000000k")] {
                let operations = planned(&["-n", count, "-r", rate, "--arrival", arrival]);
                assert_eq!(operations, count.parse::<u64>().unwrap(), "{arrival} {count} at {rate}");
            }
        }
        assert_eq!(planned(&["-n", "50", "-r", "10", "-d", "2s"]), 20);
        assert_eq!(planned(&["-n", "50", "--stage", "10@2s", "--stage", "100@2s"]), 50);
    }

    #[test]
    fn a_ramp_up_sets_the_rate_of_the_connections() {
        assert_eq!(shape(&["-c", "600", "--ramp-up", "1m"]).unwrap().connect_rate, Rate::per_second(10));
        assert_eq!(shape(&["--connect-rate", "7"]).unwrap().connect_rate, Rate::per_second(7));
    }

    #[test]
    fn combinations_without_a_meaning_are_refused_with_advice() {
        for (arguments, part) in [
            (&["--stage", "1@1s", "-r", "5"][..], "cannot be used with -r: each stage has a rate of its own; omit -r"),
            (&["--stage", "1@1s", "--rate-per-peer", "5"], "omit --rate-per-peer"),
            (&["--stage", "1@1s", "-d", "5s"], "omit -d"),
            (&["-r", "max", "--arrival", "even"], "omit --arrival, or give -r a number"),
            (&["-r", "max", "-n", "5"], "add -d TIME"),
            (&["-r", "0", "-n", "5"], "would not end at this rate; raise the rate"),
            (&["--ramp-up", "1s", "--connect-rate", "5"], "omit one"),
            (&["-c", "3", "--segment", "4/8"], "use at most as many segments as peers"),
            (&["--start-at", "2001-01-01T00:00:00Z"], "2001-01-01T00:00:00.000Z has passed: it is "),
            (&["--rate-per-peer", "999999999", "-c", "18446744073709551557"], "lower one of the two"),
        ] {
            let error = shape(arguments).expect_err("the combination is refused");
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
        let many = ["--stage", "1@1s"].repeat(MAX_LOAD_STAGES + 1);
        assert!(shape(&many).unwrap_err().contains("at most 64 stages"));
        assert!(shape(&many[2..]).is_ok());
    }

    #[test]
    fn a_start_before_the_peers_are_ready_is_refused() {
        let shape = shape(&["--start-at", "+10s", "--ramp-up", "5s"]).unwrap();
        assert!(shape.check_start(100, seconds(2)).is_ok());
        let error = shape.check_start(100, seconds(5)).unwrap_err().message;
        assert!(error.contains("opening 100 peers and the warm-up need 10 s; choose a later time"), "{error}");
    }
}
