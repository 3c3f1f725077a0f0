//! Locks the book, examines its file, and sets the file aside if it is a book that cannot be used.
//!
//! A book that is damaged, empty or from a later version is renamed to `<name>.set-aside-1`, `-2` and so on. It is
//! never deleted, written or moved over another file, so that it may still be repaired. A file that is too large or
//! never was a book is not touched. Only a file's kind, length and first bytes are examined here; the database checks
//! the rest.

use super::{FileStep, StoreError};
use crate::limits::{MAX_BOOK_FILE_BYTES, MAX_BOOK_SET_ASIDE};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The first bytes of every file of the database (redb 4.6, page_store/header.rs MAGICNUMBER).
const MAGIC: [u8; 9] = [b'r', b'e', b'd', b'b', 0x1a, 0x0a, 0xa9, 0x0d, 0x0a];

/// A file that could not be used as a book and was renamed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetAside {
    /// The reason why the file could not be used.
    pub why: Unfit,
    /// The file's new path.
    pub path: PathBuf,
}

/// The reason why a file cannot be used as a book.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// The file has no bytes.
    Empty,
    /// The file is larger than any book. This library never writes such a file.
    TooLarge {
        /// Its length in bytes.
        len_bytes: u64,
    },
    /// The file belongs to another program, or is not a database.
    Foreign,
    /// The file is incomplete or damaged.
    Damaged {
        /// A description of the damage.
        what: String,
    },
    /// A later version of this library wrote the file.
    FromTheFuture {
        /// The version of the file's format.
        format: u64,
    },
}

/// The lock that is held while a book is in use. It locks a separate file, which is not renamed with the book.
#[derive(Debug)]
pub(super) struct BookLock {
    file: File,
}

impl Unfit {
    /// Returns whether the file may once have been a book. If so, a new book may be created in its place.
    pub(super) const fn was_book(&self) -> bool {
        match self {
            Self::Empty | Self::Damaged { .. } | Self::FromTheFuture { .. } => true,
            Self::TooLarge { .. } | Self::Foreign => false,
        }
    }
}

impl BookLock {
    /// Locks the book exclusively.
    pub(super) fn take(book: &Path) -> Result<Self, StoreError> {
        let path = beside(book, ".lock");
        let failed = |error: &io::Error| StoreError::file(FileStep::Lock, &path, error);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: book.to_owned() }),
            Err(TryLockError::Error(error)) => Err(failed(&error)),
        }
    }

    /// Locks the book against writers, and fails if a writer holds the lock. Creates no file: if there is no lock
    /// file, no writer has opened the book. Returns `None` if the lock file cannot be opened, or if it cannot be
    /// locked for a reason other than a writer's lock. The database's own locks must then suffice.
    pub(super) fn share(book: &Path) -> Result<Option<Self>, StoreError> {
        let Ok(file) = File::open(beside(book, ".lock")) else { return Ok(None) };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: book.to_owned() }),
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }
}

impl Drop for BookLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process that was just forked holds the same lock until it runs its
        // own program.
        let _ = self.file.unlock();
    }
}

/// Resolves `path` if it is a symbolic link, so that all files are created next to the book itself.
pub(super) fn follow(path: PathBuf) -> Result<PathBuf, StoreError> {
    match path.is_symlink() {
        true => fs::canonicalize(&path).map_err(|error| StoreError::file(FileStep::Open, &path, &error)),
        false => Ok(path),
    }
}

/// Examines the file's kind, length and first bytes. Returns `None` if there is no file, and an [`Unfit`] if the file
/// cannot be used as a book. Fails if `path` is not a regular file or cannot be read.
pub(super) fn look(path: &Path) -> Result<Option<Result<(), Unfit>>, StoreError> {
    let failed = |error: io::Error| StoreError::file(FileStep::Open, path, &error);
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(failed)?,
    };
    if metadata.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    // Opening another kind of file, such as a pipe, might block for ever.
    if !metadata.is_file() {
        return Err(failed(io::ErrorKind::Unsupported.into()));
    }
    let unfit = match metadata.len() {
        0 => Some(Unfit::Empty),
        len_bytes if len_bytes > MAX_BOOK_FILE_BYTES => Some(Unfit::TooLarge { len_bytes }),
        _ => None,
    };
    if let Some(unfit) = unfit {
        return Ok(Some(Err(unfit)));
    }
    let mut begin = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAGIC.len() as u64).read_to_end(&mut begin).map_err(failed)?;
    Ok(Some(match begin == MAGIC {
        true => Ok(()),
        false if MAGIC.starts_with(&begin) => Err(Unfit::Damaged { what: "its magic number is incomplete".to_owned() }),
        false => Err(Unfit::Foreign),
    }))
}

/// Renames the file to the first of [`MAX_BOOK_SET_ASIDE`] names that is free, and fails if none is.
pub(super) fn set_aside(path: &Path, why: Unfit) -> Result<SetAside, StoreError> {
    let failed = |error: io::Error| StoreError::file(FileStep::SetAside, path, &error);
    for number in 1..=MAX_BOOK_SET_ASIDE {
        let free = beside(path, &format!(".set-aside-{number}"));
        if fs::symlink_metadata(&free).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            fs::rename(path, &free).map_err(failed)?;
            return Ok(SetAside { why, path: free });
        }
    }
    Err(failed(io::ErrorKind::AlreadyExists.into()))
}

/// On Unix, makes a rename in the folder of `path` survive a power failure. Elsewhere it does nothing.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    // Other systems cannot open a folder as a file.
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Returns the path with `suffix` after its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLarge { len_bytes } => write!(f, "it has {len_bytes} bytes, more than any address book"),
            Self::Foreign => f.write_str("it is not an address book"),
            Self::Damaged { what } => write!(f, "it is damaged: {what}"),
            Self::FromTheFuture { format } => write!(f, "a later version wrote it, in format {format}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop_testkit::Folder;

    #[test]
    fn a_dropped_lock_is_released_even_if_another_descriptor_of_its_file_is_open() {
        let folder = Folder::new(std::env::temp_dir());
        let book = folder.path().join("peers.redb");
        drop(BookLock::take(&book).expect("the lock is free"));
        let exclusive = || BookLock::take(&book);
        let shared = || BookLock::share(&book).map(|lock| lock.expect("the lock file exists"));
        for take in [&exclusive as &dyn Fn() -> Result<BookLock, StoreError>, &shared] {
            let lock = take().expect("the lock is released");
            let of_a_child = lock.file.try_clone().expect("a descriptor is free");
            assert!(matches!(BookLock::take(&book), Err(StoreError::InUse { .. })));
            drop(lock);
            BookLock::take(&book).expect("the lock is released");
            drop(of_a_child);
        }
    }
}
