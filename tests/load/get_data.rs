//! The workload that requests transactions and blocks, with exact latencies.

use crate::kept::{Keeper, Received, check};
use crate::stage::{Stage, config, plan};
use peerloop::bytes::Bytes;
use peerloop::load::workloads::GetData;
use peerloop::load::{Generator, Limit, Report, Responder, ResponderConfig, ResponderCounts};
use peerloop::protocol::CommandName;
use peerloop::sim::{Actor, Driver, SimNet, World};
use peerloop::time::Instant;
use peerloop::wire::{BlockHeader, Hash256, Header, InventoryItem, InventoryKind, Locator, Message, MessageRef, Tx};
use peerloop::{Ctx, Delivery, Event, Frame, Handler, Network, PeerId, Reactor};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);

/// Returns a transaction without inputs and outputs.
fn tx(locktime: u32) -> Tx {
    Tx::from_parts(1, &[], &[], locktime)
}

fn item(locktime: u32) -> InventoryItem {
    InventoryItem::tx(tx(locktime).as_ref().txid())
}

/// Returns the settings of a node that delays its replies, with five transactions and three blocks of this length.
fn node(block_bytes: u64) -> ResponderConfig {
    let transactions = (0..5).map(|locktime| Bytes::copy_from_slice(tx(locktime).as_ref().encoded()));
    let config = ResponderConfig::default().with_delay(3 * MILLI, 3 * MILLI);
    config.with_transactions(transactions.collect()).with_blocks(3).with_block_bytes(block_bytes)
}

/// Requests the headers of a node's blocks, and keeps the hashes.
#[derive(Debug)]
struct Asking {
    node: SocketAddr,
    hashes: Vec<Hash256>,
}

impl Handler for Asking {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        ctx.connect(self.node).unwrap();
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        if let Event::Ready { .. } = event {
            let genesis = BlockHeader::genesis_of(Network::Regtest).hash();
            let locator = Locator::from_hashes(70_016, [genesis], Hash256::ZERO);
            ctx.send(peer, &MessageRef::GetHeaders(locator.as_ref())).unwrap();
        }
    }

    fn on_header(&mut self, _: &mut Ctx<'_>, _: PeerId, header: &Header) -> Delivery {
        if header.command == CommandName::HEADERS { Delivery::Buffer } else { Delivery::Discard }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, _: PeerId, frame: Frame<'_>) {
        let MessageRef::Headers(headers) = frame.decode().unwrap() else { panic!("not headers") };
        self.hashes = headers.iter().map(|listed| listed.header.hash()).collect();
        ctx.stop();
    }
}

/// Returns the blocks of a node with these settings.
fn blocks(settings: ResponderConfig) -> Vec<InventoryItem> {
    let world = World::new(7, Instant::from_nanos(123_456_789));
    let loop_config = settings.loop_config(config());
    let mut node: Reactor<SimNet, _> = Reactor::with_net(loop_config, world.host(), Responder::new(settings)).unwrap();
    let address = SocketAddr::new(node.net().ip(), 18_444);
    node.listen(address).unwrap();
    let mut asking = Reactor::with_net(config(), world.host(), Asking { node: address, hashes: vec![] }).unwrap();
    let until = world.now().plus(Duration::from_secs(10));
    let actors: &mut [&mut dyn Actor] = &mut [&mut asking, &mut node];
    Driver::new(&world).run_until(until, actors).unwrap();
    asking.into_handler().hashes.into_iter().map(InventoryItem::block).collect()
}

/// Requests items of a node with these settings. Returns the report and the node's counts.
fn run(items: Vec<InventoryItem>, settings: ResponderConfig) -> (Report, ResponderCounts) {
    let received = Arc::new(Mutex::new(Received::default()));
    let keeper = Keeper(received.clone());
    let workload = Box::new(GetData::new(items).unwrap());
    let mut stage = Stage::of(workload, settings, |_| (), |generator| generator.with_recorder(Box::new(keeper)));
    stage.run_for(Duration::from_secs(60));
    let counts = stage.node.handler().snapshot(0, &stage.node.stats().counters).counts;
    let report = stage.finish();
    check(&report, &received);
    (report, counts)
}

/// Asserts that the run had one metric, and that all 1,000 operations were answered 3 ms after their start.
#[track_caller]
fn assert_answered(report: &Report, metric: &str) {
    let [of] = &report.operations[..] else { panic!("{:?}", report.operations.len()) };
    assert_eq!((of.metric, of.work.answered, of.planned.count(), report.limit), (metric, 1_000, 1_000, Limit::None));
    for found in [of.planned.percentile(0.0), of.planned.max(), of.sent.percentile(0.0), of.sent.max()] {
        // A histogram's buckets are exact to three digits.
        assert!(found.unwrap().abs_diff(3 * MILLI) <= 3 * MILLI / 1_000, "{metric}: {found:?}");
    }
}

#[test]
fn a_transaction_is_timed_until_it_has_arrived() {
    let (report, counts) = run((0..5).map(item).collect(), node(300));
    assert_answered(&report, "tx_fetch");
    // The warm-up has a hundred operations too.
    assert_eq!((counts.txs_sent, counts.blocks_sent), (1_100, 0));
}

#[test]
fn a_block_is_timed_until_its_last_byte() {
    for bytes in [300, 50_000] {
        let (report, counts) = run(blocks(node(bytes)), node(bytes));
        assert_answered(&report, "block_fetch");
        assert_eq!((counts.txs_sent, counts.blocks_sent), (0, 1_100));
    }
}

#[test]
fn items_of_both_kinds_have_one_metric_and_are_requested_in_turn() {
    // One item occurs twice.
    let items = [&blocks(node(300))[..], &[item(4), item(4)]].concat();
    let (report, counts) = run(items, node(300));
    assert_answered(&report, "fetch");
    assert_eq!((counts.txs_sent, counts.blocks_sent), (440, 660));
}

#[test]
fn an_item_that_the_node_lacks_is_a_failed_operation() {
    let lacking = InventoryItem::block(Hash256::from_bytes([7; 32]));
    let (report, _) = run(vec![item(0), item(99), item(1), lacking], node(300));
    assert_eq!((report.work.answered, report.work.refused), (500, 500));
    let [failure] = report.operation_failures[..] else { panic!("{:?}", report.operation_failures) };
    assert_eq!((failure.cause, failure.count), ("notfound", 500));
}

/// Sends a transaction for each `getdata`. The checksum is wrong if the lock time is odd.
#[derive(Debug)]
struct Spoiling;

impl Handler for Spoiling {
    type Request = ();

    fn on_header(&mut self, _: &mut Ctx<'_>, _: PeerId, header: &Header) -> Delivery {
        if header.command == CommandName::GETDATA { Delivery::Buffer } else { Delivery::Discard }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        let MessageRef::GetData(items) = frame.decode().unwrap() else { panic!("not a getdata") };
        let wanted = items.iter().next().unwrap();
        let locktime = (0..5).find(|&locktime| item(locktime) == wanted).unwrap();
        let mut bytes = ctx.encode(&Message::Tx(tx(locktime)).as_ref()).to_vec();
        // The checksum's last byte.
        bytes[23] ^= locktime as u8 % 2;
        ctx.send_shared(peer, &bytes.into()).unwrap();
    }
}

#[test]
fn an_item_with_a_wrong_checksum_is_a_failed_operation() {
    let world = World::new(7, Instant::from_nanos(123_456_789));
    let mut node = Reactor::with_net(config(), world.host(), Spoiling).unwrap();
    let address = SocketAddr::new(node.net().ip(), 18_444);
    node.listen(address).unwrap();
    let workload = Box::new(GetData::new((0..4).map(item).collect()).unwrap());
    let generator = Generator::new(plan(address)).with_workload(workload);
    let mut generator = Reactor::with_net(config(), world.host(), generator).unwrap();
    let until = world.now().plus(Duration::from_secs(60));
    let actors: &mut [&mut dyn Actor] = &mut [&mut generator, &mut node];
    Driver::new(&world).run_until(until, actors).unwrap();
    let report = generator.into_handler().into_report();
    assert_eq!((report.work.answered, report.work.refused), (500, 500));
    let [failure] = report.operation_failures[..] else { panic!("{:?}", report.operation_failures) };
    assert_eq!((failure.cause, failure.count), ("bad_checksum", 500));
}

#[test]
fn items_of_another_kind_and_no_items_are_refused() {
    let hash = Hash256::from_bytes([7; 32]);
    assert!(GetData::new(Vec::new()).is_none());
    let compact = InventoryItem { kind: InventoryKind::COMPACT_BLOCK, hash };
    assert!(GetData::new(vec![InventoryItem::block(hash), compact]).is_none());
}
