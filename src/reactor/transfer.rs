//! Steps 5, 7 and 8 of the turn: bytes in, bytes out, and the ends of connections.

use super::Reactor;
use crate::bugs::{self, Budget, Bug};
use crate::engine::{CloseStep, Engine};
use crate::error::IoStep;
use crate::handler::Handler;
use crate::id::LinkId;
use crate::limits::{
    CLOSES_PER_TURN, FLUSH_STEP_MAX, READ_STEP_MAX, SLICES_PER_WRITE, WRITES_PER_TURN, WRITTEN_PER_TURN_MAX_BYTES,
};
use crate::net::Net;
use crate::offload::Offload;
use crate::time::Instant;
use std::io::{self, ErrorKind, IoSlice};

impl<N: Net + Offload, H: Handler> Reactor<N, H> {
    pub(super) fn read(&mut self) {
        self.read_clock();
        let until = self.engine.state.clocks.now().plus(READ_STEP_MAX);
        let mut mark = self.engine.state.telemetry.mark(|| self.net.now());
        for _ in 0..self.engine.state.links.table.ready_len() {
            let Some(id) = self.engine.state.links.table.pop_ready() else { return };
            self.read_link(id);
            self.engine.state.telemetry.charge(id, &mut mark, || self.net.now());
            if self.engine.state.clocks.now() >= until {
                return;
            }
        }
    }

    fn read_link(&mut self, id: LinkId) {
        let Some(link) = self.engine.state.links.table.get(id) else { return };
        if link.hold.is_held() || link.has_ended() {
            return;
        }
        let (room, direct) = match self.engine.direct_room(id) {
            Some(room) => (room, true),
            None => (self.read_block.room(), false),
        };
        let room_len = bugs::shrunk(Budget::ReadBytes, room.len());
        let received = self.net.read(id, &mut room[..room_len]);
        self.read_clock();
        let len = *received.as_ref().unwrap_or(&0);
        if direct {
            self.parse(id, |engine, handler| engine.received_directly(id, len, handler));
        } else if len > 0 {
            let block = self.read_block.freeze();
            self.parse(id, |engine, handler| engine.received(id, &block, len, handler));
            self.read_block.thaw(block);
        }
        self.conclude_read(id, received, room_len);
    }

    /// Lets the engine parse, then writes what it had to reply, with one call if the kernel takes it.
    fn parse(&mut self, id: LinkId, parse: impl FnOnce(&mut Engine, &mut H)) {
        self.engine.state.begin_replies(id);
        parse(&mut self.engine, &mut self.handler);
        let gathered = self.engine.state.links.write_block.gathered();
        if !gathered.is_empty() {
            let has_ping = self.engine.state.links.write_block.has_ping();
            let at = if has_ping { self.net.now() } else { self.engine.state.clocks.now() };
            let written = match self.net.write(id, gathered) {
                Ok(0) => Err(ErrorKind::WriteZero.into()),
                result => result,
            };
            match written {
                Ok(written) => {
                    if written < gathered.len() {
                        self.engine.state.not_writable(id);
                    }
                    self.engine.wrote_replies(id, written, at, &mut self.handler);
                }
                Err(error) => {
                    self.engine.stalled(id, IoStep::Write, &error);
                    self.engine.wrote_replies(id, 0, at, &mut self.handler);
                }
            }
        } else {
            self.engine.state.end_replies();
        }
    }

    /// Decides from the result of a read whether there is more to be read.
    fn conclude_read(&mut self, id: LinkId, received: io::Result<usize>, room_len: usize) {
        match received {
            Ok(0) => self.engine.ended_by_peer(id),
            Ok(len) => {
                let state = &mut self.engine.state;
                if let Some(link) = state.links.table.get_mut(id) {
                    let is_full = len == room_len && !bugs::is_planted(Bug::LostEdge);
                    link.readiness.readable = is_full || link.readiness.hung_up;
                    state.links.table.mark_ready(id);
                }
            }
            Err(error) => self.engine.stalled(id, IoStep::Read, &error),
        }
    }

    pub(super) fn flush(&mut self) {
        let until = self.net.now().plus(FLUSH_STEP_MAX);
        let mut mark = self.engine.state.telemetry.mark(|| self.net.now());
        for _ in 0..self.engine.state.links.table.dirty_len() {
            let Some(id) = self.engine.state.links.table.pop_dirty() else { return };
            let at = self.flush_link(id, until);
            self.engine.state.telemetry.charge(id, &mut mark, || self.net.now());
            if at >= until {
                return;
            }
        }
    }

    /// Sends what waits, as much as one turn allows, and returns when the last write began. The kernel does not remind
    /// of a link that could take more: what is left goes back on the list.
    fn flush_link(&mut self, id: LinkId, until: Instant) -> Instant {
        let (mut at, mut left_bytes) = (Instant::ZERO, WRITTEN_PER_TURN_MAX_BYTES);
        for _ in 0..WRITES_PER_TURN {
            let Some(link) = self.engine.state.links.table.get(id) else { return at };
            if link.queue.is_empty() || !link.readiness.writable || link.has_ended() {
                return at;
            }
            if left_bytes == 0 || at >= until {
                break;
            }
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let filled = bugs::shrunk(Budget::WriteSlices, link.queue.fill_slices(&mut slices, left_bytes));
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
                    if written < offered {
                        self.engine.state.not_writable(id);
                    }
                    self.engine.wrote_queued(id, written, at, &mut self.handler);
                }
                Err(error) => self.engine.stalled(id, IoStep::Write, &error),
            }
        }
        self.engine.state.links.table.mark_dirty(id);
        at
    }

    pub(super) fn close(&mut self) {
        let most = bugs::shrunk(Budget::Closes, CLOSES_PER_TURN);
        for _ in 0..self.engine.state.links.table.closing_len().min(most) {
            let Some(id) = self.engine.state.links.table.pop_closing() else { return };
            match self.engine.close_step(id, &mut self.handler) {
                CloseStep::Wait => {}
                CloseStep::ShutDownWriting => self.net.shut_down_writing(id),
                CloseStep::Close => self.net.close(id),
            }
        }
    }
}
