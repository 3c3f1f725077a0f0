//! Reads, and the edges that follow them.

use crate::stage::{BLOCKED, READABLE, Seen, on_every_kernel};

#[test]
fn unread_data_causes_only_one_edge() {
    on_every_kernel(
        |stage| {
            stage.establish();
            stage.dialler.write(&[1; 10]);
            vec![stage.acceptor.edge(), stage.acceptor.quiet(), stage.acceptor.quiet(), stage.dialler.quiet()]
        },
        &[READABLE, Seen::Quiet, Seen::Quiet, Seen::Quiet],
    );
}

#[test]
fn unread_data_after_a_full_read_causes_no_further_edge() {
    on_every_kernel(
        |stage| {
            stage.establish();
            stage.dialler.write(&[1; 10]);
            let edge = stage.acceptor.edge();
            let first = [stage.acceptor.read(4), stage.acceptor.quiet()];
            let rest = [stage.acceptor.read(6), stage.acceptor.read(9), stage.acceptor.quiet()];
            [&[edge][..], &first, &rest].concat()
        },
        &[READABLE, Seen::Moved(4), Seen::Quiet, Seen::Moved(6), BLOCKED, Seen::Quiet],
    );
}

#[test]
fn new_data_causes_an_edge_after_a_read_that_would_block() {
    on_every_kernel(
        |stage| {
            stage.establish();
            let mut seen = Vec::new();
            for _ in 0..3 {
                stage.dialler.write(&[1; 10]);
                seen.extend([stage.acceptor.edge(), stage.acceptor.read(10), stage.acceptor.read(10)]);
            }
            seen
        },
        &[READABLE, Seen::Moved(10), BLOCKED].repeat(3),
    );
}

#[test]
fn new_data_causes_an_edge_after_a_short_read() {
    on_every_kernel(
        |stage| {
            stage.establish();
            let mut seen = Vec::new();
            for _ in 0..3 {
                stage.dialler.write(&[1; 10]);
                seen.extend([stage.acceptor.edge(), stage.acceptor.read(100), stage.acceptor.quiet()]);
            }
            seen
        },
        &[READABLE, Seen::Moved(10), Seen::Quiet].repeat(3),
    );
}

#[test]
fn a_read_without_data_would_block_and_causes_no_edge() {
    on_every_kernel(
        |stage| {
            stage.establish();
            vec![stage.acceptor.read(9), stage.acceptor.quiet(), stage.dialler.read(9), stage.dialler.quiet()]
        },
        &[BLOCKED, Seen::Quiet, BLOCKED, Seen::Quiet],
    );
}

#[test]
fn a_closed_link_gets_no_edge_and_cannot_be_read() {
    on_every_kernel(
        |stage| {
            stage.establish();
            stage.dialler.write(&[1; 10]);
            stage.acceptor.close();
            vec![stage.acceptor.quiet(), stage.acceptor.read(9)]
        },
        &[Seen::Quiet, Seen::Failed(std::io::ErrorKind::NotConnected)],
    );
}
