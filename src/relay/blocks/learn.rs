//! Learning where the chain of headers begins, on a network whose genesis block is too far below the tip.
//!
//! An upstream shows its tip: in its own `getheaders`, or when it announces a block. The headers below are requested
//! one by one, each by its hash: the reply to a request without a locator is the header of its stop block (SV Node
//! 1.2.2, net_processing.cpp ProcessGetHeadersMessage). One upstream is asked at a time; if it does not reply, the next
//! one that has shown its tip is.

use super::learning::{Learning, Shown};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::RELAY_HEADERS_TIMEOUT;
use crate::protocol::PROTOCOL_VERSION;
use crate::relay::core::Core;
use crate::relay::headers::{Learned, LearnedAnchor};
use crate::wire::{Hash256, HeadersRef, Locator, LocatorRef, MessageRef};

/// Notes the tip in an upstream's `getheaders`. Its locator begins with the parent of the node's best header (SV Node
/// 1.2.2, net_processing.cpp SendMessages).
pub(super) fn on_getheaders(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, request: LocatorRef<'_>) {
    if let Some(hash) = request.hashes().next().filter(|_| core.is_upstream(peer)) {
        note(core, ctx, peer, |before| Shown::below_tip(before, hash));
    }
}

/// Notes a block that an upstream has announced.
pub(super) fn on_announced(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, hash: Hash256) {
    note(core, ctx, peer, |before| Shown::announced(before, hash, 1));
}

fn note(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, shown: impl FnOnce(Option<Shown>) -> Shown) {
    if let Some(about) = core.blocks.peers.get_mut(peer) {
        about.shown = Some(shown(about.shown));
    }
    begin(core, ctx);
}

/// Begins below a block that an upstream has shown, unless an anchor is known or being learned.
fn begin(core: &mut Core, ctx: &mut Ctx<'_>) {
    if !core.blocks.learns() || core.blocks.learning.is_some() {
        return;
    }
    let height_of = |peer: PeerId, shown: &Shown| {
        let stated = ctx.peer(peer)?.version()?.start_height?;
        u32::try_from(stated.saturating_add(shown.above)).ok()
    };
    let usable = core.blocks.peers.iter().find_map(|(peer, about)| {
        let shown = about.shown.filter(|shown| !shown.has_failed)?;
        Some((peer, shown.hash, height_of(peer, &shown)?))
    });
    if let Some((peer, hash, height)) = usable {
        let anchor = LearnedAnchor::new(ctx.config().network, hash, height);
        core.blocks.learning = Some(Learning { anchor, peer, asked: ctx.now() });
        ask(core, ctx);
    }
}

/// Ends the attempt. Another upstream is asked at the next upkeep.
fn fail(core: &mut Core) {
    let Some(failed) = core.blocks.learning.take() else { return };
    let Some(about) = core.blocks.peers.get_mut(failed.peer) else { return };
    about.late_header = Some(failed.anchor.next());
    about.shown.as_mut().into_iter().for_each(|shown| shown.has_failed = true);
}

/// Requests the next header.
fn ask(core: &mut Core, ctx: &mut Ctx<'_>) {
    let Some(learning) = &mut core.blocks.learning else { return };
    learning.asked = ctx.now();
    let request = Locator::from_hashes(PROTOCOL_VERSION as i32, [], learning.anchor.next());
    if ctx.send(learning.peer, &MessageRef::GetHeaders(request.as_ref())).is_err() {
        fail(core);
    }
}

/// Handles an upstream's `headers` while there is no chain: the reply to a request, or an announcement. Returns whether
/// there is a chain now.
pub(super) fn on_headers(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId, headers: HeadersRef<'_>) -> bool {
    let Some(last) = headers.iter().last().map(|listed| listed.header) else { return false };
    let about = core.blocks.peers.get_mut(peer);
    if about.is_some_and(|about| about.late_header.take_if(|late| *late == last.hash()).is_some()) {
        return false;
    }
    let Some(learning) = core.blocks.learning.as_mut().filter(|learning| learning.peer == peer) else {
        core.on_tip(last.hash());
        note(core, ctx, peer, |before| Shown::announced(before, last.hash(), headers.len()));
        return false;
    };
    match learning.anchor.add(&last) {
        Learned::Next => ask(core, ctx),
        Learned::Anchor(anchor) => {
            core.blocks.learning = None;
            core.blocks.begin_chain(&anchor);
        }
        // It is an announcement. The reply is still due.
        Learned::OtherHeader => {
            core.on_tip(last.hash());
            note(core, ctx, peer, |before| Shown::announced(before, last.hash(), headers.len()));
        }
        Learned::WrongHeight | Learned::Invalid(_) => {
            core.counts.headers_refused += 1;
            fail(core);
        }
    }
    core.blocks.chain.is_some()
}

/// Ends the requests to an upstream that is closed.
pub(super) fn on_lost(core: &mut Core, peer: PeerId) {
    core.blocks.learning.take_if(|learning| learning.peer == peer);
}

/// Ends the requests to an upstream that does not reply, and asks the next one.
pub(super) fn keep_up(core: &mut Core, ctx: &mut Ctx<'_>) {
    let is_late = |learning: &Learning| ctx.now() >= learning.asked.plus(RELAY_HEADERS_TIMEOUT);
    if core.blocks.learning.as_ref().is_some_and(is_late) {
        fail(core);
    }
    begin(core, ctx);
}
