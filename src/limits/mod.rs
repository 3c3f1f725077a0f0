//! Every bound of the library, in one place.
//!
//! Each constant names its unit, its reason and the most memory it can cost. Bounds that an embedder may change are
//! the defaults of [`Config`](crate::Config); the others are properties of the protocol or of the loop. Nothing here
//! depends on the rest of the crate. The assertions at the end hold together the bounds that only make sense as a
//! pair.

mod link;
mod manager;
mod store;
mod telemetry;
mod turn;
mod wire;

pub use link::*;
pub use manager::*;
pub use store::*;
pub use telemetry::*;
pub use turn::*;
pub use wire::*;

const _: () = {
    assert!(READ_BLOCK_BYTES > EXTENDED_HEADER_LEN_BYTES, "a header must fit the read block");
    assert!(
        MAX_HANDSHAKE_PAYLOAD_BYTES as usize + HEADER_LEN_BYTES <= READ_BLOCK_BYTES,
        "a handshake message never needs a buffer of its own"
    );
    assert!(
        TCP_USER_TIMEOUT.as_secs() > PING_INTERVAL.as_secs() + PONG_TIMEOUT.as_secs()
            && TCP_USER_TIMEOUT.as_secs() > SEND_STALL_TIMEOUT.as_secs(),
        "the kernel gives up on no peer that the loop still waits for"
    );
    assert!(SEND_QUEUE_PAUSE_BYTES < MAX_SEND_QUEUE_BYTES, "reading stops before sending is refused");
    assert!(MIN_SEND_STALL_BYTES < SEND_QUEUE_PAUSE_BYTES, "a full queue must differ from one that moves");
    assert!(BODY_REFILL_BYTES < MAX_BODY_WAITING_BYTES, "a handler asked to feed more must have room");
    assert!(WHEEL_SLOTS.is_power_of_two(), "slots are found by masking");
    assert!(MAX_BUFFERED_MESSAGE_BYTES <= MAX_BUFFERED_TOTAL_BYTES, "one message must fit the total");
    assert!(MAX_DNS_SEEDS <= MAX_RESOLVES, "all seeds can be asked at once");
    assert!(MAX_FIXED_NAMES <= MAX_RESOLVES, "all names of fixed peers can be resolved at once");
    assert!(MAX_EVICTION_CANDIDATES <= MAX_EVICTION_ROWS, "a row is one candidate at the most");
    assert!(
        (GOSSIP_BUCKETS_PER_SOURCE * GOSSIP_BUCKET_SLOTS) as usize * 64 <= MAX_BOOK_PEERS,
        "one source reaches a 64th of the book"
    );
    assert!((GOSSIP_BUCKETS * GOSSIP_BUCKET_SLOTS) as usize <= MAX_BOOK_PEERS, "gossip alone never overfills the book");
    assert!(TARGET_PEERS <= MAX_PEERS, "the default target can be reached");
    assert!(MAX_BUFFERED_MESSAGE_BYTES >= MAX_PAYLOAD_BYTES, "an ordinary message must be deliverable by default");
};
