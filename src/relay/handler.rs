//! The relay as a handler: each callback leads to one step of the core, and then to the policy's events.

use super::blocks::{self, proxy};
use super::body::Body;
use super::core::{Core, Timer};
use super::event::{SubmitOutcome, SubmitReport};
use super::incoming::{Arrival, is_whole_transaction};
use super::inventory::{NONE, PeerIndex, Refusal, State};
use super::large::{self, Arrived};
use super::peers::{Peer, Role};
use super::policy::{IncomingTransaction, LargeTransaction, PolicyDecision, RelayPolicy};
use super::{Relay, RelayRequest, announce, getdata};
use crate::api::{Chunk, Delivery, Event, Frame, Reply};
use crate::error::Disconnect;
use crate::handler::{Ctx, Handler};
use crate::id::PeerId;
use crate::limits::{RELAY_FEE_FILTER, RELAY_INV_ITEMS};
use crate::peer::ConnectionType;
use crate::protocol::CommandName;
use crate::wire::{
    Hash256, Header, HeadersRef, Inventory, InventoryItem, InventoryKind, InventoryRef, Mempool, MessageRef, put_frame,
};
use bytes::Bytes;

impl<P: RelayPolicy> Handler for Relay<P> {
    type Request = RelayRequest;

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        self.core.start(ctx);
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Ready { .. } => on_ready(&mut self.core, ctx, peer),
            Event::Closed { .. } => {
                large::on_closed(&mut self.core, peer);
                on_closed(&mut self.core, ctx, peer);
            }
            Event::Written { mark, at } => match blocks::is_mark(mark) {
                true => blocks::on_written(&mut self.core, peer, mark, at),
                false => announce::on_written(&mut self.core, mark, at),
            },
            Event::Rejected(reject) => {
                if reject.message == b"getdata" {
                    blocks::on_refused(&mut self.core, ctx, peer);
                }
                if let Some(index) = self.core.peers.index(peer) {
                    self.core.on_reject(ctx, index, reject);
                }
            }
            Event::BodyCut { stream_type, .. } => {
                large::on_cut(&mut self.core, peer, stream_type);
                blocks::on_cut(&mut self.core, ctx, peer, stream_type);
            }
            Event::SendHeaders => {
                if let Some(about) = self.core.blocks.peer_mut(peer) {
                    about.wants_headers = true;
                }
            }
            Event::Opened { .. }
            | Event::VersionReceived
            | Event::Pong { .. }
            | Event::LimitsAnnounced { .. }
            | Event::StreamOpened { .. } => return,
        }
        self.report(ctx);
    }

    fn on_header(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, header: &Header) -> Delivery {
        match header.command {
            CommandName::TX => match is_buffered(ctx, header) {
                is_buffered if !self.core.expects_tx(ctx, peer, is_buffered) => Delivery::Discard,
                true => Delivery::Buffer,
                false => {
                    large::begin(&mut self.core, ctx, peer, header);
                    Delivery::Chunks
                }
            },
            CommandName::BLOCK => blocks::on_source_header(&mut self.core, ctx, peer, header),
            CommandName::CMPCTBLOCK => blocks::on_compact_header(&mut self.core, ctx, peer, header),
            CommandName::BLOCKTXN => blocks::on_blocktxn_header(&mut self.core, ctx, peer, header),
            CommandName::HDRSEN => proxy::on_hdrsen_header(&mut self.core, ctx, peer, header),
            CommandName::INV
            | CommandName::GETDATA
            | CommandName::GETBLOCKTXN
            | CommandName::GETHEADERS
            | CommandName::GETHDRSEN
            | CommandName::GETBLOCKS
            | CommandName::NOTFOUND
            | CommandName::SENDCMPCT
            | CommandName::FEEFILTER
            | CommandName::FILTERCLEAR => Delivery::Buffer,
            // An SV Node closes a peer that is not whitelisted and sends a `mempool`. The engine does the same if the
            // message is discarded.
            CommandName::HEADERS | CommandName::DSDETECTED | CommandName::REVOKEMID | CommandName::MEMPOOL => {
                let is_upstream = self.core.peers.index(peer).and_then(|index| self.core.link(index)).is_some();
                if is_upstream { Delivery::Buffer } else { Delivery::Discard }
            }
            _ => Delivery::Discard,
        }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        let Some(index) = self.core.peers.index(peer) else { return };
        match frame.command() {
            CommandName::TX => self.on_tx(ctx, index, &frame),
            CommandName::CMPCTBLOCK => blocks::on_compact(&mut self.core, ctx, peer, &frame),
            CommandName::BLOCKTXN => blocks::on_blocktxn(&mut self.core, ctx, peer, &frame),
            _ => {
                if let Ok(message) = frame.decode() {
                    on_message(&mut self.core, ctx, index, &frame, message);
                }
            }
        }
        self.report(ctx);
    }

    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, chunk: Chunk<'_>) {
        if chunk.header().command == CommandName::BLOCK {
            blocks::on_part(&mut self.core, ctx, peer, &chunk);
            return self.report_blocks(ctx);
        }
        if let Some(arrived) = large::on_part(&mut self.core, ctx, peer, &chunk) {
            self.on_large(ctx, peer, arrived);
            self.report(ctx);
        }
    }

    fn on_writable(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        announce::on_empty_queue(&mut self.core, ctx, peer);
        blocks::feed(&mut self.core, ctx, peer);
        large::feed(&mut self.core, ctx, peer);
        self.report(ctx);
    }

    fn on_pull(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, _free_bytes: usize) {
        blocks::feed(&mut self.core, ctx, peer);
        if let Some(index) = self.core.peers.index(peer) {
            getdata::serve(&mut self.core, ctx, index);
        }
        self.report(ctx);
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        announce::run_fanout(&mut self.core, ctx);
        blocks::on_wake(&mut self.core, ctx);
        blocks::advance(&mut self.core, ctx);
        self.report(ctx);
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>, key: u64) {
        match Timer::of(key) {
            Some(Timer::Housekeeping) => self.core.keep_house(ctx),
            Some(Timer::Deadlines) => self.core.expire_requests(ctx),
            Some(Timer::Sweep) => self.core.sweep(ctx),
            Some(Timer::Dial) => self.core.dial(ctx),
            Some(Timer::Pace) => announce::run_fanout(&mut self.core, ctx),
            Some(Timer::Silence) => self.core.accept_silent(ctx),
            None => {}
        }
        self.report(ctx);
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, request: RelayRequest) {
        match request {
            RelayRequest::Submit { transaction, reply } => self.submit_with(ctx, &transaction, Some(reply)),
            RelayRequest::SetUpstreams { upstreams } => set_upstreams(&mut self.core, ctx, upstreams),
            RelayRequest::Stats { reply } => reply.send(self.stats()),
            RelayRequest::Headers { from, reply } => reply.send(self.core.blocks.accepted_headers(from)),
            RelayRequest::TakeHops { mut spare, reply } => {
                std::mem::swap(&mut self.core.hops, &mut *spare);
                reply.send(spare);
            }
        }
        self.report(ctx);
    }
}

impl<P: RelayPolicy> Relay<P> {
    /// Submits a transaction inside the loop, as [`RelayRequest::submit`] does from another thread. Its progress is
    /// reported to [`RelayPolicy::on_relay_event`].
    pub fn submit(&mut self, ctx: &mut Ctx<'_>, transaction: &[u8]) {
        self.submit_with(ctx, transaction, None);
        self.report(ctx);
    }

    fn on_tx(&mut self, ctx: &mut Ctx<'_>, index: PeerIndex, frame: &Frame<'_>) {
        let txid = frame.hash().unwrap_or_else(|| Hash256::of(frame.payload()));
        let payload = frame.payload();
        let is_whole = || is_whole_transaction(payload);
        let Some(arrival) = self.core.on_tx(ctx, index, txid, payload.len(), is_whole) else { return };
        let decision = self.decide(ctx, arrival, payload);
        settle(&mut self.core, ctx, arrival, decision, || Body::Frame(frame.to_frame()));
    }

    /// Handles a large transaction that has arrived.
    fn on_large(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, Arrived { txid, parts }: Arrived) {
        let Some(index) = self.core.peers.index(peer) else { return };
        // A window has at most `RELAY_LARGE_TX_BYTES` here.
        let len_bytes = parts.end() as usize;
        let arrival = self.core.on_tx(ctx, index, txid, len_bytes, || true);
        // The requested transaction may be another one.
        self.core.requests.ends(&self.core.peers, index);
        let Some(arrival) = arrival else { return };
        let is_from_upstream = arrival.is_from_upstream;
        let transaction = LargeTransaction { txid, peer, is_from_upstream, window: &parts };
        let decision = self.policy.on_large_transaction(ctx, transaction);
        settle(&mut self.core, ctx, arrival, decision, || Body::Parts(Box::new(parts)));
    }

    fn decide(&mut self, ctx: &mut Ctx<'_>, arrival: Arrival, payload: &[u8]) -> PolicyDecision {
        let Arrival { id, origin, is_from_upstream, .. } = arrival;
        let transaction = IncomingTransaction { txid: id.hash, peer: origin, is_from_upstream, payload };
        self.policy.on_transaction(ctx, transaction)
    }

    fn submit_with(&mut self, ctx: &mut Ctx<'_>, payload: &[u8], reply: Option<Reply<SubmitReport>>) {
        let txid = Hash256::of(payload);
        match self.try_submit(ctx, txid, payload, reply) {
            Ok(()) => {}
            Err((outcome, Some(reply))) => reply.send(SubmitReport::ended(txid, outcome)),
            Err((_, None)) => {}
        }
    }

    fn try_submit(
        &mut self,
        ctx: &mut Ctx<'_>,
        txid: Hash256,
        payload: &[u8],
        reply: Option<Reply<SubmitReport>>,
    ) -> Result<(), (SubmitOutcome, Option<Reply<SubmitReport>>)> {
        if !is_whole_transaction(payload) {
            return Err((SubmitOutcome::Malformed, reply));
        }
        let header = Header::of(CommandName::TX, payload);
        if !is_buffered(ctx, &header) || !self.core.pool.may_hold(payload.len() + header.len_bytes()) {
            return Err((SubmitOutcome::TooLarge, reply));
        }
        let followed = self.core.submissions.get_mut(&txid);
        if let Some(submission) = followed {
            return submission.follow(reply).map_err(|reply| (SubmitOutcome::Known, reply));
        }
        let Some(arrival) = on_submitted(&mut self.core, txid) else { return Err((SubmitOutcome::Known, reply)) };
        let decision = self.decide(ctx, arrival, payload);
        let mut frame = Vec::with_capacity(payload.len() + header.len_bytes());
        put_frame(ctx.config().magic_bytes(), CommandName::TX, payload, &mut frame);
        match decision {
            PolicyDecision::Relay => {
                self.core.relay(ctx, arrival, Body::Frame(frame.into()), reply);
                return Ok(());
            }
            PolicyDecision::Hold => self.core.hold(ctx, arrival, Body::Frame(frame.into())),
            PolicyDecision::Drop | PolicyDecision::Misbehaved { .. } => refuse(&mut self.core, ctx, arrival, decision),
        }
        Err((SubmitOutcome::Refused, reply))
    }

    /// Reports the steps of submitted transactions, and begins the silences that follow from them.
    fn report(&mut self, ctx: &mut Ctx<'_>) {
        self.core.begin_silences(ctx);
        for event in self.core.submissions.take_events() {
            self.policy.on_relay_event(ctx, &event);
        }
        self.report_blocks(ctx);
    }

    /// Reports the blocks whose passages have ended.
    fn report_blocks(&mut self, ctx: &mut Ctx<'_>) {
        for block in self.core.blocks.take_ended() {
            self.core.hops.record_block(&block);
            self.policy.on_block_relayed(ctx, &block);
        }
    }
}

fn on_ready(core: &mut Core, ctx: &mut Ctx<'_>, id: PeerId) {
    let Some(view) = ctx.peer(id) else { return };
    let is_outbound = view.connection().connection_type() == ConnectionType::Outbound;
    let no_relay = view.version().is_some_and(|version| version.relay == Some(false));
    let role = match core.upstreams.find(id) {
        Some((number, is_listening)) => {
            core.upstreams.ready(number, is_listening, ctx.now());
            Role::Upstream { number, is_listening }
        }
        None => Role::Leaf,
    };
    let is_listening = matches!(role, Role::Upstream { is_listening: true, .. });
    let head = core.inventory.log().head();
    let mut peer = Peer::new(id, role, is_outbound, head, ctx.now());
    peer.mute.no_relay = no_relay;
    peer.mute.listening = is_listening;
    // The link is unmuted below, once the upstream is observed.
    peer.mute.unobserved = matches!(role, Role::Upstream { .. });
    let index = core.peers.insert(peer);
    core.change_mute(ctx, index, |_| {});
    core.blocks.add_peer(id);
    if matches!(role, Role::Upstream { is_listening: false, .. }) {
        blocks::on_upstream_ready(core, ctx, id);
        proxy::advance(core, ctx);
    }
    if let Role::Upstream { number, .. } = role {
        core.observe(ctx, number);
    }
}

fn on_closed(core: &mut Core, ctx: &mut Ctx<'_>, id: PeerId) {
    let upstream = core.upstreams.find(id);
    if let Some((number, is_listening)) = upstream {
        let now = ctx.now();
        core.upstreams.ended(number, is_listening, now, ctx.rng());
    }
    if let Some(index) = core.peers.index(id) {
        remove_peer(core, ctx, index);
    }
    blocks::on_lost(core, ctx, id);
    blocks::on_peer_lost(core, ctx, id);
    proxy::on_link_lost(core, ctx, id);
    blocks::on_reader_closed(core, ctx, id);
    if let Some((number, _)) = upstream {
        core.observe(ctx, number);
        core.dial(ctx);
    }
}

fn remove_peer(core: &mut Core, ctx: &mut Ctx<'_>, index: PeerIndex) {
    core.leave_fanout(index);
    core.requests.closed(&mut core.inventory, &mut core.peers, index, ctx.now());
    let is_sweeping = core.peers.unswept().is_some();
    let closed = core.peers.remove(index, core.inventory.sweep_end());
    let backlog = closed.and_then(|peer| peer.backlog);
    core.pending_bytes -= backlog.map_or(0, |backlog| backlog.serving.bytes());
    core.send_requests(ctx);
    // Every close would put off the next step of a sweep that has begun.
    if !is_sweeping {
        Timer::Sweep.set(ctx, ctx.now().plus(crate::limits::TICK));
    }
}

fn on_message(core: &mut Core, ctx: &mut Ctx<'_>, index: PeerIndex, frame: &Frame<'_>, message: MessageRef<'_>) {
    match message {
        MessageRef::Inv(items) => core.on_inv(ctx, index, items),
        MessageRef::GetData(items) => getdata::on_getdata(core, ctx, index, frame, items),
        MessageRef::GetBlockTxn(request) => {
            with_peer(core, index, |core, peer| blocks::on_getblocktxn(core, ctx, peer, frame, request))
        }
        MessageRef::NotFound(items) => {
            core.on_notfound(ctx, index, items);
            on_missing_blocks(core, ctx, index, items);
        }
        MessageRef::GetHeaders(request) => {
            with_peer(core, index, |core, peer| blocks::on_getheaders(core, ctx, peer, frame, request))
        }
        MessageRef::GetHdrsEn(request) => {
            with_peer(core, index, |core, peer| proxy::on_gethdrsen(core, ctx, peer, frame, request))
        }
        MessageRef::HdrsEn(headers) => {
            with_peer(core, index, |core, peer| proxy::on_hdrsen(core, ctx, peer, frame, headers))
        }
        MessageRef::GetBlocks(request) => {
            with_peer(core, index, |core, peer| blocks::on_getblocks(core, ctx, peer, request))
        }
        MessageRef::FeeFilter(filter) => {
            let is_high = filter.satoshis_per_1000_bytes >= RELAY_FEE_FILTER;
            core.counts.fee_unknown += u64::from(filter.satoshis_per_1000_bytes > 0 && !is_high);
            core.change_mute(ctx, index, |mute| mute.high_fee = is_high);
        }
        MessageRef::FilterClear => core.change_mute(ctx, index, |mute| mute.no_relay = false),
        MessageRef::SendCmpct(message) => {
            with_peer(core, index, |core, peer| blocks::on_sendcmpct(core, ctx, peer, message))
        }
        MessageRef::Headers(headers) => {
            on_headers(core, ctx, index, frame, headers);
            blocks::choose_sources(core, ctx);
        }
        MessageRef::Mempool(request) => on_mempool(core, ctx, index, request),
        MessageRef::DsDetected(_) => on_alert(core, ctx, index, frame, 0),
        MessageRef::RevokeMid(_) => on_alert(core, ctx, index, frame, 1),
        // The handler buffers no other messages.
        _ => {}
    }
}

/// Calls `step` with the peer's id, if there is such a peer.
fn with_peer(core: &mut Core, index: PeerIndex, step: impl FnOnce(&mut Core, PeerId)) {
    if let Some(peer) = core.peers.get(index).map(|peer| peer.id) {
        step(core, peer);
    }
}

fn on_missing_blocks(core: &mut Core, ctx: &mut Ctx<'_>, index: PeerIndex, items: InventoryRef<'_>) {
    for item in items.iter().filter(|item| item.kind == InventoryKind::BLOCK) {
        with_peer(core, index, |core, peer| blocks::on_not_found(core, ctx, peer, item.hash));
    }
}

fn on_headers(core: &mut Core, ctx: &mut Ctx<'_>, index: PeerIndex, frame: &Frame<'_>, headers: HeadersRef<'_>) {
    with_peer(core, index, |core, peer| {
        if !proxy::on_headers(core, ctx, peer, frame, headers) {
            blocks::on_headers(core, ctx, peer, headers);
            blocks::race_for_tip(core, ctx);
        }
    });
}

/// Answers an upstream's `mempool` with the accepted transactions whose bodies are held, as far as its queue has room.
fn on_mempool(core: &mut Core, ctx: &mut Ctx<'_>, index: PeerIndex, request: Mempool) {
    let Some(link) = core.link(index).filter(|link| !link.is_listening) else { return };
    let least_age = request.age_secs.and_then(|secs| u64::try_from(secs).ok()).unwrap_or(0);
    let before = ctx.now().minus(std::time::Duration::from_secs(least_age));
    let hashes = core.pool.accepted(before);
    let mut left = hashes.len();
    for part in hashes.chunks(RELAY_INV_ITEMS) {
        let items = Inventory::from_items(part.iter().copied().map(InventoryItem::tx));
        if ctx.send(link.peer, &MessageRef::Inv(items.as_ref())).is_err() {
            break;
        }
        core.counts.invs_sent += 1;
        core.counts.inv_items_sent += part.len() as u64;
        left -= part.len();
    }
    core.counts.announcements_lost += left as u64;
}

/// Passes on an upstream's alert to all peers except listening links.
fn on_alert(core: &mut Core, ctx: &mut Ctx<'_>, index: PeerIndex, frame: &Frame<'_>, kind: usize) {
    let Some(from) = core.peers.get(index).map(|peer| peer.id) else { return };
    if !core.alerts[kind].insert(Hash256::of(frame.payload())) {
        return;
    }
    core.counts.alerts += 1;
    // A peer with a full queue misses the alert, as at an SV Node.
    let frame: Bytes = frame.to_frame();
    let _ = ctx.broadcast(&frame, |view| view.id() != from && !core.is_listening_link(view.id()));
}

/// Treats a transaction that a peer has sent as the policy has decided.
fn settle(core: &mut Core, ctx: &mut Ctx<'_>, arrival: Arrival, decision: PolicyDecision, body: impl FnOnce() -> Body) {
    match decision {
        PolicyDecision::Relay => core.relay(ctx, arrival, body(), None),
        PolicyDecision::Hold => core.hold(ctx, arrival, body()),
        PolicyDecision::Drop | PolicyDecision::Misbehaved { .. } => refuse(core, ctx, arrival, decision),
    }
}

/// Handles a transaction that the policy does not let pass.
fn refuse(core: &mut Core, ctx: &mut Ctx<'_>, arrival: Arrival, decision: PolicyDecision) {
    core.counts.dropped_by_policy += 1;
    core.refuse(arrival.slot, Refusal::Dropped);
    if let (PolicyDecision::Misbehaved { points }, Some(peer), false) =
        (decision, arrival.origin, arrival.is_from_upstream)
    {
        ctx.penalize(peer, points, "a transaction that the relay's policy does not accept");
    }
}

/// Returns the arrival of a submitted transaction; `None` if it is known.
fn on_submitted(core: &mut Core, txid: Hash256) -> Option<Arrival> {
    let id = core.inventory.id(txid);
    let slot = match core.inventory.find(id) {
        None if core.inventory.was_seen(id) => return None,
        None => core.create(id),
        Some(slot) => {
            let state = core.inventory.get(slot)?.state;
            match state {
                State::Wanted | State::Asked => {
                    core.resolve(slot);
                    core.requests.cancel(&mut core.inventory, &mut core.peers, slot);
                    slot
                }
                State::Rejected | State::Dropped => {
                    core.forget(slot);
                    core.create(id)
                }
                // The policy holds it, and now decides again.
                State::Held => slot,
                State::Accepted | State::Oversized => return None,
            }
        }
    };
    let entry = core.inventory.get_mut(slot)?;
    (entry.state, entry.link) = (State::Held, NONE);
    Some(Arrival { slot, id, origin: None, is_from_upstream: false })
}

fn set_upstreams(core: &mut Core, ctx: &mut Ctx<'_>, upstreams: Vec<std::net::SocketAddr>) {
    core.config.upstreams = upstreams;
    core.config.upstreams.truncate(crate::limits::MAX_RELAY_UPSTREAMS);
    let closed = core.upstreams.set(&core.config.upstreams, core.config.upstream_links, ctx.now());
    closed.into_iter().for_each(|peer| ctx.close(peer, Disconnect::Done));
    core.dial(ctx);
}

/// Returns whether a transaction is small enough to be buffered.
fn is_buffered(ctx: &Ctx<'_>, header: &Header) -> bool {
    header.payload_len <= ctx.config().buffer_limit_bytes(header.command)
}
