//! The workload of blocks: each operation requests the target's first block, which must have the expected length.

use super::block_begin::BlockBegin;
use super::try_send;
use crate::api::{ChecksumVerdict, Chunk, Delivery, Event, Frame};
use crate::handler::{Ctx, PeerMap};
use crate::id::PeerId;
use crate::load::workload::{Operation, Operations, Started, Workload};
use crate::protocol::{CommandName, PROTOCOL_VERSION};
use crate::wire::{BlockHeader, Hash256, Header, Inventory, InventoryItem, Locator, MessageRef};

/// The key of all operations: the blocks of a peer arrive in the order of the requests.
const KEY: u64 = 0;

/// The index of the metric `block_first_bytes`.
const FIRST_BYTES: usize = 1;

/// Fetches a block of one length over and over. The metric `block_fetch` is the time from a `getdata` to the block's
/// last byte, and `block_first_bytes` the time to the end of its header, the first 80 bytes.
///
/// Each peer asks for the headers after the network's genesis block as soon as it is ready, and then requests the first
/// of these blocks. Operations that are due before the reply are [held](Started::Held), and count from their planned
/// moments.
///
/// An operation fails if the target has no such block (`no_block`), if it sends a `notfound` (`notfound`), or if the
/// block has another length (`wrong_size`) or a wrong checksum (`bad_checksum`). Undecodable headers fail the
/// operations that wait for them (`undecodable`). An SV Node in its initial sync sends no headers, so the operations
/// time out.
///
/// All requests of a peer are equal, so a block answers the peer's oldest operation. Blocks are read in parts and never
/// kept: each peer needs 80 bytes of the block that is arriving.
///
/// ```
/// use peerloop::load::{Generator, Plan, Rate, workloads::BlockFetch};
///
/// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 10, Rate::per_second(10));
/// let generator = Generator::new(plan).with_workload(Box::new(BlockFetch::new(4_000_000)));
/// ```
#[derive(Debug)]
pub struct BlockFetch {
    block_bytes: u64,
    peers: PeerMap<Peer>,
}

/// The state of one peer.
#[derive(Debug, Default)]
struct Peer {
    block: Block,
    /// The begin of the arriving block.
    begin: BlockBegin,
}

/// The knowledge about a peer's first block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Block {
    #[default]
    Unasked,
    Asked,
    Known(Hash256),
    Missing,
}

impl BlockFetch {
    /// Returns the workload whose blocks must have `block_bytes` each.
    pub fn new(block_bytes: u64) -> Self {
        Self { block_bytes, peers: PeerMap::new() }
    }

    /// Sends the requests of the held operations, or fails them.
    fn note_block(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, block: Block) {
        let Some(state) = self.peers.get_mut(peer).filter(|state| state.block == Block::Asked) else { return };
        state.block = block;
        let now = ctx.now();
        let mut send = |mark| match block {
            Block::Known(hash) => request(ctx, peer, hash, mark),
            Block::Missing => Err("no_block"),
            Block::Unasked | Block::Asked => Err("undecodable"),
        };
        while operations.send_held(peer, now, &mut send) {}
    }
}

/// Requests the headers after the genesis block.
fn ask(ctx: &mut Ctx<'_>, peer: PeerId) -> Result<(), &'static str> {
    let genesis = BlockHeader::genesis_of(ctx.config().network).hash();
    let locator = Locator::from_hashes(PROTOCOL_VERSION as i32, [genesis], Hash256::ZERO);
    ctx.send(peer, &MessageRef::GetHeaders(locator.as_ref())).map_err(|error| error.label())
}

/// Requests the block, and returns the operation's key.
fn request(ctx: &mut Ctx<'_>, peer: PeerId, hash: Hash256, mark: u64) -> Result<u64, &'static str> {
    let items = Inventory::from_items([InventoryItem::block(hash)]);
    try_send(ctx, peer, &MessageRef::GetData(items.as_ref()), mark).map(|()| KEY)
}

impl Workload for BlockFetch {
    fn name(&self) -> &'static str {
        "block"
    }

    fn metrics(&self) -> &[&'static str] {
        &["block_fetch", "block_first_bytes"]
    }

    fn start(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, operation: Operation) -> Started {
        // Each ready peer has a state.
        let Some(state) = self.peers.get_mut(peer) else { return Started::NotSent { cause: "not_ready" } };
        if state.block == Block::Unasked {
            match ask(ctx, peer) {
                Ok(()) => state.block = Block::Asked,
                Err(cause) => return Started::NotSent { cause },
            }
        }
        match state.block {
            Block::Known(hash) => match request(ctx, peer, hash, operation.mark) {
                Ok(key) => Started::Sent { key },
                Err(cause) => Started::NotSent { cause },
            },
            Block::Missing => Started::NotSent { cause: "no_block" },
            Block::Unasked | Block::Asked => Started::Held,
        }
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, _operations: &mut Operations<'_>, peer: PeerId, event: &Event<'_>) {
        match event {
            Event::Ready { .. } => {
                // After a failure, the peer's first operation asks again.
                let block = if ask(ctx, peer).is_ok() { Block::Asked } else { Block::Unasked };
                self.peers.insert(peer, Peer { block, ..Peer::default() });
            }
            Event::Closed { .. } => drop(self.peers.remove(peer)),
            Event::Opened { .. }
            | Event::VersionReceived
            | Event::Pong { .. }
            | Event::Written { .. }
            | Event::LimitsAnnounced { .. }
            | Event::StreamOpened { .. }
            | Event::SendHeaders
            | Event::Rejected(_)
            | Event::BodyCut { .. } => {}
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        match header.command {
            CommandName::BLOCK => Delivery::Chunks,
            CommandName::HEADERS | CommandName::NOTFOUND => Delivery::Buffer,
            _ => Delivery::Discard,
        }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, frame: Frame<'_>) {
        match frame.decode() {
            Ok(MessageRef::Headers(headers)) => {
                let first = headers.iter().next().map(|first| first.header);
                let genesis = BlockHeader::genesis_of(ctx.config().network).hash();
                // Headers after another block are an announcement.
                if first.is_none_or(|first| first.prev_hash == genesis) {
                    let block = first.map_or(Block::Missing, |first| Block::Known(first.hash()));
                    self.note_block(ctx, operations, peer, block);
                }
            }
            Ok(MessageRef::NotFound(items)) => {
                let Some(state) = self.peers.get(peer) else { return };
                for _ in items.iter().filter(|item| Block::Known(item.hash) == state.block) {
                    operations.failed(peer, KEY, "notfound", ctx.now());
                }
            }
            Err(_) if frame.command() == CommandName::HEADERS => {
                self.note_block(ctx, operations, peer, Block::Unasked);
            }
            Ok(_) | Err(_) => {}
        }
    }

    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, chunk: Chunk<'_>) {
        let Some(state) = self.peers.get_mut(peer) else { return };
        // The other parts need no hash.
        let is_first_or_last = state.begin.read(&chunk) || chunk.last().is_some();
        if !is_first_or_last || state.begin.hash().map(Block::Known) != Some(state.block) {
            return;
        }
        let is_right = chunk.total() == self.block_bytes;
        if is_right {
            operations.step(peer, KEY, FIRST_BYTES, ctx.now());
        }
        match chunk.last() {
            Some(ChecksumVerdict::Wrong | ChecksumVerdict::Unchecked) => {
                operations.failed(peer, KEY, "bad_checksum", ctx.now());
            }
            Some(ChecksumVerdict::Correct | ChecksumVerdict::Absent) if is_right => {
                operations.answered(peer, KEY, ctx.now());
            }
            Some(ChecksumVerdict::Correct | ChecksumVerdict::Absent) => {
                operations.failed(peer, KEY, "wrong_size", ctx.now());
            }
            None => {}
        }
    }
}
