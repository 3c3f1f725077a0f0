//! Listeners, dials and wakes, and the edges that they cause.

use crate::stage::{BLOCKED, LINK, READABLE, ROOM, Seen, on_every_kernel};
use peerloop::internals::id::LinkId;
use std::io::ErrorKind;

const OTHER: LinkId = LinkId::from_u64(1);
const THIRD: LinkId = LinkId::from_u64(2);

#[test]
fn a_connection_is_seen_by_both_hosts_and_accepted_once() {
    on_every_kernel(
        |stage| {
            let dialled = stage.dialler.connect(LINK, stage.address);
            let seen = [stage.dialler.edge(), stage.dialler.connected(LINK), stage.acceptor.edge()];
            let accepted = [stage.acceptor.accept(LINK), stage.acceptor.edge(), stage.acceptor.connected(LINK)];
            let after = [stage.acceptor.accept(OTHER), stage.acceptor.quiet(), stage.dialler.quiet()];
            [&[dialled][..], &seen, &accepted, &after].concat()
        },
        &[
            Seen::Done,
            ROOM,
            Seen::Moved(1),
            Seen::Arrival,
            Seen::Done,
            ROOM,
            Seen::Moved(1),
            BLOCKED,
            Seen::Quiet,
            Seen::Quiet,
        ],
    );
}

#[test]
fn a_listener_has_one_edge_for_each_arrival() {
    on_every_kernel(
        |stage| {
            stage.dialler.connect(LINK, stage.address);
            let first = [stage.acceptor.edge(), stage.acceptor.quiet()];
            stage.dialler.connect(OTHER, stage.address);
            let second = [stage.acceptor.edge(), stage.acceptor.quiet()];
            let accepted = [stage.acceptor.accept(LINK), stage.acceptor.accept(OTHER), stage.acceptor.accept(THIRD)];
            // The accepted sockets have edges of their own, which are skipped here.
            while stage.acceptor.quiet() == ROOM {}
            stage.dialler.connect(THIRD, stage.address);
            [&first[..], &second, &accepted, &[stage.acceptor.edge()]].concat()
        },
        &[Seen::Arrival, Seen::Quiet, Seen::Arrival, Seen::Quiet, Seen::Done, Seen::Done, BLOCKED, Seen::Arrival],
    );
}

#[test]
fn a_connection_in_the_backlog_is_established_and_may_send() {
    on_every_kernel(
        |stage| {
            let others = (1..20).map(LinkId::from_u64);
            stage.dialler.connect(LINK, stage.address);
            let mut seen = vec![stage.dialler.edge(), stage.dialler.write(b"early")];
            seen.extend(others.clone().map(|link| stage.dialler.connect_and_wait(link, stage.address)));
            while stage.acceptor.quiet() == Seen::Arrival {}
            seen.extend([stage.acceptor.accept(LINK), stage.acceptor.edge(), stage.acceptor.read(9)]);
            seen.extend(others.map(|link| stage.acceptor.accept(link)));
            seen.push(stage.acceptor.accept(OTHER));
            seen
        },
        &[
            &[ROOM, Seen::Moved(5)][..],
            &[Seen::Moved(1); 19],
            &[Seen::Done, READABLE, Seen::Moved(5)],
            &[Seen::Done; 19],
            &[BLOCKED],
        ]
        .concat(),
    );
}

#[test]
fn a_dial_to_a_closed_port_is_refused() {
    on_every_kernel(
        |stage| {
            stage.acceptor.close_listener();
            vec![stage.dialler.connect_and_wait(LINK, stage.address)]
        },
        &[Seen::Failed(ErrorKind::ConnectionRefused)],
    );
}

#[test]
fn closing_a_listener_resets_its_backlog() {
    on_every_kernel(
        |stage| {
            stage.dialler.connect(LINK, stage.address);
            let edge = stage.dialler.edge();
            stage.acceptor.close_listener();
            vec![edge, stage.dialler.edge_to_the_end(), stage.dialler.read(9), stage.dialler.read(9)]
        },
        &[ROOM, crate::stage::ENDED, Seen::Failed(ErrorKind::ConnectionReset), Seen::Moved(0)],
    );
}

#[test]
fn an_accepted_socket_that_is_dropped_is_closed() {
    on_every_kernel(
        |stage| {
            stage.dialler.connect(LINK, stage.address);
            let before = [stage.dialler.edge(), stage.acceptor.edge()];
            let dropped = stage.acceptor.accept_and_drop();
            [&before[..], &[dropped, stage.dialler.edge_to_the_end(), stage.dialler.read(9)]].concat()
        },
        &[ROOM, Seen::Arrival, Seen::Done, crate::stage::ENDED, Seen::Moved(0)],
    );
}

#[test]
fn two_wakes_cause_one_event_and_a_later_wake_another() {
    on_every_kernel(
        |stage| {
            stage.dialler.wake();
            stage.dialler.wake();
            let seen = vec![stage.dialler.edge(), stage.dialler.quiet()];
            stage.dialler.wake();
            [seen, vec![stage.dialler.edge()]].concat()
        },
        &[Seen::Woken, Seen::Quiet, Seen::Woken],
    );
}
