//! `inv`, `getdata` and `notfound`: lists of what a peer has, wants, or could not be given.
//!
//! The three share one payload, a count and items of 36 bytes. What an item means is for others: any type and any
//! hash can be held and passed on, also types that no node knows.

use super::codec::{Reader, put_items};
use super::hash::Hash256;
use crate::error::WireError;
use crate::protocol::CommandName;
use bytes::Bytes;
use std::fmt;

/// What an item of an inventory names, all 32 bits of it: a node knows no flags in it (SV Node 1.2.2, protocol.h
/// GetDataMsg).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InventoryKind(pub u32);

/// An item of an inventory, 36 bytes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InventoryItem {
    /// What is named.
    pub kind: InventoryKind,
    /// The id of the transaction or the hash of the block.
    pub hash: Hash256,
}

/// An inventory over the items that it was read from (SV Node 1.2.2, protocol.h CInv).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InventoryRef<'a> {
    items: &'a [[u8; InventoryItem::LEN_BYTES]],
}

/// An inventory on its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    items: Bytes,
}

impl InventoryKind {
    /// Nothing; no node sends it.
    pub const UNDEFINED: Self = Self(0);
    /// A transaction.
    pub const TX: Self = Self(1);
    /// A block.
    pub const BLOCK: Self = Self(2);
    /// The transactions of a block that match the asker's filter, as `merkleblock`; only in `getdata`.
    pub const FILTERED_BLOCK: Self = Self(3);
    /// A block as `cmpctblock`; only in `getdata`.
    pub const COMPACT_BLOCK: Self = Self(4);
    /// A transaction that a miner's information refers to, as `datareftx`; only in `getdata` and `notfound`.
    pub const DATAREF_TX: Self = Self(5);

    /// The name of the type, if it has one.
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
    /// Bytes on the wire.
    pub const LEN_BYTES: usize = 4 + Hash256::LEN_BYTES;

    /// A transaction.
    pub const fn tx(txid: Hash256) -> Self {
        Self { kind: InventoryKind::TX, hash: txid }
    }

    /// A block.
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
    /// Reads the payload of `command`, one of the three; looks at the count alone.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if it holds less than it counts, [`WireError::NonCanonicalSize`] and
    /// [`WireError::TooLong`] for the count.
    pub fn decode(command: CommandName, payload: &'a [u8]) -> Result<Self, WireError> {
        Ok(Self { items: Reader::new(command, payload).items()? })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_items(self.items, out);
    }

    /// The number of items.
    pub const fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are no items.
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The items, read one by one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = InventoryItem> + DoubleEndedIterator + Clone + use<'a> {
        self.items.iter().map(InventoryItem::decode)
    }

    /// The inventory on its own; copies the items.
    pub fn into_owned(self) -> Inventory {
        Inventory { items: Bytes::copy_from_slice(self.items.as_flattened()) }
    }
}

impl Inventory {
    /// The inventory of these items; how many a peer takes in one message, its `protoconf` says.
    pub fn from_items(items: impl IntoIterator<Item = InventoryItem>) -> Self {
        let items = items.into_iter();
        let mut bytes = Vec::with_capacity(items.size_hint().0.saturating_mul(InventoryItem::LEN_BYTES));
        items.for_each(|item| item.write(&mut bytes));
        Self { items: bytes.into() }
    }

    /// The inventory, borrowed.
    pub fn as_ref(&self) -> InventoryRef<'_> {
        InventoryRef { items: self.items.as_chunks().0 }
    }
}
