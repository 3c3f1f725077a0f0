//! The workloads whose operations each open a connection: `connect`, `handshake` and `churn`.
//!
//! A dial that fails, and a connection that the node closes too soon, is a failed operation; the report lists the
//! causes among its failures. Each connection that has ended occupies a local port for a while, so a high rate needs
//! several source addresses.

use crate::api::Event;
use crate::error::Disconnect;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::load::workload::{Operation, Operations, Started, Workload};
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// The key of a connection's only operation.
const KEY: u64 = 0;

/// The index of the metric `connect` in the workloads that complete handshakes.
const CONNECT: usize = 1;

/// The key of the timer that closes connections.
const TIMER: u64 = 0;

/// Opens connections and closes each as soon as it is established. The metric `connect` is the time from the dial to
/// the established TCP connection.
///
/// ```
/// use peerloop::load::{Generator, Plan, Rate, workloads::Connect};
///
/// // At most ten connections are open at the same time.
/// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 10, Rate::per_second(10));
/// let generator = Generator::new(plan).with_workload(Box::new(Connect));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Connect;

impl Workload for Connect {
    fn name(&self) -> &'static str {
        "connect"
    }

    fn metrics(&self) -> &[&'static str] {
        &["connect"]
    }

    fn opens_connections(&self) -> bool {
        true
    }

    fn start(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, _operation: Operation) -> Started {
        Started::Sent { key: KEY }
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, event: &Event<'_>) {
        if let Event::Opened { .. } = event {
            operations.answered(peer, KEY, ctx.now());
            ctx.close(peer, Disconnect::Done);
        }
    }
}

/// Opens connections and closes each as soon as its handshake is complete. The metric `handshake` is the time from the
/// dial to the complete handshake, and `connect` the time to the established TCP connection.
///
/// ```
/// use peerloop::load::{Generator, Plan, Rate, workloads::Handshake};
///
/// // At most ten connections are open at the same time.
/// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 10, Rate::per_second(10));
/// let generator = Generator::new(plan).with_workload(Box::new(Handshake));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Handshake;

impl Workload for Handshake {
    fn name(&self) -> &'static str {
        "handshake"
    }

    fn metrics(&self) -> &[&'static str] {
        &["handshake", "connect"]
    }

    fn opens_connections(&self) -> bool {
        true
    }

    fn start(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, _operation: Operation) -> Started {
        Started::Sent { key: KEY }
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, event: &Event<'_>) {
        if note_progress(ctx, operations, peer, event) {
            ctx.close(peer, Disconnect::Done);
        }
    }
}

/// Opens connections, holds each for a while after its handshake, and closes it. The metrics are those of
/// [`Handshake`].
///
/// A peer that the node closes while it is held is lost. At a constant rate, about rate times `hold` connections are
/// open at the same time; the plan must allow as many.
///
/// ```
/// use peerloop::load::{Generator, Plan, Rate, workloads::Churn};
/// use std::time::Duration;
///
/// // Ten connections a second, held for five seconds each, need room for fifty and those being opened or closed.
/// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 60, Rate::per_second(10))
///     .with_rate(Rate::per_second(10), Duration::from_secs(60));
/// let generator = Generator::new(plan).with_workload(Box::new(Churn::new(Duration::from_secs(5))));
/// ```
#[derive(Clone, Debug)]
pub struct Churn {
    hold: Duration,
    /// The ready peers and the moments at which they are closed, the next one first.
    held: VecDeque<(Instant, PeerId)>,
}

impl Churn {
    /// Returns the workload that holds each connection for `hold` after its handshake.
    pub fn new(hold: Duration) -> Self {
        Self { hold, held: VecDeque::new() }
    }

    /// Closes the peers whose time is over, and sets the timer for the next one.
    fn close_due(&mut self, ctx: &mut Ctx<'_>) {
        while let Some((at, peer)) = self.held.front().copied() {
            if at > ctx.now() {
                // This loop has few timers, so there is always room for one more.
                let _ = ctx.set_timer(TIMER, at);
                return;
            }
            self.held.pop_front();
            // This does nothing for a peer that the node has closed.
            ctx.close(peer, Disconnect::Done);
        }
    }
}

impl Workload for Churn {
    fn name(&self) -> &'static str {
        "churn"
    }

    fn metrics(&self) -> &[&'static str] {
        &["handshake", "connect"]
    }

    fn opens_connections(&self) -> bool {
        true
    }

    fn start(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, _operation: Operation) -> Started {
        Started::Sent { key: KEY }
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, event: &Event<'_>) {
        if note_progress(ctx, operations, peer, event) {
            self.held.push_back((ctx.now().plus(self.hold), peer));
            self.close_due(ctx);
        }
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>, _operations: &mut Operations<'_>, _key: u64) {
        self.close_due(ctx);
    }
}

/// Records an established connection or a complete handshake. Returns whether the handshake is complete.
fn note_progress(ctx: &Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, event: &Event<'_>) -> bool {
    match event {
        Event::Opened { .. } => {
            operations.step(peer, KEY, CONNECT, ctx.now());
            false
        }
        Event::Ready { .. } => operations.answered(peer, KEY, ctx.now()),
        Event::VersionReceived
        | Event::Pong { .. }
        | Event::Written { .. }
        | Event::LimitsAnnounced { .. }
        | Event::StreamOpened { .. }
        | Event::SendHeaders
        | Event::Rejected(_)
        | Event::BodyCut { .. }
        | Event::Closed { .. } => false,
    }
}
