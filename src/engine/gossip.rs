//! Addresses by hearsay: the messages for it, which are read beside the handler and never taken from it.
//!
//! A message that the handler streams is left to it and not read here. A handler that answers `getaddr` by itself is
//! one for a loop without [`learn_addresses`](crate::config::ManagerConfig::learn_addresses): its peers would get two
//! answers.

use super::Engine;
use crate::api::Frame;
use crate::error::Misbehavior;
use crate::id::LinkId;
use crate::limits::MAX_ADDRESSES_PER_MESSAGE;
use crate::manager::GossipPeer;
use crate::peer::ConnectionType;
use crate::protocol::CommandName;
use crate::state::LoopState;
use crate::wire::AddressesRef;

impl Engine {
    /// Asks a peer for addresses whose handshake is complete, if it was dialled.
    pub(super) fn ask_for_addresses(&mut self, id: LinkId) {
        let LoopState { links, manager, clocks, .. } = &mut self.state;
        let (Some(manager), Some(link)) = (manager, links.table.get(id)) else { return };
        if link.peer.connection_type() == ConnectionType::Outbound && manager.asks(id, clocks.now()) {
            let payload = self.state.links.pool.take();
            self.state.send_payload(id, CommandName::GETADDR, payload);
        }
    }

    /// Reads a message that the handler has had, or did not want.
    pub(super) fn observe_gossip(&mut self, id: LinkId, frame: &Frame<'_>) {
        match frame.command() {
            CommandName::ADDR if self.state.links.is_open(id) => self.on_addresses(id, frame),
            CommandName::GETADDR if self.state.links.is_open(id) => self.on_getaddr(id),
            _ => {}
        }
    }

    fn on_addresses(&mut self, id: LinkId, frame: &Frame<'_>) {
        let addresses = match AddressesRef::decode(frame.payload()) {
            Ok(addresses) => addresses,
            Err(error) => {
                self.state.telemetry.counters.undecodable += 1;
                return self.charge_overlong_size(id, b"addr", error);
            }
        };
        if addresses.len() > MAX_ADDRESSES_PER_MESSAGE {
            if self.state.manager.as_ref().is_some_and(|manager| manager.gossips()) {
                self.misbehaved(id, Misbehavior::TooManyAddresses);
            }
            return;
        }
        let LoopState { links, manager, clocks, rng, telemetry, .. } = &mut self.state;
        let (Some(manager), Some(link)) = (manager, links.table.get(id)) else { return };
        let teller = GossipPeer { id, address: link.peer.address() };
        telemetry.counters.addresses_learned +=
            manager.on_addr(teller, addresses, (clocks.now(), clocks.unix()), rng) as u64;
    }

    fn on_getaddr(&mut self, id: LinkId) {
        let LoopState { links, manager, clocks, rng, telemetry, .. } = &mut self.state;
        let (Some(manager), Some(link)) = (manager, links.table.get(id)) else { return };
        if link.peer.connection_type() != ConnectionType::Inbound {
            return;
        }
        let asker = GossipPeer { id, address: link.peer.address() };
        let Some(addresses) = manager.build_addr_reply(asker, (clocks.now(), clocks.unix()), rng) else { return };
        telemetry.counters.addresses_told += addresses.as_ref().len() as u64;
        let mut payload = links.pool.take();
        addresses.as_ref().encode(&mut payload);
        self.state.send_payload(id, CommandName::ADDR, payload);
    }
}
