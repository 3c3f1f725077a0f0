//! Step 4 of the turn, first half: one listener, its accepted connections and its pauses.
//!
//! A failure of one connection is counted, and accepting continues. Any other failure pauses the listener, longer each
//! time up to [`MAX_ACCEPT_RETRY`]. A retry follows each pause, because an edge-triggered listener reports no second
//! event. A listener that still fails after its longest pause is broken, unless a resource has run out.

use crate::bugs::{budget, canary};
use crate::engine::Engine;
use crate::error::{IoStep, NetworkFailure};
use crate::handler::Handler;
use crate::limits::{ACCEPT_RETRY_FIRST, ACCEPTS_PER_TURN, LOG_PAUSES_INTERVAL, MAX_ACCEPT_RETRY};
use crate::net::Net;
use crate::time::Instant;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

/// The origin of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The requested address, whose port may be 0.
    pub(super) asked: SocketAddr,
    /// Whether the configuration lists the address. Otherwise the listener was requested with
    /// [`Reactor::listen`](super::Reactor::listen) or passed to
    /// [`Reactor::add_listener`](super::Reactor::add_listener).
    pub(super) is_configured: bool,
}

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) index: u32,
    pub(super) origin: Origin,
    /// The bound address.
    pub(super) address: SocketAddr,
    /// Whether connections may be waiting to be accepted.
    pub(super) ready: bool,
    /// The listener's pause after a failed accept, if there is one.
    retry: Option<Retry>,
    /// The moment at which a pause was last logged.
    pub(super) warned_at: Option<Instant>,
    /// The error of a broken listener.
    pub(super) broken: Option<io::Error>,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    pause: Duration,
}

impl Listener {
    pub(super) fn new(index: u32, origin: Origin, address: SocketAddr) -> Self {
        Self { index, origin, address, ready: true, retry: None, warned_at: None, broken: None }
    }

    /// Returns whether connections may be waiting to be accepted and accepting is not paused.
    pub(super) fn is_due(&self) -> bool {
        self.ready && self.retry.is_none()
    }

    /// Returns the moment at which the listener's pause ends; `None` if it is not paused.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry.map(|retry| retry.at)
    }

    /// Accepts waiting connections, up to the turn's limit.
    pub(super) fn accept<N: Net, H: Handler>(&mut self, net: &mut N, engine: &mut Engine, handler: &mut H) {
        let now = engine.now();
        if self.retry.is_some_and(|retry| retry.at <= now) {
            self.ready = true;
        }
        if !self.ready || self.retry.is_some_and(|retry| retry.at > now) {
            return;
        }
        for _ in 0..budget!(Accepts, ACCEPTS_PER_TURN) {
            if !self.accept_one(net, engine, handler) {
                return;
            }
        }
    }

    /// Tries to accept one connection, and returns whether to try again in this turn.
    fn accept_one<N: Net, H: Handler>(&mut self, net: &mut N, engine: &mut Engine, handler: &mut H) -> bool {
        let (socket, address) = match net.accept(self.index) {
            Ok(accepted) => accepted,
            Err(error) => return self.accept_failed(error, engine),
        };
        self.retry = None;
        let Ok(id) = engine.accept(address) else { return true };
        match net.attach(id, socket) {
            Ok(()) => engine.handshake(id).tcp_connected(handler),
            Err(error) => engine.failed(id, IoStep::Register, &error),
        }
        true
    }

    fn accept_failed(&mut self, error: io::Error, engine: &mut Engine) -> bool {
        let now = engine.now();
        if error.kind() == ErrorKind::WouldBlock {
            self.ready = false;
            self.retry = None;
            return false;
        }
        let failure = NetworkFailure::new(IoStep::Connect, &error);
        // An error without a code is the standard library's own: the library could not decode the peer's address.
        if failure.is_of_one_connection() || error.raw_os_error().is_none() {
            engine.accept_failed();
            return true;
        }
        let has_paused_long = self.retry.is_some_and(|retry| retry.pause >= MAX_ACCEPT_RETRY);
        if has_paused_long && failure.shortage().is_none() {
            self.broken = Some(error);
            return false;
        }
        if self.warned_at.is_none_or(|at| now >= at.plus(LOG_PAUSES_INTERVAL)) {
            self.warned_at = Some(now);
            engine.log_accept_pause(self.address, &error);
        }
        let pause = self.retry.map_or(ACCEPT_RETRY_FIRST, |retry| (retry.pause * 2).min(MAX_ACCEPT_RETRY));
        let at = if canary!(NoAcceptRetry) { Instant::MAX } else { now.plus(pause) };
        self.retry = Some(Retry { at, pause });
        engine.accepting_paused(&error);
        false
    }
}
