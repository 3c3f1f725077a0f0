//! A relay of transactions and blocks: a plain [`Handler`](crate::Handler).
//!
//! It announces each transaction in the turn in which it was accepted, and passes a block on while it arrives.
//!
//! *Upstreams* are nodes that validate; the relay believes their announcements, fetches the transactions, and announces
//! them to all other peers, the *leaf peers*. A leaf's transaction is submitted to the upstreams, and announced to
//! other leaf peers once an upstream has announced it; see [`TrustMode`]. Nothing is added to a transaction, and no
//! script is validated here. The manual has [more](crate::manual::relay).
//!
//! - Every `getdata` item is answered by the transaction, the block or `notfound`, or the link is closed.
//! - No transaction is announced twice to a peer while it is remembered, and none is lost unless
//!   [`RelayCounts::announcements_lost`] counts it. Announcements keep the order of acceptance.
//! - A peer that reads slowly delays no announcement to another one. It receives fewer and larger announcements. A slow
//!   reader of a large block may hold the block's source for 250 ms in total, and is closed then, unless it is
//!   [tethered](RelayConfig::tethered).
//! - The last byte of a block is sent only if the block's length, Merkle root and checksum are right. If the source of
//!   a block is lost in the middle, another one continues, and the receivers do not notice it.
//! - Peers that are neither upstreams nor trusted cause fetches of old blocks only within a budget per host and day.
//! - All memory has a stated maximum; see [`RelayConfig::max_memory_bytes`]. Everything that is dropped is counted.
//!
//! A [`Pipe`](pipe::Pipe) is the other, simpler relay: it joins two nodes verbatim.
//!
//! Blocks are relayed on regtest, and on other networks from a [`HeaderAnchor`] on. It is learned from an upstream by
//! default; until then, a `getdata` for a block ends its link. Compact blocks are passed on as they are; see
//! [`CompactBlocks`]. Bloom filters are not served. Fees are not computed, so a fee filter is ignored unless it is so
//! high that its peer wants nothing.
//!
//! ```no_run
//! use peerloop::relay::{Relay, RelayConfig, RelayRequest};
//! use peerloop::{Config, Network, Reactor};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let relay = Relay::new(RelayConfig::new(vec!["127.0.0.1:18444".parse()?]));
//! let mut reactor = Reactor::new(Config::new(Network::Regtest), relay)?;
//! reactor.listen("127.0.0.1:18555".parse()?)?;
//! let (request, report) = RelayRequest::submit(vec![0; 10]);
//! reactor.handle().request(request)?;
//! std::thread::spawn(move || println!("{:?}", report.wait()));
//! reactor.run()?;
//! # Ok(())
//! # }
//! ```

// The tables send nothing: `inventory`, `peers`, `pool`, `request`, `submissions`, `upstreams`, `fanout`, `hops`,
// `headers`, `window` and `transit`. `core` holds them, and `incoming`, `announce`, `getdata`, `large` and `blocks` are
// its steps. `handler` connects the steps to the loop and to the policy.
mod announce;
mod batch;
mod bits;
mod blocks;
mod body;
mod config;
mod core;
mod event;
mod fanout;
mod getdata;
mod handler;
mod headers;
mod hops;
mod incoming;
mod index;
mod inventory;
mod large;
mod link;
mod memory;
mod offsets;
mod peers;
mod percentile;
pub mod pipe;
mod policy;
mod pool;
mod request;
mod serve;
mod stats;
mod submissions;
mod transit;
mod upstreams;
mod window;

pub use config::{CompactBlocks, RelayConfig};
pub use event::{
    BlockForm, BlockHop, BlockRelayed, Rebuilt, Rejection, RelayEvent, RelayStep, SubmitOutcome, SubmitReport,
};
pub use headers::{AcceptedHeaders, AnchorSource, HeaderAnchor, InvalidAnchor, InvalidSavedHeaders};
pub use hops::{HopSummary, Hops, ReceiverHops, ReceiverSummary};
pub use link::UpstreamLink;
pub use policy::{IncomingTransaction, LargeTransaction, PolicyDecision, RelayAll, RelayPolicy, TrustMode};
pub use request::RequestCounts;
pub use stats::{RelayCounts, RelayStats, UpstreamStats};

use crate::api::{Pending, Reply};
use crate::wire::BlockHeader;
use core::Core;
use std::fmt;
use std::net::SocketAddr;

/// A relay of transactions, as a handler. It can share a loop with an embedder's own handler as a pair.
///
/// ```
/// use peerloop::load::Responder;
/// use peerloop::relay::{Relay, RelayAll, RelayConfig};
/// use peerloop::{Config, Network, Reactor};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = RelayConfig::new(Vec::new()).with_tx_pool_bytes(16 * 1024 * 1024).with_max_seen(100_000);
/// println!("at most {} MB for 1,000 peers", config.max_memory_bytes(1_000) / 1_000_000);
/// let handlers = (Relay::new(config), Responder::default());
/// let mut reactor = Reactor::new(Config::new(Network::Regtest), handlers)?;
/// reactor.poll_once(std::time::Duration::ZERO)?;
/// let (relay, _) = reactor.handler_mut();
/// println!("{} announced, first after {:?}", relay.stats().counts.accepted, relay.hops().hop_first.percentile(50.0));
/// assert_eq!(relay.policy(), &RelayAll);
/// *relay.policy_mut() = RelayAll;
/// # Ok(())
/// # }
/// ```
pub struct Relay<P = RelayAll> {
    core: Core,
    policy: P,
}

/// A request from another thread to a relay.
#[derive(Debug)]
#[non_exhaustive]
pub enum RelayRequest {
    /// Submit a transaction; see [`RelayRequest::submit`].
    Submit {
        /// The transaction, without a header.
        transaction: Vec<u8>,
        /// Receives the report.
        reply: Reply<SubmitReport>,
    },
    /// Replace the upstreams. Links to those that stay are kept.
    SetUpstreams {
        /// All upstreams.
        upstreams: Vec<SocketAddr>,
    },
    /// Report the counters and gauges.
    Stats {
        /// Receives the report.
        reply: Reply<RelayStats>,
    },
    /// Return headers of the chain; see [`RelayRequest::headers`].
    Headers {
        /// The position of the first one.
        from: usize,
        /// Receives the headers.
        reply: Reply<AcceptedHeaders>,
    },
    /// Return the histograms of latencies, and continue to record in `spare`.
    TakeHops {
        /// The histograms that replace the returned ones.
        spare: Box<Hops>,
        /// Receives the histograms.
        reply: Reply<Box<Hops>>,
    },
}

impl RelayRequest {
    /// Returns a request that submits a transaction to the upstreams, and the pending report. The report arrives once
    /// an upstream has announced or rejected the transaction, and after 10 s at the latest.
    pub fn submit(transaction: Vec<u8>) -> (Self, Pending<SubmitReport>) {
        let (reply, pending) = Pending::new();
        (Self::Submit { transaction, reply }, pending)
    }

    /// Returns a request for the counters and gauges, and the pending report.
    pub fn stats() -> (Self, Pending<RelayStats>) {
        let (reply, pending) = Pending::new();
        (Self::Stats { reply }, pending)
    }

    /// Returns a request for the headers of the chain from a position on, and the pending headers. The positions count
    /// the headers above the anchor, on all branches, in the order in which they were accepted, so a program that saves
    /// them requests those after the last saved one; see [`Relay::restore_headers`].
    pub fn headers(from: usize) -> (Self, Pending<AcceptedHeaders>) {
        let (reply, pending) = Pending::new();
        (Self::Headers { from, reply }, pending)
    }

    /// Returns a request for the histograms of latencies, which `spare` replaces, and the pending histograms.
    pub fn take_hops(spare: Box<Hops>) -> (Self, Pending<Box<Hops>>) {
        let (reply, pending) = Pending::new();
        (Self::TakeHops { spare, reply }, pending)
    }

    /// Returns a request that replaces the upstreams.
    pub fn set_upstreams(upstreams: Vec<SocketAddr>) -> Self {
        Self::SetUpstreams { upstreams }
    }
}

impl Relay {
    /// Creates a relay with the policy [`RelayAll`]. Values outside their ranges are moved into them.
    pub fn new(config: RelayConfig) -> Self {
        Self::with_policy(config, RelayAll)
    }
}

impl<P: RelayPolicy> Relay<P> {
    /// Creates a relay whose transactions `policy` decides about.
    pub fn with_policy(config: RelayConfig, policy: P) -> Self {
        Self { core: Core::new(config), policy }
    }

    /// Restores the headers of an earlier run before the loop starts, so that only newer ones are requested. `headers`
    /// are those above the anchor, in the order of [`RelayRequest::headers`]. Each is checked as a new one is, about
    /// 0.17 s for 100,000. If the loop is of another network, they are logged and not used.
    ///
    /// ```
    /// use peerloop::relay::{HeaderAnchor, Relay, RelayConfig, RelayRequest};
    /// use peerloop::{Config, Network, Reactor};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut relay = Relay::new(RelayConfig::new(Vec::new()));
    /// relay.restore_headers(&HeaderAnchor::genesis_of_regtest(), &[])?;
    /// let mut reactor = Reactor::new(Config::new(Network::Regtest), relay)?;
    /// let (request, mut pending) = RelayRequest::headers(0);
    /// reactor.handle().request(request)?;
    /// reactor.poll_once(Duration::ZERO)?;
    /// let accepted = pending.wait_timeout(Duration::from_secs(1))?.expect("the loop has replied");
    /// assert_eq!((accepted.anchor, accepted.headers), (Some(HeaderAnchor::genesis_of_regtest()), vec![]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidSavedHeaders`] if the settings name another anchor, or a header would not be accepted. Then nothing is
    /// restored.
    pub fn restore_headers(
        &mut self,
        anchor: &HeaderAnchor,
        headers: &[BlockHeader],
    ) -> Result<(), InvalidSavedHeaders> {
        let config = &self.core.config;
        let chain = headers::restore(&config.anchor, anchor, headers, config.max_headers)?;
        self.core.blocks.restore(chain);
        Ok(())
    }

    /// Returns the counters and gauges. This examines all peers and summarises the histograms, so do not call it for
    /// each message.
    pub fn stats(&self) -> RelayStats {
        self.core.stats()
    }

    /// Returns the histograms of latencies.
    pub fn hops(&self) -> &Hops {
        &self.core.hops
    }

    /// Returns the policy.
    pub fn policy(&self) -> &P {
        &self.policy
    }

    /// Returns a mutable reference to the policy.
    pub fn policy_mut(&mut self) -> &mut P {
        &mut self.policy
    }
}

impl<P> fmt::Debug for Relay<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("config", &self.core.config).finish_non_exhaustive()
    }
}
