//! Headers: which upstream is asked for them, and the steps of those that arrive.
//!
//! Each upstream is asked once it is ready, and again while it has more headers than one message holds. Only upstreams
//! extend the chain.

use super::{announce, learn};
use crate::error::Misbehavior;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{RELAY_HEADERS_PAUSE, RELAY_HEADERS_TIMEOUT};
use crate::protocol::PROTOCOL_VERSION;
use crate::relay::core::Core;
use crate::relay::headers::{HeaderChain, HeaderError, MAX_HEADERS, TipChange};
use crate::wire::{BlockHeader, Hash256, HeadersRef, Locator, MessageRef};

/// Asks a ready upstream for the headers that follow ours.
pub(in crate::relay) fn on_upstream_ready(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId) {
    ask(core, ctx, peer);
}

/// Handles the announcement of a block by an upstream: its headers are requested if they are unknown.
pub(in crate::relay) fn on_block_announced(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, hash: Hash256) {
    let Some(chain) = core.blocks.chain() else { return learn::on_announced(core, ctx, peer, hash) };
    match chain.get(hash) {
        Some(_) => announce::on_has(core, peer, hash),
        None => {
            let asked = core.blocks.peers.get(peer).and_then(|about| about.asked);
            if asked.is_none_or(|asked| ctx.now() >= asked.plus(RELAY_HEADERS_PAUSE)) {
                ask(core, ctx, peer);
            }
        }
    }
}

/// Asks all upstreams for the headers that follow ours.
fn ask_all(core: &mut Core, ctx: &mut Ctx<'_>) {
    let submitting = core.peers.iter().filter(|(_, peer)| peer.is_upstream() && !peer.mute.listening);
    let peers: Vec<PeerId> = submitting.map(|(_, peer)| peer.id).collect();
    peers.into_iter().for_each(|peer| ask(core, ctx, peer));
}

/// Asks again the upstreams that have not replied.
pub(in crate::relay) fn ask_again(core: &mut Core, ctx: &mut Ctx<'_>) {
    learn::keep_up(core, ctx);
    let now = ctx.now();
    let is_late = |peer: PeerId| {
        let asked = core.blocks.peers.get(peer).and_then(|peer| peer.asked);
        asked.is_some_and(|asked| now >= asked.plus(RELAY_HEADERS_TIMEOUT))
    };
    let upstreams = core.peers.iter().filter(|(_, peer)| peer.is_upstream());
    let late: Vec<PeerId> = upstreams.map(|(_, peer)| peer.id).filter(|&peer| is_late(peer)).collect();
    late.into_iter().for_each(|peer| ask(core, ctx, peer));
}

/// Requests the headers after ours.
pub(super) fn ask(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId) {
    let Some(chain) = core.blocks.chain() else { return };
    // The begin is one block below the tip, so that a node with the same tip replies, too (SV Node 1.2.2,
    // net_processing.cpp SendMessages).
    let below_tip = chain.at(chain.tip().height).map(|header| header.prev_hash).filter(|&hash| chain.is_best(hash));
    let hashes = below_tip.into_iter().chain(chain.locator());
    let locator = Locator::from_hashes(PROTOCOL_VERSION as i32, hashes, Hash256::ZERO);
    if ctx.send(peer, &MessageRef::GetHeaders(locator.as_ref())).is_ok()
        && let Some(asked) = core.blocks.peer_mut(peer)
    {
        asked.asked = Some(ctx.now());
    }
}

/// Stores an upstream's headers, and announces a new tip.
pub(in crate::relay) fn on_headers(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, headers: HeadersRef<'_>) {
    if core.blocks.chain().is_none() {
        if learn::on_headers(core, ctx, peer, headers) {
            ask_all(core, ctx);
        }
        return;
    }
    let was_asked = core.blocks.peer_mut(peer).is_some_and(|about| about.asked.take().is_some());
    let accepted = accept(core, ctx, peer, headers.iter().map(|listed| listed.header));
    let is_full = headers.len() as u32 >= MAX_HEADERS;
    match accepted.error {
        // The headers between are requested once. If the reply is an orphan, too, the next announcement asks again.
        Some(HeaderError::Orphan) if !was_asked => ask(core, ctx, peer),
        None if is_full => ask(core, ctx, peer),
        Some(_) | None => {}
    }
    let is_last = accepted.error.is_none() && !is_full;
    publish(core, ctx, accepted.fork_height, is_last);
}

/// Announces the blocks above a height if the tip has changed. `is_last` states that the upstream has no more headers.
pub(super) fn publish(core: &mut Core, ctx: &mut Ctx<'_>, fork_height: Option<u32>, is_last: bool) {
    let tip = core.blocks.chain().map(HeaderChain::tip);
    if let (Some(_), Some(tip)) = (fork_height, tip) {
        core.on_tip(tip.hash);
    }
    let is_first = is_last && !std::mem::replace(&mut core.blocks.is_synced, true);
    // Peers that were connected during the synchronization learn of the tip alone.
    let is_extended = core.blocks.chain().is_some_and(|chain| chain.len() > 1);
    let fork_height = match tip {
        Some(tip) if is_first && is_extended => Some(tip.height.saturating_sub(1)),
        Some(_) | None => fork_height,
    };
    if let Some(fork_height) = fork_height {
        announce::announce(core, ctx, fork_height);
    }
}

/// The result of storing headers.
pub(super) struct Accepted {
    /// The height of the last block that the old and the new best chain share, if the tip has changed.
    pub(super) fork_height: Option<u32>,
    /// The reason why a header is not in the chain. The ones after it were not examined.
    pub(super) error: Option<HeaderError>,
}

/// Stores an upstream's headers until one is refused. A header that no honest node sends is charged.
pub(super) fn accept(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    peer: PeerId,
    headers: impl IntoIterator<Item = BlockHeader>,
) -> Accepted {
    let now_s = u32::try_from(ctx.unix_time().as_secs()).unwrap_or(u32::MAX);
    let mut accepted = Accepted { fork_height: None, error: None };
    let mut last = None;
    for header in headers {
        let Some(chain) = &mut core.blocks.chain else { break };
        match chain.accept(&header, now_s) {
            Ok(TipChange::Tip { fork_height: fork }) => {
                let lowest = accepted.fork_height.map_or(fork, |lowest: u32| lowest.min(fork));
                accepted.fork_height = Some(lowest);
            }
            Ok(TipChange::Known | TipChange::Branch) => {}
            Err(error) => {
                accepted.error = Some(error);
                break;
            }
        }
        last = Some(header.hash());
    }
    if let Some(last) = last {
        announce::on_has(core, peer, last);
    }
    if let Some(error) = accepted.error.filter(|&error| error != HeaderError::Orphan) {
        core.counts.headers_refused += 1;
        if error.is_misbehaviour() {
            ctx.penalize_for(peer, Misbehavior::BadProofOfWork);
        }
    }
    accepted
}
