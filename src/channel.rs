//! Embedding without a handler: control events and messages through bounded queues.
//!
//! [`open`] creates a loop whose handler does nothing, and a [`Channel`] that passes the loop's control events and
//! messages to another thread and contains a [`Handle`] to the loop. A slow receiver never blocks the loop: the
//! receiver loses the oldest items and learns how many. A program that must reply within the same turn, or that
//! receives large messages in chunks, implements a [`Handler`] instead. This module starts no thread: the loop runs on
//! the thread that calls [`Reactor::run`].

use crate::api::{CommandFilter, ControlEvent, MessageEvent};
use crate::config::Config;
use crate::handle::Handle;
use crate::handler::Handler;
use crate::net::Net;
use crate::net::mio::MioNet;
use crate::offload::Offload;
use crate::reactor::{Reactor, StartError};
use crate::subscribe::Subscription;

/// The handler of a loop that is used through a [`Channel`]. It does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHandler;

impl Handler for NoHandler {
    type Request = ();
}

/// The caller's access to a loop without a handler. The loop keeps running after the channel is dropped.
#[derive(Debug)]
#[non_exhaustive]
pub struct Channel {
    /// The handle that controls the loop.
    pub handle: Handle<()>,
    /// The control events, from the loop's first turn on.
    pub control: Subscription<ControlEvent>,
    /// The messages that the filter selects.
    pub messages: Subscription<MessageEvent>,
}

/// Creates a loop on the real network, and a channel that receives the messages that `commands` selects.
///
/// The channel holds up to `capacity` events and up to `capacity` messages, within the limits that [`Subscription`]
/// states. `capacity` is clamped to the range from 1 to
/// [`MAX_SUBSCRIPTION_ITEMS`](crate::limits::MAX_SUBSCRIPTION_ITEMS);
/// [`CHANNEL_ITEMS`](crate::limits::CHANNEL_ITEMS) suits a receiver that does little else. For more subscriptions use
/// [`Channel::handle`].
///
/// ```no_run
/// use peerloop::api::CommandFilter;
/// use peerloop::limits::CHANNEL_ITEMS;
/// use peerloop::protocol::CommandName;
/// use peerloop::{Config, ControlEvent, Message, Network, Received, channel};
/// use std::thread;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let wanted = CommandFilter::Only(vec![CommandName::INV]);
/// let (mut reactor, channel) = channel::open(Config::new(Network::Regtest), wanted, CHANNEL_ITEMS)?;
/// let running = thread::spawn(move || reactor.run());
///
/// channel.handle.connect("127.0.0.1:18444".parse()?, None)?;
/// loop {
///     match channel.control.recv()? {
///         Received::Item(ControlEvent::HandshakeComplete { peer, .. }) => {
///             channel.handle.send_message(peer, &Message::GetAddr)?;
///         }
///         Received::Item(ControlEvent::ConnectionFailed { .. } | ControlEvent::ConnectionLost { .. }) => break,
///         Received::Item(event) => println!("{event}"),
///         Received::Lagged { count } => println!("lagged: {count} events dropped"),
///     }
///     while let Some(Received::Item(message)) = channel.messages.try_recv()? {
///         println!("{} from {}", message.header.command, message.peer);
///     }
/// }
/// channel.handle.stop()?;
/// running.join().expect("the loop does not panic")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The errors of [`Reactor::new`].
pub fn open(
    config: Config,
    commands: CommandFilter,
    capacity: usize,
) -> Result<(Reactor<MioNet, NoHandler>, Channel), StartError> {
    Ok(connect(Reactor::new(config, NoHandler)?, commands, capacity))
}

/// Creates a loop on a network of the caller's choice, like [`open`].
///
/// # Errors
///
/// The errors of [`Reactor::with_net`].
pub fn open_on<N: Net + Offload>(
    config: Config,
    net: N,
    commands: CommandFilter,
    capacity: usize,
) -> Result<(Reactor<N, NoHandler>, Channel), StartError> {
    Ok(connect(Reactor::with_net(config, net, NoHandler)?, commands, capacity))
}

fn connect<N: Net + Offload>(
    reactor: Reactor<N, NoHandler>,
    commands: CommandFilter,
    capacity: usize,
) -> (Reactor<N, NoHandler>, Channel) {
    let handle = reactor.handle();
    let control = handle.subscribe_control_events(capacity).expect("the queue of a new loop is empty");
    let messages = handle.subscribe_messages(commands, capacity).expect("the queue of a new loop is empty");
    (reactor, Channel { handle, control, messages })
}
