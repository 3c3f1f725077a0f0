//! `bench`: many peers, a schedule, histograms.
//!
//! The generator's loop has a thread of its own, and so has the built-in node's; this thread hears signals, shows the
//! progress and reports. Results are written whatever ended the run.

mod ahead;
mod min_peers;
mod node;
mod setup;
mod watch;

use crate::cli::BenchArgs;
use crate::exit::{Exit, Failure};
use crate::machine;
use crate::notices::Notices;
use crate::output;
use crate::process;
use crate::report::{self, Outcome, Sample};
pub(crate) use min_peers::{MinPeers, parse_min_peers};
use node::BuiltInNode;
use peerloop::load::{Generator, GeneratorCommand, Report};
use peerloop::net::mio::MioNet;
use peerloop::{Handle, Reactor};
pub(crate) use setup::Setup;
#[cfg(feature = "sim")]
pub(crate) use setup::drawn_seed;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::SystemTime;
pub(crate) use watch::Course;

pub(crate) fn run(args: BenchArgs) -> Result<Exit, Failure> {
    let mut setup = Setup::new(args)?;
    machine::complain_of_refused_options();
    process::prepare(setup.descriptors());
    let notices = Notices::new()?;
    let node = match setup.is_built_in() {
        true => Some(BuiltInNode::start(setup.network, setup.connections)?),
        false => None,
    };
    setup.targets.extend(node.as_ref().map(|node| node.address));
    let ended_ahead = ahead::connect(&mut setup, &notices)?;
    if !setup.stdout_is_taken() {
        output::print(&report::text::preamble(&setup))?;
    }
    let start = SystemTime::now();
    let (course, report) = match ended_ahead {
        Some(ended) => ended,
        None => generate(&setup, &notices)?,
    };
    let is_at_once = matches!(course.stops.exit(), Some((Exit::StoppedAtOnce(_), _)));
    // The end of the process closes what nobody wants to wait for.
    let node_ended = node.filter(|_| !is_at_once).map_or(Ok(()), BuiltInNode::stop);
    let outcome = Outcome::new(&setup, start, course, report);
    write(&mut setup, &outcome)?;
    node_ended?;
    match outcome.failure(&setup) {
        Some(failure) => Err(failure),
        None => Ok(outcome.exit()),
    }
}

/// Runs the generator to its end on a thread of its own.
fn generate(setup: &Setup, notices: &Notices) -> Result<(Course, Report), Failure> {
    let (sender, receiver) = sync_channel(1);
    let (config, plan) = (setup.config(), setup.plan());
    let thread = {
        let plan = plan.clone();
        notices.spawn("generator", move || -> Result<Report, String> {
            let reactor = Reactor::new(config, Generator::new(plan)).map_err(|error| error.to_string())?;
            drive(reactor, sender)
        })?
    };
    let (course, report) = match receiver.recv() {
        Ok(handle) => watch::watch(notices, &handle, &plan, setup.quiet)?,
        // It ended before it began; its thread says why.
        Err(_) => (Course::default(), None),
    };
    if let Some(report) = report {
        return Ok((course, report));
    }
    let outcome = thread.join().unwrap_or_else(|_| Err("its thread panicked".to_owned()));
    let report = outcome.map_err(|error| Failure::run(format!("running the load generator: {error}")))?;
    Ok((course, report))
}

fn drive(
    mut reactor: Reactor<MioNet, Generator>,
    handle: SyncSender<Handle<GeneratorCommand>>,
) -> Result<Report, String> {
    // The reporting thread waits for it and is still there.
    let _ = handle.send(reactor.handle());
    drop(handle);
    reactor.run().map_err(|error| error.to_string())?;
    Ok(reactor.into_handler().into_report())
}

/// Files first: a terminal that is gone must not cost them, and a file that cannot be written costs nothing else.
fn write(setup: &mut Setup, outcome: &Outcome) -> Result<(), Failure> {
    let text = (!setup.stdout_is_taken()).then(|| report::text::summary(setup, outcome));
    let json = setup.json.is_some().then(|| report::json::render(setup, outcome));
    let hgrm = setup.hgrm.is_some().then(|| report::hgrm::render(&Sample::ping_rtt_planned(&outcome.report)));
    let mut outcomes = Vec::new();
    for (sink, content) in [(&mut setup.json, json), (&mut setup.hgrm, hgrm)] {
        if let (Some(sink), Some(content)) = (sink, content) {
            outcomes.push(sink.write(&content));
        }
    }
    match text {
        Some(text) => outcomes.push(output::print(&text)),
        None => output::remark(&outcome.verdict()),
    }
    outcomes.into_iter().collect()
}
