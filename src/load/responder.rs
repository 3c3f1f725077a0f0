//! The responder: a node that completes handshakes, answers pings, and counts its peers.
//!
//! The engine sends all replies. The responder itself sends nothing, and discards all messages that the engine
//! does not handle.

use crate::api::{Event, Reply};
use crate::error::{CloseReason, LocalCause};
use crate::handler::{Ctx, Handler};
use crate::id::PeerId;
use crate::peer::ConnectionState;
use crate::stats::histogram::Counters;

/// A node for a [`Generator`](super::Generator) to connect to.
#[derive(Debug, Default)]
pub struct Responder {
    peak: usize,
    lost: u64,
    failed: u64,
}

/// A request from another thread to a responder.
#[derive(Debug)]
#[non_exhaustive]
pub enum ResponderRequest {
    /// Report the counts.
    Snapshot(Reply<Snapshot>),
}

/// The counts of a responder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Peers whose handshake is complete.
    pub ready: usize,
    /// The largest number of peers that were ready at the same time.
    pub peak: usize,
    /// Peers lost after their handshake.
    pub lost: u64,
    /// Connections closed before their handshake was complete.
    pub failed: u64,
    /// The loop's counters.
    pub counters: Counters,
}

impl Responder {
    /// Returns the counts, with the loop's number of `ready` peers and its `counters`. Other threads send
    /// [`ResponderRequest::Snapshot`] instead.
    pub fn snapshot(&self, ready: usize, counters: &Counters) -> Snapshot {
        Snapshot { ready, peak: self.peak, lost: self.lost, failed: self.failed, counters: counters.clone() }
    }
}

impl Handler for Responder {
    type Request = ResponderRequest;

    fn on_event(&mut self, ctx: &mut Ctx<'_>, _peer: PeerId, event: Event<'_>) {
        match event {
            Event::Ready { .. } => self.peak = self.peak.max(ctx.ready_count()),
            // Nothing is lost: the connection serves another peer from now on.
            Event::Closed { reason: CloseReason::Local(LocalCause::BecameStream), .. } => {}
            Event::Closed { state: ConnectionState::Connected, .. } => self.lost += 1,
            Event::Closed { .. } => self.failed += 1,
            Event::Opened { .. }
            | Event::VersionReceived
            | Event::Written { .. }
            | Event::Pong { .. }
            | Event::LimitsAnnounced { .. }
            | Event::StreamOpened { .. }
            | Event::SendHeaders
            | Event::Rejected(_)
            | Event::BodyCut { .. } => {}
        }
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, command: ResponderRequest) {
        match command {
            ResponderRequest::Snapshot(reply) => {
                reply.send(self.snapshot(ctx.ready_count(), ctx.counters()));
            }
        }
    }
}
