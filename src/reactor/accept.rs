//! Step 4 of the turn, its first half: connections that arrive.

use super::Reactor;
use super::listening::Place;
use crate::bugs::{self, Budget, Bug};
use crate::error::{IoStep, NetworkFailure};
use crate::handler::Handler;
use crate::limits::{ACCEPT_RETRY_FIRST, ACCEPT_RETRY_MAX, ACCEPTS_PER_TURN, LOG_PAUSES_INTERVAL};
use crate::net::Net;
use crate::offload::Offload;
use crate::time::Instant;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) index: u32,
    pub(super) place: Place,
    /// The address that it got.
    pub(super) address: SocketAddr,
    /// More connections may wait than were accepted.
    pub(super) ready: bool,
    /// Accepting pauses until then, because it failed and would fail again.
    pub(super) retry: Option<Retry>,
    /// When its pauses were logged last.
    pub(super) warned_at: Option<Instant>,
    /// What it fails with, whatever the pause.
    pub(super) broken: Option<io::Error>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    pub(super) at: Instant,
    pause: Duration,
}

impl Listener {
    pub(super) fn is_due(&self) -> bool {
        self.ready && self.retry.is_none()
    }
}

impl<N: Net + Offload, H: Handler> Reactor<N, H> {
    pub(super) fn accept(&mut self) {
        self.bind_due();
        let now = self.engine.state.clocks.now();
        for position in 0..self.listeners.open.len() {
            let listener = &mut self.listeners.open[position];
            if listener.retry.is_some_and(|retry| retry.at <= now) {
                listener.ready = true;
            }
            if !listener.ready || listener.retry.is_some_and(|retry| retry.at > now) {
                continue;
            }
            for _ in 0..bugs::shrunk(Budget::Accepts, ACCEPTS_PER_TURN) {
                if !self.accept_one(position) {
                    break;
                }
            }
        }
        self.close_broken();
    }

    /// Accepts one connection and returns whether there may be more.
    fn accept_one(&mut self, position: usize) -> bool {
        let listener = &mut self.listeners.open[position];
        let (socket, address) = match self.net.accept(listener.index) {
            Ok(accepted) => accepted,
            Err(error) => return self.accept_failed(position, error),
        };
        listener.retry = None;
        let Some(id) = self.engine.accept(address) else { return true };
        match self.net.attach(id, socket) {
            Ok(()) => self.engine.opened(id, &mut self.handler),
            Err(error) => self.engine.failed(id, IoStep::Register, &error),
        }
        true
    }

    fn accept_failed(&mut self, position: usize, error: io::Error) -> bool {
        let now = self.engine.state.clocks.now();
        let listener = &mut self.listeners.open[position];
        if error.kind() == ErrorKind::WouldBlock {
            listener.ready = false;
            listener.retry = None;
            return false;
        }
        let failure = NetworkFailure::new(IoStep::Connect, &error);
        // What no kernel says is that of a library which could make nothing of the connection's address.
        if failure.is_of_one_connection() || error.raw_os_error().is_none() {
            self.engine.state.telemetry.counters.accept_failures += 1;
            return true;
        }
        let has_paused_long = listener.retry.is_some_and(|retry| retry.pause >= ACCEPT_RETRY_MAX);
        if has_paused_long && failure.shortage().is_none() {
            listener.broken = Some(error);
            return false;
        }
        if listener.warned_at.is_none_or(|at| now >= at.plus(LOG_PAUSES_INTERVAL)) {
            listener.warned_at = Some(now);
            self.engine.log_accept_pause(listener.address, &error);
        }
        // It would fail again at once, and an edge-triggered listener never reminds.
        let pause = listener.retry.map_or(ACCEPT_RETRY_FIRST, |retry| (retry.pause * 2).min(ACCEPT_RETRY_MAX));
        let at = if bugs::is_planted(Bug::NoAcceptRetry) { Instant::MAX } else { now.plus(pause) };
        listener.retry = Some(Retry { at, pause });
        self.engine.accepting_paused(&error);
        false
    }
}
