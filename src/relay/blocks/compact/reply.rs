//! The replies of upstreams with single transactions of a block.
//!
//! A reply belongs to the oldest request to its sender for transactions of that block. Its transactions must be those
//! of the compact block, by their short ids: a node discards a block that it has built from others.

use super::{ask, work};
use crate::api::{Delivery, Frame};
use crate::error::Misbehavior;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::relay::core::Core;
use crate::wire::compact::CompactTx;
use crate::wire::{BlockTxnRef, CompactBlockRef, GetBlockTxnRef, Hash256, Header, TxRef};
use bytes::Bytes;

/// The reason why a reply is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It cannot be read, or has another number of transactions.
    Invalid,
    /// A transaction is not that of the compact block. A node may have another one with the same short id.
    Other,
}

/// Chooses how a `blocktxn` is delivered. One that nobody asked for is ignored. One that is too long ends the requests
/// to its sender.
pub(in crate::relay) fn on_blocktxn_header(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    peer: PeerId,
    header: &Header,
) -> Delivery {
    if core.blocks.compact.asks.iter().all(|ask| ask.source != Some(peer)) {
        return Delivery::Discard;
    }
    if header.payload_len > ctx.config().buffer_limit_bytes(header.command) {
        ask::on_source_lost(core, ctx, peer);
        return Delivery::Discard;
    }
    Delivery::Buffer
}

/// Passes a reply on to the peers that wait for it, and uses it to rebuild the block.
pub(in crate::relay) fn on_blocktxn(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, frame: &Frame<'_>) {
    let Some(hash) = frame.payload().first_chunk().copied().map(Hash256::from_bytes) else { return };
    let asks = &mut core.blocks.compact.asks;
    let Some(at) = asks.iter().position(|ask| ask.source == Some(peer) && ask.hash == hash) else { return };
    let ask = asks.remove(at);
    let bytes = frame.to_frame();
    let compact = core.blocks.compact.payload(hash);
    let (Ok(request), Some(compact)) = (GetBlockTxnRef::decode(&ask.request), compact) else {
        return ask::fail(core, ctx, ask);
    };
    let reply = frame.payload();
    let found = match CompactBlockRef::decode(&compact) {
        Ok(block) => read(&block, request, reply),
        Err(_) => Err(Fault::Other),
    };
    let txs = match found {
        Ok(txs) => txs,
        Err(fault) => {
            core.counts.compact_blocks_wrong += 1;
            if fault == Fault::Invalid {
                ctx.penalize_for(peer, Misbehavior::BadCompactBlock);
            }
            return ask::fail(core, ctx, ask);
        }
    };
    if let Some(job) = core.blocks.compact.job.as_mut().filter(|job| ask.is_own && job.hash == hash) {
        for (position, txid, tx) in txs {
            job.rebuild.fill(position, txid, Bytes::copy_from_slice(tx.encoded()));
        }
    }
    let is_own = ask.is_own;
    ask::send_all(core, ctx, ask, Some(&bytes));
    if is_own {
        work::advance(core, ctx);
    }
}

/// Reads the transactions of a reply, each with its position and its id.
fn read<'a>(
    block: &CompactBlockRef<'_>,
    request: GetBlockTxnRef<'_>,
    reply: &'a [u8],
) -> Result<Vec<(u32, Hash256, TxRef<'a>)>, Fault> {
    let reply = BlockTxnRef::decode(reply).map_err(|_| Fault::Invalid)?;
    let indexes = request.indexes();
    if reply.transactions.len() != indexes.len() {
        return Err(Fault::Invalid);
    }
    let key = block.short_id_key();
    let (mut named, mut position) = (block.transactions(), 0);
    let mut txs = Vec::with_capacity(indexes.len());
    for (index, tx) in indexes.zip(reply.transactions) {
        let tx = tx.map_err(|_| Fault::Invalid)?;
        let txid = tx.txid();
        // The positions ascend.
        let is_right = match named.nth((index - position) as usize) {
            Some(CompactTx::Whole(known)) => known.encoded() == tx.encoded(),
            Some(CompactTx::Named(id)) => key.short_id(txid) == id,
            None => false,
        };
        position = index + 1;
        if !is_right {
            return Err(Fault::Other);
        }
        txs.push((index, txid, tx));
    }
    Ok(txs)
}
