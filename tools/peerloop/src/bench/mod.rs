//! `bench`: connects to many peers, carries out a workload on a schedule and reports latency histograms.
//!
//! The generator's loop and the built-in node's loop each have a thread of their own. The main thread handles
//! signals, shows the progress and writes the results. If the run ends early, the results so far are written.

mod ahead;
mod alarm;
mod build;
#[cfg(test)]
mod capture;
mod display;
mod ending;
mod events;
mod find;
mod folder;
mod items;
mod labels;
mod live;
mod metrics;
mod min_peers;
mod mix;
mod node;
mod preamble;
mod recorder;
mod repeat;
mod results;
mod setup;
mod shape;
mod terms;
#[cfg(test)]
mod tests;
#[cfg(feature = "tui")]
mod tui;
mod watch;
mod workload;

use crate::children;
use crate::cli::BenchArgs;
use crate::estimates;
use crate::exit::{Exit, Failure, Stops};
use crate::machine;
use crate::model::Document;
use crate::notices::Notices;
use crate::output;
use crate::process;
use crate::thresholds;
use alarm::Alarm;
use display::Display;
use ending::Ending;
use find::{Find, Found, Samples};
pub(crate) use find::{FindRange, FindWhat, parse_find_range, parse_find_width};
pub(crate) use labels::{parse_label, parse_name};
use live::Live;
pub(crate) use min_peers::{MinPeers, parse_min_peers};
use node::BuiltInNode;
use peerloop::MioNet;
use peerloop::load::{Generator, GeneratorRequest, Report};
use peerloop::{Handle, Reactor};
use recorder::{Recorded, Recording, Wanted};
use setup::Outputs;
pub(crate) use setup::Setup;
#[cfg(feature = "sim")]
pub(crate) use setup::random_seed;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, SystemTime};
pub(crate) use terms::{
    ArrivalKind, AskedRate, StartAt, parse_arrival, parse_asked_rate, parse_segment, parse_stage, parse_start_at,
};
pub(crate) use workload::{WorkloadKind, parse_workload};

/// Maximum time to wait for the last lines of the events file, after the load and after a second signal.
const EVENTS_PATIENCE: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(1)];

pub(crate) fn run(mut args: BenchArgs) -> Result<Exit, Failure> {
    if args.child {
        process::end_with_parent();
        args.quiet = true;
    }
    if let Some(number) = args.number {
        args.out = args.out.map(|folder| folder.join(children::folder_name(number)));
    }
    let mut setup = Setup::new(&args)?;
    check_thresholds(&setup)?;
    if setup.dry_run {
        return output::print(&preamble::dry_run(&setup)).map(|()| Exit::Success);
    }
    if let (Some(count), None, Some(folder)) = (args.repeat, args.number, &args.out) {
        return repeat::run(&args, &setup, count, folder);
    }
    setup.outputs = Outputs::open(&args)?;
    machine::complain_of_refused_options();
    process::prepare(setup.descriptors());
    let notices = Notices::with_rate_changes()?;
    let node = match setup.is_built_in() {
        true => {
            let connections = setup.own_connections() * setup.streams_per_peer();
            Some(BuiltInNode::start(setup.network, connections, setup.workload_maker.built_in_node.clone())?)
        }
        false => None,
    };
    setup.targets.extend(node.as_ref().map(|node| node.address));
    let ended_ahead = ahead::connect(&mut setup, &notices)?;
    if !setup.outputs.is_stdout_taken {
        output::print(&preamble::render(&setup))?;
    }
    let start = SystemTime::now();
    let events = setup.outputs.events.as_ref().and_then(|sink| sink.name());
    let Ended { stops, report, recorded, found } = match ended_ahead {
        Some((stops, report)) => Ended { stops, report, recorded: Recorded::default(), found: None },
        None => generate(&mut setup, &notices)?,
    };
    let is_at_once = matches!(stops.exit(), Some((Exit::StoppedAtOnce(_), _)));
    // A run that was stopped at once does not wait for its node, which ends with the process.
    let node_ended = node.filter(|_| !is_at_once).map_or(Ok(()), BuiltInNode::stop);
    let endings = ending::all(&setup, stops, &report, &recorded);
    let events = events.filter(|_| recorded.events.is_some());
    let mut document = build::document(&setup, start, stops, recorded, report);
    estimates::fill(&mut document);
    if let Some((find, found)) = setup.find.as_ref().zip(found) {
        document.run.partial = found.is_cut;
        document.search = Some(find::document(find, &found));
    }
    let endings = judge(&setup, &mut document, endings)?;
    results::write(&mut setup, &document, events)?;
    node_ended?;
    match endings.first().map(|ending| ending.exit) {
        Some(exit @ (Exit::RunFailed | Exit::Missed | Exit::Untrusted)) => {
            Err(Failure { exit, message: format!("bench {}: {}", setup.target_text(), document.exit.reason) })
        }
        Some(
            exit @ (Exit::Success | Exit::Usage | Exit::MachineCannot | Exit::Stopped(_) | Exit::StoppedAtOnce(_)),
        ) => Ok(exit),
        None => Ok(Exit::Success),
    }
}

/// Refuses thresholds on metrics, views or stages that the run will not have.
fn check_thresholds(setup: &Setup) -> Result<(), Failure> {
    if setup.thresholds.is_empty() && setup.find.is_none() {
        return Ok(());
    }
    let blank = build::blank(setup);
    let refused = |condition| thresholds::subject(condition, &blank).err().map(Failure::usage);
    setup.thresholds.iter().find_map(refused).map_or(Ok(()), Err)?;
    setup.find.as_ref().map_or(Ok(()), |find| searched_view(find, &blank).map(drop))
}

/// Returns the view of the goal's metric. Refuses a metric that a trial does not measure.
fn searched_view(find: &Find, blank: &Document) -> Result<&'static str, Failure> {
    let subject = thresholds::subject(&find.condition, blank).map_err(Failure::usage)?;
    if find.is_for_peers() && blank.counts.peers.asked == 0 {
        return Err(Failure::usage(
            "--find-what peers needs peers that stay, and this workload opens a connection for each operation; search \
             the rate",
        ));
    }
    if subject.series.is_none() || subject.metric.work.is_none() {
        let (text, metric) = (&find.condition.text, &subject.metric.name);
        return Err(Failure::usage(format!(
            "--find-max {text}: a trial has no operations of `{metric}`; choose a metric of the workload's operations"
        )));
    }
    // A trial's failures, and its operations without a reply, are those of all kinds and of whole operations.
    let main = blank.main_metric().map_or("", |main| &main.name);
    let has_one_kind = !blank.config.workload.starts_with("mix:");
    if !has_one_kind || subject.metric.name != main {
        let text = &find.condition.text;
        let remedy = match has_one_kind {
            true => format!("choose `{main}`, the time of the whole operation"),
            false => "search with one of its workloads".to_owned(),
        };
        return Err(Failure::usage(format!(
            "--find-max {text}: a trial has failures of other operations too; {remedy}"
        )));
    }
    Ok(subject.view_name)
}

/// Judges the thresholds, adds those that are not met to the endings, and writes all of them into the document.
fn judge(setup: &Setup, document: &mut Document, mut endings: Vec<Ending>) -> Result<Vec<Ending>, Failure> {
    let judged = setup.thresholds.iter().map(|condition| thresholds::judge(condition, document));
    document.thresholds = judged.collect::<Result<_, _>>().map_err(Failure::run)?;
    endings.extend(document.thresholds.iter().filter_map(ending::of_threshold));
    endings.extend(document.search.as_ref().and_then(ending::of_search));
    endings.sort_by_key(|ending| ending.exit.precedence());
    document.exit = build::ended(&endings);
    Ok(endings)
}

/// Returns the display of the running load.
#[cfg_attr(not(feature = "tui"), expect(clippy::unnecessary_wraps, reason = "only the live view can fail to open"))]
fn display(setup: &Setup, live: Live) -> Result<Display, Failure> {
    #[cfg(feature = "tui")]
    if setup.tui && tui::Screen::is_possible() {
        let title = format!("peerloop bench  {}  network {}", setup.target_text(), setup.network);
        return Display::screen(title, live);
    }
    drop(live);
    Ok(Display::line(setup.quiet))
}

/// A load that has ended.
struct Ended {
    stops: Stops,
    report: Report,
    recorded: Recorded,
    found: Option<Found>,
}

/// Runs the generator on a thread of its own, and records the run.
fn generate(setup: &mut Setup, notices: &Notices) -> Result<Ended, Failure> {
    let (sender, receiver) = sync_channel(1);
    let (config, plan, generator) = (setup.config(), setup.plan(), setup.generator());
    let events = setup.outputs.events.take();
    let start_at = setup.shape.start_at;
    let metrics = setup.outputs.metrics.take();
    let live = Live::default();
    let blank = build::blank(setup);
    let (samples, intervals) = match &setup.find {
        Some(find) => {
            let view = searched_view(find, &blank)?;
            Some(Samples::new(&find.condition.threshold.metric, view, notices.bell())).unzip()
        }
        None => (None, None),
    };
    let wants = Wanted {
        intervals: setup.have_intervals(),
        begin: start_at.is_some(),
        live: (metrics.is_some() || setup.tui).then(|| live.clone()),
        alarm: Alarm::new(setup, &blank, notices.bell()),
        samples,
    };
    let (recording, recorder) = Recording::start(wants, events, &setup.targets)?;
    let thread = {
        notices.spawn("generator", move || -> Result<Report, String> {
            let generator = match recorder {
                Some(recorder) => generator.with_recorder(Box::new(recorder)),
                None => generator,
            };
            let mut reactor = Reactor::new(config, generator).map_err(|error| error.to_string())?;
            // The wait is computed last, so that only the loop's start is not part of it.
            let wait = start_at.and_then(|start_at| start_at.duration_since(SystemTime::now()).ok());
            reactor.handler_mut().begin_run_after(wait.unwrap_or_default());
            drive(reactor, sender)
        })?
    };
    let mut found = None;
    let (stops, report) = match receiver.recv() {
        Ok(handle) => {
            if let Some(metrics) = metrics {
                let more = metrics::more(handle.clone(), live.clone(), setup.network);
                metrics.serve(handle.clone(), setup.network, more)?;
            }
            let display = display(setup, live)?;
            match setup.find.as_ref().zip(intervals) {
                Some((find, intervals)) => {
                    // A load whose operations open connections of their own keeps no peers.
                    let has_peers = blank.counts.peers.asked > 0;
                    let min_peers = if has_peers { setup.min_peers } else { MinPeers::Count(0) };
                    let searched = find::run(find, &plan, min_peers, notices, (&handle, intervals), display)?;
                    found = Some(searched.0);
                    (searched.1, searched.2)
                }
                None => watch::watch(notices, &handle, &plan, start_at, display)?,
            }
        }
        // The generator's thread has ended early; joining it returns the reason.
        Err(_) => (Stops::default(), None),
    };
    let [patience, at_once] = EVENTS_PATIENCE;
    if let Some(report) = report {
        return Ok(Ended { stops, report, recorded: recording.finish(at_once)?, found });
    }
    let outcome = thread.join().unwrap_or_else(|_| Err("the loop's thread panicked".to_owned()));
    let report = outcome.map_err(|error| Failure::run(format!("running the load generator: {error}")))?;
    Ok(Ended { stops, report, recorded: recording.finish(patience)?, found })
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
