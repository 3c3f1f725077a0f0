//! The open requests of one node: the items that it requested and has not received.
//!
//! When the opposite node is lost, an open request for a transaction is answered with `notfound`. No message says that
//! a block or a list of headers is missing, so a node with such a request is closed instead. It then asks its other
//! peers at once (SV Node 1.2.2, net_processing.cpp FinalizeNode).
//!
//! A reply is matched by its block or its transaction. `headers` and `hdrsen` name no request, so they are only
//! counted, and an announcement in the form of `headers` counts as a reply. If a `getheaders` is open at that moment,
//! its node stays connected after a loss, and waits until it sends its next `getheaders`.

use crate::limits::MAX_PIPE_OPEN_REQUESTS;
use crate::protocol::CommandName;
use crate::wire::{Hash256, InventoryItem, InventoryKind, InventoryRef, ProvenTxRef};
use std::collections::BTreeSet;

/// Length of a block's header, which begins a `block`, a `merkleblock` and a `cmpctblock`.
pub(super) const BLOCK_HEADER_LEN_BYTES: usize = 80;

/// The kind under which a `getblocktxn` is remembered. No `getdata` adds it, because unknown kinds are not remembered.
const BLOCK_TRANSACTIONS: InventoryKind = InventoryKind(u32::MAX);
/// The kinds of items that a `block` answers. A node answers a request for an old compact block, and a `getblocktxn`
/// for most of a block or for an old one, with the block itself (SV Node 1.2.2, net_processing.cpp
/// ProcessGetBlockTxnMessage).
const BLOCK_KINDS: [InventoryKind; 4] =
    [InventoryKind::BLOCK, InventoryKind::FILTERED_BLOCK, InventoryKind::COMPACT_BLOCK, BLOCK_TRANSACTIONS];
/// The kinds of items that an SV Node lists in a `notfound` if it does not have them.
const NOTFOUND_KINDS: [InventoryKind; 2] = [InventoryKind::TX, InventoryKind::DATAREF_TX];

/// The open requests of a node. A tree holds the items, so a peer cannot choose colliding keys, and the order in which
/// they are listed is fixed.
#[derive(Debug, Default)]
pub(super) struct OpenRequests {
    items: BTreeSet<InventoryItem>,
    /// Whether items were not remembered because there were too many.
    has_forgotten: bool,
    headers: u32,
    enriched_headers: u32,
}

/// The remedy for the open requests of a node whose opposite node is lost.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// Send `notfound` for these items, which may be none.
    NotFound(Vec<InventoryItem>),
    /// Close the node, because no message can answer a request.
    Close,
}

impl OpenRequests {
    /// Notes a message of the node, which may be a request.
    pub(super) fn note_request(&mut self, command: CommandName, payload: &[u8]) {
        match command {
            CommandName::GETDATA => {
                // An undecodable request gets no reply.
                let Ok(inventory) = InventoryRef::decode(command, payload) else { return };
                // A node does not answer a request for an unknown kind.
                let is_known = |kind| BLOCK_KINDS.contains(&kind) || NOTFOUND_KINDS.contains(&kind);
                let known = inventory.iter().filter(|item| item.kind != BLOCK_TRANSACTIONS && is_known(item.kind));
                known.for_each(|item| self.note_item(item));
            }
            CommandName::GETHEADERS => self.headers = self.headers.saturating_add(1),
            CommandName::GETHDRSEN => self.enriched_headers = self.enriched_headers.saturating_add(1),
            CommandName::GETBLOCKTXN => {
                // A shorter one is undecodable, too.
                let Some(hash) = payload.first_chunk() else { return };
                self.note_item(InventoryItem { kind: BLOCK_TRANSACTIONS, hash: Hash256::from_bytes(*hash) });
            }
            _ => {}
        }
    }

    fn note_item(&mut self, item: InventoryItem) {
        if self.items.len() < MAX_PIPE_OPEN_REQUESTS {
            self.items.insert(item);
        } else {
            self.has_forgotten |= !self.items.contains(&item);
        }
    }

    /// Notes a whole message to the node, which may answer a request. `hash` is the payload's double SHA-256, if it is
    /// known.
    pub(super) fn note_reply(&mut self, command: CommandName, payload: &[u8], hash: impl FnOnce() -> Hash256) {
        match command {
            CommandName::TX if !self.items.is_empty() => {
                self.items.remove(&InventoryItem::tx(hash()));
            }
            CommandName::DATAREFTX if !self.items.is_empty() => {
                let Ok(proven) = ProvenTxRef::decode(payload) else { return };
                self.items.remove(&InventoryItem { kind: InventoryKind::DATAREF_TX, hash: proven.tx.txid() });
            }
            CommandName::NOTFOUND => {
                let Ok(inventory) = InventoryRef::decode(command, payload) else { return };
                for item in inventory.iter() {
                    self.items.remove(&item);
                }
            }
            command => self.note_large_reply(command, payload),
        }
    }

    /// Notes a large message to the node, which may answer a request. `head` is the payload's beginning, at least as
    /// long as a block's header. A large `tx` answers no request here, because its hash is not known.
    pub(super) fn note_large_reply(&mut self, command: CommandName, head: &[u8]) {
        match command {
            CommandName::HEADERS => self.headers = self.headers.saturating_sub(1),
            CommandName::HDRSEN => self.enriched_headers = self.enriched_headers.saturating_sub(1),
            CommandName::BLOCKTXN => {
                // It begins with the block's hash, as its request does.
                let Some(hash) = head.first_chunk() else { return };
                self.items.remove(&InventoryItem { kind: BLOCK_TRANSACTIONS, hash: Hash256::from_bytes(*hash) });
            }
            CommandName::BLOCK => self.note_blocks(&BLOCK_KINDS, head),
            CommandName::MERKLEBLOCK => self.note_blocks(&[InventoryKind::FILTERED_BLOCK], head),
            CommandName::CMPCTBLOCK => self.note_blocks(&[InventoryKind::COMPACT_BLOCK], head),
            _ => {}
        }
    }

    fn note_blocks(&mut self, kinds: &[InventoryKind], head: &[u8]) {
        let Some(header) = head.first_chunk::<BLOCK_HEADER_LEN_BYTES>() else { return };
        let hash = Hash256::of(header);
        for &kind in kinds {
            self.items.remove(&InventoryItem { kind, hash });
        }
    }

    /// Returns the remedy for the open requests, and forgets them.
    pub(super) fn take(&mut self) -> Unanswered {
        let Self { items, has_forgotten, headers, enriched_headers } = std::mem::take(self);
        let has_block = items.iter().any(|item| !NOTFOUND_KINDS.contains(&item.kind));
        if has_forgotten || has_block || headers > 0 || enriched_headers > 0 {
            return Unanswered::Close;
        }
        Unanswered::NotFound(items.into_iter().collect())
    }

    /// Returns the number of remembered items.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }
}
