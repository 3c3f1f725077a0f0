//! The state that the engine and the handler's [`Ctx`](crate::handler::Ctx) share.
//!
//! Each part has one responsibility: [`Links`] holds the connections, [`Clocks`] the time, [`Timers`] the handler's
//! timers, [`Telemetry`] counters and measurements, [`Outbox`] outgoing events, and the [`Manager`] the policy for
//! peers. This module has the steps that need several parts: it opens links, [`sending`] sends on them, and
//! [`charging`] handles misbehavior. No call uses a socket. The clock that is stored here is read once at the start;
//! later only handlers read it.

mod associations;
mod charging;
mod clocks;
mod dialling;
mod figures;
mod links;
mod marks;
mod outbox;
mod sending;
mod telemetry;
mod timers;
mod wishes;

pub(crate) use clocks::Clocks;
pub(crate) use dialling::Dialling;
pub(crate) use figures::stats;
pub(crate) use links::Links;
pub(crate) use marks::{Mark, Marks};
pub(crate) use outbox::Outbox;
pub(crate) use sending::AfterWrite;
pub(crate) use telemetry::Telemetry;
pub(crate) use timers::{TimerKey, Timers};
pub(crate) use wishes::Wishes;

use crate::api::{Direction, Reply};
use crate::clock::Clock;
use crate::config::{Config, Multistreams};
use crate::error::{AddConnectionError, RequestError};
use crate::id::{LinkId, PeerId};
use crate::limits::{MAX_RESTARTS, RESTART_WINDOW};
use crate::link::association::Association;
use crate::link::table::Dial;
use crate::manager::Manager;
use crate::peer::{PeerConnection, VersionFacts};
use crate::wire::StreamType;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct LoopState {
    pub(crate) config: Config,
    /// The network's magic, which begins every message.
    pub(crate) magic: [u8; 4],
    pub(crate) rng: StdRng,
    pub(crate) links: Links,
    pub(crate) clocks: Clocks,
    /// The clock for handlers that request the current time. The loop itself reads the time through its `Net`.
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timers: Timers,
    pub(crate) marks: Marks,
    /// The facts of connections whose `version` is not sent yet and whose dial named its own facts.
    pub(crate) facts: BTreeMap<LinkId, VersionFacts>,
    pub(crate) telemetry: Telemetry,
    pub(crate) outbox: Outbox,
    pub(crate) wishes: Wishes,
    /// The policy that finds, keeps and refuses peers, if the loop has one.
    pub(crate) manager: Option<Box<Manager>>,
    /// Connections that embedders have passed to the loop and that wait for a row.
    pub(crate) added_connections: Vec<AddedConnection>,
    pub(crate) stopping: bool,
}

/// A connection that an embedder has passed to the loop.
#[derive(Debug)]
pub(crate) struct AddedConnection {
    pub(crate) connection: TcpStream,
    pub(crate) direction: Direction,
    pub(crate) reply: Reply<Result<PeerId, AddConnectionError>>,
}

impl LoopState {
    pub(crate) fn new(config: Config, mut rng: StdRng, clock: Arc<dyn Clock>) -> Self {
        let now = clock.now();
        let manager = config.manager.as_ref().map(|manager| Box::new(Manager::new(manager, config.network, &mut rng)));
        Self {
            magic: config.magic_bytes(),
            rng,
            links: Links::new(&config, now),
            clocks: Clocks::new(now),
            clock,
            timers: Timers::default(),
            marks: Marks::default(),
            facts: BTreeMap::new(),
            telemetry: Telemetry::new(config.measure_peers),
            outbox: Outbox::default(),
            wishes: Wishes::default(),
            manager,
            added_connections: Vec::new(),
            stopping: false,
            config,
        }
    }

    /// Begins the loop's shutdown. `reply` is sent when the loop has ended.
    pub(crate) fn stop(&mut self, reply: Reply<()>) {
        self.stopping = true;
        self.outbox.add_stop(reply);
    }

    /// Allocates a row for a connection. The turn then opens the connection.
    pub(crate) fn connect(&mut self, dialling: impl Into<Dialling>) -> Result<LinkId, RequestError> {
        let Dialling { address, source, is_further, facts, is_for_other } = dialling.into();
        facts.as_ref().map_or(Ok(()), VersionFacts::check)?;
        self.allow_outbound(address, is_further)?;
        let link = self.open(address, source);
        if let Some(manager) = self.manager.as_mut().filter(|_| is_further) {
            manager.further_link_added(link);
        }
        if is_for_other {
            self.links.dissociate(link);
        }
        if let Some(facts) = facts {
            self.facts.insert(link, facts);
        }
        Ok(link)
    }

    /// Allocates a row for a connection to `address` that an embedder has opened.
    pub(crate) fn add_outbound(&mut self, address: SocketAddr) -> Result<LinkId, RequestError> {
        self.allow_outbound(address, false)?;
        Ok(self.take_outbound_row(address))
    }

    /// Checks that a connection to `address` is allowed, and reserves the manager's slot for it. A further connection
    /// is allowed even if the address has other links.
    fn allow_outbound(&mut self, address: SocketAddr, is_further: bool) -> Result<(), RequestError> {
        if self.stopping {
            return Err(RequestError::Stopped);
        }
        if self.links.table.len() >= self.config.max_links {
            return Err(RequestError::TableFull);
        }
        let moment = self.clocks.moment();
        match &mut self.manager {
            Some(manager) if is_further => manager.allow_further_dial(address, moment),
            Some(manager) => manager.allow_dial(address, moment),
            None => Ok(()),
        }
    }

    /// Allocates a row for a connection that the manager, if there is one, has already counted. The turn then opens
    /// the connection.
    pub(crate) fn open(&mut self, address: SocketAddr, source: Option<IpAddr>) -> LinkId {
        let link = self.take_outbound_row(address);
        if self.config.multistreams == Multistreams::Open {
            self.links.associate(link, Association::of_dial(source));
        }
        self.links.table.push_dial(Dial { link, address, source });
        link
    }

    /// Allocates a row for a further stream of a peer that this side has dialled. The turn then opens the connection.
    /// Returns `None` if the table is full. The stream counts as a link, but never as a peer.
    pub(crate) fn open_stream(&mut self, peer: LinkId, stream_type: StreamType) -> Option<LinkId> {
        if self.links.table.len() >= self.config.max_links {
            return None;
        }
        let address = self.links.peer(peer)?.peer.address();
        let source = self.links.association(peer)?.source;
        let mut stream = PeerConnection::new_stream(address, self.config.pong_timeout);
        stream.transition_to_connecting(self.clocks.now()).expect("a new connection may be opened");
        let link = self.links.table.insert(stream);
        self.links.join(link, peer, stream_type, true);
        self.links.table.push_dial(Dial { link, address, source });
        Some(link)
    }

    fn take_outbound_row(&mut self, address: SocketAddr) -> LinkId {
        let pong_timeout = self.config.pong_timeout;
        let mut peer = PeerConnection::new_outbound(address, (MAX_RESTARTS, RESTART_WINDOW), pong_timeout);
        let tracking = self.manager.as_ref().and_then(|manager| manager.dialler.restarts(address));
        if let (Some(restart), Some(tracking)) = (peer.restart_mut(), tracking) {
            *restart = tracking;
        }
        peer.transition_to_connecting(self.clocks.now()).expect("a new connection may be opened");
        self.telemetry.census.add(peer.connection_type(), peer.state());
        let link = self.links.table.insert(peer);
        if let Some(manager) = &mut self.manager {
            manager.link_added(link, address);
        }
        self.telemetry.counters.dialled += 1;
        link
    }
}
