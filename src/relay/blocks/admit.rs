//! Admission: which blocks a peer may request, and the refusal of the others.
//!
//! Upstreams and peers of trusted networks may request every block. The host of any other peer pays for old blocks out
//! of its budget. A recent block is free once for each host. The length of a block that is not here yet is unknown, so
//! such a block is requested from an upstream only while a reserve remains; its length is charged once its header has
//! arrived, even if the peer is closed by then. A further source of a block is not charged: a peer cannot make a source
//! fail.
//!
//! A compact block and single transactions of a block cost their own length, even of a recent block, which stays free
//! as a whole one: it is the answer if they cannot be paid for.

use super::Blocks;
use super::flow::Flow;
use crate::address::Host;
use crate::error::Disconnect;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{RELAY_BUDGET_RESERVE, RELAY_RECENT_BLOCKS, RELAY_SMALL_BLOCK_BYTES, RELAY_TETHERED_READERS};
use crate::relay::core::Core;
use crate::wire::{Hash256, MessageRef, RejectCode, RejectRef};

/// The price of a block for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) enum Price {
    Nothing,
    /// Nothing, because the peer's host requests this recent block for the first time.
    FirstRecent {
        host: Host,
        height: u32,
    },
    /// The length of the answer.
    Length(Host),
}

/// Returns the price of a block for a peer; `None` if the budget of the peer's host is too small.
pub(super) fn price(core: &mut Core, ctx: &Ctx<'_>, peer: PeerId, hash: Hash256) -> Option<Price> {
    let Price::Length(host) = full_price(core, ctx, peer)? else { return Some(Price::Nothing) };
    let now = ctx.now();
    if let Some(height) = core.blocks.recent_height(hash)
        && core.blocks.budgets.is_free(host, height, now)
    {
        return Some(Price::FirstRecent { host, height });
    }
    let needed = core.blocks.len_bytes_of(hash).unwrap_or(RELAY_BUDGET_RESERVE);
    let is_enough = core.blocks.budgets.left(host, now) >= needed;
    core.counts.blocks_over_budget += u64::from(!is_enough);
    is_enough.then_some(Price::Length(host))
}

/// Returns the price of a compact block or of single transactions for a peer; `None` if less than `needed` bytes remain
/// of the budget of the peer's host.
pub(in crate::relay) fn price_of_parts(core: &mut Core, ctx: &Ctx<'_>, peer: PeerId, needed: u64) -> Option<Price> {
    let price = full_price(core, ctx, peer)?;
    let is_enough = match price {
        Price::Length(host) => core.blocks.budgets.left(host, ctx.now()) >= needed,
        Price::Nothing | Price::FirstRecent { .. } => true,
    };
    is_enough.then_some(price)
}

/// Returns the price of an answer that is not free; `None` if the peer is closed.
fn full_price(core: &Core, ctx: &Ctx<'_>, peer: PeerId) -> Option<Price> {
    ctx.peer(peer)?;
    Some(paying_host(core, ctx, peer).map_or(Price::Nothing, Price::Length))
}

/// Returns the host that pays for headers and old blocks of a peer; `None` for an upstream and in a trusted network.
pub(super) fn paying_host(core: &Core, ctx: &Ctx<'_>, peer: PeerId) -> Option<Host> {
    let address = ctx.peer(peer)?.address().ip();
    let is_free = core.is_upstream(peer) || ctx.is_trusted(address);
    (!is_free).then(|| Host::of(address))
}

/// Charges the price of a block that is being sent to a peer. If its length is unknown, returns the host that pays
/// later.
pub(super) fn pay(core: &mut Core, ctx: &Ctx<'_>, price: Price, hash: Hash256) -> Option<Host> {
    let host = payer(core, ctx, price)?;
    match core.blocks.len_bytes_of(hash) {
        Some(len_bytes) => {
            charge(core, ctx, host, len_bytes);
            None
        }
        None => Some(host),
    }
}

/// Pays for an answer of this length in place of a whole block.
pub(in crate::relay) fn pay_bytes(core: &mut Core, ctx: &Ctx<'_>, price: Price, bytes: usize) {
    if let Some(host) = payer(core, ctx, price) {
        charge(core, ctx, host, bytes as u64);
    }
}

/// Returns the host that pays for the length of an answer. The recent block that is free for it is no longer so.
pub(super) fn payer(core: &mut Core, ctx: &Ctx<'_>, price: Price) -> Option<Host> {
    match price {
        Price::Nothing => None,
        Price::FirstRecent { host, height } => {
            core.blocks.budgets.use_free(host, height, ctx.now());
            None
        }
        Price::Length(host) => Some(host),
    }
}

pub(super) fn charge(core: &mut Core, ctx: &Ctx<'_>, host: Host, bytes: u64) {
    core.counts.old_block_bytes = core.counts.old_block_bytes.saturating_add(bytes);
    core.blocks.budgets.charge(host, bytes, ctx.now());
}

/// Returns whether a peer may hold the source of a block that it reads.
pub(super) fn is_tethered(core: &Core, ctx: &Ctx<'_>, peer: PeerId, hash: Hash256) -> bool {
    let blocks = &core.blocks;
    let Some(flow) = blocks.flow(hash) else { return false };
    let is_listed = ctx.peer(peer).is_some_and(|view| blocks.tethered.contains(view.address().ip()));
    let has_tether = |&&reader: &&PeerId| {
        let reading = blocks.peers.get(reader).and_then(|reader| reader.reading);
        reading.is_some_and(|reading| reading.tether.is_some())
    };
    is_listed && flow.readers.iter().filter(has_tether).count() < RELAY_TETHERED_READERS
}

/// Returns whether the upload carries a further reader of a block that is awaited or arrives.
pub(super) fn is_carried(core: &Core, ctx: &Ctx<'_>, peer: PeerId, flow: &Flow) -> bool {
    let Blocks { live, flows, .. } = &core.blocks;
    let max = live.max_readers(flow, flows, ctx.now());
    core.is_upstream(peer) || max.is_none_or(|max| flow.readers.len() < max)
}

/// Refuses the latest readers of a block that begins to arrive if the upload does not carry all.
pub(super) fn refuse_excess(core: &mut Core, ctx: &mut Ctx<'_>, hash: Hash256) {
    let Blocks { live, flows, .. } = &core.blocks;
    let Some(flow) = core.blocks.flow(hash) else { return };
    let Some(max) = live.max_readers(flow, flows, ctx.now()) else { return };
    let leaves = flow.readers.iter().skip(1).rev().filter(|&&reader| !core.is_upstream(reader));
    let excess: Vec<PeerId> = leaves.take(flow.readers.len().saturating_sub(max)).copied().collect();
    excess.into_iter().for_each(|reader| refuse_reader(core, ctx, reader, hash));
}

/// Charges the length of a block that begins to arrive, and refuses the readers whose budgets are too small. Returns
/// whether the rest of the block is not worth its transfer: it is large, over budget, and nobody reads it.
pub(super) fn on_length(core: &mut Core, ctx: &mut Ctx<'_>, hash: Hash256) -> bool {
    let Some(len_bytes) = core.blocks.len_bytes_of(hash) else { return false };
    let Some(flow) = core.blocks.flow_mut(hash) else { return false };
    let (mut first, readers) = (flow.payer.take(), flow.readers.clone());
    let mut is_over = false;
    for reader in readers {
        let reading = core.blocks.peers.get_mut(reader).and_then(|reader| reader.reading.as_mut());
        let Some(host) = reading.and_then(|reading| reading.payer.take()) else { continue };
        let has_begun_fetch = first.take_if(|first| *first == host).is_some();
        let is_enough = core.blocks.budgets.left(host, ctx.now()) >= len_bytes;
        if is_enough || has_begun_fetch {
            charge(core, ctx, host, len_bytes);
        }
        if !is_enough {
            is_over = true;
            core.counts.blocks_over_budget += 1;
            refuse_reader(core, ctx, reader, hash);
        }
    }
    // The peer that has caused the fetch is closed.
    if let Some(host) = first {
        is_over |= core.blocks.budgets.left(host, ctx.now()) < len_bytes;
        charge(core, ctx, host, len_bytes);
    }
    let is_unread = core.blocks.flow(hash).is_some_and(|flow| flow.readers.is_empty());
    is_over && is_unread && len_bytes > RELAY_SMALL_BLOCK_BYTES
}

/// Refuses a block of which nothing was sent to its reader.
fn refuse_reader(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, hash: Hash256) {
    if let Some(flow) = core.blocks.flow_mut(hash) {
        flow.readers.retain(|&reader| reader != peer);
    }
    if let Some(reader) = core.blocks.peers.get_mut(peer) {
        reader.reading = None;
    }
    refuse(core, ctx, peer, b"getdata");
}

/// Refuses a request for a block with a `reject`, and closes the link: an SV Node asks other peers at once only if the
/// link closes.
pub(in crate::relay) fn refuse(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, request: &[u8]) {
    core.counts.blocks_refused += 1;
    let reject = RejectRef {
        message: request,
        code: RejectCode::TOO_BUSY,
        reason: b"the block cannot be served now",
        hash: None,
    };
    let _ = ctx.send(peer, &MessageRef::Reject(reject));
    ctx.close(peer, Disconnect::RetryLater);
}

impl Blocks {
    /// Returns the height of a block that is not old; `None` for all others.
    fn recent_height(&self, hash: Hash256) -> Option<u32> {
        let chain = self.chain.as_ref().filter(|chain| chain.is_best(hash))?;
        let height = chain.get(hash)?.height;
        (chain.tip().height < height + RELAY_RECENT_BLOCKS).then_some(height)
    }

    /// Returns the length of a block that is kept or arrives.
    fn len_bytes_of(&self, hash: Hash256) -> Option<u64> {
        let passing = || self.flow(hash)?.transit.as_ref().map(|transit| transit.header());
        let header = self.kept.get(hash).map(|block| &block.header).or_else(passing)?;
        Some(header.payload_len)
    }
}
