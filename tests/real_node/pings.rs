//! Pings in both directions. Each of our pings has its own nonce, and the event of its pong reports when the ping was
//! due, sent and answered.

use crate::node::Node;
use crate::observer::{Happened, Observer, config};
use peerloop::protocol::{CommandName, SERVICE_NETWORK};
use peerloop::{Ctx, PeerId};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Number of pings in flight at once.
const VOLLEY: usize = 64;
/// Length of a ping, header and nonce, in bytes.
const PING_BYTES: usize = 32;

fn is_pong(happened: &Happened) -> bool {
    matches!(happened, Happened::Pong { .. })
}

/// Sends `count` pings at once and returns their nonces.
fn ping(observer: &mut Observer, peer: PeerId, count: usize) -> Vec<u64> {
    let send = move |ctx: &mut Ctx<'_>| {
        let now = ctx.now();
        (0..count).map(|_| ctx.ping(peer, now)).collect::<Result<_, _>>()
    };
    observer.ask(send).expect("this many pings may be in flight")
}

#[test]
fn req_e12_a_hundred_pings_are_each_answered_once() {
    let Some(node) = Node::start() else { return };
    let mut observer = Observer::new(config());
    let peer = observer.ready(node.address());

    let mut nonces = ping(&mut observer, peer, VOLLEY);
    observer.until_times(nonces.len(), "pongs to a volley", peer, is_pong);
    while nonces.len() < 100 {
        nonces.extend(ping(&mut observer, peer, 1));
        observer.until_times(nonces.len(), "pong", peer, is_pong);
    }

    let mut answered = Vec::new();
    for happened in observer.happened(peer) {
        if let Happened::Pong { nonce, planned, sent, received } = happened {
            assert!(planned <= sent, "sent at {sent:?} before it was due at {planned:?}");
            assert!(sent < received, "answered at {received:?} but sent at {sent:?}");
            answered.push(nonce);
        }
    }
    assert_eq!(answered, nonces, "the node did not answer each ping once and in order");
    assert_eq!(nonces.iter().collect::<BTreeSet<_>>().len(), 100, "the nonces are not 100 different ones");
    assert_eq!(
        observer.ask(move |ctx| ctx.peer(peer).map(|view| view.connection().ping_pong().pending_count())),
        Some(0)
    );
    let (matched, unmatched) = observer.ask(|ctx| (ctx.counters().pongs_received, ctx.counters().pongs_unmatched));
    assert_eq!((matched, unmatched), (100, 0));
    let seen = node.peer_once(|_| true);
    assert_eq!(seen["bytesrecv_per_msg"]["ping"], json!(100 * PING_BYTES));
    assert_eq!(seen["bytessent_per_msg"]["pong"], json!(100 * PING_BYTES));
}

#[test]
fn req_e13_the_nodes_own_ping_is_answered_with_its_nonce() {
    let Some(node) = Node::start() else { return };
    let mut observer = Observer::new(config().with_services(SERVICE_NETWORK));
    let peer = observer.ready(node.address());
    // The node pings us right after the handshake, before it sends getheaders to a peer that claims to have the chain.
    let getheaders = Happened::Message(CommandName::new("getheaders"));
    observer.until("getheaders", peer, |happened| *happened == getheaders);
    assert_eq!(observer.ask(|ctx| ctx.counters().pings_answered), 1);
    let seen = node.peer_once(|peer| peer["pingtime"].is_number());
    assert_eq!(seen["bytesrecv_per_msg"]["pong"], json!(PING_BYTES));
    assert_eq!(seen.get("pingwait"), None, "a ping from the node is unanswered: {seen}");
}

#[test]
fn req_e14_the_engine_pings_by_itself_and_plans_no_ping_in_advance() {
    let Some(node) = Node::start() else { return };
    let interval = Duration::from_millis(50);
    let mut observer = Observer::new(config().with_ping_interval(interval));
    let peer = observer.ready(node.address());
    observer.until_times(3, "pongs to the engine's own pings", peer, is_pong);
    let pongs = observer.happened(peer).into_iter().filter_map(|happened| match happened {
        Happened::Pong { planned, sent, .. } => Some((planned, sent)),
        _ => None,
    });
    for (planned, sent) in pongs {
        assert_eq!(planned, sent, "the engine planned a ping in advance");
    }
}
