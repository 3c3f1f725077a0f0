//! A loop whose handler records its peers' events, so that a test can wait for them and check them.
//!
//! The test's own thread runs the loop, and only while the test waits for something. A wait that exceeds [`PATIENCE`]
//! panics with the whole record, so no test hangs.
//!
//! Every message from the node must decode completely, and encode to the same bytes again.

use peerloop::MioNet;
use peerloop::api::{Delivery, Frame, Pending};
use peerloop::error::CloseReason;
use peerloop::peer::{ConnectionState, StreamPolicy};
use peerloop::protocol::CommandName;
use peerloop::wire::{Header, Message, MessageRef, Reject, StreamType, Version};
use peerloop::{Config, Ctx, Event, Handler, Network, PeerId, Reactor, time};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Maximum wait, far longer than any test needs.
const PATIENCE: Duration = Duration::from_secs(60);
const MAX_TURN: Duration = Duration::from_millis(100);

/// A loop and the record of its events.
pub(crate) struct Observer {
    reactor: Reactor<MioNet, Record>,
    /// Number of recorded messages up to and including the last one that [`Observer::receive`] found.
    read: usize,
}

/// The events and the messages of all peers, each in order.
#[derive(Debug, Default)]
struct Record {
    happened: Vec<(PeerId, Happened)>,
    messages: Vec<(PeerId, Message)>,
}

/// A recorded [`Event`], or the command of a message whose header the engine passed to the handler.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Happened {
    Opened { accepted: bool },
    Ready,
    Pong { nonce: u64, planned: time::Instant, sent: time::Instant, received: time::Instant },
    LimitsAnnounced(u32),
    StreamOpened(StreamType, StreamPolicy),
    SendHeaders,
    Rejected(Reject),
    Message(CommandName),
    Closed { reason: CloseReason, state: ConnectionState },
}

/// Returns our configuration for the node's network. With it, the engine sends no pings of its own.
pub(crate) fn config() -> Config {
    Config::new(Network::Regtest).with_ping_interval(Duration::ZERO)
}

impl Observer {
    pub(crate) fn new(config: Config) -> Self {
        Self { reactor: Reactor::new(config, Record::default()).expect("the configuration is valid"), read: 0 }
    }

    /// Listens on a free loopback port.
    pub(crate) fn listen(&mut self) -> SocketAddr {
        self.reactor.listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a loopback port is free")
    }

    pub(crate) fn connect(&mut self, address: SocketAddr) -> PeerId {
        self.ask(move |ctx| ctx.connect(address)).expect("the table has room")
    }

    /// Connects and waits until the handshake is complete for both sides.
    pub(crate) fn ready(&mut self, address: SocketAddr) -> PeerId {
        let peer = self.connect(address);
        self.until_ready(peer);
        peer
    }

    /// Waits until the handshake is complete for both sides. The node sends `sendheaders` only after our `verack`, so
    /// a `sendheaders` shows that the handshake is complete for the node too.
    pub(crate) fn until_ready(&mut self, peer: PeerId) {
        self.until("completed handshake", peer, |happened| *happened == Happened::Ready);
        self.until("sendheaders", peer, |happened| *happened == Happened::SendHeaders);
    }

    /// Runs `question` inside the loop and returns its answer.
    pub(crate) fn ask<T: Send + 'static>(&mut self, question: impl FnOnce(&mut Ctx<'_>) -> T + Send + 'static) -> T {
        let (reply, pending) = Pending::new();
        let command: <Record as Handler>::Request = Box::new(move |ctx| reply.send(question(ctx)));
        assert!(self.reactor.handle().request(command).is_ok(), "the loop refuses the request");
        self.turn_until("answer", |_| pending.try_take().expect("the loop runs"))
    }

    /// Sends a message with this payload.
    pub(crate) fn send(&mut self, peer: PeerId, command: &str, payload: Vec<u8>) {
        let command = CommandName::new(command);
        let message = move |ctx: &mut Ctx<'_>| ctx.send(peer, &MessageRef::Opaque { command, payload: &payload });
        self.ask(message).expect("the peer is ready");
    }

    /// Sends a message, encoded by this crate.
    pub(crate) fn say(&mut self, peer: PeerId, message: Message) {
        self.ask(move |ctx| ctx.send(peer, &message.as_ref())).expect("the peer is ready");
    }

    /// Waits for a message from `peer` for which `find` returns a result, and returns the result. The search begins
    /// after the message that the previous call found.
    pub(crate) fn receive<T>(&mut self, what: &str, peer: PeerId, find: impl Fn(&Message) -> Option<T>) -> T {
        let read = self.read;
        let (at, found) = self.turn_until(what, |record| {
            let unread = record.messages.iter().enumerate().skip(read).filter(|(_, (who, _))| *who == peer);
            unread.into_iter().find_map(|(at, (_, message))| Some((at, find(message)?)))
        });
        self.read = at + 1;
        found
    }

    /// Returns `find`'s first result among `peer`'s messages so far.
    pub(crate) fn first<T>(&self, peer: PeerId, find: impl Fn(&Message) -> Option<T>) -> Option<T> {
        let messages = self.reactor.handler().messages.iter();
        messages.filter(|(who, _)| *who == peer).find_map(|(_, message)| find(message))
    }

    /// Pings the node and waits for the pong. The node processes messages in order, so the pong shows that it has
    /// processed all earlier messages.
    pub(crate) fn settle(&mut self, peer: PeerId) {
        let nonce = self.ask(move |ctx| ctx.ping(peer, ctx.now())).expect("the peer is ready");
        self.until("pong", peer, |happened| matches!(*happened, Happened::Pong { nonce: of, .. } if of == nonce));
    }

    /// Waits for the first peer that connects to us, and returns its id.
    pub(crate) fn accepted(&mut self) -> PeerId {
        self.turn_until("accepted connection", |record| {
            let accepted =
                record.happened.iter().find(|(_, happened)| *happened == Happened::Opened { accepted: true });
            accepted.map(|&(peer, _)| peer)
        })
    }

    /// Waits until `peer` has an event that `is_it` accepts, and returns the first such event.
    pub(crate) fn until(&mut self, what: &str, peer: PeerId, is_it: impl Fn(&Happened) -> bool) -> Happened {
        self.turn_until(what, |record| record.of(peer).find(|happened| is_it(happened)).cloned())
    }

    /// Waits until `peer` has `count` events that `is_it` accepts.
    pub(crate) fn until_times(&mut self, count: usize, what: &str, peer: PeerId, is_it: impl Fn(&Happened) -> bool) {
        self.turn_until(what, |record| {
            let times = record.of(peer).filter(|happened| is_it(happened)).count();
            (times >= count).then_some(())
        });
    }

    /// Waits until `peer` is closed, and returns the close reason and the last state.
    pub(crate) fn closed(&mut self, peer: PeerId) -> (CloseReason, ConnectionState) {
        self.turn_until("closed connection", |record| {
            record.of(peer).find_map(|happened| match *happened {
                Happened::Closed { reason, state } => Some((reason, state)),
                _ => None,
            })
        })
    }

    /// Returns the events of `peer` so far.
    pub(crate) fn happened(&self, peer: PeerId) -> Vec<Happened> {
        self.reactor.handler().of(peer).cloned().collect()
    }

    /// Returns the `version` of `peer`.
    pub(crate) fn version(&mut self, peer: PeerId) -> Version {
        self.ask(move |ctx| ctx.peer(peer).and_then(|view| view.version().cloned()))
            .expect("the node's version has arrived")
    }

    fn turn_until<T>(&mut self, what: &str, find: impl Fn(&Record) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = find(self.reactor.handler()) {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "no {what}; the record: {:#?}", self.reactor.handler());
            self.reactor.poll_once(MAX_TURN).expect("the poller works");
        }
    }
}

impl Record {
    fn of(&self, peer: PeerId) -> impl Iterator<Item = &Happened> {
        self.happened.iter().filter(move |(who, _)| *who == peer).map(|(_, happened)| happened)
    }
}

impl Handler for Record {
    type Request = Box<dyn FnOnce(&mut Ctx<'_>) + Send>;

    fn on_event(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        let happened = match event {
            Event::Opened { connect } => Happened::Opened { accepted: connect.is_none() },
            Event::Ready { .. } => Happened::Ready,
            Event::Pong { nonce, planned, sent, received } => Happened::Pong { nonce, planned, sent, received },
            Event::LimitsAnnounced { max_recv_payload_bytes, .. } => Happened::LimitsAnnounced(max_recv_payload_bytes),
            Event::VersionReceived => return,
            Event::StreamOpened { stream_type, policy } => Happened::StreamOpened(stream_type, policy),
            Event::SendHeaders => Happened::SendHeaders,
            Event::Rejected(reject) => match MessageRef::Reject(reject).into_owned() {
                Message::Reject(reject) => Happened::Rejected(reject),
                other => panic!("{other:?} is not a reject"),
            },
            Event::Closed { reason, state } => Happened::Closed { reason, state },
            other => panic!("an unexpected event: {other:?}"),
        };
        self.happened.push((peer, happened));
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, header: &Header) -> Delivery {
        self.happened.push((peer, Happened::Message(header.command)));
        Delivery::Buffer
    }

    fn on_message(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        let message = frame.decode().unwrap_or_else(|error| panic!("{error}: {:x?}", frame.payload()));
        let transactions = match message {
            MessageRef::Block(block) => block.validate(),
            MessageRef::BlockTxn(answer) => answer.transactions.validate(),
            _ => Ok(()),
        };
        transactions.unwrap_or_else(|error| panic!("{error}: {message:?}"));
        let mut written = Vec::new();
        message.encode_payload(&mut written);
        assert_eq!(written, frame.payload(), "{message:?} is not encoded as it was received");
        self.messages.push((peer, message.into_owned()));
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, command: Self::Request) {
        command(ctx);
    }
}
