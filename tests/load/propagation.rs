//! The workload `propagation`: several nodes announce hashes at exact moments.

use crate::kept::{Keeper, Received};
use crate::stage::config;
use peerloop::limits::MAX_PROPAGATION_HASHES;
use peerloop::load::workloads::Propagation;
use peerloop::load::{
    Doubt, Generator, GeneratorRequest, Limit, OperationReport, OperationResult, Plan, Rate, Report, Verdict,
};
use peerloop::protocol::Network;
use peerloop::sim::{Actor, Driver, SimNet, World};
use peerloop::time::Instant;
use peerloop::wire::{BlockHeader, CompactBlock, Hash256, Headers, Inventory, InventoryItem, MessageRef, Tx};
use peerloop::{Ctx, Event, Handler, PeerId, Reactor};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);
const NODES: usize = 3;

/// The moment at which the run begins, from the start: three dials in 100 ms, and a warm-up of one second.
const RUN: u64 = 1_100;

/// A message to all peers of a node.
#[derive(Debug)]
enum Announcement {
    Items(Vec<InventoryItem>),
    Header(BlockHeader),
    Compact(BlockHeader),
    /// Closes all peers instead.
    Leave,
}

/// A node that announces on request.
#[derive(Debug, Default)]
struct Announcer {
    peers: Vec<PeerId>,
}

impl Handler for Announcer {
    type Request = Announcement;

    fn on_event(&mut self, _: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        if let Event::Ready { .. } = event {
            self.peers.push(peer);
        }
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, announcement: Announcement) {
        for &peer in &self.peers {
            match &announcement {
                Announcement::Items(items) => {
                    let items = Inventory::from_items(items.iter().copied());
                    ctx.send(peer, &MessageRef::Inv(items.as_ref())).unwrap();
                }
                Announcement::Header(header) => {
                    let headers = Headers::from_headers([*header]);
                    ctx.send(peer, &MessageRef::Headers(headers.as_ref())).unwrap();
                }
                Announcement::Compact(header) => {
                    let transaction = Tx::from_parts(1, &[], &[], 0);
                    let block = CompactBlock::from_transactions(*header, 7, [transaction.as_ref()], |_| true);
                    ctx.send(peer, &MessageRef::CmpctBlock(block.as_ref())).unwrap();
                }
                Announcement::Leave => ctx.close(peer, peerloop::error::Disconnect::Done),
            }
        }
    }
}

/// Three nodes, and an observer with one peer of each.
struct Observed {
    world: World,
    began: Instant,
    nodes: Vec<Reactor<SimNet, Announcer>>,
    observer: Reactor<SimNet, Generator>,
    received: Arc<Mutex<Received>>,
}

impl Observed {
    fn new(limit: Duration, change: impl FnOnce(&mut Plan)) -> Self {
        let world = World::new(7, Instant::from_nanos(123_456_789));
        let mut targets = Vec::new();
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            let mut node = Reactor::with_net(config(), world.host(), Announcer::default()).unwrap();
            targets.push(SocketAddr::new(node.net().ip(), 18_444));
            node.listen(targets[targets.len() - 1]).unwrap();
            nodes.push(node);
        }
        // The plan's rate has no effect.
        let mut plan = Plan::new(targets, NODES, Rate::per_second(20))
            .with_rate(Rate::per_second(100), Duration::from_secs(10))
            .with_warmup(Duration::from_secs(1))
            .with_drain(Duration::from_secs(2));
        change(&mut plan);
        let received = Arc::new(Mutex::new(Received::default()));
        let generator = Generator::new(plan)
            .with_workload(Box::new(Propagation::new(limit)))
            .with_recorder(Box::new(Keeper(received.clone())));
        let observer = Reactor::with_net(config(), world.host(), generator).unwrap();
        Self { began: world.now(), world, nodes, observer, received }
    }

    /// Runs until this many milliseconds after the start.
    fn run_until(&mut self, millis: u64) {
        let mut actors: Vec<&mut dyn Actor> = vec![&mut self.observer];
        actors.extend(self.nodes.iter_mut().map(|node| node as &mut dyn Actor));
        let until = self.began.plus(Duration::from_millis(millis));
        Driver::new(&self.world).run_until(until, &mut actors).unwrap();
    }

    /// Lets a node announce this many milliseconds after the start.
    fn at(&mut self, millis: u64, node: usize, announcement: Announcement) {
        self.run_until(millis);
        self.nodes[node].handle().request(announcement).unwrap();
    }

    fn finish(mut self) -> (Report, Arc<Mutex<Received>>) {
        self.run_until(60_000);
        assert_eq!(self.observer.stats().links, 0, "the observer still has peers");
        (self.observer.into_handler().into_report(), self.received)
    }
}

fn tx(number: u32) -> Announcement {
    Announcement::Items(vec![InventoryItem::tx(Hash256::of(&number.to_le_bytes()))])
}

fn header() -> BlockHeader {
    BlockHeader { version: 7, ..BlockHeader::genesis_of(Network::Regtest) }
}

/// Asserts that a metric has these latencies, in milliseconds and in ascending order, and this many missing ones.
#[track_caller]
fn assert_latencies(report: &OperationReport, latencies: &[u64], missing: u64) {
    let (work, count) = (report.work, latencies.len() as u64);
    assert_eq!((work.planned, work.sent), (count + missing, count + missing), "{}", report.metric);
    assert_eq!((work.answered, work.timed_out, report.planned.count()), (count, missing, count), "{}", report.metric);
    for (index, &latency) in latencies.iter().enumerate() {
        let found = report.planned.percentile(100.0 * (index + 1) as f64 / count as f64).unwrap();
        let expected = Duration::from_millis(latency);
        // A histogram's buckets are exact to three digits, and begin at 1 ns.
        let error = found.abs_diff(expected);
        assert!(error <= (expected / 1_000).max(Duration::from_nanos(1)), "{}: {found:?}", report.metric);
    }
}

#[test]
fn each_later_announcement_is_timed_from_the_first_one_by_any_peer() {
    let mut world = Observed::new(Duration::from_secs(1), |_| ());
    world.at(2_000, 0, tx(1));
    world.at(2_030, 1, tx(1));
    world.at(2_070, 2, tx(1));
    // A repeated announcement is not a first one, although all peers have made it.
    world.at(2_100, 0, tx(1));
    let block = InventoryItem::block(header().hash());
    world.at(3_000, 1, Announcement::Items(vec![block]));
    world.at(3_005, 2, Announcement::Header(header()));
    world.at(3_008, 0, Announcement::Compact(header()));
    world.run_until(3_050);
    let (report, received) = world.finish();
    assert_latencies(&report.operations[0], &[30, 70], 0);
    assert_latencies(&report.operations[1], &[5, 8], 0);
    assert_eq!(
        report.operations.iter().map(|of| of.metric).collect::<Vec<_>>(),
        ["tx_propagation", "block_propagation"]
    );
    // Each target has the announcements of its own peers that were not the first ones.
    let of_targets: Vec<_> = report.targets.iter().map(|target| (target.work.planned, target.work.answered)).collect();
    assert_eq!(of_targets, [(1, 1), (1, 1), (2, 2)]);
    let slowest = |target: usize| report.targets[target].planned.as_ref().unwrap().max().unwrap().as_millis();
    assert_eq!([0, 1, 2].map(slowest), [8, 30, 70]);
    assert_eq!((report.work.planned, report.work.answered, report.work.timed_out), (4, 4, 0));
    assert_eq!((&report.verdict, report.limit, report.send_lag.count()), (&Verdict::Trusted, Limit::None, 0));
    assert!(report.loop_lag.count() >= 100, "the lag of the loop was not measured in each interval");
    let received = received.lock().unwrap();
    let records: Vec<_> = received.operations.iter().map(|of| (of.metric, of.target, of.result)).collect();
    let answered = OperationResult::Answered;
    let [tx, block] = ["tx_propagation", "block_propagation"];
    assert_eq!(records, [(tx, 1, answered), (tx, 2, answered), (block, 2, answered), (block, 0, answered)]);
    let planned: u64 = report.timeline.iter().map(|row| row.planned).sum();
    let count = |row: &peerloop::load::Interval| row.answered;
    assert_eq!((planned, report.timeline.iter().map(count).sum::<u64>()), (4, 4));
}

#[test]
fn an_announcement_that_is_not_made_within_the_limit_has_failed() {
    let mut world = Observed::new(Duration::from_secs(1), |_| ());
    world.at(2_000, 0, tx(1));
    world.at(2_400, 1, tx(1));
    world.at(3_500, 1, tx(2));
    world.at(3_600, 0, tx(2));
    world.at(3_700, 2, tx(2));
    let (report, _) = world.finish();
    assert_latencies(&report.operations[0], &[100, 200, 400], 1);
    let [failure] = report.operation_failures[..] else { panic!("{:?}", report.operation_failures) };
    assert_eq!((failure.cause, failure.count), ("not_announced", 1));
    // A timer may be late by a tick.
    let wait = report.operations[0].unanswered_waits.planned.unwrap();
    assert!((1_000 * MILLI..=1_001 * MILLI).contains(&wait), "{wait:?}");
    assert_eq!((report.targets[2].work.refused, report.limit), (1, Limit::Node));
}

#[test]
fn only_hashes_that_are_first_announced_in_the_run_count_and_the_drain_waits_for_the_others() {
    let mut world = Observed::new(Duration::from_secs(60), |_| ());
    world.at(RUN - 1, 0, tx(1));
    world.at(RUN + 50, 1, tx(1));
    world.at(RUN + 9_990, 0, tx(2));
    // In the drain.
    world.at(RUN + 10_490, 1, tx(2));
    world.at(RUN + 10_500, 1, tx(3));
    world.at(RUN + 10_600, 2, tx(3));
    let (report, received) = world.finish();
    assert_latencies(&report.operations[0], &[500], 1);
    assert_eq!(report.operation_failures.len(), 0);
    // The drain ends two seconds after the run.
    assert_eq!(report.operations[0].unanswered_waits.planned, Some(2_010 * MILLI));
    let results: Vec<_> = received.lock().unwrap().operations.iter().map(|of| (of.target, of.result)).collect();
    assert_eq!(results, [(1, OperationResult::Answered), (2, OperationResult::TimedOut)]);
}

#[test]
fn a_lost_peer_is_expected_to_announce_nothing_more() {
    let mut world = Observed::new(Duration::from_secs(60), |_| ());
    world.at(2_000, 0, tx(1));
    world.at(2_100, 2, Announcement::Leave);
    world.at(2_200, 1, tx(1));
    world.at(2_300, 0, tx(2));
    world.at(2_400, 1, tx(2));
    let (report, received) = world.finish();
    assert_latencies(&report.operations[0], &[100, 200], 1);
    assert_eq!((report.peers.lost, report.limit), (1, Limit::Node));
    let lost = |of: &&peerloop::load::OperationRecord| (of.target, of.result) == (2, OperationResult::Lost);
    assert_eq!(received.lock().unwrap().operations.iter().filter(lost).count(), 1);
}

#[test]
fn the_oldest_hash_is_dropped_for_a_newer_one_and_its_missing_announcements_fail() {
    let mut world = Observed::new(Duration::from_secs(60), |_| ());
    let items = |numbers: std::ops::Range<u32>| {
        Announcement::Items(numbers.map(|number| InventoryItem::tx(Hash256::of(&number.to_le_bytes()))).collect())
    };
    let max = MAX_PROPAGATION_HASHES as u32;
    world.at(2_000, 0, items(0..40_000));
    world.at(2_100, 0, items(40_000..max + 2));
    // Hashes 0 and 1 were dropped.
    world.at(2_200, 1, items(2..max + 2));
    let (report, _) = world.finish();
    let (planned, answered) = (2 * u64::from(max + 2), u64::from(max));
    assert_eq!((report.work.planned, report.work.answered), (planned, answered));
    let [failure] = report.operation_failures[..] else { panic!("{:?}", report.operation_failures) };
    assert_eq!((failure.cause, failure.count), ("too_many_hashes", 4));
}

#[test]
fn a_run_without_announcements_measures_nothing_and_cannot_change_its_rate() {
    let mut world = Observed::new(Duration::from_secs(1), |plan| plan.pace = peerloop::load::Pace::Max);
    world.run_until(RUN + 10);
    let handle = world.observer.handle();
    handle.request(GeneratorRequest::SetRate(Rate::per_second(5))).unwrap();
    world.run_until(RUN + 20);
    let (report, _) = world.finish();
    assert_eq!((report.work.planned, report.rate_changes.len(), report.early_end), (0, 0, None));
    assert_eq!(report.verdict, Verdict::NotTrusted(vec![Doubt::NothingMeasured]));
    assert_eq!(report.run_time, Duration::from_secs(10));
}
