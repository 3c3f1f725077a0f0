//! The setup of a bench: the arguments with all defaults filled in, checked against this machine.
//!
//! This module never connects to a node. An impossible bench is refused before its files are opened or anything starts.

use super::find::Find;
use super::folder::Folder;
use super::min_peers::MinPeers;
use super::shape::{Defaults, Shape};
use super::terms::ArrivalKind;
use super::workload::{WorkloadKind, WorkloadMaker};
use crate::cli::BenchArgs;
use crate::exit::Failure;
use crate::host::Host;
use crate::machine::{self, Machine, Need, STREAMS_PER_PEER};
use crate::output::{self, Sink};
use crate::run::metrics::Metrics;
use crate::settings;
use crate::targets::{self, Family, Target};
use crate::thresholds::Condition;
use crate::units::{Percentiles, counted};
use peerloop::config::Multistreams;
use peerloop::histogram::LATENCY_MAX_NANOS;
use peerloop::load::{Generator, Plan, Rate, Segment};
use peerloop::{Config, Network};
use peerloop_measure::TRIAL_INTERVAL;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

/// Number of rows in the loop's table besides those of the planned connections. They let a new link start while old
/// links are still closing.
const SPARE_LINKS: usize = 64;

/// Maximum length of a run whose intervals' histograms are kept although no result contains them: at 3,600 intervals,
/// four histograms of an interval and 2 KB for each, they use about 30 MB.
const MAX_UNASKED: Duration = Duration::from_secs(3_600);

/// A bench, ready to start.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The named nodes; empty for the built-in node.
    pub(crate) nodes: Vec<Target>,
    /// One address for each node: initially the node's first address, later the address at which the test connection
    /// before the bench became ready. For the built-in node, the address on which it listens.
    pub(crate) targets: Vec<SocketAddr>,
    /// The reason why a test connection before the bench did not become ready; `None` if no such connection failed.
    pub(crate) failed_ahead: Option<String>,
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) network: Network,
    /// The number of peers in all segments together.
    pub(crate) connections: usize,
    pub(crate) min_peers: MinPeers,
    pub(crate) shape: Shape,
    pub(crate) workload: WorkloadKind,
    pub(crate) workload_maker: WorkloadMaker,
    pub(crate) warmup: Duration,
    pub(crate) drain: Duration,
    pub(crate) timeout: Duration,
    pub(crate) percentiles: Percentiles,
    pub(crate) seed: u64,
    pub(crate) spin: bool,
    /// Whether to open a second TCP stream to each peer.
    pub(crate) multistreams: bool,
    /// Whether the run fails if its results cannot be trusted.
    pub(crate) strict: bool,
    pub(crate) quiet: bool,
    /// Whether to show the live view, if stderr is a terminal.
    pub(crate) tui: bool,
    pub(crate) machine: Machine,
    pub(crate) host: Host,
    /// Different for every run.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    /// The conditions on the results.
    pub(crate) thresholds: Vec<Condition>,
    /// The search that the run carries, if it is one.
    pub(crate) find: Option<Find>,
    /// The time from the begin of the run after which a failing threshold ends it; `None` if none does.
    pub(crate) abort_after: Option<Duration>,
    /// Whether to show the plan and connect to nothing.
    pub(crate) dry_run: bool,
    pub(crate) outputs: Outputs,
}

/// The files for the results.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    pub(crate) json: Option<Sink>,
    pub(crate) hlog: Option<Sink>,
    pub(crate) hgrm: Option<Sink>,
    pub(crate) html: Option<Sink>,
    pub(crate) csv: Option<Sink>,
    /// The file for the operations, until their writing begins.
    pub(crate) events: Option<Sink>,
    pub(crate) folder: Option<Folder>,
    /// The listener for collectors, until the run begins.
    pub(crate) metrics: Option<Metrics>,
    /// Whether a result is written to stdout, which then carries nothing else.
    pub(crate) is_stdout_taken: bool,
}

impl Setup {
    /// Fills in the defaults, resolves the targets and checks everything. The result has no files yet.
    pub(crate) fn new(args: &BenchArgs) -> Result<Self, Failure> {
        check_build(args)?;
        let is_built_in = args.targets.is_empty();
        check_passive(args)?;
        let asked = settings::network(args.network, std::env::vars_os())?;
        let names = targets::expand(&args.targets)?;
        let network = match is_built_in {
            true => asked.unwrap_or(Network::Regtest),
            false => targets::network(asked, names.iter().map(String::as_str))?,
        };
        let find = Find::new(&args.find)?;
        let (connections, defaults) = defaults(args, find.as_ref())?;
        let shape = Shape::new(&args.load, connections, defaults)?;
        let shape = if let Some(find) = &find { shape.of_search(find) } else { shape };
        check_seed(&shape, args.seed)?;
        let own = shape.segment.connections(connections);
        check_min_peers(args, own)?;
        let mut sources: Vec<IpAddr> = args.source_ip.iter().flat_map(|source| source.addresses()).collect();
        sources.sort_unstable();
        sources.dedup();
        let family = one_family(&sources)?.and(args.family.family());
        let family = family.ok_or_else(|| Failure::usage("-4 or -6 and --source-ip select different families"))?;
        if is_built_in && family == Family::V6 {
            return Err(Failure::usage("the built-in node listens on 127.0.0.1; use IPv4, including for --source-ip"));
        }
        let resolve = |name: &String| targets::resolve(name, network, family);
        let nodes: Vec<Target> = names.iter().map(resolve).collect::<Result<_, _>>()?;
        let setup = Self {
            targets: nodes.iter().map(|node| node.addresses[0]).collect(),
            nodes,
            failed_ahead: None,
            sources,
            network,
            connections,
            min_peers: args.min_peers,
            shape,
            workload: args.workload.clone(),
            workload_maker: args.workload.prepare()?,
            warmup: args.warmup,
            drain: args.drain,
            timeout: args.timeout,
            percentiles: args.percentiles.clone(),
            seed: args.seed.unwrap_or_else(random_seed),
            spin: !args.no_spin,
            multistreams: args.multistreams,
            strict: args.strict,
            quiet: args.quiet,
            tui: args.tui,
            machine: Machine::survey(),
            host: Host::read(),
            id: format!("{:016x}{:016x}", random_seed(), random_seed()),
            name: args.name.clone(),
            labels: args.labels.clone(),
            thresholds: args.thresholds.clone(),
            find,
            abort_after: args.abort_on_threshold,
            dry_run: args.dry_run,
            outputs: Outputs::default(),
        };
        check_labels(&setup.labels)?;
        targets::guard(&setup.nodes, connections, args.workload.is_polite(), args.yes)?;
        setup.check_length()?;
        setup.shape.check_start(connections, setup.warmup)?;
        setup.check_machine()?;
        Ok(setup)
    }

    /// Returns whether the peers connect to the built-in node.
    pub(crate) fn is_built_in(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns whether the intervals' histograms are needed, by a result or by a threshold.
    pub(crate) fn have_intervals(&self) -> bool {
        if self.find.is_some() {
            // The intervals of 100 ms of a long search would fill the files.
            return false;
        }
        let has_windows = self.thresholds.iter().any(|condition| condition.threshold.over.is_some());
        // The report needs them for the intervals of percentiles.
        let is_short = self.shape.duration() <= MAX_UNASKED;
        self.outputs.have_intervals() || is_short || has_windows || self.abort_after.is_some()
    }

    /// Returns the number of peers of this process.
    pub(crate) fn own_connections(&self) -> usize {
        self.shape.segment.connections(self.connections)
    }

    /// Returns the targets' names, for use in messages.
    pub(crate) fn target_text(&self) -> String {
        if self.is_built_in() {
            return "the built-in node".to_owned();
        }
        self.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Returns the configuration of the generator's loop, which sends no pings of its own.
    pub(crate) fn config(&self) -> Config {
        Config::new(self.network)
            .with_max_links(self.own_connections() * self.streams_per_peer() + SPARE_LINKS)
            .with_multistreams(if self.multistreams { Multistreams::Open } else { Multistreams::Accept })
            .with_ping_interval(Duration::ZERO)
            .with_pong_timeout(self.find.as_ref().map_or(self.timeout, Find::run_time))
            .with_spin(self.spin)
            .with_seed(Some(self.own_seed()))
    }

    /// Returns the seed of this process. Each segment has one of its own, and the whole load has that of the run.
    fn own_seed(&self) -> u64 {
        // The odd factor is the golden ratio in 64 bits, so the segments' seeds differ in many bits.
        self.seed ^ self.shape.segment.index().wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Returns the number of peers that must become ready and stay. Operations that open connections need no peers.
    pub(crate) fn needed_peers(&self) -> usize {
        if self.workload.opens_connections() { 0 } else { self.min_peers.of(self.own_connections()) }
    }

    /// Returns the generator of this process.
    pub(crate) fn generator(&self) -> Generator {
        self.generator_of(self.plan())
    }

    /// Returns a generator of this run's workload with another plan.
    pub(crate) fn generator_of(&self, plan: Plan) -> Generator {
        Generator::new(plan).with_workload(self.workload_maker.make(self.own_seed()))
    }

    /// Returns the generator's plan.
    pub(crate) fn plan(&self) -> Plan {
        let plan = Plan::new(self.targets.clone(), self.connections, self.shape.connect_rate)
            .with_sources(self.sources.clone())
            .with_warmup(self.warmup)
            .with_drain(self.drain);
        let plan = self.shape.apply(plan, self.seed);
        let Some(find) = &self.find else { return plan };
        let initial = if find.is_for_peers() { find.settings.low as usize } else { self.connections };
        plan.with_interval(TRIAL_INTERVAL).with_variable_peers(initial)
    }

    /// Returns the number of descriptors that the bench may need.
    pub(crate) fn descriptors(&self) -> u64 {
        self.machine.descriptors_for(self.own_connections(), self.need())
    }

    /// Returns the maximum number of TCP connections to one peer.
    pub(crate) fn streams_per_peer(&self) -> usize {
        if self.multistreams { STREAMS_PER_PEER } else { 1 }
    }

    fn need(&self) -> Need {
        let streams = self.streams_per_peer();
        if self.is_built_in() { Need::BothEnds { streams } } else { Need::Dial { streams } }
    }

    /// Refuses a run so long that a latency could exceed a histogram's range. Such a duration could also be inexact
    /// in JSON.
    fn check_length(&self) -> Result<(), Failure> {
        let wait =
            self.shape.start_at.and_then(|start| start.duration_since(SystemTime::now()).ok()).unwrap_or_default();
        let times = [wait, self.warmup, self.shape.duration(), self.drain, self.timeout];
        let total = times.into_iter().try_fold(Duration::ZERO, Duration::checked_add);
        match total {
            Some(total) if total <= Duration::from_nanos(LATENCY_MAX_NANOS) => Ok(()),
            Some(_) | None => Err(Failure::usage(
                "the run is too long to be measured: its duration, --start-at, --warmup, --drain and --timeout may \
                 total at most 104 days; shorten one of them",
            )),
        }
    }

    fn check_machine(&self) -> Result<(), Failure> {
        self.machine.check_descriptors(self.own_connections(), self.need())?;
        let mut targets = self.targets.clone();
        targets.sort_unstable();
        targets.dedup();
        let connections = self.own_connections() * self.streams_per_peer();
        self.machine.check_ports(connections, targets.len(), self.sources.len())?;
        machine::check_sources(&self.sources)
    }
}

impl Outputs {
    /// Opens the files of `--json`, `--hlog`, `--hgrm`, `--html`, `--csv` and `--events`, and the folder of `-o`.
    pub(crate) fn open(args: &BenchArgs) -> Result<Self, Failure> {
        let files = [&args.json, &args.hlog, &args.hgrm, &args.html, &args.csv, &args.events];
        let files = files.map(|path| path.as_deref());
        let mut folder = args.out.as_deref().map(Folder::open).transpose()?;
        let flags = ["--json", "--hlog", "--hgrm", "--html", "--csv", "--events"];
        for (flag, path) in flags.into_iter().zip(files) {
            if let (Some(folder), Some(path)) = (&mut folder, path)
                && !folder.accept(path)
            {
                return Err(Failure::usage(format!(
                    "{flag} {}: the folder of -o holds only the results under their own names; omit {flag}, or name a \
                     file elsewhere",
                    path.display()
                )));
            }
        }
        let outputs: [_; 6] = std::array::from_fn(|index| (flags[index], files[index]));
        let [json, hlog, hgrm, html, csv, events] = output::open_all(outputs, &[])?;
        let is_stdout_taken = [&json, &hlog, &hgrm, &html, &csv, &events].into_iter().flatten().any(Sink::is_stdout);
        let metrics = args.metrics_addr.map(Metrics::bind).transpose()?;
        Ok(Self { json, hlog, hgrm, html, csv, events, folder, metrics, is_stdout_taken })
    }

    /// Returns whether a result contains the intervals' histograms.
    fn have_intervals(&self) -> bool {
        let sinks = [&self.json, &self.hlog, &self.html, &self.csv];
        sinks.into_iter().any(Option::is_some) || self.folder.is_some()
    }
}

/// Returns the number of peers in all segments together, and the defaults of the load.
fn defaults(args: &BenchArgs, find: Option<&Find>) -> Result<(usize, Defaults), Failure> {
    // Only the built-in node is certain to bear more than a few operations, and only if they are pings.
    let bears_more = args.targets.is_empty() && args.workload == WorkloadKind::Ping;
    let (rate_per_peer, connect_rate) = match bears_more {
        true => (10, 1_000),
        false => (u64::from(!args.workload.is_passive()), 100),
    };
    let [rate_per_peer, connect_rate] = [rate_per_peer, connect_rate].map(Rate::per_second);
    Ok((connections(args, bears_more, find)?, Defaults { rate_per_peer, connect_rate }))
}

/// Refuses flags that a run that only observes cannot have.
fn check_passive(args: &BenchArgs) -> Result<(), Failure> {
    let load = &args.load;
    let contradiction = match () {
        () if !args.workload.is_passive() => return Ok(()),
        () if args.find.find_max.is_some() => "with --find-max: it has no load to search; omit --find-max",
        () if args.targets.is_empty() => "without a target: the built-in node announces nothing; give one or more",
        () if load.rate.is_some() => "with -r: it plans no operations; omit -r",
        () if load.rate_per_peer.is_some() => "with --rate-per-peer: it plans no operations; omit --rate-per-peer",
        () if !load.stages.is_empty() => "with --stage: it plans no operations; use -d for the duration",
        () if load.count.is_some() => "with -n: it plans no operations; use -d for the duration",
        () if load.arrival.is_some() => "with --arrival: it plans no operations; omit --arrival",
        () => return Ok(()),
    };
    Err(Failure::usage(format!("--workload {} cannot be used {contradiction}", args.workload)))
}

/// Refuses the live view in a program without it.
fn check_build(args: &BenchArgs) -> Result<(), Failure> {
    match args.tui && cfg!(not(feature = "tui")) {
        true => Err(Failure::usage(
            "--tui: this program was built without its live view; build it with `--features tui`, or omit --tui",
        )),
        false => Ok(()),
    }
}

/// Refuses a run that has too few peers of its own for its workload or for `--min-peers`.
fn check_min_peers(args: &BenchArgs, own: usize) -> Result<(), Failure> {
    if args.workload.is_passive() && own < 2 {
        return Err(Failure::usage(format!(
            "--workload {} compares peers, and this run has only {}; raise -c to 2 or more",
            args.workload,
            counted(own, "peer")
        )));
    }
    match args.min_peers.of(own) > own {
        true => Err(Failure::usage(format!(
            "--min-peers {} is more than the {own} planned peers; lower it or raise -c",
            args.min_peers
        ))),
        false => Ok(()),
    }
}

/// Returns the number of peers in all segments together.
fn connections(args: &BenchArgs, bears_more: bool, find: Option<&Find>) -> Result<usize, Failure> {
    let usual = if bears_more { 1_000 } else { 100 };
    let Some(find) = find else { return Ok(args.connections.unwrap_or(usual)) };
    match (find.is_for_peers(), args.connections, args.load.rate_per_peer) {
        (true, Some(_), _) => {
            Err(Failure::usage("-c cannot be used with --find-what peers, which searches that number; omit -c"))
        }
        (false, _, Some(_)) => Err(Failure::usage(
            "--rate-per-peer cannot be used with --find-max, which searches the rate; omit it, or search the number of \
             peers with --find-what peers",
        )),
        (true, None, _) => Ok(find.settings.high as usize),
        (false, connections, None) => Ok(connections.unwrap_or(usual)),
    }
}

/// Refuses segments whose moments would not be those of one load.
fn check_seed(shape: &Shape, seed: Option<u64>) -> Result<(), Failure> {
    let needs_seed = shape.segment != Segment::WHOLE && shape.arrival == ArrivalKind::Poisson;
    match needs_seed && seed.is_none() {
        true => Err(Failure::usage(
            "--segment with --arrival poisson needs --seed N, with the same number for all segments",
        )),
        false => Ok(()),
    }
}

/// Refuses two labels with the same key.
fn check_labels(labels: &[(String, String)]) -> Result<(), Failure> {
    for (index, (key, _)) in labels.iter().enumerate() {
        if labels[..index].iter().any(|(before, _)| before == key) {
            return Err(Failure::usage(format!("--label {key} is given twice; give each key once")));
        }
    }
    Ok(())
}

/// Returns the common family of all source addresses; [`Family::Any`] if there are none.
fn one_family(sources: &[IpAddr]) -> Result<Family, Failure> {
    let Some(first) = sources.first() else { return Ok(Family::Any) };
    match sources.iter().all(|source| source.is_ipv4() == first.is_ipv4()) {
        true => Ok(Family::of(*first)),
        false => Err(Failure::usage("the source addresses belong to both families; use only IPv4 or only IPv6")),
    }
}

/// Returns a random seed; the report contains the seed, so that any run can be repeated.
pub(crate) fn random_seed() -> u64 {
    // `RandomState` has random keys from the system.
    RandomState::new().build_hasher().finish()
}
