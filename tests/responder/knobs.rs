//! A responder that misbehaves on purpose: exact moments, exact rates, and the account of every reply.

use crate::stage::{Stage, genesis, millis, tx, unknown};
use peerloop::load::{Rate, ResponderConfig, ResponderCounts, Stall};
use peerloop::protocol::CommandName;
use peerloop::sim::World;
use peerloop::time::Instant;
use peerloop::wire::{InventoryItem, MessageRef};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The start of every world, and of the responder's loop.
const START: Instant = Instant::from_nanos(77);

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// Sends `count` pings at even steps, from the peers in turn, and runs until all replies have arrived.
fn ping_evenly(stage: &mut Stage, peers: usize, count: usize, step: Duration) {
    for index in 0..count {
        stage.ping(index % peers);
        stage.run_for(step);
    }
    stage.run_for(10 * SECOND);
}

/// Returns the latency of each pong, in the order of their arrival.
fn latencies(stage: &Stage) -> Vec<Duration> {
    stage.asker.handler().pongs.iter().map(|(sent, received)| received.since(*sent)).collect()
}

/// Asserts that every request has one outcome.
#[track_caller]
fn assert_adds_up(counts: &ResponderCounts) {
    let ResponderCounts { requests, answered, dropped, over_rate, over_limit, unsent, .. } = *counts;
    assert_eq!(requests, answered + dropped + over_rate + over_limit + unsent, "{counts:?}");
}

#[test]
fn every_kind_of_reply_is_delayed_by_exactly_the_delay() {
    let given = tx(1, 10);
    let config = ResponderConfig::default()
        .with_delay(micros(1_234), micros(1_234))
        .with_transactions(vec![given.as_ref().encoded().to_vec().into()]);
    let mut stage = Stage::new(config, 2);
    for _ in 0..50 {
        let sent = stage.now();
        stage.get_headers(0, genesis());
        stage.announce(0, &[unknown(1)]);
        stage.get(1, &[InventoryItem::tx(given.as_ref().txid())]);
        stage.get(1, &[unknown(2)]);
        stage.ping(1);
        stage.run_for(micros(3_000));
        let arrivals = std::mem::take(&mut stage.asker.handler_mut().arrivals);
        let of_peer = |peer| arrivals.iter().filter(move |arrival| arrival.peer == peer).map(|arrival| arrival.command);
        assert!(of_peer(0).eq([CommandName::HEADERS, CommandName::GETDATA]), "{arrivals:?}");
        assert!(of_peer(1).eq([CommandName::TX, CommandName::NOTFOUND]), "{arrivals:?}");
        assert!(arrivals.iter().all(|arrival| arrival.at.since(sent) == micros(1_234)), "{arrivals:?}");
    }
    assert_eq!(latencies(&stage), [micros(1_234); 50]);
    let counts = stage.counts();
    assert_eq!((counts.requests, counts.answered, counts.delayed), (250, 250, 250));
    // Transactions are accepted at once, because nothing answers them.
    stage.send(0, &MessageRef::Tx(tx(2, 10).as_ref()));
    stage.run_for(Duration::ZERO);
    assert_eq!(stage.counts().txs_received, 1);
}

#[test]
fn replies_to_requests_at_the_same_moment_keep_their_order_under_a_fixed_delay() {
    let mut stage = Stage::new(ResponderConfig::default().with_delay(millis(3), millis(3)), 1);
    (0..200).for_each(|number| stage.get(0, &[unknown(number)]));
    stage.run_for(millis(3));
    let numbers: Vec<u8> = stage.arrived().iter().map(|(_, _, payload)| payload[5]).collect();
    assert_eq!(numbers, (0..200).collect::<Vec<u8>>());
}

#[test]
fn drawn_delays_cover_their_range_and_repeat_with_the_seed() {
    let run = |seed| {
        let config = ResponderConfig::default().with_delay(millis(1), millis(5));
        let mut stage = Stage::with_seeds(World::new(5, START), config, 4, |config| config, seed);
        ping_evenly(&mut stage, 4, 2_000, millis(1));
        assert_eq!((stage.counts().answered, stage.counts().delayed), (2_000, 2_000));
        latencies(&stage)
    };
    let drawn = run(1);
    assert!(drawn.iter().all(|latency| (millis(1)..=millis(5)).contains(latency)));
    let quarters =
        |quarter: u32| drawn.iter().filter(move |latency| (latency.as_micros() as u32 - 1_000) / 1_000 == quarter);
    for quarter in 0..4 {
        let count = quarters(quarter).count();
        assert!((420..580).contains(&count), "{count} of 2,000 delays are in quarter {quarter}");
    }
    assert!(drawn.iter().collect::<BTreeSet<_>>().len() > 1_900);
    assert_eq!(run(1), drawn);
    assert_ne!(run(2), drawn);
}

#[test]
fn a_share_of_the_messages_is_never_answered_and_the_seed_decides_which() {
    let run = |seed| {
        let config = ResponderConfig::default().with_drop_share(0.25);
        let mut stage = Stage::with_seeds(World::new(5, START), config, 8, |config| config, seed);
        for index in 0..2_000 {
            stage.ping(index % 8);
            stage.announce(index % 8, &[unknown(1)]);
            stage.run_for(millis(1));
        }
        let (counts, pongs) = (stage.counts(), stage.asker.handler().pongs.clone());
        let requests = stage.arrived().len();
        assert_eq!((counts.requests, counts.answered), (4_000, (pongs.len() + requests) as u64));
        assert_adds_up(&counts);
        // Four standard deviations of 4,000 draws are 110.
        assert!((890..=1_110).contains(&counts.dropped), "{}", counts.dropped);
        assert!(latencies(&stage).iter().all(Duration::is_zero));
        pongs
    };
    let answered = run(1);
    assert_eq!(run(1), answered);
    assert_ne!(run(2), answered);
}

#[test]
fn a_responder_that_drops_everything_keeps_its_peers() {
    let mut stage = Stage::new(ResponderConfig::default().with_drop_share(1.0), 2);
    ping_evenly(&mut stage, 2, 100, millis(1));
    assert_eq!((stage.counts().dropped, latencies(&stage).len(), stage.node.stats().ready), (100, 0, 2));
}

#[test]
fn replies_pause_in_every_stall_and_all_are_sent_at_its_end() {
    let config = ResponderConfig::default().with_stall(Stall::new(millis(200), SECOND));
    let mut stage = Stage::new(config, 3);
    ping_evenly(&mut stage, 3, 4_000, millis(1));
    let pongs = stage.asker.handler().pongs.clone();
    assert_eq!(pongs.len(), 4_000);
    let mut stalled = 0;
    for (sent, received) in pongs {
        let (after_start, within) =
            (sent.since(START), Duration::from_nanos(sent.since(START).as_nanos() as u64 % 1_000_000_000));
        let expected = match after_start >= SECOND && within < millis(200) {
            true => sent.plus(millis(200) - within),
            false => sent,
        };
        stalled += u64::from(expected > sent);
        assert_eq!(received, expected);
    }
    // Three stalls began within the four seconds of the pings.
    assert_eq!((stage.counts().stalled, stalled), (600, 600));
    assert_adds_up(&stage.counts());
}

#[test]
fn a_maximum_rate_answers_exactly_its_number_in_every_second_and_drops_the_rest() {
    const RATE: usize = 500;
    let config = ResponderConfig::default().with_max_rate(Some(Rate::per_second(RATE as u64)));
    // Enough peers for all pings that are never answered.
    let mut stage = Stage::new(config, 20);
    // Pings and announcements, at three times the rate.
    for index in 0..6_000 {
        match index % 2 {
            0 => stage.ping(index % 20),
            _ => stage.announce(index % 20, &[unknown(3)]),
        }
        stage.run_for(Duration::from_nanos(666_667));
    }
    stage.run_for(SECOND);
    assert!(latencies(&stage).iter().all(|latency| *latency <= millis(100)));
    let asker = stage.asker.handler();
    let mut moments: Vec<u64> = asker.pongs.iter().map(|(_, received)| received.as_nanos()).collect();
    moments.extend(asker.arrivals.iter().map(|arrival| arrival.at.as_nanos()));
    moments.sort_unstable();
    // From the first reply to the last one, every second has exactly its number.
    assert!(moments.windows(2).all(|pair| pair[1] - pair[0] == 2_000_000), "the replies are not evenly spaced");
    assert_eq!(moments.len(), 4 * RATE + RATE / 10, "not the replies of 4 s and of a queue of 100 ms");
    let counts = stage.counts();
    assert_eq!((counts.answered, counts.over_rate), (moments.len() as u64, 6_000 - moments.len() as u64));
    assert_adds_up(&counts);
}

#[test]
fn below_the_maximum_rate_nothing_waits_and_nothing_is_dropped() {
    let config = ResponderConfig::default().with_max_rate(Some(Rate::per_second(1_000)));
    let mut stage = Stage::new(config, 3);
    ping_evenly(&mut stage, 3, 3_000, millis(1));
    assert_eq!(latencies(&stage), [Duration::ZERO; 3_000]);
    assert_eq!(stage.counts().over_rate, 0);
}

#[test]
fn a_reply_waits_for_its_delay_then_for_its_turn_and_then_for_the_end_of_a_stall() {
    let config = ResponderConfig::default()
        .with_delay(millis(300), millis(300))
        .with_max_rate(Some(Rate::per_second(50)))
        .with_stall(Stall::new(millis(50), SECOND));
    let mut stage = Stage::new(config, 1);
    let due = |stage: &mut Stage, at: u64| {
        let until = START.plus(millis(at)).since(stage.now());
        stage.run_for(until);
        stage.ping(0);
    };
    // Due at 500, 505 and 510 ms, then at 990, 995 and 1,049 ms.
    [200, 205, 210, 690, 695, 749].into_iter().for_each(|at| due(&mut stage, at));
    stage.run_for(2 * SECOND);
    let received: Vec<_> = stage.asker.handler().pongs.iter().map(|(_, at)| at.since(START).as_millis()).collect();
    assert_eq!(received, [500, 520, 540, 990, 1_050, 1_070]);
    let counts = stage.counts();
    assert_eq!((counts.delayed, counts.stalled, counts.over_rate, counts.answered), (6, 1, 0, 6));
}

#[test]
fn a_loop_that_is_late_sends_each_reply_at_once_and_keeps_the_order() {
    let config = ResponderConfig::default().with_delay(millis(10), millis(10));
    let mut stage = Stage::new(config, 2);
    (0..2).for_each(|peer| stage.ping(peer));
    stage.run_for(millis(5));
    (0..2).for_each(|peer| stage.ping(peer));
    // The node's loop reads the pings, and is then denied the CPU.
    stage.run_for(Duration::ZERO);
    stage.world.advance(millis(50));
    stage.run_for(Duration::ZERO);
    assert_eq!(latencies(&stage), [55, 50, 55, 50].map(millis));
    let order: Vec<_> = stage.asker.handler().pongs.iter().map(|(sent, _)| *sent).collect();
    assert!(order[0] < order[1] && order[2] < order[3], "a peer's pongs are not in order: {order:?}");
    stage.ping(0);
    stage.run_for(millis(10));
    assert_eq!(latencies(&stage)[4], millis(10));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 8))]

    /// With any settings, every request has exactly one outcome, and nothing is answered twice.
    #[test]
    fn every_request_has_one_outcome(
        (min, spread) in (0_u64..20, 0_u64..20),
        drop_share in prop_oneof![Just(0.0), 0.0..1.0],
        stall in prop_oneof![Just(None), (1_u64..50, 51_u64..200).prop_map(Some)],
        rate in prop_oneof![Just(None), (1_u64..2_000).prop_map(Some)],
        close_after in prop_oneof![Just(None), (1_u64..300).prop_map(Some)],
        seed in any::<u64>(),
    ) {
        let config = ResponderConfig::default()
            .with_blocks(20)
            .with_block_bytes(3_000)
            .with_delay(millis(min), millis(min + spread))
            .with_drop_share(drop_share)
            .with_stall(stall.and_then(|(length, interval)| Stall::new(millis(length), millis(interval))))
            .with_max_rate(rate.map(Rate::per_second))
            .with_close_after(close_after.map(millis));
        let mut stage = Stage::with_seeds(World::new(seed, START), config.clone(), 5, |config| config, seed);
        let mut sent = 0;
        for index in 0..200_usize {
            let peer = index % 5;
            let is_open = stage.asker.handler().closed.iter().all(|(closed, ..)| *closed != peer);
            if is_open {
                match index % 3 {
                    0 => stage.ping(peer),
                    1 => stage.announce(peer, &[unknown(1)]),
                    _ => stage.get(peer, &[unknown(2)]),
                }
                sent += 1;
            }
            stage.run_for(micros(700));
        }
        stage.run_for(2 * SECOND);
        let (counts, asker) = (stage.counts(), stage.asker.handler());
        // The loop answers pings itself if no setting alters replies.
        let pings = if config.alters_replies() { 0 } else { asker.pongs.len() as u64 };
        let lost = sent - counts.requests - pings;
        prop_assert!(lost == 0 || close_after.is_some(), "{} requests were not noticed", lost);
        assert_adds_up(&counts);
        let arrived = asker.arrivals.len() + asker.pongs.len();
        prop_assert!(arrived as u64 <= counts.answered + pings);
        prop_assert!(close_after.is_some() || arrived as u64 == counts.answered + pings);
        prop_assert_eq!(asker.closed.len(), if close_after.is_some() { 5 } else { 0 });
    }
}
