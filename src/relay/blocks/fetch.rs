//! Fetching blocks: the choice of an upstream that sends a block, and the change to another one if it is lost or wrong.
//!
//! A block has one source at a time. If the source is lost in the middle, another one continues, and the readers notice
//! nothing. An arriving block belongs to the request with its hash, because an SV Node does not reply to requests that
//! it cannot serve. A source is charged for a wrong block only if all bytes are its own. A link sends its blocks one
//! after the other, so an idle one that has the block is asked first.

use super::Blocks;
use super::flow::{Arriving, Flow, Source};
use super::passages::Stamp;
use super::{admit, pace};
use crate::api::Delivery;
use crate::error::{Disconnect, Misbehavior};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{RELAY_BLOCK_TIMEOUT, RELAY_BUDGET_RESERVE};
use crate::relay::core::Core;
use crate::relay::inventory::PeerIndex;
use crate::relay::peers::Peer;
use crate::relay::transit::{Fault, Transit};
use crate::time::Instant;
use crate::wire::{BlockHeader, Hash256, Header, Inventory, InventoryItem, MessageRef, StreamType};
use bytes::Bytes;

/// Begins to fetch a block for its first reader. Returns whether a source was asked.
pub(super) fn begin(core: &mut Core, ctx: &mut Ctx<'_>, hash: Hash256, reader: PeerId) -> bool {
    core.blocks.flows.push(Flow::new(hash, reader));
    let is_asked = ask(core, ctx, hash);
    if !is_asked {
        core.blocks.flows.retain(|flow| flow.hash != hash);
    }
    is_asked
}

/// Adds a reader to a block in transit. If the reader's own upstream is asked for the block, another one is: it lacks
/// the block.
pub(super) fn join(core: &mut Core, ctx: &mut Ctx<'_>, hash: Hash256, reader: PeerId) {
    let Some(flow) = core.blocks.flow_mut(hash) else { return };
    let awaited = flow.sources.iter().filter(|source| source.stream.is_none()).map(|source| source.peer);
    let awaited: Vec<PeerId> = awaited.collect();
    flow.readers.push(reader);
    core.blocks.passages.join(hash, reader);
    for source in awaited {
        if is_same_node(core, source, reader) {
            fail_over(core, ctx, hash, source);
        }
    }
}

fn is_same_node(core: &Core, one: PeerId, other: PeerId) -> bool {
    let indexes = core.peers.index(one).zip(core.peers.index(other));
    one == other || indexes.is_some_and(|(one, other)| core.peers.are_one_upstream(one, other))
}

/// Requests a block from the next upstream, and if there is a race from a second one.
fn ask(core: &mut Core, ctx: &mut Ctx<'_>, hash: Hash256) -> bool {
    while let Some(peer) = next_source(core, hash) {
        if request(core, ctx, hash, peer) {
            race_for_tip(core, ctx);
            return true;
        }
    }
    false
}

/// Requests a block from an upstream. Returns whether the request is sent; otherwise the upstream counts as failed.
fn request(core: &mut Core, ctx: &mut Ctx<'_>, hash: Hash256, peer: PeerId) -> bool {
    let items = Inventory::from_items([InventoryItem::block(hash)]);
    let is_sent = ctx.send(peer, &MessageRef::GetData(items.as_ref())).is_ok();
    core.blocks.requests += 1;
    let number = core.blocks.requests;
    let Some(flow) = core.blocks.flow_mut(hash) else { return false };
    let Some(lane) = flow.free_lane().filter(|_| is_sent) else {
        flow.failed.push(peer);
        return false;
    };
    flow.sources.push(Source { peer, lane, number, stream: None, asked_at: ctx.now(), paused_at: None });
    true
}

/// Requests the tip also from a second upstream that has it, if the settings say so: its bytes pass if they are first,
/// and it continues at once if the first source is lost.
pub(in crate::relay) fn race_for_tip(core: &mut Core, ctx: &mut Ctx<'_>) {
    let blocks = &core.blocks;
    let Some(hash) = blocks.chain().filter(|_| blocks.is_racing).map(|chain| chain.tip().hash) else { return };
    let Some(&[first]) = blocks.flow(hash).map(|flow| &flow.sources[..]) else { return };
    let is_rival =
        |&(rank, peer): &(Rank, PeerId)| !rank.is_uninformed && !rank.is_busy && !is_same_node(core, first.peer, peer);
    let rival = sources(core, hash).into_iter().filter(is_rival).min_by_key(|&(rank, _)| rank);
    if let Some((_, rival)) = rival
        && request(core, ctx, hash, rival)
    {
        core.counts.blocks_raced += 1;
    }
}

/// The order in which sources are asked, the smallest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Whether no link of the upstream has announced the block. An SV Node does not reply to a request for a block that
    /// it lacks (SV Node 1.2.2, net_processing.cpp ProcessGetData), so a busy upstream that has it is asked before.
    is_uninformed: bool,
    /// Whether the link sends another block first.
    is_busy: bool,
    /// Whether another link of the upstream has announced the block.
    is_informed_by_other: bool,
}

/// Lists the possible sources of a block: the links of upstreams that have not failed and do not read the block.
fn sources(core: &Core, hash: Hash256) -> Vec<(Rank, PeerId)> {
    let Core { peers, blocks, .. } = core;
    let Some(flow) = blocks.flow(hash) else { return Vec::new() };
    let is_among = |indexes: &[PeerIndex], index| {
        indexes.iter().any(|&other| other == index || peers.are_one_upstream(other, index))
    };
    let readers: Vec<PeerIndex> = flow.readers.iter().filter_map(|&reader| peers.index(reader)).collect();
    let upstreams: Vec<(PeerIndex, &Peer)> = peers.iter().filter(|(_, peer)| peer.is_upstream()).collect();
    let has_block = |peer: &Peer| blocks.has_block(peer.id, hash);
    let informed: Vec<PeerIndex> =
        upstreams.iter().filter(|(_, peer)| has_block(peer)).map(|&(index, _)| index).collect();
    let candidates = upstreams.iter().filter(|(index, peer)| !flow.is_spent(peer.id) && !is_among(&readers, *index));
    let ranked = candidates.map(|&(index, peer)| {
        let is_uninformed = !is_among(&informed, index);
        let is_busy = blocks.is_busy_before(peer.id, hash);
        (Rank { is_uninformed, is_busy, is_informed_by_other: !has_block(peer) }, peer.id)
    });
    ranked.collect()
}

/// Returns the next source of a block. The first of equal ones is asked.
fn next_source(core: &Core, hash: Hash256) -> Option<PeerId> {
    sources(core, hash).into_iter().min_by_key(|&(rank, _)| rank).map(|(_, peer)| peer)
}

/// Returns the source of a block that waits behind another block although an idle link has the block, too.
fn late_source(core: &Core, hash: Hash256, now: Instant) -> Option<PeerId> {
    let is_late = |source: &&Source| {
        source.stream.is_none()
            && now >= source.asked_at.plus(RELAY_BLOCK_TIMEOUT)
            && core.blocks.is_busy_before(source.peer, hash)
    };
    let is_idle = |&(rank, _): &(Rank, PeerId)| !rank.is_uninformed && !rank.is_busy;
    let late = core.blocks.flow(hash)?.sources.iter().find(is_late)?;
    sources(core, hash).iter().any(is_idle).then_some(late.peer)
}

/// Chooses how a `block` is delivered that begins to arrive: in parts if one was requested, and from an upstream, whose
/// link is busy with it.
pub(in crate::relay) fn on_source_header(core: &mut Core, ctx: &Ctx<'_>, peer: PeerId, header: &Header) -> Delivery {
    let is_awaited = core.blocks.awaited_from(peer).next().is_some();
    let may_be_late = core.blocks.peers.get_mut(peer).is_some_and(|about| {
        about.sends_requested = false;
        !about.given_up.is_empty()
    });
    if !is_awaited && !may_be_late {
        return if core.is_upstream(peer) { Delivery::UncheckedChunks } else { Delivery::Discard };
    }
    let arriving =
        Arriving { peer, stream: ctx.receiving_stream(), header: *header, begun: Stamp::of(ctx), first: Vec::new() };
    core.blocks.forget_arriving(peer, arriving.stream);
    core.blocks.arriving.push(arriving);
    // `transit` checks the checksum, which it needs for other sources, too.
    Delivery::UncheckedChunks
}

/// Finds the request to which an arriving block belongs, once the block's header is here. Returns the block's hash and
/// its bytes so far; `None` if more have to arrive, or if the block is not awaited.
pub(super) fn recognize(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    peer: PeerId,
    part: Bytes,
    is_last: bool,
) -> Option<(Hash256, Bytes)> {
    let stream = ctx.receiving_stream();
    let at = core.blocks.arriving.iter().position(|block| block.is_from(peer, stream))?;
    let first = &mut core.blocks.arriving[at].first;
    let part = if first.is_empty() && part.len() >= BlockHeader::LEN_BYTES {
        part
    } else {
        first.extend_from_slice(&part);
        if first.len() < BlockHeader::LEN_BYTES {
            if is_last {
                // It is too short for any block.
                core.blocks.arriving.swap_remove(at);
                on_refused(core, ctx, peer);
            }
            return None;
        }
        Bytes::from(std::mem::take(first))
    };
    let Arriving { header, begun, .. } = core.blocks.arriving.swap_remove(at);
    let hash = BlockHeader::decode(part.first_chunk()?).hash();
    let awaited = core.blocks.awaited_from(peer).find(|&(_, awaited)| awaited == hash);
    let was_given_up = core.blocks.peers.get_mut(peer).is_some_and(|about| {
        let was_given_up = about.take_given_up(hash);
        about.sends_requested = awaited.is_some() || was_given_up;
        was_given_up
    });
    let (number, _) = awaited?;
    // A node replies in the order of the requests, so it has skipped the older ones. The reply to a request that was
    // given up and repeated may be that to the first one, which skips none.
    let skipped = core.blocks.awaited_from(peer).filter(|&(older, _)| older < number && !was_given_up);
    let skipped: Vec<(u64, Hash256)> = skipped.collect();
    let is_bound = bind(core, ctx, peer, hash, (header, begun));
    skipped.into_iter().for_each(|(_, hash)| fail_over(core, ctx, hash, peer));
    is_bound.then_some((hash, part))
}

/// Begins or continues a block with a source that sends it. Returns false if another source was asked instead, or if
/// nobody wants the block.
fn bind(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, hash: Hash256, (header, begun): (Header, Stamp)) -> bool {
    let stream = ctx.receiving_stream();
    let height = core.blocks.chain().and_then(|chain| chain.get(hash)).map(|block| block.height);
    let now = ctx.now();
    let Blocks { flows, passages, .. } = &mut core.blocks;
    let Some(flow) = flows.iter_mut().find(|flow| flow.hash == hash) else { return false };
    let Some(source) = flow.sources.iter_mut().find(|source| source.peer == peer) else { return false };
    // Readers need the checksum of a basic header.
    let is_usable = header.checksum.is_some() || header.payload_len > u64::from(u32::MAX);
    let is_accepted = is_usable
        && match &mut flow.transit {
            Some(transit) => transit.continue_with(source.lane, &header).is_ok(),
            None => {
                flow.transit = Some(Transit::new(hash, header));
                flow.begun_at = Some(now);
                passages.begin(hash, height, header.payload_len, begun, &flow.readers);
                true
            }
        };
    if !is_accepted {
        core.counts.blocks_wrong += 1;
        fail_over(core, ctx, hash, peer);
        return false;
    }
    flow.sources_used += 1;
    source.stream = Some(stream);
    admit::refuse_excess(core, ctx, hash);
    if admit::on_length(core, ctx, hash) {
        // Only the end of the link stops the transfer.
        end(core, ctx, hash);
        ctx.abort(peer, Disconnect::RetryLater);
        return false;
    }
    true
}

/// Handles the loss of a peer that may be a source.
pub(in crate::relay) fn on_lost(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId) {
    super::learn::on_lost(core, peer);
    core.blocks.arriving.retain(|block| block.peer != peer);
    let hashes: Vec<Hash256> = core.blocks.flow_from(peer).map(|flow| flow.hash).collect();
    hashes.into_iter().for_each(|hash| fail_over(core, ctx, hash, peer));
}

/// Handles a block that stays incomplete because its connection closes.
pub(in crate::relay) fn on_cut(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, stream: StreamType) {
    core.blocks.forget_arriving(peer, stream);
    if let Some(about) = core.blocks.peers.get_mut(peer) {
        about.sends_unread = false;
    }
    let is_cut = |flow: &&mut Flow| flow.source_of(peer).is_some_and(|source| source.stream == Some(stream));
    let hash = core.blocks.flow_from(peer).find(is_cut).map(|flow| flow.hash);
    if let Some(hash) = hash {
        fail_over(core, ctx, hash, peer);
    }
}

/// Handles a source that does not have the block.
pub(in crate::relay) fn on_not_found(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, hash: Hash256) {
    if core.blocks.awaited_from(peer).any(|(_, awaited)| awaited == hash) {
        fail_over(core, ctx, hash, peer);
    }
}

/// Handles a source that does not serve its oldest request: its `reject` of a `getdata` names no block.
pub(in crate::relay) fn on_refused(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId) {
    let oldest = core.blocks.awaited_from(peer).min().map(|(_, hash)| hash);
    oldest.into_iter().for_each(|hash| fail_over(core, ctx, hash, peer));
}

/// Continues a block without a source that has failed: with the other one of a race, or with the next upstream. If
/// there is none, the readers are cut. Without readers, the block ends.
pub(super) fn fail_over(core: &mut Core, ctx: &mut Ctx<'_>, hash: Hash256, peer: PeerId) {
    let Some(flow) = core.blocks.flow_mut(hash) else { return };
    let Some(source) = flow.source_of(peer) else { return };
    flow.failed.push(peer);
    if flow.transit.as_ref().is_some_and(|transit| !transit.is_behind(source.lane)) {
        flow.gaps.lose();
    }
    change_source(core, ctx, hash, peer);
}

/// Asks another source for a block that waits behind another one although an idle link has it. The present source has
/// not failed, so that it may be asked again.
pub(super) fn move_if_late(core: &mut Core, ctx: &mut Ctx<'_>, hash: Hash256) {
    let Some(peer) = late_source(core, hash, ctx.now()) else { return };
    let Some(flow) = core.blocks.flow_mut(hash) else { return };
    flow.moves += 1;
    change_source(core, ctx, hash, peer);
}

fn change_source(core: &mut Core, ctx: &mut Ctx<'_>, hash: Hash256, peer: PeerId) {
    let Some(flow) = core.blocks.flow_mut(hash) else { return };
    let former: Vec<Source> = flow.sources.extract_if(.., |source| source.peer == peer).collect();
    let (has_readers, has_source) = (!flow.readers.is_empty(), !flow.sources.is_empty());
    let is_awaited = former.iter().any(|source| source.stream.is_none());
    if let Some(about) = core.blocks.peers.get_mut(peer).filter(|_| is_awaited) {
        about.give_up(hash);
    }
    pace::resume(core, ctx, &former);
    core.counts.block_fail_overs += u64::from(has_readers);
    if !has_source && (!has_readers || !ask(core, ctx, hash)) {
        end(core, ctx, hash);
    }
}

/// Handles a wrong block or a wrong source.
pub(super) fn on_fault(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, hash: Hash256, fault: Fault) {
    core.counts.blocks_wrong += 1;
    let Some(flow) = core.blocks.flow_mut(hash) else { return };
    if flow.sources_used == 1 {
        ctx.penalize_for(peer, Misbehavior::InvalidBlock);
    }
    match fault {
        Fault::Differs if !flow.has_differed => {
            flow.has_differed = true;
            fail_over(core, ctx, hash, peer);
        }
        // If two sources differ from the first one, the first one has lied.
        Fault::Differs
        | Fault::OtherBlock
        | Fault::Malformed(_)
        | Fault::WrongLength
        | Fault::WrongMerkleRoot
        | Fault::Mutated
        | Fault::WrongChecksum => end(core, ctx, hash),
    }
}

/// Ends a block that cannot be completed, and closes its readers.
pub(super) fn end(core: &mut Core, ctx: &mut Ctx<'_>, hash: Hash256) {
    let Some(at) = core.blocks.flows.iter().position(|flow| flow.hash == hash) else { return };
    let flow = core.blocks.flows.swap_remove(at);
    core.blocks.passages.abort(hash, flow.counted_sources(ctx.now()), ctx.now());
    pace::resume(core, ctx, &flow.sources);
    if let Some(host) = flow.payer {
        // The block may still arrive.
        admit::charge(core, ctx, host, RELAY_BUDGET_RESERVE);
    }
    for reader in flow.readers {
        if let Some(reader) = core.blocks.peers.get_mut(reader) {
            reader.reading = None;
        }
        core.counts.block_readers_cut += 1;
        ctx.close(reader, Disconnect::RetryLater);
    }
    pace::pull_waiting(core, ctx);
}
