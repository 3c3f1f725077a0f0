//! Serving blocks: a peer reads one block at a time, as it arrives or from memory.
//!
//! A reader that is slower than the source may hold it as `pace` decides, and is closed once the window has moved past
//! it; no other reader waits for it.

use super::flow::{Reading, Tether};
use crate::error::{Disconnect, RequestError};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{RELAY_BLOCK_WAIT, RELAY_PASSING_BLOCKS};
use crate::relay::blocks::{admit, announce, fetch, pace};
use crate::relay::core::Core;
use crate::relay::window::{Read, Window};
use crate::wire::{Hash256, Header};

/// The result of a request for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) enum Begun {
    /// The block is being sent, or will be.
    Yes,
    /// Another block is being sent to the peer, or as many as may pass at a time are passing. The peer is pulled once
    /// that has changed.
    Busy,
    /// The block cannot be served now. The link has to be closed.
    Refused,
    /// The link is being closed.
    Closed,
}

/// Returns whether a block is being sent to a peer, or will be.
pub(in crate::relay) fn is_reading(core: &Core, peer: PeerId) -> bool {
    core.blocks.peers.get(peer).is_some_and(|reader| reader.reading.is_some())
}

/// Begins to send a block to a peer.
pub(in crate::relay) fn begin(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, hash: Hash256) -> Begun {
    let blocks = &core.blocks;
    match blocks.peers.get(peer) {
        Some(reader) if reader.reading.is_some() => return Begun::Busy,
        Some(_) => {}
        None => return Begun::Refused,
    }
    let Some(price) = admit::price(core, ctx, peer, hash) else { return Begun::Refused };
    let blocks = &core.blocks;
    let mut is_fetched = false;
    if blocks.kept.get(hash).is_none() {
        let Some(chain) = &blocks.chain else { return Begun::Refused };
        // A slot is reserved for the tip and for upstreams, so that leaf peers that read old blocks do not delay them.
        let is_preferred = chain.tip().hash == hash || core.is_upstream(peer);
        let slots = if is_preferred { RELAY_PASSING_BLOCKS } else { RELAY_PASSING_BLOCKS - 1 };
        let is_full = blocks.flows.len() >= slots;
        if let Some(flow) = core.blocks.flow(hash) {
            if !flow.holds_start() || !admit::is_carried(core, ctx, peer, flow) {
                return Begun::Refused;
            }
            fetch::join(core, ctx, hash, peer);
            if core.blocks.flow(hash).is_none() {
                // No other upstream has the block, and the link is being closed.
                return Begun::Closed;
            }
        } else if is_full {
            return wait(core, ctx, peer);
        } else if !fetch::begin(core, ctx, hash, peer) {
            return Begun::Refused;
        } else {
            is_fetched = true;
        }
    }
    let payer = admit::pay(core, ctx, price, hash);
    let tether = admit::is_tethered(core, ctx, peer, hash).then(Tether::default);
    if is_fetched && let Some(flow) = core.blocks.flow_mut(hash) {
        flow.payer = payer;
    }
    if let Some(reader) = core.blocks.peers.get_mut(peer) {
        (reader.reading, reader.waits_since) = (Some(Reading { payer, tether, ..Reading::of(hash) }), None);
    }
    feed(core, ctx, peer);
    Begun::Yes
}

/// Lets a peer wait until fewer blocks pass, at most [`RELAY_BLOCK_WAIT`].
fn wait(core: &mut Core, ctx: &Ctx<'_>, peer: PeerId) -> Begun {
    let Some(reader) = core.blocks.peers.get_mut(peer) else { return Begun::Refused };
    let since = *reader.waits_since.get_or_insert_with(|| ctx.now());
    if ctx.now() >= since.plus(RELAY_BLOCK_WAIT) {
        return Begun::Refused;
    }
    if !std::mem::replace(&mut reader.is_waiting, true) {
        core.blocks.waiting.push(peer);
    }
    Begun::Busy
}

/// Sends to a peer the part of its block that has arrived and for which its queue has room. A source that waits for the
/// peer continues.
pub(in crate::relay) fn feed(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId) {
    let Some(reading) = core.blocks.peers.get(peer).and_then(|reader| reader.reading) else { return };
    feed_all(core, ctx, peer);
    if core.blocks.flow(reading.hash).is_some_and(|flow| flow.paused_since().is_some()) {
        pace::settle(core, ctx, reading.hash);
    }
}

/// Sends a block that is kept now to the peers that wait for its fetch, which has brought nothing yet.
pub(super) fn feed_kept(core: &mut Core, ctx: &mut Ctx<'_>, hash: Hash256) {
    let _ = admit::on_length(core, ctx, hash);
    let readers = core.blocks.flow_mut(hash).map(|flow| std::mem::take(&mut flow.readers)).unwrap_or_default();
    readers.into_iter().for_each(|reader| feed(core, ctx, reader));
}

fn feed_all(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId) {
    loop {
        let Some(reading) = core.blocks.peers.get(peer).and_then(|reader| reader.reading) else { return };
        let (header, part) = match payload_of(core, peer, reading.hash) {
            Payload::Begun(header, window) => match window.read(reading.at) {
                Read::Part(part) => (*header, part),
                Read::Waits => return,
                Read::Finished => return finish(core, ctx, peer),
                Read::Overrun { .. } => {
                    let behind_bytes = window.end() - reading.at;
                    return cut(core, ctx, peer, Disconnect::TooSlow { behind_bytes });
                }
            },
            Payload::Awaited => return,
            Payload::Gone => return cut(core, ctx, peer, Disconnect::RetryLater),
        };
        let len_bytes = part.len();
        let mut rest = part;
        let begun = if reading.has_begun { Ok(()) } else { begin_message(core, ctx, peer, reading.hash, &header) };
        match begun.and_then(|()| ctx.feed_body(peer, &mut rest)) {
            Ok(()) => {}
            Err(RequestError::QueueFull) => {
                let _ = ctx.pull(peer);
                return;
            }
            // The peer is being closed, or cannot receive a block of this size.
            Err(_) => return cut(core, ctx, peer, Disconnect::RetryLater),
        }
        let fed = len_bytes - rest.len();
        if let Some(reading) = core.blocks.peers.get_mut(peer).and_then(|reader| reader.reading.as_mut()) {
            reading.has_begun = true;
            reading.at += fed as u64;
        }
        if !rest.is_empty() {
            return;
        }
    }
}

/// Begins the message of a block, with marks on its first and last byte if the block is passing.
fn begin_message(
    core: &Core,
    ctx: &mut Ctx<'_>,
    peer: PeerId,
    hash: Hash256,
    header: &Header,
) -> Result<(), RequestError> {
    let Some(marks) = core.blocks.passages.marks(hash, peer) else { return ctx.begin_body(peer, header) };
    match ctx.begin_body_marked(peer, header, marks) {
        // The reader's end stays unknown.
        Err(RequestError::TooManyMarks) => ctx.begin_body(peer, header),
        begun => begun,
    }
}

/// Ends the reading of a peer that is closed.
pub(in crate::relay) fn on_reader_closed(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId) {
    core.blocks.passages.on_closed(peer, ctx.now());
    let reading = core.blocks.peers.remove(peer).and_then(|reader| reader.reading);
    if let Some(reading) = reading {
        leave(core, ctx, peer, reading.hash);
    }
}

/// The payload of a block that a peer reads.
enum Payload<'a> {
    /// Some or all of it is held.
    Begun(&'a Header, &'a Window),
    /// It is requested from a source.
    Awaited,
    /// It was kept, and dropped for newer blocks.
    Gone,
}

fn payload_of(core: &Core, peer: PeerId, hash: Hash256) -> Payload<'_> {
    if let Some(block) = core.blocks.kept.get(hash) {
        return Payload::Begun(&block.header, &block.window);
    }
    // A kept block may have been dropped and be in transit again, for other readers.
    match core.blocks.flow(hash).filter(|flow| flow.readers.contains(&peer)) {
        Some(flow) => match &flow.transit {
            Some(transit) => Payload::Begun(transit.header(), transit.window()),
            None => Payload::Awaited,
        },
        None => Payload::Gone,
    }
}

fn finish(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId) {
    let Some(reader) = core.blocks.peers.get_mut(peer) else { return };
    let Some(reading) = reader.reading.take() else { return };
    announce::on_has(core, peer, reading.hash);
    core.counts.blocks_served += 1;
    leave(core, ctx, peer, reading.hash);
    // Further items of its `getdata` wait.
    let _ = ctx.pull(peer);
}

/// Closes a peer whose block cannot be continued.
fn cut(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, disconnect: Disconnect) {
    let reading = core.blocks.peers.get_mut(peer).and_then(|reader| reader.reading.take());
    core.counts.block_readers_cut += 1;
    ctx.close(peer, disconnect);
    if let Some(reading) = reading {
        leave(core, ctx, peer, reading.hash);
    }
}

/// Removes a reader from the block in transit.
fn leave(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, hash: Hash256) {
    if let Some(flow) = core.blocks.flow_mut(hash) {
        flow.readers.retain(|&reader| reader != peer);
    }
    pace::settle(core, ctx, hash);
}
