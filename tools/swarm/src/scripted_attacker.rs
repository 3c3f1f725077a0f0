//! Hostile peers, each of which follows a script and ignores all input.
//!
//! Before its script, a peer sends the part of the handshake that its [`Manners`] determine. Bytes keep their order,
//! so the loop is in a known state of the handshake when the script arrives, no matter which side dialled. Each
//! [`Row`] states the loop's allowed reactions.

use super::scripted_handler::LIE;
use peerloop::config::Config;
use peerloop::internals::limits::{BODY_WINDOW, HEADER_TIMEOUT, SEND_STALL_TIMEOUT};
use peerloop::protocol::{CommandName, Network};
use peerloop::sim::Chance;
use peerloop::sim::actor::{Line, Persona};
use peerloop::time::UnixTime;
use peerloop::wire::{Header, NetAddress, Sender, Version, put_frame};
use std::rc::Rc;
use std::time::Duration;

/// The network of all swarms.
pub(super) const NETWORK: Network = Network::Regtest;

/// The part of the handshake that a hostile peer sends before its script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manners {
    /// Nothing.
    None,
    /// Only its `version`.
    Version,
    /// Its `version` and its `verack`.
    Full,
}

/// The deadline by which the loop must have closed a hostile peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    /// When the whole script has been sent and read.
    Moment,
    /// When the handshake times out.
    Handshake,
    /// When a header, a body, a send or a pong times out.
    Patience,
}

/// One hostile behaviour.
pub(super) struct Row {
    /// The threat's number.
    pub(super) threat: &'static str,
    pub(super) what: &'static str,
    pub(super) manners: Manners,
    /// The labels of the allowed close reasons.
    pub(super) reasons: &'static [&'static str],
    pub(super) within: Within,
    pub(super) steps: fn(&Chance) -> Vec<Step>,
}

/// A step of a script.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Say(Vec<u8>),
    /// Sends the same bytes several times.
    Repeat {
        bytes: Vec<u8>,
        times: u32,
        every: Duration,
    },
    Pause(Duration),
    StopReading,
}

/// The user agent of most hostile peers.
const AGENT: &[u8] = b"/\x1b[31m\0\n:1/";
const SECOND: Duration = Duration::from_secs(1);
const QUIET: &[&str] = &["pong_timeout"];
const SILENT: &[&str] = &["handshake_timeout"];
const STALLED: &[&str] = &["send_stalled", "pong_timeout"];

/// Attacks that [`byzantine`](peerloop::sim::actor::byzantine) lacks, most of them because they need a handler that
/// acts at the same time.
pub(super) const ROWS: [Row; 7] = {
    use Manners::{Full, None};
    const fn row(
        threat: &'static str,
        what: &'static str,
        manners: Manners,
        reasons: &'static [&'static str],
        within: Within,
        steps: fn(&Chance) -> Vec<Step>,
    ) -> Row {
        Row { threat, what, manners, reasons, within, steps }
    }
    [
        row("P8", "a peer that stops reading", Full, STALLED, Within::Patience, |_| vec![Step::StopReading]),
        row("P8", "bursts of pings without reading", Full, STALLED, Within::Patience, |chance| {
            let bytes = frame("ping", &[3; 8]).repeat(50);
            vec![Step::StopReading, Step::Repeat { bytes, times: 1 + chance.below(40), every: SECOND / 8 }]
        }),
        row("P14", "the same pong repeatedly", Full, QUIET, Within::Patience, |_| {
            vec![Step::Repeat { bytes: frame("pong", &LIE.to_le_bytes()), times: 100, every: 2 * SECOND }]
        }),
        row("P16", "repeated versions and veracks after the handshake", Full, QUIET, Within::Patience, |_| {
            let again = [frame("version", &version(70_001, AGENT)), frame("verack", &[])].concat();
            vec![Step::Pause(3 * SECOND), Step::Repeat { bytes: again, times: 10, every: 4 * SECOND }]
        }),
        row("P28", "many tiny messages in large segments", Full, QUIET, Within::Patience, |chance| {
            let bytes = frame("hello", &[5; 3]).repeat(500);
            vec![Step::Repeat { bytes, times: 1 + chance.below(6), every: SECOND }]
        }),
        row("P30", "a banned user agent", None, &["banned_user_agent"], Within::Moment, |_| {
            vec![Step::Say(frame("version", &version(70_016, b"/banned:1/")))]
        }),
        row("P31", "handshakes that time out together", None, SILENT, Within::Handshake, |_| Vec::new()),
    ]
};

/// The messages of untimely peers. Such a peer sends one of them, in one of the [`STATES`].
pub(super) const MESSAGES: [&str; 11] =
    ["version", "verack", "ping", "pong", "protoconf", "sendheaders", "reject", "inv", "createstrm", "extmsg", "hello"];
/// The states of the handshake in which untimely peers send their message.
pub(super) const STATES: [Manners; 3] = [Manners::None, Manners::Version, Manners::Full];

/// Returns a script that sends one message and is then silent.
pub(super) fn cell(message: &str) -> Vec<Step> {
    let bytes = match message {
        "version" => frame(message, &version(70_016, AGENT)),
        "ping" | "pong" => frame(message, &[6; 8]),
        "protoconf" => frame(message, b"\x01\0\0\x10\0"),
        "reject" => frame(message, b"\x02tx\x10\x01x"),
        "inv" => frame(message, &inventory(1)),
        "extmsg" => extended("block", 3, [0; 4], &[1, 2, 3]),
        _ => frame(message, &[]),
    };
    vec![Step::Say(bytes)]
}

/// Returns the allowed close reasons of a peer that sends one message in one state. `dials` states whether the peer
/// dialled the loop; otherwise the loop dialled the peer.
pub(super) fn cell_reasons(manners: Manners, message: &str, dials: bool) -> &'static [&'static str] {
    match (manners, message) {
        (Manners::Version | Manners::Full, "createstrm") => &["intolerable"],
        // Only an accepted connection may become a stream.
        (Manners::None, "createstrm") if dials => &["stream_refused"],
        (Manners::Version, "verack") | (Manners::Full, _) => QUIET,
        // Before the handshake is complete, none of the other messages closes the connection, not even `extmsg`.
        (_, _) => SILENT,
    }
}

impl Within {
    /// Returns the maximum time for which a peer may stay connected, in addition to the duration of its script.
    pub(super) fn time(self, config: &Config) -> Duration {
        let pong = config.ping_interval + config.pong_timeout;
        match self {
            Self::Moment => Duration::ZERO,
            Self::Handshake => config.handshake_timeout,
            Self::Patience => 2 * pong.max(BODY_WINDOW) + HEADER_TIMEOUT + SEND_STALL_TIMEOUT,
        }
    }
}

/// One hostile peer.
pub(super) struct ScriptedAttacker {
    manners: Manners,
    steps: Rc<[Step]>,
    at: usize,
    done: u32,
}

impl ScriptedAttacker {
    pub(super) fn new(manners: Manners, steps: &Rc<[Step]>) -> Self {
        Self { manners, steps: Rc::clone(steps), at: 0, done: 0 }
    }

    fn continue_script(&mut self, line: &mut Line<'_>) {
        let steps = Rc::clone(&self.steps);
        while let Some(step) = steps.get(self.at) {
            let pause = match step {
                Step::Say(bytes) => {
                    line.send(bytes);
                    None
                }
                Step::Repeat { bytes, times, every } => self.again(line, bytes, *times, *every),
                Step::Pause(time) => self.again(line, &[], 2, *time),
                Step::StopReading => {
                    line.stop_reading();
                    None
                }
            };
            match pause {
                Some(time) => return line.wake_at(line.now().plus(time)),
                None => (self.at, self.done) = (self.at + 1, 0),
            }
        }
    }

    /// Sends the bytes once more, and returns the pause before the next repetition; `None` after the last one.
    fn again(&mut self, line: &mut Line<'_>, bytes: &[u8], times: u32, every: Duration) -> Option<Duration> {
        line.send(bytes);
        self.done += 1;
        (self.done < times).then_some(every)
    }
}

impl Persona for ScriptedAttacker {
    fn opened(&mut self, line: &mut Line<'_>) {
        if self.manners != Manners::None {
            line.send(&frame("version", &version(70_016, AGENT)));
        }
        if self.manners == Manners::Full {
            line.send(&frame("verack", &[]));
        }
        self.continue_script(line);
    }

    fn received(&mut self, _line: &mut Line<'_>, _bytes: &[u8]) {}

    fn due(&mut self, line: &mut Line<'_>) {
        self.continue_script(line);
    }
}

fn inventory(items: u8) -> Vec<u8> {
    let mut payload = vec![items];
    (0..items).for_each(|item| payload.extend_from_slice(&[&[1, 0, 0, 0][..], &[item; 32]].concat()));
    payload
}

pub(super) fn version(protocol_version: i32, agent: &[u8]) -> Vec<u8> {
    let version = Version {
        protocol_version,
        services: u64::MAX,
        time: UnixTime::from_secs(i64::MIN),
        receiver: NetAddress::UNSPECIFIED,
        sender: Some(Sender { address: NetAddress::UNSPECIFIED, nonce: 7 }),
        user_agent: Some(agent.into()),
        start_height: Some(i32::MIN),
        relay: Some(true),
        association_id: None,
    };
    let mut payload = Vec::new();
    version.encode(&mut payload);
    payload
}

pub(super) fn frame(command: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_frame(NETWORK.magic(), CommandName::new(command), payload, &mut bytes);
    bytes
}

fn extended(command: &str, len_bytes: u64, checksum: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let header = Header { command: CommandName::new(command), payload_len: len_bytes, checksum: None };
    let mut bytes = header.encode_extended(NETWORK.magic()).to_vec();
    bytes[20..24].copy_from_slice(&checksum);
    bytes.extend_from_slice(payload);
    bytes
}

/// Returns an upper bound on a script's duration.
pub(super) fn script_time(steps: &[Step]) -> Duration {
    let time = |step: &Step| match step {
        Step::Repeat { times, every, .. } => *every * *times,
        Step::Pause(time) => *time,
        Step::Say(_) | Step::StopReading => Duration::ZERO,
    };
    steps.iter().map(time).sum()
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.threat, self.what)
    }
}
