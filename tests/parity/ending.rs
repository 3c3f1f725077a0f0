//! Closed connections: an orderly close, a close of one direction, a close with unread data, and writes to a closed
//! peer.

use crate::stage::{BLOCKED, ENDED, LINK, READABLE, ROOM, Seen, on_every_kernel};
use std::io::ErrorKind;

#[test]
fn data_and_close_are_read_after_one_edge() {
    on_every_kernel(
        |stage| {
            stage.establish();
            stage.dialler.write(&[1; 10]);
            stage.dialler.shut_down_writing();
            vec![
                stage.acceptor.edge_to_the_end(),
                stage.acceptor.read(100),
                stage.acceptor.quiet(),
                stage.acceptor.read(100),
                stage.acceptor.read(100),
            ]
        },
        &[ENDED, Seen::Moved(10), Seen::Quiet, Seen::Moved(0), Seen::Moved(0)],
    );
}

#[test]
fn data_and_close_before_the_registration_are_reported_by_one_edge() {
    on_every_kernel(
        |stage| {
            stage.dialler.connect(LINK, stage.address);
            let before = [stage.dialler.edge(), stage.acceptor.edge()];
            stage.dialler.write(&[1; 10]);
            stage.dialler.shut_down_writing();
            let accepted = [stage.acceptor.accept(LINK), stage.acceptor.edge_to_the_end()];
            [&before[..], &accepted, &[stage.acceptor.read(100), stage.acceptor.read(100)]].concat()
        },
        &[ROOM, Seen::Arrival, Seen::Done, ENDED, Seen::Moved(10), Seen::Moved(0)],
    );
}

#[test]
fn a_close_after_reported_data_has_its_own_edge() {
    on_every_kernel(
        |stage| {
            stage.establish();
            stage.dialler.write(&[1; 10]);
            let edge = stage.acceptor.edge();
            stage.dialler.shut_down_writing();
            vec![edge, stage.acceptor.read(100), stage.acceptor.edge(), stage.acceptor.read(100)]
        },
        &[READABLE, Seen::Moved(10), ENDED, Seen::Moved(0)],
    );
}

#[test]
fn a_close_after_everything_was_read_has_an_edge() {
    on_every_kernel(
        |stage| {
            stage.establish();
            stage.dialler.write(&[1; 10]);
            let seen = [stage.acceptor.edge(), stage.acceptor.read(100)];
            stage.dialler.shut_down_writing();
            [&seen[..], &[stage.acceptor.edge(), stage.acceptor.read(100), stage.acceptor.quiet()]].concat()
        },
        &[READABLE, Seen::Moved(10), ENDED, Seen::Moved(0), Seen::Quiet],
    );
}

#[test]
fn a_host_that_closed_one_direction_still_receives_in_the_other() {
    on_every_kernel(
        |stage| {
            stage.establish();
            stage.dialler.shut_down_writing();
            let refused = stage.dialler.write(b"!");
            let ended = [stage.acceptor.edge(), stage.acceptor.read(9)];
            let answered = [stage.acceptor.write(b"answer"), stage.dialler.edge(), stage.dialler.read(99)];
            stage.acceptor.close();
            let over = [stage.dialler.edge_to_the_end(), stage.dialler.read(9)];
            [&[refused][..], &ended, &answered, &over].concat()
        },
        &[
            Seen::Failed(ErrorKind::BrokenPipe),
            ENDED,
            Seen::Moved(0),
            Seen::Moved(6),
            READABLE,
            Seen::Moved(6),
            ENDED,
            Seen::Moved(0),
        ],
    );
}

#[test]
fn a_close_with_unread_data_resets_the_connection() {
    on_every_kernel(
        |stage| {
            stage.establish();
            stage.dialler.write(&[1; 10]);
            let edge = stage.acceptor.edge();
            stage.acceptor.close();
            let reset = [stage.dialler.edge_to_the_end(), stage.dialler.read(9), stage.dialler.read(9)];
            [&[edge][..], &reset, &[stage.dialler.write(b"?")]].concat()
        },
        &[
            READABLE,
            ENDED,
            Seen::Failed(ErrorKind::ConnectionReset),
            Seen::Moved(0),
            Seen::Failed(ErrorKind::BrokenPipe),
        ],
    );
}

#[test]
fn the_first_write_to_a_closed_peer_succeeds_and_a_later_one_fails() {
    on_every_kernel(
        |stage| {
            stage.establish();
            stage.acceptor.close();
            let ended = [stage.dialler.edge(), stage.dialler.read(9)];
            let wrote = stage.dialler.write(b"anybody?");
            while stage.dialler.quiet() != Seen::Quiet {}
            // Depending on the kernel, this write fails with a reset or with a broken pipe. The next write fails with
            // a broken pipe.
            stage.dialler.write(b"anybody?");
            [&ended[..], &[wrote, stage.dialler.write(b"anybody?")]].concat()
        },
        &[ENDED, Seen::Moved(0), Seen::Moved(8), Seen::Failed(ErrorKind::BrokenPipe)],
    );
}

#[test]
fn an_orderly_close_after_everything_was_read_is_not_a_reset() {
    on_every_kernel(
        |stage| {
            stage.establish();
            stage.dialler.write(&[1; 10]);
            let seen = [stage.acceptor.edge(), stage.acceptor.read(10), stage.acceptor.read(10)];
            stage.acceptor.close();
            [&seen[..], &[stage.dialler.edge(), stage.dialler.read(9)]].concat()
        },
        &[READABLE, Seen::Moved(10), BLOCKED, ENDED, Seen::Moved(0)],
    );
}
