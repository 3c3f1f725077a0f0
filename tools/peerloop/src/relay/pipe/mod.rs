//! `relay --pipe`: joins two nodes until a signal ends it.
//!
//! The loop has a thread of its own. The main thread requests a report each second, shows the status, and writes a line
//! to stderr whenever a side is joined or lost. After SIGINT or SIGTERM the connections are closed and a summary is
//! printed. A second SIGINT or SIGTERM ends the program at once. A SIGHUP ends the pipe only if closing the terminal
//! caused it, because a pipe never reads its settings again.

mod metrics;
mod report;

use crate::cli::RelayArgs;
use crate::exit::{Exit, Failure, Stop, Stops};
use crate::machine::{self, Machine, Need};
use crate::notices::{Notice, Notices};
use crate::output;
use crate::process;
use crate::progress::Progress;
use crate::run::metrics::Metrics;
use crate::run::read_settings;
use crate::status::{STATUS_INTERVAL, Shown, Watch, wait_for};
use crate::targets::{self, Target};
use metrics::exposition;
use peerloop::MioNet;
use peerloop::api::{Pending, Stats};
use peerloop::relay::pipe::{Pipe, PipeReport, PipeRequest};
use peerloop::{Config, Handle, Network, Reactor};
use report::{changes, state, summary};
use std::io::{self, IsTerminal};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Instant;

/// Maximum number of connections: one for each node, and those that are still closing while the node is dialled again.
const MAX_LINKS: usize = 16;

/// The settings that a pipe uses.
const SETTINGS: [&str; 3] = ["network", "max_message_bytes", "metrics_addr"];

/// The counters whose rates the status line shows.
const SHOWN: [Shown; 1] = [Shown("messages", |counters| counters.frames_received)];

/// The state of a pipe that has ended.
struct Ended {
    report: PipeReport,
    stats: Stats,
}

pub(crate) fn run(args: &RelayArgs, nodes: &[String]) -> Result<Exit, Failure> {
    if let Some(flag) = args.settings.first_except(&SETTINGS) {
        return Err(Failure::usage(format!(
            "--pipe does not use {flag}; omit it, or use --upstream instead of --pipe"
        )));
    }
    if args.yes {
        return Err(Failure::usage("--pipe does not use --yes; omit it, or use --upstream instead of --pipe"));
    }
    let effective = read_settings(args.settings.settings(), args.file.config.as_deref())?;
    if args.file.print_config {
        return output::print(&effective.to_toml(true)).map(|()| Exit::Success);
    }
    let node = &effective.node;
    let network = effective.network_for(nodes)?;
    let [one, two] = resolve(args, nodes, network)?;
    let config = Config::new(network).with_max_links(MAX_LINKS).with_max_message_bytes(node.config.max_message_bytes);
    config.validate().map_err(|error| Failure::usage(error.to_string()))?;
    let machine = Machine::survey();
    let need = Need::Dial { streams: 1 };
    machine.check_descriptors(MAX_LINKS, need)?;
    machine::complain_of_refused_options();
    process::prepare(machine.descriptors_for(MAX_LINKS, need));
    let metrics = node.metrics_addr.map(Metrics::bind).transpose()?;
    let notices = Notices::new()?;
    let had_terminal = io::stderr().is_terminal();
    output::print(&greeting([&one, &two], network, metrics.as_ref()))?;
    let pipe = Pipe::new([one.addresses, two.addresses]);
    let (sender, receiver) = sync_channel(1);
    let thread = notices.spawn("loop", move || pass_on(config, pipe, sender))?;
    let began = Instant::now();
    if let Ok(handle) = receiver.recv() {
        if let Some(metrics) = metrics {
            let reporting = handle.clone();
            let more = move || exposition(report(&reporting)?, network);
            metrics.serve(handle.clone(), network, more)?;
        }
        let stops = wait(&notices, &handle, had_terminal, args.quiet);
        // If the loop has already ended, the request fails.
        let _ = handle.stop();
        if let Some(stop) = stops.and_then(|stops| second_signal(&notices, stops)) {
            let message = "stopped at once; the nodes may not have been told".to_owned();
            return Err(Failure { exit: Exit::Stopped(stop), message });
        }
    }
    let panicked = || Err(Failure::run("relaying: the loop's thread panicked"));
    let Ended { report, stats } = thread.join().unwrap_or_else(|_| panicked())?;
    output::print(&summary(&report, &stats, began.elapsed())).map(|()| Exit::Success)
}

/// Resolves both nodes. Fails if they have an address in common.
fn resolve(args: &RelayArgs, nodes: &[String], network: Network) -> Result<[Target; 2], Failure> {
    let [one, two] = nodes else { return Err(Failure::usage("--pipe needs two nodes, A and B; see --help")) };
    let resolved = |name: &str| targets::resolve(name, network, args.family.family());
    let (one, two) = (resolved(one)?, resolved(two)?);
    match one.addresses.iter().find(|address| two.addresses.contains(address)) {
        Some(common) => Err(Failure::usage(format!(
            "{} and {} are the same node, {common}; name two different nodes",
            one.name, two.name
        ))),
        None => Ok([one, two]),
    }
}

fn greeting([one, two]: [&Target; 2], network: Network, metrics: Option<&Metrics>) -> String {
    let shown = |target: &Target| {
        let addresses: Vec<String> = target.addresses.iter().map(ToString::to_string).collect();
        addresses.join(" ")
    };
    let mut text = format!("joining A {} and B {} on {network}\n", shown(one), shown(two));
    if let Some(metrics) = metrics {
        text += &format!("{}\n", metrics.line());
    }
    text
}

/// Builds the loop on this thread, and runs it.
fn pass_on(config: Config, pipe: Pipe, ready: SyncSender<Handle<PipeRequest>>) -> Result<Ended, Failure> {
    let mut reactor: Reactor<MioNet, Pipe> =
        Reactor::new(config, pipe).map_err(|error| Failure::machine(format!("starting the loop: {error}")))?;
    // The send succeeds, because the main thread waits for the handle.
    let _ = ready.send(reactor.handle());
    drop(ready);
    reactor.run().map_err(|error| Failure::run(format!("waiting for the network: {error}")))?;
    Ok(Ended { report: reactor.handler().report(reactor.now()), stats: reactor.stats() })
}

/// Shows the status until a signal arrives, and returns the signal; `None` if the loop has ended by itself.
fn wait(notices: &Notices, handle: &Handle<PipeRequest>, had_terminal: bool, quiet: bool) -> Option<Stops> {
    let mut progress = Progress::new(quiet);
    let mut watch = Watch::new(handle);
    let mut before: Option<Box<PipeReport>> = None;
    // With -q, nothing is written, so nothing is requested.
    let interval = (!quiet).then_some(STATUS_INTERVAL);
    loop {
        match notices.next(interval) {
            // After the terminal was closed, stderr is no longer a terminal.
            Some(Notice::Stop(Stop::HungUp)) if !had_terminal || io::stderr().is_terminal() => {
                progress.clear();
                output::complain("SIGHUP: a pipe reads no settings again; it continues");
                continue;
            }
            Some(Notice::Stop(stop)) => {
                progress.clear();
                let mut stops = Stops::default();
                stops.note(stop);
                return Some(stops);
            }
            Some(Notice::Ended) => {
                progress.clear();
                return None;
            }
            Some(Notice::Rate(_) | Notice::Bell) | None => {}
        }
        let Some(report) = report(handle) else { continue };
        for line in changes(before.as_deref(), &report) {
            progress.clear();
            output::complain(&line);
        }
        if progress.is_live()
            && let Some(line) = watch.line(handle, |_| state(&report), &SHOWN)
        {
            progress.show(&line);
        }
        before = Some(report);
    }
}

/// Requests a report, and waits at most a second for it.
fn report(handle: &Handle<PipeRequest>) -> Option<Box<PipeReport>> {
    let (reply, pending) = Pending::new();
    handle.request(PipeRequest::Report(reply)).ok()?;
    wait_for(pending)
}

/// Waits until the loop has closed its connections and ended, and returns `None`. If a second SIGINT or SIGTERM arrives
/// before that, returns that signal at once.
fn second_signal(notices: &Notices, mut stops: Stops) -> Option<Stop> {
    while let Some(Notice::Stop(stop)) = notices.next(None) {
        if stop != Stop::HungUp && stops.note(stop) {
            return Some(stop);
        }
    }
    None
}
