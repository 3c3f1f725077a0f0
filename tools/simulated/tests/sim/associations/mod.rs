//! Peers with several TCP streams. The texts of all `reject`s are those of SV Node 1.0.13.
//!
//! A [`Scene`] has the loop under test and a [`Stranger`] that is driven by hand. Each link of the stranger is one TCP
//! connection. The bytes of both sides are compared with bytes that the library's encoder did not produce.

mod accepting;
mod actors;
mod closing;
mod dialling;
mod edges;
mod two_loops;

use crate::manager::support::Stranger;
use peerloop::config::Multistreams;
use peerloop::sim::{Actor, Driver, RunOutcome, World};
use peerloop::time::Instant;
use peerloop::{Config, Ctx};
use peerloop_testkit::bytes::{frame, frames, protoconf, verack};
use peerloop_testkit::simulated::{Journal, Node, Player, config};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The stranger's links: the peer's first one, and those of further streams.
const GENERAL: u64 = 0;
const DATA1: u64 = 1;
const OTHER: u64 = 2;

const UUID: [u8; 16] = *b"0123456789abcdef";
const UUID_TEXT: &str = "30313233-3435-3637-3839-616263646566";
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8));

struct Scene {
    world: World,
    node: Node,
    stranger: Stranger,
}

impl Scene {
    fn new(multistreams: Multistreams) -> Self {
        Self::with(quiet().with_multistreams(multistreams), Player::default())
    }

    fn with(config: Config, player: Player) -> Self {
        let world = World::new(1, Instant::ZERO);
        let node = Node::new(&world, config, player);
        let stranger = Stranger::new(&world);
        Self { world, node, stranger }
    }

    fn run(&mut self, time: Duration) {
        let until = self.world.now().plus(time);
        let actors: &mut [&mut dyn Actor] = &mut [&mut self.node.reactor];
        assert_eq!(Driver::new(&self.world).run_until(until, actors).unwrap(), RunOutcome::TimeOver);
    }

    fn settle(&mut self) {
        self.run(Duration::ZERO);
    }

    fn dial(&mut self, link: u64) {
        self.dial_from(link, HOST);
    }

    fn dial_from(&mut self, link: u64, source: IpAddr) {
        self.stranger.dial_from(link, self.node.address, Some(source));
        self.settle();
    }

    /// Sends bytes and returns the frames that arrive next on the same link, and whether the stream then ends.
    fn ask(&mut self, link: u64, bytes: &[u8]) -> (Vec<(String, Vec<u8>)>, bool) {
        self.stranger.send(link, bytes);
        self.receive(link)
    }

    /// Returns the frames that have arrived on a link, and whether the stream then ends.
    fn receive(&mut self, link: u64) -> (Vec<(String, Vec<u8>)>, bool) {
        self.settle();
        let (bytes, has_ended) = self.stranger.receive(link);
        (frames(&bytes), has_ended)
    }

    /// Dials the node and completes a handshake that offers [`UUID`]. Returns the end of the node's `version`, which is
    /// its association id.
    fn handshake(&mut self) -> Vec<u8> {
        self.dial(GENERAL);
        let (said, _) = self.ask(GENERAL, &[version(&id(UUID)), verack(), protoconf()].concat());
        assert_eq!(said[1].0, "verack", "{said:?}");
        assert_eq!(said.last().unwrap().0, "sendheaders", "{said:?}");
        association_of(&said[0].1)
    }

    /// Opens a further stream of the peer, and returns the node's replies.
    fn open_stream(&mut self, link: u64, stream_type: u8, policy: &str) -> (Vec<(String, Vec<u8>)>, bool) {
        self.dial(link);
        self.ask(link, &createstrm(&id(UUID), stream_type, policy))
    }

    /// Completes a handshake and opens the stream DATA1 with the policy `BlockPriority`.
    fn with_two_streams(&mut self) {
        assert_eq!(self.handshake(), id(UUID));
        let (said, has_ended) = self.open_stream(DATA1, 2, "BlockPriority");
        assert_eq!((said, has_ended), (vec![("streamack".to_owned(), [&id(UUID)[..], &[2]].concat())], false));
    }

    fn act<R>(&mut self, act: impl FnOnce(&mut Ctx<'_>) -> R) -> R {
        self.node.reactor.act(|_, ctx| act(ctx))
    }

    fn seen(&self) -> Journal {
        self.node.seen()
    }
}

/// Returns a configuration without keepalive pings.
fn quiet() -> Config {
    config().with_ping_interval(Duration::ZERO)
}

/// Returns an association id as it is encoded: its length, its type, and the UUID.
fn id(uuid: [u8; 16]) -> Vec<u8> {
    [&[17, 0][..], &uuid].concat()
}

/// Returns a `version` that ends with an encoded association id.
fn version(association: &[u8]) -> Vec<u8> {
    let mut payload = 70_016_i32.to_le_bytes().to_vec();
    payload.resize(4 + 8 + 8 + 26 + 26, 0);
    payload.extend([9; 8]);
    payload.extend(b"\x12/Bitcoin SV:1.2.2/");
    payload.extend([0, 0, 0, 0, 1]);
    payload.extend(association);
    frame("version", &payload)
}

/// Returns the association id at the end of a `version` with the library's default user agent.
fn association_of(version: &[u8]) -> Vec<u8> {
    let agent_at = 4 + 8 + 8 + 26 + 26 + 8;
    version[agent_at + 1 + usize::from(version[agent_at]) + 5..].to_vec()
}

fn createstrm(association: &[u8], stream_type: u8, policy: &str) -> Vec<u8> {
    let policy_len = u8::try_from(policy.len()).expect("the name is short");
    frame("createstrm", &[association, &[stream_type, policy_len], policy.as_bytes()].concat())
}

/// Returns the payload of a `reject`.
fn reject(command: &str, code: u8, text: &str) -> (String, Vec<u8>) {
    let len = |text: &str| u8::try_from(text.len()).expect("the text is short");
    let payload = [&[len(command)][..], command.as_bytes(), &[code, len(text)], text.as_bytes()].concat();
    ("reject".to_owned(), payload)
}

fn ping(nonce: u64) -> Vec<u8> {
    frame("ping", &nonce.to_le_bytes())
}

/// Returns the frame of an `inv` or `getdata` with one item.
fn inventory(command: &str, kind: u32) -> Vec<u8> {
    frame(command, &[&[1][..], &kind.to_le_bytes(), &[7; 32]].concat())
}

fn names(said: &[(String, Vec<u8>)]) -> Vec<&str> {
    said.iter().map(|(command, _)| &**command).collect()
}
