//! A virtual host whose calls cost time, and whose accepts fail as planned by the test.

use peerloop::internals::id::LinkId;
use peerloop::internals::net::Net;
use peerloop::sim::Layer;
use peerloop::sim::{SimNet, SimSocket, World};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// Duration of an accept, as stated at `ACCEPTS_PER_TURN` in the library's module `limits`.
const ACCEPT_TIME: Duration = Duration::from_micros(15);
/// Duration of a dial, as stated at `DIALS_PER_TURN` in the library's module `limits`.
const CONNECT_TIME: Duration = Duration::from_micros(40);
pub const READ_TIME: Duration = Duration::from_micros(2);

pub struct SlowHost {
    net: SimNet,
    world: World,
    /// The errors of the next accepts, one each. Later accepts reach the virtual kernel.
    pub accept_errors: Rc<RefCell<VecDeque<io::Error>>>,
    /// Duration of each write; zero unless the test sets it.
    pub write_time: Duration,
}

impl SlowHost {
    pub fn new(world: &World) -> Self {
        Self { net: world.host(), world: world.clone(), accept_errors: Rc::default(), write_time: Duration::ZERO }
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.net.ip(), 18_444)
    }
}

impl Layer for SlowHost {
    type Below = SimNet;

    fn below(&self) -> &SimNet {
        &self.net
    }
    fn below_mut(&mut self) -> &mut SimNet {
        &mut self.net
    }
    fn accept(&mut self, index: u32) -> io::Result<(SimSocket, SocketAddr)> {
        if let Some(error) = self.accept_errors.borrow_mut().pop_front() {
            return Err(error);
        }
        let accepted = self.net.accept(index)?;
        self.world.advance(ACCEPT_TIME);
        Ok(accepted)
    }
    fn connect(&mut self, link: LinkId, address: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        self.world.advance(CONNECT_TIME);
        self.net.connect(link, address, source)
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
}
