//! The bounds of the loop, the protocol and the peer manager, in one place.
//!
//! Each constant states its unit and, where they matter, its reason and its maximum memory cost. Bounds that an
//! embedder may change are the defaults of [`Config`](crate::Config); the others are properties of the protocol or of
//! the loop. Nothing here depends on the rest of the crate. Only the bounds that an embedder may encounter are public.
//! The assertions at the end check bounds that depend on each other.

pub(crate) mod link;
pub(crate) mod manager;
pub(crate) mod store;
pub(crate) mod telemetry;
pub(crate) mod turn;
pub(crate) mod wire;

pub use link::{
    BUFFER_GROWTH_BYTES, HEADER_TIMEOUT, MAX_HANDSHAKE_MESSAGES, MAX_MARKS_PER_PEER, MAX_PINGS_OUTSTANDING,
    MAX_ROW_BYTES, MAX_SEND_QUEUE_BYTES, PEER_COST_BYTES, PULL_WAITING_BYTES, UNREAD_REPLIES_PAUSE_BYTES,
};
pub use manager::MAX_BANS;
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
pub(crate) use {link::*, manager::*, store::*, telemetry::*, turn::*, wire::*};

const _: () = {
    assert!(READ_BLOCK_BYTES > EXTENDED_HEADER_LEN_BYTES, "a header must fit in the read block");
    assert!(
        MAX_HANDSHAKE_PAYLOAD_BYTES as usize + HEADER_LEN_BYTES <= READ_BLOCK_BYTES,
        "a handshake message must fit in the read block"
    );
    assert!(
        TCP_USER_TIMEOUT.as_secs() > PING_INTERVAL.as_secs() + PONG_TIMEOUT.as_secs()
            && TCP_USER_TIMEOUT.as_secs() > SEND_STALL_TIMEOUT.as_secs(),
        "the kernel must not give up on a peer before the loop does"
    );
    assert!(
        MIN_SEND_STALL_BYTES < UNREAD_REPLIES_PAUSE_BYTES,
        "a peer whose input is paused must have more unread bytes than the stall check requires it to read"
    );
    assert!(BODY_REFILL_BYTES < MAX_BODY_WAITING_BYTES, "a handler that is asked to feed more must have room");
    assert!(WHEEL_SLOTS.is_power_of_two(), "the number of slots must be a power of two, because the wheel masks ticks");
    assert!(MAX_BUFFERED_MESSAGE_BYTES <= MAX_BUFFERED_TOTAL_BYTES, "one message must fit in the total buffer limit");
    assert!(MAX_DNS_SEEDS <= MAX_RESOLVES, "all seeds must be queryable at once");
    assert!(MAX_FIXED_NAMES <= MAX_RESOLVES, "all names of fixed peers must be resolvable at once");
    assert!(MAX_EVICTION_CANDIDATES <= MAX_EVICTION_ROWS, "each candidate needs a row of its own");
    assert!(
        (GOSSIP_BUCKETS_PER_SOURCE * GOSSIP_BUCKET_SLOTS) as usize * 64 <= MAX_BOOK_PEERS,
        "one source must fill at most a 64th of the book"
    );
    assert!(
        (GOSSIP_BUCKETS * GOSSIP_BUCKET_SLOTS) as usize <= MAX_BOOK_PEERS,
        "gossip alone must not overfill the book"
    );
    assert!(TARGET_PEERS <= MAX_PEERS, "the default target must be reachable");
    assert!(MAX_BUFFERED_MESSAGE_BYTES >= MAX_PAYLOAD_BYTES, "an ordinary message must be bufferable by default");
};
