//! A layer: a network that passes its calls to the network below it, and changes some of them.
//!
//! An implementation of [`Layer`] names the network below and overrides the calls that it changes. All other calls
//! reach the network below unchanged. Tests use layers to count, delay and fail calls. A layer is a [`Net`] like any
//! other, so layers can be stacked. A layer never has sockets of its own.

use crate::clock::Clock;
use crate::error::{RefusedOption, ResolveFailure};
use crate::id::LinkId;
use crate::manager::store::Batch;
use crate::net::{Endpoints, Net, Readiness, Wake};
use crate::offload::{Completion, Offload};
use crate::time::{Instant, UnixTime, Wait};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// A network that wraps the network below. A call that is not overridden is passed to the network below.
pub trait Layer {
    /// The network below.
    type Below: Net + Offload;

    /// Returns the network below.
    fn below(&self) -> &Self::Below;

    /// Returns the network below, for a call that may change it.
    fn below_mut(&mut self) -> &mut Self::Below;

    /// Makes a call on the network below. Every call that may change the network and is not overridden uses this
    /// method.
    fn pass<T>(&mut self, call: impl FnOnce(&mut Self::Below) -> T) -> T {
        call(self.below_mut())
    }

    /// Passes [`Net::now`] on.
    fn now(&self) -> Instant {
        self.below().now()
    }

    /// Passes [`Net::clock`] on.
    fn clock(&self) -> Arc<dyn Clock> {
        self.below().clock()
    }

    /// Passes [`Net::unix_time`] on.
    fn unix_time(&self) -> UnixTime {
        self.below().unix_time()
    }

    /// Passes [`Net::wait`] on.
    fn wait(&mut self, wait: Wait, ready: &mut Vec<Readiness>) -> io::Result<()> {
        self.pass(|below| below.wait(wait, ready))
    }

    /// Passes [`Net::waker`] on.
    fn waker(&self) -> Arc<dyn Wake> {
        self.below().waker()
    }

    /// Passes [`Net::listen`] on.
    fn listen(&mut self, index: u32, address: SocketAddr) -> io::Result<SocketAddr> {
        self.pass(|below| below.listen(index, address))
    }

    /// Passes [`Net::add_listener`] on.
    fn add_listener(&mut self, index: u32, listener: TcpListener) -> io::Result<SocketAddr> {
        self.pass(|below| below.add_listener(index, listener))
    }

    /// Passes [`Net::add_connection`] on.
    fn add_connection(&mut self, connection: TcpStream) -> io::Result<(<Self::Below as Net>::Socket, Endpoints)> {
        self.pass(|below| below.add_connection(connection))
    }

    /// Passes [`Net::share_ports`] on.
    fn share_ports(&mut self) {
        self.pass(Net::share_ports);
    }

    /// Passes [`Net::accept`] on.
    fn accept(&mut self, index: u32) -> io::Result<(<Self::Below as Net>::Socket, SocketAddr)> {
        self.pass(|below| below.accept(index))
    }

    /// Passes [`Net::close_listener`] on.
    fn close_listener(&mut self, index: u32) {
        self.pass(|below| below.close_listener(index));
    }

    /// Passes [`Net::attach`] on.
    fn attach(&mut self, link: LinkId, socket: <Self::Below as Net>::Socket) -> io::Result<()> {
        self.pass(|below| below.attach(link, socket))
    }

    /// Passes [`Net::connect`] on.
    fn connect(&mut self, link: LinkId, address: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        self.pass(|below| below.connect(link, address, source))
    }

    /// Passes [`Net::connected`] on.
    fn connected(&mut self, link: LinkId) -> io::Result<Option<Endpoints>> {
        self.pass(|below| below.connected(link))
    }

    /// Passes [`Net::read`] on.
    fn read(&mut self, link: LinkId, block: &mut [u8]) -> io::Result<usize> {
        self.pass(|below| below.read(link, block))
    }

    /// Passes [`Net::write`] on.
    fn write(&mut self, link: LinkId, bytes: &[u8]) -> io::Result<usize> {
        self.pass(|below| below.write(link, bytes))
    }

    /// Passes [`Net::write_gathered`] on.
    fn write_gathered(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.pass(|below| below.write_gathered(link, slices))
    }

    /// Passes [`Net::shut_down_writing`] on.
    fn shut_down_writing(&mut self, link: LinkId) {
        self.pass(|below| below.shut_down_writing(link));
    }

    /// Passes [`Net::close`] on.
    fn close(&mut self, link: LinkId) {
        self.pass(|below| below.close(link));
    }

    /// Passes [`Net::take_refused_option`] on.
    fn take_refused_option(&mut self) -> Option<RefusedOption> {
        self.pass(Net::take_refused_option)
    }

    /// Passes [`Offload::resolve`] on.
    fn resolve(&mut self, query: u32, name: &str, port: u16) -> Result<(), ResolveFailure> {
        self.pass(|below| below.resolve(query, name, port))
    }

    /// Passes [`Offload::persist`] on.
    fn persist(&mut self, batch: Batch) -> Result<(), Batch> {
        self.pass(|below| below.persist(batch))
    }

    /// Passes [`Offload::take_completion`] on.
    fn take_completion(&mut self) -> Option<Completion> {
        self.pass(Offload::take_completion)
    }
}

impl<L: Layer> Net for L {
    type Socket = <L::Below as Net>::Socket;

    fn now(&self) -> Instant {
        Layer::now(self)
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Layer::clock(self)
    }

    fn unix_time(&self) -> UnixTime {
        Layer::unix_time(self)
    }

    fn wait(&mut self, wait: Wait, ready: &mut Vec<Readiness>) -> io::Result<()> {
        Layer::wait(self, wait, ready)
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Layer::waker(self)
    }

    fn listen(&mut self, index: u32, address: SocketAddr) -> io::Result<SocketAddr> {
        Layer::listen(self, index, address)
    }

    fn add_listener(&mut self, index: u32, listener: TcpListener) -> io::Result<SocketAddr> {
        Layer::add_listener(self, index, listener)
    }

    fn add_connection(&mut self, connection: TcpStream) -> io::Result<(Self::Socket, Endpoints)> {
        Layer::add_connection(self, connection)
    }

    fn share_ports(&mut self) {
        Layer::share_ports(self);
    }

    fn accept(&mut self, index: u32) -> io::Result<(Self::Socket, SocketAddr)> {
        Layer::accept(self, index)
    }

    fn close_listener(&mut self, index: u32) {
        Layer::close_listener(self, index);
    }

    fn attach(&mut self, link: LinkId, socket: Self::Socket) -> io::Result<()> {
        Layer::attach(self, link, socket)
    }

    fn connect(&mut self, link: LinkId, address: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        Layer::connect(self, link, address, source)
    }

    fn connected(&mut self, link: LinkId) -> io::Result<Option<Endpoints>> {
        Layer::connected(self, link)
    }

    fn read(&mut self, link: LinkId, block: &mut [u8]) -> io::Result<usize> {
        Layer::read(self, link, block)
    }

    fn write(&mut self, link: LinkId, bytes: &[u8]) -> io::Result<usize> {
        Layer::write(self, link, bytes)
    }

    fn write_gathered(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Layer::write_gathered(self, link, slices)
    }

    fn shut_down_writing(&mut self, link: LinkId) {
        Layer::shut_down_writing(self, link);
    }

    fn close(&mut self, link: LinkId) {
        Layer::close(self, link);
    }

    fn take_refused_option(&mut self) -> Option<RefusedOption> {
        Layer::take_refused_option(self)
    }
}

impl<L: Layer> Offload for L {
    fn resolve(&mut self, query: u32, name: &str, port: u16) -> Result<(), ResolveFailure> {
        Layer::resolve(self, query, name, port)
    }

    fn persist(&mut self, batch: Batch) -> Result<(), Batch> {
        Layer::persist(self, batch)
    }

    fn take_completion(&mut self) -> Option<Completion> {
        Layer::take_completion(self)
    }
}
