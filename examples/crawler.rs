//! Crawls up to a thousand nodes: requests addresses from each node that it reaches, and prints that node's address and
//! user agent.
//!
//! Run `cargo run --example crawler`, or append a network and the first nodes, for example `mainnet 192.0.2.1:8333`.
//! Without nodes it starts four of its own and crawls these. Constants bound the number of known addresses, the
//! number of connections open at once, and the wait for each reply.

mod setting;

use peerloop::error::Disconnect;
use peerloop::protocol::CommandName;
use peerloop::time::Instant;
use peerloop::wire::Header;
use peerloop::{
    CloseReason, Config, Ctx, Delivery, Event, Frame, Handler, Message, MessageRef, Network, PeerId, Reactor,
};
use setting::Node;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

const MAX_NODES: usize = 1_000;
const AT_ONCE: usize = 64;
/// Maximum time for a reply: a real node replies within seconds, or not at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Crawler {
    known: BTreeSet<SocketAddr>,
    waiting: VecDeque<SocketAddr>,
    open: usize,
    reached: usize,
    /// The peers that were sent a `getaddr`, each with its reply's deadline, the earliest first.
    asked: VecDeque<(Instant, PeerId)>,
}

impl Crawler {
    fn found(&mut self, node: SocketAddr) {
        if node.port() != 0 && self.known.len() < MAX_NODES && self.known.insert(node) {
            self.waiting.push_back(node);
        }
    }

    fn dial(&mut self, ctx: &mut Ctx<'_>) {
        while self.open < AT_ONCE {
            let Some(node) = self.waiting.pop_front() else { break };
            // `max_links` is above `AT_ONCE`, so there is room. Each dial that starts ends with a `Closed`.
            if ctx.connect(node).is_ok() {
                self.open += 1;
            }
        }
        if self.open == 0 {
            println!("{} nodes known, {} reached", self.known.len(), self.reached);
            ctx.stop();
        }
    }
}

impl Handler for Crawler {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        self.dial(ctx);
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Ready { .. } => {
                let Some(info) = ctx.peer(peer).map(|view| view.info()) else { return };
                println!("{} is {}", info.address, info.user_agent.unwrap_or_default());
                self.reached += 1;
                let _ = ctx.send(peer, &Message::GetAddr.as_ref());
                let until = ctx.now().plus(ANSWER_WITHIN);
                self.asked.push_back((until, peer));
                ctx.wake_at(until);
            }
            Event::Closed { reason, .. } => {
                if let Some(view) = ctx.peer(peer)
                    && reason != CloseReason::Requested(Disconnect::Done)
                {
                    println!("{}: {reason}", view.address());
                }
                self.open -= 1;
                self.dial(ctx);
            }
            _ => {}
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        if header.command == CommandName::ADDR { Delivery::Buffer } else { Delivery::Discard }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        let Ok(MessageRef::Addr(addresses)) = frame.decode() else { return };
        addresses.iter().for_each(|entry| self.found(entry.address.to_socket()));
        // A node also announces its own address unsolicited, in a message with one entry. A message with any other
        // number of entries is assumed to be the reply to `getaddr`.
        if addresses.len() != 1 {
            ctx.close(peer, Disconnect::Done);
        }
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        while self.asked.front().is_some_and(|&(until, _)| until <= ctx.now()) {
            // The connection may be closed already. Its id then names no peer, and another close is harmless.
            let Some((_, peer)) = self.asked.pop_front() else { break };
            ctx.close(peer, Disconnect::Done);
        }
        if let Some(&(until, _)) = self.asked.front() {
            ctx.wake_at(until);
        }
    }
}

/// Starts four nodes, and returns the first one's address. The first knows the second and the third, and the second
/// knows the third and the fourth.
fn start_nodes(network: Network) -> Result<SocketAddr, Box<dyn std::error::Error>> {
    let last = Node::start(network, &[])?.address;
    let third = Node::start(network, &[])?.address;
    let second = Node::start(network, &[last, third])?.address;
    Ok(Node::start(network, &[second, third])?.address)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (network, mut nodes) = setting::arguments()?;
    if nodes.is_empty() {
        nodes.push(start_nodes(network)?);
    }
    let mut crawler = Crawler::default();
    nodes.into_iter().for_each(|node| crawler.found(node));
    Reactor::new(Config::new(network), crawler)?.run()?;
    Ok(())
}
