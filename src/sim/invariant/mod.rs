//! Invariants of a loop, for any behaviour of its peers, its kernel and its handler.
//!
//! [`Checked`] is a [`Reactor`](crate::Reactor) that is checked from all sides. A [`Gate`] wraps the loop's network
//! and a [`Witness`] wraps its handler; both check the calls that they pass on. After each turn the loop's counts are
//! checked, at a cost that does not depend on the number of links. From time to time a sweep compares all rows, lists,
//! queues and timers with each other and with the virtual kernel. A broken invariant is reported as a [`Violation`],
//! never as a panic, so that a run can be replayed and reduced.
//!
//! These are the [`INVARIANTS`]:
//!
//! | number | invariant | checked |
//! |---|---|---|
//! | 1 | Slots and links add up, in total and by state, and links equal additions minus removals | turn, sweep |
//! | 2 | Each link has one registered socket, and each registered socket one link | call, sweep |
//! | 3 | Loop, network and kernel agree on how many sockets and listeners are open | sweep |
//! | 4 | No call uses an id whose link was removed | call |
//! | 5 | A slot freed in a turn is not reused in that turn | call |
//! | 6 | A slot's generation only increases | call |
//! | 7 | A link with unread data is paused, on the read list, or announced by a waiting event | sweep |
//! | 8 | A link with sendable data is on the write list, or announced by a waiting event | sweep |
//! | 9 | A link is on each list at most once, and the loop sleeps if and only if it has no work | turn, sweep |
//! | 10 | Unless accepting is paused, the loop knows of waiting connections or an event announces them | sweep |
//! | 11 | A turn's work is bounded for each link and for each kind of work | call, turn |
//! | 12 | A link with unread data is read when its position on the read list is reached | turn, sweep |
//! | 13 | A frame's memory grows only with its received bytes, and the memory of all frames is bounded | turn, sweep |
//! | 14 | Queued bytes are counted correctly and bounded | sweep |
//! | 15 | Accounted memory matches the allocator's | elsewhere: needs the allocator |
//! | 16 | Messages are delivered whole, as a gapless stream or not at all, as the handler decides | call |
//! | 17 | Written bytes are whole frames in order, and only pings and pongs overtake others | call |
//! | 18 | Nothing is sent or delivered before its stage of the handshake | call |
//! | 19 | The terms agreed with a peer do not change | sweep |
//! | 20 | No handshake deadline and no due ping is missed | sweep |
//! | 21 | Each timer belongs to a link, each deadline has a timer, and no deadline has passed | turn, sweep |
//! | 22 | No timer fires early or late | call, turn |
//! | 23 | A pong answers an earlier ping, and pings in flight are bounded | call, turn, sweep |
//! | 24 | Accepted links, slots, hosts and ranges are counted correctly and within their maxima | turn, sweep |
//! | 25 | No peer has a banned address, and the number of bans is bounded | turn, sweep |
//! | 26 | An address is dialled only after its pause, and its restarts are bounded | call |
//! | 27 | Outbound links have distinct addresses, never the loop's own; each link reserves its address | call, sweep |
//! | 28 | Only an unprotected inbound peer is evicted | call |
//! | 29 | A peer opens and becomes ready at most once; its last event is its only close, with one reason | call, turn |
//! | 30 | An announced ban is on the disk, and so is the whole book once no write waits | turn, sweep |
//! | 31 | The address book is bounded, and no source fills more than its share | turn, sweep |
//! | 32 | The number of log lines is bounded | elsewhere: needs a logger |
//! | 33 | A relay's requests in flight are bounded and have deadlines | not built: the library's relay |
//! | 34 | A hostile peer changes nothing for others | elsewhere: compares two runs |
//! | 35 | A small message costs no allocation | elsewhere: needs the allocator |
//! | 36 | A stopped loop has released everything | end |
//! | 37 | The same seed gives the same calls | elsewhere: compares two runs |
//! | 38 | A peer is closed only for its acts or a failure; no honest peer gets wrong data | elsewhere: judges peers |
//! | 39 | Without faults, every honest peer is served | elsewhere: judges peers |
//! | 40 | A ping counts as sent when the kernel accepts its last byte, so that its pong is matched | turn |
//! | 41 | The handler is notified when the kernel has accepted all bytes for a ready peer | turn |
//! | 42 | A handler that requests an offer of free room receives it, and the room exists | call, sweep |
//! | 43 | A frame for many peers is either accepted or refused for each selected peer | elsewhere: compares peers |
//! | 44 | Composed handlers see the same events, but only their own requests' results | elsewhere: compares handlers |
//! | 45 | Each mark is reported at most once, in order, when the kernel accepts its message's last byte | call, turn |
//! | 46 | A peer's links end together, and each further stream belongs to a peer and has its own type | turn, sweep |

mod bounds;
mod checked;
mod findings;
mod gate;
mod gossip;
mod ledger;
mod manager_checks;
mod managing;
mod messages;
mod outgoing;
mod outside;
mod promised;
mod saved;
mod sight;
mod stream_checks;
mod streams;
mod sweep;
#[cfg(test)]
mod tests;
mod turn;
mod witness;

pub use crate::reactor::inspect::{
    Agreed, Draw, EndingStep, Inspection, LinkReport, ListenerReport, ManagerReport, ManagerSummary, OutgoingReport,
    StreamReport, Summary,
};
pub use checked::Checked;
pub use gate::Gate;
pub use streams::StreamCase;
pub use witness::Witness;

use crate::protocol::CommandName;
use crate::time::Instant;
use std::fmt;

/// The command of the messages whose marks are checked. The payload of such a message must begin with its mark, in
/// little-endian order, and the message must be sent with [`Ctx::send_marked`](crate::Ctx::send_marked).
pub const MARKED: CommandName = CommandName::new("marked");

/// An invariant of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invariant {
    /// The invariant's number, counted from 1.
    pub number: u8,
    /// The text of the invariant.
    pub holds: &'static str,
    /// The occasions on which it is checked.
    pub checked: &'static [When],
}

/// An occasion on which an invariant is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At each related call on the network or the handler, or at the end of that call's turn.
    Call,
    /// After each turn.
    Turn,
    /// In each sweep.
    Sweep,
    /// When the loop has stopped.
    End,
    /// Outside a [`Checked`] loop, for this reason.
    Elsewhere(&'static str),
    /// Never, because the named part of the library does not exist.
    NotBuilt(&'static str),
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's number.
    pub invariant: u8,
    /// The moment at which the violation was found.
    pub at: Instant,
    /// The evidence.
    pub text: String,
}

/// All invariants, in the order of their numbers.
pub const INVARIANTS: [Invariant; 46] = {
    use When::{Call, Elsewhere, End, NotBuilt, Sweep, Turn};
    const fn invariant(number: u8, holds: &'static str, checked: &'static [When]) -> Invariant {
        Invariant { number, holds, checked }
    }
    [
        invariant(
            1,
            "Slots and links add up, in total and by state, and links equal additions minus removals",
            &[Turn, Sweep],
        ),
        invariant(2, "Each link has one registered socket, and each registered socket one link", &[Call, Sweep]),
        invariant(3, "Loop, network and kernel agree on how many sockets and listeners are open", &[Sweep]),
        invariant(4, "No call uses an id whose link was removed", &[Call]),
        invariant(5, "A slot freed in a turn is not reused in that turn", &[Call]),
        invariant(6, "A slot's generation only increases", &[Call]),
        invariant(7, "A link with unread data is paused, on the read list, or announced by a waiting event", &[Sweep]),
        invariant(8, "A link with sendable data is on the write list, or announced by a waiting event", &[Sweep]),
        invariant(
            9,
            "A link is on each list at most once, and the loop sleeps if and only if it has no work",
            &[Turn, Sweep],
        ),
        invariant(
            10,
            "Unless accepting is paused, the loop knows of waiting connections or an event announces them",
            &[Sweep],
        ),
        invariant(11, "A turn's work is bounded for each link and for each kind of work", &[Call, Turn]),
        invariant(12, "A link with unread data is read when its position on the read list is reached", &[Turn, Sweep]),
        invariant(
            13,
            "A frame's memory grows only with its received bytes, and the memory of all frames is bounded",
            &[Turn, Sweep],
        ),
        invariant(14, "Queued bytes are counted correctly and bounded", &[Sweep]),
        invariant(15, "Accounted memory matches the allocator's", &[Elsewhere("needs the allocator")]),
        invariant(
            16,
            "Messages are delivered whole, as a gapless stream or not at all, as the handler decides",
            &[Call],
        ),
        invariant(17, "Written bytes are whole frames in order, and only pings and pongs overtake others", &[Call]),
        invariant(18, "Nothing is sent or delivered before its stage of the handshake", &[Call]),
        invariant(19, "The terms agreed with a peer do not change", &[Sweep]),
        invariant(20, "No handshake deadline and no due ping is missed", &[Sweep]),
        invariant(
            21,
            "Each timer belongs to a link, each deadline has a timer, and no deadline has passed",
            &[Turn, Sweep],
        ),
        invariant(22, "No timer fires early or late", &[Call, Turn]),
        invariant(23, "A pong answers an earlier ping, and pings in flight are bounded", &[Call, Turn, Sweep]),
        invariant(
            24,
            "Accepted links, slots, hosts and ranges are counted correctly and within their maxima",
            &[Turn, Sweep],
        ),
        invariant(25, "No peer has a banned address, and the number of bans is bounded", &[Turn, Sweep]),
        invariant(26, "An address is dialled only after its pause, and its restarts are bounded", &[Call]),
        invariant(
            27,
            "Outbound links have distinct addresses, never the loop's own; each link reserves its address",
            &[Call, Sweep],
        ),
        invariant(28, "Only an unprotected inbound peer is evicted", &[Call]),
        invariant(
            29,
            "A peer opens and becomes ready at most once; its last event is its only close, with one reason",
            &[Call, Turn],
        ),
        invariant(30, "An announced ban is on the disk, and so is the whole book once no write waits", &[Turn, Sweep]),
        invariant(31, "The address book is bounded, and no source fills more than its share", &[Turn, Sweep]),
        invariant(32, "The number of log lines is bounded", &[Elsewhere("needs a logger")]),
        invariant(
            33,
            "A relay's requests in flight are bounded and have deadlines",
            &[NotBuilt("the library's relay")],
        ),
        invariant(34, "A hostile peer changes nothing for others", &[Elsewhere("compares two runs")]),
        invariant(35, "A small message costs no allocation", &[Elsewhere("needs the allocator")]),
        invariant(36, "A stopped loop has released everything", &[End]),
        invariant(37, "The same seed gives the same calls", &[Elsewhere("compares two runs")]),
        invariant(
            38,
            "A peer is closed only for its acts or a failure; no honest peer gets wrong data",
            &[Elsewhere("judges peers")],
        ),
        invariant(39, "Without faults, every honest peer is served", &[Elsewhere("judges peers")]),
        invariant(
            40,
            "A ping counts as sent when the kernel accepts its last byte, so that its pong is matched",
            &[Turn],
        ),
        invariant(41, "The handler is notified when the kernel has accepted all bytes for a ready peer", &[Turn]),
        invariant(42, "A handler that requests an offer of free room receives it, and the room exists", &[Call, Sweep]),
        invariant(
            43,
            "A frame for many peers is either accepted or refused for each selected peer",
            &[Elsewhere("compares peers")],
        ),
        invariant(
            44,
            "Composed handlers see the same events, but only their own requests' results",
            &[Elsewhere("compares handlers")],
        ),
        invariant(
            45,
            "Each mark is reported at most once, in order, when the kernel accepts its message's last byte",
            &[Call, Turn],
        ),
        invariant(
            46,
            "A peer's links end together, and each further stream belongs to a peer and has its own type",
            &[Turn, Sweep],
        ),
    ]
};

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call => f.write_str("call"),
            Self::Turn => f.write_str("turn"),
            Self::Sweep => f.write_str("sweep"),
            Self::End => f.write_str("end"),
            Self::Elsewhere(why) => write!(f, "elsewhere: {why}"),
            Self::NotBuilt(what) => write!(f, "not built: {what}"),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, at, text } = self;
        let known = INVARIANTS.iter().find(|known| known.number == *invariant);
        let holds = known.map_or("unknown", |known| known.holds);
        write!(f, "invariant {invariant} ({holds}) is broken at {at:?}: {text}")
    }
}
