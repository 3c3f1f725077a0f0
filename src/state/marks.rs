//! Marks on messages that are not yet written. A mark's handler receives an event once the kernel has accepted
//! the message.
//!
//! A mark is the position in a link's outgoing bytes at which its message ends. The position moves when a frame is
//! queued ahead of the message. The mark is due once the kernel has accepted all bytes up to the position. A marked
//! message is always queued, never collected in the write block. A link without marks costs nothing.

use crate::id::{Lane, LinkId};
use crate::limits::MAX_MARKS_PER_PEER;
use std::collections::{BTreeMap, VecDeque};

/// A mark on a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The number that the handler chose.
    pub(crate) number: u64,
    /// The position in the link's outgoing bytes at which the message ends.
    pub(crate) end: u64,
    /// The lane of the handler that set the mark.
    pub(crate) lane: Lane,
}

const _: () = assert!(size_of::<Mark>() == 24, "the size of a `Mark` is not the documented 24 bytes");

/// The marks of all links. A link's marks are in the order of their positions.
#[derive(Debug, Default)]
pub(crate) struct Marks(BTreeMap<LinkId, VecDeque<Mark>>);

impl Marks {
    /// Returns whether no link has a mark.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a link may have `count` more marks.
    pub(crate) fn has_room(&self, link: LinkId, count: usize) -> bool {
        self.0.get(&link).map_or(0, VecDeque::len) + count <= MAX_MARKS_PER_PEER
    }

    /// Adds a mark after all others of the link.
    pub(crate) fn add(&mut self, link: LinkId, mark: Mark) {
        self.0.entry(link).or_default().push_back(mark);
    }

    /// Moves the link's marks after `position` by `len_bytes`, because that many bytes were inserted there.
    pub(crate) fn make_room(&mut self, link: LinkId, position: u64, len_bytes: u64) {
        if self.is_empty() {
            return;
        }
        let marks = self.0.get_mut(&link).into_iter().flatten().rev();
        marks.take_while(|mark| mark.end > position).for_each(|mark| mark.end += len_bytes);
    }

    /// Removes and returns the link's next mark if it is due. `written` is the total number of the link's bytes that
    /// the kernel has accepted.
    pub(crate) fn take_due(&mut self, link: LinkId, written: u64) -> Option<Mark> {
        let marks = self.0.get_mut(&link)?;
        let due = *marks.front().filter(|mark| mark.end <= written)?;
        marks.pop_front();
        if marks.is_empty() {
            self.remove(link);
        }
        Some(due)
    }

    /// Drops the link's marks.
    pub(crate) fn remove(&mut self, link: LinkId) {
        if !self.is_empty() {
            self.0.remove(&link);
        }
    }

    /// Returns the number of links that have marks.
    #[cfg(feature = "sim")]
    pub(crate) fn links(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId::new(3, 1);

    fn mark(number: u64, end: u64) -> Mark {
        Mark { number, end, lane: Lane::ROOT }
    }

    fn marks(ends: &[u64]) -> Marks {
        let mut marks = Marks::default();
        (1..).zip(ends).for_each(|(number, end)| marks.add(LINK, mark(number, *end)));
        marks
    }

    #[test]
    fn a_mark_is_due_when_its_messages_last_byte_is_written_and_only_once() {
        let mut marks = marks(&[10, 20, 20]);
        assert_eq!((marks.take_due(LINK, 9), marks.take_due(LinkId::new(3, 2), 99)), (None, None));
        assert_eq!((marks.take_due(LINK, 10), marks.take_due(LINK, 19)), (Some(mark(1, 10)), None));
        assert_eq!(
            [20, 20, 20].map(|written| marks.take_due(LINK, written).map(|mark| mark.number)),
            [Some(2), Some(3), None]
        );
        assert!(marks.is_empty());
    }

    #[test]
    fn an_inserted_frame_moves_the_marks_after_it_and_no_others() {
        for (position, ends) in [(0, [15, 25]), (9, [15, 25]), (10, [10, 25]), (19, [10, 25]), (20, [10, 20])] {
            let mut marks = marks(&[10, 20]);
            marks.make_room(LINK, position, 5);
            marks.make_room(LinkId::new(4, 1), 0, 7);
            assert_eq!([1, 2].map(|_| marks.take_due(LINK, 99).map(|mark| mark.end)), ends.map(Some), "{position}");
        }
    }

    #[test]
    fn a_link_has_a_bounded_number_of_marks_and_room_again_after_their_removal() {
        let mut marks = marks(&[10; MAX_MARKS_PER_PEER]);
        assert!(!marks.has_room(LINK, 1) && marks.has_room(LinkId::new(3, 2), MAX_MARKS_PER_PEER));
        marks.take_due(LINK, 10);
        assert!(marks.has_room(LINK, 1) && !marks.has_room(LINK, 2));
        marks.remove(LINK);
        assert!(marks.is_empty() && marks.has_room(LINK, MAX_MARKS_PER_PEER));
    }
}
