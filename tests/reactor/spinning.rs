//! A loop counts the time in which it polls for an exact wake-up separately from its work and its sleep.

use peerloop::MioNet;
use peerloop::api::{Event, Stats};
use peerloop::handler::Ctx;
use peerloop::internals::limits::EXACT_WAKE_SPIN;
use peerloop::{Config, Handler, Network, PeerId, Reactor};
use std::time::Duration;

/// A handler that requests one wake-up, [`EXACT_WAKE_SPIN`] after the start, and stops the loop in that wake-up.
#[derive(Debug)]
struct WakesSoon;

impl Handler for WakesSoon {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        ctx.wake_at(ctx.now().plus(EXACT_WAKE_SPIN));
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        ctx.stop();
    }

    fn on_event(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, _event: Event<'_>) {}
}

fn stats_after_one_wake_up(spin: bool) -> Stats {
    let config = Config::new(Network::Regtest).with_spin(spin);
    let mut reactor: Reactor<MioNet, WakesSoon> =
        Reactor::new(config, WakesSoon).expect("the kernel provides a poller");
    reactor.run().expect("the poller works");
    reactor.stats()
}

#[test]
fn polling_for_an_exact_wake_up_counts_as_spinning_and_not_as_work() {
    let spun = stats_after_one_wake_up(true);
    assert!(spun.spinning > Duration::ZERO, "{:?}", spun.spinning);
    assert!(spun.spinning + spun.busy <= spun.uptime, "{spun:?}");
    let slept = stats_after_one_wake_up(false);
    assert_eq!(slept.spinning, Duration::ZERO);
}
