//! `run`: a node that goes on for weeks. It finds and keeps peers, remembers them and who is banned, and can be told of
//! other settings while it runs.
//!
//! The loop has a thread of its own, its book another, and what it says on stderr a third, so that it waits for neither
//! a disk nor a terminal. This thread sleeps until a signal comes; only a status line on a terminal wakes it once a
//! second. SIGHUP reads the settings again. SIGINT and SIGTERM let the peers go and the book be written, for
//! [`DRAIN_MAX`] at the most; a second one ends at once.

mod console;
mod exposition;
mod metrics;
mod reload;
mod status;

use crate::book;
use crate::cli::RunArgs;
use crate::exit::{Exit, Failure, Stop};
use crate::machine::Machine;
use crate::notices::{Notice, Notices};
use crate::output;
use crate::process;
use crate::settings::{Effective, Node, Settings, SettingsFile};
use console::Console;
use log::Level;
use metrics::Metrics;
use peerloop::api::{Pending, Stats};
use peerloop::channel::Bystander;
use peerloop::config::ManagerConfig;
use peerloop::handle::Refused;
use peerloop::limits::{OVER_CAPACITY_MAX, SHUTDOWN_GRACE};
use peerloop::net::mio::MioNet;
use peerloop::store::{PeerStore, RedbStore};
use peerloop::{Config, Handle, Reactor};
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the status line changes.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// How long the end may take: the peers have all but half a second of it, the last writing of the book the rest.
const DRAIN_MAX: Duration = SHUTDOWN_GRACE.saturating_add(Duration::from_millis(500));

/// When to ask the loop again whose queue is full.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// A signal that comes so soon after the first is the same one: who sends it to a process group as well as to the
/// process, as `timeout` does, has asked once.
const ECHO_MAX: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let effective = settings(args)?;
    if args.print_config {
        return output::print(&effective.to_toml()).map(|()| Exit::Success);
    }
    let node = effective.node;
    prepare(&node.config)?;
    let store = node.book.as_deref().map(book::open).transpose()?;
    let metrics = node.metrics_addr.map(Metrics::bind).transpose()?;
    let notices = Notices::with_hang_ups()?;
    output::print(&greeting(&node, store.as_ref(), metrics.as_ref())?)?;
    let console = Console::start(args.quiet, node.log_level)?;
    let (sender, receiver) = sync_channel(1);
    let config = node.config.clone();
    let thread = notices.spawn("loop", move || keep_peers(config, store, sender))?;
    let began = Instant::now();
    let Ok(handle) = receiver.recv() else { return joined(thread).map(|_| Exit::Success) };
    if let Some(metrics) = metrics {
        metrics.serve(handle.clone(), node.config.network)?;
    }
    let asked = watch(args, node, &notices, &handle, &console);
    let outcome = match asked {
        Some(stop) => drain(stop, thread, &notices, &handle, &console),
        None => joined(thread).map(|stats| Ended::Whole(Box::new(stats))),
    };
    console.finish();
    match outcome? {
        Ended::Whole(stats) => output::print(&status::summary(&stats, began.elapsed())).map(|()| Exit::Success),
        Ended::Cut(exit) => Ok(exit),
    }
}

/// Reads what was given, from the file and the environment as they are now.
fn settings(args: &RunArgs) -> Result<Effective, Failure> {
    let file = config_file(args.config.clone()).as_deref().map(SettingsFile::read).transpose()?;
    Settings::load(&args.settings, std::env::vars_os(), file.as_ref())
}

/// The file of settings, if there is one.
pub(crate) fn config_file(flag: Option<PathBuf>) -> Option<PathBuf> {
    flag.or_else(|| std::env::var_os("PEERLOOP_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from))
}

fn manager(config: &Config) -> &ManagerConfig {
    config.manager.as_ref().expect("the settings are those of a managed loop")
}

/// Makes sure that the machine can hold the peers.
fn prepare(config: &Config) -> Result<(), Failure> {
    let machine = Machine::survey();
    let sockets = manager(config).max_peers.saturating_add(OVER_CAPACITY_MAX);
    machine.check_descriptors(sockets, 1)?;
    process::prepare(machine.descriptors_for(sockets, 1));
    Ok(())
}

fn greeting(node: &Node, store: Option<&RedbStore>, metrics: Option<&Metrics>) -> Result<String, Failure> {
    let ManagerConfig { target_peers, max_peers, .. } = manager(&node.config);
    let mut text = format!("running on {}  at least {target_peers}, at most {max_peers} peers\n", node.config.network);
    text += &match store {
        Some(store) => {
            let unread = |error| Failure::run(format!("{error}"));
            let (peers, bans) = (store.list_all().map_err(unread)?.len(), store.bans().map_err(unread)?.len());
            format!("book {}: {peers} peers, {bans} bans\n", store.path().display())
        }
        None => "no book: what is learnt is forgotten at the end; --book FILE keeps it\n".to_owned(),
    };
    if let Some(metrics) = metrics {
        text += &format!("metrics at http://{}/metrics\n", metrics.address());
    }
    Ok(text)
}

/// Builds the loop where it runs, and runs it until all peers are closed and the book is written.
fn keep_peers(config: Config, store: Option<RedbStore>, ready: SyncSender<Handle<()>>) -> Result<Stats, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::machine(format!("starting the loop: {error}"));
    let mut net = MioNet::new().map_err(|error| failed(&error))?;
    let mut known = (Vec::new(), Vec::new());
    if let Some(store) = store {
        let unread = |error| Failure::run(format!("{error}"));
        known = (store.list_all().map_err(unread)?, store.bans().map_err(unread)?);
        net = net.with_store(store).map_err(|error| failed(&error))?;
    }
    let mut reactor = Reactor::with_net(config, net, Bystander).map_err(|error| failed(&error))?;
    reactor.remember(known.0, known.1);
    // The reporting thread waits for it and is still there.
    let _ = ready.send(reactor.handle());
    drop(ready);
    reactor.run().map_err(|error| Failure::run(format!("waiting for the network: {error}")))?;
    Ok(reactor.stats())
}

/// Goes on until a signal asks for the end, and returns it; none if the loop has ended by itself.
fn watch(args: &RunArgs, mut node: Node, notices: &Notices, handle: &Handle<()>, console: &Console) -> Option<Stop> {
    let interval = console.is_live().then_some(STATUS_INTERVAL);
    let mut before = Stats::default();
    let mut pending: Option<Pending<Stats>> = None;
    loop {
        match notices.next(interval) {
            Some(Notice::Stop(Stop::HungUp)) => reload::reload(settings(args), &mut node, handle, console),
            Some(Notice::Stop(stop @ (Stop::Interrupted | Stop::Terminated))) => return Some(stop),
            Some(Notice::Ended) => return None,
            None => {
                if let Some(stats) = pending.take().and_then(|pending| pending.try_take().ok().flatten()) {
                    console.show_status(status::line(&stats, &before, manager(&node.config)));
                    before = stats;
                }
                pending = handle.stats().ok();
            }
        }
    }
}

/// How the end went.
#[derive(Debug)]
enum Ended {
    /// All is closed and written.
    Whole(Box<Stats>),
    /// Somebody did not want to wait.
    Cut(Exit),
}

/// Lets the peers go and the book be written.
fn drain(
    stop: Stop,
    thread: JoinHandle<Result<Stats, Failure>>,
    notices: &Notices,
    handle: &Handle<()>,
    console: &Console,
) -> Result<Ended, Failure> {
    console.say(Level::Info, &format!("{}: closing; once more ends at once", stop.signal()));
    let began = Instant::now();
    let mut is_asked = false;
    while began.elapsed() < DRAIN_MAX {
        // A full queue is about to be taken; any other refusal means that the loop has ended.
        is_asked = is_asked || !matches!(handle.stop(), Err(Refused::Full(_)));
        let left = DRAIN_MAX.saturating_sub(began.elapsed());
        match notices.next(Some(if is_asked { left } else { left.min(ASK_AGAIN) })) {
            Some(Notice::Ended) => return joined(thread).map(|stats| Ended::Whole(Box::new(stats))),
            Some(Notice::Stop(stop @ (Stop::Interrupted | Stop::Terminated))) if began.elapsed() > ECHO_MAX => {
                return Ok(Ended::Cut(Exit::Stopped(stop)));
            }
            Some(Notice::Stop(_)) | None => {}
        }
    }
    Err(Failure::run("the book was not written in time and may lack what was learnt last; check its disk"))
}

fn joined(thread: JoinHandle<Result<Stats, Failure>>) -> Result<Stats, Failure> {
    thread.join().unwrap_or_else(|_| Err(Failure::run("running: the loop's thread panicked")))
}
