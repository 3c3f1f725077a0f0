//! Learning where the chain of headers begins, on a network whose genesis block is too far below the tip.
//!
//! An upstream shows its tip: in its own `getheaders`, or when it announces a block. The headers below are requested
//! one by one, each by its hash: the reply to a request without a locator is the header of its stop block (SV Node
//! 1.2.2, net_processing.cpp ProcessGetHeadersMessage). One upstream is asked at a time; if it does not reply, the next
//! one that shows its tip is.

use super::learning::Learning;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::RELAY_HEADERS_TIMEOUT;
use crate::protocol::PROTOCOL_VERSION;
use crate::relay::core::Core;
use crate::relay::headers::{Learned, LearnedAnchor};
use crate::time::Instant;
use crate::wire::{Hash256, HeadersRef, Locator, LocatorRef, MessageRef};

/// Begins below the tip in an upstream's `getheaders`. Its locator begins with the parent of the node's best header
/// (SV Node 1.2.2, net_processing.cpp SendMessages).
pub(super) fn on_getheaders(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, request: LocatorRef<'_>) {
    if let Some(hash) = request.hashes().next().filter(|_| core.is_upstream(peer)) {
        begin(core, ctx, peer, hash, -1);
    }
}

/// Begins below a block that an upstream has announced, the child of its former tip.
pub(super) fn on_announced(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, hash: Hash256) {
    begin(core, ctx, peer, hash, 1);
}

/// Begins below a block whose height differs by `above` from the one that the upstream's `version` states.
fn begin(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, hash: Hash256, above: i32) {
    let stated = ctx.peer(peer).and_then(|peer| peer.version()?.start_height);
    let height = stated.and_then(|stated| u32::try_from(stated.saturating_add(above)).ok());
    let (None, None, true, Some(height)) = (&core.blocks.chain, &core.blocks.learning, core.blocks.learns(), height)
    else {
        return;
    };
    let anchor = LearnedAnchor::new(ctx.config().network, hash, height);
    core.blocks.learning = Some(Learning { anchor, peer, asked: ctx.now() });
    ask(core, ctx);
}

/// Requests the next header.
fn ask(core: &mut Core, ctx: &mut Ctx<'_>) {
    let Some(learning) = &mut core.blocks.learning else { return };
    learning.asked = ctx.now();
    let request = Locator::from_hashes(PROTOCOL_VERSION as i32, [], learning.anchor.next());
    if ctx.send(learning.peer, &MessageRef::GetHeaders(request.as_ref())).is_err() {
        core.blocks.learning = None;
    }
}

/// Handles an upstream's `headers` while there is no chain: the reply to a request, or an announcement. Returns whether
/// there is a chain now.
pub(super) fn on_headers(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, headers: HeadersRef<'_>) -> bool {
    let Some(last) = headers.iter().last().map(|listed| listed.header) else { return false };
    let Some(learning) = core.blocks.learning.as_mut().filter(|learning| learning.peer == peer) else {
        core.on_tip(last.hash());
        begin(core, ctx, peer, last.hash(), 1);
        return false;
    };
    match learning.anchor.add(&last) {
        Learned::Next => ask(core, ctx),
        Learned::Anchor(anchor) => {
            core.blocks.learning = None;
            core.blocks.begin_chain(&anchor);
        }
        // It is an announcement. The reply is still due.
        Learned::OtherHeader => core.on_tip(last.hash()),
        Learned::WrongHeight | Learned::Invalid(_) => {
            core.counts.headers_refused += 1;
            core.blocks.learning = None;
        }
    }
    core.blocks.chain.is_some()
}

/// Ends the requests to an upstream that is closed.
pub(super) fn on_lost(core: &mut Core, peer: PeerId) {
    core.blocks.learning.take_if(|learning| learning.peer == peer);
}

/// Ends the requests to an upstream that does not reply, so that another one is asked.
pub(super) fn keep_up(core: &mut Core, now: Instant) {
    core.blocks.learning.take_if(|learning| now >= learning.asked.plus(RELAY_HEADERS_TIMEOUT));
}
