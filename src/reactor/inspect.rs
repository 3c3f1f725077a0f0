//! Snapshots of the loop between two turns: its links, lists, timers and queues in plain numbers.
//!
//! The cost of a [`Summary`] is constant; an [`Inspection`] visits all links. Both are owned copies, so they can be
//! kept, compared and modified. A snapshot changes nothing.

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
use crate::peer::{ConnectionState, ConnectionType, LinkRole};
use crate::stats::Census;
use crate::stats::histogram::Counters;
use crate::time::{Instant, Wait};
use crate::wheel::tick_of;
use crate::wire::{StreamType, Version};
use std::net::SocketAddr;

/// The loop's own counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The moment of the last turn.
    pub now: Instant,
    /// The wait until the next turn is due.
    pub wait: Wait,
    /// The number of links by the table's own count.
    pub links: usize,
    /// The number of links that are further streams of peers, or are being set up as such.
    pub streams: usize,
    /// The links by state and by type.
    pub connections: Census,
    /// The number of accepted links, without those over capacity.
    pub inbound: usize,
    /// The number of accepted links over capacity.
    pub over_capacity: usize,
    /// The number of peers whose handshake is complete.
    pub ready_count: usize,
    /// The number of send queues that hold bytes.
    pub send_queues: usize,
    /// The number of bytes that wait in the send queues.
    pub waiting_bytes: u64,
    /// The number of ids listed for reading, including ids of removed links.
    pub ready: usize,
    /// The number of links listed for sending.
    pub dirty: usize,
    /// The number of links listed for closing.
    pub closing: usize,
    /// The number of links listed for an offer of free room.
    pub pulls: usize,
    /// The number of connections still to be dialled.
    pub dials: usize,
    /// The link to be read next.
    pub next_ready: Option<LinkId>,
    /// The number of armed link timers.
    pub timers: usize,
    /// The number of times that a timer of the handler fired, was cancelled or was moved.
    pub handler_timers_settled: u64,
    /// The number of links with marked messages that are not yet written.
    pub marked_links: usize,
    /// The number of links that still hold the facts for their `version`.
    pub links_with_facts: usize,
    /// The next moment at which to check the handler's timers.
    pub handler_timer_at: Option<Instant>,
    /// The moment of the earliest wake-up that the handler requested.
    pub wake_at: Option<Instant>,
    /// The number of wake-ups of the handler so far.
    pub wakes: u64,
    /// The memory, in bytes, held for large frames that are being buffered.
    pub gathered_bytes: u64,
    /// Whether the next turn is due at once for a reason that the lists do not show: a listener, the kernel, the
    /// request queue or the completion queue may hold further items; the loop has not started; an added connection or
    /// the manager's step is due; or timers must still be rearmed for moved deadlines.
    pub has_more: bool,
    /// Whether the loop is stopping.
    pub is_stopping: bool,
    /// All counters.
    pub counters: Counters,
    /// The peer manager's own counts, if there is one.
    pub manager: Option<ManagerSummary>,
}

/// The complete visible state of a loop between two turns.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// The loop's own counts.
    pub summary: Summary,
    /// The number of table slots that were ever used.
    pub slots: usize,
    /// The number of slots that hold a row, live or retired.
    pub occupied_slots: usize,
    /// The number of slots that are never used again.
    pub retired_slots: usize,
    /// The links, in the order of their slots.
    pub links: Vec<LinkReport>,
    /// The ids listed for reading, in the order of reading. The list may include ids of removed links.
    pub ready: Vec<LinkId>,
    /// The ids listed for sending.
    pub dirty: Vec<LinkId>,
    /// The ids listed for closing.
    pub closing: Vec<LinkId>,
    /// The ids listed for an offer of free room.
    pub pulls: Vec<LinkId>,
    /// The ids of connections still to be dialled.
    pub dials: Vec<LinkId>,
    /// The open listeners.
    pub listeners: Vec<ListenerReport>,
    /// The number of addresses that wait for a listener.
    pub unbound_addresses: usize,
    /// The peer manager's further state, if there is one.
    pub manager: Option<ManagerReport>,
    /// Whether a link's timer is due but was not handled.
    pub has_overdue_timers: bool,
    /// The memory, in bytes, that the loop counts for its links, such as rows, lists, timers, versions, frames, queues
    /// and pooled buffers.
    pub accounted_bytes: u64,
}

/// One link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkReport {
    /// Its slot and generation.
    pub id: LinkId,
    /// The first link of its peer.
    pub peer: LinkId,
    /// Whether it is its peer's first link, and not a further stream or a link that is being set up as one.
    pub is_peer: bool,
    /// Whether it is being set up as a further stream.
    pub is_opening: bool,
    /// The stream that it is or will be.
    pub stream_type: StreamType,
    /// Its address: the dialled one, or the source of an accepted connection.
    pub address: SocketAddr,
    /// The numbers of links that the manager counts for this link's host and for the host's range of addresses; 0 and
    /// 0 without a manager.
    pub counted: (usize, usize),
    /// Whether its host is banned and not trusted.
    pub is_banned: bool,
    /// Its connection state.
    pub state: ConnectionState,
    /// Its type: the side that opened it, and whether it is over capacity.
    pub connection_type: ConnectionType,
    /// The progress of its close.
    pub ending: EndingStep,
    /// Whether it is listed for reading.
    pub is_ready: bool,
    /// Whether it is listed for sending.
    pub is_dirty: bool,
    /// Whether it is listed for closing.
    pub is_closing: bool,
    /// Whether it is listed for an offer of free room.
    pub is_pull: bool,
    /// Whether the handler has requested an offer of free room and enough room is free.
    pub is_pull_due: bool,
    /// Whether its socket is believed readable.
    pub is_readable: bool,
    /// Whether its socket is believed writable.
    pub is_writable: bool,
    /// Whether reading is paused on purpose.
    pub is_held: bool,
    /// The start of the current or last read pause; [`Instant::ZERO`] if there was none.
    pub held_since: Instant,
    /// The bytes that wait to be sent.
    pub outgoing: OutgoingReport,
    /// The number of bytes received of the incomplete header or payload.
    pub frame_received_bytes: u64,
    /// The size of the buffer for the incomplete header or payload, as the loop counts it.
    pub gathering_bytes: usize,
    /// The tick at which its timer fires; `None` if the timer is not armed.
    pub armed_tick: Option<u64>,
    /// The earliest of its deadlines and retries; [`Instant::MAX`] for none.
    pub deadline: Instant,
    /// Whether a new configuration has moved its deadlines but its timer is not rearmed yet.
    pub has_new_deadlines: bool,
    /// The deadline of its handshake; `None` before the handshake starts and once it is complete.
    pub handshake_deadline: Option<Instant>,
    /// The moment at which our next ping is due; [`Instant::MAX`] for never.
    pub ping_due: Instant,
    /// The number of our pings without a pong yet.
    pub pings: usize,
    /// The values agreed with the peer.
    pub agreed: Agreed,
}

/// The progress of a link's close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndingStep {
    /// The link is not closing.
    Open,
    /// The queue is being sent.
    Draining,
    /// The queue is sent, but not those of the peer's other streams.
    AwaitingStreams,
    /// Writing is shut down, and input is dropped.
    Lingering,
    /// The link is about to be freed.
    Ended,
}

/// The bytes that wait to be sent on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutgoingReport {
    /// The number of waiting bytes by the queue's own count.
    pub waiting_bytes: usize,
    /// The number of waiting bytes, counted part by part.
    pub recounted_bytes: usize,
    /// The number of bytes that wait after a message that is being fed.
    pub behind_bytes: usize,
    /// The size of the largest waiting part in bytes.
    pub largest_bytes: usize,
    /// Whether parts of a fed message wait or may still be added.
    pub is_fed: bool,
}

/// The values agreed with a peer. Once the peer is ready, only its `protoconf` changes them: it sets the payload
/// limit, and a peer may send only one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// The lower of our and the peer's protocol version; 0 before the peer's is known.
    pub protocol_version: u32,
    /// The services that the peer offers.
    pub services: u64,
    /// The largest payload, in bytes, that the peer accepts in an ordinary message.
    pub max_recv_payload_bytes: u32,
    /// Whether the peer's `protoconf` has set that limit.
    pub protoconf_received: bool,
}

/// A link that is a further stream of a peer, or is being set up as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamReport {
    /// Its slot and generation.
    pub link: LinkId,
    /// The first link of its peer.
    pub peer: LinkId,
    /// Whether it is being set up.
    pub is_opening: bool,
    /// Whether it is not closing.
    pub is_open: bool,
    /// Whether it is listed for reading.
    pub is_listed: bool,
    /// Whether the peer's first link is listed for reading.
    pub is_peer_listed: bool,
    /// Whether a message is being fed on it.
    pub has_body: bool,
    /// Whether it or the peer's first link waits, in a graceful close, until the peer's other queues are sent.
    pub awaits_streams: bool,
}

/// One listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerReport {
    /// The listener's index, which its readiness events carry.
    pub index: u32,
    /// Whether connections may be waiting to be accepted.
    pub is_ready: bool,
    /// The end of its pause, if accepting is paused.
    pub retry_at: Option<Instant>,
}

impl<N: Net + Offload, H: Handler> Reactor<N, H> {
    /// Returns the loop's own counts at a constant cost.
    pub fn inspect_summary(&self) -> Summary {
        let state = self.engine.state();
        Summary {
            now: state.clocks.now(),
            wait: self.next_deadline(),
            links: state.links.table.len(),
            streams: state.links.streams_len(),
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
            marked_links: state.marks.links(),
            links_with_facts: state.facts.len(),
            handler_timer_at: state.timers.next_at(),
            wake_at: state.clocks.wake_at(),
            wakes: state.clocks.woken(),
            gathered_bytes: self.engine.memory().gathered_bytes(),
            has_more: self.ready.len() >= budget!(Events, EVENTS_PER_TURN)
                || self.requests_pending
                || self.completions_pending
                || !self.started
                || !self.additions.is_empty()
                || self.engine.rearming().is_under_way()
                || managing::wait(state) == Wait::Zero
                || self.listeners.open.iter().any(Listener::is_due),
            is_stopping: state.stopping,
            counters: state.telemetry.counters.clone(),
            manager: state.manager.as_ref().map(|manager| ManagerSummary::of(manager)),
        }
    }

    /// Returns the moment at which a ping was sent. The inner `None` means that the ping is still queued, the
    /// outer `None` that no ping with this nonce awaits a pong.
    pub(crate) fn ping_sent(&self, link: LinkId, nonce: u64) -> Option<Option<Instant>> {
        self.engine.links().table.get(link)?.peer.ping_pong().sent_at(nonce)
    }

    /// Returns the first link of a link's peer.
    pub(crate) fn peer_of(&self, link: LinkId) -> LinkId {
        self.engine.links().peer_of(link)
    }

    /// Returns whether a link is in the table and not closing.
    pub(crate) fn is_open(&self, link: LinkId) -> bool {
        self.engine.links().is_open(link)
    }

    /// Returns the links that are further streams of peers, or are being set up as such. If there is any, the cost
    /// grows with the number of links.
    pub(crate) fn inspect_streams(&self) -> Vec<StreamReport> {
        let links = self.engine.links();
        if links.streams_len() == 0 {
            return Vec::new();
        }
        links.table.iter().filter(|(_, link)| !link.is_peer()).map(|(id, link)| self.report_stream(id, link)).collect()
    }

    fn report_stream(&self, id: LinkId, link: &Link) -> StreamReport {
        let links = self.engine.links();
        let peer = links.peer_of(id);
        let general = links.table.get(peer);
        let awaits_streams = |link: &Link| matches!(link.phase(), Some(Phase::AwaitingStreams(_)));
        StreamReport {
            link: id,
            peer,
            is_opening: link.peer.role() == LinkRole::Opening,
            is_open: link.is_open(),
            is_listed: link.is_listed_ready(),
            is_peer_listed: general.is_some_and(Link::is_listed_ready),
            has_body: link.body.is_some(),
            awaits_streams: awaits_streams(link) || general.is_some_and(awaits_streams),
        }
    }

    /// Returns whether a link belongs to a ready peer and the kernel has accepted the link's whole queue.
    pub(crate) fn is_drained(&self, link: LinkId) -> bool {
        if !self.engine.links().is_ready(self.peer_of(link)) {
            return false;
        }
        let link = self.engine.links().table.get(link).filter(|link| link.is_open());
        link.is_some_and(|link| link.peer.state() == ConnectionState::Connected && link.queue.is_empty())
    }

    /// Returns the complete visible state of the loop, at a cost that grows with its links and their queues.
    pub fn inspect(&self) -> Inspection {
        let state = self.engine.state();
        let (slots, occupied_slots, retired_slots) = state.links.table.slot_counts();
        let [ready, dirty, closing, pulls, dials] = state.links.table.lists();
        let of_links: usize = state.links.table.iter().map(|(_, link)| held_bytes(link)).sum();
        let of_loop = state.links.table.held_bytes()
            + state.links.wheel.held_bytes()
            + state.links.pool.held_bytes()
            + state.wishes.held_bytes()
            + state.links.associations_held_bytes()
            + state.telemetry.costs.as_ref().map_or(0, |costs| costs.held_bytes())
            + self.read_block.held_bytes()
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
            peer: if link.is_peer() { id } else { state.links.peer_of(id) },
            is_peer: link.is_peer(),
            is_opening: link.peer.role() == LinkRole::Opening,
            stream_type: state.links.stream_type(id),
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
            is_pull_due: link.asks_pull() && state.links.has_pull_room(id),
            is_readable: link.readiness.readable,
            is_writable: link.readiness.writable,
            is_held: link.hold.is_held() || self.engine.awaits_handshake(id),
            held_since: link.held_since,
            outgoing: OutgoingReport::of(link),
            frame_received_bytes,
            gathering_bytes,
            armed_tick: state.links.wheel.armed_tick(id.slot() as u32),
            deadline: state.links.due_at(id, state.clocks.now()),
            has_new_deadlines: !self.engine.rearming().is_past(id),
            handshake_deadline: link.peer.handshake().deadline(state.links.timeouts.handshake_of(link)),
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
            Some(Phase::AwaitingStreams(_)) => Self::AwaitingStreams,
            Some(Phase::Lingering(_)) => Self::Lingering,
            Some(Phase::Ended) => Self::Ended,
        }
    }
}

impl OutgoingReport {
    fn of(link: &Link) -> Self {
        let count = link.queue.recount();
        let behind = link.body.as_ref().map(|body| body.behind.recount());
        Self {
            waiting_bytes: link.queue.waiting_bytes(),
            recounted_bytes: count.waiting_bytes,
            behind_bytes: behind.map_or(0, |behind| behind.waiting_bytes),
            largest_bytes: count.largest_bytes.max(behind.map_or(0, |behind| behind.largest_bytes)),
            is_fed: link.body.is_some() || link.body_end > link.bytes_written,
        }
    }
}

impl ListenerReport {
    fn of(listener: &Listener) -> Self {
        Self { index: listener.index, is_ready: listener.ready, retry_at: listener.retry_at() }
    }
}

/// Returns the memory, in bytes, that a link holds besides its row.
fn held_bytes(link: &Link) -> usize {
    let of_version =
        |version: &Version| size_of::<Version>() + version.user_agent.as_ref().map_or(0, |user_agent| user_agent.len());
    let behind = link.body.as_ref().map_or(0, |body| size_of_val(&**body) + body.behind.recount().held_bytes);
    link.peer.handshake().peer_version().map_or(0, of_version)
        + link.ending.as_deref().map_or(0, size_of_val)
        + link.peer.restart().map_or(0, size_of_val)
        + link.framer.held_bytes()
        + link.queue.recount().held_bytes
        + behind
}
