//! The seam to the kernel: every system call, both clocks, and nothing else.
//!
//! [`Net`] is what the [`Reactor`](crate::Reactor) runs on. [`MioNet`](crate::net::mio::MioNet) implements it with
//! real sockets and `SimNet` (feature `sim`) with a virtual kernel; the loop above cannot tell them apart.
//! Sockets live inside the implementation under the slot of their link, so nothing above this trait carries its type.
//! What takes its time in any kernel, as looking up a name or writing to a disk, is begun here and answered later, by
//! [`Net::take_answer`]. An implementation never interprets bytes, keeps no policy and never blocks outside
//! [`Net::wait`].

pub mod mio;
pub(crate) mod resolver;
pub mod store_writer;

use crate::error::{RefusedOption, ResolveFailure};
use crate::id::LinkId;
use crate::manager::store::{Batch, Persisted};
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

/// What came of something that was begun before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A name was looked up, or could not be.
    Resolved {
        /// The number that was given to [`Net::resolve`].
        query: u32,
        /// At least one and at most [`RESOLVED_ADDRESSES_MAX`](crate::limits::RESOLVED_ADDRESSES_MAX) addresses, in the
        /// order of the resolver. They are what somebody claims: any of them may be absurd, or come twice.
        outcome: Result<Vec<SocketAddr>, ResolveFailure>,
    },
    /// The book is durable up to a batch, or cannot be written.
    Persisted(Persisted),
    /// A socket option was refused for the first time. Sockets are used without it.
    OptionRefused(RefusedOption),
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

    /// Begins to look up the addresses of `name`, which may have a port behind a colon; those of a name without one
    /// get `port`. The answer carries `query`, in its own time or never: whoever asked has to know how long to wait.
    ///
    /// # Errors
    ///
    /// When [`RESOLVES_MAX`](crate::limits::RESOLVES_MAX) names wait for theirs to be taken, or there is nobody to ask;
    /// no answer comes then.
    fn resolve(&mut self, query: u32, name: &str, port: u16) -> Result<(), ResolveFailure>;

    /// Begins to make a batch of changes of the book durable. The answers come in the order of the batches, and one may
    /// be about several; a network without a store has nothing to keep and answers at once.
    ///
    /// # Errors
    ///
    /// The batch, when [`BOOK_QUEUE_MAX`](crate::limits::BOOK_QUEUE_MAX) are not durable yet or nobody writes any more.
    fn persist(&mut self, batch: Batch) -> Result<(), Batch>;

    /// The next answer that has come, each of which ends a [`Net::wait`] as a [`Wake`] does.
    fn take_answer(&mut self) -> Option<Answer>;
}

/// Ends a [`Net::wait`]. Cheap, callable from any thread, and never blocks.
pub trait Wake: Send + Sync {
    /// Lets the current or the next wait return at once.
    fn wake(&self);
}
