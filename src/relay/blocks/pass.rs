//! Passing blocks on: all readers receive each part of a block in the turn in which it arrives.
//!
//! The upkeep of each second replaces silent sources, and ends complete blocks whose slow readers keep others waiting.
//! The source must send the requested block, and a further source the same bytes as the one before it, before a part of
//! it is passed on. Each part is hashed when the next one arrives, so that the first bytes do not wait for that, and
//! the block's last byte is held until all is checked.

use super::flow::{Flow, Source};
use super::passages::Stamp;
use super::{Blocks, compact, fetch, pace, serve};
use crate::api::Chunk;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{RELAY_BLOCK_LINGER, RELAY_BLOCK_TIMEOUT};
use crate::relay::core::Core;
use crate::time::Instant;
use crate::wire::Hash256;

/// Passes on a part of a block.
pub(in crate::relay) fn on_part(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, chunk: &Chunk<'_>) {
    let (stream, now, is_last) = (ctx.receiving_stream(), ctx.now(), chunk.last().is_some());
    let is_arriving = |flow: &&mut Flow| flow.source_of(peer).is_some_and(|source| source.stream == Some(stream));
    let bound = core.blocks.flow_from(peer).find(is_arriving).map(|flow| flow.hash);
    let found = match bound {
        Some(hash) => Some((hash, chunk.to_bytes())),
        None => fetch::recognize(core, ctx, peer, chunk.to_bytes(), is_last),
    };
    if let Some(about) = core.blocks.peers.get_mut(peer) {
        about.sends_unread = found.is_none() && !is_last;
        // The parts of a bound block count, also while another block arrives on the peer's other stream.
        if bound.is_some() || about.sends_requested {
            about.block_input = Some(now);
        }
    }
    let Some((hash, part)) = found else { return };
    if bound.is_none() {
        compact::end_rebuild(core, ctx, hash);
    }
    let Some(flow) = core.blocks.flow_mut(hash) else { return };
    let Some((source, transit)) = flow.source_of(peer).zip(flow.transit.as_mut()) else { return };
    match transit.push(source.lane, &part) {
        Ok(true) => flow.gaps.progress(now),
        Ok(false) => {}
        Err(fault) => return fetch::on_fault(core, ctx, peer, hash, fault),
    }
    if flow.is_complete() {
        complete(core, ctx, peer, hash);
    } else if is_last {
        // The payload has ended before the block.
        return fetch::fail_over(core, ctx, hash, peer);
    }
    spread(core, ctx, hash);
    pace::settle(core, ctx, hash);
}

/// Ends the transfer of a block that is complete and right. This peer has sent all of it.
fn complete(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, hash: Hash256) {
    let (Blocks { flows, live, passages, .. }, now) = (&mut core.blocks, ctx.now());
    let Some(flow) = flows.iter_mut().find(|flow| flow.hash == hash) else { return };
    flow.completed_at = Some(now);
    live.note(flow, now);
    let (mut sources, counted) = (std::mem::take(&mut flow.sources), flow.counted_sources(now));
    let done: Vec<Source> = sources.extract_if(.., |source| source.peer == peer).collect();
    passages.complete(hash, Stamp::of(ctx), counted);
    core.counts.blocks_relayed += 1;
    pace::resume(core, ctx, &done);
    pace::give_up(core, ctx, hash, sources);
}

/// Handles the write of a block's marked byte.
pub(in crate::relay) fn on_written(core: &mut Core, peer: PeerId, mark: u64, at: Instant) {
    core.blocks.passages.written(peer, mark, at);
}

/// Feeds all readers of a block.
fn spread(core: &mut Core, ctx: &mut Ctx<'_>, hash: Hash256) {
    let readers = core.blocks.flow(hash).map(|flow| flow.readers.clone()).unwrap_or_default();
    readers.into_iter().for_each(|reader| serve::feed(core, ctx, reader));
}

/// Continues the sources that wait for readers whose time has ended.
pub(in crate::relay) fn on_wake(core: &mut Core, ctx: &mut Ctx<'_>) {
    let is_paused = |flow: &&Flow| flow.paused_since().is_some();
    let paused: Vec<Hash256> = core.blocks.flows.iter().filter(is_paused).map(|flow| flow.hash).collect();
    paused.into_iter().for_each(|hash| pace::settle(core, ctx, hash));
}

/// Replaces the sources that have been silent for too long, or that send another block first while an idle link has the
/// block, and asks a second source if there is a race.
pub(in crate::relay) fn keep_up(core: &mut Core, ctx: &mut Ctx<'_>) {
    let now = ctx.now();
    core.blocks.passages.expire(now);
    // A source sends the requested blocks one after the other, so it is silent only if none of them arrives.
    let is_silent = |blocks: &Blocks, source: Source| {
        let input = blocks.peers.get(source.peer).and_then(|about| about.block_input);
        let last = input.map_or(source.asked_at, |input| input.max(source.asked_at));
        !blocks.is_paused(source.peer) && now >= last.plus(RELAY_BLOCK_TIMEOUT)
    };
    let hashes: Vec<Hash256> = core.blocks.flows.iter().map(|flow| flow.hash).collect();
    for hash in hashes {
        let Some(flow) = core.blocks.flow(hash) else { continue };
        let silent = flow.sources.iter().filter(|&&source| is_silent(&core.blocks, source));
        let silent: Vec<PeerId> = silent.map(|source| source.peer).collect();
        for peer in silent {
            fetch::fail_over(core, ctx, hash, peer);
        }
        fetch::move_if_late(core, ctx, hash);
    }
    fetch::race_for_tip(core, ctx);
    if !core.blocks.waiting.is_empty() {
        let is_over = |flow: &&Flow| flow.completed_at.is_some_and(|at| now >= at.plus(RELAY_BLOCK_LINGER));
        let over: Vec<Hash256> = core.blocks.flows.iter().filter(is_over).map(|flow| flow.hash).collect();
        over.into_iter().for_each(|hash| fetch::end(core, ctx, hash));
        // Some may have waited for too long.
        pace::pull_waiting(core, ctx);
    }
    let all: Vec<Hash256> = core.blocks.flows.iter().map(|flow| flow.hash).collect();
    for hash in all {
        pace::settle(core, ctx, hash);
        spread(core, ctx, hash);
    }
}
