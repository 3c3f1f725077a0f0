//! The peer manager: dialling, bans, caps and gossip.

use super::wire::LEGACY_PAYLOAD_MAX_BYTES;
use std::time::Duration;

/// Default restarts of an outbound connection per [`RESTART_WINDOW`].
pub const RESTARTS_MAX: u32 = 3;
/// Default window in which [`RESTARTS_MAX`] counts.
pub const RESTART_WINDOW: Duration = Duration::from_secs(3_600);
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
/// Time without a candidate before that is reported: the seeds have answered by then, within
/// [`RESOLVE_TIMEOUT`](super::RESOLVE_TIMEOUT).
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
/// Largest payload of an `addr` that is gathered although the handler discards it: its checksum and count decide
/// whether it is misbehaviour. Longer ones are dropped unread. What is gathered counts against the loop's buffer limit.
pub const ADDRESS_GATHERED_MAX_BYTES: u64 = LEGACY_PAYLOAD_MAX_BYTES;
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
