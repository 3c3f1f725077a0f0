//! What can go wrong with the peer book.
//!
//! Every error of a file says what was attempted, on which path, why it failed and what can be done about it.

use crate::text::Counted;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the book did not do what was asked; it is as it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The peer is known already.
    Duplicate {
        /// Its address.
        address: SocketAddr,
    },
    /// No such peer is known.
    NoSuchPeer {
        /// The address asked for.
        address: SocketAddr,
    },
    /// There is no room for more peers or bans, and nothing that may go for it.
    Full,
    /// Another process, or another store of this one, has the file open.
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused something.
    File {
        /// What was attempted.
        step: FileStep,
        /// With which file.
        path: PathBuf,
        /// The kind of the error.
        kind: io::ErrorKind,
        /// The system's number of the error, 0 if there is none.
        code: i32,
    },
    /// The file is no book that can be used; it was left as it is.
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// The file was found damaged while it was in use.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the database says.
        what: String,
    },
    /// The database refused something for a reason of its own.
    Database {
        /// The file.
        path: PathBuf,
        /// What the database says.
        what: String,
    },
    /// The thread that writes the book has ended.
    WriterEnded,
    /// The disk did not answer in time.
    NoAnswer,
}

/// Changes of the book that were not durable when the loop ended, and are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BookLost {
    /// How many bans had changed.
    pub bans: usize,
    /// How many peers had changed.
    pub peers: usize,
    /// Why they could not be written.
    pub error: StoreError,
}

impl fmt::Display for BookLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bans, peers, error } = self;
        write!(f, "{error}; lost are the changes of {} and {}", Counted(*bans, "ban"), Counted(*peers, "peer"))
    }
}

impl std::error::Error for BookLost {}

/// What was attempted with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileStep {
    /// Locking it against other processes.
    Lock,
    /// Opening and checking it.
    Open,
    /// Making a new one.
    Create,
    /// Renaming it because it is no book.
    SetAside,
    /// Reading.
    Read,
    /// Writing.
    Write,
}

impl StoreError {
    /// The error of `step` with `path`.
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
            Self::Create => "making",
            Self::SetAside => "setting aside",
            Self::Read => "reading",
            Self::Write => "writing",
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { address } => write!(f, "{address} is in the peer book already"),
            Self::NoSuchPeer { address } => write!(f, "{address} is not in the peer book"),
            Self::Full => f.write_str("the peer book is full; remove peers or bans that are not needed"),
            Self::InUse { path } => {
                write!(f, "the peer book {} is in use; stop the other process, or use another file", path.display())
            }
            Self::File { step, path, kind, code } => {
                write!(f, "{} the peer book {} failed: ", step.name(), path.display())?;
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
                    "the peer book {path} cannot be used: {what}; it was left as it is; move it away, or use another"
                )
            }
            Self::Damaged { path, what } => write!(
                f,
                "the peer book {} is damaged: {what}; at the next start it is set aside and a new one is begun",
                path.display()
            ),
            Self::Database { path, what } => {
                write!(f, "the peer book {} could not be used: {what}; try again", path.display())
            }
            Self::WriterEnded => f.write_str("the thread that writes the peer book has ended; start again"),
            Self::NoAnswer => f.write_str("the disk with the peer book did not answer in time; check the disk"),
        }
    }
}

impl std::error::Error for StoreError {}

const fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "what it holds is kept; make room, or use a file elsewhere"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "allow this process to write the file and its folder, or use a file elsewhere"
        }
        io::ErrorKind::NotFound => "make the folder, or what the link there leads to, or use a file elsewhere",
        io::ErrorKind::IsADirectory => "name a file, not a folder",
        // Of a pipe or a device, or of a disk that knows no locks.
        io::ErrorKind::Unsupported => "use an ordinary file on a disk that can lock files",
        // Only setting aside asks for a name that must be free.
        io::ErrorKind::AlreadyExists => "remove some of those set aside earlier",
        _ => "what it holds is kept; check the disk, or use a file elsewhere",
    }
}
