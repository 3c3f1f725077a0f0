//! The settings of a responder: the data that it serves, and the ways in which it misbehaves on purpose.

use crate::config::Config;
use crate::limits::{
    MAX_RESPONDER_BLOCK_BYTES, MAX_RESPONDER_BLOCKS, MIN_RESPONDER_BLOCK_BYTES, RESPONDER_BLOCK_BYTES,
    RESPONDER_BLOCKS, RESPONDER_POOL_BYTES,
};
use crate::load::rate::Rate;
use bytes::Bytes;
use std::time::Duration;

/// The settings of a [`Responder`](super::Responder).
///
/// By default a responder answers everything at once. A *reply* below is the answer to one message of a peer: the pong
/// to a `ping`, the `headers` to a `getheaders`, the `getdata` to an `inv`, and everything that answers one `getdata`.
/// The settings combine in this order: a reply is dropped by [`drop_share`](Self::drop_share), or delayed by
/// [`min_delay`](Self::min_delay) to [`max_delay`](Self::max_delay); then it waits for its turn under
/// [`max_rate`](Self::max_rate) and for the end of a [`stall`](Self::stall). Handshakes and announcements are never
/// affected, nor is a block that is being sent.
///
/// ```
/// use peerloop::load::{Rate, Responder, ResponderConfig, Stall};
/// use peerloop::{Config, Network, Reactor};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let millis = Duration::from_millis;
/// let bad = ResponderConfig::default()
///     .with_delay(millis(1), millis(5))
///     .with_drop_share(0.01)
///     .with_stall(Stall::new(millis(200), Duration::from_secs(10)))
///     .with_close_after(Some(Duration::from_secs(60)))
///     .with_max_rate(Some(Rate::per_second(20_000)));
/// assert!(bad.alters_replies());
/// let config = bad.loop_config(Config::new(Network::Regtest));
/// let reactor = Reactor::new(config, Responder::new(bad))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ResponderConfig {
    /// Shortest delay of a reply. Default zero.
    pub min_delay: Duration,
    /// Longest delay of a reply. The delay of each reply is drawn from the range, evenly and independently, so replies
    /// to one peer may overtake each other. Default zero.
    pub max_delay: Duration,
    /// Share of messages that are never answered, 0 to 1. Each one is drawn. Default 0.
    pub drop_share: f64,
    /// The times in which no reply is sent. Default none.
    pub stall: Option<Stall>,
    /// The time after which each peer is closed, from the end of its handshake. Default none.
    pub close_after: Option<Duration>,
    /// Maximum rate of the replies to all peers together, in even steps: two replies are at least one step apart, so no
    /// second has more replies than the rate allows. A reply that would wait for more than
    /// [`RESPONDER_RATE_QUEUE`](crate::limits::RESPONDER_RATE_QUEUE), 100 ms, is dropped. Default none.
    pub max_rate: Option<Rate>,
    /// Number of blocks after the genesis block. 1 to [`MAX_RESPONDER_BLOCKS`]; default 2,000.
    pub blocks: u32,
    /// Length of each of these blocks, in bytes. [`MIN_RESPONDER_BLOCK_BYTES`] to [`MAX_RESPONDER_BLOCK_BYTES`];
    /// default 1 MiB.
    pub block_bytes: u64,
    /// Transactions that are served from the beginning, each encoded without a message header.
    pub transactions: Vec<Bytes>,
    /// Maximum number of bytes that all transactions retain. The oldest are dropped first, and counted. Default
    /// [`RESPONDER_POOL_BYTES`], 64 MiB.
    pub pool_bytes: usize,
    /// Whether each new transaction from a peer is announced to all other peers at once. Default false.
    pub announce: bool,
}

/// Pauses of equal length at equal intervals. The first one begins one interval after the loop's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    length: Duration,
    interval: Duration,
}

impl Stall {
    /// Returns pauses of `length` that begin once every `interval`; `None` unless `length` is above zero and shorter
    /// than `interval`.
    pub fn new(length: Duration, interval: Duration) -> Option<Self> {
        (!length.is_zero() && length < interval).then_some(Self { length, interval })
    }

    /// Returns the length of each pause.
    pub const fn length(self) -> Duration {
        self.length
    }

    /// Returns the time between the beginnings of two pauses.
    pub const fn interval(self) -> Duration {
        self.interval
    }
}

impl ResponderConfig {
    /// Sets the range from which each reply's delay is drawn. A `max` below `min` counts as `min`.
    #[must_use]
    pub fn with_delay(self, min: Duration, max: Duration) -> Self {
        Self { min_delay: min, max_delay: max.max(min), ..self }
    }

    /// Sets the share of messages that are never answered. A value outside 0 to 1 counts as the nearest one inside.
    #[must_use]
    pub fn with_drop_share(self, drop_share: f64) -> Self {
        Self { drop_share, ..self }
    }

    /// Sets the times in which no reply is sent.
    #[must_use]
    pub fn with_stall(self, stall: Option<Stall>) -> Self {
        Self { stall, ..self }
    }

    /// Sets the time after which each peer is closed.
    #[must_use]
    pub fn with_close_after(self, close_after: Option<Duration>) -> Self {
        Self { close_after, ..self }
    }

    /// Sets the maximum rate of the replies.
    #[must_use]
    pub fn with_max_rate(self, max_rate: Option<Rate>) -> Self {
        Self { max_rate, ..self }
    }

    /// Sets the number of blocks after the genesis block.
    #[must_use]
    pub fn with_blocks(self, blocks: u32) -> Self {
        Self { blocks, ..self }
    }

    /// Sets the length of each block.
    #[must_use]
    pub fn with_block_bytes(self, block_bytes: u64) -> Self {
        Self { block_bytes, ..self }
    }

    /// Sets the transactions that are served from the beginning.
    #[must_use]
    pub fn with_transactions(self, transactions: Vec<Bytes>) -> Self {
        Self { transactions, ..self }
    }

    /// Sets the maximum number of bytes that all transactions retain.
    #[must_use]
    pub fn with_pool_bytes(self, pool_bytes: usize) -> Self {
        Self { pool_bytes, ..self }
    }

    /// Sets whether each new transaction is announced to all other peers.
    #[must_use]
    pub fn with_announce(self, announce: bool) -> Self {
        Self { announce, ..self }
    }

    /// Returns whether a setting drops or delays replies. Closing peers does not count.
    pub fn alters_replies(&self) -> bool {
        !self.max_delay.is_zero() || self.drop_share > 0.0 || self.stall.is_some() || self.max_rate.is_some()
    }

    /// Returns a loop's configuration with the changes that these settings need. If a setting alters replies, the
    /// responder must answer pings itself, so [`Config::answer_pings`] is off. On a loop that answers them, pongs are
    /// neither dropped nor delayed.
    pub fn loop_config(&self, config: Config) -> Config {
        if self.alters_replies() { config.with_answer_pings(false) } else { config }
    }

    /// Returns the settings with every value in its range.
    pub(super) fn in_range(self) -> Self {
        let drop_share = if self.drop_share.is_nan() { 0.0 } else { self.drop_share.clamp(0.0, 1.0) };
        Self {
            max_delay: self.max_delay.max(self.min_delay),
            drop_share,
            blocks: self.blocks.clamp(1, MAX_RESPONDER_BLOCKS),
            block_bytes: self.block_bytes.clamp(MIN_RESPONDER_BLOCK_BYTES, MAX_RESPONDER_BLOCK_BYTES),
            ..self
        }
    }
}

impl Default for ResponderConfig {
    fn default() -> Self {
        Self {
            min_delay: Duration::ZERO,
            max_delay: Duration::ZERO,
            drop_share: 0.0,
            stall: None,
            close_after: None,
            max_rate: None,
            blocks: RESPONDER_BLOCKS,
            block_bytes: RESPONDER_BLOCK_BYTES,
            transactions: Vec::new(),
            pool_bytes: RESPONDER_POOL_BYTES,
            announce: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Network;

    #[test]
    fn values_out_of_range_are_clamped() {
        let wrong = ResponderConfig {
            min_delay: Duration::from_secs(2),
            max_delay: Duration::from_secs(1),
            drop_share: f64::NAN,
            blocks: 0,
            block_bytes: 0,
            ..ResponderConfig::default()
        };
        let clamped = wrong.clone().in_range();
        assert_eq!((clamped.max_delay, clamped.drop_share), (Duration::from_secs(2), 0.0));
        assert_eq!((clamped.blocks, clamped.block_bytes), (1, MIN_RESPONDER_BLOCK_BYTES));
        let wrong = ResponderConfig { drop_share: f64::INFINITY, blocks: u32::MAX, block_bytes: u64::MAX, ..wrong };
        let clamped = wrong.in_range();
        assert_eq!((clamped.drop_share, clamped.blocks), (1.0, MAX_RESPONDER_BLOCKS));
        assert_eq!(clamped.block_bytes, MAX_RESPONDER_BLOCK_BYTES);
        let good = ResponderConfig::default();
        assert_eq!(good.clone().in_range(), good);
    }

    #[test]
    fn only_settings_that_alter_replies_require_that_the_responder_answers_pings() {
        let (second, good) = (Duration::from_secs(1), ResponderConfig::default());
        let answers = |config: &ResponderConfig| config.loop_config(Config::new(Network::Regtest)).answer_pings;
        assert!(answers(&good) && answers(&good.clone().with_close_after(Some(second)).with_announce(true)));
        for altered in [
            good.clone().with_delay(Duration::ZERO, Duration::from_nanos(1)),
            good.clone().with_drop_share(0.01),
            good.clone().with_stall(Stall::new(second, 2 * second)),
            good.with_max_rate(Some(Rate::per_second(1))),
        ] {
            assert!(!answers(&altered), "{altered:?}");
        }
    }

    #[test]
    fn a_stall_is_longer_than_zero_and_shorter_than_its_interval() {
        let second = Duration::from_secs(1);
        let stalls = [(second, second), (second, Duration::ZERO), (Duration::ZERO, second), (2 * second, second)];
        assert_eq!(stalls.map(|(length, interval)| Stall::new(length, interval)), [None; 4]);
        let stall = Stall::new(second, second + Duration::from_nanos(1)).expect("the length is shorter");
        assert_eq!((stall.length(), stall.interval()), (second, second + Duration::from_nanos(1)));
    }
}
