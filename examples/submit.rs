//! Submits a transaction to a node, and follows it until the node announces it to others.
//!
//! Run `cargo run --example submit 127.0.0.1:18444 HEX` to submit the transaction with these hexadecimal digits to
//! that node. The node should whitelist this host, or an invalid transaction may get the host banned. Without
//! arguments, the example submits a transaction to a relay in this process, which announces every transaction.

mod setting;

use peerloop::relay::{RelayConfig, RelayEvent, RelayPolicy, RelayRequest, SubmitOutcome, TrustMode};
use peerloop::{Config, Ctx, Network, Reactor, relay::Relay};
use std::error::Error;
use std::net::SocketAddr;
use std::thread;

/// Prints each step of the submitted transaction.
struct Printer;

impl RelayPolicy for Printer {
    fn on_relay_event(&mut self, _ctx: &mut Ctx<'_>, event: &RelayEvent) {
        println!("{:?}", event.step);
    }
}

/// A transaction without any meaning, which only an open relay accepts.
const SAMPLE: &str = "01000000010101010101010101010101010101010101010101010101010101010101010101000000000151ffffffff\
                      0105000000000000000151 00000000";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (upstream, transaction) = match (arguments.next(), arguments.next()) {
        (Some(address), Some(hex)) => (address.parse()?, decode(&hex)?),
        _ => (open_relay()?, decode(SAMPLE)?),
    };
    let relay = Relay::with_policy(RelayConfig::new(vec![upstream]), Printer);
    let mut reactor = Reactor::new(Config::new(Network::Regtest), relay)?;
    let handle = reactor.handle();
    let running = thread::spawn(move || reactor.run());
    // The transaction is announced as soon as both links to the node are ready.
    let (request, report) = RelayRequest::submit(transaction);
    handle.request(request)?;
    let report = report.wait()?;
    println!("{}: {:?}", report.txid, report.outcome);
    for rejection in &report.rejected {
        println!("{} has rejected it with code {:#04x}: {}", rejection.by.address, rejection.code, rejection.reason);
    }
    let (request, stats) = RelayRequest::stats();
    handle.request(request)?;
    println!("{} followed", stats.wait()?.following);
    handle.stop()?.wait()?;
    running.join().map_err(|_| setting::Trouble("the loop has panicked".into()))??;
    match report.outcome {
        SubmitOutcome::SeenBack => Ok(()),
        other => Err(setting::Trouble(format!("the node did not announce it: {other:?}")).into()),
    }
}

/// Starts a relay without upstreams that announces every transaction, and returns its address.
fn open_relay() -> Result<SocketAddr, Box<dyn Error>> {
    let config = RelayConfig::new(Vec::new()).with_trust(TrustMode::Open);
    let mut reactor = Reactor::new(Config::new(Network::Regtest), Relay::new(config))?;
    let address = reactor.listen("127.0.0.1:0".parse()?)?;
    thread::spawn(move || reactor.run());
    Ok(address)
}

fn decode(hex: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let digits: Vec<u8> = hex.bytes().filter(|digit| !digit.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?));
    pairs.collect()
}
