//! Random runs, compared with a model that stores all items ever pushed.
//!
//! When a subscriber receives `Lagged`, the items queued at that moment can no longer be lost. Of the later items, the
//! subscriber receives the longest tail that fits the bounds. The items between the queued items and this tail are
//! lost.

use crate::{Weight, light};
use peerloop::internals::limits::{MAX_SUBSCRIPTION_BYTES, MAX_SUBSCRIPTION_ITEMS};
use peerloop::internals::subscribe::{Flushed, Publisher};
use peerloop::{Received, Subscription};
use peerloop_testkit::task::{Bell, block_on};
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

#[derive(Clone, Copy, Debug)]
enum Step {
    Push { bytes: usize },
    Flush,
    Take,
    Poll,
}

#[derive(Default)]
struct Model {
    pushed: Vec<usize>,
    passed_on: usize,
    position: usize,
    /// The items before this index can no longer be lost, even if the subscriber has not received them yet.
    promised_to: usize,
    first_kept: usize,
}

impl Model {
    fn flush(&mut self, capacity: usize) {
        self.passed_on = self.pushed.len();
        let mut bytes = 0;
        let mut from = self.passed_on;
        while from > self.position.max(self.promised_to) && self.passed_on - from < capacity {
            bytes += self.pushed[from - 1];
            if bytes > MAX_SUBSCRIPTION_BYTES {
                break;
            }
            from -= 1;
        }
        self.first_kept = self.first_kept.max(from);
    }

    fn take(&mut self) -> Option<Received<Weight>> {
        if self.promised_to <= self.position && self.position < self.first_kept {
            let count = (self.first_kept - self.position) as u64;
            self.position = self.first_kept;
            self.promised_to = self.passed_on;
            return Some(Received::Lagged { count });
        }
        let index = self.position;
        (index < self.passed_on).then(|| {
            self.position += 1;
            Received::Item(Weight { index: index as u64, bytes: self.pushed[index] })
        })
    }
}

fn step() -> impl Strategy<Value = Step> {
    let share = prop::sample::select(vec![0, 1, 2, 3, 5]);
    let bytes = prop_oneof![
        4 => Just(0),
        4 => share.prop_map(|share| MAX_SUBSCRIPTION_BYTES / 4 * share),
        1 => Just(MAX_SUBSCRIPTION_BYTES),
        1 => Just(MAX_SUBSCRIPTION_BYTES + 1),
    ];
    prop_oneof![
        6 => bytes.prop_map(|bytes| Step::Push { bytes }),
        2 => Just(Step::Flush),
        3 => Just(Step::Take),
        2 => Just(Step::Poll),
    ]
}

proptest! {
    #[test]
    fn a_subscriber_gets_the_newest_items_in_order_and_the_number_of_lost_items(
        capacity in 1_usize..12,
        steps in vec(step(), 1..200),
    ) {
        let (mut publisher, subscription) = Subscription::new(capacity);
        let mut subscription = subscription;
        let mut model = Model::default();
        let bell = Bell::new();
        let waker = Waker::from(Arc::clone(&bell));
        let mut is_awaited = false;
        for step in steps {
            match step {
                Step::Push { bytes } => {
                    publisher.push(Weight { index: model.pushed.len() as u64, bytes });
                    model.pushed.push(bytes);
                }
                Step::Flush => {
                    let has_news = model.passed_on < model.pushed.len();
                    prop_assert_eq!(publisher.flush(), Flushed::All);
                    model.flush(capacity);
                    prop_assert_eq!(bell.take_rings(), usize::from(is_awaited && has_news));
                    is_awaited &= !has_news;
                }
                Step::Take => prop_assert_eq!(subscription.try_recv(), Ok(model.take())),
                Step::Poll => {
                    let polled = match subscription.poll_next(&mut Context::from_waker(&waker)) {
                        Poll::Ready(Some(received)) => Some(received),
                        Poll::Ready(None) => panic!("the subscription ended, although the publisher was not dropped"),
                        Poll::Pending => None,
                    };
                    is_awaited |= polled.is_none();
                    prop_assert_eq!(polled, model.take());
                }
            }
        }
        drop(publisher);
        model.flush(capacity);
        prop_assert_eq!(bell.take_rings(), usize::from(is_awaited));
        while let Some(item) = model.take() {
            prop_assert_eq!(subscription.recv(), Ok(item));
            let Some(item) = model.take() else { break };
            prop_assert_eq!(block_on(subscription.next()), Some(item));
        }
        prop_assert!(subscription.recv().is_err());
        prop_assert_eq!(block_on(subscription.next()), None);
    }
}

#[test]
fn a_subscriber_at_a_quarter_of_the_push_rate_gets_one_lag_report_per_full_queue() {
    for capacity in [1, 4, 50] {
        let (mut publisher, subscription) = Subscription::new(capacity);
        let (mut next, mut losses, mut items) = (0, 0, 0);
        for round in 0..1_000_u64 {
            (0..4).for_each(|part| publisher.push(light(4 * round + part)));
            assert_eq!(publisher.flush(), Flushed::All);
            match subscription.try_recv() {
                Ok(Some(Received::Lagged { count })) => (next, losses) = (next + count, losses + 1),
                Ok(Some(Received::Item(item))) => {
                    assert_eq!(item, light(next));
                    (next, items) = (next + 1, items + 1);
                }
                other => panic!("{other:?}"),
            }
        }
        let before_the_first_loss = capacity as u64 / 4;
        assert_eq!(losses, (1_000 - before_the_first_loss).div_ceil(capacity as u64 + 1), "{capacity}");
        assert_eq!(items, 1_000 - losses);
    }
}

#[test]
fn a_capacity_is_clamped_to_its_range() {
    let fill = |(mut publisher, subscription): (Publisher<Weight>, Subscription<Weight>)| {
        (0..=MAX_SUBSCRIPTION_ITEMS as u64).for_each(|index| publisher.push(light(index)));
        assert_eq!(publisher.flush(), Flushed::All);
        subscription.recv()
    };
    assert_eq!(fill(Subscription::new(0)), Ok(Received::Lagged { count: MAX_SUBSCRIPTION_ITEMS as u64 }));
    assert_eq!(fill(Subscription::new(usize::MAX)), Ok(Received::Lagged { count: 1 }));
}
