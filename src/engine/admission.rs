//! The admission of accepted connections: checks bans, caps and room before a row is allocated.
//!
//! A connection without a free slot may still get a row, in which it receives a `reject` or becomes a further stream of
//! a peer. No peer is evicted for a host that may be about to open such a stream. A refused connection holds nothing.

use super::managing::Managing;
use crate::address::Host;
use crate::api::ControlEvent;
use crate::error::Refusal;
use crate::id::LinkId;
use crate::limits::MAX_OVER_CAPACITY;
use crate::peer::{ConnectionType, PeerConnection};
use crate::state::LoopState;
use std::net::{IpAddr, SocketAddr};

/// The role of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    Peer,
    OverCapacity,
}

/// Allocates a row for an accepted connection.
pub(super) fn accept(address: SocketAddr, state: &mut LoopState) -> Result<LinkId, Refusal> {
    let timeout = state.config.pong_timeout;
    let peer = match admit(address, state) {
        Ok(Admission::Peer) => PeerConnection::new_inbound(address, timeout),
        Ok(Admission::OverCapacity) => PeerConnection::new_over_capacity(address, timeout),
        Err(refusal) => {
            state.telemetry.counters.refused += 1;
            state.outbox.emit(ControlEvent::InboundRejected { address, refusal });
            return Err(refusal);
        }
    };
    state.telemetry.census.add(peer.connection_type(), peer.state());
    state.telemetry.counters.accepted += 1;
    let id = state.links.table.insert(peer);
    if let Some(manager) = &mut state.manager {
        manager.link_added(id, address);
    }
    Ok(id)
}

fn admit(address: SocketAddr, state: &mut LoopState) -> Result<Admission, Refusal> {
    if state.stopping {
        return Err(Refusal::Stopping);
    }
    let LoopState { manager, clocks, links, config, .. } = state;
    if let Some(manager) = manager {
        manager.admit_host(address.ip(), clocks.moment())?;
    }
    let links = links.table.len();
    if links >= config.max_links {
        Err(Refusal::TableFull { links })
    } else if take_inbound_slot(address.ip(), state) {
        Ok(Admission::Peer)
    } else if state.telemetry.census.of_type(ConnectionType::OverCapacity) < MAX_OVER_CAPACITY {
        Ok(Admission::OverCapacity)
    } else {
        Err(Refusal::TableFull { links })
    }
}

/// Reserves a slot for a peer accepted from `host`, if necessary by an eviction. Returns `false` if that is impossible.
fn take_inbound_slot(host: IpAddr, state: &mut LoopState) -> bool {
    if let Some(mut managing) = Managing::of(state) {
        return managing.take_inbound_slot(Host::of(host));
    }
    state.telemetry.census.of_type(ConnectionType::Inbound) < state.config.max_inbound
}
