//! The cost of a million peers in one loop, compared with a thousand: events, allocations and memory.
//!
//! `cargo bench --bench scale [PEERS ..]` runs one loop for each given number of simulated peers, which must be even;
//! the default is 1,000 and 1,000,000. The peers connect, complete the handshake and are pinged twice. Then 1 % of them
//! are replaced in each of three seconds, and the loop stops. Events, allocations and bytes are counted for the loop
//! alone, and the counts are the same in every run. The printed duration covers the whole simulation, including the
//! peers and the virtual kernel, so it says little about the loop. `src/manual/testing.md` describes how to count
//! instructions.

use peerloop_scale::{Account, Phase};
use std::process::ExitCode;
use std::time::Instant;

const DEFAULT_PEERS: [u64; 2] = [1_000, 1_000_000];

fn main() -> ExitCode {
    // The options that cargo adds begin with a dash.
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let Ok(mut sizes) = named.iter().map(|name| name.parse()).collect::<Result<Vec<u64>, _>>() else {
        eprintln!("scale: the arguments must be numbers of peers, not {named:?}");
        return ExitCode::from(2);
    };
    if sizes.is_empty() {
        sizes = DEFAULT_PEERS.to_vec();
    }
    for peers in sizes {
        report(peers);
    }
    ExitCode::SUCCESS
}

#[expect(clippy::disallowed_methods, reason = "the duration is only printed")]
fn report(peers: u64) {
    let began = Instant::now();
    let phases = peerloop_scale::live(peers);
    let took = began.elapsed();
    print!("{:24}{:>12}{:>12}{:>12}", format!("{peers} peers"), "ready", "turns", "events");
    println!("{:>14}{:>14}{:>14}{:>14}", "allocations", "bytes held", "accounted", "peak");
    let mut before = Account::default();
    for Phase { name, ready, account, accounted_bytes } in &phases {
        let (turns, events) = (account.turns - before.turns, account.events - before.events);
        let (allocations, held, peak) =
            (account.allocations - before.allocations, account.held_bytes, account.peak_bytes);
        print!("{name:24}{ready:>12}{turns:>12}{events:>12}");
        println!("{allocations:>14}{held:>14}{accounted_bytes:>14}{peak:>14}");
        before = *account;
    }
    let Account { turns, events, allocations, peak_bytes, .. } = before;
    println!("{:36}{turns:>12}{events:>12}{allocations:>14}", "total");
    let held_bytes = phases.iter().map(|phase| phase.account.held_bytes).max().unwrap_or_default();
    let [held, peak] = [held_bytes, peak_bytes].map(|bytes| bytes / peers as i64);
    println!("{held} bytes held per peer and {peak} at the peak; {took:.1?}\n");
}
