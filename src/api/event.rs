//! The events of a peer that the handler receives.

use crate::error::CloseReason;
use crate::peer::{ConnectionState, StreamPolicy};
use crate::time::Instant;
use crate::wire::{Header, RejectRef, StreamType};
use std::time::Duration;

/// An event of one peer.
///
/// Each peer has one [`Event::Opened`] (none if the connection is never established), at most one [`Event::Ready`],
/// and exactly one [`Event::Closed`], which is its last event.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The TCP connection is established.
    Opened {
        /// The duration of the dial; `None` if the loop did not dial the connection.
        connect: Option<Duration>,
    },
    /// The peer's `version` has arrived and is acceptable; see
    /// [`PeerView::version`](crate::handler::PeerView::version).
    VersionReceived,
    /// The handshake is complete; messages may be sent from now on.
    Ready {
        /// The time from the establishment of the connection to the end of the handshake.
        handshake: Duration,
    },
    /// The peer replied to a ping.
    Pong {
        /// The nonce of the ping, as [`Ctx::ping`](crate::handler::Ctx::ping) returned it.
        nonce: u64,
        /// The moment at which the ping was due. For a keepalive of the loop it equals `sent`.
        planned: Instant,
        /// The moment just before the write of the ping's last byte.
        sent: Instant,
        /// The moment at which the pong was read.
        received: Instant,
    },
    /// The kernel has accepted a marked byte: the last one of a message sent with
    /// [`Ctx::send_marked`](crate::Ctx::send_marked), or one that
    /// [`Ctx::begin_body_marked`](crate::Ctx::begin_body_marked) marks. If handlers share the loop as a pair, only the
    /// handler that marked the message receives this event.
    Written {
        /// The mark of the byte.
        mark: u64,
        /// The moment just before the write of the byte.
        at: Instant,
    },
    /// The peer's `protoconf` has arrived. It announces the largest payload that the peer accepts.
    LimitsAnnounced {
        /// The maximum length of a payload, in bytes.
        max_recv_payload_bytes: u32,
        /// The names of the peer's stream policies, separated by commas; `None` if the message has no such field.
        stream_policies: Option<&'a [u8]>,
    },
    /// A further TCP stream of the peer is open; see [`Config::multistreams`](crate::Config::multistreams). The event
    /// may precede `Ready`.
    StreamOpened {
        /// The stream.
        stream_type: StreamType,
        /// The policy that now assigns outgoing messages to the peer's streams.
        policy: StreamPolicy,
    },
    /// The peer wants new blocks announced by `headers`.
    SendHeaders,
    /// The peer's `reject` has arrived. The peer often closes the connection next.
    Rejected(RejectRef<'a>),
    /// A message that is being delivered in chunks stays incomplete, because the connection closes. `Closed` follows.
    BodyCut {
        /// The header of the message.
        header: Header,
        /// The stream on which it arrived.
        stream_type: StreamType,
        /// The number of payload bytes that were delivered.
        received: u64,
        /// The reason for the close.
        reason: CloseReason,
    },
    /// The connection is closed or could not be established. The peer's id is invalid after this event.
    Closed {
        /// The reason.
        reason: CloseReason,
        /// The state of the connection just before it closed.
        state: ConnectionState,
    },
}
