//! Subscriptions and replies: checked against models, and with real threads and tasks on both ends.

#![allow(clippy::disallowed_methods, reason = "the tests run subscribers on threads")]

mod model;
mod replies;
mod threads;

use peerloop::internals::subscribe::Queued;

/// An item that reports a given number of held bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Weight {
    index: u64,
    bytes: usize,
}

impl Queued for Weight {
    fn held_bytes(&self) -> usize {
        self.bytes
    }
}

fn light(index: u64) -> Weight {
    Weight { index, bytes: 0 }
}
