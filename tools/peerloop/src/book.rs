//! Opens the address book for the subcommands, reports unusable books and records, and adds advice to errors.

use crate::exit::Failure;
use crate::output;
use peerloop::ban::Ban;
use peerloop::store::{KnownPeer, PeerStore, RedbStore, StoreError};
use std::path::Path;

/// A book's content.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) peers: Vec<KnownPeer>,
    pub(crate) bans: Vec<Ban>,
}

/// Reads an existing book and reports the number of invalid records on stderr, if it is not 0. Read permission for the
/// file is enough.
pub(crate) fn read(path: &Path) -> Result<Known, Failure> {
    let contents = RedbStore::read_contents(path)?;
    if contents.skipped > 0 {
        let (skipped, book) = (contents.skipped, path.display());
        output::complain(&format!("{skipped} invalid records of the address book {book} are skipped"));
    }
    Ok(Known { peers: contents.peers, bans: contents.bans })
}

/// Opens or creates the book. Reports on stderr why an existing book could not be used, and how many invalid records
/// were dropped.
pub(crate) fn open(path: &Path) -> Result<RedbStore, Failure> {
    let (store, opened) = RedbStore::open(path)?;
    if let Some(set_aside) = &opened.set_aside {
        let (book, kept) = (path.display(), set_aside.path.display());
        let why = set_aside.why.to_string().replace(char::is_control, "?");
        let begun = "and a new one was created";
        output::complain(&format!("the address book {book} could not be used: {why}; it is kept as {kept}, {begun}"));
    }
    report_dropped(path, opened.dropped);
    Ok(store)
}

/// Reports the number of dropped records on stderr, if it is not 0.
pub(crate) fn report_dropped(path: &Path, dropped: usize) {
    if dropped > 0 {
        let book = path.display();
        output::complain(&format!("{dropped} invalid records of the address book {book} were dropped"));
    }
}

/// Reads the content of an open book.
pub(crate) fn known(store: &RedbStore) -> Result<Known, Failure> {
    Ok(Known { peers: store.list_all()?, bans: store.bans()? })
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::InUse { path } => Self::run(format!(
                "the address book {} is in use by a running node; stop it first, or use another book",
                path.display()
            )),
            error => Self::run(error.to_string()),
        }
    }
}
