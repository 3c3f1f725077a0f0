//! A look at the loop between two turns, in plain numbers: what its links, lists, timers and queues are at.
//!
//! [`Summary`] costs the same however many links there are, [`Inspection`] walks over all of them. Both are copies that
//! refer to nothing, so they can be kept, compared and doctored. Looking changes nothing.

use super::Reactor;
use super::accept::Listener;
use crate::bugs::budget;
use crate::engine::managing;
use crate::handler::Handler;
use crate::id::LinkId;
use crate::limits::EVENTS_PER_TURN;
use crate::link::row::{Link, Phase};
pub use crate::manager::inspect::{Draw, ManagerReport, ManagerSummary};
use crate::net::Net;
use crate::offload::Offload;
use crate::peer::{ConnectionState, ConnectionType};
use crate::stats::Census;
use crate::stats::histogram::Counters;
use crate::time::{Instant, Wait};
use crate::wheel::tick_of;
use crate::wire::Version;
use std::net::SocketAddr;

/// What a loop counts of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The moment of the last turn.
    pub now: Instant,
    /// How long the loop would sleep.
    pub wait: Wait,
    /// Links that the table believes to have.
    pub links: usize,
    /// The links by state and by type.
    pub connections: Census,
    /// Accepted links, without those over capacity.
    pub inbound: usize,
    /// Accepted links over capacity.
    pub over_capacity: usize,
    /// Peers whose handshake is complete.
    pub ready_count: usize,
    /// Send queues that hold something.
    pub send_queues: usize,
    /// Bytes that wait in them.
    pub waiting_bytes: u64,
    /// Links listed as ones to read.
    pub ready: usize,
    /// Links listed as ones with something to send.
    pub dirty: usize,
    /// Links listed as ones whose end has to go on.
    pub closing: usize,
    /// Links listed as ones whose free room is offered to the handler.
    pub pulls: usize,
    /// Connections that are still to be dialled.
    pub dials: usize,
    /// The link that is read next.
    pub next_ready: Option<LinkId>,
    /// Armed timers of links.
    pub timers: usize,
    /// How often a timer of the handler fired, was cancelled or was moved.
    pub handler_timers_settled: u64,
    /// When a timer of the handler has to be looked at next.
    pub handler_timer_at: Option<Instant>,
    /// The moment that the handler asked to be woken at.
    pub wake_at: Option<Instant>,
    /// Bytes held for large frames that are being gathered.
    pub gathered_bytes: u64,
    /// Whether a listener, the kernel's events, the queue of requests or that of answers may hold more than was taken,
    /// or timers are still to be set for deadlines that have moved.
    pub has_more: bool,
    /// Whether the loop is stopping.
    pub is_stopping: bool,
    /// All counters.
    pub counters: Counters,
    /// What the peer manager counts, if there is one.
    pub manager: Option<ManagerSummary>,
}

/// All that can be seen of a loop between two turns.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// What the loop counts of itself.
    pub summary: Summary,
    /// Slots of the table that were ever used.
    pub slots: usize,
    /// Slots that hold a row, live or retired.
    pub occupied_slots: usize,
    /// Slots that are never used again.
    pub retired_slots: usize,
    /// The links, in the order of their slots.
    pub links: Vec<LinkReport>,
    /// The ids listed as ready, first the one that is read next; those of links that are gone may be among them.
    pub ready: Vec<LinkId>,
    /// The ids listed as dirty.
    pub dirty: Vec<LinkId>,
    /// The ids listed as closing.
    pub closing: Vec<LinkId>,
    /// The ids listed as ones whose free room is offered.
    pub pulls: Vec<LinkId>,
    /// The ids of connections that are still to be dialled.
    pub dials: Vec<LinkId>,
    /// The listeners that are open.
    pub listeners: Vec<ListenerReport>,
    /// Addresses that wait for a listener.
    pub unbound_addresses: usize,
    /// What the peer manager believes beside what it counts, if there is one.
    pub manager: Option<ManagerReport>,
    /// Whether a timer has gone off that was not looked at.
    pub has_overdue_timers: bool,
    /// Bytes that the loop holds for its links by its own account: rows, lists, timers, versions, frames, queues, and
    /// the buffers that wait to be used again.
    pub accounted_bytes: u64,
}

/// One link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkReport {
    /// Its slot and generation.
    pub id: LinkId,
    /// The address that it was dialled at or came from.
    pub address: SocketAddr,
    /// The links that the manager counts for its host and for its range of addresses.
    pub counted: (usize, usize),
    /// Whether its host is banned and not trusted.
    pub is_banned: bool,
    /// Where it is in its life.
    pub state: ConnectionState,
    /// Who opened it.
    pub connection_type: ConnectionType,
    /// How far its end has come.
    pub ending: EndingStep,
    /// Whether it is listed as ready.
    pub is_ready: bool,
    /// Whether it is listed as dirty.
    pub is_dirty: bool,
    /// Whether it is listed as closing.
    pub is_closing: bool,
    /// Whether it is listed as one whose free room is offered.
    pub is_pull: bool,
    /// Whether the handler asks for its free room and there is enough of that.
    pub is_pull_due: bool,
    /// Whether it is believed readable.
    pub is_readable: bool,
    /// Whether it is believed writable.
    pub is_writable: bool,
    /// Whether it is not read on purpose.
    pub is_held: bool,
    /// When that began, now or the last time; [`Instant::ZERO`] for never.
    pub held_since: Instant,
    /// What waits to be sent.
    pub outgoing: OutgoingReport,
    /// Bytes received of the frame that has begun.
    pub frame_received_bytes: u64,
    /// Bytes of the memory that the payload of that frame is gathered in.
    pub gathering_bytes: usize,
    /// The tick that its timer is armed for.
    pub armed_tick: Option<u64>,
    /// The earliest of its deadlines and retries; [`Instant::MAX`] for none.
    pub deadline: Instant,
    /// Whether a new configuration has moved its deadlines and its timer is still to follow.
    pub has_new_deadlines: bool,
    /// When its handshake has to be complete, while it is not.
    pub handshake_deadline: Option<Instant>,
    /// When the next ping of ours is due; [`Instant::MAX`] for never.
    pub ping_due: Instant,
    /// Pings of ours that were not answered.
    pub pings: usize,
    /// What was agreed with the peer.
    pub agreed: Agreed,
}

/// How far the end of a link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndingStep {
    /// It is not ending.
    Open,
    /// What waits is being sent.
    Draining,
    /// Writing is shut down, and input is dropped.
    Lingering,
    /// It is to be freed.
    Ended,
}

/// What waits to be sent on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutgoingReport {
    /// Bytes that wait, by the account of the queue.
    pub waiting_bytes: usize,
    /// Bytes that wait, counted part by part.
    pub recounted_bytes: usize,
    /// Bytes that wait behind a message that is being fed.
    pub behind_bytes: usize,
    /// Bytes of the largest part of all that waits.
    pub largest_bytes: usize,
    /// Whether parts of a message that was fed are among what waits, or may still come.
    pub is_fed: bool,
}

/// What never changes once a peer is ready, but for the limit that its one `protoconf` sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// The lower of both protocol versions; 0 before the peer's is known.
    pub protocol_version: u32,
    /// The services that the peer offers.
    pub services: u64,
    /// The largest payload that the peer takes.
    pub max_recv_payload_bytes: u32,
    /// Whether the peer said so.
    pub protoconf_received: bool,
}

/// One listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerReport {
    /// The number that its events carry.
    pub index: u32,
    /// Whether more connections may wait than were accepted.
    pub is_ready: bool,
    /// Until when accepting pauses.
    pub retry_at: Option<Instant>,
}

impl<N: Net + Offload, H: Handler> Reactor<N, H> {
    /// What the loop counts of itself, at a cost that does not depend on how much there is to count.
    pub fn inspect_summary(&self) -> Summary {
        let state = self.engine.state();
        Summary {
            now: state.clocks.now(),
            wait: self.next_deadline(),
            links: state.links.table.len(),
            connections: state.telemetry.census,
            inbound: state.telemetry.census.of_type(ConnectionType::Inbound),
            over_capacity: state.telemetry.census.of_type(ConnectionType::OverCapacity),
            ready_count: state.telemetry.ready_count(),
            send_queues: state.links.pool.queues_in_use(),
            waiting_bytes: state.links.pool.waiting_bytes(),
            ready: state.links.table.ready_len(),
            dirty: state.links.table.dirty_len(),
            closing: state.links.table.closing_len(),
            pulls: state.links.table.pulls_len(),
            dials: state.links.table.dials_len(),
            next_ready: state.links.table.next_ready(),
            timers: state.links.wheel.len(),
            handler_timers_settled: state.timers.settled(),
            handler_timer_at: state.timers.next_at(),
            wake_at: state.clocks.wake_at(),
            gathered_bytes: self.engine.memory().gathered_bytes(),
            has_more: self.ready.len() >= budget!(Events, EVENTS_PER_TURN)
                || self.requests_pending
                || self.completions_pending
                || !self.started
                || !self.additions.is_empty()
                || self.engine.rearming().is_going_on()
                || managing::wait(state) == Wait::Zero
                || self.listeners.open.iter().any(Listener::is_due),
            is_stopping: state.stopping,
            counters: state.telemetry.counters.clone(),
            manager: state.manager.as_ref().map(|manager| ManagerSummary::of(manager)),
        }
    }

    /// When the loop sent a ping, `None` inside if it is queued; `None` if it is not in flight.
    pub(crate) fn ping_sent(&self, link: LinkId, nonce: u64) -> Option<Option<Instant>> {
        self.engine.links().table.get(link)?.peer.ping_pong().sent_at(nonce)
    }

    /// Whether a link is that of a ready peer, and the kernel has taken all that may be sent to it.
    pub(crate) fn is_drained(&self, link: LinkId) -> bool {
        let link = self.engine.links().table.get(link).filter(|link| link.is_open());
        link.is_some_and(|link| link.peer.state() == ConnectionState::Connected && link.queue.is_empty())
    }

    /// All that can be seen of the loop, at a cost that grows with its links and with what waits for them.
    pub fn inspect(&self) -> Inspection {
        let state = self.engine.state();
        let (slots, occupied_slots, retired_slots) = state.links.table.slot_counts();
        let [ready, dirty, closing, pulls, dials] = state.links.table.lists();
        let of_links: usize = state.links.table.iter().map(|(_, link)| held_bytes(link)).sum();
        let of_loop = state.links.table.held_bytes()
            + state.links.wheel.held_bytes()
            + state.links.pool.held_bytes()
            + state.wishes.held_bytes()
            + state.telemetry.costs.as_ref().map_or(0, |costs| costs.held_bytes())
            + self.engine.memory().held_bytes();
        Inspection {
            summary: self.inspect_summary(),
            slots,
            occupied_slots,
            retired_slots,
            links: state.links.table.iter().map(|(id, link)| self.report(id, link)).collect(),
            ready,
            dirty,
            closing,
            pulls,
            dials,
            listeners: self.listeners.open.iter().map(ListenerReport::of).collect(),
            unbound_addresses: self.listeners.waiting_len(),
            manager: state.manager.as_ref().map(|manager| ManagerReport::of(manager)),
            has_overdue_timers: state.links.wheel.next_tick().is_some_and(|tick| tick <= tick_of(state.clocks.now())),
            accounted_bytes: (of_links + of_loop) as u64,
        }
    }

    fn report(&self, id: LinkId, link: &Link) -> LinkReport {
        let state = self.engine.state();
        let [is_ready, is_dirty, is_closing, is_pull] = link.listed_as();
        let (frame_received_bytes, gathering_bytes) = link.framer.gathering();
        let version = link.peer.handshake().peer_version();
        let address = link.peer.address();
        let manager = state.manager.as_ref();
        LinkReport {
            id,
            address,
            counted: manager.map_or((0, 0), |manager| manager.counted(address.ip())),
            is_banned: manager.is_some_and(|manager| manager.is_barred(address, state.clocks.moment())),
            state: link.peer.state(),
            connection_type: link.peer.connection_type(),
            ending: EndingStep::of(link.phase()),
            is_ready,
            is_dirty,
            is_closing,
            is_pull,
            is_pull_due: link.asks_pull() && link.has_pull_room(),
            is_readable: link.readiness.readable,
            is_writable: link.readiness.writable,
            is_held: link.hold.is_held(),
            held_since: link.held_since,
            outgoing: OutgoingReport::of(link),
            frame_received_bytes,
            gathering_bytes,
            armed_tick: state.links.wheel.armed_tick(id.slot() as u32),
            deadline: state.links.due_at(link, state.clocks.now()),
            has_new_deadlines: !self.engine.rearming().is_past(id),
            handshake_deadline: link.peer.handshake().deadline(state.config.handshake_timeout),
            ping_due: state.links.timeouts.ping_due(link),
            pings: link.peer.ping_pong().pending_count(),
            agreed: Agreed {
                protocol_version: if version.is_some() { link.negotiated_version } else { 0 },
                services: version.map_or(0, |version| version.services),
                max_recv_payload_bytes: link.peer.max_recv_payload(),
                protoconf_received: link.peer.protoconf_received(),
            },
        }
    }
}

impl EndingStep {
    fn of(phase: Option<Phase>) -> Self {
        match phase {
            None => Self::Open,
            Some(Phase::Draining(_)) => Self::Draining,
            Some(Phase::Lingering(_)) => Self::Lingering,
            Some(Phase::Ended) => Self::Ended,
        }
    }
}

impl OutgoingReport {
    fn of(link: &Link) -> Self {
        let count = link.queue.recount();
        let behind = link.stream.as_ref().map(|stream| stream.behind.recount());
        Self {
            waiting_bytes: link.queue.waiting_bytes(),
            recounted_bytes: count.waiting_bytes,
            behind_bytes: behind.map_or(0, |behind| behind.waiting_bytes),
            largest_bytes: count.largest_bytes.max(behind.map_or(0, |behind| behind.largest_bytes)),
            is_fed: link.stream.is_some() || link.body_end > link.bytes_written,
        }
    }
}

impl ListenerReport {
    fn of(listener: &Listener) -> Self {
        Self { index: listener.index, is_ready: listener.ready, retry_at: listener.retry_at() }
    }
}

/// Bytes of memory that a link holds beside its row.
fn held_bytes(link: &Link) -> usize {
    let of_version =
        |version: &Version| size_of::<Version>() + version.user_agent.as_ref().map_or(0, |user_agent| user_agent.len());
    let behind = link.stream.as_ref().map_or(0, |stream| size_of_val(&**stream) + stream.behind.recount().held_bytes);
    link.peer.handshake().peer_version().map_or(0, of_version)
        + link.ending.as_deref().map_or(0, size_of_val)
        + link.peer.restart().map_or(0, size_of_val)
        + link.framer.held_bytes()
        + link.queue.recount().held_bytes
        + behind
}
