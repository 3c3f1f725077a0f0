//! A snapshot of the manager between two turns. Building it never changes the manager.
//!
//! Building a [`ManagerSummary`] has a bounded cost. A [`ManagerReport`] contains the rest; building it iterates over
//! the manager's tables.

use super::Manager;
pub use super::draw::Draw;
use crate::id::LinkId;
use crate::manager::ban::BanReason;
use crate::manager::store::{KnownPeer, PeerStatus};
use crate::time::Instant;
use std::net::SocketAddr;

/// The manager's counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManagerSummary {
    /// The number of slots used by peers, including those being dialled.
    pub slots_in_use: usize,
    /// The maximum number of slots.
    pub max_slots: usize,
    /// The number of peers below which the manager dials.
    pub target: usize,
    /// The number of bans, including expired ones that have not been removed yet.
    pub bans: usize,
    /// The number of bans in force that have not been reported yet.
    pub unannounced_bans: usize,
    /// The number of addresses in the book.
    pub book: usize,
    /// The addresses that the manager chose to dial in the last turn, in order.
    pub drawn: Vec<Draw>,
}

/// The manager's links and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerReport {
    /// The number of hosts with a link.
    pub hosts: usize,
    /// The number of address ranges with a link.
    pub groups: usize,
    /// The live links' addresses, in address order. Several links may share an address.
    pub claims: Vec<(SocketAddr, LinkId)>,
    /// The number of addresses for which the dialler has a record.
    pub dial_records: usize,
    /// Waiting addresses and the moments at which their pauses end, earliest first.
    pub waiting: Vec<(Instant, SocketAddr)>,
    /// Whether the disk has all changes, as far as the manager knows.
    pub is_durable: bool,
    /// The book, in the order of its addresses.
    pub book: Vec<KnownPeer>,
}

impl ManagerSummary {
    pub(crate) fn of(manager: &Manager) -> Self {
        Self {
            slots_in_use: manager.dialler.slots.taken(),
            max_slots: manager.dialler.slots.max(),
            target: manager.dialler.target(),
            bans: manager.bans.len(),
            unannounced_bans: manager.persistence.unannounced_len(),
            book: manager.persistence.book.len(),
            drawn: manager.drawn.clone(),
        }
    }
}

impl ManagerReport {
    pub(crate) fn of(manager: &Manager) -> Self {
        let (hosts, groups) = manager.admission.counted_in_all();
        let statuses =
            [PeerStatus::Valid, PeerStatus::Unknown, PeerStatus::Inaccessible, PeerStatus::Banned(BanReason::Manual)];
        let mut book: Vec<KnownPeer> =
            statuses.into_iter().flat_map(|status| manager.persistence.book.peers(status).cloned()).collect();
        book.sort_unstable_by_key(KnownPeer::address);
        Self {
            hosts,
            groups,
            claims: manager.dialler.live.iter().collect(),
            dial_records: manager.dialler.records_len(),
            waiting: manager.dialler.waiting().copied().collect(),
            is_durable: manager.persistence.is_durable(),
            book,
        }
    }
}
