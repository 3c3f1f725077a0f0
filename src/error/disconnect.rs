//! The reasons that an embedder can give for closing a peer.
//!
//! They are plain values. [`CloseReason::consequences`](super::CloseReason) maps each reason to the dialler's treatment
//! of the address.

use super::label::Label;
use std::fmt;

/// The reason that an embedder gives for closing a peer, for [`Ctx::close`](crate::Ctx::close) and
/// [`Ctx::abort`](crate::Ctx::abort).
///
/// The reason determines whether and when a [peer manager](crate::config::ManagerConfig) that dialled the
/// address dials it again. No variant bans a host or adds to a peer's score. For an accepted peer, or without a
/// manager, all variants have the same effect. [`Event::Closed`](crate::Event::Closed) reports the reason as
/// [`CloseReason::Requested`](super::CloseReason::Requested).
///
/// ```
/// use peerloop::{Ctx, Disconnect, Event, Handler, PeerId};
///
/// struct Picky;
///
/// impl Handler for Picky {
///     type Request = ();
///
///     fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
///         if let Event::Ready { .. } = event {
///             let height = ctx.peer(peer).and_then(|view| view.version()?.start_height);
///             if height < Some(800_000) {
///                 ctx.close(peer, Disconnect::RetryLater);
///             }
///         }
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disconnect {
    /// The peer is no longer needed. Unless a dial is requested, its address is not dialled again before the longest
    /// pause, [`max_backoff`](crate::config::ManagerConfig::max_backoff) plus jitter, is over. An address in a fixed
    /// list is dialled again only on request.
    Done,
    /// The peer may be useful later. Its address is dialled again as after a missed deadline: after a pause that
    /// grows with each consecutive failure. After [`max_retries`](crate::config::ManagerConfig::max_retries)
    /// failures, an address in the book is marked inaccessible.
    RetryLater,
    /// The peer is useless. Its address is marked inaccessible in the book and dialled rarely, usually after all
    /// others. An address in a fixed list waits for the longest pause.
    Unsuitable,
    /// The peer reads more slowly than it is sent to, and has missed a part. Its address is treated as after
    /// [`Disconnect::RetryLater`].
    TooSlow {
        /// The number of bytes by which it was behind.
        behind_bytes: u64,
    },
}

impl Disconnect {
    /// One reason of each kind.
    pub const ALL: [Self; 4] = [Self::Done, Self::RetryLater, Self::Unsuitable, Self::TooSlow { behind_bytes: 1 }];

    pub(super) const fn label(self) -> Label {
        match self {
            Self::Done => Label::Requested,
            Self::RetryLater => Label::RetryLater,
            Self::Unsuitable => Label::Unsuitable,
            Self::TooSlow { .. } => Label::TooSlow,
        }
    }
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("as requested"),
            Self::RetryLater => f.write_str("to be tried again later"),
            Self::Unsuitable => f.write_str("the peer is unsuitable"),
            Self::TooSlow { behind_bytes } => {
                write!(f, "the peer reads too slowly, and is {behind_bytes} bytes behind")
            }
        }
    }
}
