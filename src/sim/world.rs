//! The handle of a virtual world. A test uses it to set the world up, to cause failures and to advance the clock.
//!
//! The handle itself never gives a host a turn; the [`Driver`](super::Driver) does.

use super::connection::Conditions;
use super::faults::Site;
use super::kernel::{Disk, Kernel, Names, Route};
use super::net::SimNet;
use super::poller::{Pending, Poller};
use super::tape::{Chance, Tape};
use super::trace::Trace;
use crate::id::{LinkId, Token};
use crate::manager::store::MemoryStore;
use crate::net::Readiness;
use crate::time::{Instant, UnixTime};
use std::cell::{Ref, RefCell, RefMut};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

/// Hosts, connections, a clock and one source of random numbers. Clones are cheap and share one world.
///
/// A host is identified by [`SimNet::host`], its index in the order in which hosts were added. Methods panic if there
/// is no such host.
#[derive(Clone, Debug)]
pub struct World {
    kernel: Rc<RefCell<Kernel>>,
}

impl World {
    /// Returns a world without hosts, whose clock starts at `start` and whose random numbers are drawn from `seed`.
    pub fn new(seed: u64, start: Instant) -> Self {
        Self::with_tape(Tape::from_seed(seed), start)
    }

    /// Returns a world without hosts, whose clock starts at `start` and whose random numbers are drawn from `tape`.
    pub fn with_tape(tape: Tape, start: Instant) -> Self {
        Self { kernel: Rc::new(RefCell::new(Kernel::new(tape, start))) }
    }

    /// Adds a host and returns its network. The first host has the address 10.0.0.1, the second 10.0.0.2, and so on.
    pub fn host(&self) -> SimNet {
        let host = self.kernel_mut().add_host();
        SimNet::new(Rc::clone(&self.kernel), host)
    }

    /// Restarts a host whose network was dropped, like a killed process that starts again on the same machine.
    /// Replies to its earlier queries are dropped. Unwritten changes to its address book are lost, but a [`Disk::Wild`]
    /// may write all of them instead.
    pub fn restart(&self, host: usize) -> SimNet {
        self.kernel_mut().lose_unwritten(host);
        self.kernel_mut().drop_queries(host);
        self.kernel_mut().renew_poller(host);
        SimNet::new(Rc::clone(&self.kernel), host)
    }

    /// Returns the tape from which this world draws all its random numbers.
    pub fn tape(&self) -> Tape {
        self.kernel().tape.clone()
    }

    /// Returns a stream of the world's tape. Streams from 2^31 on are reserved for the world itself.
    pub fn chance(&self, stream: u32) -> Chance {
        self.kernel().tape.stream(stream)
    }

    // --- Time -------------------------------------------------------------------------------------------------------

    /// Returns the monotonic clock's time.
    pub fn now(&self) -> Instant {
        self.kernel().now
    }

    /// Returns the wall clock's time. Its Unix time is 1,700,000,000 when the world begins.
    pub fn unix_time(&self) -> UnixTime {
        self.kernel().unix_time()
    }

    /// Advances the clock. No host acts meanwhile.
    pub fn advance(&self, by: Duration) {
        self.kernel_mut().advance(by);
    }

    /// Stops a host for a while, like a stopped process or machine: the driver gives it no turn, while the kernel
    /// keeps working for it. Of several pauses, the one that ends last counts.
    pub fn pause_host(&self, host: usize, time: Duration) {
        self.kernel_mut().pause(host, time);
    }

    // --- The network ------------------------------------------------------------------------------------------------

    /// Sets the conditions of connections that are opened later.
    pub fn set_conditions(&self, conditions: Conditions) {
        self.kernel_mut().conditions = Rc::new(conditions);
    }

    /// Sets the maximum number of connections that wait to be accepted, for each listener that is opened later;
    /// further dials stay pending. Default 4,096.
    pub fn set_backlog(&self, connections: usize) {
        self.kernel_mut().backlog = connections;
    }

    /// Sets the route of later dials to an address.
    pub fn set_route(&self, to: IpAddr, route: Route) {
        self.kernel_mut().routes.insert(to, route);
    }

    /// Sets a name's addresses for all hosts. With an empty list, the name exists but has no addresses. The name must
    /// not contain a port.
    pub fn set_name(&self, name: &str, addresses: Vec<IpAddr>) {
        self.kernel_mut().names.insert(name.to_owned(), addresses);
    }

    /// Sets the behaviour of a host's resolver.
    pub fn set_names(&self, host: usize, names: Names) {
        self.kernel_mut().set_names(host, names);
    }

    /// Sets the behaviour of a host's disk.
    pub fn set_disk(&self, host: usize, disk: Disk) {
        self.kernel_mut().set_disk(host, disk);
    }

    /// Returns the address book on a host's disk.
    pub fn book(&self, host: usize) -> MemoryStore {
        self.kernel().book(host)
    }

    /// Sets the local ports that dials from each source to each destination can use. Default 32,768 to 60,999. The port
    /// of a dialler that closed its connection first stays in use for 60 s.
    pub fn set_ports(&self, ports: RangeInclusive<u16>) {
        self.kernel_mut().ports.range = ports;
    }

    /// Stops all traffic to and from a host, silently and in both directions. Bytes written meanwhile wait. A dial
    /// fails with `ETIMEDOUT` after 127 s, unless the cut ends first. The cost grows with the total number of
    /// connections.
    pub fn cut(&self, host: usize) {
        self.kernel_mut().cut(host);
    }

    /// Ends a [`World::cut`] and delivers everything that the cut delayed, except to and from hosts that are still cut.
    /// The cost grows with the total number of connections.
    pub fn heal(&self, host: usize) {
        self.kernel_mut().heal(host);
    }

    /// Resets both ends of a host's connection, as a middlebox does. Returns whether the host has this connection. The
    /// cost grows with the total number of connections.
    pub fn reset(&self, host: usize, link: LinkId) -> bool {
        self.kernel_mut().reset(host, Token::Link(link).to_u64())
    }

    // --- Pollers ----------------------------------------------------------------------------------------------------

    /// Sets the behaviour of a host's poller.
    pub fn set_poller(&self, host: usize, poller: Poller) {
        self.kernel_mut().queue_mut(host).poller = poller;
    }

    /// Adds an event without a cause to a host's next wait.
    pub fn forge(&self, host: &SimNet, readiness: Readiness) {
        self.kernel_mut().push(host.host(), Pending::Forged(readiness));
    }

    // --- Faults -----------------------------------------------------------------------------------------------------

    /// Makes each call of a host at a site fail with probability 1/`one_in`; 0 means never. With `EINTR`, only a wait
    /// fails; any other call is retried. Several faults of one host and site draw in turn from one random stream. A
    /// call that always fails with `EAGAIN`, or a wait that is always interrupted, keeps a loop busy while no time
    /// passes.
    pub fn fail_sometimes(&self, host: usize, site: Site, errno: i32, one_in: u32) {
        self.kernel_mut().fail_sometimes(host, site, errno, one_in);
    }

    /// Makes the `nth_call` of a host at a site fail, counted from 1 since the host was added.
    pub fn fail_once(&self, host: usize, site: Site, errno: i32, nth_call: u64) {
        self.kernel_mut().fail_once(host, site, errno, nth_call);
    }

    /// Removes all planned failures of all hosts.
    pub fn clear_faults(&self) {
        self.kernel_mut().clear_faults();
    }

    /// Returns how many calls a host has made at a site, including failed ones.
    pub fn calls(&self, host: usize, site: Site) -> u64 {
        self.kernel().calls(host, site)
    }

    /// Sets the maximum number of a host's open descriptors; less than 2 counts as 2. At the maximum, a call that needs
    /// another descriptor fails with `EMFILE`. No limit by default.
    pub fn set_descriptor_limit(&self, host: usize, descriptors: usize) {
        self.kernel_mut().set_descriptor_limit(host, descriptors);
    }

    /// Returns the number of a host's open descriptors: its connections, its listeners, its poller and its waker.
    pub fn open_descriptors(&self, host: usize) -> usize {
        self.kernel().open_descriptors(host)
    }

    // --- The record -------------------------------------------------------------------------------------------------

    /// From now on, keeps every call and not only a hash of all calls; memory grows with each call.
    pub fn keep_log(&self) {
        self.kernel_mut().trace.keep_log();
    }

    /// Returns the record of all calls.
    ///
    /// # Panics
    ///
    /// If any host makes a call while the record is borrowed.
    pub fn trace(&self) -> Ref<'_, Trace> {
        Ref::map(self.kernel(), |kernel| &kernel.trace)
    }

    pub(super) fn kernel(&self) -> Ref<'_, Kernel> {
        self.kernel.borrow()
    }

    pub(super) fn kernel_mut(&self) -> RefMut<'_, Kernel> {
        self.kernel.borrow_mut()
    }
}
