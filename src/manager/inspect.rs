//! A look at the manager between two turns, in plain numbers. Looking changes nothing.
//!
//! [`ManagerSummary`] costs the same however much there is to count; [`ManagerReport`] has the rest, and walks over it.

use super::Manager;
pub use super::draw::Draw;
use crate::id::LinkId;
use crate::manager::ban::BanReason;
use crate::manager::store::{KnownPeer, PeerStatus};
use crate::time::Instant;
use std::net::SocketAddr;

/// What the manager counts of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManagerSummary {
    /// Places that peers and those being dialled have taken.
    pub places_taken: usize,
    /// Places there are.
    pub max_places: usize,
    /// Peers below which the manager dials.
    pub target: usize,
    /// Bans in force, those that have run out in the last moment among them.
    pub bans: usize,
    /// Bans in force that nobody was told of yet.
    pub unannounced_bans: usize,
    /// Addresses in the book.
    pub book: usize,
    /// What it chose to dial in the last turn, in order.
    pub drawn: Vec<Draw>,
}

/// What the manager believes of links and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerReport {
    /// Hosts that have a link.
    pub hosts: usize,
    /// Ranges of addresses that have a link.
    pub groups: usize,
    /// The addresses that are somebody's, in their order.
    pub claims: Vec<(SocketAddr, LinkId)>,
    /// Addresses that the dialler has in hand or in mind.
    pub dial_records: usize,
    /// Addresses that wait, and until when, the first due first.
    pub waiting: Vec<(Instant, SocketAddr)>,
    /// Whether the disk has all that was changed, as far as the manager knows.
    pub is_durable: bool,
    /// The book, in the order of its addresses.
    pub book: Vec<KnownPeer>,
}

impl ManagerSummary {
    pub(crate) fn of(manager: &Manager) -> Self {
        Self {
            places_taken: manager.dialler.slots.taken(),
            max_places: manager.dialler.slots.max(),
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
