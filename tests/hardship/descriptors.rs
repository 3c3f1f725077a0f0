//! A node with few descriptors and many visitors. While no descriptor is free, the node uses little CPU time. Once
//! descriptors are free, it accepts and dials again.

use crate::client::{Client, ping_all};
use crate::node::{Account, Node, PATIENCE, raise_descriptors};
use peerloop::config::ManagerConfig;
use peerloop::{Config, Network};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: u64 = 200;
const VISITORS: usize = 1_000;
const STARVED: Duration = Duration::from_millis(1_500);

fn lower_the_limit(_: &mut Config) {
    rlimit::setrlimit(rlimit::Resource::NOFILE, LIMIT, LIMIT).expect("the limit can be lowered");
}

/// Asserts that the node uses little CPU time and runs few turns while it has no free descriptor.
fn assert_is_quiet(node: &mut Node) {
    let (cpu_before, turns_before) = (node.cpu_time(), node.account().of("turns"));
    thread::sleep(STARVED);
    let (cpu, turns) = (node.cpu_time() - cpu_before, node.account().of("turns") - turns_before);
    let share = cpu.as_secs_f64() / STARVED.as_secs_f64();
    println!("starved for {STARVED:?}: {turns} turns, {cpu:?} of CPU time, {:.1} % of a core", share * 100.0);
    assert!(share < 0.2 && turns < 500, "the node spins while it waits: {turns} turns, {share:.2} of a core");
}

#[test]
fn fault_e01_a_node_without_descriptors_waits_quietly_and_accepts_once_it_has_some() {
    let test = "descriptors::fault_e01_a_node_without_descriptors_waits_quietly_and_accepts_once_it_has_some";
    let mut node = Node::start(test, lower_the_limit);
    assert!(
        raise_descriptors() > VISITORS as u64 + 50,
        "the descriptor limit is too low for {VISITORS} visitors; see ulimit -Hn"
    );
    let mut waiting: Vec<Client> = (0..VISITORS).map(|_| Client::connect(node.address)).collect();
    waiting.iter_mut().for_each(Client::greet);
    let account = node.until("descriptors run out", |account| account.of("accept_pauses") > 0);
    let served = account.of("accepted") as usize;
    assert!(served > LIMIT as usize / 2 && served < LIMIT as usize, "{account:?}");

    // The kernel queues connections in the order of their arrival, so the first `served` clients are accepted.
    let mut inside: Vec<Client> = waiting.drain(..served).collect();
    inside.iter_mut().for_each(|client| client.await_ready().expect("the node completes the handshake"));
    ping_all(&mut inside, 1);
    assert_is_quiet(&mut node);

    while !waiting.is_empty() {
        let before = node.account().of("accepted");
        let gone = inside.len() as u64;
        let closed = node.account().of("closed") + gone;
        inside.drain(..).for_each(drop);
        node.until("the peers are closed", |account| account.of("closed") >= closed);
        let freed = Instant::now();
        let account = node.until("the node accepts again", |account| account.of("accepted") > before);
        println!("descriptors are free: accepting again after {:?}", freed.elapsed());
        assert!(freed.elapsed() < PATIENCE / 6, "the retry, which is due within a second, is late");
        let target = (before + gone).min(VISITORS as u64);
        assert!(account.of("accepted") <= target);
        node.until("all visitors that fit are ready", |account| account.of("handshakes") >= target);
        let now_inside = (target - before) as usize;
        inside = waiting.drain(..now_inside).collect();
        ping_all(&mut inside, 1);
    }
    assert_eq!(node.account().of("handshakes"), VISITORS as u64, "not every visitor completed one handshake");
}

/// Returns `count` addresses of this machine without a listener.
fn deserted(count: u8) -> Vec<SocketAddr> {
    let address = |host| {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 6, host), 0)).expect("all of 127.0.0.0/8 is loopback");
        listener.local_addr().expect("the listener is bound")
    };
    (1..=count).map(address).collect()
}

#[test]
fn fault_e02_a_node_without_descriptors_dials_and_accepts_rarely_and_later_resumes_both() {
    const DESERTED: u8 = 20;
    let test = "descriptors::fault_e02_a_node_without_descriptors_dials_and_accepts_rarely_and_later_resumes_both";
    let mut node = Node::start(test, |config| {
        lower_the_limit(config);
        let pause = Duration::from_millis(20);
        config.manager = Some(
            ManagerConfig::fixed(Network::Regtest, deserted(DESERTED))
                .with_max_peers(10_000)
                .with_trusted(vec![(Ipv4Addr::LOCALHOST.into(), 32)])
                .with_initial_backoff(pause)
                .with_max_backoff(pause)
                .with_max_retries(1_000),
        );
    });
    let dials = |account: &Account| account.of("end:refused");
    node.until("the node dials", |account| dials(account) > 10 * u64::from(DESERTED));
    assert!(
        raise_descriptors() > VISITORS as u64 + 50,
        "the descriptor limit is too low for {VISITORS} visitors; see ulimit -Hn"
    );
    let visitors: Vec<Client> = (0..VISITORS).map(|_| Client::connect(node.address)).collect();
    node.until("descriptors run out", |account| account.of("accept_pauses") > 2);
    assert_is_quiet(&mut node);
    drop(visitors);
    let account = node.until("the node has accepted all visitors", |account| account.of("accepted") >= VISITORS as u64);
    let before = dials(&account);
    let account = node.until("the node dials again", |account| dials(account) > before + 10 * u64::from(DESERTED));
    assert_eq!(account.of("refused"), 0, "a visitor was refused");
}
