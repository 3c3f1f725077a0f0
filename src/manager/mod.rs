//! The peer manager: decides which addresses to dial and which peers to accept, and stores the known peers and the
//! bans for the next run.
//!
//! The manager combines the [dialler](dial), the [bans](ban), the [caps](admit) and the [book](store), which are
//! independent of each other. The engine reports each connection's events to the manager, which returns decisions. The
//! manager never touches a row, a socket or a clock. A loop without a manager only does a null check in place of each
//! call.

pub(crate) mod admit;
pub mod ban;
mod conduct;
pub(crate) mod dial;
#[cfg(feature = "sim")]
mod draw;
mod duplicates;
mod gossip;
#[cfg(feature = "sim")]
pub(crate) mod inspect;
pub(crate) mod keyed;
mod lifecycle;
mod persistence;
pub mod store;

pub(crate) use duplicates::Duplicate;
pub(crate) use gossip::GossipPeer;
pub(crate) use lifecycle::{Leaving, Removed};
pub(crate) use persistence::Announced;

use crate::address::{Host, canonical};
use crate::config::{DialMode, ManagerConfig};
use crate::error::{DialHold, Misbehavior, Refusal, RequestError};
use crate::id::{LinkId, PeerId};
use crate::limits::{BANS_ENDED_PER_TURN, EVICTIONS_PER_TURN};
use crate::protocol::Network;
use crate::time::{Instant, Moment};
use admit::{Admission, evict};
use ban::list::{BanList, Outcome};
use ban::{Ban, BanReason};
use conduct::{Conduct, Punishment};
use dial::{Dialler, FixedNames, Outage, Resolve, Seeds, Taken};
use duplicates::Duplicates;
use gossip::Gossip;
use keyed::KeyedState;
use persistence::Persistence;
use rand::rngs::StdRng;
use std::collections::BTreeSet;
use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use store::{Change, KnownPeer, PeerStatus};

/// Finds, accepts and refuses the peers of one loop.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) config: ManagerConfig,
    pub(crate) dialler: Dialler,
    pub(crate) seeds: Seeds,
    pub(crate) names: FixedNames,
    pub(crate) bans: BanList,
    admission: Admission,
    /// The key that makes the choice of the peer to evict unpredictable.
    keys: KeyedState,
    pub(crate) persistence: Persistence,
    pub(crate) conduct: Conduct,
    duplicates: Duplicates,
    /// The dialled links that may share their address with other links. The dialler has no record of them.
    further: BTreeSet<LinkId>,
    gossip: Gossip,
    outage: Outage,
    /// The addresses on which this loop listens.
    listening: Vec<SocketAddr>,
    /// The number of evictions considered since the last [`Manager::begin_turn`].
    evictions_considered: usize,
    /// The addresses chosen to be dialled in this turn.
    #[cfg(feature = "sim")]
    drawn: Vec<draw::Draw>,
}

impl Manager {
    pub(crate) fn new(config: &ManagerConfig, network: Network, rng: &mut StdRng) -> Self {
        let keys = KeyedState::new(rng);
        Self {
            dialler: Dialler::new(config),
            seeds: Seeds::new(config, network),
            names: FixedNames::new(config),
            bans: BanList::new(keys),
            admission: Admission::new(config, keys),
            keys,
            persistence: Persistence::new(rng),
            conduct: Conduct::default(),
            duplicates: Duplicates::default(),
            further: BTreeSet::new(),
            gossip: Gossip::new(keys),
            outage: Outage::default(),
            listening: Vec::new(),
            evictions_considered: 0,
            #[cfg(feature = "sim")]
            drawn: Vec::new(),
            config: config.clone(),
        }
    }

    /// Applies new settings. Closes no peer.
    pub(crate) fn reconfigure(&mut self, config: &ManagerConfig, moment: Moment) {
        self.names.reconfigure(config);
        self.seeds.reconfigure(config);
        self.admission.reconfigure(config);
        self.config = config.clone();
        self.update_fixed_list();
        self.refresh_ban_status(moment);
    }

    /// Passes the settings to the dialler. A fixed list also contains the address of each resolved fixed name.
    fn update_fixed_list(&mut self) {
        let mut config = self.config.clone();
        if let DialMode::Fixed(peers) = &mut config.mode {
            peers.extend(self.names.addresses());
        }
        self.dialler.reconfigure(&config);
    }

    /// Records that this loop listens on an address. The manager then never dials that address on its own.
    pub(crate) fn listens_on(&mut self, address: SocketAddr) {
        self.listening.push(address);
    }

    /// Records that this loop has stopped listening on an address.
    pub(crate) fn listens_no_more_at(&mut self, address: SocketAddr) {
        if let Some(at) = self.listening.iter().position(|own| *own == address) {
            self.listening.swap_remove(at);
        }
    }

    /// Returns the port of one of this loop's listeners, to be claimed on `link`; 0 if there is none. A further
    /// connection claims none, so that the peer does not treat it as a duplicate.
    pub(crate) fn listening_port(&self, link: LinkId) -> u16 {
        let port = self.listening.first().map_or(0, SocketAddr::port);
        if self.further.contains(&link) { 0 } else { port }
    }

    pub(crate) fn is_trusted(&self, address: IpAddr) -> bool {
        self.admission.is_trusted(address)
    }

    /// Starts the manager's step of a turn. Called after the turn's connections were accepted.
    pub(crate) fn begin_turn(&mut self) {
        self.evictions_considered = 0;
        #[cfg(feature = "sim")]
        self.drawn.clear();
    }

    // --- Slots -------------------------------------------------------------------------------------------------------

    /// Checks whether a connection from `address` may be admitted. Does not check whether a slot is free.
    pub(crate) fn admit_host(&mut self, address: IpAddr, moment: Moment) -> Result<(), Refusal> {
        if self.is_trusted(address) {
            return Ok(());
        }
        if self.bans.is_banned(address, moment) {
            return Err(Refusal::Banned);
        }
        self.admission.admit(address, moment.now)
    }

    /// Returns whether another eviction may be considered this turn. If so, counts it as considered. Always returns
    /// `false` if evictions are disabled.
    pub(crate) fn may_evict(&mut self) -> bool {
        let may = self.config.evict_inbound && self.evictions_considered < EVICTIONS_PER_TURN;
        self.evictions_considered += usize::from(may);
        may
    }

    /// Returns the accepted peer to close for a new one, or `None` if all are spared.
    pub(crate) fn choose_evicted(&self, candidates: impl Iterator<Item = evict::Candidate>) -> Option<PeerId> {
        evict::choose(candidates, self.keys)
    }

    /// Counts a new connection with `address` towards the caps, and records the address as live.
    pub(crate) fn link_added(&mut self, id: LinkId, address: SocketAddr) {
        self.admission.link_added(address.ip());
        self.dialler.live.enter(address, id);
    }

    /// Reserves a slot for a dial that the embedder requested, or returns the reason why the address is not dialled.
    pub(crate) fn allow_dial(&mut self, address: SocketAddr, moment: Moment) -> Result<(), RequestError> {
        if self.is_barred(address, moment) {
            return Err(RequestError::Banned);
        }
        self.dialler.try_manual(address, moment.now).map_err(|taken| match taken {
            Taken::Address => RequestError::AddressTaken,
            Taken::Slots => RequestError::MaxPeers,
        })
    }

    /// Reserves a slot for a dial of an address that may have other links, or returns the reason why the address is not
    /// dialled. The caller reports the link to [`Manager::further_link_added`].
    pub(crate) fn allow_further_dial(&mut self, address: SocketAddr, moment: Moment) -> Result<(), RequestError> {
        if self.is_barred(address, moment) {
            return Err(RequestError::Banned);
        }
        if self.dialler.slots.try_take() { Ok(()) } else { Err(RequestError::MaxPeers) }
    }

    /// Records that a link may share its address with other links.
    pub(crate) fn further_link_added(&mut self, link: LinkId) {
        self.further.insert(link);
    }

    /// Records that the TCP connection of a dialled link is open and the handshake begins.
    pub(crate) fn tcp_connected(&mut self, link: LinkId, address: SocketAddr) {
        if !self.further.contains(&link) {
            self.dialler.tcp_connected(address);
        }
    }

    /// Returns the next address to dial, and reserves its slot.
    pub(crate) fn next_dial(&mut self, moment: Moment, rng: &mut StdRng) -> Option<SocketAddr> {
        let Self { config, dialler, bans, admission, persistence, listening, .. } = self;
        // A fixed list has no caps: the user chose these peers, even if many are on one host.
        let has_caps = config.mode == DialMode::Normal;
        let barred = |address: SocketAddr| {
            if bans.is_banned(address.ip(), moment) && !admission.is_trusted(address.ip()) {
                return Some(DialHold::Banned);
            }
            if is_own(listening, address) {
                return Some(DialHold::OwnAddress);
            }
            has_caps.then(|| admission.full_cap(address.ip())).flatten()
        };
        let address = dialler.next(moment.now, rng, &persistence.book, barred);
        #[cfg(feature = "sim")]
        self.drawn.extend(address.map(|address| draw::Draw { address, slots_in_use: self.dialler.slots.taken() }));
        address
    }

    /// Returns the next moment at which the manager has work if no event happens first.
    ///
    /// `has_row` states whether a row is free for a dial.
    pub(crate) fn next_at(&self, has_row: bool, moment: Moment) -> Option<Instant> {
        let dial = self.dialler.next_at().filter(|_| has_row);
        let seeds = self.seeds.next_at(self.dialler.lacks_candidates());
        let bans = self.bans.next_expiry(moment);
        [dial, seeds, self.names.next_at(), bans, self.persistence.write_at(moment.now)].into_iter().flatten().min()
    }

    /// Returns the next name to resolve: a seed's or a fixed peer's.
    pub(crate) fn next_query(&mut self, now: Instant) -> Option<Resolve> {
        let is_hungry = self.dialler.lacks_candidates();
        self.seeds.next(now, is_hungry).or_else(|| self.names.next(now))
    }

    /// Returns the name that a query resolves, a seed's or a fixed peer's; `None` if no reply to the query is
    /// awaited.
    pub(crate) fn name_of(&self, query: u32) -> Option<Arc<str>> {
        self.seeds.name_of(query).or_else(|| self.names.name_of(query))
    }

    /// Abandons a query that was not answered in time, and returns its name. Call it until it returns `None`.
    pub(crate) fn give_up_query(&mut self, now: Instant, rng: &mut StdRng) -> Option<Arc<str>> {
        self.seeds.give_up(now).or_else(|| self.names.give_up(now, rng))
    }

    /// Handles the reply to a query. Returns the number of usable addresses, and how many of them are new in the
    /// book.
    pub(crate) fn resolved(
        &mut self,
        query: u32,
        answer: &[SocketAddr],
        moment: Moment,
        rng: &mut StdRng,
    ) -> (usize, usize) {
        let Moment { now, unix } = moment;
        let Self { seeds, names, listening, .. } = self;
        if names.name_of(query).is_some() {
            let found = names.resolved(query, answer, |address| is_own(listening, address), now, rng);
            self.update_fixed_list();
            return (found, 0);
        }
        let mut addresses = seeds.resolved(query, answer, |address| is_own(listening, address)).addresses;
        addresses.retain(|address| !self.is_barred(*address, moment));
        let mut new = 0;
        for &address in &addresses {
            self.make_unknown(address, moment);
            new += usize::from(self.add_to_book(KnownPeer::new(address, unix), now, rng));
        }
        (addresses.len(), new)
    }

    /// Restores the peers and bans of an earlier run.
    pub(crate) fn remember(&mut self, peers: Vec<KnownPeer>, bans: Vec<Ban>, moment: Moment, rng: &mut StdRng) {
        let mut inaccessible = Vec::new();
        for peer in peers {
            let (address, status) = (peer.address(), peer.status);
            // If there are more peers than the book may hold, the least valuable peers are dropped.
            if self.persistence.book.admit(peer, rng).is_ok() && status == PeerStatus::Inaccessible {
                inaccessible.push(address);
            }
        }
        for ban in bans {
            match self.bans.load(ban, moment) {
                // The timestamps were corrected. Without storing them, every start would correct them again.
                Outcome::Entered { ban: corrected, .. } if corrected != ban => {
                    self.persistence.record(Change::PutBan(corrected), true, moment.now)
                }
                Outcome::Entered { .. } | Outcome::Outlasted(_) | Outcome::Full => {}
                Outcome::Over => self.persistence.record(Change::RemoveBan(ban.host), true, moment.now),
            }
        }
        self.refresh_ban_status(moment);
        for address in inaccessible {
            self.make_unknown(address, moment);
        }
        self.dialler.book_changed();
    }

    /// Changes an inaccessible peer's status to unknown. Called when a seed or a connected peer sends this peer's
    /// address, and when the loop starts.
    pub(super) fn make_unknown(&mut self, address: SocketAddr, moment: Moment) {
        if self.persistence.book.peer(address).is_some_and(|peer| peer.status == PeerStatus::Inaccessible) {
            self.persistence.update_book(address, moment, |peer| peer.status = PeerStatus::Unknown);
            self.dialler.book_changed();
        }
    }

    /// Adds a new peer to the book. Returns `false` if the peer is already there or the book has no room.
    fn add_to_book(&mut self, peer: KnownPeer, now: Instant, rng: &mut StdRng) -> bool {
        let is_new = self.persistence.add_to_book(peer, now, rng);
        if is_new {
            self.dialler.book_changed();
        }
        is_new
    }

    /// Returns the numbers of links counted for `address`'s host and range.
    #[cfg(feature = "sim")]
    pub(crate) fn counted(&self, address: IpAddr) -> (usize, usize) {
        self.admission.counted(address)
    }

    /// Returns whether the host of `address` is banned and not trusted.
    pub(crate) fn is_barred(&self, address: SocketAddr, moment: Moment) -> bool {
        !self.is_trusted(address.ip()) && self.bans.is_banned(address.ip(), moment)
    }

    // --- Bans --------------------------------------------------------------------------------------------------------

    /// Charges a peer with misbehavior and returns the consequence. Returns `None` for a trusted peer, which is
    /// never charged.
    pub(crate) fn charge(&mut self, id: LinkId, address: IpAddr, misbehavior: Misbehavior) -> Option<Punishment> {
        if self.is_trusted(address) {
            return None;
        }
        Some(self.conduct.charge(id, misbehavior, self.config.ban_score))
    }

    /// Returns whether `address` is trusted or a loopback address. Misbehavior never bans such an address.
    ///
    /// A loopback address is never banned automatically, as in SV Node 1.2.2 (net_processing.cpp
    /// SendRejectsAndCheckIfBanned), because all programs on this machine share it.
    pub(crate) fn spares(&self, address: IpAddr) -> bool {
        address.to_canonical().is_loopback() || self.is_trusted(address)
    }

    /// Bans the host at `address` for `length`, or permanently if `length` is `None`. Returns the ban, and another
    /// host's ban if that one was removed to make room. Returns `None` if the ban is not added: `length` is zero, the
    /// list is full of bans that rank at least as high, or the host is already banned for at least as long and `reason`
    /// is not [`BanReason::Manual`].
    pub(crate) fn ban(
        &mut self,
        address: IpAddr,
        reason: BanReason,
        length: Option<Duration>,
        moment: Moment,
    ) -> Option<(Ban, Option<Ban>)> {
        let was_known = self.bans.has_entry(address);
        match self.bans.ban(Host::of(address), reason, length, moment) {
            Outcome::Entered { ban, displaced } => {
                self.persistence.record(Change::PutBan(ban), was_known, moment.now);
                if let Some(displaced) = displaced {
                    // Searching the book is slow, so the status of the host's peers is refreshed later, at the latest
                    // when the next ban ends.
                    self.lift_ban(displaced.host, moment.now);
                }
                Some((ban, displaced))
            }
            Outcome::Outlasted(_) | Outcome::Over | Outcome::Full => None,
        }
    }

    /// Marks an address in the book as banned if its host is banned and not trusted.
    fn record_ban_status(&mut self, address: SocketAddr, moment: Moment) {
        if let Some(ban) = self.bans.find(address.ip(), moment).filter(|_| !self.is_trusted(address.ip())) {
            self.persistence.update_book(address, moment, |peer| peer.status = PeerStatus::Banned(ban.reason));
        }
    }

    /// Lifts the ban of a host. Returns whether there was one.
    pub(crate) fn unban(&mut self, host: Host, moment: Moment) -> bool {
        let ended = self.bans.unban(host);
        self.bans_ended(ended.as_slice(), moment);
        ended.is_some()
    }

    /// Ends expired bans, up to the limit per turn, and returns them.
    pub(crate) fn end_bans(&mut self, moment: Moment) -> Vec<Ban> {
        let over = iter::from_fn(|| self.bans.pop_expired(moment));
        let ended: Vec<Ban> = over.take(BANS_ENDED_PER_TURN).collect();
        self.bans_ended(&ended, moment);
        ended
    }

    /// Records ended bans for removal from the disk, and clears the banned status of their hosts' peers in the book.
    fn bans_ended(&mut self, ended: &[Ban], moment: Moment) {
        if ended.is_empty() {
            return;
        }
        for ban in ended {
            self.lift_ban(ban.host, moment.now);
        }
        self.refresh_ban_status(moment);
        self.dialler.book_changed();
    }

    /// Handles a ban that is no longer in the list: ends the wait of the host's addresses in the dialler, records the
    /// ban for removal from the disk, and cancels the report of the ban's start if that report is still pending.
    fn lift_ban(&mut self, host: Host, now: Instant) {
        self.dialler.ban_lifted(host);
        self.persistence.remove_ban(host, now);
    }

    /// Changes the status of banned peers to unknown if their host is no longer banned or is now trusted.
    pub(super) fn refresh_ban_status(&mut self, moment: Moment) {
        let listed = self.persistence.book.peers(PeerStatus::Banned(BanReason::Manual)).map(KnownPeer::address);
        let free: Vec<SocketAddr> = listed.filter(|peer| !self.is_barred(*peer, moment)).collect();
        for address in free {
            self.persistence.update_book(address, moment, |peer| peer.status = PeerStatus::Unknown);
        }
    }
}

/// Returns whether this loop listens on `address`. A listener on the unspecified address counts as listening on every
/// loopback address.
fn is_own(listening: &[SocketAddr], address: SocketAddr) -> bool {
    let address = canonical(address);
    listening.iter().any(|own| {
        let is_any_of_ours = own.ip().is_unspecified() && address.ip().is_loopback();
        own.port() == address.port() && (own.ip().to_canonical() == address.ip() || is_any_of_ours)
    })
}
