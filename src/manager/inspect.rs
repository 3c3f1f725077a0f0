//! A look at the manager between two turns, in plain numbers. Looking changes nothing.

use super::Manager;
use std::net::SocketAddr;

/// What the manager counts of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManagerSummary {
    /// Places that peers and those being dialled have taken.
    pub places_taken: usize,
    /// Places there are.
    pub places_max: usize,
    /// Peers below which the manager dials.
    pub target: usize,
    /// Addresses that are not to be dialled before their time.
    pub waiting: usize,
    /// Bans in force, those that have run out in the last moment among them.
    pub bans: usize,
    /// Bans in force that nobody was told of yet.
    pub unannounced_bans: usize,
    /// Addresses in the book.
    pub book: usize,
    /// What it chose to dial in the last turn, in order.
    pub drawn: Vec<Draw>,
}

/// An address that the manager chose to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Which.
    pub address: SocketAddr,
    /// Places that were taken with its own.
    pub places_taken: usize,
}

impl Manager {
    /// A turn begins in which nothing was chosen yet.
    pub(crate) fn begin_turn(&mut self) {
        self.drawn.clear();
    }

    pub(crate) fn summary(&self) -> ManagerSummary {
        ManagerSummary {
            places_taken: self.dialler.places.taken(),
            places_max: self.dialler.places.max(),
            target: self.dialler.target(),
            waiting: self.dialler.waiting().len(),
            bans: self.bans.len(),
            unannounced_bans: self.unannounced.len(),
            book: self.book.len(),
            drawn: self.drawn.clone(),
        }
    }
}
