//! Peers and bans as JSON: one document, or one object on each line, which is the form that `import` reads.
//!
//! Times are in Unix seconds. No input is trusted: the length of a line and the number of lines are limited, and
//! one invalid line prevents the whole import.

use crate::exit::Failure;
use peerloop::address::Host;
use peerloop::ban::{Ban, BanReason};
use peerloop::limits::{MAX_BANS, MAX_BOOK_PEERS};
use peerloop::store::{Change, KnownPeer, PeerStatus, UserAgent};
use peerloop::time::UnixTime;
use serde::de::{Deserializer, Error as _};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Maximum length of a line in bytes, including its line ending. The longest field, the user agent, has at most 256
/// characters.
const MAX_LINE_BYTES: u64 = 4_096;

/// Maximum number of lines: the number of peers and bans that a book can hold.
const MAX_LINES: usize = MAX_BOOK_PEERS + MAX_BANS;

/// The byte order mark that some editors put before the first line.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The error for `services` that cannot be read.
const NOT_SERVICES: &str = "services must be a whole number from 0 to 18446744073709551615, or a string with one";

/// Maximum number of invalid lines, besides the first, whose numbers are reported.
const MAX_LISTED: usize = 10;

/// One line.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Peer(PeerLine),
    Ban(BanLine),
}

#[derive(Debug, Serialize)]
struct Document {
    peers: Vec<PeerLine>,
    bans: Vec<BanLine>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PeerLine {
    address: SocketAddr,
    #[serde(default = "unknown")]
    status: String,
    /// The reason for the ban, if the peer is banned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default)]
    status_since: i64,
    #[serde(default)]
    last_connected: Option<i64>,
    /// The services. They are written as a string, because they may use all 64 bits. They are read from a string or a
    /// number.
    #[serde(default, serialize_with = "write_services", deserialize_with = "read_services")]
    services: u64,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    failures: u32,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct BanLine {
    /// An IPv4 address or an IPv6 /64.
    host: String,
    #[serde(default = "manual")]
    reason: String,
    since: i64,
    /// `None` if the ban is permanent.
    until: Option<i64>,
}

/// Formats all peers and bans as one document.
pub(super) fn document(peers: &[KnownPeer], bans: &[Ban]) -> Result<String, Failure> {
    let document =
        Document { peers: peers.iter().map(PeerLine::of).collect(), bans: bans.iter().map(BanLine::of).collect() };
    serde_json::to_string_pretty(&document).map(|text| text + "\n").map_err(|error| unwritten(&error))
}

/// Formats all peers and bans, one on each line.
pub(super) fn export(peers: &[KnownPeer], bans: &[Ban]) -> Result<String, Failure> {
    let peers = peers.iter().map(|peer| Line::Peer(PeerLine::of(peer)));
    let bans = bans.iter().map(|ban| Line::Ban(BanLine::of(ban)));
    let lines: Result<Vec<String>, _> = peers.chain(bans).map(|line| serde_json::to_string(&line)).collect();
    Ok(lines.map_err(|error| unwritten(&error))?.into_iter().map(|line| line + "\n").collect())
}

/// Reads lines in the form of `export` from a file, or from stdin if the file's name is `-`.
pub(super) fn read(file: &Path) -> Result<Vec<Change>, Failure> {
    let is_stdin = file.as_os_str() == "-";
    let name = if is_stdin { "standard input".to_owned() } else { file.display().to_string() };
    let failed = |error: io::Error| Failure::run(format!("reading {name}: {error}; nothing was imported"));
    let read = match is_stdin {
        true => changes(io::stdin().lock()),
        false => changes(BufReader::new(File::open(file).map_err(failed)?)),
    };
    read.map_err(failed)?.map_err(|what| Failure::run(format!("{name}:{what}; nothing was imported")))
}

/// Returns the changes that the lines describe. If lines are invalid, returns the error of the first one and the
/// numbers of at most [`MAX_LISTED`] others. If a limit is exceeded, returns only that error.
fn changes(mut lines: impl BufRead) -> io::Result<Result<Vec<Change>, String>> {
    let (mut changes, mut bans) = (Vec::new(), 0);
    let (mut first, mut more) = (None, Vec::new());
    let mut line = Vec::new();
    for number in 1_usize.. {
        line.clear();
        if lines.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if number > MAX_LINES {
            return Ok(Err(format!(
                "{number}: there are more than {MAX_LINES} lines, the most peers and bans that a book can hold"
            )));
        }
        if line.len() as u64 > MAX_LINE_BYTES {
            return Ok(Err(format!("{number}: the line has more than {MAX_LINE_BYTES} bytes")));
        }
        let text = if number == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line) } else { &line };
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match (change(text), &first) {
            (Ok(change), _) => {
                bans += usize::from(matches!(change, Change::PutBan(_)));
                changes.push(change);
            }
            (Err(why), None) => first = Some(format!("{number}: {why}")),
            (Err(_), Some(_)) => more.push(number),
        }
        for (count, what, most) in [(changes.len() - bans, "peers", MAX_BOOK_PEERS), (bans, "bans", MAX_BANS)] {
            if count > most {
                return Ok(Err(format!("{number}: there are more than {most} {what}, the most that a book can hold")));
            }
        }
    }
    Ok(first.map_or(Ok(changes), |first| Err(first + &also_bad(&more))))
}

fn also_bad(numbers: &[usize]) -> String {
    let listed: Vec<String> = numbers.iter().take(MAX_LISTED).map(ToString::to_string).collect();
    match (listed.is_empty(), numbers.len().saturating_sub(MAX_LISTED)) {
        (true, _) => String::new(),
        (false, 0) => format!("; other invalid lines: {}", listed.join(", ")),
        (false, others) => format!("; other invalid lines: {}, and {others} more", listed.join(", ")),
    }
}

fn change(line: &[u8]) -> Result<Change, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| {
        // Each line is parsed separately, so the parser reports every error in line 1.
        error.to_string().replace(" at line 1 column", " at column").replace(char::is_control, "?")
    })?;
    match line {
        Line::Peer(peer) => peer.read().map(Change::PutPeer),
        Line::Ban(ban) => ban.read().map(Change::PutBan),
    }
}

impl PeerLine {
    fn of(peer: &KnownPeer) -> Self {
        let reason = match peer.status {
            PeerStatus::Banned(reason) => Some(reason.label().to_owned()),
            PeerStatus::Unknown | PeerStatus::Valid | PeerStatus::Inaccessible => None,
        };
        Self {
            address: peer.address(),
            status: peer.status.to_string(),
            reason,
            status_since: peer.status_since.as_secs(),
            last_connected: peer.last_connected.map(UnixTime::as_secs),
            services: peer.services,
            user_agent: peer.user_agent.to_string(),
            failures: peer.failures,
        }
    }

    fn read(self) -> Result<KnownPeer, String> {
        if self.address.port() == 0 || self.address.ip().is_unspecified() {
            return Err(format!("{} is not an address to connect to", self.address));
        }
        let status = match (self.status.as_str(), self.reason) {
            ("unknown", None) => PeerStatus::Unknown,
            ("valid", None) => PeerStatus::Valid,
            ("inaccessible", None) => PeerStatus::Inaccessible,
            ("banned", Some(label)) => PeerStatus::Banned(reason(&label)?),
            ("banned", None) => return Err("a peer that is banned needs a reason".to_owned()),
            ("unknown" | "valid" | "inaccessible", Some(_)) => {
                return Err("only a peer that is banned has a reason".to_owned());
            }
            _ => return Err("the status must be unknown, valid, inaccessible or banned".to_owned()),
        };
        let mut peer = KnownPeer::new(self.address, UnixTime::from_secs(self.status_since));
        peer.status = status;
        peer.last_connected = self.last_connected.map(UnixTime::from_secs);
        peer.services = self.services;
        peer.user_agent = UserAgent::sanitised(self.user_agent.as_bytes());
        peer.failures = self.failures;
        Ok(peer)
    }
}

impl BanLine {
    fn of(ban: &Ban) -> Self {
        Self {
            host: ban.host.to_string(),
            reason: ban.reason.label().to_owned(),
            since: ban.since.as_secs(),
            until: ban.until.map(UnixTime::as_secs),
        }
    }

    fn read(self) -> Result<Ban, String> {
        Ok(Ban {
            host: host(&self.host)?,
            reason: reason(&self.reason)?,
            since: UnixTime::from_secs(self.since),
            until: self.until.map(UnixTime::from_secs),
        })
    }
}

/// Parses a host: one of its addresses, with or without its family's prefix length (/32 for IPv4, /64 for IPv6).
fn host(text: &str) -> Result<Host, String> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address = address.parse::<IpAddr>().map_err(|_| "the host is not an IP address".to_owned())?;
    match (address.to_canonical(), prefix) {
        (_, None) | (IpAddr::V4(_), Some("32")) | (IpAddr::V6(_), Some("64")) => Ok(Host::of(address)),
        (IpAddr::V4(_), Some(_)) => Err("an IPv4 host is one address: use no prefix, or /32".to_owned()),
        (IpAddr::V6(_), Some(_)) => Err("an IPv6 host is a /64: use that prefix, or none".to_owned()),
    }
}

fn reason(label: &str) -> Result<BanReason, String> {
    let found = BanReason::ALL.into_iter().find(|reason| reason.label() == label);
    found.ok_or_else(|| format!("the reason must be one of {}", BanReason::ALL.map(BanReason::label).join(", ")))
}

fn write_services<S: Serializer>(services: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(services)
}

fn read_services<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Services {
        Number(u64),
        Text(String),
    }
    match Services::deserialize(deserializer) {
        Ok(Services::Number(services)) => Ok(services),
        Ok(Services::Text(digits)) => digits.parse().map_err(|_| D::Error::custom(NOT_SERVICES)),
        Err(_) => Err(D::Error::custom(NOT_SERVICES)),
    }
}

fn unknown() -> String {
    PeerStatus::Unknown.to_string()
}

fn manual() -> String {
    BanReason::Manual.label().to_owned()
}

fn unwritten(error: &serde_json::Error) -> Failure {
    Failure::run(format!("writing the peers as JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_text(text: &str) -> Result<Vec<Change>, String> {
        changes(text.as_bytes()).unwrap()
    }

    fn examples() -> (Vec<KnownPeer>, Vec<Ban>) {
        let since = UnixTime::from_secs(1_700_000_000);
        let peer = |text: &str| KnownPeer::new(text.parse().unwrap(), since);
        let mut full = peer("[2001:db8::1]:1");
        full.status = PeerStatus::Banned(BanReason::Misbehavior);
        full.last_connected = Some(UnixTime::from_secs(-1));
        full.services = u64::MAX;
        full.user_agent = UserAgent::sanitised(b"/\"agent\":1/");
        full.failures = 3;
        let peers = vec![peer("192.0.2.1:8333"), full];
        let ban =
            |ip: &str, until| Ban { host: Host::of(ip.parse().unwrap()), reason: BanReason::Manual, since, until };
        (peers, vec![ban("192.0.2.9", None), ban("2001:db8:1:2:3::", Some(UnixTime::from_secs(1)))])
    }

    #[test]
    fn exported_lines_are_imported_unchanged() {
        let (peers, bans) = examples();
        let text = export(&peers, &bans).unwrap();
        assert_eq!(text.lines().count(), 4);
        let expected: Vec<Change> =
            peers.into_iter().map(Change::PutPeer).chain(bans.into_iter().map(Change::PutBan)).collect();
        assert_eq!(read_text(&text), Ok(expected));
    }

    #[test]
    fn a_ban_of_an_ipv6_host_is_written_with_its_prefix_and_read_with_or_without_it() {
        let (_, bans) = examples();
        let line = r#"{"ban":{"host":"2001:db8:1:2::/64","reason":"manual","since":1700000000,"until":1}}"#;
        assert_eq!(export(&[], &bans[1..]).unwrap(), format!("{line}\n"));
        for host in ["2001:db8:1:2::/64", "2001:db8:1:2::", "2001:db8:1:2::9/64"] {
            assert_eq!(
                read_text(&line.replace("2001:db8:1:2::/64", host)),
                Ok(vec![Change::PutBan(bans[1])]),
                "{host}"
            );
        }
        for (host, why) in [
            ("2001:db8::/48", "an IPv6 host is a /64: use that prefix, or none"),
            ("192.0.2.0/24", "an IPv4 host is one address: use no prefix, or /32"),
            ("example", "the host is not an IP address"),
        ] {
            assert_eq!(read_text(&line.replace("2001:db8:1:2::/64", host)), Err(format!("1: {why}")));
        }
    }

    #[test]
    fn an_address_alone_is_enough_for_a_peer() {
        let known = KnownPeer::new("192.0.2.1:8333".parse().unwrap(), UnixTime::from_secs(0));
        assert_eq!(read_text("\n{\"peer\":{\"address\":\"192.0.2.1:8333\"}}"), Ok(vec![Change::PutPeer(known)]));
    }

    #[test]
    fn services_are_written_as_a_string_and_read_as_a_string_or_a_number() {
        let (peers, bans) = examples();
        assert!(export(&peers, &bans).unwrap().contains("\"services\":\"18446744073709551615\""));
        for services in ["33", "\"33\""] {
            let line = format!("{{\"peer\":{{\"address\":\"192.0.2.1:1\",\"services\":{services}}}}}");
            let changes = read_text(&line);
            assert!(matches!(changes.as_deref(), Ok([Change::PutPeer(peer)]) if peer.services == 33), "{changes:?}");
        }
        let number = read_text("{\"peer\":{\"address\":\"192.0.2.1:1\",\"services\":18446744073709551615}}");
        assert!(matches!(number.as_deref(), Ok([Change::PutPeer(peer)]) if peer.services == u64::MAX));
    }

    #[test]
    fn invalid_lines_are_reported_by_their_numbers() {
        let good = "{\"peer\":{\"address\":\"192.0.2.1:8333\"}}\n";
        for (bad, part) in [
            ("nonsense", "expected"),
            ("{}", "expected"),
            ("{\"peer\":{\"address\":\"host:1\"}}", "address"),
            ("{\"peer\":{\"address\":\"192.0.2.1:0\"}}", "is not an address to connect to"),
            ("{\"peer\":{\"address\":\"192.0.2.1:1\",\"colour\":1}}", "unknown field"),
            ("{\"peer\":{\"address\":\"192.0.2.1:1\",\"status\":\"odd\"}}", "must be unknown"),
            ("{\"peer\":{\"address\":\"192.0.2.1:1\",\"status\":\"banned\"}}", "needs a reason"),
            ("{\"peer\":{\"address\":\"192.0.2.1:1\",\"reason\":\"manual\"}}", "only a peer that is banned"),
            (
                "{\"ban\":{\"host\":\"192.0.2.1\",\"since\":0,\"until\":null,\"reason\":\"whim\"}}",
                "must be one of network",
            ),
            ("{\"ban\":{\"host\":\"192.0.2.1\"}}", "missing field"),
            ("{\"peer\":{\"address\":\"192.0.2.1:1\",\"services\":-1}}", "services must be a whole number"),
            ("{\"peer\":{\"address\":\"192.0.2.1:1\",\"services\":\"0x21\"}}", "services must be a whole number"),
        ] {
            let what = read_text(&format!("{good}{bad}\n{good}")).expect_err(bad);
            assert!(what.starts_with("2: ") && what.contains(part) && !what.contains('\n'), "{bad}: {what}");
        }
        let many = format!("{good}{}", "x\n".repeat(13));
        let what = read_text(&many).unwrap_err();
        assert!(what.ends_with("; other invalid lines: 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, and 2 more"), "{what}");
    }

    #[test]
    fn crlf_line_endings_and_a_byte_order_mark_at_the_start_are_accepted() {
        let line = "{\"peer\":{\"address\":\"192.0.2.1:8333\"}}";
        let expected = read_text(line);
        assert!(expected.is_ok());
        for text in [format!("\u{feff}{line}\r\n"), format!("\u{feff}\r\n{line}\r\n\r\n"), format!("{line}\r\n")] {
            assert_eq!(read_text(&text), expected, "{text:?}");
        }
        let elsewhere = read_text(&format!("{line}\n\u{feff}{line}"));
        assert_eq!(elsewhere, Err("2: expected value at column 1".to_owned()));
    }

    #[test]
    fn more_peers_or_bans_than_a_book_holds_are_refused() {
        for (line, what, most) in [
            ("{\"peer\":{\"address\":\"192.0.2.1:8333\"}}\n", "peers", MAX_BOOK_PEERS),
            ("{\"ban\":{\"host\":\"192.0.2.1\",\"since\":0,\"until\":null}}\n", "bans", MAX_BANS),
        ] {
            assert_eq!(read_text(&line.repeat(most)).map(|changes| changes.len()), Ok(most));
            let refused = read_text(&line.repeat(most + 1)).unwrap_err();
            assert!(refused.contains(&format!("{}: there are more than {most} {what}, ", most + 1)), "{refused}");
        }
    }

    #[test]
    fn the_length_of_a_line_and_the_number_of_lines_are_limited() {
        let long = format!("\n{}", "x".repeat(MAX_LINE_BYTES as usize + 1));
        assert_eq!(read_text(&long), Err(format!("2: the line has more than {MAX_LINE_BYTES} bytes")));
        let many = "\n".repeat(MAX_LINES + 1);
        assert!(read_text(&many).unwrap_err().starts_with(&format!("{}: there are more than", MAX_LINES + 1)));
        assert_eq!(read_text(&many[1..]), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn random_bytes_cause_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = changes(&bytes[..]);
        }
    }
}
