//! Control events: what happens to connections, hosts, listeners, seeds, the address book and the configuration.
//!
//! A [`ControlEvent`] is owned and can be kept and sent to other threads. An [`Event`](super::Event) describes one peer
//! in full; a control event is the short form for an observer of the whole loop. Its causes are types with numbers, and
//! it carries no byte of a peer's choice.

use crate::address::Host;
use crate::config::Field;
use crate::error::{CloseReason, DialHold, Misbehavior, NetworkFailure, Refusal, RefusedOption, ResolveCause};
use crate::id::PeerId;
use crate::manager::ban::BanReason;
use crate::manager::store::StoreError;
use crate::peer::{ConnectionState, ConnectionType};
use crate::subscribe::Queued;
use crate::text::Counted;
use crate::time::{Instant, UnixTime};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Something that happened to the loop's connections, or to its knowledge of addresses.
///
/// For each peer with a [`ConnectionEstablished`](Self::ConnectionEstablished) there is at most one
/// [`HandshakeComplete`](Self::HandshakeComplete) and exactly one [`ConnectionFailed`](Self::ConnectionFailed) or
/// [`ConnectionLost`](Self::ConnectionLost), which is the last event with its id. A dial that fails earlier has a
/// `ConnectionFailed` alone.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ControlEvent {
    /// The TCP connection is established, in either direction.
    ConnectionEstablished {
        /// The peer.
        peer: PeerId,
        /// The dialled address, or the one that the connection came from.
        address: SocketAddr,
        /// The side that opened it, and whether there is a slot for it.
        connection_type: ConnectionType,
    },
    /// The handshake is complete; the peer counts.
    HandshakeComplete {
        /// The peer.
        peer: PeerId,
        /// The address of the connection.
        address: SocketAddr,
        /// The side that opened it.
        connection_type: ConnectionType,
        /// The time since the connection was established.
        handshake: Duration,
    },
    /// A connection that this side dialled ended before its handshake was complete.
    ConnectionFailed {
        /// The id that was reserved for the peer.
        peer: PeerId,
        /// The address that was dialled.
        address: SocketAddr,
        /// How far the connection had come.
        state: ConnectionState,
        /// The reason.
        reason: CloseReason,
        /// Dials of the address that failed in a row, including this one; 1 without a peer manager.
        failures: u32,
        /// When the address is dialled again; never without a peer manager.
        next: NextDial,
    },
    /// A peer disconnected, or an inbound connection ended before its handshake was complete.
    ConnectionLost {
        /// The peer.
        peer: PeerId,
        /// The address of the connection.
        address: SocketAddr,
        /// The side that opened it.
        connection_type: ConnectionType,
        /// How far the connection had come.
        state: ConnectionState,
        /// The reason.
        reason: CloseReason,
    },
    /// A peer that the network lost is dialled again at once.
    ConnectionRestarting {
        /// Its address.
        address: SocketAddr,
        /// Restarts within the window, including this one.
        restarts: u32,
    },
    /// A connection arrived and was closed at once.
    InboundRejected {
        /// The address that it came from.
        address: SocketAddr,
        /// The reason.
        refusal: Refusal,
    },
    /// A peer connected when all slots were taken, and was closed with a `reject`. It was never counted.
    RejectedOverCapacity {
        /// The peer.
        peer: PeerId,
        /// The address that it came from.
        address: SocketAddr,
    },
    /// A peer violated the protocol.
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
    /// A host is banned, durably if there is a book on disk.
    PeerBanned {
        /// The host.
        host: Host,
        /// The reason.
        reason: BanReason,
        /// The ban's end; `None` for a ban for ever.
        until: Option<UnixTime>,
        /// Connections of the host that are closed.
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
        /// The address that it came from.
        address: SocketAddr,
    },
    /// Peers are wanted, and none is dialled. Each cause is reported once until the wanted peers are connected or the
    /// configuration changes. A pause that ends by itself, such as a backoff, is no cause.
    DialsHeldBack {
        /// The cause.
        cause: DialHold,
    },
    /// Connections are accepted at an address.
    ListenerBound {
        /// The address, with the port that the system chose if 0 was asked for.
        address: SocketAddr,
    },
    /// A configured address cannot be listened at.
    ListenerBindFailed {
        /// The address.
        address: SocketAddr,
        /// The reason.
        failure: NetworkFailure,
        /// The pause until the next attempt.
        retry_in: Duration,
    },
    /// The system refuses a socket option. Sockets are used without it; each option is reported once.
    SocketOptionRefused {
        /// The option and its error.
        refused: RefusedOption,
    },
    /// A name was resolved to addresses of peers.
    SeedResolved {
        /// The name.
        name: Arc<str>,
        /// Its addresses, without those that cannot be dialled.
        found: usize,
        /// Addresses that were not in the address book.
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
    /// The address book is written again, with all pending changes.
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
    /// Rarely, for it failed too often or is not for us: within minutes if nobody else is left to dial, else after an
    /// hour or more.
    Inaccessible,
    /// Not by itself: the next address of its name is dialled instead, or the name is resolved again.
    NextAddress,
    /// At no moment that is planned: never, if it was dialled on command, else when nothing stands in its way any more,
    /// as a ban of its host or another connection to it.
    Never,
}

impl ControlEvent {
    /// Returns the event's name from a closed list, for counters and logs.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::ConnectionEstablished { .. } => "connection_established",
            Self::HandshakeComplete { .. } => "handshake_complete",
            Self::ConnectionFailed { .. } => "connection_failed",
            // Its handshake was not complete, so it did not count as a peer.
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
                write!(f, "connected with {address} ({connection_type})")
            }
            Self::HandshakeComplete { address, handshake, .. } => {
                write!(f, "the handshake with {address} took {} us", handshake.as_micros())
            }
            Self::ConnectionFailed { address, reason, failures, next, .. } => {
                write!(f, "the connection to {address} failed, {failures} in a row: {reason}; {next}")
            }
            Self::ConnectionLost { address, state: ConnectionState::Connected, reason, .. } => {
                write!(f, "the connection to {address} ended: {reason}")
            }
            Self::ConnectionLost { address, reason, .. } => {
                write!(f, "the connection to {address} ended before the peer was ready: {reason}")
            }
            Self::ConnectionRestarting { address, restarts } => {
                write!(f, "{address} is dialled again at once, restart {restarts}")
            }
            Self::InboundRejected { address, refusal } => write!(f, "turned {address} away: {refusal}"),
            Self::RejectedOverCapacity { address, .. } => {
                write!(f, "rejected {address}: the maximum of peers is reached")
            }
            Self::PeerMisbehaved { address, misbehavior, points, score, .. } => {
                let (points, verb) = (Counted(*points, "point"), if *points == 1 { "makes" } else { "make" });
                write!(f, "{address} misbehaved: {misbehavior}; {points} {verb} {score}")
            }
            Self::PeerBanned { host, reason, until, peers_closed } => {
                write!(f, "banned {host}: {reason}; ")?;
                match until {
                    Some(until) => write!(f, "until {until}")?,
                    None => f.write_str("for ever")?,
                }
                write!(f, "; closes {peers_closed} of its connections")
            }
            Self::PeerUnbanned { host } => write!(f, "{host} is not banned any more"),
            Self::PeerEvicted { address, .. } => write!(f, "closed {address} to make room"),
            Self::DialsHeldBack { cause } => write!(f, "peers are wanted but not dialled: {cause}"),
            Self::ListenerBound { address } => write!(f, "listening at {address}"),
            Self::ListenerBindFailed { address, failure, retry_in } => {
                write!(f, "cannot listen at {address}: {failure}; trying again in {} s", retry_in.as_secs())
            }
            Self::SocketOptionRefused { refused } => refused.fmt(f),
            Self::SeedResolved { name, found, new } => {
                write!(f, "{name} has {}, {new} of them new", Counted(*found, "address"))
            }
            Self::SeedFailed { name, cause } => write!(f, "{name} was not resolved: {cause}"),
            Self::BookFailing { error } => write!(f, "the book of peers is not written: {error}"),
            Self::BookRecovered => f.write_str("the book of peers is written again"),
            Self::ConfigUpdated { fields } => write!(f, "the configuration has changed: {}", Field::names(fields)),
        }
    }
}

impl fmt::Display for NextDial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart => f.write_str("dialled again at once"),
            // A moment of the loop's clock tells a person nothing.
            Self::At(_) => f.write_str("dialled again after a pause"),
            Self::Inaccessible => f.write_str("counts as inaccessible"),
            Self::NextAddress => f.write_str("the next address of its name is tried"),
            Self::Never => f.write_str("no other dial is planned"),
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

    /// One event of each kind.
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
    fn req_e34_each_kind_has_a_label_of_its_own_that_counters_can_use() {
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
    fn times_are_whole_units_and_not_moments_of_the_loop_clock() {
        let mut events = one_of_each();
        let ControlEvent::HandshakeComplete { handshake, .. } = &mut events[1] else { panic!("{}", events[1]) };
        *handshake = Duration::from_nanos(193_440);
        assert_eq!(events[1].to_string(), "the handshake with 192.0.2.1:8333 took 193 us");
        assert!(events[12].to_string().ends_with("; trying again in 1 s"), "{}", events[12]);
        let ban = events.iter_mut().find_map(|event| match event {
            ControlEvent::PeerBanned { until, .. } => {
                *until = Some(UnixTime::from_secs(1_796_005_391));
                Some(event.to_string())
            }
            _ => None,
        });
        assert!(ban.expect("there is one").contains("; until 2026-11-30T02:23:11Z; closes "));
        let misbehaved = events[7].to_string();
        assert!(misbehaved.ends_with("; 1 point makes 2"), "{misbehaved}");
        let ControlEvent::ConnectionLost { state, .. } = &mut events[3] else { panic!("{}", events[3]) };
        *state = ConnectionState::AwaitingHandshake;
        assert_eq!(events[3].label(), "connection_failed", "it was no peer yet");
        assert!(
            events[3].to_string().starts_with("the connection to 192.0.2.1:8333 ended before the peer was ready: ")
        );
        let next = NextDial::At(Instant::from_nanos(5_752_062_110));
        assert_eq!(next.to_string(), "dialled again after a pause");
    }

    #[test]
    fn an_event_that_waits_in_a_queue_is_small() {
        assert!(size_of::<ControlEvent>() <= 128, "{}", size_of::<ControlEvent>());
    }
}
