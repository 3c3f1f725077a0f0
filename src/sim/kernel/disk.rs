//! A disk that holds an address book: confirmed changes survive a restart, and unconfirmed ones may.
//!
//! Batches pass through the same [`Writer`] that the real thread uses, so that retries and completions are the
//! same. The writer merges waiting batches. The disk accepts either all changes of an attempt or none.

use super::naming::time_between;
use crate::errno::{EIO, ENOSPC};
use crate::limits::MAX_BOOK_QUEUE;
use crate::manager::ban::Ban;
use crate::manager::store::{
    Batch, Change, FileStep, KnownPeer, MemoryStore, PeerStore, Persisted, StoreError, Writer,
};
use crate::sim::tape::Chance;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// Maximum duration of a slow write.
const MAX_SLOW: Duration = Duration::from_secs(3);

/// A host's disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disk {
    /// A write completes at once, and is reported at the next wait.
    #[default]
    Sound,
    /// Every write fails with this errno.
    Failing(i32),
    /// A write needs up to three seconds, and may fail with `EIO` or `ENOSPC`. At a kill, the disk writes either all
    /// unwritten changes or none.
    Wild,
}

/// An address book on the disk, and its writer.
#[derive(Debug)]
pub(super) struct Book {
    writer: Writer<DurableState>,
    durable_state: DurableState,
    /// The numbers of the batches that are not confirmed as durable.
    unanswered: VecDeque<u64>,
    is_writing: bool,
}

/// The durable state, which all clones share.
#[derive(Clone, Debug)]
struct DurableState {
    store: Rc<RefCell<MemoryStore>>,
    /// The errno of the next write; `None` if it succeeds.
    fault: Rc<Cell<Option<i32>>>,
}

impl Default for Book {
    fn default() -> Self {
        // A constant key is safe here. A real store needs a key that hostile peers do not know, but no simulated peer
        // exploits the key.
        let store = MemoryStore::new(&mut StdRng::seed_from_u64(0));
        let durable_state = DurableState { store: Rc::new(RefCell::new(store)), fault: Rc::default() };
        Self {
            writer: Writer::new(durable_state.clone()),
            durable_state,
            unanswered: VecDeque::new(),
            is_writing: false,
        }
    }
}

impl Book {
    /// Returns a copy of the durable state.
    pub(super) fn durable(&self) -> MemoryStore {
        self.durable_state.store.borrow().clone()
    }

    /// Accepts a batch to write. Returns it as the error if too many are waiting.
    pub(super) fn take(&mut self, batch: Batch) -> Result<(), Batch> {
        if self.unanswered.len() >= MAX_BOOK_QUEUE {
            return Err(batch);
        }
        self.unanswered.push_back(batch.id);
        self.writer.take(batch);
        Ok(())
    }

    pub(super) fn is_writing(&self) -> bool {
        self.is_writing
    }

    /// Begins the next attempt to write. Returns the attempt's duration, including the writer's pause before it;
    /// `None` if there is nothing to write.
    pub(super) fn begin_write(&mut self, disk: Disk, chance: &Chance) -> Option<Duration> {
        let pause = self.writer.pause()?;
        let takes = match disk {
            Disk::Sound | Disk::Failing(_) => Duration::ZERO,
            Disk::Wild => time_between(chance, (Duration::ZERO, MAX_SLOW)),
        };
        self.is_writing = true;
        Some(pause + takes)
    }

    /// Ends an attempt to write, and returns the result that the host receives, if any.
    pub(super) fn end_write(&mut self, disk: Disk, chance: &Chance) -> Option<Persisted> {
        let fault = match disk {
            Disk::Sound => None,
            Disk::Failing(errno) => Some(errno),
            Disk::Wild => *chance.pick(&[None, None, None, Some(EIO), Some(ENOSPC)]),
        };
        self.is_writing = false;
        self.durable_state.fault.set(fault);
        let answer = self.writer.attempt()?;
        if answer.result.is_ok() {
            self.unanswered.retain(|unanswered| *unanswered > answer.id);
        }
        Some(answer)
    }

    /// Discards all unwritten changes. A [`Disk::Wild`] may write all of them instead.
    pub(super) fn lose_unwritten(&mut self, disk: Disk, chance: &Chance) {
        let was_written = disk == Disk::Wild && chance.one_in(2);
        self.durable_state.fault.set(None);
        if was_written {
            // No process remains to receive the outcome.
            let _ = self.writer.attempt();
        }
        let durable_state = self.durable_state.clone();
        *self = Self {
            writer: Writer::new(durable_state.clone()),
            durable_state,
            unanswered: VecDeque::new(),
            is_writing: false,
        };
    }
}

impl PeerStore for DurableState {
    fn read(&self, address: SocketAddr) -> Result<Option<KnownPeer>, StoreError> {
        self.store.borrow().read(address)
    }

    fn list_all(&self) -> Result<Vec<KnownPeer>, StoreError> {
        self.store.borrow().list_all()
    }

    fn bans(&self) -> Result<Vec<Ban>, StoreError> {
        self.store.borrow().bans()
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        match self.fault.get() {
            None => self.store.borrow_mut().apply(changes),
            Some(code) => {
                let kind = io::Error::from_raw_os_error(code).kind();
                Err(StoreError::File { step: FileStep::Write, path: PathBuf::from("book"), kind, code })
            }
        }
    }
}
