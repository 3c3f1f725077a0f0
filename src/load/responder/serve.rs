//! Serving the items that peers request, as fast as each peer reads.
//!
//! A peer has one block in progress at a time, which is fed in parts. While its queue has no room, nothing more is
//! sent, and the loop calls again when there is room.

use super::blocks::Blocks;
use super::pool::Pool;
use super::serving::Serving;
use super::{Responder, ResponderCounts};
use crate::error::RequestError;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::RESPONDER_INVENTORY_ITEMS;
use crate::protocol::Network;
use crate::wire::{Inventory, InventoryItem, InventoryKind, MessageRef};
use bytes::Bytes;

/// A thing that the responder has.
enum Thing {
    /// The `tx` frame of a transaction.
    Tx(Bytes),
    /// The block at this height.
    Block(u32),
}

/// The result of one step for a peer.
enum Step {
    /// This many items are answered.
    Answered(usize),
    /// The peer's next item waits, because the peer has no room, or for a block's checksum.
    Waits,
}

impl Responder {
    /// Sends as many of a peer's items as there is room for.
    #[inline(never)]
    pub(super) fn pump(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        let Self { peers, blocks, pool, counts, budget, .. } = &mut *self;
        let Some(serving) = peers.get_mut(peer) else { return };
        let mut sender = Sender { ctx: &mut *ctx, peer, blocks, pool, counts };
        while !serving.awaits_checksum {
            if let Some(body) = &mut serving.body {
                if !sender.feed(body) {
                    break;
                }
                serving.body = None;
                continue;
            }
            let Some(item) = serving.front() else { break };
            match sender.step(serving, item) {
                Step::Answered(count) => {
                    if let Some(bytes) = serving.advance(count) {
                        budget.release(Some(&mut serving.waiting_bytes), bytes);
                    }
                }
                Step::Waits => break,
            }
        }
        if serving.awaits_checksum {
            self.arm(ctx);
        }
    }

    /// Hashes the next bytes of a block whose checksum is awaited, and continues to serve the peers that waited for it.
    pub(super) fn hash_next(&mut self, ctx: &mut Ctx<'_>) {
        if !self.blocks.has_work() {
            return;
        }
        for peer in self.blocks.hash() {
            if let Some(serving) = self.peers.get_mut(peer) {
                serving.awaits_checksum = false;
                self.pump(ctx, peer);
            }
        }
    }
}

/// The data that is sent to one peer, and the counts.
struct Sender<'a, 'c> {
    ctx: &'a mut Ctx<'c>,
    peer: PeerId,
    blocks: &'a mut Blocks,
    pool: &'a Pool,
    counts: &'a mut ResponderCounts,
}

impl Sender<'_, '_> {
    /// Feeds the block in progress, and returns whether all of it is fed.
    fn feed(&mut self, (height, offset): &mut (u32, u64)) -> bool {
        loop {
            let mut part = self.blocks.part(*height, *offset);
            let len = part.len();
            if len == 0 {
                self.counts.blocks_sent += 1;
                return true;
            }
            // After an error the peer is closed, and its entry is removed.
            if self.ctx.feed_body(self.peer, &mut part).is_err() {
                return false;
            }
            *offset += (len - part.len()) as u64;
            if !part.is_empty() {
                return false;
            }
        }
    }

    /// Answers the next item, or the next items if the responder has none of them.
    fn step(&mut self, serving: &mut Serving, item: InventoryItem) -> Step {
        let sent = match find(item, self.ctx.config().network, self.blocks, self.pool) {
            Some(Thing::Tx(frame)) => {
                let sent = self.ctx.send_shared(self.peer, &frame);
                self.counts.txs_sent += u64::from(sent.is_ok());
                sent.map(|()| 1)
            }
            Some(Thing::Block(height)) => match self.blocks.message_header(height, self.peer) {
                Some(header) => self.ctx.begin_body(self.peer, &header).map(|()| {
                    serving.body = Some((height, 0));
                    1
                }),
                None => {
                    serving.awaits_checksum = true;
                    return Step::Waits;
                }
            },
            None => {
                let Self { ctx, blocks, pool, .. } = self;
                let network = ctx.config().network;
                let items =
                    serving.missing(RESPONDER_INVENTORY_ITEMS, |item| find(*item, network, blocks, pool).is_none());
                self.send_not_found(items)
            }
        };
        match sent {
            Ok(count) => Step::Answered(count),
            Err(RequestError::TooLargeForPeer) => {
                self.send_not_found(vec![item]).map_or_else(|error| self.wait_after(error), Step::Answered)
            }
            Err(error) => self.wait_after(error),
        }
    }

    fn send_not_found(&mut self, items: Vec<InventoryItem>) -> Result<usize, RequestError> {
        let count = items.len();
        self.ctx.send(self.peer, &MessageRef::NotFound(Inventory::from_items(items).as_ref()))?;
        self.counts.not_found += count as u64;
        Ok(count)
    }

    /// Requests an offer of room if there was none. While another handler feeds a message to the peer, the loop calls
    /// [`Handler::on_writable`](crate::handler::Handler::on_writable) anyway; after any other error the peer is closed.
    fn wait_after(&mut self, error: RequestError) -> Step {
        if error == RequestError::QueueFull {
            // The call fails only for a closed peer.
            let _ = self.ctx.pull(self.peer);
        }
        Step::Waits
    }
}

/// Returns the thing that an item names, if the responder has it.
fn find(item: InventoryItem, network: Network, blocks: &mut Blocks, pool: &Pool) -> Option<Thing> {
    match item.kind {
        InventoryKind::TX => pool.get(item.hash).cloned().map(Thing::Tx),
        // SV Node also answers the request for an old compact block with the whole block.
        InventoryKind::BLOCK | InventoryKind::COMPACT_BLOCK => blocks.height(network, item.hash).map(Thing::Block),
        _ => None,
    }
}
