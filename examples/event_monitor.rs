//! Prints connection events and peers' messages, on threads other than the loop's.
//!
//! Run `cargo run --example event_monitor`, or append a network and nodes, for example `mainnet 192.0.2.1:8333`.
//! Without an argument it watches a node of its own, asks it for addresses and exits when the connection closes.

mod setting;

use peerloop::api::{CommandFilter, MessageEvent};
use peerloop::limits::CHANNEL_ITEMS;
use peerloop::{Config, ControlEvent, Message, Received, channel};
use setting::Node;
use std::thread;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (network, mut nodes) = setting::arguments()?;
    let is_own = nodes.is_empty();
    if is_own {
        nodes.push(Node::start(network, &["192.0.2.1:8333".parse()?])?.address);
    }
    let (mut reactor, channel) = channel::open(Config::new(network), CommandFilter::All, CHANNEL_ITEMS)?;
    let running = thread::spawn(move || reactor.run());
    for node in nodes {
        channel.handle.connect(node, None)?;
    }

    // The two subscriptions have separate queues, so each is read on its own thread. With a filter that names
    // commands, the loop does not copy messages with other commands.
    let (messages, handle) = (channel.messages, channel.handle.clone());
    let listening = thread::spawn(move || {
        for received in messages {
            match received {
                Received::Item(message) => {
                    print_message(&message);
                    if is_own {
                        let _ = handle.close(message.peer);
                    }
                }
                Received::Lagged { count } => println!("lagged: {count} messages dropped"),
            }
        }
    });
    for received in channel.control {
        match received {
            Received::Item(event) => {
                println!("{}: {event}", event.label());
                match event {
                    ControlEvent::HandshakeComplete { peer, .. } => {
                        channel.handle.send_message(peer, &Message::GetAddr)?;
                    }
                    ControlEvent::ConnectionLost { .. } | ControlEvent::ConnectionFailed { .. } if is_own => {
                        channel.handle.stop()?;
                    }
                    _ => {}
                }
            }
            Received::Lagged { count } => println!("lagged: {count} events dropped"),
        }
    }
    // Both subscriptions end with the loop.
    listening.join().expect("the thread does not panic");
    running.join().expect("the loop does not panic")?;
    Ok(())
}

fn print_message(message: &MessageEvent) {
    let len_bytes = message.payload.len();
    match message.decode() {
        Ok(_) => println!("message: {} of {len_bytes} bytes from {}", message.header.command, message.peer),
        Err(error) => println!("message: {} is malformed: {error}", message.header.command),
    }
}
