//! The unanswered items of a peer's `getdata` messages, which are served as the peer reads.
//!
//! Every item is answered by the thing itself or by `notfound`, or the link is closed. The items are kept as they
//! arrived, so waiting items cost no more than the message that contained them.

use super::window::shared_bytes;
use crate::protocol::CommandName;
use crate::wire::{InventoryItem, InventoryRef};
use bytes::Bytes;
use std::collections::VecDeque;

/// The items of one peer that wait for an answer, in order.
#[derive(Debug, Default)]
pub(super) struct Serving {
    /// The payloads of `getdata` messages, each with the number of items that were answered.
    messages: VecDeque<(Bytes, usize)>,
    len: usize,
    bytes: usize,
}

impl Serving {
    /// Adds the items of a message after the first `answered` ones.
    pub(super) fn push(&mut self, payload: Bytes, items: usize, answered: usize) {
        self.len += items - answered;
        self.bytes += shared_bytes(payload.len());
        self.messages.push_back((payload, answered));
    }

    /// Returns the next item.
    pub(super) fn front(&self) -> Option<InventoryItem> {
        let (payload, answered) = self.messages.front()?;
        items(payload)?.get(*answered)
    }

    /// Removes the next item.
    pub(super) fn pop(&mut self) {
        let Some((payload, answered)) = self.messages.front_mut() else { return };
        *answered += 1;
        self.len -= 1;
        if items(payload).is_none_or(|items| *answered >= items.len()) {
            self.bytes -= shared_bytes(payload.len());
            self.messages.pop_front();
        }
    }

    /// Returns the number of items.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the number of bytes that the items retain.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn items(payload: &Bytes) -> Option<InventoryRef<'_>> {
    InventoryRef::decode(CommandName::GETDATA, payload).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Hash256, Inventory};

    fn payload(numbers: std::ops::Range<u8>) -> (Bytes, usize) {
        let items = numbers.clone().map(|number| InventoryItem::tx(Hash256::from_bytes([number; 32])));
        let mut payload = Vec::new();
        Inventory::from_items(items).as_ref().encode(&mut payload);
        (payload.into(), numbers.len())
    }

    #[test]
    fn items_are_returned_in_order_and_counted() {
        let mut serving = Serving::default();
        for (numbers, answered) in [(0..5, 2), (5..6, 0), (6..9, 1)] {
            let (payload, items) = payload(numbers);
            serving.push(payload, items, answered);
        }
        assert_eq!((serving.len(), serving.bytes()), (6, 3 + 36 * 9));
        let mut numbers = Vec::new();
        while let Some(item) = serving.front() {
            numbers.push(item.hash.as_bytes()[0]);
            serving.pop();
        }
        assert_eq!(numbers, [2, 3, 4, 5, 7, 8]);
        serving.pop();
        assert_eq!((serving.len(), serving.bytes()), (0, 0));
    }

    #[test]
    fn a_message_that_may_share_a_read_block_counts_with_the_block() {
        let (mut serving, payload) = (Serving::default(), Bytes::from(vec![0; 40_000]));
        serving.push(payload, 1, 0);
        assert_eq!(serving.bytes(), 65_536);
        serving.pop();
        assert_eq!(serving.bytes(), 0);
    }
}
