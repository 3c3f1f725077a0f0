//! The peer book: which peers there are, what is known of them, and who is banned.
//!
//! A [`PeerStore`] holds it. The loop works on a [`MemoryStore`], which never waits and never fails but for want of
//! room; a file holds the same for the next run (`RedbStore`, feature `store`). What changes is gathered by a
//! [`Journal`] and written by a [`Writer`], which a thread of its own drives
//! ([`StoreWriter`](crate::offload::store_writer::StoreWriter)): the loop never waits for a disk.
//!
//! Each call is atomic: after an error the store is as it was, and what was refused for a fault of the machine may
//! be asked again. Nothing here decides whom to dial or to ban, and nothing here reads a clock.

#[cfg(feature = "store")]
mod capped_file;
mod error;
mod journal;
mod memory;
#[cfg(feature = "store")]
mod overlay;
mod peer;
#[cfg(feature = "store")]
mod record;
#[cfg(feature = "store")]
mod redb;
#[cfg(feature = "store")]
mod set_aside;
mod writer;

pub use error::{BookLost, FileStep, StoreError};
pub use journal::Journal;
pub use memory::MemoryStore;
pub use peer::{KnownPeer, PeerStatus, UserAgent};
#[cfg(feature = "store")]
pub use redb::{BookContents, Opened, RedbStore};
#[cfg(feature = "store")]
pub use set_aside::{SetAside, Unfit};
pub use writer::{Batch, Persisted, Writer};

use crate::address::Host;
use crate::manager::ban::Ban;
use std::net::{IpAddr, SocketAddr};

/// One change of a [`PeerStore`]. Done twice it is done once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The peer is known, as this says.
    PutPeer(KnownPeer),
    /// Nothing is known of this address.
    RemovePeer(SocketAddr),
    /// The host is banned, as this says.
    PutBan(Ban),
    /// The host is not banned.
    RemoveBan(Host),
}

impl Change {
    /// Whether it takes a peer or a ban out of the store.
    const fn removes(&self) -> bool {
        match self {
            Self::RemovePeer(_) | Self::RemoveBan(_) => true,
            Self::PutPeer(_) | Self::PutBan(_) => false,
        }
    }
}

/// Where peers and bans are remembered.
///
/// A store holds at most [`MAX_BOOK_PEERS`](crate::limits::MAX_BOOK_PEERS) peers, one of each address and port, and at
/// most [`MAX_BANS`](crate::limits::MAX_BANS) bans, one of each host. An address of IPv4 that is written as
/// one of IPv6 is that of IPv4. What a call has changed is durable when it returns, as far as the store is.
///
/// Every call fails with what [`PeerStore::apply`] fails with if the store cannot be read or written.
pub trait PeerStore {
    /// What is known of the peer with this address.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    fn read(&self, address: SocketAddr) -> Result<Option<KnownPeer>, StoreError>;

    /// All peers, in the order of their addresses.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    fn list_all(&self) -> Result<Vec<KnownPeer>, StoreError>;

    /// All bans, in the order of their hosts.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    fn bans(&self) -> Result<Vec<Ban>, StoreError>;

    /// Makes these changes in order, all of them or none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] if there were too many peers or bans after them, or what keeps the store from being
    /// written.
    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// Remembers a peer that is not known yet.
    ///
    /// # Errors
    ///
    /// [`StoreError::Duplicate`], or as [`PeerStore::apply`].
    fn create(&mut self, peer: KnownPeer) -> Result<(), StoreError> {
        match self.read(peer.address())? {
            Some(known) => Err(StoreError::Duplicate { address: known.address() }),
            None => self.apply(&[Change::PutPeer(peer)]),
        }
    }

    /// Replaces what is known of a peer.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchPeer`], or as [`PeerStore::apply`].
    fn update(&mut self, peer: KnownPeer) -> Result<(), StoreError> {
        match self.read(peer.address())? {
            Some(_) => self.apply(&[Change::PutPeer(peer)]),
            None => Err(StoreError::NoSuchPeer { address: peer.address() }),
        }
    }

    /// Forgets a peer.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchPeer`], or as [`PeerStore::apply`].
    fn delete(&mut self, address: SocketAddr) -> Result<(), StoreError> {
        match self.read(address)? {
            Some(_) => self.apply(&[Change::RemovePeer(address)]),
            None => Err(StoreError::NoSuchPeer { address }),
        }
    }

    /// The peers of this status, in the order of their addresses; whoever is banned for whatever reason is of one
    /// status.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    fn find_by_status(&self, status: PeerStatus) -> Result<Vec<KnownPeer>, StoreError> {
        Ok(self.list_all()?.into_iter().filter(|peer| peer.status.is_like(status)).collect())
    }

    /// What is known of the peer at this address and port.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    fn find_by_ip_port(&self, ip: IpAddr, port: u16) -> Result<Option<KnownPeer>, StoreError> {
        self.read(SocketAddr::new(ip, port))
    }

    /// How many peers are of this status; whoever is banned for whatever reason is of one status.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    fn count_by_status(&self, status: PeerStatus) -> Result<usize, StoreError> {
        Ok(self.find_by_status(status)?.len())
    }

    /// Remembers a ban, in place of an earlier one of the same host.
    ///
    /// # Errors
    ///
    /// As [`PeerStore::apply`].
    fn put_ban(&mut self, ban: Ban) -> Result<(), StoreError> {
        self.apply(&[Change::PutBan(ban)])
    }

    /// Forgets the ban of a host, if there is one.
    ///
    /// # Errors
    ///
    /// As [`PeerStore::apply`].
    fn remove_ban(&mut self, host: Host) -> Result<(), StoreError> {
        self.apply(&[Change::RemoveBan(host)])
    }
}
