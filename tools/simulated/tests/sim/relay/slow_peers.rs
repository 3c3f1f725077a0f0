//! Peers that read slowly or never: they delay nobody, and receive fewer and larger announcements.

use super::*;

/// The conditions of a world whose connections hold about ten announcements.
fn narrow() -> Conditions {
    Conditions { capacity_bytes: 700, ..Conditions::default() }
}

#[test]
fn a_slow_reader_gets_one_larger_inv_later() {
    let mut scene = Scene::with(|config| config, config(), Conditions { capacity_bytes: 8_192, ..narrow() });
    let (mut slow, mut fast) = (scene.leaf(), scene.leaf());
    let mut announced = Vec::new();
    for number in 0..2_000 {
        scene.announce(&transaction(number));
        announced.push(Hash256::of(&transaction(number)));
        let messages = scene.received(&mut fast);
        assert_eq!(hashes(&messages, "inv"), announced[announced.len() - 1..], "the slow peer delays the fast one");
    }
    let messages = scene.received(&mut slow);
    assert_eq!(hashes(&messages, "inv"), announced);
    // The connection and the relay's queue hold at most 8,192 and about 4,096 bytes of single announcements.
    let single = messages.iter().take_while(|(_, payload)| payload.len() == 37).count();
    assert!(single <= 8_192 / 61 + 4_096 / 61 + 2, "{single} single announcements");
    assert_eq!(messages.len(), single + 1, "the rest is not one announcement");
    assert_eq!(scene.counts().announcements_lost, 0);
}

#[test]
fn a_peer_that_never_reads_misses_counted_announcements_and_delays_nobody() {
    const COUNT: u32 = 80_000;
    let mut scene = Scene::with(
        |config| config.with_max_entries(2_000_000),
        config(),
        Conditions { capacity_bytes: 200_000, ..narrow() },
    );
    let (mut stuck, mut fast) = (scene.leaf(), scene.leaf());
    let mut received = 0;
    for first in (0..COUNT).step_by(500) {
        let all: Vec<Vec<u8>> = (first..first + 500).map(transaction).collect();
        let bodies: Vec<u8> = all.iter().flat_map(|transaction| tx(transaction)).collect();
        scene.upstream.send(LISTENING, &bodies);
        received += hashes(&scene.received(&mut fast), "inv").len();
    }
    assert_eq!(received, COUNT as usize);
    let late = hashes(&scene.received(&mut stuck), "inv").len() as u64;
    assert_eq!(late + scene.counts().announcements_lost, COUNT.into());
    assert!(scene.counts().announcements_lost > 0);
}

/// Returns the moments at which a fast peer received each announcement. If `is_troubled` is true, another peer requests
/// everything again and again. Neither it nor a third peer ever reads.
fn moments_of_a_fast_peer(is_troubled: bool) -> Vec<(Instant, Hash256)> {
    let conditions = Conditions { capacity_bytes: 20_000, ..Conditions::default() };
    let mut scene = Scene::with(|config| config, config(), conditions);
    let (mut fast, stuck, mut greedy) = (scene.leaf(), scene.leaf(), scene.leaf());
    let mut moments = Vec::new();
    for number in 0..400 {
        scene.upstream.send(LISTENING, &tx(&sized_transaction(number, 250)));
        if is_troubled && number % 10 == 0 {
            let wanted: Vec<Vec<u8>> = (0..number).map(|number| sized_transaction(number, 250)).collect();
            let wanted: Vec<&[u8]> = wanted.iter().map(|transaction| &transaction[..]).collect();
            // A part of the request may not fit into the connection, because the relay reads the peer no more.
            let _ = greedy.net.write(LinkId::from_u64(0), &getdata(&wanted));
        }
        for _ in 0..8 {
            scene.run_for(Duration::from_millis(1));
            let now = scene.world.now();
            let messages = frames(&fast.receive());
            moments.extend(hashes(&messages, "inv").into_iter().map(|hash| (now, hash)));
        }
    }
    drop(stuck);
    moments
}

#[test]
fn peers_that_do_not_read_change_no_moment_of_another_peer() {
    let undisturbed = moments_of_a_fast_peer(false);
    assert_eq!(undisturbed.len(), 400);
    assert_eq!(moments_of_a_fast_peer(true), undisturbed);
}
