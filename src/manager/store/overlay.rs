//! A storage backend through which redb reads the book's file without changing it.
//!
//! redb writes to each file that it opens, and repairs one that was not closed cleanly. The overlay redirects these
//! writes to memory, so the file keeps its bytes and its modification time, and this process needs no permission to
//! write to it. Each of redb's locks becomes a shared lock on the file: several readers may have it open at once, but
//! no writer at the same time.

use crate::limits::MAX_BOOK_FILE_BYTES;
use ::redb::backends::FileBackend;
use ::redb::{BackendError, DatabaseError, StorageBackend};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

/// The size of a block in bytes. Changed blocks are kept in memory, at most [`MAX_BOOK_FILE_BYTES`] for each overlay.
const BLOCK_BYTES: usize = 4_096;

/// A file that is only read, and the changes written over it.
#[derive(Debug)]
pub(super) struct Overlay {
    file: FileBackend,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    len_bytes: u64,
    /// The offset from which the file's own bytes do not apply: the file's length, or less if the overlay was
    /// truncated.
    file_end: u64,
    /// The written blocks, each complete, by block number.
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    /// Creates an overlay over a file that is open for reading.
    pub(super) fn new(file: File) -> Result<Self, DatabaseError> {
        let len_bytes = file.metadata()?.len();
        let written = Mutex::new(Written { len_bytes, file_end: len_bytes, blocks: BTreeMap::new() });
        Ok(Self { file: FileBackend::new(file)?, written })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Written) -> T) -> T {
        act(&mut self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Written {
    /// Reads the block `number` from the file. Bytes beyond `file_end` are zero.
    fn block_of(&self, number: u64, file: &FileBackend) -> io::Result<Vec<u8>> {
        let begin = number * BLOCK_BYTES as u64;
        let mut block = vec![0; BLOCK_BYTES];
        let of_file = self.file_end.saturating_sub(begin).min(BLOCK_BYTES as u64) as usize;
        if of_file > 0 {
            file.read(begin, &mut block[..of_file])?;
        }
        Ok(block)
    }

    fn read(&self, offset: u64, out: &mut [u8], file: &FileBackend) -> io::Result<()> {
        let end = offset.checked_add(out.len() as u64).filter(|end| *end <= self.len_bytes);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        if end <= self.file_end {
            file.read(offset, out)?;
        } else {
            for (number, within, part) in parts(offset, out.len()) {
                let block = self.block_of(number, file)?;
                out[part.clone()].copy_from_slice(&block[within..within + part.len()]);
            }
        }
        for (number, within, part) in parts(offset, out.len()) {
            if let Some(block) = self.blocks.get(&number) {
                out[part.clone()].copy_from_slice(&block[within..within + part.len()]);
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8], file: &FileBackend) -> io::Result<()> {
        let end = offset.checked_add(data.len() as u64).filter(|end| *end <= MAX_BOOK_FILE_BYTES);
        let end = end.ok_or(io::ErrorKind::StorageFull)?;
        for (number, within, part) in parts(offset, data.len()) {
            if !self.blocks.contains_key(&number) {
                self.blocks.insert(number, self.block_of(number, file)?);
            }
            let block = self.blocks.get_mut(&number).expect("the block was inserted above");
            block[within..within + part.len()].copy_from_slice(&data[part]);
        }
        self.len_bytes = self.len_bytes.max(end);
        Ok(())
    }

    fn set_len(&mut self, len_bytes: u64) -> io::Result<()> {
        if len_bytes > MAX_BOOK_FILE_BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        (self.len_bytes, self.file_end) = (len_bytes, self.file_end.min(len_bytes));
        let (number, within) = (len_bytes / BLOCK_BYTES as u64, (len_bytes % BLOCK_BYTES as u64) as usize);
        self.blocks.split_off(&(number + 1));
        if let Some(last) = self.blocks.get_mut(&number) {
            last[within..].fill(0);
        }
        Ok(())
    }
}

/// Splits a range of the file at block boundaries. Returns for each part its block's number, its offset in that
/// block, and its range in the caller's buffer.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut begin = 0;
    std::iter::from_fn(move || {
        let at = offset + begin as u64;
        let within = (at % BLOCK_BYTES as u64) as usize;
        let part = begin..len.min(begin + BLOCK_BYTES - within);
        begin = part.end;
        (!part.is_empty()).then_some((at / BLOCK_BYTES as u64, within, part))
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|written| written.len_bytes))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|written| written.read(offset, out, &self.file))
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.with(|written| written.set_len(len_bytes))
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|written| written.write(offset, data, &self.file))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Returns an overlay over a read-only file with these bytes, and the file's path.
    fn over(bytes: &[u8], name: &str) -> (Overlay, std::path::PathBuf) {
        let path = std::env::temp_dir().join(format!("overlay-{}-{name}", std::process::id()));
        File::create(&path).and_then(|mut file| file.write_all(bytes)).unwrap();
        (Overlay::new(File::open(&path).unwrap()).unwrap(), path)
    }

    fn bytes_at(overlay: &Overlay, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![9; len];
        overlay.read(offset, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn written_bytes_are_read_back_and_the_file_stays_unchanged() {
        let (overlay, path) = over(&[7; 5_000], "written");
        overlay.write(4_090, &[1; 10]).unwrap();
        assert_eq!(bytes_at(&overlay, 4_089, 12), [&[7][..], &[1; 10], &[7]].concat());
        overlay.write(6_000, &[2; 3]).unwrap();
        assert_eq!(overlay.len().unwrap(), 6_003);
        assert_eq!(bytes_at(&overlay, 4_998, 1_005), [&[7; 2][..], &[0; 1_000], &[2; 3]].concat());
        assert_eq!(std::fs::read(&path).unwrap(), [7; 5_000]);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn truncated_bytes_are_zero_after_the_overlay_has_grown_again_and_there_is_a_maximum_size() {
        let (overlay, path) = over(&[7; 9_000], "cut");
        overlay.write(4_200, &[1; 10]).unwrap();
        overlay.set_len(4_205).unwrap();
        assert!(overlay.read(4_205, &mut [0]).is_err(), "a read beyond the end succeeded");
        overlay.set_len(9_000).unwrap();
        assert_eq!(bytes_at(&overlay, 4_199, 8), [7, 1, 1, 1, 1, 1, 0, 0]);
        assert_eq!(bytes_at(&overlay, 8_000, 1_000), [0; 1_000]);
        assert!(overlay.set_len(MAX_BOOK_FILE_BYTES + 1).is_err() && overlay.write(MAX_BOOK_FILE_BYTES, &[0]).is_err());
        std::fs::remove_file(path).unwrap();
    }
}
