//! Events of links that are already closed, and table rows that must not be reused too soon.

use peerloop::PeerId;
use peerloop::error::Disconnect;
use peerloop::internals::id::LinkId;
use peerloop::internals::net::Readiness;
use peerloop::sim::World;
use peerloop_testkit::bytes::{frame, ping, pong};
use peerloop_testkit::simulated::{Player, RawPeer, Stage, config};

fn forge(world: &World, stage: &Stage, token: u64) {
    let readiness = Readiness { token, readable: true, writable: true, hung_up: true };
    world.forge(stage.node.reactor.net(), readiness);
}

/// Builds a stage whose node, on each message, aborts all peers except the honest peer and the message's sender.
fn jealous_stage() -> Stage {
    let player = Player {
        on_message: Some(|ctx, sender| {
            let honest = ctx.peers().map(|peer| peer.id()).next();
            let others: Vec<PeerId> = ctx.peers().map(|peer| peer.id()).collect();
            for peer in others.into_iter().filter(|peer| *peer != sender && Some(*peer) != honest) {
                ctx.abort(peer, Disconnect::Unsuitable);
            }
        }),
        ..Player::default()
    };
    Stage::with(config(), player)
}

#[test]
fn a_peer_closed_by_a_handler_is_not_read_though_its_event_is_in_the_same_batch() {
    let mut stage = jealous_stage();
    let mut first = stage.ready_peer();
    let mut second = stage.ready_peer();
    first.send(&frame("question", b""));
    second.send(&frame("question", b""));
    stage.settle();
    let seen = stage.node.seen();
    assert_eq!(seen.messages.len(), 1, "{:?}", seen.messages);
    let (sender, _, _) = seen.messages[0];
    let closed = stage.closed();
    assert_eq!((closed.peer, closed.reason), (seen.ready[2], Disconnect::Unsuitable.into()));
    assert_eq!(sender, seen.ready[1]);
    second.receive();
    assert!(second.has_seen_end);
    first.send(&ping());
    stage.settle();
    assert_eq!(first.receive(), pong(), "the first peer's ping was not answered");
}

#[test]
fn a_row_is_reused_only_after_the_turn_of_its_close_and_with_a_new_generation() {
    let mut stage = Stage::new();
    let mut listener = RawPeer::new(&stage.world);
    stage.node.reactor.handler_mut().redials = Some(listener.listen());
    let mut peer = stage.ready_peer();
    peer.close();
    stage.settle();
    let closed = stage.closed().peer;
    let first = stage.node.seen().dialled[0];
    assert_ne!(first.slot(), closed.slot(), "the row was reused while the close was reported");
    let third = stage.peer();
    let opened = stage.node.seen().opened;
    assert_eq!(opened, 4, "the number of opened connections is not four: three accepted, one dialled");
    let stale = LinkId::from_u64(closed.slot() as u64);
    forge(&stage.world.clone(), &stage, stale.to_u64());
    stage.settle();
    assert_eq!(stage.node.reactor.stats().counters.stale_events, 1);
    let reused = LinkId::from_u64(1 << 32 | closed.slot() as u64);
    forge(&stage.world.clone(), &stage, reused.to_u64());
    stage.settle();
    assert_eq!(
        stage.node.reactor.stats().counters.stale_events,
        1,
        "an event for the row's second generation was counted as stale"
    );
    assert_eq!(stage.node.seen().closed.len(), 1, "a spurious event closed a connection");
    drop(third);
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn fault_e15_events_of_unknown_links_are_counted_and_ignored() {
    let mut stage = Stage::new();
    let world = stage.world.clone();
    for token in [77, 1 << 40, 5 << 32 | 1_000_000, u64::from(u32::MAX)] {
        forge(&world, &stage, token);
    }
    // Events of a listener that does not exist, and of a listener without waiting connections, are not counted.
    forge(&world, &stage, u64::from(u32::MAX) << 32 | 9);
    forge(&world, &stage, u64::from(u32::MAX) << 32);
    stage.settle();
    assert_eq!(stage.node.reactor.stats().counters.stale_events, 4);
    stage.assert_honest_peer_is_unaffected();
}
