//! Address gossip: `addr` and `getaddr`. This module processes them after the handler has received or declined them.
//!
//! It never processes a message that the handler receives in chunks. A handler that replies to `getaddr` itself needs
//! a loop without [`learn_addresses`](crate::config::ManagerConfig::learn_addresses); otherwise inbound peers may get
//! two replies.

use super::conduct::charge_overlong_size;
use crate::api::Frame;
use crate::error::Misbehavior;
use crate::id::LinkId;
use crate::limits::MAX_ADDRESSES_PER_MESSAGE;
use crate::manager::GossipPeer;
use crate::peer::ConnectionType;
use crate::protocol::CommandName;
use crate::state::LoopState;
use crate::wire::AddressesRef;

/// Asks a ready peer for addresses, once, if gossip is on and this side dialled the peer.
pub(super) fn ask_for_addresses(id: LinkId, state: &mut LoopState) {
    let LoopState { links, manager, clocks, .. } = state;
    let (Some(manager), Some(link)) = (manager, links.table.get(id)) else { return };
    if link.peer.connection_type() == ConnectionType::Outbound && manager.asks(id, clocks.now()) {
        let payload = links.pool.take();
        state.send_payload(id, CommandName::GETADDR, payload);
    }
}

/// Processes a gossip message that the handler has received or declined.
pub(super) fn observe_gossip(id: LinkId, frame: &Frame<'_>, state: &mut LoopState) {
    match frame.command() {
        CommandName::ADDR if state.links.is_open(id) => on_addresses(id, frame, state),
        CommandName::GETADDR if state.links.is_open(id) => on_getaddr(id, state),
        _ => {}
    }
}

fn on_addresses(id: LinkId, frame: &Frame<'_>, state: &mut LoopState) {
    let addresses = match AddressesRef::decode(frame.payload()) {
        Ok(addresses) => addresses,
        Err(error) => {
            state.telemetry.counters.undecodable += 1;
            return charge_overlong_size(id, b"addr", error, state);
        }
    };
    if addresses.len() > MAX_ADDRESSES_PER_MESSAGE {
        if state.manager.as_ref().is_some_and(|manager| manager.gossips()) {
            state.charge(id, Misbehavior::TooManyAddresses);
        }
        return;
    }
    let LoopState { links, manager, clocks, rng, telemetry, .. } = state;
    let (Some(manager), Some(link)) = (manager, links.table.get(id)) else { return };
    let source = GossipPeer { id, address: link.peer.address() };
    telemetry.counters.addresses_learned += manager.on_addr(source, addresses, clocks.moment(), rng) as u64;
}

fn on_getaddr(id: LinkId, state: &mut LoopState) {
    let LoopState { links, manager, clocks, rng, telemetry, .. } = state;
    let (Some(manager), Some(link)) = (manager, links.table.get(id)) else { return };
    if link.peer.connection_type() != ConnectionType::Inbound {
        return;
    }
    let asker = GossipPeer { id, address: link.peer.address() };
    let Some(addresses) = manager.build_addr_reply(asker, clocks.moment(), rng) else { return };
    telemetry.counters.addresses_told += addresses.as_ref().len() as u64;
    let mut payload = links.pool.take();
    addresses.as_ref().encode(&mut payload);
    state.send_payload(id, CommandName::ADDR, payload);
}
