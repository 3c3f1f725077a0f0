//! The workload that fetches blocks, with exact latencies.

use crate::kept::{Keeper, Received, check};
use crate::stage::{Stage, config, plan, set_rate};
use peerloop::load::workloads::BlockFetch;
use peerloop::load::{Generator, Limit, Plan, Rate, Report, ResponderConfig};
use peerloop::protocol::CommandName;
use peerloop::sim::{Actor, Driver, World};
use peerloop::time::Instant;
use peerloop::wire::{BlockHeader, Header, Headers, Inventory, InventoryItem, MessageRef};
use peerloop::{Ctx, Delivery, Frame, Handler, Network, PeerId, Reactor};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);

/// Returns the settings of a node with blocks of this length that answers after 3 ms.
fn node(block_bytes: u64) -> ResponderConfig {
    ResponderConfig::default().with_delay(3 * MILLI, 3 * MILLI).with_blocks(3).with_block_bytes(block_bytes)
}

/// Fetches blocks of `expected` bytes from a node whose blocks have `block_bytes`.
fn run(expected: u64, block_bytes: u64, change: impl FnOnce(&mut Plan)) -> Report {
    let received = Arc::new(Mutex::new(Received::default()));
    let keeper = Keeper(received.clone());
    let workload = Box::new(BlockFetch::new(expected));
    let equip = |generator: Generator| generator.with_recorder(Box::new(keeper));
    let mut stage = Stage::of(workload, node(block_bytes), change, equip);
    stage.run_for(Duration::from_secs(60));
    let report = stage.finish();
    check(&report, &received);
    report
}

/// Asserts that a latency is exact up to a histogram's three digits.
#[track_caller]
fn assert_near(found: Option<Duration>, expected: Duration) {
    assert!(found.unwrap().abs_diff(expected) <= expected / 1_000, "{found:?} instead of {expected:?}");
}

#[test]
fn a_block_is_timed_to_its_header_and_to_its_last_byte() {
    for bytes in [300, 100_000] {
        let report = run(bytes, bytes, |_| ());
        assert_eq!((report.work.planned, report.work.answered, report.limit), (1_000, 1_000, Limit::None));
        let metrics = report.operations.iter().map(|each| each.metric).collect::<Vec<_>>();
        assert_eq!(metrics, ["block_fetch", "block_first_bytes"]);
        for of in &report.operations {
            assert_eq!((of.work.answered, of.planned.count()), (1_000, 1_000), "{}", of.metric);
        }
        let first = &report.operations[1];
        for found in [first.planned.percentile(0.0), first.planned.max(), first.sent.percentile(0.0), first.sent.max()]
        {
            assert_near(found, 3 * MILLI);
        }
        let whole = &report.operations[0].planned;
        assert!(whole.percentile(0.0) >= first.planned.percentile(0.0) && whole.max() >= first.planned.max());
    }
}

#[test]
fn operations_that_are_due_before_the_hash_is_known_count_from_their_planned_moments() {
    // The headers arrive 3 ms after the handshake, which is when the run begins, and each block 3 ms later.
    let report = run(300, 300, |plan| {
        *plan = Plan::new(plan.targets.clone(), 1, Rate::per_second(20));
        set_rate(plan, Rate::per_second(1_000));
        *plan = plan.clone().with_rate(Rate::per_second(1_000), 10 * MILLI).with_drain(Duration::from_secs(2));
    });
    let [whole, _] = &report.operations[..] else { panic!("{:?}", report.work) };
    assert_eq!((report.work.planned, report.work.answered), (10, 10));
    assert_near(whole.planned.max(), 6 * MILLI);
    assert_near(whole.planned.percentile(0.0), 3 * MILLI);
    assert_near(whole.sent.max(), 3 * MILLI);
    assert_near(whole.sent.percentile(0.0), 3 * MILLI);
}

#[test]
fn a_block_of_another_length_is_a_failed_operation() {
    for (expected, bytes) in [(301, 300), (300, 50_000)] {
        let report = run(expected, bytes, |_| ());
        assert_eq!((report.work.answered, report.work.refused, report.work.timed_out), (0, 1_000, 1_000));
        assert_eq!(report.operations[1].work.answered, 0);
        let [failure] = report.operation_failures[..] else { panic!("{:?}", report.operation_failures) };
        assert_eq!((failure.cause, failure.count), ("wrong_size", 1_000));
    }
}

/// The replies of a scripted node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    /// No header at all.
    NoBlocks,
    /// One header, and a `notfound` for its block.
    Lacking,
    /// One header, and a block with a wrong checksum.
    Spoiled,
    /// A `headers` that ends in its first header.
    Undecodable,
    /// One header, and nothing for its block.
    Silent,
}

impl Handler for Script {
    type Request = ();

    fn on_header(&mut self, _: &mut Ctx<'_>, _: PeerId, header: &Header) -> Delivery {
        let is_request = [CommandName::GETHEADERS, CommandName::GETDATA].contains(&header.command);
        if is_request { Delivery::Buffer } else { Delivery::Discard }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        let genesis = BlockHeader::genesis_of(Network::Regtest);
        let first = BlockHeader { prev_hash: genesis.hash(), ..genesis };
        match frame.decode().unwrap() {
            MessageRef::GetHeaders(_) => {
                let headers = Headers::from_headers((*self != Self::NoBlocks).then_some(first));
                let mut bytes = ctx.encode(&MessageRef::Headers(headers.as_ref())).to_vec();
                if *self == Self::Undecodable {
                    let payload = [1, 2, 3];
                    let header = Header::of(CommandName::HEADERS, &payload).encode(Network::Regtest.magic());
                    bytes = [&header[..], &payload].concat();
                }
                ctx.send_shared(peer, &bytes.into()).unwrap();
            }
            MessageRef::GetData(_) if *self == Self::Lacking => {
                let items = Inventory::from_items([InventoryItem::block(first.hash())]);
                ctx.send(peer, &MessageRef::NotFound(items.as_ref())).unwrap();
            }
            MessageRef::GetData(_) if *self == Self::Spoiled => {
                // A block without transactions.
                let payload = [&first.encode()[..], &[0]].concat();
                let mut header = Header::of(CommandName::BLOCK, &payload);
                header.checksum = header.checksum.map(|[first, rest @ ..]| [!first, rest[0], rest[1], rest[2]]);
                let frame = [&header.encode(Network::Regtest.magic())[..], &payload].concat();
                ctx.send_shared(peer, &frame.into()).unwrap();
            }
            _ => {}
        }
    }
}

#[test]
fn each_failure_has_its_cause() {
    for (script, cause, refused, timed_out) in [
        // The peers know that there is no block before the first operation, so none is sent.
        (Script::NoBlocks, Some("no_block"), 0, 0),
        (Script::Lacking, Some("notfound"), 1_000, 1_000),
        (Script::Spoiled, Some("bad_checksum"), 1_000, 1_000),
        (Script::Undecodable, Some("undecodable"), 1_000, 1_000),
        (Script::Silent, None, 0, 1_000),
    ] {
        let world = World::new(7, Instant::from_nanos(123_456_789));
        let mut node = Reactor::with_net(config(), world.host(), script).unwrap();
        let address = SocketAddr::new(node.net().ip(), 18_444);
        node.listen(address).unwrap();
        let generator = Generator::new(plan(address)).with_workload(Box::new(BlockFetch::new(81)));
        let mut generator = Reactor::with_net(config(), world.host(), generator).unwrap();
        let until = world.now().plus(Duration::from_secs(60));
        let actors: &mut [&mut dyn Actor] = &mut [&mut generator, &mut node];
        Driver::new(&world).run_until(until, actors).unwrap();
        let report = generator.into_handler().into_report();
        let work = report.work;
        assert_eq!((work.planned, work.answered), (1_000, 0), "{script:?}");
        assert_eq!((work.refused, work.timed_out), (refused, timed_out), "{script:?}");
        let causes = report.operation_failures.iter().map(|each| (each.cause, each.count)).collect::<Vec<_>>();
        assert_eq!(causes, Vec::from_iter(cause.map(|cause| (cause, 1_000))), "{script:?}");
    }
}
