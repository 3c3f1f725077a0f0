//! A node with few descriptors and many visitors: it sleeps while it has none, and accepts by itself once it has.

use crate::client::{Client, ping_all};
use crate::node::{Node, PATIENCE, raise_descriptors};
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: u64 = 512;
const VISITORS: usize = 1_000;
const STARVED: Duration = Duration::from_millis(1_500);

#[test]
fn a_node_without_descriptors_waits_quietly_and_accepts_once_it_has_some() {
    let test = "descriptors::a_node_without_descriptors_waits_quietly_and_accepts_once_it_has_some";
    let mut node = Node::start(test, |_| {
        rlimit::setrlimit(rlimit::Resource::NOFILE, LIMIT, LIMIT).expect("a limit may be lowered");
    });
    assert!(raise_descriptors() > VISITORS as u64 + 50, "this test needs {VISITORS} descriptors; see ulimit -Hn");
    let mut waiting: Vec<Client> = (0..VISITORS).map(|_| Client::connect(node.address)).collect();
    waiting.iter_mut().for_each(Client::greet);
    let account = node.until("descriptors are short", |account| account.of("accept_pauses") > 0);
    let served = account.of("accepted") as usize;
    assert!(served > LIMIT as usize / 2 && served < LIMIT as usize, "{account:?}");

    // The kernel hands connections out in the order in which they came.
    let mut inside: Vec<Client> = waiting.drain(..served).collect();
    inside.iter_mut().for_each(|client| client.await_ready().expect("the node shakes hands"));
    ping_all(&mut inside, 1);
    let (cpu_before, turns_before) = (node.cpu_time(), node.account().of("turns"));
    thread::sleep(STARVED);
    let (cpu, turns) = (node.cpu_time() - cpu_before, node.account().of("turns") - turns_before);
    let share = cpu.as_secs_f64() / STARVED.as_secs_f64();
    println!("starved for {STARVED:?}: {turns} turns, {cpu:?} of CPU time, {:.1} % of a core", share * 100.0);
    assert!(share < 0.2 && turns < 500, "the node spins while it waits: {turns} turns, {share:.2} of a core");

    while !waiting.is_empty() {
        let before = node.account().of("accepted");
        let gone = inside.len() as u64;
        let closed = node.account().of("closed") + gone;
        inside.drain(..).for_each(drop);
        node.until("they are gone", |account| account.of("closed") >= closed);
        let freed = Instant::now();
        let account = node.until("it accepts again", |account| account.of("accepted") > before);
        println!("descriptors are free: accepting again after {:?}", freed.elapsed());
        assert!(freed.elapsed() < PATIENCE / 6, "the retry is due after a second");
        let target = (before + gone).min(VISITORS as u64);
        assert!(account.of("accepted") <= target);
        node.until("all that fit are ready", |account| account.of("handshakes") >= target);
        let now_inside = (target - before) as usize;
        inside = waiting.drain(..now_inside).collect();
        ping_all(&mut inside, 1);
    }
    assert_eq!(node.account().of("handshakes"), VISITORS as u64, "nobody was lost");
}
