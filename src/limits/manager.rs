//! Bounds of the peer manager: dialling, bans, caps and gossip.

use super::wire::MAX_LEGACY_PAYLOAD_BYTES;
use std::time::Duration;

/// Default maximum number of restarts of an outbound connection per [`RESTART_WINDOW`].
pub const MAX_RESTARTS: u32 = 3;
/// Default time window for [`MAX_RESTARTS`].
pub const RESTART_WINDOW: Duration = Duration::from_secs(3_600);
/// Default number of peers up to which the manager dials.
pub const TARGET_PEERS: usize = 8;
/// Default maximum number of peers, inbound and outbound together.
pub const MAX_PEERS: usize = 20;
/// Default pause after the first failed dial of an address, without jitter.
pub const INITIAL_BACKOFF: Duration = Duration::from_secs(5);
/// Default factor by which each further pause grows.
pub const BACKOFF_MULTIPLIER: f64 = 2.0;
/// Default maximum pause after a failed dial of an address, without jitter.
pub const MAX_BACKOFF: Duration = Duration::from_secs(600);
/// Default number of failed dials after which an address counts as inaccessible.
pub const MAX_RETRIES: u32 = 10;
/// Default maximum number of peers per host.
pub const MAX_PER_HOST: usize = 8;
/// Default maximum number of connections accepted per host and second.
pub const ACCEPTS_PER_HOST_PER_SECOND: u32 = 10;
/// Default number of misbehavior points at which a host is banned (SV Node 1.2.2, `-banscore`).
pub const BAN_SCORE: u32 = 100;
/// Default duration of a ban (SV Node 1.2.2, `-bantime`).
pub const BAN_DURATION: Duration = Duration::from_secs(24 * 3_600);
/// Maximum number of trusted networks, 34 bytes each. A binary search checks whether they contain an accepted
/// connection's address.
pub const MAX_TRUSTED: usize = 1_024;
/// Maximum number of addresses on which the manager listens.
pub const MAX_LISTENERS: usize = 64;
/// Maximum number of DNS seeds: names that resolve to the addresses of peers.
pub const MAX_DNS_SEEDS: usize = 64;
/// Maximum number of fixed peers that are given by name: 40 KB with [`MAX_NAME_ADDRESSES`] addresses each.
pub const MAX_FIXED_NAMES: usize = 64;
/// Maximum number of addresses that are tried for a fixed peer's name, 32 bytes each.
pub const MAX_NAME_ADDRESSES: usize = 16;
/// Maximum number of peers in a fixed list. Each has a record in the dialler.
pub const MAX_FIXED_PEERS: usize = 100_000;
/// Maximum number of addresses remembered because dialling them failed, 200 bytes each, or 280 if their node was
/// incompatible: 18 MB. If there are this many and none of their pauses is over, a further address that fails counts as
/// inaccessible at once.
pub const MAX_DIAL_RECORDS: usize = 65_536;
/// Maximum jitter added to a backoff, in percent, so that addresses that failed together are not retried together.
pub const BACKOFF_JITTER_PERCENT: u64 = 25;
/// Duration of a connection after which earlier restarts no longer count. This bounds the restarts of a peer that
/// closes each connection right after the handshake.
pub const RESTARTS_FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// Once this time has passed since the end of an inaccessible address's backoff, the address may be dialled although
/// other candidates remain. This is also the pause before the address of an incompatible node outside the fixed list is
/// dialled again. With fewer than [`MAX_DIAL_RECORDS`] records, the dialler remembers an address's failures for at
/// least this time after the address's backoff.
pub const INACCESSIBLE_RECHECK: Duration = Duration::from_secs(3_600);
/// On average, one of this many draws from the book prefers an inaccessible address.
pub const INACCESSIBLE_DRAWS: u32 = 16;
/// If dials to this many network groups fail within [`OUTAGE_WINDOW`] while no peer is ready, the dialler assumes a
/// local outage. Two groups may be down by chance. Each unroutable host counts as a group.
pub const MIN_OUTAGE_GROUPS: usize = 3;
/// Time within which dials to [`MIN_OUTAGE_GROUPS`] groups must fail to indicate a local outage.
pub const OUTAGE_WINDOW: Duration = Duration::from_secs(60);
/// Pause before a fixed address that may not be dialled, for example because it is banned or already connected, is
/// checked again.
pub const BARRED_RECHECK: Duration = Duration::from_secs(10);
/// Pause after a search of the book that found no address to dial (SV Node 1.2.2, net.cpp ThreadOpenConnections). A
/// change in the book, or an address whose wait ends, ends the pause early. If all addresses are in use or wait for a
/// known moment, only such an event starts another search.
pub const BOOK_RETRY: Duration = Duration::from_millis(500);
/// Time without a candidate after which the lack of candidates is reported. It exceeds
/// [`RESOLVE_TIMEOUT`](super::RESOLVE_TIMEOUT), so each seed has replied or missed its deadline by then.
pub const NO_CANDIDATES_DELAY: Duration = Duration::from_secs(10);
/// Maximum number of addresses that one search examines in each family's queue of addresses to dial, and also in each
/// pass over the book's addresses of one standing.
pub const CANDIDATE_TRIES: usize = 64;
/// Pause between two dials of new addresses in one range, so that a peer cannot make us scan the range.
pub const GROUP_DIAL_PAUSE: Duration = Duration::from_secs(1);
/// Initial pause of all dials when descriptors or memory run out, or of one address family's dials when that family
/// has no network. It doubles up to [`MAX_DIAL_PAUSE`].
pub const DIAL_PAUSE_FIRST: Duration = Duration::from_millis(100);
/// Maximum pause of dials while this machine lacks descriptors, memory or a network.
pub const MAX_DIAL_PAUSE: Duration = Duration::from_secs(1);
/// Initial spacing of an address family's dials when local ports run out: 1,000 dials per second. If a dial finds no
/// port, the spacing doubles, at most once per spacing and up to [`MAX_PORT_SPACING`]. Each dial that finds a port
/// shrinks the spacing by a sixteenth.
pub const PORT_SPACING_FIRST: Duration = Duration::from_millis(1);
/// Maximum spacing of dials while local ports are exhausted.
pub const MAX_PORT_SPACING: Duration = Duration::from_secs(1);
/// Pause before an address that turned out to be our own is dialled again.
pub const SELF_BACKOFF: Duration = Duration::from_secs(24 * 3_600);
/// Maximum number of addresses accepted from one seed's reply.
pub const MAX_SEED_ANSWERS: usize = 256;
/// Time between two queries to a seed, unless [`MIN_SEED_INTERVAL`] applies.
pub const SEED_INTERVAL: Duration = Duration::from_secs(3_600);
/// Time between two queries to a seed while peers are wanted and there is no accessible address to dial.
pub const MIN_SEED_INTERVAL: Duration = Duration::from_secs(60);
/// Largest payload of an `addr` that is buffered although the handler discards the message, if the loop learns
/// addresses. Longer payloads are dropped unread. The buffered bytes count against the loop's buffer limit.
pub const MAX_ADDRESS_GATHERED_BYTES: u64 = MAX_LEGACY_PAYLOAD_BYTES;
/// Largest payload of a `headers`, `filterload` or `filteradd` that is buffered although the handler discards the
/// message, if the loop has a peer manager. The checksum, and for `headers` also the count, decides whether the message
/// is misbehavior. A loop that offers bloom filters does not buffer the filter messages for this. Longer payloads are
/// dropped unread. The buffered bytes count against the loop's buffer limit.
pub const MAX_JUDGED_GATHERED_BYTES: u64 = MAX_LEGACY_PAYLOAD_BYTES;
/// Interval after which the number of addresses that a peer may send grows by one.
pub const ADDRESS_TOKEN_INTERVAL: Duration = Duration::from_secs(10);
/// Maximum percentage of the book, rounded up, in a reply to `getaddr` (SV Node 1.2.2, addrman.h
/// ADDRMAN_GETADDR_MAX_PCT).
pub const ADDRESSES_PER_ANSWER_PERCENT: usize = 23;
/// Maximum number of different replies to `getaddr` in one [`ANSWER_LIFETIME`], each up to 32 KB: 2 MB in total.
pub const ANSWER_SLOTS: u64 = 64;
/// Maximum time for which a reply to `getaddr` is kept. All peers of one network group receive the kept reply.
pub const ANSWER_LIFETIME: Duration = Duration::from_secs(24 * 3_600);
/// Number of buckets in the table of addresses known by gossip.
pub const GOSSIP_BUCKETS: u32 = 1_024;
/// Number of slots in each bucket (SV Node 1.2.2, addrman.h ADDRMAN_BUCKET_SIZE). An occupied slot costs about 70
/// bytes, so a full table costs 5 MB.
pub const GOSSIP_BUCKET_SLOTS: u32 = 64;
/// Number of buckets that the peers of one range of addresses can fill with their gossip.
pub const GOSSIP_BUCKETS_PER_SOURCE: u32 = 16;
/// Time in its slot after which a gossiped address whose status is still unknown may be replaced by another.
pub const MAX_GOSSIP_UNTRIED: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Maximum number of banned hosts. The table and the sets that order the bans use at most 32 MiB, even while the table
/// grows.
pub const MAX_BANS: usize = 65_536;
/// Maximum number of expired bans removed per turn. A turn that removes bans also checks every banned peer in the book
/// once.
pub const BANS_ENDED_PER_TURN: usize = 1_024;
/// Maximum number of hosts whose rate of accepted connections is tracked at one time: at most 4 MiB.
pub const MAX_ACCEPT_RATES: usize = 65_536;
/// Maximum number of peers compared for an eviction, about 100 bytes each during the comparison.
pub const MAX_EVICTION_CANDIDATES: usize = 512;
/// Maximum number of table rows examined to find the candidates for an eviction.
pub const MAX_EVICTION_ROWS: usize = 2_048;
/// Maximum number of evictions considered per turn, each about 80 us. Accepted connections beyond these are treated as
/// over capacity.
pub const EVICTIONS_PER_TURN: usize = 8;
