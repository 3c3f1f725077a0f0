//! The handler's view of the loop, valid for one call.

use super::broadcast::Broadcast;
use super::peer_view::PeerView;
use crate::config::Config;
use crate::error::RequestError;
use crate::id::{Lane, LinkId, PeerId};
use crate::peer::{ConnectionState, PingInFlight};
use crate::state::{self, LoopState};
use crate::stats::histogram::Counters;
use crate::stats::{MessageCounts, Stats};
use crate::time::{Instant, UnixTime};
use crate::wire::{Header, MessageRef, StreamType};
use bytes::Bytes;
use rand::rngs::StdRng;
use std::time::Duration;

/// A handler's access to the loop during one call.
///
/// All changes to queues and lists are made at once. No method blocks, and none calls the handler.
///
/// ```
/// use peerloop::error::Misbehavior;
/// use peerloop::protocol::CommandName;
/// use peerloop::{Ctx, PeerId};
///
/// /// Charges a peer for a wrong reply, and cancels the timer that waits for the reply.
/// fn charge(ctx: &mut Ctx<'_>, peer: PeerId, misbehavior: Misbehavior, timer: u64) {
///     let (received, sent) = (ctx.received_messages(), ctx.sent_messages());
///     println!("{} blocks received, {} sent", received.count(CommandName::BLOCK).messages, sent.total().messages);
///     println!("{misbehavior:?} costs {:?}, one of {} ready peers", misbehavior.penalty(), ctx.ready_count());
///     println!("noticed {:?} after the turn began", ctx.now().since(ctx.turn_began()));
///     ctx.penalize_for(peer, misbehavior);
///     ctx.cancel_timer(timer);
/// }
/// ```
#[derive(Debug)]
pub struct Ctx<'a> {
    pub(super) state: &'a mut LoopState,
    /// The lane of the handler that is called.
    pub(super) lane: Lane,
    /// The lane of the only handler that receives the call; the root if all receive it.
    pub(super) target: Lane,
}

impl<'a> Ctx<'a> {
    pub(crate) fn new(state: &'a mut LoopState) -> Self {
        Self::aimed_at(Lane::ROOT, state)
    }

    /// Creates a view for a call that only the handler of `target` receives, because that handler requested the call.
    pub(crate) fn aimed_at(target: Lane, state: &'a mut LoopState) -> Self {
        Self { state, lane: Lane::ROOT, target }
    }

    /// Returns the peer's TCP stream whose input is being handled. In
    /// [`Handler::on_header`](super::Handler::on_header), [`on_message`](super::Handler::on_message) and
    /// [`on_chunk`](super::Handler::on_chunk), this is the stream of the message. Returns
    /// [`StreamType::General`] for a peer with one stream, and while no input is being handled.
    ///
    /// Each stream can have one message in chunks at a time, so chunks of several messages of one peer may alternate.
    /// A handler that keeps the state of such a message must keep it for each stream.
    ///
    /// ```
    /// use peerloop::wire::StreamType;
    /// use peerloop::{Chunk, Ctx, Handler, PeerId};
    /// use std::collections::HashMap;
    ///
    /// /// Counts the bytes of large messages by peer and stream.
    /// #[derive(Default)]
    /// struct Counter(HashMap<(PeerId, StreamType), u64>);
    ///
    /// impl Handler for Counter {
    ///     type Request = ();
    ///
    ///     fn on_chunk(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, chunk: Chunk<'_>) {
    ///         *self.0.entry((peer, ctx.receiving_stream())).or_default() += chunk.bytes().len() as u64;
    ///     }
    /// }
    /// ```
    pub fn receiving_stream(&self) -> StreamType {
        let links = &self.state.links;
        links.receiving().map_or(StreamType::General, |link| links.stream_type(link))
    }

    /// Returns the loop's current moment, which stays the same during the call.
    pub fn now(&self) -> Instant {
        self.state.clocks.now()
    }

    /// Reads the loop's clock, at a cost of about 30 ns. Unlike [`Ctx::now`] it advances during a call, so a handler
    /// can time its own work with it. In the simulator the clock is virtual and does not advance during a call.
    ///
    /// ```
    /// use peerloop::{Ctx, Frame, Handler, PeerId};
    /// use std::time::Duration;
    ///
    /// struct Timed {
    ///     longest: Duration,
    /// }
    ///
    /// impl Handler for Timed {
    ///     type Request = ();
    ///
    ///     fn on_message(&mut self, ctx: &mut Ctx<'_>, _peer: PeerId, frame: Frame<'_>) {
    ///         let began = ctx.clock();
    ///         let _ = frame.decode();
    ///         self.longest = self.longest.max(ctx.clock().since(began));
    ///     }
    /// }
    /// ```
    pub fn clock(&self) -> Instant {
        self.state.clock.now().max(self.now())
    }

    /// Returns the moment at which this turn learned which connections have input. [`Ctx::now`] minus this moment is
    /// the time for which a message's last byte may have waited while this turn served other connections.
    pub fn turn_began(&self) -> Instant {
        self.state.clocks.input_seen_until
    }

    /// Returns the time that the loop has spent working instead of waiting, up to the end of the last turn.
    pub fn busy(&self) -> Duration {
        self.state.telemetry.busy
    }

    /// Returns the longest time for which input can have waited in the kernel when this turn began, if the last turn
    /// read all connections with input: the work of the last turn, or zero if the loop slept before this turn. The
    /// input of a [paused](Self::pause) peer, and of one that the last turn had no time to read, may have waited for
    /// longer. A latency that counts from the moment of the read hides that time. The time from the turn's beginning to
    /// the read adds to it.
    ///
    /// ```
    /// use peerloop::{Ctx, Frame, Handler, PeerId};
    /// use std::time::Duration;
    ///
    /// /// Measures the delay of messages, including the time for which they may have waited in the kernel.
    /// #[derive(Default)]
    /// struct Delays {
    ///     longest: Duration,
    /// }
    ///
    /// impl Handler for Delays {
    ///     type Request = ();
    ///
    ///     fn on_message(&mut self, ctx: &mut Ctx<'_>, _peer: PeerId, _frame: Frame<'_>) {
    ///         let waited = ctx.max_input_age() + ctx.now().since(ctx.turn_began());
    ///         self.longest = self.longest.max(waited);
    ///     }
    /// }
    /// ```
    pub fn max_input_age(&self) -> Duration {
        self.state.telemetry.max_input_age
    }

    /// Returns the longest time for which the bytes that are being handled can have waited in the kernel, with the
    /// exceptions of [`Ctx::max_input_age`].
    pub(crate) fn max_input_wait(&self) -> Duration {
        self.max_input_age().saturating_add(self.now().since(self.turn_began()))
    }

    /// Returns the time that the loop has spent polling instead of sleeping, to meet [exact wake-ups](Self::wake_at).
    pub fn spinning(&self) -> Duration {
        self.state.telemetry.spinning
    }

    /// Returns the wall time at the turn's start, for timestamps.
    pub fn unix_time(&self) -> UnixTime {
        self.state.clocks.unix()
    }

    /// Returns the loop's seeded random number generator.
    ///
    /// ```
    /// use peerloop::rand::seq::IndexedRandom;
    /// use peerloop::{Ctx, PeerId};
    ///
    /// fn draw(ctx: &mut Ctx<'_>, peers: &[PeerId]) -> Option<PeerId> {
    ///     peers.choose(ctx.rng()).copied()
    /// }
    /// ```
    pub fn rng(&mut self) -> &mut StdRng {
        &mut self.state.rng
    }

    /// Returns the loop's configuration.
    pub fn config(&self) -> &Config {
        &self.state.config
    }

    /// Returns the loop's counters.
    pub fn counters(&self) -> &Counters {
        &self.state.telemetry.counters
    }

    /// Returns all gauges, counters and latencies of the loop, as [`Handle::stats`](crate::Handle::stats) does. This
    /// copies about 3 kB and walks over six histograms, which costs a few microseconds for any number of peers. Do not
    /// call it for each message; [`Ctx::counters`] is free. `gathered_bytes` is the value at the turn's start.
    pub fn stats(&self) -> Stats {
        state::stats(self.state, self.state.telemetry.gathered_bytes)
    }

    /// Returns the number and the payload bytes of the messages queued for sending so far, by command.
    pub fn sent_messages(&self) -> &MessageCounts {
        &self.state.telemetry.sent
    }

    /// Returns the number and the payload bytes of the messages received so far, delivered or not, by command.
    pub fn received_messages(&self) -> &MessageCounts {
        &self.state.telemetry.received
    }

    /// Returns a peer's view; `None` once the peer is closed.
    pub fn peer(&self, peer: PeerId) -> Option<PeerView<'_>> {
        PeerView::of(peer, self.state)
    }

    /// Returns the views of all peers, ready or not.
    pub fn peers(&self) -> impl Iterator<Item = PeerView<'_>> {
        self.state.links.table.iter().filter_map(|(id, _)| PeerView::of(PeerId::of(id), self.state))
    }

    /// Returns the number of peers whose handshake is complete.
    pub fn ready_count(&self) -> usize {
        self.state.telemetry.ready_count()
    }

    /// Sends a message. An `inv` or `getdata` with more items than the peer accepts is sent as several messages.
    /// Messages are written in the order in which they were sent, except that pings and pongs overtake other messages.
    /// If the peer has several streams, its policy chooses the stream by the command. Each stream then has its own
    /// order and its own queue, so messages on different streams may overtake each other.
    ///
    /// # Errors
    ///
    /// [`RequestError::NoSuchPeer`], [`RequestError::NotReady`] before the handshake is complete or while the peer is
    /// being closed, [`RequestError::QueueFull`] if the peer reads too slowly, and [`RequestError::TooLargeForPeer`]
    /// if the message exceeds the limit that the peer announced.
    pub fn send(&mut self, peer: PeerId, message: &MessageRef<'_>) -> Result<(), RequestError> {
        let link = self.sendable(peer)?;
        self.state.send(link, message)
    }

    /// Encodes a message as a frame, which can be sent to many peers with [`Ctx::send_shared`].
    pub fn encode(&self, message: &MessageRef<'_>) -> Bytes {
        let mut frame = Vec::new();
        message.encode_frame(self.state.magic, &mut frame);
        frame.into()
    }

    /// Sends an encoded frame without copying it.
    ///
    /// # Errors
    ///
    /// As [`Ctx::send`].
    pub fn send_shared(&mut self, peer: PeerId, frame: &Bytes) -> Result<(), RequestError> {
        let link = self.sendable(peer)?;
        self.state.send_shared(link, frame)
    }

    /// Sends an encoded frame like [`Ctx::send_shared`]. When the kernel has accepted the frame's last byte,
    /// [`Event::Written`](crate::Event::Written) reports `mark` and the moment of the write.
    ///
    /// The event is emitted right after the write, but never during another callback. It is also emitted while the
    /// peer is being closed. Events arrive in the order in which the messages were sent on the same stream. If the
    /// peer's `Closed` event arrives first, the message was not written whole. A written message may not have reached
    /// the peer, because the kernel may send it later. A frame without bytes is never reported. The caller chooses
    /// `mark`, which need not be unique.
    ///
    /// A mark costs 24 bytes until its event; messages without marks cost nothing.
    ///
    /// # Errors
    ///
    /// As [`Ctx::send`], and [`RequestError::TooManyMarks`] while
    /// [`MAX_MARKS_PER_PEER`](crate::limits::MAX_MARKS_PER_PEER) marked messages wait for the peer. Nothing is sent in
    /// case of an error.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use peerloop::error::RequestError;
    /// use peerloop::limits::MAX_MARKS_PER_PEER;
    /// use peerloop::time::Instant;
    /// use peerloop::{Ctx, Event, Handler, PeerId};
    /// use std::collections::VecDeque;
    ///
    /// /// Measures how long messages wait before the kernel accepts them.
    /// #[derive(Default)]
    /// struct Meter {
    ///     sent: VecDeque<Instant>,
    ///     written: u64,
    /// }
    ///
    /// impl Meter {
    ///     fn send(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: &Bytes) {
    ///         match ctx.send_marked(peer, frame, self.written + self.sent.len() as u64) {
    ///             Ok(()) => self.sent.push_back(ctx.now()),
    ///             Err(RequestError::TooManyMarks) => println!("{MAX_MARKS_PER_PEER} messages wait for {peer}"),
    ///             Err(error) => println!("{peer} misses a message: {error}"),
    ///         }
    ///     }
    /// }
    ///
    /// impl Handler for Meter {
    ///     type Request = ();
    ///
    ///     fn on_event(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
    ///         if let Event::Written { mark, at } = event
    ///             && let Some(sent) = self.sent.pop_front()
    ///         {
    ///             self.written += 1;
    ///             println!("message {mark} to {peer} waited for {:?}", at.since(sent));
    ///         }
    ///     }
    /// }
    /// ```
    pub fn send_marked(&mut self, peer: PeerId, frame: &Bytes, mark: u64) -> Result<(), RequestError> {
        let link = self.sendable(peer)?;
        self.state.send_marked(link, frame, mark, self.lane)
    }

    /// Sends an encoded frame to every ready peer that `filter` selects, in the order of their slots. Returns the
    /// number of peers for which the frame was queued, and the other selected peers with their errors. The frame is not
    /// copied, and no list of the selected peers is built.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use peerloop::{Ctx, PeerId};
    ///
    /// /// Relays a frame to all peers except the sender of the message.
    /// fn pass_on(ctx: &mut Ctx<'_>, from: PeerId, frame: &Bytes) {
    ///     let sent = ctx.broadcast(frame, |peer| peer.id() != from);
    ///     for (peer, error) in &sent.refused {
    ///         println!("{peer} misses a message: {error}");
    ///     }
    /// }
    /// ```
    pub fn broadcast(&mut self, frame: &Bytes, mut filter: impl FnMut(&PeerView<'_>) -> bool) -> Broadcast {
        let mut sent = Broadcast::default();
        for slot in 0..self.state.links.table.slots() {
            let peer = self.state.links.table.id_at(slot).map(PeerId::of);
            let Some(view) = peer.and_then(|peer| self.peer(peer)).filter(|view| view.is_ready() && filter(view))
            else {
                continue;
            };
            let peer = view.id();
            match self.state.send_shared(peer.link(), frame) {
                Ok(_) => sent.accepted += 1,
                Err(error) => sent.refused.push((peer, error)),
            }
        }
        sent
    }

    /// Requests one call of [`Handler::on_pull`](super::Handler::on_pull), which offers the peer's free room. If at
    /// most [`PULL_WAITING_BYTES`](crate::limits::PULL_WAITING_BYTES) of whole messages wait for the peer in this
    /// turn's flush step, the call is made in that step. Otherwise it is made in a later turn's flush step, once the
    /// kernel has accepted enough bytes. A turn makes offers for at most
    /// [`PULLS_PER_TURN`](crate::limits::PULLS_PER_TURN) peers. The remaining peers are first in the next turn.
    ///
    /// A second request before the call has no effect. A peer with requests uses one list entry. Requests also work
    /// while a message is being fed or the peer is paused. If the peer closes first, no call is made. Request a call
    /// only while there is something to send, because the loop does not sleep while it has room to offer.
    ///
    /// # Errors
    ///
    /// [`RequestError::NoSuchPeer`] and [`RequestError::NotReady`], as with [`Ctx::send`].
    pub fn pull(&mut self, peer: PeerId) -> Result<(), RequestError> {
        let link = self.sendable(peer)?;
        self.state.links.table.ask_pull(link, self.lane);
        Ok(())
    }

    /// Begins a message whose payload is fed in parts with [`Ctx::feed_body`], in constant memory. Other messages to
    /// the peer wait after it.
    ///
    /// For a payload below 4 GiB, the header must have the checksum. A larger payload is sent with the extended
    /// header, which has none. A relay passes on the header that it received.
    ///
    /// # Errors
    ///
    /// As [`Ctx::send`]; [`RequestError::TooLargeForPeer`] also if the payload needs an extended header and the peer's
    /// protocol version does not support it; [`RequestError::ChecksumMissing`] if the header needs a checksum and has
    /// none; [`RequestError::BodyOpen`] while another message is being fed to the peer.
    pub fn begin_body(&mut self, peer: PeerId, header: &Header) -> Result<(), RequestError> {
        let link = self.sendable(peer)?;
        self.state.begin_body(link, header, None)
    }

    /// Begins a message like [`Ctx::begin_body`], and marks its payload's first and last byte. When the kernel has
    /// accepted one of them, [`Event::Written`](crate::Event::Written) reports its mark as for [`Ctx::send_marked`].
    /// The marks of an empty payload are reported with the header.
    ///
    /// # Errors
    ///
    /// As [`Ctx::begin_body`], and [`RequestError::TooManyMarks`] if the peer has no room for two more marks.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use peerloop::error::RequestError;
    /// use peerloop::protocol::CommandName;
    /// use peerloop::wire::Header;
    /// use peerloop::{Ctx, Event, Handler, PeerId};
    ///
    /// /// Sends a large message in parts, and prints when it begins and ends.
    /// struct Sender {
    ///     payload: Bytes,
    /// }
    ///
    /// impl Sender {
    ///     fn begin(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) -> Result<(), RequestError> {
    ///         let header = Header::of(CommandName::new("example"), &self.payload);
    ///         ctx.begin_body_marked(peer, &header, [1, 2])?;
    ///         ctx.feed_body(peer, &mut self.payload)
    ///     }
    /// }
    ///
    /// impl Handler for Sender {
    ///     type Request = ();
    ///
    ///     fn on_event(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
    ///         match event {
    ///             Event::Written { mark: 1, at } => println!("{peer}: the first byte was written at {at:?}"),
    ///             Event::Written { mark: 2, at } => println!("{peer}: the last byte was written at {at:?}"),
    ///             _ => {}
    ///         }
    ///     }
    ///
    ///     fn on_writable(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
    ///         let _ = ctx.feed_body(peer, &mut self.payload);
    ///     }
    /// }
    /// ```
    pub fn begin_body_marked(&mut self, peer: PeerId, header: &Header, marks: [u64; 2]) -> Result<(), RequestError> {
        let link = self.sendable(peer)?;
        self.state.begin_body(link, header, Some((marks, self.lane)))
    }

    /// Feeds the next part of the message begun with [`Ctx::begin_body`]. Moves bytes from the front of `part` to the
    /// peer's queue until `part` is empty or 1 MiB waits to be sent; a large part is not copied. Feed the rest of
    /// `part` when [`Handler::on_writable`](super::Handler::on_writable) is called. If `part` is empty afterwards,
    /// there may be room for more. An empty part has no effect, and is allowed even if no message is being fed.
    ///
    /// # Errors
    ///
    /// [`RequestError::NoSuchPeer`] and [`RequestError::NotReady`], as with [`Ctx::send`]; [`RequestError::NoBody`] if
    /// no message is being fed to the peer; [`RequestError::BodyOverrun`] if `part` is longer than the rest of the
    /// message. After an error, `part` is unchanged.
    pub fn feed_body(&mut self, peer: PeerId, part: &mut Bytes) -> Result<(), RequestError> {
        let link = self.sendable(peer)?;
        self.state.feed_body(link, part)
    }

    /// Sends a ping that was due at `planned`, and returns its nonce. [`Event::Pong`](crate::Event::Pong) reports both
    /// latencies: from `planned`, and from the moment at which the ping was sent. The ping overtakes messages that wait
    /// for the peer, so its pong does not prove that the peer has read earlier messages.
    ///
    /// # Errors
    ///
    /// As [`Ctx::send`]; [`RequestError::NoPongs`] if the peer's protocol version does not support pongs;
    /// [`RequestError::TooManyPings`] if the peer has reached its maximum number of pings in flight.
    pub fn ping(&mut self, peer: PeerId, planned: Instant) -> Result<u64, RequestError> {
        let link = self.sendable(peer)?;
        self.state.ping(link, planned)
    }

    /// Forgets a peer's pings that were sent, were due before `before` and are unanswered, and returns them. Their
    /// pongs then count as unexpected ones. The peer is not closed for them, and they no longer count towards the
    /// maximum number of pings in flight.
    ///
    /// ```
    /// use peerloop::{Ctx, PeerId};
    /// use std::time::Duration;
    ///
    /// /// Returns the number of pings that the peer has not answered within a second, and gives them up.
    /// fn give_up(ctx: &mut Ctx<'_>, peer: PeerId) -> usize {
    ///     let second_ago = ctx.now().minus(Duration::from_secs(1));
    ///     ctx.forget_pings(peer, second_ago).len()
    /// }
    /// ```
    pub fn forget_pings(&mut self, peer: PeerId, before: Instant) -> Vec<PingInFlight> {
        self.state.links.forget_pings(peer.link(), before)
    }

    /// Answers a peer's ping, whose nonce is `nonce`. Only a handler on a loop that does not
    /// [answer pings itself](Config::answer_pings) needs this. Like the loop's own pongs, the pong overtakes messages
    /// that wait for the peer, and counts as an answered ping.
    ///
    /// # Errors
    ///
    /// As [`Ctx::send`]; [`RequestError::NoPongs`] if the peer's protocol version does not support pongs.
    ///
    /// ```
    /// use peerloop::wire::{Header, MessageRef};
    /// use peerloop::{Config, Ctx, Delivery, Frame, Handler, Network, PeerId, Reactor};
    ///
    /// /// Answers every second ping.
    /// #[derive(Default)]
    /// struct Forgetful {
    ///     pings: u64,
    /// }
    ///
    /// impl Handler for Forgetful {
    ///     type Request = ();
    ///
    ///     fn on_header(&mut self, _: &mut Ctx<'_>, _: PeerId, _: &Header) -> Delivery {
    ///         Delivery::Buffer
    ///     }
    ///
    ///     fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
    ///         if let Ok(MessageRef::Ping { nonce }) = frame.decode() {
    ///             self.pings += 1;
    ///             if self.pings.is_multiple_of(2) {
    ///                 let _ = ctx.pong(peer, nonce);
    ///             }
    ///         }
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = Config::new(Network::Regtest).with_answer_pings(false);
    /// let reactor = Reactor::new(config, Forgetful::default())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn pong(&mut self, peer: PeerId, nonce: u64) -> Result<(), RequestError> {
        let link = self.sendable(peer)?;
        self.state.pong(link, nonce)
    }

    /// Stops reading from a peer, so that TCP flow control slows it down. The pause does not count towards the peer's
    /// deadlines for input; the send deadline still applies. Input that was already read, at most
    /// [`READ_BLOCK_BYTES`](crate::limits::READ_BLOCK_BYTES), is still delivered: a handler that pauses a peer while
    /// handling a message may receive further messages from the same read.
    pub fn pause(&mut self, peer: PeerId) {
        if let Some(link) = self.link_of(peer) {
            self.state.links.hold(link, self.state.clocks.now(), |hold| hold.paused = true);
        }
    }

    /// Resumes reading from a paused peer.
    pub fn resume(&mut self, peer: PeerId) {
        if let Some(link) = self.link_of(peer) {
            self.state.links.release(link, self.state.clocks.now(), |hold| hold.paused = false);
        }
    }

    /// Closes all peers gracefully and ends the loop.
    pub fn stop(&mut self) {
        self.state.stopping = true;
    }

    /// Returns the first link of a peer; `None` for the id of a peer that has become another peer's stream.
    pub(super) fn link_of(&self, peer: PeerId) -> Option<LinkId> {
        self.state.links.peer(peer.link()).map(|_| peer.link())
    }

    fn sendable(&self, peer: PeerId) -> Result<LinkId, RequestError> {
        let link = self.state.links.peer(peer.link()).ok_or(RequestError::NoSuchPeer)?;
        if link.peer.state() != ConnectionState::Connected || !link.is_open() {
            return Err(RequestError::NotReady);
        }
        Ok(peer.link())
    }
}
