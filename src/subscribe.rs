//! Bounded queues from a loop to subscribers on other threads.
//!
//! A [`Publisher`] is the loop's end, a [`Subscription`] the subscriber's. The publisher collects items and moves them
//! to the subscription once per turn under one lock, which it acquires with `try_lock`: if the subscriber holds the
//! lock, the items wait for the next turn. A slow subscriber loses the oldest items, and receives their number before
//! the next item. The items that wait when the loss is reported are *promised*: newer items queue after them and never
//! displace them. Between two reports of losses a slow subscriber therefore receives at least the items that waited at
//! the first report. A dropped subscription is noticed at the next flush.
//!
//! The lock is held only to move or drop items and to register a waiting subscriber. Only the subscriber sleeps: a
//! thread until the condition variable wakes it or its timeout expires, and a task until its waker is called. A
//! publisher waits for the lock only when it is dropped. No waker is cloned, woken or dropped under the lock, because
//! that runs code of the caller's runtime.

use crate::error::RequestError;
use crate::limits::{MAX_SUBSCRIPTION_BYTES, MAX_SUBSCRIPTION_ITEMS};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// An item that can wait in a subscription.
pub trait Queued: Clone + Send + 'static {
    /// Returns the number of bytes that the item holds besides its own size. They count towards
    /// [`MAX_SUBSCRIPTION_BYTES`].
    #[doc(hidden)]
    fn held_bytes(&self) -> usize {
        0
    }
}

/// An item or a loss that a subscriber receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// Items older than the next one were dropped: the subscriber was too slow, or an item was too large.
    Lagged {
        /// The number of items dropped since the last report.
        count: u64,
    },
    /// The next item.
    Item(T),
}

/// The subscriber's end of a queue. Dropping it ends the subscription.
///
/// It holds at most `capacity` items, 1 to [`MAX_SUBSCRIPTION_ITEMS`], which hold at most [`MAX_SUBSCRIPTION_BYTES`]
/// of memory. After it has reported a loss, both limits are doubled until the items that waited then are received.
/// While the subscriber holds the lock, the loop may hold further items within the undoubled limits.
///
/// Never wait for an item inside a handler of the same loop: no item arrives until the handler returns. As an iterator,
/// a subscription waits for each item and ends with the loop. A task awaits [`next`](Self::next) instead.
pub struct Subscription<T> {
    shared: Arc<Shared<T>>,
}

/// The loop's end of a queue.
pub struct Publisher<T: Queued> {
    unsent: Queue<T>,
    shared: Weak<Shared<T>>,
}

/// The result of [`Publisher::flush`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// No item remains.
    All,
    /// The subscriber holds the lock; the items wait for the next flush.
    Busy,
    /// The subscription was dropped.
    Gone,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// Items that waited when a loss was reported. They are received before all of `queue`.
    promised: VecDeque<T>,
    queue: Queue<T>,
    /// The number of threads that sleep until an item arrives.
    waiting: usize,
    /// The waker of the task that polled last and found no item.
    waker: Option<Waker>,
    /// Whether the publisher was dropped.
    ended: bool,
}

/// The newest items within the bounds, and the number of older ones that were dropped.
#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<T>,
    held_bytes: usize,
    lost: u64,
    max_items: usize,
}

impl<T: Queued> Subscription<T> {
    /// Creates a connected pair for at most `capacity` items, clamped to the range 1 to [`MAX_SUBSCRIPTION_ITEMS`].
    pub fn new(capacity: usize) -> (Publisher<T>, Self) {
        let max_items = capacity.clamp(1, MAX_SUBSCRIPTION_ITEMS);
        let state =
            State { promised: VecDeque::new(), queue: Queue::new(max_items), waiting: 0, waker: None, ended: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        (Publisher { unsent: Queue::new(max_items), shared: Arc::downgrade(&shared) }, Self { shared })
    }

    /// Waits for the next item.
    ///
    /// # Errors
    ///
    /// [`RequestError::Stopped`] when the loop has ended and no item remains.
    pub fn recv(&self) -> Result<Received<T>, RequestError> {
        let mut state = self.shared.lock();
        state.waiting += 1;
        let mut state = self.shared.changed.wait_while(state, State::is_idle).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.take_next().ok_or(RequestError::Stopped)
    }

    /// Waits at most `timeout` for the next item, and returns `None` if none has arrived by then.
    ///
    /// # Errors
    ///
    /// [`RequestError::Stopped`] when the loop has ended and no item remains.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<Received<T>>, RequestError> {
        let mut state = self.shared.lock();
        state.waiting += 1;
        let (mut state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, timeout, State::is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.take()
    }

    /// Returns the next item, if there is one.
    ///
    /// # Errors
    ///
    /// [`RequestError::Stopped`] when the loop has ended and no item remains.
    pub fn try_recv(&self) -> Result<Option<Received<T>>, RequestError> {
        self.shared.lock().take()
    }

    /// Returns the next item if there is one, and `None` when the loop has ended and no item remains. Otherwise
    /// returns [`Poll::Pending`]; once an item arrives or the loop ends, the task that polled last is woken. Any
    /// crate's `Stream` can be implemented with it:
    ///
    /// ```
    /// use peerloop::{Queued, Received, Subscription};
    /// use std::pin::Pin;
    /// use std::task::{Context, Poll};
    ///
    /// # trait Stream {
    /// #     type Item;
    /// #     fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>>;
    /// # }
    /// struct Events<T>(Subscription<T>);
    ///
    /// impl<T: Queued> Stream for Events<T> {
    ///     type Item = Received<T>;
    ///
    ///     fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Received<T>>> {
    ///         self.0.poll_next(context)
    ///     }
    /// }
    /// ```
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Received<T>>> {
        match self.try_recv() {
            Ok(None) => {}
            next => return Poll::Ready(next.ok().flatten()),
        }
        let waker = context.waker().clone();
        let mut state = self.shared.lock();
        match state.take() {
            Ok(None) => {}
            next => return Poll::Ready(next.ok().flatten()),
        }
        let before = state.waker.replace(waker);
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// Awaits the next item without blocking the thread, and returns `None` when the loop has ended and no item
    /// remains. Dropping the future loses no item.
    ///
    /// ```
    /// use peerloop::{ControlEvent, Received, Subscription};
    ///
    /// async fn count_bans(mut events: Subscription<ControlEvent>) -> u64 {
    ///     let mut bans = 0;
    ///     while let Some(received) = events.next().await {
    ///         match received {
    ///             Received::Item(ControlEvent::PeerBanned { .. }) => bans += 1,
    ///             Received::Item(_) => {}
    ///             Received::Lagged { count } => println!("lagged: {count} events dropped"),
    ///         }
    ///     }
    ///     bans
    /// }
    /// ```
    pub async fn next(&mut self) -> Option<Received<T>> {
        poll_fn(|context| self.poll_next(context)).await
    }
}

impl<T: Queued> Iterator for Subscription<T> {
    type Item = Received<T>;

    fn next(&mut self) -> Option<Received<T>> {
        self.recv().ok()
    }
}

impl<T: Queued> Publisher<T> {
    /// Adds an item to those that the next flush moves.
    pub fn push(&mut self, item: T) {
        self.unsent.push(item);
    }

    /// Moves all items to the subscription. Never waits.
    pub fn flush(&mut self) -> Flushed {
        let Some(shared) = self.shared.upgrade() else { return Flushed::Gone };
        if self.unsent.is_empty() {
            return Flushed::All;
        }
        let mut state = match shared.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Flushed::Busy,
        };
        state.queue.append(&mut self.unsent);
        let (is_awaited, waker) = (state.waiting > 0, state.waker.take());
        drop(state);
        if is_awaited {
            shared.changed.notify_all();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        Flushed::All
    }
}

impl<T: Queued> Drop for Publisher<T> {
    /// Moves the remaining items and ends the subscription. A publisher waits for the lock only here.
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut state = shared.lock();
        state.queue.append(&mut self.unsent);
        state.ended = true;
        let waker = state.waker.take();
        drop(state);
        shared.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Shared<T> {
    /// Locks the state. Ignores poisoning: items are moved one by one, so the state is consistent even after a panic.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Queued> State<T> {
    fn is_idle(&mut self) -> bool {
        self.promised.is_empty() && self.queue.is_empty() && !self.ended
    }

    fn take(&mut self) -> Result<Option<Received<T>>, RequestError> {
        match self.take_next() {
            None if self.ended => Err(RequestError::Stopped),
            next => Ok(next),
        }
    }

    /// Removes and returns the next promised item. If there is none, returns the loss, and promises all waiting items.
    /// If there is no loss either, removes and returns the oldest item.
    fn take_next(&mut self) -> Option<Received<T>> {
        if let Some(item) = self.promised.pop_front() {
            return Some(Received::Item(item));
        }
        let count = mem::take(&mut self.queue.lost);
        if count == 0 {
            return self.queue.pop().map(Received::Item);
        }
        mem::swap(&mut self.promised, &mut self.queue.items);
        self.queue.held_bytes = 0;
        Some(Received::Lagged { count })
    }
}

impl<T: Queued> Queue<T> {
    fn new(max_items: usize) -> Self {
        Self { items: VecDeque::new(), held_bytes: 0, lost: 0, max_items }
    }

    /// Returns whether there is neither an item nor a loss.
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.lost == 0
    }

    /// Adds an item and drops the oldest ones to make room. An item that alone exceeds [`MAX_SUBSCRIPTION_BYTES`] is
    /// dropped, together with all waiting items.
    fn push(&mut self, item: T) {
        let item_bytes = item.held_bytes();
        while let Some(oldest) = self.items.front()
            && (self.items.len() >= self.max_items || self.held_bytes + item_bytes > MAX_SUBSCRIPTION_BYTES)
        {
            self.held_bytes -= oldest.held_bytes();
            self.lost += 1;
            self.items.pop_front();
        }
        if item_bytes > MAX_SUBSCRIPTION_BYTES {
            self.lost += 1;
            return;
        }
        self.held_bytes += item_bytes;
        self.items.push_back(item);
    }

    /// Moves all items of `newer` to the end of this queue.
    fn append(&mut self, newer: &mut Self) {
        if newer.lost > 0 {
            // The items dropped from `newer` are newer than all items of this queue, so this queue's items are
            // dropped too.
            self.lost += self.items.len() as u64 + mem::take(&mut newer.lost);
            self.items.clear();
            self.held_bytes = 0;
        }
        newer.held_bytes = 0;
        for item in newer.items.drain(..) {
            self.push(item);
        }
    }

    fn pop(&mut self) -> Option<T> {
        let item = self.items.pop_front()?;
        self.held_bytes -= item.held_bytes();
        Some(item)
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

impl<T: Queued> fmt::Debug for Publisher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Number(u64);

    impl Queued for Number {}

    #[test]
    fn a_flush_does_not_wait_for_a_held_lock() {
        let (mut publisher, subscription) = Subscription::new(2);
        let held = subscription.shared.lock();
        publisher.push(Number(0));
        assert_eq!(publisher.flush(), Flushed::Busy);
        for number in 1..4 {
            publisher.push(Number(number));
        }
        assert_eq!(publisher.flush(), Flushed::Busy);
        drop(held);
        assert_eq!(publisher.flush(), Flushed::All);
        let next = [(); 4].map(|()| subscription.try_recv().unwrap());
        let items = [2, 3].map(|number| Some(Received::Item(Number(number))));
        assert_eq!(next, [Some(Received::Lagged { count: 2 }), items[0], items[1], None]);
    }

    #[test]
    fn a_panic_under_the_lock_keeps_the_queue_intact() {
        let (mut publisher, subscription) = Subscription::new(2);
        publisher.push(Number(7));
        let poison = std::panic::AssertUnwindSafe(|| {
            let _held = subscription.shared.lock();
            panic!("the subscriber panics while it holds the lock");
        });
        assert!(std::panic::catch_unwind(poison).is_err());
        assert_eq!(publisher.flush(), Flushed::All);
        assert_eq!(subscription.recv(), Ok(Received::Item(Number(7))));
    }
}
