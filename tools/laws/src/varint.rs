//! Each CompactSize has one valid form, the shortest, and a reader accepts no other.

use peerloop::error::WireError;
use peerloop::internals::codec::{Reader, put_compact_size};
use peerloop::internals::limits::MAX_COMPACT_SIZE;
use peerloop::protocol::CommandName;

const COMMAND: CommandName = CommandName::INV;

pub(crate) fn check(data: &[u8]) {
    let mut reader = Reader::new(COMMAND, data);
    let read = reader.compact_size();
    assert_eq!(read, expected(data));
    if let Ok(size) = read {
        let mut shortest = Vec::new();
        put_compact_size(size, &mut shortest);
        assert_eq!(data[..data.len() - reader.remaining()], shortest, "the accepted form is not the shortest");
    }
    check_list(data, read);
}

/// Returns the specified result of reading a CompactSize from the beginning of `data`.
fn expected(data: &[u8]) -> Result<u64, WireError> {
    let truncated = Err(WireError::Truncated { command: COMMAND });
    let Some((&first, behind)) = data.split_first() else { return truncated };
    let (width, least) = match first {
        0xfd => (2, 0xfd),
        0xfe => (4, 1 << 16),
        0xff => (8, 1 << 32),
        size => return Ok(u64::from(size)),
    };
    let Some(digits) = behind.get(..width) else { return truncated };
    let size = digits.iter().rev().fold(0, |size, &digit| size << 8 | u64::from(digit));
    match size {
        size if size < least => Err(WireError::NonCanonicalSize { command: COMMAND }),
        size if size > MAX_COMPACT_SIZE => Err(WireError::OverlongSize { command: COMMAND }),
        size => Ok(size),
    }
}

/// Reads `data` as a list of 3-byte items and as a byte string. Checks that the list is accepted exactly when it is
/// complete, and the string exactly when it is complete and has at most 100 bytes. `read` is the size at the start of
/// `data`, or the error for this size.
fn check_list(data: &[u8], read: Result<u64, WireError>) {
    let behind = |size: u64| {
        let mut shortest = Vec::new();
        put_compact_size(size, &mut shortest);
        &data[shortest.len()..]
    };
    let items = Reader::new(COMMAND, data).items::<3>();
    let bytes = Reader::new(COMMAND, data).var_bytes(100);
    match read {
        Err(error) => assert_eq!((items, bytes), (Err(error), Err(error))),
        Ok(size) => {
            let (behind, size) = (behind(size), size as usize);
            match items {
                Ok(items) => assert_eq!(items.as_flattened(), &behind[..size * 3]),
                Err(error) => {
                    assert!(behind.len() / 3 < size);
                    assert_eq!(error, WireError::Truncated { command: COMMAND });
                }
            }
            match bytes {
                Ok(bytes) => assert_eq!(bytes, &behind[..size]),
                Err(WireError::TooLong { .. }) => assert!(size > 100),
                Err(error) => {
                    assert!(size <= 100 && behind.len() < size);
                    assert_eq!(error, WireError::Truncated { command: COMMAND });
                }
            }
        }
    }
}
