//! The workload of transactions: each operation announces one, sends it on request, and pings the peer.

use super::send;
use crate::api::{Delivery, Event, Frame};
use crate::handler::{Ctx, PeerMap};
use crate::id::PeerId;
use crate::load::workload::{Operation, Operations, Started, Workload};
use crate::protocol::CommandName;
use crate::wire::{Hash256, Header, Inventory, InventoryItem, InventoryKind, MessageRef, Tx};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The index of the metric `tx_getdata`.
const GETDATA: usize = 1;

/// Marks from here on belong to `tx` messages. Those of operations count from 0.
const FIRST_TX_MARK: u64 = 1 << 63;

/// Sends transactions: announces one with `inv`, sends it when the peer requests it with `getdata`, and pings the peer
/// once it is written. The metric `tx_roundtrip` is the time from the `inv` to the pong, and `tx_getdata` the time to
/// the `getdata`.
///
/// A node reads messages in their order, so the pong proves that it has read the transaction. It does not prove that
/// the transaction is valid: a node may validate it later. A `reject` that arrives before the pong makes the operation
/// a failed one with the cause `rejected`; a later one has no effect.
///
/// Each transaction is used once, because a node requests none that it knows. The operation with the index k uses the
/// k-th transaction, and the warm-up's operation with the index k the k-th from the end, so segments of one load use
/// different ones. An operation whose transaction does not exist or was used already is not sent, with the cause
/// `no_transaction`. Clones share the transactions, but not their use.
///
/// ```
/// use peerloop::load::{Generator, Plan, Rate, workloads::SendTx};
/// use peerloop::wire::Tx;
///
/// // Valid transactions would have inputs and outputs.
/// let transactions = (0..10).map(|locktime| Tx::from_parts(1, &[], &[], locktime)).collect();
/// let workload = SendTx::new(transactions);
/// assert_eq!(workload.count(), 10);
/// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 10, Rate::per_second(10));
/// let generator = Generator::new(plan).with_workload(Box::new(workload));
/// ```
#[derive(Clone, Debug)]
pub struct SendTx {
    offered: Arc<Offered>,
    /// Whether each transaction was announced.
    used: Vec<bool>,
    /// The pings in flight: the nonce, and the position of the transaction that was sent before.
    pings: PeerMap<VecDeque<(u64, u64)>>,
}

/// The transactions of a load.
#[derive(Debug)]
struct Offered {
    transactions: Vec<Tx>,
    /// The position of each transaction.
    by_id: BTreeMap<Hash256, u32>,
}

impl SendTx {
    /// Returns the workload that sends these transactions. A transaction that occurs again is ignored. Each one costs
    /// about 200 bytes besides its own length.
    pub fn new(mut transactions: Vec<Tx>) -> Self {
        let mut by_id = BTreeMap::new();
        transactions.retain(|tx| {
            let position = by_id.len() as u32;
            let entry = by_id.entry(tx.as_ref().txid());
            let is_new = matches!(entry, Entry::Vacant(_));
            entry.or_insert(position);
            is_new
        });
        let used = vec![false; transactions.len()];
        Self { offered: Arc::new(Offered { transactions, by_id }), used, pings: PeerMap::new() }
    }

    /// Returns the number of different transactions.
    pub fn count(&self) -> usize {
        self.offered.transactions.len()
    }

    /// Returns the position of an operation's transaction, if it exists and was not used.
    fn choose(&self, operation: &Operation) -> Option<usize> {
        let index = usize::try_from(operation.index).ok()?;
        let position = if operation.is_warmup { self.count().checked_sub(index)?.checked_sub(1)? } else { index };
        (self.used.get(position) == Some(&false)).then_some(position)
    }

    /// Pings the peer that the transaction at `position` was sent to.
    fn ping(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, position: u64) {
        match ctx.ping(peer, ctx.now()) {
            Ok(nonce) => match self.pings.get_mut(peer) {
                Some(pings) => pings.push_back((nonce, position)),
                None => drop(self.pings.insert(peer, VecDeque::from([(nonce, position)]))),
            },
            Err(error) => drop(operations.failed(peer, position, error.label(), ctx.now())),
        }
    }
}

impl Workload for SendTx {
    fn name(&self) -> &'static str {
        "tx"
    }

    fn metrics(&self) -> &[&'static str] {
        &["tx_roundtrip", "tx_getdata"]
    }

    fn start(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, operation: Operation) -> Started {
        let Some(position) = self.choose(&operation) else { return Started::NotSent { cause: "no_transaction" } };
        let txid = self.offered.transactions[position].as_ref().txid();
        let items = Inventory::from_items([InventoryItem::tx(txid)]);
        let started = send(ctx, peer, &MessageRef::Inv(items.as_ref()), operation.mark, position as u64);
        self.used[position] = matches!(started, Started::Sent { .. });
        started
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, event: &Event<'_>) {
        match *event {
            // A ping overtakes queued messages, so it is sent once the transaction has been written.
            Event::Written { mark, .. } if mark >= FIRST_TX_MARK => {
                self.ping(ctx, operations, peer, mark - FIRST_TX_MARK);
            }
            Event::Pong { nonce, received, .. } => {
                let Some(pings) = self.pings.get_mut(peer) else { return };
                let at = pings.iter().position(|&(of, _)| of == nonce);
                if let Some((_, position)) = at.and_then(|at| pings.remove(at)) {
                    operations.answered(peer, position, received);
                }
            }
            Event::Rejected(reject) if reject.message == b"tx" => {
                let txid = reject.hash.map(Hash256::from_bytes);
                if let Some(&position) = txid.and_then(|txid| self.offered.by_id.get(&txid)) {
                    operations.failed(peer, position.into(), "rejected", ctx.now());
                }
            }
            Event::Closed { .. } => drop(self.pings.remove(peer)),
            Event::Written { .. }
            | Event::Rejected(_)
            | Event::Opened { .. }
            | Event::VersionReceived
            | Event::Ready { .. }
            | Event::LimitsAnnounced { .. }
            | Event::StreamOpened { .. }
            | Event::SendHeaders
            | Event::BodyCut { .. } => {}
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        if header.command == CommandName::GETDATA { Delivery::Buffer } else { Delivery::Discard }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, frame: Frame<'_>) {
        let Ok(MessageRef::GetData(items)) = frame.decode() else { return };
        for item in items.iter().filter(|item| item.kind == InventoryKind::TX) {
            let Some(&position) = self.offered.by_id.get(&item.hash) else { continue };
            // Only the peer that received the announcement has such an operation.
            if !operations.step(peer, position.into(), GETDATA, ctx.now()) {
                continue;
            }
            let tx = ctx.encode(&MessageRef::Tx(self.offered.transactions[position as usize].as_ref()));
            if let Err(error) = ctx.send_marked(peer, &tx, FIRST_TX_MARK + u64::from(position)) {
                operations.failed(peer, position.into(), error.label(), ctx.now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    #[test]
    fn each_transaction_belongs_to_one_operation_and_is_used_once() {
        let tx = |locktime| Tx::from_parts(1, &[], &[], locktime);
        let mut workload = SendTx::new(vec![tx(0), tx(1), tx(0), tx(2), tx(1), tx(3)]);
        assert_eq!(workload.offered.transactions, [tx(0), tx(1), tx(2), tx(3)]);
        for (position, tx) in (0..).zip(&workload.offered.transactions) {
            assert_eq!(workload.offered.by_id.get(&tx.as_ref().txid()), Some(&position));
        }
        let of = |index, is_warmup| Operation { index, is_warmup, planned: Instant::ZERO, mark: 0 };
        let chosen =
            |workload: &SendTx, is_warmup| [0, 1, 2, 3, 4, u64::MAX].map(|k| workload.choose(&of(k, is_warmup)));
        assert_eq!(chosen(&workload, false), [Some(0), Some(1), Some(2), Some(3), None, None]);
        assert_eq!(chosen(&workload, true), [Some(3), Some(2), Some(1), Some(0), None, None]);
        workload.used[2] = true;
        assert_eq!(chosen(&workload, false), [Some(0), Some(1), None, Some(3), None, None]);
        assert_eq!(chosen(&workload, true), [Some(3), None, Some(1), Some(0), None, None]);
    }
}
