//! The messages from one node to the other, in their order.
//!
//! A message is passed on at once unless earlier ones wait, the receiver has no room, or the receiver is not ready. The
//! pipe pauses the source while anything waits, so little accumulates. A large message is passed on in parts, as it
//! arrives. Nothing here reads a clock or decides about connections.

use super::hops::{Arrival, Hops};
use super::problem::PipeProblem;
use super::requests::BLOCK_HEADER_LEN_BYTES;
use crate::error::RequestError;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{HEADER_LEN_BYTES, MAX_PIPE_HELD_BYTES, PIPE_ITEM_COST_BYTES};
use crate::protocol::CommandName;
use crate::stats::MessageCounts;
use crate::time::Instant;
use crate::wire::Header;
use bytes::Bytes;
use std::collections::VecDeque;

/// A message, or a part of one, that waits for the receiver.
#[derive(Debug)]
enum Item {
    /// A whole message as it was received. A message of the pipe itself has no arrival, and is not counted.
    Frame { command: CommandName, payload_len: u64, frame: Bytes, arrival: Option<Arrival> },
    /// The beginning of a large message.
    Begin(Header),
    /// The next bytes of a large message.
    Part(Bytes),
    /// The end of a large message, whose last byte has this arrival.
    End(Header, Arrival),
}

/// A large message that is arriving.
#[derive(Debug)]
struct Arriving {
    header: Header,
    /// The first bytes of the payload, at most a block's header.
    head: Vec<u8>,
    /// Whether the rest is dropped, because the receiver of the first part is lost.
    is_dropped: bool,
}

/// The state of a flow after an offer to the receiver.
#[derive(Debug, PartialEq)]
pub(super) enum Offered {
    /// Nothing waits.
    All,
    /// Something waits for room.
    Some,
    /// A message cannot be passed on.
    Failed(PipeProblem),
}

/// The messages from one node to the other.
#[derive(Debug, Default)]
pub(super) struct Flow {
    items: VecDeque<Item>,
    held_bytes: usize,
    arriving: Option<Arriving>,
    /// The marked messages that are not written yet, in their order.
    marks: VecDeque<(u64, CommandName, u64, Arrival)>,
    next_mark: u64,
    /// The large message whose last part is queued and not known to be written.
    fed: Option<(Header, Arrival)>,
    forwarded: MessageCounts,
    lost: MessageCounts,
    unmeasured: MessageCounts,
}

impl Flow {
    /// Returns the messages that were handed to the receiver's queue whole.
    pub(super) fn forwarded(&self) -> &MessageCounts {
        &self.forwarded
    }

    /// Returns the messages that are known not to have been written whole, because a node was lost.
    pub(super) fn lost(&self) -> &MessageCounts {
        &self.lost
    }

    /// Returns the forwarded messages whose write was not noticed, so that their hops are missing.
    pub(super) fn unmeasured(&self) -> &MessageCounts {
        &self.unmeasured
    }

    /// Returns the number of waiting bytes, and the cost of the waiting messages.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Returns whether a large message is arriving whose receiver is lost.
    pub(super) fn drops_body(&self) -> bool {
        self.arriving.as_ref().is_some_and(|arriving| arriving.is_dropped)
    }

    /// Adds a whole message of the sender, or one of the pipe itself, which has no arrival.
    ///
    /// # Errors
    ///
    /// [`PipeProblem::Overflow`] while too many bytes are held; the sender's message is then counted as lost.
    pub(super) fn push_frame(
        &mut self,
        command: CommandName,
        frame: Bytes,
        arrival: Option<Arrival>,
    ) -> Result<(), PipeProblem> {
        let payload_len = frame.len().saturating_sub(HEADER_LEN_BYTES) as u64;
        if self.held_bytes > MAX_PIPE_HELD_BYTES {
            if arrival.is_some() {
                self.lost.add(command, payload_len);
            }
            return Err(PipeProblem::Overflow);
        }
        self.held_bytes += frame.len() + PIPE_ITEM_COST_BYTES;
        self.items.push_back(Item::Frame { command, payload_len, frame, arrival });
        Ok(())
    }

    /// Adds remembered stateful messages before everything else that waits. The receiver must have become ready just
    /// now, so that no large message has begun.
    pub(super) fn push_states(&mut self, states: impl DoubleEndedIterator<Item = (CommandName, Bytes)>) {
        for (command, frame) in states.rev() {
            let payload_len = frame.len().saturating_sub(HEADER_LEN_BYTES) as u64;
            self.held_bytes += frame.len() + PIPE_ITEM_COST_BYTES;
            self.items.push_front(Item::Frame { command, payload_len, frame, arrival: None });
        }
    }

    /// Adds a part of a large message; the first part begins it. Returns the first bytes of the payload once the last
    /// part has arrived whole, unless the message is being dropped.
    ///
    /// # Errors
    ///
    /// As [`Flow::push_frame`].
    pub(super) fn push_part(
        &mut self,
        header: &Header,
        part: &[u8],
        keep: impl FnOnce() -> Bytes,
        last: Option<Arrival>,
    ) -> Result<Option<Vec<u8>>, PipeProblem> {
        let is_first = self.arriving.is_none();
        let arriving =
            self.arriving.get_or_insert_with(|| Arriving { header: *header, head: Vec::new(), is_dropped: false });
        let wanted = BLOCK_HEADER_LEN_BYTES - arriving.head.len();
        arriving.head.extend_from_slice(&part[..part.len().min(wanted)]);
        let is_dropped = arriving.is_dropped;
        if !is_dropped && self.held_bytes > MAX_PIPE_HELD_BYTES {
            return Err(PipeProblem::Overflow);
        }
        if !is_dropped {
            if is_first {
                self.hold(Item::Begin(*header), 0);
            }
            self.hold(Item::Part(keep()), part.len());
        }
        let Some(arrival) = last else { return Ok(None) };
        let head = self.arriving.take().map(|arriving| arriving.head);
        if is_dropped {
            return Ok(None);
        }
        self.hold(Item::End(*header, arrival), 0);
        Ok(head)
    }

    fn hold(&mut self, item: Item, len_bytes: usize) {
        self.held_bytes += len_bytes + PIPE_ITEM_COST_BYTES;
        self.items.push_back(item);
    }

    /// Passes on the waiting messages as far as the receiver has room. If something remains, the pipe offers again when
    /// the receiver is writable.
    pub(super) fn offer(&mut self, ctx: &mut Ctx<'_>, to: PeerId) -> Offered {
        while let Some(item) = self.items.pop_front() {
            let (passed, item_bytes) = self.pass_on(ctx, to, item);
            match passed {
                Ok(None) => self.held_bytes = self.held_bytes.saturating_sub(item_bytes),
                Ok(Some(rest)) => {
                    self.held_bytes = self.held_bytes.saturating_sub(item_bytes);
                    self.items.push_front(rest);
                    return Offered::Some;
                }
                Err((item, error)) => {
                    let command = item.command();
                    self.items.push_front(item);
                    return match error {
                        RequestError::QueueFull => {
                            // The peer may close before it has room.
                            let _ = ctx.pull(to);
                            Offered::Some
                        }
                        // Its `Closed` event follows.
                        RequestError::NoSuchPeer | RequestError::NotReady => Offered::Some,
                        error => Offered::Failed(PipeProblem::NotSendable { command, error }),
                    };
                }
            }
        }
        Offered::All
    }

    /// Passes on one item. Returns its rest, or the item and the error, and the number of bytes that are no longer
    /// held.
    fn pass_on(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: PeerId,
        item: Item,
    ) -> (Result<Option<Item>, (Item, RequestError)>, usize) {
        match item {
            Item::Frame { command, payload_len, frame, arrival } => {
                let item_bytes = frame.len() + PIPE_ITEM_COST_BYTES;
                match self.send(ctx, to, &frame, (command, payload_len, arrival)) {
                    Ok(()) => (Ok(None), item_bytes),
                    Err(error) => (Err((Item::Frame { command, payload_len, frame, arrival }, error)), 0),
                }
            }
            Item::Begin(header) => match ctx.begin_body(to, &header) {
                Ok(()) => (Ok(None), PIPE_ITEM_COST_BYTES),
                Err(error) => (Err((Item::Begin(header), error)), 0),
            },
            Item::Part(mut part) => {
                let before = part.len();
                match ctx.feed_body(to, &mut part) {
                    Ok(()) if part.is_empty() => (Ok(None), before + PIPE_ITEM_COST_BYTES),
                    Ok(()) => {
                        let fed = before - part.len();
                        (Ok(Some(Item::Part(part))), fed)
                    }
                    Err(error) => (Err((Item::Part(part), error)), 0),
                }
            }
            Item::End(header, arrival) => {
                self.forwarded.add(header.command, header.payload_len);
                self.forget_fed();
                self.fed = Some((header, arrival));
                (Ok(None), PIPE_ITEM_COST_BYTES)
            }
        }
    }

    /// Sends a whole message. The sender's message is marked, so that its hop is measured, unless too many marked ones
    /// wait.
    fn send(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: PeerId,
        frame: &Bytes,
        (command, payload_len, arrival): (CommandName, u64, Option<Arrival>),
    ) -> Result<(), RequestError> {
        let Some(arrival) = arrival else { return ctx.send_shared(to, frame) };
        match ctx.send_marked(to, frame, self.next_mark) {
            Ok(()) => {
                self.marks.push_back((self.next_mark, command, payload_len, arrival));
                self.next_mark += 1;
            }
            Err(RequestError::TooManyMarks) => {
                ctx.send_shared(to, frame)?;
                self.unmeasured.add(command, payload_len);
            }
            Err(error) => return Err(error),
        }
        self.forwarded.add(command, payload_len);
        Ok(())
    }

    /// Forgets the large message whose last part is not known to be written, and counts it as unmeasured.
    fn forget_fed(&mut self) {
        if let Some((header, _)) = self.fed.take() {
            self.unmeasured.add(header.command, header.payload_len);
        }
    }

    /// Records that the kernel accepted a marked message at `at`.
    pub(super) fn note_written(&mut self, mark: u64, at: Instant, hops: &mut Hops) {
        let Some(&(front, command, _, arrival)) = self.marks.front() else { return };
        if front == mark {
            self.marks.pop_front();
            hops.record(command, arrival, at);
        }
    }

    /// Records that the kernel has accepted everything for the receiver.
    pub(super) fn note_all_written(&mut self, now: Instant, hops: &mut Hops) {
        if let Some((header, arrival)) = self.fed.take() {
            hops.record(header.command, arrival, now);
        }
    }

    /// Drops everything for the receiver, which is lost, and counts it. The rest of an arriving large message will be
    /// dropped as well.
    pub(super) fn receiver_lost(&mut self) {
        for (_, command, payload_len, _) in self.marks.drain(..) {
            self.lost.add(command, payload_len);
        }
        if let Some(arriving) = self.arriving.as_mut().filter(|arriving| !arriving.is_dropped) {
            arriving.is_dropped = true;
            self.lost.add(arriving.header.command, arriving.header.payload_len);
        }
        for item in self.items.drain(..) {
            match item {
                Item::Frame { command, payload_len, arrival: Some(_), .. } => self.lost.add(command, payload_len),
                Item::Frame { arrival: None, .. } | Item::Begin(_) | Item::Part(_) => {}
                // The whole large message has arrived, and some or all of it waits.
                Item::End(header, _) => self.lost.add(header.command, header.payload_len),
            }
        }
        self.held_bytes = 0;
        self.forget_fed();
    }

    /// Ends the arrival of a large message, because its sender is lost. Returns whether the receiver has its beginning,
    /// and so must be closed. Otherwise its parts are dropped.
    pub(super) fn sender_lost(&mut self) -> bool {
        let Some(arriving) = self.arriving.take() else { return false };
        if arriving.is_dropped {
            return false;
        }
        self.lost.add(arriving.header.command, arriving.header.payload_len);
        let begin = self.items.iter().rposition(|item| matches!(item, Item::Begin(_)));
        let Some(begin) = begin else { return true };
        for item in self.items.drain(begin..) {
            self.held_bytes = self.held_bytes.saturating_sub(item.held_bytes());
        }
        false
    }
}

impl Item {
    fn command(&self) -> CommandName {
        match self {
            Self::Frame { command, .. } => *command,
            Self::Begin(header) | Self::End(header, _) => header.command,
            Self::Part(_) => CommandName::BLOCK,
        }
    }

    fn held_bytes(&self) -> usize {
        PIPE_ITEM_COST_BYTES
            + match self {
                Self::Frame { frame, .. } => frame.len(),
                Self::Part(part) => part.len(),
                Self::Begin(_) | Self::End(..) => 0,
            }
    }
}
