//! The errors of the address book.
//!
//! Every error about a file states the path, the problem, and a remedy or a consequence.

use crate::text::Counted;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The reason why a call on the book failed. The call has not changed the book, except that after
/// [`NoAnswer`](Self::NoAnswer) a write may still complete.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The peer is already known.
    Duplicate {
        /// The peer's address.
        address: SocketAddr,
    },
    /// The peer is unknown.
    NoSuchPeer {
        /// The requested address.
        address: SocketAddr,
    },
    /// There is no room for more peers or bans, and none can be displaced.
    Full,
    /// Another process, or another store of this process, has the file open.
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The operating system reported an error.
    File {
        /// The attempted step.
        step: FileStep,
        /// The file.
        path: PathBuf,
        /// The kind of the error.
        kind: io::ErrorKind,
        /// The system's error number, 0 if there is none.
        code: i32,
    },
    /// The file is not a usable book. It was not changed.
    Unfit {
        /// The file.
        path: PathBuf,
        /// The reason.
        what: String,
    },
    /// The file was found damaged while it was in use.
    Damaged {
        /// The file.
        path: PathBuf,
        /// The database's message.
        what: String,
    },
    /// The database refused a call for another reason.
    Database {
        /// The file.
        path: PathBuf,
        /// The database's message.
        what: String,
    },
    /// The thread that writes the book has ended.
    WriterEnded,
    /// The disk did not respond in time.
    NoAnswer,
}

/// Changes to the book that were not durable when the loop ended. They are lost, except that after
/// [`StoreError::NoAnswer`] a write may still complete.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BookLost {
    /// The number of changed bans.
    pub bans: usize,
    /// The number of changed peers.
    pub peers: usize,
    /// The reason why the changes could not be written.
    pub error: StoreError,
}

impl fmt::Display for BookLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bans, peers, error } = self;
        write!(f, "{error}; the changes to {} and {} are lost", Counted(*bans, "ban"), Counted(*peers, "peer"))
    }
}

impl std::error::Error for BookLost {}

/// A step in accessing the book's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileStep {
    /// Locking the file against other processes.
    Lock,
    /// Opening and checking the file.
    Open,
    /// Creating a new file.
    Create,
    /// Renaming the file because it is not a usable book.
    SetAside,
    /// Reading.
    Read,
    /// Writing.
    Write,
}

impl StoreError {
    /// Returns the error of `step` on `path`.
    #[cfg(feature = "store")]
    pub(super) fn file(step: FileStep, path: &std::path::Path, error: &io::Error) -> Self {
        Self::File { step, path: path.to_owned(), kind: error.kind(), code: error.raw_os_error().unwrap_or(0) }
    }
}

impl FileStep {
    const fn name(self) -> &'static str {
        match self {
            Self::Lock => "locking",
            Self::Open => "opening",
            Self::Create => "creating",
            Self::SetAside => "setting aside",
            Self::Read => "reading",
            Self::Write => "writing",
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { address } => write!(f, "{address} is already in the address book"),
            Self::NoSuchPeer { address } => write!(f, "{address} is not in the address book"),
            Self::Full => f.write_str("the address book is full; remove peers or bans that are not needed"),
            Self::InUse { path } => {
                write!(f, "the address book {} is in use; stop the other process, or use another file", path.display())
            }
            Self::File { step, path, kind, code } => {
                write!(f, "{} the address book {} failed: ", step.name(), path.display())?;
                match code {
                    0 => write!(f, "{kind}")?,
                    code => write!(f, "{}", io::Error::from_raw_os_error(*code))?,
                }
                write!(f, "; {}", remedy(*kind))
            }
            Self::Unfit { path, what } => {
                let path = path.display();
                write!(
                    f,
                    "the address book {path} cannot be used: {what}; it was not changed; move it away, or use another"
                )
            }
            Self::Damaged { path, what } => write!(
                f,
                "the address book {} is damaged: {what}; at the next start it is set aside and a new one is created",
                path.display()
            ),
            Self::Database { path, what } => {
                write!(f, "the address book {} could not be used: {what}; try again", path.display())
            }
            Self::WriterEnded => f.write_str("the thread that writes the address book has ended; restart the loop"),
            Self::NoAnswer => f.write_str("the disk with the address book did not answer in time; check the disk"),
        }
    }
}

impl std::error::Error for StoreError {}

const fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "its content is kept; make room, or use a file elsewhere"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "allow this process to write the file and its folder, or use a file elsewhere"
        }
        io::ErrorKind::NotFound => "create the folder, or the target of the symbolic link, or use a file elsewhere",
        io::ErrorKind::IsADirectory => "name a file, not a folder",
        // The file is a pipe or a device, or its disk does not support locks.
        io::ErrorKind::Unsupported => "use an ordinary file on a disk that can lock files",
        // All names for files set aside are used.
        io::ErrorKind::AlreadyExists => "remove some of the files set aside earlier",
        _ => "its content is kept; check the disk, or use a file elsewhere",
    }
}
