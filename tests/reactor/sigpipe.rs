//! Writing to a closed connection causes an error and never a signal, even in a process that the signal would kill.

use crate::probe::{BareSocket, Node, in_a_child, until};
use bytes::Bytes;
use peerloop::error::{CloseReason, IoStep};
use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::process::ExitStatusExt;

const SIGPIPE: i32 = 13;

#[test]
fn fault_e13_writing_to_a_closed_connection_does_not_kill_the_process() {
    let ended = in_a_child("sigpipe::fault_e13_writing_to_a_closed_connection_does_not_kill_the_process", || {
        sigpipe::reset();
        let mut node = Node::new();
        // One frame is sent by a plain write, two by a vectored write.
        for frames in [1, 2] {
            let (socket, peer) = BareSocket::ready(&mut node);
            // A loop that reads this peer would notice the close before it writes.
            node.act(move |ctx| ctx.pause(peer));
            // After an orderly close, a reset makes the next write fail with a broken pipe.
            socket.shut_down(Shutdown::Write);
            socket.reset();
            node.act(move |ctx| {
                for _ in 0..frames {
                    ctx.send_shared(peer, &Bytes::from_static(&[0; 32])).expect("the peer is ready");
                }
            });
            until([&mut node], "the connection is closed", |[node]| node.end_of(peer).is_some());
            match node.end_of(peer) {
                Some((CloseReason::Network(failure), _)) => {
                    assert_eq!((failure.step, failure.kind), (IoStep::Write, ErrorKind::BrokenPipe));
                }
                other => panic!("the connection closed with {other:?}"),
            }
        }
    });
    assert!(ended.success(), "{ended}");
}

#[test]
fn the_signal_kills_a_process_that_writes_to_a_closed_pipe() {
    let ended = in_a_child("sigpipe::the_signal_kills_a_process_that_writes_to_a_closed_pipe", || {
        sigpipe::reset();
        let (reader, mut writer) = std::io::pipe().expect("the kernel provides a pipe");
        drop(reader);
        writer.write_all(b"x").expect_err("the reading end is closed");
    });
    assert_eq!(ended.signal(), Some(SIGPIPE), "{ended}");
}
