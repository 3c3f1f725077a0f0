//! The scripted handler's actions on its peers: at random moments, and from inside callbacks.

use super::{
    FAST_TALK, GOSSIP, Known, LARGE_BYTES, MAX_DEEDS_INSIDE, ScriptedHandler, TALK, TroopState, numbered, talk,
};
use crate::scripted_attacker::NETWORK;
use bytes::Bytes;
use peerloop::PeerId;
use peerloop::error::{Disconnect, RequestError};
use peerloop::handler::{Ctx, PeerView};
use peerloop::internals::limits::{HEADER_LEN_BYTES, MAX_MARKS_PER_PEER};
use peerloop::protocol::CommandName;
use peerloop::sim::invariant::MARKED;
use peerloop::wire::{Header, MessageRef, put_frame};
use std::time::Duration;

/// Maximum pause in a body that is fed in two parts. A receiver closes a peer whose message stops for much longer.
const MAX_BODY_PAUSE: Duration = Duration::from_secs(10);
/// Maximum number of payload bytes in all copies of one frame for a troop's peers. Without this limit, hundreds of
/// peers whose callbacks each cause a broadcast at the same moment could queue gigabytes.
const MAX_ANNOUNCED_BYTES: usize = 100_000;

impl ScriptedHandler {
    pub(super) fn say(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, len_bytes: usize) {
        let Some(known) = self.get(peer) else { return };
        let frame = talk(known.said, len_bytes).into();
        let sent = ctx.send_shared(peer, &frame);
        self.note_said(peer, sent);
        self.say_fast(ctx, peer, len_bytes);
    }

    /// Sends a numbered message on the stream DATA1, if the peer has several streams.
    fn say_fast(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, len_bytes: usize) {
        if ctx.peer(peer).is_none_or(|view| view.streams().count() < 2) {
            return;
        }
        let Some(known) = self.get(peer) else { return };
        let mut frame = Vec::new();
        put_frame(NETWORK.magic(), FAST_TALK, &numbered(known.said_fast, len_bytes), &mut frame);
        match ctx.send_shared(peer, &frame.into()) {
            Ok(()) => self.get(peer).expect("the peer was known").said_fast += 1,
            Err(error) => self.refused(error),
        }
    }

    /// Sends a numbered message like [`ScriptedHandler::say`], but lets the loop encode it.
    fn say_encoded(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, len_bytes: usize) {
        let Some(known) = self.get(peer) else { return };
        let payload = &numbered(known.said, len_bytes);
        let sent = ctx.send(peer, &MessageRef::Opaque { command: TALK, payload });
        self.note_said(peer, sent);
    }

    fn note_said(&mut self, peer: PeerId, sent: Result<(), RequestError>) {
        match sent {
            Ok(()) => self.get(peer).expect("the peer was known").said += 1,
            Err(error) => self.refused(error),
        }
    }

    /// Requests an offer of the free room in the peer's send queue. [`ScriptedHandler::fill`] uses the offer.
    pub(super) fn pull(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        match ctx.pull(peer) {
            Ok(()) => self.get(peer).into_iter().for_each(|known| known.is_pulled = true),
            Err(error) => self.refused(error),
        }
    }

    /// Sends up to two messages that fit the offered room or, at most once for each peer, enough to fill nearly all of
    /// it. Requests another offer in half of the cases.
    pub(super) fn fill(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, free_bytes: usize) {
        let Some(known) = self.get(peer) else { return };
        let (troop, was_asked) = (known.troop, std::mem::take(&mut known.is_pulled));
        let (was_filled, is_tired) = (known.was_filled, known.deeds_inside >= MAX_DEEDS_INSIDE);
        if !was_asked {
            self.wrong(42, ctx.now(), format!("{peer:?}'s room is offered without a request"));
        }
        let Some(TroopState { habit, chance_inside, .. }) = self.troops.get(troop) else { return };
        let (max_bytes, chance) = (habit.max_inside_bytes, chance_inside.clone());
        if max_bytes == 0 || self.is_calm || is_tired {
            return;
        }
        let fills = !was_filled && max_bytes >= LARGE_BYTES && chance.one_in(24);
        let (mut left, mut free_bytes) = (if fills { u32::MAX } else { chance.below(3) }, free_bytes);
        while left > 0 {
            let len_bytes = chance.below(if fills { 5 * LARGE_BYTES } else { max_bytes / 2 }) as usize;
            let fits = HEADER_LEN_BYTES + 8 + len_bytes <= free_bytes;
            if !fits || !self.say_fitting(ctx, peer, len_bytes) {
                break;
            }
            free_bytes = ctx.peer(peer).map_or(0, |view| view.free_bytes());
            left -= 1;
        }
        if let Some(known) = self.get(peer) {
            known.was_filled |= fills;
            known.deeds_inside += 1;
        }
        if chance.one_in(2) {
            self.pull(ctx, peer);
        }
    }

    /// Sends a message that must fit, and returns whether it was accepted.
    fn say_fitting(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, len_bytes: usize) -> bool {
        let Some(known) = self.get(peer) else { return false };
        let sent = ctx.send_shared(peer, &talk(known.said, len_bytes).into());
        self.note_said(peer, sent);
        if sent == Err(RequestError::QueueFull) {
            self.wrong(42, ctx.now(), format!("{peer:?} has no room for {len_bytes} bytes, which fit the offer"));
        }
        sent.is_ok()
    }

    pub(super) fn ping(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        let sent = ctx.ping(peer, ctx.now()).map(|_| ());
        self.done(sent);
    }

    /// Sends messages and pings, requests offers of room, and starts bodies, from inside a callback for `peer`.
    pub(super) fn act_inside(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        let Some(Known { troop, is_ready: true, deeds_inside: 0..MAX_DEEDS_INSIDE, .. }) = self.get(peer) else {
            return;
        };
        let troop = *troop;
        let Some(TroopState { habit, chance_inside, .. }) = self.troops.get(troop) else { return };
        let (max_bytes, chance) = (habit.max_inside_bytes, chance_inside.clone());
        if self.is_calm || max_bytes == 0 || !chance.one_in(3) {
            return;
        }
        for _ in 0..=chance.below(3) {
            match chance.below(10) {
                0 | 1 => self.ping(ctx, peer),
                2 | 3 => self.say_encoded(ctx, peer, chance.below(max_bytes) as usize),
                4 => self.say(ctx, peer, chance.below(max_bytes) as usize),
                5 | 6 => self.pull(ctx, peer),
                7 => self.announce(ctx, troop, chance.below(max_bytes) as usize),
                8 => self.send_marked(ctx, peer, chance.below(max_bytes) as usize, chance.one_in(30)),
                _ => self.say_much(ctx, peer),
            }
        }
        if let Some(known) = self.get(peer) {
            known.deeds_inside += 1;
        }
    }

    /// Sends one marked message. If `is_greedy`, instead tries to send one more than may be pending.
    fn send_marked(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, len_bytes: usize, is_greedy: bool) {
        let (times, len_bytes) = if is_greedy { (MAX_MARKS_PER_PEER + 1, 0) } else { (1, len_bytes) };
        for _ in 0..times {
            let Some(known) = self.get(peer) else { return };
            let mark = known.marked;
            let mut frame = Vec::new();
            put_frame(NETWORK.magic(), MARKED, &numbered(mark, len_bytes), &mut frame);
            match ctx.send_marked(peer, &frame.into(), mark) {
                Ok(()) => self.get(peer).expect("the peer was known").marked += 1,
                Err(error) => self.refused(error),
            }
        }
    }

    /// Sends one frame to all ready peers of a troop, and checks that the frame is accepted or refused for each peer.
    /// The frame is shortened if its copies would together exceed [`MAX_ANNOUNCED_BYTES`].
    fn announce(&mut self, ctx: &mut Ctx<'_>, troop: usize, len_bytes: usize) {
        let is_chosen = |view: &PeerView<'_>| self.troop_of(view.address().ip()) == troop;
        let chosen = ctx.peers().filter(|view| view.is_ready() && is_chosen(view)).count();
        let len_bytes = len_bytes.min(MAX_ANNOUNCED_BYTES / chosen.max(1));
        let mut frame = Vec::new();
        put_frame(NETWORK.magic(), GOSSIP, &vec![7; len_bytes], &mut frame);
        let sent = ctx.broadcast(&frame.into(), is_chosen);
        if sent.accepted + sent.refused.len() != chosen {
            self.wrong(43, ctx.now(), format!("a broadcast to {chosen} peers has the result {sent:?}"));
        }
        sent.refused.into_iter().for_each(|(_, error)| self.refused(error));
    }

    /// Starts to feed a block. If the block's length is not a multiple of 10,000 bytes, also tries to start a second
    /// one, which the loop refuses.
    fn say_much(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        let header = Header::of(CommandName::BLOCK, &self.bulk);
        match ctx.begin_body(peer, &header) {
            Ok(()) => {
                let mut bulk = self.bulk.clone();
                let may_pause = self.may_pause_body(ctx, peer);
                let mut half = if may_pause { bulk.split_to(bulk.len() / 2) } else { Bytes::new() };
                let result = ctx.feed_body(peer, &mut half);
                self.done(result);
                if let Some(known) = self.get(peer) {
                    (known.feeding, known.is_body_paused) = (bulk, may_pause && half.is_empty());
                }
                if !header.payload_len.is_multiple_of(10_000) {
                    // Only one body may be in progress.
                    let result = ctx.begin_body(peer, &header);
                    self.done(result);
                }
                self.feed(ctx, peer);
            }
            Err(error) => self.refused(error),
        }
    }

    /// Returns whether the second half of a body for a peer may be fed later. Pongs of a peer with several streams do
    /// not wait for the body.
    fn may_pause_body(&self, ctx: &Ctx<'_>, peer: PeerId) -> bool {
        let has_streams = ctx.peer(peer).is_some_and(|view| view.streams().count() > 1);
        let troop = self.known().find(|known| known.id == peer).and_then(|known| self.troops.get(known.troop));
        let acts_soon =
            troop.is_some_and(|troop| !troop.habit.acts_every.is_zero() && troop.habit.acts_every <= MAX_BODY_PAUSE);
        has_streams && acts_soon && !self.is_calm && self.bulk.len() >= 2
    }

    /// Continues the paused bodies of a troop's peers; those of all peers if `troop` is `None`.
    pub(super) fn continue_bodies(&mut self, ctx: &mut Ctx<'_>, troop: Option<usize>) {
        let is_chosen = |known: &&Known| known.is_body_paused && troop.is_none_or(|troop| troop == known.troop);
        let paused: Vec<PeerId> = self.known().filter(is_chosen).map(|known| known.id).collect();
        for peer in paused {
            self.get(peer).into_iter().for_each(|known| known.is_body_paused = false);
            self.feed(ctx, peer);
        }
    }

    pub(super) fn feed(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        let Some(known) = self.get(peer).filter(|known| !known.is_body_paused) else { return };
        let mut left = std::mem::take(&mut known.feeding);
        let result = if left.is_empty() { Ok(()) } else { ctx.feed_body(peer, &mut left) };
        if let Some(known) = self.get(peer) {
            known.feeding = left;
        }
        self.done(result);
    }

    /// Sends far more than a peer that does not read can receive.
    pub(super) fn overwhelm(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        let mut frame = Vec::new();
        put_frame(NETWORK.magic(), CommandName::TX, &[0; 200_000], &mut frame);
        let frame = frame.into();
        for _ in 0..20 {
            if let Err(error) = ctx.send_shared(peer, &frame) {
                return self.refused(error);
            }
        }
    }

    pub(super) fn pause(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, is_paused: bool) {
        if is_paused {
            ctx.pause(peer)
        } else {
            ctx.resume(peer)
        }
        if let Some(known) = self.get(peer) {
            known.is_paused = is_paused;
        }
    }

    pub(super) fn end(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, is_graceful: bool) {
        let Some(known) = self.get(peer) else { return };
        known.was_asked = true;
        let disconnect = Disconnect::ALL[known.order as usize % Disconnect::ALL.len()];
        if is_graceful { ctx.close(peer, disconnect) } else { ctx.abort(peer, disconnect) }
    }

    /// Acts on one random peer of a troop, or sends to all of the troop's peers.
    pub(super) fn act(&mut self, ctx: &mut Ctx<'_>, troop: usize) {
        self.continue_bodies(ctx, Some(troop));
        let TroopState { habit, chance, .. } = &self.troops[troop];
        let (habit, chance) = (*habit, chance.clone());
        // The peers are sorted by when they were added, because the order of slots depends on other troops.
        let mut peers: Vec<(u64, PeerId)> =
            self.known().filter(|known| known.troop == troop).map(|known| (known.order, known.id)).collect();
        peers.sort_unstable();
        let peers: Vec<PeerId> = peers.into_iter().map(|(_, peer)| peer).collect();
        if peers.is_empty() {
            return;
        }
        let peer = *chance.pick(&peers);
        match chance.below(16) {
            0..=4 => self.say(ctx, peer, chance.below(200) as usize),
            5 | 6 => {
                let times = if chance.one_in(40) { 300 } else { chance.below(4) };
                (0..times).for_each(|_| self.ping(ctx, peer));
            }
            7 if habit.is_rough => self.end(ctx, peer, true),
            8 if habit.is_rough => self.end(ctx, peer, false),
            9 | 10 if habit.pauses => self.pause(ctx, peer, true),
            11 | 12 => self.pause(ctx, peer, false),
            13 => self.say_much(ctx, peer),
            14 => {
                let result = ctx.send(peer, &MessageRef::GetAddr);
                self.done(result);
            }
            15 if habit.is_rough => {
                for peer in peers {
                    self.say(ctx, peer, chance.below(2_000) as usize);
                }
            }
            _ => self.err(ctx, peer, troop),
        }
    }

    /// Makes invalid requests, which the loop refuses.
    fn err(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, troop: usize) {
        if let Some(removed) = self.removed.last().copied() {
            let result = ctx.send(removed, &MessageRef::GetAddr);
            self.done(result);
        }
        if self.troops[troop].is_honest {
            let giant = Header { command: CommandName::INV, payload_len: 4_000_000_000, checksum: Some([0; 4]) };
            let result = ctx.send_shared(peer, &Bytes::copy_from_slice(&giant.encode(NETWORK.magic())));
            self.done(result);
        }
    }
}
