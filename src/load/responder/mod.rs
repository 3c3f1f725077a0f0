//! The responder: a test node that answers a [`Generator`](super::Generator) or a real node, and misbehaves if it is
//! asked to.
//!
//! The engine completes handshakes and, unless a setting drops or delays replies, answers pings. The responder answers
//! `getheaders` from a chain of its own, requests announced items, accepts transactions and blocks, and serves both. It
//! validates nothing. All waiting replies together are bounded; further ones are dropped and counted.

mod blocks;
mod body;
mod chain;
mod config;
mod counts;
mod gate;
mod pool;
mod replies;
mod serve;
mod serving;
mod visits;
mod waiting;

pub use config::{ResponderConfig, Stall};
pub use counts::ResponderCounts;

use self::blocks::Blocks;
use self::gate::Gate;
use self::pool::Pool;
use self::serving::Serving;
use self::visits::Visits;
use self::waiting::{Answer, Budget, Waiting};
use crate::api::{ChecksumVerdict, Chunk, Delivery, Event, Frame, Reply};
use crate::error::{CloseReason, Disconnect, LocalCause};
use crate::handler::{Ctx, Handler, PeerMap};
use crate::id::PeerId;
use crate::limits::RESPONDER_INVENTORY_ITEMS;
use crate::peer::ConnectionState;
use crate::protocol::CommandName;
use crate::stats::histogram::Counters;
use crate::time::Instant;
use crate::wire::{Hash256, Header, Inventory, InventoryItem, InventoryKind, MessageRef, TxRef, Version};
use bytes::Bytes;
use std::mem;

/// A node for a [`Generator`](super::Generator) to connect to. [`ResponderConfig`] has its settings; by default it
/// answers everything at once.
///
/// - A `getheaders` is answered from a chain that follows from the network's genesis block and is the same in every
///   run. On regtest its headers have a valid proof of work, on other networks none.
/// - Every transaction and block that a peer announces with `inv` is requested with `getdata`, even if it is known.
///   Received transactions are kept for peers that request them; received blocks are counted and dropped.
/// - A `getdata` is answered in order: transactions from the pool, blocks of the chain, and one `notfound` for each run
///   of other items. Unlike an SV Node, the responder also answers unknown blocks with `notfound`. A block of 4 GiB or
///   more has an extended header, all others have a checksum. The checksum of a block longer than 1 MiB is computed
///   at its first request, which delays the first reply by about 1 s per GiB.
/// - Other threads announce items with [`ResponderRequest::Announce`].
#[derive(Debug)]
pub struct Responder {
    config: ResponderConfig,
    peak: usize,
    lost: u64,
    failed: u64,
    counts: ResponderCounts,
    gate: Gate,
    waiting: Waiting,
    budget: Budget,
    /// The peers that have waited for a reply. Each costs about 100 bytes until it is closed.
    peers: PeerMap<Serving>,
    visits: Visits,
    blocks: Blocks,
    pool: Pool,
}

/// A request from another thread to a responder.
///
/// ```
/// use peerloop::api::Pending;
/// use peerloop::load::{Responder, ResponderRequest};
/// use peerloop::wire::{Hash256, InventoryItem};
/// use peerloop::{Config, Network, Reactor};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut reactor = Reactor::new(Config::new(Network::Regtest), Responder::default())?;
/// let (reply, pending) = Pending::new();
/// let items = vec![InventoryItem::tx(Hash256::from_bytes([7; 32]))];
/// reactor.handle().request(ResponderRequest::Announce { items, reply })?;
/// reactor.poll_once(Duration::ZERO)?;
/// assert_eq!(pending.wait()?, 0, "a peer was there");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ResponderRequest {
    /// Report the counts.
    Snapshot(Reply<Snapshot>),
    /// Announce items to all ready peers with `inv`. Transactions are announced only to peers that want them. The
    /// settings that drop or delay replies do not apply.
    Announce {
        /// The items.
        items: Vec<InventoryItem>,
        /// Receives the number of `inv` messages that were sent.
        reply: Reply<usize>,
    },
}

/// The counts of a responder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Peers whose handshake is complete.
    pub ready: usize,
    /// The largest number of peers that were ready at the same time.
    pub peak: usize,
    /// Peers lost after their handshake. Those that the responder closed on purpose do not count.
    pub lost: u64,
    /// Connections closed before their handshake was complete.
    pub failed: u64,
    /// The replies and the data.
    pub counts: ResponderCounts,
    /// The loop's counters.
    pub counters: Counters,
}

impl Responder {
    /// Returns a responder with these settings; values out of range are moved into their range. Its loop's
    /// configuration must be that of [`ResponderConfig::loop_config`].
    pub fn new(config: ResponderConfig) -> Self {
        let config = config.in_range();
        Self {
            peak: 0,
            lost: 0,
            failed: 0,
            counts: ResponderCounts::default(),
            gate: Gate::new(&config, Instant::ZERO),
            waiting: Waiting::default(),
            budget: Budget::default(),
            peers: PeerMap::new(),
            visits: Visits::default(),
            blocks: Blocks::new(&config),
            pool: Pool::new(config.pool_bytes),
            config,
        }
    }

    /// Returns the counts, with the loop's number of `ready` peers and its `counters`. Other threads send
    /// [`ResponderRequest::Snapshot`] instead.
    pub fn snapshot(&self, ready: usize, counters: &Counters) -> Snapshot {
        let counts = ResponderCounts { txs_evicted: self.pool.evicted(), ..self.counts };
        Snapshot { ready, peak: self.peak, lost: self.lost, failed: self.failed, counts, counters: counters.clone() }
    }

    // The functions that are never inlined keep the loop's code small: most loops do nothing but answer pings.

    #[inline(never)]
    fn on_ready(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        self.peak = self.peak.max(ctx.ready_count());
        if let Some(time) = self.config.close_after {
            let is_live = |peer| ctx.peer(peer).is_some();
            self.visits.push(ctx.now().plus(time), peer, ctx.ready_count(), is_live);
            self.arm(ctx);
        }
    }

    #[inline(never)]
    fn on_closed(&mut self, peer: PeerId, reason: CloseReason, state: ConnectionState) {
        if let Some(serving) = self.peers.remove(peer) {
            self.budget.release(None, serving.items_bytes());
            self.blocks.forget(peer);
        }
        match (reason, state) {
            // Nothing is lost: the connection serves another peer from now on.
            (CloseReason::Local(LocalCause::BecameStream), _) => {}
            (CloseReason::Requested(Disconnect::Done), ConnectionState::Connected)
                if self.config.close_after.is_some() =>
            {
                self.counts.closed += 1;
            }
            (_, ConnectionState::Connected) => self.lost += 1,
            (_, _) => self.failed += 1,
        }
    }

    fn on_transaction(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: &Frame<'_>) {
        self.counts.txs_received += 1;
        let txid = frame.hash().unwrap_or_else(|| Hash256::of(frame.payload()));
        if self.pool.contains(txid) {
            return;
        }
        self.pool.insert(txid, frame.to_frame());
        if self.config.announce {
            self.announce(ctx, &[InventoryItem::tx(txid)], Some(peer));
        }
    }

    /// Announces items to all ready peers but `except`, and returns the number of messages.
    fn announce(&mut self, ctx: &mut Ctx<'_>, items: &[InventoryItem], except: Option<PeerId>) -> usize {
        let mut sent = 0;
        // Transactions are separate, because not every peer wants them.
        for is_tx in [false, true] {
            let of_kind = items.iter().filter(|item| (item.kind == InventoryKind::TX) == is_tx).copied();
            let of_kind = Inventory::from_items(of_kind);
            for part in of_kind.as_ref().chunks(RESPONDER_INVENTORY_ITEMS) {
                let frame = ctx.encode(&MessageRef::Inv(part));
                let done = ctx.broadcast(&frame, |view| {
                    Some(view.id()) != except && (!is_tx || view.version().is_some_and(Version::relays))
                });
                sent += done.accepted;
            }
        }
        self.counts.announcements += sent as u64;
        sent
    }

    #[inline(never)]
    fn start(&mut self, ctx: &Ctx<'_>) {
        self.gate = Gate::new(&self.config, ctx.now());
        for payload in mem::take(&mut self.config.transactions) {
            let Ok(tx) = TxRef::decode(&payload) else {
                self.counts.undecodable += 1;
                continue;
            };
            let (txid, frame) = (tx.txid(), ctx.encode(&MessageRef::Tx(tx)));
            if !self.pool.contains(txid) {
                self.pool.insert(txid, frame);
            }
        }
    }

    /// Does the work that is due, and requests the next wake-up.
    #[inline(never)]
    fn work(&mut self, ctx: &mut Ctx<'_>) {
        self.send_due(ctx);
        self.close_due(ctx);
        self.hash_next(ctx);
        self.arm(ctx);
    }

    /// Closes the peers whose time is over.
    fn close_due(&mut self, ctx: &mut Ctx<'_>) {
        while let Some(peer) = self.visits.pop(ctx.now()) {
            ctx.close(peer, Disconnect::Done);
        }
    }

    /// Requests the next wake-up.
    fn arm(&self, ctx: &mut Ctx<'_>) {
        let hashing = self.blocks.has_work().then(|| ctx.now());
        let moments = [self.waiting.next_moment(), self.visits.next_moment(), hashing];
        if let Some(moment) = moments.into_iter().flatten().min() {
            ctx.wake_at(moment);
        }
    }
}

impl Default for Responder {
    fn default() -> Self {
        Self::new(ResponderConfig::default())
    }
}

impl Handler for Responder {
    type Request = ResponderRequest;

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        self.start(ctx);
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Ready { .. } => self.on_ready(ctx, peer),
            Event::Closed { reason, state } => self.on_closed(peer, reason, state),
            Event::Opened { .. }
            | Event::VersionReceived
            | Event::Written { .. }
            | Event::Pong { .. }
            | Event::LimitsAnnounced { .. }
            | Event::StreamOpened { .. }
            | Event::SendHeaders
            | Event::Rejected(_)
            | Event::BodyCut { .. } => {}
        }
    }

    fn on_header(&mut self, ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        match header.command {
            CommandName::PING | CommandName::GETHEADERS | CommandName::INV | CommandName::GETDATA => Delivery::Buffer,
            CommandName::TX if header.payload_len <= ctx.config().buffer_limit_bytes(CommandName::TX) => {
                Delivery::Buffer
            }
            // Chunks are hashed and dropped, so a wrong checksum is noticed.
            CommandName::TX | CommandName::BLOCK => Delivery::Chunks,
            _ => Delivery::Discard,
        }
    }

    #[inline(never)]
    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        if frame.command() == CommandName::TX {
            return self.on_transaction(ctx, peer, &frame);
        }
        let answer = match frame.decode() {
            Ok(MessageRef::Ping { nonce }) => Some(Answer::Pong(nonce)),
            Ok(MessageRef::GetHeaders(locator)) => {
                self.blocks.after(ctx.config().network, &locator).map(Answer::Headers)
            }
            Ok(MessageRef::Inv(items)) => Answer::request(items),
            Ok(MessageRef::GetData(items)) => {
                (!items.is_empty()).then(|| Answer::Items(Bytes::copy_from_slice(frame.payload())))
            }
            Ok(_) => None,
            Err(_) => {
                self.counts.undecodable += 1;
                None
            }
        };
        if let Some(answer) = answer {
            self.accept(ctx, peer, answer);
        }
    }

    fn on_chunk(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, chunk: Chunk<'_>) {
        match chunk.last() {
            Some(ChecksumVerdict::Correct | ChecksumVerdict::Absent) if chunk.header().command == CommandName::TX => {
                self.counts.txs_received += 1;
            }
            Some(ChecksumVerdict::Correct | ChecksumVerdict::Absent) => self.counts.blocks_received += 1,
            Some(ChecksumVerdict::Wrong | ChecksumVerdict::Unchecked) | None => {}
        }
    }

    fn on_writable(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        // Usually no peer has ever waited for a reply.
        if !self.peers.is_empty() {
            self.pump(ctx, peer);
        }
    }

    fn on_pull(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, _free_bytes: usize) {
        self.pump(ctx, peer);
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        self.work(ctx);
    }

    #[inline(never)]
    fn on_request(&mut self, ctx: &mut Ctx<'_>, command: ResponderRequest) {
        match command {
            ResponderRequest::Snapshot(reply) => {
                reply.send(self.snapshot(ctx.ready_count(), ctx.counters()));
            }
            ResponderRequest::Announce { items, reply } => reply.send(self.announce(ctx, &items, None)),
        }
    }
}
