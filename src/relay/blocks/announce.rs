//! Announcing blocks: each peer learns a new tip at once, in the form that it has asked for.
//!
//! A peer that wants compact blocks receives one, as an upstream has sent it, if it is known to have the parent. A peer
//! that sent `sendheaders` receives up to eight headers if it is known to have their parent, and every other peer an
//! `inv` of the tip (SV Node 1.2.2, net_processing.cpp SendMessages). Nothing is announced before an upstream has sent
//! all its headers.

use crate::error::RequestError;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::relay::core::Core;
use crate::relay::headers::HeaderChain;
use crate::relay::peers::{Peer, Role};
use crate::wire::{BlockHeader, Hash256, Headers, Inventory, InventoryItem, MessageRef};
use bytes::Bytes;

/// Maximum number of blocks that are announced as headers (SV Node 1.2.2, net_processing.cpp MAX_BLOCKS_TO_ANNOUNCE).
const MAX_ANNOUNCED: u32 = 8;

/// Notes that a peer has a block; an upstream has it on each of its links. The highest block counts.
pub(in crate::relay) fn on_has(core: &mut Core, peer: PeerId, hash: Hash256) {
    let Core { peers, blocks, .. } = core;
    let Some(chain) = blocks.chain.as_ref().filter(|chain| chain.get(hash).is_some()) else { return };
    let links: Vec<PeerId> = match peers.index(peer).filter(|&index| peers.get(index).is_some_and(Peer::is_upstream)) {
        Some(index) => {
            peers.iter().filter(|&(other, _)| peers.are_one_upstream(index, other)).map(|(_, link)| link.id).collect()
        }
        None => vec![peer],
    };
    for link in links {
        if let Some(about) = blocks.peers.get_mut(link) {
            about.has = higher(chain, about.has, hash);
            about.known = higher(chain, about.known, hash);
        }
    }
}

/// Notes that a peer has the header of a block.
pub(in crate::relay) fn on_known(core: &mut Core, peer: PeerId, hash: Hash256) {
    let Some(chain) = &core.blocks.chain else { return };
    if let Some(about) = core.blocks.peers.get_mut(peer) {
        about.known = higher(chain, about.known, hash);
    }
}

/// Returns the higher of two blocks.
fn higher(chain: &HeaderChain, known: Option<Hash256>, hash: Hash256) -> Option<Hash256> {
    let height_of = |hash: Hash256| chain.get(hash).map(|block| block.height);
    if height_of(hash) > known.and_then(height_of) { Some(hash) } else { known }
}

/// The form of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Compact,
    Headers,
    Inv,
}

/// Announces the blocks of the best chain above `fork_height` to all peers that are not known to have them.
pub(super) fn announce(core: &mut Core, ctx: &mut Ctx<'_>, fork_height: u32) {
    let Some(chain) = core.blocks.chain().filter(|_| core.blocks.is_synced) else { return };
    let tip = chain.tip();
    let first = fork_height + 1;
    let inv = Inventory::from_items([InventoryItem::block(tip.hash)]);
    let inv = ctx.encode(&MessageRef::Inv(inv.as_ref()));
    // Most peers have the parent of the first new block, so they share a frame.
    let shared = (tip.height - fork_height <= MAX_ANNOUNCED).then(|| frame_of(chain, ctx, first));
    let compact = core.blocks.compact.frame(tip.hash);
    let mut announced = Vec::new();
    let is_listening = |role| matches!(role, Role::Upstream { is_listening: true, .. });
    for (_, peer) in core.peers.iter().filter(|(_, peer)| !is_listening(peer.role)) {
        let Some(about) = core.blocks.peers.get(peer.id) else { continue };
        let known = about.known.filter(|&known| chain.is_best(known)).and_then(|known| chain.get(known));
        let next = known.map(|known| known.height + 1);
        if next.is_some_and(|next| next > tip.height) {
            continue;
        }
        let is_compact = about.compact.is_announced() && next == Some(tip.height);
        let compact = compact.clone().filter(|_| is_compact).map(|frame| (frame, Form::Compact));
        let plain = match (&shared, next) {
            (Some(shared), Some(next)) if about.wants_headers && next == first => (shared.clone(), Form::Headers),
            (_, Some(next)) if about.wants_headers && tip.height - next < MAX_ANNOUNCED => {
                (frame_of(chain, ctx, next), Form::Headers)
            }
            (_, Some(_) | None) => (inv.clone(), Form::Inv),
        };
        announced.push((peer.id, compact, plain));
    }
    for (peer, compact, plain) in announced {
        // A peer whose queue has no room for a compact block may have room for a plain announcement. Otherwise, it
        // learns of the tip with the next one, as at an SV Node.
        let is_sent = |(frame, form): &(Bytes, Form)| match form {
            Form::Compact => send_compact(core, ctx, peer, tip.hash, frame, true).is_ok(),
            Form::Headers | Form::Inv => ctx.send_shared(peer, frame).is_ok(),
        };
        let sent = compact.into_iter().chain([plain]).find(is_sent);
        if let Some((_, form)) = sent {
            core.counts.tips_announced += 1;
            core.counts.compact_blocks_sent += u64::from(form == Form::Compact);
            if form != Form::Inv
                && let Some(about) = core.blocks.peer_mut(peer)
            {
                about.known = Some(tip.hash);
            }
        }
    }
}

/// Sends a compact block, as an announcement or on request, and observes its last byte.
pub(in crate::relay) fn send_compact(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    peer: PeerId,
    hash: Hash256,
    frame: &Bytes,
    is_announced: bool,
) -> Result<(), RequestError> {
    let marked = core.blocks.passages.compact_mark(hash).map(|mark| ctx.send_marked(peer, frame, mark));
    match marked {
        Some(Ok(())) => {}
        // The reader's end stays unknown.
        Some(Err(RequestError::TooManyMarks)) | None => ctx.send_shared(peer, frame)?,
        Some(Err(error)) => return Err(error),
    }
    core.blocks.passages.join_compact(hash, peer, is_announced);
    Ok(())
}

/// Encodes the headers of the best chain from a height on.
fn frame_of(chain: &HeaderChain, ctx: &Ctx<'_>, first: u32) -> Bytes {
    let headers: Vec<BlockHeader> =
        (first..=chain.tip().height).filter_map(|height| chain.at(height)).copied().collect();
    ctx.encode(&MessageRef::Headers(Headers::from_headers(headers).as_ref()))
}
