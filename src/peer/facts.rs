//! The facts that our `version` states on one dialled connection, instead of the configuration's.
//!
//! The loop keeps these facts only until it has sent the `version` or freed the connection's row, so a ready peer
//! costs nothing. Only the protocol version changes what the loop sends to the peer and accepts from it. No fact is
//! checked against the truth.

use crate::config::Config;
use crate::error::RequestError;
use crate::limits::MAX_USER_AGENT_BYTES;
use crate::wire::Version;

/// The facts that our `version` states on one dialled connection, for [`Ctx::connect_as`](crate::Ctx::connect_as).
///
/// A value costs about 48 bytes and the user agent's length until our `version` is sent.
///
/// ```
/// use peerloop::peer::VersionFacts;
/// use peerloop::{Ctx, PeerId};
/// use std::net::SocketAddr;
///
/// /// Connects to a node with the facts of another node.
/// fn introduce(ctx: &mut Ctx<'_>, other: PeerId, node: SocketAddr) {
///     let Some(version) = ctx.peer(other).and_then(|view| view.version()) else { return };
///     let mut facts = VersionFacts::of_peer(version);
///     facts.services = 0;
///     match ctx.connect_as(node, facts) {
///         Ok(peer) => println!("dialling {node} as {peer}"),
///         Err(error) => println!("cannot dial {node}: {error}"),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VersionFacts {
    /// The protocol version. Messages of later versions are neither sent to the peer nor expected from it.
    pub protocol_version: u32,
    /// The service bits.
    pub services: u64,
    /// The user agent as raw bytes, at most 256.
    pub user_agent: Box<[u8]>,
    /// The chain's height.
    pub start_height: i32,
    /// Whether the peer may announce transactions.
    pub relay: bool,
}

impl VersionFacts {
    /// Returns the facts of the loop's configuration.
    ///
    /// ```
    /// use peerloop::peer::VersionFacts;
    /// use peerloop::{Ctx, PeerId};
    /// use std::net::SocketAddr;
    ///
    /// /// Connects to a node that shall announce no transactions to us.
    /// fn connect_silently(ctx: &mut Ctx<'_>, node: SocketAddr) -> Option<PeerId> {
    ///     let mut facts = VersionFacts::of_config(ctx.config());
    ///     facts.relay = false;
    ///     ctx.connect_as(node, facts).ok()
    /// }
    /// ```
    pub fn of_config(config: &Config) -> Self {
        Self {
            protocol_version: config.protocol_version,
            services: config.services,
            user_agent: config.user_agent.as_bytes().into(),
            start_height: config.start_height,
            relay: config.relay,
        }
    }

    /// Returns the facts in a peer's `version`. The protocol version is at most
    /// [`PROTOCOL_VERSION`](crate::protocol::PROTOCOL_VERSION), because the loop supports no later one. A `version` may
    /// lack its last fields: an absent user agent counts as empty, an absent height as 0, and an absent relay flag as
    /// true (SV Node 1.2.2, net_processing.cpp ProcessVersionMessage).
    pub fn of_peer(version: &Version) -> Self {
        Self {
            protocol_version: version.negotiated_version(),
            services: version.services,
            user_agent: version.user_agent.clone().unwrap_or_default(),
            start_height: version.start_height.unwrap_or(0),
            relay: version.relays(),
        }
    }

    /// Checks that every peer can decode a `version` with these facts.
    ///
    /// # Errors
    ///
    /// [`RequestError::UserAgentTooLong`].
    pub(crate) fn check(&self) -> Result<(), RequestError> {
        let fits = self.user_agent.len() <= MAX_USER_AGENT_BYTES;
        if fits { Ok(()) } else { Err(RequestError::UserAgentTooLong) }
    }
}
