//! Folders, peers, bans, random numbers and a faulty store for the tests of the book.

use peerloop::address::Host;
use peerloop::ban::{Ban, BanReason};
use peerloop::internals::limits::{MAX_BOOK_BATCH, MAX_BOOK_PEERS};
use peerloop::internals::store::MemoryStore;
use peerloop::store::{Change, KnownPeer, PeerStatus, PeerStore, StoreError, UserAgent};
use peerloop::time::UnixTime;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A lock that [`start`] holds for writing while it starts a process.
static STARTING: RwLock<()> = RwLock::new(());

/// Starts a process. [`Folder::book`] waits until the process has started.
pub(crate) fn start(command: &mut Command) -> Child {
    let _starting = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap()
}

/// A folder for one book.
pub(crate) struct Folder(peerloop_testkit::Folder);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(peerloop_testkit::Folder::new(env!("CARGO_TARGET_TMPDIR")))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Waits until no process is being started, and returns the book's path. Until a new child runs its own program,
    /// the child shares all locks of this process, so a book that was just closed would still be in use.
    pub(crate) fn book(&self) -> PathBuf {
        drop(STARTING.read().unwrap_or_else(PoisonError::into_inner));
        self.path().join("book")
    }

    /// Returns all names in the folder.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.names()
    }

    /// Returns all names in the folder except those of the book and its lock file.
    pub(crate) fn others(&self) -> Vec<String> {
        self.names().into_iter().filter(|name| name != "book" && name != "book.lock").collect()
    }
}

pub(crate) fn chance(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Returns the `number`th address: IPv4 if the number is even, IPv6 if it is odd.
pub(crate) fn address(number: u32) -> SocketAddr {
    let ip = match number % 2 {
        0 => IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + number)),
        _ => IpAddr::V6(Ipv6Addr::from_bits((0x2a00_u128 << 112) + u128::from(number))),
    };
    SocketAddr::new(ip, 8_333)
}

pub(crate) fn peer(number: u32) -> KnownPeer {
    KnownPeer::new(address(number), UnixTime::from_secs(1_700_000_000))
}

/// Returns the peer with this number's address and random values in all other fields.
pub(crate) fn rich_peer(number: u32, rng: &mut StdRng) -> KnownPeer {
    let mut peer = peer(number);
    peer.status = status(rng.random_range(0..8));
    peer.status_since = UnixTime::from_secs(rng.random());
    peer.last_connected = rng.random::<bool>().then(|| UnixTime::from_secs(rng.random()));
    peer.services = rng.random();
    let agent: Vec<u8> = (0..rng.random_range(0..300)).map(|_| rng.random()).collect();
    peer.user_agent = UserAgent::sanitised(&agent);
    peer.failures = rng.random();
    peer
}

/// Returns the status with this number, from 0 to 7.
pub(crate) fn status(number: u8) -> PeerStatus {
    match number {
        0 => PeerStatus::Unknown,
        1 => PeerStatus::Valid,
        2 => PeerStatus::Inaccessible,
        number => PeerStatus::Banned(reason(number - 3)),
    }
}

pub(crate) fn reason(number: u8) -> BanReason {
    [
        BanReason::NetworkMismatch,
        BanReason::BlockchainMismatch,
        BanReason::BannedUserAgent,
        BanReason::Misbehavior,
        BanReason::Manual,
    ][usize::from(number)]
}

pub(crate) fn host(number: u32) -> Host {
    Host::of(match number % 2 {
        0 => address(number).ip(),
        _ => IpAddr::V6(Ipv6Addr::from_bits((0x2a00_u128 << 112) + (u128::from(number) << 64))),
    })
}

pub(crate) fn ban(number: u32) -> Ban {
    let until = (!number.is_multiple_of(3)).then(|| UnixTime::from_secs(i64::from(number)));
    Ban { host: host(number), reason: reason((number % 5) as u8), since: UnixTime::from_secs(7), until }
}

/// Returns whether `PEERLOOP_LONG` is set, which makes some tests run longer.
pub(crate) fn is_long() -> bool {
    std::env::var_os("PEERLOOP_LONG").is_some()
}

/// A store in memory. A test can read its contents and make its writes fail.
pub(crate) struct Faulty {
    content: Arc<Mutex<MemoryStore>>,
    is_broken: Arc<AtomicBool>,
}

impl Faulty {
    /// Returns the store, the switch that makes its writes fail, and its contents.
    pub(crate) fn new() -> (Self, Arc<AtomicBool>, Arc<Mutex<MemoryStore>>) {
        Self::with_limit(MAX_BOOK_PEERS)
    }

    /// Returns the same values as [`Faulty::new`], for a store with room for `max_peers` peers.
    pub(crate) fn with_limit(max_peers: usize) -> (Self, Arc<AtomicBool>, Arc<Mutex<MemoryStore>>) {
        let content = Arc::new(Mutex::new(MemoryStore::with_limit(max_peers, &mut chance(1))));
        let is_broken = Arc::new(AtomicBool::new(false));
        (Self { content: Arc::clone(&content), is_broken: Arc::clone(&is_broken) }, is_broken, content)
    }
}

impl PeerStore for Faulty {
    fn read(&self, address: SocketAddr) -> Result<Option<KnownPeer>, StoreError> {
        self.content.lock().unwrap().read(address)
    }

    fn list_all(&self) -> Result<Vec<KnownPeer>, StoreError> {
        self.content.lock().unwrap().list_all()
    }

    fn bans(&self) -> Result<Vec<Ban>, StoreError> {
        self.content.lock().unwrap().bans()
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(StoreError::WriterEnded);
        }
        assert!(changes.len() <= MAX_BOOK_BATCH, "too many changes at once");
        let keys = changes.iter().map(|change| format!("{:?}", key(change)));
        assert!(keys.collect::<BTreeSet<_>>().len() == changes.len(), "a batch has two changes for one peer or host");
        self.content.lock().unwrap().apply(changes)
    }
}

fn key(change: &Change) -> (Option<SocketAddr>, Option<Host>) {
    match change {
        Change::PutPeer(peer) => (Some(peer.address()), None),
        Change::RemovePeer(address) => (Some(*address), None),
        Change::PutBan(ban) => (None, Some(ban.host)),
        Change::RemoveBan(host) => (None, Some(*host)),
    }
}
