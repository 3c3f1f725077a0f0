//! A network in front of another one, which changes some of its calls.
//!
//! An implementation of [`Layer`] names the network below and overrides the calls it changes; all others pass
//! through. Tests count, delay and fail calls with it. A layer is a [`Net`] like any other, so layers can be stacked.

use crate::error::{RefusedOption, ResolveFailure};
use crate::id::LinkId;
use crate::manager::store::Batch;
use crate::net::{Endpoints, Net, Readiness, Wake};
use crate::offload::{Completion, Offload};
use crate::time::{Instant, UnixTime, Wait};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A network in front of another one. Each call that is not overridden is that of the network below.
pub trait Layer {
    /// The network below.
    type Below: Net + Offload;

    /// Returns the network below.
    fn below(&self) -> &Self::Below;

    /// Returns the network below, for making a call.
    fn below_mut(&mut self) -> &mut Self::Below;

    /// Makes any call that changes something and is not overridden itself.
    fn pass<T>(&mut self, call: impl FnOnce(&mut Self::Below) -> T) -> T {
        call(self.below_mut())
    }

    /// As [`Net::now`].
    fn now(&self) -> Instant {
        self.below().now()
    }

    /// As [`Net::unix_time`].
    fn unix_time(&self) -> UnixTime {
        self.below().unix_time()
    }

    /// As [`Net::wait`].
    fn wait(&mut self, wait: Wait, ready: &mut Vec<Readiness>) -> io::Result<()> {
        self.pass(|below| below.wait(wait, ready))
    }

    /// As [`Net::waker`].
    fn waker(&self) -> Arc<dyn Wake> {
        self.below().waker()
    }

    /// As [`Net::listen`].
    fn listen(&mut self, index: u32, address: SocketAddr) -> io::Result<SocketAddr> {
        self.pass(|below| below.listen(index, address))
    }

    /// As [`Net::accept`].
    fn accept(&mut self, index: u32) -> io::Result<(<Self::Below as Net>::Socket, SocketAddr)> {
        self.pass(|below| below.accept(index))
    }

    /// As [`Net::close_listener`].
    fn close_listener(&mut self, index: u32) {
        self.pass(|below| below.close_listener(index));
    }

    /// As [`Net::attach`].
    fn attach(&mut self, link: LinkId, socket: <Self::Below as Net>::Socket) -> io::Result<()> {
        self.pass(|below| below.attach(link, socket))
    }

    /// As [`Net::connect`].
    fn connect(&mut self, link: LinkId, address: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        self.pass(|below| below.connect(link, address, source))
    }

    /// As [`Net::connected`].
    fn connected(&mut self, link: LinkId) -> io::Result<Option<Endpoints>> {
        self.pass(|below| below.connected(link))
    }

    /// As [`Net::read`].
    fn read(&mut self, link: LinkId, block: &mut [u8]) -> io::Result<usize> {
        self.pass(|below| below.read(link, block))
    }

    /// As [`Net::write`].
    fn write(&mut self, link: LinkId, bytes: &[u8]) -> io::Result<usize> {
        self.pass(|below| below.write(link, bytes))
    }

    /// As [`Net::write_gathered`].
    fn write_gathered(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.pass(|below| below.write_gathered(link, slices))
    }

    /// As [`Net::shut_down_writing`].
    fn shut_down_writing(&mut self, link: LinkId) {
        self.pass(|below| below.shut_down_writing(link));
    }

    /// As [`Net::close`].
    fn close(&mut self, link: LinkId) {
        self.pass(|below| below.close(link));
    }

    /// As [`Net::take_refused_option`].
    fn take_refused_option(&mut self) -> Option<RefusedOption> {
        self.pass(Net::take_refused_option)
    }

    /// As [`Offload::resolve`].
    fn resolve(&mut self, query: u32, name: &str, port: u16) -> Result<(), ResolveFailure> {
        self.pass(|below| below.resolve(query, name, port))
    }

    /// As [`Offload::persist`].
    fn persist(&mut self, batch: Batch) -> Result<(), Batch> {
        self.pass(|below| below.persist(batch))
    }

    /// As [`Offload::take_completion`].
    fn take_completion(&mut self) -> Option<Completion> {
        self.pass(Offload::take_completion)
    }
}

impl<L: Layer> Net for L {
    type Socket = <L::Below as Net>::Socket;

    fn now(&self) -> Instant {
        Layer::now(self)
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
