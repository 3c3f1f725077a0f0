//! `inv`, `getdata` and `notfound`: lists of items that a peer has, requests, or lacks.
//!
//! All three have the same payload: a count, and items of 36 bytes. This file does not interpret the items. It keeps
//! and passes on any type and any hash, including types that no node knows.

use super::codec::{Reader, put_items};
use super::hash::Hash256;
use crate::error::WireError;
use crate::protocol::CommandName;
use bytes::Bytes;
use std::fmt;

/// The type of an inventory item, a 32-bit number without flags (SV Node 1.2.2, protocol.h GetDataMsg).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InventoryKind(pub u32);

/// An item of an inventory, 36 bytes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InventoryItem {
    /// The item's type.
    pub kind: InventoryKind,
    /// The id of the transaction or the hash of the block.
    pub hash: Hash256,
}

/// A borrowed inventory (SV Node 1.2.2, protocol.h CInv).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InventoryRef<'a> {
    items: &'a [[u8; InventoryItem::LEN_BYTES]],
}

/// An owned inventory.
///
/// ```
/// use peerloop::protocol::CommandName;
/// use peerloop::wire::{Hash256, Inventory, InventoryItem, InventoryKind, InventoryRef};
///
/// let items = [InventoryItem::tx(Hash256::from_bytes([7; 32])), InventoryItem::block(Hash256::from_bytes([8; 32]))];
/// let mut payload = Vec::new();
/// Inventory::from_items(items).as_ref().encode(&mut payload);
/// assert_eq!(payload, [&[2, 1, 0, 0, 0][..], &[7; 32], &[2, 0, 0, 0], &[8; 32]].concat());
///
/// let received = InventoryRef::decode(CommandName::INV, &payload)?;
/// assert!(received.iter().any(|item| item.kind == InventoryKind::BLOCK));
/// assert_eq!(received.get(1), Some(InventoryItem::block(Hash256::from_bytes([8; 32]))));
/// assert_eq!(received.chunks(1).map(|part| part.len()).collect::<Vec<_>>(), [1, 1]);
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    items: Bytes,
}

impl InventoryKind {
    /// Undefined; no node sends it.
    pub const UNDEFINED: Self = Self(0);
    /// A transaction.
    pub const TX: Self = Self(1);
    /// A block.
    pub const BLOCK: Self = Self(2);
    /// A block reduced by the requester's filter, sent as `merkleblock` and `tx`; only in `getdata`.
    pub const FILTERED_BLOCK: Self = Self(3);
    /// A block sent as `cmpctblock`; only in `getdata`.
    pub const COMPACT_BLOCK: Self = Self(4);
    /// A transaction that a miner's information refers to, sent as `datareftx`; only in `getdata` and `notfound`.
    pub const DATAREF_TX: Self = Self(5);

    /// Returns whether an item of this type is a block in any form.
    pub(crate) const fn is_block(self) -> bool {
        matches!(self, Self::BLOCK | Self::FILTERED_BLOCK | Self::COMPACT_BLOCK)
    }

    /// Returns the name of the type, if it has one.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::UNDEFINED => "undefined",
            Self::TX => "tx",
            Self::BLOCK => "block",
            Self::FILTERED_BLOCK => "filtered block",
            Self::COMPACT_BLOCK => "compact block",
            Self::DATAREF_TX => "dataref tx",
            _ => return None,
        })
    }
}

impl fmt::Display for InventoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "type {:#010x}", self.0),
        }
    }
}

impl InventoryItem {
    /// The length on the wire, in bytes.
    pub const LEN_BYTES: usize = 4 + Hash256::LEN_BYTES;

    /// Returns the item for a transaction.
    pub const fn tx(txid: Hash256) -> Self {
        Self { kind: InventoryKind::TX, hash: txid }
    }

    /// Returns the item for a block.
    pub const fn block(hash: Hash256) -> Self {
        Self { kind: InventoryKind::BLOCK, hash }
    }

    fn decode(bytes: &[u8; Self::LEN_BYTES]) -> Self {
        let [a, b, c, d, hash @ ..] = *bytes;
        Self { kind: InventoryKind(u32::from_le_bytes([a, b, c, d])), hash: Hash256::from_bytes(hash) }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.kind.0.to_le_bytes());
        out.extend_from_slice(self.hash.as_bytes());
    }
}

impl<'a> InventoryRef<'a> {
    /// Reads the payload of `command`, one of the three messages. Checks only the count.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if the payload ends inside the count or holds fewer items than its count,
    /// [`WireError::NonCanonicalSize`] or [`WireError::OverlongSize`] if the count is invalid.
    pub fn decode(command: CommandName, payload: &'a [u8]) -> Result<Self, WireError> {
        Ok(Self { items: Reader::new(command, payload).items()? })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_items(self.items, out);
    }

    /// Returns the number of items.
    pub const fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns whether there are no items.
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the item at `index`; `None` beyond the last one.
    pub fn get(&self, index: usize) -> Option<InventoryItem> {
        self.items.get(index).map(InventoryItem::decode)
    }

    /// Returns an iterator over the items.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = InventoryItem> + DoubleEndedIterator + Clone + use<'a> {
        self.items.iter().map(InventoryItem::decode)
    }

    /// Returns the inventory in parts of at most `len` items, for peers that accept no more per message. An empty
    /// inventory has no parts.
    ///
    /// # Panics
    ///
    /// If `len` is 0.
    pub fn chunks(&self, len: usize) -> impl Iterator<Item = Self> + use<'a> {
        self.items.chunks(len).map(|items| Self { items })
    }

    /// Returns the owned inventory, with a copy of the items.
    pub fn into_owned(self) -> Inventory {
        Inventory { items: Bytes::copy_from_slice(self.items.as_flattened()) }
    }
}

impl Inventory {
    /// Returns the inventory with these items. A peer's `protoconf` limits the number of items that the peer accepts
    /// per message.
    pub fn from_items(items: impl IntoIterator<Item = InventoryItem>) -> Self {
        let items = items.into_iter();
        let mut bytes = Vec::with_capacity(items.size_hint().0.saturating_mul(InventoryItem::LEN_BYTES));
        items.for_each(|item| item.write(&mut bytes));
        Self { items: bytes.into() }
    }

    /// Borrows the inventory.
    pub fn as_ref(&self) -> InventoryRef<'_> {
        InventoryRef { items: self.items.as_chunks().0 }
    }
}
