//! A virtual host whose calls take time, and whose accepts fail as the test wants it.

use peerloop::id::LinkId;
use peerloop::net::{Net, Readiness, Wake};
use peerloop::sim::{SimNet, SimSocket, World};
use peerloop::time::{Instant, UnixTime, Wait};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What `limits.rs` says that an accept costs.
const ACCEPT_TIME: Duration = Duration::from_micros(15);
/// What `limits.rs` says that a dial costs.
const CONNECT_TIME: Duration = Duration::from_micros(40);
const READ_TIME: Duration = Duration::from_micros(2);

pub(crate) struct SlowHost {
    net: SimNet,
    world: World,
    /// What the next accepts fail with, before any succeeds again.
    pub(crate) accept_errors: Rc<RefCell<VecDeque<io::Error>>>,
    /// What each write costs; nothing unless the test wants it.
    pub(crate) write_time: Duration,
}

impl SlowHost {
    pub(crate) fn new(world: &World) -> Self {
        Self { net: world.host(), world: world.clone(), accept_errors: Rc::default(), write_time: Duration::ZERO }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.net.ip(), 18_444)
    }
}

impl Net for SlowHost {
    type Socket = SimSocket;

    fn now(&self) -> Instant {
        self.net.now()
    }
    fn unix_time(&self) -> UnixTime {
        self.net.unix_time()
    }
    fn wait(&mut self, wait: Wait, ready: &mut Vec<Readiness>) -> io::Result<()> {
        self.net.wait(wait, ready)
    }
    fn waker(&self) -> Arc<dyn Wake> {
        self.net.waker()
    }
    fn listen(&mut self, index: u32, address: SocketAddr) -> io::Result<SocketAddr> {
        self.net.listen(index, address)
    }
    fn accept(&mut self, index: u32) -> io::Result<(SimSocket, SocketAddr)> {
        if let Some(error) = self.accept_errors.borrow_mut().pop_front() {
            return Err(error);
        }
        let accepted = self.net.accept(index)?;
        self.world.advance(ACCEPT_TIME);
        Ok(accepted)
    }
    fn close_listener(&mut self, index: u32) {
        self.net.close_listener(index);
    }
    fn attach(&mut self, link: LinkId, socket: SimSocket) -> io::Result<()> {
        self.net.attach(link, socket)
    }
    fn connect(&mut self, link: LinkId, address: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        self.world.advance(CONNECT_TIME);
        self.net.connect(link, address, source)
    }
    fn connected(&mut self, link: LinkId) -> io::Result<bool> {
        self.net.connected(link)
    }
    fn read(&mut self, link: LinkId, block: &mut [u8]) -> io::Result<usize> {
        self.world.advance(READ_TIME);
        self.net.read(link, block)
    }
    fn write(&mut self, link: LinkId, bytes: &[u8]) -> io::Result<usize> {
        self.world.advance(self.write_time);
        self.net.write(link, bytes)
    }
    fn write_gathered(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.world.advance(self.write_time);
        self.net.write_gathered(link, slices)
    }
    fn shut_down_writing(&mut self, link: LinkId) {
        self.net.shut_down_writing(link);
    }
    fn close(&mut self, link: LinkId) {
        self.net.close(link);
    }
}
