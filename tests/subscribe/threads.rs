//! The loop's end on one thread, listeners on others.

use crate::{Weight, light};
use peerloop::error::RequestError;
use peerloop::subscribe::{Flushed, Received, Subscription};
use std::thread;
use std::time::Duration;

const ITEMS: u64 = 100_000;

/// Receives until the end; returns the numbers of items received and lost, and checks the order.
fn listen(subscription: Subscription<Weight>) -> (u64, u64) {
    let (mut got, mut lost) = (0, 0);
    for received in subscription {
        match received {
            Received::Lagged { count } => {
                assert!(count > 0, "a loss has at least one item");
                lost += count;
            }
            Received::Item(item) => {
                assert_eq!(item.index, got + lost, "an item is in its position");
                got += 1;
            }
        }
    }
    (got, lost)
}

#[test]
fn listeners_of_any_speed_account_for_every_item() {
    let (mut publishers, threads): (Vec<_>, Vec<_>) = [1, 7, 1_000, 65_536]
        .into_iter()
        .map(|capacity| {
            let (publisher, subscription) = Subscription::new(capacity);
            (publisher, thread::spawn(move || listen(subscription)))
        })
        .unzip();
    for index in 0..ITEMS {
        publishers.iter_mut().for_each(|publisher| publisher.push(light(index)));
        if index % 13 == 0 {
            // A busy listener gets the item with the next one.
            publishers.iter_mut().for_each(|publisher| assert_ne!(publisher.flush(), Flushed::Gone));
        }
    }
    drop(publishers);
    for thread in threads {
        let (got, lost) = thread.join().expect("the order is right");
        assert_eq!(got + lost, ITEMS);
    }
}

#[test]
fn sleepers_are_woken_by_an_item_and_by_the_end() {
    let (mut publisher, subscription) = Subscription::new(4);
    let sleeper = thread::spawn(move || (subscription.recv(), subscription.recv()));
    publisher.push(light(0));
    while publisher.flush() == Flushed::Busy {}
    thread::yield_now();
    drop(publisher);
    let received = sleeper.join().expect("the sleeper is woken twice");
    assert_eq!(received, (Ok(Received::Item(light(0))), Err(RequestError::Stopped)));
}

#[test]
fn listeners_that_share_a_subscription_get_each_item_once() {
    let (mut publisher, subscription) = Subscription::<Weight>::new(65_536);
    let received: Vec<u64> = thread::scope(|scope| {
        let listen = || {
            let mut indices = Vec::new();
            while let Ok(received) = subscription.recv() {
                match received {
                    Received::Item(item) => indices.push(item.index),
                    Received::Lagged { count } => panic!("{count} items were lost of fewer than there is room for"),
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
        listeners.into_iter().flat_map(|listener| listener.join().expect("nothing is lost")).collect()
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
    assert_eq!(subscription.recv_timeout(Duration::ZERO), Ok(None), "the item is not flushed yet");
    let later = thread::spawn(move || {
        while publisher.flush() == Flushed::Busy {}
        publisher
    });
    assert_eq!(subscription.recv_timeout(Duration::from_secs(60)), Ok(Some(Received::Item(light(0)))));
    drop(later.join().expect("it does not panic"));
    assert_eq!(subscription.recv_timeout(Duration::from_secs(60)), Err(RequestError::Stopped));
    assert_eq!(subscription.try_recv(), Err(RequestError::Stopped));
}
