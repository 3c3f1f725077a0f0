//! A publisher on one thread, and its subscribers on other threads.

use crate::{Weight, light};
use peerloop::error::RequestError;
use peerloop::internals::subscribe::Flushed;
use peerloop::{Received, Subscription};
use peerloop_testkit::task::{Bell, block_on};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

const ITEMS: u64 = 100_000;

/// Receives items on this thread until the subscription ends, and asserts that they are in order. Returns the numbers
/// of received and of lost items.
fn listen(subscription: Subscription<Weight>) -> (u64, u64) {
    account(subscription)
}

/// Does the same as [`listen`], as a task.
fn await_all(mut subscription: Subscription<Weight>) -> (u64, u64) {
    account(std::iter::from_fn(move || block_on(subscription.next())))
}

fn account(all: impl Iterator<Item = Received<Weight>>) -> (u64, u64) {
    let (mut got, mut lost) = (0, 0);
    for received in all {
        match received {
            Received::Lagged { count } => {
                assert!(count > 0, "a lag report counted no item");
                lost += count;
            }
            Received::Item(item) => {
                assert_eq!(item.index, got + lost, "an item is missing or out of order");
                got += 1;
            }
        }
    }
    (got, lost)
}

#[test]
fn every_item_is_received_or_counted_as_lost_at_capacities_from_1_to_65_536() {
    let receivers: [fn(_) -> _; 2] = [listen, await_all];
    let (mut publishers, threads): (Vec<_>, Vec<_>) = [1, 7, 1_000, 65_536]
        .into_iter()
        .flat_map(|capacity| receivers.map(|receive| (capacity, receive)))
        .map(|(capacity, receive)| {
            let (publisher, subscription) = Subscription::new(capacity);
            (publisher, thread::spawn(move || receive(subscription)))
        })
        .unzip();
    for index in 0..ITEMS {
        publishers.iter_mut().for_each(|publisher| publisher.push(light(index)));
        if index % 13 == 0 {
            // For a subscriber that holds the lock, the items wait for a later flush.
            publishers.iter_mut().for_each(|publisher| assert_ne!(publisher.flush(), Flushed::Gone));
        }
    }
    drop(publishers);
    for thread in threads {
        let (got, lost) = thread.join().expect("the items are in order");
        assert_eq!(got + lost, ITEMS);
    }
}

#[test]
fn a_sleeping_subscriber_is_woken_by_an_item_and_by_the_end() {
    let (mut publisher, subscription) = Subscription::new(4);
    let sleeper = thread::spawn(move || (subscription.recv(), subscription.recv()));
    publisher.push(light(0));
    while publisher.flush() == Flushed::Busy {}
    thread::yield_now();
    drop(publisher);
    let received = sleeper.join().expect("the sleeper does not panic");
    assert_eq!(received, (Ok(Received::Item(light(0))), Err(RequestError::Stopped)));
}

#[test]
fn each_item_is_received_by_exactly_one_of_the_threads_that_share_a_subscription() {
    let (mut publisher, subscription) = Subscription::<Weight>::new(65_536);
    let received: Vec<u64> = thread::scope(|scope| {
        let listen = || {
            let mut indices = Vec::new();
            while let Ok(received) = subscription.recv() {
                match received {
                    Received::Item(item) => indices.push(item.index),
                    Received::Lagged { count } => panic!("{count} items were lost although there is room for all"),
                }
            }
            indices
        };
        let listeners = [scope.spawn(listen), scope.spawn(listen), scope.spawn(listen)];
        for index in 0..1_000 {
            publisher.push(light(index));
            while publisher.flush() == Flushed::Busy {}
        }
        drop(publisher);
        listeners.into_iter().flat_map(|listener| listener.join().expect("no item is lost")).collect()
    });
    let mut sorted = received;
    sorted.sort_unstable();
    assert_eq!(sorted, (0..1_000).collect::<Vec<_>>());
}

#[test]
fn a_dropped_subscription_is_detected_at_the_next_flush() {
    let (mut publisher, subscription) = Subscription::<Weight>::new(4);
    assert_eq!(publisher.flush(), Flushed::All);
    publisher.push(light(0));
    drop(subscription);
    assert_eq!(publisher.flush(), Flushed::Gone);
}

#[test]
fn a_receive_with_timeout_returns_nothing_a_late_item_or_the_end() {
    let (mut publisher, subscription) = Subscription::new(4);
    assert_eq!(subscription.try_recv(), Ok(None));
    assert_eq!(subscription.recv_timeout(Duration::from_millis(1)), Ok(None));
    publisher.push(light(0));
    assert_eq!(
        subscription.recv_timeout(Duration::ZERO),
        Ok(None),
        "the receive before the flush did not return `None`"
    );
    let later = thread::spawn(move || {
        while publisher.flush() == Flushed::Busy {}
        publisher
    });
    assert_eq!(subscription.recv_timeout(Duration::from_secs(60)), Ok(Some(Received::Item(light(0)))));
    drop(later.join().expect("the thread does not panic"));
    assert_eq!(subscription.recv_timeout(Duration::from_secs(60)), Err(RequestError::Stopped));
    assert_eq!(subscription.try_recv(), Err(RequestError::Stopped));
}

#[test]
fn the_last_task_that_polled_is_woken_once_for_several_items_and_once_for_the_end() {
    let (mut publisher, mut subscription) = Subscription::new(4);
    let bells = [(); 2].map(|()| Bell::new());
    let mut poll = |bell: &Arc<Bell>| {
        let waker = Waker::from(Arc::clone(bell));
        subscription.poll_next(&mut Context::from_waker(&waker))
    };
    assert_eq!(bells.each_ref().map(&mut poll), [Poll::Pending; 2]);
    assert_eq!(Arc::strong_count(&bells[0]), 1, "the first task's waker was kept after the second task polled");
    publisher.push(light(0));
    assert_eq!([publisher.flush(), publisher.flush()], [Flushed::All; 2]);
    publisher.push(light(1));
    assert_eq!(publisher.flush(), Flushed::All);
    assert_eq!(bells.each_ref().map(|bell| bell.take_rings()), [0, 1]);
    let taken = [(); 3].map(|()| poll(&bells[0]));
    let items = [0, 1].map(|index| Poll::Ready(Some(Received::Item(light(index)))));
    assert_eq!(taken, [items[0], items[1], Poll::Pending]);
    drop(publisher);
    assert_eq!(bells.each_ref().map(|bell| bell.take_rings()), [1, 0]);
    assert_eq!([poll(&bells[0]), poll(&bells[0])], [Poll::Ready(None); 2]);
}

/// A task that receives items within the call that wakes it, as under an executor that polls tasks inside wakers.
struct Inline {
    subscription: Mutex<Subscription<Weight>>,
    received: Mutex<Vec<Option<Received<Weight>>>>,
}

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut subscription = self.subscription.lock().expect("no task panicked");
        while let Poll::Ready(next) = subscription.poll_next(&mut Context::from_waker(&waker)) {
            self.received.lock().expect("no task panicked").push(next);
            if next.is_none() {
                break;
            }
        }
    }
}

#[test]
fn a_task_may_receive_within_its_own_wake_up() {
    let (mut publisher, subscription) = Subscription::new(4);
    let task = Arc::new(Inline { subscription: Mutex::new(subscription), received: Mutex::default() });
    Waker::from(Arc::clone(&task)).wake();
    for index in 0..3 {
        publisher.push(light(index));
        assert_eq!(publisher.flush(), Flushed::All);
    }
    drop(publisher);
    let items = [0, 1, 2].map(|index| Some(Received::Item(light(index))));
    assert_eq!(*task.received.lock().expect("no task panicked"), [&items[..], &[None]].concat());
}

#[test]
fn a_task_that_gives_up_waiting_loses_no_item() {
    let (mut publisher, mut subscription) = Subscription::new(4);
    {
        let mut next = std::pin::pin!(subscription.next());
        assert_eq!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
        publisher.push(light(0));
        assert_eq!(publisher.flush(), Flushed::All);
    }
    assert_eq!(block_on(subscription.next()), Some(Received::Item(light(0))));
}
