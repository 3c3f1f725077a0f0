//! The poller's descriptor, for nesting the loop in another event loop.
//!
//! The descriptor is readable when the kernel or a handle has work for the loop. It exists only on Unix. The outer
//! loop may wait for the descriptor, but must not read or close it.

use super::Reactor;
use crate::handler::Handler;
use crate::net::Net;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

impl<N: Net + AsFd, H: Handler> AsFd for Reactor<N, H> {
    /// Returns the poller's descriptor. Wait until it is readable or [`Reactor::next_deadline`] has passed, and then
    /// call [`Reactor::poll_once`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.net.as_fd()
    }
}

impl<N: Net + AsRawFd, H: Handler> AsRawFd for Reactor<N, H> {
    /// Returns the same descriptor as [`AsFd`], for event loops that need a raw descriptor.
    fn as_raw_fd(&self) -> RawFd {
        self.net.as_raw_fd()
    }
}
