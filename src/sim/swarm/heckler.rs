//! The hostile peers: each follows a script and never listens.
//!
//! A script begins with as much of a handshake as its manners demand. Because bytes keep their order, what follows finds
//! the loop in a known state of that handshake, whoever dialled. What the loop owes to each is written beside it.

use super::super::actor::{Line, Persona};
use super::super::tape::Chance;
use crate::config::Config;
use crate::limits::{BODY_WINDOW, HEADER_TIMEOUT, SEND_STALL_TIMEOUT};
use crate::protocol::{CommandName, Network};
use crate::time::UnixTime;
use crate::wire::{Header, NetAddress, Sender, Version, put_frame};
use std::rc::Rc;
use std::time::Duration;

/// The network of all swarms.
pub(super) const NETWORK: Network = Network::Regtest;

/// How far a hostile peer goes along with the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manners {
    /// It says nothing of it.
    None,
    /// It says its version and keeps the verack back.
    Version,
    /// It says all that makes it a peer.
    Full,
}

/// By when the loop has to be rid of a hostile peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    /// As soon as the bytes are read, but for the time that they take to be said.
    Moment,
    /// When the handshake should have been complete.
    Handshake,
    /// When a header, a body or its own output should have got on, or a pong should have come.
    Patience,
}

/// One hostile behaviour.
pub(super) struct Row {
    /// Which threat it is.
    pub(super) threat: &'static str,
    pub(super) what: &'static str,
    pub(super) manners: Manners,
    /// The labels of the reasons for which it may be closed.
    pub(super) reasons: &'static [&'static str],
    pub(super) within: Within,
    pub(super) steps: fn(&Chance) -> Vec<Step>,
}

/// What a script consists of.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Say(Vec<u8>),
    /// Says something again and again.
    Repeat {
        bytes: Vec<u8>,
        times: u32,
        every: Duration,
    },
    /// Says one byte after the other.
    Drip {
        bytes: Vec<u8>,
        every: Duration,
    },
    Pause(Duration),
    StopReading,
    Finish,
    Close,
    Reset,
}

const SECOND: Duration = Duration::from_secs(1);
const QUIET: &[&str] = &["pong_timeout"];
const SILENT: &[&str] = &["handshake_timeout"];
const OWN_END: &[&str] = &["closed_by_peer", "reset", "broken_pipe", "rejected_by_peer"];

/// All of them, by the numbers of the threats.
pub(super) const ROWS: [Row; 37] = {
    use Manners::{Full, None, Version};
    use Within::{Handshake, Moment, Patience};
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
        row("P1", "garbage", None, &["bad_magic"], Moment, |chance| {
            let mut bytes = vec![0; 1 + chance.below(3_000) as usize];
            chance.fill(&mut bytes);
            bytes[0] = 0xff;
            vec![Step::Say(bytes)]
        }),
        row("P2", "another network", None, &["bad_magic"], Moment, |_| {
            let mut bytes = Vec::new();
            put_frame(Network::Mainnet.magic(), CommandName::VERSION, &version(70_016), &mut bytes);
            vec![Step::Say(bytes)]
        }),
        row("P3", "wrong checksums", Full, QUIET, Patience, |chance| {
            let mut bytes = frame("inv", &[0]);
            bytes[20] ^= 1;
            vec![Step::Repeat { bytes, times: 1 + chance.below(120), every: SECOND / 4 }]
        }),
        row("P4", "a length over the limit", Full, &["over_limit"], Moment, |chance| {
            let len_bytes = 2_097_153 + u64::from(chance.below(1 << 30));
            vec![Step::Say(claim("inv", len_bytes, 0))]
        }),
        row("P4", "a long handshake message", Version, &["over_limit"], Moment, |_| {
            vec![Step::Say(claim("version", 2_049, 10))]
        }),
        row("P5", "a body that does not come", Full, &["body_timeout", "pong_timeout"], Patience, |chance| {
            vec![Step::Say(claim("block", 1_000_000, chance.below(5_000) as usize))]
        }),
        row("P5", "a body that drips", Full, &["body_timeout", "pong_timeout"], Patience, |_| {
            let bytes = vec![0; 500];
            vec![Step::Say(claim("tx", 1_000_000, 0)), Step::Repeat { bytes, times: 1_000, every: 5 * SECOND }]
        }),
        row("P6", "a header that drips", Full, &["header_timeout", "pong_timeout"], Patience, |_| {
            vec![Step::Drip { bytes: frame("ping", &[1; 8]), every: 4 * SECOND }]
        }),
        row("P6", "a version that drips", None, &["handshake_timeout", "header_timeout"], Handshake, |_| {
            vec![Step::Drip { bytes: frame("version", &version(70_016)), every: SECOND }]
        }),
        row(
            "P7",
            "a handshake that never ends",
            Version,
            &["handshake_flood", "handshake_timeout"],
            Handshake,
            |chance| {
                let every = SECOND * chance.below(3) / 2;
                vec![Step::Repeat { bytes: frame("hello", &[7; 30]), times: 40, every }]
            },
        ),
        row("P7", "silence", None, SILENT, Handshake, |_| Vec::new()),
        row("P8", "a reader that stops", Full, &["send_stalled", "pong_timeout"], Patience, |_| {
            vec![Step::StopReading]
        }),
        row("P8", "a flood of pings and no reader", Full, &["send_stalled", "pong_timeout"], Patience, |chance| {
            let bytes = frame("ping", &[3; 8]).repeat(50);
            vec![Step::StopReading, Step::Repeat { bytes, times: 1 + chance.below(40), every: SECOND / 8 }]
        }),
        row("P10", "a flood of inv", Full, QUIET, Patience, |chance| flood(chance, "inv", &inventory(40))),
        row("P11", "a flood of getdata", Full, QUIET, Patience, |chance| flood(chance, "getdata", &inventory(3))),
        row("P11", "a flood of mempool", Full, QUIET, Patience, |chance| flood(chance, "mempool", &[])),
        row("P12", "a flood of addr", Full, QUIET, Patience, |chance| {
            let mut addresses = vec![20];
            addresses.resize(1 + 20 * 30, 0);
            flood(chance, "addr", &addresses)
        }),
        row("P13", "a flood of pings", Full, QUIET, Patience, |chance| flood(chance, "ping", &[9; 8])),
        row("P14", "pongs to nobody's pings", Full, QUIET, Patience, |_| {
            vec![Step::Repeat { bytes: frame("pong", &[0xab; 8]), times: 100, every: 2 * SECOND }]
        }),
        row("P15", "a pong with every likely nonce", Full, QUIET, Patience, |_| {
            let guesses = (0..20_u64).flat_map(|nonce| frame("pong", &nonce.to_le_bytes())).collect();
            vec![Step::Repeat { bytes: guesses, times: 20, every: 10 * SECOND }]
        }),
        row("P16", "another version after the handshake", Full, QUIET, Patience, |_| {
            let again = [frame("version", &version(70_001)), frame("verack", &[])].concat();
            vec![Step::Pause(3 * SECOND), Step::Repeat { bytes: again, times: 10, every: 4 * SECOND }]
        }),
        row("P19", "a size that is too long", Version, &["non_canonical_size"], Moment, |_| {
            let limits = [&[0xfd, 2, 0][..], &2_000_000_u32.to_le_bytes(), &[0]].concat();
            vec![Step::Say([frame("verack", &[]), frame("protoconf", &limits)].concat())]
        }),
        row("P20", "a count that is a bomb", Full, QUIET, Patience, |_| {
            let bombs = ["inv", "headers", "addr", "tx", "getdata"];
            let bomb = [&[0xff][..], &[0xff; 8]].concat();
            vec![Step::Say(bombs.iter().flat_map(|command| frame(command, &bomb)).collect())]
        }),
        row("P21", "counts within counts", Full, QUIET, Patience, |chance| {
            let mut payload = vec![1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff];
            payload.resize(200 + chance.below(2_000) as usize, 0xfd);
            vec![Step::Say([frame("tx", &payload), frame("block", &payload)].concat())]
        }),
        row("P22", "a peer that is gone without a word", Full, QUIET, Patience, |_| Vec::new()),
        row("P23", "a reset at once", None, OWN_END, Moment, |_| vec![Step::Reset]),
        row("P23", "an end at once", Version, OWN_END, Moment, |_| vec![Step::Close]),
        row("P23", "a reset in the midst of a message", Full, OWN_END, Moment, |chance| {
            vec![Step::Say(claim("block", 500_000, chance.below(9_000) as usize)), Step::Reset]
        }),
        row("P23", "an end after a reject", Version, &["rejected_by_peer"], Moment, |_| {
            vec![Step::Say(frame("reject", b"\x07version\x11\x00")), Step::Finish]
        }),
        row("P28", "many tiny messages in large segments", Full, QUIET, Patience, |chance| {
            let bytes = frame("hello", &[5; 3]).repeat(500);
            vec![Step::Repeat { bytes, times: 1 + chance.below(6), every: SECOND }]
        }),
        row("P31", "silences that end at one moment", None, SILENT, Handshake, |_| Vec::new()),
        row(
            "P32",
            "an extended header with a checksum",
            Full,
            &["over_limit", "bad_value", "body_timeout", "pong_timeout"],
            Patience,
            |_| {
                vec![
                    Step::Say(extended("block", 10, [1; 4], &[0; 10])),
                    Step::Say(extended("ping", 1 << 63, [0; 4], &[])),
                ]
            },
        ),
        row("P32", "an extended length beyond all bounds", Full, &["over_limit"], Moment, |_| {
            vec![Step::Say(extended("block", u64::MAX, [0; 4], &[]))]
        }),
        row("P33", "two protoconfs", Full, &["second_protoconf"], Moment, |_| {
            vec![Step::Say(frame("protoconf", b"\x01\0\0\x10\0").repeat(2))]
        }),
        row("P33", "a protoconf of nothing", Full, &["truncated_message", "bad_value"], Moment, |_| {
            vec![Step::Say(frame("protoconf", &[]))]
        }),
        row("P33", "a protoconf that takes next to nothing", Full, &["bad_value", "field_too_long"], Moment, |_| {
            vec![Step::Say(frame("protoconf", b"\x01\xff\0\0\0"))]
        }),
        row("P36", "an old version", None, &["protocol_version"], Moment, |_| {
            vec![Step::Say(frame("version", &version(200)))]
        }),
    ]
};

/// The messages of the table of states and messages.
pub(super) const MESSAGES: [&str; 11] =
    ["version", "verack", "ping", "pong", "protoconf", "sendheaders", "reject", "inv", "createstrm", "extmsg", "hello"];
/// The states of that table.
pub(super) const STATES: [Manners; 3] = [Manners::None, Manners::Version, Manners::Full];

/// One message in one state, and silence.
pub(super) fn cell(message: &str) -> Vec<Step> {
    let bytes = match message {
        "version" => frame(message, &version(70_016)),
        "ping" | "pong" => frame(message, &[6; 8]),
        "protoconf" => frame(message, b"\x01\0\0\x10\0"),
        "reject" => frame(message, b"\x02tx\x10\x01x"),
        "inv" => frame(message, &inventory(1)),
        "extmsg" => extended("block", 3, [0; 4], &[1, 2, 3]),
        _ => frame(message, &[]),
    };
    vec![Step::Say(bytes)]
}

/// For which reasons one message in one state may end a connection.
pub(super) fn cell_reasons(manners: Manners, message: &str) -> &'static [&'static str] {
    match (manners, message) {
        (Manners::Version, "verack") | (Manners::Full, _) => QUIET,
        // An extended header says that its sender knows a version that it has not claimed yet.
        (_, _) => SILENT,
    }
}

impl Within {
    /// How long a peer may stay whose script takes `script` to be said.
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
pub(super) struct Heckler {
    manners: Manners,
    steps: Rc<[Step]>,
    at: usize,
    done: u32,
}

impl Heckler {
    pub(super) fn new(manners: Manners, steps: &Rc<[Step]>) -> Self {
        Self { manners, steps: Rc::clone(steps), at: 0, done: 0 }
    }

    fn go_on(&mut self, line: &mut Line<'_>) {
        let steps = Rc::clone(&self.steps);
        while let Some(step) = steps.get(self.at) {
            let pause = match step {
                Step::Say(bytes) => {
                    line.send(bytes);
                    None
                }
                Step::Repeat { bytes, times, every } => self.again(line, bytes, *times, *every),
                Step::Drip { bytes, every } => {
                    let at = self.done as usize;
                    self.again(line, &bytes[at..=at], bytes.len() as u32, *every)
                }
                Step::Pause(time) => self.again(line, &[], 2, *time),
                Step::StopReading => {
                    line.stop_reading();
                    None
                }
                Step::Finish => {
                    line.finish();
                    None
                }
                Step::Close => return line.close(),
                Step::Reset => return line.reset(),
            };
            match pause {
                Some(time) => return line.wake_at(line.now().plus(time)),
                None => (self.at, self.done) = (self.at + 1, 0),
            }
        }
    }

    /// Says something once more, and for how long it then has to wait; none if that was the last time.
    fn again(&mut self, line: &mut Line<'_>, bytes: &[u8], times: u32, every: Duration) -> Option<Duration> {
        line.send(bytes);
        self.done += 1;
        (self.done < times).then_some(every)
    }
}

impl Persona for Heckler {
    fn opened(&mut self, line: &mut Line<'_>) {
        if self.manners != Manners::None {
            line.send(&frame("version", &version(70_016)));
        }
        if self.manners == Manners::Full {
            line.send(&frame("verack", &[]));
        }
        self.go_on(line);
    }

    fn received(&mut self, _line: &mut Line<'_>, _bytes: &[u8]) {}

    fn due(&mut self, line: &mut Line<'_>) {
        self.go_on(line);
    }
}

fn flood(chance: &Chance, command: &str, payload: &[u8]) -> Vec<Step> {
    let bytes = frame(command, payload).repeat(1 + chance.below(20) as usize);
    vec![Step::Repeat { bytes, times: 1 + chance.below(100), every: SECOND / 4 }]
}

fn inventory(items: u8) -> Vec<u8> {
    let mut payload = vec![items];
    (0..items).for_each(|item| payload.extend_from_slice(&[&[1, 0, 0, 0][..], &[item; 32]].concat()));
    payload
}

fn version(protocol_version: i32) -> Vec<u8> {
    let version = Version {
        protocol_version,
        services: u64::MAX,
        time: UnixTime::from_secs(i64::MIN),
        receiver: NetAddress::UNSPECIFIED,
        sender: Some(Sender { address: NetAddress::UNSPECIFIED, nonce: 7 }),
        user_agent: Some(b"/\x1b[31m\0\n:1/"[..].into()),
        start_height: Some(i32::MIN),
        relay: Some(true),
        association_id: None,
    };
    let mut payload = Vec::new();
    version.encode(&mut payload);
    payload
}

fn frame(command: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_frame(NETWORK.magic(), CommandName::new(command), payload, &mut bytes);
    bytes
}

/// A header that claims `len_bytes`, and `sent_bytes` of them.
fn claim(command: &str, len_bytes: u64, sent_bytes: usize) -> Vec<u8> {
    let header = Header { command: CommandName::new(command), payload_len: len_bytes, checksum: Some([0; 4]) };
    let mut bytes = header.encode(NETWORK.magic()).to_vec();
    bytes.resize(bytes.len() + sent_bytes, 0);
    bytes
}

fn extended(command: &str, len_bytes: u64, checksum: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let header = Header { command: CommandName::new(command), payload_len: len_bytes, checksum: None };
    let mut bytes = header.encode_extended(NETWORK.magic()).to_vec();
    bytes[20..24].copy_from_slice(&checksum);
    bytes.extend_from_slice(payload);
    bytes
}

/// The time that a script takes to be said.
pub(super) fn script_time(steps: &[Step]) -> Duration {
    let time = |step: &Step| match step {
        Step::Repeat { times, every, .. } => *every * *times,
        Step::Drip { bytes, every } => *every * bytes.len() as u32,
        Step::Pause(time) => *time,
        Step::Say(_) | Step::StopReading | Step::Finish | Step::Close | Step::Reset => Duration::ZERO,
    };
    steps.iter().map(time).sum()
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.threat, self.what)
    }
}
