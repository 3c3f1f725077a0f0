//! `run`: a long-lived node. It finds, keeps and bans peers, stores peers and bans in a book, and can change its
//! settings while it runs.
//!
//! The loop, its book and its messages on stderr each have a thread of their own, so that the loop never waits for a
//! disk or a terminal. The main thread sleeps until a signal arrives. It also wakes once a second for a status line on
//! a terminal, and more often while the settings are read again. On SIGHUP the program reads its settings again. But
//! if closing the terminal caused the SIGHUP, the node ends as it does on SIGTERM. After SIGINT or SIGTERM the peers
//! are closed and the book is written, in at most five seconds: [`MAX_DRAIN`] and [`console::MAX_FLUSH`] together. A
//! second SIGINT or SIGTERM, more than [`MAX_ECHO`] after the first, ends the program at once.

mod console;
mod exposition;
mod http;
mod metrics;
mod reload;

use crate::book::{self, Known};
use crate::cli::RunArgs;
use crate::exit::{Exit, Failure, MAX_ECHO, Stop};
use crate::machine::{Machine, Need};
use crate::notices::{Notice, Notices};
use crate::output;
use crate::process;
use crate::settings::{Effective, Node, SettingFlags, Settings, SettingsFile};
use crate::status::{self, STATUS_INTERVAL, Shown, Watch};
use crate::units::counted;
use console::Console;
use log::Level;
use metrics::Metrics;
use peerloop::MioNet;
use peerloop::api::Stats;
use peerloop::channel::NoHandler;
use peerloop::config::{DialMode, ManagerConfig};
use peerloop::handle::SendError;
use peerloop::limits::SHUTDOWN_GRACE;
use peerloop::store::RedbStore;
use peerloop::{Config, Handle, Reactor};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Minimum time for the final book write, which gets more time if the peers close sooner.
const MIN_BOOK: Duration = Duration::from_millis(500);

/// Maximum time to close the peers and write the book.
const MAX_DRAIN: Duration = SHUTDOWN_GRACE.saturating_add(MIN_BOOK);

/// The pause before another request to a loop whose queue is full.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// Interval at which the main thread checks whether the settings have been read.
const READ_POLL: Duration = Duration::from_millis(20);

/// The counters whose rates the status line shows.
const SHOWN: [Shown; 1] = [Shown("frames", |counters| counters.frames_received)];

pub(crate) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let effective = settings(&args.settings, args.config.as_deref())?;
    if args.print_config {
        return output::print(&effective.to_toml()).map(|()| Exit::Success);
    }
    let node = effective.node;
    process::prepare(check_machine(&node.config)?);
    let store = node.book.as_deref().map(book::open).transpose()?;
    let known = store.as_ref().map(book::known).transpose()?.unwrap_or_default();
    let metrics = node.metrics_addr.map(Metrics::bind).transpose()?;
    let notices = Notices::with_hang_ups()?;
    let had_terminal = io::stderr().is_terminal();
    output::print(&greeting(&node, &known, metrics.as_ref()))?;
    let console = Console::start(args.quiet, node.log_level)?;
    let (sender, receiver) = sync_channel(1);
    let config = node.config.clone();
    let thread = notices.spawn("loop", move || keep_peers(config, store, known, sender))?;
    let began = Instant::now();
    let Ok(handle) = receiver.recv() else { return joined(thread).map(|_| Exit::Success) };
    if let Some(metrics) = metrics {
        metrics.serve(handle.clone(), node.config.network)?;
    }
    let has_book = node.book.is_some();
    let asked = watch(args, node, had_terminal, &notices, &handle, &console);
    let outcome = match asked {
        Some(stop) => drain(stop, thread, has_book, &notices, &handle, &console),
        None => joined(thread),
    };
    console.finish();
    output::print(&summary(&outcome?, began.elapsed())).map(|()| Exit::Success)
}

/// Reads the settings from the flags, and from the file and the environment in their current state.
fn settings(flags: &SettingFlags, config: Option<&Path>) -> Result<Effective, Failure> {
    let file = settings_file(config)?;
    let settings = Settings::load(flags, std::env::vars_os(), file.as_ref())?;
    settings.check_network()?;
    Ok(settings)
}

/// Reads the settings again on a thread of its own, so that a slow disk or pipe does not delay signals.
fn read_again(args: &RunArgs) -> Receiver<Result<Effective, Failure>> {
    let (sender, receiver) = channel();
    let (flags, config, refused) = (args.settings.clone(), args.config.clone(), sender.clone());
    let thread = Builder::new().name("reload".to_owned()).spawn(move || {
        let read = settings(&flags, config.as_deref());
        // If the node has ended meanwhile, there is no receiver.
        let _ = sender.send(read.and_then(|read| check_machine(&read.node.config).map(|_| read)));
    });
    if let Err(error) = thread {
        let _ = refused.send(Err(Failure::machine(format!("starting the thread that reads the settings: {error}"))));
    }
    receiver
}

/// Reads the settings file, if one is named.
pub(crate) fn settings_file(flag: Option<&Path>) -> Result<Option<SettingsFile>, Failure> {
    let Some((path, named_by)) = settings_path(flag) else { return Ok(None) };
    SettingsFile::read(&path).map(Some).map_err(|why| Failure::usage(format!("{named_by}: {why}")))
}

/// Returns the path of the settings file and the source of that path, if a file is named.
fn settings_path(flag: Option<&Path>) -> Option<(PathBuf, &'static str)> {
    if let Some(path) = flag {
        return Some((path.to_owned(), "flag --config"));
    }
    let path = std::env::var_os("PEERLOOP_CONFIG").filter(|path| !path.is_empty())?;
    Some((path.into(), "variable PEERLOOP_CONFIG"))
}

fn manager(config: &Config) -> &ManagerConfig {
    config.manager.as_ref().expect("the settings have a manager")
}

/// Checks that the machine has the descriptors for the peers, and returns how many descriptors the node may need.
fn check_machine(config: &Config) -> Result<u64, Failure> {
    let ManagerConfig { max_peers, listen, .. } = manager(config);
    let need = Need::Accept { listeners: listen.len() };
    let machine = Machine::survey();
    machine.check_descriptors(*max_peers, need)?;
    Ok(machine.descriptors_for(*max_peers, need))
}

fn greeting(node: &Node, known: &Known, metrics: Option<&Metrics>) -> String {
    let ManagerConfig { mode, fixed_names, target_peers, max_peers, dns_seeds, listen, .. } = manager(&node.config);
    let wanted = match mode {
        DialMode::Fixed(peers) => format!("{} fixed", peers.len() + fixed_names.len()),
        _ => format!("target {target_peers}"),
    };
    let mut text = format!("running on {}  {wanted}, maximum {}\n", node.config.network, counted(*max_peers, "peer"));
    text += &match &node.book {
        Some(path) => {
            format!("book {}: peers {}, bans {}\n", path.display(), known.peers.len(), known.bans.len())
        }
        None => "no book: peers and bans are lost at exit; --book FILE stores them\n".to_owned(),
    };
    if let Some(metrics) = metrics {
        text += &format!("metrics at http://{}/metrics\n", metrics.address());
    }
    let is_alone = *mode == DialMode::Normal && dns_seeds.is_empty() && listen.is_empty() && known.peers.is_empty();
    if is_alone {
        let network = node.config.network;
        let why =
            if network.dns_seeds().is_empty() { format!("{network} has") } else { "the settings have".to_owned() };
        text += &format!("no peers to dial: {why} no seeds; use --fixed-peers or --listen\n");
    }
    text
}

/// Builds the loop on this thread, and runs it until all peers are closed and the book is written.
fn keep_peers(
    config: Config,
    store: Option<RedbStore>,
    known: Known,
    ready: SyncSender<Handle<()>>,
) -> Result<Stats, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::machine(format!("starting the loop: {error}"));
    let mut net = MioNet::new().map_err(|error| failed(&error))?;
    if let Some(store) = store {
        net = net.with_store(store).map_err(|error| failed(&error))?;
    }
    let mut reactor = Reactor::with_net(config, net, NoHandler).map_err(|error| failed(&error))?;
    reactor.remember(known.peers, known.bans);
    // The send succeeds, because the main thread waits for the handle.
    let _ = ready.send(reactor.handle());
    drop(ready);
    let ran = reactor.run().map_err(|error| Failure::run(format!("waiting for the network: {error}")));
    let written = reactor.finish_book().map_err(|lost| Failure::run(format!("writing the book at the end: {lost}")));
    ran.and(written).map(|()| reactor.stats())
}

/// Watches the node until a signal requests a stop, and returns that signal; `None` if the loop ends by itself.
fn watch(
    args: &RunArgs,
    mut node: Node,
    had_terminal: bool,
    notices: &Notices,
    handle: &Handle<()>,
    console: &Console,
) -> Option<Stop> {
    let interval = console.is_live().then_some(STATUS_INTERVAL);
    let mut watch = Watch::new(handle);
    // The read in progress, and whether another one was requested meanwhile.
    let (mut reading, mut is_asked_again) = (None, false);
    loop {
        match notices.next(if reading.is_some() { Some(READ_POLL) } else { interval }) {
            // After the terminal was closed, stderr is no longer a terminal.
            Some(Notice::Stop(stop @ Stop::HungUp)) if had_terminal && !io::stderr().is_terminal() => {
                return Some(stop);
            }
            Some(Notice::Stop(Stop::HungUp)) if reading.is_some() => is_asked_again = true,
            Some(Notice::Stop(Stop::HungUp)) => reading = Some(read_again(args)),
            Some(Notice::Stop(stop @ (Stop::Interrupted | Stop::Terminated))) => return Some(stop),
            Some(Notice::Ended) => return None,
            None if reading.is_some() => {}
            None => {
                if let Some(line) = watch.line(handle, |stats| state(stats, manager(&node.config)), &SHOWN) {
                    console.show_status(line);
                }
            }
        }
        if let Some(read) = reading.as_ref().and_then(|reading| reading.try_recv().ok()) {
            let has_file = settings_path(args.config.as_deref()).is_some();
            reload::reload(read, has_file, &mut node, handle, console);
            reading = std::mem::take(&mut is_asked_again).then(|| read_again(args));
        }
    }
}

fn state(stats: &Stats, manager: &ManagerConfig) -> String {
    let known = stats.book.map_or(0, |book| book.unknown + book.valid + book.inaccessible + book.banned);
    format!("peers {} of {}  known {known}  banned {}", stats.ready, manager.max_peers, stats.banned_hosts)
}

fn summary(stats: &Stats, uptime: Duration) -> String {
    let counters = &stats.counters;
    let done =
        format!("{} dialled, {} accepted, {} handshakes", counters.dialled, counters.accepted, counters.handshakes);
    status::summary("ran", uptime, &done, counters)
}

/// Stops the loop, and waits at most [`MAX_DRAIN`] until the peers are closed and the book is written. A second
/// SIGINT or SIGTERM, more than [`MAX_ECHO`] later, ends the wait at once.
fn drain(
    stop: Stop,
    thread: JoinHandle<Result<Stats, Failure>>,
    has_book: bool,
    notices: &Notices,
    handle: &Handle<()>,
    console: &Console,
) -> Result<Stats, Failure> {
    console.say(Level::Info, &farewell(stop));
    let began = Instant::now();
    let mut is_asked = false;
    while began.elapsed() < MAX_DRAIN {
        // The loop will read its full queue soon; any other refusal means that the loop has ended.
        is_asked = is_asked || !matches!(handle.stop(), Err(SendError::Full(_)));
        let left = MAX_DRAIN.saturating_sub(began.elapsed());
        match notices.next(Some(if is_asked { left } else { left.min(ASK_AGAIN) })) {
            Some(Notice::Ended) => return joined(thread),
            Some(Notice::Stop(stop @ (Stop::Interrupted | Stop::Terminated))) if began.elapsed() > MAX_ECHO => {
                let lost = if has_book { "; the book may lack the latest changes" } else { "" };
                return Err(Failure { exit: Exit::Stopped(stop), message: format!("stopped at once{lost}") });
            }
            Some(Notice::Stop(_)) | None => {}
        }
    }
    Err(Failure::run(overdue(has_book)))
}

/// Describes the signal that stops the program, and the signal that ends it at once.
fn farewell(stop: Stop) -> String {
    let next = match stop {
        Stop::Interrupted | Stop::Terminated => "send it again",
        Stop::HungUp => "send SIGTERM",
    };
    format!("{}: closing peers; {next} to exit at once", stop.signal())
}

/// Describes a loop that has not ended after [`MAX_DRAIN`].
const fn overdue(has_book: bool) -> &'static str {
    match has_book {
        true => "the book was not written in time and may lack the latest changes; check its disk",
        false => "the loop did not stop in time; its peers are cut off",
    }
}

fn joined(thread: JoinHandle<Result<Stats, Failure>>) -> Result<Stats, Failure> {
    thread.join().unwrap_or_else(|_| Err(Failure::run("running: the loop's thread panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::Network;
    use peerloop::store::KnownPeer;
    use peerloop::time::UnixTime;

    #[test]
    fn only_a_node_without_peers_to_dial_gets_a_warning() {
        let has_warning = |node: &Node, known: &Known| greeting(node, known, None).contains("no peers to dial");
        let (mut node, mut known) = (Node::default(), Known::default());
        assert!(!has_warning(&node, &known), "a warning was printed although mainnet has seeds");
        node.config = Config::managed(Network::Regtest);
        assert!(has_warning(&node, &known));
        known.peers.push(KnownPeer::new("192.0.2.1:8333".parse().unwrap(), UnixTime::from_secs(0)));
        assert!(!has_warning(&node, &known), "a warning was printed although the book has a peer");
    }

    #[test]
    fn a_stopping_program_names_a_signal_that_ends_it_at_once() {
        assert_eq!(farewell(Stop::Interrupted), "SIGINT: closing peers; send it again to exit at once");
        assert_eq!(farewell(Stop::HungUp), "SIGHUP: closing peers; send SIGTERM to exit at once");
    }

    #[test]
    fn a_late_end_is_blamed_on_the_book_only_if_there_is_one() {
        assert!(overdue(true).contains("the book"));
        assert!(!overdue(false).contains("the book"));
    }

    #[test]
    fn draining_and_flushing_last_at_most_five_seconds() {
        assert_eq!(MAX_DRAIN + console::MAX_FLUSH, Duration::from_secs(5));
        assert!(MAX_DRAIN >= SHUTDOWN_GRACE + MIN_BOOK, "the book has too little time after the last peer has closed");
    }
}
