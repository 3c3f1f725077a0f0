//! The scripted handler: it dials, sends, pings, pauses, closes and sets timers, at random moments and for random
//! peers.
//!
//! The handler derives each peer's troop from the peer's address, because each troop has its own host. Random draws
//! for a troop's peers use that troop's stream, so that the absence of another troop changes no draw. The handler
//! never acts on judged peers before the run's final checks, in which it may ping them.

mod deeds;
mod timers;

use super::marks::{Mark, Marks};
use super::observer::{COMPOSED, Calls};
use super::scenario::Habit;
use super::scripted_attacker::NETWORK;
use bytes::Bytes;
use peerloop::PeerId;
use peerloop::api::{Chunk, ControlEvent, Delivery, Event, Frame};
use peerloop::error::{CloseReason, LocalCause, RequestError};
use peerloop::handler::{Ctx, Handler, PeerMap};
use peerloop::peer::ConnectionType;
use peerloop::protocol::CommandName;
use peerloop::sim::Chance;
use peerloop::time::Instant;
use peerloop::wire::{Header, put_frame};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
pub(super) use timers::Timekeeper;

/// The command of numbered messages.
pub(super) const TALK: CommandName = CommandName::new("talk");
/// The command of numbered messages that use the stream DATA1 of a peer with several streams.
pub(super) const FAST_TALK: CommandName = CommandName::GETHDRSEN;
/// The command of messages that are sent to many peers at once.
const GOSSIP: CommandName = CommandName::new("gossip");
/// Maximum number of received payloads and chunks that are kept for a while, as an embedder may keep them.
const MAX_KEEPSAKES: usize = 64;
/// Pause before a peer is dialled again.
const REDIAL: Duration = Duration::from_secs(1);
/// Number of closes after which no peer is redialled at once. Otherwise, if every handshake failed, dials could
/// repeat without end at one moment.
const MAX_AT_ONCE: usize = 60;
/// Maximum number of a peer's callbacks in which the handler acts at random. The number is limited because most of
/// these actions cause further callbacks.
const MAX_DEEDS_INSIDE: u32 = 40;
/// Minimum `max_inside_bytes` of a troop whose peers' offered room may be filled with large messages.
const LARGE_BYTES: u32 = 20_000;
/// The nonce of the pongs with which a hostile peer answers a ping that was never sent.
pub(super) const LIE: u64 = u64::from_le_bytes([0xab; 8]);

/// The handler's state for a troop.
#[derive(Debug)]
pub(super) struct TroopState {
    pub(super) habit: Habit,
    /// The troop's address, and the number of its peers to dial; `None` if the loop does not dial the troop.
    pub(super) dials: Option<(SocketAddr, u32)>,
    pub(super) chance: Chance,
    /// The random source for actions inside callbacks for the troop's peers.
    pub(super) chance_inside: Chance,
    pub(super) timekeeper: Timekeeper,
    /// Whether the troop's peers are honest. Only honest peers are dialled again after a close, and only honest troops
    /// use timers.
    pub(super) is_honest: bool,
    /// Whether the loop's reaction to the troop's peers is judged. If it is, the handler sends them nothing before the
    /// final checks.
    pub(super) is_judged: bool,
    /// Whether the troop's peers reply to every message. If they do, the handler does not reply to theirs.
    pub(super) answers: bool,
}

/// A closed connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) troop: usize,
    /// The moment at which the connection opened or, if it never opened, was dialled.
    pub(super) began: Instant,
    pub(super) at: Instant,
    pub(super) reason: CloseReason,
    /// Whether this handler or a user has requested the close.
    pub(super) was_asked: bool,
}

/// A peer of the handler.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) id: PeerId,
    /// The peer's number in the order in which peers were recorded.
    order: u64,
    pub(super) troop: usize,
    pub(super) began: Instant,
    pub(super) is_ready: bool,
    pub(super) is_outbound: bool,
    was_asked: bool,
    is_paused: bool,
    /// The numbers of the next messages [`TALK`] and [`FAST_TALK`] of the peer.
    next_numbers: [u64; 2],
    said: u64,
    said_fast: u64,
    /// Number of marked messages that were sent.
    marked: u64,
    deeds_inside: u32,
    /// Whether an offer of the peer's free room was requested and has not been made yet.
    is_pulled: bool,
    /// Whether the peer's offered room was once filled with large messages.
    was_filled: bool,
    /// The bytes of the current message that are still to be fed.
    feeding: Bytes,
    /// Whether those bytes are fed only when the handler next acts.
    is_body_paused: bool,
    /// Whether the peer has answered a ping, or its protocol version does not support pongs.
    pub(super) is_well: bool,
}

/// A user's request to the handler.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    /// Stops random actions on peers, resumes paused peers, and dials the honest peers that are missing.
    Calm,
    /// Sends a message to every peer that is not judged.
    Greet,
    /// Pings the ready peers that are not known to be well.
    Check,
}

/// The handler.
#[derive(Debug)]
pub(super) struct ScriptedHandler {
    pub(super) troops: Vec<TroopState>,
    /// The host of the first troop; the others follow.
    first_host: usize,
    due: Vec<Instant>,
    peers: PeerMap<Known>,
    entered: u64,
    pub(super) ended: Vec<Ended>,
    /// A hash of the calls that the observer also receives.
    pub(super) calls: Calls,
    /// The earliest wake-up that the handler has requested.
    asked: Option<Instant>,
    pub(super) marks: Marks,
    /// The first eight violations: each invariant's number, the moment and the description.
    pub(super) wrongs: Vec<(u8, Instant, String)>,
    redials: Vec<(Instant, usize)>,
    keepsakes: Vec<Bytes>,
    bulk: Bytes,
    /// Whether frames may be missing because there was no room to buffer them.
    pub(super) may_miss: bool,
    pub(super) is_calm: bool,
    /// The ids of the first 256 removed peers.
    pub(super) removed: Vec<PeerId>,
}

impl ScriptedHandler {
    pub(super) fn new(troops: Vec<TroopState>, first_host: usize, bulk_bytes: usize, may_miss: bool) -> Self {
        let due = vec![Instant::MAX; troops.len()];
        Self {
            troops,
            first_host,
            due,
            peers: PeerMap::new(),
            entered: 0,
            ended: Vec::new(),
            calls: Calls::default(),
            asked: None,
            marks: Marks::default(),
            wrongs: Vec::new(),
            redials: Vec::new(),
            keepsakes: Vec::new(),
            bulk: Bytes::from(vec![0; bulk_bytes]),
            may_miss,
            is_calm: false,
            removed: Vec::new(),
        }
    }

    /// Returns all peers, in the order of their slots.
    pub(super) fn known(&self) -> impl Iterator<Item = &Known> {
        self.peers.iter().map(|(_, known)| known)
    }

    /// Records that a user asks the loop to close this peer.
    pub(super) fn is_asked_to_close(&mut self, peer: PeerId) {
        if let Some(known) = self.get(peer) {
            known.was_asked = true;
        }
    }

    /// Returns the troop whose host has this address; the number of troops if no troop's host has it.
    fn troop_of(&self, ip: IpAddr) -> usize {
        let IpAddr::V4(ip) = ip else { return self.troops.len() };
        let host = u32::from(ip).wrapping_sub(u32::from(Ipv4Addr::new(10, 0, 0, 1))) as usize;
        host.checked_sub(self.first_host).map_or(self.troops.len(), |troop| troop.min(self.troops.len()))
    }

    fn get(&mut self, peer: PeerId) -> Option<&mut Known> {
        self.peers.get_mut(peer)
    }

    fn wrong(&mut self, invariant: u8, at: Instant, text: String) {
        if self.wrongs.len() < 8 {
            self.wrongs.push((invariant, at, text));
        }
    }

    /// Records a new peer.
    fn enter(&mut self, peer: PeerId, address: SocketAddr, began: Instant, is_outbound: bool) {
        let troop = self.troop_of(address.ip());
        self.entered += 1;
        let known = Known {
            id: peer,
            order: self.entered,
            troop,
            began,
            is_ready: false,
            is_outbound,
            was_asked: false,
            is_paused: false,
            next_numbers: [0; 2],
            said: 0,
            said_fast: 0,
            marked: 0,
            deeds_inside: 0,
            is_pulled: false,
            was_filled: false,
            feeding: Bytes::new(),
            is_body_paused: false,
            is_well: false,
        };
        self.peers.insert(peer, known);
    }

    fn dial(&mut self, ctx: &mut Ctx<'_>, troop: usize) {
        let Some((address, _)) = self.troops[troop].dials else { return };
        match ctx.connect(address) {
            Ok(peer) => self.enter(peer, address, ctx.now(), true),
            Err(error) => {
                self.refused(error);
                self.redials.push((ctx.now().plus(REDIAL), troop));
            }
        }
    }

    fn refused(&mut self, error: RequestError) {
        self.marks.set(Mark::refusal(error));
    }

    fn done(&mut self, result: Result<(), RequestError>) {
        if let Err(error) = result {
            self.refused(error);
        }
    }

    fn set_wake(&mut self, ctx: &mut Ctx<'_>) {
        let redial = self.redials.iter().map(|(at, _)| *at);
        let Some(next) = self.due.iter().copied().chain(redial).min() else { return };
        if next < Instant::MAX {
            self.asked = Some(self.asked.map_or(next, |asked| asked.min(next)));
            ctx.wake_at(next);
        }
    }

    /// Counts a troop's outbound peers, including those that are still to be dialled.
    fn outbound_of(&self, troop: usize) -> u32 {
        let there = self.known().filter(|known| known.troop == troop && known.is_outbound).count();
        let to_come = self.redials.iter().filter(|(_, redial)| *redial == troop).count();
        (there + to_come) as u32
    }

    fn calm_down(&mut self, ctx: &mut Ctx<'_>) {
        self.is_calm = true;
        self.due.fill(Instant::MAX);
        let paused: Vec<PeerId> = self.known().filter(|known| known.is_paused).map(|known| known.id).collect();
        paused.into_iter().for_each(|peer| self.pause(ctx, peer, false));
        self.continue_bodies(ctx, None);
        for troop in 0..self.troops.len() {
            let TroopState { dials, is_honest, .. } = self.troops[troop];
            let wanted = dials.filter(|_| is_honest).map_or(0, |(_, count)| count);
            for _ in self.outbound_of(troop)..wanted {
                self.redials.push((ctx.now().plus(REDIAL), troop));
            }
        }
        self.set_wake(ctx);
    }

    fn check(&self, ctx: &mut Ctx<'_>) {
        let unsure = self.known().filter(|known| known.is_ready && !known.is_well).map(|known| known.id);
        for peer in unsure.collect::<Vec<_>>() {
            // A refused ping is no problem: a peer with too many pings in flight answers those, and a peer without
            // pongs is already well.
            let _ = ctx.ping(peer, ctx.now());
        }
    }

    // --- Callbacks --------------------------------------------------------------------------------------------------

    fn became_ready(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        let has_pongs = ctx.peer(peer).and_then(|view| view.version().map(|version| version.protocol_version > 60_000));
        let Some(known) = self.get(peer) else { return };
        known.is_ready = true;
        known.is_well = has_pongs == Some(false);
        let troop = known.troop;
        let Some(acquaintance) = self.troops.get(troop) else { return };
        let (habit, chance, is_judged) = (acquaintance.habit, acquaintance.chance.clone(), acquaintance.is_judged);
        if self.is_calm || is_judged {
            return;
        }
        if habit.overwhelms {
            self.overwhelm(ctx, peer);
            self.pull(ctx, peer);
        }
        if chance.one_in(2) {
            self.say(ctx, peer, chance.below(100) as usize);
        }
    }

    fn closed(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, reason: CloseReason) {
        let now = ctx.now();
        let Some(known) = self.peers.remove(peer) else { return };
        self.marks.set(Mark::reason(&reason));
        if matches!(reason, CloseReason::Requested(_)) && !known.was_asked {
            self.wrong(4, now, format!("{peer:?} was closed on request, but no request was made"));
        }
        let Known { troop, began, was_asked, is_outbound, .. } = known;
        if self.removed.len() < 256 {
            self.removed.push(peer);
        }
        self.ended.push(Ended { troop, began, at: now, reason, was_asked });
        let Some(acquaintance) = self.troops.get(troop) else { return };
        if !is_outbound || reason == CloseReason::Local(LocalCause::Shutdown) {
            return;
        }
        let wanted = acquaintance.dials.map_or(0, |(_, count)| count);
        if !acquaintance.is_honest || self.outbound_of(troop) >= wanted {
            return;
        }
        let is_at_once = acquaintance.habit.redials_at_once && self.ended.len() < MAX_AT_ONCE;
        if self.is_calm || !is_at_once {
            self.redials.push((now.plus(REDIAL), troop));
        } else {
            self.dial(ctx, troop);
        }
        self.set_wake(ctx);
    }

    /// Checks the number of a message. Messages on different streams have no order between them, so each of the two
    /// commands has numbers of its own.
    fn check_number(&mut self, ctx: &Ctx<'_>, peer: PeerId, command: CommandName, payload: &[u8]) {
        let may_miss = self.may_miss;
        let Some(known) = self.get(peer) else { return };
        let number = payload.first_chunk().map_or(u64::MAX, |number| u64::from_le_bytes(*number));
        let next = &mut known.next_numbers[usize::from(command == FAST_TALK)];
        let awaited = std::mem::replace(next, number.wrapping_add(1));
        if number != awaited && !(may_miss && number > awaited) {
            let text = format!("{command} number {number} of {peer:?} was delivered instead of {awaited}");
            self.wrong(16, ctx.now(), text);
        }
    }

    fn handle_numbered(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, payload: &[u8]) {
        self.check_number(ctx, peer, TALK, payload);
        let Some(troop) = self.get(peer).map(|known| known.troop) else { return };
        let Some(acquaintance) = self.troops.get(troop) else { return };
        let (habit, chance) = (acquaintance.habit, acquaintance.chance.clone());
        if !acquaintance.answers && (chance.one_in(2) || self.is_calm) {
            self.say(ctx, peer, chance.below(120) as usize);
        }
        if habit.is_rough && !self.is_calm && chance.one_in(100) {
            let is_graceful = chance.one_in(2);
            self.end(ctx, peer, is_graceful);
        }
    }
}

impl Handler for ScriptedHandler {
    type Request = Wish;

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        for troop in 0..self.troops.len() {
            self.use_timers(ctx, troop);
            let count = self.troops[troop].dials.map_or(0, |(_, count)| count);
            (0..count).for_each(|_| self.dial(ctx, troop));
            let every = self.troops[troop].habit.acts_every;
            if !every.is_zero() {
                self.due[troop] = ctx.now().plus(every);
            }
        }
        self.set_wake(ctx);
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        self.calls.note_event(peer, &event);
        self.use_timers_for(ctx, peer);
        if self.get(peer).is_none()
            && let Some(view) = ctx.peer(peer)
        {
            let is_outbound = view.connection().connection_type() == ConnectionType::Outbound;
            let address = view.address();
            self.enter(peer, address, ctx.now(), is_outbound);
        }
        match event {
            Event::Opened { .. } => {
                let now = ctx.now();
                if let Some(known) = self.get(peer) {
                    known.began = now;
                }
            }
            Event::Ready { .. } => self.became_ready(ctx, peer),
            Event::Pong { nonce, .. } => {
                if let Some(known) = self.get(peer) {
                    known.is_well = true;
                }
                if nonce == LIE {
                    self.wrong(23, ctx.now(), format!("a pong of {peer:?} to a ping that was never sent was reported"));
                }
            }
            Event::Closed { reason, .. } => self.closed(ctx, peer, reason),
            Event::StreamOpened { .. } => {
                let is_dialled = self.get(peer).is_some_and(|known| known.is_outbound);
                let begins = if is_dialled { "a stream to a dialled" } else { "a stream to a peer" };
                self.marks.set(Mark::circumstance(begins));
            }
            _ => {}
        }
        self.act_inside(ctx, peer);
    }

    fn on_header(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, header: &Header) -> Delivery {
        self.calls.note((peer, header.command.to_bytes(), header.payload_len));
        self.use_timers_for(ctx, peer);
        let Some(troop) = self.get(peer).map(|known| known.troop) else { return Delivery::Buffer };
        let Some(acquaintance) = self.troops.get(troop) else { return Delivery::Buffer };
        let (habit, chance) = (acquaintance.habit, acquaintance.chance.clone());
        self.act_inside(ctx, peer);
        if [TALK, FAST_TALK].contains(&header.command) || !habit.is_moody {
            return if header.payload_len > 1_000_000 { Delivery::Chunks } else { Delivery::Buffer };
        }
        if habit.is_rough && !self.is_calm && chance.one_in(200) {
            self.end(ctx, peer, false);
        }
        *chance.pick(&[Delivery::Buffer, Delivery::Chunks, Delivery::UncheckedChunks, Delivery::Discard])
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        self.use_timers_for(ctx, peer);
        if frame.command() == TALK {
            self.handle_numbered(ctx, peer, frame.payload());
            return self.act_inside(ctx, peer);
        }
        if frame.command() == FAST_TALK {
            self.check_number(ctx, peer, FAST_TALK, frame.payload());
        }
        self.act_inside(ctx, peer);
        let _ = frame.decode();
        if self.keepsakes.len() < MAX_KEEPSAKES {
            self.keepsakes.push(frame.to_bytes());
        } else {
            self.keepsakes.clear();
        }
    }

    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, chunk: Chunk<'_>) {
        self.use_timers_for(ctx, peer);
        self.act_inside(ctx, peer);
        if self.keepsakes.len() < MAX_KEEPSAKES {
            self.keepsakes.push(chunk.to_bytes());
        } else {
            self.keepsakes.clear();
        }
    }

    fn on_writable(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        self.calls.note(peer);
        self.use_timers_for(ctx, peer);
        self.feed(ctx, peer);
        self.act_inside(ctx, peer);
    }

    fn on_pull(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, free_bytes: usize) {
        self.fill(ctx, peer, free_bytes);
        self.act_inside(ctx, peer);
    }

    fn on_control(&mut self, ctx: &mut Ctx<'_>, event: &ControlEvent) {
        self.calls.note(event.label());
        if let ControlEvent::StreamOpened { .. } | ControlEvent::StreamFailed { .. } = event {
            Mark::of_control(event).for_each(|mark| self.marks.set(mark));
        }
        if let Some(peer) = event.peer() {
            self.use_timers_for(ctx, peer);
            self.act_inside(ctx, peer);
        }
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>, key: u64) {
        self.timer_fired(ctx, key);
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        let (now, asked) = (ctx.now(), self.asked.take());
        if asked.is_none_or(|asked| asked > now) {
            self.wrong(COMPOSED, now, format!("the handler was woken at {now:?} but requested {asked:?}"));
        }
        for troop in 0..self.troops.len() {
            if self.due[troop] <= now {
                self.due[troop] = now.plus(self.troops[troop].habit.acts_every);
                self.act(ctx, troop);
                self.use_timers(ctx, troop);
                let of_troop = self.known().filter(|known| known.troop == troop);
                let oldest = of_troop.min_by_key(|known| known.order).map(|known| known.id);
                oldest.into_iter().for_each(|peer| self.act_inside(ctx, peer));
            }
        }
        let mut redials = std::mem::take(&mut self.redials);
        redials.retain(|(at, troop)| {
            let is_due = *at <= now;
            if is_due {
                self.dial(ctx, *troop);
            }
            !is_due
        });
        self.redials.append(&mut redials);
        self.set_wake(ctx);
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, wish: Wish) {
        (0..self.troops.len()).for_each(|troop| self.use_timers(ctx, troop));
        match wish {
            Wish::Calm => self.calm_down(ctx),
            Wish::Check => self.check(ctx),
            Wish::Greet => {
                let is_free = |known: &&Known| self.troops.get(known.troop).is_some_and(|troop| !troop.is_judged);
                let peers: Vec<PeerId> = self.known().filter(is_free).map(|known| known.id).collect();
                for peer in peers {
                    self.say(ctx, peer, 20);
                    self.act_inside(ctx, peer);
                }
            }
        }
    }
}

/// Encodes a numbered message.
pub(super) fn talk(number: u64, len_bytes: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(32 + len_bytes);
    put_frame(NETWORK.magic(), TALK, &numbered(number, len_bytes), &mut frame);
    frame
}

/// Builds a payload of a number and `len_bytes` further bytes.
fn numbered(number: u64, len_bytes: usize) -> Vec<u8> {
    let mut payload = vec![number as u8; 8 + len_bytes];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload
}
