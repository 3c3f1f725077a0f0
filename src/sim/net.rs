//! One host's network in the virtual kernel, with the same interface as the real network.
//!
//! The network indexes sockets by their links' slots and records its calls in the world's trace. A wait never blocks:
//! it returns the queued events at once, because time passes only when the world's clock is advanced. An interrupted
//! call is retried, as in the real network; only an interrupted wait returns early. A dropped network closes
//! everything that its host has open, like a process that exits.

use super::connection::EndId;
use super::kernel::Kernel;
use super::trace::Call;
use crate::clock::Clock;
use crate::errno::{EAGAIN, ENOTCONN};
use crate::error::{RefusedOption, ResolveFailure};
use crate::id::{LinkId, Token};
use crate::manager::store::Batch;
use crate::net::{Endpoints, Net, Readiness, Wake};
use crate::offload::{Completion, Offload};
use crate::time::{Instant, UnixTime, Wait};
use std::cell::{RefCell, RefMut};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;

/// The network of one host of a [`World`](super::World).
#[derive(Debug)]
pub struct SimNet {
    kernel: Rc<RefCell<Kernel>>,
    host: u32,
    sockets: Vec<Option<SimSocket>>,
}

/// An open endpoint of a connection, closed on drop.
#[derive(Debug)]
pub struct SimSocket {
    kernel: Rc<RefCell<Kernel>>,
    host: u32,
    end: EndId,
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.kernel.borrow_mut().release(self.host as usize, self.end);
    }
}

impl SimNet {
    pub(super) fn new(kernel: Rc<RefCell<Kernel>>, host: usize) -> Self {
        Self { kernel, host: host as u32, sockets: Vec::new() }
    }

    /// Returns the host's own address.
    pub fn ip(&self) -> IpAddr {
        self.kernel.borrow().ip(self.host())
    }

    /// Returns the host's index in the order in which [`World::host`](super::World::host) added the hosts.
    pub fn host(&self) -> usize {
        self.host as usize
    }

    /// Returns whether [`Net::wait`] would return an event.
    pub fn has_events(&self) -> bool {
        self.kernel.borrow().has_events(self.host())
    }

    /// Returns the number of links that have a socket, whether or not their connections are established.
    pub fn open_connections(&self) -> usize {
        self.sockets.iter().flatten().count()
    }

    /// Closes the link's socket with a reset, if the link has a socket.
    pub fn reset(&mut self, link: LinkId) {
        if let Ok(end) = self.end(link) {
            self.kernel.borrow_mut().abort(end);
        }
        self.close(link);
    }

    fn end(&self, link: LinkId) -> Result<EndId, i32> {
        self.sockets.get(link.slot()).and_then(Option::as_ref).map(|socket| socket.end).ok_or(ENOTCONN)
    }

    fn put(&mut self, link: LinkId, socket: SimSocket) {
        if self.sockets.len() <= link.slot() {
            self.sockets.resize_with(link.slot() + 1, || None);
        }
        self.sockets[link.slot()] = Some(socket);
    }

    fn socket(&self, end: EndId) -> SimSocket {
        SimSocket { kernel: Rc::clone(&self.kernel), host: self.host, end }
    }

    /// Makes a call and records its outcome.
    fn noted<T>(
        &self,
        call: Call,
        make: impl FnOnce(&mut Kernel, usize) -> Result<T, i32>,
        number: impl FnOnce(&T) -> usize,
    ) -> io::Result<T> {
        let mut kernel: RefMut<'_, Kernel> = self.kernel.borrow_mut();
        let result = make(&mut kernel, self.host());
        let outcome = result.as_ref().map(number).map_err(|errno| *errno);
        kernel.note(self.host(), call, outcome, &[]);
        result.map_err(io::Error::from_raw_os_error)
    }
}

impl Net for SimNet {
    type Socket = SimSocket;

    fn now(&self) -> Instant {
        self.kernel.borrow().now
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.kernel.borrow().clock) as Arc<dyn Clock>
    }

    fn unix_time(&self) -> UnixTime {
        self.kernel.borrow().unix_time()
    }

    fn wait(&mut self, _wait: Wait, ready: &mut Vec<Readiness>) -> io::Result<()> {
        self.kernel.borrow_mut().wait(self.host(), ready).map_err(io::Error::from_raw_os_error)
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.kernel.borrow().flag(self.host())
    }

    fn listen(&mut self, index: u32, address: SocketAddr) -> io::Result<SocketAddr> {
        let listen = |kernel: &mut Kernel, host| kernel.listen(host, index, address);
        self.noted(Call::Listen { address }, listen, |address| usize::from(address.port()))
    }

    fn add_listener(&mut self, _index: u32, _listener: TcpListener) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn add_connection(&mut self, _connection: TcpStream) -> io::Result<(SimSocket, Endpoints)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Has no effect: an address of the virtual kernel has at most one listener.
    fn share_ports(&mut self) {}

    fn accept(&mut self, index: u32) -> io::Result<(SimSocket, SocketAddr)> {
        let accept = |kernel: &mut Kernel, host| kernel.accept(host, index);
        let (end, address) = self.noted(Call::Accept { index }, accept, |(_, from)| usize::from(from.port()))?;
        Ok((self.socket(end), address))
    }

    fn close_listener(&mut self, index: u32) {
        let mut kernel = self.kernel.borrow_mut();
        kernel.note(self.host(), Call::CloseListener { index }, Ok(0), &[]);
        kernel.close_listener(self.host(), index);
    }

    fn attach(&mut self, link: LinkId, socket: SimSocket) -> io::Result<()> {
        let (end, token) = (socket.end, Token::Link(link).to_u64());
        self.noted(Call::Attach { link }, |kernel, host| kernel.attach(host, end, token), |()| 0)?;
        self.put(link, socket);
        Ok(())
    }

    fn connect(&mut self, link: LinkId, address: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        let token = Token::Link(link).to_u64();
        let connect = |kernel: &mut Kernel, host| kernel.connect(host, token, address, source);
        let end = self.noted(Call::Connect { link, address }, connect, |_| 0)?;
        self.put(link, self.socket(end));
        Ok(())
    }

    fn connected(&mut self, link: LinkId) -> io::Result<Option<Endpoints>> {
        let end = self.end(link);
        let connected = |kernel: &mut Kernel, host| kernel.connected(host, end?);
        self.noted(Call::Connected { link }, connected, |endpoints| usize::from(endpoints.is_some()))
    }

    fn read(&mut self, link: LinkId, block: &mut [u8]) -> io::Result<usize> {
        let mut kernel = self.kernel.borrow_mut();
        let result = self.end(link).and_then(|end| kernel.read(self.host(), end, block));
        let moved = &block[..result.unwrap_or(0)];
        kernel.note(self.host(), Call::Read { link, room_bytes: block.len() }, result, moved);
        result.map_err(io::Error::from_raw_os_error)
    }

    fn write(&mut self, link: LinkId, bytes: &[u8]) -> io::Result<usize> {
        self.write_gathered(link, &[IoSlice::new(bytes)])
    }

    fn write_gathered(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut kernel = self.kernel.borrow_mut();
        let end = self.end(link);
        let result = end.and_then(|end| kernel.write(self.host(), end, slices));
        kernel.note_write(self.host(), link, end, slices, result);
        result.map_err(io::Error::from_raw_os_error)
    }

    fn shut_down_writing(&mut self, link: LinkId) {
        let mut kernel = self.kernel.borrow_mut();
        kernel.note(self.host(), Call::ShutDownWriting { link }, Ok(0), &[]);
        if let Ok(end) = self.end(link) {
            kernel.shut_down_writing(end);
        }
    }

    fn close(&mut self, link: LinkId) {
        self.kernel.borrow_mut().note(self.host(), Call::Close { link }, Ok(0), &[]);
        if let Some(socket) = self.sockets.get_mut(link.slot()) {
            *socket = None;
        }
    }

    fn take_refused_option(&mut self) -> Option<RefusedOption> {
        None
    }
}

impl Offload for SimNet {
    fn resolve(&mut self, query: u32, name: &str, port: u16) -> Result<(), ResolveFailure> {
        let mut kernel = self.kernel.borrow_mut();
        let result = kernel.resolve(self.host(), query, name, port);
        let outcome = result.as_ref().map(|()| 0).map_err(|_| EAGAIN);
        kernel.note(self.host(), Call::Resolve { query, port }, outcome, name.as_bytes());
        result
    }

    fn persist(&mut self, batch: Batch) -> Result<(), Batch> {
        let (id, count, text) = (batch.id, batch.changes.len(), format!("{:?}", batch.changes));
        let mut kernel = self.kernel.borrow_mut();
        let result = kernel.persist(self.host(), batch);
        let outcome = result.as_ref().map(|()| count).map_err(|_| EAGAIN);
        kernel.note(self.host(), Call::Persist { id }, outcome, text.as_bytes());
        result
    }

    fn take_completion(&mut self) -> Option<Completion> {
        let mut kernel = self.kernel.borrow_mut();
        let completion = kernel.take_completion(self.host())?;
        kernel.note(self.host(), Call::TakeCompletion, Ok(0), format!("{completion:?}").as_bytes());
        Some(completion)
    }
}

impl Drop for SimNet {
    fn drop(&mut self) {
        self.kernel.borrow_mut().close_listeners(self.host());
    }
}
