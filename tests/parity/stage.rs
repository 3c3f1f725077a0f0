//! Two hosts on the real or the virtual kernel, and a script's observations of them.

use peerloop::MioNet;
use peerloop::error::ResolveFailure;
use peerloop::internals::id::{LinkId, Token};
use peerloop::internals::net::Net;
use peerloop::internals::offload::{Completion, Offload};
use peerloop::sim::{Poller, SimNet, World};
use peerloop::time::{Instant, Wait};
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Maximum duration for which [`Host::edge`] waits on the real kernel. No expected edge needs this long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Duration for which [`Host::quiet`] waits for an edge of the real kernel.
const QUIET: Duration = Duration::from_millis(20);

/// The link that scripts use on either side.
pub(crate) const LINK: LinkId = LinkId::from_u64(0);
/// The index of the acceptor's listener.
const LISTENER: u32 = 0;

/// One observation of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// An edge of a link.
    Edge { readable: bool, ended: bool },
    /// An edge of the listener.
    Arrival,
    /// A wake-up.
    Woken,
    /// No edge within the waiting time.
    Quiet,
    /// A call that returned a number. For a read or write it is the number of bytes; a read of 0 bytes is the end
    /// of the input. For [`Host::connected`] it is 1 if the connection is established, and 0 if it is not. For a
    /// look-up it is the port of the first resolved address.
    Moved(usize),
    /// A call that succeeded and returned no number.
    Done,
    /// A call that failed.
    Failed(ErrorKind),
}

pub(crate) const READABLE: Seen = Seen::Edge { readable: true, ended: false };
pub(crate) const ENDED: Seen = Seen::Edge { readable: true, ended: true };
/// An edge that reports room, or an established connection.
pub(crate) const ROOM: Seen = Seen::Edge { readable: false, ended: false };
pub(crate) const BLOCKED: Seen = Seen::Failed(ErrorKind::WouldBlock);

/// Runs a script on every kernel, and compares its observations with the expected ones.
pub(crate) fn on_every_kernel(script: fn(&mut Stage) -> Vec<Seen>, expected: &[Seen]) {
    assert_eq!(script(&mut Stage::real()), expected, "the real kernel");
    for poller in [Poller::Linux, Poller::Mean] {
        assert_eq!(script(&mut Stage::virtual_with(poller)), expected, "the virtual kernel, {poller:?}");
    }
}

/// The calls that scripts make to a network, independent of the network's socket type.
trait Calls {
    fn next_events(&mut self, patience: Duration) -> Vec<Seen>;
    fn wake(&mut self);
    fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr>;
    fn close_listener(&mut self);
    fn accept(&mut self, link: Option<LinkId>) -> io::Result<()>;
    fn connect(&mut self, link: LinkId, address: SocketAddr) -> io::Result<()>;
    fn connected(&mut self, link: LinkId) -> io::Result<bool>;
    fn read(&mut self, link: LinkId, block: &mut [u8]) -> io::Result<usize>;
    fn write(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    fn shut_down_writing(&mut self, link: LinkId);
    fn close(&mut self, link: LinkId);
    fn resolve(&mut self, name: &str, port: u16);
    fn take_completion(&mut self) -> Option<Completion>;
}

impl<N: Net + Offload> Calls for N {
    fn next_events(&mut self, patience: Duration) -> Vec<Seen> {
        let (until, mut ready) = (self.now().plus(patience), Vec::new());
        loop {
            self.wait(Wait::Until(until), &mut ready).unwrap();
            if !ready.is_empty() || self.now() >= until {
                break;
            }
        }
        let seen = |event: &peerloop::internals::net::Readiness| match Token::from_u64(event.token) {
            Token::Link(_) => Seen::Edge { readable: event.readable, ended: event.hung_up },
            Token::Listener(_) => Seen::Arrival,
            Token::Waker => Seen::Woken,
        };
        ready.iter().map(seen).collect()
    }

    fn wake(&mut self) {
        self.waker().wake();
    }

    fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        Net::listen(self, LISTENER, address)
    }

    fn close_listener(&mut self) {
        Net::close_listener(self, LISTENER);
    }

    fn accept(&mut self, link: Option<LinkId>) -> io::Result<()> {
        let (socket, _) = Net::accept(self, LISTENER)?;
        link.map_or(Ok(()), |link| self.attach(link, socket))
    }

    fn connect(&mut self, link: LinkId, address: SocketAddr) -> io::Result<()> {
        Net::connect(self, link, address, None)
    }

    fn connected(&mut self, link: LinkId) -> io::Result<bool> {
        Net::connected(self, link).map(|endpoints| endpoints.is_some())
    }

    fn read(&mut self, link: LinkId, block: &mut [u8]) -> io::Result<usize> {
        Net::read(self, link, block)
    }

    fn write(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_gathered(link, slices)
    }

    fn shut_down_writing(&mut self, link: LinkId) {
        Net::shut_down_writing(self, link);
    }

    fn close(&mut self, link: LinkId) {
        Net::close(self, link);
    }

    fn resolve(&mut self, name: &str, port: u16) {
        Offload::resolve(self, 7, name, port).unwrap();
    }

    fn take_completion(&mut self) -> Option<Completion> {
        Offload::take_completion(self)
    }
}

/// One of the two hosts.
pub(crate) struct Host {
    calls: Box<dyn Calls>,
    is_real: bool,
}

/// Two hosts. The acceptor listens on `address`.
pub(crate) struct Stage {
    pub(crate) dialler: Host,
    pub(crate) acceptor: Host,
    pub(crate) address: SocketAddr,
}

impl Stage {
    fn real() -> Self {
        let host = || Host { calls: Box::new(MioNet::new().unwrap()), is_real: true };
        Self::with(host(), host(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    fn virtual_with(poller: Poller) -> Self {
        let world = World::new(1, Instant::ZERO);
        world.set_name("localhost", vec![Ipv4Addr::LOCALHOST.into()]);
        let (dialler, acceptor): (SimNet, SimNet) = (world.host(), world.host());
        [&dialler, &acceptor].into_iter().for_each(|net| world.set_poller(net.host(), poller));
        let address = SocketAddr::new(acceptor.ip(), 0);
        let host = |net| Host { calls: Box::new(net), is_real: false };
        Self::with(host(dialler), host(acceptor), address)
    }

    fn with(dialler: Host, mut acceptor: Host, address: SocketAddr) -> Self {
        let address = acceptor.calls.listen(address).unwrap();
        Self { dialler, acceptor, address }
    }

    /// Connects the two hosts, and consumes the resulting edges.
    pub(crate) fn establish(&mut self) {
        self.dialler.connect(LINK, self.address);
        assert_eq!(self.dialler.edge(), ROOM);
        assert_eq!(self.acceptor.edge(), Seen::Arrival);
        assert_eq!(self.acceptor.accept(LINK), Seen::Done);
        assert_eq!(self.acceptor.edge(), ROOM);
    }
}

impl Host {
    /// Returns the next edge or wake-up, or `Quiet` if none arrives. Asserts that at most one arrives.
    pub(crate) fn edge(&mut self) -> Seen {
        let events = self.calls.next_events(if self.is_real { PATIENCE } else { Duration::ZERO });
        assert!(events.len() <= 1, "{events:?}");
        events.first().copied().unwrap_or(Seen::Quiet)
    }

    /// Skips edges for data, which may arrive before the end, and returns the first edge of another kind.
    pub(crate) fn edge_to_the_end(&mut self) -> Seen {
        loop {
            match self.edge() {
                READABLE => {}
                edge => return edge,
            }
        }
    }

    /// Returns the next edge, or `Quiet` if none arrives within a short time.
    pub(crate) fn quiet(&mut self) -> Seen {
        let events = self.calls.next_events(if self.is_real { QUIET } else { Duration::ZERO });
        events.first().copied().unwrap_or(Seen::Quiet)
    }

    pub(crate) fn wake(&mut self) {
        self.calls.wake();
    }

    pub(crate) fn connect(&mut self, link: LinkId, address: SocketAddr) -> Seen {
        done(self.calls.connect(link, address))
    }

    /// Connects, and waits until the call itself or the next event reports the result.
    pub(crate) fn connect_and_wait(&mut self, link: LinkId, address: SocketAddr) -> Seen {
        if let Err(error) = self.calls.connect(link, address) {
            return Seen::Failed(error.kind());
        }
        self.edge();
        self.connected(link)
    }

    pub(crate) fn connected(&mut self, link: LinkId) -> Seen {
        moved(self.calls.connected(link).map(usize::from))
    }

    pub(crate) fn accept(&mut self, link: LinkId) -> Seen {
        done(self.calls.accept(Some(link)))
    }

    /// Accepts a connection and closes it at once.
    pub(crate) fn accept_and_drop(&mut self) -> Seen {
        done(self.calls.accept(None))
    }

    pub(crate) fn close_listener(&mut self) {
        self.calls.close_listener();
    }

    /// Reads with room for this many bytes.
    pub(crate) fn read(&mut self, room_bytes: usize) -> Seen {
        moved(self.calls.read(LINK, &mut vec![0; room_bytes]))
    }

    pub(crate) fn read_bytes(&mut self) -> Vec<u8> {
        let mut block = vec![0; 64 * 1024];
        let len = self.calls.read(LINK, &mut block).unwrap();
        block.truncate(len);
        block
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Seen {
        self.write_gathered(&[bytes])
    }

    pub(crate) fn write_gathered(&mut self, parts: &[&[u8]]) -> Seen {
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        moved(self.calls.write(LINK, &slices))
    }

    pub(crate) fn shut_down_writing(&mut self) {
        self.calls.shut_down_writing(LINK);
    }

    pub(crate) fn close(&mut self) {
        self.calls.close(LINK);
    }

    /// Resolves a name and waits for the result.
    pub(crate) fn resolve(&mut self, name: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveFailure> {
        assert_eq!(self.calls.take_completion(), None);
        self.calls.resolve(name, port);
        assert_eq!(self.edge(), Seen::Woken, "the result did not end the wait");
        let Some(Completion::Resolved { query: 7, outcome }) = self.calls.take_completion() else {
            panic!("there is no completion, or it is not the look-up's result")
        };
        outcome
    }
}

fn done(result: io::Result<()>) -> Seen {
    result.map_or_else(|error| Seen::Failed(error.kind()), |()| Seen::Done)
}

fn moved(result: io::Result<usize>) -> Seen {
    result.map_or_else(|error| Seen::Failed(error.kind()), Seen::Moved)
}
