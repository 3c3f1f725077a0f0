//! Keeps connections to a list of nodes and to no others. The manager dials them, dials again after a lost connection,
//! and backs off after a failed dial.
//!
//! Run `cargo run --example fixed_peers`, or append a network and nodes, for example
//! `mainnet 192.0.2.1:8333 192.0.2.2:8333`. Without nodes it starts three of its own, stops one of them once all are
//! ready, and ends when a dial of the stopped node has failed.

mod setting;

use peerloop::api::CommandFilter;
use peerloop::config::ManagerConfig;
use peerloop::limits::CHANNEL_ITEMS;
use peerloop::{Config, ControlEvent, Received, channel};
use setting::Node;
use std::thread;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (network, mut peers) = setting::arguments()?;
    let mut own = Vec::new();
    if peers.is_empty() {
        for _ in 0..3 {
            own.push(Node::start(network, &[])?);
        }
        peers = own.iter().map(|node| node.address).collect();
    }
    let wanted = peers.len();
    // A fixed list is dialled only up to `max_peers`.
    let manager = ManagerConfig::fixed(network, peers).with_max_peers(wanted.max(20));
    let config = Config::new(network).with_manager(manager);
    let (mut reactor, channel) = channel::open(config, CommandFilter::Only(Vec::new()), CHANNEL_ITEMS)?;
    let running = thread::spawn(move || reactor.run());

    let mut ready = 0;
    loop {
        let event = match channel.control.recv()? {
            Received::Item(event) => event,
            Received::Lagged { count } => {
                println!("lagged: {count} events dropped");
                continue;
            }
        };
        println!("{event}");
        match event {
            ControlEvent::HandshakeComplete { .. } => {
                ready += 1;
                if ready == wanted && !own.is_empty() {
                    println!("all {wanted} peers are ready; stopping one of them");
                    own.pop().expect("the list is not empty").handle.stop()?;
                }
            }
            ControlEvent::ConnectionLost { .. } => ready -= 1,
            // The manager would dial again at the time that the event reports, but this example ends here.
            ControlEvent::ConnectionFailed { .. } if !own.is_empty() => break,
            _ => {}
        }
    }
    channel.handle.stop()?;
    running.join().expect("the loop does not panic")?;
    Ok(())
}
