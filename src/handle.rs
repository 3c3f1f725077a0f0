//! Control of a loop from other threads.
//!
//! A [`Handle`] writes requests to a bounded queue and wakes the loop. It never blocks: if the queue is full, it
//! returns the request. Inside a handler, use the callback's [`Ctx`](crate::Ctx) instead.

use crate::api::{
    CommandFilter, ControlEvent, Direction, Latency, MessageEvent, PeerInfo, Pending, Reply, Request, Stats,
};
use crate::config::{Config, ConfigChange, UpdateError};
use crate::error::{AddConnectionError, RequestError};
use crate::id::PeerId;
use crate::limits::MAX_HANDLE_QUEUE;
use crate::manager::ban::Ban;
use crate::net::Wake;
use crate::stats::histogram::LatencyHistogram;
use crate::subscribe::Subscription;
use crate::wire::Message;
use bytes::Bytes;
use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Controls a loop from any thread; `C` is the type of the handler's own requests.
///
/// A handle is cheap to clone. The loop's queue holds [`MAX_HANDLE_QUEUE`] requests from all handles together.
///
/// ```
/// use peerloop::api::CommandFilter;
/// use peerloop::handle::SendError;
/// use peerloop::protocol::CommandName;
/// use peerloop::{Config, Handle, Received};
///
/// /// Prints the changes that `config` would make to a loop, then the loop's next event and next `inv`.
/// fn watch(handle: &Handle<()>, config: Config) -> Result<(), SendError<()>> {
///     println!("{:?}", handle.check_config(config)?.wait());
///     let events = handle.subscribe_control_events(100)?;
///     let inventories = handle.subscribe_messages(CommandFilter::Only(vec![CommandName::INV]), 100)?;
///     if let (Ok(event), Ok(Received::Item(message))) = (events.recv(), inventories.recv()) {
///         println!("{event:?}, {:?}", message.to_message());
///     }
///     Ok(())
/// }
/// ```
pub struct Handle<C> {
    requests: SyncSender<Request<C>>,
    waker: Arc<dyn Wake>,
    /// The network's magic, which starts every message and is fixed for the loop's life.
    magic: [u8; 4],
}

/// A request that could not be sent, returned to the caller.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError<C> {
    /// The queue is full; try again later.
    Full(Request<C>),
    /// The loop has ended.
    Stopped(Request<C>),
}

impl<C> Handle<C> {
    /// Creates a handle and the queue that the loop reads.
    pub(crate) fn new(waker: Arc<dyn Wake>, magic: [u8; 4]) -> (Self, Receiver<Request<C>>) {
        let (requests, queue) = sync_channel(MAX_HANDLE_QUEUE);
        (Self { requests, waker, magic }, queue)
    }

    /// Sends any request.
    ///
    /// # Errors
    ///
    /// The request, if the queue is full or the loop has ended.
    pub fn try_send(&self, request: Request<C>) -> Result<(), SendError<C>> {
        self.requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(request) => SendError::Full(request),
            TrySendError::Disconnected(request) => SendError::Stopped(request),
        })?;
        self.waker.wake();
        Ok(())
    }

    /// Requests a connection to `address`, from the local address `source` if it is given. The reply is the new peer's
    /// id. The reply arrives before the connection is established.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`].
    pub fn connect(
        &self,
        address: SocketAddr,
        source: Option<IpAddr>,
    ) -> Result<Pending<Result<PeerId, RequestError>>, SendError<C>> {
        self.ask(|reply| Request::Connect { address, source, reply })
    }

    /// Hands an open connection over to the loop, like
    /// [`Reactor::add_connection`](crate::Reactor::add_connection). The reply is the new peer's id. The reply arrives
    /// before the handshake.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`]; the reply's error is [`AddConnectionError`].
    pub fn add_connection(
        &self,
        connection: TcpStream,
        direction: Direction,
    ) -> Result<Pending<Result<PeerId, AddConnectionError>>, SendError<C>> {
        self.ask(|reply| Request::AddConnection { connection, direction, reply })
    }

    /// Closes a peer gracefully.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`].
    pub fn close(&self, peer: PeerId) -> Result<(), SendError<C>> {
        self.try_send(Request::Close { peer })
    }

    /// Sends an encoded frame to a peer. The frame is dropped if
    /// [`Ctx::send_shared`](crate::Ctx::send_shared) would return an error.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`].
    pub fn send(&self, peer: PeerId, frame: Bytes) -> Result<(), SendError<C>> {
        self.try_send(Request::Send { peer, frame })
    }

    /// Sends a message to a peer. It is encoded on the caller's thread, with the magic of the loop's network. The reply
    /// reports whether the peer's queue accepted the message, and may be ignored. An inventory is not split: it is
    /// refused if it has more items than the peer accepts in one message.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`]; the reply has the errors of [`Ctx::send`](crate::Ctx::send).
    pub fn send_message(
        &self,
        peer: PeerId,
        message: &Message,
    ) -> Result<Pending<Result<(), RequestError>>, SendError<C>> {
        let mut frame = Vec::new();
        message.as_ref().encode_frame(self.magic, &mut frame);
        self.ask(|reply| Request::SendMessage { peer, frame: frame.into(), reply })
    }

    /// Requests the number of peers whose handshake is complete.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`].
    pub fn connection_count(&self) -> Result<Pending<usize>, SendError<C>> {
        self.ask(|reply| Request::ConnectionCount { reply })
    }

    /// Lists peers of any state in the order of their slots, at most
    /// [`PEERS_PER_REPLY`](crate::limits::PEERS_PER_REPLY). The list starts with the first slot or, with `after`,
    /// after that peer's slot. If the list has fewer peers than the maximum, no further peers exist.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`].
    pub fn peers(&self, after: Option<PeerId>) -> Result<Pending<Vec<PeerInfo>>, SendError<C>> {
        self.ask(|reply| Request::Peers { after, reply })
    }

    /// Subscribes to control events, starting with the turn that handles the request. The subscription holds up to
    /// `capacity` events. `capacity` is clamped to the range from 1 to
    /// [`MAX_SUBSCRIPTION_ITEMS`](crate::limits::MAX_SUBSCRIPTION_ITEMS).
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`].
    pub fn subscribe_control_events(&self, capacity: usize) -> Result<Subscription<ControlEvent>, SendError<C>> {
        let (publisher, subscription) = Subscription::new(capacity);
        self.try_send(Request::SubscribeControl { publisher })?;
        Ok(subscription)
    }

    /// Subscribes to the messages that `commands` selects: whole messages with a correct checksum, including those that
    /// the handler discards. Messages that the handler receives in chunks, or that exceed the limits for buffered
    /// messages, are not included. The subscription holds up to `capacity` messages, clamped as in
    /// [`Handle::subscribe_control_events`], and up to
    /// [`MAX_SUBSCRIPTION_BYTES`](crate::limits::MAX_SUBSCRIPTION_BYTES) of payload.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`].
    pub fn subscribe_messages(
        &self,
        commands: CommandFilter,
        capacity: usize,
    ) -> Result<Subscription<MessageEvent>, SendError<C>> {
        let (publisher, subscription) = Subscription::new(capacity);
        self.try_send(Request::SubscribeMessages { commands, publisher })?;
        Ok(subscription)
    }

    /// Bans the host at `address` for `duration`, or permanently if `duration` is `None`, and closes the host's
    /// connections. A ban does not affect a trusted host. A duration of zero has no effect.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`]; the reply's errors are [`RequestError::NoManager`] and [`RequestError::BansFull`].
    pub fn ban(
        &self,
        address: IpAddr,
        duration: Option<Duration>,
    ) -> Result<Pending<Result<(), RequestError>>, SendError<C>> {
        self.ask(|reply| Request::Ban { address, duration, reply })
    }

    /// Lifts the ban on the host at `address`. The reply reports whether the host was banned.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`]; the reply's error is [`RequestError::NoManager`].
    pub fn unban(&self, address: IpAddr) -> Result<Pending<Result<bool, RequestError>>, SendError<C>> {
        self.ask(|reply| Request::Unban { address, reply })
    }

    /// Lists the bans in force.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::unban`].
    pub fn bans(&self) -> Result<Pending<Result<Vec<Ban>, RequestError>>, SendError<C>> {
        self.ask(|reply| Request::Bans { reply })
    }

    /// Replaces the configuration, as a whole or not at all, before the loop handles the next request. The reply lists
    /// the changes.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`]; the reply has the errors of [`Config::changes_to`].
    pub fn update_config(
        &self,
        config: Config,
    ) -> Result<Pending<Result<Vec<ConfigChange>, UpdateError>>, SendError<C>> {
        self.ask(|reply| Request::UpdateConfig { config: Box::new(config), dry_run: false, reply })
    }

    /// Lists the changes that [`Handle::update_config`] would make, without making them.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::update_config`].
    pub fn check_config(
        &self,
        config: Config,
    ) -> Result<Pending<Result<Vec<ConfigChange>, UpdateError>>, SendError<C>> {
        self.ask(|reply| Request::UpdateConfig { config: Box::new(config), dry_run: true, reply })
    }

    /// Requests the loop's gauges, counters and latencies.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`].
    pub fn stats(&self) -> Result<Pending<Stats>, SendError<C>> {
        self.ask(|reply| Request::Stats { reply })
    }

    /// Requests the values of a latency that were recorded since the previous call. `spare` is cleared and replaces
    /// the loop's histogram: pass the histogram of the previous call. The loop neither copies nor serialises
    /// histograms.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`].
    pub fn take_latencies(
        &self,
        latency: Latency,
        mut spare: LatencyHistogram,
    ) -> Result<Pending<LatencyHistogram>, SendError<C>> {
        spare.clear();
        self.ask(|reply| Request::TakeLatencies { latency, spare, reply })
    }

    /// Sends a request to the handler.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`].
    pub fn request(&self, request: C) -> Result<(), SendError<C>> {
        self.try_send(Request::Handler(request))
    }

    /// Requests the configuration in force, with every update that was accepted so far.
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`].
    pub fn config(&self) -> Result<Pending<Config>, SendError<C>> {
        self.ask(|reply| Request::Config { reply })
    }

    /// Stops the loop: closes all peers gracefully and ends it. The reply arrives when the loop has ended: all peers
    /// are closed, their rows are free, subscriptions have ended, and further requests are refused. The loop ends
    /// within [`SHUTDOWN_GRACE`](crate::limits::SHUTDOWN_GRACE). The address book is written by then, unless its
    /// store fails or is too slow; [`Reactor::finish_book`](crate::Reactor::finish_book) waits for the store. If
    /// `stop` is called several times, each call gets a reply. A caller that does not wait may drop the reply.
    ///
    /// ```
    /// # use peerloop::{Config, Handler, Network, Reactor};
    /// # use std::thread;
    /// # struct Quiet;
    /// # impl Handler for Quiet {
    /// #     type Request = ();
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut reactor = Reactor::new(Config::new(Network::Regtest), Quiet)?;
    /// let handle = reactor.handle();
    /// thread::spawn(move || reactor.run());
    /// assert_eq!(handle.config()?.wait()?.network, Network::Regtest);
    /// handle.stop()?.wait()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`Handle::try_send`], including [`SendError::Stopped`] if the loop has already ended. The reply's error
    /// is [`RequestError::Stopped`] if the reactor was dropped before it could close its peers.
    pub fn stop(&self) -> Result<Pending<()>, SendError<C>> {
        self.ask(|reply| Request::Stop { reply })
    }

    /// Sends a request that has a reply.
    fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request<C>) -> Result<Pending<T>, SendError<C>> {
        let (reply, pending) = Pending::new();
        self.try_send(request(reply))?;
        Ok(pending)
    }
}

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Self {
        Self { requests: self.requests.clone(), waker: Arc::clone(&self.waker), magic: self.magic }
    }
}

impl<C> fmt::Debug for Handle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl<C> fmt::Display for SendError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the loop's request queue is full; try again later",
            Self::Stopped(_) => "the loop has ended",
        })
    }
}

impl<C: fmt::Debug> std::error::Error for SendError<C> {}
