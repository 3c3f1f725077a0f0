//! The counters and gauges of a relay, as plain values. The steps count; nothing here decides anything.

use super::hops::HopSummary;
use super::request::RequestCounts;
use std::net::SocketAddr;

/// A snapshot of a relay's counters and gauges. Counters start at zero with the relay.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RelayStats {
    /// Ready peers that are no upstreams.
    pub leaf_peers: usize,
    /// Ready links to upstreams.
    pub upstream_links: usize,
    /// Transactions with announcers.
    pub entries: usize,
    /// Dropped transactions that are still remembered.
    pub seen: usize,
    /// Bodies in the pool.
    pub bodies: usize,
    /// Bytes that the bodies retain.
    pub pool_bytes: usize,
    /// Requests in flight.
    pub in_flight: usize,
    /// Submitted transactions that are followed.
    pub following: usize,
    /// Bytes of unanswered `getdata` messages.
    pub pending_bytes: usize,
    /// The height of the best chain of headers; `None` without a chain.
    pub tip_height: Option<u32>,
    /// Headers, on all branches.
    pub headers: usize,
    /// Blocks that are passing.
    pub passing_blocks: usize,
    /// Bytes that the passing blocks retain.
    pub passing_block_bytes: usize,
    /// Small blocks that are kept.
    pub kept_blocks: usize,
    /// Bytes that the kept blocks retain.
    pub kept_block_bytes: usize,
    /// The counts of transactions, blocks and messages.
    pub counts: RelayCounts,
    /// The counts of requests.
    pub requests: RequestCounts,
    /// The latencies.
    pub hops: HopSummary,
    /// The upstreams, at most [`MAX_RELAY_UPSTREAMS`](crate::limits::MAX_RELAY_UPSTREAMS).
    pub upstreams: Vec<UpstreamStats>,
}

/// The state of an upstream's links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamStats {
    /// The upstream's address.
    pub address: SocketAddr,
    /// Links, 1 or 2, whether connected or not.
    pub links: usize,
    /// Links whose handshake is complete.
    pub ready_links: usize,
    /// The largest number of consecutive failures of one link that is not ready: dials, and losses within 30 s of the
    /// handshake. A later loss counts as the first.
    pub failed_dials: u32,
}

impl UpstreamStats {
    /// Returns the state of an upstream, for tests of code that uses it.
    pub const fn new(address: SocketAddr, links: usize, ready_links: usize, failed_dials: u32) -> Self {
        Self { address, links, ready_links, failed_dials }
    }
}

/// The counts of a relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayCounts {
    /// Transactions that were accepted, that is, announced to all peers.
    pub accepted: u64,
    /// Transactions that were submitted to the upstreams.
    pub submitted: u64,
    /// Submitted transactions that were announced to the upstreams again.
    pub resubmitted: u64,
    /// Submitted transactions that an upstream has announced.
    pub seen_back: u64,
    /// Transactions that an upstream has rejected.
    pub rejected: u64,
    /// Submitted transactions that were accepted because no upstream had rejected them in time.
    pub accepted_on_silence: u64,
    /// Items of received `inv` messages.
    pub inv_items_received: u64,
    /// Items of sent `inv` messages.
    pub inv_items_sent: u64,
    /// `inv` messages that were sent.
    pub invs_sent: u64,
    /// Encoded `inv` messages, each of which was sent to one or more peers.
    pub invs_encoded: u64,
    /// Hops to a first or last receiver that are missing in the latencies: the receiver had announced the transaction
    /// itself, or too many announcements waited to be written.
    pub hops_unmeasured: u64,
    /// Followed transactions that were dropped, because too many were submitted.
    pub submissions_dropped: u64,
    /// Announcements that a peer missed, because it was too far behind, their entries were dropped, or its queue had no
    /// room for the whole answer to its `mempool`.
    pub announcements_lost: u64,
    /// Transactions that were served.
    pub served: u64,
    /// Items that were answered with `notfound`.
    pub not_found: u64,
    /// Announced and sent transactions that were dropped because their leaf exceeded its rate.
    pub over_rate: u64,
    /// Announcements that were dropped because a message had too many items or its peer too many announcements, or
    /// because a leaf's transaction would have displaced a held one.
    pub over_limit: u64,
    /// Announcers that were forgotten for lack of room. Each may receive an announcement of its own transaction.
    pub announcers_dropped: u64,
    /// Announcements of transactions that were dropped after they had been relayed.
    pub seen_again: u64,
    /// Transactions that were too large to be relayed.
    pub oversized: u64,
    /// Large transactions that have arrived whole and right. A large one is longer than the loop buffers.
    pub large_received: u64,
    /// Large transactions that were dropped because too many arrived at a time, or because they arrived too slowly.
    pub large_dropped: u64,
    /// Links that were closed because their large transaction was dropped before they had read it.
    pub large_readers_cut: u64,
    /// Transactions of leaf peers, and large ones of any peer, that could not be decoded.
    pub malformed: u64,
    /// Transactions that the policy has dropped.
    pub dropped_by_policy: u64,
    /// Held transactions that were dropped because the pool had no room for more.
    pub held_dropped: u64,
    /// Bodies that were dropped because the pool was full.
    pub pool_evicted: u64,
    /// Remembered transactions that were dropped because too many had been announced.
    pub seen_evicted: u64,
    /// Fee filters that were not applied, because a relay cannot compute fees.
    pub fee_unknown: u64,
    /// Requests for blocks, each of which ended its link.
    pub blocks_refused: u64,
    /// Requests for blocks among them that exceeded a budget.
    pub blocks_over_budget: u64,
    /// Bytes of blocks, compact blocks, their transactions, and headers of upstreams that were charged to the budgets
    /// of hosts.
    pub old_block_bytes: u64,
    /// Blocks that were sent whole to a peer.
    pub blocks_served: u64,
    /// Blocks that have passed.
    pub blocks_relayed: u64,
    /// Blocks, or sources of blocks, that were wrong.
    pub blocks_wrong: u64,
    /// Changes of the source of a passing block.
    pub block_fail_overs: u64,
    /// Blocks that were also requested from a second upstream at the same time.
    pub blocks_raced: u64,
    /// Readers of blocks that were closed, because they were too slow or the block could not be completed.
    pub block_readers_cut: u64,
    /// Headers of upstreams that were refused, and replies with other headers than those requested.
    pub headers_refused: u64,
    /// Requests for headers that were answered with the reply of an upstream.
    pub header_requests_relayed: u64,
    /// Requests for headers that were not answered, each of which ended its link.
    pub header_requests_refused: u64,
    /// Announcements of new blocks, one for each peer.
    pub tips_announced: u64,
    /// Compact blocks that upstreams have announced and that were passed on or held.
    pub compact_blocks_received: u64,
    /// Compact blocks that were sent to a peer, as an announcement or on request.
    pub compact_blocks_sent: u64,
    /// Compact blocks that were rebuilt from the pool, and kept as small blocks.
    pub compact_blocks_rebuilt: u64,
    /// Compact blocks among the rebuilt ones of which some transactions were requested from an upstream.
    pub compact_blocks_completed: u64,
    /// Compact blocks, and replies with their transactions, that did not match their block.
    pub compact_blocks_wrong: u64,
    /// Requests for single transactions of a block that were answered from memory.
    pub blocktxn_served: u64,
    /// Requests for single transactions of a block that were answered with the reply of an upstream.
    pub blocktxn_relayed: u64,
    /// Links to leaf peers that were closed because too many items waited for an answer.
    pub serving_overruns: u64,
    /// `dsdetected` and `revokemid` messages that were passed on.
    pub alerts: u64,
    /// Dials of upstreams that were refused by this side, for example because the address is in use.
    pub dials_refused: u64,
}
