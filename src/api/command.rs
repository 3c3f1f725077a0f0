//! What other threads ask of a loop, and how they get their answers.

use super::control::ControlEvent;
use super::info::PeerInfo;
use super::message::{CommandFilter, MessageEvent};
use crate::config::{Config, ConfigChange, UpdateError};
use crate::error::CommandError;
use crate::id::PeerId;
use crate::manager::ban::Ban;
use crate::stats::Stats;
use crate::stats::histogram::LatencyHistogram;
use crate::subscribe::Publisher;
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

/// A request to a loop; sent with a [`Handle`](crate::Handle).
#[derive(Debug)]
#[non_exhaustive]
pub enum Command<C> {
    /// Open a connection.
    Connect {
        /// To where.
        address: SocketAddr,
        /// From which local address; the system chooses if none.
        source: Option<IpAddr>,
        /// Who gets the new peer's id.
        answer: Answer<Result<PeerId, CommandError>>,
    },
    /// Close a peer gracefully.
    Close {
        /// Whom.
        peer: PeerId,
    },
    /// Send an encoded frame to a peer; it is dropped if the peer is gone or its queue is full.
    Send {
        /// To whom.
        peer: PeerId,
        /// Header and payload.
        frame: Bytes,
    },
    /// Send an encoded frame to a peer, and say whether it was taken.
    SendMessage {
        /// To whom.
        peer: PeerId,
        /// Header and payload.
        frame: Bytes,
        /// Who hears whether it stands in the peer's queue.
        answer: Answer<Result<(), CommandError>>,
    },
    /// Count the peers whose handshake is complete.
    ConnectionCount {
        /// Who gets the number.
        answer: Answer<usize>,
    },
    /// List peers in the order of their slots, [`PEERS_PER_ANSWER`](crate::limits::PEERS_PER_ANSWER) at the most.
    Peers {
        /// Only those behind this one's slot; from the first if none.
        after: Option<PeerId>,
        /// Who gets the list.
        answer: Answer<Vec<PeerInfo>>,
    },
    /// Tell control events to a subscriber.
    SubscribeControl {
        /// The loop's end of the subscription.
        publisher: Publisher<ControlEvent>,
    },
    /// Give messages to a subscriber.
    SubscribeMessages {
        /// Which messages.
        commands: CommandFilter,
        /// The loop's end of the subscription.
        publisher: Publisher<MessageEvent>,
    },
    /// Ban a host.
    Ban {
        /// An address of the host.
        address: IpAddr,
        /// How long; for ever if none.
        duration: Option<Duration>,
        /// Who hears that it is done.
        answer: Answer<Result<(), CommandError>>,
    },
    /// End the ban of a host.
    Unban {
        /// An address of the host.
        address: IpAddr,
        /// Who hears whether there was one.
        answer: Answer<Result<bool, CommandError>>,
    },
    /// List the bans.
    Bans {
        /// Who gets the list.
        answer: Answer<Result<Vec<Ban>, CommandError>>,
    },
    /// Take another configuration, all of it or nothing.
    UpdateConfig {
        /// The configuration, complete.
        config: Box<Config>,
        /// Whether only to tell what would change.
        dry_run: bool,
        /// Who gets the changes, or why nothing has changed.
        answer: Answer<Result<Vec<ConfigChange>, UpdateError>>,
    },
    /// Report what the loop has done so far.
    Stats {
        /// Who gets the report.
        answer: Answer<Stats>,
    },
    /// Take what was recorded of a latency, and leave an empty histogram for what comes.
    TakeLatencies {
        /// Which.
        latency: Latency,
        /// What takes its place; what it holds counts as recorded.
        spare: LatencyHistogram,
        /// Who gets it.
        answer: Answer<LatencyHistogram>,
    },
    /// Close all peers gracefully and end the loop.
    Stop,
    /// Something for the handler.
    Handler(C),
}

/// A kind of latency that a loop records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Latency {
    /// How long a dial took until the TCP connection was there.
    Connect,
    /// How long a handshake took, from the TCP connection on.
    Handshake,
    /// How long a pong took, from when its ping was due; from its sending, if the loop sent it as a keepalive.
    PingRtt,
    /// How long the work of a turn took.
    Turn,
    /// How late an exact wake-up was.
    LoopLag,
    /// How late the timer was that sends keepalive pings.
    KeepaliveLag,
}

/// The sending end of a [`Pending`].
#[derive(Debug)]
pub struct Answer<T>(SyncSender<T>);

impl<T> Answer<T> {
    /// Gives the answer; nobody may be waiting for it any more.
    pub fn give(self, answer: T) {
        let _ = self.0.try_send(answer);
    }
}

/// An answer that is on its way from a loop.
#[derive(Debug)]
pub struct Pending<T>(Receiver<T>);

impl<T> Pending<T> {
    /// A connected pair, for a command of the handler's own that has an answer.
    pub fn new() -> (Answer<T>, Self) {
        let (sender, receiver) = sync_channel(1);
        (Answer(sender), Self(receiver))
    }

    /// Waits for the answer. Not for use inside a handler, where it would wait for itself.
    ///
    /// # Errors
    ///
    /// [`CommandError::Stopped`] when the loop has ended without giving it.
    pub fn wait(self) -> Result<T, CommandError> {
        self.0.recv().map_err(|_| CommandError::Stopped)
    }

    /// The answer, if it is there.
    ///
    /// # Errors
    ///
    /// [`CommandError::Stopped`] when the loop has ended without giving it.
    pub fn try_take(&self) -> Result<Option<T>, CommandError> {
        match self.0.try_recv() {
            Ok(answer) => Ok(Some(answer)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(CommandError::Stopped),
        }
    }
}
