//! The handle of a virtual world, for whoever sets it up and drives it.

use super::connection::Conditions;
use super::kernel::Kernel;
use super::net::SimNet;
use super::trace::Trace;
use crate::net::Readiness;
use crate::time::{Instant, UnixTime};
use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;

/// Hosts, connections, a clock and one source of chance. Cheap to clone: all clones are the same world.
#[derive(Clone, Debug)]
pub struct World {
    kernel: Rc<RefCell<Kernel>>,
}

impl World {
    /// A world without hosts, whose clock stands at `start` and whose chance is drawn from `seed`.
    pub fn new(seed: u64, start: Instant) -> Self {
        Self { kernel: Rc::new(RefCell::new(Kernel::new(seed, start))) }
    }

    /// Adds a host; the first has the address 10.0.0.1, the second 10.0.0.2, and so on.
    pub fn host(&self) -> SimNet {
        let host = self.kernel_mut().add_host();
        SimNet::new(self.clone(), host)
    }

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

    /// What connections that are opened from here on are like.
    pub fn set_conditions(&self, conditions: Conditions) {
        self.kernel_mut().conditions = conditions;
    }

    /// How many connections wait at listeners that are opened from here on; dials beyond it stay undecided. Default
    /// 4,096.
    pub fn set_backlog(&self, connections: usize) {
        self.kernel_mut().backlog = connections;
    }

    /// Lets the next wait of a host bring an event that no socket has caused.
    pub fn forge(&self, host: &SimNet, readiness: Readiness) {
        self.kernel_mut().forge(host.host(), readiness);
    }

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
