//! The counts of a responder. They only grow.

/// The numbers of messages that a [`Responder`](super::Responder) has answered, dropped, sent and received.
///
/// Each message that requires an answer counts as one request, and once as answered, dropped, over the rate, over a
/// limit, or unsent, unless its reply still waits. Pings that the loop answers itself are not counted here; see
/// [`Config::answer_pings`](crate::Config::answer_pings).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponderCounts {
    /// Messages that require an answer.
    pub requests: u64,
    /// Replies that were sent, or whose sending began.
    pub answered: u64,
    /// Messages dropped by [`ResponderConfig::drop_share`](super::ResponderConfig::drop_share).
    pub dropped: u64,
    /// Replies delayed by [`ResponderConfig::max_delay`](super::ResponderConfig::max_delay), whether they were sent or
    /// not.
    pub delayed: u64,
    /// Replies that waited for the end of a stall.
    pub stalled: u64,
    /// Replies dropped because they would have waited for too long for their turn under
    /// [`ResponderConfig::max_rate`](super::ResponderConfig::max_rate).
    pub over_rate: u64,
    /// Replies dropped because too many bytes of replies waited, for one peer or in all.
    pub over_limit: u64,
    /// Replies that could not be sent, because the peer was closed or did not read its queue.
    pub unsent: u64,
    /// Messages that could not be decoded, and were ignored.
    pub undecodable: u64,
    /// `headers` messages sent.
    pub headers_sent: u64,
    /// Transactions sent.
    pub txs_sent: u64,
    /// Blocks sent. The last bytes may still wait for the peer.
    pub blocks_sent: u64,
    /// Requested items that were answered by `notfound`.
    pub not_found: u64,
    /// Announced items that were requested.
    pub requested: u64,
    /// Transactions received.
    pub txs_received: u64,
    /// Blocks received with a correct checksum, or with an extended header, which has none.
    pub blocks_received: u64,
    /// Transactions that were dropped because they filled the pool.
    pub txs_evicted: u64,
    /// `inv` messages sent to announce items.
    pub announcements: u64,
    /// Peers closed by [`ResponderConfig::close_after`](super::ResponderConfig::close_after).
    pub closed: u64,
}
