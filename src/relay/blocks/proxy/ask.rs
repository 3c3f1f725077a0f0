//! Passing requests on: which upstream is asked, and the end of the requests that none of them answers.
//!
//! A link that has no other such request is asked. If it does not reply in time, or is lost, the next one is. A peer
//! whose request stays unanswered is closed, so that it asks others. The hosts of leaf peers pay for the replies out of
//! the budget of old blocks, also if they have closed by then. A request waits for a lost upstream to return.

use super::{Ask, Sent};
use crate::api::Frame;
use crate::error::Disconnect;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{
    RELAY_HEADER_ASKS, RELAY_HEADER_PATIENCE, RELAY_HEADER_RESERVE, RELAY_HEADER_SILENCE, RELAY_HEADER_TRIES,
    RELAY_HEADER_WAIT, RELAY_LEAF_HEADER_ASKS, RELAY_LOCATOR_HASHES, RELAY_PEER_HEADER_ASKS,
};
use crate::protocol::CommandName;
use crate::relay::blocks::admit;
use crate::relay::core::Core;
use crate::relay::peers::{Peer, Role};
use crate::wire::{LocatorRef, MessageRef};
use std::collections::VecDeque;

/// Handles a `gethdrsen`. A request without a locator that names a block which is not on the best chain is refused: a
/// node may not know the block, and would be silent.
pub(in crate::relay) fn on_gethdrsen(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    peer: PeerId,
    frame: &Frame<'_>,
    request: LocatorRef<'_>,
) {
    let is_known = || core.blocks.chain().is_some_and(|chain| chain.is_best(request.stop));
    if request.hashes().len() == 0 && !is_known() {
        return refuse(core, ctx, peer);
    }
    for_peer(core, ctx, peer, frame, request);
}

/// Passes a peer's request on to an upstream, or refuses it: its locator is too long, its host has too many requests or
/// too small a budget, or there is no upstream.
pub(in crate::relay) fn for_peer(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    peer: PeerId,
    frame: &Frame<'_>,
    request: LocatorRef<'_>,
) {
    let payer = admit::paying_host(core, ctx, peer);
    let is_same = |ask: &&Ask| ask.peer == peer || payer.is_some() && ask.payer == payer;
    let asks = &core.blocks.header_asks;
    let max = if payer.is_some() { RELAY_LEAF_HEADER_ASKS } else { RELAY_HEADER_ASKS };
    let has_room = asks.open().count() < max
        && asks.open().filter(is_same).count() < RELAY_PEER_HEADER_ASKS
        && request.hashes().len() <= RELAY_LOCATOR_HASHES;
    let has_budget = payer.is_none_or(|host| core.blocks.budgets.left(host, ctx.now()) >= RELAY_HEADER_RESERVE);
    if !has_room || !has_budget || candidates(core, peer).next().is_none() {
        return refuse(core, ctx, peer);
    }
    let (command, since) = (frame.command(), ctx.now());
    let ask = Ask { peer, payer, command, request: frame.to_bytes(), since, tries: 0, failed: Vec::new() };
    let waiting = &mut core.blocks.header_asks.waiting;
    // Leaf peers wait until all others are served.
    let at = match payer {
        Some(_) => waiting.len(),
        None => waiting.iter().position(|other| other.payer.is_some()).unwrap_or(waiting.len()),
    };
    waiting.insert(at, ask);
    advance(core, ctx);
}

/// Closes a peer whose request for headers cannot be answered.
fn refuse(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId) {
    core.counts.header_requests_refused += 1;
    ctx.close(peer, Disconnect::RetryLater);
}

/// Lists the submitting links of the upstreams other than a peer's own node.
fn candidates(core: &Core, peer: PeerId) -> impl Iterator<Item = PeerId> {
    let asker = core.peers.index(peer);
    let is_submitting = |peer: &Peer| matches!(peer.role, Role::Upstream { is_listening: false, .. });
    core.peers
        .iter()
        .filter(move |&(index, other)| {
            let is_same_node = asker.is_some_and(|asker| asker == index || core.peers.are_one_upstream(asker, index));
            is_submitting(other) && !is_same_node
        })
        .map(|(_, other)| other.id)
}

/// The next step of a request that waits.
enum Step {
    Ask(PeerId),
    Wait,
    Refuse,
}

fn step(core: &Core, ask: &Ask) -> Step {
    let untried = || candidates(core, ask.peer).filter(|link| !ask.failed.contains(link));
    match untried().find(|&link| !core.blocks.header_asks.is_busy(link, ask.command)) {
        _ if ask.tries >= RELAY_HEADER_TRIES => Step::Refuse,
        Some(link) => Step::Ask(link),
        None if untried().next().is_none() && !ask.failed.is_empty() => Step::Refuse,
        None => Step::Wait,
    }
}

/// Passes on the requests for which an upstream has no other one.
pub(in crate::relay) fn advance(core: &mut Core, ctx: &mut Ctx<'_>) {
    let waiting = std::mem::take(&mut core.blocks.header_asks.waiting);
    for mut ask in waiting {
        loop {
            match step(core, &ask) {
                Step::Ask(link) if send(ctx, link, &ask) => {
                    ask.tries += 1;
                    let (command, request, payer) = (ask.command, ask.request.clone(), ask.payer);
                    let sent = Sent { link, command, request, payer, at: ctx.now(), ask: Some(ask) };
                    core.blocks.header_asks.sent.push(sent);
                    break;
                }
                Step::Ask(link) => ask.failed.push(link),
                Step::Wait => {
                    core.blocks.header_asks.waiting.push_back(ask);
                    break;
                }
                Step::Refuse => {
                    refuse(core, ctx, ask.peer);
                    break;
                }
            }
        }
    }
}

fn send(ctx: &mut Ctx<'_>, link: PeerId, ask: &Ask) -> bool {
    let Ok(request) = LocatorRef::decode(ask.command, &ask.request) else { return false };
    let message = match ask.command {
        CommandName::GETHDRSEN => MessageRef::GetHdrsEn(request),
        _ => MessageRef::GetHeaders(request),
    };
    ctx.send(link, &message).is_ok()
}

/// Ends a request to a link that does not reply as it should, and asks the next one.
pub(super) fn fail(core: &mut Core, ctx: &mut Ctx<'_>, link: PeerId, ask: Option<Ask>) {
    if let Some(mut ask) = ask {
        ask.failed.push(link);
        core.blocks.header_asks.waiting.push_front(ask);
    }
    advance(core, ctx);
}

/// Asks the next upstream for the requests whose replies are late, and ends those that are late at all upstreams.
pub(in crate::relay) fn expire(core: &mut Core, ctx: &mut Ctx<'_>) {
    let now = ctx.now();
    let asks = &mut core.blocks.header_asks;
    for sent in &mut asks.sent {
        if now >= sent.at.plus(RELAY_HEADER_PATIENCE)
            && let Some(mut ask) = sent.ask.take()
        {
            ask.failed.push(sent.link);
            asks.waiting.push_front(ask);
        }
    }
    asks.sent.retain(|sent| now < sent.at.plus(RELAY_HEADER_SILENCE));
    advance(core, ctx);
    let waiting = std::mem::take(&mut core.blocks.header_asks.waiting);
    let is_late = |ask: &Ask| now >= ask.since.plus(RELAY_HEADER_WAIT);
    let (late, others): (VecDeque<Ask>, VecDeque<Ask>) = waiting.into_iter().partition(is_late);
    core.blocks.header_asks.waiting = others;
    late.into_iter().for_each(|ask| refuse(core, ctx, ask.peer));
}

/// Ends the requests of a link that is closed, and passes on again those that it has not answered.
pub(in crate::relay) fn on_link_lost(core: &mut Core, ctx: &mut Ctx<'_>, peer: PeerId) {
    let asks = &mut core.blocks.header_asks;
    asks.waiting.retain(|ask| ask.peer != peer);
    for sent in &mut asks.sent {
        sent.ask.take_if(|ask| ask.peer == peer);
    }
    let lost: Vec<Sent> = asks.sent.extract_if(.., |sent| sent.link == peer).collect();
    lost.into_iter().filter_map(|sent| sent.ask).for_each(|ask| asks.waiting.push_front(ask));
    advance(core, ctx);
}
