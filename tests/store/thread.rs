//! The thread that writes the book.

use crate::support::{Faulty, Folder, ban, peer};
use peerloop::internals::limits::MAX_BOOK_QUEUE;
use peerloop::internals::net::Wake;
use peerloop::internals::offload::store_writer::StoreWriter;
use peerloop::internals::store::{Batch, Persisted};
use peerloop::store::{Change, KnownPeer, PeerStore, RedbStore, StoreError};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A waker that wakes the waiting test.
struct Bell(SyncSender<()>);

impl Wake for Bell {
    fn wake(&self) {
        // One pending ring is enough.
        let _ = self.0.try_send(());
    }
}

fn bell() -> (Arc<dyn Wake>, Receiver<()>) {
    let (sender, rings) = sync_channel(1);
    (Arc::new(Bell(sender)), rings)
}

/// Returns the next completion. If there is none yet, waits until the thread rings the bell.
fn answer(writer: &mut StoreWriter, rings: &Receiver<()>) -> Persisted {
    loop {
        if let Some(answer) = writer.try_answer() {
            return answer;
        }
        rings.recv_timeout(Duration::from_secs(60)).expect("the thread rings the bell for each result");
    }
}

fn bans(id: u64) -> Batch {
    Batch { id, changes: vec![Change::PutBan(ban(id as u32))] }
}

#[test]
fn completed_batches_are_in_the_file() {
    let folder = Folder::new();
    let (waker, rings) = bell();
    let mut writer = StoreWriter::spawn(RedbStore::open(folder.book()).unwrap().0, waker).unwrap();
    for id in 1..4 {
        writer.try_send(bans(id)).unwrap();
        assert_eq!(answer(&mut writer, &rings), Persisted { id, result: Ok(()) });
    }
    writer.finish().unwrap();
    assert_eq!(RedbStore::open(folder.book()).unwrap().0.bans().unwrap().len(), 3);
}

#[test]
fn req_e29_dropping_the_writer_waits_until_every_batch_is_written() {
    let folder = Folder::new();
    let (waker, _rings) = bell();
    let mut writer = StoreWriter::spawn(RedbStore::open(folder.book()).unwrap().0, waker).unwrap();
    for id in 1..=MAX_BOOK_QUEUE as u64 {
        writer.try_send(bans(id)).unwrap();
    }
    drop(writer);
    assert_eq!(RedbStore::open(folder.book()).unwrap().0.bans().unwrap().len(), MAX_BOOK_QUEUE);
}

#[test]
fn fault_e09_a_failed_write_is_reported_and_retried_and_excess_batches_are_returned() {
    let (store, is_broken, content) = Faulty::new();
    is_broken.store(true, Ordering::Relaxed);
    let (waker, rings) = bell();
    let mut writer = StoreWriter::spawn(store, waker).unwrap();
    writer.try_send(bans(1)).unwrap();
    assert_eq!(answer(&mut writer, &rings), Persisted { id: 1, result: Err(StoreError::WriterEnded) });
    for id in 2..=MAX_BOOK_QUEUE as u64 {
        writer.try_send(bans(id)).unwrap();
    }
    assert_eq!(writer.try_send(bans(99)), Err(bans(99)));
    is_broken.store(false, Ordering::Relaxed);
    let last = MAX_BOOK_QUEUE as u64;
    assert_eq!(answer(&mut writer, &rings), Persisted { id: last, result: Ok(()) });
    writer.try_send(bans(99)).unwrap();
    writer.finish().unwrap();
    assert_eq!(content.lock().unwrap().bans().unwrap().len(), MAX_BOOK_QUEUE + 1);
}

#[test]
fn finishing_returns_the_error_of_a_lasting_fault() {
    let (store, is_broken, _) = Faulty::new();
    is_broken.store(true, Ordering::Relaxed);
    let (waker, rings) = bell();
    let mut writer = StoreWriter::spawn(store, waker).unwrap();
    writer.try_send(bans(1)).unwrap();
    answer(&mut writer, &rings);
    assert_eq!(writer.finish(), Err(StoreError::WriterEnded));
}

/// A store whose writes panic.
struct Fatal(Mutex<()>);

impl PeerStore for Fatal {
    fn read(&self, _: SocketAddr) -> Result<Option<KnownPeer>, StoreError> {
        Ok(None)
    }

    fn list_all(&self) -> Result<Vec<KnownPeer>, StoreError> {
        Ok(Vec::new())
    }

    fn bans(&self) -> Result<Vec<peerloop::ban::Ban>, StoreError> {
        Ok(Vec::new())
    }

    fn apply(&mut self, _: &[Change]) -> Result<(), StoreError> {
        let _held = self.0.lock();
        panic!("the store panics on purpose");
    }
}

#[test]
fn when_the_thread_dies_its_batch_fails_and_no_other_is_accepted() {
    let (waker, rings) = bell();
    let mut writer = StoreWriter::spawn(Fatal(Mutex::new(())), waker).unwrap();
    writer.try_send(Batch { id: 5, changes: vec![Change::PutPeer(peer(1))] }).unwrap();
    assert_eq!(answer(&mut writer, &rings), Persisted { id: 5, result: Err(StoreError::WriterEnded) });
    assert_eq!(writer.try_answer(), None);
    assert_eq!(writer.try_send(bans(6)), Err(bans(6)));
    assert_eq!(writer.finish(), Err(StoreError::WriterEnded));
}
