//! The pace of a block in transit: its window, its source, and the peers that wait for its end.
//!
//! The window drops the bytes that no reader may still hold. While it is full, the source is not read. *Tethered*
//! readers may hold it for as long as they read at a minimum rate. All others may hold it for a limited time in
//! total, because a lost packet would otherwise cut a healthy reader; see
//! [`RELAY_READER_GRACE`](crate::limits::RELAY_READER_GRACE). A reader that the window has passed is closed at once,
//! so that there is no rule for readers that stay in its last part. A complete block ends once it is kept or has no
//! readers. Nothing here sends.

use super::Blocks;
use super::flow::Source;
use super::kept::KeptBlock;
use crate::bugs::canary;
use crate::handler::Ctx;
use crate::limits::{RELAY_READER_GRACE, RELAY_WINDOW_BYTES};
use crate::relay::core::Core;
use crate::time::Instant;
use crate::wire::Hash256;
use std::time::Duration;

/// Drops the bytes that all readers have passed, keeps or ends a complete block, and pauses or resumes its source.
pub(super) fn settle(core: &mut Core, ctx: &mut Ctx<'_>, hash: Hash256) {
    let now = ctx.now();
    let blocks = &mut core.blocks;
    let Some(at) = blocks.flows.iter().position(|flow| flow.hash == hash) else { return };
    let flow = &mut blocks.flows[at];
    let is_small = flow.is_kept_whole(&blocks.kept);
    if flow.is_complete() && (is_small || flow.readers.is_empty()) {
        let flow = blocks.flows.swap_remove(at);
        if let (true, Some(transit)) = (is_small, flow.transit) {
            let header = *transit.header();
            let (window, offsets) = transit.into_parts();
            blocks.kept.insert(hash, KeptBlock { header, window, offsets });
        }
        return pull_waiting(core, ctx);
    }
    // Nobody reads a large block, so its slot is free for another. Bytes that still arrive are ignored. A request keeps
    // the slot until the block's length is known, so that peers that request and close are charged for it.
    let is_idle = flow.readers.is_empty() && !is_small && !flow.is_complete() && !flow.is_awaited();
    if is_idle {
        let flow = blocks.flows.swap_remove(at);
        blocks.passages.abort(hash, flow.counted_sources(now), now);
        give_up(core, ctx, hash, flow.sources);
        return pull_waiting(core, ctx);
    }
    if is_small {
        return;
    }
    charge(blocks, at, now);
    let is_full = trim(blocks, at);
    let before = blocks.flows[at].sources.clone();
    blocks.flows[at].sources.iter_mut().for_each(|source| source.paused_at = is_full.then_some(now));
    if !is_full {
        return resume(core, ctx, &before);
    }
    before.iter().filter(|source| source.paused_at.is_none()).for_each(|source| ctx.pause(source.peer));
    ctx.wake_at(now.plus(RELAY_READER_GRACE));
}

/// Charges the readers in the older half of the window for the time for which the source has waited.
fn charge(blocks: &mut Blocks, at: usize, now: Instant) {
    let Blocks { flows, peers, .. } = blocks;
    let flow = &mut flows[at];
    let Some(transit) = &flow.transit else { return };
    let Some(since) = flow.paused_since() else { return };
    if canary!(SourceHeld) {
        return;
    }
    let (oldest, end) = (transit.window().oldest(), transit.window().end());
    let middle = oldest + (end - oldest) / 2;
    let (time, mut is_untethered) = (now.since(since), false);
    for &reader in &flow.readers {
        let reading = peers.get_mut(reader).and_then(|reader| reader.reading.as_mut());
        if let Some(reading) = reading.filter(|reading| reading.at < middle) {
            is_untethered |= reading.may_hold(flow) && reading.hold(time);
        }
    }
    flow.held += if is_untethered { time } else { Duration::ZERO };
}

/// Drops the bytes that no reader may still hold. Returns whether the window is full nevertheless.
fn trim(blocks: &mut Blocks, at: usize) -> bool {
    let Blocks { flows, peers, .. } = blocks;
    let flow = &mut flows[at];
    let readings = flow.readers.iter().filter_map(|&reader| peers.get(reader)?.reading);
    let holding = readings.filter(|reading| reading.may_hold(flow));
    let keep_from = holding.map(|reading| reading.at).min().unwrap_or(u64::MAX);
    let Some(transit) = &mut flow.transit else { return false };
    transit.window_mut().trim(RELAY_WINDOW_BYTES, keep_from);
    transit.window().retained_bytes() > RELAY_WINDOW_BYTES
}

/// Reads former or present sources again, unless another block or their own requests still pause them.
pub(super) fn resume(core: &Core, ctx: &mut Ctx<'_>, sources: &[Source]) {
    for source in sources.iter().filter(|source| source.paused_at.is_some()) {
        if !core.blocks.is_paused(source.peer) && !core.is_paused_for_requests(source.peer) {
            ctx.resume(source.peer);
        }
    }
}

/// Notes that nobody reads what these former sources of a block still send.
pub(super) fn give_up(core: &mut Core, ctx: &mut Ctx<'_>, hash: Hash256, sources: Vec<Source>) {
    for source in &sources {
        let Some(about) = core.blocks.peers.get_mut(source.peer) else { continue };
        if source.stream.is_some() {
            about.sends_unread = true;
        } else {
            about.give_up(hash);
        }
    }
    resume(core, ctx, &sources);
}

/// Pulls the peers that wait for a block. Those that still have to wait do so again.
pub(super) fn pull_waiting(core: &mut Core, ctx: &mut Ctx<'_>) {
    for peer in std::mem::take(&mut core.blocks.waiting) {
        if let Some(reader) = core.blocks.peers.get_mut(peer) {
            reader.is_waiting = false;
        }
        let _ = ctx.pull(peer);
    }
}
