//! The turn: the one loop over one [`Net`], and the only place that waits, asks the time or touches a socket.
//!
//! Work happens in turns, and each turn does the same in the same order:
//!
//! 1. **Wait**, not at all if a list has work, else until the next deadline. A handler's exact wake-up is met by
//!    sleeping to a millisecond before it and polling from there.
//! 2. **Clock**: once after the wait, and again before each link's bytes are parsed; the wall clock once.
//! 3. **Commands** from other threads, bounded.
//! 4. **Accept and dial**, both bounded. A failure of one connection is counted and accepting goes on; a shortage of
//!    descriptors or memory arms a retry, always, because an edge-triggered listener never reminds.
//! 5. **Read** each ready link once, for at most [`READ_STEP_MAX`] in all. Replies go out in one write per link.
//! 6. **Timers**, every turn, whatever woke us, bounded.
//! 7. **Flush** what was queued, one gathered write per link where the kernel takes it, for at most [`FLUSH_STEP_MAX`].
//! 8. **Close**: graceful ends go on, finished ones are freed. Only here does a row become free, so no event of this
//!    turn can reach a later owner of it.
//!
//! Readiness is a hint and is remembered: a socket is believed readable or writable until a call says otherwise. A
//! read that does not fill its room has drained the socket, unless the kernel announced the end, because data and end
//! may share one edge. Error and hang-up flags are never acted on; the next call reports what they meant. Between
//! turns a link with unread data is on the ready list or held, one with queued bytes is on the dirty list or believed
//! unwritable.
//!
//! A peer's failure ends that peer; only the poller itself can end the loop.

use crate::api::{Command, Ctx, Handler, Stats};
use crate::buffer::ReadBlock;
use crate::config::{Config, ConfigError};
use crate::engine::{CloseStep, Engine};
use crate::error::{IoStep, NetworkFailure, Shortage};
use crate::handle::Handle;
use crate::id::{LinkId, Token};
use crate::limits::{
    ACCEPT_RETRY_FIRST, ACCEPT_RETRY_MAX, ACCEPTS_PER_TURN, CLOSES_PER_TURN, COMMANDS_PER_TURN, DIALS_PER_TURN,
    EVENTS_PER_TURN, EXACT_WAKE_SPIN, EXPIRIES_PER_TURN, FLUSH_STEP_MAX, READ_STEP_MAX, SHUTDOWN_GRACE,
    SLICES_PER_WRITE, WRITES_PER_TURN,
};
use crate::net::mio::MioNet;
use crate::net::{Net, Readiness};
use crate::table::Ending;
use crate::time::{Instant, Wait};
use crate::wheel::tick_of;
use rand::rngs::{StdRng, SysRng};
use rand::{SeedableRng, TryRng};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// A loop: one thread, one poller, one table of peers, one handler.
///
/// ```no_run
/// use peerloop::{Config, Ctx, Event, Handler, Network, PeerId, Reactor};
///
/// struct Greeter;
///
/// impl Handler for Greeter {
///     type Command = ();
///
///     fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
///         if let (Event::Ready { handshake }, Some(view)) = (event, ctx.peer(peer)) {
///             println!("{} is ready after {handshake:?}", view.address());
///         }
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut reactor = Reactor::new(Config::new(Network::Regtest), Greeter)?;
/// reactor.listen("127.0.0.1:18444".parse()?)?;
/// reactor.run()?;
/// # Ok(())
/// # }
/// ```
pub struct Reactor<N: Net, H: Handler> {
    net: N,
    engine: Engine,
    handler: H,
    handle: Handle<H::Command>,
    /// None once the loop has ended, so that handles hear of it.
    commands: Option<Receiver<Command<H::Command>>>,
    /// Whether the queue of commands may hold more than was taken.
    commands_pending: bool,
    listeners: Vec<Listener>,
    read_block: ReadBlock,
    ready: Vec<Readiness>,
    due: Vec<u32>,
    /// When stopping began.
    stopping_since: Option<Instant>,
    started: bool,
}

#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    /// More connections may wait than were accepted.
    ready: bool,
    /// Accepting pauses until then, for want of descriptors or memory.
    retry: Option<Retry>,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    pause: Duration,
}

/// A loop that could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is not valid.
    Config(ConfigError),
    /// The operating system gives no poller, no waker or no randomness.
    System(io::Error),
}

impl<H: Handler> Reactor<MioNet, H> {
    /// A loop on the real network.
    ///
    /// # Errors
    ///
    /// When the configuration is not valid or the operating system gives no poller.
    pub fn new(config: Config, handler: H) -> Result<Self, StartError> {
        Self::with_net(config, MioNet::new().map_err(StartError::System)?, handler)
    }
}

impl<N: Net, H: Handler> Reactor<N, H> {
    /// A loop on a network of the caller's choice.
    ///
    /// # Errors
    ///
    /// When the configuration is not valid, or no seed is given and the operating system has no randomness.
    pub fn with_net(config: Config, net: N, handler: H) -> Result<Self, StartError> {
        config.validate().map_err(StartError::Config)?;
        let rng = match config.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => seeded_by_system().map_err(StartError::System)?,
        };
        let (handle, commands) = Handle::new(net.waker());
        let engine = Engine::new(config, rng, net.now());
        Ok(Self {
            net,
            engine,
            handler,
            handle,
            commands: Some(commands),
            commands_pending: true,
            listeners: Vec::new(),
            read_block: ReadBlock::new(),
            ready: Vec::with_capacity(EVENTS_PER_TURN),
            due: Vec::new(),
            stopping_since: None,
            started: false,
        })
    }

    /// Accepts connections at `address` and returns the address it got, with the port that the system chose if that
    /// was 0.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
    pub fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let index = u32::try_from(self.listeners.len()).expect("listeners are few");
        let address = self.net.listen(index, address)?;
        self.listeners.push(Listener { address, ready: true, retry: None });
        Ok(address)
    }

    /// The addresses of all listeners.
    pub fn listening_at(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().map(|listener| listener.address)
    }

    /// A remote control for other threads.
    pub fn handle(&self) -> Handle<H::Command> {
        self.handle.clone()
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// The handler, for changing it between turns.
    pub fn handler_mut(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Ends the loop's life and gives the handler back.
    pub fn into_handler(self) -> H {
        self.handler
    }

    /// What the loop has done so far.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// The network under the loop.
    pub fn net(&self) -> &N {
        &self.net
    }

    /// Runs turns until it is stopped, by [`Handle::stop`] or [`Ctx::stop`], and all peers are closed.
    ///
    /// # Errors
    ///
    /// When the poller fails.
    pub fn run(&mut self) -> io::Result<()> {
        while self.turn(None)? {}
        Ok(())
    }

    /// Runs one turn that waits for `timeout` at the most, and returns whether the loop goes on. For an embedder's
    /// own loop: call it when the poller's descriptor is readable and at [`Reactor::next_deadline`].
    ///
    /// # Errors
    ///
    /// When the poller fails.
    pub fn poll_once(&mut self, timeout: Duration) -> io::Result<bool> {
        self.turn(Some(timeout))
    }

    /// How long nothing needs to be done unless the poller's descriptor becomes readable. It changes with every turn.
    pub fn next_deadline(&self) -> Wait {
        let mut wait = self.engine.wait();
        // After as many events as one wait takes the kernel may hold more, and their edges may have been heard already.
        let more_events = self.ready.len() >= EVENTS_PER_TURN;
        let more_commands = self.commands_pending || !self.started;
        if more_events || more_commands || self.listeners.iter().any(Listener::is_due) {
            wait = Wait::Zero;
        }
        for retry in self.listeners.iter().filter_map(|listener| listener.retry) {
            wait = wait.or_sooner(Wait::Until(retry.at));
        }
        if let Some(moment) = self.engine.state.wake_at {
            wait = wait.or_sooner(Wait::Until(moment));
        }
        if let Some(since) = self.stopping_since {
            wait = wait.or_sooner(Wait::Until(since.plus(SHUTDOWN_GRACE)));
        }
        wait
    }

    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.wait(timeout)?;
        self.read_clock();
        self.engine.state.unix_time = self.net.unix_time();
        let began = self.engine.state.now;
        let was_idle = self.ready.is_empty() && !self.is_due(began);
        self.start();
        self.note_readiness();
        self.take_commands();
        self.accept();
        self.dial();
        self.read();
        self.expire();
        self.flush();
        self.close();
        let goes_on = self.stop_if_asked();
        if !goes_on {
            self.commands = None;
        }
        self.measure_turn(began, was_idle);
        Ok(goes_on)
    }

    // --- 1 and 2: wait and clock ------------------------------------------------------------------------------------

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let mut wait = self.next_deadline();
        if let Some(moment) = self.engine.state.wake_at
            && self.engine.state.config.spin
        {
            let sleep_until = moment.minus(EXACT_WAKE_SPIN);
            let must_spin = sleep_until <= self.net.now();
            wait = wait.or_sooner(if must_spin { Wait::Zero } else { Wait::Until(sleep_until) });
        }
        if let Some(timeout) = timeout {
            wait = wait.or_sooner(match timeout.is_zero() {
                true => Wait::Zero,
                false => Wait::Until(self.net.now().plus(timeout)),
            });
        }
        self.net.wait(wait, &mut self.ready)
    }

    /// Whether there is something to do though no event came.
    fn is_due(&self, now: Instant) -> bool {
        match self.next_deadline() {
            Wait::Zero => true,
            Wait::Until(moment) => moment <= now,
            Wait::Forever => false,
        }
    }

    fn read_clock(&mut self) {
        // A clock that stepped back would let deadlines come twice.
        self.engine.state.now = self.net.now().max(self.engine.state.now);
    }

    fn start(&mut self) {
        if !self.started {
            self.started = true;
            self.handler.on_start(&mut Ctx::new(&mut self.engine.state));
        }
    }

    fn note_readiness(&mut self) {
        for index in 0..self.ready.len() {
            let Readiness { token, readable, writable, hung_up } = self.ready[index];
            match Token::from_u64(token) {
                Token::Link(id) => self.note_link(id, readable, writable, hung_up),
                Token::Listener(index) => {
                    if let Some(listener) = self.listeners.get_mut(index as usize) {
                        listener.ready = true;
                    }
                }
                Token::Waker => self.commands_pending = true,
            }
        }
    }

    fn note_link(&mut self, id: LinkId, readable: bool, writable: bool, hung_up: bool) {
        let state = &mut self.engine.state;
        let Some(link) = state.table.get_mut(id) else {
            state.counters.stale_events += 1;
            return;
        };
        link.readiness.readable |= readable;
        link.readiness.writable |= writable;
        link.readiness.hung_up |= hung_up;
        let has_queue = !link.queue.is_empty();
        if link.is_connecting() {
            self.finish_connect(id);
        } else {
            if readable {
                state.table.mark_ready(id);
            }
            if writable && has_queue {
                state.table.mark_dirty(id);
            }
        }
    }

    // --- 3: commands ------------------------------------------------------------------------------------------------

    fn take_commands(&mut self) {
        if !self.commands_pending {
            return;
        }
        for _ in 0..COMMANDS_PER_TURN {
            let Some(Ok(command)) = self.commands.as_ref().map(Receiver::try_recv) else {
                self.commands_pending = false;
                return;
            };
            self.engine.command(command, &mut self.handler);
        }
    }

    // --- 4: accept and dial -----------------------------------------------------------------------------------------

    fn accept(&mut self) {
        let now = self.engine.state.now;
        for index in 0..self.listeners.len() {
            let listener = &mut self.listeners[index];
            if listener.retry.is_some_and(|retry| retry.at <= now) {
                listener.ready = true;
            }
            if !listener.ready || listener.retry.is_some_and(|retry| retry.at > now) {
                continue;
            }
            for _ in 0..ACCEPTS_PER_TURN {
                if !self.accept_one(index) {
                    break;
                }
            }
        }
    }

    /// Accepts one connection and returns whether there may be more.
    fn accept_one(&mut self, index: usize) -> bool {
        let (socket, address) = match self.net.accept(index as u32) {
            Ok(accepted) => accepted,
            Err(error) => return self.accept_failed(index, &error),
        };
        self.listeners[index].retry = None;
        let Some(id) = self.engine.accept(address) else { return true };
        match self.net.attach(id, socket) {
            Ok(()) => self.engine.opened(id, &mut self.handler),
            Err(error) => self.engine.failed(id, IoStep::Register, &error),
        }
        true
    }

    fn accept_failed(&mut self, index: usize, error: &io::Error) -> bool {
        let now = self.engine.state.now;
        let listener = &mut self.listeners[index];
        if error.kind() == ErrorKind::WouldBlock {
            listener.ready = false;
            listener.retry = None;
            return false;
        }
        match NetworkFailure::new(IoStep::Connect, error).shortage() {
            Some(Shortage::Descriptors | Shortage::Memory) => {
                let pause = listener.retry.map_or(ACCEPT_RETRY_FIRST, |retry| (retry.pause * 2).min(ACCEPT_RETRY_MAX));
                listener.retry = Some(Retry { at: now.plus(pause), pause });
                if self.engine.state.counters.accept_shortages == 0 {
                    log::warn!("accepting at {} pauses: {error}", listener.address);
                }
                self.engine.state.counters.accept_shortages += 1;
                false
            }
            Some(Shortage::Ports) | None => {
                self.engine.state.counters.accept_failures += 1;
                true
            }
        }
    }

    fn dial(&mut self) {
        for _ in 0..DIALS_PER_TURN {
            let Some(dial) = self.engine.state.table.pop_dial() else { return };
            if !self.engine.state.table.get(dial.link).is_some_and(|link| link.ending == Ending::Open) {
                continue;
            }
            match self.net.connect(dial.link, dial.address, dial.source) {
                Ok(()) => self.engine.dialling(dial.link),
                Err(error) => self.engine.failed(dial.link, IoStep::Connect, &error),
            }
        }
    }

    fn finish_connect(&mut self, id: LinkId) {
        match self.net.connected(id) {
            Ok(false) => {}
            Ok(true) => {
                self.engine.opened(id, &mut self.handler);
                self.engine.state.table.mark_ready(id);
            }
            Err(error) => self.engine.failed(id, IoStep::Connect, &error),
        }
    }

    // --- 5: read ----------------------------------------------------------------------------------------------------

    fn read(&mut self) {
        let until = self.engine.state.now.plus(READ_STEP_MAX);
        for _ in 0..self.engine.state.table.ready_len() {
            let Some(id) = self.engine.state.table.pop_ready() else { return };
            self.read_link(id);
            if self.engine.state.now >= until {
                return;
            }
        }
    }

    fn read_link(&mut self, id: LinkId) {
        let Some(link) = self.engine.state.table.get(id) else { return };
        if link.hold.is_held() || matches!(link.ending, Ending::Ended(_)) {
            return;
        }
        let (received, room_len, direct) = match self.engine.direct_room(id) {
            Some(room) => (self.net.read(id, room), room.len(), true),
            None => {
                let room = self.read_block.room();
                (self.net.read(id, room), room.len(), false)
            }
        };
        self.read_clock();
        let len = *received.as_ref().unwrap_or(&0);
        if direct {
            self.parse(id, |engine, handler| engine.received_directly(id, len, handler));
        } else if len > 0 {
            let block = self.read_block.freeze();
            self.parse(id, |engine, handler| engine.received(id, &block, len, handler));
            self.read_block.thaw(block);
        }
        self.conclude_read(id, received, room_len);
    }

    /// Lets the engine parse, then writes what it had to reply, with one call if the kernel takes it.
    fn parse(&mut self, id: LinkId, parse: impl FnOnce(&mut Engine, &mut H)) {
        self.engine.state.begin_replies(id);
        parse(&mut self.engine, &mut self.handler);
        let gathered = self.engine.state.write_block.gathered();
        if !gathered.is_empty() {
            let at = self.net.now();
            let written = match self.net.write(id, gathered) {
                Ok(0) => Err(ErrorKind::WriteZero.into()),
                result => result,
            };
            match written {
                Ok(written) => {
                    if written < gathered.len() {
                        self.engine.state.not_writable(id);
                    }
                    self.engine.wrote_replies(id, written, at);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.engine.state.not_writable(id);
                    self.engine.wrote_replies(id, 0, at);
                }
                Err(error) => self.engine.failed(id, IoStep::Write, &error),
            }
        }
        self.engine.state.end_replies();
    }

    /// Decides from the result of a read whether there is more to be read.
    fn conclude_read(&mut self, id: LinkId, received: io::Result<usize>, room_len: usize) {
        match received {
            Ok(0) => self.engine.ended_by_peer(id),
            Ok(len) => {
                let state = &mut self.engine.state;
                if let Some(link) = state.table.get_mut(id) {
                    link.readiness.readable = len == room_len || link.readiness.hung_up;
                    state.table.mark_ready(id);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if let Some(link) = self.engine.state.table.get_mut(id) {
                    link.readiness.readable = false;
                }
            }
            Err(error) => self.engine.failed(id, IoStep::Read, &error),
        }
    }

    // --- 6: timers --------------------------------------------------------------------------------------------------

    fn expire(&mut self) {
        self.read_clock();
        self.due.clear();
        let tick = tick_of(self.engine.state.now);
        self.engine.state.wheel.expire(tick, EXPIRIES_PER_TURN, &mut self.due);
        for index in 0..self.due.len() {
            self.engine.timer_due(self.due[index]);
        }
        self.engine.handler_timer_due(&mut self.handler);
    }

    // --- 7: flush ---------------------------------------------------------------------------------------------------

    fn flush(&mut self) {
        let until = self.engine.state.now.plus(FLUSH_STEP_MAX);
        for _ in 0..self.engine.state.table.dirty_len() {
            let Some(id) = self.engine.state.table.pop_dirty() else { return };
            if self.flush_link(id) >= until {
                return;
            }
        }
    }

    /// Sends what waits, and returns when the last write began.
    fn flush_link(&mut self, id: LinkId) -> Instant {
        let mut at = Instant::ZERO;
        for _ in 0..WRITES_PER_TURN {
            let Some(link) = self.engine.state.table.get(id) else { return at };
            if link.queue.is_empty() || !link.readiness.writable || matches!(link.ending, Ending::Ended(_)) {
                return at;
            }
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let filled = link.queue.fill_slices(&mut slices);
            let offered: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
            at = self.net.now();
            let written = match &slices[..filled] {
                [slice] => self.net.write(id, slice),
                slices => self.net.write_gathered(id, slices),
            };
            match written {
                Ok(0) => self.engine.failed(id, IoStep::Write, &ErrorKind::WriteZero.into()),
                Ok(written) => {
                    if written < offered {
                        self.engine.state.not_writable(id);
                    }
                    self.engine.wrote_queued(id, written, at, &mut self.handler);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.engine.state.not_writable(id),
                Err(error) => self.engine.failed(id, IoStep::Write, &error),
            }
        }
        self.engine.state.table.mark_dirty(id);
        at
    }

    // --- 8: close ---------------------------------------------------------------------------------------------------

    fn close(&mut self) {
        for _ in 0..self.engine.state.table.closing_len().min(CLOSES_PER_TURN) {
            let Some(id) = self.engine.state.table.pop_closing() else { return };
            match self.engine.close_step(id, &mut self.handler) {
                CloseStep::Wait => {}
                CloseStep::ShutDownWriting => self.net.shut_down_writing(id),
                CloseStep::Close => self.net.close(id),
            }
        }
    }

    /// Ends all listeners and peers once the loop is to stop, and returns whether it goes on.
    fn stop_if_asked(&mut self) -> bool {
        if !self.engine.state.stopping {
            return true;
        }
        let now = self.engine.state.now;
        match self.stopping_since {
            None => {
                self.stopping_since = Some(now);
                for index in 0..self.listeners.len() {
                    self.net.close_listener(index as u32);
                }
                self.listeners.clear();
                self.engine.close_all();
            }
            Some(since) if now >= since.plus(SHUTDOWN_GRACE) => self.engine.abort_all(),
            Some(_) => {}
        }
        self.engine.state.table.len() > 0
    }

    fn measure_turn(&mut self, began: Instant, was_idle: bool) {
        self.engine.state.counters.turns += 1;
        if !was_idle {
            let took = self.net.now().since(began);
            self.engine.state.turn.record(took);
            self.engine.state.busy += took;
        }
    }
}

impl Listener {
    fn is_due(&self) -> bool {
        self.ready && self.retry.is_none()
    }
}

#[cfg(unix)]
impl<N: Net + std::os::fd::AsRawFd, H: Handler> std::os::fd::AsRawFd for Reactor<N, H> {
    /// The poller's descriptor, for nesting the loop in another: it is readable when a turn would find something.
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.net.as_raw_fd()
    }
}

impl<N: Net, H: Handler> fmt::Debug for Reactor<N, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::System(error) => write!(f, "the system gives no poller or no randomness: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

fn seeded_by_system() -> io::Result<StdRng> {
    let mut seed = <StdRng as SeedableRng>::Seed::default();
    SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    Ok(StdRng::from_seed(seed))
}
