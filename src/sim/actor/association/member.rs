//! One connection of a peer with two streams: its handshake or its setup as a stream, its pings and its messages.

use super::super::journal::{Tally, Wrong};
use super::super::line::Line;
use super::super::persona::End;
use super::super::profile::{Profile, nonce_of};
use super::super::reference::{self, Message, Reader, nonce_frame, pong_to};
use super::{Association, State, uuid_in};
use crate::time::Instant;
use std::mem;
use std::rc::Rc;

/// A connection of an association.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) association: Association,
    reader: Reader,
    pings: u32,
    /// The nonce of this connection's ping in flight; 0 if no ping is in flight.
    awaited: u64,
    has_version: bool,
    is_further: bool,
}

impl Member {
    /// Returns the peer's first connection.
    pub(super) fn first(association: &Association) -> Self {
        let association = association.clone();
        Self { association, reader: Reader::default(), pings: 0, awaited: 0, has_version: false, is_further: false }
    }

    /// Returns a further stream. Its first message was already handled.
    pub(super) fn further(association: &Association) -> Self {
        Self { is_further: true, ..Self::first(association) }
    }

    fn profile(&self) -> &Rc<Profile> {
        &self.association.profile
    }

    pub(super) fn complain(&self, line: &Line<'_>, what: Wrong) {
        self.profile().journal.complain(line.now(), line.serial(), what);
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Tally)) {
        self.profile().journal.count(count);
    }

    /// Sends a `version` that names the association id.
    pub(super) fn send_version(&self, line: &mut Line<'_>) {
        let mut version = self.profile().version_payload(line.serial());
        // The empty association id is one byte.
        version.pop();
        version.extend(self.association.id());
        line.send(&reference::frame(self.profile().magic, "version", &version));
    }

    pub(super) fn send_frame(&self, line: &mut Line<'_>, command: &str, payload: &[u8]) {
        line.send(&reference::frame(self.profile().magic, command, payload));
    }

    /// Reads bytes, and passes each message to `handle`. If the stream is invalid, reports this and closes the
    /// connection.
    pub(super) fn read(
        &mut self,
        line: &mut Line<'_>,
        bytes: &[u8],
        mut handle: impl FnMut(&mut Self, &mut Line<'_>, &Message<'_>),
    ) {
        let (profile, mut reader) = (Rc::clone(self.profile()), mem::take(&mut self.reader));
        let on_frame = |message: &Message<'_>| handle(self, line, message);
        if let Err(wrong) = reader.read(bytes, profile.magic, &profile.spares, |_, _| {}, on_frame) {
            self.complain(line, wrong);
            line.close();
        }
        self.reader = reader;
    }

    /// Handles a message on the first connection or on an open further stream.
    pub(super) fn handle(&mut self, line: &mut Line<'_>, message: &Message<'_>) {
        self.count(|tally| tally.messages += 1);
        match &message.command {
            b"version\0\0\0\0\0" => self.handle_version(line, message.payload),
            b"verack\0\0\0\0\0\0" => self.handle_verack(line),
            b"reject\0\0\0\0\0\0" => self.count(|tally| tally.rejects += 1),
            b"ping\0\0\0\0\0\0\0\0" => match pong_to(message.frame) {
                Some(pong) => {
                    line.send(&pong);
                    self.count(|tally| tally.pings_answered += 1);
                }
                None => self.complain(line, Wrong::Malformed),
            },
            b"pong\0\0\0\0\0\0\0\0" => self.handle_pong(line, message.payload),
            b"createstrm\0\0" | b"streamack\0\0\0" => self.complain(line, Wrong::Repeated),
            _ => {}
        }
    }

    fn handle_version(&mut self, line: &Line<'_>, payload: &[u8]) {
        if mem::replace(&mut self.has_version, true) || self.is_further {
            return self.complain(line, Wrong::Repeated);
        }
        let named = uuid_in(payload);
        if line.is_dialled() {
            let offered = self.association.update(|state| state.uuid);
            match named {
                Some(named) if named == offered => self.association.update(|state| state.outcome.is_agreed = true),
                Some(_) => self.complain(line, Wrong::Malformed),
                None => {}
            }
        } else {
            self.association.update(|state| {
                state.outcome.is_agreed = named.is_some();
                state.uuid = named.unwrap_or_default();
            });
        }
    }

    fn handle_verack(&self, line: &mut Line<'_>) {
        let is_repeated = self.association.update(|state| mem::replace(&mut state.outcome.is_ready, true));
        if is_repeated || self.is_further {
            return self.complain(line, Wrong::Repeated);
        }
        self.count(|tally| tally.ready += 1);
        line.send(&self.profile().when_ready);
        self.begin_pings(line);
    }

    fn handle_pong(&self, line: &Line<'_>, payload: &[u8]) {
        let nonce = reference::nonce_of(payload);
        let stream = usize::from(self.is_further);
        let is_known = self.association.update(|state| {
            let index = state.pings.iter().position(|ping| Some(*ping) == nonce);
            index.map(|index| state.pings.swap_remove(index)).is_some_and(|_| {
                state.outcome.pongs[stream] += 1;
                true
            })
        });
        match is_known {
            true => self.count(|tally| tally.pongs += 1),
            false => self.complain(line, Wrong::StrayPong),
        }
    }

    /// Requests the first ping, at a moment that depends on the connection.
    pub(super) fn begin_pings(&self, line: &mut Line<'_>) {
        let every = self.profile().ping_every;
        let share = f64::from(1 + line.serial() % 64) / 64.0;
        line.wake_at(every.map_or(Instant::MAX, |every| line.now().plus(every.mul_f64(share))));
    }

    /// Sends a ping and another message, and checks that the pong to the previous ping has arrived on any stream.
    pub(super) fn ping(&mut self, line: &mut Line<'_>) {
        let Some(every) = self.profile().ping_every else { return };
        line.wake_at(line.now().plus(every));
        let awaited = self.awaited;
        if awaited != 0 && self.association.update(|state| state.pings.contains(&awaited)) {
            return self.complain(line, Wrong::NoPong);
        }
        self.pings += 1;
        self.awaited = nonce_of(line.serial(), self.pings);
        let awaited = self.awaited;
        self.association.update(|state| state.pings.push(awaited));
        line.send(&nonce_frame(self.profile().magic, "ping", awaited));
        let (command, payload): (&str, &[u8]) = match self.is_further {
            false => ("feefilter", &[0; 8]),
            true => ("headers", &[0]),
        };
        self.send_frame(line, command, payload);
        self.count(|tally| tally.pings_sent += 1);
    }

    /// Records the end of the connection by the other side.
    pub(super) fn ended(&self, how: End, at: Instant) {
        let is_further = self.is_further;
        self.association.update(|State { outcome, is_over, .. }| match is_further {
            false => (outcome.general_ended, *is_over) = (Some((at, how)), true),
            true => outcome.stream_ended = outcome.stream_ended.or(Some((at, how))),
        });
        self.count(|tally| match how {
            End::ByPeer => tally.closed += 1,
            End::Failed(_) => tally.failed += 1,
        });
    }
}
