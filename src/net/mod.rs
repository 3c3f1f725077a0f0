//! The seam to the kernel: every system call, both clocks, and nothing else.
//!
//! [`Net`] is what the [`Reactor`](crate::Reactor) runs on. [`MioNet`](crate::net::mio::MioNet) implements it with
//! real sockets and `SimNet` (feature `sim`) with a virtual kernel; the loop above cannot tell them apart.
//! Sockets live inside the implementation under the slot of their link, so nothing above this trait carries its type.
//! An implementation never interprets bytes, keeps no policy and never blocks outside [`Net::wait`]. Work that takes
//! its time in any kernel, as looking up a name or writing to a disk, belongs to [`Offload`](crate::offload::Offload).

pub mod mio;

use crate::error::RefusedOption;
use crate::id::LinkId;
use crate::time::{Instant, UnixTime, Wait};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What the kernel says about one token. Everything is a hint: the next read or write decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The token, as [`Token::to_u64`](crate::id::Token::to_u64) made it; it may be stale.
    pub token: u64,
    /// Data, the end of it, a new connection or an error can be had.
    pub readable: bool,
    /// There is room to send, or a connect has been decided.
    pub writable: bool,
    /// The peer has closed its side, or the socket has an error: a short read is not the end of the data.
    pub hung_up: bool,
}

/// Both ends of an established connection, as the kernel has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// This side's address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
}

impl Endpoints {
    /// Tells whether the socket is connected to itself. TCP allows that: a dial to a port of this machine at which
    /// nobody listens gets there if the kernel picks that very port as the source.
    pub fn are_one(&self) -> bool {
        self.local.ip() == self.remote.ip() && self.local.port() == self.remote.port()
    }
}

/// A system-call layer with clocks.
///
/// All calls but [`Net::wait`] return at once; `WouldBlock` means "not now", and the next [`Readiness`] tells when.
/// `Interrupted` is retried by the implementation and never seen above it.
pub trait Net {
    /// An accepted connection that has no row yet.
    type Socket;

    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// The wall clock.
    fn unix_time(&self) -> UnixTime;

    /// Sleeps until there is readiness or the wait is over, whichever is sooner, and replaces the contents of `ready`
    /// by at most [`EVENTS_PER_TURN`](crate::limits::EVENTS_PER_TURN) entries; fewer mean that there are no more.
    /// It may return early with none.
    ///
    /// # Errors
    ///
    /// When the poller itself fails, which ends the loop.
    fn wait(&mut self, wait: Wait, ready: &mut Vec<Readiness>) -> io::Result<()>;

    /// Something that ends a [`Net::wait`] from another thread.
    fn waker(&self) -> Arc<dyn Wake>;

    /// Opens a listener and returns the address it got; its readiness carries `Token::Listener(index)`.
    ///
    /// # Errors
    ///
    /// As the kernel says; nothing stays open then.
    fn listen(&mut self, index: u32, address: SocketAddr) -> io::Result<SocketAddr>;

    /// Takes the next waiting connection.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when none waits; any other error is for the caller to judge by its kind.
    fn accept(&mut self, index: u32) -> io::Result<(Self::Socket, SocketAddr)>;

    /// Closes a listener; connections that were accepted stay.
    fn close_listener(&mut self, index: u32);

    /// Puts an accepted connection under `link` and registers it for both kinds of readiness.
    ///
    /// # Errors
    ///
    /// When the registration fails; the socket is closed then.
    fn attach(&mut self, link: LinkId, socket: Self::Socket) -> io::Result<()>;

    /// Opens a connection under `link`; it is decided when the link becomes writable.
    ///
    /// # Errors
    ///
    /// When it fails at once; nothing stays open then.
    fn connect(&mut self, link: LinkId, address: SocketAddr, source: Option<IpAddr>) -> io::Result<()>;

    /// Returns both ends of the connect that was begun once it has succeeded; `None` means not yet.
    ///
    /// # Errors
    ///
    /// What the connect failed with.
    fn connected(&mut self, link: LinkId) -> io::Result<Option<Endpoints>>;

    /// Receives into `block`; 0 is the end of the peer's data.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, or what ended the connection.
    fn read(&mut self, link: LinkId, block: &mut [u8]) -> io::Result<usize>;

    /// Sends from `bytes`. Never raises SIGPIPE.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, or what ended the connection.
    fn write(&mut self, link: LinkId, bytes: &[u8]) -> io::Result<usize>;

    /// Sends from several slices with one call. Never raises SIGPIPE.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, or what ended the connection.
    fn write_gathered(&mut self, link: LinkId, slices: &[io::IoSlice<'_>]) -> io::Result<usize>;

    /// Tells the peer that nothing more will come; a failure shows at the next read.
    fn shut_down_writing(&mut self, link: LinkId);

    /// Deregisters and closes the link's socket, if it has one.
    fn close(&mut self, link: LinkId);

    /// Returns a socket option that the system refused for the first time, if there is one. Sockets are used without
    /// it. A refusal ends a [`Net::wait`], as a [`Wake`] does.
    fn take_refused_option(&mut self) -> Option<RefusedOption>;
}

/// Ends a [`Net::wait`]. Cheap, callable from any thread, and never blocks.
pub trait Wake: Send + Sync {
    /// Lets the current or the next wait return at once.
    fn wake(&self);
}
