//! Replies with single transactions of a block that is kept in memory.

use crate::error::{Disconnect, RequestError};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::RELAY_BLOCKTXN_BYTES;
use crate::protocol::CommandName;
use crate::relay::blocks::kept::KeptBlock;
use crate::relay::core::Core;
use crate::relay::getdata;
use crate::relay::window::Read;
use crate::wire::codec::put_compact_size;
use crate::wire::{GetBlockTxnRef, Hash256, put_frame};
use bytes::Bytes;

/// Returns the `blocktxn` with the requested transactions; `None` if it would be too long, or if one of them is not in
/// the block.
pub(super) fn reply(ctx: &Ctx<'_>, block: &KeptBlock, hash: Hash256, request: GetBlockTxnRef<'_>) -> Option<Bytes> {
    let indexes = request.indexes();
    let mut payload = hash.as_bytes().to_vec();
    put_compact_size(indexes.len() as u64, &mut payload);
    for index in indexes {
        let mut range = block.offsets.range(index)?;
        if payload.len() as u64 + range.end - range.start > RELAY_BLOCKTXN_BYTES {
            return None;
        }
        while !range.is_empty() {
            let Read::Part(part) = block.window.read(range.start) else { return None };
            let len_bytes = (range.end - range.start).min(part.len() as u64);
            payload.extend_from_slice(&part[..len_bytes as usize]);
            range.start += len_bytes;
        }
    }
    let mut frame = Vec::new();
    put_frame(ctx.config().magic_bytes(), CommandName::BLOCKTXN, &payload, &mut frame);
    Some(frame.into())
}

/// Sends a `blocktxn`. If the peer's queue has no room, the whole block is sent in its place, because it can wait.
/// Returns whether the `blocktxn` was sent.
pub(super) fn send(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    peer: PeerId,
    hash: Hash256,
    frame: &Bytes,
    is_relayed: bool,
) -> bool {
    let sent = ctx.send_shared(peer, frame);
    match sent {
        Ok(()) => {
            let counts = &mut core.counts;
            let count = if is_relayed { &mut counts.blocktxn_relayed } else { &mut counts.blocktxn_served };
            *count += 1;
        }
        Err(RequestError::QueueFull | RequestError::TooLargeForPeer) => getdata::send_block(core, ctx, peer, hash),
        Err(_) => ctx.close(peer, Disconnect::RetryLater),
    }
    sent.is_ok()
}
