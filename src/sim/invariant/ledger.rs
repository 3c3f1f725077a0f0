//! The ledger: a record of each link from both sides of the loop, made from the calls to the network and to the
//! handler.
//!
//! [`Gate`](super::gate::Gate) records the calls to the network, [`Witness`](super::Witness) those to the handler. Each
//! call is checked against the record when it is made, at a cost that does not depend on the number of calls. Each slot
//! has one record, for its current or last link. The ledger never changes a call.

use super::bounds::Bounds;
use super::findings::Findings;
use super::gossip::AddrSender;
use super::managing::Managing;
use super::messages::Messages;
use super::outgoing::{Fault, Outgoing};
use super::streams::Streams;
use crate::api::{ControlEvent, Delivery, Event};
use crate::config::Config;
use crate::error::{CloseReason, Deadline, LocalCause};
use crate::id::{LinkId, PeerId};
use crate::limits::{
    ACCEPTS_PER_TURN, BODY_WINDOW, CLOSES_PER_TURN, DIALS_PER_TURN, HEADER_TIMEOUT, MAX_SEND_QUEUE_BYTES,
    PULL_WAITING_BYTES, READ_BLOCK_BYTES, SEND_STALL_TIMEOUT, WRITES_PER_TURN,
};
use crate::reactor::inspect::StreamReport;
use crate::sim::faults::Site;
use crate::time::Instant;
use crate::wire::{AddressesRef, Header, StreamType};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

/// All records, and the violations found in them.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) findings: Findings,
    pub(super) bounds: Bounds,
    /// The number of the last wait, counted from 1.
    pub(super) turn: u64,
    /// The number of recorded calls to the network, by which sweeps are scheduled.
    pub(super) calls: u64,
    /// The number of calls that can fail, including failed ones, plus the number of readiness events received.
    pub(super) attempts: u64,
    /// For each site, one bit for each error with which a call failed.
    failed: [u128; Site::ALL.len()],
    /// The number of open sockets.
    pub(super) sockets: usize,
    /// The number of peers reported ready to the handler.
    pub(super) ready: u64,
    /// The number of peers reported closed to the handler.
    pub(super) closed: u64,
    /// The wake-up moment that the handler requested, as of its last callback.
    pub(super) wake_at: Option<Instant>,
    pub(super) managing: Managing,
    pub(super) streams: Streams,
    records: Vec<Record>,
    of_turn: OfTurn,
}

/// The calls recorded in this turn.
#[derive(Debug, Default)]
struct OfTurn {
    accepts: Vec<usize>,
    /// Ready links whose bytes the kernel accepted.
    written: Vec<LinkId>,
    /// Pings whose last byte the kernel accepted.
    pings: Vec<(LinkId, u64)>,
    /// Links with a marked message that the kernel accepted completely.
    marked: Vec<LinkId>,
    connects: usize,
    closes: usize,
}

/// The record of one slot.
#[derive(Debug, Default)]
struct Record {
    socket: Socket,
    peer: Peer,
    /// The link of the last control event, and the reported stage.
    reported: Option<(LinkId, Stage)>,
    /// The link last reported closed to the handler, and the reason.
    closed: Option<(LinkId, CloseReason)>,
}

#[derive(Debug, Default)]
struct Socket {
    /// The link that has the slot's socket, or had it last.
    link: Option<LinkId>,
    is_open: bool,
    began: Instant,
    closed_in: u64,
    read_in: u64,
    written_in: u64,
    writes: usize,
    /// Whether `on_writable` was called after the kernel last accepted bytes.
    is_notified: bool,
    outgoing: Outgoing,
    /// The marks of messages that were written completely but not yet reported.
    marked: VecDeque<u64>,
}

#[derive(Debug, Default)]
struct Peer {
    /// The link that was last reported opened or closed to the handler.
    link: Option<LinkId>,
    stage: Stage,
    opened: Instant,
    /// For each stream the last header shown to the handler, the handler's decision, and the number of bytes delivered
    /// since. A stream has no entry once its message was delivered or cut.
    messages: Messages,
}

/// A peer's stage according to the handler's callbacks or to the control events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Unknown,
    Opened,
    Ready,
    Closed,
}

impl Ledger {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            findings: Findings::default(),
            bounds,
            turn: 0,
            calls: 0,
            attempts: 0,
            failed: [0; Site::ALL.len()],
            sockets: 0,
            ready: 0,
            closed: 0,
            wake_at: None,
            managing: Managing::default(),
            streams: Streams::default(),
            records: Vec::new(),
            of_turn: OfTurn::default(),
        }
    }

    pub(super) fn of(config: &Config) -> Self {
        let mut ledger = Self::new(Bounds::of(config));
        ledger.managing.trust(config);
        ledger
    }

    /// Returns the link whose socket is open in a slot.
    pub(super) fn socket_of(&self, slot: usize) -> Option<LinkId> {
        self.records.get(slot).filter(|record| record.socket.is_open).and_then(|record| record.socket.link)
    }

    /// Returns the turn in which a link was last read, or 0 if it was never read or another link has its slot.
    pub(super) fn read_in(&self, link: LinkId) -> u64 {
        self.records
            .get(link.slot())
            .filter(|record| record.socket.link == Some(link))
            .map_or(0, |record| record.socket.read_in)
    }

    fn record(&mut self, slot: usize) -> &mut Record {
        if self.records.len() <= slot {
            self.records.resize_with(slot + 1, Record::default);
        }
        &mut self.records[slot]
    }

    // --- Calls to the network ---------------------------------------------------------------------------------------

    /// Records a call that can fail, and its error, if any.
    #[inline]
    pub(super) fn tried(&mut self, site: Site, errno: Option<i32>) {
        self.attempts += 1;
        if let Some(errno) = errno {
            self.failed[site as usize] |= bit_of(errno);
        }
    }

    pub(super) fn has_failed(&self, site: Site, errno: i32) -> bool {
        self.failed[site as usize] & bit_of(errno) != 0
    }

    /// Ends a turn in a loop with further streams.
    pub(super) fn settle_streams(&mut self, reports: Vec<StreamReport>) {
        let mut streams = mem::take(&mut self.streams);
        streams.settle(reports, |link| self.read_in(link) == self.turn);
        self.streams = streams;
    }

    /// Begins a turn.
    pub(super) fn waited(&mut self, now: Instant) {
        self.calls += 1;
        self.findings.now = now;
        self.turn += 1;
        self.of_turn.accepts.fill(0);
        self.of_turn.written.clear();
        self.of_turn.pings.clear();
        self.of_turn.marked.clear();
        self.streams.waited();
        (self.of_turn.connects, self.of_turn.closes) = (0, 0);
    }

    pub(super) fn accepted(&mut self, index: u32) {
        self.calls += 1;
        let index = index as usize;
        let accepts = &mut self.of_turn.accepts;
        if accepts.len() <= index {
            accepts.resize(index + 1, 0);
        }
        accepts[index] += 1;
        let accepts = accepts[index];
        self.findings
            .check(11, accepts <= ACCEPTS_PER_TURN, || format!("listener {index}: {accepts} accepts in a turn"));
    }

    /// Records a socket that was opened for a link.
    pub(super) fn opened_socket(&mut self, link: LinkId, is_dial: bool) {
        self.calls += 1;
        let (turn, now) = (self.turn, self.findings.now);
        self.of_turn.connects += usize::from(is_dial);
        let connects = self.of_turn.connects;
        let socket = &mut self.record(link.slot()).socket;
        let (before, was_open, closed_in) = (socket.link, socket.is_open, socket.closed_in);
        *socket = Socket { link: Some(link), is_open: true, began: now, ..Socket::default() };
        self.sockets += usize::from(!was_open);
        let findings = &mut self.findings;
        findings.check(11, connects <= DIALS_PER_TURN, || format!("{connects} dials in a turn"));
        findings.check(2, !was_open, || format!("{link:?} gets the slot of {before:?}, whose socket is open"));
        findings.check(5, closed_in != turn, || format!("{link:?} gets a slot that was freed in the same turn"));
        findings.check(6, rises(before, link), || format!("{link:?} reuses the slot of {before:?}"));
    }

    pub(super) fn read(&mut self, link: LinkId, room_bytes: usize) {
        self.calls += 1;
        let turn = self.turn;
        let socket = &mut self.record(link.slot()).socket;
        let is_own = socket.is_open && socket.link == Some(link);
        let is_first = socket.read_in != turn;
        socket.read_in = turn;
        let findings = &mut self.findings;
        findings.check(4, is_own, || format!("a read for {link:?}, which has no socket"));
        findings.check(11, is_first, || format!("{link:?} is read twice in a turn"));
        findings.check(11, room_bytes <= READ_BLOCK_BYTES, || format!("{link:?} is read into {room_bytes} bytes"));
    }

    /// Records a write: the kernel was offered `slices` and accepted `taken` bytes of them.
    pub(super) fn wrote(&mut self, link: LinkId, slices: &[IoSlice<'_>], taken: usize) {
        self.calls += 1;
        let (turn, magic) = (self.turn, self.bounds.magic);
        let is_ready = self.stage_of(self.streams.peer_of(link)) == Stage::Ready;
        let socket = &mut self.record(link.slot()).socket;
        let is_own = socket.is_open && socket.link == Some(link);
        socket.is_notified &= taken == 0;
        socket.writes = if socket.written_in == turn { socket.writes + 1 } else { 1 };
        socket.written_in = turn;
        let writes = socket.writes;
        let followed = socket.outgoing.wrote(slices, taken, magic);
        let pings = mem::take(&mut socket.outgoing.pings);
        let marked = mem::take(&mut socket.outgoing.marked);
        let has_pong = mem::take(&mut socket.outgoing.has_pong);
        socket.marked.extend(&marked);
        self.of_turn.pings.extend(pings.into_iter().map(|nonce| (link, nonce)));
        self.of_turn.marked.extend(marked.first().map(|_| link));
        if is_ready && taken > 0 {
            self.of_turn.written.push(link);
        }
        if has_pong {
            self.streams.ponged(link);
        }
        let findings = &mut self.findings;
        findings.check(4, is_own, || format!("a write for {link:?}, which has no socket"));
        // A flush makes at most `WRITES_PER_TURN` writes. One more sends the replies to the input just read.
        findings.check(11, writes <= WRITES_PER_TURN + 1, || format!("{link:?} has {writes} writes in a turn"));
        match followed {
            Ok(()) => {}
            Err(Fault::OutOfTurn(command)) => findings.found(17, format!("{link:?} is sent {command} out of order")),
            Err(Fault::Torn) => findings.found(17, format!("a frame to {link:?} is torn")),
            Err(Fault::TooEarly(command)) => findings.found(18, format!("{link:?} is sent {command} too early")),
        }
    }

    /// Records a call for which the link must have a socket.
    pub(super) fn called(&mut self, link: LinkId, call: &str) {
        self.calls += 1;
        let socket = &self.record(link.slot()).socket;
        let is_own = socket.is_open && socket.link == Some(link);
        self.findings.check(4, is_own, || format!("a {call} for {link:?}, which has no socket"));
    }

    /// Records that a link's socket is closed, if it had one.
    pub(super) fn closed_socket(&mut self, link: LinkId) {
        self.calls += 1;
        let turn = self.turn;
        self.streams.closed_socket(link);
        self.of_turn.closes += 1;
        let closes = self.of_turn.closes;
        let socket = &mut self.record(link.slot()).socket;
        let other = socket.link.filter(|owner| socket.is_open && *owner != link);
        let was_open = socket.is_open;
        (socket.is_open, socket.closed_in) = (false, turn);
        self.sockets -= usize::from(was_open);
        let findings = &mut self.findings;
        findings.check(4, other.is_none(), || format!("{link:?} is closed, but the socket belongs to {other:?}"));
        findings.check(11, closes <= CLOSES_PER_TURN, || format!("{closes} links are closed in a turn"));
    }

    // --- Calls to the handler ---------------------------------------------------------------------------------------

    /// Checks later callbacks against this configuration.
    pub(super) fn follow(&mut self, config: &Config) {
        self.bounds = Bounds::of(config);
    }

    /// Records a callback for a peer. `is_live` states whether the table contains the peer.
    pub(super) fn record_callback(&mut self, link: LinkId, is_live: bool) {
        let stage = self.stage_of(link);
        self.findings.check(4, is_live, || format!("a callback for {link:?}, which is not in the table"));
        let is_known = matches!(stage, Stage::Opened | Stage::Ready);
        self.findings.check(29, is_known, || format!("a callback for {link:?}, which is {stage:?} to the handler"));
    }

    /// Records a call of `on_writable`.
    pub(super) fn record_writable(&mut self, link: LinkId) {
        let Self { records, streams, .. } = self;
        for link in streams.streams_of(link).chain([link]) {
            records.get_mut(link.slot()).into_iter().for_each(|record| record.socket.is_notified = true);
        }
    }

    /// Records a call of `on_pull` with `free_bytes`. `there` is the free space in the peer's send queue; `None` if the
    /// peer is not ready.
    pub(super) fn offered(&mut self, link: LinkId, free_bytes: usize, there: Option<usize>) {
        let is_right = there == Some(free_bytes) && free_bytes >= MAX_SEND_QUEUE_BYTES - PULL_WAITING_BYTES;
        self.findings.check(42, is_right, || {
            let min = MAX_SEND_QUEUE_BYTES - PULL_WAITING_BYTES;
            format!(
                "{link:?} is offered {free_bytes} bytes; the free space is {there:?}, and an offer has at least {min}"
            )
        });
    }

    /// Returns the links of ready peers whose bytes the kernel accepted in this turn, but for whose peer `on_writable`
    /// was not called afterwards.
    pub(super) fn missing_writable(&self) -> impl Iterator<Item = LinkId> {
        let is_notified = |link: LinkId| self.records.get(link.slot()).is_some_and(|record| record.socket.is_notified);
        self.of_turn.written.iter().copied().filter(move |link| !is_notified(*link))
    }

    /// Returns the pings whose last byte the kernel accepted in this turn.
    pub(super) fn written_pings(&self) -> &[(LinkId, u64)] {
        &self.of_turn.pings
    }

    /// Returns the links for which the kernel accepted a whole marked message in this turn, and which still have a mark
    /// that was not reported to the handler.
    pub(super) fn missing_written(&self) -> Vec<LinkId> {
        let is_missing =
            |link: &LinkId| self.records.get(link.slot()).is_some_and(|record| !record.socket.marked.is_empty());
        self.of_turn.marked.iter().copied().filter(is_missing).collect()
    }

    /// Records the report that a marked message was written.
    fn reported_written(&mut self, link: LinkId, mark: u64) {
        self.record_callback(link, true);
        let awaited = self.record(link.slot()).socket.marked.pop_front();
        self.findings
            .check(45, awaited == Some(mark), || format!("{link:?}: mark {mark} was reported instead of {awaited:?}"));
    }

    /// Records a callback for a message. `is_ready` states whether the peer is ready and not being closed.
    pub(super) fn record_message(&mut self, link: LinkId, is_ready: bool) {
        let stage = self.stage_of(link);
        let is_right = is_ready && stage == Stage::Ready;
        self.findings.check(18, is_right, || format!("a message of {link:?}, which is {stage:?} to the handler"));
    }

    /// Records an event at `now`. `handshake` states whether the peer's handshake is complete; `None` if the table does
    /// not contain the peer.
    pub(super) fn event(&mut self, link: LinkId, event: &Event<'_>, now: Instant, handshake: Option<bool>) {
        // A link that becomes a stream remains in the table, but not as a peer.
        let is_known = handshake.is_some() || is_conversion(event);
        self.findings.check(4, is_known, || format!("{link:?}, which is not in the table, has {event:?}"));
        match event {
            Event::Opened { .. } => self.opened(link, now),
            Event::Ready { .. } => self.became_ready(link, handshake == Some(true)),
            Event::Closed { reason, .. } => self.was_closed(link, *reason, now),
            Event::Pong { sent, received, .. } => {
                let (sent, received) = (*sent, *received);
                self.record_callback(link, true);
                let is_right = sent <= received && received <= now;
                self.findings.check(23, is_right, || format!("{link:?}: ping at {sent:?}, pong at {received:?}"));
                if self.bounds.dials.is_some() {
                    self.managing.ponged(PeerId::of(link), received.since(sent));
                }
            }
            Event::BodyCut { header, stream_type, received, .. } => self.cut(link, header, *stream_type, *received),
            Event::Written { mark, .. } => self.reported_written(link, *mark),
            Event::VersionReceived
            | Event::LimitsAnnounced { .. }
            | Event::StreamOpened { .. }
            | Event::SendHeaders
            | Event::Rejected(_) => {
                self.record_callback(link, true);
            }
        }
    }

    /// Records a control event. The control events must repeat a peer's opening, readiness and close, each once and in
    /// this order. The close must have the same reason as the peer's event.
    pub(super) fn control(&mut self, event: &ControlEvent, config: &Config) {
        if let ControlEvent::ConfigUpdated { .. } = event {
            self.managing.trust(config);
        }
        self.managing.follow(event, self.bounds.dials, self.findings.now, &mut self.findings);
        let Some(link) = event.peer().map(PeerId::link) else { return };
        let record = self.record(link.slot());
        let before =
            record.reported.filter(|(reported, _)| *reported == link).map_or(Stage::Unknown, |(_, stage)| stage);
        let ends_by = |reason: &CloseReason| record.closed == Some((link, *reason));
        let (is_right, after) = match event {
            ControlEvent::ConnectionEstablished { .. } => (before == Stage::Unknown, Stage::Opened),
            ControlEvent::HandshakeComplete { .. } => (before == Stage::Opened, Stage::Ready),
            ControlEvent::ConnectionFailed { reason, .. } => {
                (matches!(before, Stage::Unknown | Stage::Opened) && ends_by(reason), Stage::Closed)
            }
            ControlEvent::ConnectionLost { reason, .. } => {
                (matches!(before, Stage::Opened | Stage::Ready) && ends_by(reason), Stage::Closed)
            }
            ControlEvent::RejectedOverCapacity { .. }
            | ControlEvent::StreamOpened { .. }
            | ControlEvent::StreamFailed { .. }
            | ControlEvent::PeerMisbehaved { .. }
            | ControlEvent::PeerEvicted { .. } => (matches!(before, Stage::Opened | Stage::Ready), before),
            ControlEvent::ConnectionRestarting { .. }
            | ControlEvent::InboundRejected { .. }
            | ControlEvent::PeerBanned { .. }
            | ControlEvent::PeerUnbanned { .. }
            | ControlEvent::DialsHeldBack { .. }
            | ControlEvent::ListenerBound { .. }
            | ControlEvent::ListenerBindFailed { .. }
            | ControlEvent::SocketOptionRefused { .. }
            | ControlEvent::SeedResolved { .. }
            | ControlEvent::SeedFailed { .. }
            | ControlEvent::BookFailing { .. }
            | ControlEvent::BookRecovered
            | ControlEvent::ConfigUpdated { .. } => return,
        };
        record.reported = Some((link, after));
        self.findings.check(29, is_right, || format!("{link:?}: {event:?} is reported after {before:?}"));
    }

    /// Records the addresses named by a peer at `address`. `is_dialled` states whether the loop dialled it, and
    /// `is_learning` whether the loop accepts gossip.
    pub(super) fn named(
        &mut self,
        link: LinkId,
        (address, is_dialled): (SocketAddr, bool),
        addresses: AddressesRef<'_>,
        is_learning: bool,
        now: Instant,
    ) {
        let opened = self.record(link.slot()).peer.opened;
        let sender = AddrSender { link, address, is_dialled, opened };
        self.managing.gossip.record_named(sender, addresses, is_learning, now);
    }

    /// Records the handler's decision about a message.
    pub(super) fn admitted(&mut self, (link, stream): (LinkId, StreamType), header: &Header, delivery: Delivery) {
        let peer = &mut self.record(link.slot()).peer;
        let before = peer.messages.insert(stream, (*header, delivery, 0));
        let is_cut = before.is_some_and(|(_, delivery, _)| delivery.is_chunks());
        self.findings.check(16, !is_cut, || format!("{link:?}: a message begins inside a streamed message"));
    }

    /// Records the delivery of a whole message.
    pub(super) fn delivered(&mut self, (link, stream): (LinkId, StreamType), header: &Header) {
        let awaited = self.record(link.slot()).peer.messages.remove(stream);
        let is_right = matches!(awaited, Some((head, Delivery::Buffer, _)) if head == *header);
        self.findings.check(16, is_right, || format!("{link:?}: {header:?} is delivered instead of {awaited:?}"));
    }

    /// Records the delivery of a part of a message.
    pub(super) fn streamed(
        &mut self,
        (link, stream): (LinkId, StreamType),
        header: &Header,
        offset: u64,
        len_bytes: usize,
        is_last: bool,
    ) {
        let peer = &mut self.record(link.slot()).peer;
        let awaited = peer.messages.remove(stream);
        let end = offset + len_bytes as u64;
        let delivery = awaited.map_or(Delivery::Chunks, |(_, delivery, _)| delivery);
        let follows = delivery.is_chunks() && matches!(awaited, Some((head, _, at)) if head == *header && at == offset);
        let is_right = follows && end <= header.payload_len && (end == header.payload_len) == is_last;
        if !is_last {
            peer.messages.insert(stream, (*header, delivery, end));
        }
        self.findings.check(16, is_right, || {
            format!("{link:?}: {len_bytes} bytes at {offset} of {header:?} are delivered instead of {awaited:?}")
        });
    }

    /// Records the handler's wake-up.
    pub(super) fn woken(&mut self, now: Instant) {
        let asked = self.wake_at.take();
        let is_due = asked.is_some_and(|asked| asked <= now);
        self.findings.check(22, is_due, || format!("the handler is woken at {now:?}, but asked for {asked:?}"));
    }

    fn stage_of(&mut self, link: LinkId) -> Stage {
        let peer = &self.record(link.slot()).peer;
        if peer.link == Some(link) { peer.stage } else { Stage::Unknown }
    }

    fn opened(&mut self, link: LinkId, now: Instant) {
        let stage = self.stage_of(link);
        let peer = &mut self.record(link.slot()).peer;
        let before = peer.link.filter(|before| *before != link);
        *peer = Peer { link: Some(link), stage: Stage::Opened, opened: now, messages: Messages::default() };
        self.findings
            .check(29, stage == Stage::Unknown, || format!("{link:?} is opened again, after it was {stage:?}"));
        self.findings.check(6, rises(before, link), || format!("{link:?} is opened after {before:?}"));
    }

    fn became_ready(&mut self, link: LinkId, is_complete: bool) {
        let stage = self.stage_of(link);
        self.record(link.slot()).peer.stage = Stage::Ready;
        self.ready += 1;
        self.findings.check(29, stage == Stage::Opened, || format!("{link:?} becomes ready, after it was {stage:?}"));
        self.findings.check(18, is_complete, || format!("{link:?} is ready without a complete handshake"));
    }

    fn was_closed(&mut self, link: LinkId, reason: CloseReason, now: Instant) {
        let stage = self.stage_of(link);
        let record = self.record(link.slot());
        let dialled = (record.socket.link == Some(link)).then_some(record.socket.began);
        let began = if stage == Stage::Unknown { dialled } else { Some(record.peer.opened) };
        let is_cut = stage != Stage::Unknown && record.peer.messages.has_open_body();
        record.peer = Peer { link: Some(link), stage: Stage::Closed, ..Peer::default() };
        record.closed = Some((link, reason));
        self.closed += 1;
        let age = began.map_or(Duration::MAX, |began| now.since(began));
        let least = self.least_age(reason);
        let findings = &mut self.findings;
        findings.check(29, stage != Stage::Closed, || format!("{link:?} is closed twice"));
        findings.check(16, !is_cut, || format!("{link:?} is closed inside a streamed message without a `BodyCut`"));
        findings.check(22, age >= least, || format!("{link:?} is closed early, after {age:?}: {reason:?}"));
    }

    /// Records that a streamed message was cut after `received` bytes, so that its end was not delivered.
    fn cut(&mut self, link: LinkId, header: &Header, stream: StreamType, received: u64) {
        self.record_callback(link, true);
        let awaited = self.record(link.slot()).peer.messages.remove(stream);
        let is_right = matches!(awaited, Some((head, how, at)) if how.is_chunks() && head == *header && at == received);
        self.findings.check(16, is_right, || {
            format!("{link:?}: {header:?} is cut after {received} bytes instead of {awaited:?}")
        });
    }

    /// Returns the minimum age of a connection that is closed for this reason.
    fn least_age(&self, reason: CloseReason) -> Duration {
        match reason {
            CloseReason::TimedOut(Deadline::Connect) => self.bounds.connect_timeout,
            CloseReason::TimedOut(Deadline::Handshake) => self.bounds.handshake_timeout,
            CloseReason::TimedOut(Deadline::Pong) => self.bounds.pong_timeout,
            CloseReason::TimedOut(Deadline::Header) => HEADER_TIMEOUT,
            CloseReason::TimedOut(Deadline::Body) => BODY_WINDOW,
            CloseReason::TimedOut(Deadline::Send) => SEND_STALL_TIMEOUT,
            CloseReason::Wire(_)
            | CloseReason::Misbehaved(_)
            | CloseReason::Incompatible(_)
            | CloseReason::Network(_)
            | CloseReason::ClosedByPeer
            | CloseReason::RejectedByPeer(_)
            | CloseReason::Requested(_)
            | CloseReason::Local(_) => Duration::ZERO,
        }
    }
}

/// Returns whether an event reports that a connection has become another peer's stream.
fn is_conversion(event: &Event<'_>) -> bool {
    matches!(event, Event::Closed { reason: CloseReason::Local(LocalCause::BecameStream), .. })
}

/// Returns the bit for an error number; 0 for a number outside the range 0 to 127.
fn bit_of(errno: i32) -> u128 {
    u32::try_from(errno).ok().and_then(|errno| 1_u128.checked_shl(errno)).unwrap_or(0)
}

/// Returns whether `link` may use a slot after `before`: its generation must be higher.
fn rises(before: Option<LinkId>, link: LinkId) -> bool {
    before.is_none_or(|before| before.generation() < link.generation())
}
