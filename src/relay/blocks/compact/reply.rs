//! The replies of upstreams with single transactions of a block.
//!
//! A reply answers the oldest request to its sender for these transactions of the compact block, by their short ids: a
//! node discards a block that it has built from others. A reply with another number of transactions than any request is
//! ignored, because it answers one that has ended. Any other reply that answers no request ends the oldest one for as
//! many transactions. It is a fault of its sender only if it cannot be read: it may answer an earlier request, or the
//! sender may have another transaction with the same short id.

use super::pending::Ask;
use super::{ask, work};
use crate::api::{Delivery, Frame};
use crate::error::{Misbehavior, WireError};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::relay::core::Core;
use crate::wire::compact::{CompactTx, CompactTxs, SHORT_ID_BYTES};
use crate::wire::{BlockTxnRef, CompactBlockRef, GetBlockTxnRef, Hash256, Header, TxRef};
use bytes::Bytes;

/// The transactions of a reply, each with its id.
type Txs<'a> = Vec<(Hash256, TxRef<'a>)>;

/// Chooses how a `blocktxn` is delivered. One that nobody asked for is ignored. One that is too long ends the oldest
/// request to its sender.
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
        ask::on_long_reply(core, ctx, peer, header.payload_len);
        return Delivery::Discard;
    }
    Delivery::Buffer
}

/// Passes a reply on to the peers that wait for it, and uses it to rebuild the block.
pub(in crate::relay) fn on_blocktxn(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, frame: &Frame<'_>) {
    let Some(hash) = frame.payload().first_chunk().copied().map(Hash256::from_bytes) else { return };
    let reply = BlockTxnRef::decode(frame.payload());
    let count = reply.as_ref().ok().map(|reply| reply.transactions.len());
    let is_candidate =
        |ask: &Ask| ask.source == Some(peer) && ask.hash == hash && count.is_none_or(|count| count == ask.count);
    let candidates = core.blocks.compact.asks.iter().enumerate().filter(|(_, ask)| is_candidate(ask));
    let Some((oldest, _)) = candidates.clone().next() else { return };
    let requests = candidates.filter_map(|(at, ask)| Some((at, GetBlockTxnRef::decode(&ask.request).ok()?)));
    let compact = core.blocks.compact.payload(hash);
    let block = compact.as_ref().and_then(|compact| CompactBlockRef::decode(compact).ok());
    let answered = reply.and_then(|reply| answered(block, requests, reply));
    let at = answered.as_ref().map_or(oldest, |answered| answered.as_ref().map_or(oldest, |&(at, _)| at));
    let ask = core.blocks.compact.asks.remove(at);
    ask::charge(core, ctx, &ask, frame.payload().len() as u64);
    let txs = match answered {
        Ok(Some((_, txs))) => txs,
        Ok(None) => {
            core.counts.compact_blocks_wrong += 1;
            return ask::fail(core, ctx, ask);
        }
        Err(_) => {
            core.counts.compact_blocks_wrong += 1;
            ctx.penalize_for(peer, Misbehavior::BadCompactBlock);
            return ask::fail(core, ctx, ask);
        }
    };
    if let Some(job) = core.blocks.compact.job.as_mut().filter(|job| ask.is_own && job.hash == hash)
        && let Ok(request) = GetBlockTxnRef::decode(&ask.request)
    {
        for (position, (txid, tx)) in request.indexes().zip(txs) {
            job.rebuild.fill(position, txid, Bytes::copy_from_slice(tx.encoded()));
        }
    }
    let is_own = ask.is_own;
    ask::send_all(core, ctx, ask, Some(&frame.to_frame()));
    if is_own {
        work::advance(core, ctx);
    }
}

/// Returns the place of the first request that a reply answers, and the reply's transactions.
///
/// # Errors
///
/// Those of a transaction that cannot be read.
fn answered<'a, 'b>(
    block: Option<CompactBlockRef<'_>>,
    mut requests: impl Iterator<Item = (usize, GetBlockTxnRef<'b>)>,
    reply: BlockTxnRef<'a>,
) -> Result<Option<(usize, Txs<'a>)>, WireError> {
    let txs = reply.transactions.into_iter().map(|tx| tx.map(|tx| (tx.txid(), tx))).collect::<Result<Txs<'a>, _>>()?;
    let Some(block) = block else { return Ok(None) };
    let key = block.short_id_key();
    let ids: Vec<[u8; SHORT_ID_BYTES]> = txs.iter().map(|&(txid, _)| key.short_id(txid)).collect();
    let named = block.by_position();
    let found = requests.find(|(_, request)| is_answer(&named, *request, txs.iter().zip(&ids)));
    Ok(found.map(|(at, _)| (at, txs)))
}

/// Returns whether as many transactions as were requested, each with its short id, are those of a request.
fn is_answer<'a>(
    named: &CompactTxs<'_>,
    request: GetBlockTxnRef<'_>,
    txs: impl Iterator<Item = (&'a (Hash256, TxRef<'a>), &'a [u8; SHORT_ID_BYTES])>,
) -> bool {
    request.indexes().zip(txs).all(|(position, ((_, tx), id))| match named.get(position) {
        Some(CompactTx::Whole(known)) => known.encoded() == tx.encoded(),
        Some(CompactTx::Named(known)) => known == *id,
        None => false,
    })
}
