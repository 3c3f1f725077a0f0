//! The real kernel, through mio. This is the only file that uses mio or reads the system's clocks.
//!
//! Each connection's socket is registered once, edge-triggered, for both kinds of readiness, and is closed with its
//! link. The listeners opened here have a deep backlog. Accepted sockets inherit their listener's options, which
//! saves system calls.
//! This module never interprets bytes and has no policy; it retries only interrupted calls.

use super::{Endpoints, Net, Readiness, Wake};
use crate::clock::Clock;
use crate::errno::EINPROGRESS;
use crate::error::{RefusedOption, ResolveFailure, SocketOption};
use crate::id::{LinkId, Token};
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::limits::TCP_USER_TIMEOUT;
use crate::limits::{EVENTS_PER_TURN, LISTEN_BACKLOG};
use crate::manager::store::{Batch, PeerStore, StoreError};
use crate::offload::{Completion, Offload, Threads};
use crate::time::{Instant, UnixTime, Wait};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Waker};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

const _: () = assert!(usize::BITS >= 64, "a poll token has fewer than 64 bits");

/// Makes the kernel return an error for a broken pipe instead of raising a signal. On Apple's systems, sockets are
/// created with that behavior (`SO_NOSIGPIPE`), and accepted sockets inherit it.
const MSG_NOSIGNAL: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    0x4000
} else if cfg!(target_os = "freebsd") {
    0x2_0000
} else if cfg!(any(target_os = "dragonfly", target_os = "netbsd", target_os = "openbsd")) {
    0x400
} else if cfg!(any(target_os = "illumos", target_os = "solaris")) {
    0x200
} else {
    0
};

/// Options of a dialled or added connection, and of an added listener.
const OF_CONNECTIONS: [SocketOption; 2] = [SocketOption::NoDelay, SocketOption::UserTimeout];
/// Options of a listener on an IPv4 address; accepted connections inherit the first two.
const OF_LISTENERS: [SocketOption; 3] = [SocketOption::NoDelay, SocketOption::UserTimeout, SocketOption::ReuseAddress];
/// Options of a listener on an IPv6 address.
const OF_V6_LISTENERS: [SocketOption; 4] =
    [SocketOption::OnlyV6, SocketOption::NoDelay, SocketOption::UserTimeout, SocketOption::ReuseAddress];

/// The longest sleep until a deadline. It is far too short to overflow the kernel's arithmetic.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// The real kernel.
#[derive(Debug)]
pub struct MioNet {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    listeners: BTreeMap<u32, TcpListener>,
    sockets: Vec<Option<TcpStream>>,
    threads: Threads,
    /// Whether listeners share their ports with other loops.
    shares_ports: bool,
    refused: Vec<SocketOption>,
    /// Refusals that the loop has not read yet.
    untaken: VecDeque<RefusedOption>,
    clock: Arc<SystemClock>,
}

/// The operating system's monotonic clock, counted from the poller's creation.
#[derive(Debug)]
struct SystemClock {
    origin: std::time::Instant,
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl MioNet {
    /// Creates a poller without sockets, whose clock starts now.
    ///
    /// # Errors
    ///
    /// If the kernel cannot create the poller or its waker.
    #[expect(clippy::disallowed_methods, reason = "this is the clock's only source")]
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), token(Token::Waker))?);
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            threads: Threads::new(Arc::clone(&waker) as Arc<dyn Wake>),
            waker,
            listeners: BTreeMap::new(),
            sockets: Vec::new(),
            shares_ports: false,
            refused: Vec::new(),
            untaken: VecDeque::new(),
            clock: Arc::new(SystemClock { origin: std::time::Instant::now() }),
        })
    }

    /// Looks up names with `look_up`, which receives a host and a port, instead of the operating system's resolver.
    /// Each call runs on a thread of its own and may block.
    ///
    /// ```
    /// use peerloop::load::Responder;
    /// use peerloop::{Config, MioNet, Network, Reactor};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let net = MioNet::new()?.with_resolver(|_host, port| Ok(vec![([192, 0, 2, 1], port).into()]));
    /// let reactor = Reactor::with_net(Config::managed(Network::Mainnet), net, Responder::default())?;
    /// # drop(reactor);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_resolver(
        mut self,
        look_up: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        self.threads.set_resolver(look_up);
        self
    }

    /// Keeps the address book in `store`, which is written by a separate thread. Dropping the network waits until
    /// everything is written, a last attempt has failed, or the disk has not responded for
    /// [`MAX_BOOK_END`](crate::limits::MAX_BOOK_END).
    ///
    /// # Errors
    ///
    /// If the system cannot start a thread.
    pub fn with_store(mut self, store: impl PeerStore + Send + 'static) -> io::Result<Self> {
        self.threads.set_store(store)?;
        Ok(self)
    }

    /// Waits for the remaining batches and closes the store, as dropping the network does. Returns the id of the last
    /// batch that was not known to be durable before this call, if any.
    pub(crate) fn finish_book(&mut self) -> Result<Option<u64>, StoreError> {
        self.threads.finish_book()
    }

    /// Opens a socket for `address` with those of `options` that the system accepts.
    fn open(&mut self, address: SocketAddr, options: &[SocketOption]) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        self.set_options(&socket, options);
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    /// Sets those of `options` that the system accepts. A refused option is reported once.
    fn set_options(&mut self, socket: &Socket, options: &[SocketOption]) {
        for &option in options {
            if let Err(error) = set(socket, option)
                && !self.refused.contains(&option)
            {
                self.refused.push(option);
                self.untaken.push_back(RefusedOption::new(option, &error));
                Wake::wake(&*self.waker);
            }
        }
    }

    /// Registers a listener and returns its address.
    fn put_listener(&mut self, index: u32, mut listener: TcpListener) -> io::Result<SocketAddr> {
        let address = listener.local_addr()?;
        self.poll.registry().register(&mut listener, token(Token::Listener(index)), Interest::READABLE)?;
        self.listeners.insert(index, listener);
        Ok(address)
    }

    fn socket(&mut self, link: LinkId) -> io::Result<&mut TcpStream> {
        let socket = self.sockets.get_mut(link.slot()).and_then(Option::as_mut);
        socket.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn put(&mut self, link: LinkId, mut socket: TcpStream) -> io::Result<()> {
        self.poll.registry().register(&mut socket, token(Token::Link(link)), both())?;
        if self.sockets.len() <= link.slot() {
            self.sockets.resize_with(link.slot() + 1, || None);
        }
        self.sockets[link.slot()] = Some(socket);
        Ok(())
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for MioNet {
    /// Returns the poller's descriptor, which is readable when a wait would return events.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for MioNet {
    /// Returns the poller's descriptor, which is readable when a wait would return events.
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.poll.as_raw_fd()
    }
}

impl Wake for Waker {
    fn wake(&self) {
        // Waking fails only after the poller has been dropped, and then nothing waits.
        let _ = Self::wake(self);
    }
}

impl Net for MioNet {
    type Socket = TcpStream;

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as Arc<dyn Clock>
    }

    #[expect(clippy::disallowed_methods, reason = "this is the wall clock's only source")]
    fn unix_time(&self) -> UnixTime {
        let secs = |of: Duration| i64::try_from(of.as_secs()).unwrap_or(i64::MAX);
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => UnixTime::from_secs(secs(after)),
            Err(before) => UnixTime::from_secs(-secs(before.duration())),
        }
    }

    fn wait(&mut self, wait: Wait, ready: &mut Vec<Readiness>) -> io::Result<()> {
        let mut timeout = match wait {
            Wait::Zero => Some(Duration::ZERO),
            Wait::Until(moment) => Some(moment.since(self.now()).min(MAX_SLEEP)),
            Wait::Forever => None,
        };
        ready.clear();
        while let Err(error) = self.poll.poll(&mut self.events, timeout) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
            // The process may have been stopped and continued. Poll again to collect the events since then.
            timeout = Some(Duration::ZERO);
        }
        ready.extend(self.events.iter().map(readiness));
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    fn listen(&mut self, index: u32, address: SocketAddr) -> io::Result<SocketAddr> {
        let options: &[SocketOption] = if address.is_ipv6() { &OF_V6_LISTENERS } else { &OF_LISTENERS };
        let socket = self.open(address, options)?;
        if self.shares_ports {
            self.set_options(&socket, &[SocketOption::ReusePort]);
        }
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        self.put_listener(index, TcpListener::from_std(socket.into()))
    }

    fn add_listener(&mut self, index: u32, listener: std::net::TcpListener) -> io::Result<SocketAddr> {
        listener.set_nonblocking(true)?;
        // Accepted connections inherit the options.
        self.set_options(&SockRef::from(&listener), &OF_CONNECTIONS);
        self.put_listener(index, TcpListener::from_std(listener))
    }

    fn add_connection(&mut self, connection: std::net::TcpStream) -> io::Result<(TcpStream, Endpoints)> {
        let endpoints = Endpoints { local: connection.local_addr()?, remote: connection.peer_addr()? };
        connection.set_nonblocking(true)?;
        self.set_options(&SockRef::from(&connection), &OF_CONNECTIONS);
        Ok((TcpStream::from_std(connection), endpoints))
    }

    fn share_ports(&mut self) {
        self.shares_ports = true;
    }

    fn accept(&mut self, index: u32) -> io::Result<(TcpStream, SocketAddr)> {
        let Some(listener) = self.listeners.get(&index) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        uninterrupted(|| listener.accept())
    }

    fn close_listener(&mut self, index: u32) {
        if let Some(mut listener) = self.listeners.remove(&index) {
            // If deregistering fails, closing the socket removes it from the poller.
            let _ = self.poll.registry().deregister(&mut listener);
        }
    }

    fn attach(&mut self, link: LinkId, socket: TcpStream) -> io::Result<()> {
        self.put(link, socket)
    }

    fn connect(&mut self, link: LinkId, address: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        let socket = self.open(address, &OF_CONNECTIONS)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if is_in_progress(&error) => {}
            Err(error) => return Err(error),
        }
        self.put(link, TcpStream::from_std(socket.into()))
    }

    fn connected(&mut self, link: LinkId) -> io::Result<Option<Endpoints>> {
        let socket = self.socket(link)?;
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(remote) => Ok(Some(Endpoints { local: socket.local_addr()?, remote })),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, link: LinkId, block: &mut [u8]) -> io::Result<usize> {
        let socket = self.socket(link)?;
        uninterrupted(|| socket.read(block))
    }

    fn write(&mut self, link: LinkId, bytes: &[u8]) -> io::Result<usize> {
        let socket = self.socket(link)?;
        // The standard library passes MSG_NOSIGNAL here, but not when it writes several slices.
        uninterrupted(|| socket.write(bytes))
    }

    fn write_gathered(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let socket = self.socket(link)?;
        uninterrupted(|| SockRef::from(&*socket).send_vectored_with_flags(slices, MSG_NOSIGNAL))
    }

    fn shut_down_writing(&mut self, link: LinkId) {
        if let Ok(socket) = self.socket(link) {
            // If the call fails, the connection is lost, and the next read reports that.
            let _ = socket.shutdown(Shutdown::Write);
        }
    }

    fn close(&mut self, link: LinkId) {
        if let Some(mut socket) = self.sockets.get_mut(link.slot()).and_then(Option::take) {
            // As with listeners, closing removes the socket in any case.
            let _ = self.poll.registry().deregister(&mut socket);
        }
    }

    fn take_refused_option(&mut self) -> Option<RefusedOption> {
        self.untaken.pop_front()
    }
}

impl Offload for MioNet {
    fn resolve(&mut self, query: u32, name: &str, port: u16) -> Result<(), ResolveFailure> {
        self.threads.resolve(query, name, port)
    }

    fn persist(&mut self, batch: Batch) -> Result<(), Batch> {
        self.threads.persist(batch)
    }

    fn take_completion(&mut self) -> Option<Completion> {
        self.threads.take_completion()
    }
}

/// Returns the socket options that this system refuses, each with its error. `SO_REUSEPORT` is not checked.
pub fn refused_options() -> Vec<RefusedOption> {
    let mut refused = Vec::new();
    for (domain, options) in [(Domain::IPV4, &OF_LISTENERS[..]), (Domain::IPV6, &OF_V6_LISTENERS[..1])] {
        // A system without such sockets needs no options for them.
        let Ok(socket) = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)) else { continue };
        let errors = options.iter().filter_map(|&option| Some((option, set(&socket, option).err()?)));
        refused.extend(errors.map(|(option, error)| RefusedOption::new(option, &error)));
    }
    refused
}

fn set(socket: &Socket, option: SocketOption) -> io::Result<()> {
    match option {
        SocketOption::NoDelay => socket.set_tcp_nodelay(true),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        SocketOption::UserTimeout => socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT)),
        SocketOption::OnlyV6 => socket.set_only_v6(true),
        #[cfg(unix)]
        SocketOption::ReuseAddress => socket.set_reuse_address(true),
        // These systems lack the option or give it another meaning.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        SocketOption::UserTimeout => Ok(()),
        #[cfg(not(unix))]
        SocketOption::ReuseAddress => Ok(()),
        #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
        SocketOption::ReusePort => socket.set_reuse_port(true),
        #[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos")))))]
        SocketOption::ReusePort => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn token(token: Token) -> mio::Token {
    mio::Token(token.to_u64() as usize)
}

fn both() -> Interest {
    Interest::READABLE | Interest::WRITABLE
}

fn readiness(event: &Event) -> Readiness {
    let hung_up = event.is_read_closed() || event.is_write_closed() || event.is_error();
    Readiness {
        token: event.token().0 as u64,
        readable: event.is_readable() || hung_up,
        writable: event.is_writable() || hung_up,
        hung_up,
    }
}

/// Returns whether a connect's error means that the connect is in progress. EINPROGRESS has no stable `ErrorKind`. An
/// interrupted connect continues by itself, and a second call would fail.
fn is_in_progress(error: &io::Error) -> bool {
    let is_begun = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
    is_begun || error.raw_os_error() == Some(EINPROGRESS)
}

fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MSG_NOSIGNAL;

    /// Compares the flag with that of the target system's C library, at compile time.
    #[cfg(all(unix, not(target_vendor = "apple")))]
    const _: () = assert!(MSG_NOSIGNAL == libc::MSG_NOSIGNAL);
    #[cfg(target_vendor = "apple")]
    const _: () = assert!(MSG_NOSIGNAL == 0);
}
