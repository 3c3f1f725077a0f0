//! A loop without free descriptors pauses accepting and counts the pause, and serves its peers in the meantime. It
//! accepts again by itself once descriptors are free. A dial without a descriptor fails as a local shortage.

use crate::probe::{BareSocket, Node, Seen, in_a_child, until};
use peerloop::error::{CloseReason, Shortage, Side};
use peerloop::peer::ConnectionState;
use peerloop::time::Wait;
use std::fs::File;
use std::os::fd::OwnedFd;

const LIMIT: u64 = 128;
const WAITING: usize = 20;
const SPARE: usize = 5;

/// Opens files until no descriptor is free.
fn hoard() -> Vec<OwnedFd> {
    let any = || File::open(std::env::current_exe().expect("the program has a path")).map(OwnedFd::from);
    std::iter::from_fn(|| any().ok()).collect()
}

fn lower_the_limit() {
    rlimit::setrlimit(rlimit::Resource::NOFILE, LIMIT, LIMIT).expect("a limit may be lowered");
}

#[test]
fn fault_e01_waiting_connections_are_accepted_once_descriptors_are_free_again() {
    let ended =
        in_a_child("descriptors::fault_e01_waiting_connections_are_accepted_once_descriptors_are_free_again", || {
            lower_the_limit();
            let mut node = Node::new();
            node.turn();
            let sockets: Vec<BareSocket> = (0..WAITING).map(|_| BareSocket::connect(node.address)).collect();
            let mut hoard = hoard();
            hoard.truncate(hoard.len() - SPARE);
            until([&mut node], "descriptors run out", |[node]| node.reactor.stats().counters.accept_pauses > 0);
            assert_eq!(node.reactor.stats().counters.accepted, SPARE as u64);
            assert!(matches!(node.reactor.next_deadline(), Wait::Until(_)), "the loop schedules no retry");
            until([&mut node], "the loop has tried again", |[node]| node.reactor.stats().counters.accept_pauses >= 3);
            drop(hoard);
            // No further peer connects, so the kernel reports nothing that would wake the loop.
            let is_opened = |seen: &Seen| *seen == Seen::Opened;
            until([&mut node], "all are accepted", |[node]| node.count(is_opened) == WAITING);
            assert_eq!(node.reactor.stats().links, WAITING, "a connection was lost");
            drop(sockets);
        });
    assert!(ended.success(), "{ended}");
}

#[test]
fn connected_peers_are_served_while_no_descriptor_is_free() {
    let ended = in_a_child("descriptors::connected_peers_are_served_while_no_descriptor_is_free", || {
        lower_the_limit();
        let mut node = Node::new();
        let (mut socket, _) = BareSocket::ready(&mut node);
        let _waits = BareSocket::connect(node.address);
        let _hoard = hoard();
        until([&mut node], "descriptors run out", |[node]| node.reactor.stats().counters.accept_pauses > 0);
        socket.write(&crate::probe::ping(3));
        until([&mut node], "the ping is answered", |[node]| node.reactor.stats().counters.pings_answered == 1);
    });
    assert!(ended.success(), "{ended}");
}

#[test]
fn fault_e02_a_dial_without_a_descriptor_fails_as_a_local_shortage() {
    let ended = in_a_child("descriptors::fault_e02_a_dial_without_a_descriptor_fails_as_a_local_shortage", || {
        lower_the_limit();
        let (mut node, two) = (Node::new(), Node::new());
        let hoard = hoard();
        let peer = node.dial(two.address);
        until([&mut node], "the dial has failed", |[node]| node.end_of(peer).is_some());
        match node.end_of(peer) {
            Some((reason @ CloseReason::Network(failure), ConnectionState::Connecting)) => {
                assert_eq!((failure.shortage(), reason.side()), (Some(Shortage::Descriptors), Side::Local));
            }
            other => panic!("the connection closed with {other:?}"),
        }
        assert_eq!(node.seen_of(peer).len(), 1, "the failed dial produced other events");
        drop(hoard);
        let peer = node.dial(two.address);
        until([&mut node], "the next dial succeeds", |[node]| node.seen_of(peer) == [Seen::Opened]);
    });
    assert!(ended.success(), "{ended}");
}
