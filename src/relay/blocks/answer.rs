//! The answers to peers that ask for headers or for the hashes of blocks.
//!
//! A peer's blocks may lie below the chain's first header. Its request for headers is then passed on to an upstream,
//! and it is closed if it asks for hashes, because silence would keep it waiting.

use super::{announce, learn, proxy};
use crate::api::Frame;
use crate::error::Disconnect;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::relay::core::Core;
use crate::relay::headers::Located;
use crate::wire::{BlockHeader, Headers, Inventory, InventoryItem, LocatorRef, MessageRef};

/// Answers a `getheaders`.
pub(in crate::relay) fn on_getheaders(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    peer: PeerId,
    frame: &Frame<'_>,
    request: LocatorRef<'_>,
) {
    // Without a chain, a node does not reply either: it is in its initial sync.
    let Some(chain) = core.blocks.chain() else { return learn::on_getheaders(core, ctx, peer, request) };
    let located = chain.headers_after(request);
    let headers: Vec<BlockHeader> = match located {
        Located::Unknown => return,
        Located::BelowAnchor => return proxy::for_peer(core, ctx, peer, frame, request),
        Located::Heights(_) | Located::One(_) => chain.headers_of(&located),
    };
    // A peer that receives no header has our tip (SV Node 1.2.2, net_processing.cpp ProcessGetHeadersMessage).
    let last = headers.last().map_or_else(|| chain.tip().hash, BlockHeader::hash);
    if ctx.send(peer, &MessageRef::Headers(Headers::from_headers(headers).as_ref())).is_err() {
        // It requests more than it reads.
        return ctx.close(peer, Disconnect::RetryLater);
    }
    announce::on_known(core, peer, last);
}

/// Answers a `getblocks`.
pub(in crate::relay) fn on_getblocks(core: &Core, ctx: &mut Ctx<'_>, peer: PeerId, request: LocatorRef<'_>) {
    let Some(chain) = core.blocks.chain() else { return };
    let heights = match chain.blocks_after(request) {
        Located::Heights(heights) => heights,
        Located::BelowAnchor => return ctx.close(peer, Disconnect::RetryLater),
        Located::One(_) | Located::Unknown => return,
    };
    let blocks = heights.filter_map(|height| chain.block_at(height));
    let items = Inventory::from_items(blocks.map(|block| InventoryItem::block(block.hash)));
    if !items.as_ref().is_empty() && ctx.send(peer, &MessageRef::Inv(items.as_ref())).is_err() {
        ctx.close(peer, Disconnect::RetryLater);
    }
}
