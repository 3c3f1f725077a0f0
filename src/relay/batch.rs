//! The encoded announcement of a range of the log, which all peers with the same cursor share.
//!
//! It contains the transactions that were accepted and not dropped since, in their order.

use super::bits::PeerSet;
use super::inventory::{Entry, Inventory, PeerIndex, Record};
use crate::bugs::canary;
use crate::handler::Ctx;
use crate::wire::{Inventory as Message, InventoryItem, MessageRef};
use bytes::Bytes;
use std::ops::Range;

/// An announcement that was encoded for all peers with the same cursor.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) range: Range<u64>,
    /// The inventory's revision. An announcer that was added later is missing in `announcers`.
    pub(super) revision: u64,
    /// The frame; empty without items.
    pub(super) frame: Bytes,
    pub(super) items: u64,
    /// The number of announcements whose entries have been dropped.
    pub(super) lost: u64,
    /// The positions in the range whose transactions the frame does not contain, in order.
    pub(super) gaps: Vec<u64>,
    /// Those of the gaps that are transactions which the frame's only receiver has announced itself.
    pub(super) own: Vec<u64>,
    /// The peers that have announced one of the transactions. They need frames of their own.
    announcers: PeerSet,
}

impl Batch {
    /// Encodes the announcement of a range, without the transactions that `but` has announced itself.
    pub(super) fn encode(inventory: &Inventory, ctx: &Ctx<'_>, range: Range<u64>, but: Option<PeerIndex>) -> Self {
        let (mut items, mut gaps, mut own) = (Vec::new(), Vec::new(), Vec::new());
        let (mut announcers, mut lost) = (PeerSet::default(), 0);
        for position in range.clone() {
            let record = inventory.log().get(position);
            lost += u64::from(record == Record::Lost);
            let entry = match record {
                Record::Accepted(slot) => inventory.get(slot),
                Record::Submitted(_) | Record::Withdrawn | Record::Lost => None,
            };
            let is_own = |entry: &Entry| but.is_some_and(|but| inventory.is_announced_by(entry, but));
            let Some(entry) = entry.filter(|entry| !is_own(entry)) else {
                gaps.push(position);
                own.extend(entry.map(|_| position));
                continue;
            };
            items.push(InventoryItem::tx(entry.hash));
            if but.is_none() {
                inventory.add_announcers(entry, &mut announcers);
            }
        }
        if canary!(AnnouncementLost) && items.len() > 1 {
            items.pop();
        }
        let count = items.len() as u64;
        let frame = match items.is_empty() {
            true => Bytes::new(),
            false => ctx.encode(&MessageRef::Inv(Message::from_items(items).as_ref())),
        };
        Self { range, revision: inventory.revision(), frame, items: count, lost, gaps, own, announcers }
    }

    /// Returns whether a peer has announced one of the transactions.
    pub(super) fn is_announced_by(&self, peer: PeerIndex) -> bool {
        self.announcers.contains(peer)
    }
}
