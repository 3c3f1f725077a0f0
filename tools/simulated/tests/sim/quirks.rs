//! Every honest peer with a quirk stays connected, whichever side dials, with whole and with split streams.

use crate::keen::{PORT, address_of, crowd, node, run};
use peerloop::sim::actor::{Journal, Odd, Profile, Quirk};
use peerloop::sim::{Conditions, Cut, Cuts, World};
use peerloop::time::Instant;
use peerloop_testkit::bytes::REGTEST;
use peerloop_testkit::simulated::{config, secs};
use std::time::Duration;

#[test]
fn every_quirk_is_tolerated_in_both_directions() {
    let cut = Cuts { writes: Cut::Drawn, arrivals: Cut::Drawn };
    let rough = Conditions { capacity_bytes: 64, to_acceptor: cut.clone(), to_dialler: cut };
    for (quirk, conditions) in
        Quirk::ALL.into_iter().flat_map(|quirk| [(quirk, Conditions::default()), (quirk, rough.clone())])
    {
        let world = World::new(3, Instant::ZERO);
        world.set_conditions(conditions);
        let journal = Journal::new();
        let odd = Odd::new(quirk, Profile::new(REGTEST, &journal).pinging(secs(7)));
        let mut peers = crowd(&world);
        let (dialling, accepting) = (odd.clone(), odd);
        let there = peers.listen(PORT, move |_| accepting.role()).unwrap();
        let mut node = node(&world, config().with_ping_interval(secs(5)), vec![there; 3]);
        peers.dial_many(address_of(&node), Instant::ZERO, Duration::ZERO, 3, move |_| dialling.role());
        run(&world, secs(60), &mut [&mut node, &mut peers]);

        assert_eq!(journal.complaints(), [], "{quirk:?}");
        let tally = journal.tally();
        assert_eq!((tally.ready, node.stats().ready, peers.len()), (6, 6, 6), "{quirk:?}");
        let has_pongs = !matches!(quirk, Quirk::OldVersion(..=60_000));
        assert_eq!(tally.pings_answered > 6 * 9, has_pongs, "{quirk:?} {tally:?}");
        assert_eq!(tally.pongs > 6 * 6, has_pongs, "{quirk:?} {tally:?}");
    }
}
