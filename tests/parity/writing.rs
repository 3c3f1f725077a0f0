//! Writes until there is no room, and the edge that tells of it.

use crate::stage::{BLOCKED, Seen, Stage, on_every_kernel};

/// Writes until the kernel takes no more, and returns how much it took.
fn fill(stage: &mut Stage) -> usize {
    let mut taken = 0;
    loop {
        match stage.dialler.write(&[7; 64 * 1024]) {
            Seen::Moved(len) => taken += len,
            BLOCKED => return taken,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_writer_that_was_refused_is_told_of_room_when_the_reader_has_made_some() {
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
                        other => panic!("{other:?}"),
                    }
                }
                // The real kernel may tell it in the midst of that, and again at its end.
                while stage.dialler.quiet() != Seen::Quiet {
                    has_room = true;
                }
                assert!(has_room, "nobody has told the writer");
                written += fill(stage);
            }
            vec![stage.dialler.write(b"!")]
        },
        &[BLOCKED],
    );
}

#[test]
fn a_writer_that_was_never_refused_is_told_nothing() {
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
