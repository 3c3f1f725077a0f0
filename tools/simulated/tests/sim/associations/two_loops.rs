//! Two loops with two streams between them.

use super::quiet;
use bytes::Bytes;
use peerloop::Ctx;
use peerloop::config::Multistreams;
use peerloop::sim::{Actor, Driver, RunOutcome, World};
use peerloop::time::Instant;
use peerloop::wire::StreamType;
use peerloop_testkit::bytes::frame;
use peerloop_testkit::simulated::{Node, Player, secs};
use std::time::Duration;

struct Pair {
    world: World,
    nodes: [Node; 2],
}

impl Pair {
    fn new(multistreams: [Multistreams; 2]) -> Self {
        let world = World::new(1, Instant::ZERO);
        let acceptor = Node::new(&world, quiet().with_multistreams(multistreams[0]), Player::default());
        let config = quiet().with_seed(Some(2)).with_multistreams(multistreams[1]);
        let dialler = Node::new(&world, config, Player::dialling(acceptor.address));
        let mut pair = Self { world, nodes: [acceptor, dialler] };
        pair.run(secs(1));
        pair
    }

    fn run(&mut self, time: Duration) {
        let until = self.world.now().plus(time);
        let [acceptor, dialler] = &mut self.nodes;
        let actors: &mut [&mut dyn Actor] = &mut [&mut acceptor.reactor, &mut dialler.reactor];
        assert_eq!(Driver::new(&self.world).run_until(until, actors).unwrap(), RunOutcome::TimeOver);
    }

    fn act<R>(&mut self, node: usize, act: impl FnOnce(&mut Ctx<'_>) -> R) -> R {
        self.nodes[node].reactor.act(|_, ctx| act(ctx))
    }

    fn streams(&mut self) -> [usize; 2] {
        [0, 1].map(|node| self.act(node, |ctx| ctx.peers().map(|peer| peer.streams().count()).sum()))
    }
}

#[test]
fn two_loops_open_a_second_stream_only_if_the_dialler_opens_and_the_acceptor_accepts() {
    use Multistreams::{Accept, Off, Open};
    for (acceptor, dialler, streams) in
        [(Accept, Open, 2), (Open, Open, 2), (Off, Open, 1), (Accept, Accept, 1), (Accept, Off, 1)]
    {
        let mut pair = Pair::new([acceptor, dialler]);
        assert_eq!(pair.streams(), [streams; 2], "{acceptor:?} and {dialler:?}");
        assert_eq!(pair.nodes.each_ref().map(|node| node.seen().ready.len()), [1, 1]);
    }
}

#[test]
fn messages_and_pings_pass_both_ways_on_two_streams_and_a_close_leaves_nothing() {
    let mut pair = Pair::new([Multistreams::Accept, Multistreams::Open]);
    for node in [0, 1] {
        let peer = pair.nodes[node].seen().ready[0];
        pair.act(node, |ctx| {
            for (command, len) in [("tx", 200_000), ("block", 300_000), ("inv", 1), ("headers", 1)] {
                ctx.send_shared(peer, &Bytes::from(frame(command, &vec![0; len]))).unwrap();
            }
            ctx.ping(peer, ctx.now()).unwrap();
        });
    }
    pair.run(secs(1));
    for node in [0, 1] {
        let seen = pair.nodes[node].seen();
        let mut commands: Vec<String> = seen.messages.into_iter().map(|(_, command, _)| command).collect();
        commands.sort_unstable();
        assert_eq!((commands, seen.pongs.len()), (["block", "headers", "inv", "tx"].map(str::to_owned).to_vec(), 1));
        let types =
            pair.act(node, |ctx| ctx.peers().flat_map(|peer| peer.streams().collect::<Vec<_>>()).collect::<Vec<_>>());
        assert_eq!(types, [StreamType::General, StreamType::Data1]);
    }
    let peer = pair.nodes[1].seen().ready[0];
    pair.act(1, |ctx| ctx.close(peer, peerloop::Disconnect::Done));
    pair.run(secs(5));
    for node in &pair.nodes {
        assert_eq!((node.reactor.stats().links, node.reactor.stats().streams), (0, 0));
    }
}
