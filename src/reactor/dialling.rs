//! Outbound connections.
//!
//! This module handles the results of connects between steps 2 and 3 of the turn, and opens the sockets of due dials in
//! step 4, a bounded number in each turn. It never chooses an address; the peer manager, the handler and handles do.

use crate::bugs::budget;
use crate::engine::Engine;
use crate::error::{IoStep, NetworkFailure};
use crate::handler::Handler;
use crate::id::LinkId;
use crate::limits::DIALS_PER_TURN;
use crate::net::Net;

/// Opens the sockets of new links, up to the turn's limit.
pub(super) fn dial<N: Net>(net: &mut N, engine: &mut Engine) {
    for _ in 0..budget!(Dials, DIALS_PER_TURN) {
        let Some(dial) = engine.next_dial() else { return };
        engine.advance_clock(net.now());
        engine.connect_starting(dial.link);
        match net.connect(dial.link, dial.address, dial.source) {
            Ok(()) => engine.connect_started(dial.link),
            Err(error) => {
                let step = NetworkFailure::step_of_dial(dial.source.is_some(), &error);
                engine.failed(dial.link, step, &error);
            }
        }
    }
}

/// Queries the kernel for a connect's result, and reports it to the engine once it is known.
pub(super) fn finish_connect<N: Net, H: Handler>(id: LinkId, net: &mut N, engine: &mut Engine, handler: &mut H) {
    match net.connected(id) {
        Ok(None) => {}
        Ok(Some(endpoints)) if endpoints.are_one() => engine.connected_to_itself(id),
        Ok(Some(_)) => {
            engine.handshake(id).tcp_connected(handler);
            engine.links_mut().table.mark_ready(id);
        }
        Err(error) => engine.failed(id, IoStep::Connect, &error),
    }
}
