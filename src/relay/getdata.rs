//! Serving: every item of a `getdata` is answered by the transaction or by `notfound`, or the link is closed.
//!
//! Items are answered in order, at once as far as the peer's queue has room, and then as the peer reads. A peer with
//! many unanswered items is not read. A held transaction is served to upstreams only. If a block cannot be served, the
//! link is closed after a `reject`, because an SV Node asks other peers at once only if the link closes.

use super::blocks::{self, Begun};
use super::core::Core;
use super::inventory::{Id, PeerIndex};
use super::large;
use super::link::UpstreamLink;
use super::serve::Serving;
use crate::api::Frame;
use crate::error::{Disconnect, RequestError};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{HEADER_LEN_BYTES, MAX_RELAY_PENDING_BYTES, RELAY_PENDING_ITEMS};
use crate::wire::{Hash256, Inventory, InventoryItem, InventoryKind, InventoryRef, MessageRef};
use bytes::Bytes;

/// Maximum number of items in one `notfound`.
const NOT_FOUND_ITEMS: usize = 1_000;

/// The result of answering an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    Yes,
    /// The queue has no room for the answer.
    NoRoom,
    /// A block or a large transaction is being sent to the peer. Its end continues with the answers.
    Busy,
    /// The link is being closed.
    Closed,
}

/// The answers to one peer in one call.
struct Answers {
    peer: PeerId,
    /// The room in the peer's queue, in bytes.
    free_bytes: usize,
    /// Items for a `notfound` that is not sent yet. The queue has room for it.
    missing: Vec<InventoryItem>,
    link: Option<UpstreamLink>,
}

/// Answers the items of a `getdata`, or keeps them until the peer's queue has room.
pub(super) fn on_getdata(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    index: PeerIndex,
    frame: &Frame<'_>,
    items: InventoryRef<'_>,
) {
    answer_all(core, ctx, index, items, || frame.to_bytes());
}

/// Answers another request of a peer with the whole block.
pub(super) fn send_block(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, hash: Hash256) {
    let Some(index) = core.peers.index(peer) else { return };
    let items = Inventory::from_items([InventoryItem::block(hash)]);
    let payload = || {
        let mut payload = Vec::new();
        items.as_ref().encode(&mut payload);
        payload.into()
    };
    answer_all(core, ctx, index, items.as_ref(), payload);
}

/// Answers items as far as the peer's queue has room. The others are kept in their encoded form.
fn answer_all(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    index: PeerIndex,
    items: InventoryRef<'_>,
    payload: impl FnOnce() -> Bytes,
) {
    let Some(peer) = core.peers.get(index) else { return };
    let id = peer.id;
    let mut answered = 0;
    if peer.backlog.as_ref().is_none_or(|backlog| backlog.serving.len() == 0) {
        let mut answers = begin_answers(core, ctx, index, id);
        for item in items.iter() {
            match answer(core, ctx, &mut answers, item) {
                Answered::Yes => answered += 1,
                Answered::NoRoom | Answered::Busy => break,
                Answered::Closed => return,
            }
        }
        send_missing(core, ctx, &mut answers);
    }
    if answered < items.len() {
        keep_items(core, ctx, index, payload(), items.len(), answered);
    }
}

/// Keeps the items after the first `answered` ones.
fn keep_items(core: &mut Core, ctx: &mut Ctx<'_>, index: PeerIndex, payload: Bytes, items: usize, answered: usize) {
    let Some(peer) = core.peers.get_mut(index) else { return };
    let id = peer.id;
    let serving = &mut peer.backlog().serving;
    let before = serving.bytes();
    serving.push(payload, items, answered);
    core.pending_bytes += serving.bytes() - before;
    if serving.len() > RELAY_PENDING_ITEMS {
        ctx.pause(id);
    }
    let _ = ctx.pull(id);
    if core.pending_bytes > MAX_RELAY_PENDING_BYTES {
        close_largest(core, ctx);
    }
}

/// Closes the leaf that keeps the most bytes if all leaf peers keep too many. It keeps at least as many as the latest
/// message has, so the others are then within the limit.
fn close_largest(core: &mut Core, ctx: &mut Ctx<'_>) {
    let leaves = core.peers.iter().filter(|(_, peer)| !peer.is_upstream());
    let kept = leaves.filter_map(|(index, peer)| Some((peer.backlog.as_ref()?.serving.bytes(), index)));
    let (sum, largest) = kept.fold((0, None), |(sum, largest), next| (sum + next.0, largest.max(Some(next))));
    let Some((bytes, index)) = largest.filter(|_| sum > MAX_RELAY_PENDING_BYTES) else { return };
    let Some(peer) = core.peers.get_mut(index) else { return };
    peer.backlog().serving = Serving::default();
    core.pending_bytes -= bytes;
    core.counts.serving_overruns += 1;
    ctx.close(peer.id, Disconnect::RetryLater);
}

/// Answers kept items, as far as the peer's queue has room.
pub(super) fn serve(core: &mut Core, ctx: &mut Ctx<'_>, index: PeerIndex) {
    let Some(peer) = core.peers.get(index) else { return };
    let id = peer.id;
    let mut answers = begin_answers(core, ctx, index, id);
    let mut is_busy = false;
    loop {
        let backlog = core.peers.get(index).and_then(|peer| peer.backlog.as_ref());
        let Some(item) = backlog.and_then(|backlog| backlog.serving.front()) else { break };
        match answer(core, ctx, &mut answers, item) {
            Answered::Yes => {
                let Some(peer) = core.peers.get_mut(index) else { return };
                let serving = &mut peer.backlog().serving;
                let before = serving.bytes();
                serving.pop();
                core.pending_bytes -= before - serving.bytes();
            }
            Answered::NoRoom => break,
            Answered::Busy => {
                is_busy = true;
                break;
            }
            Answered::Closed => return,
        }
    }
    send_missing(core, ctx, &mut answers);
    let waiting = core.peers.get(index).and_then(|peer| peer.backlog.as_ref()).map(|backlog| backlog.serving.len());
    let waiting = waiting.unwrap_or(0);
    if waiting <= RELAY_PENDING_ITEMS && !core.blocks.is_paused(id) {
        ctx.resume(id);
    }
    if waiting > 0 {
        if !is_busy {
            let _ = ctx.pull(id);
        }
    } else if let Some(peer) = core.peers.get_mut(index) {
        peer.backlog.take_if(|backlog| backlog.wanted.is_empty() && backlog.reading.is_none());
    }
}

fn begin_answers(core: &Core, ctx: &Ctx<'_>, index: PeerIndex, peer: PeerId) -> Answers {
    let free_bytes = ctx.peer(peer).map_or(0, |view| view.free_bytes());
    Answers { peer, free_bytes, missing: Vec::new(), link: core.link(index) }
}

fn answer(core: &mut Core, ctx: &mut Ctx<'_>, answers: &mut Answers, item: InventoryItem) -> Answered {
    match item.kind {
        InventoryKind::TX => answer_tx(core, ctx, answers, item),
        InventoryKind::BLOCK => answer_block(core, ctx, answers, item),
        InventoryKind::COMPACT_BLOCK => answer_compact(core, ctx, answers, item),
        InventoryKind::FILTERED_BLOCK => refuse_block(core, ctx, answers),
        _ => add_missing(core, ctx, answers, item),
    }
}

fn answer_tx(core: &mut Core, ctx: &mut Ctx<'_>, answers: &mut Answers, item: InventoryItem) -> Answered {
    let link = answers.link;
    if let Some(link) = link {
        core.submissions.requested(item.hash, link);
    }
    let id = core.inventory.id(item.hash);
    let Some(body) = core.pool.get_for(id, link.is_some()) else { return add_missing(core, ctx, answers, item) };
    let sent = match body.frame().cloned() {
        Some(frame) => send_frame(core, ctx, answers, &frame, None),
        // A peer has one message in parts at a time.
        None if blocks::is_reading(core, answers.peer) || large::is_reading(core, answers.peer) => {
            return Answered::Busy;
        }
        None => send_large(core, ctx, answers, id),
    };
    match sent {
        Ok(()) => {}
        Err(RequestError::QueueFull) => return Answered::NoRoom,
        Err(RequestError::TooLargeForPeer) => return add_missing(core, ctx, answers, item),
        Err(_) => return Answered::Closed,
    }
    core.counts.served += 1;
    if let Some(link) = link {
        core.submissions.sent(item.hash, link);
    }
    Answered::Yes
}

/// Sends an encoded answer after those that wait: a transaction, or the compact form of the block with a hash.
fn send_frame(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    answers: &mut Answers,
    frame: &Bytes,
    compact: Option<Hash256>,
) -> Result<(), RequestError> {
    send_missing(core, ctx, answers);
    if frame.len() > answers.free_bytes {
        return Err(RequestError::QueueFull);
    }
    match compact {
        Some(hash) => blocks::send_compact(core, ctx, answers.peer, hash, frame, false)?,
        None => ctx.send_shared(answers.peer, frame)?,
    }
    answers.note_sent(ctx);
    Ok(())
}

/// Begins to send a large transaction after the answers that wait.
fn send_large(core: &mut Core, ctx: &mut Ctx<'_>, answers: &mut Answers, id: Id) -> Result<(), RequestError> {
    send_missing(core, ctx, answers);
    large::send(core, ctx, answers.peer, id)?;
    answers.note_sent(ctx);
    Ok(())
}

fn add_missing(core: &mut Core, ctx: &mut Ctx<'_>, answers: &mut Answers, item: InventoryItem) -> Answered {
    if answers.missing.len() == NOT_FOUND_ITEMS {
        send_missing(core, ctx, answers);
    }
    // A count of up to 1,000 has at most three bytes.
    let len_bytes = HEADER_LEN_BYTES + 3 + (answers.missing.len() + 1) * InventoryItem::LEN_BYTES;
    if len_bytes > answers.free_bytes {
        return Answered::NoRoom;
    }
    answers.missing.push(item);
    Answered::Yes
}

/// Sends the `notfound`, for which the queue has room.
fn send_missing(core: &mut Core, ctx: &mut Ctx<'_>, answers: &mut Answers) {
    if answers.missing.is_empty() {
        return;
    }
    core.counts.not_found += answers.missing.len() as u64;
    let items = Inventory::from_items(answers.missing.drain(..));
    if ctx.send(answers.peer, &MessageRef::NotFound(items.as_ref())).is_err() {
        // Only a peer that is being closed, or one that accepts almost nothing, can refuse it.
        ctx.close(answers.peer, Disconnect::RetryLater);
    }
    answers.note_sent(ctx);
}

fn answer_block(core: &mut Core, ctx: &mut Ctx<'_>, answers: &mut Answers, item: InventoryItem) -> Answered {
    if core.blocks.chain().is_some_and(|chain| chain.get(item.hash).is_none()) {
        return add_missing(core, ctx, answers, item);
    }
    if large::is_reading(core, answers.peer) {
        return Answered::Busy;
    }
    send_missing(core, ctx, answers);
    match blocks::begin(core, ctx, answers.peer, item.hash) {
        Begun::Yes => {
            answers.note_sent(ctx);
            Answered::Yes
        }
        Begun::Busy => Answered::Busy,
        Begun::Refused => refuse_block(core, ctx, answers),
        Begun::Closed => Answered::Closed,
    }
}

/// Answers with the compact block if it is held, recent and paid for. A node accepts a whole block in its place.
fn answer_compact(core: &mut Core, ctx: &mut Ctx<'_>, answers: &mut Answers, item: InventoryItem) -> Answered {
    let is_served = core.blocks.is_recent(item.hash) && blocks::is_compact_used(core, answers.peer);
    let compact = core.blocks.compact.frame(item.hash).filter(|_| is_served);
    let Some(frame) = compact else { return answer_block(core, ctx, answers, item) };
    let Some(price) = blocks::price_of_parts(core, ctx, answers.peer, frame.len() as u64) else {
        return answer_block(core, ctx, answers, item);
    };
    match send_frame(core, ctx, answers, &frame, Some(item.hash)) {
        Ok(()) => {}
        Err(RequestError::QueueFull) => return Answered::NoRoom,
        Err(RequestError::TooLargeForPeer) => return answer_block(core, ctx, answers, item),
        Err(_) => return Answered::Closed,
    }
    blocks::pay_bytes(core, ctx, price, frame.len());
    core.counts.compact_blocks_sent += 1;
    blocks::on_known(core, answers.peer, item.hash);
    Answered::Yes
}

fn refuse_block(core: &mut Core, ctx: &mut Ctx<'_>, answers: &mut Answers) -> Answered {
    send_missing(core, ctx, answers);
    blocks::refuse(core, ctx, answers.peer, b"getdata");
    Answered::Closed
}

impl Answers {
    fn note_sent(&mut self, ctx: &Ctx<'_>) {
        self.free_bytes = ctx.peer(self.peer).map_or(0, |view| view.free_bytes());
    }
}
