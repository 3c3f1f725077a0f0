//! The handle: requests to a loop from its own thread and from others, also while the loop stops or after it has
//! ended.

use crate::probe::{ANY_PORT, Node, PATIENCE, Probe, Seen, Task, pattern, regtest};
use bytes::Bytes;
use peerloop::api::{Pending, Request};
use peerloop::config::{Field, UpdateError};
use peerloop::error::{CloseReason, Disconnect, RequestError};
use peerloop::handle::SendError;
use peerloop::internals::limits::MAX_HANDLE_QUEUE;
use peerloop::protocol::CommandName;
use peerloop::wire::MessageRef;
use peerloop::{Ctx, Handle, Network, Reactor};
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Runs a node on its own thread, and returns the node's address, its handle and the thread. The thread returns the
/// node's handler when the loop has ended.
fn spawn() -> (SocketAddr, Handle<Task>, JoinHandle<Probe>) {
    let (sender, receiver) = channel();
    let thread = thread::spawn(move || {
        let mut reactor = Reactor::new(regtest(), Probe::default()).expect("the kernel provides a poller");
        let address = reactor.listen(ANY_PORT).expect("a loopback port is free");
        sender.send((address, reactor.handle())).expect("the test waits for the address");
        reactor.run().expect("the poller works");
        reactor.into_handler()
    });
    let (address, handle) = receiver.recv().expect("the node starts");
    (address, handle, thread)
}

fn ask<T: Send + 'static>(handle: &Handle<Task>, act: impl FnOnce(&mut Ctx<'_>) -> T + Send + 'static) -> T {
    let (reply, pending) = Pending::new();
    handle.request(Task::new(move |ctx| reply.send(act(ctx)))).expect("the queue has room");
    pending.wait().expect("the loop has not ended")
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "timed out before {what}");
        thread::yield_now();
    }
}

#[test]
fn two_sleeping_loops_are_controlled_from_a_third_thread() {
    let (_, one, one_thread) = spawn();
    let (address, two, two_thread) = spawn();
    let there = one
        .connect(address, None)
        .expect("the queue has room")
        .wait()
        .expect("the loop runs")
        .expect("the table has room");
    wait_for("both are ready", || [&one, &two].iter().all(|handle| ask(handle, |ctx| ctx.ready_count()) == 1));

    for command in ["inv", "addr"].map(CommandName::new) {
        let frame = ask(&one, move |ctx| ctx.encode(&MessageRef::Opaque { command, payload: &pattern(73) }));
        one.send(there, frame).expect("the queue has room");
    }
    let stats = |handle: &Handle<Task>| handle.stats().expect("the queue has room").wait().expect("the loop runs");
    wait_for("the second message is discarded", || stats(&two).counters.discarded == 1);
    assert_eq!((stats(&one).links, stats(&one).ready, stats(&one).counters.dialled), (1, 1, 1));

    one.close(there).expect("the queue has room");
    wait_for("both are closed", || stats(&one).links + stats(&two).links == 0);
    one.stop().expect("the queue has room");
    two.stop().expect("the queue has room");
    let (one_probe, two_probe) =
        (one_thread.join().expect("the thread ends"), two_thread.join().expect("the thread ends"));
    assert!(matches!(one_probe.seen[2].1, Seen::Closed(CloseReason::Requested(Disconnect::Done), _)));
    assert_eq!(two_probe.seen[2].1, Seen::Message(CommandName::new("inv"), pattern(73).into()));
    assert!(matches!(two_probe.seen[3].1, Seen::Closed(CloseReason::ClosedByPeer, _)));
    assert!(matches!(one.stop(), Err(SendError::Stopped(Request::Stop { .. }))));
    assert!(matches!(one.stats(), Err(SendError::Stopped(Request::Stats { .. }))));
}

#[test]
fn req_e45_a_sleeping_loop_checks_applies_or_refuses_a_configuration_from_another_thread() {
    let (_, handle, thread) = spawn();
    let (old, new) = (regtest(), regtest().with_ping_interval(Duration::from_secs(7)));
    let interval = |handle: &Handle<Task>| ask(handle, |ctx| ctx.config().ping_interval);
    let tried = handle.check_config(new.clone()).expect("the queue has room").wait().expect("the loop runs");
    assert_eq!(interval(&handle), old.ping_interval);
    let done = handle.update_config(new).expect("the queue has room").wait().expect("the loop runs");
    assert_eq!((interval(&handle), tried.map(|changes| changes.len())), (Duration::from_secs(7), Ok(1)));
    assert_eq!(done.map(|changes| changes[0].field), Ok(Field::PingInterval));
    let other = old.with_network(Network::Mainnet);
    let refused = handle.update_config(other).expect("the queue has room").wait().expect("the loop runs");
    assert_eq!(refused, Err(UpdateError::Fixed { fields: vec![Field::Network] }));
    let in_force = handle.config().expect("the queue has room").wait().expect("the loop runs");
    assert_eq!(in_force, regtest().with_ping_interval(Duration::from_secs(7)));
    handle.stop().expect("the queue has room");
    thread.join().expect("the thread ends");
}

#[test]
fn req_e36_a_full_queue_returns_the_request() {
    let ([mut one, mut two], [there, _]) = Node::pair();
    let handle = one.reactor.handle();
    for _ in 0..MAX_HANDLE_QUEUE {
        handle.close(there).expect("the queue has room");
    }
    let frame = Bytes::from_static(b"mine");
    match handle.send(there, frame.clone()) {
        Err(SendError::Full(Request::Send { peer, frame: back })) => assert_eq!((peer, back), (there, frame)),
        other => panic!("the request to a full queue returned {other:?}"),
    }
    one.turn();
    handle.send(there, Bytes::from_static(b"mine")).expect("one turn empties the queue");
    crate::probe::until([&mut one, &mut two], "the connection is closed", |[one, _]| one.end_of(there).is_some());
}

#[test]
fn req_e36_requests_from_many_threads_are_all_handled() {
    const THREADS: usize = 8;
    const EACH: usize = 2_000;
    let (_, handle, thread) = spawn();
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (handle, sender) = (handle.clone(), sender.clone());
            scope.spawn(move || {
                for _ in 0..EACH {
                    let sender = sender.clone();
                    let mut command =
                        Request::Handler(Task::new(move |_| sender.send(()).expect("the receiver exists")));
                    while let Err(refused) = handle.try_send(command) {
                        command = match refused {
                            SendError::Full(command) => command,
                            other => panic!("the loop refused the request: {other}"),
                        };
                        thread::yield_now();
                    }
                }
            });
        }
    });
    drop(sender);
    handle.stop().expect("the queue has room");
    thread.join().expect("the thread ends");
    assert_eq!(receiver.iter().count(), THREADS * EACH);
}

#[test]
fn a_pending_request_fails_when_the_loop_is_dropped() {
    let node = Node::new();
    let handle = node.reactor.handle();
    let pending = handle.stats().expect("the queue has room");
    drop(node);
    assert_eq!(pending.wait().map(|_| ()), Err(RequestError::Stopped));
    assert!(matches!(handle.stop(), Err(SendError::Stopped(Request::Stop { .. }))));
}

#[test]
fn a_loop_that_has_ended_but_is_kept_accepts_no_more_requests() {
    let mut node = Node::new();
    let handle = node.reactor.handle();
    handle.stop().expect("the queue has room");
    let earlier = handle.stats().expect("the queue has room");
    while node.turn() {}
    assert!(matches!(handle.stats(), Err(SendError::Stopped(Request::Stats { .. }))));
    assert!(earlier.wait().is_ok(), "a request sent before the loop stopped was not answered");
}

#[test]
fn every_stop_is_answered_when_the_last_peer_is_closed() {
    let ([mut one, mut two], [there, _]) = Node::pair();
    let handle = one.reactor.handle();
    let dropped = (0..MAX_HANDLE_QUEUE - 2).map(|_| drop(handle.stop().expect("the queue has room"))).count();
    assert_eq!(dropped, MAX_HANDLE_QUEUE - 2);
    let mut stops = vec![handle.stop().expect("the queue has room"), handle.stop().expect("the queue has room")];
    while one.turn() {
        two.turn();
        assert!(
            stops.iter().all(|stop| stop.try_take() == Ok(None)),
            "a stop was answered or refused before the loop ended"
        );
        match handle.stop() {
            Ok(stop) => stops.push(stop),
            Err(refused) => assert!(matches!(refused, SendError::Full(_)), "{refused}"),
        }
    }
    assert!(one.end_of(there).is_some());
    assert_eq!(one.reactor.stats().links, 0);
    assert!(stops.len() > 2);
    for stop in stops {
        assert_eq!(stop.wait(), Ok(()));
    }
    assert!(matches!(handle.stop(), Err(SendError::Stopped(Request::Stop { .. }))));
}

#[test]
fn a_stop_request_is_answered_or_refused_after_the_handler_has_stopped_the_loop() {
    let mut node = Node::new();
    let handle = node.reactor.handle();
    node.act(|ctx| ctx.stop());
    if let Ok(stop) = handle.stop() {
        while node.turn() {}
        assert_eq!(stop.wait(), Ok(()));
    }
    assert!(matches!(handle.stop(), Err(SendError::Stopped(_))));
}

#[test]
fn pending_stop_requests_fail_when_the_loop_is_dropped() {
    let ([mut one, _two], _) = Node::pair();
    let handle = one.reactor.handle();
    let (taken, waiting) = (handle.stop().expect("the queue has room"), one.turn());
    assert!(waiting, "the loop ended although it had a peer to close");
    let queued = handle.stop().expect("the queue has room");
    drop(one);
    assert_eq!([taken.wait(), queued.wait()], [Err(RequestError::Stopped); 2]);
}

#[test]
fn the_reply_to_a_stop_request_arrives_only_when_the_loop_has_ended() {
    let (_, handle, thread) = spawn();
    let mut stop = handle.stop().expect("the queue has room");
    assert_eq!(stop.wait_timeout(PATIENCE), Ok(Some(())));
    assert!(
        matches!(handle.stats(), Err(SendError::Stopped(_))),
        "a request sent after the loop stopped was not refused"
    );
    thread.join().expect("the loop's thread ends");
}
