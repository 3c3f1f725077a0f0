//! Connections that an embedder has opened. Each admitted one gets a row. If it is added between two turns, its
//! handshake begins in the next turn; otherwise it begins in the current turn.
//!
//! A connection is admitted, counted and registered like one that the loop has accepted or dialled. Its events are
//! reported only within a turn.

use crate::api::Direction;
use crate::engine::Engine;
use crate::error::{AddConnectionError, IoStep, NetworkFailure};
use crate::handler::Handler;
use crate::id::{LinkId, PeerId};
use crate::net::Net;
use std::io;
use std::net::TcpStream;

/// Connections that have a row and wait for the turn that begins their handshake.
#[derive(Debug, Default)]
pub(super) struct Additions {
    waiting: Vec<LinkId>,
}

impl Additions {
    /// Returns whether no connection waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Allocates a row for a connection, and registers the connection.
    pub(super) fn add<N: Net>(
        &mut self,
        connection: TcpStream,
        direction: Direction,
        net: &mut N,
        engine: &mut Engine,
    ) -> Result<PeerId, AddConnectionError> {
        let unusable = |error: io::Error| AddConnectionError::Unusable(NetworkFailure::new(IoStep::Register, &error));
        let (socket, endpoints) = net.add_connection(connection).map_err(unusable)?;
        let id = match direction {
            Direction::Inbound => engine.accept(endpoints.remote).map_err(AddConnectionError::Refused)?,
            Direction::Outbound => engine.add_outbound(endpoints.remote).map_err(AddConnectionError::NotAllowed)?,
        };
        match net.attach(id, socket) {
            Ok(()) if endpoints.are_one() => engine.connected_to_itself(id),
            Ok(()) => self.waiting.push(id),
            Err(error) => engine.failed(id, IoStep::Register, &error),
        }
        Ok(PeerId::of(id))
    }

    /// Begins the handshakes of the waiting connections.
    pub(super) fn open<H: Handler>(&mut self, engine: &mut Engine, handler: &mut H) {
        for id in self.waiting.drain(..) {
            // The embedder may have closed the connection meanwhile.
            if engine.links().is_open(id) {
                engine.handshake(id).connection_opened(None, handler);
            }
        }
    }
}
