//! The arrival of large transactions, from the header of their message to their last byte.
//!
//! Nothing of a transaction is announced or sent before its last byte is here. The parts from a lost, slow or
//! wrong sender are dropped, and the next announcer is asked as for other transactions.

use super::{Arrived, Arriving, Keeping, Malformed, RELAY_LARGE_TX_BYTES};
use crate::api::{ChecksumVerdict, Chunk};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::RELAY_LARGE_TX_TIME;
use crate::protocol::CommandName;
use crate::relay::core::Core;
use crate::relay::window::Window;
use crate::time::Instant;
use crate::wire::{Hash256, Header, StreamType, TxStreamParser};

/// Begins a large transaction with its message's header.
pub(in crate::relay) fn begin(core: &mut Core, ctx: &Ctx<'_>, peer: PeerId, header: &Header) {
    let stream = ctx.receiving_stream();
    on_cut(core, peer, stream);
    let Some(index) = core.peers.index(peer) else { return };
    let is_from_leaf = !core.is_upstream(peer);
    let len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
    let keeping = if header.payload_len > RELAY_LARGE_TX_BYTES || len > core.pool.max_arriving_bytes() {
        Keeping::TooLarge
    } else if core.pool.may_arrive(len, is_from_leaf) {
        Keeping::Parts(Window::new(header.payload_len))
    } else {
        Keeping::NoRoom
    };
    let parser = TxStreamParser::new(CommandName::TX);
    let arriving = Arriving { stream, is_from_leaf, begun_at: ctx.now(), parser, read: None, keeping };
    core.arrivals.insert(peer, arriving);
    core.requests.begins(&core.peers, index);
}

/// Handles the next part of a large transaction. Returns the transaction if the part is the last one, and all is right.
/// The caller then ends its request.
pub(in crate::relay) fn on_part(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    peer: PeerId,
    chunk: &Chunk<'_>,
) -> Option<Arrived> {
    let mut arriving = core.arrivals.remove(peer, ctx.receiving_stream())?;
    arriving.read(chunk.bytes());
    keep(core, &mut arriving, chunk);
    let Some(verdict) = chunk.last() else {
        core.arrivals.insert(peer, arriving);
        return None;
    };
    core.pool.release(arriving.retained_bytes(), arriving.is_from_leaf);
    let arrived = end(core, ctx, arriving, verdict);
    if arrived.is_none()
        && let Some(index) = core.peers.index(peer)
    {
        core.requests.ends(&core.peers, index);
    }
    arrived
}

/// Handles the end of a large transaction. Returns it if all is right.
fn end(core: &mut Core, ctx: &mut Ctx<'_>, arriving: Arriving, verdict: ChecksumVerdict) -> Option<Arrived> {
    if verdict == ChecksumVerdict::Wrong {
        // The loop has charged the peer. The request moves on at its deadline, as that for a smaller transaction does.
        return None;
    }
    let Some(Ok(tx)) = arriving.read else {
        core.counts.malformed += 1;
        return None;
    };
    match arriving.keeping {
        Keeping::Parts(mut parts) => {
            parts.release();
            core.counts.large_received += 1;
            return Some(Arrived { txid: tx.txid, parts });
        }
        Keeping::TooLarge => core.on_oversized(ctx, tx.txid),
        Keeping::NoRoom => drop_unkept(core, ctx, tx.txid),
    }
    None
}

/// Keeps a part, if all parts before it were kept and there is room.
fn keep(core: &mut Core, arriving: &mut Arriving, chunk: &Chunk<'_>) {
    let Keeping::Parts(parts) = &mut arriving.keeping else { return };
    let before = parts.retained_bytes();
    parts.push(chunk.to_bytes());
    let has_room = core.pool.reserve(parts.retained_bytes() - before, arriving.is_from_leaf);
    if !has_room || matches!(arriving.read, Some(Err(Malformed))) {
        let reserved = if has_room { parts.retained_bytes() } else { before };
        core.pool.release(reserved, arriving.is_from_leaf);
        arriving.keeping = Keeping::NoRoom;
    }
}

/// Forgets a transaction that has arrived and was not kept, so that it is requested again once it is announced again.
fn drop_unkept(core: &mut Core, ctx: &mut Ctx<'_>, txid: Hash256) {
    core.counts.large_dropped += 1;
    let slot = core.inventory.find(core.inventory.id(txid));
    if let Some(slot) = slot.filter(|&slot| core.inventory.get(slot).is_some_and(|entry| entry.state.is_open())) {
        core.forget(slot);
        core.send_requests(ctx);
    }
}

/// Handles a large transaction that stays incomplete because its connection closes.
pub(in crate::relay) fn on_cut(core: &mut Core, peer: PeerId, stream: StreamType) {
    if let Some(arriving) = core.arrivals.remove(peer, stream) {
        core.pool.release(arriving.retained_bytes(), arriving.is_from_leaf);
    }
}

/// Drops all that a closed peer has sent.
pub(in crate::relay) fn on_closed(core: &mut Core, peer: PeerId) {
    for arriving in core.arrivals.by_peer.remove(peer).unwrap_or_default() {
        core.pool.release(arriving.retained_bytes(), arriving.is_from_leaf);
    }
}

/// Drops the parts of transactions that have arrived for too long, so that a stalled sender holds no memory.
pub(in crate::relay) fn expire(core: &mut Core, now: Instant) {
    let all = core.arrivals.by_peer.iter_mut().flat_map(|(_, arriving)| arriving);
    for arriving in all.filter(|arriving| arriving.begun_at.plus(RELAY_LARGE_TX_TIME) <= now) {
        let retained_bytes = arriving.retained_bytes();
        if let Keeping::Parts(_) = arriving.keeping {
            arriving.keeping = Keeping::NoRoom;
            core.pool.release(retained_bytes, arriving.is_from_leaf);
        }
    }
}
