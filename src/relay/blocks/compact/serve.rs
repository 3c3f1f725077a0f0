//! Requests for single transactions of a block: each is answered, or its link is closed.

use crate::handler::Ctx;
use crate::id::PeerId;
use crate::relay::blocks::admit;
use crate::relay::core::Core;
use crate::relay::getdata;
use crate::wire::GetBlockTxnRef;

/// Answers a `getblocktxn` with the whole block, which a node accepts in its place. The link is closed if the block is
/// unknown: a node would be silent (SV Node 1.2.2, net_processing.cpp ProcessGetBlockTxnMessage).
pub(in crate::relay) fn on_getblocktxn(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, request: GetBlockTxnRef<'_>) {
    let hash = request.block_hash;
    if core.blocks.chain().is_none_or(|chain| chain.get(hash).is_none()) {
        return admit::refuse(core, ctx, peer);
    }
    getdata::send_block(core, ctx, peer, hash);
}
