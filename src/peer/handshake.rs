//! The handshake: both versions and both veracks, in any order, and whether the peer's version is one for us.
//!
//! The state is a record of what was sent and received. What was received first counts: a second `version` or `verack`
//! is counted and changes nothing. Only the start sets the deadline; no traffic extends it.

use super::user_agent::is_named_by;
use crate::config::VersionRules;
use crate::error::Incompatibility;
use crate::limits::HANDSHAKE_MESSAGES_MAX;
use crate::protocol::Network;
use crate::time::Instant;
use crate::wire::Version;
use std::time::Duration;

/// How far a handshake is. The peer's version is boxed and kept after the handshake; all else is inline.
#[derive(Debug, Default)]
pub struct HandshakeState {
    /// [`Instant::MAX`] before it has begun: an `Option` would cost every row eight bytes more.
    started: Instant,
    peer_version: Option<Box<Version>>,
    version_sent: bool,
    verack_sent: bool,
    verack_received: bool,
    messages: u8,
    duplicate_versions: u8,
    duplicate_veracks: u8,
    early_veracks: u8,
}

impl HandshakeState {
    /// A handshake that has not begun.
    pub const fn new() -> Self {
        Self {
            started: Instant::MAX,
            peer_version: None,
            version_sent: false,
            verack_sent: false,
            verack_received: false,
            messages: 0,
            duplicate_versions: 0,
            duplicate_veracks: 0,
            early_veracks: 0,
        }
    }

    /// Starts the clock; a second start changes nothing.
    pub fn start(&mut self, now: Instant) {
        if self.started == Instant::MAX {
            self.started = now;
        }
    }

    /// Our `version` is on its way.
    pub const fn mark_version_sent(&mut self) {
        self.version_sent = true;
    }

    /// The peer's `version` came; returns `false` for a second one, which is only counted.
    pub fn mark_version_received(&mut self, peer_version: Version) -> bool {
        if self.peer_version.is_some() {
            self.duplicate_versions = self.duplicate_versions.saturating_add(1);
            return false;
        }
        self.peer_version = Some(Box::new(peer_version));
        true
    }

    /// Whether a `version` that came is not the first, in which case it is counted.
    pub const fn repeats_version(&mut self) -> bool {
        let repeats = self.peer_version.is_some();
        self.duplicate_versions = self.duplicate_versions.saturating_add(repeats as u8);
        repeats
    }

    /// Our `verack` is on its way.
    pub const fn mark_verack_sent(&mut self) {
        self.verack_sent = true;
    }

    /// The peer's `verack` came; returns `false` for a second one, which is only counted.
    ///
    /// One that comes before the peer's `version` is valid and counted as early.
    pub const fn mark_verack_received(&mut self) -> bool {
        if self.peer_version.is_none() {
            self.early_veracks = self.early_veracks.saturating_add(1);
        }
        if self.verack_received {
            self.duplicate_veracks = self.duplicate_veracks.saturating_add(1);
            return false;
        }
        self.verack_received = true;
        true
    }

    /// Counts a message of the peer; returns `false` above [`HANDSHAKE_MESSAGES_MAX`]. Once the handshake is complete
    /// nothing is counted.
    #[must_use]
    pub const fn count_message(&mut self) -> bool {
        if self.is_complete() {
            return true;
        }
        self.messages = self.messages.saturating_add(1);
        self.messages <= HANDSHAKE_MESSAGES_MAX
    }

    /// Whether both versions and both veracks were exchanged.
    pub const fn is_complete(&self) -> bool {
        self.version_sent && self.version_received() && self.verack_sent && self.verack_received
    }

    /// Whether our `version` is on its way.
    pub const fn version_sent(&self) -> bool {
        self.version_sent
    }

    /// Whether the peer's `version` came.
    pub const fn version_received(&self) -> bool {
        self.peer_version.is_some()
    }

    /// Whether our `verack` is on its way.
    pub const fn verack_sent(&self) -> bool {
        self.verack_sent
    }

    /// Whether the peer's `verack` came.
    pub const fn verack_received(&self) -> bool {
        self.verack_received
    }

    /// The peer's first `version`.
    pub fn peer_version(&self) -> Option<&Version> {
        self.peer_version.as_deref()
    }

    /// When the handshake has to be complete; none before it starts and after it is complete.
    pub fn deadline(&self, timeout: Duration) -> Option<Instant> {
        let is_running = self.started != Instant::MAX && !self.is_complete();
        is_running.then(|| self.started.plus(timeout))
    }

    /// Moves the deadline by the time for which this side did not read.
    pub fn excuse(&mut self, pause: Duration) {
        self.started = self.started.plus(pause);
    }

    /// Whether the deadline has come.
    pub fn is_timed_out(&self, now: Instant, timeout: Duration) -> bool {
        self.deadline(timeout).is_some_and(|deadline| now >= deadline)
    }

    /// Messages of the peer before the handshake was complete, at most 255.
    pub const fn messages_before_complete(&self) -> u8 {
        self.messages
    }

    /// Versions behind the first, at most 255.
    pub const fn duplicate_versions(&self) -> u8 {
        self.duplicate_versions
    }

    /// Veracks behind the first, at most 255.
    pub const fn duplicate_veracks(&self) -> u8 {
        self.duplicate_veracks
    }

    /// Veracks before the peer's `version`, at most 255.
    pub const fn early_veracks(&self) -> u8 {
        self.early_veracks
    }
}

/// Whether `version` is one that we talk to.
///
/// `network` is the one whose magic the message carried, `None` where that magic is no known network's and was accepted
/// by configuration. The user agent is judged in the form that [`Version::printable_user_agent`] gives it, so bytes
/// that do not print cannot hide one. A peer that leaves it out is accepted.
///
/// # Errors
///
/// The first that applies of: wrong network, protocol version too old, banned agent, agent of another blockchain.
pub fn validate_version(
    version: &Version,
    network: Option<Network>,
    expected: Network,
    rules: &VersionRules,
) -> Result<(), Incompatibility> {
    if let Some(found) = network.filter(|&found| found != expected) {
        return Err(Incompatibility::Network { found });
    }
    let claimed = version.claimed_version();
    if claimed < rules.protocol_version_min {
        return Err(Incompatibility::ProtocolVersion { claimed });
    }
    if version.user_agent.is_none() {
        return Ok(());
    }
    let agent = version.printable_user_agent();
    if is_named_by(&rules.banned_agents, &agent) {
        return Err(Incompatibility::BannedUserAgent);
    }
    if !is_named_by(&rules.bitcoin_sv_agents, &agent) && is_named_by(&rules.other_chain_agents, &agent) {
        return Err(Incompatibility::Blockchain);
    }
    Ok(())
}
