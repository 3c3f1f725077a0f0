//! The observer: a handler that is composed with the scripted handler into a pair on the same loop.
//!
//! The observer never does anything to a peer. In most worlds it requests nothing. In the others it requests
//! wake-ups, a timer and offers of free room. Unless memory is short, it also requests some messages whole and some in
//! chunks; it selects them by their headers alone. In every world it checks that it receives none of these without a
//! request.

use peerloop::PeerId;
use peerloop::api::{Chunk, ControlEvent, Delivery, Event, Frame};
use peerloop::handler::{Ctx, Handler, PeerMap};
use peerloop::sim::Chance;
use peerloop::time::Instant;
use peerloop::wire::Header;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// The number of the invariant about composed handlers.
pub(super) const COMPOSED: u8 = 44;
/// The key of the observer's timer. The other handler may use the same key.
const TIMER: u64 = 0;
/// Maximum time between two wake-ups that the observer requests.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A hash of the calls that both handlers of a pair receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Calls(u64);

impl Calls {
    /// Adds an event of a peer. `BodyCut` and `Written` are not added, because only the handler that received the
    /// chunks or marked the message receives them.
    pub(super) fn note_event(&mut self, peer: PeerId, event: &Event<'_>) {
        if !matches!(event, Event::BodyCut { .. } | Event::Written { .. }) {
            self.note((peer, std::mem::discriminant(event)));
        }
    }

    /// Adds any other call.
    pub(super) fn note(&mut self, call: impl Hash) {
        let mut hasher = DefaultHasher::new();
        (self.0, call).hash(&mut hasher);
        self.0 = hasher.finish();
    }
}

/// The second handler of the pair.
#[derive(Debug)]
pub(super) struct Observer {
    pub(super) calls: Calls,
    /// The source of the random wake-ups and timers; `None` if the observer only watches.
    chance: Option<Chance>,
    takes_messages: bool,
    asked: Option<Instant>,
    /// The moment at which the timer is due, if it is set.
    timer_due: Option<Instant>,
    /// The peers for which an offer of free room was requested and not made yet.
    pulled: PeerMap<()>,
    pub(super) wrongs: Vec<(u8, Instant, String)>,
}

impl Observer {
    pub(super) fn new(chance: Option<Chance>, takes_messages: bool) -> Self {
        Self {
            calls: Calls::default(),
            takes_messages: takes_messages && chance.is_some(),
            chance,
            asked: None,
            timer_due: None,
            pulled: PeerMap::new(),
            wrongs: Vec::new(),
        }
    }

    /// Returns the delivery that the observer requests for a message.
    fn wish(&self, header: &Header) -> Delivery {
        if !self.takes_messages {
            return Delivery::Discard;
        }
        let [first, ..] = header.command.to_bytes();
        match (u64::from(first) + header.payload_len) % 4 {
            0 => Delivery::Buffer,
            1 => Delivery::Chunks,
            2 => Delivery::UncheckedChunks,
            _ => Delivery::Discard,
        }
    }

    fn check(&mut self, holds: bool, at: Instant, text: impl FnOnce() -> String) {
        if !holds && self.wrongs.len() < 8 {
            self.wrongs.push((COMPOSED, at, text()));
        }
    }

    fn ask(&mut self, ctx: &mut Ctx<'_>) {
        if let Some(chance) = &self.chance {
            let pause = Duration::from_millis(chance.range(1, MAX_PAUSE.as_millis() as u64));
            let moment = ctx.now().plus(pause);
            self.asked = Some(moment);
            ctx.wake_at(moment);
            let due = moment.plus(pause);
            // The other handler may have set the maximum number of timers.
            if self.timer_due.is_none() && ctx.set_timer(TIMER, due).is_ok() {
                self.timer_due = Some(due);
            }
        }
    }
}

impl Handler for Observer {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        self.ask(ctx);
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        self.calls.note_event(peer, &event);
        match event {
            // The other handler may have closed the peer.
            Event::Ready { .. } if self.chance.is_some() && ctx.pull(peer).is_ok() => {
                self.pulled.insert(peer, ());
            }
            Event::Closed { .. } => drop(self.pulled.remove(peer)),
            Event::Written { mark, .. } => {
                self.check(false, ctx.now(), || {
                    format!("the observer received mark {mark} of {peer:?} without having set it")
                });
            }
            _ => {}
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, header: &Header) -> Delivery {
        self.calls.note((peer, header.command.to_bytes(), header.payload_len));
        self.wish(header)
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        let is_wanted = self.wish(frame.header()) == Delivery::Buffer;
        self.check(is_wanted, ctx.now(), || {
            format!("the observer received a whole message from {peer:?} without a request: {:?}", frame.header())
        });
    }

    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, chunk: Chunk<'_>) {
        let is_wanted = self.wish(chunk.header()).is_chunks();
        self.check(is_wanted, ctx.now(), || {
            format!("the observer received a chunk from {peer:?} without a request: {:?}", chunk.header())
        });
    }

    fn on_writable(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId) {
        self.calls.note(peer);
    }

    fn on_pull(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, _free_bytes: usize) {
        let is_asked = self.pulled.remove(peer).is_some();
        self.check(is_asked, ctx.now(), || {
            format!("the observer was offered the free room of {peer:?} without a request")
        });
    }

    fn on_control(&mut self, _ctx: &mut Ctx<'_>, event: &ControlEvent) {
        self.calls.note(event.label());
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>, key: u64) {
        let (due, now) = (self.timer_due.take(), ctx.now());
        let is_due = key == TIMER && due.is_some_and(|due| due <= now);
        self.check(is_due, now, || format!("the observer's timer {key:#x} fired at {now:?} but was due at {due:?}"));
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        let (asked, now) = (self.asked.take(), ctx.now());
        let is_due = asked.is_some_and(|asked| asked <= now);
        self.check(is_due, now, || format!("the observer was woken at {now:?} but requested {asked:?}"));
        self.ask(ctx);
    }
}
