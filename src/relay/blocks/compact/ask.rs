//! Requests for transactions that this relay does not have: they are passed on to a node that has the block.
//!
//! The first source is the block's announcer. Equal requests of several peers are one request, and its reply is passed
//! on as it is, once its transactions are those of the compact block. If the reply does not arrive in time, or is
//! wrong, each peer receives the whole block in its place. While the block is being rebuilt, requests for it wait.

use super::pending::Ask;
use super::transactions;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{RELAY_BLOCKTXN_ASKS, RELAY_BLOCKTXN_TIMEOUT, RELAY_PEER_BLOCKTXN_ASKS, RELAY_REQUEST_BYTES};
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
/// there are too many requests.
pub(super) fn for_peer(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, hash: Hash256, request: Bytes) {
    let asks = &mut core.blocks.compact.asks;
    let of_peer = asks.iter().filter(|ask| ask.peers.contains(&peer)).count();
    if of_peer >= RELAY_PEER_BLOCKTXN_ASKS || request.len() > RELAY_REQUEST_BYTES {
        return getdata::send_block(core, ctx, peer, hash);
    }
    if let Some(equal) = asks.iter_mut().find(|ask| ask.request == request) {
        return equal.peers.push(peer);
    }
    if asks.len() == RELAY_BLOCKTXN_ASKS {
        return getdata::send_block(core, ctx, peer, hash);
    }
    asks.push(Ask { hash, request, peers: vec![peer], is_own: false, source: None, since: ctx.now() });
    resolve(core, ctx);
}

/// Requests the transactions that are missing to rebuild a block. Returns whether a source was asked.
pub(super) fn for_this_side(core: &mut Core, ctx: &mut Ctx<'_>, request: &GetBlockTxn) -> bool {
    let hash = request.as_ref().block_hash;
    let Some(source) = source_of(core, hash, &[]) else { return false };
    let mut payload = Vec::new();
    request.as_ref().encode(&mut payload);
    if core.blocks.compact.asks.len() == RELAY_BLOCKTXN_ASKS
        || ctx.send(source, &MessageRef::GetBlockTxn(request.as_ref())).is_err()
    {
        return false;
    }
    let (request, since) = (payload.into(), ctx.now());
    core.blocks.compact.asks.push(Ask { hash, request, peers: Vec::new(), is_own: true, source: Some(source), since });
    true
}

/// Answers the requests for blocks that are kept now, and passes on those for blocks that are not being rebuilt.
pub(super) fn resolve(core: &mut Core, ctx: &mut Ctx<'_>) {
    let rebuilt = core.blocks.compact.job.as_ref().map(|job| job.hash);
    let is_due = |ask: &mut Ask| ask.source.is_none() && Some(ask.hash) != rebuilt;
    let due: Vec<Ask> = core.blocks.compact.asks.extract_if(.., is_due).collect();
    for mut ask in due {
        let request = GetBlockTxnRef::decode(&ask.request).ok();
        let kept = core.blocks.kept.get(ask.hash).zip(request);
        if let Some((block, request)) = kept {
            let reply = transactions::reply(ctx, block, ask.hash, request);
            send_all(core, ctx, ask, reply.as_ref());
            continue;
        }
        let source = source_of(core, ask.hash, &ask.peers).zip(request);
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
    for peer in ask.peers {
        match reply {
            Some(reply) => transactions::send(core, ctx, peer, reply, is_relayed),
            None => getdata::send_block(core, ctx, peer, ask.hash),
        }
    }
}

/// Ends a request whose source does not answer, or answers with other transactions.
pub(super) fn fail(core: &mut Core, ctx: &mut Ctx<'_>, ask: Ask) {
    if ask.is_own {
        core.blocks.compact.job.take_if(|job| job.hash == ask.hash);
        resolve(core, ctx);
    }
    send_all(core, ctx, ask, None);
}

/// Ends the requests to a source that is lost, or whose reply is too long.
pub(super) fn on_source_lost(core: &mut Core, ctx: &mut Ctx<'_>, source: PeerId) {
    let is_of_source = |ask: &mut Ask| ask.source == Some(source);
    let lost: Vec<Ask> = core.blocks.compact.asks.extract_if(.., is_of_source).collect();
    lost.into_iter().for_each(|ask| fail(core, ctx, ask));
}

/// Ends the requests of a peer that is closed, and those to it.
pub(in crate::relay) fn on_peer_lost(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId) {
    for ask in &mut core.blocks.compact.asks {
        ask.peers.retain(|&other| other != peer);
    }
    core.blocks.compact.asks.retain(|ask| ask.is_own || !ask.peers.is_empty());
    on_source_lost(core, ctx, peer);
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
fn source_of(core: &Core, hash: Hash256, peers: &[PeerId]) -> Option<PeerId> {
    let index_of = |peer: PeerId| core.peers.index(peer);
    let is_asker = |index| {
        peers.iter().filter_map(|&peer| index_of(peer)).any(|at| at == index || core.peers.are_one_upstream(at, index))
    };
    let upstreams = core.peers.iter().filter(|(index, peer)| peer.is_upstream() && !is_asker(*index));
    let candidates: Vec<PeerId> = upstreams.map(|(_, peer)| peer.id).collect();
    let announcer = core.blocks.compact.announcer(hash).filter(|announcer| candidates.contains(announcer));
    announcer.or_else(|| candidates.into_iter().find(|&peer| core.blocks.has_block(peer, hash)))
}
