//! Whom to dial when.

mod candidates;
mod crossing;
mod ended;
mod live;
mod places;
mod seeds;

pub(crate) use candidates::{Candidates, Standing};
pub(crate) use crossing::{Keep, resolve_crossing};
pub(crate) use ended::{Ended, Verdict};
pub(crate) use live::Live;
pub(crate) use places::Places;
pub(crate) use seeds::{Resolve, SeedAnswer, Seeds};

use crate::config::ManagerConfig;
use crate::peer::RestartTracking;
use crate::time::Instant;
use rand::Rng;
use std::net::{IpAddr, SocketAddr};

/// Decides whom to dial when.
///
/// Addresses are compared in their canonical form, and given out in it.
#[derive(Debug)]
pub(crate) struct Dialler {
    /// The count of all peers. [`Dialler::next`] and [`Dialler::try_manual`] take a place for what they allow to be
    /// dialled; the row gives it back when it ends.
    pub(crate) places: Places,
    /// The addresses of all live links, which their rows claim and release.
    pub(crate) live: Live,
}

/// Why an address is not dialled although somebody asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// There is a link to it, or one is being dialled.
    Address,
    /// The maximum of peers is reached.
    Places,
}

/// A connection of this loop to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SelfConnection {
    /// What we dialled.
    pub(crate) dialled: SocketAddr,
    /// The other end came from where we dialled, so it is no replay of our nonce by somebody else.
    pub(crate) is_proven: bool,
}

impl Dialler {
    /// Knows nobody yet but a fixed list, all of which is due.
    pub(crate) fn new(config: &ManagerConfig, now: Instant) -> Self {
        let _ = now;
        Self { places: Places::new(config.max_peers), live: Live::default() }
    }

    /// Takes other settings. Closes nobody: what is live stays whatever the target, the maximum or the fixed list.
    pub(crate) fn reconfigure(&mut self, config: &ManagerConfig, now: Instant) {
        let _ = now;
        self.places.set_max(config.max_peers);
    }

    /// When [`Dialler::next`] is worth a call although nothing happens; a moment that has passed means at once.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        None
    }

    /// One address to dial now, with its place taken. Call until `None`, or until the turn has had enough.
    ///
    /// `barred` says of an address that it must not be dialled, for it is banned or one of our own. Whatever becomes of
    /// the dial, [`Dialler::ended`] must be told of its end.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        rng: &mut impl Rng,
        book: &impl Candidates,
        barred: impl FnMut(SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        let _ = (now, rng, book, barred);
        None
    }

    /// Takes a place for a dial that somebody asked for.
    ///
    /// An address that the dialler has in hand, from the fixed list or in a pause, is thereby dialled early, and its end
    /// is judged like any other; of a fixed address that was dismissed it ends the rest. Every other one is dialled
    /// this once: it is not restarted, does not wait and leaves no record behind.
    ///
    /// # Errors
    ///
    /// If the address is in use or the maximum is reached; nothing is taken then.
    pub(crate) fn try_manual(&mut self, address: SocketAddr, now: Instant) -> Result<(), Taken> {
        let _ = (address, now);
        Ok(())
    }

    /// The kernel has begun to connect: neither descriptors nor ports are short.
    pub(crate) fn dialled(&mut self, address: SocketAddr) {
        let _ = address;
    }

    /// The TCP connection is open, and `version` has been sent with this nonce.
    pub(crate) fn opened(&mut self, address: SocketAddr, nonce: u64) {
        let _ = (address, nonce);
    }

    /// The handshake is complete: the book should say that the address is valid.
    pub(crate) fn ready(&mut self, address: SocketAddr, now: Instant) {
        let _ = (address, now);
    }

    /// A connection that was dialled has ended; its place is given back by its row.
    pub(crate) fn ended(&mut self, address: SocketAddr, ended: Ended, now: Instant, rng: &mut impl Rng) -> Verdict {
        let _ = (address, ended, now, rng);
        Verdict::Nothing
    }

    /// A shortage that was met elsewhere, as in accepting.
    pub(crate) fn short_of_descriptors(&mut self, now: Instant) {
        let _ = now;
    }

    /// The book has new addresses, or a ban has ended: what found nobody to dial may try again.
    pub(crate) fn book_changed(&mut self) {}

    /// Whether there is a link to `address`, in either direction, or one is being dialled.
    pub(crate) fn is_taken(&self, address: SocketAddr) -> bool {
        self.live.holder(address).is_some()
    }

    /// Whether more peers are wanted than the book has candidates for: the seeds should be asked.
    pub(crate) fn lacks_candidates(&self) -> bool {
        false
    }

    /// The restarts of an address, for the row of its connection.
    pub(crate) fn restarts(&self, address: SocketAddr) -> Option<RestartTracking> {
        let _ = address;
        None
    }

    /// Whether a `version` that came from `from` carries a nonce that we sent in a handshake that still runs.
    ///
    /// Both links should be closed, the dialled one with [`Ended::Ourselves`] if it is proven.
    pub(crate) fn self_connection(&self, nonce: u64, from: IpAddr) -> Option<SelfConnection> {
        let _ = (nonce, from);
        None
    }
}
