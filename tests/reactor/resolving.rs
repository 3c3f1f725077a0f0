//! Name look-ups on threads of their own, which never block the loop.

use crate::probe::{PATIENCE, Probe, regtest};
use peerloop::MioNet;
use peerloop::Reactor;
use peerloop::error::{ResolveCause, ResolveFailure};
use peerloop::internals::net::{Net, Readiness};
use peerloop::internals::offload::{Completion, Offload};
use peerloop::sim::Layer;
use peerloop::time::Wait;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Looks a name up with the system's resolver.
fn resolved(name: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveFailure> {
    let mut net = MioNet::new().expect("the kernel provides a poller");
    net.resolve(7, name, port).expect("no other look-up is running");
    let until = net.now().plus(PATIENCE);
    while net.now() < until {
        net.wait(Wait::Until(until), &mut Vec::new()).expect("the poller works");
        if let Some(Completion::Resolved { query, outcome }) = net.take_completion() {
            assert_eq!((query, net.take_completion()), (7, None));
            return outcome;
        }
    }
    panic!("no reply for {name}");
}

#[test]
fn localhost_resolves_to_loopback() {
    for (name, port) in [("localhost", 8_333), ("localhost:8333", 1)] {
        let addresses = resolved(name, port).expect("every machine resolves localhost");
        assert!(!addresses.is_empty());
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 8_333), "{addresses:?}");
    }
}

#[test]
fn an_address_resolves_to_itself() {
    for (name, expected) in [
        ("192.0.2.7", "192.0.2.7:18333"),
        ("192.0.2.7:5", "192.0.2.7:5"),
        ("2001:db8::7", "[2001:db8::7]:18333"),
        ("[2001:db8::7]:5", "[2001:db8::7]:5"),
    ] {
        let expected: SocketAddr = expected.parse().expect("the string is an address");
        assert_eq!(resolved(name, 18_333), Ok(vec![expected]), "{name}");
    }
}

#[test]
fn a_failed_look_up_reports_the_name() {
    // The first name is reserved and never resolves (RFC 6761). The second contains a zero byte, so it
    // cannot even be passed to the system.
    for name in ["no-such-seed.invalid", "two\0names"] {
        let failure = resolved(name, 1).expect_err("the name has no address");
        assert_eq!(failure.name, name);
        assert!(matches!(failure.cause, ResolveCause::System(_)), "{failure:?}");
        assert!(failure.to_string().contains(&format!("{name:?}")), "{failure}");
    }
}

/// A network that starts its look-ups in its first wait.
struct Curious {
    net: MioNet,
    questions: u32,
}

impl Layer for Curious {
    type Below = MioNet;

    fn below(&self) -> &MioNet {
        &self.net
    }
    fn below_mut(&mut self) -> &mut MioNet {
        &mut self.net
    }
    fn wait(&mut self, wait: Wait, ready: &mut Vec<Readiness>) -> io::Result<()> {
        for query in 0..std::mem::take(&mut self.questions) {
            self.net.resolve(query, "seed.example", 1).expect("the queue has room");
        }
        self.net.wait(wait, ready)
    }
}

fn reactor_asking(questions: u32, net: MioNet) -> Reactor<Curious, Probe> {
    let net = Curious { net, questions };
    Reactor::with_net(regtest(), net, Probe::default()).expect("the configuration is valid")
}

#[test]
fn answers_wake_the_loop_and_are_all_processed() {
    // One turn processes fewer answers than this.
    const QUESTIONS: u32 = 40;
    let answer = |_: &str, port| match port {
        1 => Ok(vec![SocketAddr::from(([192, 0, 2, 1], port))]),
        _ => Err(io::Error::other("the port is not 1")),
    };
    let net = MioNet::new().expect("the kernel provides a poller").with_resolver(answer);
    let mut reactor = reactor_asking(QUESTIONS, net);
    while reactor.stats().counters.names_resolved < u64::from(QUESTIONS) {
        let turns = reactor.stats().counters.turns;
        assert!(turns < 10_000, "{:?}", reactor.stats().counters);
        assert!(reactor.poll_once(PATIENCE).expect("the poller works"));
    }
    assert_eq!(reactor.stats().counters.resolve_failures, 0);
    reactor.poll_once(Duration::ZERO).expect("the poller works");
    assert_eq!(reactor.next_deadline(), Wait::Forever, "work or a deadline remains after the last answer");
}

#[test]
fn a_hanging_look_up_does_not_block_other_look_ups_the_loop_or_its_stop() {
    const QUESTIONS: u32 = 3;
    let (go, may_go) = channel::<()>();
    let (reached, has_reached) = channel();
    let (reached, may_go) = (Mutex::new(reached), Mutex::new(may_go));
    let hang = move |_: &str, _| {
        reached.lock().expect("no look-up panics").send(()).expect("the test waits for this signal");
        // The look-up ends when the test drops the sender.
        let _ = may_go.lock().expect("no look-up panics").recv();
        Err(io::Error::other("too late"))
    };
    let net = MioNet::new().expect("the kernel provides a poller").with_resolver(hang);
    let mut reactor = reactor_asking(QUESTIONS, net);
    reactor.poll_once(Duration::ZERO).expect("the poller works");
    for _ in 0..QUESTIONS {
        has_reached.recv_timeout(PATIENCE).expect("each name is being looked up");
    }
    for _ in 0..3 {
        reactor.poll_once(Duration::from_millis(1)).expect("the poller works");
    }
    reactor.handle().stop().expect("the queue has room");
    reactor.run().expect("the poller works");
    assert_eq!(reactor.stats().counters.names_resolved, 0);
    drop(reactor);
    drop(go);
    let gone = has_reached.recv_timeout(PATIENCE);
    assert_eq!(gone, Err(RecvTimeoutError::Disconnected), "a look-up has not ended in time, or a further one started");
}
