//! `bench`: connects to many peers, pings them on a schedule and reports latency histograms.
//!
//! The generator's loop and the built-in node's loop each have a thread of their own. The main thread handles
//! signals, shows the progress and writes the results. If the run ends early, the results so far are written.

mod ahead;
mod min_peers;
mod node;
mod preamble;
mod report;
mod setup;
mod watch;

use crate::cli::BenchArgs;
use crate::exit::{Exit, Failure, Stops};
use crate::machine;
use crate::notices::Notices;
use crate::output;
use crate::output::json;
use crate::process;
pub(crate) use min_peers::{MinPeers, parse_min_peers};
use node::BuiltInNode;
use peerloop::MioNet;
use peerloop::load::{Generator, GeneratorRequest, Report};
use peerloop::{Handle, Reactor};
use report::{Document, hgrm, text};
pub(crate) use setup::Setup;
#[cfg(feature = "sim")]
pub(crate) use setup::random_seed;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::SystemTime;

pub(crate) fn run(args: BenchArgs) -> Result<Exit, Failure> {
    let mut setup = Setup::new(args)?;
    machine::complain_of_refused_options();
    process::prepare(setup.descriptors());
    let notices = Notices::new()?;
    let node = match setup.is_built_in() {
        true => Some(BuiltInNode::start(setup.network, setup.connections * setup.streams_per_peer())?),
        false => None,
    };
    setup.targets.extend(node.as_ref().map(|node| node.address));
    let ended_ahead = ahead::connect(&mut setup, &notices)?;
    if !setup.stdout_is_taken() {
        output::print(&preamble::render(&setup))?;
    }
    let start = SystemTime::now();
    let (stops, report) = match ended_ahead {
        Some(ended) => ended,
        None => generate(&setup, &notices)?,
    };
    let is_at_once = matches!(stops.exit(), Some((Exit::StoppedAtOnce(_), _)));
    // A run that was stopped at once does not wait for its node, which ends with the process.
    let node_ended = node.filter(|_| !is_at_once).map_or(Ok(()), BuiltInNode::stop);
    let document = Document::new(&setup, start, stops, report);
    write(&mut setup, &document)?;
    node_ended?;
    match document.exit() {
        exit @ (Exit::RunFailed | Exit::Untrusted) => {
            Err(Failure { exit, message: format!("bench {}: {}", setup.target_text(), document.reason()) })
        }
        exit @ (Exit::Success | Exit::Usage | Exit::MachineCannot | Exit::Stopped(_) | Exit::StoppedAtOnce(_)) => {
            Ok(exit)
        }
    }
}

/// Runs the generator on a thread of its own. Returns the signals received meanwhile, and the generator's report.
fn generate(setup: &Setup, notices: &Notices) -> Result<(Stops, Report), Failure> {
    let (sender, receiver) = sync_channel(1);
    let (config, plan) = (setup.config(), setup.plan());
    let thread = {
        let plan = plan.clone();
        notices.spawn("generator", move || -> Result<Report, String> {
            let reactor = Reactor::new(config, Generator::new(plan)).map_err(|error| error.to_string())?;
            drive(reactor, sender)
        })?
    };
    let (stops, report) = match receiver.recv() {
        Ok(handle) => watch::watch(notices, &handle, &plan, setup.quiet)?,
        // The generator's thread has ended early; joining it returns the reason.
        Err(_) => (Stops::default(), None),
    };
    if let Some(report) = report {
        return Ok((stops, report));
    }
    let outcome = thread.join().unwrap_or_else(|_| Err("the loop's thread panicked".to_owned()));
    let report = outcome.map_err(|error| Failure::run(format!("running the load generator: {error}")))?;
    Ok((stops, report))
}

fn drive(
    mut reactor: Reactor<MioNet, Generator>,
    handle: SyncSender<Handle<GeneratorRequest>>,
) -> Result<Report, String> {
    // The send succeeds, because the main thread waits for the handle.
    let _ = handle.send(reactor.handle());
    drop(handle);
    reactor.run().map_err(|error| error.to_string())?;
    Ok(reactor.into_handler().into_report())
}

/// A function that formats the results for a file.
type Form = fn(&Document) -> String;

/// Writes all forms of the results. Files are written first, so that a closed terminal cannot prevent that. A file
/// that cannot be written does not prevent the other outputs.
fn write(setup: &mut Setup, document: &Document) -> Result<(), Failure> {
    let is_stdout_taken = setup.stdout_is_taken();
    let mut outcomes = Vec::new();
    let mut files = Vec::new();
    let forms: [Form; 2] = [json::pretty, hgrm::spectrum];
    for (sink, render) in [&mut setup.json, &mut setup.hgrm].into_iter().zip(forms) {
        if let Some(sink) = sink {
            files.extend(sink.name());
            outcomes.push(sink.write(&render(document)));
        }
    }
    match is_stdout_taken {
        true => output::remark(&text::verdict(document)),
        false => outcomes.push(output::print(&text::summary(document, &files))),
    }
    outcomes.into_iter().collect()
}
