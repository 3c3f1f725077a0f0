//! `version`: a peer's description of itself, which is the first message of a connection.
//!
//! Every field is a claim and is stored as received. Decoding checks only the form.
//! [`validate_version`](crate::validate_version) checks the protocol version and the user agent. A peer may end the
//! message before any field that is an `Option` in [`Version`].

use super::codec::{Reader, field, put_var_bytes};
use crate::error::WireError;
use crate::limits::{MAX_ASSOCIATION_ID_BYTES, MAX_USER_AGENT_BYTES};
use crate::protocol::{CommandName, PROTOCOL_VERSION};
use crate::time::UnixTime;
use std::net::{IpAddr, SocketAddr};

/// The `version` message (SV Node 1.2.2, net_processing.cpp ProcessVersionMessage).
///
/// The encoded payload has at most 362 bytes. Encoding ends before the first field that is `None`, even if later fields
/// have values.
///
/// ```
/// use peerloop::time::UnixTime;
/// use peerloop::wire::{AssociationId, NetAddress, Sender, Version};
///
/// let version = Version {
///     protocol_version: 70_016,
///     services: 0x21,
///     time: UnixTime::from_secs(1_700_000_000),
///     receiver: NetAddress::from_socket(0, "192.0.2.1:8333".parse()?),
///     sender: Some(Sender { address: NetAddress::UNSPECIFIED, nonce: 7 }),
///     user_agent: Some((*b"/example:1.0/").into()),
///     start_height: Some(800_000),
///     relay: Some(false),
///     association_id: Some(AssociationId::Empty),
/// };
/// let mut payload = Vec::new();
/// version.encode(&mut payload);
/// assert_eq!(payload[..4], [0x80, 0x11, 0x01, 0x00]);
/// assert_eq!(payload[80..], *b"\x0d/example:1.0/\x00\x35\x0c\x00\x00\x00");
///
/// let received = Version::decode(&payload)?;
/// assert_eq!((received.claimed_version(), received.negotiated_version()), (70_016, 70_016));
/// assert_eq!(received.printable_user_agent(), "/example:1.0/");
/// assert!(!received.relays());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The protocol version as claimed, which may be negative; see [`Version::negotiated_version`].
    pub protocol_version: i32,
    /// The service bits that the peer offers.
    pub services: u64,
    /// The time by the peer's clock.
    pub time: UnixTime,
    /// The peer's view of our address.
    pub receiver: NetAddress,
    /// The peer's own address and nonce.
    pub sender: Option<Sender>,
    /// The name of the peer's software as raw bytes, at most [`MAX_USER_AGENT_BYTES`].
    pub user_agent: Option<Box<[u8]>>,
    /// The height of the peer's chain.
    pub start_height: Option<i32>,
    /// Whether the peer requests announcements of transactions; see [`Version::relays`].
    pub relay: Option<bool>,
    /// The association that additional connections of the peer may join.
    pub association_id: Option<AssociationId>,
}

/// Two fields of `version`, which are either both present or both absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The peer's own address, as the peer sees it.
    pub address: NetAddress,
    /// A number by which a node detects that it is connected to itself.
    pub nonce: u64,
}

/// An address without a time, 26 bytes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetAddress {
    /// The services offered at this address.
    pub services: u64,
    /// The IPv6 address in network order; an IPv4 address is mapped to `::ffff:a.b.c.d`.
    pub ip: [u8; 16],
    /// The port, the protocol's only big-endian number.
    pub port: u16,
}

/// The id that joins one peer's connections into an association (SV Node 1.2.2, net/association_id.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssociationId {
    /// The peer accepts no additional connections.
    Empty,
    /// The id that an additional connection names in its `createstrm`.
    Uuid([u8; 16]),
}

impl Version {
    /// Reads the payload of a `version`; bytes after the last field are ignored.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if the payload ends before the end of the receiver or inside a later field;
    /// [`WireError::TooLong`], [`WireError::OverlongSize`] and [`WireError::NonCanonicalSize`] for the lengths of the
    /// user agent and the association id; [`WireError::BadValue`] for an invalid association id.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::VERSION, payload);
        let version = Self::read_fields(&mut reader)?;
        Ok(Self { association_id: reader.optional(AssociationId::read)?, ..version })
    }

    /// Returns the reason that an SV Node states in its `reject` of a payload that does not decode (observed with SV
    /// Node 1.0.13).
    pub(crate) fn reject_reason(payload: &[u8]) -> Vec<u8> {
        let mut reader = Reader::new(CommandName::VERSION, payload);
        if let Err(error) = Self::read_fields(&mut reader) {
            return parser_words(&error).into();
        }
        let mut reason = b"Badly formatted association ID: ".to_vec();
        match reader.var_bytes(MAX_ASSOCIATION_ID_BYTES) {
            Err(error) => reason.extend(parser_words(&error)),
            Ok(id) => reason.extend(AssociationId::reject_reason(id)),
        }
        reason
    }

    /// Reads all fields before the association id.
    fn read_fields(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            protocol_version: reader.i32()?,
            services: reader.u64()?,
            time: UnixTime::from_secs(reader.i64()?),
            receiver: NetAddress::read(reader)?,
            sender: reader.optional(Sender::read)?,
            user_agent: reader.optional(|reader| reader.var_bytes(MAX_USER_AGENT_BYTES))?.map(Box::from),
            start_height: reader.optional(Reader::i32)?,
            relay: reader.optional(Reader::bool)?,
            association_id: None,
        })
    }

    /// Appends the payload up to the first `None`; a user agent that is too long is truncated.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.protocol_version.to_le_bytes());
        out.extend_from_slice(&self.services.to_le_bytes());
        out.extend_from_slice(&self.time.as_secs().to_le_bytes());
        self.receiver.write(out);
        let Some(sender) = self.sender else { return };
        sender.address.write(out);
        out.extend_from_slice(&sender.nonce.to_le_bytes());
        let Some(user_agent) = &self.user_agent else { return };
        put_var_bytes(user_agent, MAX_USER_AGENT_BYTES, out);
        let Some(start_height) = self.start_height else { return };
        out.extend_from_slice(&start_height.to_le_bytes());
        let Some(relay) = self.relay else { return };
        out.push(u8::from(relay));
        let Some(association_id) = self.association_id else { return };
        association_id.write(out);
    }

    /// Returns the claimed protocol version, 0 for a negative claim.
    pub fn claimed_version(&self) -> u32 {
        u32::try_from(self.protocol_version).unwrap_or(0)
    }

    /// Returns the protocol version that both sides use: the smaller of the claimed one and [`PROTOCOL_VERSION`].
    pub fn negotiated_version(&self) -> u32 {
        self.claimed_version().min(PROTOCOL_VERSION)
    }

    /// Returns the user agent without the bytes that a node does not show (SV Node 1.2.2, utilstrencodings.cpp
    /// SanitizeString), so the string is safe to print. It is empty if there is no user agent.
    pub fn printable_user_agent(&self) -> String {
        let user_agent = self.user_agent.as_deref().unwrap_or_default();
        user_agent
            .iter()
            .filter(|byte| is_printable(**byte))
            .take(MAX_USER_AGENT_BYTES)
            .map(|&b| char::from(b))
            .collect()
    }

    /// Returns whether the peer requests announcements of transactions; `true` if the field is absent.
    pub fn relays(&self) -> bool {
        self.relay.unwrap_or(true)
    }
}

impl Sender {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { address: NetAddress::read(reader)?, nonce: reader.u64()? })
    }
}

impl NetAddress {
    /// The length on the wire, in bytes.
    pub const LEN_BYTES: usize = 26;
    /// No address, no port and no services.
    pub const UNSPECIFIED: Self = Self { services: 0, ip: [0; 16], port: 0 };

    /// Returns these services at the socket's address and port; an IPv4 address is mapped into IPv6.
    pub fn from_socket(services: u64, socket: SocketAddr) -> Self {
        let ip = match socket.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self { services, ip: ip.octets(), port: socket.port() }
    }

    /// Returns the IP address and the port, without the services; a mapped IPv4 address becomes an IPv4 address.
    pub fn to_socket(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::from(self.ip).to_canonical(), self.port)
    }

    pub(super) fn decode(bytes: &[u8; Self::LEN_BYTES]) -> Self {
        Self {
            services: u64::from_le_bytes(field(bytes, 0)),
            ip: field(bytes, 8),
            port: u16::from_be_bytes(field(bytes, 24)),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        reader.array().map(|bytes| Self::decode(&bytes))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.services.to_le_bytes());
        out.extend_from_slice(&self.ip);
        out.extend_from_slice(&self.port.to_be_bytes());
    }
}

impl AssociationId {
    /// The type byte before a UUID.
    const UUID_TYPE: u8 = 0;

    /// Reads the id. A length of 0, or of 1 with any type byte, means the empty id.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        match reader.var_bytes(MAX_ASSOCIATION_ID_BYTES)? {
            [] | [_] => Ok(Self::Empty),
            [Self::UUID_TYPE, id @ ..] => id.try_into().map(Self::Uuid).map_err(|_| reader.bad_value()),
            [_, ..] => Err(reader.bad_value()),
        }
    }

    /// Returns the reason that an SV Node states in its `reject` of an id of at least two bytes that is no UUID.
    pub(super) fn reject_reason(id: &[u8]) -> Vec<u8> {
        match id {
            [Self::UUID_TYPE, id @ ..] => format!("Wrong number of bytes in UUID ({} != 16)", id.len()).into(),
            // The node appends the type as a character.
            id => [b"Unsupported association ID type ", &id[..id.len().min(1)]].concat(),
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Empty => out.push(0),
            Self::Uuid(id) => {
                out.extend_from_slice(&[1 + id.len() as u8, Self::UUID_TYPE]);
                out.extend_from_slice(id);
            }
        }
    }
}

/// Returns the text with which SV Node's parser reports an error.
fn parser_words(error: &WireError) -> &'static [u8] {
    match error {
        WireError::Truncated { .. } => b"CDataStream::read(): end of data",
        WireError::NonCanonicalSize { .. } => b"non-canonical ReadCompactSize()",
        WireError::OverlongSize { .. } => b"ReadCompactSize(): size too large",
        WireError::TooLong { .. } => b"Array length limit exceeded",
        WireError::BadMagic { .. }
        | WireError::OverLimit { .. }
        | WireError::BadValue { .. }
        | WireError::BadChecksum { .. } => b"error parsing message",
    }
}

const fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b' ' | b'.' | b',' | b';' | b'-' | b'_' | b'/' | b':' | b'?' | b'@' | b'(' | b')')
}
