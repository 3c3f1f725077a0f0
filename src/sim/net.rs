//! One host's view of the virtual kernel: the same seam as the real one.
//!
//! It keeps sockets under the slots of their links and writes down every call. Waiting returns at once with what there
//! is; time passes only when the world's driver says so. A host that is dropped closes all that it has open, like a
//! process that ends.

use super::kernel::EndId;
use super::trace::Call;
use super::world::World;
use crate::id::{LinkId, Token};
use crate::net::{Net, Readiness, Wake};
use crate::time::{Instant, UnixTime, Wait};
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The network of one host of a [`World`].
#[derive(Debug)]
pub struct SimNet {
    world: World,
    host: usize,
    listeners: u32,
    sockets: Vec<Option<SimSocket>>,
}

/// An open end of a connection; it is closed when it is dropped.
#[derive(Debug)]
pub struct SimSocket {
    world: World,
    end: EndId,
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.world.kernel_mut().close(self.end);
    }
}

impl SimNet {
    pub(super) fn new(world: World, host: usize) -> Self {
        Self { world, host, listeners: 0, sockets: Vec::new() }
    }

    /// The host's own address.
    pub fn ip(&self) -> IpAddr {
        self.world.kernel().ip(self.host)
    }

    /// Its place in the order of [`World::host`].
    pub fn host(&self) -> usize {
        self.host
    }

    /// Whether [`Net::wait`] would find something to look at.
    pub fn has_events(&self) -> bool {
        self.world.kernel().has_events(self.host)
    }

    /// Connections that are open, established or not.
    pub fn open_connections(&self) -> usize {
        self.sockets.iter().flatten().count()
    }

    fn end(&self, link: LinkId) -> Result<EndId, ErrorKind> {
        self.sockets.get(link.slot()).and_then(Option::as_ref).map(|socket| socket.end).ok_or(ErrorKind::NotConnected)
    }

    fn put(&mut self, link: LinkId, socket: SimSocket) {
        if self.sockets.len() <= link.slot() {
            self.sockets.resize_with(link.slot() + 1, || None);
        }
        self.sockets[link.slot()] = Some(socket);
    }

    fn note<T>(
        &self,
        call: Call,
        result: Result<T, ErrorKind>,
        number: impl FnOnce(&T) -> usize,
        moved: &[u8],
    ) -> io::Result<T> {
        let outcome = result.as_ref().map(number).map_err(|kind| *kind);
        self.world.kernel_mut().note(self.host, call, outcome, moved);
        result.map_err(io::Error::from)
    }
}

impl Net for SimNet {
    type Socket = SimSocket;

    fn now(&self) -> Instant {
        self.world.now()
    }

    fn unix_time(&self) -> UnixTime {
        self.world.unix_time()
    }

    fn wait(&mut self, _wait: Wait, ready: &mut Vec<Readiness>) -> io::Result<()> {
        self.world.kernel_mut().collect(self.host, ready);
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.world.kernel().flag(self.host)
    }

    fn listen(&mut self, index: u32, address: SocketAddr) -> io::Result<SocketAddr> {
        let result = self.world.kernel_mut().listen(self.host, index, address);
        self.listeners = self.listeners.max(index + 1);
        self.note(Call::Listen { address }, result, |address| usize::from(address.port()), &[])
    }

    fn accept(&mut self, index: u32) -> io::Result<(SimSocket, SocketAddr)> {
        let result = self.world.kernel_mut().accept(self.host, index);
        let (end, address) = self.note(Call::Accept { index }, result, |(_, from)| usize::from(from.port()), &[])?;
        Ok((SimSocket { world: self.world.clone(), end }, address))
    }

    fn close_listener(&mut self, index: u32) {
        let mut kernel = self.world.kernel_mut();
        kernel.note(self.host, Call::CloseListener { index }, Ok(0), &[]);
        kernel.close_listener(self.host, index);
    }

    fn attach(&mut self, link: LinkId, socket: SimSocket) -> io::Result<()> {
        self.note(Call::Attach { link }, Ok(()), |()| 0, &[])?;
        self.world.kernel_mut().attach(socket.end, self.host, Token::Link(link).to_u64());
        self.put(link, socket);
        Ok(())
    }

    fn connect(&mut self, link: LinkId, address: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        self.note(Call::Connect { link, address }, Ok(()), |()| 0, &[])?;
        let token = Token::Link(link).to_u64();
        let end = self.world.kernel_mut().connect(self.host, token, address, source);
        self.put(link, SimSocket { world: self.world.clone(), end });
        Ok(())
    }

    fn connected(&mut self, link: LinkId) -> io::Result<bool> {
        let result = self.end(link).and_then(|end| self.world.kernel_mut().connected(end));
        self.note(Call::Connected { link }, result, |&is_connected| usize::from(is_connected), &[])
    }

    fn read(&mut self, link: LinkId, block: &mut [u8]) -> io::Result<usize> {
        let result = self.end(link).and_then(|end| self.world.kernel_mut().read(end, block));
        let moved = &block[..*result.as_ref().unwrap_or(&0)];
        self.note(Call::Read { link, room_bytes: block.len() }, result, |&len| len, moved)
    }

    fn write(&mut self, link: LinkId, bytes: &[u8]) -> io::Result<usize> {
        self.write_gathered(link, &[IoSlice::new(bytes)])
    }

    fn write_gathered(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let result = self.end(link).and_then(|end| self.world.kernel_mut().write(end, slices));
        let offered_bytes = slices.iter().map(|slice| slice.len()).sum();
        let mut moved: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        moved.truncate(*result.as_ref().unwrap_or(&0));
        self.note(Call::Write { link, offered_bytes }, result, |&len| len, &moved)
    }

    fn shut_down_writing(&mut self, link: LinkId) {
        let mut kernel = self.world.kernel_mut();
        kernel.note(self.host, Call::ShutDownWriting { link }, Ok(0), &[]);
        if let Ok(end) = self.end(link) {
            kernel.shut_down_writing(end);
        }
    }

    fn close(&mut self, link: LinkId) {
        self.world.kernel_mut().note(self.host, Call::Close { link }, Ok(0), &[]);
        if let Some(socket) = self.sockets.get_mut(link.slot()) {
            *socket = None;
        }
    }
}

impl Drop for SimNet {
    fn drop(&mut self) {
        for index in 0..self.listeners {
            self.world.kernel_mut().close_listener(self.host, index);
        }
    }
}
