//! The settings of a relay. They are plain values; [`RelayConfig::in_range`] moves each into its range.

use super::headers::AnchorSource;
use super::policy::TrustMode;
use crate::limits::{
    MAX_RELAY_ENTRIES, MAX_RELAY_HEADERS, MAX_RELAY_SEEN, MAX_RELAY_TETHERED, MAX_RELAY_UPSTREAMS, RELAY_ENTRIES,
    RELAY_HEADERS, RELAY_LEAF_RATE, RELAY_OLD_BLOCK_BYTES_PER_DAY, RELAY_OLD_BLOCK_BYTES_PER_HOST, RELAY_POOL_BYTES,
    RELAY_SEEN, RELAY_SMALL_BLOCKS_BYTES,
};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The peers with which a relay exchanges compact blocks (BIP 152), if they support them.
///
/// A compact block names the transactions of a block by six bytes each. A peer that already has them, because they
/// passed through the relay, needs nothing else, so it has the block after one message of 1 to 2 % of the block's
/// length. Without compact blocks, a peer requests the whole block, and receives it while it arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompactBlocks {
    /// None. All peers request whole blocks.
    Off,
    /// The upstreams only.
    Upstreams,
    /// All peers.
    #[default]
    All,
}

/// The settings of a [`Relay`](super::Relay).
///
/// ```
/// use peerloop::relay::{RelayConfig, TrustMode};
///
/// let config = RelayConfig::new(vec!["127.0.0.1:18444".parse().unwrap()])
///     .with_trust(TrustMode::Validated)
///     .with_tx_pool_bytes(64 * 1024 * 1024);
/// assert_eq!(config.upstreams.len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayConfig {
    /// The nodes whose announcements are believed, at most
    /// [`MAX_RELAY_UPSTREAMS`](crate::limits::MAX_RELAY_UPSTREAMS); further ones are ignored. The relay dials them
    /// itself, and dials them again after a pause of 1 to 60 s. Each should whitelist this host
    /// (`-whitelist=OUR_IP -whitelistforcerelay=0`): an invalid transaction of a leaf would otherwise ban this host.
    /// The second option is necessary in the mode [`TrustMode::Validated`]: without it, an SV Node announces double
    /// spends of a whitelisted peer although it has refused them.
    pub upstreams: Vec<SocketAddr>,
    /// The treatment of transactions from leaf peers. Default: [`TrustMode::Validated`].
    pub trust: TrustMode,
    /// The number of links to each upstream, 1 or 2. The second link only listens, so that the upstream's announcement
    /// of a submitted transaction is seen. Default: 2, and 1 in the mode [`TrustMode::Trusted`].
    pub upstream_links: usize,
    /// Whether transactions are sent to upstreams without waiting for their requests, which saves a round trip.
    /// Default: off.
    pub push: bool,
    /// The time after which a submitted transaction counts as accepted although no upstream has announced it, if none
    /// has rejected it. It begins with the first announcement to an upstream. This lets double spends and orphans pass,
    /// because an SV Node rejects neither. Default: `None`, which never accepts on silence.
    pub accept_on_silence: Option<Duration>,
    /// The maximum number of bytes that the bodies of transactions retain, including the large ones that still arrive,
    /// which use at most half of it, and those of leaf peers a quarter. Default: 256 MiB.
    pub tx_pool_bytes: usize,
    /// The maximum number of transactions with announcers, from 1 to
    /// [`MAX_RELAY_ENTRIES`](crate::limits::MAX_RELAY_ENTRIES), up to 84 bytes each. Default: 100,000.
    pub max_entries: usize,
    /// The maximum number of dropped transactions that are remembered for 15 minutes, from 1 to
    /// [`MAX_RELAY_SEEN`](crate::limits::MAX_RELAY_SEEN), 17 bytes each at the default. Default: 2,000,000.
    pub max_seen: usize,
    /// The rate at which a leaf may announce or send new transactions, per second, with a burst of ten seconds. Further
    /// ones are dropped and counted. Default: 100.
    pub leaf_tx_per_second: u32,
    /// Where the chain of headers begins. Default: [`AnchorSource::Network`].
    pub anchor: AnchorSource,
    /// The maximum number of headers, from 1 to 4,000,000, 190 bytes each. Headers beyond it are refused, so that the
    /// chain ends there. Default: 1,000,000.
    pub max_headers: usize,
    /// The maximum number of bytes that small blocks retain, of up to 32 MiB each, which are served again without a
    /// fetch. Default: 128 MiB.
    pub small_blocks_bytes: usize,
    /// The maximum number of bytes of old blocks that the peers of one host may request per day. A block is old if it
    /// has six descendants, and for a host that has requested it before; compact blocks on request and single
    /// transactions of a block always count. Upstreams and peers of
    /// [trusted networks](crate::config::ManagerConfig::trusted) have no maximum. A block of unknown length is
    /// requested from an upstream only while 32 MiB remain. Default: 4 GiB.
    pub old_block_bytes_per_host: u64,
    /// The same for all hosts together. Default: 100 GiB.
    pub old_block_bytes_per_day: u64,
    /// The peers with which compact blocks are exchanged. Default: [`CompactBlocks::All`].
    pub compact_blocks: CompactBlocks,
    /// The networks, each an address and its prefix length in bits, whose peers may hold the source of a block for as
    /// long as they read it at 1 MB/s or faster, at most four peers per block. All others are closed if they read more
    /// slowly than the source for 250 ms. A tethered peer slows the block down for all others. At most
    /// [`MAX_RELAY_TETHERED`](crate::limits::MAX_RELAY_TETHERED); further ones are ignored. Default: none.
    pub tethered: Vec<(IpAddr, u8)>,
    /// The upload, in bytes per second, that the readers of passing blocks above 32 MiB share. While such a block
    /// passes, further readers than the upload carries at the block's rate are refused, with a `reject` and a close, so
    /// that the ones before them keep up; its first reader and upstreams are not. Default: `None`, no limit.
    pub live_upload_bytes_per_second: Option<u64>,
    /// Whether the newest block is requested from two upstreams at the same time, if two have it: the bytes of the
    /// faster one pass, and the readers hardly wait if one is lost. This doubles the download and the hashing. Default:
    /// false.
    pub race: bool,
}

impl RelayConfig {
    /// Returns the defaults for a relay between these upstreams and all other peers.
    pub fn new(upstreams: Vec<SocketAddr>) -> Self {
        Self {
            upstreams,
            trust: TrustMode::default(),
            upstream_links: 2,
            push: false,
            accept_on_silence: None,
            tx_pool_bytes: RELAY_POOL_BYTES,
            max_entries: RELAY_ENTRIES,
            max_seen: RELAY_SEEN,
            leaf_tx_per_second: RELAY_LEAF_RATE,
            anchor: AnchorSource::default(),
            max_headers: RELAY_HEADERS,
            small_blocks_bytes: RELAY_SMALL_BLOCKS_BYTES,
            old_block_bytes_per_host: RELAY_OLD_BLOCK_BYTES_PER_HOST,
            old_block_bytes_per_day: RELAY_OLD_BLOCK_BYTES_PER_DAY,
            compact_blocks: CompactBlocks::default(),
            tethered: Vec::new(),
            live_upload_bytes_per_second: None,
            race: false,
        }
    }

    /// Sets the treatment of transactions from leaf peers. The mode [`TrustMode::Trusted`] also sets
    /// [`upstream_links`](Self::upstream_links) to 1, and every other mode sets it to 2.
    #[must_use]
    pub fn with_trust(self, trust: TrustMode) -> Self {
        Self { trust, upstream_links: if trust == TrustMode::Trusted { 1 } else { 2 }, ..self }
    }

    /// Sets the number of links to each upstream, 1 or 2.
    #[must_use]
    pub fn with_upstream_links(self, upstream_links: usize) -> Self {
        Self { upstream_links, ..self }
    }

    /// Sets whether transactions are sent to upstreams without waiting for their requests.
    #[must_use]
    pub fn with_push(self, push: bool) -> Self {
        Self { push, ..self }
    }

    /// Sets the time after which silence counts as acceptance.
    #[must_use]
    pub fn with_accept_on_silence(self, accept_on_silence: Option<Duration>) -> Self {
        Self { accept_on_silence, ..self }
    }

    /// Sets the maximum number of bytes that the bodies of transactions retain.
    #[must_use]
    pub fn with_tx_pool_bytes(self, tx_pool_bytes: usize) -> Self {
        Self { tx_pool_bytes, ..self }
    }

    /// Sets the maximum number of transactions with announcers.
    #[must_use]
    pub fn with_max_entries(self, max_entries: usize) -> Self {
        Self { max_entries, ..self }
    }

    /// Sets the maximum number of dropped transactions that are remembered.
    #[must_use]
    pub fn with_max_seen(self, max_seen: usize) -> Self {
        Self { max_seen, ..self }
    }

    /// Sets the rate at which a leaf may announce or send new transactions, per second.
    #[must_use]
    pub fn with_leaf_tx_per_second(self, leaf_tx_per_second: u32) -> Self {
        Self { leaf_tx_per_second, ..self }
    }

    /// Sets the start of the chain of headers.
    #[must_use]
    pub fn with_anchor(self, anchor: AnchorSource) -> Self {
        Self { anchor, ..self }
    }

    /// Sets the maximum number of headers.
    #[must_use]
    pub fn with_max_headers(self, max_headers: usize) -> Self {
        Self { max_headers, ..self }
    }

    /// Sets the maximum number of bytes that small blocks retain.
    #[must_use]
    pub fn with_small_blocks_bytes(self, small_blocks_bytes: usize) -> Self {
        Self { small_blocks_bytes, ..self }
    }

    /// Sets the maximum number of bytes of old blocks that the peers of one host may request per day.
    #[must_use]
    pub fn with_old_block_bytes_per_host(self, old_block_bytes_per_host: u64) -> Self {
        Self { old_block_bytes_per_host, ..self }
    }

    /// Sets the maximum number of bytes of old blocks that all hosts together may request per day.
    #[must_use]
    pub fn with_old_block_bytes_per_day(self, old_block_bytes_per_day: u64) -> Self {
        Self { old_block_bytes_per_day, ..self }
    }

    /// Sets the peers with which compact blocks are exchanged.
    #[must_use]
    pub fn with_compact_blocks(self, compact_blocks: CompactBlocks) -> Self {
        Self { compact_blocks, ..self }
    }

    /// Sets the networks whose peers may hold the source of a block.
    #[must_use]
    pub fn with_tethered(self, tethered: Vec<(IpAddr, u8)>) -> Self {
        Self { tethered, ..self }
    }

    /// Sets the upload that the readers of passing large blocks share, in bytes per second.
    #[must_use]
    pub fn with_live_upload(self, live_upload_bytes_per_second: Option<u64>) -> Self {
        Self { live_upload_bytes_per_second, ..self }
    }

    /// Sets whether the newest block is requested from two upstreams at the same time.
    #[must_use]
    pub fn with_race(self, race: bool) -> Self {
        Self { race, ..self }
    }

    /// Returns the settings with every value in its range.
    pub(super) fn in_range(mut self) -> Self {
        self.upstreams.truncate(MAX_RELAY_UPSTREAMS);
        self.tethered.truncate(MAX_RELAY_TETHERED);
        self.upstream_links = self.upstream_links.clamp(1, 2);
        self.max_entries = self.max_entries.clamp(1, MAX_RELAY_ENTRIES);
        self.max_seen = self.max_seen.clamp(1, MAX_RELAY_SEEN);
        self.max_headers = self.max_headers.clamp(1, MAX_RELAY_HEADERS);
        self
    }
}

impl fmt::Display for CompactBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Upstreams => "upstreams",
            Self::All => "all",
        })
    }
}
