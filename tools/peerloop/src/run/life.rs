//! The life of a long-lived node with any handler: its start, its status, its settings and its end.
//!
//! [`Task`] is the part in which the commands differ. Everything else is here once. After a first SIGINT or SIGTERM,
//! the program ends within [`MAX_DRAIN`]; a second one, more than [`MAX_ECHO`] after the first, ends it at once.

use super::console::Console;
use super::metrics::Metrics;
use super::{check_machine, manager, reload};
use crate::book::{self, Known};
use crate::exit::{Exit, Failure, MAX_ECHO, Stop};
use crate::machine::Machine;
use crate::notices::{Notice, Notices};
use crate::output;
use crate::process;
use crate::settings::{Effective, Node};
use crate::status::{STATUS_INTERVAL, Shown, Watch};
use log::Level;
use peerloop::MioNet;
use peerloop::api::Stats;
use peerloop::config::ManagerConfig;
use peerloop::handle::SendError;
use peerloop::limits::SHUTDOWN_GRACE;
use peerloop::store::RedbStore;
use peerloop::{Config, Handle, Handler, Reactor};
use std::io::{self, IsTerminal};
use std::sync::Arc;
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

/// The requests of a task's handler.
pub(crate) type RequestOf<T> = <<T as Task>::Handler as Handler>::Request;

/// Returns more metrics as OpenMetrics text without an end mark; `None` if the loop does not reply.
pub(crate) type MoreMetrics = Box<dyn FnMut() -> Option<String> + Send>;

/// The part in which long-lived commands differ.
pub(crate) trait Task {
    type Handler: Handler<Request: Send> + Send + 'static;
    /// The handler's final state.
    type Report: Send + 'static;

    /// The counters whose rates the status line shows.
    const SHOWN: &[Shown];
    /// Whether [`Task::tick`] is called each second even without a status line.
    const HAS_TICKS: bool;

    fn handler(&self, node: &Node) -> Self::Handler;

    fn greeting(&self, node: &Node, known: &Known, metrics: Option<&Metrics>) -> String;

    fn more_metrics(&self, node: &Node, handle: &Handle<RequestOf<Self>>) -> MoreMetrics
    where
        Self: Sized;

    /// Does the work of each second, and first at the start. Never waits for the loop, so that no signal waits.
    fn tick(&mut self, node: &mut Node, handle: &Handle<RequestOf<Self>>, console: &Console)
    where
        Self: Sized;

    /// Returns the beginning of the status line.
    fn state(&self, stats: &Stats, manager: &ManagerConfig) -> String;

    /// Applies the task's own settings in `new`, and returns a line for each change.
    fn reload(&mut self, old: &Node, new: &Node, handle: &Handle<RequestOf<Self>>) -> Vec<String>
    where
        Self: Sized;

    /// Prints the messages that remain after the loop has ended.
    fn finish(&self, _console: &Console) {}

    fn report(handler: &Self::Handler) -> Self::Report;

    /// Returns the closing summary.
    fn summary(&self, stats: &Stats, report: Self::Report, uptime: Duration) -> String;
}

/// The settings of a long-lived command, and how to read them again.
pub(crate) struct Start {
    pub(crate) effective: Effective,
    pub(crate) read: Arc<dyn Fn() -> Result<Effective, Failure> + Send + Sync>,
    /// Whether a settings file is named.
    pub(crate) has_file: bool,
    pub(crate) quiet: bool,
}

/// The loop's statistics and the handler's report after the loop has ended.
struct Ended<R> {
    stats: Stats,
    report: R,
}

type LoopThread<R> = JoinHandle<Result<Ended<R>, Failure>>;

/// Runs a node until a signal ends it.
pub(crate) fn keep<T: Task>(mut task: T, start: Start) -> Result<Exit, Failure> {
    let node = start.effective.node.clone();
    process::prepare(check_machine(&node.config, &Machine::survey())?);
    let store = node.book.as_deref().map(book::open).transpose()?;
    let known = store.as_ref().map(book::known).transpose()?.unwrap_or_default();
    let metrics = node.metrics_addr.map(Metrics::bind).transpose()?;
    let notices = Notices::with_hang_ups()?;
    let had_terminal = io::stderr().is_terminal();
    output::print(&task.greeting(&node, &known, metrics.as_ref()))?;
    let console = Console::start(start.quiet, node.log_level)?;
    let (sender, receiver) = sync_channel(1);
    let (config, handler) = (node.config.clone(), task.handler(&node));
    let thread = notices.spawn("loop", move || keep_peers::<T>(config, store, known, handler, sender))?;
    let began = Instant::now();
    let Ok(handle) = receiver.recv() else { return joined(thread).map(|_| Exit::Success) };
    if let Some(metrics) = metrics {
        metrics.serve(handle.clone(), node.config.network, task.more_metrics(&node, &handle))?;
    }
    let has_book = node.book.is_some();
    let asked = watch(&mut task, &start, node, had_terminal, &notices, &handle, &console);
    let outcome = match asked {
        Some(stop) => drain(stop, thread, has_book, &notices, &handle, &console),
        None => joined(thread),
    };
    task.finish(&console);
    console.finish();
    let Ended { stats, report } = outcome?;
    output::print(&task.summary(&stats, report, began.elapsed())).map(|()| Exit::Success)
}

/// Reads the settings again on a thread of its own, so that a slow disk or pipe does not delay signals.
fn read_again(start: &Start) -> Receiver<Result<Effective, Failure>> {
    let (sender, receiver) = channel();
    let (read, refused) = (Arc::clone(&start.read), sender.clone());
    let thread = Builder::new().name("reload".to_owned()).spawn(move || {
        // If the node has ended meanwhile, there is no receiver.
        let _ = sender.send(read().and_then(|read| check_machine(&read.node.config, &Machine::survey()).map(|_| read)));
    });
    if let Err(error) = thread {
        let _ = refused.send(Err(Failure::machine(format!("starting the thread that reads the settings: {error}"))));
    }
    receiver
}

/// Builds the loop on this thread, and runs it until all peers are closed and the book is written.
fn keep_peers<T: Task>(
    config: Config,
    store: Option<RedbStore>,
    known: Known,
    handler: T::Handler,
    ready: SyncSender<Handle<RequestOf<T>>>,
) -> Result<Ended<T::Report>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::machine(format!("starting the loop: {error}"));
    let mut net = MioNet::new().map_err(|error| failed(&error))?;
    if let Some(store) = store {
        net = net.with_store(store).map_err(|error| failed(&error))?;
    }
    let mut reactor = Reactor::with_net(config, net, handler).map_err(|error| failed(&error))?;
    reactor.remember(known.peers, known.bans);
    // The send succeeds, because the main thread waits for the handle.
    let _ = ready.send(reactor.handle());
    drop(ready);
    let ran = reactor.run().map_err(|error| Failure::run(format!("waiting for the network: {error}")));
    let written = reactor.finish_book().map_err(|lost| Failure::run(format!("writing the book at the end: {lost}")));
    ran.and(written).map(|()| Ended { stats: reactor.stats(), report: T::report(reactor.handler()) })
}

/// Watches the node until a signal requests a stop, and returns that signal; `None` if the loop ends by itself.
fn watch<T: Task>(
    task: &mut T,
    start: &Start,
    mut node: Node,
    had_terminal: bool,
    notices: &Notices,
    handle: &Handle<RequestOf<T>>,
    console: &Console,
) -> Option<Stop> {
    let interval = (T::HAS_TICKS || console.is_live()).then_some(STATUS_INTERVAL);
    let mut watch = Watch::new(handle);
    // The read in progress, and whether another one was requested meanwhile.
    let (mut reading, mut is_asked_again) = (None, false);
    if T::HAS_TICKS {
        // The replies arrive before the first status line.
        task.tick(&mut node, handle, console);
    }
    loop {
        match notices.next(if reading.is_some() { Some(READ_POLL) } else { interval }) {
            // After the terminal was closed, stderr is no longer a terminal.
            Some(Notice::Stop(stop @ Stop::HungUp)) if had_terminal && !io::stderr().is_terminal() => {
                return Some(stop);
            }
            Some(Notice::Stop(Stop::HungUp)) if reading.is_some() => is_asked_again = true,
            Some(Notice::Stop(Stop::HungUp)) => reading = Some(read_again(start)),
            Some(Notice::Stop(stop @ (Stop::Interrupted | Stop::Terminated))) => return Some(stop),
            Some(Notice::Ended) => return None,
            Some(Notice::Rate(_) | Notice::Bell) => {}
            None if reading.is_some() => {}
            None => {
                task.tick(&mut node, handle, console);
                let state = |stats: &Stats| task.state(stats, manager(&node.config));
                if console.is_live()
                    && let Some(line) = watch.line(handle, state, T::SHOWN)
                {
                    console.show_status(line);
                }
            }
        }
        if let Some(read) = reading.as_ref().and_then(|reading| reading.try_recv().ok()) {
            reload::reload(task, read, start.has_file, &mut node, handle, console);
            reading = std::mem::take(&mut is_asked_again).then(|| read_again(start));
        }
    }
}

/// Stops the loop, and waits at most [`MAX_DRAIN`] until the peers are closed and the book is written. A second
/// SIGINT or SIGTERM, more than [`MAX_ECHO`] later, ends the wait at once.
fn drain<R, C>(
    stop: Stop,
    thread: LoopThread<R>,
    has_book: bool,
    notices: &Notices,
    handle: &Handle<C>,
    console: &Console,
) -> Result<Ended<R>, Failure> {
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
            Some(Notice::Stop(_) | Notice::Rate(_) | Notice::Bell) | None => {}
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

fn joined<R>(thread: LoopThread<R>) -> Result<Ended<R>, Failure> {
    thread.join().unwrap_or_else(|_| Err(Failure::run("running: the loop's thread panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(MAX_DRAIN + crate::run::console::MAX_FLUSH, Duration::from_secs(5));
        assert!(MAX_DRAIN >= SHUTDOWN_GRACE + MIN_BOOK, "the book has too little time after the last peer has closed");
    }
}
