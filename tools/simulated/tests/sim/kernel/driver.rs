//! Turns: an actor with work gets turns. An actor without work gets none, and the driver calls its `wait` at most
//! twice.

use peerloop::internals::net::Net;
use peerloop::sim::{Actor, Driver, RunOutcome, SimNet, World};
use peerloop::time::{Instant, Wait};
use peerloop_testkit::simulated;
use peerloop_testkit::simulated::{Node, Player, config, secs};
use std::cell::Cell;
use std::io;

/// An actor that only counts its turns and the calls to its `wait`.
struct Idler {
    net: SimNet,
    asked: Cell<u64>,
    turns: u64,
}

impl Idler {
    fn new(world: &World) -> Self {
        Self { net: world.host(), asked: Cell::new(0), turns: 0 }
    }
}

impl Actor for Idler {
    fn turn(&mut self) -> io::Result<bool> {
        self.turns += 1;
        self.net.wait(Wait::Zero, &mut Vec::new())?;
        Ok(true)
    }

    fn wait(&self) -> Wait {
        self.asked.set(self.asked.get() + 1);
        Wait::Forever
    }

    fn host(&self) -> Option<usize> {
        Some(self.net.host())
    }
}

/// An actor that calls `does` at the moment `at`, and then ends.
struct Doer<F: FnMut()> {
    at: Instant,
    does: F,
}

impl<F: FnMut()> Actor for Doer<F> {
    fn turn(&mut self) -> io::Result<bool> {
        (self.does)();
        Ok(false)
    }

    fn wait(&self) -> Wait {
        Wait::Until(self.at)
    }
}

#[test]
fn the_wait_of_an_idle_actor_is_called_at_most_twice_and_the_actor_gets_no_turn() {
    let world = World::new(1, Instant::ZERO);
    let mut idlers: Vec<Idler> = (0..20).map(|_| Idler::new(&world)).collect();
    let mut node = Node::new(&world, config(), Player::default());
    let player = Player::dialling(node.address).pinging(Instant::ZERO.plus(secs(1)), secs(1), u32::MAX);
    let mut other = Node::new(&world, config(), player);
    let mut actors: Vec<&mut dyn Actor> = idlers.iter_mut().map(|idler| idler as &mut dyn Actor).collect();
    actors.extend([&mut node.reactor as &mut dyn Actor, &mut other.reactor]);
    Driver::new(&world).run_until(Instant::ZERO.plus(secs(1_000)), &mut actors).unwrap();
    assert!(other.seen().pongs.len() >= 999);
    for idler in &idlers {
        assert!(
            idler.asked.get() <= 2 && idler.turns == 0,
            "`wait` was called {} times, and {} turns ran",
            idler.asked.get(),
            idler.turns
        );
    }
}

#[test]
fn an_actor_with_an_event_gets_a_turn() {
    let world = World::new(1, Instant::ZERO);
    let (mut idler, mut dialler) = (Idler::new(&world), world.host());
    let address = idler.net.listen(0, std::net::SocketAddr::new(idler.net.ip(), 1)).unwrap();
    let at = Instant::ZERO.plus(secs(5));
    let does = || dialler.connect(simulated::raw_link(), address, None).unwrap();
    let mut doer = Doer { at, does };
    Driver::new(&world).run_until(Instant::ZERO.plus(secs(9)), &mut [&mut idler, &mut doer]).unwrap();
    assert_eq!(idler.turns, 1);
}

#[test]
fn a_loop_that_is_woken_from_outside_gets_a_turn_at_once() {
    let world = World::new(1, Instant::ZERO);
    let mut node = Node::new(&world, config(), Player::default());
    let handle = node.reactor.handle();
    let at = Instant::ZERO.plus(secs(5));
    let mut doer = Doer { at, does: move || drop(handle.stop().unwrap()) };
    let outcome = Driver::new(&world).run_until(Instant::MAX, &mut [&mut node.reactor, &mut doer]).unwrap();
    assert_eq!((outcome, world.now()), (RunOutcome::AllEnded, at));
}
