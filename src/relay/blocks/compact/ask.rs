//! Requests for transactions that this relay does not have: they are passed on to a node that has the block.
//!
//! The first source is the block's announcer. Equal requests of several peers are one request, and its reply is passed
//! on as it is, once its transactions are those of the compact block. If the reply does not arrive in time, or is
//! wrong, each peer receives the whole block in its place. While the block is being rebuilt, requests for it wait.
//!
//! A request that was sent stays until its reply or its deadline, even if no peer waits any more: otherwise its reply
//! would seem to answer another request. The hosts of leaf peers pay for each reply out of the budget of old blocks,
//! but not for an upstream that does not reply.

use super::pending::{Ask, Waiting};
use super::transactions;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{
    RELAY_BLOCKTXN_ASKS, RELAY_BLOCKTXN_TIMEOUT, RELAY_BUDGET_RESERVE, RELAY_PEER_BLOCKTXN_ASKS, RELAY_REQUEST_BYTES,
    RELAY_REQUESTED_TXS,
};
use crate::relay::blocks::admit;
use crate::relay::core::Core;
use crate::relay::getdata;
use crate::wire::{GetBlockTxn, GetBlockTxnRef, Hash256, MessageRef};
use bytes::Bytes;

/// Returns whether a node would answer a request for this many of a block's transactions with the whole block (SV Node
/// 1.2.2, net_processing.cpp ProcessGetBlockTxnMessage).
pub(super) const fn is_nearly_all(asked: usize, count: usize) -> bool {
    asked * 100 > count * 99
}

/// Passes a peer's request on, or lets it wait while the block is being rebuilt. The peer receives the whole block if
/// there are too many requests, if it asks for too much, or if less than the reserve remains of its host's budget.
pub(super) fn for_peer(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    peer: PeerId,
    request: GetBlockTxnRef<'_>,
    payload: impl FnOnce() -> Bytes,
) {
    let hash = request.block_hash;
    let asks = &core.blocks.compact.asks;
    let of_peer = asks.iter().flat_map(|ask| &ask.waiting).filter(|waiting| waiting.peer == peer).count();
    let is_large = request.indexes().len() > RELAY_REQUESTED_TXS && !core.is_upstream(peer);
    let payload = (of_peer < RELAY_PEER_BLOCKTXN_ASKS && !is_large).then(payload);
    let Some(payload) = payload.filter(|payload| payload.len() <= RELAY_REQUEST_BYTES) else {
        return getdata::send_block(core, ctx, peer, hash);
    };
    let equal = asks.iter().position(|ask| ask.request == payload);
    let count = request.indexes().len();
    // A slot is reserved for the request of this side.
    let of_peers = asks.iter().filter(|ask| !ask.is_own).count();
    if equal.is_none() && of_peers >= RELAY_BLOCKTXN_ASKS - 1 {
        return getdata::send_block(core, ctx, peer, hash);
    }
    let Some(price) = admit::price_of_parts(core, ctx, peer, RELAY_BUDGET_RESERVE) else {
        return getdata::send_block(core, ctx, peer, hash);
    };
    let waiting = Waiting { peer, payer: admit::payer(core, ctx, price) };
    let asks = &mut core.blocks.compact.asks;
    match equal.and_then(|at| asks.get_mut(at)) {
        Some(equal) => equal.waiting.push(waiting),
        None => {
            let since = ctx.now();
            asks.push(Ask { waiting: vec![waiting], ..Ask::new(hash, payload, count, since) });
            resolve(core, ctx);
        }
    }
}

/// Requests the transactions that are missing to rebuild a block. Returns whether a source was asked.
pub(super) fn for_this_side(core: &mut Core, ctx: &mut Ctx<'_>, request: &GetBlockTxn) -> bool {
    let hash = request.as_ref().block_hash;
    let Some(source) = source_of(core, hash, &[]) else { return false };
    let mut payload = Vec::new();
    request.as_ref().encode(&mut payload);
    if core.blocks.compact.asks.len() >= RELAY_BLOCKTXN_ASKS
        || ctx.send(source, &MessageRef::GetBlockTxn(request.as_ref())).is_err()
    {
        return false;
    }
    let ask = Ask::new(hash, payload.into(), request.as_ref().indexes().len(), ctx.now());
    core.blocks.compact.asks.push(Ask { is_own: true, source: Some(source), ..ask });
    true
}

/// Answers the requests for blocks that are kept now, and passes on those for blocks that are not being rebuilt.
pub(super) fn resolve(core: &mut Core, ctx: &mut Ctx<'_>) {
    let rebuilt = core.blocks.compact.rebuilt();
    let is_due = |ask: &mut Ask| ask.source.is_none() && Some(ask.hash) != rebuilt;
    let due: Vec<Ask> = core.blocks.compact.asks.extract_if(.., is_due).collect();
    for mut ask in due {
        let request = GetBlockTxnRef::decode(&ask.request).ok();
        let kept = core.blocks.kept.get(ask.hash).zip(request);
        if let Some((block, request)) = kept {
            let reply = transactions::reply(ctx, block, ask.hash, request);
            charge(core, ctx, &ask, reply.as_ref().map_or(0, |reply| reply.len() as u64));
            send_all(core, ctx, ask, reply.as_ref());
            continue;
        }
        let source = source_of(core, ask.hash, &ask.waiting).zip(request);
        let source = source.filter(|&(source, request)| ctx.send(source, &MessageRef::GetBlockTxn(request)).is_ok());
        match source.map(|(source, _)| source) {
            Some(source) => {
                (ask.source, ask.since) = (Some(source), ctx.now());
                core.blocks.compact.asks.push(ask);
            }
            None => send_all(core, ctx, ask, None),
        }
    }
}

/// Sends a reply to all peers of a request; the whole block if there is none.
pub(super) fn send_all(core: &mut Core, ctx: &mut Ctx<'_>, ask: Ask, reply: Option<&Bytes>) {
    let is_relayed = ask.source.is_some();
    for Waiting { peer, .. } in ask.waiting {
        match reply {
            Some(reply) => _ = transactions::send(core, ctx, peer, ask.hash, reply, is_relayed),
            None => getdata::send_block(core, ctx, peer, ask.hash),
        }
    }
}

/// Charges a reply of this many bytes to the hosts of the peers that wait for it, or to that of the last one that has
/// closed.
pub(super) fn charge(core: &mut Core, ctx: &Ctx<'_>, ask: &Ask, bytes: u64) {
    let closed = ask.closed_payer.filter(|_| ask.waiting.is_empty() && !ask.is_own);
    let payers = ask.waiting.iter().filter_map(|waiting| waiting.payer).chain(closed);
    payers.for_each(|host| admit::charge(core, ctx, host, bytes));
}

/// Ends a request whose source does not answer, or answers with other transactions.
pub(super) fn fail(core: &mut Core, ctx: &mut Ctx<'_>, ask: Ask) {
    if ask.is_own {
        core.blocks.compact.job.take_if(|job| job.hash == ask.hash);
        resolve(core, ctx);
    }
    send_all(core, ctx, ask, None);
}

/// Ends the oldest request to a source whose reply is too long: nothing states which one it answers. No more than the
/// reserve is charged, because the length is only claimed.
pub(super) fn on_long_reply(core: &mut Core, ctx: &mut Ctx<'_>, source: PeerId, len_bytes: u64) {
    let asks = &mut core.blocks.compact.asks;
    let Some(at) = asks.iter().position(|ask| ask.source == Some(source)) else { return };
    let ask = asks.remove(at);
    charge(core, ctx, &ask, len_bytes.min(RELAY_BUDGET_RESERVE));
    fail(core, ctx, ask);
}

/// Ends the requests to a peer that is closed, and those of it alone that were not sent.
pub(in crate::relay) fn on_peer_lost(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId) {
    let asks = &mut core.blocks.compact.asks;
    for ask in &mut *asks {
        let closed = ask.waiting.extract_if(.., |waiting| waiting.peer == peer);
        ask.closed_payer = closed.filter_map(|waiting| waiting.payer).last().or(ask.closed_payer);
    }
    asks.retain(|ask| ask.source.is_some() || !ask.waiting.is_empty());
    let lost: Vec<Ask> = asks.extract_if(.., |ask| ask.source == Some(peer)).collect();
    lost.into_iter().for_each(|ask| fail(core, ctx, ask));
}

/// Ends the requests that are unanswered for too long.
pub(in crate::relay) fn expire_asks(core: &mut Core, ctx: &mut Ctx<'_>) {
    let now = ctx.now();
    let is_late = |ask: &mut Ask| ask.source.is_some() && now >= ask.since.plus(RELAY_BLOCKTXN_TIMEOUT);
    let late: Vec<Ask> = core.blocks.compact.asks.extract_if(.., is_late).collect();
    late.into_iter().for_each(|ask| fail(core, ctx, ask));
}

/// Returns the upstream that is asked for transactions of a block: its announcer, or else another one that has it, but
/// no node that requests them itself.
fn source_of(core: &Core, hash: Hash256, askers: &[Waiting]) -> Option<PeerId> {
    let is_asker = |index| {
        let mut indexes = askers.iter().filter_map(|asker| core.peers.index(asker.peer));
        indexes.any(|at| at == index || core.peers.are_one_upstream(at, index))
    };
    let upstreams = core.peers.iter().filter(|(index, peer)| peer.is_upstream() && !is_asker(*index));
    let candidates: Vec<PeerId> = upstreams.map(|(_, peer)| peer.id).collect();
    let announcer = core.blocks.compact.announcer(hash).filter(|announcer| candidates.contains(announcer));
    announcer.or_else(|| candidates.into_iter().find(|&peer| core.blocks.has_block(peer, hash)))
}
