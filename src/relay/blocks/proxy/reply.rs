//! The replies of upstreams to requests that were passed on.
//!
//! `headers` of an upstream may also be an announcement, or the reply to a request of this side: they are passed on
//! only if they begin at a block that the request names, and an empty message only if this side awaits none. A reply
//! is passed on as it is. One with enriched headers that is longer than its receiver accepts is cut after the last
//! header that fits, or the first one, as a node cuts its own.
//!
//! The upstream does not announce what it has sent as a reply, so this side uses the headers of a reply, too.

use super::{Sent, ask, can_answer};
use crate::address::Host;
use crate::api::{Delivery, Frame};
use crate::error::Disconnect;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::RELAY_HEADER_RESERVE;
use crate::protocol::CommandName;
use crate::relay::blocks::{admit, announce, sync};
use crate::relay::core::Core;
use crate::wire::{BlockHeader, EnrichedHeaders, EnrichedHeadersRef, Header, HeadersRef, LocatorRef, MessageRef};
use bytes::Bytes;

/// Length of the longest count of items, in bytes.
const MAX_COUNT_BYTES: usize = 9;

/// Handles an upstream's `headers`. Returns whether they are the reply to a request that was passed on.
pub(in crate::relay) fn on_headers(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    link: PeerId,
    frame: &Frame<'_>,
    headers: HeadersRef<'_>,
) -> bool {
    let genesis = BlockHeader::genesis_of(ctx.config().network).hash();
    let is_own_due = core.blocks.peers.get(link).is_some_and(|about| about.asked.is_some());
    let first = headers.iter().next().map(|listed| listed.header);
    let sent = core.blocks.header_asks.take(link, CommandName::GETHEADERS, |request| match first {
        Some(first) => can_answer(request, &first, genesis),
        None => !is_own_due,
    });
    let Some(sent) = sent else { return false };
    let asker = sent.ask.as_ref().map(|ask| ask.peer);
    pass_back(core, ctx, sent, frame, frame.to_frame());
    use_headers(core, ctx, link, headers.iter().map(|listed| listed.header));
    if let Some((asker, last)) = asker.zip(headers.iter().last()) {
        announce::on_known(core, asker, last.header.hash());
    }
    true
}

/// Chooses how an `hdrsen` is delivered. One that nobody asked for is ignored. If one is too long to be read, the next
/// upstream is asked.
pub(in crate::relay) fn on_hdrsen_header(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    link: PeerId,
    header: &Header,
) -> Delivery {
    if !core.blocks.header_asks.is_busy(link, CommandName::GETHDRSEN) {
        return Delivery::Discard;
    }
    if header.payload_len <= ctx.config().buffer_limit_bytes(header.command) {
        return Delivery::Buffer;
    }
    // The length is only a claim.
    refuse(core, ctx, link, header.payload_len.min(RELAY_HEADER_RESERVE));
    Delivery::Discard
}

/// Handles an upstream's `hdrsen`. If it is not the reply to its request, the next upstream is asked.
pub(in crate::relay) fn on_hdrsen(
    core: &mut Core,
    ctx: &mut Ctx<'_>,
    link: PeerId,
    frame: &Frame<'_>,
    headers: EnrichedHeadersRef<'_>,
) {
    let genesis = BlockHeader::genesis_of(ctx.config().network).hash();
    let is_reply =
        |request: LocatorRef<'_>| headers.iter().next().is_none_or(|first| can_answer(request, &first.header, genesis));
    let Some(sent) = core.blocks.header_asks.take(link, CommandName::GETHDRSEN, is_reply) else {
        return refuse(core, ctx, link, frame.payload().len() as u64);
    };
    let asker = sent.ask.as_ref().and_then(|ask| ctx.peer(ask.peer));
    let max_bytes = asker.map_or(0, |view| view.connection().max_recv_payload() as usize);
    let reply = match frame.payload().len() > max_bytes && sent.ask.is_some() {
        true => cut(ctx, headers, max_bytes),
        false => frame.to_frame(),
    };
    pass_back(core, ctx, sent, frame, reply);
    use_headers(core, ctx, link, headers.iter().map(|enriched| enriched.header));
}

/// Returns a message with the first headers, as many as fit into a payload of `max_bytes`, but at least one.
fn cut(ctx: &Ctx<'_>, headers: EnrichedHeadersRef<'_>, max_bytes: usize) -> Bytes {
    let (mut one, mut len_bytes) = (Vec::new(), MAX_COUNT_BYTES);
    let fits = headers.iter().take_while(|&header| {
        one.clear();
        EnrichedHeaders::from_headers([header]).as_ref().encode(&mut one);
        // The count of one item is one byte.
        len_bytes += one.len() - 1;
        len_bytes <= max_bytes
    });
    let count = fits.count().max(1);
    ctx.encode(&MessageRef::HdrsEn(EnrichedHeaders::from_headers(headers.iter().take(count)).as_ref()))
}

/// Asks the next upstream in place of a link whose `hdrsen` is not the reply to its request, if it has one. The reply
/// may still follow: this one may be a late reply to an earlier request. So the link keeps its request.
fn refuse(core: &mut Core, ctx: &mut Ctx<'_>, link: PeerId, bytes: u64) {
    let Some(sent) = core.blocks.header_asks.sent_mut(link, CommandName::GETHDRSEN) else { return };
    let payer = sent.payer;
    let Some(ask) = sent.ask.take() else { return };
    core.counts.headers_refused += 1;
    charge(core, ctx, payer, bytes);
    ask::fail(core, ctx, link, Some(ask));
}

fn charge(core: &mut Core, ctx: &Ctx<'_>, payer: Option<Host>, bytes: u64) {
    if let Some(host) = payer {
        admit::charge(core, ctx, host, bytes);
    }
}

/// Sends a reply to the peer that waits for it, and passes on the next request.
fn pass_back(core: &mut Core, ctx: &mut Ctx<'_>, sent: Sent, frame: &Frame<'_>, reply: Bytes) {
    charge(core, ctx, sent.payer, frame.payload().len() as u64);
    if let Some(ask) = sent.ask {
        match ctx.send_shared(ask.peer, &reply) {
            Ok(()) => core.counts.header_requests_relayed += 1,
            // It requests more than it reads.
            Err(_) => ctx.close(ask.peer, Disconnect::RetryLater),
        }
    }
    ask::advance(core, ctx);
}

/// Stores the headers of a reply from the first one on whose parent is known.
fn use_headers(core: &mut Core, ctx: &mut Ctx<'_>, link: PeerId, headers: impl Iterator<Item = BlockHeader>) {
    let Some(chain) = core.blocks.chain() else { return };
    let connected: Vec<BlockHeader> = headers.skip_while(|header| chain.get(header.prev_hash).is_none()).collect();
    let accepted = sync::accept(core, ctx, link, connected);
    sync::publish(core, ctx, accepted.fork_height, false);
}
