//! Bounds of the relay. None of them is on an engine's path: a loop without a relay uses no memory for them.

use std::time::Duration;

/// Default maximum number of transactions that the relay remembers with their announcers. Each costs 64 bytes, and 12
/// to 20 bytes of index. At 2,000 transactions per second, 100,000 entries last 50 s.
pub const RELAY_ENTRIES: usize = 100_000;
/// Maximum value of the setting for [`RELAY_ENTRIES`]. All of them cost 319 MB.
pub const MAX_RELAY_ENTRIES: usize = 1 << 22;
/// Number of announcements in the relay's log, 12 bytes each. A peer that is further behind misses the difference,
/// which is counted. At 2,000 transactions per second, the log covers 32 s.
pub const RELAY_LOG_LEN: usize = 65_536;
/// Number of announcers that an entry holds. Only these may be asked for the transaction.
pub const RELAY_ANNOUNCERS: usize = 5;
/// Maximum number of entries with more announcers. Each costs one bit per peer. Beyond it, an announcer may receive an
/// announcement of a transaction that it has.
pub const MAX_RELAY_SPILLS: usize = 4_096;
/// Default maximum number of announced transactions that are remembered by a fingerprint after their entries have been
/// dropped. A fingerprint costs 8 bytes in a table that doubles when it is five eighths full, so 2,000,000 of them cost
/// at most 34 MB.
pub const RELAY_SEEN: usize = 2_000_000;
/// Maximum number of dropped transactions that a relay remembers. All of them cost at most 1.1 GB.
pub const MAX_RELAY_SEEN: usize = 1 << 26;
/// Time for which fingerprints are kept. An announcement that arrives later makes the transaction new again. SV Node
/// 1.2.2 serves a transaction for 15 minutes after its announcement (net_processing.cpp, mapRelay).
pub const RELAY_SEEN_TIME: Duration = Duration::from_secs(15 * 60);
/// Default maximum number of bytes that the bodies of transactions retain.
pub const RELAY_POOL_BYTES: usize = 256 * 1024 * 1024;
/// Number of chains of the pool's index, 4 bytes each, 256 KiB in all. A look-up compares one chain's bodies on average
/// half through: 6 of them in a pool of [`RELAY_POOL_BYTES`] that is full of bodies of 200 bytes.
/// The chains of a larger pool are longer in proportion.
pub const RELAY_POOL_CHAINS: usize = 65_536;
/// Maximum length of a transaction that is relayed, in bytes. Longer ones are hashed, counted, and not requested again.
/// All transactions that arrive in parts retain at most half of [`RELAY_POOL_BYTES`], four of this length, and those of
/// leaf peers a quarter; further ones are dropped. The bytes count within the pool.
pub const RELAY_LARGE_TX_BYTES: u64 = 32 * 1024 * 1024;
/// Maximum time for which the parts of a transaction that still arrives are kept, and for which no other announcer is
/// asked for it: a rate of 280 kB/s for [`RELAY_LARGE_TX_BYTES`].
pub const RELAY_LARGE_TX_TIME: Duration = Duration::from_secs(2 * 60);
/// Time for which a body is kept after all peers have passed its announcement.
pub const RELAY_POOL_TIME: Duration = Duration::from_secs(2 * 60);
/// Maximum time for which the body of a transaction that no upstream has announced is kept.
pub const RELAY_HELD_TIME: Duration = Duration::from_secs(20 * 60);
/// Number of bytes that a body costs in addition to its frame: its record and its share of the index.
pub const RELAY_BODY_BYTES: usize = 120;
/// Maximum number of transactions requested from one peer at a time. SV Node 1.2.2 answers a `getdata` before it
/// handles the peer's next message (net_processing.cpp ProcessGetData), so more would delay its other messages.
pub const RELAY_IN_FLIGHT: u32 = 1_000;
/// Maximum number of transactions that a peer has announced and that have not arrived. Each costs a share of an entry,
/// and 4 bytes while the peer has [`RELAY_IN_FLIGHT`] requests in flight.
pub const RELAY_LIVE_ANNOUNCEMENTS: u32 = 50_000;
/// Maximum number of requests in flight to all peers, 56 bytes each.
pub const MAX_RELAY_ASKS: usize = 65_536;
/// Maximum number of requests in flight to all leaf peers. The others are for upstreams, so leaf peers that answer
/// nothing keep no transaction of an upstream from being requested.
pub const MAX_RELAY_LEAF_ASKS: usize = MAX_RELAY_ASKS / 2;
/// Maximum number of held transactions that a leaf's new transaction passes to find a slot, about 25 us of work. Beyond
/// it the new one is dropped, and the next one continues from there.
pub const RELAY_HELD_STEPS: usize = 256;
/// Maximum number of items that are read from one `inv`; the others are dropped and counted (SV Node 1.2.2,
/// protocol.h MAX_INV_SZ).
pub const MAX_RELAY_INV_ITEMS: usize = 50_000;
/// Shortest deadline of a request. Each further class of deadlines is twice as long.
pub const RELAY_FIRST_DEADLINE: Duration = Duration::from_millis(50);
/// Number of deadline classes, the longest of which is 51.2 s.
pub const RELAY_DEADLINE_CLASSES: usize = 11;
/// Lower bound of a request's deadline, before it is rounded up to a class.
pub const RELAY_LEAST_DEADLINE: Duration = Duration::from_millis(200);
/// Deadline of a request to a transaction's last announcer. The request is then repeated once.
pub const RELAY_LAST_DEADLINE: Duration = Duration::from_secs(30);
/// The delay after which a second announcer is asked, until enough requests have been answered to estimate it.
pub const RELAY_FIRST_HEDGE: Duration = Duration::from_millis(100);
/// Lower bound of that delay.
pub const RELAY_LEAST_HEDGE: Duration = Duration::from_millis(20);
/// Upper bound of that delay.
pub const RELAY_MAX_HEDGE: Duration = Duration::from_secs(2);
/// Assumed rate, in bytes per second, at which a peer sends the transactions that were requested from it.
pub const RELAY_LEAST_RATE: u64 = 1_000_000;
/// Maximum number of entries that one step of the sweep examines, about 50 us of work.
pub const RELAY_SWEEP_STEP: usize = 4_096;
/// Maximum number of items in one announcement, 74 KB. A peer that is further behind receives several.
pub const RELAY_INV_ITEMS: usize = 2_048;
/// A peer for which more bytes wait receives no announcement until its queue is empty. It then receives one that is
/// larger.
pub const RELAY_WAITING_BYTES: usize = 4_096;
/// Number of peers that receive an announcement in the turn in which it was accepted, before reading continues.
pub const RELAY_FIRST_SLICE: usize = 16;
/// Maximum number of peers that receive an announcement per turn, about 0.4 ms of writing.
pub const RELAY_MAX_SLICE: usize = 96;
/// Maximum number of such peers while the loop is busy, so that new transactions are read and announced to their first
/// receivers soon. With 96, the 99th percentile of the first announcement is three times as long.
pub const RELAY_BUSY_SLICE: usize = 24;
/// Shortest interval over which a busy relay spreads the announcements to all peers. A longer one makes them larger and
/// fewer.
pub const RELAY_INTERVAL: Duration = Duration::from_millis(7);
/// Longest such interval, for a relay that has almost no idle time.
pub const RELAY_MAX_INTERVAL: Duration = Duration::from_millis(20);
/// Number of unanswered items of one peer's `getdata` messages beyond which the peer is not read.
pub const RELAY_PENDING_ITEMS: usize = 1_000;
/// Maximum number of bytes of unanswered `getdata` messages of all leaf peers. Beyond it, the leaf with the most of
/// them is closed, so that no peer can end the link of another that asks for less. An upstream is never closed for it:
/// each of its links keeps one message of 50,000 items, 1.8 MB, and [`RELAY_PENDING_ITEMS`] at most.
pub const MAX_RELAY_PENDING_BYTES: usize = 64 * 1024 * 1024;
/// Maximum number of transactions that are followed until an upstream has announced or rejected them, about 300 bytes
/// each.
pub const MAX_RELAY_SUBMISSIONS: usize = 16_384;
/// Pause after which a submitted transaction is announced to the upstreams again.
pub const RELAY_RESUBMIT: Duration = Duration::from_secs(60);
/// Number of `dsdetected` and of `revokemid` messages that are remembered, 32 bytes each (SV Node 1.2.2,
/// net_processing.cpp).
pub const RELAY_ALERTS: usize = 1_000;
/// A fee filter from which on nothing is announced to the peer, in satoshis per kilobyte. SV Node 1.2.2 sends
/// 9,577,383 during its initial sync (net_processing.cpp).
pub const RELAY_FEE_FILTER: i64 = 1_000_000;
/// Default maximum rate at which a leaf's new transactions are accepted, per second.
pub const RELAY_LEAF_RATE: u32 = 100;
/// Maximum number of upstreams.
pub const MAX_RELAY_UPSTREAMS: usize = 64;
/// First pause before a link to an upstream is dialled again. It doubles up to [`RELAY_MAX_REDIAL`].
pub const RELAY_REDIAL: Duration = Duration::from_secs(1);
/// Longest pause before a link to an upstream is dialled again.
pub const RELAY_MAX_REDIAL: Duration = Duration::from_secs(60);
/// Time for which a link to an upstream must have been ready before its end counts as the first failure again.
pub const RELAY_STABLE_TIME: Duration = Duration::from_secs(30);
/// Time after which a submission's report is sent although no upstream has announced or rejected the transaction.
pub const RELAY_SUBMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Default maximum number of headers, about 190 bytes each: 190 MB.
pub const RELAY_HEADERS: usize = 1_000_000;
/// Largest maximum number of headers, 760 MB: 75 years of blocks.
pub const MAX_RELAY_HEADERS: usize = 4_000_000;
/// Time after which an upstream that has not replied to a `getheaders` is asked again. An SV Node does not reply during
/// its initial sync.
pub const RELAY_HEADERS_TIMEOUT: Duration = Duration::from_secs(20);
/// Shortest pause between two `getheaders` to an upstream that has not replied and announces blocks. A node that has
/// ignored the first one, because it was in its initial sync, replies to the next one.
pub const RELAY_HEADERS_PAUSE: Duration = Duration::from_secs(1);
/// Maximum number of blocks that pass at a time.
pub const RELAY_PASSING_BLOCKS: usize = 2;
/// Longest wait of a peer for a block because others pass. Then the link is closed. An SV Node waits ten minutes for a
/// block (SV Node 1.2.2, net_processing.cpp).
pub const RELAY_BLOCK_WAIT: Duration = Duration::from_secs(120);
/// Time for which slow readers may read a block that has passed, if another peer waits for a block. Then they are
/// closed.
pub const RELAY_BLOCK_LINGER: Duration = Duration::from_secs(30);
/// Number of bytes of a passing block that are retained for its readers, or more while one of them may hold the source.
/// At 1 Gbit/s this is 34 ms, so that a lost packet on a long path does not cut its reader.
pub const RELAY_WINDOW_BYTES: usize = 4 * 1024 * 1024;
/// Maximum number of blocks whose readers' last bytes are awaited to be measured, 12 bytes for each reader of each.
/// Beyond it, the oldest block is reported with the readers that have finished.
pub const MAX_RELAY_PASSAGES: usize = 8;
/// Time after a block's last byte was read for which its readers are awaited to be measured.
pub const RELAY_PASSAGE_TIME: Duration = Duration::from_secs(60);
/// Minimum time for which the readers of a compact block are observed. A peer that receives a plain announcement
/// requests the compact block within a round trip.
pub const RELAY_COMPACT_PASSAGE_TIME: Duration = Duration::from_secs(1);
/// Time for which an untethered reader may hold the source of a block, in total. A lost packet stops a healthy reader
/// for 200 ms, Linux's minimum retransmission timeout, in which 1 Gbit/s brings six times the window.
pub const RELAY_READER_GRACE: Duration = Duration::from_millis(250);
/// Time for which all untethered readers of a block may hold its source, in total, so that many readers that are slow
/// one after the other hold it no longer than a few at the same time.
pub const RELAY_BLOCK_GRACE: Duration = Duration::from_secs(1);
/// Maximum number of tethered readers of a block; further ones are untethered.
pub const RELAY_TETHERED_READERS: usize = 4;
/// Minimum rate of a tethered reader that holds the source, in bytes per second. A slower one becomes untethered. A
/// block of 4 GiB then passes within 72 minutes.
pub const RELAY_TETHER_RATE: u64 = 1_000_000;
/// Time of holding the source over which the rate of a tethered reader is measured.
pub const RELAY_TETHER_TIME: Duration = Duration::from_secs(5);
/// Number of bytes of a passing block after which its rate is known, so that its first packets do not decide.
pub const RELAY_LIVE_SAMPLE_BYTES: u64 = 1024 * 1024;
/// Maximum number of networks with tethered readers.
pub const MAX_RELAY_TETHERED: usize = 1_024;
/// Time after which a source that sends nothing is replaced.
pub const RELAY_BLOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of blocks, the latest ones, of which a link is known to have been asked before another one was, 32
/// bytes each. While one of them arrives late, the link is not silent.
pub const RELAY_GIVEN_UP_BLOCKS: usize = 8;
/// Length of the largest block that is kept whole, in bytes.
pub const RELAY_SMALL_BLOCK_BYTES: u64 = 32 * 1024 * 1024;
/// Maximum number of bytes that a passing block retains to be kept whole: twice the largest one's, because a part may
/// share a read block of twice its length.
pub const RELAY_SMALL_BLOCK_RETAINED_BYTES: u64 = 2 * RELAY_SMALL_BLOCK_BYTES;
/// Default maximum number of bytes that all kept blocks retain.
pub const RELAY_SMALL_BLOCKS_BYTES: usize = 128 * 1024 * 1024;
/// Number of blocks, the tip included, that are not old: those of about an hour. At most 32.
pub const RELAY_RECENT_BLOCKS: u32 = 6;
/// Default maximum number of bytes of old blocks that the peers of one host may request per day. A request of 61 bytes
/// can cost a fetch of 4 GiB.
pub const RELAY_OLD_BLOCK_BYTES_PER_HOST: u64 = 4 << 30;
/// Default maximum number of bytes of old blocks that all hosts together may request per day.
pub const RELAY_OLD_BLOCK_BYTES_PER_DAY: u64 = 100 << 30;
/// Time after which all budgets of old blocks are renewed.
pub const RELAY_BUDGET_TIME: Duration = Duration::from_secs(24 * 3_600);
/// Number of bytes that must remain of a budget before a block of unknown length is requested from an upstream. It is
/// charged if that length stays unknown.
pub const RELAY_BUDGET_RESERVE: u64 = RELAY_SMALL_BLOCK_BYTES;
/// Maximum number of hosts with a budget of their own, and of those whose free blocks are noted, up to 128 bytes for
/// both, 8 MiB in all. Further hosts share a budget, and displace the oldest notes.
pub const MAX_RELAY_BUDGETS: usize = 65_536;
/// Maximum number of upstreams that are asked to announce new blocks as compact ones (SV Node 1.2.2, net_processing.cpp
/// MaybeSetPeerAsAnnouncingHeaderAndIDs).
pub const RELAY_COMPACT_SOURCES: usize = 3;
/// Maximum number of compact blocks that are held, the newest ones.
pub const RELAY_COMPACT_BLOCKS: usize = 8;
/// Payload length of the longest compact block that is held and passed on, in bytes: that of a block with about 350,000
/// transactions. All of them are 16 MiB at most.
pub const RELAY_COMPACT_BYTES: u64 = 2 * 1024 * 1024;
/// Maximum distance from the tip of a block that is served as a compact one (SV Node 1.2.2, net_processing.cpp
/// MAX_CMPCTBLOCK_DEPTH).
pub const RELAY_COMPACT_DEPTH: u32 = 5;
/// Maximum distance from the tip of a block of which single transactions are served; deeper ones are served whole (SV
/// Node 1.2.2, net_processing.cpp MAX_BLOCKTXN_DEPTH).
pub const RELAY_BLOCKTXN_DEPTH: u32 = 10;
/// Maximum number of transactions of a block whose offsets are recorded, 1 MiB, so that single ones are served from
/// memory.
pub const RELAY_INDEXED_TXS: u64 = 262_144;
/// Maximum payload length of a `blocktxn` that is served from memory, in bytes. The whole block is sent in place of a
/// longer one, because it needs no copy.
pub const RELAY_BLOCKTXN_BYTES: u64 = 1024 * 1024;
/// Maximum number of transactions of a block that is rebuilt from the pool, 8 MiB of tables.
pub const RELAY_REBUILT_TXS: usize = 65_536;
/// Maximum payload length of a block that is rebuilt from the pool, in bytes.
pub const RELAY_REBUILT_BYTES: usize = 16 * 1024 * 1024;
/// Number of transactions of the pool that are compared with a compact block in one turn, about 0.5 ms of work.
pub const RELAY_REBUILD_BODIES: usize = 16_384;
/// Number of bytes of a block that are concatenated and hashed in one turn, about 0.5 ms of work. Indexing its short
/// ids costs as much, and at most one prefilled transaction more, of up to 2 MiB.
pub const RELAY_REBUILD_BYTES: usize = 512 * 1024;
/// Pause before the pool is examined again for the missing transactions of a compact block.
pub const RELAY_COMPACT_PAUSE: Duration = Duration::from_millis(5);
/// Maximum number of such pauses. Then the missing transactions are requested.
pub const RELAY_COMPACT_PAUSES: u32 = 4;
/// Maximum number of transactions of a block that are requested to rebuild it, or for a leaf in one request. A leaf
/// that requests more receives the whole block.
pub const RELAY_REQUESTED_TXS: usize = 1_000;
/// Maximum number of bytes of the transactions that are prefilled in a compact block because this relay lacked them
/// (BIP 152).
pub const RELAY_PREFILLED_BYTES: usize = 10_000;
/// Maximum number of unanswered requests for transactions of blocks. One of them is reserved for this side, to rebuild
/// a block.
pub const RELAY_BLOCKTXN_ASKS: usize = 64;
/// Maximum number of such requests of one peer, up to 48 bytes each. The whole block is sent in place of further ones.
pub const RELAY_PEER_BLOCKTXN_ASKS: usize = 4;
/// Maximum payload length of such a request, in bytes: 30,000 transactions or more.
pub const RELAY_REQUEST_BYTES: usize = 64 * 1024;
/// Time after which an upstream's reply to such a request is no longer awaited. A node is silent about a block that it
/// does not have.
pub const RELAY_BLOCKTXN_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of unanswered requests for headers that are passed on to upstreams.
pub const RELAY_HEADER_ASKS: usize = 64;
/// The number of them beyond which those of leaf peers are refused, so that many hosts do not displace upstreams and
/// trusted peers.
pub const RELAY_LEAF_HEADER_ASKS: usize = RELAY_HEADER_ASKS / 4 * 3;
/// Maximum number of such requests of one peer, and of all leaf peers of one host. A peer that exceeds it is closed. A
/// node has one such request, and repeats it for each block that is announced to it.
pub const RELAY_PEER_HEADER_ASKS: usize = 4;
/// Maximum number of hashes in the locator of such a request, 3.3 KB (Bitcoin Core 27, net_processing.cpp
/// MAX_LOCATOR_SZ). The locator of a chain of four billion blocks has 43.
pub const RELAY_LOCATOR_HASHES: usize = 101;
/// Maximum number of upstreams that receive such a request one after the other.
pub const RELAY_HEADER_TRIES: usize = 3;
/// Time after which the next upstream receives such a request. An SV Node does not reply during its initial sync.
pub const RELAY_HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait of such a request for an upstream that has no other one of its kind. Then its peer is closed.
pub const RELAY_HEADER_WAIT: Duration = Duration::from_secs(30);
/// Time for which a silent upstream receives no further request of this kind, so that a late reply answers no other
/// request.
pub const RELAY_HEADER_SILENCE: Duration = Duration::from_secs(60);
/// Number of bytes that must remain of a host's budget before its request for headers is passed on: the length of the
/// longest `hdrsen` that an upstream sends at the default settings. 2,000 plain headers have 162 KB.
pub const RELAY_HEADER_RESERVE: u64 = 2 * 1024 * 1024;
/// Maximum number of headers that a relay returns at once to be saved: 320 KB, about 0.1 ms of copying.
pub const RELAY_HEADER_BATCH: usize = 4_096;
