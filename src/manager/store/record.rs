//! The encoding of peers and bans in the book's file.
//!
//! Keys sort like addresses and hosts. Numbers in values are little-endian. Decoding is bounded and strict: it never
//! accepts unknown codes, missing bytes or trailing bytes.

use super::{KnownPeer, PeerStatus, UserAgent};
use crate::address::{Host, canonical};
use crate::limits::MAX_USER_AGENT_BYTES;
use crate::manager::ban::{Ban, BanReason};
use crate::protocol::CommandName;
use crate::time::UnixTime;
use crate::wire::codec::{Reader, put_var_bytes};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const V4: u8 = 4;
const V6: u8 = 6;

const UNKNOWN: u8 = 0;
const VALID: u8 = 1;
const INACCESSIBLE: u8 = 2;
/// The least status byte of a banned peer. The byte of the ban's reason is added to it.
const BANNED: u8 = 16;

const REASONS: [BanReason; 5] = [
    BanReason::NetworkMismatch,
    BanReason::BlockchainMismatch,
    BanReason::BannedUserAgent,
    BanReason::Misbehavior,
    BanReason::Manual,
];

pub(super) fn peer_key(address: SocketAddr) -> Vec<u8> {
    let address = canonical(address);
    let mut key = match address.ip() {
        IpAddr::V4(ip) => [&[V4][..], &ip.octets()].concat(),
        IpAddr::V6(ip) => [&[V6][..], &ip.octets()].concat(),
    };
    key.extend_from_slice(&address.port().to_be_bytes());
    key
}

pub(super) fn peer_value(peer: &KnownPeer) -> Vec<u8> {
    let mut value = Vec::with_capacity(64);
    value.push(match peer.status {
        PeerStatus::Unknown => UNKNOWN,
        PeerStatus::Valid => VALID,
        PeerStatus::Inaccessible => INACCESSIBLE,
        PeerStatus::Banned(reason) => BANNED + reason_byte(reason),
    });
    value.extend_from_slice(&peer.status_since.as_secs().to_le_bytes());
    put_optional_time(peer.last_connected, &mut value);
    value.extend_from_slice(&peer.services.to_le_bytes());
    value.extend_from_slice(&peer.failures.to_le_bytes());
    put_var_bytes(peer.user_agent.as_str().as_bytes(), MAX_USER_AGENT_BYTES, &mut value);
    value
}

/// Decodes a record's peer. Returns `None` if the record is invalid.
pub(super) fn peer(key: &[u8], value: &[u8]) -> Option<KnownPeer> {
    let mut key = reader(key);
    let ip = match key.u8().ok()? {
        V4 => IpAddr::V4(Ipv4Addr::from(key.array().ok()?)),
        V6 => IpAddr::V6(Ipv6Addr::from(key.array().ok()?)),
        _ => return None,
    };
    let port = key.u16_be().ok()?;
    if ip.to_canonical() != ip || key.remaining() > 0 {
        return None;
    }
    let mut value = reader(value);
    let status = status(value.u8().ok()?)?;
    let mut peer = KnownPeer::new(SocketAddr::new(ip, port), UnixTime::from_secs(value.i64().ok()?));
    peer.status = status;
    peer.last_connected = optional_time(&mut value)?;
    peer.services = value.u64().ok()?;
    peer.failures = value.u32().ok()?;
    let user_agent = value.var_bytes(MAX_USER_AGENT_BYTES).ok()?;
    peer.user_agent = UserAgent::sanitised(user_agent);
    let is_whole = value.remaining() == 0 && peer.user_agent.as_str().len() == user_agent.len();
    is_whole.then_some(peer)
}

pub(super) fn ban_key(host: Host) -> Vec<u8> {
    match host {
        Host::V4(ip) => [&[V4][..], &ip.octets()].concat(),
        Host::V6(prefix) => [&[V6][..], &prefix.to_be_bytes()].concat(),
    }
}

pub(super) fn ban_value(ban: &Ban) -> Vec<u8> {
    let mut value = vec![reason_byte(ban.reason)];
    value.extend_from_slice(&ban.since.as_secs().to_le_bytes());
    put_optional_time(ban.until, &mut value);
    value
}

/// Decodes a record's ban. Returns `None` if the record is invalid.
pub(super) fn ban(key: &[u8], value: &[u8]) -> Option<Ban> {
    let mut key = reader(key);
    let host = match key.u8().ok()? {
        V4 => Host::V4(Ipv4Addr::from(key.array().ok()?)),
        V6 => Host::V6(u64::from_be_bytes(key.array().ok()?)),
        _ => return None,
    };
    let mut value = reader(value);
    let reason = reason(value.u8().ok()?)?;
    let since = UnixTime::from_secs(value.i64().ok()?);
    let ban = Ban { host, reason, since, until: optional_time(&mut value)? };
    (key.remaining() == 0 && value.remaining() == 0).then_some(ban)
}

/// Returns a reader of `bytes`. Its errors name a command, which does not matter: this file discards them all.
const fn reader(bytes: &[u8]) -> Reader<'_> {
    Reader::new(CommandName::ADDR, bytes)
}

fn status(byte: u8) -> Option<PeerStatus> {
    match byte {
        UNKNOWN => Some(PeerStatus::Unknown),
        VALID => Some(PeerStatus::Valid),
        INACCESSIBLE => Some(PeerStatus::Inaccessible),
        _ => reason(byte.checked_sub(BANNED)?).map(PeerStatus::Banned),
    }
}

fn reason(byte: u8) -> Option<BanReason> {
    REASONS.get(usize::from(byte)).copied()
}

const fn reason_byte(reason: BanReason) -> u8 {
    match reason {
        BanReason::NetworkMismatch => 0,
        BanReason::BlockchainMismatch => 1,
        BanReason::BannedUserAgent => 2,
        BanReason::Misbehavior => 3,
        BanReason::Manual => 4,
    }
}

fn put_optional_time(time: Option<UnixTime>, value: &mut Vec<u8>) {
    value.push(u8::from(time.is_some()));
    value.extend_from_slice(&time.unwrap_or_default().as_secs().to_le_bytes());
}

fn optional_time(value: &mut Reader<'_>) -> Option<Option<UnixTime>> {
    let flag = value.u8().ok()?;
    let secs = value.i64().ok()?;
    match (flag, secs) {
        (0, 0) => Some(None),
        (1, secs) => Some(Some(UnixTime::from_secs(secs))),
        _ => None,
    }
}
