//! Relays transactions: keeps those that arrive, announces them to all other peers, and serves them on request.
//!
//! Run `cargo run --example relay 127.0.0.1:0` to listen on that address, and append the addresses of nodes to connect
//! to. The relay requests new transactions from the peers that announce them, without validating any. It never sends
//! more than a peer's queue has room for.

mod setting;

use peerloop::protocol::CommandName;
use peerloop::wire::{Hash256, Header, Inventory, InventoryItem, InventoryKind};
use peerloop::{Config, Ctx, Delivery, Event, Frame, Handler, MessageRef, PeerId, Reactor};
use std::collections::{HashMap, VecDeque};

/// Maximum number of kept transactions, each of up to 2 MiB. If a transaction arrives when the maximum is reached,
/// all kept ones are dropped.
const MAX_KEPT: usize = 10_000;
const COMMANDS: [CommandName; 3] = [CommandName::INV, CommandName::GETDATA, CommandName::TX];

#[derive(Default)]
struct Relay {
    kept: HashMap<Hash256, bytes::Bytes>,
    /// Items that each peer has requested and that have not been answered yet.
    wanted: HashMap<PeerId, VecDeque<InventoryItem>>,
}

impl Handler for Relay {
    type Request = ();

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Ready { .. } if !self.kept.is_empty() => {
                let known = Inventory::from_items(self.kept.keys().copied().map(InventoryItem::tx));
                let _ = ctx.send(peer, &MessageRef::Inv(known.as_ref()));
            }
            Event::Closed { .. } => drop(self.wanted.remove(&peer)),
            _ => {}
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        if COMMANDS.contains(&header.command) { Delivery::Buffer } else { Delivery::Discard }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        match frame.decode() {
            Ok(MessageRef::Inv(items)) => {
                let new =
                    items.iter().filter(|item| item.kind == InventoryKind::TX && !self.kept.contains_key(&item.hash));
                let new = Inventory::from_items(new);
                if !new.as_ref().is_empty() {
                    let _ = ctx.send(peer, &MessageRef::GetData(new.as_ref()));
                }
            }
            Ok(MessageRef::Tx(tx)) => {
                if self.kept.len() >= MAX_KEPT {
                    self.kept.clear();
                }
                let txid = frame.hash().unwrap_or_else(|| tx.txid());
                if self.kept.insert(txid, frame.to_frame()).is_none() {
                    let announced = Inventory::from_items([InventoryItem::tx(txid)]);
                    let announcement = ctx.encode(&MessageRef::Inv(announced.as_ref()));
                    // A peer with no room in its queue misses the announcement.
                    let _ = ctx.broadcast(&announcement, |other| other.id() != peer);
                }
            }
            Ok(MessageRef::GetData(items)) => {
                self.wanted.entry(peer).or_default().extend(items.iter());
                // While the peer is paused, requests that the loop has not read yet wait in the kernel.
                ctx.pause(peer);
                ctx.pull(peer).unwrap_or_default();
            }
            _ => {}
        }
    }

    fn on_pull(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, mut free_bytes: usize) {
        let Some(wanted) = self.wanted.get_mut(&peer) else { return };
        while let Some(item) = wanted.front() {
            let missing = || ctx.encode(&MessageRef::NotFound(Inventory::from_items([*item]).as_ref()));
            let frame = self.kept.get(&item.hash).cloned().unwrap_or_else(missing);
            if frame.len() > free_bytes {
                return ctx.pull(peer).unwrap_or_default();
            }
            let _ = ctx.send_shared(peer, &frame);
            free_bytes = ctx.peer(peer).map_or(0, |view| view.free_bytes());
            wanted.pop_front();
        }
        ctx.resume(peer);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (network, addresses) = setting::arguments()?;
    let mut reactor = Reactor::new(Config::new(network), Relay::default())?;
    let mut addresses = addresses.into_iter();
    println!("listening on {}", reactor.listen(addresses.next().unwrap_or_else(|| ([127, 0, 0, 1], 0).into()))?);
    addresses.try_for_each(|node| reactor.handle().connect(node, None).map(drop))?;
    Ok(reactor.run()?)
}
