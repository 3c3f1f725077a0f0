//! The book in a redb file.
//!
//! Every change is on disk when its call succeeds. Each such call is one transaction with checksums and an `fsync`.
//! If the process or the machine stops during a call, the file holds the state from either before or after that call.
//! Opening a book checks its file completely, without changing it, before the content is used or written. A file that
//! is too large or never was a book is not touched. [`RedbStore::open`] [sets aside](SetAside) a file that is damaged,
//! empty or from a later version. Invalid records are dropped and counted. After a disk fault the database is closed
//! and reopened for the next change, as redb requires.
//!
//! The file never grows beyond [`MAX_BOOK_FILE_BYTES`](crate::limits::MAX_BOOK_FILE_BYTES), and at most
//! [`BOOK_CACHE_BYTES`] of its pages are kept in memory. Only one store may have a file open at a time. A store's
//! calls may block, so they must never run on the loop's thread.

use super::capped_file::CappedFile;
use super::overlay::Overlay;
use super::record;
use super::set_aside::{BookLock, SetAside, Unfit, beside, follow, look, set_aside, sync_folder};
use super::{Change, FileStep, KnownPeer, PeerStore, StoreError};
use crate::limits::{BOOK_CACHE_BYTES, MAX_BANS, MAX_BOOK_PEERS};
use crate::manager::ban::Ban;
use ::redb::{
    Builder, Database, DatabaseError, Error, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend,
    TableDefinition, WriteTransaction,
};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The version of the tables' format.
const FORMAT: u64 = 1;

const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("peerloop");
const FORMAT_KEY: &str = "format";
const PEERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("peers");
const BANS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bans");

/// Peers and bans in a file of at most [`MAX_BOOK_FILE_BYTES`](crate::limits::MAX_BOOK_FILE_BYTES).
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    /// `None` after a fault, until a change reopens the database.
    database: Option<Database>,
    _lock: BookLock,
}

/// The result of opening a book.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// The earlier file, if it could not be used. The book is then empty.
    pub set_aside: Option<SetAside>,
    /// The number of dropped records, which were invalid or exceeded a book's maximum.
    pub dropped: usize,
}

/// The content of a book when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BookContents {
    /// The peers, in the order of their addresses.
    pub peers: Vec<KnownPeer>,
    /// The bans, in the order of their hosts.
    pub bans: Vec<Ban>,
    /// The number of skipped records, which are invalid or exceed a book's maximum.
    pub skipped: usize,
}

/// The reason why a file could not be opened.
enum Refusal {
    /// The file cannot be used as a book.
    Unfit(Unfit),
    /// Opening the file failed, but the file may be a book.
    Failed(StoreError),
}

impl RedbStore {
    /// Opens the book in the file `path`. Creates one if there is none, or if the existing one had to be set aside.
    ///
    /// A symbolic link is followed. In addition to the book there may be the files `<name>.lock`, temporarily
    /// `<name>.new`, and at most [`MAX_BOOK_SET_ASIDE`](crate::limits::MAX_BOOK_SET_ASIDE) books that were set aside.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unfit`] if the file is too large or never was a book; [`StoreError::InUse`] if another store has
    /// it open; [`StoreError::File`] if the system reports an error, or if too many files are already set aside;
    /// [`StoreError::Database`] for the database's other errors. In all these cases the file's content is kept.
    pub fn open(path: impl Into<PathBuf>) -> Result<(Self, Opened), StoreError> {
        let path = follow(path.into())?;
        match judge(&path)? {
            Some(Err(why)) if !why.was_book() => return Err(why.of(&path)),
            Some(Ok(_)) => writable(&path).map(drop)?,
            Some(Err(_)) | None => {}
        }
        let lock = BookLock::take(&path)?;
        // Another process may have created or changed the file before this one locked it.
        let unfit = match look(&path)? {
            None => None,
            Some(Err(unfit)) => Some(unfit),
            Some(Ok(())) => match open_checked(&path) {
                Ok((database, dropped)) => {
                    let opened = Opened { set_aside: None, dropped };
                    return Ok((Self { path, database: Some(database), _lock: lock }, opened));
                }
                Err(Refusal::Unfit(unfit)) => Some(unfit),
                Err(Refusal::Failed(error)) => return Err(error),
            },
        };
        let unfit = match unfit {
            Some(why) if !why.was_book() => return Err(why.of(&path)),
            unfit => unfit,
        };
        let opened = Opened { set_aside: unfit.map(|why| set_aside(&path, why)).transpose()?, dropped: 0 };
        let database = Some(begin(&path)?);
        Ok((Self { path, database, _lock: lock }, opened))
    }

    /// Opens the file `path` only if it is a book. Creates no file but `<name>.lock`, and changes no unusable file.
    /// Also returns the number of dropped records, as in [`Opened::dropped`].
    ///
    /// # Errors
    ///
    /// The errors of [`RedbStore::open`]. Also [`StoreError::Unfit`] if the file is not a usable book, and
    /// [`StoreError::File`] if there is no file.
    pub fn open_existing(path: impl Into<PathBuf>) -> Result<(Self, usize), StoreError> {
        let path = follow(path.into())?;
        drop(existing(&path)?);
        writable(&path).map(drop)?;
        let lock = BookLock::take(&path)?;
        let (database, dropped) = open_checked(&path).map_err(|refusal| refusal.error(&path))?;
        Ok((Self { path, database: Some(database), _lock: lock }, dropped))
    }

    /// Reads the whole book in the file `path`. Changes and creates no file, and needs no permission to write one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unfit`] if the file is not a usable book; [`StoreError::InUse`] if a store has it open;
    /// [`StoreError::File`] if there is no file, or if the system reports an error; [`StoreError::Database`] for the
    /// database's other errors.
    pub fn read_contents(path: impl Into<PathBuf>) -> Result<BookContents, StoreError> {
        let path = follow(path.into())?;
        let Readable { database, _lock } = existing(&path)?;
        let read = || -> Result<BookContents, Error> {
            let (peers, skipped_peers) = list(&database, PEERS, record::peer, MAX_BOOK_PEERS)?;
            let (bans, skipped_bans) = list(&database, BANS, record::ban, MAX_BANS)?;
            Ok(BookContents { peers, bans, skipped: skipped_peers + skipped_bans })
        };
        read().map_err(|error| Refusal::of(&path, error).error(&path))
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn query<T>(&self, query: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, StoreError> {
        let Some(database) = &self.database else {
            let what = "the database is closed after a fault and reopened for the next change".to_owned();
            return Err(StoreError::Database { path: self.path.clone(), what });
        };
        query(database).map_err(|error| store_error(FileStep::Read, &self.path, error))
    }

    fn reopened(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            let (database, _) = open_checked(&self.path).map_err(|refusal| match refusal {
                Refusal::Unfit(unfit) => StoreError::Damaged { path: self.path.clone(), what: unfit.to_string() },
                Refusal::Failed(error) => error,
            })?;
            self.database = Some(database);
        }
        Ok(self.database.as_ref().expect("the database was opened above"))
    }
}

impl PeerStore for RedbStore {
    fn read(&self, address: SocketAddr) -> Result<Option<KnownPeer>, StoreError> {
        let key = record::peer_key(address);
        self.query(|database| {
            let value = database.begin_read()?.open_table(PEERS)?.get(key.as_slice())?;
            Ok(value.and_then(|value| record::peer(&key, value.value())))
        })
    }

    fn list_all(&self) -> Result<Vec<KnownPeer>, StoreError> {
        self.query(|database| list(database, PEERS, record::peer, MAX_BOOK_PEERS)).map(|(peers, _)| peers)
    }

    fn bans(&self) -> Result<Vec<Ban>, StoreError> {
        self.query(|database| list(database, BANS, record::ban, MAX_BANS)).map(|(bans, _)| bans)
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let written = write(self.reopened()?, changes);
        match written {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::Full),
            Err(error) => {
                self.database = None;
                Err(store_error(FileStep::Write, &self.path, error))
            }
        }
    }
}

/// A book that is open for reading, and the lock that excludes writers, if it could be acquired.
struct Readable {
    database: Database,
    _lock: Option<BookLock>,
}

/// Checks the whole file without changing it. Returns `None` if there is no file, and the reason if the file is not a
/// usable book.
fn judge(path: &Path) -> Result<Option<Result<Readable, Unfit>>, StoreError> {
    let lock = BookLock::share(path)?;
    match look(path)? {
        None => return Ok(None),
        Some(Err(unfit)) => return Ok(Some(Err(unfit))),
        Some(Ok(())) => {}
    }
    let file = File::open(path).map_err(|error| StoreError::file(FileStep::Open, path, &error))?;
    let opened = Overlay::new(file).and_then(database).map_err(Error::from);
    match opened.map_err(|error| Refusal::of(path, error)).and_then(|database| of_our_format(path, database)) {
        Ok(database) => Ok(Some(Ok(Readable { database, _lock: lock }))),
        Err(Refusal::Unfit(unfit)) => Ok(Some(Err(unfit))),
        Err(Refusal::Failed(error)) => Err(error),
    }
}

/// Opens an existing book for reading.
fn existing(path: &Path) -> Result<Readable, StoreError> {
    match judge(path)? {
        None => Err(StoreError::file(FileStep::Open, path, &io::ErrorKind::NotFound.into())),
        Some(judged) => judged.map_err(|why| why.of(path)),
    }
}

/// Opens an existing file for writing, without changing it.
fn writable(path: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    file.map_err(|error| StoreError::file(FileStep::Open, path, &error))
}

/// Checks and opens an existing file, drops invalid and excess records, and returns their number.
fn open_checked(path: &Path) -> Result<(Database, usize), Refusal> {
    let file = writable(path).map_err(Refusal::Failed)?;
    let opened = CappedFile::new(file).and_then(database);
    let database = opened.map_err(|error| Refusal::of(path, error.into()))?;
    let database = of_our_format(path, database)?;
    let dropped = drop_invalid(&database).map_err(|error| Refusal::of(path, error))?;
    Ok((database, dropped))
}

/// Returns the database if it holds a book in the supported format.
fn of_our_format(path: &Path, database: Database) -> Result<Database, Refusal> {
    match format(&database).map_err(|error| Refusal::of(path, error))? {
        Some(FORMAT) => Ok(database),
        Some(format) if format > FORMAT => Err(Refusal::Unfit(Unfit::FromTheFuture { format })),
        Some(_) | None => Err(Refusal::Unfit(Unfit::Foreign)),
    }
}

/// Creates an empty book. It gets its name only when it is complete, so no process ever finds an incomplete one.
fn begin(path: &Path) -> Result<Database, StoreError> {
    let new = beside(path, ".new");
    let failed = |error: io::Error| StoreError::file(FileStep::Create, &new, &error);
    match fs::remove_file(&new) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.map_err(failed)?,
    }
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&new).map_err(failed)?;
    let prepare = || -> Result<Database, Error> {
        let database = database(CappedFile::new(file)?)?;
        let transaction = database.begin_write()?;
        transaction.open_table(ABOUT)?.insert(FORMAT_KEY, FORMAT)?;
        transaction.open_table(PEERS)?;
        transaction.open_table(BANS)?;
        transaction.commit()?;
        Ok(database)
    };
    let begun = prepare().map_err(|error| store_error(FileStep::Create, &new, error));
    let renamed = begun.and_then(|database| {
        fs::rename(&new, path).and_then(|()| sync_folder(path)).map_err(failed)?;
        Ok(database)
    });
    if renamed.is_err() {
        // A book without its name is useless. If it cannot be removed either, the first error is the one to report.
        let _ = fs::remove_file(&new);
    }
    renamed
}

fn database(backend: impl StorageBackend) -> Result<Database, DatabaseError> {
    let mut builder = Builder::new();
    builder.set_cache_size(BOOK_CACHE_BYTES).set_check_integrity_on_open(true);
    builder.create_with_backend(backend)
}

/// Returns the format stated in the database. A database that states none is not ours.
fn format(database: &Database) -> Result<Option<u64>, Error> {
    Ok(database.begin_read()?.open_table(ABOUT)?.get(FORMAT_KEY)?.map(|format| format.value()))
}

/// Removes invalid records, and records beyond a book's limits. Returns their number.
fn drop_invalid(database: &Database) -> Result<usize, Error> {
    let transaction = database.begin_write()?;
    let mut dropped = 0;
    for (table, max, is_valid) in [
        (PEERS, MAX_BOOK_PEERS, (|key, value| record::peer(key, value).is_some()) as fn(&[u8], &[u8]) -> bool),
        (BANS, MAX_BANS, |key, value| record::ban(key, value).is_some()),
    ] {
        let mut kept = 0;
        transaction.open_table(table)?.retain(|key, value| {
            let keeps = kept < max && is_valid(key, value);
            kept += usize::from(keeps);
            dropped += usize::from(!keeps);
            keeps
        })?;
    }
    match dropped {
        0 => transaction.abort()?,
        _ => transaction.commit()?,
    }
    Ok(dropped)
}

/// Lists a table's valid records, at most `max`. Also returns the number of the other records.
fn list<T>(
    database: &Database,
    table: TableDefinition<'static, &'static [u8], &'static [u8]>,
    record: fn(&[u8], &[u8]) -> Option<T>,
    max: usize,
) -> Result<(Vec<T>, usize), Error> {
    let (mut found, mut skipped) = (Vec::new(), 0);
    for entry in database.begin_read()?.open_table(table)?.iter()? {
        let (key, value) = entry?;
        match record(key.value(), value.value()).filter(|_| found.len() < max) {
            Some(record) => found.push(record),
            None => skipped += 1,
        }
    }
    Ok((found, skipped))
}

/// Makes these changes if there is room. Otherwise makes none and returns `false`.
fn write(database: &Database, changes: &[Change]) -> Result<bool, Error> {
    let transaction = database.begin_write()?;
    if !make(&transaction, changes)? {
        transaction.abort()?;
        return Ok(false);
    }
    transaction.commit()?;
    Ok(true)
}

fn make(transaction: &WriteTransaction, changes: &[Change]) -> Result<bool, Error> {
    let mut peers = transaction.open_table(PEERS)?;
    let mut bans = transaction.open_table(BANS)?;
    for change in changes {
        match change {
            Change::PutPeer(peer) => {
                peers.insert(record::peer_key(peer.address()).as_slice(), record::peer_value(peer).as_slice())?;
            }
            Change::RemovePeer(address) => {
                peers.remove(record::peer_key(*address).as_slice())?;
            }
            Change::PutBan(ban) => {
                bans.insert(record::ban_key(ban.host).as_slice(), record::ban_value(ban).as_slice())?;
            }
            Change::RemoveBan(host) => {
                bans.remove(record::ban_key(*host).as_slice())?;
            }
        }
    }
    Ok(peers.len()? <= MAX_BOOK_PEERS as u64 && bans.len()? <= MAX_BANS as u64)
}

impl Refusal {
    fn of(path: &Path, error: Error) -> Self {
        match error {
            Error::Corrupted(what) => Self::Unfit(Unfit::Damaged { what }),
            Error::Io(error) if is_of_content(&error) => Self::Unfit(Unfit::Damaged { what: error.to_string() }),
            Error::UpgradeRequired(_)
            | Error::TableDoesNotExist(_)
            | Error::TableTypeMismatch { .. }
            | Error::TableIsMultimap(_)
            | Error::TypeDefinitionChanged { .. } => Self::Unfit(Unfit::Foreign),
            error => Self::Failed(store_error(FileStep::Open, path, error)),
        }
    }

    /// Returns the error of a call that did not change the file.
    fn error(self, path: &Path) -> StoreError {
        match self {
            Self::Unfit(why) => why.of(path),
            Self::Failed(error) => error,
        }
    }
}

impl Unfit {
    /// Returns the error of a call that did not change the file.
    fn of(&self, path: &Path) -> StoreError {
        StoreError::Unfit { path: path.to_owned(), what: self.to_string() }
    }
}

fn store_error(step: FileStep, path: &Path, error: Error) -> StoreError {
    let path = path.to_owned();
    match error {
        Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => StoreError::InUse { path },
        Error::Io(error) => StoreError::file(step, &path, &error),
        Error::Corrupted(what) => StoreError::Damaged { path, what },
        error => StoreError::Database { path, what: error.to_string() },
    }
}

/// Returns whether the file could not be read because of its content and not because of the system.
fn is_of_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}
