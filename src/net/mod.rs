//! The interface to the kernel: all socket calls and both clocks.
//!
//! The [`Reactor`](crate::Reactor) runs on a [`Net`]. [`MioNet`](crate::net::mio::MioNet) implements it with real
//! sockets and `SimNet` (feature `sim`) with a virtual kernel; the loop above cannot distinguish them. Sockets are
//! stored inside the implementation under their link's slot, so the code above this trait does not depend on their
//! type. An implementation never interprets bytes, has no policy and never blocks outside [`Net::wait`]. Slow work,
//! such as looking up a name or writing to a disk, belongs to [`Offload`](crate::offload::Offload).

pub mod mio;

use crate::clock::Clock;
use crate::error::RefusedOption;
use crate::id::LinkId;
use crate::time::{Instant, UnixTime, Wait};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// The kernel's report about one token. Each flag is a hint: the next call may still fail with `WouldBlock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The token, as encoded by [`Token::to_u64`](crate::id::Token::to_u64). It may be stale.
    pub token: u64,
    /// A read or an accept would return data, the end of the data, a connection or an error.
    pub readable: bool,
    /// A write would find room, or a connect has succeeded or failed.
    pub writable: bool,
    /// The peer has closed its side, or the socket has an error. After a short read, another read returns the end of
    /// the data or the error.
    pub hung_up: bool,
}

/// Both addresses of an established connection, as the kernel reports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// This side's address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
}

impl Endpoints {
    /// Returns whether the socket is connected to itself. TCP allows that: a dial to a local port without a listener
    /// succeeds if the kernel chooses the same port as the source.
    pub fn are_one(&self) -> bool {
        self.local.ip() == self.remote.ip() && self.local.port() == self.remote.port()
    }
}

/// A system-call layer with clocks. Only `internals` exposes this trait, so only this project implements it.
///
/// All calls except [`Net::wait`] return at once. After `WouldBlock` the caller retries on the next [`Readiness`].
/// The implementation itself retries `Interrupted`.
pub trait Net {
    /// An accepted or added connection that has no row yet.
    type Socket;

    /// Reads the monotonic clock.
    fn now(&self) -> Instant;

    /// Returns the clock that [`Net::now`] reads, for handlers.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Reads the wall clock.
    fn unix_time(&self) -> UnixTime;

    /// Sleeps until an event arrives or the wait expires, and replaces the contents of `ready` with at most
    /// [`EVENTS_PER_TURN`](crate::limits::EVENTS_PER_TURN) entries. Fewer entries mean that no earlier event is
    /// pending. The call may return early without an entry.
    ///
    /// # Errors
    ///
    /// If the poller itself fails. The loop then ends.
    fn wait(&mut self, wait: Wait, ready: &mut Vec<Readiness>) -> io::Result<()>;

    /// Returns a handle that ends a [`Net::wait`] from another thread.
    fn waker(&self) -> Arc<dyn Wake>;

    /// Opens a listener and returns its address; its readiness carries `Token::Listener(index)`.
    ///
    /// # Errors
    ///
    /// The kernel's error. Nothing stays open then.
    fn listen(&mut self, index: u32, address: SocketAddr) -> io::Result<SocketAddr>;

    /// Adds a listener that an embedder opened, makes it non-blocking, and returns its address. Its readiness is
    /// reported as for [`Net::listen`].
    ///
    /// # Errors
    ///
    /// The kernel's error, or `Unsupported` from a network without real sockets. The listener is then closed.
    fn add_listener(&mut self, index: u32, listener: TcpListener) -> io::Result<SocketAddr>;

    /// Adds a connection that an embedder opened, makes it non-blocking, and returns it with both addresses.
    ///
    /// # Errors
    ///
    /// The same as for [`Net::add_listener`], or an error if the connection is not established.
    fn add_connection(&mut self, connection: TcpStream) -> io::Result<(Self::Socket, Endpoints)>;

    /// Lets each listener that [`Net::listen`] opens from now on share its address with other loops that do the same.
    fn share_ports(&mut self);

    /// Accepts the next connection.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if no connection waits. The kind of any other error shows the caller whether to accept again at
    /// once or to pause.
    fn accept(&mut self, index: u32) -> io::Result<(Self::Socket, SocketAddr)>;

    /// Closes a listener. Its accepted connections stay open.
    fn close_listener(&mut self, index: u32);

    /// Stores an accepted or added connection under `link` and registers it for both kinds of readiness.
    ///
    /// # Errors
    ///
    /// If the registration fails. The socket is then closed.
    fn attach(&mut self, link: LinkId, socket: Self::Socket) -> io::Result<()>;

    /// Starts to connect to `address`, from `source` if it is given, and stores the socket under `link`. The link
    /// becomes writable when the connect has succeeded or failed.
    ///
    /// # Errors
    ///
    /// If the bind, the connect or the registration fails at once. Nothing stays open then.
    fn connect(&mut self, link: LinkId, address: SocketAddr, source: Option<IpAddr>) -> io::Result<()>;

    /// Returns both addresses once the link's connect has succeeded; `None` while it is in progress.
    ///
    /// # Errors
    ///
    /// The connect's error.
    fn connected(&mut self, link: LinkId) -> io::Result<Option<Endpoints>>;

    /// Receives into `block` and returns the number of bytes; 0 means the end of the peer's data.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, or the kernel's error.
    fn read(&mut self, link: LinkId, block: &mut [u8]) -> io::Result<usize>;

    /// Sends from `bytes`. Never raises SIGPIPE.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, or the kernel's error.
    fn write(&mut self, link: LinkId, bytes: &[u8]) -> io::Result<usize>;

    /// Sends from several slices with one call. Never raises SIGPIPE.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, or the kernel's error.
    fn write_gathered(&mut self, link: LinkId, slices: &[io::IoSlice<'_>]) -> io::Result<usize>;

    /// Shuts down the sending side. If that fails, the connection is lost, and the next read reports the loss.
    fn shut_down_writing(&mut self, link: LinkId);

    /// Deregisters and closes the link's socket, if it has one.
    fn close(&mut self, link: LinkId);

    /// Returns a socket option that the system refused for the first time, if there is one. Sockets are used without
    /// the option. A refusal ends a [`Net::wait`], as a [`Wake`] does.
    fn take_refused_option(&mut self) -> Option<RefusedOption>;
}

/// Ends a [`Net::wait`] from any thread. Cheap; never blocks.
pub trait Wake: Send + Sync {
    /// Makes the current or the next wait return at once.
    fn wake(&self);
}
