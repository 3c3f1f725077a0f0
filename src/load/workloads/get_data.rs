//! The workload of requests: each operation requests a transaction or a block of a list by its hash.

use super::block_begin::BlockBegin;
use super::send;
use crate::api::{ChecksumVerdict, Chunk, Delivery, Event, Frame};
use crate::handler::{Ctx, PeerMap};
use crate::id::PeerId;
use crate::load::workload::{Operation, Operations, Started, Workload};
use crate::protocol::CommandName;
use crate::wire::{Hash256, Header, Inventory, InventoryItem, InventoryKind, MessageRef};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Requests transactions and blocks with `getdata`. The metric is the time from the `getdata` to the last byte of the
/// transaction or block: `tx_fetch` if all items are transactions, `block_fetch` if all are blocks, else `fetch`.
///
/// The operation with the index k requests the k-th item; after the last one, the first one follows again. A `notfound`
/// makes the operation a failed one with the cause `notfound`, and a wrong checksum with the cause `bad_checksum`. An
/// SV Node does not answer the request of an unknown block, so that operation times out. Transactions and blocks are
/// read in parts and never kept.
///
/// ```
/// use peerloop::load::{Generator, Plan, Rate, workloads::GetData};
/// use peerloop::wire::{Hash256, InventoryItem};
///
/// let items = [7, 8].map(|byte| InventoryItem::block(Hash256::from_bytes([byte; 32])));
/// let workload = GetData::new(items.to_vec()).unwrap();
/// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 10, Rate::per_second(10));
/// let generator = Generator::new(plan).with_workload(Box::new(workload));
/// ```
#[derive(Clone, Debug)]
pub struct GetData {
    requests: Arc<Requests>,
    /// The transactions that are arriving, each with the hash of its bytes so far.
    txs: PeerMap<Sha256>,
    /// The begins of the blocks that are arriving.
    blocks: PeerMap<BlockBegin>,
}

/// The items of a load.
#[derive(Debug)]
struct Requests {
    items: Vec<InventoryItem>,
    /// The key of each item's operations.
    keys: BTreeMap<InventoryItem, u64>,
    metrics: &'static [&'static str],
}

impl Requests {
    fn key(&self, item: InventoryItem) -> Option<u64> {
        self.keys.get(&item).copied()
    }
}

impl GetData {
    /// Returns the workload that requests these items in turn; `None` if there are none, or if one is neither a
    /// transaction nor a block. Each costs about 150 bytes.
    pub fn new(items: Vec<InventoryItem>) -> Option<Self> {
        let count_of = |kind| items.iter().filter(|item| item.kind == kind).count();
        let [txs, blocks] = [InventoryKind::TX, InventoryKind::BLOCK].map(count_of);
        if items.is_empty() || txs + blocks < items.len() {
            return None;
        }
        let metrics = match (txs, blocks) {
            (_, 0) => &["tx_fetch"],
            (0, _) => &["block_fetch"],
            (_, _) => &["fetch"],
        };
        let keys = (0..).zip(&items).map(|(key, item)| (*item, key)).collect();
        let requests = Arc::new(Requests { items, keys, metrics });
        Some(Self { requests, txs: PeerMap::new(), blocks: PeerMap::new() })
    }

    /// Reads the next part of a transaction, and returns the transaction's item with its last part.
    fn tx_of(&mut self, peer: PeerId, chunk: &Chunk<'_>) -> Option<InventoryItem> {
        if chunk.offset() == 0 {
            self.txs.insert(peer, Sha256::new());
        }
        self.txs.get_mut(peer)?.update(chunk.bytes());
        chunk.last()?;
        let first = self.txs.remove(peer)?.finalize();
        Some(InventoryItem::tx(Hash256::from_bytes(Sha256::digest(first).into())))
    }

    /// Reads the next part of a block, and returns the block's item with its last part.
    fn block_of(&mut self, peer: PeerId, chunk: &Chunk<'_>) -> Option<InventoryItem> {
        if chunk.offset() == 0 {
            self.blocks.insert(peer, BlockBegin::default());
        }
        self.blocks.get_mut(peer)?.read(chunk);
        chunk.last()?;
        self.blocks.remove(peer)?.hash().map(InventoryItem::block)
    }
}

impl Workload for GetData {
    fn name(&self) -> &'static str {
        "getdata"
    }

    fn metrics(&self) -> &[&'static str] {
        self.requests.metrics
    }

    fn start(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, operation: Operation) -> Started {
        let items = &self.requests.items;
        let item = items[(operation.index % items.len() as u64) as usize];
        let key = self.requests.key(item).unwrap_or_default();
        let items = Inventory::from_items([item]);
        send(ctx, peer, &MessageRef::GetData(items.as_ref()), operation.mark, key)
    }

    fn on_event(&mut self, _ctx: &mut Ctx<'_>, _operations: &mut Operations<'_>, peer: PeerId, event: &Event<'_>) {
        if let Event::Closed { .. } = event {
            self.txs.remove(peer);
            self.blocks.remove(peer);
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        match header.command {
            CommandName::TX | CommandName::BLOCK => Delivery::Chunks,
            CommandName::NOTFOUND => Delivery::Buffer,
            _ => Delivery::Discard,
        }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, frame: Frame<'_>) {
        let Ok(MessageRef::NotFound(items)) = frame.decode() else { return };
        for key in items.iter().filter_map(|item| self.requests.key(item)) {
            operations.failed(peer, key, "notfound", ctx.now());
        }
    }

    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, chunk: Chunk<'_>) {
        let is_tx = chunk.header().command == CommandName::TX;
        let item = if is_tx { self.tx_of(peer, &chunk) } else { self.block_of(peer, &chunk) };
        let Some(key) = item.and_then(|item| self.requests.key(item)) else { return };
        match chunk.last() {
            Some(ChecksumVerdict::Correct | ChecksumVerdict::Absent) => drop(operations.answered(peer, key, ctx.now())),
            Some(ChecksumVerdict::Wrong | ChecksumVerdict::Unchecked) => {
                operations.failed(peer, key, "bad_checksum", ctx.now());
            }
            None => {}
        }
    }
}
