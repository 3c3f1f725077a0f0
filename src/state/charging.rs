//! Charges and bans, for the engine and for handlers.
//!
//! The manager decides on each charge and ban. This module applies the decision: it starts to close the affected links
//! at once, and emits a charge's event at once. A ban is reported once it is durable. This module never reads a clock
//! or waits for the disk.

use super::LoopState;
use crate::address::Host;
use crate::api::ControlEvent;
use crate::error::{LocalCause, Misbehavior, RequestError};
use crate::id::{LinkId, PeerId};
use crate::manager::ban::score::Decision;
use crate::manager::ban::{Ban, BanReason};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

impl LoopState {
    /// Charges an open link with a misbehavior, and closes the link or bans its host if the manager decides so. Does
    /// nothing for a trusted host or without a peer manager.
    pub(crate) fn charge(&mut self, id: LinkId, misbehavior: Misbehavior) {
        let (Some(manager), Some(link)) = (&mut self.manager, self.links.table.get(id)) else { return };
        if !link.is_open() {
            return;
        }
        let (address, said_reject) = (link.peer.address(), link.said_reject);
        let Some(punishment) = manager.charge(id, address.ip(), misbehavior) else { return };
        let (points, score) = (punishment.points, punishment.score);
        let peer = PeerId::of(id);
        self.outbox.emit(ControlEvent::PeerMisbehaved { peer, address, misbehavior, points, score });
        match punishment.decision {
            Decision::Tolerated => {}
            // A graceful close lets the peer read a `reject` that was sent before.
            Decision::Disconnect => self.links.close(id, misbehavior.into(), self.clocks.now()),
            Decision::Ban => {
                match said_reject {
                    true => self.links.close(id, misbehavior.into(), self.clocks.now()),
                    false => self.links.abort(id, misbehavior.into()),
                }
                self.ban_if_earned(id);
            }
        }
    }

    /// Bans a link's host if the link has just begun to close for a reason that earns a ban, unless the manager spares
    /// the host. A graceful close can last seconds, in which the host could reconnect, so the ban applies at once.
    pub(crate) fn ban_if_earned(&mut self, id: LinkId) {
        let (Some(manager), Some(link)) = (&self.manager, self.links.table.get_mut(id)) else { return };
        let Some(reason) = link.ending.as_deref_mut().and_then(|ending| ending.consequences.ban.take()) else { return };
        let address = link.peer.address().ip();
        if !manager.spares(address) {
            let duration = manager.config.ban_duration;
            self.ban(address, reason, Some(duration));
        }
    }

    /// Bans the host at `address`, and starts to close its connections, except those with trusted addresses. The ban is
    /// reported once it is durable. Returns whether the host was banned by this call.
    pub(crate) fn ban(&mut self, address: IpAddr, reason: BanReason, length: Option<Duration>) -> bool {
        let Some(manager) = &mut self.manager else { return false };
        let Some((ban, displaced)) = manager.ban(address, reason, length, self.clocks.moment()) else {
            return false;
        };
        if let Some(Ban { host, .. }) = displaced {
            self.outbox.emit(ControlEvent::PeerUnbanned { host });
        }
        self.telemetry.counters.bans += 1;
        let peers_closed = self.close_banned(&[ban]);
        if let Some(manager) = &mut self.manager {
            manager.persistence.announce(ban, peers_closed);
        }
        true
    }

    /// Bans the host at `address` by request, permanently if `length` is `None`.
    pub(crate) fn ban_by_request(&mut self, address: IpAddr, length: Option<Duration>) -> Result<(), RequestError> {
        if self.manager.is_none() {
            return Err(RequestError::NoManager);
        }
        let is_in_force = self.ban(address, BanReason::Manual, length);
        // A requested ban replaces the host's earlier ban and displaces automatic bans. It is dropped only if its
        // length is zero, or if the ban list is full of requested bans that end no sooner.
        let is_empty = length.is_some_and(|length| length.is_zero());
        if is_in_force || is_empty { Ok(()) } else { Err(RequestError::BansFull) }
    }

    /// Lifts the ban of the host at `address`, and returns whether the host was banned.
    pub(crate) fn unban(&mut self, address: IpAddr) -> Result<bool, RequestError> {
        let manager = self.manager.as_mut().ok_or(RequestError::NoManager)?;
        let host = Host::of(address);
        let was_banned = manager.unban(host, self.clocks.moment());
        if was_banned {
            self.outbox.emit(ControlEvent::PeerUnbanned { host });
        }
        Ok(was_banned)
    }

    /// Returns the bans in force.
    pub(crate) fn bans(&self) -> Result<Vec<Ban>, RequestError> {
        let manager = self.manager.as_ref().ok_or(RequestError::NoManager)?;
        Ok(manager.bans.list(self.clocks.moment()))
    }

    /// Starts to close the banned hosts' open connections, except those with trusted hosts. Returns the number of
    /// connections that it starts to close.
    pub(crate) fn close_banned(&mut self, bans: &[Ban]) -> usize {
        let Some(manager) = &self.manager else { return 0 };
        let is_affected = |id: &LinkId| {
            let link = self.links.table.get(*id).filter(|link| link.is_open());
            link.is_some_and(|link| !manager.is_trusted(link.peer.address().ip()))
        };
        let links = bans.iter().flat_map(|ban| manager.dialler.live.of_host(ban.host));
        let affected: BTreeSet<LinkId> = links.filter(is_affected).collect();
        for &id in &affected {
            self.links.close(id, LocalCause::Banned.into(), self.clocks.now());
        }
        affected.len()
    }
}
