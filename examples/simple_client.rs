//! Connects to one node, measures three pings and closes the connection: nearly the smallest useful handler.
//!
//! Run `cargo run --example simple_client` to use a built-in node. To use another node, append its network and
//! address, for example `mainnet 192.0.2.1:8333`.

mod setting;

use peerloop::error::Disconnect;
use peerloop::{Config, Ctx, Event, Handler, PeerId, Reactor};
use setting::Trouble;
use std::net::SocketAddr;

const PONGS: u32 = 3;

struct Client {
    node: SocketAddr,
    pongs: u32,
}

impl Handler for Client {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        ctx.connect(self.node).expect("an empty table has room");
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Ready { handshake } => {
                let agent = ctx.peer(peer).and_then(|view| view.info().user_agent).unwrap_or_default();
                println!("ready: {agent} after {handshake:?}");
                // The ping is due now, so its latency includes every delay from this moment on.
                let _ = ctx.ping(peer, ctx.now());
            }
            Event::Pong { planned, received, .. } => {
                self.pongs += 1;
                println!("pong {}: {:?}", self.pongs, received.since(planned));
                if self.pongs < PONGS {
                    let _ = ctx.ping(peer, ctx.now());
                } else {
                    ctx.close(peer, Disconnect::Done);
                }
            }
            Event::Closed { reason, .. } => {
                println!("closed: {reason}");
                ctx.stop();
            }
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (network, node) = setting::network_and_node()?;
    let mut reactor = Reactor::new(Config::new(network), Client { node, pongs: 0 })?;
    reactor.run()?;
    match reactor.handler().pongs {
        PONGS => Ok(()),
        pongs => Err(Trouble(format!("{node} answered {pongs} of {PONGS} pings")).into()),
    }
}
