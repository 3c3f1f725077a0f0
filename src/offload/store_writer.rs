//! The thread that writes the address book, so that the loop never waits for a disk.
//!
//! A [`Writer`] makes all decisions; this module adds the channel, the pauses and the wake-ups. Each result wakes the
//! loop.
//!
//! Dropping or [finishing](StoreWriter::finish) a [`StoreWriter`] waits until everything is durable or a last attempt
//! has failed. It waits at most [`MAX_BOOK_END`] for each result.

use crate::limits::{MAX_BOOK_END, MAX_BOOK_QUEUE};
use crate::manager::store::{Batch, PeerStore, Persisted, StoreError, Writer};
use crate::net::Wake;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, TrySendError, channel, sync_channel,
};
use std::thread::JoinHandle;
use std::time::Duration;

/// The loop's handle to the thread that writes the address book.
#[derive(Debug)]
pub struct StoreWriter {
    batches: Option<SyncSender<Batch>>,
    answers: Receiver<Persisted>,
    thread: Option<JoinHandle<Result<(), StoreError>>>,
    /// The ids of the batches that are not known to be durable.
    unanswered: VecDeque<u64>,
    has_ended: bool,
}

impl StoreWriter {
    /// Starts a thread that writes to `store` and wakes the loop for each result.
    ///
    /// # Errors
    ///
    /// If the system cannot start a thread.
    pub fn spawn(store: impl PeerStore + Send + 'static, waker: Arc<dyn Wake>) -> io::Result<Self> {
        let (batches, queue) = sync_channel(MAX_BOOK_QUEUE);
        let (answer, answers) = channel();
        let thread = std::thread::Builder::new().name("peerloop-book".to_owned()).spawn(move || {
            let port = Port { answers: Some(answer), waker };
            write_all(Writer::new(store), &queue, &port)
        })?;
        Ok(Self {
            batches: Some(batches),
            answers,
            thread: Some(thread),
            unanswered: VecDeque::new(),
            has_ended: false,
        })
    }

    /// Passes a batch to the thread. Never blocks.
    ///
    /// # Errors
    ///
    /// The batch, if [`MAX_BOOK_QUEUE`] batches are not known to be durable or the thread has ended.
    pub fn try_send(&mut self, batch: Batch) -> Result<(), Batch> {
        if self.unanswered.len() >= MAX_BOOK_QUEUE {
            return Err(batch);
        }
        let id = batch.id;
        let Some(batches) = &self.batches else { return Err(batch) };
        // The channel has room for all batches that may be unanswered, so it is never full.
        batches.try_send(batch).map_err(|error| match error {
            TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch,
        })?;
        self.unanswered.push_back(id);
        Ok(())
    }

    /// Returns the next result, if there is one. An unexpected end of the thread is reported last.
    pub fn try_answer(&mut self) -> Option<Persisted> {
        match self.answers.try_recv() {
            Ok(answer) => {
                if answer.result.is_ok() {
                    self.unanswered.retain(|&id| id > answer.id);
                }
                Some(answer)
            }
            Err(TryRecvError::Disconnected) if !self.has_ended => {
                self.has_ended = true;
                self.batches = None;
                let id = self.unanswered.back().copied().unwrap_or_default();
                Some(Persisted { id, result: Err(StoreError::WriterEnded) })
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    /// Returns the id of the last batch that is not known to be durable.
    pub(crate) fn last_unanswered(&self) -> Option<u64> {
        self.unanswered.back().copied()
    }

    /// Waits until everything is durable and ends the thread.
    ///
    /// # Errors
    ///
    /// The last attempt's error; [`StoreError::WriterEnded`] if the thread panicked; [`StoreError::NoAnswer`] after
    /// [`MAX_BOOK_END`] without a result. In the last case the thread keeps running and keeps the store open.
    pub fn finish(mut self) -> Result<(), StoreError> {
        self.join(MAX_BOOK_END)
    }

    fn join(&mut self, patience: Duration) -> Result<(), StoreError> {
        self.batches = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        loop {
            match self.answers.recv_timeout(patience) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Err(StoreError::NoAnswer),
                // The thread has closed its store and is about to end.
                Err(RecvTimeoutError::Disconnected) => return thread.join().unwrap_or(Err(StoreError::WriterEnded)),
            }
        }
    }
}

impl Drop for StoreWriter {
    fn drop(&mut self) {
        if let Err(error) = self.join(MAX_BOOK_END) {
            log::error!("the last changes to the address book may be lost: {error}");
        }
    }
}

/// The thread's connection to the loop. It wakes the loop for each result and when the thread ends.
struct Port {
    answers: Option<Sender<Persisted>>,
    waker: Arc<dyn Wake>,
}

impl Port {
    fn answer(&self, answer: Persisted) {
        if let Some(answers) = &self.answers {
            // Sending fails only if the receiver was dropped, and then no result is needed.
            let _ = answers.send(answer);
            self.waker.wake();
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.answers = None;
        self.waker.wake();
    }
}

/// Writes batches until the sender is dropped and everything is durable. An attempt that fails after that drop is the
/// last one, and its error is returned.
fn write_all(mut writer: Writer<impl PeerStore>, batches: &Receiver<Batch>, port: &Port) -> Result<(), StoreError> {
    while let Ok(batch) = batches.recv() {
        writer.take(batch);
        while let Some(pause) = writer.pause() {
            let more_may_arrive = collect(&mut writer, batches, pause);
            if let Some(answer) = writer.attempt() {
                port.answer(answer);
            }
            if let (false, Some(error)) = (more_may_arrive, writer.failure()) {
                return Err(error.clone());
            }
        }
    }
    Ok(())
}

/// Collects batches until none has arrived for `pause`. Returns whether more may arrive.
fn collect(writer: &mut Writer<impl PeerStore>, batches: &Receiver<Batch>, pause: Duration) -> bool {
    loop {
        match batches.recv_timeout(pause) {
            Ok(batch) => writer.take(batch),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::ban::Ban;
    use crate::manager::store::{Change, KnownPeer};
    use std::net::SocketAddr;

    /// A store that completes each write only after a signal.
    struct Hanging {
        begun: Sender<()>,
        may_go: Receiver<()>,
    }

    impl PeerStore for Hanging {
        fn read(&self, _: SocketAddr) -> Result<Option<KnownPeer>, StoreError> {
            Ok(None)
        }

        fn list_all(&self) -> Result<Vec<KnownPeer>, StoreError> {
            Ok(Vec::new())
        }

        fn bans(&self) -> Result<Vec<Ban>, StoreError> {
            Ok(Vec::new())
        }

        fn apply(&mut self, _: &[Change]) -> Result<(), StoreError> {
            self.begun.send(()).unwrap();
            // The disk also continues if the sender is dropped.
            let _ = self.may_go.recv();
            Ok(())
        }
    }

    struct Silent;

    impl Wake for Silent {
        fn wake(&self) {}
    }

    /// Returns a writer whose disk hangs in its first batch, and the sender that releases the disk.
    fn hanging() -> (StoreWriter, Sender<()>) {
        let ((begun, has_begun), (go, may_go)) = (channel(), channel());
        let mut writer = StoreWriter::spawn(Hanging { begun, may_go }, Arc::new(Silent)).unwrap();
        let change = Change::RemovePeer(SocketAddr::from(([192, 0, 2, 1], 8_333)));
        writer.try_send(Batch { id: 1, changes: vec![change] }).unwrap();
        has_begun.recv().unwrap();
        (writer, go)
    }

    #[test]
    fn fault_e22_joining_the_writer_waits_only_a_limited_time_for_a_hanging_disk() {
        let (mut writer, go) = hanging();
        assert_eq!(writer.join(Duration::from_millis(1)), Err(StoreError::NoAnswer));
        assert_eq!(writer.join(Duration::MAX), Ok(()), "a second `join` returned an error");
        drop(writer);
        go.send(()).expect("the thread still waits for the signal");
    }

    #[test]
    fn a_disk_that_recovers_in_time_causes_no_error() {
        let (mut writer, go) = hanging();
        go.send(()).unwrap();
        assert_eq!(writer.join(Duration::from_secs(60)), Ok(()));
        assert!(go.send(()).is_err(), "the store is still open");
    }
}
