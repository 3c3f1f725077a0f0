//! Runs a loop inside another one: the outer loop waits for both loops, and runs a turn of the inner loop only when
//! that turn is due.
//!
//! Run `cargo run --example foreign_event_loop`, or append a network and a node, for example `mainnet 192.0.2.1:8333`.
//! The outer loop here is a mio poller with its own tick; any loop that can wait for a descriptor works.

mod setting;

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    nested::run()
}

#[cfg(not(unix))]
fn main() {
    println!("only Unix has descriptors to wait for; elsewhere call `poll_once` from a loop of your own");
}

#[cfg(unix)]
mod nested {
    use super::setting;
    use mio::unix::SourceFd;
    use mio::{Events, Interest, Poll, Token};
    use peerloop::time::{Instant, Wait};
    use peerloop::{Config, Ctx, Event, Handler, PeerId, Reactor};
    use std::error::Error;
    use std::net::SocketAddr;
    use std::os::fd::{AsFd, AsRawFd};
    use std::time::Duration;

    const TICK: Duration = Duration::from_millis(50);
    const TICKS: u32 = 5;

    struct Client {
        node: SocketAddr,
    }

    impl Handler for Client {
        type Request = ();

        fn on_start(&mut self, ctx: &mut Ctx<'_>) {
            ctx.connect(self.node).expect("an empty table has room");
        }

        fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
            match event {
                Event::Ready { .. } => {
                    println!("the inner loop has a peer");
                    let _ = ctx.ping(peer, ctx.now());
                }
                Event::Pong { sent, received, .. } => println!("pong after {:?}", received.since(sent)),
                Event::Closed { reason, .. } => println!("closed: {reason}"),
                _ => {}
            }
        }
    }

    pub(crate) fn run() -> Result<(), Box<dyn Error>> {
        let (network, node) = setting::network_and_node()?;
        // Only the outer loop waits, so the inner loop need not spin for exact wake-ups.
        let mut inner = Reactor::new(Config::new(network).with_spin(false), Client { node })?;
        let mut outer = Poll::new()?;
        let mut events = Events::with_capacity(8);
        outer.registry().register(&mut SourceFd(&inner.as_fd().as_raw_fd()), Token(0), Interest::READABLE)?;

        let mut ticks = 0;
        let mut next_tick = inner.now().plus(TICK);
        loop {
            let now = inner.now();
            // Any turn may change the deadline, so the deadline is read before every wait.
            let inner_due = match inner.next_deadline() {
                Wait::Zero => Some(now),
                Wait::Until(moment) => Some(moment),
                Wait::Forever => None,
            };
            let wake_up = inner_due.map_or(next_tick, |due| due.min(next_tick));
            outer.poll(&mut events, Some(round_up(wake_up.since(now))))?;

            let now = inner.now();
            if !events.is_empty() || inner_due.is_some_and(|due| due <= now) {
                // The outer loop has waited already; the inner one must not wait.
                if !inner.poll_once(Duration::ZERO)? {
                    println!("the inner loop has ended after {ticks} ticks of the outer one");
                    return Ok(());
                }
            }
            if next_tick <= now {
                next_tick = tick(now, &mut ticks);
                if ticks == TICKS {
                    inner.act(|_client, ctx| ctx.stop());
                }
            }
        }
    }

    /// Does the outer loop's own work, and returns the moment at which it is next due.
    fn tick(now: Instant, ticks: &mut u32) -> Instant {
        *ticks += 1;
        now.plus(TICK)
    }

    /// Rounds up to whole milliseconds, a poller's resolution: a wait that ends early would find nothing due.
    fn round_up(wait: Duration) -> Duration {
        Duration::from_millis(u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }
}
