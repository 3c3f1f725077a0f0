//! The requested items that one peer waits for, in the order of its requests.
//!
//! Items are kept as they arrived, so they cost no more than the messages that contained them. Each item is answered by
//! the thing itself or is part of a `notfound`.

use super::waiting::Answer;
use crate::protocol::CommandName;
use crate::wire::{InventoryItem, InventoryRef};
use bytes::Bytes;
use std::collections::VecDeque;

/// The replies that one peer waits for.
#[derive(Debug, Default)]
pub(super) struct Serving {
    /// The payloads of `getdata` messages.
    messages: VecDeque<Bytes>,
    /// The number of items of the first message that were answered.
    answered: usize,
    /// The block that is being sent: its height, and the number of bytes that were fed.
    pub(super) body: Option<(u32, u64)>,
    /// Whether the checksum of the next block is being computed.
    pub(super) awaits_checksum: bool,
    /// The bytes of the peer's waiting replies, including those that wait for their moment.
    pub(super) waiting_bytes: usize,
}

impl Serving {
    pub(super) fn push(&mut self, payload: Bytes) {
        self.messages.push_back(payload);
    }

    /// Returns the next item.
    pub(super) fn front(&self) -> Option<InventoryItem> {
        items(self.messages.front()?)?.get(self.answered)
    }

    /// Returns the next items, from the same message, that `is_missing` selects: at most `max`.
    pub(super) fn missing(&self, max: usize, is_missing: impl FnMut(&InventoryItem) -> bool) -> Vec<InventoryItem> {
        let Some(items) = self.messages.front().and_then(items) else { return Vec::new() };
        items.iter().skip(self.answered).take(max).take_while(is_missing).collect()
    }

    /// Removes the next `count` items, which are from the same message. Returns the number of bytes that no longer
    /// wait, once the whole message is answered.
    pub(super) fn advance(&mut self, count: usize) -> Option<usize> {
        self.answered += count;
        let payload = self.messages.front()?;
        if self.answered < items(payload).map_or(0, |items| items.len()) {
            return None;
        }
        self.answered = 0;
        self.messages.pop_front().map(|payload| Answer::Items(payload).waiting_bytes())
    }

    /// Returns the number of bytes of the items' messages.
    pub(super) fn items_bytes(&self) -> usize {
        self.messages.iter().map(|payload| Answer::Items(payload.clone()).waiting_bytes()).sum()
    }
}

fn items(payload: &Bytes) -> Option<InventoryRef<'_>> {
    InventoryRef::decode(CommandName::GETDATA, payload).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RESPONDER_REPLY_BYTES;
    use crate::wire::{Hash256, Inventory};

    fn item(number: u8) -> InventoryItem {
        InventoryItem::tx(Hash256::from_bytes([number; 32]))
    }

    fn payload(numbers: std::ops::Range<u8>) -> Bytes {
        let mut payload = Vec::new();
        Inventory::from_items(numbers.map(item)).as_ref().encode(&mut payload);
        payload.into()
    }

    #[test]
    fn items_are_answered_in_order_and_their_bytes_are_freed_with_each_message() {
        let mut serving = Serving::default();
        [0..3, 3..4, 4..9].into_iter().for_each(|numbers| serving.push(payload(numbers)));
        assert_eq!(serving.items_bytes(), 3 * (RESPONDER_REPLY_BYTES + 1) + 9 * 36);
        let mut freed = Vec::new();
        for number in 0..9 {
            assert_eq!(serving.front(), Some(item(number)));
            freed.push(serving.advance(1).map(|bytes| (bytes - RESPONDER_REPLY_BYTES - 1) / 36));
        }
        assert_eq!(freed, [None, None, Some(3), Some(1), None, None, None, None, Some(5)]);
        assert_eq!((serving.front(), serving.advance(1), serving.items_bytes()), (None, None, 0));
    }

    #[test]
    fn missing_items_are_found_up_to_the_first_known_one_and_the_end_of_the_message() {
        let mut serving = Serving::default();
        serving.push(payload(0..6));
        serving.push(payload(6..9));
        let missing = |serving: &Serving, max| {
            let items = serving.missing(max, |item| item.hash != Hash256::from_bytes([4; 32]));
            items.iter().map(|item| item.hash.as_bytes()[0]).collect::<Vec<_>>()
        };
        assert_eq!(missing(&serving, 100), [0, 1, 2, 3]);
        assert_eq!(missing(&serving, 2), [0, 1]);
        assert_eq!(serving.advance(4), None);
        assert_eq!(missing(&serving, 100), []);
        assert_eq!(serving.advance(1), None);
        assert_eq!(missing(&serving, 100), [5]);
        assert!(serving.advance(1).is_some());
        assert_eq!(missing(&serving, 100), [6, 7, 8]);
    }
}
