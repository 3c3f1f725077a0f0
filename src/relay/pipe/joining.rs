//! The connections of a pipe: probing, dialling with the other node's facts, joining, and the consequences of a loss.

use super::Pipe;
use super::deadlines::Due;
use super::node::Stage;
use super::problem::PipeProblem;
use super::requests::Unanswered;
use super::side::Side;
use crate::error::Disconnect;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{MAX_LEGACY_PAYLOAD_BYTES, PIPE_ALONE_TIMEOUT, PIPE_LIMITS_TIMEOUT};
use crate::peer::VersionFacts;
use crate::protocol::CommandName;
use crate::wire::{Inventory, MessageRef};

/// Number of items in one of our `notfound` messages: 36 kB, less than any node's limit.
const NOTFOUND_ITEMS: usize = 1_000;

impl Pipe {
    // --- Dialling ---------------------------------------------------------------------------------------------------

    /// Dials each idle node whose turn it is: a node without facts is probed, and once both have facts, they are
    /// connected.
    pub(super) fn dial_idle(&mut self, ctx: &mut Ctx<'_>) {
        for side in Side::BOTH {
            // A node that is ready proves that it is still there.
            if self.node(side).stage == Stage::Idle && self.node(side.other()).ready_peer(ctx).is_none() {
                self.node_mut(side).forget_old_facts(ctx.now());
            }
        }
        for side in Side::BOTH {
            if self.node(side).stage == Stage::Idle && self.node(side).facts().is_none() {
                self.dial(ctx, side, None);
            }
        }
        let facts = Side::BOTH.map(|side| self.node(side).facts().cloned());
        let [Some(of_a), Some(of_b)] = facts else { return };
        for (side, facts_of_other) in [(Side::A, of_b), (Side::B, of_a)] {
            if self.node(side).stage == Stage::Idle {
                self.dial(ctx, side, Some(facts_of_other));
            }
        }
    }

    /// Probes a node, or connects it with the facts of the opposite node.
    fn dial(&mut self, ctx: &mut Ctx<'_>, side: Side, facts_of_other: Option<VersionFacts>) {
        let address = self.node_mut(side).dialled_address();
        let dialled = match facts_of_other.clone() {
            Some(facts) => ctx.connect_as(address, facts),
            None => ctx.connect(address),
        };
        match dialled {
            Ok(peer) => {
                let node = self.node_mut(side);
                node.stage = if facts_of_other.is_some() { Stage::Connecting(peer) } else { Stage::Probing(peer) };
                node.stated = facts_of_other;
            }
            Err(error) => self.pause(ctx, side, PipeProblem::NotDialled(error)),
        }
    }

    /// Records a failure or a loss of the side's connection, and dials again after a pause.
    fn pause(&mut self, ctx: &mut Ctx<'_>, side: Side, problem: PipeProblem) {
        let pause = self.node_mut(side).pause_after(problem, ctx);
        self.deadlines.set(Due::Dial(side), ctx.now().plus(pause), ctx);
    }

    pub(super) fn pause_ended(&mut self, ctx: &mut Ctx<'_>, side: Side) {
        if self.node(side).stage == Stage::Paused {
            self.node_mut(side).stage = Stage::Idle;
            self.dial_idle(ctx);
        }
    }

    // --- Facts ------------------------------------------------------------------------------------------------------

    pub(super) fn handshake_completed(&mut self, ctx: &mut Ctx<'_>, side: Side, peer: PeerId) {
        match self.node(side).stage {
            Stage::Probing(_) => self.deadlines.set(Due::Limits(side), ctx.now().plus(PIPE_LIMITS_TIMEOUT), ctx),
            Stage::Connecting(_) => self.connected(ctx, side, peer),
            Stage::Idle | Stage::Paused | Stage::Ready(..) => {}
        }
    }

    /// Handles the limit in a node's `protoconf`: refuses a node with a smaller limit than ours, and ends a probe.
    pub(super) fn limits_announced(&mut self, ctx: &mut Ctx<'_>, side: Side, accepts_bytes: u64) {
        let announced_bytes = ctx.config().max_message_bytes;
        if accepts_bytes < announced_bytes {
            self.drop_connection(ctx, side, PipeProblem::SmallLimit { accepts_bytes, announced_bytes });
        } else if let Stage::Probing(peer) = self.node(side).stage {
            self.deadlines.cancel(Due::Limits(side));
            self.learn(ctx, side, peer);
            ctx.close(peer, Disconnect::Done);
            self.node_mut(side).stage = Stage::Idle;
            self.dial_idle(ctx);
        }
    }

    /// Handles a probed node that has sent no `protoconf`.
    pub(super) fn limits_missing(&mut self, ctx: &mut Ctx<'_>, side: Side) {
        if let Stage::Probing(_) = self.node(side).stage {
            self.limits_announced(ctx, side, MAX_LEGACY_PAYLOAD_BYTES);
        }
    }

    /// Learns a node's facts from its `version`.
    fn learn(&mut self, ctx: &Ctx<'_>, side: Side, peer: PeerId) {
        let Some(version) = ctx.peer(peer).and_then(|view| view.version()) else { return };
        let node = self.node_mut(side);
        node.user_agent = Some(version.printable_user_agent());
        node.set_facts(VersionFacts::of_peer(version), ctx.now());
    }

    // --- Joining ----------------------------------------------------------------------------------------------------

    fn connected(&mut self, ctx: &mut Ctx<'_>, side: Side, peer: PeerId) {
        self.learn(ctx, side, peer);
        let node = self.node_mut(side);
        node.stage = Stage::Ready(peer, ctx.now());
        node.connects += 1;
        if self.node(side).facts().is_some_and(|facts| self.node(side.other()).has_stated_other(facts)) {
            // The opposite node's connection has old facts.
            Side::BOTH.into_iter().for_each(|side| self.drop_connection(ctx, side, PipeProblem::FactsChanged));
            return;
        }
        self.replay(side);
        if self.node(side.other()).ready_peer(ctx).is_some() {
            self.deadlines.cancel(Due::Alone);
        } else {
            self.wait_for_other(ctx);
        }
        Side::BOTH.into_iter().for_each(|from| self.offer(ctx, from));
    }

    /// Sets the deadline of a node that is alone, if none is set.
    fn wait_for_other(&mut self, ctx: &mut Ctx<'_>) {
        if !self.deadlines.is_set(Due::Alone) {
            self.deadlines.set(Due::Alone, ctx.now().plus(PIPE_ALONE_TIMEOUT), ctx);
        }
    }

    /// Queues the opposite node's stateful messages for a node that has become ready, before everything else.
    fn replay(&mut self, side: Side) {
        let from = side.other();
        let states: Vec<_> = self.node(from).states.iter().map(|(command, frame)| (command, frame.clone())).collect();
        self.counts.replays += states.len() as u64;
        self.node_mut(side).has_sendhdrsen = states.iter().any(|(command, _)| *command == CommandName::SENDHDRSEN);
        self.flow_mut(from).push_states(states.into_iter());
    }

    /// Closes a node that has been alone for too long, so that it does not rely on us, and begins again with probes.
    pub(super) fn alone_too_long(&mut self, ctx: &mut Ctx<'_>) {
        let ready = Side::BOTH.map(|side| self.node(side).ready_peer(ctx).is_some());
        if ready == [true; 2] {
            return;
        }
        for side in Side::BOTH {
            if ready[side.index()] {
                self.counts.closed_alone += 1;
                self.drop_connection(ctx, side, PipeProblem::Alone);
            }
            self.node_mut(side).forget_facts();
        }
    }

    // --- Losses -----------------------------------------------------------------------------------------------------

    /// Closes a side's connection for a reason of the pipe's own.
    pub(super) fn drop_connection(&mut self, ctx: &mut Ctx<'_>, side: Side, problem: PipeProblem) {
        if let Some(peer) = self.node(side).peer() {
            ctx.close(peer, Disconnect::RetryLater);
            self.connection_closed(ctx, side, problem);
        }
    }

    /// Handles the end of a side's connection.
    pub(super) fn connection_closed(&mut self, ctx: &mut Ctx<'_>, side: Side, problem: PipeProblem) {
        let stage = self.node(side).stage;
        self.deadlines.cancel(Due::Limits(side));
        self.pause(ctx, side, problem);
        match stage {
            Stage::Idle | Stage::Paused | Stage::Probing(_) => {}
            Stage::Connecting(_) => {
                // The node may have become another one.
                if self.node(side.other()).ready_peer(ctx).is_none() {
                    self.node_mut(side).forget_facts();
                }
            }
            Stage::Ready(..) => self.node_lost(ctx, side),
        }
    }

    /// Handles the loss of a ready node: drops the messages that wait for it, and answers the opposite node's open
    /// requests.
    fn node_lost(&mut self, ctx: &mut Ctx<'_>, side: Side) {
        let other = side.other();
        self.node_mut(side).connection_lost();
        self.pauses.forget(side);
        self.flow_mut(other).receiver_lost();
        let is_cut = self.flow_mut(side).sender_lost();
        let unanswered = self.node_mut(other).open_requests.take();
        if self.node(other).ready_peer(ctx).is_none() {
            // Nothing that either node said applies to the next connections, and no node waits for the other.
            self.deadlines.cancel(Due::Alone);
            self.flow_mut(side).receiver_lost();
            self.nodes.iter_mut().for_each(|node| node.states.clear());
            self.node_mut(side).forget_facts();
            return;
        }
        let items = match unanswered {
            Unanswered::NotFound(items) if !is_cut => items,
            Unanswered::NotFound(_) | Unanswered::Close => {
                let problem = if is_cut { PipeProblem::BodyCut } else { PipeProblem::Unanswered };
                self.counts.closed_after_loss += 1;
                return self.drop_connection(ctx, other, problem);
            }
        };
        self.counts.notfounds += items.len() as u64;
        for items in items.chunks(NOTFOUND_ITEMS) {
            let inventory = Inventory::from_items(items.iter().copied());
            let frame = ctx.encode(&MessageRef::NotFound(inventory.as_ref()));
            self.push(ctx, side, CommandName::NOTFOUND, frame, None);
            if self.node(other).ready_peer(ctx).is_none() {
                // Too many bytes waited for the node, so it was closed.
                return;
            }
        }
        self.wait_for_other(ctx);
        Side::BOTH.into_iter().for_each(|from| self.offer(ctx, from));
    }
}
