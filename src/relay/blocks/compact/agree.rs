//! `sendcmpct`: which peers use compact blocks, and which upstreams announce new blocks with them.
//!
//! A peer that supports compact blocks states so, and the reply states the same. A node then requests the newest block
//! as a compact one. Once the headers are synchronized, a few upstreams are asked to announce new blocks as compact
//! ones, each on one link. Nothing is sent on listening links: no block is announced there.

use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::RELAY_COMPACT_SOURCES;
use crate::relay::config::CompactBlocks;
use crate::relay::core::Core;
use crate::relay::peers::Role;
use crate::wire::{MessageRef, SendCmpct};

/// Handles the statement that a peer supports compact blocks.
pub(in crate::relay) fn on_sendcmpct(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, message: SendCmpct) {
    if !is_used(core, peer) || message.version != SendCmpct::VERSION {
        return;
    }
    let Some(about) = core.blocks.peer_mut(peer) else { return };
    about.compact.is_announced = message.announce;
    if !std::mem::replace(&mut about.compact.is_supported, true) {
        choose_sources(core, ctx);
        let is_source = core.blocks.peers.get(peer).is_some_and(|about| about.compact.is_source);
        let _ = is_source || state(ctx, peer, false);
    }
}

/// Asks upstreams to announce new blocks as compact ones, if too few do.
pub(in crate::relay) fn choose_sources(core: &mut Core, ctx: &mut Ctx<'_>) {
    if !core.blocks.is_synced {
        return;
    }
    let Core { peers, blocks, .. } = core;
    let upstreams: Vec<PeerId> = peers.iter().filter(|(_, peer)| peer.is_upstream()).map(|(_, peer)| peer.id).collect();
    let of = |peer: PeerId| blocks.peers.get(peer).map(|about| about.compact);
    let sources = upstreams.iter().filter(|&&peer| of(peer).is_some_and(|exchange| exchange.is_source)).count();
    let is_candidate = |&peer: &PeerId| of(peer).is_some_and(|exchange| exchange.is_supported && !exchange.is_source);
    let free = RELAY_COMPACT_SOURCES.saturating_sub(sources);
    let chosen: Vec<PeerId> = upstreams.into_iter().filter(is_candidate).take(free).collect();
    for peer in chosen {
        if state(ctx, peer, true)
            && let Some(about) = core.blocks.peer_mut(peer)
        {
            about.compact.is_source = true;
        }
    }
}

/// Returns whether compact blocks are exchanged with a peer. Another peer receives whole blocks in their place.
pub(in crate::relay) fn is_used(core: &Core, peer: PeerId) -> bool {
    match (role(core, peer), core.config.compact_blocks) {
        (None | Some(Role::Upstream { is_listening: true, .. }), _) | (_, CompactBlocks::Off) => false,
        (Some(Role::Leaf), CompactBlocks::Upstreams) => false,
        (Some(Role::Leaf | Role::Upstream { .. }), CompactBlocks::Upstreams | CompactBlocks::All) => true,
    }
}

fn role(core: &Core, peer: PeerId) -> Option<Role> {
    core.peers.index(peer).and_then(|index| core.peers.get(index)).map(|peer| peer.role)
}

/// States that this side supports compact blocks, and whether it wants them as announcements. Returns whether the
/// message was sent.
fn state(ctx: &mut Ctx<'_>, peer: PeerId, announce: bool) -> bool {
    ctx.send(peer, &MessageRef::SendCmpct(SendCmpct { announce, version: SendCmpct::VERSION })).is_ok()
}
