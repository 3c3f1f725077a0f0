//! Writes until the kernel has no room, and the edge that reports room again.

use crate::stage::{BLOCKED, Seen, Stage, on_every_kernel};

/// Writes until the kernel accepts no more, and returns the number of accepted bytes.
fn fill(stage: &mut Stage) -> usize {
    let mut taken = 0;
    loop {
        match stage.dialler.write(&[7; 64 * 1024]) {
            Seen::Moved(len) => taken += len,
            BLOCKED => return taken,
            other => panic!("unexpected result of a write: {other:?}"),
        }
    }
}

#[test]
fn a_blocked_writer_gets_an_edge_when_the_reader_makes_room() {
    on_every_kernel(
        |stage| {
            stage.establish();
            let (mut written, mut received) = (fill(stage), 0);
            for _ in 0..3 {
                let mut has_room = false;
                while received < written {
                    match stage.acceptor.read(64 * 1024) {
                        Seen::Moved(len) => received += len,
                        BLOCKED => drop(stage.acceptor.quiet()),
                        other => panic!("unexpected result of a read: {other:?}"),
                    }
                }
                // The real kernel may report room before all is read, and again at the end.
                while stage.dialler.quiet() != Seen::Quiet {
                    has_room = true;
                }
                assert!(has_room, "the writer got no edge");
                written += fill(stage);
            }
            vec![stage.dialler.write(b"!")]
        },
        &[BLOCKED],
    );
}

#[test]
fn a_writer_that_never_blocked_gets_no_edge() {
    on_every_kernel(
        |stage| {
            stage.establish();
            let mut seen = Vec::new();
            for _ in 0..3 {
                seen.push(stage.dialler.write(&[1; 1_000]));
                seen.extend([stage.acceptor.edge(), stage.acceptor.read(5_000), stage.dialler.quiet()]);
            }
            seen
        },
        &[Seen::Moved(1_000), crate::stage::READABLE, Seen::Moved(1_000), Seen::Quiet].repeat(3),
    );
}

#[test]
fn slices_arrive_as_one_run_of_bytes() {
    on_every_kernel(
        |stage| {
            stage.establish();
            let wrote = stage.dialler.write_gathered(&[b"ab", b"", b"cde", b"f"]);
            let edge = stage.acceptor.edge();
            assert_eq!(stage.acceptor.read_bytes(), b"abcdef");
            vec![wrote, edge, stage.acceptor.read(9)]
        },
        &[Seen::Moved(6), crate::stage::READABLE, BLOCKED],
    );
}
