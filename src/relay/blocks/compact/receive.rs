//! The arrival of a compact block from an upstream.
//!
//! It is passed on in the turn of its arrival, as it is and before it is rebuilt, but never before its header is in the
//! chain: an invalid block that was sent as a compact one costs its sender nothing, but a header without proof of work
//! is charged.

use super::{Compact, work};
use crate::api::{Delivery, Frame};
use crate::error::{Misbehavior, WireError};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{HEADER_LEN_BYTES, RELAY_COMPACT_BYTES};
use crate::relay::blocks::passages::Stamp;
use crate::relay::blocks::sync;
use crate::relay::core::Core;
use crate::relay::headers::HeaderError;
use crate::wire::{CompactBlockRef, Hash256, Header};

/// Chooses how a `cmpctblock` is delivered. One that nobody asked for is ignored, and so is one that is too long: the
/// header is requested in its place.
pub(in crate::relay) fn on_compact_header(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    peer: PeerId,
    header: &Header,
) -> Delivery {
    let Some(about) = core.blocks.peers.get_mut(peer).filter(|about| about.compact.is_source) else {
        return Delivery::Discard;
    };
    about.compact.begun = Some(Stamp::of(ctx));
    if header.payload_len > RELAY_COMPACT_BYTES.min(ctx.config().buffer_limit_bytes(header.command)) {
        sync::ask(core, ctx, peer);
        return Delivery::Discard;
    }
    Delivery::Buffer
}

/// Checks the header of a compact block, and passes the compact block on if the block is the new tip.
pub(in crate::relay) fn on_compact(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, frame: &Frame<'_>) {
    let block = match CompactBlockRef::decode(frame.payload()) {
        Ok(block) => block,
        Err(error) => {
            if matches!(error, WireError::BadValue { .. }) {
                ctx.penalize_for(peer, Misbehavior::BadCompactBlock);
            }
            // The block may be a new one nevertheless.
            return sync::ask(core, ctx, peer);
        }
    };
    let hash = block.header.hash();
    let accepted = sync::accept(core, ctx, peer, [block.header]);
    match accepted.error {
        None => {}
        // The headers between are requested.
        Some(HeaderError::Orphan) => return sync::on_block_announced(core, ctx, peer, hash),
        Some(_) => return,
    }
    let is_new = core.blocks.compact.get(hash).is_none() && core.blocks.is_recent(hash);
    if is_new {
        core.counts.compact_blocks_received += 1;
        let (frame, tx_count) = (frame.to_frame(), block.tx_count());
        note_arrival(core, ctx, peer, hash, (frame.len() - HEADER_LEN_BYTES, tx_count));
        core.blocks.compact.insert(Compact { hash, frame, prefilled: None, announcer: peer, tx_count });
    }
    sync::publish(core, ctx, accepted.fork_height, true);
    // The header may have arrived before, from another upstream.
    if is_new && core.blocks.chain().is_some_and(|chain| chain.tip().hash == hash) {
        work::begin(core, ctx, hash);
    }
}

/// Begins the passage of a compact block, whose header is in the chain.
fn note_arrival(core: &mut Core, ctx: &Ctx<'_>, peer: PeerId, hash: Hash256, (len_bytes, tx_count): (usize, usize)) {
    let arrived = Stamp::of(ctx);
    let begun = core.blocks.peers.get(peer).and_then(|about| about.compact.begun).unwrap_or(arrived);
    let height = core.blocks.chain().and_then(|chain| chain.get(hash)).map(|block| block.height);
    core.blocks.passages.begin_compact(hash, height, (len_bytes as u64, tx_count as u64), (begun, arrived));
}
