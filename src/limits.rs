//! Every bound of the library, in one place.
//!
//! Each constant names its unit, its reason and the most memory it can cost. Those that an embedder may change are
//! the defaults of [`Config`](crate::Config); the others are properties of the protocol or of the loop. Nothing here
//! depends on anything else in the crate. The assertions at the end tie together the bounds that only make sense as a
//! pair.

use std::time::Duration;

// --- The wire -------------------------------------------------------------------------------------------------------

/// Bytes of the basic message header.
pub const HEADER_LEN_BYTES: usize = 24;
/// Bytes of the extended message header: the basic one, then the real command and a 64-bit length.
pub const EXTENDED_HEADER_LEN_BYTES: usize = 44;
/// Largest payload of a `protoconf`, and what a peer is assumed to accept before its own `protoconf` (SV Node 1.2.2,
/// protocol.h LEGACY_MAX_PROTOCOL_PAYLOAD_LENGTH).
pub const LEGACY_PAYLOAD_MAX_BYTES: u64 = 1_048_576;
/// Default limit of every command without a limit of its own (SV Node 1.2.2, `-maxprotocolrecvpayloadlength`).
pub const PAYLOAD_MAX_BYTES: u64 = 2_097_152;
/// Largest payload of `tx` and `datareftx`.
pub const TX_PAYLOAD_MAX_BYTES: u64 = 1_000_000_000;
/// Largest payload of `block`, `cmpctblock`, `blocktxn` and `hdrsen`: the node's default maximum block size.
pub const BLOCK_PAYLOAD_MAX_BYTES: u64 = i64::MAX as u64;
/// Bytes of one short-id group in the node's rule for the largest `getblocktxn`: `size / 215 * 6 + 24`.
pub const GETBLOCKTXN_BLOCK_SHARE_BYTES: u64 = 215;
/// Largest value of a CompactSize on input (SV Node 1.2.2, serialize.h MAX_SIZE).
pub const COMPACT_SIZE_MAX: u64 = 0xffff_ffff;
/// What we send may be this many times what we accept, if the peer takes it (SV Node 1.2.2, `4 * own limit`).
pub const SEND_LIMIT_FACTOR: u64 = 4;
/// Bytes of a user agent in `version`.
pub const USER_AGENT_MAX_BYTES: usize = 256;
/// Bytes of an association id: a type byte and the id.
pub const ASSOCIATION_ID_MAX_BYTES: usize = 129;
/// Bytes of the stream policy list in `protoconf`: ten names of 64 characters and a comma each.
pub const STREAM_POLICIES_MAX_BYTES: usize = 650;
/// Bytes of the stream policy that a `createstrm` names.
pub const STREAM_POLICY_MAX_BYTES: usize = 64;
/// Bytes of a compressed public key, in `authresp` and `revokemid`.
pub const PUBLIC_KEY_LEN_BYTES: usize = 33;
/// Least bytes of the signature in `authresp`.
pub const AUTH_SIGNATURE_MIN_BYTES: usize = 70;
/// Most bytes of the signature in `authresp`.
pub const AUTH_SIGNATURE_MAX_BYTES: usize = 72;
/// Most bytes of each of the two signatures in `revokemid`: what one byte of length can say.
pub const MINER_SIGNATURE_MAX_BYTES: usize = 255;
/// Bytes of the message name in `reject`.
pub const REJECT_MESSAGE_MAX_BYTES: usize = 12;
/// Bytes of the reason in `reject`.
pub const REJECT_REASON_MAX_BYTES: usize = 111;
/// Bytes of a bloom filter in `filterload`.
pub const BLOOM_FILTER_MAX_BYTES: usize = 36_000;
/// Hash functions of a bloom filter.
pub const BLOOM_HASHES_MAX: u32 = 50;
/// Bytes of an element of a bloom filter, and so of `filteradd`.
pub const BLOOM_ELEMENT_MAX_BYTES: usize = 520;

// --- What one peer may cost -----------------------------------------------------------------------------------------

/// Bytes of one link's row in the table, asserted at compile time: what an idle peer costs, beside its boxed version.
pub const ROW_MAX_BYTES: usize = 272;
/// Bytes of each slot in the table of what peers cost, which there is only while
/// [`Config::measures_peers`](crate::Config::measures_peers) is on.
pub const PEER_COST_BYTES: usize = 64;
/// Messages a peer may send before its handshake is complete, `version` and `verack` among them.
pub const HANDSHAKE_MESSAGES_MAX: u8 = 16;
/// Largest payload before the handshake is complete; the longest `version` that every field limit allows has 474 bytes.
pub const HANDSHAKE_PAYLOAD_MAX_BYTES: u64 = 2_048;
/// Pings in flight per peer, all of our own making: one inline in the row, the rest (32 bytes each) spilled to a box.
pub const PINGS_OUTSTANDING_MAX: usize = 256;
/// Largest payload that is gathered in memory for a handler, per message and so per link.
pub const BUFFERED_MESSAGE_MAX_BYTES: u64 = 2 * 1024 * 1024;
/// Commands with a limit of their own in place of [`BUFFERED_MESSAGE_MAX_BYTES`], 24 bytes each: more than the protocol
/// has.
pub const BUFFERED_COMMANDS_MAX: usize = 64;
/// Largest payload of a `ping` that is gathered. A node answers one of any length with its first 8 bytes (SV Node
/// 1.2.2, net_processing.cpp ProcessPingMessage).
pub const PING_GATHERED_MAX_BYTES: u64 = 2_048;
/// Largest payload of a `pong` that is gathered, of which the first 8 bytes matter.
pub const PONG_GATHERED_MAX_BYTES: u64 = 2_048;
/// Largest payload of a `verack` or `sendheaders` that is gathered. They have none, and a node ignores what is there.
pub const EMPTY_GATHERED_MAX_BYTES: u64 = 2_048;
/// Largest payload of a `reject` that is gathered: a code and two lengths of a byte each, and name, reason and hash at
/// their longest. A node ignores what is longer (SV Node 1.2.2, net_processing.cpp ProcessRejectMessage).
pub const REJECT_GATHERED_MAX_BYTES: u64 = (3 + REJECT_MESSAGE_MAX_BYTES + REJECT_REASON_MAX_BYTES + 32) as u64;
/// Largest sum of all payloads that are being gathered, for the whole loop. Those of at most
/// [`POOLED_BUFFER_MAX_BYTES`] are not counted: one per link, so `max_links` times 4 KiB beside this at the worst.
pub const BUFFERED_TOTAL_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Least size of the buffer in which a payload above [`POOLED_BUFFER_MAX_BYTES`] is gathered, and step in which it
/// grows. It is address space: of what an allocator maps by itself, as glibc does from its `M_MMAP_THRESHOLD` on,
/// only pages that are written to cost memory, and all of it returns to the system when the message ends. So memory
/// is never more than this beyond what was received. An embedder on glibc sets that threshold to this size (mallopt,
/// or `MALLOC_MMAP_THRESHOLD_=65536`), as the program does; else the heap may stay as large as a burst has made it.
pub const BUFFER_GROWTH_BYTES: usize = 64 * 1024;
/// Large buffers of [`BUFFER_GROWTH_BYTES`] kept for reuse: a megabyte at the most. A loop that gathers no more
/// messages of 4 to 64 KiB than these at once asks the allocator for none.
pub const LARGE_BUFFERS_MAX: usize = 16;
/// A queue longer than this stops the reading of its link: who does not take our replies gets no more of them. With the
/// replies to the block that went beyond it, a peer can make us hold less than 570 KB, and all peers together
/// `max_links` times that. Neither its pings nor its pongs are read then, until it has taken down to half of this; that
/// time counts against no deadline for what it has to say.
pub const SEND_QUEUE_PAUSE_BYTES: usize = 500_000;
/// A queue that would grow beyond this refuses the message. One that is empty takes a message of any size. Only what
/// the embedder sends goes beyond [`SEND_QUEUE_PAUSE_BYTES`] this far; the engine's own replies are never refused, for
/// they are those to one more block at the most.
pub const SEND_QUEUE_MAX_BYTES: usize = 2 * 1024 * 1024;

/// What may wait of a streamed message, together with what leaves before it, until the kernel takes it; no more is
/// taken of a part that is fed.
pub const STREAM_WAITING_MAX_BYTES: usize = 1024 * 1024;
/// At this much of a streamed message waiting, the handler is told to feed more.
pub const STREAM_REFILL_BYTES: usize = 256 * 1024;

// --- What one turn may cost -----------------------------------------------------------------------------------------

/// The one block that all links are read into: the most that a link may be served per turn.
pub const READ_BLOCK_BYTES: usize = 64 * 1024;
/// The one block that replies are gathered in while a link's input is parsed; more goes through the link's queue.
pub const WRITE_BLOCK_BYTES: usize = 64 * 1024;
/// Time after which the read step ends and leaves the rest of the ready links to the next turn.
pub const READ_STEP_MAX: Duration = Duration::from_millis(2);
/// Time after which the flush step ends and leaves the rest of the dirty links to the next turn.
pub const FLUSH_STEP_MAX: Duration = Duration::from_millis(1);
/// Connections accepted per turn and listener, each about 15 us of system calls.
pub const ACCEPTS_PER_TURN: usize = 64;
/// Dials started per turn, each about 40 us of system calls.
pub const DIALS_PER_TURN: usize = 32;
/// Ends of links taken a step further per turn.
pub const CLOSES_PER_TURN: usize = 128;
/// Commands taken from the handle's queue per turn.
pub const COMMANDS_PER_TURN: usize = 1_024;
/// Time after which the step that takes commands ends and leaves the rest to the next turn: a list of peers takes
/// 0.3 ms, and a handler's own commands take what they take.
pub const COMMANDS_STEP_MAX: Duration = Duration::from_millis(2);
/// Timers fired per turn; the rest makes the next wait zero.
pub const EXPIRIES_PER_TURN: usize = 4_096;
/// Readiness events taken from the kernel per turn (16 bytes each).
pub const EVENTS_PER_TURN: usize = 1_024;
/// Slices of one gathered write.
pub const SLICES_PER_WRITE: usize = 64;
/// Gathered writes per link and turn.
pub const WRITES_PER_TURN: usize = 16;
/// Bytes written per link and turn, about 0.3 ms of copying to a peer on loopback that reads as fast as we write; what
/// else waits is left to the next turn.
pub const WRITTEN_PER_TURN_MAX_BYTES: usize = 512 * 1024;

// --- The loop -------------------------------------------------------------------------------------------------------

/// Connections that wait in the kernel for us to accept them; mio's own default of 128 loses bursts.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// First pause of a listener whose accept fails, as for want of descriptors or memory; it doubles up to
/// [`ACCEPT_RETRY_MAX`].
pub const ACCEPT_RETRY_FIRST: Duration = Duration::from_millis(100);
/// Longest pause of a listener, and so the longest wait after descriptors are free again.
pub const ACCEPT_RETRY_MAX: Duration = Duration::from_secs(1);
/// Pause of a connection that the kernel had no memory to read or write for.
pub const MEMORY_RETRY: Duration = Duration::from_millis(50);
/// Accepted connections above the maximum that are told so politely at once; more are closed without a word.
pub const OVER_CAPACITY_MAX: usize = 64;
/// Commands that wait in the handle's queue; a full queue gives the command back.
pub const HANDLE_QUEUE_MAX: usize = 1_024;
/// One tick of the timer wheel.
pub const TICK: Duration = Duration::from_millis(1);
/// Slots of the timer wheel (4 bytes each): 65.536 s, so that a two-minute timer is looked at twice.
pub const WHEEL_SLOTS: usize = 65_536;
/// How long before an exact wake-up the loop stops sleeping and polls: the kernel rounds sleeps to a millisecond.
pub const EXACT_WAKE_SPIN: Duration = Duration::from_millis(1);
/// Buffers kept for reuse; each keeps at most [`POOLED_BUFFER_MAX_BYTES`].
pub const POOLED_BUFFERS_MAX: usize = 1_024;
/// Largest buffer that goes back to the pool, so the pool holds 4 MiB at the most. Each link that is within a message
/// has one; glibc may keep those of a burst in its heap, at the worst `max_links` times this.
pub const POOLED_BUFFER_MAX_BYTES: usize = 4_096;

// --- Deadlines ------------------------------------------------------------------------------------------------------

/// Default time for a TCP connection to be established.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Default time for the handshake, from entering `AwaitingHandshake`; no traffic extends it.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Default pause between two pings of a peer.
pub const PING_INTERVAL: Duration = Duration::from_secs(120);
/// Default time for a pong.
pub const PONG_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a header from its first byte, whatever else happens.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for which a body may stand still, and window over which it must have moved at its least rate.
pub const BODY_WINDOW: Duration = Duration::from_secs(60);
/// Default least rate of a body, in bytes per second over a [`BODY_WINDOW`].
pub const BODY_MIN_BYTES_PER_SECOND: u64 = 1_024;
/// Time in which a peer must take [`SEND_STALL_MIN_BYTES`] of what waits for it, or all that waited when that began to
/// count. It counts anew from the moment at which it has done so.
pub const SEND_STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// What a peer must take of a long queue per [`SEND_STALL_TIMEOUT`], 1 KiB/s: who sips keeps neither its link nor the
/// memory that waits for it.
pub const SEND_STALL_MIN_BYTES: usize = 60 * 1024;
/// Most time by which any of the peer's deadlines above is put off because what it has sent, or has made room for, was
/// not looked at yet: after a stop of the process, or behind many others. Who floods us gains no more than this.
pub const UNHEARD_GRACE: Duration = Duration::from_secs(30);
/// Time for which a gracefully closed link drops the peer's input, so that our last bytes are not lost to a reset.
pub const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// Time for which the end of a connection waits after a `reject`, so that the peer reads it.
pub const REJECT_READ_TIME: Duration = Duration::from_millis(500);
/// Default restarts of an outbound connection per [`RESTART_WINDOW`].
pub const RESTARTS_MAX: u32 = 3;
/// Default window in which [`RESTARTS_MAX`] counts.
pub const RESTART_WINDOW: Duration = Duration::from_secs(3_600);
/// Time in which a stopping loop closes its peers gracefully; after it they are closed as they are. A program that has
/// five seconds to end has one of them left for all else.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(4);
/// Time for which the kernel may keep our bytes without an acknowledgement, or before a shut window. The kernel counts
/// both alike, so this is what a peer may take to read on while nothing waits in our own queue: as long as an SV Node
/// waits for one (1.2.2, net.h TIMEOUT_INTERVAL). A peer that vanishes is noticed by its missing pong long before.
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20 * 60);

// --- The peer manager -----------------------------------------------------------------------------------------------

/// Default number of peers that the manager dials for.
pub const TARGET_PEERS: usize = 8;
/// Default number of peers, both directions together.
pub const MAX_PEERS: usize = 20;
/// Default pause after the first failed dial of an address.
pub const INITIAL_BACKOFF: Duration = Duration::from_secs(5);
/// Default factor by which each further pause is longer.
pub const BACKOFF_MULTIPLIER: f64 = 2.0;
/// Default longest pause between two dials of an address.
pub const BACKOFF_MAX: Duration = Duration::from_secs(600);
/// Default number of failed dials after which an address counts as inaccessible.
pub const RETRIES_MAX: u32 = 10;
/// Default number of peers of one host.
pub const PER_HOST_MAX: usize = 8;
/// Default rate of accepted connections of one host.
pub const ACCEPTS_PER_HOST_PER_SECOND: u32 = 10;
/// Default misbehaviour at which a host is banned (SV Node 1.2.2, `-banscore`).
pub const BAN_SCORE: u32 = 100;
/// Default time for which a host is banned (SV Node 1.2.2, `-bantime`).
pub const BAN_DURATION: Duration = Duration::from_secs(24 * 3_600);
/// Networks that are trusted, 34 bytes each, found by halving at every accepted connection.
pub const TRUSTED_MAX: usize = 1_024;
/// Addresses that the manager listens at.
pub const LISTENERS_MAX: usize = 64;
/// Names whose addresses are peers.
pub const DNS_SEEDS_MAX: usize = 64;
/// Fixed peers that are known by name: 40 KB with [`NAME_ADDRESSES_MAX`] addresses each.
pub const FIXED_NAMES_MAX: usize = 64;
/// Addresses of a fixed peer's name that are tried, 32 bytes each.
pub const NAME_ADDRESSES_MAX: usize = 16;
/// Peers of a fixed list, each a record of the dialler.
pub const FIXED_PEERS_MAX: usize = 100_000;
/// Addresses that are remembered because dialling them failed, 200 bytes each, 280 if they were not for us: 18 MB. One
/// that fails beyond these counts as inaccessible at once.
pub const DIAL_RECORDS_MAX: usize = 65_536;
/// Share of a back-off by which it is longer at random, so that those who failed together do not return together.
pub const BACKOFF_JITTER_PERCENT: u64 = 25;
/// Time that a connection must last for its restarts to be forgotten: who closes every connection right behind the
/// handshake is not restarted without end.
pub const RESTARTS_FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// Time beyond its pause after which an inaccessible address of the book is dialled although others are left, and
/// pause of one that was not for us. Time during which the dialler remembers how an address failed.
pub const INACCESSIBLE_RECHECK: Duration = Duration::from_secs(3_600);
/// Draws of the book of which one looks for an inaccessible address before all others.
pub const INACCESSIBLE_DRAWS: u32 = 16;
/// Network groups whose dials must fail within [`OUTAGE_WINDOW`], while no peer is ready, for a local outage: two may
/// be down by chance.
pub const OUTAGE_GROUPS_MIN: usize = 3;
/// Time within which the failed dials must fall that show a local outage.
pub const OUTAGE_WINDOW: Duration = Duration::from_secs(60);
/// Pause before an address of the fixed list that is banned, or connected to us, is looked at again.
pub const BARRED_RECHECK: Duration = Duration::from_secs(10);
/// Longest pause after the book had nobody who may be dialled now, unless all of its addresses are in hand or wait for
/// a moment that is known (SV Node 1.2.2, net.cpp ThreadOpenConnections).
pub const BOOK_RETRY: Duration = Duration::from_millis(500);
/// Time without a candidate before that is reported: the seeds have answered by then ([`RESOLVE_TIMEOUT`]).
pub const NO_CANDIDATES_DELAY: Duration = Duration::from_secs(10);
/// Addresses that are drawn from the book, or taken from the line, for one that can be dialled.
pub const CANDIDATE_TRIES: usize = 64;
/// Pause between two dials of new addresses in one range, so that nobody can make us sweep it.
pub const GROUP_DIAL_PAUSE: Duration = Duration::from_secs(1);
/// First pause of all dials for want of descriptors or memory, or of those of one family for want of a network; it
/// doubles up to [`DIAL_PAUSE_MAX`].
pub const DIAL_PAUSE_FIRST: Duration = Duration::from_millis(100);
/// Longest pause of dials because of this machine's own faults.
pub const DIAL_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Least time between two dials once local ports are short, 1,000 per second; it doubles with each dial that finds
/// none, up to [`PORT_SPACING_MAX`], and shrinks by a sixteenth with each that does.
pub const PORT_SPACING_FIRST: Duration = Duration::from_millis(1);
/// Most time between two dials while local ports are short.
pub const PORT_SPACING_MAX: Duration = Duration::from_secs(1);
/// Pause of an address that has turned out to be our own.
pub const SELF_BACKOFF: Duration = Duration::from_secs(24 * 3_600);
/// Addresses that are believed of one seed's answer.
pub const SEED_ANSWERS_MAX: usize = 256;
/// Time between two questions to a seed.
pub const SEED_INTERVAL: Duration = Duration::from_secs(3_600);
/// Least time between two questions to a seed while nobody is left to dial.
pub const SEED_INTERVAL_MIN: Duration = Duration::from_secs(60);
/// Addresses of one `addr`; a message with more is ignored and punished (SV Node 1.2.2, net_processing.cpp
/// ProcessAddrMessage). As many may a peer bring at once that was asked for them, and as many is it told if it asks.
pub const ADDRESSES_PER_MESSAGE_MAX: usize = 1_000;
/// Payload of an `addr` with the most addresses that are no misbehaviour: the count in 3 bytes, 30 bytes for each.
pub const ADDRESS_PAYLOAD_MAX_BYTES: u64 = 3 + 30 * ADDRESSES_PER_MESSAGE_MAX as u64;
/// Largest payload of an `addr` that is gathered although the handler discards it: its checksum and count decide
/// whether it is misbehaviour. Longer ones are dropped unread. What is gathered counts against the loop's buffer limit.
pub const ADDRESS_GATHERED_MAX_BYTES: u64 = LEGACY_PAYLOAD_MAX_BYTES;
/// Headers of one `headers`; a message that claims more is a misconduct (SV Node 1.2.2, net_processing.cpp
/// ProcessHeadersMessage).
pub const HEADERS_PER_MESSAGE_MAX: u64 = 2_000;
/// Largest payload of a `headers`, `filterload` or `filteradd` that a loop with a peer manager gathers although the
/// handler discards it: its checksum decides whether it is a misconduct. Longer ones are dropped unread. What is
/// gathered counts against the loop's buffer limit.
pub const JUDGED_GATHERED_MAX_BYTES: u64 = LEGACY_PAYLOAD_MAX_BYTES;
/// Time after which a peer may bring one more address.
pub const ADDRESS_TOKEN_INTERVAL: Duration = Duration::from_secs(10);
/// Share of the book, rounded up, that a peer is told if it asks (SV Node 1.2.2, addrman.h ADDRMAN_GETADDR_MAX_PCT).
pub const ADDRESSES_PER_ANSWER_PERCENT: usize = 23;
/// Different answers to `getaddr` that are given in [`ANSWER_LIFETIME`], each up to 32 KB: 2 MB.
pub const ANSWER_SLOTS: u64 = 64;
/// Time for which the askers of one network group get the same answer to `getaddr`.
pub const ANSWER_LIFETIME: Duration = Duration::from_secs(24 * 3_600);
/// Buckets of the table of addresses that came by hearsay.
pub const GOSSIP_BUCKETS: u32 = 1_024;
/// Slots of each of them, about 70 bytes where one is taken: 5 MB for all (SV Node 1.2.2, addrman.h
/// ADDRMAN_BUCKET_SIZE).
pub const GOSSIP_BUCKET_SLOTS: u32 = 64;
/// Buckets that the peers of one range of addresses can fill with what they say.
pub const GOSSIP_BUCKETS_PER_SOURCE: u32 = 16;
/// Time after which an address that nobody has tried gives its slot to another.
pub const GOSSIP_UNTRIED_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

// --- Who watches from other threads ---------------------------------------------------------------------------------

/// Items of one subscription that wait on either side of its lock, about 100 bytes each.
pub const SUBSCRIPTION_MAX_ITEMS: usize = 65_536;
/// Bytes of payload of one subscription that wait on either side of its lock; what is shared with a block of the loop
/// holds at most twice its size. With those of the items, a subscription that nobody reads costs 270 MB at the worst,
/// and one whose reader stops behind a loss 400 MB.
pub const SUBSCRIPTION_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Control events for whose next ones the loop keeps room between turns; a turn with more gives its room back.
pub const CONTROL_EVENTS_KEPT: usize = 1_024;
/// Peers of one answer to a [`Handle`](crate::Handle): about 0.3 ms of the loop, and 512 bytes each at the most.
pub const PEERS_PER_ANSWER: usize = 1_024;
/// Lines of one kind that are logged at once.
pub const LOG_BURST_LINES: u32 = 20;
/// Time after which another line of a kind may be logged once its burst is used up: with lines of 768 bytes at the
/// most, less than 3 MB of each kind per hour.
pub const LOG_REFILL: Duration = Duration::from_secs(1);
/// Least time between two lines of the log that say that a listener pauses, as it does for want of descriptors.
pub const LOG_PAUSES_INTERVAL: Duration = Duration::from_secs(60);
/// Control events and messages that a [`Channel`](crate::channel::Channel) holds of each, unless it is told otherwise.
pub const CHANNEL_ITEMS: usize = 1_024;
/// Characters of a text in a line of the log.
pub const LOG_TEXT_MAX_CHARS: usize = 256;
/// Names that are being looked up at once, each on a thread of its own and with up to [`RESOLVED_ADDRESSES_MAX`]
/// addresses: half a megabyte, and the stacks.
pub const RESOLVES_MAX: usize = 64;
/// Addresses of one name that are kept, 32 bytes each.
pub const RESOLVED_ADDRESSES_MAX: usize = 256;
/// Time for a name to be looked up; an answer that comes later is dropped.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Answers taken from the network per turn, each of which may bring [`RESOLVED_ADDRESSES_MAX`] addresses.
pub const ANSWERS_PER_TURN: usize = 16;
/// First pause before an address that could not be listened at is tried again; it doubles up to [`LISTEN_RETRY_MAX`].
pub const LISTEN_RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest pause before an address that could not be listened at is tried again.
pub const LISTEN_RETRY_MAX: Duration = Duration::from_secs(60);
/// Hosts that are banned at one time: at most 32 MiB for the table, while it grows, and the orders in which bans end.
pub const BANS_MAX: usize = 65_536;
/// Bans whose end is looked at per turn; with it goes one look at each banned peer of the book.
pub const BANS_ENDED_PER_TURN: usize = 1_024;
/// Hosts whose rate of accepted connections is known at one time, at most 4 MiB.
pub const ACCEPT_RATES_MAX: usize = 65_536;
/// Peers that are weighed when one is closed to make room, about 100 bytes each while it is done.
pub const EVICTION_CANDIDATES_MAX: usize = 512;
/// Rows that are looked at to find them.
pub const EVICTION_ROWS_MAX: usize = 2_048;
/// Accepted connections per turn for which it is weighed who has to go, each about 80 us; those that come after them
/// are over capacity.
pub const EVICTIONS_PER_TURN: usize = 8;
/// Peers that the book remembers: about 11 MB in the loop, and 17 MB more if all have the longest user agent.
pub const BOOK_PEERS_MAX: usize = 65_536;
/// Largest file of the book; none that is larger is opened, and it never grows beyond this. With the most and longest
/// records, all rewritten again and again, half of it is used.
pub const BOOK_FILE_MAX_BYTES: u64 = 128 * 1024 * 1024;
/// Memory of the database for pages of the book's file.
pub const BOOK_CACHE_BYTES: usize = 1024 * 1024;
/// Files set aside because they are no book, beside the one in use; with so many no further one is begun.
pub const BOOK_SET_ASIDE_MAX: u32 = 16;
/// Changes that are written to the book at once, about 1 MB.
pub const BOOK_BATCH_MAX: usize = 4_096;
/// Batches that wait for the thread that writes the book.
pub const BOOK_QUEUE_MAX: usize = 4;
/// Time for which a change that is no ban waits for others to be written with it: they are on the disk within a second.
pub const BOOK_DELAY: Duration = Duration::from_millis(500);
/// First pause after the book could not be written; it doubles up to [`BOOK_RETRY_MAX`].
pub const BOOK_RETRY_FIRST: Duration = Duration::from_millis(250);
/// Longest pause between two attempts to write the book.
pub const BOOK_RETRY_MAX: Duration = Duration::from_secs(30);
/// Time after which a disk that says nothing of the changes it was given counts as failing.
pub const BOOK_ANSWER_MAX: Duration = Duration::from_secs(10);
/// Time for which the end of a loop waits for a disk that says nothing; what it was given last may be lost then.
pub const BOOK_END_MAX: Duration = Duration::from_secs(5);

const _: () = {
    assert!(READ_BLOCK_BYTES > EXTENDED_HEADER_LEN_BYTES, "a header must fit the read block");
    assert!(
        HANDSHAKE_PAYLOAD_MAX_BYTES as usize + HEADER_LEN_BYTES <= READ_BLOCK_BYTES,
        "a handshake message never needs a buffer of its own"
    );
    assert!(
        TCP_USER_TIMEOUT.as_secs() > PING_INTERVAL.as_secs() + PONG_TIMEOUT.as_secs()
            && TCP_USER_TIMEOUT.as_secs() > SEND_STALL_TIMEOUT.as_secs(),
        "the kernel gives up on no peer that the loop still waits for"
    );
    assert!(SEND_QUEUE_PAUSE_BYTES < SEND_QUEUE_MAX_BYTES, "reading stops before sending is refused");
    assert!(SEND_STALL_MIN_BYTES < SEND_QUEUE_PAUSE_BYTES, "a full queue must be told from one that moves");
    assert!(STREAM_REFILL_BYTES < STREAM_WAITING_MAX_BYTES, "who is told to feed more must be able to");
    assert!(WHEEL_SLOTS.is_power_of_two(), "slots are found by masking");
    assert!(BUFFERED_MESSAGE_MAX_BYTES <= BUFFERED_TOTAL_MAX_BYTES, "one message must fit the total");
    assert!(DNS_SEEDS_MAX <= RESOLVES_MAX, "all seeds can be asked at once");
    assert!(FIXED_NAMES_MAX <= RESOLVES_MAX, "all names of fixed peers can be resolved at once");
    assert!(EVICTION_CANDIDATES_MAX <= EVICTION_ROWS_MAX, "a row is one candidate at the most");
    assert!(
        (GOSSIP_BUCKETS_PER_SOURCE * GOSSIP_BUCKET_SLOTS) as usize * 64 <= BOOK_PEERS_MAX,
        "one source reaches a 64th of the book"
    );
    assert!(
        (GOSSIP_BUCKETS * GOSSIP_BUCKET_SLOTS) as usize <= BOOK_PEERS_MAX,
        "hearsay alone never overfills the book"
    );
    assert!(TARGET_PEERS <= MAX_PEERS, "the default target can be reached");
    assert!(BUFFERED_MESSAGE_MAX_BYTES >= PAYLOAD_MAX_BYTES, "an ordinary message must be deliverable by default");
};
