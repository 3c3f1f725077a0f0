//! The dialler's records of addresses, and the queues and sets in which it orders the addresses.
//!
//! An address is in its family's queue of addresses to dial, in the set of waiting addresses, or in neither. Another
//! set lists the waiting addresses that the end of a ban releases. The maps are ordered, not hashed, so that no peer
//! can choose addresses that are slow to find. An address without a record may be drawn from the book at once.

use super::groups::Groups;
use super::pace::Family;
use crate::address::{Host, NetGroup, canonical};
use crate::limits::MAX_DIAL_RECORDS;
use crate::peer::RestartTracking;
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

/// The record of one address, at most 56 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) kind: Kind,
    state: State,
    /// The number of failures since the last success. It determines the pause.
    pub(super) failures: u16,
    /// The number of failures that count against the address. Failures during a local outage do not count.
    pub(super) strikes: u16,
    pub(super) restarts: RestartTracking,
}

const _: () =
    assert!(size_of::<Record>() <= 56, "a record has more bytes than the 56 that the limit of records assumes");

/// The reason why an address is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The address was drawn from the book.
    Drawn,
    /// The address is in the fixed list.
    Fixed,
    /// The address was dialled on request, or a new fixed list omitted it while it was live.
    OneShot,
}

/// The state of an address between two dials, or of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// To be dialled as soon as a slot is free.
    Queued,
    /// The TCP connection is being opened. If the address was waiting when it was dialled, the moment is the end of
    /// that wait, which may have passed; otherwise it is [`Instant::ZERO`].
    Dialling(Instant),
    /// The handshake is in progress.
    Open,
    /// Ready since this moment.
    Ready(Instant),
    /// Not to be dialled before this moment, except on request.
    Waiting(Instant),
    /// Not to be dialled until requested, or just removed from its queue.
    Held,
}

/// The first or the last position of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueEnd {
    First,
    Last,
}

pub(super) const LEAST_ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

#[derive(Debug, Default)]
pub(super) struct Records {
    by_address: BTreeMap<SocketAddr, Record>,
    /// The queues, one for each family.
    queues: [VecDeque<SocketAddr>; 2],
    /// The interfaces that the fixed list names, by address.
    scopes: BTreeMap<SocketAddr, u32>,
    waiting: BTreeSet<(Instant, SocketAddr)>,
    /// The waiting addresses that are incompatible or may not be dialled. Their wait ends early if a ban of their host
    /// ends.
    unfit: BTreeSet<(Host, SocketAddr)>,
    groups: Groups,
}

impl State {
    pub(super) const fn is_live(self) -> bool {
        match self {
            Self::Dialling(_) | Self::Open | Self::Ready(_) => true,
            Self::Queued | Self::Waiting(_) | Self::Held => false,
        }
    }
}

impl Record {
    pub(super) const fn new(kind: Kind, restarts: RestartTracking) -> Self {
        Self { kind, state: State::Held, failures: 0, strikes: 0, restarts }
    }

    /// Returns the state. Only the methods of [`Records`] change it, because they also update the queues and sets.
    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// Returns, while the TCP connection is being opened, the end of the address's wait, even if it has passed. Returns
    /// [`Instant::ZERO`] if the address was not waiting when it was dialled, and in every other state.
    pub(super) const fn paused_until(&self) -> Instant {
        match self.state {
            State::Dialling(paused_until) => paused_until,
            State::Queued | State::Open | State::Ready(_) | State::Waiting(_) | State::Held => Instant::ZERO,
        }
    }

    const fn carries_something(&self) -> bool {
        self.failures > 0 || self.restarts.restarts() > 0
    }
}

impl Records {
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.by_address.len()
    }

    #[cfg(feature = "sim")]
    pub(super) fn waiting(&self) -> impl ExactSizeIterator<Item = &(Instant, SocketAddr)> {
        self.waiting.iter()
    }

    pub(super) fn get(&self, address: SocketAddr) -> Option<&Record> {
        self.by_address.get(&address)
    }

    pub(super) fn is_live(&self, address: SocketAddr) -> bool {
        self.get(address).is_some_and(|record| record.state.is_live())
    }

    /// Returns whether an address may be drawn from the book: it has no record, or its pause has been over for at
    /// least `rest`.
    pub(super) fn is_due(&self, address: SocketAddr, rest: Duration, now: Instant) -> bool {
        match self.get(address).map(|record| record.state) {
            None => true,
            Some(State::Waiting(until)) => until.plus(rest) <= now,
            Some(State::Queued | State::Dialling(_) | State::Open | State::Ready(_) | State::Held) => false,
        }
    }

    /// Returns whether an address's range has no drawn peer and was not dialled recently.
    pub(super) fn is_group_rested(&self, address: SocketAddr) -> bool {
        self.groups.is_rested(NetGroup::of(address.ip()))
    }

    /// Returns whether a drawn address of the same range is a peer or is being dialled.
    pub(super) fn is_group_taken(&self, address: SocketAddr) -> bool {
        !self.groups.is_free(NetGroup::of(address.ip()))
    }

    /// Returns whether no address is to be dialled: the queues are empty, and no address waits.
    pub(super) fn has_none_to_dial(&self) -> bool {
        self.waiting.is_empty() && self.queues.iter().all(VecDeque::is_empty)
    }

    /// Returns whether an address's range allows its dial. Returns `false` only for a drawn address if another drawn
    /// address of the same range is a peer or is being dialled.
    pub(super) fn fits_groups(&self, address: SocketAddr) -> bool {
        let is_drawn = self.get(address).is_some_and(|record| record.kind == Kind::Drawn);
        !is_drawn || self.groups.is_free(NetGroup::of(address.ip()))
    }

    /// Removes and returns a queue's first address. The address is held until it is dialled, set aside or put back.
    pub(super) fn pop_queued(&mut self, family: Family) -> Option<SocketAddr> {
        let address = self.queues[family.index()].pop_front()?;
        if let Some(record) = self.by_address.get_mut(&address) {
            record.state = State::Held;
        }
        Some(address)
    }

    /// Puts an address back at the start of the queue from which it was removed.
    pub(super) fn put_back(&mut self, address: SocketAddr) {
        if let Some(&record) = self.get(address) {
            self.enqueue(address, record, QueueEnd::First);
        }
    }

    /// Returns a canonical address with the interface that the fixed list names for it.
    pub(super) fn scoped(&self, mut address: SocketAddr) -> SocketAddr {
        if let SocketAddr::V6(address) = &mut address {
            address.set_scope_id(self.scopes.get(&SocketAddr::V6(*address)).copied().unwrap_or(0));
        }
        address
    }

    pub(super) fn has_queued(&self, family: Family) -> bool {
        !self.queues[family.index()].is_empty()
    }

    /// Returns the moment at which the first waiting address is due.
    pub(super) fn first_due(&self) -> Option<Instant> {
        self.waiting.first().map(|&(until, _)| until)
    }

    /// Returns the moment at which the next waiting address that is not due yet becomes due.
    pub(super) fn first_due_after(&self, now: Instant) -> Option<Instant> {
        let least = (now.plus(Duration::from_nanos(1)), LEAST_ADDRESS);
        self.waiting.range(least..).next().map(|&(until, _)| until)
    }

    // --- Changes ----------------------------------------------------------------------------------------------------

    /// Moves the record of a dialled address to the dialling state. `record` creates one if there is none.
    pub(super) fn dial(&mut self, address: SocketAddr, record: impl FnOnce() -> Record, now: Instant) {
        self.take_out(address);
        let record = self.by_address.entry(address).or_insert_with(record);
        record.state = State::Dialling(match record.state {
            State::Waiting(until) => until,
            State::Queued | State::Dialling(_) | State::Open | State::Ready(_) | State::Held => Instant::ZERO,
        });
        if record.kind == Kind::Drawn {
            self.groups.dial(NetGroup::of(address.ip()), now);
        }
    }

    /// Records that the book lists a dialled address as inaccessible, which counts as at least `max_retries` earlier
    /// failures.
    pub(super) fn note_inaccessible(&mut self, address: SocketAddr, max_retries: u16) {
        if let Some(record) = self.by_address.get_mut(&address) {
            record.failures = record.failures.max(max_retries);
            record.strikes = record.strikes.max(max_retries);
        }
    }

    pub(super) fn tcp_connected(&mut self, address: SocketAddr) {
        let Some(record) = self.by_address.get_mut(&address) else { return };
        if matches!(record.state, State::Dialling(_)) {
            record.state = State::Open;
        }
    }

    pub(super) fn ready(&mut self, address: SocketAddr, now: Instant) {
        let Some(record) = self.by_address.get_mut(&address) else { return };
        match record.state {
            State::Open | State::Dialling(_) => {}
            State::Queued | State::Ready(_) | State::Waiting(_) | State::Held => return,
        }
        record.state = State::Ready(now);
    }

    /// Removes and returns the record of a live address, which the caller stores again or drops. Returns `None` if the
    /// address is not live.
    pub(super) fn end(&mut self, address: SocketAddr) -> Option<Record> {
        if !self.is_live(address) {
            return None;
        }
        let record = self.by_address.remove(&address)?;
        if record.kind == Kind::Drawn {
            self.groups.leave(NetGroup::of(address.ip()));
        }
        Some(record)
    }

    pub(super) fn enqueue(&mut self, address: SocketAddr, mut record: Record, end: QueueEnd) {
        record.state = State::Queued;
        self.by_address.insert(address, record);
        let queue = &mut self.queues[Family::of(address).index()];
        match end {
            QueueEnd::First => queue.push_front(address),
            QueueEnd::Last => queue.push_back(address),
        }
    }

    /// Stores the record of an address that has to wait, and returns `true`. If there are [`MAX_DIAL_RECORDS`] records,
    /// a drawn address's record replaces one that is due. If none is due, the new record is dropped, and `false` is
    /// returned.
    pub(super) fn wait(&mut self, address: SocketAddr, mut record: Record, until: Instant, now: Instant) -> bool {
        if record.kind == Kind::Drawn && self.by_address.len() >= MAX_DIAL_RECORDS && !self.forget_one_due(now) {
            return false;
        }
        record.state = State::Waiting(until);
        self.by_address.insert(address, record);
        self.waiting.insert((until, address));
        true
    }

    pub(super) fn hold(&mut self, address: SocketAddr, mut record: Record) {
        record.state = State::Held;
        self.by_address.insert(address, record);
    }

    /// Makes an address wait until `until`, or until a ban of its host ends if that is sooner. Drops the record if
    /// [`Records::wait`] has no room for it.
    pub(super) fn wait_for_unban(&mut self, address: SocketAddr, record: Record, until: Instant, now: Instant) {
        if self.wait(address, record, until, now) {
            self.unfit.insert((Host::of(address.ip()), address));
        }
    }

    /// Ends the wait of `host`'s addresses that the end of a ban releases. Moves fixed addresses to their queue, and
    /// drops the records of others.
    pub(super) fn release_unfit(&mut self, host: Host) {
        while let Some(&entry) = self.unfit.range((host, LEAST_ADDRESS)..).next().filter(|(other, _)| *other == host) {
            self.unfit.remove(&entry);
            let (_, address) = entry;
            self.take_out(address);
            match self.by_address.remove(&address) {
                Some(record) if record.kind == Kind::Fixed => self.enqueue(address, record, QueueEnd::Last),
                Some(_) | None => {}
            }
        }
    }

    /// Sets aside an address that was removed from a queue but cannot be dialled now. A fixed address waits until
    /// `until`. Any other address can be drawn from the book again at once.
    pub(super) fn set_aside(&mut self, address: SocketAddr, until: Instant, now: Instant) {
        let Some(record) = self.by_address.remove(&address) else { return };
        match record.kind {
            Kind::Fixed => self.wait_for_unban(address, record, until, now),
            Kind::Drawn if record.carries_something() => drop(self.wait(address, record, now, now)),
            Kind::Drawn | Kind::OneShot => {}
        }
    }

    /// Moves at most `max` addresses whose wait is over to their queues.
    pub(super) fn recall_due(&mut self, now: Instant, max: usize) {
        for _ in 0..max {
            let Some(&(until, address)) = self.waiting.first() else { return };
            if until > now {
                return;
            }
            self.take_out(address);
            if let Some(&record) = self.get(address) {
                self.enqueue(address, record, QueueEnd::Last);
            }
        }
    }

    /// Drops at most `max` records of addresses whose wait has been over for at least `memory`.
    pub(super) fn forget_long_due(&mut self, now: Instant, memory: Duration, max: usize) {
        for _ in 0..max {
            if self.first_due().is_none_or(|until| until.plus(memory) > now) {
                return;
            }
            self.forget_one_due(now);
        }
    }

    /// Drops the entries of dials that are too old to count against their address ranges.
    pub(super) fn rest_groups(&mut self, now: Instant) {
        self.groups.tidy(now);
    }

    // --- Other settings ---------------------------------------------------------------------------------------------

    pub(super) fn limit_restarts(&mut self, max_restarts: u32, window: Duration) {
        for record in self.by_address.values_mut() {
            record.restarts.limit_to(max_restarts, window);
        }
    }

    /// Makes `peers` the fixed list: drops records that are neither listed nor live, and adds new addresses to their
    /// queues.
    pub(super) fn fix(&mut self, peers: &[SocketAddr], restarts: RestartTracking) {
        let listed: BTreeSet<SocketAddr> = peers.iter().map(|&peer| canonical(peer)).collect();
        let groups = &mut self.groups;
        self.by_address.retain(|address, record| {
            let is_live = record.state.is_live();
            if record.kind == Kind::Drawn && is_live {
                groups.leave(NetGroup::of(address.ip()));
            }
            let is_listed = listed.contains(address);
            record.kind = if is_listed { Kind::Fixed } else { Kind::OneShot };
            is_listed || is_live
        });
        self.drop_strays();
        self.scopes = peers.iter().filter_map(|&peer| Some((canonical(peer), scope_of(peer)?))).collect();
        for address in peers.iter().map(|&peer| canonical(peer)) {
            if !self.by_address.contains_key(&address) {
                self.enqueue(address, Record::new(Kind::Fixed, restarts), QueueEnd::Last);
            }
        }
    }

    /// Removes the fixed list. The list's live addresses count as drawn from the book, and its failed ones still wait.
    pub(super) fn unfix(&mut self) {
        let groups = &mut self.groups;
        self.by_address.retain(|address, record| {
            if record.kind != Kind::Fixed {
                return true;
            }
            record.kind = Kind::Drawn;
            if record.state.is_live() {
                groups.join(NetGroup::of(address.ip()));
            }
            let has_failed = matches!(record.state, State::Waiting(_)) && record.carries_something();
            record.state.is_live() || has_failed
        });
        self.drop_strays();
    }

    /// Removes addresses without a record from the queues and from the sets of waiting addresses.
    fn drop_strays(&mut self) {
        let records = &self.by_address;
        for queue in &mut self.queues {
            queue.retain(|address| records.contains_key(address));
        }
        self.waiting.retain(|(_, address)| records.contains_key(address));
        self.unfit.retain(|(_, address)| records.contains_key(address));
    }

    fn forget_one_due(&mut self, now: Instant) -> bool {
        let Some(&(until, address)) = self.waiting.first() else { return false };
        let is_due = until <= now;
        if is_due {
            self.take_out(address);
            self.by_address.remove(&address);
        }
        is_due
    }

    /// Asserts that each address is in the queue or set that its state requires, and in no other. Also checks the
    /// number of peers in each range.
    #[cfg(test)]
    pub(super) fn assert_in_order(&self) {
        let (mut queued, mut waiting) = (BTreeSet::new(), BTreeSet::new());
        let mut groups: BTreeMap<NetGroup, usize> = BTreeMap::new();
        for (&address, record) in &self.by_address {
            match record.state {
                State::Queued => drop(queued.insert((Family::of(address).index(), address))),
                State::Waiting(until) => drop(waiting.insert((until, address))),
                State::Dialling(_) | State::Open | State::Ready(_) | State::Held => {}
            }
            let group = NetGroup::of(address.ip());
            if record.state.is_live() && record.kind == Kind::Drawn && group != NetGroup::Unroutable {
                *groups.entry(group).or_default() += 1;
            }
        }
        let queues = self.queues.iter().enumerate();
        let queues = queues.flat_map(|(index, queue)| queue.iter().map(move |&address| (index, address)));
        assert_eq!(queues.clone().count(), queued.len(), "the queues have too many or too few addresses");
        assert_eq!(queues.collect::<BTreeSet<_>>(), queued);
        assert_eq!((&self.waiting, self.groups.peers()), (&waiting, groups));
        for &(host, address) in &self.unfit {
            let waits = self.get(address).is_some_and(|record| matches!(record.state, State::Waiting(_)));
            assert!(waits && Host::of(address.ip()) == host, "{address} does not wait, or has another host");
        }
    }

    /// Removes an address from its queue or from the sets of waiting addresses.
    fn take_out(&mut self, address: SocketAddr) {
        match self.get(address).map(|record| record.state) {
            Some(State::Waiting(until)) => {
                self.waiting.remove(&(until, address));
                self.unfit.remove(&(Host::of(address.ip()), address));
            }
            Some(State::Queued) => self.queues[Family::of(address).index()].retain(|&other| other != address),
            Some(State::Held | State::Dialling(_) | State::Open | State::Ready(_)) | None => {}
        }
    }
}

/// Returns the interface (the scope id) named in `address`, if any.
fn scope_of(address: SocketAddr) -> Option<u32> {
    match address {
        SocketAddr::V4(_) => None,
        SocketAddr::V6(address) => Some(address.scope_id()).filter(|&scope| scope != 0),
    }
}
