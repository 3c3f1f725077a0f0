//! Thousands of connects at once: each connection is served or refused in bounded time.

use crate::client::Client;
use crate::node::{Node, raise_descriptors};
use peerloop::protocol::CommandName;
use std::io::ErrorKind;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

const THREADS: usize = 8;

/// The outcome of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ready,
    /// Closed or reset, with a `reject` or without.
    Refused,
    /// For a minute, neither a byte nor the end of the stream arrived.
    Lost,
}

/// Opens all connections at once, and keeps them open until every outcome is known. Returns the number of connections
/// with each outcome, and the longest time that a thread needed to start opening its share.
fn rush(node: &Node, connects: usize) -> ([usize; 3], Duration) {
    let (address, barrier) = (node.address, Barrier::new(THREADS));
    let run = || {
        barrier.wait();
        let began = Instant::now();
        let mut clients: Vec<Client> = (0..connects / THREADS).map(|_| Client::begin(address)).collect();
        let took = began.elapsed();
        let greeted: Vec<bool> = clients.iter_mut().map(Client::try_greet).collect();
        let outcomes = clients.iter_mut().zip(greeted).map(|(client, greeted)| outcome(client, greeted)).collect();
        // All connections stay open until here, so that no connection is served only because another one has closed.
        barrier.wait();
        (outcomes, took)
    };
    let results: Vec<(Vec<Outcome>, Duration)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no client panics")).collect()
    });
    let count = |wanted| results.iter().flat_map(|(outcomes, _)| outcomes).filter(|&&found| found == wanted).count();
    let took = results.iter().map(|(_, took)| *took).max().expect("at least one thread ran");
    ([Outcome::Ready, Outcome::Refused, Outcome::Lost].map(count), took)
}

fn outcome(client: &mut Client, greeted: bool) -> Outcome {
    if !greeted {
        return Outcome::Refused;
    }
    loop {
        match client.read_frame() {
            Ok((CommandName::SENDHEADERS, _)) => return Outcome::Ready,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Outcome::Lost,
            Err(_) => return Outcome::Refused,
        }
    }
}

#[test]
fn thousands_of_connects_at_once_are_all_served() {
    let test = "rush::thousands_of_connects_at_once_are_all_served";
    let mut node = Node::start(test, |config| {
        raise_descriptors();
        // The clients share the CPU with the node and greet one after another, so the last clients greet late.
        config.handshake_timeout = Duration::from_secs(60);
    });
    let connects = (raise_descriptors() as usize / 2).min(10_000) / THREADS * THREADS;
    let ([ready, refused, lost], took) = rush(&node, connects);
    println!("{connects} connects within {took:?}: {ready} ready, {refused} refused, {lost} lost");
    assert_eq!([ready, refused, lost], [connects, 0, 0]);
    let account = node.until("all connections are closed", |account| account.of("links") == 0);
    assert_eq!((account.of("accepted"), account.of("handshakes")), (connects as u64, connects as u64));
}

#[test]
fn connections_above_the_maximum_are_refused() {
    const MAX: usize = 500;
    const CONNECTS: usize = 2_000;
    let test = "rush::connections_above_the_maximum_are_refused";
    let mut node = Node::start(test, |config| {
        raise_descriptors();
        config.max_inbound = MAX;
        config.handshake_timeout = Duration::from_secs(60);
    });
    raise_descriptors();
    let ([ready, refused, lost], took) = rush(&node, CONNECTS);
    println!("{CONNECTS} connects within {took:?}: {ready} ready, {refused} refused, {lost} lost");
    assert_eq!([ready, refused, lost], [MAX, CONNECTS - MAX, 0]);
    let account = node.until("all connections are closed", |account| account.of("links") == 0);
    assert_eq!(account.of("accepted") + account.of("refused"), CONNECTS as u64, "{account:?}");
}
