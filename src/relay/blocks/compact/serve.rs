//! Requests for single transactions of a block: each is answered with the transactions or the whole block, or its link
//! is closed.
//!
//! The transactions of a kept block are served from memory. Those of another block are requested from a node that has
//! it. The whole block is the answer to requests that are deep below the tip, or for nearly all transactions, as at an
//! SV Node (1.2.2, net_processing.cpp ProcessGetBlockTxnMessage), to those that this relay cannot pass on, and to those
//! of peers without compact blocks or without a sufficient budget.

use super::{agree, ask, transactions};
use crate::api::Frame;
use crate::error::{Disconnect, Misbehavior};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::RELAY_BLOCKTXN_DEPTH;
use crate::relay::blocks::admit;
use crate::relay::core::Core;
use crate::relay::getdata;
use crate::wire::GetBlockTxnRef;

/// Answers a `getblocktxn`. The link is closed if the block is unknown: a node would be silent.
pub(in crate::relay) fn on_getblocktxn(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    peer: PeerId,
    frame: &Frame<'_>,
    request: GetBlockTxnRef<'_>,
) {
    let hash = request.block_hash;
    if core.blocks.chain().is_none_or(|chain| chain.get(hash).is_none()) {
        return admit::refuse(core, ctx, peer, b"getblocktxn");
    }
    let is_served = core.blocks.is_within(hash, RELAY_BLOCKTXN_DEPTH) && agree::is_used(core, peer);
    let in_memory = core.blocks.kept.get(hash).map(|kept| kept.offsets.len()).filter(|&count| count > 0);
    let claimed = core.blocks.compact.tx_count(hash);
    // If the compact block has another number of transactions, its upstream is wrong, and not this peer.
    let is_lie = claimed.zip(in_memory).is_some_and(|(claimed, count)| claimed != count);
    let count = claimed.or(in_memory).filter(|_| is_served && !is_lie);
    let Some(count) = count else { return getdata::send_block(core, ctx, peer, hash) };
    if request.indexes().any(|index| index as usize >= count) {
        ctx.penalize_for(peer, Misbehavior::TransactionIndexOutOfRange);
        return ctx.close(peer, Disconnect::RetryLater);
    }
    if ask::is_nearly_all(request.indexes().len(), count) {
        return getdata::send_block(core, ctx, peer, hash);
    }
    if in_memory.is_none() {
        return ask::for_peer(core, ctx, peer, request, || frame.to_bytes());
    }
    let reply = core.blocks.kept.get(hash).and_then(|kept| transactions::reply(ctx, kept, hash, request));
    let paid = reply.and_then(|reply| {
        let price = admit::price_of_parts(core, ctx, peer, reply.len() as u64)?;
        Some((reply, price))
    });
    let Some((reply, price)) = paid else { return getdata::send_block(core, ctx, peer, hash) };
    if transactions::send(core, ctx, peer, hash, &reply, false) {
        admit::pay_bytes(core, ctx, price, reply.len());
    }
}
