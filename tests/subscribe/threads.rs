//! The loop's end on one thread, listeners on others.

use crate::{Weight, light};
use peerloop::error::CommandError;
use peerloop::subscribe::{Flushed, Heard, Subscription};
use std::thread;
use std::time::Duration;

const ITEMS: u64 = 100_000;

/// Receives until the end; returns the numbers of items received and lost, and checks the order.
fn listen(subscription: Subscription<Weight>) -> (u64, u64) {
    let (mut got, mut lost) = (0, 0);
    for heard in subscription {
        match heard {
            Heard::Lost { count } => {
                assert!(count > 0, "a loss has at least one item");
                lost += count;
            }
            Heard::Item(item) => {
                assert_eq!(item.index, got + lost, "an item is in its position");
                got += 1;
            }
        }
    }
    (got, lost)
}

#[test]
fn listeners_of_any_speed_account_for_every_item() {
    let (mut outlets, threads): (Vec<_>, Vec<_>) = [1, 7, 1_000, 65_536]
        .into_iter()
        .map(|capacity| {
            let (outlet, subscription) = Subscription::new(capacity);
            (outlet, thread::spawn(move || listen(subscription)))
        })
        .unzip();
    for index in 0..ITEMS {
        outlets.iter_mut().for_each(|outlet| outlet.push(light(index)));
        if index % 13 == 0 {
            // A busy listener gets the item with the next one.
            outlets.iter_mut().for_each(|outlet| assert_ne!(outlet.flush(), Flushed::Gone));
        }
    }
    drop(outlets);
    for thread in threads {
        let (got, lost) = thread.join().expect("the order is right");
        assert_eq!(got + lost, ITEMS);
    }
}

#[test]
fn sleepers_are_woken_by_an_item_and_by_the_end() {
    let (mut outlet, subscription) = Subscription::new(4);
    let sleeper = thread::spawn(move || (subscription.recv(), subscription.recv()));
    outlet.push(light(0));
    while outlet.flush() == Flushed::Busy {}
    thread::yield_now();
    drop(outlet);
    let heard = sleeper.join().expect("the sleeper is woken twice");
    assert_eq!(heard, (Ok(Heard::Item(light(0))), Err(CommandError::Stopped)));
}

#[test]
fn listeners_that_share_a_subscription_get_each_item_once() {
    let (mut outlet, subscription) = Subscription::<Weight>::new(65_536);
    let heard: Vec<u64> = thread::scope(|scope| {
        let listen = || {
            let mut indices = Vec::new();
            while let Ok(heard) = subscription.recv() {
                match heard {
                    Heard::Item(item) => indices.push(item.index),
                    Heard::Lost { count } => panic!("{count} items were lost of fewer than there is room for"),
                }
            }
            indices
        };
        let listeners = [scope.spawn(listen), scope.spawn(listen), scope.spawn(listen)];
        for index in 0..1_000 {
            outlet.push(light(index));
            while outlet.flush() == Flushed::Busy {}
        }
        drop(outlet);
        listeners.into_iter().flat_map(|listener| listener.join().expect("nothing is lost")).collect()
    });
    let mut sorted = heard;
    sorted.sort_unstable();
    assert_eq!(sorted, (0..1_000).collect::<Vec<_>>());
}

#[test]
fn a_dropped_subscription_is_detected_at_the_next_flush() {
    let (mut outlet, subscription) = Subscription::<Weight>::new(4);
    assert_eq!(outlet.flush(), Flushed::All);
    outlet.push(light(0));
    drop(subscription);
    assert_eq!(outlet.flush(), Flushed::Gone);
}

#[test]
fn a_receive_with_timeout_returns_nothing_a_late_item_or_the_end() {
    let (mut outlet, subscription) = Subscription::new(4);
    assert_eq!(subscription.try_recv(), Ok(None));
    assert_eq!(subscription.recv_timeout(Duration::from_millis(1)), Ok(None));
    outlet.push(light(0));
    assert_eq!(subscription.recv_timeout(Duration::ZERO), Ok(None), "the item is not flushed yet");
    let later = thread::spawn(move || {
        while outlet.flush() == Flushed::Busy {}
        outlet
    });
    assert_eq!(subscription.recv_timeout(Duration::from_secs(60)), Ok(Some(Heard::Item(light(0)))));
    drop(later.join().expect("it does not panic"));
    assert_eq!(subscription.recv_timeout(Duration::from_secs(60)), Err(CommandError::Stopped));
    assert_eq!(subscription.try_recv(), Err(CommandError::Stopped));
}
