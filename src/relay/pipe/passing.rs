//! The messages of a pipe: how each is delivered and passed on, and the notes that the pipe makes about it.

use super::Pipe;
use super::flow::Offered;
use super::hops::Arrival;
use super::node::Stage;
use super::problem::PipeProblem;
use super::side::Side;
use crate::api::{Chunk, Delivery, Frame};
use crate::handler::Ctx;
use crate::limits::HEADER_LEN_BYTES;
use crate::protocol::CommandName;
use crate::wire::{Hash256, Header, MessageRef, RejectRef};
use bytes::Bytes;

/// Commands that concern one connection alone, and that the engine does not handle after the handshake.
const WITHHELD: [CommandName; 4] =
    [CommandName::CREATESTRM, CommandName::STREAMACK, CommandName::AUTHCH, CommandName::AUTHRESP];

/// Commands of the engine. A `reject` of one of them answers the engine, and not the opposite node.
const OF_THE_ENGINE: [CommandName; 6] = [
    CommandName::VERSION,
    CommandName::VERACK,
    CommandName::PING,
    CommandName::PONG,
    CommandName::PROTOCONF,
    CommandName::SENDHEADERS,
];

impl Pipe {
    /// Chooses how a message is delivered: large ones arrive in parts.
    pub(super) fn delivery_of(&mut self, ctx: &Ctx<'_>, side: Side, header: &Header) -> Delivery {
        let Stage::Ready(..) = self.node(side).stage else { return Delivery::Discard };
        if WITHHELD.contains(&header.command) {
            self.node_mut(side).withheld.add(header.command, header.payload_len);
            return Delivery::Discard;
        }
        match header.payload_len <= ctx.config().buffer_limit_bytes(header.command) {
            true => Delivery::Buffer,
            false => Delivery::Chunks,
        }
    }

    /// Passes on a whole message.
    pub(super) fn pass_message(&mut self, ctx: &mut Ctx<'_>, side: Side, frame: Frame<'_>) {
        let (command, other) = (frame.command(), side.other());
        let arrival = self.pauses.arrival(ctx, side);
        self.node_mut(side).open_requests.note_request(command, frame.payload());
        let hash = || frame.hash().unwrap_or_else(|| Hash256::of(frame.payload()));
        self.node_mut(other).open_requests.note_reply(command, frame.payload(), hash);
        let bytes = frame.to_frame();
        let is_state = self.node_mut(side).states.note(command, &bytes);
        if is_state && self.node(other).ready_peer(ctx).is_none() {
            // The other node gets it when it becomes ready.
            return;
        }
        if command == CommandName::SENDHDRSEN && std::mem::replace(&mut self.node_mut(other).has_sendhdrsen, true) {
            return;
        }
        self.push(ctx, side, command, bytes, Some(arrival));
        self.offer(ctx, side);
    }

    /// Passes on the next part of a large message.
    pub(super) fn pass_chunk(&mut self, ctx: &mut Ctx<'_>, side: Side, chunk: Chunk<'_>) {
        let arrival = chunk.last().map(|_| self.pauses.arrival(ctx, side));
        let header = *chunk.header();
        let pushed = self.flow_mut(side).push_part(&header, chunk.bytes(), || chunk.to_bytes(), arrival);
        match pushed {
            Ok(Some(head)) => {
                self.node_mut(side.other()).open_requests.note_large_reply(header.command, &head);
            }
            Ok(None) => {}
            Err(problem) => return self.drop_both(ctx, side.other(), problem),
        }
        self.offer(ctx, side);
    }

    /// Passes on a `reject`, unless it answers a message of the engine.
    pub(super) fn pass_reject(&mut self, ctx: &mut Ctx<'_>, side: Side, reject: &RejectRef<'_>) {
        let Stage::Ready(..) = self.node(side).stage else { return };
        let frame = ctx.encode(&MessageRef::Reject(*reject));
        let is_of = |command: &CommandName| command.to_string().as_bytes() == reject.message;
        if OF_THE_ENGINE.iter().chain(&WITHHELD).any(is_of) {
            let payload_len = (frame.len() - HEADER_LEN_BYTES) as u64;
            return self.node_mut(side).withheld.add(CommandName::REJECT, payload_len);
        }
        let arrival = self.pauses.arrival(ctx, side);
        self.push(ctx, side, CommandName::REJECT, frame, Some(arrival));
        self.offer(ctx, side);
    }

    /// Adds a whole message to the messages that wait for the opposite node: one of the side's node, or one of the pipe
    /// itself, which has no arrival.
    pub(super) fn push(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Side,
        command: CommandName,
        frame: Bytes,
        arrival: Option<Arrival>,
    ) {
        if let Err(problem) = self.flow_mut(from).push_frame(command, frame, arrival) {
            self.drop_both(ctx, from.other(), problem);
        }
    }

    /// Passes on the waiting messages as far as the opposite node has room, and pauses the source while any remain.
    pub(super) fn offer(&mut self, ctx: &mut Ctx<'_>, from: Side) {
        let offered = match self.node(from.other()).ready_peer(ctx) {
            Some(to) => self.flow_mut(from).offer(ctx, to),
            // The source of a message whose receiver is lost is read until the message ends.
            None if self.flow(from).drops_body() => Offered::All,
            None => Offered::Some,
        };
        let source = self.node(from).ready_peer(ctx);
        match (offered, source) {
            (Offered::All, Some(source)) => {
                self.pauses.resumed(ctx, from);
                ctx.resume(source);
            }
            (Offered::Some, Some(source)) => {
                self.pauses.paused(ctx, from);
                ctx.pause(source);
            }
            (Offered::All | Offered::Some, None) => {}
            (Offered::Failed(problem), _) => self.drop_both(ctx, from.other(), problem),
        }
    }

    /// Closes both nodes because of a problem with one of them.
    fn drop_both(&mut self, ctx: &mut Ctx<'_>, side: Side, problem: PipeProblem) {
        self.drop_connection(ctx, side, problem);
        self.drop_connection(ctx, side.other(), PipeProblem::Alone);
    }
}
