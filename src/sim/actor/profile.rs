//! Everything that peers of one kind have in common: their `version`, their handshake and their pings.

use super::super::tape;
use super::journal::Journal;
use super::reference::{self, Spares};
use std::time::Duration;

/// Offset of the nonce in the payload of a `version`.
const NONCE_AT: usize = 72;
const PROTOCONF: &[u8] = b"\x02\x00\x00\x20\x00\x15BlockPriority,Default";
/// The last protocol version without pongs.
const LAST_WITHOUT_PONGS: i32 = 60_000;

/// A kind of peer, built once and shared by any number of connections.
#[derive(Debug)]
pub struct Profile {
    pub(super) magic: [u8; 4],
    pub(super) journal: Journal,
    pub(super) spares: Spares,
    pub(super) ping_every: Option<Duration>,
    pub(super) is_eager: bool,
    pub(super) verack: Vec<u8>,
    /// Frames sent after the verack.
    pub(super) after_verack: Vec<u8>,
    /// Frames sent when the handshake is complete.
    pub(super) when_ready: Vec<u8>,
    version: Vec<u8>,
}

/// The part of a `version` that is sent. Each variant is named after the last field that is sent, and sends less than
/// the previous variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VersionTail {
    /// All fields, with an empty association id.
    AssociationId,
    /// Up to the relay flag.
    Relay,
    /// Up to the height.
    Height,
    /// Up to the user agent.
    UserAgent,
    /// Up to the nonce.
    Nonce,
    /// The four fields that every `version` has.
    Receiver,
}

impl VersionTail {
    /// All tails, the longest first.
    pub const ALL: [Self; 6] =
        [Self::AssociationId, Self::Relay, Self::Height, Self::UserAgent, Self::Nonce, Self::Receiver];
}

impl Profile {
    /// Returns the profile of an SV Node that never pings, on the network with this magic. Its peers report to
    /// `journal`.
    pub fn new(magic: [u8; 4], journal: &Journal) -> Self {
        Self {
            magic,
            journal: journal.clone(),
            spares: Spares::default(),
            ping_every: None,
            is_eager: false,
            verack: reference::frame(magic, "verack", &[]),
            after_verack: reference::frame(magic, "protoconf", PROTOCONF),
            when_ready: reference::frame(magic, "sendheaders", &[]),
            version: version_payload(70_016, VersionTail::AssociationId, b"/Bitcoin SV:1.2.2/"),
        }
    }

    /// Pings at regular intervals after the handshake. A pong must arrive within one interval. Call this before
    /// [`Profile::with_protocol_version`], which removes the pings of a protocol without pongs.
    #[must_use]
    pub fn pinging(self, every: Duration) -> Self {
        Self { ping_every: Some(every), ..self }
    }

    /// Claims the given protocol version. Omits `sendheaders` if the version is below 70,012. Also omits all pings if
    /// the version is at most 60,000.
    #[must_use]
    pub fn with_protocol_version(mut self, version: i32) -> Self {
        self.version[..4].copy_from_slice(&version.to_le_bytes());
        if version < 70_012 {
            self.when_ready.clear();
        }
        if version <= LAST_WITHOUT_PONGS {
            self.ping_every = None;
        }
        self
    }

    /// Sends only this part of a `version`, with the default user agent.
    #[must_use]
    pub fn with_version_tail(mut self, tail: VersionTail) -> Self {
        let protocol_version =
            i32::from_le_bytes(*self.version.first_chunk().expect("a `version` begins with its protocol version"));
        self.version = version_payload(protocol_version, tail, b"/Bitcoin SV:1.2.2/");
        self
    }

    /// Sends a whole `version` with the given user agent of at most 252 bytes.
    #[must_use]
    pub fn with_user_agent(mut self, user_agent: &[u8]) -> Self {
        let protocol_version =
            i32::from_le_bytes(*self.version.first_chunk().expect("a `version` begins with its protocol version"));
        self.version = version_payload(protocol_version, VersionTail::AssociationId, user_agent);
        self
    }

    /// Sends no `protoconf`.
    #[must_use]
    pub fn without_protoconf(self) -> Self {
        Self { after_verack: Vec::new(), ..self }
    }

    /// Sends `version`, `verack` and `protoconf` in one segment when the connection opens, without waiting for the
    /// other side.
    #[must_use]
    pub fn eager(self) -> Self {
        Self { is_eager: true, ..self }
    }

    /// Returns the `version` frame of the connection with this serial number.
    pub(super) fn version_frame(&self, serial: u32) -> Vec<u8> {
        reference::frame(self.magic, "version", &self.version_payload(serial))
    }

    pub(super) fn version_payload(&self, serial: u32) -> Vec<u8> {
        let mut payload = self.version.clone();
        if let Some(nonce) = payload.get_mut(NONCE_AT..NONCE_AT + 8) {
            nonce.copy_from_slice(&nonce_of(serial, 0).to_le_bytes());
        }
        payload
    }
}

/// Returns the `count`th nonce of connection `serial`. A nonce is never 0. A predictable nonce is sufficient in a
/// simulation.
pub(super) fn nonce_of(serial: u32, count: u32) -> u64 {
    tape::next(&mut (u64::from(serial) << 32 | u64::from(count))).max(1)
}

/// Returns a `version` payload that ends at `tail`. Its time is the time at which a world begins. Its nonce, if any,
/// is 0.
fn version_payload(protocol_version: i32, tail: VersionTail, user_agent: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    let services = 0x21_u64.to_le_bytes();
    payload.extend_from_slice(&protocol_version.to_le_bytes());
    payload.extend_from_slice(&services);
    payload.extend_from_slice(&1_700_000_000_i64.to_le_bytes());
    payload.extend_from_slice(&[0; 26]);
    if tail < VersionTail::Receiver {
        payload.extend_from_slice(&services);
        payload.extend_from_slice(&[0; 18 + 8]);
    }
    if tail < VersionTail::Nonce {
        payload.push(u8::try_from(user_agent.len()).expect("actors have short user agents"));
        payload.extend_from_slice(user_agent);
    }
    if tail < VersionTail::UserAgent {
        payload.extend_from_slice(&800_000_i32.to_le_bytes());
    }
    if tail < VersionTail::Height {
        payload.push(1);
    }
    if tail < VersionTail::Relay {
        payload.push(0);
    }
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tail_ends_at_a_field() {
        let lens = VersionTail::ALL.map(|tail| version_payload(70_016, tail, b"/a:1/").len());
        assert_eq!(lens, [46 + 34 + 6 + 4 + 1 + 1, 46 + 34 + 6 + 4 + 1, 46 + 34 + 6 + 4, 46 + 34 + 6, 46 + 34, 46]);
    }

    #[test]
    fn a_whole_version_has_the_expected_length_and_fields() {
        let payload = version_payload(70_016, VersionTail::AssociationId, b"/example:0.1/");
        assert_eq!(payload.len(), 100);
        assert_eq!(payload[..12], [0x80, 0x11, 0x01, 0, 0x21, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(payload[46..54], 0x21_u64.to_le_bytes());
        assert_eq!(payload[80..], *b"\x0d/example:0.1/\x00\x35\x0c\x00\x01\x00");
    }

    #[test]
    fn connections_have_different_nonces() {
        let profile = Profile::new([1, 2, 3, 4], &Journal::new());
        let (one, two) = (profile.version_payload(1), profile.version_payload(2));
        assert_ne!(one[NONCE_AT..NONCE_AT + 8], two[NONCE_AT..NONCE_AT + 8]);
        assert_eq!((&one[..NONCE_AT], &one[NONCE_AT + 8..]), (&two[..NONCE_AT], &two[NONCE_AT + 8..]));
        let short = Profile::new([1, 2, 3, 4], &Journal::new()).with_version_tail(VersionTail::Receiver);
        assert_eq!(short.version_payload(1).len(), 46);
    }
}
