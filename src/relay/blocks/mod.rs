//! The blocks of a relay: the chain of headers, the blocks in transit, and the small blocks that are kept.
//!
//! A block passes while it arrives. It is fetched from an upstream once a peer requests it, at most once at a time, and
//! its bytes are sent to all peers that have requested it; [`Transit`](super::transit::Transit) lists the checks. The
//! tables of this file send nothing; `sync`, `answer`, `proxy`, `admit`, `fetch`, `pass`, `serve` and `announce` are
//! their steps.

mod admit;
mod announce;
mod answer;
mod budget;
mod compact;
mod fetch;
mod flow;
mod kept;
mod learn;
mod learning;
mod live;
mod pace;
mod pass;
mod passages;
pub(super) mod proxy;
mod serve;
mod sync;

use super::config::RelayConfig;
use super::event::BlockRelayed;
use super::headers::{AcceptedHeaders, AnchorSource, HeaderAnchor, HeaderChain};
use crate::config::Config;
use crate::handler::PeerMap;
use crate::id::PeerId;
use crate::limits::{RELAY_COMPACT_DEPTH, RELAY_GIVEN_UP_BLOCKS, RELAY_HEADER_BATCH};
use crate::manager::ban::trusted::Trusted;
use crate::peer::VersionFacts;
use crate::protocol::{Network, SERVICE_NETWORK};
use crate::time::Instant;
use crate::wire::siphash::SipKey;
use crate::wire::{Hash256, StreamType};
pub(super) use admit::{pay_bytes, price_of_parts, refuse};
pub(super) use announce::{on_has, on_known, send_compact};
pub(super) use answer::{on_getblocks, on_getheaders};
pub(super) use budget::Budgets;
use compact::Exchange;
pub(super) use compact::{
    Compacts, advance, choose_sources, expire_asks, is_used as is_compact_used, on_blocktxn, on_blocktxn_header,
    on_compact, on_compact_header, on_getblocktxn, on_peer_lost, on_sendcmpct,
};
pub(super) use fetch::{on_cut, on_lost, on_not_found, on_refused, on_source_header, race_for_tip};
use flow::{Arriving, Flow, Reading};
pub(super) use kept::Kept;
use learning::{Learning, Shown};
use live::Live;
pub(super) use pass::{keep_up, on_part, on_wake, on_written};
use passages::Passages;
pub(super) use passages::{is_mark, memory_bytes as passages_memory_bytes};
pub(super) use proxy::HeaderAsks;
pub(super) use serve::{Begun, begin, feed, is_reading, on_reader_closed};
use std::collections::VecDeque;
pub(super) use sync::{ask_again, on_block_announced, on_headers, on_upstream_ready};

/// The blocks of a relay.
#[derive(Debug)]
pub(super) struct Blocks {
    /// `None` until the loop starts, and until its anchor is learned.
    chain: Option<HeaderChain>,
    /// The capacity and the key of the chain, if its anchor has to be learned.
    unanchored: Option<(usize, SipKey)>,
    learning: Option<Learning>,
    flows: Vec<Flow>,
    /// The blocks whose own headers have not arrived, at most one for each stream of an upstream.
    arriving: Vec<Arriving>,
    /// The number of requests for blocks so far.
    requests: u64,
    /// The peers that wait for the end of a passing block to request another one.
    waiting: Vec<PeerId>,
    kept: Kept,
    budgets: Budgets,
    passages: Passages,
    pub(super) compact: Compacts,
    header_asks: HeaderAsks,
    /// The networks of the readers that may hold the source of a block.
    tethered: Trusted,
    live: Live,
    /// Whether the tip is requested from two upstreams at the same time.
    is_racing: bool,
    peers: PeerMap<BlockPeer>,
    /// Whether an upstream has sent all headers that it has. Nothing is announced before.
    is_synced: bool,
}

/// A ready peer, as a reader and as a source of blocks.
#[derive(Debug, Default)]
pub(super) struct BlockPeer {
    /// Whether the peer wants new blocks as headers.
    pub(super) wants_headers: bool,
    /// The exchange of compact blocks with the peer.
    compact: Exchange,
    /// The highest block whose header the peer has.
    pub(super) known: Option<Hash256>,
    /// The highest block that the peer has announced or received whole.
    pub(super) has: Option<Hash256>,
    /// The latest block that an upstream has shown while there is no chain.
    shown: Option<Shown>,
    /// The header that was requested from the upstream in vain. If it arrives late, it is no announcement.
    late_header: Option<Hash256>,
    /// The block that is being sent to the peer.
    reading: Option<Reading>,
    /// The moment of the last bytes of a block that was requested from the peer.
    block_input: Option<Instant>,
    /// Whether the block that the peer sends was requested from it.
    sends_requested: bool,
    /// Whether the peer sends the rest of a block that nobody reads.
    sends_unread: bool,
    /// The latest blocks that were requested from the peer, and then from another one. They may still arrive.
    given_up: VecDeque<Hash256>,
    /// The moment at which headers were requested from the peer, until it replies.
    asked: Option<Instant>,
    /// The moment since which the peer waits for a block because others pass.
    waits_since: Option<Instant>,
    /// Whether the peer is in the list of those that wait.
    is_waiting: bool,
}

impl BlockPeer {
    /// Notes that a block was requested from another peer.
    fn give_up(&mut self, hash: Hash256) {
        if self.given_up.len() == RELAY_GIVEN_UP_BLOCKS {
            self.given_up.pop_front();
        }
        self.given_up.push_back(hash);
    }

    /// Returns whether a block was given up, and forgets that.
    fn take_given_up(&mut self, hash: Hash256) -> bool {
        let at = self.given_up.iter().position(|&given_up| given_up == hash);
        at.is_some_and(|at| self.given_up.remove(at).is_some())
    }
}

impl Blocks {
    pub(super) fn new(config: &RelayConfig) -> Self {
        Self {
            chain: None,
            unanchored: None,
            learning: None,
            flows: Vec::new(),
            arriving: Vec::new(),
            requests: 0,
            waiting: Vec::new(),
            kept: Kept::new(config.small_blocks_bytes),
            tethered: Trusted::new(&config.tethered),
            live: Live::new(config.live_upload_bytes_per_second),
            is_racing: config.race,
            budgets: Budgets::new(config.old_block_bytes_per_host, config.old_block_bytes_per_day),
            passages: Passages::default(),
            compact: Compacts::default(),
            header_asks: HeaderAsks::default(),
            peers: PeerMap::new(),
            is_synced: false,
        }
    }

    /// Begins with a restored chain.
    pub(super) fn restore(&mut self, chain: HeaderChain) {
        self.chain = Some(chain);
    }

    /// Begins the chain at its anchor, unless it is restored or its anchor has to be learned.
    pub(super) fn start(&mut self, network: Network, anchor: &AnchorSource, capacity: usize, key: SipKey) {
        if let Some(chain) = self.chain.take() {
            let of = chain.network();
            if of == network {
                self.chain.insert(chain).set_key(key);
                return;
            }
            log::warn!(target: "peerloop", "event=saved_headers_ignored headers_network={of} network={network}");
        }
        self.unanchored = Some((capacity, key));
        match anchor {
            AnchorSource::Network if network == Network::Regtest => {
                self.begin_chain(&HeaderAnchor::genesis_of_regtest());
            }
            AnchorSource::Given(anchor) if anchor.network() == network => self.begin_chain(anchor),
            AnchorSource::Given(anchor) => {
                self.unanchored = None;
                let of = anchor.network();
                log::warn!(target: "peerloop", "event=header_anchor_ignored anchor_network={of} network={network}");
            }
            AnchorSource::Network | AnchorSource::Upstream => {}
        }
    }

    fn begin_chain(&mut self, anchor: &HeaderAnchor) {
        let unanchored = self.unanchored.take();
        self.chain = unanchored.map(|(capacity, key)| HeaderChain::new(anchor, capacity, key));
    }

    /// Returns headers to be saved, from a position above the anchor on.
    pub(super) fn accepted_headers(&self, from: usize) -> AcceptedHeaders {
        let Some(chain) = &self.chain else { return AcceptedHeaders::default() };
        let anchor = || {
            let (first_height, headers) = chain.anchor();
            HeaderAnchor::believed(chain.network(), first_height, headers)
        };
        AcceptedHeaders { anchor: (from == 0).then(anchor), headers: chain.accepted(from, RELAY_HEADER_BATCH) }
    }

    /// Returns whether the chain's anchor has to be learned.
    fn learns(&self) -> bool {
        self.unanchored.is_some()
    }

    /// Returns the facts that our `version` states to an upstream: the height of our tip, and that whole blocks are
    /// served, if the chain begins at the genesis block. A node whose own tip is old requests blocks from no other peer
    /// (SV Node 1.2.2, net_processing.cpp FetchBlocks).
    pub(super) fn facts(&self, config: &Config) -> VersionFacts {
        let mut facts = VersionFacts::of_config(config);
        if let Some(chain) = &self.chain {
            facts.start_height = i32::try_from(chain.tip().height).unwrap_or(i32::MAX);
            facts.services |= if chain.first_height() == 0 { SERVICE_NETWORK } else { 0 };
        }
        facts
    }

    pub(super) fn add_peer(&mut self, peer: PeerId) {
        self.peers.insert(peer, BlockPeer::default());
    }

    pub(super) fn peer_mut(&mut self, peer: PeerId) -> Option<&mut BlockPeer> {
        self.peers.get_mut(peer)
    }

    /// Removes and returns the reports of the blocks whose passages have ended.
    pub(super) fn take_ended(&mut self) -> Vec<BlockRelayed> {
        self.passages.note_rebuilding(self.compact.rebuilt());
        self.passages.take_ended()
    }

    /// Returns the number of blocks that are passing.
    pub(super) fn passing_len(&self) -> usize {
        self.flows.len()
    }

    /// Returns the number of bytes that the passing blocks retain.
    pub(super) fn passing_bytes(&self) -> usize {
        let transits = self.flows.iter().filter_map(|flow| flow.transit.as_ref());
        transits.map(|transit| transit.window().retained_bytes()).sum()
    }

    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    pub(super) fn chain(&self) -> Option<&HeaderChain> {
        self.chain.as_ref()
    }

    /// Returns whether a block is on the best chain, and near enough to the tip to be served as a compact one.
    pub(super) fn is_recent(&self, hash: Hash256) -> bool {
        self.is_within(hash, RELAY_COMPACT_DEPTH)
    }

    /// Returns whether a block is on the best chain, at most this far below the tip.
    fn is_within(&self, hash: Hash256, depth: u32) -> bool {
        let Some(chain) = &self.chain else { return false };
        let block = chain.get(hash).filter(|_| chain.is_best(hash));
        block.is_some_and(|block| chain.tip().height - block.height <= depth)
    }

    /// Returns whether a peer is known to have a block of the best chain.
    fn has_block(&self, peer: PeerId, hash: Hash256) -> bool {
        let Some(chain) = &self.chain else { return false };
        let height_of = |hash: Hash256| chain.get(hash).filter(|_| chain.is_best(hash)).map(|block| block.height);
        let known = self.peers.get(peer).and_then(|peer| peer.has).and_then(height_of);
        known.zip(height_of(hash)).is_some_and(|(known, wanted)| known >= wanted)
    }

    /// Returns whether a peer is not read, because the readers of its block are slow.
    pub(super) fn is_paused(&self, peer: PeerId) -> bool {
        let mut sources = self.flows.iter().filter_map(|flow| flow.source_of(peer));
        sources.any(|source| source.paused_at.is_some())
    }

    /// Returns whether a peer sends another block before this one, or has to.
    fn is_busy_before(&self, peer: PeerId, hash: Hash256) -> bool {
        let is_other = |flow: &Flow| flow.hash != hash && flow.source_of(peer).is_some();
        self.flows.iter().any(is_other) || self.peers.get(peer).is_some_and(|about| about.sends_unread)
    }

    /// Lists the blocks that were requested from a peer and have not begun to arrive, each with its request's number.
    fn awaited_from(&self, peer: PeerId) -> impl Iterator<Item = (u64, Hash256)> {
        let awaited = move |flow: &Flow| {
            let source = flow.source_of(peer).filter(|source| source.stream.is_none())?;
            Some((source.number, flow.hash))
        };
        self.flows.iter().filter_map(awaited)
    }

    fn forget_arriving(&mut self, peer: PeerId, stream: StreamType) {
        self.arriving.retain(|block| !block.is_from(peer, stream));
    }

    fn flow(&self, hash: Hash256) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.hash == hash)
    }

    fn flow_mut(&mut self, hash: Hash256) -> Option<&mut Flow> {
        self.flows.iter_mut().find(|flow| flow.hash == hash)
    }

    fn flow_from(&mut self, peer: PeerId) -> impl Iterator<Item = &mut Flow> {
        self.flows.iter_mut().filter(move |flow| flow.source_of(peer).is_some())
    }
}
