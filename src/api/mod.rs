//! The types that the loop shares with its users: events, messages, requests and replies.
//!
//! Handlers and other threads use them. To act on a peer, a handler calls the methods of [`Ctx`](crate::Ctx).

mod control;
mod event;
mod frame;
mod info;
mod message;
mod pending;
mod request;

pub use control::{ControlEvent, NextDial};
pub use event::Event;
pub use frame::{Chunk, Frame};
pub use info::PeerInfo;
pub use message::{CommandFilter, MessageEvent};
pub use pending::{Pending, Reply};
pub use request::{Direction, Latency, Request};

#[cfg(test)]
pub(crate) use control::tests::one_of_each;

pub use crate::link::framer::{ChecksumVerdict, Delivery};
pub use crate::stats::{PeerCost, Stats};
