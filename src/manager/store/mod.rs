//! The address book: the known peers, their records, and the banned hosts.
//!
//! A [`PeerStore`] keeps the book for the next run, for example in a file (`RedbStore`, feature `store`). The loop
//! uses a copy in memory, and a separate thread writes the changes, so the loop never waits for a disk.
//!
//! Each call is atomic: after an error the store is unchanged, and a call that failed because of the disk or the
//! operating system may be repeated. Nothing here decides on dials or bans, and nothing here reads a clock.

#[cfg(feature = "store")]
mod capped_file;
mod error;
pub(crate) mod journal;
pub(crate) mod memory;
#[cfg(feature = "store")]
mod overlay;
mod peer;
#[cfg(feature = "store")]
mod record;
#[cfg(feature = "store")]
mod redb;
#[cfg(feature = "store")]
mod set_aside;
pub(crate) mod writer;

pub use error::{BookLost, FileStep, StoreError};
pub(crate) use journal::Journal;
pub(crate) use memory::MemoryStore;
pub use peer::{KnownPeer, PeerStatus, UserAgent};
#[cfg(feature = "store")]
pub use redb::{BookContents, Opened, RedbStore};
#[cfg(feature = "store")]
pub use set_aside::{SetAside, Unfit};
pub(crate) use writer::{Batch, Persisted, Writer};

use crate::address::Host;
use crate::manager::ban::Ban;
use std::net::{IpAddr, SocketAddr};

/// One idempotent change of a [`PeerStore`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds the peer, or replaces its record.
    PutPeer(KnownPeer),
    /// Removes the peer with this address.
    RemovePeer(SocketAddr),
    /// Adds the ban, or replaces the ban of the same host.
    PutBan(Ban),
    /// Removes the ban of this host.
    RemoveBan(Host),
}

impl Change {
    /// Returns whether the change removes a peer or a ban from the store.
    const fn removes(&self) -> bool {
        match self {
            Self::RemovePeer(_) | Self::RemoveBan(_) => true,
            Self::PutPeer(_) | Self::PutBan(_) => false,
        }
    }
}

/// A store of peers and bans.
///
/// A store holds at most [`MAX_BOOK_PEERS`](crate::limits::MAX_BOOK_PEERS) peers, one for each address and port, and
/// at most [`MAX_BANS`](crate::limits::MAX_BANS) bans, one for each host. An IPv4 address in IPv6 form equals the
/// IPv4 address. When a call returns, its change is as durable as the store itself.
///
/// A call that cannot read or write the store returns the reason as an error.
///
/// ```
/// use peerloop::ban::Ban;
/// use peerloop::store::{KnownPeer, PeerStatus, PeerStore, StoreError};
/// use std::net::SocketAddr;
///
/// /// Replaces the ban of a host, restores the record of a known peer, and removes one peer and all inaccessible ones.
/// fn tidy(book: &mut impl PeerStore, ban: Ban, saved: KnownPeer, old: SocketAddr) -> Result<(), StoreError> {
///     book.update(saved)?;
///     if let Some(peer) = book.find_by_ip_port(old.ip(), old.port())? {
///         book.delete(peer.address())?;
///     }
///     book.remove_ban(ban.host)?;
///     book.put_ban(ban)?;
///     println!("{} peers to remove", book.count_by_status(PeerStatus::Inaccessible)?);
///     for peer in book.find_by_status(PeerStatus::Inaccessible)? {
///         book.delete(peer.address())?;
///     }
///     Ok(())
/// }
/// ```
pub trait PeerStore {
    /// Returns the record of the peer with this address.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn read(&self, address: SocketAddr) -> Result<Option<KnownPeer>, StoreError>;

    /// Returns all peers, in the order of their addresses.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn list_all(&self) -> Result<Vec<KnownPeer>, StoreError>;

    /// Returns all bans, in the order of their hosts.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn bans(&self) -> Result<Vec<Ban>, StoreError>;

    /// Applies these changes in order, either all or none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] if there would be too many peers or bans afterwards, or the reason why the store cannot
    /// be written.
    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// Adds a new peer.
    ///
    /// # Errors
    ///
    /// [`StoreError::Duplicate`] if the peer is already in the store, or an error of [`PeerStore::apply`].
    fn create(&mut self, peer: KnownPeer) -> Result<(), StoreError> {
        match self.read(peer.address())? {
            Some(known) => Err(StoreError::Duplicate { address: known.address() }),
            None => self.apply(&[Change::PutPeer(peer)]),
        }
    }

    /// Replaces the record of a peer.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchPeer`] if the peer is not in the store, or an error of [`PeerStore::apply`].
    fn update(&mut self, peer: KnownPeer) -> Result<(), StoreError> {
        match self.read(peer.address())? {
            Some(_) => self.apply(&[Change::PutPeer(peer)]),
            None => Err(StoreError::NoSuchPeer { address: peer.address() }),
        }
    }

    /// Removes a peer.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchPeer`] if the peer is not in the store, or an error of [`PeerStore::apply`].
    fn delete(&mut self, address: SocketAddr) -> Result<(), StoreError> {
        match self.read(address)? {
            Some(_) => self.apply(&[Change::RemovePeer(address)]),
            None => Err(StoreError::NoSuchPeer { address }),
        }
    }

    /// Returns the peers with this status, in the order of their addresses. All ban reasons count as one status.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn find_by_status(&self, status: PeerStatus) -> Result<Vec<KnownPeer>, StoreError> {
        Ok(self.list_all()?.into_iter().filter(|peer| peer.status.is_like(status)).collect())
    }

    /// Returns the record of the peer at this address and port.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn find_by_ip_port(&self, ip: IpAddr, port: u16) -> Result<Option<KnownPeer>, StoreError> {
        self.read(SocketAddr::new(ip, port))
    }

    /// Returns the number of peers with this status. All ban reasons count as one status.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn count_by_status(&self, status: PeerStatus) -> Result<usize, StoreError> {
        Ok(self.find_by_status(status)?.len())
    }

    /// Adds a ban, replacing an earlier one of the same host.
    ///
    /// # Errors
    ///
    /// The errors of [`PeerStore::apply`].
    fn put_ban(&mut self, ban: Ban) -> Result<(), StoreError> {
        self.apply(&[Change::PutBan(ban)])
    }

    /// Removes the ban of a host, if there is one.
    ///
    /// # Errors
    ///
    /// The errors of [`PeerStore::apply`].
    fn remove_ban(&mut self, host: Host) -> Result<(), StoreError> {
        self.apply(&[Change::RemoveBan(host)])
    }
}
