//! An incomplete frame: its header, its buffered payload and its progress.

use super::framed::{DropCause, FramerRules, Input};
use crate::error::Deadline;
use crate::limits::{BODY_WINDOW, EXTENDED_HEADER_LEN_BYTES, HEADER_LEN_BYTES, HEADER_TIMEOUT};
use crate::time::Instant;
use crate::wire::header::Header;
use sha2::Sha256;

/// An incomplete frame.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) head: [u8; EXTENDED_HEADER_LEN_BYTES],
    pub(super) head_len: usize,
    pub(super) body: Option<Body>,
    /// The payload buffered so far, and any zeroed room after it for direct reads.
    pub(super) gathered: Vec<u8>,
    /// The hash of a streamed payload so far; in its initial state for any other payload.
    pub(super) hasher: Sha256,
    pub(super) progress: Progress,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    pub(super) header: Header,
    pub(super) fate: Fate,
    pub(super) received: u64,
}

/// The decision about a body, made once its header is checked. `Drop` replaces `Gather` if buffer room runs out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Gather,
    Chunks,
    UncheckedChunks,
    Drop(DropCause),
}

#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) began: Instant,
    pub(super) last_received: Instant,
    pub(super) window_began: Instant,
    pub(super) window_bytes: u64,
}

impl Default for Partial {
    fn default() -> Self {
        Self {
            head: [0; EXTENDED_HEADER_LEN_BYTES],
            head_len: 0,
            body: None,
            gathered: Vec::new(),
            hasher: Sha256::default(),
            progress: Progress::default(),
        }
    }
}

impl Partial {
    /// Reads as many of the header's missing bytes as have arrived.
    pub(super) fn take_head(&mut self, input: &mut Input<'_>) {
        while self.head_len < self.wanted_head_len() && !input.rest.is_empty() {
            let wanted = (self.wanted_head_len() - self.head_len).min(input.rest.len());
            self.head[self.head_len..self.head_len + wanted].copy_from_slice(input.take(wanted));
            self.head_len += wanted;
        }
    }

    /// Returns the length of the whole header, or of the basic header until that is complete.
    fn wanted_head_len(&self) -> usize {
        match self.head[..self.head_len].first_chunk() {
            Some(basic) => Header::len_of(basic),
            None => HEADER_LEN_BYTES,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        let Progress { began, last_received, window_began, window_bytes: _ } = self.progress;
        match self.body {
            None => began.plus(HEADER_TIMEOUT),
            Some(_) => window_began.min(last_received).plus(BODY_WINDOW),
        }
    }

    pub(super) fn overdue(&mut self, now: Instant, rules: &FramerRules) -> Option<Deadline> {
        if now < self.deadline() {
            return None;
        }
        if self.body.is_none() {
            return Some(Deadline::Header);
        }
        let is_stalled = now >= self.progress.last_received.plus(BODY_WINDOW);
        if is_stalled || self.progress.window_bytes < rules.min_body_window_bytes() {
            return Some(Deadline::Body);
        }
        self.progress.window_began = now;
        self.progress.window_bytes = 0;
        None
    }
}

impl Progress {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, last_received: now, window_began: now, window_bytes: 0 }
    }

    pub(super) fn note(&mut self, len: usize, now: Instant) {
        if len > 0 {
            self.last_received = now;
            self.window_bytes += len as u64;
        }
    }
}
