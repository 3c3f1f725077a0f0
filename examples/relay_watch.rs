//! Connects to the nodes given as arguments and prints every item that they announce with an `inv`.
//!
//! Run `cargo run --example relay_watch 127.0.0.1:18444` to watch a node on regtest, or replace the address with a
//! network and nodes, for example `mainnet 192.0.2.1:8333`.

mod setting;

use peerloop::protocol::CommandName;
use peerloop::wire::Header;
use peerloop::{Config, Ctx, Delivery, Event, Frame, Handler, MessageRef, PeerId, Reactor};
use setting::Trouble;
use std::net::SocketAddr;

struct Watch {
    nodes: Vec<SocketAddr>,
}

impl Handler for Watch {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        for &node in &self.nodes {
            if let Err(error) = ctx.connect(node) {
                eprintln!("cannot connect to {node}: {error}");
            }
        }
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        let Some(view) = ctx.peer(peer) else { return };
        match event {
            Event::Ready { handshake } => println!("{} is ready after {handshake:?}", view.address()),
            Event::Closed { reason, .. } => println!("{} is closed: {reason}", view.address()),
            _ => {}
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        if header.command == CommandName::INV { Delivery::Buffer } else { Delivery::Discard }
    }

    fn on_message(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        match frame.decode() {
            Ok(MessageRef::Inv(inventory)) => {
                for item in inventory.iter() {
                    println!("{peer} announces {} {}", item.kind, item.hash);
                }
            }
            Ok(_) => {}
            Err(error) => println!("{peer} sent an invalid message: {error}"),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (network, nodes) = setting::arguments()?;
    if nodes.is_empty() {
        return Err(Trouble("name at least one node: write [NETWORK] ADDRESS:PORT..".to_owned()).into());
    }
    let mut reactor = Reactor::new(Config::new(network), Watch { nodes })?;
    reactor.run()?;
    Ok(())
}
