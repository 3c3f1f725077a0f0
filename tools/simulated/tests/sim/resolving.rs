//! Names in a virtual world: the replies to queries, the loop that a reply wakes, and queries that are lost when their
//! process ends.

use peerloop::Reactor;
use peerloop::error::{ResolveCause, ResolveFailure};
use peerloop::internals::id::Token;
use peerloop::internals::limits::{MAX_RESOLVED_ADDRESSES, MAX_RESOLVES, RESOLVE_TIMEOUT};
use peerloop::internals::net::{Net, Readiness};
use peerloop::internals::offload::{Completion, Offload};
use peerloop::sim::Layer;
use peerloop::sim::{Actor, Driver, Names, SimNet, Tape, World};
use peerloop::time::{Instant, Wait};
use peerloop_testkit::simulated::{Player, config, secs};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const SEED: &str = "seed.example";
/// Number of queries after which a wild resolver has shown all of its behaviours.
const QUESTIONS: u32 = 150;

fn ip(last: u8) -> IpAddr {
    IpAddr::from([203, 0, 113, last])
}

/// Returns the outcome of the next reply, which must exist.
fn outcome(net: &mut SimNet) -> Result<Vec<SocketAddr>, ResolveFailure> {
    let Some(Completion::Resolved { outcome, .. }) = net.take_completion() else { panic!("no reply") };
    outcome
}

#[test]
fn a_known_name_is_resolved_and_the_loop_is_woken() {
    let world = World::new(1, Instant::ZERO);
    world.set_name(SEED, vec![ip(1), ip(2)]);
    let mut net = world.host();
    net.resolve(9, SEED, 8_333).unwrap();
    let mut ready = Vec::new();
    net.wait(Wait::Zero, &mut ready).unwrap();
    let woken = Readiness { token: Token::Waker.to_u64(), readable: true, writable: false, hung_up: false };
    assert_eq!(ready, [woken]);
    let expected = [ip(1), ip(2)].map(|ip| SocketAddr::new(ip, 8_333)).to_vec();
    assert_eq!(net.take_completion(), Some(Completion::Resolved { query: 9, outcome: Ok(expected) }));
    assert_eq!(net.take_completion(), None);
}

#[test]
fn names_are_parsed_as_the_real_resolver_parses_them() {
    let world = World::new(1, Instant::ZERO);
    world.set_name(SEED, vec![ip(1)]);
    world.set_name("nobody.example", Vec::new());
    let mut net = world.host();
    for (name, expected) in [
        ("seed.example:5", "203.0.113.1:5"),
        ("192.0.2.1", "192.0.2.1:7"),
        ("192.0.2.1:5", "192.0.2.1:5"),
        ("[2001:db8::1]:5", "[2001:db8::1]:5"),
    ] {
        net.resolve(1, name, 7).unwrap();
        assert_eq!(outcome(&mut net), Ok(vec![expected.parse().unwrap()]), "{name}");
    }
    net.resolve(1, "nobody.example", 7).unwrap();
    assert_eq!(outcome(&mut net).unwrap_err().cause, ResolveCause::NoAddress);
    net.resolve(1, "unheard.example", 7).unwrap();
    let failure = outcome(&mut net).unwrap_err();
    assert!(matches!(failure.cause, ResolveCause::System(_)));
    assert!(failure.to_string().contains("unheard.example"), "{failure}");
}

#[test]
fn queries_beyond_the_limit_are_refused_until_a_reply_is_collected() {
    let world = World::new(1, Instant::ZERO);
    let mut net = world.host();
    for query in 0..MAX_RESOLVES as u32 {
        net.resolve(query, SEED, 1).unwrap();
    }
    assert_eq!(net.resolve(99, SEED, 1).unwrap_err().cause, ResolveCause::TooMany);
    net.take_completion().unwrap();
    net.resolve(99, SEED, 1).unwrap();
}

/// A reply and its delay.
struct Answered {
    after: Duration,
    outcome: Result<Vec<SocketAddr>, ResolveFailure>,
}

/// Sends many queries to a wild resolver. Returns the world and the replies.
fn wild_answers(tape: Tape) -> (World, Vec<Answered>) {
    let world = World::with_tape(tape, Instant::ZERO);
    world.set_name(SEED, vec![ip(1)]);
    let mut net = world.host();
    world.set_names(net.host(), Names::Wild);
    let mut answers = Vec::new();
    for query in 0..QUESTIONS {
        let asked = world.now();
        net.resolve(query, SEED, 8_333).unwrap();
        while world.now().since(asked) < secs(61) {
            world.advance(Duration::from_millis(100));
            while let Some(Completion::Resolved { query: answered, outcome }) = net.take_completion() {
                assert_eq!(answered, query);
                answers.push(Answered { after: world.now().since(asked), outcome });
            }
        }
    }
    (world, answers)
}

#[test]
fn fault_e12_a_wild_resolver_shows_its_faults_within_the_real_resolvers_limits() {
    let (world, answers) = wild_answers(Tape::from_seed(5));
    let found: Vec<&Vec<SocketAddr>> = answers.iter().filter_map(|reply| reply.outcome.as_ref().ok()).collect();
    assert!(answers.len() < QUESTIONS as usize, "every query was answered");
    assert!(answers.len() > QUESTIONS as usize / 2, "at most half of the queries were answered: {}", answers.len());
    assert!(answers.iter().any(|reply| reply.after > RESOLVE_TIMEOUT), "no reply was late");
    assert!(answers.iter().any(|reply| reply.outcome.is_err()), "no query failed");
    assert!(found.iter().all(|addresses| (1..=MAX_RESOLVED_ADDRESSES).contains(&addresses.len())));
    assert!(
        found.iter().any(|addresses| addresses.len() == MAX_RESOLVED_ADDRESSES),
        "no reply had the maximum number of addresses"
    );
    assert!(found.iter().any(|addresses| addresses[..] == [SocketAddr::new(ip(1), 8_333)]), "no reply was correct");
    assert!(
        found.iter().any(|addresses| addresses.len() == 3 && addresses[0] == addresses[1]),
        "no reply repeated an address"
    );
    let all: Vec<SocketAddr> = found.into_iter().flatten().copied().collect();
    assert!(all.iter().any(|address| address.port() == 0));
    assert!(all.iter().any(|address| address.ip() == IpAddr::from([10, 0, 0, 1])), "no reply contained our address");
    assert!(all.iter().any(|address| address.ip().is_loopback()));
    assert_ne!(world.trace().hash(), wild_answers(Tape::from_seed(6)).0.trace().hash());
    assert_eq!(world.trace().hash(), wild_answers(Tape::from_seed(5)).0.trace().hash());
}

#[test]
fn with_an_empty_tape_every_query_gets_the_correct_reply() {
    let (_, answers) = wild_answers(Tape::parse("").unwrap());
    let right = Ok(vec![SocketAddr::new(ip(1), 8_333)]);
    assert!(answers.len() == QUESTIONS as usize && answers.iter().all(|reply| reply.outcome == right));
}

#[test]
fn a_restarted_process_receives_no_reply_to_its_predecessors_queries() {
    let world = World::new(1, Instant::ZERO);
    world.set_name(SEED, vec![ip(1)]);
    let mut net = world.host();
    let host = net.host();
    net.resolve(1, SEED, 1).unwrap();
    world.set_names(host, Names::Wild);
    for query in 2..20 {
        net.resolve(query, SEED, 1).unwrap();
    }
    drop(net);
    let mut net = world.restart(host);
    assert_eq!((net.host(), net.ip()), (host, IpAddr::from([10, 0, 0, 1])));
    world.advance(secs(100));
    assert_eq!(net.take_completion(), None);
    world.set_names(host, Names::Known);
    for query in 0..MAX_RESOLVES as u32 {
        net.resolve(query, SEED, 1).unwrap();
    }
    assert_eq!(outcome(&mut net), Ok(vec![SocketAddr::new(ip(1), 1)]));
}

/// A network that queries a name at each of the next `left` waits.
struct Curious {
    net: SimNet,
    left: u32,
}

impl Layer for Curious {
    type Below = SimNet;

    fn below(&self) -> &SimNet {
        &self.net
    }
    fn below_mut(&mut self) -> &mut SimNet {
        &mut self.net
    }
    fn wait(&mut self, wait: Wait, ready: &mut Vec<Readiness>) -> io::Result<()> {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            self.net.resolve(left, SEED, 8_333).unwrap();
        }
        self.net.wait(wait, ready)
    }
}

/// A loop on a [`Curious`] network, for the driver.
struct Asking(Reactor<Curious, Player>);

impl Actor for Asking {
    fn turn(&mut self) -> io::Result<bool> {
        self.0.poll_once(Duration::ZERO)
    }
    fn wait(&self) -> Wait {
        self.0.next_deadline()
    }
    fn host(&self) -> Option<usize> {
        Some(self.0.net().net.host())
    }
}

#[test]
fn a_reply_wakes_a_sleeping_loop() {
    let world = World::new(3, Instant::ZERO);
    let net = world.host();
    world.set_names(net.host(), Names::Wild);
    let net = Curious { net, left: 20 };
    let mut asking = Asking(Reactor::with_net(config(), net, Player::default()).unwrap());
    // Each reply wakes the loop, and the loop's next wait makes the next query, until a query gets no reply or all 20
    // have been made.
    let asked = |asking: &Asking| 20 - asking.0.net().left;
    Driver::new(&world).run_until(Instant::ZERO.plus(secs(300)), &mut [&mut asking]).unwrap();
    let counters = asking.0.stats().counters;
    let answered = counters.names_resolved + counters.resolve_failures;
    assert!(asked(&asking) > 1 && answered > 0, "{counters:?}");
    assert!(answered + 1 >= u64::from(asked(&asking)) || asked(&asking) == 20, "{counters:?}");
}
