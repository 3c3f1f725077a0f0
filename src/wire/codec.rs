//! The primitive encodings: a bounds-checked reader, and writers of sizes, byte strings and items.
//!
//! A [`Reader`] reads the fields of one payload and names the command in every error. It checks each length before use,
//! never allocates, and does not panic on any input. Integers have no writer of their own: ports are written with
//! `to_be_bytes`, and other integers with `to_le_bytes`.

use crate::error::WireError;
use crate::limits::MAX_COMPACT_SIZE;
use crate::protocol::CommandName;

/// A reader of one payload's fields in order (SV Node 1.2.2, serialize.h). Integers are little-endian unless stated
/// otherwise.
///
/// Every method that reads a field fails with [`WireError::Truncated`] if the payload ends inside the field. After an
/// error the position is undefined.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    command: CommandName,
    unread: &'a [u8],
}

/// Declares the methods that read integers.
macro_rules! integers {
    ($($(#[$doc:meta])* $name:ident: $integer:ident::$from:ident,)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// [`WireError::Truncated`].
        pub fn $name(&mut self) -> Result<$integer, WireError> {
            self.array().map($integer::$from)
        }
    )*};
}

impl<'a> Reader<'a> {
    /// Returns a reader at the start of the payload of `command`.
    pub const fn new(command: CommandName, payload: &'a [u8]) -> Self {
        Self { command, unread: payload }
    }

    /// Returns the number of unread bytes.
    pub const fn remaining(&self) -> usize {
        self.unread.len()
    }

    /// Returns the unread bytes.
    pub const fn unread(&self) -> &'a [u8] {
        self.unread
    }

    /// Reads a field that older peers omit. Returns `None` if the payload ends before it.
    ///
    /// # Errors
    ///
    /// The error of `read`, if there is at least one byte for it.
    pub fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, WireError>,
    ) -> Result<Option<T>, WireError> {
        if self.unread.is_empty() { Ok(None) } else { read(self).map(Some) }
    }

    /// Reads the next `len_bytes` bytes.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`].
    pub fn bytes(&mut self, len_bytes: usize) -> Result<&'a [u8], WireError> {
        let (field, unread) = self.unread.split_at_checked(len_bytes).ok_or_else(|| self.truncated())?;
        self.unread = unread;
        Ok(field)
    }

    /// Reads the next `N` bytes.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.chunk().copied()
    }

    /// Borrows the next `N` bytes, which is cheaper than a copy if there are many items.
    pub(super) fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N], WireError> {
        let (field, unread) = self.unread.split_first_chunk().ok_or_else(|| self.truncated())?;
        self.unread = unread;
        Ok(field)
    }

    integers! {
        /// Reads one byte.
        u8: u8::from_le_bytes,
        /// Reads a 16-bit number.
        u16: u16::from_le_bytes,
        /// Reads a big-endian 16-bit number; only ports have this form.
        u16_be: u16::from_be_bytes,
        /// Reads a 32-bit number.
        u32: u32::from_le_bytes,
        /// Reads a 64-bit number.
        u64: u64::from_le_bytes,
        /// Reads a signed 32-bit number.
        i32: i32::from_le_bytes,
        /// Reads a signed 64-bit number.
        i64: i64::from_le_bytes,
    }

    /// Reads one byte; every value except zero is true.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`].
    pub fn bool(&mut self) -> Result<bool, WireError> {
        self.u8().map(|byte| byte != 0)
    }

    /// Reads a CompactSize, at most [`MAX_COMPACT_SIZE`].
    ///
    /// # Errors
    ///
    /// [`WireError::NonCanonicalSize`] if a shorter form exists, [`WireError::OverlongSize`] above the maximum,
    /// or [`WireError::Truncated`].
    #[inline]
    pub fn compact_size(&mut self) -> Result<u64, WireError> {
        // Nearly all sizes are one byte. The others are read through a copy of the reader, so that a loop can keep
        // its own reader in registers.
        let (size, unread) = match self.unread {
            [size @ 0..=0xfc, unread @ ..] => (u64::from(*size), unread),
            _ => self.clone().long_compact_size()?,
        };
        self.unread = unread;
        Ok(size)
    }

    fn long_compact_size(mut self) -> Result<(u64, &'a [u8]), WireError> {
        let (size, least) = match self.u8()? {
            0xfd => (u64::from(self.u16()?), 0xfd),
            0xfe => (u64::from(self.u32()?), 0x1_0000),
            0xff => (self.u64()?, 0x1_0000_0000),
            size => (u64::from(size), 0),
        };
        if size < least {
            return Err(WireError::NonCanonicalSize { command: self.command });
        }
        if size > MAX_COMPACT_SIZE {
            return Err(WireError::OverlongSize { command: self.command });
        }
        Ok((size, self.unread))
    }

    /// Reads a CompactSize and that many bytes, at most `max_bytes`.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::compact_size`], [`WireError::TooLong`] above `max_bytes`, and [`WireError::Truncated`] if the
    /// payload ends inside the bytes.
    pub fn var_bytes(&mut self, max_bytes: usize) -> Result<&'a [u8], WireError> {
        let size = self.compact_size()?;
        let len_bytes = usize::try_from(size).ok().filter(|&len_bytes| len_bytes <= max_bytes);
        self.bytes(len_bytes.ok_or_else(|| self.too_long())?)
    }

    /// Reads a CompactSize that counts elements of at least `min_element_bytes` bytes each. Rejects a count for which
    /// the rest of the payload is too short.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::compact_size`], and [`WireError::Truncated`] if the payload is too short for that many
    /// elements.
    ///
    /// # Panics
    ///
    /// If `min_element_bytes` is zero.
    pub fn count(&mut self, min_element_bytes: usize) -> Result<usize, WireError> {
        let count = self.compact_size()?;
        let possible = self.unread.len() / min_element_bytes;
        usize::try_from(count).ok().filter(|&count| count <= possible).ok_or_else(|| self.truncated())
    }

    /// Reads a CompactSize and that many items of `N` bytes, without checking the items.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::count`].
    pub fn items<const N: usize>(&mut self) -> Result<&'a [[u8; N]], WireError> {
        let count = self.count(N)?;
        Ok(self.bytes(count * N)?.as_chunks().0)
    }

    /// Returns the error for a count or length above its limit.
    pub const fn too_long(&self) -> WireError {
        WireError::TooLong { command: self.command }
    }

    /// Returns the error for a value that the protocol does not define.
    pub const fn bad_value(&self) -> WireError {
        WireError::BadValue { command: self.command }
    }

    const fn truncated(&self) -> WireError {
        WireError::Truncated { command: self.command }
    }
}

/// Appends `size` in its shortest form. No reader accepts a size above [`MAX_COMPACT_SIZE`].
pub fn put_compact_size(size: u64, out: &mut Vec<u8>) {
    match size {
        0..=0xfc => out.push(size as u8),
        0xfd..=0xffff => {
            out.push(0xfd);
            out.extend_from_slice(&(size as u16).to_le_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xfe);
            out.extend_from_slice(&(size as u32).to_le_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xff);
            out.extend_from_slice(&size.to_le_bytes());
        }
    }
}

/// Truncates `bytes` to `max_bytes`, so that a reader accepts them. Appends their length, and then the bytes.
pub fn put_var_bytes(bytes: &[u8], max_bytes: usize, out: &mut Vec<u8>) {
    let bytes = &bytes[..bytes.len().min(max_bytes)];
    put_compact_size(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Appends the number of `items` and their bytes.
pub fn put_items<const N: usize>(items: &[[u8; N]], out: &mut Vec<u8>) {
    put_compact_size(items.len() as u64, out);
    out.extend_from_slice(items.as_flattened());
}

/// Returns the `N` bytes at offset `at` of an item. If the item's size and `at` are constants, the compiler removes
/// the bounds check.
pub(super) fn field<const N: usize>(item: &[u8], at: usize) -> [u8; N] {
    *item[at..].first_chunk().expect("the field is inside its item")
}
