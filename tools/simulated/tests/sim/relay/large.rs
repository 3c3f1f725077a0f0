//! Large transactions through the relay: they arrive and are sent in parts, byte by byte as they are.

use super::blocks::scene_with;
use super::*;
use peerloop::internals::limits::{MAX_PAYLOAD_BYTES, RELAY_LARGE_TX_BYTES, RELAY_LARGE_TX_TIME};
use peerloop_testkit::simulated::blocks::{chain, get_block};

/// A connection that holds a whole large transaction, and one that holds a small part of it.
const WIDE: usize = 64 << 20;
const NARROW: usize = 20_000;

/// Returns connections that hold this many bytes in each direction.
fn holding(capacity_bytes: usize) -> Conditions {
    Conditions { capacity_bytes, ..Conditions::default() }
}

/// Returns a transaction of this length, above 65,600 bytes.
fn of_length(number: u32, len: u64) -> Vec<u8> {
    let overhead = large_transaction(number, 70_000).len() as u64 - 70_000;
    large_transaction(number, (len - overhead) as u32)
}

/// Returns a scene in which transactions above 2,048 bytes are large.
fn scene(change: impl FnOnce(RelayConfig) -> RelayConfig) -> Scene {
    let config = config().with_max_buffered_message_bytes(2_048).with_ping_interval(Duration::ZERO);
    Scene::with(change, config, holding(WIDE))
}

/// Returns the large transactions that were received, dropped, and too large.
fn large_counts(scene: &Scene) -> [u64; 3] {
    let counts = scene.counts();
    [counts.large_received, counts.large_dropped, counts.oversized]
}

fn pool(scene: &Scene) -> (usize, usize) {
    (scene.stats().bodies, scene.stats().pool_bytes)
}

#[test]
fn transactions_up_to_the_maximum_pass_and_longer_ones_are_counted() {
    let mut scene = Scene::with(|config| config, config().with_ping_interval(Duration::ZERO), holding(WIDE));
    let (mut one, mut two) = (scene.leaf(), scene.leaf());
    let lengths = [MAX_PAYLOAD_BYTES - 1, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES + 1, RELAY_LARGE_TX_BYTES];
    for (len, number) in lengths.into_iter().zip(1..) {
        let transaction = of_length(number, len);
        assert_eq!(transaction.len() as u64, len);
        scene.announce(&transaction);
        for leaf in [&mut one, &mut two] {
            assert_eq!(scene.received(leaf), [message("inv", &items(&[&transaction]))]);
            assert!(scene.ask(leaf, &getdata(&[&transaction])) == [message("tx", &transaction)], "{len} bytes differ");
        }
    }
    let before = pool(&scene);
    let longer = of_length(9, RELAY_LARGE_TX_BYTES + 1);
    scene.announce(&longer);
    assert_eq!((scene.received(&mut one), large_counts(&scene)), (vec![], [2, 0, 1]));
    assert_eq!(scene.ask(&mut one, &getdata(&[&longer])), [message("notfound", &items(&[&longer]))]);
    assert_eq!(scene.ask_upstream(SUBMITTING, &inv(&[&longer])), [], "it was requested again");
    assert_eq!((scene.counts().accepted, scene.counts().served, pool(&scene)), (4, 8, before));
}

#[test]
fn a_leafs_large_transaction_reaches_the_upstream_and_other_leaf_peers_once_it_is_seen_back() {
    let mut scene = scene(|config| config);
    let (mut sender, mut other) = (scene.leaf(), scene.leaf());
    let large = large_transaction(1, 300_000);
    assert_eq!(scene.ask(&mut sender, &inv(&[&large])), [message("getdata", &items(&[&large]))]);
    sender.send(&tx(&large));
    assert_eq!(scene.heard(SUBMITTING), [message("inv", &items(&[&large]))]);
    assert_eq!(scene.ask(&mut other, &getdata(&[&large])), [message("notfound", &items(&[&large]))]);
    assert_eq!(scene.ask_upstream(SUBMITTING, &getdata(&[&large])), [message("tx", &large)]);
    assert_eq!(scene.received(&mut other), []);
    assert_eq!(scene.ask_upstream(LISTENING, &inv(&[&large])), []);
    assert_eq!(scene.received(&mut other), [message("inv", &items(&[&large]))]);
    assert_eq!(scene.ask(&mut other, &getdata(&[&large])), [message("tx", &large)]);
    let steps = scene.steps(&large);
    let [RelayStep::Announced(_), RelayStep::Requested(_), RelayStep::Sent(_), RelayStep::SeenBack(_)] = steps[..]
    else {
        panic!("{steps:?}")
    };
}

#[test]
fn one_announcer_is_asked_while_a_large_transaction_arrives_slowly() {
    let mut scene = scene(|config| config);
    let mut second = scene.second_upstream();
    let (large, small) = (large_transaction(1, 200_000), transaction(2));
    assert_eq!(scene.ask_upstream(LISTENING, &inv(&[&large])), [message("getdata", &items(&[&large]))]);
    let whole = tx(&large);
    for (part, at) in whole.chunks(whole.len() / 60).zip(0..) {
        scene.upstream.send(LISTENING, part);
        scene.settle();
        if at == 1 {
            // A request after the large one is not held up by it.
            second.send(LISTENING, &inv(&[&large, &small]));
            scene.upstream.send(SUBMITTING, &inv(&[&large]));
            assert_eq!(
                frames(&{
                    scene.settle();
                    second.receive(LISTENING)
                }),
                [message("getdata", &items(&[&small]))]
            );
            second.send(LISTENING, &tx(&small));
        }
        scene.run_for(Duration::from_secs(1));
    }
    scene.settle();
    for link in [LISTENING, SUBMITTING] {
        assert_eq!(hashes(&scene.heard(link), "getdata"), []);
    }
    let requests = scene.stats().requests;
    assert_eq!((requests.sent, requests.hedged, requests.moved, requests.overdue, requests.repeated), (2, 0, 0, 0, 0));
    assert_eq!((scene.counts().accepted, large_counts(&scene)), (2, [1, 0, 0]));
}

#[test]
fn a_large_transaction_with_a_wrong_checksum_is_dropped_and_the_next_announcer_asked() {
    let mut scene = scene(|config| config);
    let mut leaf = scene.leaf();
    let large = large_transaction(1, 100_000);
    scene.ask_upstream(LISTENING, &inv(&[&large]));
    scene.ask_upstream(SUBMITTING, &inv(&[&large]));
    let mut wrong = tx(&large);
    wrong[20] ^= 1;
    scene.upstream.send(LISTENING, &wrong);
    scene.settle();
    assert_eq!((pool(&scene), large_counts(&scene), scene.received(&mut leaf)), ((0, 0), [0; 3], vec![]));
    assert_eq!(scene.relay.stats().counters.bad_checksums, 1);
    scene.run_for(Duration::from_secs(2));
    assert_eq!(scene.heard(SUBMITTING), [message("getdata", &items(&[&large]))]);
    scene.upstream.send(SUBMITTING, &tx(&large));
    assert_eq!(scene.received(&mut leaf), [message("inv", &items(&[&large]))]);
}

#[test]
fn another_large_transaction_than_the_requested_one_ends_no_request() {
    let mut scene = scene(|config| config);
    let mut leaf = scene.leaf();
    let [wanted, other] = [1, 2].map(|number| large_transaction(number, 100_000));
    scene.ask(&mut leaf, &inv(&[&wanted]));
    leaf.send(&tx(&other));
    scene.settle();
    // It counts as one that the leaf has sent of its own accord.
    assert_eq!((scene.stats().in_flight, large_counts(&scene)), (1, [1, 0, 0]));
    leaf.send(&tx(&wanted));
    assert_eq!(hashes(&scene.heard(SUBMITTING), "inv"), [&other, &wanted].map(|tx| Hash256::of(tx)));
    assert_eq!(scene.stats().in_flight, 0);
}

#[test]
fn a_large_payload_that_is_no_transaction_is_dropped() {
    for malformed in [[large_transaction(1, 100_000), vec![0]].concat(), vec![0xff; 100_000]] {
        let mut scene = scene(|config| config);
        let (mut leaf, mut other) = (scene.leaf(), scene.leaf());
        scene.ask(&mut leaf, &inv(&[&malformed]));
        leaf.send(&tx(&malformed));
        scene.settle();
        assert_eq!((scene.counts().malformed, large_counts(&scene), pool(&scene)), (1, [0; 3], (0, 0)));
        assert_eq!((scene.heard(SUBMITTING), scene.received(&mut other)), (vec![], vec![]));
    }
}

#[test]
fn a_source_that_is_lost_in_the_middle_is_replaced() {
    let mut scene = scene(|config| config);
    let mut leaf = scene.leaf();
    let large = large_transaction(1, 500_000);
    scene.ask_upstream(LISTENING, &inv(&[&large]));
    scene.ask_upstream(SUBMITTING, &inv(&[&large]));
    scene.upstream.send(LISTENING, &tx(&large)[..400_000]);
    scene.settle();
    assert!(pool(&scene).0 == 0 && pool(&scene).1 >= 350_000, "{:?}", pool(&scene));
    scene.upstream.close(LISTENING);
    assert_eq!(scene.heard(SUBMITTING), [message("getdata", &items(&[&large]))]);
    assert_eq!(pool(&scene), (0, 0));
    scene.upstream.send(SUBMITTING, &tx(&large));
    assert_eq!(scene.received(&mut leaf), [message("inv", &items(&[&large]))]);
    assert_eq!(scene.ask(&mut leaf, &getdata(&[&large])), [message("tx", &large)]);
}

#[test]
fn a_sender_that_is_too_slow_holds_no_memory_and_its_transaction_can_be_requested_again() {
    let mut scene = scene(|config| config);
    let (mut leaf, mut second) = (scene.leaf(), scene.leaf());
    let large = large_transaction(1, 800_000);
    scene.ask(&mut leaf, &inv(&[&large]));
    let whole = tx(&large);
    let (begin, rest) = whole.split_at(400_000);
    leaf.send(begin);
    scene.settle();
    assert!(pool(&scene).1 >= 350_000);
    assert_eq!(scene.ask(&mut second, &inv(&[&large])), []);
    // The loop itself closes a sender that stops.
    let pause = Duration::from_secs(10);
    let count = (RELAY_LARGE_TX_TIME.as_secs() / pause.as_secs()) as usize + 1;
    let (slow, end) = rest.split_at(count * 20_000);
    for part in slow.chunks(20_000) {
        leaf.send(part);
        scene.run_for(pause);
    }
    assert_eq!(pool(&scene), (0, 0));
    assert_eq!(scene.received(&mut second), [message("getdata", &items(&[&large]))], "the request has not moved on");
    leaf.send(end);
    scene.settle();
    assert_eq!((large_counts(&scene), scene.stats().entries), ([0, 1, 0], 0));
    assert_eq!(scene.ask(&mut second, &inv(&[&large])), [message("getdata", &items(&[&large]))]);
    second.send(&tx(&large));
    assert_eq!(hashes(&scene.heard(SUBMITTING), "inv"), [Hash256::of(&large)]);
}

#[test]
fn all_that_arrives_stays_within_its_share_of_the_pool() {
    let mut scene = scene(|config| config.with_tx_pool_bytes(2_000_000));
    let all: Vec<Vec<u8>> = (0..3).map(|number| large_transaction(number, 400_000)).collect();
    let mut leaves: Vec<RawPeer> = (0..3).map(|_| scene.leaf()).collect();
    let mut second = scene.second_upstream();
    // Leaf peers may use a quarter of the pool, and all peers half of it.
    for (leaf, large) in leaves.iter_mut().zip(&all) {
        scene.ask(leaf, &inv(&[large]));
        leaf.send(&tx(large)[..380_000]);
        scene.settle();
    }
    assert!((350_000..500_000).contains(&pool(&scene).1), "{:?}", pool(&scene));
    scene.upstream.send(LISTENING, &tx(&large_transaction(7, 450_000))[..440_000]);
    scene.settle();
    assert!((800_000..1_000_000).contains(&pool(&scene).1), "{:?}", pool(&scene));
    second.send(LISTENING, &tx(&large_transaction(8, 300_000)));
    scene.settle();
    assert_eq!((large_counts(&scene), scene.counts().accepted), ([0, 1, 0], 0));
    // A smaller one of an upstream still has room.
    scene.upstream.send(SUBMITTING, &tx(&transaction(9)));
    scene.settle();
    assert_eq!(scene.counts().accepted, 1);
    let bytes_of_small = 120 + 24 + transaction(9).len();
    leaves.iter_mut().for_each(RawPeer::close);
    scene.upstream.close(LISTENING);
    scene.settle();
    assert_eq!(pool(&scene), (1, bytes_of_small));
}

#[test]
fn readers_of_different_speeds_receive_the_same_bytes() {
    let mut scene = scene(|config| config);
    let mut fast = scene.leaf();
    scene.world.set_conditions(holding(NARROW));
    let (mut slow, mut lost) = (scene.leaf(), scene.leaf());
    let large = large_transaction(1, 5_000_000);
    scene.announce(&large);
    for leaf in [&mut fast, &mut slow, &mut lost] {
        assert_eq!(scene.received(leaf), [message("inv", &items(&[&large]))]);
    }
    slow.send(&getdata(&[&large]));
    lost.send(&getdata(&[&large]));
    scene.settle();
    assert!(!lost.receive().is_empty());
    assert!(scene.ask(&mut fast, &getdata(&[&large])) == [message("tx", &large)], "the fast reader waits");
    lost.close();
    scene.settle();
    let mut received = Vec::new();
    while received.len() < large.len() + 24 {
        scene.run_for(Duration::from_millis(10));
        received.extend(slow.receive());
    }
    assert!(frames(&received) == [message("tx", &large)], "the slow reader's bytes differ");
    assert_eq!((scene.counts().large_readers_cut, scene.counts().served, scene.stats().pending_bytes), (0, 3, 0));
}

#[test]
fn items_around_large_transactions_are_answered_in_order() {
    let mut scene = scene(|config| config);
    scene.world.set_conditions(holding(NARROW));
    let mut leaf = scene.leaf();
    let ([one, two], [small, missing]) =
        ([1, 2].map(|number| large_transaction(number, 1_500_000)), [3, 4].map(transaction));
    [&one, &two, &small].into_iter().for_each(|transaction| scene.announce(transaction));
    scene.received(&mut leaf);
    let wanted = [&small, &one, &missing, &two, &one, &small, &missing];
    let answers = scene.ask(&mut leaf, &getdata(&wanted.map(|transaction| &transaction[..])));
    let expected = wanted.map(|transaction| match transaction == &missing {
        true => message("notfound", &items(&[&missing])),
        false => message("tx", transaction),
    });
    assert!(
        answers == expected,
        "{:?}",
        answers.iter().map(|(command, body)| (command, body.len())).collect::<Vec<_>>()
    );
}

#[test]
fn a_block_and_a_large_transaction_that_are_requested_at_once_are_sent_one_after_the_other() {
    let blocks = chain(&[100_000]);
    let mut scene = scene_with(&blocks, holding(WIDE), |settings| settings);
    let mut leaf = scene.leaf();
    let large = of_length(1, 3_000_000);
    scene.announce(&large);
    scene.received(&mut leaf);
    let block = (2_u32, blocks[0].hash());
    let mut request = vec![3];
    for (kind, hash) in [(1, Hash256::of(&large)), block, (1, Hash256::of(&large))] {
        request.extend_from_slice(&kind.to_le_bytes());
        request.extend_from_slice(hash.as_bytes());
    }
    assert!(scene.ask(&mut leaf, &frame("getdata", &request)) == [message("tx", &large)]);
    scene.upstream.receive(SUBMITTING);
    scene.upstream.send(SUBMITTING, &frame("block", &blocks[0].payload));
    let answers = scene.received(&mut leaf);
    assert!(answers == [message("block", &blocks[0].payload), message("tx", &large)]);
    // Both are held now.
    leaf.send(&get_block(block.1));
    let answers = scene.ask(&mut leaf, &getdata(&[&large]));
    assert!(answers == [message("block", &blocks[0].payload), message("tx", &large)]);
}

#[test]
fn a_reader_whose_transaction_is_dropped_from_the_pool_is_closed() {
    let mut scene = scene(|config| config.with_tx_pool_bytes(4_000_000));
    scene.world.set_conditions(holding(NARROW));
    let (mut reader, mut other) = (scene.leaf(), scene.leaf());
    let large = large_transaction(0, 1_900_000);
    scene.announce(&large);
    reader.send(&getdata(&[&large]));
    scene.settle();
    (1..3).for_each(|number| scene.announce(&large_transaction(number, 1_500_000)));
    assert_eq!(scene.counts().pool_evicted, 1);
    scene.drain(&mut reader);
    scene.run_for(Duration::from_secs(10));
    scene.drain(&mut reader);
    assert!(reader.has_seen_end);
    assert_eq!(scene.counts().large_readers_cut, 1);
    scene.received(&mut other);
    assert_eq!(scene.ask(&mut other, &getdata(&[&large])), [message("notfound", &items(&[&large]))]);
}

#[test]
fn the_policy_decides_about_large_transactions() {
    for (decision, is_kept) in [(PolicyDecision::Drop, false), (PolicyDecision::Hold, true)] {
        let mut scene = scene(|config| config);
        let mut leaf = scene.leaf();
        let large = large_transaction(1, 100_000);
        scene.relay.handler_mut().policy_mut().decision = decision;
        scene.ask(&mut leaf, &inv(&[&large]));
        leaf.send(&tx(&large));
        assert_eq!(scene.heard(SUBMITTING), []);
        assert_eq!(pool(&scene).0, usize::from(is_kept));
        assert_eq!(scene.counts().dropped_by_policy, u64::from(!is_kept));
        assert_eq!((large_counts(&scene), pool(&scene).1 > 0), ([1, 0, 0], is_kept));
    }
}
