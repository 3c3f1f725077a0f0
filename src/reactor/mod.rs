//! The turn: one pass of the loop over its interface to the kernel. Only this module uses [`Net`] to wait, read the
//! clocks or make socket calls.
//!
//! Work is done in turns. Each turn runs the same steps in the same order:
//!
//! 1. **Wait** until the next deadline, or not at all if a list has work. If [`Config::spin`] is on, the loop sleeps
//!    until a millisecond before a handler's exact wake-up and polls from then on.
//! 2. **Clocks**: the monotonic clock is read at least after the wait, before each dial, before each link's bytes are
//!    parsed, and before the timers. The wall clock is read once.
//! 3. **Requests** from other threads, and completions of jobs off the loop, such as resolved names; both bounded.
//! 4. **Accept and dial**, both bounded. A failure of one connection is counted, and accepting continues. Any other
//!    failure, for example because descriptors or memory ran out, always arms a retry, because an edge-triggered
//!    listener reports no second event. An address that cannot be bound is retried as well, after growing pauses.
//! 5. **Read** each ready link once, for at most [`MAX_READ_STEP`](crate::limits::MAX_READ_STEP) in all. Replies are
//!    written with one call per link.
//! 6. **Timers**, in every turn, bounded. A peer's deadlines are compared with the moment up to which its input was
//!    seen, so that a process that was suspended closes no peer that replied in time.
//! 7. **Flush**: the handler is offered the free room of peers for which it requested an offer, at most
//!    [`PULLS_PER_TURN`](crate::limits::PULLS_PER_TURN) of them. Then queued bytes are written in vectored writes, for
//!    at most [`MAX_FLUSH_STEP`](crate::limits::MAX_FLUSH_STEP) in all. Each link writes at most
//!    [`MAX_WRITTEN_PER_TURN_BYTES`](crate::limits::MAX_WRITTEN_PER_TURN_BYTES).
//! 8. **Close**: graceful closes continue, and finished links are freed. Only this step frees rows, so no event of this
//!    turn can reach a row's next owner.
//! 9. **Report** the turn's control events to the handler. Then each subscriber receives the turn's control events or
//!    messages in one batch, under the subscription's lock. The loop waits for that lock only to end a subscription and
//!    otherwise uses `try_lock`. Events that the handler causes in this step are reported in the next turn.
//!
//! Readiness is a hint and is remembered: a socket is believed readable or writable until a call shows otherwise. A
//! read that does not fill its buffer has drained the socket, unless the kernel has reported the stream's end, because
//! data and end may share one edge. An error or hang-up flag never closes a link; it only causes another socket
//! call, which reports the cause. Between turns, a link with unread data is on the ready list unless its reading is
//! paused, and a link with queued bytes is on the dirty list unless it is believed unwritable.
//!
//! A peer's failure closes only that peer. The only failure that ends the loop is a failure of the poller.

mod accept;
mod additions;
#[cfg(unix)]
mod descriptor;
mod dialling;
#[cfg(feature = "sim")]
pub(crate) mod inspect;
mod listening;
mod transfer;

use crate::api::{Direction, Request, Stats};
use crate::bugs::{budget, canary};
use crate::config::{Config, ConfigError};
use crate::engine::Engine;
use crate::error::AddConnectionError;
use crate::handle::Handle;
use crate::handler::{Ctx, Handler};
use crate::id::{PeerId, Token};
use crate::limits::{
    COMPLETIONS_PER_TURN, EVENTS_PER_TURN, EXACT_WAKE_SPIN, MAX_REQUESTS_STEP, REQUESTS_PER_TURN, SHUTDOWN_GRACE,
};
use crate::link::blocks::ReadBlock;
use crate::manager::ban::Ban;
use crate::manager::dial::Resolve;
use crate::manager::store::{Batch, BookLost, KnownPeer, Persisted, StoreError};
use crate::net::mio::MioNet;
use crate::net::{Net, Readiness};
use crate::offload::{Completion, Offload};
use crate::state::AddedConnection;
use crate::time::{Instant, Wait};
use additions::Additions;
use listening::Listeners;
use rand::rngs::{StdRng, SysRng};
use rand::{SeedableRng, TryRng};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
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
///     type Request = ();
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
    handle: Handle<H::Request>,
    /// `None` once the loop has ended, so that handles return an error.
    requests: Option<Receiver<Request<H::Request>>>,
    /// Whether the request queue may hold requests.
    requests_pending: bool,
    /// Whether completions or refused options may be waiting.
    completions_pending: bool,
    listeners: Listeners,
    additions: Additions,
    read_block: ReadBlock,
    ready: Vec<Readiness>,
    due: Vec<u32>,
    /// The moment at which stopping began.
    stopping_since: Option<Instant>,
    started: bool,
    /// The end of the last turn, or its start if the turn was idle.
    turn_ended: Instant,
}

/// An error in creating a loop.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is not valid.
    Config(ConfigError),
    /// The operating system provides no poller, waker or randomness.
    System(io::Error),
}

impl<H: Handler> Reactor<MioNet, H> {
    /// Creates a loop on the real network.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the configuration is invalid, or if the operating system provides no poller, waker or
    /// randomness.
    pub fn new(config: Config, handler: H) -> Result<Self, StartError> {
        Self::with_net(config, MioNet::new().map_err(StartError::System)?, handler)
    }

    /// Accepts connections on a listener that the caller has opened, and returns its address. The loop makes the
    /// listener non-blocking and sets the options that accepted connections inherit. The listener's connections count
    /// towards every limit. The listener stays open when the configuration changes, and is closed when the loop stops.
    ///
    /// # Errors
    ///
    /// The system's error if the listener cannot be used; the listener is then closed.
    pub fn add_listener(&mut self, listener: TcpListener) -> io::Result<SocketAddr> {
        let address = self.listeners.add(listener, &mut self.net)?;
        self.engine.listens_on(address);
        Ok(address)
    }

    /// Adopts a connection that the caller has opened, and on which no protocol byte was sent or read. The loop makes
    /// it non-blocking and sets its options. The handshake begins in the next turn. The connection counts towards every
    /// limit, like an accepted or a dialled one. [`Handle::add_connection`] does the same from another thread.
    ///
    /// # Errors
    ///
    /// [`AddConnectionError`] with the reason; the connection is then closed.
    pub fn add_connection(
        &mut self,
        connection: TcpStream,
        direction: Direction,
    ) -> Result<PeerId, AddConnectionError> {
        self.read_clocks();
        self.additions.add(connection, direction, &mut self.net, &mut self.engine)
    }

    /// Waits until the address book is written, at most [`MAX_BOOK_END`](crate::limits::MAX_BOOK_END) for each
    /// batch's result, and closes its store. Call it after the loop has ended. Without this call, dropping the loop
    /// does the same, but a failure is only logged.
    ///
    /// # Errors
    ///
    /// [`BookLost`] if changes did not reach the disk.
    pub fn finish_book(&mut self) -> Result<(), BookLost> {
        let finished = self.net.finish_book();
        if let Ok(Some(id)) = finished {
            self.engine.job_completed(Completion::Persisted(Persisted { id, result: Ok(()) }));
        }
        let (bans, peers) = self.engine.manager().map_or((0, 0), |manager| manager.persistence.unwritten());
        match finished {
            Ok(_) if (bans, peers) == (0, 0) => Ok(()),
            Ok(_) => Err(BookLost { bans, peers, error: StoreError::NoAnswer }),
            Err(error) => Err(BookLost { bans, peers, error }),
        }
    }
}

impl<N: Net + Offload, H: Handler> Reactor<N, H> {
    /// Creates a loop on a network of the caller's choice.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the configuration is invalid, or if it has no seed and the operating system provides no
    /// randomness.
    pub fn with_net(config: Config, mut net: N, handler: H) -> Result<Self, StartError> {
        config.validate().map_err(StartError::Config)?;
        if config.reuse_port {
            net.share_ports();
        }
        let rng = match config.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => seeded_by_system().map_err(StartError::System)?,
        };
        let (handle, requests) = Handle::new(net.waker(), config.magic_bytes());
        let engine = Engine::new(config, rng, net.clock());
        Ok(Self {
            net,
            engine,
            handler,
            handle,
            requests: Some(requests),
            requests_pending: true,
            completions_pending: false,
            listeners: Listeners::default(),
            additions: Additions::default(),
            read_block: ReadBlock::new(),
            ready: Vec::with_capacity(EVENTS_PER_TURN),
            due: Vec::new(),
            stopping_since: None,
            started: false,
            turn_ended: Instant::MAX,
        })
    }

    /// Returns a handle that controls the loop from other threads.
    pub fn handle(&self) -> Handle<H::Request> {
        self.handle.clone()
    }

    /// Loads the peers and bans that a [store](crate::manager::store::PeerStore) has kept from an earlier run. Call it
    /// before the first turn. Without a [manager](crate::config::ManagerConfig) they are dropped.
    pub fn remember(&mut self, peers: Vec<KnownPeer>, bans: Vec<Ban>) {
        self.read_clocks();
        if let Some(mut managing) = self.engine.managing() {
            managing.remember(peers, bans);
        }
    }

    /// Accepts connections on `address` and returns the bound address, with the port that the system chose if the port
    /// was 0.
    ///
    /// # Errors
    ///
    /// The system's error if the address cannot be bound.
    pub fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let bound = self.listeners.listen(address, &mut self.net)?;
        self.engine.listens_on(bound);
        Ok(bound)
    }

    /// Returns the addresses of all open listeners.
    pub fn listening_on(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.open.iter().map(|listener| listener.address)
    }

    /// Returns the handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// Returns a mutable reference to the handler, for changes between turns.
    pub fn handler_mut(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Drops the loop and returns its handler.
    pub fn into_handler(self) -> H {
        self.handler
    }

    /// Calls `act` with the handler and its view of the loop between two turns, and returns its result. The next turn
    /// carries out the effects of `act`. If they cause work, [`Reactor::next_deadline`] is zero until then.
    ///
    /// Use it if your own event loop drives [`Reactor::poll_once`]; see the example `foreign_event_loop`. Other threads
    /// use a [`Handle`]. If the handler is a pair, use [`Ctx::first`](crate::Ctx::first) or
    /// [`Ctx::second`](crate::Ctx::second) to request a callback, such as a wake-up, for one of its handlers.
    pub fn act<R>(&mut self, act: impl FnOnce(&mut H, &mut Ctx<'_>) -> R) -> R {
        self.read_clocks();
        act(&mut self.handler, &mut self.engine.ctx())
    }

    /// Returns the loop's configuration, which [`Handle::update_config`] changes.
    pub fn config(&self) -> &Config {
        self.engine.config()
    }

    /// Returns the loop's gauges, counters and latencies.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Reads the loop's clock, on which [`Reactor::next_deadline`] is based.
    pub fn now(&self) -> Instant {
        self.net.now()
    }

    /// Returns the interface to the kernel.
    #[doc(hidden)]
    pub fn net(&self) -> &N {
        &self.net
    }

    /// Runs turns until [`Handle::stop`] or [`Ctx::stop`](crate::Ctx::stop) is called and the loop has then closed all
    /// peers and written its address book, or [`SHUTDOWN_GRACE`] has passed.
    ///
    /// # Errors
    ///
    /// The system's error if the poller fails.
    pub fn run(&mut self) -> io::Result<()> {
        while self.turn(None)? {}
        Ok(())
    }

    /// Runs one turn that waits for at most `timeout`, and returns whether the loop continues. In your own event loop,
    /// call it when the poller's descriptor is readable and at [`Reactor::next_deadline`].
    ///
    /// # Errors
    ///
    /// The system's error if the poller fails.
    pub fn poll_once(&mut self, timeout: Duration) -> io::Result<bool> {
        self.turn(Some(timeout))
    }

    /// Returns the moment at which the next turn is due, unless the poller's descriptor becomes readable earlier. Every
    /// turn may change it.
    pub fn next_deadline(&self) -> Wait {
        let mut wait = self.engine.wait();
        // After a wait that returned the maximum number of events, the kernel may hold more, so the next turn is due
        // at once.
        let more_events = self.ready.len() >= budget!(Events, EVENTS_PER_TURN);
        let more_to_take = self.requests_pending || self.completions_pending || !self.started;
        let stops = self.engine.is_stopping() && self.stopping_since.is_none();
        if more_events || more_to_take || stops || !self.additions.is_empty() {
            wait = Wait::Zero;
        }
        wait = wait.or_sooner(self.listeners.wait());
        if let Some(moment) = self.engine.wake_at() {
            wait = wait.or_sooner(Wait::Until(moment));
        }
        if let Some(since) = self.stopping_since {
            wait = wait.or_sooner(Wait::Until(since.plus(SHUTDOWN_GRACE)));
        }
        wait
    }

    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let spins = self.wait(timeout)?;
        self.read_clocks();
        let began = self.engine.now();
        self.engine.telemetry_mut().note_wait(began.since(self.turn_ended));
        if spins {
            self.engine.telemetry_mut().spinning += began.since(self.turn_ended);
        }
        if self.ready.len() < budget!(Events, EVENTS_PER_TURN) {
            self.engine.input_is_seen();
        }
        self.engine.note_gathered_bytes();
        let was_idle = self.ready.is_empty() && !self.is_due(began);
        self.start();
        self.additions.open(&mut self.engine, &mut self.handler);
        self.note_readiness();
        self.take_requests();
        self.take_completions();
        self.listeners.accept(&mut self.net, &mut self.engine, &mut self.handler);
        self.engine.run_manager();
        self.offload();
        dialling::dial(&mut self.net, &mut self.engine);
        self.read();
        if self.ready.is_empty() || !canary!(TimerStarvedByTraffic) {
            self.expire();
        }
        self.offer_room();
        self.flush();
        self.close();
        self.engine.dispatch_control_events(&mut self.handler);
        let goes_on = self.stop_if_asked();
        self.measure_turn(began, was_idle);
        if !goes_on {
            self.end();
        }
        Ok(goes_on)
    }

    /// Refuses further requests, ends subscriptions, and replies to all stop requests.
    fn end(&mut self) {
        if let Some(requests) = self.requests.take() {
            // A stop request that arrived too late for the last turn also gets its reply.
            let stops = requests.try_iter().filter(|request| matches!(request, Request::Stop { .. }));
            stops.for_each(|stop| self.engine.request(stop, &mut self.handler));
        }
        self.engine.end_subscriptions();
    }

    // --- 1 and 2: wait and clock ------------------------------------------------------------------------------------

    /// Waits for the next event or deadline, and returns whether it polled for an exact wake-up instead of sleeping.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let mut wait = self.next_deadline();
        let mut spins = false;
        if let Some(moment) = self.engine.wake_at()
            && self.engine.config().spin
        {
            let sleep_until = moment.minus(EXACT_WAKE_SPIN);
            let must_spin = sleep_until <= self.net.now();
            spins = must_spin && !matches!(wait, Wait::Zero);
            wait = wait.or_sooner(if must_spin { Wait::Zero } else { Wait::Until(sleep_until) });
        }
        if let Some(timeout) = timeout {
            wait = wait.or_sooner(match timeout.is_zero() {
                true => Wait::Zero,
                false => Wait::Until(self.net.now().plus(timeout)),
            });
        }
        self.net.wait(wait, &mut self.ready)?;
        Ok(spins)
    }

    /// Returns whether work is due without an event.
    fn is_due(&self, now: Instant) -> bool {
        match self.next_deadline() {
            Wait::Zero => true,
            Wait::Until(moment) => moment <= now,
            Wait::Forever => false,
        }
    }

    fn read_clock(&mut self) {
        self.engine.advance_clock(self.net.now());
    }

    /// Reads both clocks.
    fn read_clocks(&mut self) {
        self.read_clock();
        self.engine.set_unix_time(self.net.unix_time());
    }

    fn follow_configuration(&mut self) {
        self.listeners.follow_configuration(&mut self.net, &mut self.engine);
    }

    fn start(&mut self) {
        if !self.started {
            self.started = true;
            self.follow_configuration();
            self.engine.start(&mut self.handler);
        }
    }

    fn note_readiness(&mut self) {
        for index in 0..self.ready.len() {
            let Readiness { token, readable, writable, hung_up } = self.ready[index];
            match Token::from_u64(token) {
                Token::Link(id) => {
                    if self.engine.note_readiness(id, readable, writable, hung_up) {
                        dialling::finish_connect(id, &mut self.net, &mut self.engine, &mut self.handler);
                    }
                }
                Token::Listener(index) => {
                    if let Some(listener) = self.listeners.by_index(index) {
                        listener.ready = true;
                    }
                }
                Token::Waker => {
                    self.requests_pending = true;
                    self.completions_pending = true;
                }
            }
        }
    }

    // --- 3: requests and completions --------------------------------------------------------------------------------

    fn take_requests(&mut self) {
        if !self.requests_pending {
            return;
        }
        let until = self.net.now().plus(MAX_REQUESTS_STEP);
        for _ in 0..budget!(Requests, REQUESTS_PER_TURN) {
            let Some(Ok(request)) = self.requests.as_ref().map(Receiver::try_recv) else {
                self.requests_pending = false;
                break;
            };
            self.engine.request(request, &mut self.handler);
            if self.net.now() >= until {
                break;
            }
        }
        for AddedConnection { connection, direction, reply } in self.engine.take_added_connections() {
            reply.send(self.additions.add(connection, direction, &mut self.net, &mut self.engine));
        }
        self.additions.open(&mut self.engine, &mut self.handler);
        self.follow_configuration();
    }

    /// Starts writing the manager's changes to the address book, and resolving the names that it requests.
    fn offload(&mut self) {
        while let Some(batch) = self.engine.managing().and_then(|mut managing| managing.next_batch()) {
            if let Err(Batch { id, .. }) = self.net.persist(batch) {
                let result = Err(StoreError::WriterEnded);
                self.engine.job_completed(Completion::Persisted(Persisted { id, result }));
            }
        }
        while let Some(query) = self.engine.managing().and_then(|mut managing| managing.next_query()) {
            let Resolve { query, name, port } = query;
            if let Err(failure) = self.net.resolve(query, &name, port) {
                self.engine.job_completed(Completion::Resolved { query, outcome: Err(failure) });
            }
        }
    }

    fn take_completions(&mut self) {
        if !self.completions_pending {
            return;
        }
        while let Some(refused) = self.net.take_refused_option() {
            self.engine.option_refused(refused);
        }
        for _ in 0..COMPLETIONS_PER_TURN {
            let Some(completion) = self.net.take_completion() else {
                self.completions_pending = false;
                return;
            };
            self.engine.job_completed(completion);
        }
    }

    // --- 6: timers --------------------------------------------------------------------------------------------------

    fn expire(&mut self) {
        self.read_clock();
        self.engine.rearm_after_update();
        self.engine.expire_timers(&mut self.due);
        self.engine.fire_timers(&mut self.handler);
        self.engine.wake_handler(&mut self.handler);
    }

    /// Closes all listeners and peers once a stop is requested, and returns whether the loop continues.
    fn stop_if_asked(&mut self) -> bool {
        if !self.engine.is_stopping() {
            return true;
        }
        let now = self.engine.now();
        match self.stopping_since {
            None => {
                self.stopping_since = Some(now);
                self.listeners.close_all(&mut self.net, &mut self.engine);
                if let Some(managing) = self.engine.managing() {
                    managing.manager.persistence.write_at_once();
                }
                self.engine.close_all();
            }
            Some(since) if now >= since.plus(SHUTDOWN_GRACE) => {
                self.engine.abort_all();
                return self.engine.has_links();
            }
            Some(_) => {}
        }
        self.engine.has_links() || self.engine.manager().is_some_and(|manager| !manager.persistence.is_durable())
    }

    fn measure_turn(&mut self, began: Instant, was_idle: bool) {
        let telemetry = self.engine.telemetry_mut();
        self.turn_ended = if was_idle { began } else { self.net.now() };
        telemetry.note_turn((!was_idle).then(|| self.turn_ended.since(began)));
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
            Self::System(error) => write!(f, "cannot create the poller or obtain randomness: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

fn seeded_by_system() -> io::Result<StdRng> {
    let mut seed = <StdRng as SeedableRng>::Seed::default();
    SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    Ok(StdRng::from_seed(seed))
}
