//! One host of the virtual kernel: its events, its faults, and its jobs off the loop.
//!
//! Only the [`Kernel`](super::Kernel) changes a host. Each purpose of random numbers has its own stream, so that a new
//! draw for one purpose does not change the draws for the others.

use super::disk::{Book, Disk};
use super::naming::{Asked, Names};
use crate::net::Wake;
use crate::offload::Completion;
use crate::sim::connection::EndId;
use crate::sim::faults::Faults;
use crate::sim::poller::Queue;
use crate::sim::tape::Chance;
use crate::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The first port for listeners without a requested port.
pub(super) const FIRST_LISTENER_PORT: u16 = 61_000;
/// The address before the first host's.
const NETWORK: u32 = u32::from_be_bytes([10, 0, 0, 0]);
/// Number of descriptors of the poller and its waker.
pub(super) const OWN_DESCRIPTORS: usize = 2;

#[derive(Debug)]
pub(super) struct Host {
    pub(super) ip: IpAddr,
    pub(super) next_port: u16,
    pub(super) queue: Queue,
    pub(super) is_notified: bool,
    pub(super) is_cut: bool,
    pub(super) paused_until: Instant,
    /// The listeners' addresses, by index.
    pub(super) listening: BTreeMap<u32, SocketAddr>,
    pub(super) woken: Arc<Flag>,
    pub(super) descriptors: usize,
    pub(super) max_descriptors: usize,
    pub(super) faults: Faults,
    pub(super) chances: [Chance; 5],
    pub(super) names: Names,
    pub(super) asked: Asked,
    pub(super) disk: Disk,
    pub(super) book: Book,
}

/// A purpose for which a host draws random numbers. Each purpose has a stream of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Draw {
    Cuts,
    Poller,
    Routes,
    Names,
    Disk,
}

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) host: usize,
    pub(super) index: u32,
    pub(super) room: usize,
    /// Established connections that are not yet accepted.
    pub(super) waiting: VecDeque<EndId>,
    /// Dials for which the backlog has no room.
    pub(super) opening: VecDeque<EndId>,
    pub(super) is_queued: bool,
}

/// A host's waker. The host's next wait reports that the waker was used.
#[derive(Debug)]
pub(in crate::sim) struct Flag {
    pub(super) woken: AtomicBool,
    pub(super) any_woken: Arc<AtomicBool>,
}

impl Wake for Flag {
    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.any_woken.store(true, Ordering::Release);
    }
}

impl Host {
    /// Returns a new host. The first host has the `number` 1.
    pub(super) fn new(number: u32, chances: [Chance; 5], any_woken: &Arc<AtomicBool>) -> Self {
        Self {
            ip: Ipv4Addr::from(NETWORK + number).into(),
            next_port: FIRST_LISTENER_PORT,
            queue: Queue::default(),
            is_notified: false,
            is_cut: false,
            paused_until: Instant::ZERO,
            listening: BTreeMap::new(),
            woken: Arc::new(Flag { woken: AtomicBool::new(false), any_woken: Arc::clone(any_woken) }),
            descriptors: OWN_DESCRIPTORS,
            max_descriptors: usize::MAX,
            faults: Faults::default(),
            chances,
            names: Names::default(),
            asked: Asked::default(),
            disk: Disk::default(),
            book: Book::default(),
        }
    }

    /// Adds a completion, which the host collects after its next wait.
    pub(super) fn complete(&mut self, completion: Completion) {
        self.asked.complete(completion);
        self.woken.wake();
    }
}

/// Returns the number of the stream for one purpose of a host. It is at least 2^31, because a test may use all lower
/// numbers.
pub(super) fn stream_of(host: usize, purpose: usize) -> u32 {
    u32::try_from(host << 6 | purpose).map_or(u32::MAX, |id| 1 << 31 | id)
}

/// Returns the index that the host with this address has or would have. Returns `None` for IPv6 and for addresses
/// below the first host's.
pub(super) fn host_at(ip: IpAddr) -> Option<usize> {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).checked_sub(NETWORK + 1).map(|host| host as usize),
        IpAddr::V6(_) => None,
    }
}
