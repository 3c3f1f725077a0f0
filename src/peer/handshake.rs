//! The handshake: both versions and both veracks, in any order, and the check of the peer's version.
//!
//! The state records the messages sent and received. Only the first `version` and the first `verack` have an effect.
//! Later ones are only counted as duplicates. The handshake's timeout runs from the start of the handshake, and no
//! message extends it.

use super::user_agent::is_named_by;
use crate::config::VersionRules;
use crate::error::Incompatibility;
use crate::limits::MAX_HANDSHAKE_MESSAGES;
use crate::protocol::Network;
use crate::time::Instant;
use crate::wire::Version;
use std::time::Duration;

/// A handshake's progress. The peer's version is boxed and kept after the handshake; all other fields are inline.
#[derive(Debug)]
pub struct HandshakeState {
    /// [`Instant::MAX`] before the start, because an `Option` would add eight bytes to every row.
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

impl Default for HandshakeState {
    fn default() -> Self {
        Self::new()
    }
}

impl HandshakeState {
    /// Creates a handshake that has not begun.
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

    /// Starts the handshake's clock. A second start changes nothing.
    pub fn start(&mut self, now: Instant) {
        if self.started == Instant::MAX {
            self.started = now;
        }
    }

    /// Records that our `version` was queued for sending.
    pub const fn mark_version_sent(&mut self) {
        self.version_sent = true;
    }

    /// Records the peer's `version`. Returns `false` for any after the first, which is only counted.
    pub fn mark_version_received(&mut self, peer_version: Version) -> bool {
        if self.peer_version.is_some() {
            self.duplicate_versions = self.duplicate_versions.saturating_add(1);
            return false;
        }
        self.peer_version = Some(Box::new(peer_version));
        true
    }

    /// Returns whether the peer has already sent a `version`. If so, counts the new one as a duplicate.
    #[doc(hidden)]
    pub const fn repeats_version(&mut self) -> bool {
        let repeats = self.peer_version.is_some();
        self.duplicate_versions = self.duplicate_versions.saturating_add(repeats as u8);
        repeats
    }

    /// Records that our `verack` was queued for sending.
    pub const fn mark_verack_sent(&mut self) {
        self.verack_sent = true;
    }

    /// Records the peer's `verack`. Returns `false` for any after the first, which is only counted.
    ///
    /// A `verack` before the peer's `version` is valid and counted as early.
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

    /// Counts a message from the peer. Returns `false` if the count is above [`MAX_HANDSHAKE_MESSAGES`]. Messages
    /// after the handshake are not counted.
    #[must_use]
    #[doc(hidden)]
    pub const fn count_message(&mut self) -> bool {
        if self.is_complete() {
            return true;
        }
        self.messages = self.messages.saturating_add(1);
        self.messages <= MAX_HANDSHAKE_MESSAGES
    }

    /// Returns whether both versions and both veracks were exchanged.
    pub const fn is_complete(&self) -> bool {
        self.version_sent && self.version_received() && self.verack_sent && self.verack_received
    }

    /// Returns whether our `version` was queued for sending.
    pub const fn version_sent(&self) -> bool {
        self.version_sent
    }

    /// Returns whether the peer's `version` has arrived.
    pub const fn version_received(&self) -> bool {
        self.peer_version.is_some()
    }

    /// Returns whether our `verack` was queued for sending.
    pub const fn verack_sent(&self) -> bool {
        self.verack_sent
    }

    /// Returns whether the peer's `verack` has arrived.
    pub const fn verack_received(&self) -> bool {
        self.verack_received
    }

    /// Returns the peer's first `version`.
    pub fn peer_version(&self) -> Option<&Version> {
        self.peer_version.as_deref()
    }

    /// Returns the moment by which the handshake must be complete, or `None` before its start and after its
    /// completion.
    pub fn deadline(&self, timeout: Duration) -> Option<Instant> {
        let is_running = self.started != Instant::MAX && !self.is_complete();
        is_running.then(|| self.started.plus(timeout))
    }

    /// Extends the deadline by `pause`, during which this side did not read.
    #[doc(hidden)]
    pub fn extend_deadline(&mut self, pause: Duration) {
        self.started = self.started.plus(pause);
    }

    /// Returns whether the deadline has passed.
    pub fn is_timed_out(&self, now: Instant, timeout: Duration) -> bool {
        self.deadline(timeout).is_some_and(|deadline| now >= deadline)
    }

    /// Returns the number of messages that the peer sent before the handshake was complete, at most 255.
    pub const fn messages_before_complete(&self) -> u8 {
        self.messages
    }

    /// Returns the number of versions after the first, at most 255.
    pub const fn duplicate_versions(&self) -> u8 {
        self.duplicate_versions
    }

    /// Returns the number of veracks after the first, at most 255.
    pub const fn duplicate_veracks(&self) -> u8 {
        self.duplicate_veracks
    }

    /// Returns the number of veracks before the peer's `version`, at most 255.
    pub const fn early_veracks(&self) -> u8 {
        self.early_veracks
    }
}

/// Checks whether `version` is acceptable.
///
/// `network` is the network with the message's magic, or `None` if the configuration sets a custom magic. The user
/// agent is checked in the form of [`Version::printable_user_agent`], so that unprintable bytes cannot hide a banned
/// agent. A version without a user agent passes the agent checks.
///
/// # Errors
///
/// The first that applies: wrong network, protocol version too old, banned agent, agent of another blockchain.
///
/// ```
/// use peerloop::Network;
/// use peerloop::config::VersionRules;
/// use peerloop::error::Incompatibility;
/// use peerloop::peer::validate_version;
/// use peerloop::wire::Version;
///
/// // A version that ends with the receiver's address.
/// let mut payload = vec![0; 46];
/// payload[..4].copy_from_slice(&70_016_i32.to_le_bytes());
/// let mut version = Version::decode(&payload)?;
/// let check = |version: &Version| {
///     validate_version(version, Some(Network::Mainnet), Network::Mainnet, &VersionRules::default())
/// };
/// assert_eq!(check(&version), Ok(()));
/// version.user_agent = Some(b"/Satoshi:29.0.0/"[..].into());
/// assert_eq!(check(&version), Err(Incompatibility::Blockchain));
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
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
    if claimed < rules.min_protocol_version {
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
