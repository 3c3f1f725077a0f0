//! The pipe: joins two nodes verbatim, in both directions, through their inbound slots.
//!
//! The loop dials both nodes. To each it states the other's facts, so both see a peer that looks like the other node:
//! services, height, user agent, relay flag and protocol version. A first probe of each side learns these facts.
//! All messages that the engine does not handle itself are passed on as received and in order, large ones while they
//! arrive. A `reject` is encoded anew. The pipe validates nothing.
//!
//! - **The engine's messages**: the handshake, `ping`, `pong`, `protoconf` and `sendheaders` are exchanged with each
//!   node separately. `createstrm`, `streamack`, `authch` and `authresp` concern one connection and are not passed on.
//! - **Limits**: a node's `protoconf` must allow payloads as large as those that the loop announces
//!   ([`Config::max_message_bytes`](crate::Config::max_message_bytes)). Otherwise the nodes are not joined, and
//!   [`PipeProblem::SmallLimit`] names the reason.
//! - **NODE_NETWORK** (0x1) is stated only when both nodes are reachable. If one is lost, the other is paused and kept
//!   for [`PIPE_ALONE_TIMEOUT`](crate::limits::PIPE_ALONE_TIMEOUT), so a short interruption loses only the messages on
//!   their way. After that it is closed, and both nodes are probed again.
//! - **A loss**: the other node's open requests for transactions get `notfound`. If it waits for blocks or headers,
//!   or has received a part of a large message, it is closed, so that it asks other peers at once. The lost node is
//!   dialled again after a pause that doubles from 0.5 s to 30 s. Then it receives the other node's last `sendcmpct`,
//!   `sendhdrsen` and `feefilter`. Replies to requests of its former connection reach it, too.
//! - **Memory**: while a node does not read, the other one is paused. A direction holds at most
//!   [`MAX_PIPE_HELD_BYTES`](crate::limits::MAX_PIPE_HELD_BYTES), and normally one message and the rest of a read
//!   block.
//!
//! A pipe dials by itself, so its loop needs no peer manager, and must have none. A refused node is tried again.
//!
//! ```
//! use peerloop::relay::pipe::Pipe;
//! use peerloop::{Config, Network, Reactor};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (one, two) = ("127.0.0.1:18444".parse()?, "127.0.0.1:18445".parse()?);
//! let reactor = Reactor::new(Config::new(Network::Regtest), Pipe::new([vec![one], vec![two]]))?;
//! let report = reactor.handler().report(reactor.now());
//! assert!(!report.is_joined());
//! # Ok(())
//! # }
//! ```

mod deadlines;
mod flow;
mod hops;
mod joining;
mod node;
mod passing;
mod problem;
mod report;
mod requests;
mod side;
mod states;

#[cfg(test)]
mod tests;

pub use hops::{HopKind, HopSummary};
pub use problem::PipeProblem;
pub use report::{PipeCounts, PipeReport, PipeRequest, SideReport, SideState};
pub use side::Side;

use crate::api::{Chunk, Delivery, Event, Frame};
use crate::handler::{Ctx, Handler};
use crate::id::PeerId;
use crate::time::Instant;
use crate::wire::Header;
use deadlines::{Deadlines, Due};
use flow::Flow;
use hops::{Hops, Pauses};
use node::Node;
use std::net::SocketAddr;

/// A handler that joins two nodes verbatim; see the [module](self).
#[derive(Debug)]
pub struct Pipe {
    nodes: [Node; 2],
    /// The messages of each side's node to the opposite node.
    flows: [Flow; 2],
    deadlines: Deadlines,
    counts: PipeCounts,
    hops: Hops,
    pauses: Pauses,
}

impl Pipe {
    /// Creates a pipe between two nodes, each with its addresses. After a failure, a node's next address is dialled.
    /// The pipe dials when its loop starts.
    ///
    /// # Panics
    ///
    /// If a node has no address.
    pub fn new(addresses: [Vec<SocketAddr>; 2]) -> Self {
        Self {
            nodes: addresses.map(Node::new),
            flows: Default::default(),
            deadlines: Deadlines::default(),
            counts: PipeCounts::default(),
            hops: Hops::default(),
            pauses: Pauses::default(),
        }
    }

    /// Returns the pipe's state and counts at the loop's moment `now`. Other threads send [`PipeRequest::Report`].
    pub fn report(&self, now: Instant) -> PipeReport {
        PipeReport {
            sides: Side::BOTH.map(|side| self.side_report(side, now)),
            counts: self.counts,
            hops: self.hops.summaries(self.flows.each_ref().map(Flow::unmeasured)),
        }
    }

    fn side_report(&self, side: Side, now: Instant) -> SideReport {
        let (node, flow) = (self.node(side), self.flow(side));
        SideReport {
            side,
            address: node.address(),
            state: node.state(),
            ready_for: node.ready_for(now),
            user_agent: node.user_agent.clone(),
            problem: node.problem,
            connects: node.connects,
            forwarded: *flow.forwarded(),
            lost: *flow.lost(),
            withheld: node.withheld,
            held_bytes: flow.held_bytes(),
            open_requests: node.open_requests.len(),
        }
    }

    fn node(&self, side: Side) -> &Node {
        &self.nodes[side.index()]
    }

    fn node_mut(&mut self, side: Side) -> &mut Node {
        &mut self.nodes[side.index()]
    }

    /// Returns the messages of the side's node to the opposite node.
    fn flow(&self, from: Side) -> &Flow {
        &self.flows[from.index()]
    }

    fn flow_mut(&mut self, from: Side) -> &mut Flow {
        &mut self.flows[from.index()]
    }

    /// Returns the side whose open connection is `peer`.
    fn side_of(&self, peer: PeerId) -> Option<Side> {
        Side::BOTH.into_iter().find(|side| self.node(*side).peer() == Some(peer))
    }
}

impl Handler for Pipe {
    type Request = PipeRequest;

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        self.dial_idle(ctx);
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        // A closing probe has no side any more.
        let Some(side) = self.side_of(peer) else { return };
        match event {
            Event::Ready { .. } => self.handshake_completed(ctx, side, peer),
            Event::LimitsAnnounced { max_recv_payload_bytes, .. } => {
                self.limits_announced(ctx, side, u64::from(max_recv_payload_bytes));
            }
            Event::Written { mark, at } => {
                let Self { flows, hops, .. } = self;
                flows[side.other().index()].note_written(mark, at, hops);
            }
            Event::Rejected(reject) => self.pass_reject(ctx, side, &reject),
            Event::Closed { reason, .. } => self.connection_closed(ctx, side, PipeProblem::Closed(reason)),
            // The close that follows ends the message, too.
            Event::BodyCut { .. } | Event::Opened { .. } | Event::VersionReceived | Event::Pong { .. } => {}
            // The engine sends `sendheaders` to each node itself, and each node may have further streams.
            Event::SendHeaders | Event::StreamOpened { .. } => {}
        }
    }

    fn on_header(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, header: &Header) -> Delivery {
        match self.side_of(peer) {
            Some(side) => self.delivery_of(ctx, side, header),
            None => Delivery::Discard,
        }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        if let Some(side) = self.side_of(peer) {
            self.pass_message(ctx, side, frame);
        }
    }

    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, chunk: Chunk<'_>) {
        if let Some(side) = self.side_of(peer) {
            self.pass_chunk(ctx, side, chunk);
        }
    }

    fn on_writable(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        let Some(side) = self.side_of(peer) else { return };
        if ctx.peer(peer).is_some_and(|view| view.waiting_bytes() == 0) {
            let Self { flows, hops, .. } = self;
            flows[side.other().index()].note_all_written(ctx.now(), hops);
        }
        self.offer(ctx, side.other());
    }

    fn on_pull(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, _free_bytes: usize) {
        if let Some(side) = self.side_of(peer) {
            self.offer(ctx, side.other());
        }
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        while let Some(due) = self.deadlines.take_due(ctx.now()) {
            match due {
                Due::Dial(side) => self.pause_ended(ctx, side),
                Due::Limits(side) => self.limits_missing(ctx, side),
                Due::Alone => self.alone_too_long(ctx),
            }
        }
        self.deadlines.ask(ctx);
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, request: PipeRequest) {
        match request {
            PipeRequest::Report(reply) => reply.send(Box::new(self.report(ctx.now()))),
        }
    }
}
