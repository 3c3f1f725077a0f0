//! The effect of a peer's `protoconf` on our messages: long inventories are sent in parts, and oversized messages are
//! refused.

use peerloop::error::RequestError;
use peerloop::protocol::CommandName;
use peerloop::wire::{Hash256, Inventory, InventoryItem, MessageRef};
use peerloop::{Config, Ctx, PeerId};
use peerloop_testkit::bytes::{frame, frames};
use peerloop_testkit::simulated;
use peerloop_testkit::simulated::{Player, RawPeer, Stage};

/// Maximum number of items in one message: (L - 8) / 36, where L is the peer's payload limit in bytes. `BEFORE` applies
/// before the peer's `protoconf`, and `AFTER` applies after SV Node's default `protoconf`.
const BEFORE: usize = 29_126;
const AFTER: usize = 58_254;

fn protoconf(limit_bytes: u32) -> Vec<u8> {
    frame("protoconf", &[&[1][..], &limit_bytes.to_le_bytes()].concat())
}

fn inventory(items: u32) -> Inventory {
    Inventory::from_items((0..items).map(|number| {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_le_bytes());
        InventoryItem::tx(Hash256::from_bytes(hash))
    }))
}

/// Returns the raw peer, which connected after the honest peer.
fn hostile(ctx: &Ctx<'_>) -> PeerId {
    ctx.peers().last().unwrap().id()
}

/// Builds a stage whose node runs `act` on each request, and a ready raw peer.
fn stage(config: Config, act: fn(&mut Ctx<'_>)) -> (Stage, RawPeer) {
    let mut stage = Stage::with(config, Player { on_request: Some(act), ..Player::default() });
    let raw = stage.ready_peer();
    (stage, raw)
}

fn act(stage: &mut Stage) {
    stage.node.reactor.handle().request(()).unwrap();
    stage.settle();
}

/// Returns each inventory's item numbers. Asserts each inventory's command, and that its length matches its item count.
fn parts(stream: &[u8], command: &str) -> Vec<Vec<u32>> {
    let part = |(name, payload): (String, Vec<u8>)| {
        assert_eq!(name, command);
        let (count, items) = match payload[0] {
            0xfd => (usize::from(u16::from_le_bytes([payload[1], payload[2]])), &payload[3..]),
            small => (usize::from(small), &payload[1..]),
        };
        assert_eq!(items.len(), count * 36);
        items.chunks(36).map(|item| u32::from_le_bytes(item[4..8].try_into().unwrap())).collect()
    };
    frames(stream).into_iter().map(part).collect()
}

fn assert_parts(stream: &[u8], command: &str, lens: &[usize]) {
    let parts = parts(stream, command);
    assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), lens);
    assert!(
        parts.concat().iter().copied().eq(0..lens.iter().sum::<usize>() as u32),
        "an item is missing, repeated or out of order"
    );
}

#[test]
fn sixty_thousand_items_are_sent_in_parts_that_the_peer_accepts() {
    for (command, send) in [
        (
            "inv",
            (|ctx| ctx.send(hostile(ctx), &MessageRef::Inv(inventory(60_000).as_ref())).unwrap()) as fn(&mut Ctx<'_>),
        ),
        ("getdata", |ctx| ctx.send(hostile(ctx), &MessageRef::GetData(inventory(60_000).as_ref())).unwrap()),
    ] {
        let (mut stage, mut raw) = stage(simulated::config(), send);
        act(&mut stage);
        assert_parts(&stage.receive_all(&mut raw), command, &[BEFORE, BEFORE, 60_000 - 2 * BEFORE]);
        raw.send(&protoconf(2_097_152));
        stage.settle();
        act(&mut stage);
        assert_parts(&stage.receive_all(&mut raw), command, &[AFTER, 60_000 - AFTER]);
        stage.assert_honest_peer_is_unaffected();
    }
}

#[test]
fn an_inventory_of_exactly_one_part_is_sent_whole_and_one_item_more_makes_two_parts() {
    let (mut stage, mut raw) = stage(simulated::config(), |ctx| {
        let peer = hostile(ctx);
        ctx.send(peer, &MessageRef::Inv(inventory(29_126).as_ref())).unwrap();
    });
    act(&mut stage);
    assert_parts(&stage.receive_all(&mut raw), "inv", &[BEFORE]);
    stage.node.reactor.handler_mut().on_request =
        Some(|ctx| ctx.send(hostile(ctx), &MessageRef::Inv(inventory(29_127).as_ref())).unwrap());
    act(&mut stage);
    assert_parts(&stage.receive_all(&mut raw), "inv", &[BEFORE, 1]);
}

#[test]
fn our_own_limit_bounds_the_parts_when_the_peer_accepts_more() {
    let config = simulated::config().with_max_message_bytes(1_048_576);
    let (mut stage, mut raw) =
        stage(config, |ctx| ctx.send(hostile(ctx), &MessageRef::Inv(inventory(120_000).as_ref())).unwrap());
    raw.send(&protoconf(u32::MAX));
    stage.settle();
    act(&mut stage);
    // We send inventories of up to 4 MiB: four times the largest message that we accept.
    let most = (4 * 1_048_576 - 8) / 36;
    let stream = stage.receive_all(&mut raw);
    let lens: Vec<usize> = frames_of_large_counts(&stream);
    assert_eq!(lens, [most, 120_000 - most]);
}

/// Returns each inventory's item count, which may exceed 65,535.
fn frames_of_large_counts(stream: &[u8]) -> Vec<usize> {
    let count = |payload: &[u8]| match payload[0] {
        0xfe => u32::from_le_bytes(payload[1..5].try_into().unwrap()) as usize,
        0xfd => usize::from(u16::from_le_bytes([payload[1], payload[2]])),
        small => usize::from(small),
    };
    frames(stream).iter().map(|(_, payload)| count(payload)).collect()
}

#[test]
fn an_empty_inventory_is_one_message() {
    let (mut stage, mut raw) =
        stage(simulated::config(), |ctx| ctx.send(hostile(ctx), &MessageRef::Inv(inventory(0).as_ref())).unwrap());
    act(&mut stage);
    assert_eq!(stage.receive_all(&mut raw), frame("inv", &[0]));
}

#[test]
fn either_all_parts_of_an_inventory_are_queued_or_none() {
    let (mut stage, mut raw) = stage(simulated::config(), |ctx| {
        let (peer, filler) = (hostile(ctx), vec![0; 1_000_000]);
        let filler = MessageRef::Opaque { command: CommandName::new("filler"), payload: &filler };
        ctx.send(peer, &filler).unwrap();
        let waiting = ctx.peer(peer).unwrap().waiting_bytes();
        let sent = ctx.send(peer, &MessageRef::Inv(inventory(60_000).as_ref()));
        assert_eq!(sent, Err(RequestError::QueueFull));
        assert_eq!(ctx.peer(peer).unwrap().waiting_bytes(), waiting);
    });
    act(&mut stage);
    assert_eq!(frames(&stage.receive_all(&mut raw)).len(), 1);
}

#[test]
fn sending_a_message_above_the_peers_limit_returns_an_error() {
    let (mut stage, mut raw) = stage(simulated::config(), |ctx| {
        let peer = hostile(ctx);
        let limit = ctx.peer(peer).unwrap().connection().max_recv_payload() as usize;
        let payload = vec![0; limit + 1];
        for command in ["notfound", "unheard"].map(CommandName::new) {
            let message = |len| MessageRef::Opaque { command, payload: &payload[..len] };
            assert_eq!(ctx.send(peer, &message(limit + 1)), Err(RequestError::TooLargeForPeer));
            let shared = ctx.encode(&message(limit + 1));
            assert_eq!(ctx.send_shared(peer, &shared), Err(RequestError::TooLargeForPeer));
            assert_eq!(ctx.peer(peer).unwrap().waiting_bytes(), 0);
        }
        let message = MessageRef::Opaque { command: CommandName::new("notfound"), payload: &payload[..limit] };
        assert_eq!(ctx.send(peer, &message), Ok(()));
        // The peer's limit does not apply to blocks and transactions, so only the queue's lack of room is reported.
        let block = MessageRef::Opaque { command: CommandName::BLOCK, payload: &payload };
        assert_eq!(ctx.send_shared(peer, &ctx.encode(&block)), Err(RequestError::QueueFull));
    });
    for limit in [1_048_576_usize, 2_097_152, 3_000_000] {
        if limit != 1_048_576 {
            // A second `protoconf` would close the connection, so this limit needs a new stage.
            (stage, raw) = self::stage(simulated::config(), stage.node.reactor.handler().on_request.unwrap());
            raw.send(&protoconf(limit as u32));
            stage.settle();
        }
        act(&mut stage);
        let seen = frames(&stage.receive_all(&mut raw));
        assert_eq!(
            seen.iter().map(|(name, payload)| (name.as_str(), payload.len())).collect::<Vec<_>>(),
            [("notfound", limit)]
        );
    }
}
