//! Control events of connections, hosts, listeners, seeds, the address book and the configuration.
//!
//! An [`Event`](super::Event) gives the handler the full details of an event at one peer. A control event is a short
//! form of it, for observers of the whole loop. A [`ControlEvent`] is owned, so it can be kept and sent to other
//! threads. It holds typed causes and numbers, but no bytes chosen by a peer.

use crate::address::Host;
use crate::config::Field;
use crate::error::{CloseReason, DialHold, Misbehavior, NetworkFailure, Refusal, RefusedOption, ResolveCause};
use crate::id::PeerId;
use crate::manager::ban::BanReason;
use crate::manager::store::StoreError;
use crate::peer::{ConnectionState, ConnectionType, StreamPolicy};
use crate::subscribe::Queued;
use crate::text::Counted;
use crate::time::{Instant, UnixTime};
use crate::wire::StreamType;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// An event of the loop's connections, addresses or configuration.
///
/// For each peer with a [`ConnectionEstablished`](Self::ConnectionEstablished) there is at most one
/// [`HandshakeComplete`](Self::HandshakeComplete) and exactly one [`ConnectionFailed`](Self::ConnectionFailed) or
/// [`ConnectionLost`](Self::ConnectionLost), which is the last event with the peer's id. A dial that fails before the
/// connection is established has only a `ConnectionFailed`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ControlEvent {
    /// The TCP connection is established, in either direction.
    ConnectionEstablished {
        /// The peer.
        peer: PeerId,
        /// The peer's address: the dialled one, or the source of an accepted connection.
        address: SocketAddr,
        /// The side that opened the connection, and whether a slot was free for it.
        connection_type: ConnectionType,
    },
    /// The handshake is complete, and the peer counts as ready.
    HandshakeComplete {
        /// The peer.
        peer: PeerId,
        /// The address of the connection.
        address: SocketAddr,
        /// The side that opened the connection.
        connection_type: ConnectionType,
        /// The time since the connection was established.
        handshake: Duration,
    },
    /// A further TCP stream of a peer is open.
    StreamOpened {
        /// The peer.
        peer: PeerId,
        /// The address of the stream's connection.
        address: SocketAddr,
        /// The stream.
        stream_type: StreamType,
        /// The policy that now assigns outgoing messages to the peer's streams.
        policy: StreamPolicy,
    },
    /// We could not open a further TCP stream of a peer. It is not tried again, and the peer stays connected.
    StreamFailed {
        /// The peer.
        peer: PeerId,
        /// The address that was dialled.
        address: SocketAddr,
        /// The reason.
        reason: CloseReason,
    },
    /// A dialled connection failed or closed before its handshake was complete.
    ConnectionFailed {
        /// The id that was reserved for the peer.
        peer: PeerId,
        /// The address that was dialled.
        address: SocketAddr,
        /// The last state of the connection.
        state: ConnectionState,
        /// The reason.
        reason: CloseReason,
        /// The number of consecutive failures of the address, including the loss of a ready peer. A failure that is
        /// followed by a restart, or was caused by this machine or an incompatible peer, does not increase the number;
        /// if it is the first failure, the number is 1. Always 1 without a peer manager.
        failures: u32,
        /// The next dial of the address; [`NextDial::Never`] without a peer manager.
        next: NextDial,
    },
    /// A peer's connection closed, or an inbound connection closed before its handshake was complete.
    ConnectionLost {
        /// The peer.
        peer: PeerId,
        /// The address of the connection.
        address: SocketAddr,
        /// The side that opened the connection, and whether a slot was free for it.
        connection_type: ConnectionType,
        /// The last state of the connection.
        state: ConnectionState,
        /// The reason.
        reason: CloseReason,
    },
    /// The established connection to a dialled peer failed or was closed by the peer. The peer is dialled again at
    /// once.
    ConnectionRestarting {
        /// The peer's address.
        address: SocketAddr,
        /// The number of restarts within the configured restart window, including this one.
        restarts: u32,
    },
    /// An inbound connection arrived and was closed at once.
    InboundRejected {
        /// The connection's source address.
        address: SocketAddr,
        /// The reason.
        refusal: Refusal,
    },
    /// A peer connected while no slot was free, and was closed with a `reject`. It never counted as ready.
    RejectedOverCapacity {
        /// The peer.
        peer: PeerId,
        /// The connection's source address.
        address: SocketAddr,
    },
    /// A peer violated the protocol, or a handler charged it with misbehavior.
    PeerMisbehaved {
        /// The peer.
        peer: PeerId,
        /// The address of the connection.
        address: SocketAddr,
        /// The misbehavior.
        misbehavior: Misbehavior,
        /// The points added to the peer's score.
        points: u32,
        /// The peer's score with these points.
        score: u32,
    },
    /// A host is banned. If the address book is on disk, the ban is durable.
    PeerBanned {
        /// The host.
        host: Host,
        /// The reason.
        reason: BanReason,
        /// The ban's end; `None` for a permanent ban.
        until: Option<UnixTime>,
        /// The number of the host's connections that are closed because of the ban.
        peers_closed: usize,
    },
    /// A host's ban has ended.
    PeerUnbanned {
        /// The host.
        host: Host,
    },
    /// An accepted peer is closed to make room for a new one.
    PeerEvicted {
        /// The peer.
        peer: PeerId,
        /// The connection's source address.
        address: SocketAddr,
    },
    /// Not all wanted peers can be dialled. Each cause is reported once, and again only after the wanted peers were
    /// ready or the configuration changed. A pause that ends by itself, such as a backoff, does not count as a cause.
    DialsHeldBack {
        /// The cause.
        cause: DialHold,
    },
    /// The loop listens on an address.
    ListenerBound {
        /// The address, with the port that the system chose if port 0 was configured.
        address: SocketAddr,
    },
    /// The loop cannot listen on a configured address.
    ListenerBindFailed {
        /// The address.
        address: SocketAddr,
        /// The reason.
        failure: NetworkFailure,
        /// The pause until the next attempt.
        retry_in: Duration,
    },
    /// The system refuses a socket option. Sockets are used without the option. Each option is reported once.
    SocketOptionRefused {
        /// The option and its error.
        refused: RefusedOption,
    },
    /// A name was resolved.
    SeedResolved {
        /// The name.
        name: Arc<str>,
        /// The number of the name's addresses that can be dialled.
        found: usize,
        /// The number of these addresses that were not in the address book.
        new: usize,
    },
    /// A name was not resolved.
    SeedFailed {
        /// The name.
        name: Arc<str>,
        /// The reason.
        cause: ResolveCause,
    },
    /// The address book cannot be written. The loop continues in memory and retries.
    BookFailing {
        /// The reason.
        error: Arc<StoreError>,
    },
    /// The address book is writable again. Changes that are still pending are written next.
    BookRecovered,
    /// The configuration was replaced.
    ConfigUpdated {
        /// The fields that changed.
        fields: Arc<[Field]>,
    },
}

/// The plan for an address whose dial failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NextDial {
    /// At once, as a restart.
    Restart,
    /// At this moment, or later if no slot is free then.
    At(Instant),
    /// Rarely. After too many failed dials, the address is dialled within minutes if no other address remains, else
    /// after an hour or more. An incompatible node is dialled after an hour or more.
    Inaccessible,
    /// Not planned: the next address of its name is dialled instead, or the name is resolved again.
    NextAddress,
    /// Not planned: the address was dialled on request, or it is a fixed peer that this side closed. `Never` is also
    /// reported for an address that waits for a condition instead of a time, such as the end of its host's ban or of
    /// another connection to it. That address can be dialled once the condition holds.
    Never,
}

impl ControlEvent {
    /// Returns the event's label from a closed list, for counters and logs.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::ConnectionEstablished { .. } => "connection_established",
            Self::HandshakeComplete { .. } => "handshake_complete",
            Self::StreamOpened { .. } => "stream_opened",
            Self::StreamFailed { .. } => "stream_failed",
            Self::ConnectionFailed { .. } => "connection_failed",
            // The handshake was not complete, so the connection did not count as a peer.
            Self::ConnectionLost { state, .. } if !matches!(state, ConnectionState::Connected) => "connection_failed",
            Self::ConnectionLost { .. } => "connection_lost",
            Self::ConnectionRestarting { .. } => "connection_restarting",
            Self::InboundRejected { .. } => "inbound_rejected",
            Self::RejectedOverCapacity { .. } => "rejected_over_capacity",
            Self::PeerMisbehaved { .. } => "peer_misbehaved",
            Self::PeerBanned { .. } => "peer_banned",
            Self::PeerUnbanned { .. } => "peer_unbanned",
            Self::PeerEvicted { .. } => "peer_evicted",
            Self::DialsHeldBack { .. } => "dials_held_back",
            Self::ListenerBound { .. } => "listener_bound",
            Self::ListenerBindFailed { .. } => "listener_bind_failed",
            Self::SocketOptionRefused { .. } => "socket_option_refused",
            Self::SeedResolved { .. } => "seed_resolved",
            Self::SeedFailed { .. } => "seed_failed",
            Self::BookFailing { .. } => "book_failing",
            Self::BookRecovered => "book_recovered",
            Self::ConfigUpdated { .. } => "config_updated",
        }
    }

    /// Returns the peer that the event is about, if any.
    pub const fn peer(&self) -> Option<PeerId> {
        match self {
            Self::ConnectionEstablished { peer, .. }
            | Self::HandshakeComplete { peer, .. }
            | Self::StreamOpened { peer, .. }
            | Self::StreamFailed { peer, .. }
            | Self::ConnectionFailed { peer, .. }
            | Self::ConnectionLost { peer, .. }
            | Self::RejectedOverCapacity { peer, .. }
            | Self::PeerMisbehaved { peer, .. }
            | Self::PeerEvicted { peer, .. } => Some(*peer),
            Self::ConnectionRestarting { .. }
            | Self::InboundRejected { .. }
            | Self::PeerBanned { .. }
            | Self::PeerUnbanned { .. }
            | Self::DialsHeldBack { .. }
            | Self::ListenerBound { .. }
            | Self::ListenerBindFailed { .. }
            | Self::SocketOptionRefused { .. }
            | Self::SeedResolved { .. }
            | Self::SeedFailed { .. }
            | Self::BookFailing { .. }
            | Self::BookRecovered
            | Self::ConfigUpdated { .. } => None,
        }
    }
}

impl Queued for ControlEvent {}

impl fmt::Display for ControlEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectionEstablished { address, connection_type, .. } => {
                write!(f, "connected to {address} ({connection_type})")
            }
            Self::HandshakeComplete { address, handshake, .. } => {
                write!(f, "completed the handshake with {address} in {} us", handshake.as_micros())
            }
            Self::StreamOpened { address, stream_type, policy, .. } => {
                write!(f, "opened the stream {stream_type} of {address} with the policy {}", policy.name())
            }
            Self::StreamFailed { address, reason, .. } => {
                write!(f, "{address} has no further stream: {reason}")
            }
            Self::ConnectionFailed { address, reason, failures, next, .. } => {
                let failures = Counted(*failures, "consecutive failure");
                write!(f, "the connection to {address} failed ({failures}): {reason}; {next}")
            }
            Self::ConnectionLost { address, state: ConnectionState::Connected, reason, .. } => {
                write!(f, "the connection to {address} closed: {reason}")
            }
            Self::ConnectionLost { address, reason, .. } => {
                write!(f, "the connection to {address} closed before the peer was ready: {reason}")
            }
            Self::ConnectionRestarting { address, restarts } => {
                write!(f, "{address} is dialled again at once, restart {restarts}")
            }
            Self::InboundRejected { address, refusal } => write!(f, "rejected {address}: {refusal}"),
            Self::RejectedOverCapacity { address, .. } => {
                write!(f, "rejected {address}: the maximum number of peers is reached")
            }
            Self::PeerMisbehaved { address, misbehavior, points, score, .. } => {
                let points = Counted(*points, "point");
                write!(f, "{address} misbehaved: {misbehavior}; added {points}, score {score}")
            }
            Self::PeerBanned { host, reason, until, peers_closed } => {
                write!(f, "banned {host}: {reason}; ")?;
                match until {
                    Some(until) => write!(f, "until {until}")?,
                    None => f.write_str("permanently")?,
                }
                write!(f, "; closed {peers_closed} of its connections")
            }
            Self::PeerUnbanned { host } => write!(f, "{host} is no longer banned"),
            Self::PeerEvicted { address, .. } => write!(f, "closed {address} to make room"),
            Self::DialsHeldBack { cause } => write!(f, "peers are wanted but not dialled: {cause}"),
            Self::ListenerBound { address } => write!(f, "listening on {address}"),
            Self::ListenerBindFailed { address, failure, retry_in } => {
                write!(f, "cannot listen on {address}: {failure}; retrying in {} s", retry_in.as_secs())
            }
            Self::SocketOptionRefused { refused } => refused.fmt(f),
            Self::SeedResolved { name, found, new } => {
                write!(f, "{name} has {}, {new} of them new", Counted(*found, "address"))
            }
            Self::SeedFailed { name, cause } => write!(f, "{name} was not resolved: {cause}"),
            Self::BookFailing { error } => write!(f, "cannot write the address book: {error}"),
            Self::BookRecovered => f.write_str("the address book is writable again"),
            Self::ConfigUpdated { fields } => write!(f, "the configuration has changed: {}", Field::names(fields)),
        }
    }
}

impl fmt::Display for NextDial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart => f.write_str("dialled again at once"),
            // A moment on the loop's clock means nothing to a reader.
            Self::At(_) => f.write_str("dialled again after a pause"),
            Self::Inaccessible => f.write_str("counts as inaccessible"),
            Self::NextAddress => f.write_str("the next address of its name is tried"),
            Self::Never => f.write_str("no further dial is planned"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::error::{IoStep, SocketOption};
    use crate::id::LinkId;
    use std::collections::BTreeSet;
    use std::io;

    /// Returns one event of each kind.
    pub(crate) fn one_of_each() -> Vec<ControlEvent> {
        let peer = PeerId::of(LinkId::new(3, 1));
        let address = ([192, 0, 2, 1], 8_333).into();
        let (connection_type, state) = (ConnectionType::Outbound, ConnectionState::AwaitingHandshake);
        let failure = NetworkFailure::new(IoStep::Bind, &io::Error::from_raw_os_error(98));
        let reason = CloseReason::Network(failure);
        let (host, name) = (Host::of([192, 0, 2, 1].into()), Arc::from("seed.example"));
        let retry_in = Duration::from_secs(1);
        let refused = RefusedOption { option: SocketOption::UserTimeout, code: 92 };
        vec![
            ControlEvent::ConnectionEstablished { peer, address, connection_type },
            ControlEvent::HandshakeComplete { peer, address, connection_type, handshake: retry_in },
            ControlEvent::ConnectionFailed { peer, address, state, reason, failures: 1, next: NextDial::Never },
            ControlEvent::ConnectionLost { peer, address, connection_type, state: ConnectionState::Connected, reason },
            ControlEvent::ConnectionRestarting { address, restarts: 1 },
            ControlEvent::InboundRejected { address, refusal: Refusal::TableFull { links: 1 } },
            ControlEvent::RejectedOverCapacity { peer, address },
            ControlEvent::PeerMisbehaved { peer, address, misbehavior: Misbehavior::BadChecksums, points: 1, score: 2 },
            ControlEvent::PeerBanned { host, reason: BanReason::Manual, until: None, peers_closed: 0 },
            ControlEvent::PeerUnbanned { host },
            ControlEvent::PeerEvicted { peer, address },
            ControlEvent::ListenerBound { address },
            ControlEvent::ListenerBindFailed { address, failure, retry_in },
            ControlEvent::SeedResolved { name: Arc::clone(&name), found: 2, new: 1 },
            ControlEvent::SeedFailed { name, cause: ResolveCause::TimedOut },
            ControlEvent::BookFailing { error: Arc::new(StoreError::WriterEnded) },
            ControlEvent::BookRecovered,
            ControlEvent::ConfigUpdated { fields: Arc::from([Field::MaxPeers, Field::Listen]) },
            ControlEvent::SocketOptionRefused { refused },
            ControlEvent::DialsHeldBack { cause: DialHold::GroupFull },
        ]
    }

    #[test]
    fn req_e34_every_kind_has_a_unique_label_for_counters() {
        let labels: Vec<_> = one_of_each().iter().map(ControlEvent::label).collect();
        assert_eq!(labels.iter().collect::<BTreeSet<_>>().len(), labels.len());
        assert!(labels.iter().all(|label| label.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())));
    }

    #[test]
    fn each_event_is_one_line_of_text() {
        for event in one_of_each() {
            let text = event.to_string();
            assert!(!text.is_empty() && text.chars().all(|character| (' '..='~').contains(&character)), "{text}");
        }
    }

    #[test]
    fn texts_show_durations_dates_and_points_and_whether_a_lost_peer_was_ready() {
        let mut events = one_of_each();
        let ControlEvent::HandshakeComplete { handshake, .. } = &mut events[1] else { panic!("{}", events[1]) };
        *handshake = Duration::from_nanos(193_440);
        assert_eq!(events[1].to_string(), "completed the handshake with 192.0.2.1:8333 in 193 us");
        assert!(events[12].to_string().ends_with("; retrying in 1 s"), "{}", events[12]);
        let ban = events.iter_mut().find_map(|event| match event {
            ControlEvent::PeerBanned { until, .. } => {
                *until = Some(UnixTime::from_secs(1_796_005_391));
                Some(event.to_string())
            }
            _ => None,
        });
        assert!(ban.expect("the list has a ban").contains("; until 2026-11-30T02:23:11Z; closed "));
        let misbehaved = events[7].to_string();
        assert!(misbehaved.ends_with("; added 1 point, score 2"), "{misbehaved}");
        let ControlEvent::ConnectionLost { state, .. } = &mut events[3] else { panic!("{}", events[3]) };
        *state = ConnectionState::AwaitingHandshake;
        assert_eq!(events[3].label(), "connection_failed", "the loss of a peer that was not ready has another label");
        assert!(
            events[3].to_string().starts_with("the connection to 192.0.2.1:8333 closed before the peer was ready: ")
        );
        let next = NextDial::At(Instant::from_nanos(5_752_062_110));
        assert_eq!(next.to_string(), "dialled again after a pause");
    }

    #[test]
    fn a_queued_event_has_at_most_128_bytes() {
        assert!(size_of::<ControlEvent>() <= 128, "{}", size_of::<ControlEvent>());
    }
}
