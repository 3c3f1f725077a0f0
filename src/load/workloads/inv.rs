//! The workload of announcements: each operation announces a transaction, and the peer's request answers it.

use super::send;
use crate::api::{Delivery, Frame};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::load::workload::{Operation, Operations, Started, Workload};
use crate::protocol::CommandName;
use crate::wire::{Hash256, Header, Inventory, InventoryItem, InventoryKind, MessageRef};

/// Announces transactions that do not exist. The metric `inv_getdata` is the time from an `inv` to the peer's `getdata`
/// of its transaction.
///
/// Each operation announces one transaction of its own, whose id is derived from the seed and the operation, so a node
/// has never seen it. Processes that load the same node need different seeds. The requested transactions are not sent:
/// a node that limits its open requests, as an SV Node does (174,762 for each peer), ignores announcements beyond the
/// limit, and those operations time out.
///
/// ```
/// use peerloop::load::{Generator, Plan, Rate, workloads::Inv};
///
/// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 10, Rate::per_second(10));
/// let generator = Generator::new(plan).with_workload(Box::new(Inv::new(7)));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Inv {
    seed: u64,
}

impl Inv {
    /// Returns the workload whose transactions are derived from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Returns the id of an operation's transaction. It begins with the operation's mark.
    fn txid(self, mark: u64) -> Hash256 {
        let [seed, mark] = [self.seed, mark].map(u64::to_le_bytes);
        let mut bytes = Hash256::of([seed, mark].as_flattened()).to_bytes();
        bytes[..mark.len()].copy_from_slice(&mark);
        Hash256::from_bytes(bytes)
    }

    /// Returns the mark of the operation that announced a transaction; `None` if none did.
    fn mark_of(self, txid: Hash256) -> Option<u64> {
        let mark = txid.as_bytes().first_chunk().map(|bytes| u64::from_le_bytes(*bytes))?;
        (self.txid(mark) == txid).then_some(mark)
    }
}

impl Workload for Inv {
    fn name(&self) -> &'static str {
        "inv"
    }

    fn metrics(&self) -> &[&'static str] {
        &["inv_getdata"]
    }

    fn start(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, operation: Operation) -> Started {
        let items = Inventory::from_items([InventoryItem::tx(self.txid(operation.mark))]);
        send(ctx, peer, &MessageRef::Inv(items.as_ref()), operation.mark, operation.mark)
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        if header.command == CommandName::GETDATA { Delivery::Buffer } else { Delivery::Discard }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, frame: Frame<'_>) {
        let Ok(MessageRef::GetData(items)) = frame.decode() else { return };
        for item in items.iter().filter(|item| item.kind == InventoryKind::TX) {
            if let Some(mark) = self.mark_of(item.hash) {
                operations.answered(peer, mark, ctx.now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transaction_is_found_by_its_own_seed_alone() {
        let inv = Inv::new(3);
        for mark in [0, 1, 7, u64::MAX] {
            assert_eq!(inv.mark_of(inv.txid(mark)), Some(mark));
            assert_eq!(Inv::new(4).mark_of(inv.txid(mark)), None);
        }
        assert_ne!(inv.txid(1), inv.txid(2));
        assert_eq!(inv.mark_of(Hash256::ZERO), None);
    }
}
