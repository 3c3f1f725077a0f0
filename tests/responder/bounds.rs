//! The memory of waiting replies is bounded, for one peer and in all.

use crate::stage::{Stage, encoded, tx};
use peerloop::internals::limits::{
    MAX_RESPONDER_PEER_WAITING_BYTES, MAX_RESPONDER_WAITING_BYTES, RESPONDER_REPLY_BYTES,
};
use peerloop::load::ResponderConfig;
use peerloop::protocol::CommandName;
use peerloop::wire::{Hash256, InventoryItem, MessageRef};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

fn slow() -> ResponderConfig {
    ResponderConfig::default().with_delay(HOUR, HOUR)
}

/// Sends raw pings, which our loop does not count as pings in flight.
fn send_pings(stage: &mut Stage, peer: usize, count: usize) {
    for _ in 0..count {
        stage.send(peer, &MessageRef::Opaque { command: CommandName::PING, payload: &[7; 8] });
    }
    stage.run_for(Duration::ZERO);
}

#[test]
fn one_peers_waiting_replies_are_bounded_and_the_rest_is_dropped_and_counted() {
    const FITTING: usize = MAX_RESPONDER_PEER_WAITING_BYTES / RESPONDER_REPLY_BYTES;
    let mut stage = Stage::new(slow(), 2);
    for _ in 0..8 {
        send_pings(&mut stage, 0, FITTING / 8);
    }
    send_pings(&mut stage, 0, 100);
    assert_eq!(stage.counts().over_limit, 100);
    // The other peer is served, and so is the first one later.
    stage.ping(1);
    stage.run_for(HOUR);
    assert_eq!((stage.counts().answered as usize, stage.asker.handler().pongs.len()), (FITTING + 1, 1));
    stage.ping(0);
    stage.run_for(HOUR);
    assert_eq!((stage.counts().over_limit, stage.asker.handler().pongs.len()), (100, 2));
}

#[test]
fn all_waiting_replies_together_are_bounded() {
    const EACH: usize = 50_000 * 36 + 3 + RESPONDER_REPLY_BYTES;
    let items: Vec<_> = (0..50_000_u32).map(|number| InventoryItem::tx(Hash256::of(&number.to_le_bytes()))).collect();
    let peers = MAX_RESPONDER_WAITING_BYTES / MAX_RESPONDER_PEER_WAITING_BYTES + 4;
    let mut stage = Stage::new(slow(), peers);
    let payload = encoded(&items);
    for peer in 0..peers {
        for _ in 0..3 {
            stage.send(peer, &MessageRef::Opaque { command: CommandName::INV, payload: &payload });
            stage.run_for(Duration::ZERO);
        }
    }
    let fitting = MAX_RESPONDER_WAITING_BYTES / EACH;
    let counts = stage.counts();
    assert_eq!((counts.requests as usize, counts.over_limit as usize), (3 * peers, 3 * peers - fitting));
    // Replies to closed peers keep their bytes until they are due, and no longer.
    stage
        .asker
        .act(|asker, ctx| asker.peers.clone().into_iter().for_each(|peer| ctx.abort(peer, peerloop::Disconnect::Done)));
    stage.run_for(HOUR);
    let counts = stage.counts();
    assert_eq!((counts.unsent as usize, counts.answered), (fitting, 0));
}

#[test]
fn requests_of_a_peer_that_does_not_read_are_bounded() {
    let large = tx(1, 1_500_000);
    let config = ResponderConfig::default().with_transactions(vec![large.as_ref().encoded().to_vec().into()]);
    let mut stage = Stage::new(config, 2);
    stage.asker.act(|asker, ctx| ctx.pause(asker.peers[0]));
    let item = InventoryItem::tx(large.as_ref().txid());
    let payload = encoded(&vec![item; 50_000]);
    for _ in 0..10 {
        stage.send(0, &MessageRef::Opaque { command: CommandName::GETDATA, payload: &payload });
        stage.run_for(Duration::ZERO);
    }
    assert_eq!((stage.counts().over_limit, stage.counts().requests), (8, 10));
    assert!(stage.node.stats().waiting_bytes < 4 << 20, "{}", stage.node.stats().waiting_bytes);
    stage.get(1, &[item]);
    stage.run_for(Duration::ZERO);
    assert_eq!(stage.arrived().len(), 1);
    stage.asker.act(|asker, ctx| ctx.abort(asker.peers[0], peerloop::Disconnect::Done));
    stage.run_for(Duration::ZERO);
    assert_eq!(stage.node.stats().waiting_bytes, 0);
}
