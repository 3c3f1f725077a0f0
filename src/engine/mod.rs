//! The engine: one loop's links and policies, run in the steps of a turn.
//!
//! The engine owns the table, the wheel, the rng and every policy. It uses no socket and no thread. Once created, it
//! reads a clock only in [`Ctx::clock`]. Bytes, moments and failures are passed to it. Its output waits in lists and
//! queues for the [`Reactor`](crate::Reactor). The same seed and input give byte-identical output. Input from a
//! peer never makes a call panic. A call's cost is bounded by its input or a limit, but a shutdown visits every link.

mod admission;
mod closing;
mod conduct;
mod deadlines;
mod gossip;
mod greeting;
mod handshake;
mod intake;
mod log;
pub(crate) mod managing;
mod nonces;
mod rearming;
mod report;
mod streams;
mod update;

use crate::api::{ControlEvent, PeerInfo, Request};
use crate::bugs::{budget, canary};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::{
    CloseReason, Disconnect, IoStep, LocalCause, NetworkFailure, Refusal, RefusedOption, RequestError, Shortage,
};
use crate::handler::{Ctx, Handler, PeerView};
use crate::id::{LinkId, PeerId};
use crate::limits::{EXPIRIES_PER_TURN, MEMORY_RETRY, PEERS_PER_REPLY, TICK};
use crate::link::framer::{FrameLimits, FramerMemory, FramerRules};
use crate::link::send_queue::SendQueue;
use crate::link::table::Dial;
use crate::manager::Manager;
use crate::offload::Completion;
use crate::state::{self, AddedConnection, AfterWrite, Dialling, Links, LoopState, Telemetry, TimerKey};
use crate::stats::Stats;
use crate::time::{Instant, UnixTime, Wait};
use crate::wheel::{instant_of, tick_of};
use crate::wire::PayloadLimits;
pub(crate) use closing::CloseStep;
pub(crate) use intake::Intake;

use closing::Closing;
use deadlines::Deadlines;
use greeting::HandshakeFrames;
use handshake::Handshake;
use log::LogBook;
use managing::Managing;
use nonces::Nonces;
use rand::rngs::StdRng;
use rearming::Rearming;
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;
use std::{io, mem};

/// Table, wheel, rng and policies of one loop.
#[derive(Debug)]
pub(crate) struct Engine {
    state: LoopState,
    rules: FramerRules,
    memory: FramerMemory,
    frames: HandshakeFrames,
    nonces: Nonces,
    logbook: LogBook,
    rearming: Rearming,
}

impl Engine {
    pub(crate) fn new(config: Config, rng: StdRng, clock: Arc<dyn Clock>) -> Self {
        let memory = FramerMemory::new(config.max_buffered_total_bytes);
        let frames = HandshakeFrames::new(&config);
        let rules = framer_rules(&config);
        let logbook = LogBook::new(config.network);
        let state = LoopState::new(config, rng, clock);
        Self { state, rules, memory, frames, nonces: Nonces::default(), logbook, rearming: Rearming::default() }
    }

    // --- Requests ---------------------------------------------------------------------------------------------------

    pub(crate) fn request<H: Handler>(&mut self, request: Request<H::Request>, handler: &mut H) {
        match request {
            Request::Connect { address, source, reply } => {
                let dialling = Dialling { source, ..address.into() };
                reply.send(self.state.connect(dialling).map(PeerId::of));
            }
            Request::AddConnection { connection, direction, reply } => {
                self.state.added_connections.push(AddedConnection { connection, direction, reply });
            }
            Request::Close { peer } => self.ctx().close(peer, Disconnect::Done),
            Request::Send { peer, frame } => {
                // This request has no reply; `SendMessage` has one.
                let _ = Ctx::new(&mut self.state).send_shared(peer, &frame);
            }
            Request::SendMessage { peer, frame, reply } => {
                reply.send(Ctx::new(&mut self.state).send_shared(peer, &frame));
            }
            Request::ConnectionCount { reply } => reply.send(self.state.telemetry.ready_count()),
            Request::Peers { after, reply } => reply.send(self.peers(after)),
            Request::SubscribeControl { publisher } => self.state.outbox.add_control(publisher),
            Request::SubscribeMessages { commands, publisher } => self.state.outbox.add_messages(commands, publisher),
            Request::Ban { address, duration, reply } => reply.send(self.state.ban_by_request(address, duration)),
            Request::Unban { address, reply } => reply.send(self.state.unban(address)),
            Request::Bans { reply } => reply.send(self.state.bans()),
            Request::UpdateConfig { config, dry_run, reply } => reply.send(self.update_config(*config, dry_run)),
            Request::Stats { reply } => reply.send(self.stats()),
            Request::TakeLatencies { latency, spare, reply } => {
                reply.send(self.state.telemetry.swap_histogram(latency, spare))
            }
            Request::Config { reply } => reply.send(self.config().clone()),
            Request::Stop { reply } => self.state.stop(reply),
            Request::Handler(request) => handler.on_request(&mut Ctx::new(&mut self.state), request),
        }
    }

    fn peers(&self, after: Option<PeerId>) -> Vec<PeerInfo> {
        let slot = after.map_or(0, |peer| peer.slot() + 1);
        let links = self.state.links.table.iter_from(slot);
        let peers = links.filter_map(|(id, _)| PeerView::of(PeerId::of(id), &self.state));
        peers.take(PEERS_PER_REPLY).map(|view| view.info()).collect()
    }

    // --- The parts that the turn uses -------------------------------------------------------------------------------

    #[cfg(feature = "sim")]
    pub(crate) fn memory(&self) -> &FramerMemory {
        &self.memory
    }

    #[cfg(feature = "sim")]
    pub(crate) fn rearming(&self) -> &Rearming {
        &self.rearming
    }

    pub(crate) fn links(&self) -> &Links {
        &self.state.links
    }

    #[cfg(feature = "sim")]
    pub(crate) fn state(&self) -> &LoopState {
        &self.state
    }

    pub(crate) fn config(&self) -> &Config {
        &self.state.config
    }

    /// Returns the links, whose lists the turn processes.
    pub(crate) fn links_mut(&mut self) -> &mut Links {
        &mut self.state.links
    }

    pub(crate) fn telemetry_mut(&mut self) -> &mut Telemetry {
        &mut self.state.telemetry
    }

    /// Returns the peer manager, if the loop has one.
    pub(crate) fn manager(&self) -> Option<&Manager> {
        self.state.manager.as_deref()
    }

    /// Returns the peer manager with the parts of the loop that it acts on, if the loop has one.
    pub(crate) fn managing(&mut self) -> Option<Managing<'_>> {
        Managing::of(&mut self.state)
    }

    /// Returns the handshake of a link.
    #[inline]
    pub(crate) fn handshake(&mut self, id: LinkId) -> Handshake<'_> {
        let Self { state, frames, nonces, .. } = self;
        Handshake { id, state, frames, nonces }
    }

    /// Returns the closing steps of a link.
    #[inline]
    pub(crate) fn closing(&mut self, id: LinkId) -> Closing<'_> {
        let Self { state, memory, nonces, .. } = self;
        Closing { id, state, memory, nonces }
    }

    /// Returns all gauges, counters and latencies.
    pub(crate) fn stats(&self) -> Stats {
        state::stats(&self.state, self.memory.gathered_bytes())
    }

    /// Records how many bytes incomplete large messages hold, for handlers that query the number during the turn.
    pub(crate) fn note_gathered_bytes(&mut self) {
        self.state.telemetry.gathered_bytes = self.memory.gathered_bytes();
    }

    /// Returns the loop's current moment.
    pub(crate) fn now(&self) -> Instant {
        self.state.clocks.now()
    }

    /// Advances the monotonic clock; an earlier `now` has no effect.
    pub(crate) fn advance_clock(&mut self, now: Instant) {
        self.state.clocks.advance(now);
    }

    pub(crate) fn set_unix_time(&mut self, unix: UnixTime) {
        self.state.clocks.set_unix(unix);
    }

    /// Returns the earliest wake-up that the handler requested.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.state.clocks.wake_at()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.state.stopping
    }

    pub(crate) fn has_links(&self) -> bool {
        self.state.links.table.len() > 0
    }

    /// Returns the handler's view of the loop.
    pub(crate) fn ctx(&mut self) -> Ctx<'_> {
        Ctx::new(&mut self.state)
    }

    /// Calls the handler for the first time.
    pub(crate) fn start<H: Handler>(&mut self, handler: &mut H) {
        handler.on_start(&mut Ctx::new(&mut self.state));
    }

    /// Calls the handler for its due timers, up to the turn's limit. A timer that the handler sets in these calls
    /// fires in a later turn.
    pub(crate) fn fire_timers<H: Handler>(&mut self, handler: &mut H) {
        let limit = budget!(Expiries, EXPIRIES_PER_TURN);
        self.state.timers.expire(self.state.clocks.now(), limit);
        while let Some(TimerKey { lane, key }) = self.state.timers.take_expired() {
            handler.on_timer(&mut Ctx::aimed_at(lane, &mut self.state), key);
        }
    }

    /// Wakes each part of the handler whose wake-up is due.
    pub(crate) fn wake_handler<H: Handler>(&mut self, handler: &mut H) {
        for index in 0..self.state.clocks.wakes() {
            let Some((lane, asked)) = self.state.clocks.take_due_wake(index) else { continue };
            self.state.telemetry.loop_lag.record(self.now().since(asked));
            handler.on_wake(&mut Ctx::aimed_at(lane, &mut self.state));
        }
    }

    /// Runs the peer manager's step of the turn, if the loop has a manager.
    pub(crate) fn run_manager(&mut self) {
        managing::run(&mut self.state);
    }

    /// Reports the control events of the turn.
    pub(crate) fn dispatch_control_events<H: Handler>(&mut self, handler: &mut H) {
        report::dispatch_control_events(&mut self.state, &mut self.logbook, handler);
    }

    /// Ends all subscriptions after passing on their last items, and then replies to the requests to stop.
    pub(crate) fn end_subscriptions(&mut self) {
        self.state.outbox.end();
    }

    /// Applies a new configuration's timeouts to the next links, up to the turn's limit.
    pub(crate) fn rearm_after_update(&mut self) {
        self.rearming.proceed(&mut self.state.links, self.state.clocks.now());
    }

    /// Handles due link timers, up to the turn's limit; `due` is scratch memory.
    pub(crate) fn expire_timers(&mut self, due: &mut Vec<u32>) {
        let tick = tick_of(self.now()) + u64::from(canary!(EarlyTimer));
        due.clear();
        self.state.links.wheel.expire(tick, budget!(Expiries, EXPIRIES_PER_TURN), due);
        due.iter().for_each(|&slot| self.timer_due(slot));
    }

    /// Handles the fired timer of the link in `slot`.
    fn timer_due(&mut self, slot: u32) {
        Deadlines { state: &mut self.state, rules: &self.rules }.timer_due(slot);
    }

    // --- Opening ----------------------------------------------------------------------------------------------------

    /// Allocates a row for a connection to `address` that an embedder has opened.
    pub(crate) fn add_outbound(&mut self, address: SocketAddr) -> Result<LinkId, RequestError> {
        self.state.add_outbound(address)
    }

    /// Returns the connections that other threads have passed to the loop. They have no rows yet.
    pub(crate) fn take_added_connections(&mut self) -> Vec<AddedConnection> {
        mem::take(&mut self.state.added_connections)
    }

    /// Allocates a row for an accepted connection.
    pub(crate) fn accept(&mut self, address: SocketAddr) -> Result<LinkId, Refusal> {
        admission::accept(address, &mut self.state)
    }

    /// Returns the next connection to open.
    pub(crate) fn next_dial(&mut self) -> Option<Dial> {
        let Links { table, .. } = &mut self.state.links;
        loop {
            let dial = table.pop_dial()?;
            if table.get(dial.link).is_some_and(|link| link.is_open()) {
                return Some(dial);
            }
        }
    }

    /// Counts a connection that failed before it was accepted.
    pub(crate) fn accept_failed(&mut self) {
        self.state.telemetry.counters.accept_failures += 1;
    }

    /// Logs that a listener pauses.
    pub(crate) fn log_accept_pause(&mut self, listen_address: SocketAddr, error: &io::Error) {
        self.logbook.note_accept_pause(listen_address, error, self.state.clocks.now());
    }

    /// Counts a listener's pause. If descriptors have run out, dialling also pauses.
    pub(crate) fn accepting_paused(&mut self, error: &io::Error) {
        self.state.telemetry.counters.accept_pauses += 1;
        let is_short = NetworkFailure::new(IoStep::Connect, error).shortage() == Some(Shortage::Descriptors);
        if let Some(manager) = self.state.manager.as_mut().filter(|_| is_short) {
            manager.dialler.short_of_descriptors(self.state.clocks.now());
        }
    }

    /// Reports that the loop now listens on `address`.
    pub(crate) fn listener_bound(&mut self, address: SocketAddr) {
        self.state.telemetry.counters.listeners_bound += 1;
        self.state.outbox.emit(ControlEvent::ListenerBound { address });
        self.listens_on(address);
    }

    /// Records that `address` is one of our own addresses.
    pub(crate) fn listens_on(&mut self, address: SocketAddr) {
        if let Some(manager) = &mut self.state.manager {
            manager.listens_on(address);
        }
    }

    /// Reports that the loop cannot listen on `address` and retries after `retry_in`.
    pub(crate) fn listener_failed(&mut self, address: SocketAddr, error: &io::Error, retry_in: Duration) {
        self.state.telemetry.counters.listen_failures += 1;
        let failure = NetworkFailure::new(IoStep::Bind, error);
        self.state.outbox.emit(ControlEvent::ListenerBindFailed { address, failure, retry_in });
    }

    /// Records that the loop no longer listens on `address`.
    pub(crate) fn listener_closed(&mut self, address: SocketAddr) {
        if let Some(manager) = &mut self.state.manager {
            manager.listens_no_more_at(address);
        }
    }

    /// Handles the result of a job that ran off the loop.
    pub(crate) fn job_completed(&mut self, completion: Completion) {
        managing::job_completed(completion, &mut self.state);
    }

    /// Reports a socket option that the system refuses.
    pub(crate) fn option_refused(&mut self, refused: RefusedOption) {
        self.state.telemetry.counters.socket_options_refused += 1;
        self.state.outbox.emit(ControlEvent::SocketOptionRefused { refused });
    }

    /// Aborts a connection whose two endpoints have the same address.
    pub(crate) fn connected_to_itself(&mut self, id: LinkId) {
        self.state.links.abort(id, LocalCause::SelfConnection.into());
    }

    /// Starts a dial's deadline. The dial's time in the loop's own queue does not count.
    pub(crate) fn connect_starting(&mut self, id: LinkId) {
        let now = self.state.clocks.now();
        let Some(link) = self.state.links.table.get_mut(id) else { return };
        link.peer.restart_clock(now);
        self.state.links.rearm(id, now);
    }

    /// Records that the kernel has started to connect a dialled link.
    pub(crate) fn connect_started(&mut self, id: LinkId) {
        let LoopState { manager, links, .. } = &mut self.state;
        if let (Some(manager), Some(link)) = (manager, links.peer(id)) {
            manager.dialler.connect_started(link.peer.address());
        }
    }

    // --- Failing and closing ----------------------------------------------------------------------------------------

    /// Aborts a link after the operating system has reported a failure.
    pub(crate) fn failed(&mut self, id: LinkId, step: IoStep, error: &io::Error) {
        let reason = match self.reject_code(id) {
            // A peer that closes right after its `reject` may reset the connection.
            Some(code) if !matches!(step, IoStep::Connect | IoStep::BindSource) => CloseReason::RejectedByPeer(code),
            Some(_) | None => CloseReason::Network(NetworkFailure::new(step, error)),
        };
        self.state.links.abort(id, reason);
    }

    /// Handles a read or write that moved no bytes. The call is retried if it would have blocked or memory ran out;
    /// otherwise the link is aborted.
    pub(crate) fn stalled(&mut self, id: LinkId, step: IoStep, error: &io::Error) {
        let is_short = NetworkFailure::new(step, error).shortage() == Some(Shortage::Memory);
        if error.kind() != io::ErrorKind::WouldBlock && !is_short {
            return self.failed(id, step, error);
        }
        let Some(link) = self.state.links.table.get_mut(id) else { return };
        match step {
            IoStep::Read => link.readiness.readable = false,
            IoStep::Write => link.readiness.writable = false,
            IoStep::Connect | IoStep::BindSource | IoStep::Register | IoStep::Bind | IoStep::Resolve => {}
        }
        if is_short {
            // The socket's readiness does not change, so the kernel will not report it again. A timer retries the
            // call.
            link.retry_at = self.state.clocks.now().plus(MEMORY_RETRY);
            self.state.telemetry.counters.memory_pauses += 1;
            self.state.links.rearm(id, self.state.clocks.now());
        }
    }

    /// Aborts a link whose peer has closed its side.
    pub(crate) fn ended_by_peer(&mut self, id: LinkId) {
        let reason = self.reject_code(id).map_or(CloseReason::ClosedByPeer, CloseReason::RejectedByPeer);
        self.state.links.abort(id, reason);
    }

    /// Returns the code of the `reject` that was the last message of a link's peer.
    fn reject_code(&self, id: LinkId) -> Option<u8> {
        let links = &self.state.links;
        let from = if links.is_opening(id) { id } else { links.peer_of(id) };
        links.table.get(from).and_then(|link| link.reject_code).map(NonZeroU8::get)
    }

    /// Starts to close all links gracefully.
    pub(crate) fn close_all(&mut self) {
        let ids: Vec<LinkId> = self.state.links.table.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.state.links.close(id, LocalCause::Shutdown.into(), self.state.clocks.now());
        }
    }

    /// Aborts all remaining links.
    pub(crate) fn abort_all(&mut self) {
        let ids: Vec<LinkId> = self.state.links.table.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.state.links.abort(id, LocalCause::Shutdown.into());
        }
    }

    // --- Sending ----------------------------------------------------------------------------------------------------

    /// Returns a link's queue if the link has not ended and is believed writable, and the queue holds bytes.
    pub(crate) fn sendable_queue(&self, id: LinkId) -> Option<&SendQueue> {
        let link = self.state.links.table.get(id)?;
        (!link.queue.is_empty() && link.readiness.writable && !link.has_ended()).then_some(&link.queue)
    }

    /// Reports a peer's free queue room to the handler, if the handler requested an offer and enough is free.
    pub(crate) fn offer_room<H: Handler>(&mut self, id: LinkId, handler: &mut H) {
        if let Some((lane, free_bytes)) = self.state.links.take_pull(id) {
            handler.on_pull(&mut Ctx::aimed_at(lane, &mut self.state), PeerId::of(id), free_bytes);
            // Another lane may also have requested an offer of this peer's room.
            self.state.links.mark_pull(id);
        }
    }

    /// Accounts for a write of a link's queue at `at`: the kernel accepted `written` of `offered` bytes.
    pub(crate) fn wrote_queued<H: Handler>(
        &mut self,
        id: LinkId,
        written: usize,
        offered: usize,
        at: Instant,
        handler: &mut H,
    ) {
        if written < offered {
            self.state.links.not_writable(id);
        }
        let next = self.state.wrote_queued(id, written, at);
        let has_closed = report::report_written(id, at, &mut self.state, handler) && !self.state.links.is_open(id);
        if !has_closed || next != AfterWrite::CallHandler {
            self.after_write(id, next, handler);
        }
    }

    /// Acts on the result of a write of queued bytes or replies. Only this function calls `on_writable`.
    fn after_write<H: Handler>(&mut self, id: LinkId, next: AfterWrite, handler: &mut H) {
        match next {
            AfterWrite::CallHandler => {
                let peer = self.state.links.peer_of(id);
                if peer == id || self.state.links.is_ready(peer) {
                    handler.on_writable(&mut Ctx::new(&mut self.state), PeerId::of(peer));
                }
            }
            AfterWrite::ContinueClosing => self.state.links.table.mark_closing(id),
            AfterWrite::Nothing => {}
        }
    }

    // --- Waiting ----------------------------------------------------------------------------------------------------

    /// Returns the longest time that the loop may sleep. The handler's own exact wake-up is not included.
    pub(crate) fn wait(&self) -> Wait {
        if self.state.links.table.has_work() || self.state.outbox.has_events() || self.rearming.is_under_way() {
            return Wait::Zero;
        }
        let timers = self.state.links.wheel.next_tick().map_or(Wait::Forever, |tick| Wait::Until(instant_of(tick)));
        let timers = timers.or_sooner(self.state.timers.next_at().map_or(Wait::Forever, Wait::Until));
        let timers = timers.or_sooner(managing::wait(&self.state));
        match self.state.outbox.has_unsent() {
            true => timers.or_sooner(Wait::Until(self.state.clocks.now().plus(TICK))),
            false => timers,
        }
    }
}

fn framer_rules(config: &Config) -> FramerRules {
    FramerRules {
        magic: config.magic_bytes(),
        limits: PayloadLimits { max_message_bytes: config.max_message_bytes, max_block_bytes: config.max_block_bytes },
        frame_limits: FrameLimits::new(config.max_buffered_message_bytes, &config.max_buffered_command_bytes),
        min_body_bytes_per_second: config.min_body_bytes_per_second,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::NoHandler;
    use crate::protocol::Network;
    use crate::stats::Census;
    use rand::SeedableRng;

    #[test]
    fn the_row_of_an_accepted_connection_that_cannot_be_registered_is_freed() {
        let config = Config::new(Network::Regtest);
        let mut engine = Engine::new(config, StdRng::seed_from_u64(1), Arc::new(Instant::ZERO));
        let id = engine.accept(([192, 0, 2, 1], 8_333).into()).expect("the table is empty");
        engine.failed(id, IoStep::Register, &io::ErrorKind::Other.into());
        assert_eq!(engine.closing(id).step(&mut NoHandler), CloseStep::Close);
        assert_eq!((engine.state.links.table.len(), engine.state.telemetry.census), (0, Census::default()));
    }

    #[test]
    fn a_close_that_continues_at_once_does_not_change_the_links_timer() {
        let mut engine = Engine::new(Config::new(Network::Regtest), StdRng::seed_from_u64(1), Arc::new(Instant::ZERO));
        let id = engine.accept(([192, 0, 2, 1], 8_333).into()).expect("the table is empty");
        engine.handshake(id).tcp_connected(&mut NoHandler);
        let armed = engine.state.links.wheel.armed_tick(id.slot() as u32);
        assert!(armed.is_some(), "the handshake has no deadline");
        engine.close_all();
        assert_eq!(engine.state.links.wheel.armed_tick(id.slot() as u32), armed);
        assert_eq!(engine.wait(), Wait::Zero);
    }
}
