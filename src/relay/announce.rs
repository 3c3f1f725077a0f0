//! Announcing: each visit of the rotation brings one peer from its cursor to the head of the log.
//!
//! Peers with the same cursor, none of which has announced any of the transactions, share one encoded frame. A peer
//! whose queue does not drain receives nothing until it is empty, and then one larger announcement. Upstreams also
//! receive the submitted transactions, which other peers never do.

use super::batch::Batch;
use super::body::Body;
use super::core::{Core, Timer};
use super::fanout::Visit;
use super::hops::Marked;
use super::inventory::{Entry, PeerIndex, Record};
use super::link::UpstreamLink;
use super::peers::Role;
use crate::bugs::canary;
use crate::error::RequestError;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{RELAY_INV_ITEMS, RELAY_WAITING_BYTES};
use crate::time::Instant;
use crate::wire::{Hash256, Inventory, InventoryItem, MessageRef};
use bytes::Bytes;
use std::ops::Range;

/// Makes the visits of one turn. The upstreams are visited first.
pub(super) fn run_fanout(core: &mut Core, ctx: &mut Ctx<'_>) {
    let now = ctx.now();
    let last = last_upstream(core);
    for at in 0..core.submitting.len() {
        let index = core.submitting[at];
        visit(core, ctx, index, (last == Some(index)).then(|| core.inventory.log().head()));
    }
    let mut remaining = core.fanout.begin_slice(now, ctx.busy(), core.inventory.log().head());
    loop {
        match core.fanout.next(remaining, now) {
            Visit::Peer(index, passed) => {
                remaining -= 1;
                visit(core, ctx, index, passed);
            }
            Visit::NextTurn => return ctx.wake_at(now),
            Visit::Wait(until) => return Timer::Pace.set(ctx, until),
            Visit::Done => return,
        }
    }
}

/// Returns the last upstream that needs an announcement, if there are no leaf peers to be visited after it.
fn last_upstream(core: &Core) -> Option<PeerIndex> {
    if !core.fanout.is_empty() {
        return None;
    }
    let needs_any = |index: &PeerIndex| {
        let Some(peer) = core.peers.get(*index) else { return false };
        let Role::Upstream { number, .. } = peer.role else { return false };
        let from = peer.cursor.max(core.inventory.log().tail());
        (from..core.inventory.log().head()).any(|position| record_for_upstream(core, position, number).is_some())
    };
    core.submitting.iter().rev().copied().find(needs_any)
}

/// Brings a peer up to date if its queue is short. If `passed` is a position, this is the last peer to pass it.
fn visit(core: &mut Core, ctx: &mut Ctx<'_>, index: PeerIndex, passed: Option<u64>) {
    let head = core.inventory.log().head();
    let last = passed.map_or(0..0, |passed| std::mem::replace(&mut core.last_passed, passed)..passed);
    let Some(peer) = core.peers.get_mut(index).filter(|peer| peer.cursor < head && !peer.is_behind) else { return };
    let Some(view) = ctx.peer(peer.id) else { return };
    if view.waiting_bytes() > RELAY_WAITING_BYTES {
        peer.is_behind = true;
        core.behind += 1;
        return;
    }
    announce(core, ctx, index, last);
}

/// Handles a peer's empty queue.
pub(super) fn on_empty_queue(core: &mut Core, ctx: &mut Ctx<'_>, id: PeerId) {
    if core.behind == 0 {
        return;
    }
    let Some(index) = core.peers.index(id) else { return };
    let Some(peer) = core.peers.get_mut(index).filter(|peer| peer.is_behind) else { return };
    peer.is_behind = false;
    core.behind -= 1;
    announce(core, ctx, index, 0..0);
}

/// Sends everything between a peer's cursor and the head, as far as its queue has room. The peer is the last
/// receiver of the positions `last`.
fn announce(core: &mut Core, ctx: &mut Ctx<'_>, index: PeerIndex, last: Range<u64>) {
    let (head, tail) = (core.inventory.log().head(), core.inventory.log().tail());
    loop {
        let Some(peer) = core.peers.get_mut(index) else { return };
        if peer.cursor < tail {
            core.counts.announcements_lost += tail - peer.cursor;
            peer.cursor = tail;
        }
        let (id, role, from) = (peer.id, peer.role, peer.cursor);
        let to = head.min(from + RELAY_INV_ITEMS as u64);
        if from == to {
            return;
        }
        let last = last.start.max(from)..last.end.min(to);
        let sent = match role {
            Role::Leaf => announce_to_leaf(core, ctx, index, id, from..to, last),
            Role::Upstream { number, .. } => announce_to_upstream(core, ctx, index, number, from..to, last),
        };
        let Some(peer) = core.peers.get_mut(index) else { return };
        let is_leaf = !peer.is_upstream();
        match sent {
            Ok(()) if canary!(AnnouncementRepeated) && is_leaf && from < to - 1 => peer.cursor = to - 1,
            Ok(()) => peer.cursor = to,
            Err(RequestError::QueueFull) => {
                peer.is_behind = true;
                core.behind += 1;
                return;
            }
            // The peer is being closed.
            Err(_) => return,
        }
    }
}

// --- Leaf peers -----------------------------------------------------------------------------------------------------

fn announce_to_leaf(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    index: PeerIndex,
    id: PeerId,
    range: Range<u64>,
    last: Range<u64>,
) -> Result<(), RequestError> {
    let first = core.first_accepted.max(range.start)..range.end;
    let revision = core.inventory.revision();
    let is_current = |batch: &Batch| batch.range == range && batch.revision == revision;
    if !core.batch.as_ref().is_some_and(is_current) {
        core.batch = Some(Batch::encode(&core.inventory, ctx, range.clone(), None));
        core.counts.invs_encoded += 1;
    }
    let Some(batch) = &core.batch else { return Ok(()) };
    let own;
    let batch = if batch.is_announced_by(index) {
        own = Batch::encode(&core.inventory, ctx, range.clone(), Some(index));
        core.counts.invs_encoded += 1;
        &own
    } else {
        batch
    };
    let (frame, items, lost) = (batch.frame.clone(), batch.items, batch.lost);
    if items > 0 {
        let [first, last] = [first, last].map(|positions| {
            let own = batch.own.iter().filter(|position| positions.contains(position)).count();
            // A peer is no receiver of a transaction that its message does not contain.
            let contained = positions.filter(|position| batch.gaps.binary_search(position).is_err());
            let (run, others) = first_run(contained);
            core.counts.hops_unmeasured += others + own as u64;
            run
        });
        send_measured(core, ctx, id, &frame, first, last)?;
        core.first_accepted = core.first_accepted.max(range.end);
        core.counts.invs_sent += 1;
        core.counts.inv_items_sent += items;
    }
    core.counts.announcements_lost += lost;
    Ok(())
}

/// Returns the first run of consecutive positions, and the number of the others. The positions are in order.
fn first_run(mut positions: impl Iterator<Item = u64>) -> (Range<u64>, u64) {
    let Some(begin) = positions.next() else { return (0..0, 0) };
    let (mut run, mut others) = (begin..begin + 1, 0);
    for position in positions {
        if position == run.end {
            run.end += 1;
        } else {
            others += 1;
        }
    }
    (run, others)
}

/// Sends an announcement, and measures it if its receiver is the first or the last one of some positions.
fn send_measured(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    id: PeerId,
    frame: &Bytes,
    first: Range<u64>,
    last: Range<u64>,
) -> Result<(), RequestError> {
    if first.is_empty() && last.is_empty() {
        return ctx.send_shared(id, frame);
    }
    let (mark, displaced) = core.marks.add(Marked { queued: ctx.now(), first, last });
    core.counts.hops_unmeasured += displaced;
    let Err(error) = ctx.send_marked(id, frame, mark) else { return Ok(()) };
    let unmeasured = core.marks.take(mark).map_or(0, |marked| marked.hops());
    if !matches!(error, RequestError::TooManyMarks) {
        return Err(error);
    }
    ctx.send_shared(id, frame)?;
    core.counts.hops_unmeasured += unmeasured;
    Ok(())
}

// --- Upstreams --------------------------------------------------------------------------------------------------

/// Announces a range to an upstream's submitting link, or sends the transactions themselves.
fn announce_to_upstream(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    index: PeerIndex,
    number: u16,
    range: Range<u64>,
    last: Range<u64>,
) -> Result<(), RequestError> {
    let Some(link) = core.link(index) else { return Err(RequestError::NoSuchPeer) };
    let mut hashes = Vec::new();
    for position in range {
        let Some((hash, is_submission)) = record_for_upstream(core, position, number) else { continue };
        let body = core.pool.get(core.inventory.id(hash)).filter(|_| core.config.push);
        let frame = body.and_then(Body::frame).cloned();
        let Some(frame) = frame else {
            hashes.push((hash, is_submission, position));
            continue;
        };
        // The order of announcements is kept: those before this transaction are sent first.
        send_announcement(core, ctx, link, &mut hashes, 0..0)?;
        // If the next message does not fit, these announcements are not repeated.
        if let Some(peer) = core.peers.get_mut(index) {
            peer.cursor = position;
        }
        let [first, last] = [position >= first_of(core, is_submission), last.contains(&position)]
            .map(|is_measured| if is_measured { position..position + 1 } else { 0..0 });
        send_measured(core, ctx, link.peer, &frame, first, last)?;
        note_sent(core, is_submission, position);
        core.counts.served += 1;
        if let Some(peer) = core.peers.get_mut(index) {
            peer.cursor = position + 1;
        }
        if is_submission {
            core.submissions.announced(hash, link);
            core.submissions.sent(hash, link);
        }
    }
    send_announcement(core, ctx, link, &mut hashes, last)
}

/// Returns the transaction at a position and whether it is submitted, if this upstream needs its announcement.
fn record_for_upstream(core: &Core, position: u64, number: u16) -> Option<(Hash256, bool)> {
    let (slot, is_submission) = match core.inventory.log().get(position) {
        Record::Accepted(slot) => (slot, false),
        Record::Submitted(slot) => (slot, true),
        Record::Withdrawn | Record::Lost => return None,
    };
    let entry = core.inventory.get(slot)?;
    // The upstreams have received a submitted transaction from its own position on.
    let is_needed = (is_submission || !entry.is_submitted) && !is_known_to(core, entry, number);
    is_needed.then_some((entry.hash, is_submission))
}

/// Returns whether one of the upstream's links has announced the transaction.
fn is_known_to(core: &Core, entry: &Entry, number: u16) -> bool {
    let is_of = |role| matches!(role, Role::Upstream { number: of, .. } if of == number);
    entry.announcers().any(|announcer| core.peers.get(announcer).is_some_and(|peer| is_of(peer.role)))
}

fn send_announcement(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    link: UpstreamLink,
    hashes: &mut Vec<(Hash256, bool, u64)>,
    last: Range<u64>,
) -> Result<(), RequestError> {
    if hashes.is_empty() {
        return Ok(());
    }
    let items = Inventory::from_items(hashes.iter().map(|&(hash, ..)| InventoryItem::tx(hash)));
    let frame = ctx.encode(&MessageRef::Inv(items.as_ref()));
    let firsts = hashes.iter().filter(|&&(_, is_submission, position)| position >= first_of(core, is_submission));
    let (first, others) = first_run(firsts.map(|&(.., position)| position));
    let (last, other_lasts) = first_run(hashes.iter().map(|&(.., position)| position).filter(|at| last.contains(at)));
    core.counts.hops_unmeasured += others + other_lasts;
    send_measured(core, ctx, link.peer, &frame, first, last)?;
    core.counts.invs_sent += 1;
    core.counts.inv_items_sent += hashes.len() as u64;
    for (hash, is_submission, position) in hashes.drain(..) {
        note_sent(core, is_submission, position);
        if is_submission {
            core.submissions.announced(hash, link);
        }
    }
    Ok(())
}

/// Returns the position below which another receiver was the first one.
fn first_of(core: &Core, is_submission: bool) -> u64 {
    if is_submission { core.first_submitted } else { core.first_accepted }
}

/// Notes that an upstream has received a position.
fn note_sent(core: &mut Core, is_submission: bool, position: u64) {
    let first = if is_submission { &mut core.first_submitted } else { &mut core.first_accepted };
    *first = (*first).max(position + 1);
}

// --- Measurements -----------------------------------------------------------------------------------------------

/// Handles the write of a marked announcement.
pub(super) fn on_written(core: &mut Core, mark: u64, at: Instant) {
    let Some(Marked { queued, first, last }) = core.marks.take(mark) else { return };
    core.hops.queued.record(at.since(queued));
    for position in first {
        if let Some((hop, lag)) = core.inventory.log().age(position, at) {
            core.hops.record_first(hop, lag);
        }
    }
    for position in last {
        if let Some((hop, lag)) = core.inventory.log().age(position, at) {
            core.hops.record_last(hop, lag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_run_of_positions_is_found_and_the_others_are_counted() {
        for (positions, run, others) in [
            (&[][..], 0..0, 0),
            (&[7], 7..8, 0),
            (&[3, 4, 5], 3..6, 0),
            (&[3, 4, 6, 7, 9], 3..5, 3),
            (&[1, 3, 5], 1..2, 2),
        ] {
            assert_eq!(first_run(positions.iter().copied()), (run, others), "{positions:?}");
        }
    }
}
