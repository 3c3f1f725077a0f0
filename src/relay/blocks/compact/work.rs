//! The work on the newest compact block: it is rebuilt from the pool, a part in each turn.
//!
//! A rebuilt block is kept, so that requests for it, and for single transactions of it, need no fetch. If few
//! transactions are missing, those that were requested from other peers have 20 ms to arrive, and then the block's
//! announcer is asked for the rest. A block that cannot be rebuilt is served as if it had no compact form. Only the
//! newest block is rebuilt, and only until it begins to pass as a whole one; if it is rebuilt before, the peers that
//! wait for the whole one receive it.

use super::ask;
use super::pending::Job;
use super::rebuild::{Assembled, Assembly, Built, Indexed, Rebuild};
use crate::handler::Ctx;
use crate::limits::{
    HEADER_LEN_BYTES, RELAY_COMPACT_PAUSE, RELAY_COMPACT_PAUSES, RELAY_PREFILLED_BYTES, RELAY_REBUILD_BODIES,
    RELAY_REBUILD_BYTES, RELAY_REQUESTED_TXS,
};
use crate::relay::blocks::kept::KeptBlock;
use crate::relay::blocks::{pace, serve};
use crate::relay::core::Core;
use crate::relay::event::Rebuilt;
use crate::relay::window::Window;
use crate::time::Instant;
use crate::wire::siphash::SipKey;
use crate::wire::{CompactBlockRef, GetBlockTxn, Hash256, Header, MessageRef, TxRef};
use bytes::Bytes;
use rand::Rng;

/// The continuation of a job.
enum Next {
    At(Instant),
    Reply,
    End(Option<Built>),
}

/// Rebuilds a block whose compact form is held, from the next turn on: the announcement is written first. Another block
/// is given up.
pub(super) fn begin(core: &mut Core, ctx: &mut Ctx<'_>, hash: Hash256) {
    let is_useless = core.blocks.kept.max_bytes() == 0 || core.blocks.kept.get(hash).is_some();
    if is_useless || core.blocks.flow(hash).is_some_and(|flow| flow.transit.is_some()) {
        return;
    }
    (core.blocks.compact.due, core.blocks.compact.job) = (Some(hash), None);
    ctx.wake_at(ctx.now());
}

/// Gives up the block because it begins to pass, and answers the requests for it.
pub(in crate::relay) fn end(core: &mut Core, ctx: &mut Ctx<'_>, hash: Hash256) {
    let compact = &mut core.blocks.compact;
    if compact.rebuilt() == Some(hash) {
        (compact.due, compact.job) = (None, None);
        ask::resolve(core, ctx);
    }
}

/// Begins with the block that is due, and answers the requests for one that was given up.
fn begin_due(core: &mut Core, ctx: &mut Ctx<'_>) {
    let Some(hash) = core.blocks.compact.due.take() else { return };
    let index_key = SipKey { k0: ctx.rng().next_u64(), k1: ctx.rng().next_u64() };
    let rebuild = core.blocks.compact.payload(hash).and_then(|payload| {
        let block = CompactBlockRef::decode(&payload).ok()?;
        Rebuild::new(&block, &payload, index_key)
    });
    let (cursor, next_at) = (core.pool.first_number(), ctx.now());
    core.blocks.compact.job =
        rebuild.map(|rebuild| Job { hash, rebuild, cursor, pauses: 0, next_at, is_asked: false, assembly: None });
    ask::resolve(core, ctx);
}

/// Continues to rebuild the block, as far as one turn allows.
pub(in crate::relay) fn advance(core: &mut Core, ctx: &mut Ctx<'_>) {
    begin_due(core, ctx);
    let Some(mut job) = core.blocks.compact.job.take() else { return };
    match step(core, ctx, &mut job) {
        Next::At(at) => {
            ctx.wake_at(at);
            core.blocks.compact.job = Some(job);
        }
        Next::Reply => core.blocks.compact.job = Some(job),
        Next::End(built) => {
            if let Some(built) = built {
                keep(core, ctx, &job, built);
            }
            ask::resolve(core, ctx);
        }
    }
}

fn step(core: &mut Core, ctx: &mut Ctx<'_>, job: &mut Job) -> Next {
    match job.rebuild.index(RELAY_REBUILD_BYTES) {
        Indexed::Part => return Next::At(ctx.now()),
        Indexed::All => {}
        Indexed::Repeated => return Next::End(None),
    }
    if job.assembly.is_none() {
        match match_bodies(core, ctx, job) {
            Some(next) => return next,
            None => job.assembly = Assembly::new(&job.rebuild),
        }
    }
    let Some(assembly) = &mut job.assembly else { return Next::End(None) };
    match assembly.advance(&job.rebuild, RELAY_REBUILD_BYTES) {
        Assembled::Part => Next::At(ctx.now()),
        Assembled::Whole(built) => Next::End(Some(built)),
        Assembled::Wrong => {
            core.counts.compact_blocks_wrong += 1;
            Next::End(None)
        }
    }
}

/// Looks for the block's transactions in the next part of the pool. Returns `None` once none is missing.
fn match_bodies(core: &mut Core, ctx: &mut Ctx<'_>, job: &mut Job) -> Option<Next> {
    if job.is_asked {
        return (job.rebuild.missing_len() > 0).then_some(Next::Reply);
    }
    if ctx.now() < job.next_at {
        return Some(Next::At(job.next_at));
    }
    let (frames, cursor) = core.pool.frames_from(job.cursor, RELAY_REBUILD_BODIES);
    frames.for_each(|(txid, frame)| job.rebuild.offer(txid, || body_of(frame)));
    job.cursor = cursor;
    if job.rebuild.is_too_long() {
        return Some(Next::End(None));
    }
    if job.rebuild.missing_len() == 0 {
        return None;
    }
    let is_end = cursor == core.pool.next_number();
    Some(if is_end { await_missing(core, ctx, job) } else { Next::At(ctx.now()) })
}

/// Waits for requested transactions, and then requests the missing ones from the block's announcer.
fn await_missing(core: &mut Core, ctx: &mut Ctx<'_>, job: &mut Job) -> Next {
    let missing = job.rebuild.missing_len();
    if missing > RELAY_REQUESTED_TXS || ask::is_nearly_all(missing, job.rebuild.len()) {
        return Next::End(None);
    }
    if job.pauses < RELAY_COMPACT_PAUSES && core.requests.len() > 0 {
        job.pauses += 1;
        job.next_at = ctx.now().plus(RELAY_COMPACT_PAUSE);
        return Next::At(job.next_at);
    }
    let request = GetBlockTxn::from_indexes(job.hash, job.rebuild.missing());
    job.is_asked = ask::for_this_side(core, ctx, &request);
    if job.is_asked { Next::Reply } else { Next::End(None) }
}

/// Keeps a rebuilt block, and sends it to the peers that wait for the whole one. In its compact form, the transactions
/// that were requested are prefilled.
fn keep(core: &mut Core, ctx: &mut Ctx<'_>, job: &Job, built: Built) {
    let mut window = Window::new(built.header.payload_len);
    window.push(built.payload);
    window.release();
    let block = KeptBlock { header: built.header, window, offsets: built.offsets };
    if !core.blocks.kept.fits(block.bytes()) {
        return;
    }
    core.blocks.kept.insert(job.hash, block);
    core.counts.compact_blocks_rebuilt += 1;
    let rebuilt = match job.rebuild.fetched().count() {
        0 => Rebuilt::FromPool,
        requested => Rebuilt::WithRequested(requested as u32),
    };
    core.counts.compact_blocks_completed += u64::from(rebuilt != Rebuilt::FromPool);
    core.blocks.passages.rebuilt(job.hash, rebuilt);
    serve::feed_kept(core, ctx, job.hash);
    if let Some(payload) = core.blocks.compact.payload(job.hash)
        && let Ok(block) = CompactBlockRef::decode(&payload)
    {
        let mut free = RELAY_PREFILLED_BYTES;
        let mut prefilled: Vec<(u32, TxRef<'_>)> = Vec::new();
        for (position, body) in job.rebuild.fetched() {
            let fits = body.len() <= free;
            if fits && let Ok(tx) = TxRef::decode(body) {
                free -= body.len();
                prefilled.push((position, tx));
            }
        }
        if !prefilled.is_empty() {
            let block = block.with_prefilled(&prefilled);
            core.blocks.compact.set_prefilled(job.hash, ctx.encode(&MessageRef::CmpctBlock(block.as_ref())));
        }
    }
    pace::pull_waiting(core, ctx);
}

/// Returns the transaction in a frame of the pool.
fn body_of(frame: &Bytes) -> Bytes {
    let header = frame.first_chunk::<HEADER_LEN_BYTES>().map_or(HEADER_LEN_BYTES, Header::len_of);
    frame.slice(header.min(frame.len())..)
}
