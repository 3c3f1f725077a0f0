//! Steps 5, 7 and 8 of the turn: reading, writing and closing.

use super::Reactor;
use crate::bugs::budget;
use crate::engine::{CloseStep, Intake};
use crate::error::IoStep;
use crate::handler::Handler;
use crate::id::LinkId;
use crate::limits::{
    CLOSES_PER_TURN, MAX_FLUSH_STEP, MAX_READ_STEP, MAX_WRITTEN_PER_TURN_BYTES, PULLS_PER_TURN, SLICES_PER_WRITE,
    WRITES_PER_TURN,
};
use crate::net::Net;
use crate::offload::Offload;
use crate::time::Instant;
use std::io::{ErrorKind, IoSlice};

impl<N: Net + Offload, H: Handler> Reactor<N, H> {
    pub(super) fn read(&mut self) {
        self.read_clock();
        let until = self.engine.now().plus(MAX_READ_STEP);
        let mut mark = self.engine.telemetry_mut().mark(|| self.net.now());
        for _ in 0..self.engine.links_mut().table.ready_len() {
            let Some((id, was_put_back)) = self.engine.links_mut().table.pop_ready() else { return };
            if !was_put_back && self.engine.is_behind_stream(id) {
                self.engine.links_mut().table.put_back_ready(id);
                continue;
            }
            self.read_link(id);
            self.engine.telemetry_mut().charge(id, &mut mark, || self.net.now());
            if self.engine.now() >= until {
                return;
            }
        }
    }

    fn read_link(&mut self, id: LinkId) {
        if !self.engine.may_read(id) {
            return;
        }
        let (room, direct) = match self.engine.direct_room(id) {
            Some(room) => (room, true),
            None => (self.read_block.room(), false),
        };
        let room_len = budget!(ReadBytes, room.len());
        let received = self.net.read(id, &mut room[..room_len]);
        self.read_clock();
        let len = *received.as_ref().unwrap_or(&0);
        if direct {
            self.take_in(id, |intake| intake.received_directly(len));
        } else if len > 0 {
            let block = self.read_block.freeze();
            self.take_in(id, |intake| intake.received(&block, len));
            self.read_block.thaw(block);
        }
        self.engine.conclude_read(id, received, room_len);
    }

    /// Lets the engine parse the received bytes, then writes its replies with one call.
    fn take_in(&mut self, id: LinkId, receive: impl FnOnce(&mut Intake<'_, H>)) {
        let Self { net, engine, handler, .. } = self;
        let mut intake = Intake::open(id, engine, handler);
        receive(&mut intake);
        let replies = intake.replies();
        if replies.gathered().is_empty() {
            return;
        }
        let at = if replies.has_ping() { net.now() } else { intake.now() };
        let written = net.write(id, replies.gathered());
        intake.wrote_replies(written, at);
    }

    /// Offers peers' free room to the handler, one peer after another. If the handler requests a peer's room again,
    /// that peer is served after all others.
    pub(super) fn offer_room(&mut self) {
        let listed = self.engine.links_mut().table.pulls_len();
        if listed == 0 {
            return;
        }
        let mut mark = self.engine.telemetry_mut().mark(|| self.net.now());
        for _ in 0..listed.min(budget!(Pulls, PULLS_PER_TURN)) {
            let Some(id) = self.engine.links_mut().table.pop_pull() else { return };
            self.engine.offer_room(id, &mut self.handler);
            self.engine.telemetry_mut().charge(id, &mut mark, || self.net.now());
        }
    }

    pub(super) fn flush(&mut self) {
        let until = self.net.now().plus(MAX_FLUSH_STEP);
        let mut mark = self.engine.telemetry_mut().mark(|| self.net.now());
        for _ in 0..self.engine.links_mut().table.dirty_len() {
            let Some(id) = self.engine.links_mut().table.pop_dirty() else { return };
            let at = self.flush_link(id, until);
            self.engine.telemetry_mut().charge(id, &mut mark, || self.net.now());
            if at >= until {
                return;
            }
        }
    }

    /// Writes a link's queue, up to the limits on calls, bytes and time. Returns the moment at which the last write
    /// began, or [`Instant::ZERO`] if there was none. The kernel does not report a link that stays writable, so a link
    /// with remaining bytes is listed again.
    fn flush_link(&mut self, id: LinkId, until: Instant) -> Instant {
        let (mut at, mut left_bytes) = (Instant::ZERO, MAX_WRITTEN_PER_TURN_BYTES);
        for _ in 0..WRITES_PER_TURN {
            let Some(queue) = self.engine.sendable_queue(id) else { return at };
            if left_bytes == 0 || at >= until {
                break;
            }
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let filled = budget!(WriteSlices, queue.fill_slices(&mut slices, left_bytes));
            let offered: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
            at = self.net.now();
            let written = match &slices[..filled] {
                [slice] => self.net.write(id, slice),
                slices => self.net.write_gathered(id, slices),
            };
            match written {
                Ok(0) => self.engine.failed(id, IoStep::Write, &ErrorKind::WriteZero.into()),
                Ok(written) => {
                    left_bytes -= written;
                    self.engine.wrote_queued(id, written, offered, at, &mut self.handler);
                }
                Err(error) => self.engine.stalled(id, IoStep::Write, &error),
            }
        }
        self.engine.links_mut().table.mark_dirty(id);
        at
    }

    pub(super) fn close(&mut self) {
        let most = budget!(Closes, CLOSES_PER_TURN);
        for _ in 0..self.engine.links_mut().table.closing_len().min(most) {
            let Some(id) = self.engine.links_mut().table.pop_closing() else { return };
            match self.engine.closing(id).step(&mut self.handler) {
                CloseStep::Wait => {}
                CloseStep::ShutDownWriting => self.net.shut_down_writing(id),
                CloseStep::Close => self.net.close(id),
            }
        }
    }
}
