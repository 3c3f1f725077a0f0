//! The reply to one request, from the loop to whoever waits for it: a thread, a task or nobody.
//!
//! A [`Reply`] is the loop's end, a [`Pending`] the other one. Sending never blocks the loop: the reply is set once,
//! without a lock, and the waker's lock is only tried. If that fails, the waiting side holds it to store a waker, and
//! looks for the reply again afterwards. The two fences order this: at least one side sees what the other has done.
//! No lock is held while a waker is cloned, woken or dropped, since that is code of the caller's runtime.

use crate::error::RequestError;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{Ordering, fence};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// The sending end of a [`Pending`], which ends with [`RequestError::Stopped`] if this is dropped unsent.
pub struct Reply<T>(Arc<Slot<T>>);

/// A reply that a loop has yet to send.
///
/// It is a future without any need of a runtime, and can be waited for by a thread as well. Dropping it at any moment
/// cancels nothing but the waiting: the request is carried out. It is not for use inside a handler, where it would wait
/// for its own loop.
///
/// ```
/// use peerloop::api::Pending;
/// use peerloop::error::RequestError;
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
///
/// let (reply, pending) = Pending::new();
/// let mut pending = pin!(pending);
/// // A runtime does this for `pending.await`.
/// let mut context = Context::from_waker(Waker::noop());
/// assert_eq!(pending.as_mut().poll(&mut context), Poll::Pending);
/// reply.send(7);
/// assert_eq!(pending.as_mut().poll(&mut context), Poll::Ready(Ok(7)));
///
/// let (reply, pending) = Pending::<u32>::new();
/// drop(reply);
/// assert_eq!(pending.wait(), Err(RequestError::Stopped));
/// ```
pub struct Pending<T>(Arc<Slot<T>>);

/// What the two ends share.
struct Slot<T> {
    /// Set once: the reply until it is taken, or nothing if it was never sent.
    reply: OnceLock<Mutex<Option<T>>>,
    /// Who last waited for it.
    waker: Mutex<Option<Waker>>,
}

/// Ends the sleep of a waiting thread.
struct Signal(SyncSender<()>);

impl<T> Reply<T> {
    /// Sends the reply. It is dropped if its `Pending` was.
    pub fn send(self, reply: T) {
        // It fails only if there is a reply, and this end is used up by the first.
        let _ = self.0.reply.set(Mutex::new(Some(reply)));
    }

    /// Whether the `Pending` still exists. A costly reply is not worth making for nobody.
    pub fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl<T> Drop for Reply<T> {
    /// Ends the waiting, with the reply if it was sent.
    fn drop(&mut self) {
        let _ = self.0.reply.set(Mutex::new(None));
        fence(Ordering::SeqCst);
        let waker = match self.0.waker.try_lock() {
            Ok(mut waker) => waker.take(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
            // The other end is about to look for the reply.
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Pending<T> {
    /// Makes a connected pair, for a handler's request that has a reply.
    pub fn new() -> (Reply<T>, Self) {
        let slot = Arc::new(Slot { reply: OnceLock::new(), waker: Mutex::new(None) });
        (Reply(Arc::clone(&slot)), Self(slot))
    }

    /// Waits for the reply.
    ///
    /// # Errors
    ///
    /// [`RequestError::Stopped`] when the loop has ended without a reply.
    pub fn wait(self) -> Result<T, RequestError> {
        let reply = self.wait_by(|signal| {
            let _ = signal.recv();
        });
        reply?.ok_or(RequestError::Stopped)
    }

    /// Waits at most `timeout` for the reply, and returns `None` if it has not arrived by then: call again, or drop it.
    ///
    /// # Errors
    ///
    /// As [`Pending::wait`]; also when the reply was taken before.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<T>, RequestError> {
        self.wait_by(|signal| {
            let _ = signal.recv_timeout(timeout);
        })
    }

    /// Returns the reply, if it has arrived.
    ///
    /// # Errors
    ///
    /// As [`Pending::wait_timeout`].
    pub fn try_take(&self) -> Result<Option<T>, RequestError> {
        let Some(reply) = self.0.reply.get() else { return Ok(None) };
        let taken = reply.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.map(Some).ok_or(RequestError::Stopped)
    }

    /// Sleeps by `sleep` if there is no reply yet, and returns what there is then.
    fn wait_by(&self, sleep: impl FnOnce(&Receiver<()>)) -> Result<Option<T>, RequestError> {
        if let Some(reply) = self.try_take()? {
            return Ok(Some(reply));
        }
        let (sender, signal) = sync_channel(1);
        let waker = Waker::from(Arc::new(Signal(sender)));
        if let Some(reply) = self.take_or_store(&waker)? {
            return Ok(Some(reply));
        }
        sleep(&signal);
        self.try_take()
    }

    /// Stores a waker in place of the one before, and returns the reply if it has arrived by then.
    fn take_or_store(&self, waker: &Waker) -> Result<Option<T>, RequestError> {
        let waker = waker.clone();
        let before = self.0.lock_waker().replace(waker);
        drop(before);
        fence(Ordering::SeqCst);
        self.try_take()
    }
}

impl<T> Future for Pending<T> {
    /// The reply; as an error [`RequestError::Stopped`] when the loop has ended without one, and after it was taken.
    type Output = Result<T, RequestError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let taken = match self.try_take() {
            Ok(None) => self.take_or_store(context.waker()),
            taken => taken,
        };
        match taken.transpose() {
            Some(reply) => Poll::Ready(reply),
            None => Poll::Pending,
        }
    }
}

impl<T> Drop for Pending<T> {
    /// Drops the waker at once: a task that waits no longer is neither woken nor kept in memory.
    fn drop(&mut self) {
        let waker = self.0.lock_waker().take();
        drop(waker);
    }
}

impl<T> Slot<T> {
    /// Takes the waker's lock. A poisoned one is used too: nothing can panic while it is held.
    fn lock_waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        // A full channel has the signal already.
        let _ = self.0.try_send(());
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_does_not_wait_for_the_lock_of_a_waker_that_is_being_stored() {
        let (reply, pending) = Pending::new();
        let held = pending.0.lock_waker();
        reply.send(7);
        drop(held);
        assert_eq!(pending.take_or_store(Waker::noop()), Ok(Some(7)));
    }
}
