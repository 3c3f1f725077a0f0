//! The reply to one request, from the loop to a waiting thread or task.
//!
//! A [`Reply`] is the loop's end, a [`Pending`] the caller's. Sending never blocks the loop: it sets the reply
//! without a lock, and acquires the waker's lock only with `try_lock`. If the lock is held, the caller is storing a
//! waker and checks for the reply again afterwards, or is dropping its end and needs no reply. The two fences ensure
//! that at least one side sees the other's store. No lock is held while a waker is cloned, woken or dropped, because
//! each of these may run code of the caller's runtime.

use crate::error::RequestError;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{Ordering, fence};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// The sending end of a [`Pending`]. If this end is dropped without a reply, the `Pending` returns
/// [`RequestError::Stopped`].
pub struct Reply<T>(Arc<Slot<T>>);

/// A reply that a loop has yet to send.
///
/// It is a future that needs no runtime, and a thread can wait for it as well. Dropping it at any moment only cancels
/// the wait: the request is still carried out. Never wait for a reply inside a handler of the same loop: the loop
/// cannot send it during that wait.
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

/// The state that the two ends share.
struct Slot<T> {
    /// Set once, by the sending end: to the reply, or to `None` if that end was dropped without a reply. After the
    /// caller has received the reply, the value is `None`.
    reply: OnceLock<Mutex<Option<T>>>,
    /// The waker of the last wait.
    waker: Mutex<Option<Waker>>,
}

/// The waker of a waiting thread.
struct Signal(SyncSender<()>);

impl<T> Reply<T> {
    /// Sends the reply, which is dropped if the `Pending` was dropped.
    pub fn send(self, reply: T) {
        // `set` fails only if a reply is already set, but sending a reply consumes this end.
        let _ = self.0.reply.set(Mutex::new(Some(reply)));
    }

    /// Returns whether the `Pending` still exists. Check this before building a costly reply.
    ///
    /// ```
    /// use peerloop::api::Pending;
    ///
    /// let (reply, pending) = Pending::<Vec<u8>>::new();
    /// assert!(reply.is_awaited());
    /// drop(pending);
    /// assert!(!reply.is_awaited());
    /// ```
    pub fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl<T> Drop for Reply<T> {
    /// Ends the wait, with the reply if one was sent.
    fn drop(&mut self) {
        let _ = self.0.reply.set(Mutex::new(None));
        fence(Ordering::SeqCst);
        let waker = match self.0.waker.try_lock() {
            Ok(mut waker) => waker.take(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
            // The other end holds the lock. It checks for the reply afterwards, or is being dropped.
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Pending<T> {
    /// Creates a connected pair, for a handler's request that has a reply.
    pub fn new() -> (Reply<T>, Self) {
        let slot = Arc::new(Slot { reply: OnceLock::new(), waker: Mutex::new(None) });
        (Reply(Arc::clone(&slot)), Self(slot))
    }

    /// Waits for the reply.
    ///
    /// # Errors
    ///
    /// [`RequestError::Stopped`] if the [`Reply`] was dropped without a reply, for example because the loop has
    /// ended, or if an earlier call has returned the reply.
    pub fn wait(self) -> Result<T, RequestError> {
        let reply = self.wait_by(|signal| {
            let _ = signal.recv();
        });
        reply?.ok_or(RequestError::Stopped)
    }

    /// Waits at most `timeout` for the reply. Returns `None` if the reply has not arrived by then; the call may be
    /// repeated.
    ///
    /// # Errors
    ///
    /// As [`Pending::wait`].
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

    /// Calls `sleep` if there is no reply yet, and then returns the reply if it has arrived.
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

    /// Replaces the stored waker, and returns the reply if it has arrived by then.
    fn take_or_store(&self, waker: &Waker) -> Result<Option<T>, RequestError> {
        let waker = waker.clone();
        let before = self.0.lock_waker().replace(waker);
        drop(before);
        fence(Ordering::SeqCst);
        self.try_take()
    }
}

impl<T> Future for Pending<T> {
    /// The reply, or the error of [`Pending::wait`].
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
    /// Drops the waker at once, so that a task that no longer waits is neither woken nor kept in memory.
    fn drop(&mut self) {
        let waker = self.0.lock_waker().take();
        drop(waker);
    }
}

impl<T> Slot<T> {
    /// Locks the waker. Ignores poisoning, because nothing can panic while the lock is held.
    fn lock_waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        // If the channel is full, it already holds a signal.
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
    fn a_reply_does_not_wait_for_the_waker_lock() {
        let (reply, pending) = Pending::new();
        let held = pending.0.lock_waker();
        reply.send(7);
        drop(held);
        assert_eq!(pending.take_or_store(Waker::noop()), Ok(Some(7)));
    }
}
