//! Bounded queues from a loop to listeners on other threads.
//!
//! An [`Outlet`] is the loop's end, a [`Subscription`] the listener's. The outlet gathers what it is given and passes
//! it on once per turn, under one lock, which it only ever tries: a listener that holds it at that moment gets the
//! batch with the next one. A listener that is slow loses the oldest items and is told how many before it gets the
//! next. The items that wait behind a loss are promised with it: new ones wait behind them and no longer displace them,
//! so that a listener that stays slow gets as many items between two losses as its subscription holds. A subscription
//! that was dropped is found out when something is passed on.
//!
//! The lock is held for moving items, and for dropping those for which there is no room. Only the listener ever sleeps
//! here, until the condition variable wakes it or its time is over; the loop's end waits for nobody but when it ends.

use crate::error::CommandError;
use crate::limits::{SUBSCRIPTION_MAX_BYTES, SUBSCRIPTION_MAX_ITEMS};
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::Duration;

/// Something that can wait in a subscription.
pub trait Queued: Clone + Send + 'static {
    /// Bytes that it keeps alive beside its own size, for [`SUBSCRIPTION_MAX_BYTES`]; none for most.
    fn held_bytes(&self) -> usize {
        0
    }
}

/// What a listener gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<T> {
    /// The listener was too slow for this many items, all of them older than what it gets next.
    Lost {
        /// How many, since it was told last.
        count: u64,
    },
    /// The next item.
    Item(T),
}

/// The listener's end of a queue; one that is dropped is forgotten by the loop.
///
/// It holds 1 to [`SUBSCRIPTION_MAX_ITEMS`] items, as was asked for, and at most [`SUBSCRIPTION_MAX_BYTES`] of what
/// they keep alive, and as much again once it has told of a loss; the loop's end holds as much while the lock is taken.
/// Not for use inside a handler, where it would wait for itself. As an iterator it waits for each item and ends with
/// the loop.
pub struct Subscription<T> {
    shared: Arc<Shared<T>>,
}

/// The loop's end of a queue.
pub struct Outlet<T: Queued> {
    unsent: Queue<T>,
    shared: Weak<Shared<T>>,
}

/// What became of an attempt to pass items on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing is left.
    All,
    /// The listener holds the lock; what there is waits for the next attempt.
    Busy,
    /// There is no listener any more.
    Gone,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// Items that waited when the listener was told of a loss. It gets them before all that is in the queue.
    promised: VecDeque<T>,
    queue: Queue<T>,
    /// Threads that sleep until something comes.
    waiting: usize,
    /// The outlet is gone.
    ended: bool,
}

/// The newest items, as many as the bounds allow, and how many older ones they do not.
#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<T>,
    held_bytes: usize,
    lost: u64,
    max_items: usize,
}

impl<T: Queued> Subscription<T> {
    /// A connected pair that holds `capacity` items, at least 1 and at most [`SUBSCRIPTION_MAX_ITEMS`].
    pub fn new(capacity: usize) -> (Outlet<T>, Self) {
        let max_items = capacity.clamp(1, SUBSCRIPTION_MAX_ITEMS);
        let state = State { promised: VecDeque::new(), queue: Queue::new(max_items), waiting: 0, ended: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        (Outlet { unsent: Queue::new(max_items), shared: Arc::downgrade(&shared) }, Self { shared })
    }

    /// Waits for the next item.
    ///
    /// # Errors
    ///
    /// [`CommandError::Stopped`] when the loop has ended and nothing is left.
    pub fn recv(&self) -> Result<Heard<T>, CommandError> {
        let mut state = self.shared.lock();
        state.waiting += 1;
        let mut state = self.shared.changed.wait_while(state, State::is_idle).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.take_next().ok_or(CommandError::Stopped)
    }

    /// Waits for the next item for `timeout` at the most; none if there is none by then.
    ///
    /// # Errors
    ///
    /// As [`Subscription::recv`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<Heard<T>>, CommandError> {
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

    /// The next item, if it is there.
    ///
    /// # Errors
    ///
    /// As [`Subscription::recv`].
    pub fn try_recv(&self) -> Result<Option<Heard<T>>, CommandError> {
        self.shared.lock().take()
    }
}

impl<T: Queued> Iterator for Subscription<T> {
    type Item = Heard<T>;

    fn next(&mut self) -> Option<Heard<T>> {
        self.recv().ok()
    }
}

impl<T: Queued> Outlet<T> {
    /// Puts an item behind those that are passed on next.
    pub fn push(&mut self, item: T) {
        self.unsent.push(item);
    }

    /// Passes on what there is, without ever waiting.
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
        let is_awaited = state.waiting > 0;
        drop(state);
        if is_awaited {
            shared.changed.notify_all();
        }
        Flushed::All
    }
}

impl<T: Queued> Drop for Outlet<T> {
    /// Passes on what is left, and ends the subscription. Here, and only here, it waits for the lock.
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut state = shared.lock();
        state.queue.append(&mut self.unsent);
        state.ended = true;
        drop(state);
        shared.changed.notify_all();
    }
}

impl<T> Shared<T> {
    /// The state is whole whatever panicked while the lock was held: items are moved one by one.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Queued> State<T> {
    fn is_idle(&mut self) -> bool {
        self.promised.is_empty() && self.queue.is_empty() && !self.ended
    }

    fn take(&mut self) -> Result<Option<Heard<T>>, CommandError> {
        match self.take_next() {
            None if self.ended => Err(CommandError::Stopped),
            heard => Ok(heard),
        }
    }

    /// Takes the next promised item, else the loss behind those, which promises all that waits behind it, else the
    /// oldest item.
    fn take_next(&mut self) -> Option<Heard<T>> {
        if let Some(item) = self.promised.pop_front() {
            return Some(Heard::Item(item));
        }
        let count = mem::take(&mut self.queue.lost);
        if count == 0 {
            return self.queue.pop().map(Heard::Item);
        }
        mem::swap(&mut self.promised, &mut self.queue.items);
        self.queue.held_bytes = 0;
        Some(Heard::Lost { count })
    }
}

impl<T: Queued> Queue<T> {
    fn new(max_items: usize) -> Self {
        Self { items: VecDeque::new(), held_bytes: 0, lost: 0, max_items }
    }

    /// Whether there is nothing to tell, a loss among it.
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.lost == 0
    }

    /// Adds an item for which the oldest ones make room. One that is too large by itself is lost with them all.
    fn push(&mut self, item: T) {
        let item_bytes = item.held_bytes();
        while let Some(oldest) = self.items.front()
            && (self.items.len() >= self.max_items || self.held_bytes + item_bytes > SUBSCRIPTION_MAX_BYTES)
        {
            self.held_bytes -= oldest.held_bytes();
            self.lost += 1;
            self.items.pop_front();
        }
        if item_bytes > SUBSCRIPTION_MAX_BYTES {
            self.lost += 1;
            return;
        }
        self.held_bytes += item_bytes;
        self.items.push_back(item);
    }

    /// Moves all of `newer` behind what there is.
    fn append(&mut self, newer: &mut Self) {
        if newer.lost > 0 {
            // What was lost there is newer than all that is here.
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

impl<T: Queued> fmt::Debug for Outlet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Number(u64);

    impl Queued for Number {}

    #[test]
    fn a_lock_that_is_taken_is_not_waited_for() {
        let (mut outlet, subscription) = Subscription::new(2);
        let held = subscription.shared.lock();
        outlet.push(Number(0));
        assert_eq!(outlet.flush(), Flushed::Busy);
        for number in 1..4 {
            outlet.push(Number(number));
        }
        assert_eq!(outlet.flush(), Flushed::Busy);
        drop(held);
        assert_eq!(outlet.flush(), Flushed::All);
        let heard = [(); 4].map(|()| subscription.try_recv().unwrap());
        let items = [2, 3].map(|number| Some(Heard::Item(Number(number))));
        assert_eq!(heard, [Some(Heard::Lost { count: 2 }), items[0], items[1], None]);
    }

    #[test]
    fn a_listener_that_panicked_with_the_lock_leaves_a_whole_queue() {
        let (mut outlet, subscription) = Subscription::new(2);
        outlet.push(Number(7));
        let poison = std::panic::AssertUnwindSafe(|| {
            let _held = subscription.shared.lock();
            panic!("with the lock");
        });
        assert!(std::panic::catch_unwind(poison).is_err());
        assert_eq!(outlet.flush(), Flushed::All);
        assert_eq!(subscription.recv(), Ok(Heard::Item(Number(7))));
    }
}
