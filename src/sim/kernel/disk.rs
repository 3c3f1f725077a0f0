//! A disk with an address book on it: confirmed changes survive, and unconfirmed ones may.
//!
//! Batches pass through the very [`Writer`] that the real thread drives, so that retries and completions are the
//! same. A batch is written whole or not at all.

use super::naming::time_between;
use super::{Coming, Draw, Kernel};
use crate::errno::{EIO, ENOSPC};
use crate::limits::MAX_BOOK_QUEUE;
use crate::manager::ban::Ban;
use crate::manager::store::{
    Batch, Change, FileStep, KnownPeer, MemoryStore, PeerStore, Persisted, StoreError, Writer,
};
use crate::offload::Completion;
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
    /// It writes at once, and reports at the next wait.
    #[default]
    Sound,
    /// Every write fails with this error.
    Failing(i32),
    /// It needs up to three seconds to write, or fails for want of room, for another reason or for none. After a
    /// kill, the batch in progress is either written or not.
    Wild,
}

/// An address book being written to the disk.
#[derive(Debug)]
pub(super) struct Book {
    writer: Writer<Platter>,
    platter: Platter,
    /// The batches not known to be durable.
    unanswered: VecDeque<u64>,
    is_writing: bool,
}

/// The durable state; clones are the same.
#[derive(Clone, Debug)]
struct Platter {
    store: Rc<RefCell<MemoryStore>>,
    /// The error of the next write.
    fault: Rc<Cell<Option<i32>>>,
}

impl Default for Book {
    fn default() -> Self {
        // Its key protects against peers, and this simulation has only our own.
        let store = MemoryStore::new(&mut StdRng::seed_from_u64(0));
        let platter = Platter { store: Rc::new(RefCell::new(store)), fault: Rc::default() };
        Self { writer: Writer::new(platter.clone()), platter, unanswered: VecDeque::new(), is_writing: false }
    }
}

impl Kernel {
    pub(in crate::sim) fn set_disk(&mut self, host: usize, disk: Disk) {
        self.hosts[host].disk = disk;
    }

    pub(in crate::sim) fn book(&self, host: usize) -> MemoryStore {
        self.hosts[host].book.platter.store.borrow().clone()
    }

    pub(in crate::sim) fn persist(&mut self, host: usize, batch: Batch) -> Result<(), Batch> {
        let book = &mut self.hosts[host].book;
        if book.unanswered.len() >= MAX_BOOK_QUEUE {
            return Err(batch);
        }
        book.unanswered.push_back(batch.id);
        book.writer.take(batch);
        if !book.is_writing {
            self.write_later(host);
        }
        Ok(())
    }

    /// Begins the next attempt to write, if there is anything to write.
    fn write_later(&mut self, host: usize) {
        let Some(pause) = self.hosts[host].book.writer.pause() else { return };
        let takes = match self.hosts[host].disk {
            Disk::Sound | Disk::Failing(_) => Duration::ZERO,
            Disk::Wild => time_between(&self.hosts[host].chances[Draw::Disk as usize], (Duration::ZERO, MAX_SLOW)),
        };
        self.hosts[host].book.is_writing = true;
        let life = self.hosts[host].asked.life;
        match pause + takes {
            Duration::ZERO => self.write_book(host, life),
            after => self.happen_later(after, Coming::Write { host, life }),
        }
    }

    pub(super) fn write_book(&mut self, host: usize, life: u32) {
        if self.hosts[host].asked.life != life {
            return;
        }
        let chance = &self.hosts[host].chances[Draw::Disk as usize];
        let fault = match self.hosts[host].disk {
            Disk::Sound => None,
            Disk::Failing(errno) => Some(errno),
            Disk::Wild => *chance.pick(&[None, None, None, Some(EIO), Some(ENOSPC)]),
        };
        let book = &mut self.hosts[host].book;
        book.is_writing = false;
        book.platter.fault.set(fault);
        if let Some(answer) = book.writer.attempt() {
            let Persisted { id, result } = &answer;
            if result.is_ok() {
                book.unanswered.retain(|unanswered| unanswered > id);
            }
            let reply = self.reply(host, Completion::Persisted(answer));
            self.answer(reply);
        }
        self.write_later(host);
    }

    /// Discards a killed host's unwritten changes, or completes the write in progress.
    pub(in crate::sim) fn lose_unwritten(&mut self, host: usize) {
        let is_wild = self.hosts[host].disk == Disk::Wild;
        let was_written = is_wild && self.hosts[host].chances[Draw::Disk as usize].one_in(2);
        let book = &mut self.hosts[host].book;
        book.platter.fault.set(None);
        if was_written {
            // No process remains to receive the outcome.
            let _ = book.writer.attempt();
        }
        let platter = book.platter.clone();
        *book = Book { writer: Writer::new(platter.clone()), platter, unanswered: VecDeque::new(), is_writing: false };
    }
}

impl PeerStore for Platter {
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
