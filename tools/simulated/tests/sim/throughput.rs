//! Measures the number of calls that a world handles per second of real time, to show the cost of a change to the
//! simulator.

use peerloop::Reactor;
use peerloop::internals::net::Net;
use peerloop::sim::{Actor, Driver, SimNet, World};
use peerloop::time::{Instant, Wait};
use peerloop_testkit::bytes::{ping, verack, version};
use peerloop_testkit::simulated::{Player, config, raw_link, secs};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// An actor that pings a loop once a millisecond and reads the replies.
struct Pinger {
    net: SimNet,
    ping: Vec<u8>,
    next: Instant,
    received_bytes: usize,
}

impl Pinger {
    fn dialling(world: &World, address: SocketAddr) -> Self {
        let mut net = world.host();
        net.connect(raw_link(), address, None).unwrap();
        net.write(raw_link(), &[version(), verack()].concat()).unwrap();
        Self { net, ping: ping(), next: Instant::ZERO.plus(secs(1)), received_bytes: 0 }
    }
}

impl Actor for Pinger {
    fn turn(&mut self) -> io::Result<bool> {
        let mut ready = Vec::new();
        self.net.wait(Wait::Zero, &mut ready)?;
        let mut block = [0; 4_096];
        if !ready.is_empty() {
            self.received_bytes += self.net.read(raw_link(), &mut block).unwrap_or(0);
        }
        if self.next <= self.net.now() {
            self.net.write(raw_link(), &self.ping)?;
            self.next = self.next.plus(Duration::from_millis(1));
        }
        Ok(true)
    }

    fn wait(&self) -> Wait {
        Wait::Until(self.next)
    }

    fn host(&self) -> Option<usize> {
        Some(self.net.host())
    }
}

#[test]
#[ignore = "a measurement: run it alone, with the release-test profile and --nocapture"]
#[expect(clippy::disallowed_methods, reason = "the real time of a run is measured")]
fn the_number_of_calls_per_second() {
    for peers in [1, 16, 1_000] {
        let world = World::new(1, Instant::ZERO);
        let config = config().with_ping_interval(Duration::ZERO);
        let mut reactor = Reactor::with_net(config, world.host(), Player::default()).unwrap();
        let address = reactor.listen(SocketAddr::new(reactor.net().ip(), 18_444)).unwrap();
        let mut pingers: Vec<Pinger> = (0..peers).map(|_| Pinger::dialling(&world, address)).collect();
        let mut actors: Vec<&mut dyn Actor> = vec![&mut reactor];
        actors.extend(pingers.iter_mut().map(|pinger| pinger as &mut dyn Actor));
        let (pings, began) = (800_000 / peers as u64, std::time::Instant::now());
        let until = Instant::ZERO.plus(secs(1) + Duration::from_millis(pings));
        Driver::new(&world).run_until(until, &mut actors).unwrap();
        let (took, calls) = (began.elapsed().as_secs_f64(), world.trace().calls() as f64);
        println!("{peers} peers: {calls} calls, {:.2} M/s, {:.0} ns each", calls / took / 1e6, took / calls * 1e9);
        assert!(pingers.iter().all(|pinger| pinger.received_bytes as u64 >= 32 * pings));
    }
}
