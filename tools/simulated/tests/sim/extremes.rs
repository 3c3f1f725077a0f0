//! Every configured duration at its maximum and at its minimum: a loop with such a configuration runs and breaks no
//! invariant.

use crate::manager::support::{Claim, ManagedWorld, Stranger, Watcher, manager};
use peerloop::Config;
use peerloop::config::{DialMode, Field, ManagerConfig};
use peerloop::sim::World;
use peerloop::time::Instant;
use peerloop_testkit::bytes::{frame, version};
use peerloop_testkit::simulated::{config, secs};
use std::net::SocketAddr;
use std::time::Duration;

type Set = fn(&mut Config, Duration);

fn manager_of(config: &mut Config) -> &mut ManagerConfig {
    config.manager.as_mut().expect("the loop has a manager")
}

/// Each duration's field, the code that sets it, and whether zero is in its range.
const DURATIONS: [(Field, Set, bool); 8] = [
    (Field::ConnectTimeout, |config, time| config.connect_timeout = time, false),
    (Field::HandshakeTimeout, |config, time| config.handshake_timeout = time, false),
    (Field::PingInterval, |config, time| config.ping_interval = time, true),
    (Field::PongTimeout, |config, time| config.pong_timeout = time, false),
    (Field::RestartWindow, |config, time| manager_of(config).restart_window = time, false),
    (Field::InitialBackoff, |config, time| manager_of(config).initial_backoff = time, false),
    (Field::MaxBackoff, |config, time| manager_of(config).max_backoff = time, false),
    (Field::BanDuration, |config, time| manager_of(config).ban_duration = time, false),
];

fn managed() -> Config {
    config().with_manager(manager().with_max_retries(1_000))
}

/// Runs a loop with a configuration that `set` has changed, and then stops the loop. If `is_live`, the configuration is
/// changed while the loop runs. The loop dials three addresses: one peer answers, one closes its connections, and
/// nobody listens at the third. The loop also accepts a stranger and bans it.
fn live(set: impl Fn(&mut Config), is_live: bool) {
    let mut changed = managed();
    let begun = changed.clone();
    set(&mut changed);
    // The maximum backoff may not be shorter than the initial backoff.
    let manager = manager_of(&mut changed);
    manager.max_backoff = manager.max_backoff.max(manager.initial_backoff);
    let mut managed = ManagedWorld::of(
        World::new(1, Instant::ZERO),
        if is_live { begun } else { changed.clone() },
        Watcher::default(),
    );
    let answers = managed.add_targets(1);
    let [mut closes, nobody] = [Stranger::new(&managed.world), Stranger::new(&managed.world)];
    let (listens, silent) = (closes.listen(), nobody.address());
    let mode = |config: &mut Config, peers: &[SocketAddr]| manager_of(config).mode = DialMode::Fixed(peers.to_vec());
    mode(&mut changed, &[answers[0], listens, silent]);
    let mut stranger = Stranger::new(&managed.world);
    for round in 0..4 {
        if round > 0 || !is_live {
            drop(managed.node.handle().update_config(changed.clone()).unwrap());
        }
        managed.welcome(&mut stranger, round, None);
        stranger.send(round, &frame("ping", &[1; 8]));
        (0..100).for_each(|_| stranger.send(round, &version()));
        while closes.accept(100 + round) {
            closes.send(100 + round, &Claim::default().handshake());
            managed.run(secs(1));
            closes.close(100 + round);
        }
        managed.run(secs(400));
        drop(managed.node.handle().ban([192, 0, 2, round as u8].into(), Some(Duration::MAX)).unwrap());
        managed.run(secs(1));
        let host = stranger.net.ip();
        drop(managed.node.handle().unban(host).unwrap());
    }
    managed.run(secs(5_000));
    managed.stop();
}

#[test]
fn every_duration_may_be_its_maximum_from_the_start_or_while_the_loop_runs() {
    for (name, set, _) in DURATIONS {
        for is_live in [false, true] {
            println!("{name}, changed while the loop runs: {is_live}");
            live(|config| set(config, Duration::MAX), is_live);
        }
    }
    live(|config| DURATIONS.iter().for_each(|(_, set, _)| set(config, Duration::MAX)), false);
}

#[test]
fn every_duration_may_be_its_minimum_and_zero_is_refused_if_out_of_range() {
    for (field, set, may_be_zero) in DURATIONS {
        let mut zero = managed();
        set(&mut zero, Duration::ZERO);
        let refused = zero.validate().map_err(|error| error.field);
        assert_eq!(refused, if may_be_zero { Ok(()) } else { Err(field) });
        // The maximum backoff may not be shorter than the initial backoff, so `live` raises it if necessary.
        let least = if may_be_zero { Duration::ZERO } else { Duration::from_nanos(1) };
        live(|config| set(config, least), false);
    }
}
