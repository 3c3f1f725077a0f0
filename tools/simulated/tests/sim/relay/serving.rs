//! Serving `getdata`: every item is answered, or the link is closed.

use super::*;

#[test]
fn items_are_answered_in_order_and_missing_ones_with_notfound() {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut leaf = scene.leaf();
    (0..3).for_each(|number| scene.announce(&transaction(number)));
    scene.received(&mut leaf);
    let [zero, one, two, missing, other] = [0, 1, 2, 77, 78].map(transaction);
    let answers = scene.ask(&mut leaf, &getdata(&[&two, &missing, &other, &zero, &missing, &one]));
    assert_eq!(
        answers,
        [
            message("tx", &two),
            message("notfound", &items(&[&missing, &other])),
            message("tx", &zero),
            message("notfound", &items(&[&missing])),
            message("tx", &one),
        ]
    );
}

#[test]
fn unknown_kinds_are_answered_with_notfound() {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut leaf = scene.leaf();
    let mut payload = vec![3];
    for kind in [0_u32, 5, 0x4000_0001] {
        payload.extend_from_slice(&kind.to_le_bytes());
        payload.extend_from_slice(&[8; 32]);
    }
    assert_eq!(scene.ask(&mut leaf, &frame("getdata", &payload)), [message("notfound", &payload)]);
}

#[test]
fn a_request_for_a_filtered_block_is_rejected_and_ends_the_link() {
    let mut scene = Scene::new(TrustMode::Validated);
    let (mut leaf, known) = (scene.leaf(), transaction(1));
    scene.announce(&known);
    scene.received(&mut leaf);
    let payload = [&[2, 1, 0, 0, 0][..], Hash256::of(&known).as_bytes(), &[3, 0, 0, 0], &[8; 32]].concat();
    let answers = scene.ask(&mut leaf, &frame("getdata", &payload));
    let reason = b"the block cannot be served now";
    let reject = [&[7][..], b"getdata", &[0x44, reason.len() as u8], reason].concat();
    assert_eq!(answers, [message("tx", &known), message("reject", &reject)]);
    scene.run_for(Duration::from_secs(3));
    scene.received(&mut leaf);
    assert!(leaf.has_seen_end);
    assert_eq!(scene.counts().blocks_refused, 1);
}

#[test]
fn a_large_request_is_served_as_the_peer_reads_it() {
    const COUNT: u32 = 300;
    let conditions = Conditions { capacity_bytes: 16_384, ..Conditions::default() };
    let mut scene = Scene::with(|config| config, config(), conditions);
    let mut leaf = scene.leaf();
    let all: Vec<Vec<u8>> = (0..COUNT).map(|number| sized_transaction(number, 240)).collect();
    for transaction in &all {
        scene.announce(transaction);
        scene.received(&mut leaf);
    }
    // 2,400 items need about 0.75 MB each time; three requests do not fit into the queue of 2 MiB.
    let wanted: Vec<&[u8]> = (0..8).flat_map(|_| all.iter().map(|transaction| &transaction[..])).collect();
    let mut answers = Vec::new();
    for part in wanted.chunks(200) {
        leaf.send(&getdata(part));
        scene.settle();
        answers.extend(leaf.receive());
    }
    answers.extend(scene.drain(&mut leaf));
    let answers = frames(&answers);
    assert_eq!(answers.len(), wanted.len());
    assert!(answers.iter().zip(&wanted).all(|((command, payload), wanted)| command == "tx" && payload == wanted));
    assert_eq!(scene.stats().pending_bytes, 0);
}

#[test]
fn sixty_transactions_of_90_kb_that_are_requested_at_once_all_arrive() {
    let conditions = Conditions { capacity_bytes: 200_000, ..Conditions::default() };
    let mut scene = Scene::with(|config| config, config(), conditions);
    let mut leaf = scene.leaf();
    let all: Vec<Vec<u8>> = (0..60).map(|number| large_transaction(number, 90_000)).collect();
    all.iter().for_each(|transaction| scene.announce(transaction));
    let all: Vec<&[u8]> = all.iter().map(|transaction| &transaction[..]).collect();
    scene.received(&mut leaf);
    for _ in 0..10 {
        let answers = scene.ask(&mut leaf, &getdata(&all));
        assert_eq!(answers.len(), 60);
        assert!(answers.iter().zip(&all).all(|((command, payload), wanted)| command == "tx" && payload == wanted));
    }
    assert_eq!(scene.stats().pending_bytes, 0);
}

#[test]
fn leaf_peers_that_do_not_read_end_no_link_but_their_own() {
    let conditions = Conditions { capacity_bytes: 2_000_000, ..Conditions::default() };
    let mut scene = Scene::with(|config| config, config().with_ping_interval(Duration::ZERO), conditions);
    let small: Vec<Vec<u8>> = (0..100).map(|number| sized_transaction(number, 250)).collect();
    let large: Vec<Vec<u8>> = (0..60).map(|number| large_transaction(1_000 + number, 90_000)).collect();
    small.iter().chain(&large).for_each(|transaction| scene.announce(transaction));
    let small: Vec<&[u8]> = small.iter().map(|transaction| &transaction[..]).cycle().take(50_000).collect();
    let large: Vec<&[u8]> = large.iter().map(|transaction| &transaction[..]).collect();
    // 37 messages of 1.8 MB and one of 504 KB leave less than 5 KB of 64 MiB.
    let mut idle: Vec<RawPeer> = Vec::new();
    for count in [50_000; 37].into_iter().chain([14_000]) {
        let mut leaf = scene.leaf();
        leaf.send(&getdata(&small[..count]));
        scene.settle();
        idle.push(leaf);
    }
    assert_eq!((scene.stats().leaf_peers, scene.counts().serving_overruns), (38, 0));
    assert!(scene.stats().pending_bytes > 64 * 1024 * 1024 - 5_000, "the test fills less than it should");
    let mut modest: Vec<RawPeer> = Vec::new();
    for _ in 0..3 {
        scene.upstream.send(LISTENING, &getdata(&large));
        let mut leaf = scene.leaf();
        leaf.send(&getdata(&large));
        scene.settle();
        modest.push(leaf);
    }
    assert_eq!(scene.counts().serving_overruns, 1);
    assert!(scene.stats().pending_bytes <= 64 * 1024 * 1024);
    // A link is closed after its last bytes had some time to be read.
    scene.run_for(Duration::from_secs(3));
    assert_eq!((scene.stats().upstream_links, scene.stats().leaf_peers), (2, 40));
    for leaf in &mut modest {
        let answers = scene.received(leaf);
        assert!(!leaf.has_seen_end && answers.iter().all(|(command, _)| command == "tx"));
        assert_eq!(answers.len(), 60);
    }
    let mut answers = Vec::new();
    loop {
        scene.settle();
        let received = scene.upstream.receive(LISTENING);
        if received.is_empty() {
            break;
        }
        answers.extend(received);
    }
    let answers: Vec<_> = frames(&answers).into_iter().filter(|(command, _)| command == "tx").collect();
    assert_eq!(answers.len(), 180, "an upstream's items were dropped");
}

#[test]
fn items_that_wait_are_forgotten_with_their_peer() {
    let conditions = Conditions { capacity_bytes: 1_000_000, ..Conditions::default() };
    let mut scene = Scene::with(|config| config, config(), conditions);
    let mut leaf = scene.leaf();
    let all: Vec<Vec<u8>> = (0..200).map(|number| sized_transaction(number, 250)).collect();
    all.iter().for_each(|transaction| scene.announce(transaction));
    scene.received(&mut leaf);
    let wanted: Vec<&[u8]> = (0..100).flat_map(|_| all.iter().map(|transaction| &transaction[..])).collect();
    for part in wanted.chunks(5_000) {
        leaf.send(&getdata(part));
        scene.settle();
    }
    assert!(scene.stats().pending_bytes > 0, "nothing waits, so the test shows nothing");
    leaf.close();
    scene.settle();
    assert_eq!((scene.stats().pending_bytes, scene.stats().leaf_peers), (0, 0));
}

#[test]
fn only_an_upstream_gets_an_answer_to_mempool() {
    let config = Config::managed(peerloop::Network::Regtest).with_seed(Some(1));
    let mut scene = Scene::with(|config| config.with_upstream_links(1), config, Conditions::default());
    let mut leaf = scene.leaf();
    let [one, two] = [transaction(1), transaction(2)];
    scene.upstream.send(SUBMITTING, &[tx(&one), tx(&two)].concat());
    scene.settle();
    scene.ask(&mut leaf, &tx(&transaction(3)));
    scene.heard(SUBMITTING);
    assert_eq!(scene.ask_upstream(SUBMITTING, &frame("mempool", b"")), [message("inv", &items(&[&one, &two]))]);
    scene.ask(&mut leaf, &frame("mempool", b""));
    scene.run_for(Duration::from_secs(3));
    scene.received(&mut leaf);
    assert!(leaf.has_seen_end, "a leaf that sends `mempool` is closed");
}

#[test]
fn a_large_answer_to_mempool_is_split() {
    let mut scene = Scene::new(TrustMode::Validated);
    let all: Vec<Vec<u8>> = (0..2_049).map(|number| sized_transaction(number, 100)).collect();
    for part in all.chunks(1_000) {
        scene.upstream.send(LISTENING, &part.iter().flat_map(|transaction| tx(transaction)).collect::<Vec<u8>>());
        scene.settle();
    }
    let slices: Vec<&[u8]> = all.iter().map(|transaction| &transaction[..]).collect();
    let expected = slices.chunks(2_048).map(|part| message("inv", &items(part))).collect::<Vec<_>>();
    assert_eq!(scene.ask_upstream(SUBMITTING, &frame("mempool", b"")), expected);
    assert_eq!(scene.counts().announcements_lost, 0);
}
