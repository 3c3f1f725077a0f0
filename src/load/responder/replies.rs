//! The path of a reply: it is drawn, delayed, released by the gate, and sent.
//!
//! Waiting replies use bounded memory; one beyond the bound is dropped and counted. A wake-up sends a bounded number.

use super::Responder;
use super::waiting::Answer;
use crate::error::RequestError;
use crate::handler::{Ctx, PeerMap};
use crate::id::PeerId;
use crate::limits::RESPONDER_REPLIES_PER_WAKE;
use crate::load::responder::serving::Serving;
use crate::protocol::CommandName;
use crate::wire::{Inventory, InventoryKind, InventoryRef, MessageRef};
use bytes::Bytes;

impl Answer {
    /// Returns the `getdata` that answers an `inv`; `None` if the `inv` has neither a transaction nor a block.
    pub(super) fn request(items: InventoryRef<'_>) -> Option<Self> {
        let wanted = items.iter().filter(|item| matches!(item.kind, InventoryKind::TX | InventoryKind::BLOCK));
        let wanted = Inventory::from_items(wanted);
        if wanted.as_ref().is_empty() {
            return None;
        }
        let mut payload = Vec::with_capacity(items.len() * 36 + 9);
        wanted.as_ref().encode(&mut payload);
        Some(Self::Request(payload.into()))
    }
}

impl Responder {
    /// Handles a message that requires an answer: sends the answer, or lets it wait, or drops it.
    pub(super) fn accept(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, answer: Answer) {
        self.counts.requests += 1;
        if self.gate.is_open() {
            return self.send(ctx, peer, answer);
        }
        if self.gate.drops(ctx.rng()) {
            self.counts.dropped += 1;
            return;
        }
        let serving = serving_of(peer, &mut self.peers);
        if !self.budget.reserve(&mut serving.waiting_bytes, answer.waiting_bytes()) {
            self.counts.over_limit += 1;
            return;
        }
        let delay = self.gate.delay(ctx.rng());
        self.counts.delayed += u64::from(!delay.is_zero());
        self.waiting.push(ctx.now().plus(delay), peer, answer);
        self.send_due(ctx);
        self.arm(ctx);
    }

    /// Sends the replies whose moment has arrived. If there are many, a later wake-up sends the rest.
    pub(super) fn send_due(&mut self, ctx: &mut Ctx<'_>) {
        let Self { waiting, gate, budget, peers, counts, .. } = &mut *self;
        waiting.release(gate, ctx.now(), |reply, is_stalled| match is_stalled {
            Some(is_stalled) => counts.stalled += u64::from(is_stalled),
            None => {
                counts.over_rate += 1;
                let peer_bytes = peers.get_mut(reply.peer).map(|serving| &mut serving.waiting_bytes);
                budget.release(peer_bytes, reply.answer.waiting_bytes());
            }
        });
        for _ in 0..RESPONDER_REPLIES_PER_WAKE {
            let Some(reply) = self.waiting.pop(ctx.now()) else { return };
            let peer_bytes = self.peers.get_mut(reply.peer).map(|serving| &mut serving.waiting_bytes);
            self.budget.release(peer_bytes, reply.answer.waiting_bytes());
            self.send(ctx, reply.peer, reply.answer);
        }
    }

    /// Sends a reply, or begins to serve the requested items.
    fn send(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, answer: Answer) {
        let sent = match answer {
            Answer::Pong(nonce) => ctx.pong(peer, nonce),
            Answer::Headers(heights) => {
                let frame = self.blocks.headers_frame(ctx.config().network, heights, |message| ctx.encode(message));
                let sent = ctx.send_shared(peer, &frame);
                self.counts.headers_sent += u64::from(sent.is_ok());
                sent
            }
            Answer::Request(payload) => self.request_items(ctx, peer, &payload),
            Answer::Items(payload) => return self.begin_items(ctx, peer, payload),
        };
        match sent {
            Ok(()) => self.counts.answered += 1,
            Err(_) => self.counts.unsent += 1,
        }
    }

    fn request_items(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, payload: &[u8]) -> Result<(), RequestError> {
        let Ok(items) = InventoryRef::decode(CommandName::GETDATA, payload) else { return Ok(()) };
        ctx.send(peer, &MessageRef::GetData(items))?;
        self.counts.requested += items.len() as u64;
        Ok(())
    }

    /// Adds the items of a `getdata` to those that the peer waits for.
    fn begin_items(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, payload: Bytes) {
        if ctx.peer(peer).is_none() {
            self.counts.unsent += 1;
            return;
        }
        let answer = Answer::Items(payload);
        let serving = serving_of(peer, &mut self.peers);
        if !self.budget.reserve(&mut serving.waiting_bytes, answer.waiting_bytes()) {
            self.counts.over_limit += 1;
            return;
        }
        if let Answer::Items(payload) = answer {
            serving.push(payload);
        }
        self.counts.answered += 1;
        self.pump(ctx, peer);
    }
}

/// Returns the waiting items of a live peer.
fn serving_of(peer: PeerId, peers: &mut PeerMap<Serving>) -> &mut Serving {
    if peers.get(peer).is_none() {
        peers.insert(peer, Serving::default());
    }
    peers.get_mut(peer).expect("the entry was inserted")
}
