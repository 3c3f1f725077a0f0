//! The workload that fetches blocks, with exact latencies.

use crate::kept::{Keeper, Received, check};
use crate::stage::{Stage, config, plan, set_rate};
use peerloop::api::Pending;
use peerloop::limits::MAX_MARKS_PER_PEER;
use peerloop::load::workloads::BlockFetch;
use peerloop::load::{Generator, GeneratorRequest, Limit, Plan, Rate, Report, ResponderConfig, Verdict};
use peerloop::protocol::CommandName;
use peerloop::sim::{Actor, Driver, SimNet, World};
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
    run_on(node(block_bytes), expected, change)
}

/// Fetches blocks of `expected` bytes from a node with these settings.
fn run_on(settings: ResponderConfig, expected: u64, change: impl FnOnce(&mut Plan)) -> Report {
    let received = Arc::new(Mutex::new(Received::default()));
    let keeper = Keeper(received.clone());
    let workload = Box::new(BlockFetch::new(expected));
    let equip = |generator: Generator| generator.with_recorder(Box::new(keeper));
    let mut stage = Stage::of(workload, settings, change, equip);
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
    // The node was slow, and the generator was not.
    assert_eq!((report.verdict, report.limit), (Verdict::Trusted, Limit::None));
}

#[test]
fn an_operation_that_is_due_while_too_many_are_held_is_not_sent() {
    // Three hundred operations of one peer are due before the headers arrive.
    let report = run_on(node(300).with_delay(400 * MILLI, 400 * MILLI), 300, |plan| {
        *plan = Plan::new(plan.targets.clone(), 1, Rate::per_second(20))
            .with_rate(Rate::per_second(1_000), 300 * MILLI)
            .with_drain(Duration::from_secs(2));
    });
    let work = report.work;
    assert_eq!((work.planned, work.answered, work.timed_out), (300, MAX_MARKS_PER_PEER as u64, 0));
    assert_eq!((work.unsent, work.absent), (44, 44));
    let [failure] = report.operation_failures[..] else { panic!("{:?}", report.operation_failures) };
    assert_eq!((failure.cause, failure.count), ("too_many_operations", 44));
}

#[test]
fn held_operations_are_lost_with_their_peer() {
    let settings = node(300).with_delay(30_000 * MILLI, 30_000 * MILLI).with_close_after(Some(5_000 * MILLI));
    let report = run_on(settings, 300, |_| ());
    assert!(report.work.sent > 300 && report.work.answered == 0, "{:?}", report.work);
    assert_eq!((report.work.timed_out, report.work.refused), (report.work.sent, 0));
    assert_eq!((report.operation_failures.len(), report.peers.lost), (0, 10));
}

#[test]
fn a_dropped_reply_delays_only_the_operations_until_its_own_is_given_up() {
    let (world, mut node, mut generator) = scripted(Script::DropsOne, |plan| plan.warmup = Duration::ZERO);
    let handle = generator.handle();
    let mut run_until = |millis: u32| {
        let until = Instant::from_nanos(123_456_789).plus(millis * MILLI);
        let actors: &mut [&mut dyn Actor] = &mut [&mut generator, &mut node];
        Driver::new(&world).run_until(until, actors).unwrap();
    };
    run_until(5_025);
    let (reply, _pending) = Pending::new();
    handle.request(GeneratorRequest::GiveUp { older_than: MILLI, reply }).unwrap();
    run_until(60_000);
    let report = generator.into_handler().into_report();
    assert_eq!((report.work.planned, report.work.answered, report.work.timed_out), (1_000, 999, 1));
    // Each block answers the one operation before it while the first one is in flight: a tenth of the first five
    // seconds.
    let whole = &report.operations[0].planned;
    assert_near(whole.max(), 100 * MILLI);
    assert!(whole.percentile(94.0) < Some(MILLI), "{whole:?}");
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
    /// One header, nothing for the first request of its block, and the block for each further one.
    DropsOne,
    /// One header, and the block for each request.
    Serves,
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
            MessageRef::GetData(_) if *self == Self::DropsOne => *self = Self::Serves,
            MessageRef::GetData(_) if [Self::Spoiled, Self::Serves].contains(self) => {
                // A block without transactions.
                let payload = [&first.encode()[..], &[0]].concat();
                let mut header = Header::of(CommandName::BLOCK, &payload);
                if *self == Self::Spoiled {
                    header.checksum = header.checksum.map(|[first, rest @ ..]| [!first, rest[0], rest[1], rest[2]]);
                }
                let frame = [&header.encode(Network::Regtest.magic())[..], &payload].concat();
                ctx.send_shared(peer, &frame.into()).unwrap();
            }
            _ => {}
        }
    }
}

/// Returns a world with a scripted node, and with a generator that fetches its blocks.
fn scripted(
    script: Script,
    change: impl FnOnce(&mut Plan),
) -> (World, Reactor<SimNet, Script>, Reactor<SimNet, Generator>) {
    let world = World::new(7, Instant::from_nanos(123_456_789));
    let mut node = Reactor::with_net(config(), world.host(), script).unwrap();
    let address = SocketAddr::new(node.net().ip(), 18_444);
    node.listen(address).unwrap();
    let mut plan = plan(address);
    change(&mut plan);
    let generator = Generator::new(plan).with_workload(Box::new(BlockFetch::new(81)));
    let generator = Reactor::with_net(config(), world.host(), generator).unwrap();
    (world, node, generator)
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
        let (world, mut node, mut generator) = scripted(script, |_| ());
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
