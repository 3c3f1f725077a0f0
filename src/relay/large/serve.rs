//! Sending large transactions: a peer reads one at a time, from the pool, as its queue has room.
//!
//! Readers share the parts, and each has only an offset. A reader whose transaction is dropped from the pool is closed,
//! because its message cannot be continued.

use super::Reading;
use crate::error::{Disconnect, RequestError};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::protocol::CommandName;
use crate::relay::core::Core;
use crate::relay::inventory::Id;
use crate::relay::window::Read;
use crate::wire::Header;

/// Returns whether a large transaction is being sent to a peer.
pub(in crate::relay) fn is_reading(core: &Core, peer: PeerId) -> bool {
    reading(core, peer).is_some()
}

fn reading(core: &Core, peer: PeerId) -> Option<Reading> {
    let peer = core.peers.get(core.peers.index(peer)?)?;
    peer.backlog.as_ref()?.reading
}

/// Begins to send a large transaction, which is in the pool. Nothing else is being sent to the peer in parts.
pub(in crate::relay) fn send(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, id: Id) -> Result<(), RequestError> {
    let (Some(parts), Some(index)) = (core.pool.parts(id), core.peers.index(peer)) else {
        return Err(RequestError::NoSuchPeer);
    };
    // The checksum is the beginning of the id, because both are the same hash of the payload.
    let checksum = id.hash.as_bytes().first_chunk().copied();
    ctx.begin_body(peer, &Header { command: CommandName::TX, payload_len: parts.end(), checksum })?;
    if let Some(row) = core.peers.get_mut(index) {
        row.backlog().reading = Some(Reading { id, at: 0 });
    }
    feed(core, ctx, peer);
    Ok(())
}

/// Sends the part of a peer's large transaction for which its queue has room.
pub(in crate::relay) fn feed(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId) {
    while let Some(Reading { id, at }) = reading(core, peer) {
        let mut part = match core.pool.parts(id).map(|parts| parts.read(at)) {
            Some(Read::Part(part)) => part,
            Some(Read::Finished) => {
                set(core, peer, None);
                // Further items of its `getdata` wait.
                let _ = ctx.pull(peer);
                return;
            }
            Some(Read::Waits | Read::Overrun { .. }) | None => return cut(core, ctx, peer),
        };
        let len_bytes = part.len();
        if ctx.feed_body(peer, &mut part).is_err() {
            return cut(core, ctx, peer);
        }
        set(core, peer, Some(Reading { id, at: at + (len_bytes - part.len()) as u64 }));
        if !part.is_empty() {
            return;
        }
    }
}

fn set(core: &mut Core, peer: PeerId, reading: Option<Reading>) {
    if let Some(row) = core.peers.index(peer).and_then(|index| core.peers.get_mut(index)) {
        row.backlog().reading = reading;
    }
}

/// Closes a peer whose transaction cannot be continued.
fn cut(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId) {
    set(core, peer, None);
    core.counts.large_readers_cut += 1;
    ctx.close(peer, Disconnect::RetryLater);
}
