//! The handle of a virtual world, for whoever sets it up, harms it and drives it.

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

/// Hosts, connections, a clock and one source of chance. Cheap to clone: all clones are the same world.
///
/// Hosts are named by [`SimNet::host`], their place in the order in which they were added. A method that is given the
/// name of a host which was not added panics.
#[derive(Clone, Debug)]
pub struct World {
    kernel: Rc<RefCell<Kernel>>,
}

impl World {
    /// A world without hosts, whose clock stands at `start` and whose chance is drawn from `seed`.
    pub fn new(seed: u64, start: Instant) -> Self {
        Self::with_tape(Tape::from_seed(seed), start)
    }

    /// A world without hosts, whose clock stands at `start` and whose chance comes from `tape`.
    pub fn with_tape(tape: Tape, start: Instant) -> Self {
        Self { kernel: Rc::new(RefCell::new(Kernel::new(tape, start))) }
    }

    /// Adds a host; the first has the address 10.0.0.1, the second 10.0.0.2, and so on.
    pub fn host(&self) -> SimNet {
        let host = self.kernel_mut().add_host();
        SimNet::new(self.clone(), host)
    }

    /// A host whose network was dropped, once more: as a process that was killed and is started again on the same
    /// machine. Nobody hears what was asked before; of what the disk was given and had not confirmed, it may have all,
    /// or none.
    pub fn restart(&self, host: usize) -> SimNet {
        self.kernel_mut().lose_unwritten(host);
        self.kernel_mut().forget_questions(host);
        self.kernel_mut().renew_poller(host);
        SimNet::new(self.clone(), host)
    }

    /// The tape that all chance of this world comes from.
    pub fn tape(&self) -> Tape {
        self.kernel().tape.clone()
    }

    /// A stream of that tape. Those from 2^31 on are the world's own.
    pub fn chance(&self, stream: u32) -> Chance {
        self.kernel().tape.stream(stream)
    }

    // --- Time -------------------------------------------------------------------------------------------------------

    /// The monotonic clock.
    pub fn now(&self) -> Instant {
        self.kernel().now
    }

    /// The wall clock; it shows 1,700,000,000 when the world begins.
    pub fn unix_time(&self) -> UnixTime {
        self.kernel().unix_time()
    }

    /// Lets time pass, in which nobody does anything.
    pub fn advance(&self, by: Duration) {
        self.kernel_mut().advance(by);
    }

    /// Stops a host for a while, as a stopped process or machine: the driver gives it no turn, while the kernel goes on
    /// for it. The longest of several pauses counts.
    pub fn pause_host(&self, host: usize, time: Duration) {
        self.kernel_mut().pause(host, time);
    }

    // --- The network ------------------------------------------------------------------------------------------------

    /// What connections that are opened from here on are like.
    pub fn set_conditions(&self, conditions: Conditions) {
        self.kernel_mut().conditions = Rc::new(conditions);
    }

    /// How many connections wait at listeners that are opened from here on; dials beyond it stay undecided. Default
    /// 4,096.
    pub fn set_backlog(&self, connections: usize) {
        self.kernel_mut().backlog = connections;
    }

    /// What becomes of dials to an address from here on.
    pub fn set_route(&self, to: IpAddr, route: Route) {
        self.kernel_mut().routes.insert(to, route);
    }

    /// The addresses of a name, from here on and for all hosts; none for a name that exists and has none. It has to be
    /// told without a port.
    pub fn set_name(&self, name: &str, addresses: Vec<IpAddr>) {
        self.kernel_mut().names.insert(name.to_owned(), addresses);
    }

    /// What a host's resolver is like, from here on.
    pub fn set_names(&self, host: usize, names: Names) {
        self.kernel_mut().set_names(host, names);
    }

    /// What a host's disk is like, from here on.
    pub fn set_disk(&self, host: usize, disk: Disk) {
        self.kernel_mut().set_disk(host, disk);
    }

    /// The book that a host's disk holds.
    pub fn book(&self, host: usize) -> MemoryStore {
        self.kernel().book(host)
    }

    /// The local ports of dials, for each pair of a source and a destination. Default 32,768 to 60,999. The port of a
    /// dialler that was the first to end its connection stays taken for 60 s.
    pub fn set_ports(&self, ports: RangeInclusive<u16>) {
        self.kernel_mut().ports.range = ports;
    }

    /// Lets nothing through to or from a host any more, in either direction and without a word to anybody. What is
    /// written meanwhile waits; a dial fails with `ETIMEDOUT` after 127 s. It looks at all connections.
    pub fn cut(&self, host: usize) {
        self.kernel_mut().cut(host);
    }

    /// Lets through again what [`World::cut`] has held up. It looks at all connections.
    pub fn heal(&self, host: usize) {
        self.kernel_mut().heal(host);
    }

    /// Resets both ends of a host's connection, as a box on the way does it; returns whether there is one. It looks at
    /// all connections.
    pub fn reset(&self, host: usize, link: LinkId) -> bool {
        self.kernel_mut().reset(host, Token::Link(link).to_u64())
    }

    // --- What a host is told ----------------------------------------------------------------------------------------

    /// How a host's poller tells of what is new, from here on.
    pub fn set_poller(&self, host: usize, poller: Poller) {
        self.kernel_mut().queue_mut(host).poller = poller;
    }

    /// Lets the next wait of a host bring an event that no socket has caused.
    pub fn forge(&self, host: &SimNet, readiness: Readiness) {
        self.kernel_mut().push(host.host(), Pending::Forged(readiness));
    }

    // --- Faults -----------------------------------------------------------------------------------------------------

    /// Lets one in so many of a host's calls fail, drawn from a stream of the host's and the site's own. A number of
    /// 0 means none. Several faults of one site are drawn one after another. What fails every time with `EAGAIN`, or is
    /// interrupted every time, keeps a loop busy without time passing.
    pub fn fail_sometimes(&self, host: usize, site: Site, errno: i32, one_in: u32) {
        self.kernel_mut().fail_sometimes(host, site, errno, one_in);
    }

    /// Lets the `nth_call` of a host at a site fail, counted from 1 since the host was added.
    pub fn fail_once(&self, host: usize, site: Site, errno: i32, nth_call: u64) {
        self.kernel_mut().fail_once(host, site, errno, nth_call);
    }

    /// Lets no call of any host fail any more.
    pub fn clear_faults(&self) {
        self.kernel_mut().clear_faults();
    }

    /// How many calls a host has made at a site, failed ones among them.
    pub fn calls(&self, host: usize, site: Site) -> u64 {
        self.kernel().calls(host, site)
    }

    /// How many descriptors a host may have open; beyond it calls fail with `EMFILE`. Default without limit.
    pub fn set_descriptor_limit(&self, host: usize, descriptors: usize) {
        self.kernel_mut().set_descriptor_limit(host, descriptors);
    }

    /// How many descriptors a host has open: its connections, its listeners, its poller and its waker.
    pub fn open_descriptors(&self, host: usize) -> usize {
        self.kernel().open_descriptors(host)
    }

    // --- The record -------------------------------------------------------------------------------------------------

    /// Keeps every call from here on, not only their hash; the memory grows with each.
    pub fn keep_log(&self) {
        self.kernel_mut().trace.keep_log();
    }

    /// The record of all calls.
    ///
    /// # Panics
    ///
    /// If any host makes a call while the record is being looked at.
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
