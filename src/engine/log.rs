//! A loop's log: one line per control event, each with a level, and a rate limit for each kind of line.
//!
//! Each control event is one line of `key=value` pairs. All events share these keys, in this order: `event`,
//! `peer_id`, `peer_address` or `listen_address`, `connection_type`, `state`, `error`, `detail`, `next_dial`,
//! `network`. A key without a value is omitted, and so is `detail` if the line has both an error and an address.
//! Values are escaped to printable ASCII. A listener that pauses accepting is also logged, although no control event
//! reports the pause.
//!
//! Each kind of line has its own token bucket, refilled as the loop's clock advances. Lines without a token are
//! suppressed, and the next logged line of their kind reports their number as `suppressed`. When the loop ends,
//! suppressed lines that are still unreported are reported in one last line per kind. Without a logger nothing is ever
//! formatted.

use crate::api::{ControlEvent, NextDial};
use crate::limits::{LOG_BURST_LINES, LOG_REFILL, MAX_LOG_TEXT_CHARS};
use crate::peer::{ConnectionState, ConnectionType};
use crate::protocol::Network;
use crate::time::Instant;
use log::Level;
use std::fmt::{self, Write};
use std::io;
use std::mem;
use std::net::SocketAddr;

/// The target of every line, for loggers that filter.
const TARGET: &str = "peerloop";

/// Logs the events of one loop.
#[derive(Debug)]
pub(crate) struct LogBook {
    network: Network,
    /// One bucket per label. The labels are a closed list, so the number of buckets is bounded.
    buckets: Vec<(&'static str, Bucket)>,
}

/// The rate limit of one kind of line.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    lines: u32,
    filled_at: Instant,
    suppressed: u64,
    /// The level of the line that was suppressed last.
    level: Level,
}

impl LogBook {
    pub(crate) fn new(network: Network) -> Self {
        Self { network, buckets: Vec::new() }
    }

    /// Logs an event, if a logger accepts its level and its kind is below the rate limit.
    pub(crate) fn note(&mut self, event: &ControlEvent, now: Instant) {
        let level = level_of(event);
        if !log::log_enabled!(target: TARGET, level) {
            return;
        }
        if let Some(suppressed) = self.admit(event.label(), level, now) {
            log::log!(target: TARGET, level, "{}", Line { event, network: self.network, now, suppressed });
        }
    }

    /// Logs that a listener pauses accepting. Programs see the pause in a counter, not as a control event.
    pub(crate) fn note_accept_pause(&mut self, listen_address: SocketAddr, error: &io::Error, now: Instant) {
        const LEVEL: Level = Level::Warn;
        if !log::log_enabled!(target: TARGET, LEVEL) {
            return;
        }
        if let Some(suppressed) = self.admit(AcceptPause::LABEL, LEVEL, now) {
            let network = self.network;
            log::log!(target: TARGET, LEVEL, "{}", AcceptPause { listen_address, error, network, suppressed });
        }
    }

    /// Admits a line of the kind `label` and returns the number of lines suppressed before it, or `None` if this line
    /// is also suppressed.
    fn admit(&mut self, label: &'static str, level: Level, now: Instant) -> Option<u64> {
        let index = self.buckets.iter().position(|&(known, _)| known == label).unwrap_or_else(|| {
            self.buckets.push((label, Bucket { lines: LOG_BURST_LINES, filled_at: now, suppressed: 0, level }));
            self.buckets.len() - 1
        });
        self.buckets[index].1.take(level, now)
    }
}

impl Drop for LogBook {
    fn drop(&mut self) {
        let network = self.network.name();
        for (label, Bucket { suppressed, level, .. }) in
            self.buckets.iter().filter(|(_, of_kind)| of_kind.suppressed > 0)
        {
            log::log!(target: TARGET, *level, "event={label} network={network} suppressed={suppressed}");
        }
    }
}

impl Bucket {
    fn take(&mut self, level: Level, now: Instant) -> Option<u64> {
        let fills = now.since(self.filled_at).as_nanos() / LOG_REFILL.as_nanos();
        let fills = fills.min(u128::from(LOG_BURST_LINES)) as u32;
        self.lines = (self.lines + fills).min(LOG_BURST_LINES);
        let is_full = self.lines == LOG_BURST_LINES;
        self.filled_at = if is_full { now } else { self.filled_at.plus(LOG_REFILL * fills) };
        if self.lines == 0 {
            (self.suppressed, self.level) = (self.suppressed + 1, level);
            return None;
        }
        self.lines -= 1;
        Some(mem::take(&mut self.suppressed))
    }
}

/// Returns an event's level. Normal operation is logged as `info`, and its details as `debug`. A warning reports
/// misbehavior, or a problem that does not stop the loop's work. An error requires an operator's attention.
fn level_of(event: &ControlEvent) -> Level {
    match event {
        ControlEvent::ConnectionEstablished { .. }
        | ControlEvent::InboundRejected { .. }
        | ControlEvent::RejectedOverCapacity { .. } => Level::Debug,
        ControlEvent::HandshakeComplete { .. }
        | ControlEvent::StreamOpened { .. }
        | ControlEvent::StreamFailed { .. }
        | ControlEvent::ConnectionRestarting { .. }
        | ControlEvent::PeerUnbanned { .. }
        | ControlEvent::PeerEvicted { .. }
        | ControlEvent::ListenerBound { .. }
        | ControlEvent::SeedResolved { .. }
        | ControlEvent::BookRecovered
        | ControlEvent::ConfigUpdated { .. } => Level::Info,
        ControlEvent::ConnectionFailed { reason, .. } | ControlEvent::ConnectionLost { reason, .. } => {
            reason.consequences().level
        }
        ControlEvent::PeerMisbehaved { .. }
        | ControlEvent::PeerBanned { .. }
        | ControlEvent::DialsHeldBack { .. }
        | ControlEvent::ListenerBindFailed { .. }
        | ControlEvent::SocketOptionRefused { .. }
        | ControlEvent::SeedFailed { .. } => Level::Warn,
        ControlEvent::BookFailing { .. } => Level::Error,
    }
}

/// One line of the log.
struct Line<'a> {
    event: &'a ControlEvent,
    network: Network,
    now: Instant,
    suppressed: u64,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event={}", self.event.label())?;
        if let Some(peer) = self.event.peer() {
            write!(f, " peer_id={:?}", peer.link())?;
        }
        let Fields { address, listen_address, connection_type, state, error, next_dial } = Fields::of(self.event);
        if let Some(address) = address {
            write!(f, " peer_address={address}")?;
        }
        if let Some(address) = listen_address {
            write!(f, " listen_address={address}")?;
        }
        if let Some(connection_type) = connection_type {
            write!(f, " connection_type={connection_type}")?;
        }
        if let Some(state) = state {
            write!(f, " state={state}")?;
        }
        if let Some(error) = error {
            write!(f, " error={}", Quoted(error))?;
        }
        // Without an address, the error alone does not identify the event's subject, so the detail is added.
        if error.is_none() || address.is_none() && listen_address.is_none() {
            write!(f, " detail={}", Quoted(self.event))?;
        }
        match next_dial {
            Some(NextDial::Restart) => f.write_str(" next_dial=now")?,
            Some(NextDial::At(moment)) => write!(f, " next_dial={}ms", moment.since(self.now).as_millis())?,
            Some(NextDial::Inaccessible) => f.write_str(" next_dial=inaccessible")?,
            Some(NextDial::NextAddress) => f.write_str(" next_dial=next_address")?,
            Some(NextDial::Never) => f.write_str(" next_dial=unplanned")?,
            None => {}
        }
        end_line(f, self.network, self.suppressed)
    }
}

/// The log line for a listener that pauses accepting; no event reports this.
struct AcceptPause<'a> {
    listen_address: SocketAddr,
    error: &'a io::Error,
    network: Network,
    suppressed: u64,
}

impl AcceptPause<'_> {
    const LABEL: &'static str = "accept_paused";
}

impl fmt::Display for AcceptPause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen_address, error, network, suppressed } = *self;
        write!(f, "event={} listen_address={listen_address} error={}", Self::LABEL, Quoted(error))?;
        end_line(f, network, suppressed)
    }
}

fn end_line(f: &mut fmt::Formatter<'_>, network: Network, suppressed: u64) -> fmt::Result {
    write!(f, " network={}", network.name())?;
    match suppressed {
        0 => Ok(()),
        lines => write!(f, " suppressed={lines}"),
    }
}

/// An event's values for the shared keys; `None` if the event has no such value.
#[derive(Default)]
struct Fields<'a> {
    address: Option<&'a dyn fmt::Display>,
    /// A listener's address, which is not a peer's.
    listen_address: Option<SocketAddr>,
    connection_type: Option<ConnectionType>,
    /// The connection's state after the event, or its last state if the event closed it.
    state: Option<ConnectionState>,
    error: Option<&'a dyn fmt::Display>,
    /// When the address is dialled next, if at all.
    next_dial: Option<NextDial>,
}

impl<'a> Fields<'a> {
    fn of(event: &'a ControlEvent) -> Self {
        let of_address = |address| Fields { address: Some(address), ..Self::default() };
        let of_error = |error| Fields { error: Some(error), ..Self::default() };
        match event {
            ControlEvent::ConnectionEstablished { address, connection_type, .. } => Self {
                connection_type: Some(*connection_type),
                state: Some(ConnectionState::AwaitingHandshake),
                ..of_address(address)
            },
            ControlEvent::HandshakeComplete { address, connection_type, .. } => Self {
                connection_type: Some(*connection_type),
                state: Some(ConnectionState::Connected),
                ..of_address(address)
            },
            ControlEvent::StreamOpened { address, .. } => of_address(address),
            ControlEvent::StreamFailed { address, reason, .. } => Self { error: Some(reason), ..of_address(address) },
            ControlEvent::ConnectionFailed { address, state, reason, next, .. } => Self {
                connection_type: Some(ConnectionType::Outbound),
                state: Some(*state),
                error: Some(reason),
                next_dial: Some(*next),
                ..of_address(address)
            },
            ControlEvent::ConnectionLost { address, connection_type, state, reason, .. } => Self {
                connection_type: Some(*connection_type),
                state: Some(*state),
                error: Some(reason),
                ..of_address(address)
            },
            ControlEvent::InboundRejected { address, refusal } => {
                Self { connection_type: Some(ConnectionType::Inbound), error: Some(refusal), ..of_address(address) }
            }
            ControlEvent::RejectedOverCapacity { address, .. } => {
                Self { connection_type: Some(ConnectionType::OverCapacity), ..of_address(address) }
            }
            ControlEvent::ListenerBindFailed { address, failure, .. } => {
                Self { listen_address: Some(*address), ..of_error(failure) }
            }
            ControlEvent::ListenerBound { address } => Self { listen_address: Some(*address), ..Self::default() },
            ControlEvent::ConnectionRestarting { address, .. }
            | ControlEvent::PeerMisbehaved { address, .. }
            | ControlEvent::PeerEvicted { address, .. } => of_address(address),
            ControlEvent::PeerBanned { host, .. } | ControlEvent::PeerUnbanned { host } => of_address(host),
            ControlEvent::SeedFailed { cause, .. } => of_error(cause),
            ControlEvent::DialsHeldBack { cause } => of_error(cause),
            ControlEvent::BookFailing { error } => of_error(error),
            ControlEvent::SocketOptionRefused { .. }
            | ControlEvent::SeedResolved { .. }
            | ControlEvent::BookRecovered
            | ControlEvent::ConfigUpdated { .. } => Self::default(),
        }
    }
}

/// A value between quotation marks. It is escaped so that it cannot end the quotation or the line, and its length is
/// limited.
struct Quoted<'a>(&'a dyn fmt::Display);

/// A writer that escapes quotation marks, backslashes and characters other than printable ASCII, and drops characters
/// beyond its limit.
struct Escape<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    left: usize,
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        write!(Escape { out: f, left: MAX_LOG_TEXT_CHARS }, "{}", self.0)?;
        f.write_char('"')
    }
}

impl Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let escaped = character.escape_default();
            // An apostrophe cannot end the value, so it is not escaped.
            let is_apostrophe = character == '\'';
            let len = if is_apostrophe { 1 } else { escaped.len() };
            let Some(left) = self.left.checked_sub(len) else {
                self.left = 0;
                return Ok(());
            };
            self.left = left;
            match is_apostrophe {
                true => self.out.write_char(character)?,
                false => write!(self.out, "{escaped}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::one_of_each;
    use crate::limits::{LOG_BURST_LINES, LOG_REFILL};
    use crate::manager::store::StoreError;
    use std::sync::Arc;
    use std::time::Duration;

    fn line(event: &ControlEvent, suppressed: u64) -> String {
        Line { event, network: Network::Regtest, now: Instant::from_nanos(7), suppressed }.to_string()
    }

    #[test]
    fn req_e46_the_line_of_a_failed_connection_states_when_its_address_is_dialled_next() {
        let now = Instant::from_nanos(7);
        let next = |next: NextDial| {
            let mut event = one_of_each().swap_remove(2);
            let ControlEvent::ConnectionFailed { next: of_event, .. } = &mut event else { panic!("{event}") };
            *of_event = next;
            let line = line(&event, 0);
            let (_, next) = line.split_once("\" next_dial=").expect("the next dial follows the error");
            next.to_owned()
        };
        assert_eq!(next(NextDial::Restart), "now network=regtest");
        assert_eq!(next(NextDial::At(now.plus(Duration::from_micros(5_012_999)))), "5012ms network=regtest");
        assert_eq!(
            next(NextDial::At(Instant::ZERO)),
            "0ms network=regtest",
            "the wait for an overdue dial is not 0 ms"
        );
        assert_eq!(next(NextDial::Inaccessible), "inaccessible network=regtest");
        assert_eq!(next(NextDial::NextAddress), "next_address network=regtest");
        assert_eq!(next(NextDial::Never), "unplanned network=regtest");
        let others = one_of_each().into_iter().filter(|event| !matches!(event, ControlEvent::ConnectionFailed { .. }));
        others.for_each(|event| assert!(!line(&event, 0).contains("next_dial"), "{event}"));
    }

    fn admit(book: &mut LogBook, label: &'static str, now: Instant) -> Option<u64> {
        book.admit(label, Level::Warn, now)
    }

    #[test]
    fn a_line_has_the_fields_of_its_event_and_no_others() {
        let events = one_of_each();
        assert_eq!(
            line(&events[1], 0),
            "event=handshake_complete peer_id=3.1 peer_address=192.0.2.1:8333 connection_type=outbound \
             state=connected detail=\"completed the handshake with 192.0.2.1:8333 in 1000000 us\" network=regtest"
        );
        assert_eq!(
            line(&events[5], 3),
            "event=inbound_rejected peer_address=192.0.2.1:8333 connection_type=inbound error=\"the loop has 1 \
             connection; raise max_links, max_inbound or max_peers\" network=regtest suppressed=3"
        );
        assert!(line(&events[2], 0).contains(" state=awaiting_handshake error=\"listening failed: "));
        assert!(line(&events[8], 0).contains(" peer_address=192.0.2.1 detail="));
        assert_eq!(
            line(&events[11], 0),
            "event=listener_bound listen_address=192.0.2.1:8333 detail=\"listening on 192.0.2.1:8333\" network=regtest"
        );
        assert_eq!(
            line(&events[14], 0),
            "event=seed_failed error=\"the resolver did not answer in time\" detail=\"seed.example was not \
             resolved: the resolver did not answer in time\" network=regtest"
        );
        assert_eq!(
            line(&events[19], 0),
            "event=dials_held_back error=\"the address range has reached its maximum number of connections; raise \
             max_per_group_percent\" detail=\"peers are wanted but not dialled: the address range has reached its \
             maximum number of connections; raise max_per_group_percent\" network=regtest"
        );
        let failed = line(&events[12], 0);
        assert!(failed.starts_with("event=listener_bind_failed listen_address=192.0.2.1:8333 error=\""), "{failed}");
    }

    #[test]
    fn an_accept_pause_is_logged_like_an_event() {
        let (listen_address, error) = (([192, 0, 2, 1], 8_333).into(), &io::Error::other("line\nbreak"));
        let line =
            |suppressed| AcceptPause { listen_address, error, network: Network::Regtest, suppressed }.to_string();
        let wanted = r#"event=accept_paused listen_address=192.0.2.1:8333 error="line\nbreak" network=regtest"#;
        assert_eq!([line(0), line(3)], [wanted.to_owned(), format!("{wanted} suppressed=3")]);
    }

    #[test]
    fn every_line_is_short_and_printable_and_ends_with_the_network() {
        for event in one_of_each() {
            let line = line(&event, 0);
            assert!(line.starts_with(&format!("event={}", event.label())) && line.ends_with(" network=regtest"));
            assert!(line.len() <= 512 && line.chars().all(|character| (' '..='~').contains(&character)), "{line}");
        }
    }

    #[test]
    fn a_line_with_two_long_values_stays_within_its_limit() {
        let error = Arc::new(StoreError::Damaged { path: "p".repeat(4_096).into(), what: "w".repeat(4_096) });
        let line = line(&ControlEvent::BookFailing { error }, u64::MAX);
        assert!(line.len() <= 768 && line.contains("\" detail=\"cannot write the address book"), "{line}");
    }

    #[test]
    fn quoted_values_are_escaped_and_limited_in_length() {
        let quoted = |text: &str| Quoted(&text).to_string();
        assert_eq!(quoted("a\n\u{1b}[31m\"\\\u{202e}\0"), r#""a\n\u{1b}[31m\"\\\u{202e}\u{0}""#);
        assert_eq!(quoted("it's"), "\"it's\"");
        assert_eq!(quoted(&"x".repeat(300)).len(), MAX_LOG_TEXT_CHARS + 2);
        let of_emoji = quoted(&["x", &"\u{1f980}".repeat(300), "y"].concat());
        assert_eq!(
            of_emoji,
            format!("\"x{}\"", r"\u{1f980}".repeat((MAX_LOG_TEXT_CHARS - 1) / 9)),
            "the text was not cut after the last character that fits"
        );
        let name = Arc::from("seed\r\nevent=peer_banned");
        let event = ControlEvent::SeedResolved { name, found: 0, new: 0 };
        assert!(line(&event, 0).contains(r#"detail="seed\r\nevent=peer_banned has"#));
    }

    #[test]
    fn each_kind_of_line_is_limited_and_its_suppressed_lines_are_counted() {
        let mut book = LogBook::new(Network::Regtest);
        let mut now = Instant::from_nanos(7);
        for _ in 0..LOG_BURST_LINES {
            assert_eq!(admit(&mut book, "a", now), Some(0));
        }
        now = now.plus(LOG_REFILL / 2);
        assert_eq!([admit(&mut book, "a", now), admit(&mut book, "a", now)], [None, None]);
        assert_eq!(admit(&mut book, "b", now), Some(0), "the bucket of one kind limited another kind");
        now = now.plus(LOG_REFILL / 2);
        assert_eq!([admit(&mut book, "a", now), admit(&mut book, "a", now)], [Some(2), None]);
        now = Instant::MAX;
        assert_eq!(admit(&mut book, "a", now), Some(1));
        let burst = (1..LOG_BURST_LINES).filter(|_| admit(&mut book, "a", now).is_some()).count();
        assert_eq!(burst as u32, LOG_BURST_LINES - 1);
        assert_eq!(admit(&mut book, "a", now), None, "a long pause refilled more than one burst");
    }
}
