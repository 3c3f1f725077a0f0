//! Replies: checked against a model, with threads on both sides, and with wakers that poll during the wake-up.

use peerloop::api::{Pending, Reply};
use peerloop::error::RequestError;
use peerloop_testkit::task::{Bell, block_on};
use proptest::collection::vec;
use proptest::prelude::*;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

const REPLY: u32 = 7;

#[derive(Clone, Copy, Debug)]
enum Step {
    PollWith(usize),
    TryTake,
    WaitBriefly,
    Send,
    DropReply,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..3).prop_map(Step::PollWith),
        2 => Just(Step::TryTake),
        1 => Just(Step::WaitBriefly),
        1 => Just(Step::Send),
        1 => Just(Step::DropReply),
    ]
}

/// The results that the waiting side must get.
#[derive(Default)]
struct Model {
    /// Whether the reply was sent or dropped unsent.
    is_decided: bool,
    reply: Option<u32>,
    /// The index of the bell that rings when the reply is sent or dropped; `None` if no task waits.
    waiting: Option<usize>,
}

impl Model {
    fn take(&mut self) -> Result<Option<u32>, RequestError> {
        match self.is_decided {
            true => self.reply.take().map(Some).ok_or(RequestError::Stopped),
            false => Ok(None),
        }
    }

    fn decide(&mut self, reply: Option<u32>) -> Option<usize> {
        (self.is_decided, self.reply) = (true, reply);
        self.waiting.take()
    }
}

fn poll(pending: &mut Pending<u32>, bell: &Arc<Bell>) -> Result<Option<u32>, RequestError> {
    let waker = Waker::from(Arc::clone(bell));
    match Pin::new(pending).poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(reply) => reply.map(Some),
        Poll::Pending => Ok(None),
    }
}

proptest! {
    #[test]
    fn a_reply_arrives_once_and_wakes_the_last_task_that_polled(steps in vec(step(), 0..20)) {
        let (reply, mut pending) = Pending::new();
        let mut reply = Some(reply);
        let mut model = Model::default();
        let bells = [(); 3].map(|()| Bell::new());
        for step in steps {
            let mut rung = None;
            match step {
                Step::PollWith(bell) => {
                    let taken = model.take();
                    if taken == Ok(None) {
                        model.waiting = Some(bell);
                    }
                    prop_assert_eq!(poll(&mut pending, &bells[bell]), taken);
                }
                Step::TryTake => prop_assert_eq!(pending.try_take(), model.take()),
                Step::WaitBriefly => {
                    let taken = model.take();
                    if taken == Ok(None) {
                        model.waiting = None;
                    }
                    prop_assert_eq!(pending.wait_timeout(Duration::ZERO), taken);
                }
                Step::Send => if let Some(reply) = reply.take() {
                    rung = model.decide(Some(REPLY));
                    reply.send(REPLY);
                },
                Step::DropReply => if reply.take().is_some() {
                    rung = model.decide(None);
                },
            }
            for (index, bell) in bells.iter().enumerate() {
                prop_assert_eq!(bell.take_rings(), usize::from(rung == Some(index)), "bell {}", index);
                let held = 1 + usize::from(model.waiting == Some(index));
                prop_assert_eq!(Arc::strong_count(bell), held, "an earlier waker was kept, or the last one was not");
            }
        }
        drop(pending);
        drop(reply);
        for bell in &bells {
            prop_assert_eq!((bell.take_rings(), Arc::strong_count(bell)), (0, 1), "a bell rang or a waker was kept");
        }
    }
}

#[test]
fn a_reply_without_a_reader_is_dropped() {
    let (reply, pending) = Pending::new();
    assert!(reply.is_awaited());
    drop(pending);
    assert!(!reply.is_awaited());
    let content = Arc::new(());
    reply.send(Arc::clone(&content));
    assert_eq!(Arc::strong_count(&content), 1);
}

#[test]
fn an_unread_reply_is_dropped_with_its_pending() {
    let (reply, pending) = Pending::new();
    let content = Arc::new(());
    reply.send(Arc::clone(&content));
    assert_eq!(Arc::strong_count(&content), 2);
    drop(pending);
    assert_eq!(Arc::strong_count(&content), 1);
}

#[test]
fn waiting_with_a_timeout_returns_nothing_a_reply_or_an_error() {
    let (reply, mut pending) = Pending::new();
    assert_eq!(pending.wait_timeout(Duration::from_millis(1)), Ok(None));
    let later = thread::spawn(move || reply.send(REPLY));
    assert_eq!(pending.wait_timeout(Duration::MAX), Ok(Some(REPLY)));
    assert_eq!(
        pending.wait_timeout(Duration::from_secs(60)),
        Err(RequestError::Stopped),
        "waiting again after the reply did not fail with `Stopped`"
    );
    later.join().expect("the thread does not panic");
    let (reply, mut pending) = Pending::<u32>::new();
    let later = thread::spawn(move || drop(reply));
    assert_eq!(pending.wait_timeout(Duration::from_secs(60)), Err(RequestError::Stopped));
    later.join().expect("the thread does not panic");
}

/// A task that polls within the call that wakes it. Some executors do so.
struct Inline {
    pending: Mutex<Pending<u32>>,
    taken: Mutex<Option<Result<u32, RequestError>>>,
}

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut pending = self.pending.lock().expect("no task panicked");
        if let Poll::Ready(reply) = Pin::new(&mut *pending).poll(&mut Context::from_waker(&waker)) {
            *self.taken.lock().expect("no task panicked") = Some(reply);
        }
    }
}

#[test]
fn a_task_may_be_polled_within_its_own_wake_up() {
    let (reply, pending) = Pending::new();
    let task = Arc::new(Inline { pending: Mutex::new(pending), taken: Mutex::new(None) });
    Waker::from(Arc::clone(&task)).wake();
    assert_eq!(*task.taken.lock().expect("no task panicked"), None);
    reply.send(REPLY);
    assert_eq!(*task.taken.lock().expect("no task panicked"), Some(Ok(REPLY)));
}

/// Waits for the reply in one of four ways, chosen by `round`.
fn wait(pending: Pending<usize>, round: usize) -> Result<usize, RequestError> {
    match round % 4 {
        0 => pending.wait(),
        1 => block_on(pending),
        2 => {
            let mut pending = pending;
            loop {
                match pending.wait_timeout(Duration::from_micros(round as u64 % 50)) {
                    Ok(None) => {}
                    Ok(Some(reply)) => return Ok(reply),
                    Err(error) => return Err(error),
                }
            }
        }
        _ => {
            // One task gives up waiting, and another continues.
            let mut pending = pending;
            let first = Pin::new(&mut pending).poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(reply) = first { reply } else { block_on(pending) }
        }
    }
}

#[test]
fn every_waiting_thread_and_task_gets_its_reply_or_an_error_if_the_reply_is_dropped() {
    const ROUNDS: usize = 40_000;
    let (sender, receiver) = sync_channel::<(Reply<usize>, usize)>(4);
    let served = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for (reply, round) in receiver {
                (0..round % 30).for_each(|_| std::hint::spin_loop());
                if round % 7 == 0 {
                    drop(reply)
                } else {
                    reply.send(round)
                }
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
        for round in 0..ROUNDS {
            let (reply, pending) = Pending::new();
            sender.send((reply, round)).expect("the other thread receives every reply");
            if round % 11 != 0 {
                let expected = if round % 7 == 0 { Err(RequestError::Stopped) } else { Ok(round) };
                assert_eq!(wait(pending, round), expected);
            }
        }
        drop(sender);
    });
    assert_eq!(served.into_inner(), ROUNDS);
}
