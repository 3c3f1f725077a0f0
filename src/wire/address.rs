//! `addr`: addresses of nodes, as claimed by the sender.
//!
//! Times and services are claims. This file checks only the count, and never whether an address is routable.

use super::codec::{Reader, field, put_items};
use super::version::NetAddress;
use crate::error::WireError;
use crate::protocol::CommandName;
use bytes::Bytes;

/// An item of `addr`, 30 bytes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressEntry {
    /// The time at which the node was last seen, in Unix seconds.
    pub time: u32,
    /// The address.
    pub address: NetAddress,
}

/// A borrowed `addr` message (SV Node 1.2.2, protocol.h CAddress).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressesRef<'a> {
    entries: &'a [[u8; AddressEntry::LEN_BYTES]],
}

/// An owned `addr` message.
///
/// ```
/// use peerloop::wire::{AddressEntry, Addresses, AddressesRef, NetAddress};
///
/// let address = NetAddress::from_socket(0x21, "192.0.2.1:8333".parse()?);
/// let message = Addresses::from_entries([AddressEntry { time: 1_700_000_000, address }]);
/// let mut payload = Vec::new();
/// message.as_ref().encode(&mut payload);
/// assert_eq!(payload[..5], [1, 0x00, 0xf1, 0x53, 0x65]);
/// assert_eq!(payload[23..], [0xff, 0xff, 192, 0, 2, 1, 0x20, 0x8d]);
///
/// let mut received = AddressesRef::decode(&payload)?.iter();
/// assert_eq!(received.next().map(|entry| entry.address.to_socket()), Some("192.0.2.1:8333".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    entries: Bytes,
}

impl AddressEntry {
    /// The length on the wire, in bytes.
    pub const LEN_BYTES: usize = 4 + NetAddress::LEN_BYTES;

    fn decode(bytes: &[u8; Self::LEN_BYTES]) -> Self {
        Self { time: u32::from_le_bytes(field(bytes, 0)), address: NetAddress::decode(&field(bytes, 4)) }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.time.to_le_bytes());
        self.address.write(out);
    }
}

impl<'a> AddressesRef<'a> {
    /// Reads the payload of an `addr`. Checks only the count.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if the payload ends inside the count or holds fewer items than its count,
    /// [`WireError::NonCanonicalSize`] or [`WireError::OverlongSize`] if the count is invalid.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        Ok(Self { entries: Reader::new(CommandName::ADDR, payload).items()? })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_items(self.entries, out);
    }

    /// Returns the number of addresses. A node penalises a message with more than 1,000.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no addresses.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns an iterator over the addresses.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = AddressEntry> + DoubleEndedIterator + Clone + use<'a> {
        self.entries.iter().map(AddressEntry::decode)
    }

    /// Returns the owned message, with a copy of the items.
    pub fn into_owned(self) -> Addresses {
        Addresses { entries: Bytes::copy_from_slice(self.entries.as_flattened()) }
    }
}

impl Addresses {
    /// Returns the message with these addresses.
    pub fn from_entries(entries: impl IntoIterator<Item = AddressEntry>) -> Self {
        let entries = entries.into_iter();
        let mut bytes = Vec::with_capacity(entries.size_hint().0.saturating_mul(AddressEntry::LEN_BYTES));
        entries.for_each(|entry| entry.write(&mut bytes));
        Self { entries: bytes.into() }
    }

    /// Borrows the message.
    pub fn as_ref(&self) -> AddressesRef<'_> {
        AddressesRef { entries: self.entries.as_chunks().0 }
    }
}
