//! The bounds of the loop, the protocol and the peer manager, in one place.
//!
//! Each constant states its unit and, where they matter, its reason and its maximum memory cost. If an embedder may
//! change a bound, the constant is its default in [`Config`](crate::Config). All other bounds are fixed properties of
//! the protocol, the loop or the peer manager. Nothing here depends on the rest of the crate. Only the bounds that an
//! embedder may encounter are public. The assertions at the end check bounds that depend on each other.

pub(crate) mod link;
pub(crate) mod load;
pub(crate) mod manager;
pub(crate) mod pipe;
pub(crate) mod relay;
pub(crate) mod responder;
pub(crate) mod store;
pub(crate) mod telemetry;
pub(crate) mod turn;
pub(crate) mod wire;

pub use link::{
    BUFFER_GROWTH_BYTES, HEADER_TIMEOUT, MAX_HANDSHAKE_MESSAGES, MAX_MARKS_PER_PEER, MAX_PINGS_OUTSTANDING,
    MAX_ROW_BYTES, MAX_SEND_QUEUE_BYTES, PEER_COST_BYTES, PULL_WAITING_BYTES, UNREAD_REPLIES_PAUSE_BYTES,
};
pub use load::{MAX_LOAD_STAGES, MAX_OPERATIONS_PER_PEER, MAX_PROPAGATION_HASHES};
pub use manager::MAX_BANS;
pub use pipe::{MAX_PIPE_HELD_BYTES, MAX_PIPE_OPEN_REQUESTS, PIPE_ALONE_TIMEOUT};
pub use relay::{
    MAX_RELAY_ENTRIES, MAX_RELAY_SEEN, MAX_RELAY_TETHERED, MAX_RELAY_UPSTREAMS, RELAY_ENTRIES, RELAY_SUBMIT_TIMEOUT,
};
pub use responder::{
    MAX_RESPONDER_BLOCK_BYTES, MAX_RESPONDER_BLOCKS, MIN_RESPONDER_BLOCK_BYTES, RESPONDER_POOL_BYTES,
    RESPONDER_RATE_QUEUE,
};
pub use store::{MAX_BOOK_END, MAX_BOOK_FILE_BYTES, MAX_BOOK_PEERS, MAX_BOOK_SET_ASIDE};
pub use telemetry::{CHANNEL_ITEMS, MAX_SUBSCRIPTION_BYTES, MAX_SUBSCRIPTION_ITEMS, PEERS_PER_REPLY};
pub use turn::{
    EXACT_WAKE_SPIN, EXPIRIES_PER_TURN, LISTEN_BACKLOG, MAX_FLUSH_STEP, MAX_HANDLE_QUEUE, MAX_HANDLER_DEPTH,
    MAX_OVER_CAPACITY, MAX_READ_STEP, MAX_RESOLVED_ADDRESSES, MAX_RESOLVES, MAX_TIMERS, MAX_WRITTEN_PER_TURN_BYTES,
    PULLS_PER_TURN, READ_BLOCK_BYTES, RESOLVE_TIMEOUT, SHUTDOWN_GRACE, TICK,
};
pub use wire::{
    MAX_BLOCK_PAYLOAD_BYTES, MAX_BLOOM_ELEMENT_BYTES, MAX_BLOOM_FILTER_BYTES, MAX_BLOOM_HASHES,
    MAX_MINER_SIGNATURE_BYTES, MAX_REJECT_MESSAGE_BYTES, MAX_REJECT_REASON_BYTES, MAX_STREAM_POLICIES_BYTES,
    MAX_STREAM_POLICY_BYTES, MAX_USER_AGENT_BYTES,
};
pub(crate) use {
    link::*, load::*, manager::*, pipe::*, relay::*, responder::*, store::*, telemetry::*, turn::*, wire::*,
};

const _: () = {
    assert!(READ_BLOCK_BYTES > EXTENDED_HEADER_LEN_BYTES, "the read block is not larger than a header");
    assert!(
        MAX_HANDSHAKE_PAYLOAD_BYTES as usize + HEADER_LEN_BYTES <= READ_BLOCK_BYTES,
        "a handshake message does not fit in the read block"
    );
    assert!(
        TCP_USER_TIMEOUT.as_secs() > PING_INTERVAL.as_secs() + PONG_TIMEOUT.as_secs()
            && TCP_USER_TIMEOUT.as_secs() > SEND_STALL_TIMEOUT.as_secs(),
        "the kernel may give up on a peer before the loop does"
    );
    assert!(
        MIN_SEND_STALL_BYTES < UNREAD_REPLIES_PAUSE_BYTES,
        "a peer's input may be paused although its unread bytes do not exceed those that the stall check requires"
    );
    assert!(BODY_REFILL_BYTES < MAX_BODY_WAITING_BYTES, "a handler that is asked to feed more may have no room");
    assert!(WHEEL_SLOTS.is_power_of_two(), "the number of slots is not a power of two, although the wheel masks ticks");
    assert!(
        MAX_BUFFERED_MESSAGE_BYTES <= MAX_BUFFERED_TOTAL_BYTES,
        "the buffer limit of one message exceeds the total"
    );
    assert!(MAX_DNS_SEEDS <= MAX_RESOLVES, "the seeds cannot all be queried at once");
    assert!(MAX_FIXED_NAMES <= MAX_RESOLVES, "the names of fixed peers cannot all be resolved at once");
    assert!(MAX_EVICTION_CANDIDATES <= MAX_EVICTION_ROWS, "the candidates may outnumber the rows");
    assert!(
        (GOSSIP_BUCKETS_PER_SOURCE * GOSSIP_BUCKET_SLOTS) as usize * 64 <= MAX_BOOK_PEERS,
        "one source may fill more than a 64th of the book"
    );
    assert!((GOSSIP_BUCKETS * GOSSIP_BUCKET_SLOTS) as usize <= MAX_BOOK_PEERS, "gossip alone may overfill the book");
    assert!(TARGET_PEERS <= MAX_PEERS, "the default target exceeds the maximum");
    assert!(
        MAX_BUFFERED_MESSAGE_BYTES >= MAX_PAYLOAD_BYTES,
        "an ordinary message may be too long to be buffered by default"
    );
    assert!(
        MAX_BUFFERED_MESSAGE_BYTES as usize + RESPONDER_REPLY_BYTES <= MAX_RESPONDER_PEER_WAITING_BYTES,
        "a test node may drop every reply to the longest request"
    );
};
