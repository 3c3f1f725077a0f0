//! Lists of items that differ in size: counted, checked once, and read one by one.
//!
//! A [`ListRef`] is a count and the bytes of that many items. Reading a list checks every item without keeping it
//! decoded, so iteration cannot fail. A [`List`] owns its count and bytes; [`Items`] reads the items one by one.
//! Lists of equally sized items do not need this module: they are slices of arrays.

use super::codec::{Reader, put_compact_size};
use crate::error::WireError;
use crate::protocol::CommandName;
use bytes::Bytes;
use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;

/// A kind of list item. A type with a lifetime implements this trait for one lifetime only, because [`Item::Read`]
/// has a lifetime of its own.
pub trait Item {
    /// An item of a list that lives for `'a`.
    type Read<'a>;
    /// The state passed from each item to the next one.
    type State: Clone + fmt::Debug;

    /// The size of the shortest item in bytes, at least one.
    const MIN_BYTES: usize;
    /// The command whose payload contains the items.
    const COMMAND: CommandName;
    /// The state before the first item.
    const START: Self::State;
    /// The names of [`List`] and [`ListRef`] in debug output.
    const NAMES: [&'static str; 2] = ["List", "ListRef"];

    /// Reads the next item.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if the payload ends inside the item, and the errors of its fields.
    fn read<'a>(reader: &mut Reader<'a>, state: &mut Self::State) -> Result<Self::Read<'a>, WireError>;

    /// Skips the next item.
    ///
    /// # Errors
    ///
    /// The errors of [`Item::read`].
    fn skip(reader: &mut Reader<'_>, state: &mut Self::State) -> Result<(), WireError> {
        Self::read(reader, state).map(drop)
    }
}

/// A borrowed list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ListRef<'a, T> {
    len: usize,
    items: &'a [u8],
    kind: PhantomData<T>,
}

/// An owned list.
#[derive(Clone, PartialEq, Eq)]
pub struct List<T> {
    len: usize,
    items: Bytes,
    kind: PhantomData<T>,
}

/// An iterator over the items of a list. An `Items<'a, TxInRef<'static>>` yields `TxInRef<'a>`.
#[derive(Clone, Debug)]
pub struct Items<'a, T: Item> {
    unread_len: usize,
    reader: Reader<'a>,
    state: T::State,
}

impl<'a, T: Item> ListRef<'a, T> {
    /// Reads a count, skips that many items, and returns them as a list.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let len = reader.count(T::MIN_BYTES)?;
        Self::walk(reader, len)
    }

    /// Skips `len` items and returns them as a list.
    pub(super) fn walk(reader: &mut Reader<'a>, len: usize) -> Result<Self, WireError> {
        Self::walk_with(reader, len, T::skip)
    }

    /// Skips `len` items and returns them as a list. Each call of `pass` skips one item.
    pub(super) fn walk_with(
        reader: &mut Reader<'a>,
        len: usize,
        mut pass: impl FnMut(&mut Reader<'a>, &mut T::State) -> Result<(), WireError>,
    ) -> Result<Self, WireError> {
        let unread = reader.unread();
        let mut state = T::START;
        for _ in 0..len {
            pass(reader, &mut state)?;
        }
        Ok(Self { len, items: &unread[..unread.len() - reader.remaining()], kind: PhantomData })
    }

    /// Appends the count and the items.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_compact_size(self.len as u64, out);
        out.extend_from_slice(self.items);
    }

    /// Returns the number of items.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no items.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns an iterator over the items.
    pub const fn iter(&self) -> Items<'a, T> {
        Items::over(T::COMMAND, self.len, self.items)
    }

    /// Returns the owned list, with a copy of the items.
    pub fn into_owned(self) -> List<T> {
        List::from_encoded(self.len, Bytes::copy_from_slice(self.items))
    }
}

impl<T: Item> List<T> {
    /// Returns the list of `items`, each encoded by `write`.
    pub(super) fn of<I>(items: impl IntoIterator<Item = I>, mut write: impl FnMut(I, &mut Vec<u8>)) -> Self {
        let items = items.into_iter();
        let mut len = 0;
        let mut encoded = Vec::with_capacity(items.size_hint().0.saturating_mul(T::MIN_BYTES));
        for item in items {
            len += 1;
            write(item, &mut encoded);
        }
        Self::from_encoded(len, encoded.into())
    }

    /// Returns the list of the `len` items that `items` encodes.
    pub(super) const fn from_encoded(len: usize, items: Bytes) -> Self {
        Self { len, items, kind: PhantomData }
    }

    /// Borrows the list.
    pub fn as_ref(&self) -> ListRef<'_, T> {
        ListRef { len: self.len, items: &self.items, kind: PhantomData }
    }

    /// Returns the number of items and their encoding.
    pub(super) fn encoded(&self) -> (usize, &[u8]) {
        (self.len, &self.items)
    }
}

impl<'a, T: Item> Items<'a, T> {
    /// Returns an iterator over the `len` encoded items of a `command` message.
    pub(super) const fn over(command: CommandName, len: usize, items: &'a [u8]) -> Self {
        Self { unread_len: len, reader: Reader::new(command, items), state: T::START }
    }
}

impl<'a, T: Item> Iterator for Items<'a, T> {
    type Item = T::Read<'a>;

    fn next(&mut self) -> Option<T::Read<'a>> {
        self.unread_len = self.unread_len.checked_sub(1)?;
        // Every item was checked when the list was read, or encoded when the list was built, so reading it does not
        // fail.
        T::read(&mut self.reader, &mut self.state).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.unread_len, Some(self.unread_len))
    }
}

impl<T: Item> ExactSizeIterator for Items<'_, T> {}
impl<T: Item> FusedIterator for Items<'_, T> {}

impl<T: Item> Default for List<T> {
    fn default() -> Self {
        Self::from_encoded(0, Bytes::new())
    }
}

impl<T: Item> fmt::Debug for ListRef<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(T::NAMES[1]).field("len", &self.len).field("items", &self.items).finish()
    }
}

impl<T: Item> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(T::NAMES[0]).field("len", &self.len).field("items", &self.items).finish()
    }
}
