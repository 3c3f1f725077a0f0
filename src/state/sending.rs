//! Sending on links, and the order of outgoing frames.
//!
//! All outgoing bytes pass through here. While a link is being read, the write block collects the frames sent on it,
//! as long as the link's queue is empty, no message is being fed in parts, and the block has room. All other frames,
//! and all shared frames, wait in their link's queue. Only pings and pongs overtake queued frames: ours, and the
//! handler's unless it sends them as shared frames. Overtaking pings and pongs are sent in their own order, right
//! after the frame that is partly sent. The latencies that both sides measure therefore exclude the wait behind
//! frames of which no byte has been sent. Frames of the handshake are never overtaken. While a message is being fed
//! in parts, all other frames wait after it, pings and pongs first. Pings and pongs overtake even the message itself
//! as long as none of it is sent.
//!
//! The end of each ping is stored as a position in the link's outgoing bytes, so that the write of its last byte can
//! record the ping's send time. The position changes only when a collected ping moves ahead of other collected frames.
//! No function here uses a socket or reads the system's clocks.

use super::{LoopState, Mark};
use crate::bugs::canary;
use crate::error::RequestError;
use crate::id::{Lane, LinkId};
use crate::limits::{
    BODY_REFILL_BYTES, EXTENDED_HEADER_LEN_BYTES, HEADER_LEN_BYTES, MAX_BODY_WAITING_BYTES, MAX_PINGS_OUTSTANDING,
    SEND_LIMIT_FACTOR, UNREAD_REPLIES_PAUSE_BYTES,
};
use crate::link::blocks::WriteBlock;
use crate::link::row::{Link, OutgoingBody, Phase};
use crate::link::send_queue::{BufferPool, SendQueue, frame_boundary};
use crate::peer::{ConnectionState, PingPongState, create_pong_nonce};
use crate::protocol::{CommandName, EXTENDED_PAYLOAD_VERSION};
use crate::time::Instant;
use crate::wire::{Header, InventoryItem, InventoryRef, MessageRef, RejectCode, RejectRef, put_frame, put_pong};
use bytes::Bytes;

/// The next step after a write on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterWrite {
    /// Call the handler: the peer is ready and has room.
    CallHandler,
    /// Continue the link's close.
    ContinueClosing,
    /// No step: more bytes must be sent first, or the link is neither ready nor draining, or was removed.
    Nothing,
}

impl AfterWrite {
    /// Returns the next step for a link that has room for more bytes.
    fn of(link: &Link) -> Self {
        match link.phase() {
            None if link.peer.state() == ConnectionState::Connected => Self::CallHandler,
            Some(Phase::Draining(_)) => Self::ContinueClosing,
            None | Some(Phase::AwaitingStreams(_) | Phase::Lingering(_) | Phase::Ended) => Self::Nothing,
        }
    }
}

impl LoopState {
    /// Starts to collect replies on a link, until [`LoopState::end_replies`].
    pub(crate) fn begin_replies(&mut self, id: LinkId) {
        debug_assert!(self.links.write_block.gathered().is_empty(), "the write block still holds collected replies");
        self.links.replying = Some(id);
    }

    /// Queues the collected replies that are not written yet, and stops collecting. Idempotent.
    pub(crate) fn end_replies(&mut self, id: LinkId) {
        if self.links.replying.is_some() && !self.links.write_block.gathered().is_empty() {
            self.wrote_replies(id, 0, self.clocks.now());
        }
        self.links.replying = None;
    }

    /// Adds a frame of `len` bytes to the link's outgoing bytes; `write` writes the frame. Returns the frame's end
    /// position in these bytes.
    ///
    /// The link must have room for the frame: see [`Links::check_room`](super::Links::check_room).
    pub(crate) fn append(&mut self, id: LinkId, len: usize, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let Some(link) = self.links.table.get(id) else { return 0 };
        let may_gather = self.links.replying == Some(id) && link.queue.is_empty() && link.body.is_none();
        if may_gather && self.links.write_block.has_room(len) {
            write(self.links.write_block.bytes());
            return link.bytes_written + self.links.write_block.gathered().len() as u64;
        }
        let is_handshake = link.peer.state() != ConnectionState::Connected;
        let mut frame = self.links.pool.take();
        write(&mut frame);
        let end = match is_handshake || goes_ahead(&frame) {
            true => self.enqueue_ahead(id, &frame),
            false => self.enqueue(id, |queue, pool| queue.push_copy(&frame, pool)),
        };
        self.links.pool.put(frame);
        end
    }

    /// Appends a frame without copying it, and returns where in the link's outgoing bytes it ends.
    pub(crate) fn append_shared(&mut self, id: LinkId, frame: Bytes) -> u64 {
        self.enqueue(id, |queue, pool| queue.push_shared(frame, pool))
    }

    /// Sends a handler's message to a peer, on the stream of the peer's policy.
    pub(crate) fn send(&mut self, peer: LinkId, message: &MessageRef<'_>) -> Result<(), RequestError> {
        match message {
            MessageRef::Inv(inventory) => self.send_parts(peer, *inventory, MessageRef::Inv),
            MessageRef::GetData(inventory) => self.send_parts(peer, *inventory, MessageRef::GetData),
            _ => self.send_one(peer, message, || false),
        }
    }

    /// Sends an inventory in as many messages as the peer's limit requires: all of them or none.
    fn send_parts<'a>(
        &mut self,
        peer: LinkId,
        inventory: InventoryRef<'a>,
        message: fn(InventoryRef<'a>) -> MessageRef<'a>,
    ) -> Result<(), RequestError> {
        let most = self.max_inventory_items(peer);
        let lists_blocks = || inventory.iter().next().is_some_and(|item| item.kind.is_block());
        if inventory.len() <= most {
            return self.send_one(peer, &message(inventory), lists_blocks);
        }
        let (mut frames, mut ends) = (Vec::new(), Vec::new());
        for part in inventory.chunks(most) {
            message(part).encode_frame(self.magic, &mut frames);
            ends.push(frames.len());
        }
        let command = message(inventory).command();
        let link = self.links.route(peer, command, lists_blocks);
        self.links.check_room(link, frames.len())?;
        let frames = Bytes::from(frames);
        let mut begin = 0;
        for end in ends {
            self.append_shared(link, frames.slice(begin..end));
            self.telemetry.sent.add(command, (end - begin - HEADER_LEN_BYTES) as u64);
            begin = end;
        }
        Ok(())
    }

    fn send_one(
        &mut self,
        peer: LinkId,
        message: &MessageRef<'_>,
        lists_blocks: impl FnOnce() -> bool,
    ) -> Result<(), RequestError> {
        let magic = self.magic;
        let mut frame = self.links.pool.take();
        message.encode_frame(magic, &mut frame);
        let (command, payload_len) = (message.command(), (frame.len() - HEADER_LEN_BYTES) as u64);
        let link = self.links.route(peer, command, lists_blocks);
        let verdict =
            self.links.check_size(peer, command, payload_len).and_then(|()| self.links.check_room(link, frame.len()));
        if verdict.is_ok() {
            self.append(link, frame.len(), |out| out.extend_from_slice(&frame));
            self.telemetry.sent.add(command, payload_len);
        }
        self.links.pool.put(frame);
        verdict
    }

    /// Sends one of the engine's own messages. Its payload is already encoded, in a pooled buffer.
    pub(crate) fn send_payload(&mut self, id: LinkId, command: CommandName, payload: Vec<u8>) {
        let (magic, len) = (self.magic, HEADER_LEN_BYTES + payload.len());
        self.append(id, len, |out| put_frame(magic, command, &payload, out));
        self.telemetry.sent.add(command, payload.len() as u64);
        self.links.pool.put(payload);
    }

    /// Sends one of the engine's own messages as an encoded frame.
    pub(crate) fn send_frame(&mut self, id: LinkId, command: CommandName, frame: &[u8]) {
        self.append(id, frame.len(), |out| out.extend_from_slice(frame));
        self.telemetry.sent.add(command, (frame.len() - HEADER_LEN_BYTES) as u64);
    }

    /// Sends a `reject` of `message`, unless too many bytes already wait for the peer.
    pub(crate) fn send_reject(&mut self, id: LinkId, message: &[u8], code: RejectCode, reason: &[u8]) {
        let waiting_bytes = self.links.table.get(id).map_or(0, Link::messages_waiting_bytes);
        if waiting_bytes <= UNREAD_REPLIES_PAUSE_BYTES {
            self.queue_reject(id, message, code, reason);
        }
    }

    fn queue_reject(&mut self, id: LinkId, message: &[u8], code: RejectCode, reason: &[u8]) {
        let mut payload = self.links.pool.take();
        RejectRef { message, code, reason, hash: None }.encode(&mut payload);
        self.send_payload(id, CommandName::REJECT, payload);
    }

    /// Sends a `reject` before a close. The close gives the peer time to read the `reject`.
    pub(crate) fn send_last_reject(&mut self, id: LinkId, message: &[u8], code: RejectCode, reason: &[u8]) {
        if let Some(link) = self.links.table.get_mut(id) {
            link.said_reject = true;
        }
        self.queue_reject(id, message, code, reason);
    }

    /// Sends a handler's frame that is encoded already, on the stream of the peer's policy.
    pub(crate) fn send_shared(&mut self, peer: LinkId, frame: &Bytes) -> Result<(), RequestError> {
        let link = self.route_frame(peer, frame);
        self.send_shared_on(link, peer, frame).map(|_| ())
    }

    fn route_frame(&self, peer: LinkId, frame: &[u8]) -> LinkId {
        if self.links.association(peer).is_none() {
            return peer;
        }
        let command = frame.first_chunk::<HEADER_LEN_BYTES>().map(|head| Header::decode(head).command);
        command.map_or(peer, |command| self.links.route(peer, command, || lists_blocks(frame)))
    }

    /// Sends a frame on one of a peer's links, and returns where in the link's outgoing bytes it ends.
    fn send_shared_on(&mut self, link: LinkId, peer: LinkId, frame: &Bytes) -> Result<u64, RequestError> {
        let header = frame.first_chunk::<HEADER_LEN_BYTES>().map(Header::decode);
        if let Some(header) = header {
            self.links.check_size(peer, header.command, header.payload_len)?;
        }
        self.links.check_room(link, frame.len())?;
        let end = self.append_shared(link, frame.clone());
        if let Some(header) = header {
            self.telemetry.sent.add(header.command, (frame.len() - HEADER_LEN_BYTES) as u64);
        }
        Ok(end)
    }

    /// Sends a handler's frame like [`LoopState::send_shared`], and marks its end for the handler of `lane`. A frame
    /// without bytes gets no mark, because no write carries it.
    pub(crate) fn send_marked(
        &mut self,
        peer: LinkId,
        frame: &Bytes,
        number: u64,
        lane: Lane,
    ) -> Result<(), RequestError> {
        let link = self.route_frame(peer, frame);
        if !self.marks.has_room(link, 1) {
            return Err(RequestError::TooManyMarks);
        }
        let end = self.send_shared_on(link, peer, frame)?;
        if !frame.is_empty() {
            self.marks.add(link, Mark { number, end, lane });
        }
        Ok(())
    }

    /// Returns the maximum number of inventory items in one message to the peer (SV Node 1.2.2, net.cpp
    /// GetMaxInvElements).
    fn max_inventory_items(&self, id: LinkId) -> usize {
        let theirs = self.links.table.get(id).map_or(0, |link| u64::from(link.peer.max_recv_payload()));
        let ours = self.config.max_message_bytes.saturating_mul(SEND_LIMIT_FACTOR);
        (theirs.min(ours).saturating_sub(8) / InventoryItem::LEN_BYTES as u64).max(1) as usize
    }

    /// Sends a ping that was due at `planned`, and returns its nonce. An unplanned ping has [`Instant::MAX`].
    pub(crate) fn ping(&mut self, peer: LinkId, planned: Instant) -> Result<u64, RequestError> {
        let frame_len = HEADER_LEN_BYTES + 8;
        let id = self.links.route(peer, CommandName::PING, || false);
        self.links.check_room(id, frame_len)?;
        let nonce = PingPongState::generate_nonce(&mut self.rng);
        if !self.links.table.get(peer).ok_or(RequestError::NoSuchPeer)?.has_pongs() {
            return Err(RequestError::NoPongs);
        }
        let link = self.links.table.get_mut(id).ok_or(RequestError::NoSuchPeer)?;
        if link.peer.ping_pong().pending_count() >= MAX_PINGS_OUTSTANDING {
            return Err(RequestError::TooManyPings);
        }
        let magic = self.magic;
        let gathered_bytes = self.links.write_block.gathered().len();
        let end = self.append(id, frame_len, |out| MessageRef::Ping { nonce }.encode_frame(magic, out));
        if self.links.write_block.gathered().len() > gathered_bytes {
            self.links.write_block.note_ping();
        }
        let link = self.links.table.get_mut(id).ok_or(RequestError::NoSuchPeer)?;
        link.peer.ping_pong_mut().queue_ping(nonce, planned, end);
        self.telemetry.counters.pings_sent += 1;
        self.telemetry.sent.add(CommandName::PING, 8);
        Ok(nonce)
    }

    /// Sends a handler's answer to a peer's ping.
    pub(crate) fn pong(&mut self, peer: LinkId, nonce: u64) -> Result<(), RequestError> {
        let nonce = create_pong_nonce(nonce).to_le_bytes();
        let id = self.links.pong_route(peer);
        self.links.check_room(id, HEADER_LEN_BYTES + nonce.len())?;
        if !self.links.table.get(peer).ok_or(RequestError::NoSuchPeer)?.has_pongs() {
            return Err(RequestError::NoPongs);
        }
        self.append_pong(id, &nonce, None);
        Ok(())
    }

    /// Appends a pong to a link's outgoing bytes. `checksum` is the payload's checksum if it is known.
    #[inline]
    pub(crate) fn append_pong(&mut self, id: LinkId, nonce: &[u8; 8], checksum: Option<[u8; 4]>) {
        let magic = self.magic;
        self.append(id, HEADER_LEN_BYTES + nonce.len(), |out| match checksum {
            Some(checksum) => put_pong(magic, nonce, checksum, out),
            None => put_frame(magic, CommandName::PONG, nonce, out),
        });
        self.telemetry.counters.pings_answered += 1;
        self.telemetry.sent.add(CommandName::PONG, nonce.len() as u64);
    }

    // --- Messages in parts ------------------------------------------------------------------------------------------

    /// Begins a message whose payload will be fed in parts. `marks` has the numbers of the marks for the payload's
    /// first and last byte, and the lane of the handler that sets them.
    pub(crate) fn begin_body(
        &mut self,
        peer: LinkId,
        header: &Header,
        marks: Option<([u64; 2], Lane)>,
    ) -> Result<(), RequestError> {
        let link = self.links.table.get(peer).ok_or(RequestError::NoSuchPeer)?;
        if self.links.body_link(peer).is_some() {
            return Err(RequestError::BodyOpen);
        }
        self.links.check_size(peer, header.command, header.payload_len)?;
        let needs_extension = header.payload_len > u64::from(u32::MAX);
        if needs_extension && link.negotiated_version < EXTENDED_PAYLOAD_VERSION {
            return Err(RequestError::TooLargeForPeer);
        }
        if !needs_extension && header.is_extended() {
            return Err(RequestError::ChecksumMissing);
        }
        let len = if needs_extension { EXTENDED_HEADER_LEN_BYTES } else { HEADER_LEN_BYTES };
        let id = self.links.route(peer, header.command, || false);
        self.links.check_room(id, len)?;
        if marks.is_some() && !self.marks.has_room(id, 2) {
            return Err(RequestError::TooManyMarks);
        }
        let magic = self.magic;
        let encode = |out: &mut Vec<u8>| match needs_extension {
            true => out.extend_from_slice(&header.encode_extended(magic)),
            false => out.extend_from_slice(&header.encode(magic)),
        };
        if let Some((numbers, lane)) = marks {
            let mut head = self.links.pool.take();
            encode(&mut head);
            let end = self.enqueue(id, |queue, pool| queue.push_copy(&head, pool));
            self.links.pool.put(head);
            for (number, len_bytes) in numbers.into_iter().zip([header.payload_len.min(1), header.payload_len]) {
                self.marks.add(id, Mark { number, end: end + len_bytes, lane });
            }
        } else {
            self.append(id, len, encode);
        }
        self.telemetry.sent.add(header.command, header.payload_len);
        if let Some(link) = self.links.table.get_mut(id)
            && header.payload_len > 0
        {
            link.body = Some(Box::new(OutgoingBody { left: header.payload_len, behind: SendQueue::default() }));
        }
        // Bytes that wait before a body do not count against the room for messages, so the room may have grown.
        self.links.mark_pull(peer);
        Ok(())
    }

    /// Queues as much of `part` as there is room for, and removes that much from `part`. The message's last byte
    /// releases the frames that wait after it.
    pub(crate) fn feed_body(&mut self, peer: LinkId, part: &mut Bytes) -> Result<(), RequestError> {
        if part.is_empty() {
            return Ok(());
        }
        let id = self.links.body_link(peer).unwrap_or(peer);
        let link = self.links.table.get(id).ok_or(RequestError::NoSuchPeer)?;
        let body = link.body.as_ref().ok_or(RequestError::NoBody)?;
        if part.len() as u64 > body.left {
            return Err(RequestError::BodyOverrun);
        }
        self.queue_replies(id);
        let Some(link) = self.links.table.get_mut(id) else { return Err(RequestError::NoSuchPeer) };
        let Some(body) = &mut link.body else { return Err(RequestError::NoBody) };
        let room_bytes = MAX_BODY_WAITING_BYTES.saturating_sub(link.queue.waiting_bytes());
        let taken = part.split_to(part.len().min(room_bytes));
        body.left -= taken.len() as u64;
        link.queue.push_rest_shared(taken, &mut self.links.pool);
        if body.left == 0 {
            link.body_end = link.bytes_written + link.queue.waiting_bytes() as u64;
            link.queue.push_queue(&mut body.behind, &mut self.links.pool);
            link.body = None;
        }
        self.queue_grew(id);
        Ok(())
    }

    // --- Results of writes ------------------------------------------------------------------------------------------

    /// Records that the kernel accepted `written` bytes of the collected replies at `at`. Queues the rest, and stops
    /// collecting.
    pub(crate) fn wrote_replies(&mut self, id: LinkId, written: usize, at: Instant) -> AfterWrite {
        let next = self.account_replies(id, written, at);
        self.links.write_block.clear();
        self.links.replying = None;
        next
    }

    fn account_replies(&mut self, id: LinkId, written: usize, at: Instant) -> AfterWrite {
        let block = &self.links.write_block;
        let (has_ping, is_rest) = (block.has_ping(), written < block.gathered().len());
        let Some(link) = self.links.table.get_mut(id) else { return AfterWrite::Nothing };
        link.bytes_written += written as u64;
        self.telemetry.counters.bytes_sent += written as u64;
        // If the replies hold no ping, the row's ping state is not read, which saves a cache miss.
        if has_ping {
            link.peer.ping_pong_mut().mark_written(link.bytes_written, at);
        }
        if is_rest {
            link.queue_gathered(&self.links.write_block, written, &mut self.links.pool);
            self.queue_grew(id);
            return AfterWrite::Nothing;
        }
        let next = AfterWrite::of(link);
        if has_ping {
            self.links.rearm(id, self.clocks.now());
        }
        next
    }

    /// Records that the kernel accepted `written` bytes of the link's queue at `at`, which is the send time of the
    /// pings among them. Resumes reading if unread replies had paused it and now occupy at most half of
    /// [`UNREAD_REPLIES_PAUSE_BYTES`].
    pub(crate) fn wrote_queued(&mut self, id: LinkId, written: usize, at: Instant) -> AfterWrite {
        let Some(link) = self.links.table.get_mut(id) else { return AfterWrite::Nothing };
        link.queue.advance(written, &mut self.links.pool);
        link.bytes_written += written as u64;
        link.peer.ping_pong_mut().mark_written(link.bytes_written, at);
        link.note_taken(self.clocks.now());
        let is_empty = link.queue.is_empty();
        self.telemetry.counters.bytes_sent += written as u64;
        if let Some(costs) = self.telemetry.costs.as_mut().filter(|_| is_empty) {
            costs.waits_no_more(id, at);
        }
        let is_hungry = link.body.is_some() && link.queue.waiting_bytes() <= BODY_REFILL_BYTES;
        let next = if is_empty || is_hungry { AfterWrite::of(link) } else { AfterWrite::Nothing };
        let (was_paused, may_pull) = (link.hold.unread_replies, link.asks_pull() || !link.is_peer());
        if was_paused && self.links.unread_replies_bytes(id) <= UNREAD_REPLIES_PAUSE_BYTES / 2 {
            self.links.release(id, self.clocks.now(), |hold| hold.unread_replies = false);
        }
        if may_pull && !canary!(PullForgotten) {
            self.links.mark_pull(self.links.peer_of(id));
        }
        self.links.rearm(id, self.clocks.now());
        next
    }

    /// Queues bytes after all earlier ones, and returns their end position in the link's outgoing bytes.
    fn enqueue(&mut self, id: LinkId, push: impl FnOnce(&mut SendQueue, &mut BufferPool)) -> u64 {
        self.queue_replies(id);
        let Some(link) = self.links.table.get_mut(id) else { return 0 };
        let before = link.bytes_written + link.queue.waiting_bytes() as u64;
        let end = match &mut link.body {
            Some(body) => {
                push(&mut body.behind, &mut self.links.pool);
                before + body.left + body.behind.waiting_bytes() as u64
            }
            None => {
                push(&mut link.queue, &mut self.links.pool);
                link.bytes_written + link.queue.waiting_bytes() as u64
            }
        };
        self.queue_grew(id);
        end
    }

    /// Queues the collected replies, and then a frame as [`Link::queue_ahead`] does.
    fn enqueue_ahead(&mut self, id: LinkId, frame: &[u8]) -> u64 {
        self.queue_replies(id);
        let Some(link) = self.links.table.get_mut(id) else { return 0 };
        let end = link.queue_ahead(frame, &mut self.links.pool);
        let len_bytes = frame.len() as u64;
        if !canary!(MarkLeftBehind) {
            self.marks.make_room(id, end - len_bytes, len_bytes);
        }
        self.queue_grew(id);
        end
    }

    /// Moves a link's collected replies to its queue, because more bytes follow them.
    fn queue_replies(&mut self, id: LinkId) {
        let is_replying = self.links.replying == Some(id);
        let Some(link) = self.links.table.get_mut(id) else { return };
        if is_replying {
            link.queue_gathered(&self.links.write_block, 0, &mut self.links.pool);
            self.links.write_block.clear();
        }
    }

    fn queue_grew(&mut self, id: LinkId) {
        self.links.table.mark_dirty(id);
        let Some(link) = self.links.table.get_mut(id) else { return };
        link.note_waiting(self.clocks.now());
        if let Some(costs) = self.telemetry.costs.as_mut().filter(|_| !link.queue.is_empty()) {
            costs.waits(id, self.clocks.now());
        }
        // The links' bounds add up, so a peer's memory does not grow with its streams.
        if self.links.unread_replies_bytes(id) > UNREAD_REPLIES_PAUSE_BYTES {
            self.links.hold(id, self.clocks.now(), |hold| hold.unread_replies = true);
        }
        self.links.rearm(id, self.clocks.now());
    }
}

/// The order of frames in a link's outgoing bytes. Only these two functions move a frame ahead of others, and both
/// update the positions that the row holds.
impl Link {
    /// Queues `frame` ahead of all frames that are not partly sent, but after frames that were queued ahead before it.
    /// Returns its end position in the link's outgoing bytes, which is final, because no later frame overtakes it.
    fn queue_ahead(&mut self, frame: &[u8], pool: &mut BufferPool) -> u64 {
        match self.queue.push_ahead(frame, self.body.is_some(), pool) {
            Some(waiting_bytes) => {
                let end = self.bytes_written + waiting_bytes as u64;
                if end - (frame.len() as u64) < self.body_end {
                    self.body_end += frame.len() as u64;
                }
                end
            }
            None => {
                let before = self.bytes_written + self.queue.waiting_bytes() as u64;
                let body = self.body.as_mut().expect("a frame is held back only while a body is being fed");
                let waiting_bytes = body.behind.push_ahead(frame, false, pool);
                before + body.left + waiting_bytes.map_or(0, |bytes| bytes as u64)
            }
        }
    }

    /// Queues the collected frames that the kernel did not accept, on a link whose queue is empty. Frames of the
    /// handshake stay first. Pings and pongs move ahead of the others, and the positions of our pings move with them.
    fn queue_gathered(&mut self, block: &WriteBlock, written: usize, pool: &mut BufferPool) {
        let gathered = block.gathered();
        let block_begin = self.bytes_written - written as u64;
        let mut begin = frame_boundary(gathered, written);
        self.queue.push_rest(&gathered[written..begin], pool);
        let mut is_handshake = true;
        while begin < gathered.len() {
            let rest = &gathered[begin..];
            let frame = &rest[..frame_boundary(rest, 1)];
            begin += frame.len();
            let goes_ahead = goes_ahead(frame);
            is_handshake &= goes_ahead || is_of_handshake(frame);
            if !is_handshake && !goes_ahead {
                self.queue.push_copy(frame, pool);
                continue;
            }
            let end = self.queue.push_ahead(frame, false, pool).expect("no body is being fed");
            if block.has_ping() && !canary!(PingPositionLost) {
                let moved_to = self.bytes_written + end as u64;
                self.peer.ping_pong_mut().move_ping(block_begin + begin as u64, moved_to);
            }
        }
    }
}

/// Returns whether a frame may overtake others: a whole `ping` or `pong` with a payload of 8 bytes.
fn goes_ahead(frame: &[u8]) -> bool {
    const LEN_BYTES: usize = HEADER_LEN_BYTES + 8;
    frame.len() == LEN_BYTES
        && frame.first_chunk().map(Header::decode).is_some_and(|header| {
            matches!(header.command, CommandName::PING | CommandName::PONG) && header.payload_len == 8
        })
}

/// Returns whether the first item of an `inv` or `getdata` frame is a block.
fn lists_blocks(frame: &[u8]) -> bool {
    let items = frame.get(HEADER_LEN_BYTES..).and_then(|payload| InventoryRef::decode(CommandName::INV, payload).ok());
    items.is_some_and(|items| items.iter().next().is_some_and(|item| item.kind.is_block()))
}

fn is_of_handshake(frame: &[u8]) -> bool {
    let command = frame.first_chunk().map(|head| Header::decode(head).command);
    matches!(
        command,
        Some(
            CommandName::VERSION
                | CommandName::VERACK
                | CommandName::PROTOCONF
                | CommandName::SENDHEADERS
                | CommandName::CREATESTRM
                | CommandName::STREAMACK
        )
    )
}
