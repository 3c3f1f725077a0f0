//! Events of one peer, for its handler.

use crate::error::CloseReason;
use crate::peer::ConnectionState;
use crate::time::Instant;
use crate::wire::{Header, RejectRef};
use std::time::Duration;

/// Something that happened to a peer.
///
/// For each peer there is exactly one [`Event::Opened`] or, if the connection cannot be had, none, then at most one
/// [`Event::Ready`], and exactly one [`Event::Closed`], which is the last.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The TCP connection is established.
    Opened {
        /// How long it took, for a connection that was dialled.
        connect: Option<Duration>,
    },
    /// The peer's `version` has arrived and is acceptable; see
    /// [`PeerView::version`](crate::handler::PeerView::version).
    VersionReceived,
    /// The handshake is complete; messages may be sent from here on.
    Ready {
        /// How long the handshake took, from the established connection.
        handshake: Duration,
    },
    /// The peer answered a ping.
    Pong {
        /// The nonce of the ping, as [`Ctx::ping`](crate::handler::Ctx::ping) returned it.
        nonce: u64,
        /// When the ping was due by its sender's schedule; as `sent` for a keepalive of the loop, which nobody planned.
        planned: Instant,
        /// When it was given to the kernel.
        sent: Instant,
        /// When the answer was read.
        received: Instant,
    },
    /// The peer's `protoconf` says how large a message it accepts.
    LimitsAnnounced {
        /// Bytes of payload.
        max_recv_payload_bytes: u32,
        /// The names of the stream policies that it knows, with commas between them.
        stream_policies: Option<&'a [u8]>,
    },
    /// The peer wants new blocks announced by `headers`.
    SendHeaders,
    /// The peer refuses something; it often closes the connection next.
    Rejected(RejectRef<'a>),
    /// A message that was being streamed will not be completed, because the connection ends; `Closed` follows.
    BodyCut {
        /// The header of the message.
        header: Header,
        /// How much of its payload was delivered.
        received: u64,
        /// Why the connection ends.
        reason: CloseReason,
    },
    /// The peer is gone, and its id is not valid after this event.
    Closed {
        /// Why.
        reason: CloseReason,
        /// How far the connection had come.
        state: ConnectionState,
    },
}
