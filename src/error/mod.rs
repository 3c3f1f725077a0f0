//! Errors, and the reasons for closed connections, typed by cause.
//!
//! A [`CloseReason`] is `Copy` and usually holds a cause:
//!
//! - [`WireError`]: the peer's bytes are invalid.
//! - [`Misbehavior`]: the peer was penalised.
//! - [`Incompatibility`]: the peer is honest but useless to us.
//! - [`Deadline`]: the peer was too slow.
//! - [`NetworkFailure`]: the operating system reported a failure.
//! - [`LocalCause`]: the loop closed the connection.
//! - [`Disconnect`]: the embedder closed the connection.
//!
//! A [`ConfigError`](crate::config::ConfigError) describes an invalid configuration, and a [`RequestError`] describes a
//! request that could not be carried out. Every error text names the cause and, where there is one, the remedy.
//!
//! ```
//! use peerloop::CloseReason;
//!
//! fn advice(reason: CloseReason) -> &'static str {
//!     match reason {
//!         CloseReason::Network(failure) if failure.shortage().is_some() => "raise the limits of this process",
//!         reason if reason.is_transient() => "connect again later",
//!         _ => "choose another peer",
//!     }
//! }
//! ```

mod add_connection;
pub(crate) mod ban_reason;
mod consequences;
mod disconnect;
mod foreign_protocol;
mod hold;
mod label;
mod misbehavior;
mod network;
mod option;
mod refusal;
mod resolving;

pub use add_connection::AddConnectionError;
pub(crate) use consequences::{Consequences, EndState, Ended};
pub use disconnect::Disconnect;
pub use hold::DialHold;
pub use misbehavior::{Misbehavior, Penalty};
pub use network::{IoStep, NetworkFailure, Shortage};
pub use option::{RefusedOption, SocketOption};
pub use refusal::Refusal;
pub use resolving::ResolveCause;
#[doc(hidden)]
pub use resolving::ResolveFailure;

use crate::protocol::{CommandName, Network, reject_code_name};
use label::Label;
#[cfg(test)]
pub(crate) use label::tests::one_of_each;
use std::fmt;

/// The reason why a connection was closed, or could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer sent invalid data.
    Wire(WireError),
    /// The peer misbehaved: either the violation closed the connection at once, or it raised the peer's points to the
    /// ban threshold.
    Misbehaved(Misbehavior),
    /// We do not accept the peer's version, network or software.
    Incompatible(Incompatibility),
    /// The peer missed a deadline.
    TimedOut(Deadline),
    /// The operating system reported a failure.
    Network(NetworkFailure),
    /// The peer closed the connection in an orderly way.
    ClosedByPeer,
    /// The peer closed the connection, and its last message was a `reject` with this code.
    RejectedByPeer(u8),
    /// The embedder closed the connection.
    Requested(Disconnect),
    /// The loop closed the connection.
    Local(LocalCause),
}

/// The side at fault for a closed or failed connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// This process or this machine.
    Local,
    /// The peer, or the network on the way to it.
    Remote,
}

impl CloseReason {
    /// Returns the side at fault: the local one if it chose to close or lacked a resource, otherwise the remote one.
    pub const fn side(&self) -> Side {
        match self {
            Self::Requested(_) | Self::Local(_) => Side::Local,
            Self::Network(failure) if failure.shortage().is_some() => Side::Local,
            Self::Wire(_)
            | Self::Misbehaved(_)
            | Self::Incompatible(_)
            | Self::TimedOut(_)
            | Self::Network(_)
            | Self::ClosedByPeer
            | Self::RejectedByPeer(_) => Side::Remote,
        }
    }

    /// The labels of all possible reasons.
    pub const LABELS: &[&'static str] = Label::NAMES;

    /// Returns the cause's short name, from the closed list [`CloseReason::LABELS`], for counters and result files.
    pub const fn label(&self) -> &'static str {
        self.cause().name()
    }

    /// Returns the label's index in [`CloseReason::LABELS`].
    pub(crate) const fn index(&self) -> usize {
        self.cause() as usize
    }

    const fn cause(&self) -> Label {
        match self {
            Self::Wire(error) => error.label(),
            Self::Misbehaved(misbehavior) => misbehavior.close_label(),
            Self::Incompatible(Incompatibility::ProtocolVersion { .. }) => Label::ProtocolVersion,
            Self::Incompatible(Incompatibility::Network { .. }) => Label::WrongNetwork,
            Self::Incompatible(Incompatibility::Blockchain) => Label::WrongBlockchain,
            Self::Incompatible(Incompatibility::BannedUserAgent) => Label::BannedUserAgent,
            Self::TimedOut(Deadline::Connect) => Label::ConnectTimeout,
            Self::TimedOut(Deadline::Handshake) => Label::HandshakeTimeout,
            Self::TimedOut(Deadline::Pong) => Label::PongTimeout,
            Self::TimedOut(Deadline::Header) => Label::HeaderTimeout,
            Self::TimedOut(Deadline::Body) => Label::BodyTimeout,
            Self::TimedOut(Deadline::Send) => Label::SendStalled,
            Self::Network(failure) => failure.label(),
            Self::ClosedByPeer => Label::ClosedByPeer,
            Self::RejectedByPeer(_) => Label::RejectedByPeer,
            Self::Requested(disconnect) => disconnect.label(),
            Self::Local(LocalCause::Shutdown) => Label::Shutdown,
            Self::Local(LocalCause::OverCapacity) => Label::OverCapacity,
            Self::Local(LocalCause::Banned) => Label::Banned,
            Self::Local(LocalCause::Evicted) => Label::Evicted,
            Self::Local(LocalCause::Duplicate) => Label::Duplicate,
            Self::Local(LocalCause::SelfConnection) => Label::SelfConnection,
            Self::Local(LocalCause::BecameStream) => Label::BecameStream,
            Self::Local(LocalCause::StreamRefused) => Label::StreamRefused,
        }
    }
}

/// Bytes that no correct peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// A message does not begin with the network's magic.
    BadMagic {
        /// The bytes received, with 0 for those that had not arrived yet.
        found: [u8; 4],
        /// The network with this magic; `None` if bytes are missing or no network has this magic.
        network: Option<Network>,
    },
    /// The header claims a payload above its command's limit.
    OverLimit {
        /// The command.
        command: CommandName,
        /// The length claimed, in bytes.
        len_bytes: u64,
    },
    /// The payload ends inside a field.
    Truncated {
        /// The command.
        command: CommandName,
    },
    /// A CompactSize is not in its shortest form.
    NonCanonicalSize {
        /// The command.
        command: CommandName,
    },
    /// A CompactSize is above 2^32 - 1, the largest value that is accepted.
    OverlongSize {
        /// The command.
        command: CommandName,
    },
    /// A count, length or position is larger than the protocol allows.
    TooLong {
        /// The command.
        command: CommandName,
    },
    /// A field has a value that the protocol does not allow.
    BadValue {
        /// The command.
        command: CommandName,
    },
    /// The header's checksum does not match the payload.
    BadChecksum {
        /// The command.
        command: CommandName,
    },
}

impl WireError {
    const fn label(&self) -> Label {
        match self {
            Self::BadMagic { .. } => Label::BadMagic,
            Self::OverLimit { .. } => Label::OverLimit,
            Self::Truncated { .. } => Label::Truncated,
            Self::NonCanonicalSize { .. } => Label::NonCanonicalSize,
            Self::OverlongSize { .. } => Label::OverlongSize,
            Self::TooLong { .. } => Label::TooLong,
            Self::BadValue { .. } => Label::BadValue,
            Self::BadChecksum { .. } => Label::BadChecksum,
        }
    }
}

/// The reason why an honest peer is useless to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incompatibility {
    /// Its protocol version is older than we accept.
    ProtocolVersion {
        /// The version it claims.
        claimed: u32,
    },
    /// It is on another network.
    Network {
        /// The network it is on.
        found: Network,
    },
    /// Its user agent belongs to another blockchain's node.
    Blockchain,
    /// Its user agent is banned by configuration.
    BannedUserAgent,
}

/// A deadline, named after the event that must happen before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deadline {
    /// The TCP connection is established.
    Connect,
    /// Both versions and both veracks are exchanged.
    Handshake,
    /// A ping is answered.
    Pong,
    /// A header that has begun is complete.
    Header,
    /// A payload that has begun makes enough progress.
    Body,
    /// The peer reads enough of our queued data.
    Send,
}

/// The reason why the loop closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalCause {
    /// The loop is stopping.
    Shutdown,
    /// The maximum number of peers is reached.
    OverCapacity,
    /// The peer's host is banned.
    Banned,
    /// The peer was evicted for another peer.
    Evicted,
    /// We are already connected to this peer.
    Duplicate,
    /// The loop seems to be connected to itself. Usually, the peer's `version` has one of our nonces. If the link is
    /// still [`Connecting`](crate::peer::ConnectionState::Connecting), the dialled port may instead have no listener,
    /// and the kernel chose that same port as the source.
    SelfConnection,
    /// The connection is now a further stream of another peer, and no longer a peer of its own.
    BecameStream,
    /// The connection was to become a further stream of a peer, and we refused it with a `reject`.
    StreamRefused,
}

/// A request that could not be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The peer is no longer connected.
    NoSuchPeer,
    /// The peer's send queue has no room for the message; try again when the peer is writable.
    QueueFull,
    /// The peer's handshake is not complete, or the peer is being closed.
    NotReady,
    /// The peer has reached its maximum number of pings in flight.
    TooManyPings,
    /// The peer has [`MAX_MARKS_PER_PEER`](crate::limits::MAX_MARKS_PER_PEER) marked messages that are not yet written.
    TooManyMarks,
    /// The peer's protocol version does not support pongs.
    NoPongs,
    /// The message is larger than the peer accepts, according to its `protoconf` or its protocol version.
    TooLargeForPeer,
    /// A message is being fed to the peer in parts. Another such message can begin once that one is complete.
    BodyOpen,
    /// No message is being fed to the peer.
    NoBody,
    /// The part is longer than the rest of the message.
    BodyOverrun,
    /// A payload of up to 2^32 - 1 bytes needs a checksum in its header, and this header has none.
    ChecksumMissing,
    /// The user agent of [`VersionFacts`](crate::peer::VersionFacts) has more than
    /// [`MAX_USER_AGENT_BYTES`](crate::limits::MAX_USER_AGENT_BYTES).
    UserAgentTooLong,
    /// The loop has the maximum number of connections; see [`Config::max_links`](crate::Config::max_links).
    TableFull,
    /// The address belongs to a banned host.
    Banned,
    /// A connection to the address exists or is being opened.
    AddressTaken,
    /// The maximum number of peers is reached; see
    /// [`ManagerConfig::max_peers`](crate::config::ManagerConfig::max_peers).
    MaxPeers,
    /// The loop has no peer manager, and so no bans; see [`Config::manager`](crate::Config::manager).
    NoManager,
    /// The maximum number of bans, [`MAX_BANS`](crate::limits::MAX_BANS), is reached. All of them are requested bans,
    /// and none ends sooner than the refused ban would.
    BansFull,
    /// The maximum number of timers, [`MAX_TIMERS`](crate::limits::MAX_TIMERS), is reached.
    TooManyTimers,
    /// The loop has stopped.
    Stopped,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(error) => write!(f, "the peer sent invalid data: {error}"),
            Self::Misbehaved(misbehavior) => match misbehavior.penalty() {
                Penalty::Points(_) => write!(f, "the peer reached the ban score with {misbehavior}"),
                Penalty::Disconnect => write!(f, "the peer violated the protocol with {misbehavior}"),
            },
            Self::Incompatible(cause) => write!(f, "the peer is incompatible: {cause}"),
            Self::TimedOut(deadline) => write!(f, "timed out: {deadline}"),
            Self::Network(failure) => write!(f, "{failure}"),
            Self::ClosedByPeer => f.write_str("closed by the peer"),
            Self::RejectedByPeer(code) => {
                write!(f, "closed by the peer after a reject with code {code:#04x}")?;
                reject_code_name(*code).map_or(Ok(()), |name| write!(f, " ({name})"))
            }
            Self::Requested(disconnect) => write!(f, "closed by this side: {disconnect}"),
            Self::Local(cause) => write!(f, "closed by this side: {cause}"),
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadMagic { network: Some(network), .. } => {
                write!(f, "the message is for {network}")
            }
            Self::BadMagic { found: [a, b, c, d], network: None } => {
                write!(f, "{a:02x}{b:02x}{c:02x}{d:02x} is not this network's magic")?;
                foreign_protocol::of([*a, *b, *c, *d]).map_or(Ok(()), |speaker| write!(f, ": {speaker}"))
            }
            Self::OverLimit { command, len_bytes } => {
                write!(f, "{command} claims {len_bytes} bytes, more than its limit")
            }
            Self::Truncated { command } => write!(f, "{command} ends inside a field"),
            Self::NonCanonicalSize { command } => write!(f, "{command} has a size that is not in its shortest form"),
            Self::OverlongSize { command } => write!(f, "{command} has a count or length above 2^32 - 1"),
            Self::TooLong { command } => write!(f, "{command} has a count, length or position above its limit"),
            Self::BadValue { command } => write!(f, "{command} has a field with an invalid value"),
            Self::BadChecksum { command } => write!(f, "{command} has a wrong checksum"),
        }
    }
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProtocolVersion { claimed } => write!(f, "it speaks protocol version {claimed}, which is too old"),
            Self::Network { found } => write!(f, "it is on {found}"),
            Self::Blockchain => f.write_str("its user agent belongs to another blockchain's node"),
            Self::BannedUserAgent => f.write_str("its user agent is banned"),
        }
    }
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "the connection was not established",
            Self::Handshake => "the handshake was not completed",
            Self::Pong => "a ping was not answered",
            Self::Header => "a message header was not completed",
            Self::Body => "a message made too little progress",
            Self::Send => "the peer read too little of our queued data",
        })
    }
}

impl fmt::Display for LocalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shutdown => "shutting down",
            Self::OverCapacity => "the maximum number of peers is reached",
            Self::Banned => "the peer's host is banned",
            Self::Evicted => "evicted for another peer",
            Self::Duplicate => "already connected to this peer",
            Self::SelfConnection => "connected to itself",
            Self::BecameStream => "became a stream of another peer",
            Self::StreamRefused => "stream setup refused",
        })
    }
}

impl RequestError {
    /// Returns the error's short name, from a closed list.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NoSuchPeer => "no_such_peer",
            Self::QueueFull => "queue_full",
            Self::NotReady => "not_ready",
            Self::TooManyPings => "too_many_pings",
            Self::TooManyMarks => "too_many_marks",
            Self::NoPongs => "no_pongs",
            Self::TooLargeForPeer => "too_large_for_peer",
            Self::BodyOpen => "body_open",
            Self::NoBody => "no_body",
            Self::BodyOverrun => "body_overrun",
            Self::ChecksumMissing => "checksum_missing",
            Self::UserAgentTooLong => "user_agent_too_long",
            Self::TableFull => "table_full",
            Self::Banned => "banned",
            Self::AddressTaken => "address_taken",
            Self::MaxPeers => "max_peers",
            Self::NoManager => "no_manager",
            Self::BansFull => "bans_full",
            Self::TooManyTimers => "too_many_timers",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchPeer => "the peer is no longer connected",
            Self::QueueFull => "the peer's send queue is full; wait until it is writable",
            Self::NotReady => "the peer is not ready: its handshake is not complete, or it is being closed",
            Self::TooManyPings => "the peer has reached its maximum number of pings in flight; wait for a pong",
            Self::NoPongs => "the peer's protocol version does not support pongs",
            Self::TooLargeForPeer => "the message is larger than the peer accepts",
            Self::BodyOpen => "a message is being fed to the peer; complete it first",
            Self::NoBody => "no message is being fed to the peer; begin one first",
            Self::BodyOverrun => "the part is longer than the rest of the message",
            Self::ChecksumMissing => "a payload of up to 2^32 - 1 bytes needs a checksum in its header",
            Self::UserAgentTooLong => "the user agent has more than 256 bytes; shorten it",
            Self::TableFull => "the table has no room for another connection; raise max_links",
            Self::Banned => "the host of the address is banned; unban it first",
            Self::AddressTaken => "already connected or connecting to the address",
            Self::MaxPeers => "the maximum number of peers is reached; raise max_peers",
            Self::NoManager => "the loop has no peer manager; set Config::manager",
            Self::BansFull => "the maximum number of bans is reached; lift some that are not needed",
            Self::TooManyMarks => "the peer has the maximum number of marked messages; try again when some are written",
            Self::TooManyTimers => "the maximum number of timers is reached; cancel some that are not needed",
            Self::Stopped => "the loop has stopped",
        })
    }
}

impl std::error::Error for CloseReason {}
impl std::error::Error for WireError {}
impl std::error::Error for RequestError {}

impl From<WireError> for CloseReason {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}
impl From<Misbehavior> for CloseReason {
    fn from(misbehavior: Misbehavior) -> Self {
        Self::Misbehaved(misbehavior)
    }
}
impl From<Incompatibility> for CloseReason {
    fn from(cause: Incompatibility) -> Self {
        Self::Incompatible(cause)
    }
}
impl From<Deadline> for CloseReason {
    fn from(deadline: Deadline) -> Self {
        Self::TimedOut(deadline)
    }
}
impl From<Disconnect> for CloseReason {
    fn from(disconnect: Disconnect) -> Self {
        Self::Requested(disconnect)
    }
}
impl From<LocalCause> for CloseReason {
    fn from(cause: LocalCause) -> Self {
        Self::Local(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_another_networks_message_names_only_that_network() {
        let foreign = WireError::BadMagic { found: [0xf9, 0xbe, 0xb4, 0xd9], network: Some(Network::Testnet) };
        assert_eq!(foreign.to_string(), "the message is for testnet");
    }

    #[test]
    fn a_close_for_misbehavior_names_the_misbehavior() {
        let text = |misbehavior| CloseReason::Misbehaved(misbehavior).to_string();
        assert_eq!(text(Misbehavior::SecondVersion), "the peer reached the ban score with a second version");
        assert_eq!(text(Misbehavior::SecondProtoconf), "the peer violated the protocol with a second protoconf");
    }

    #[test]
    fn a_reject_code_appears_with_its_name_if_it_has_one() {
        let text = |code| CloseReason::RejectedByPeer(code).to_string();
        assert_eq!(text(0x44), "closed by the peer after a reject with code 0x44 (too busy)");
        assert_eq!(text(0x99), "closed by the peer after a reject with code 0x99");
    }
}
