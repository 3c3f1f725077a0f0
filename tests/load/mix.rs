//! A mix of workloads, with exact counts and latencies of each part.

use crate::kept::{Keeper, Received, check_kinds};
use crate::stage::Stage;
use peerloop::bytes::Bytes;
use peerloop::load::workloads::{BlockFetch, GetData, Headers, Inv, Mix, Ping, SendTx};
use peerloop::load::{
    EndCause, Generator, Limit, Operation, Operations, Plan, Rate, Report, ResponderConfig, Segment, Started, Workload,
};
use peerloop::wire::{Header, InventoryItem, Tx};
use peerloop::{Ctx, Delivery, Frame, PeerId};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);

/// 70 pings, 20 requests of headers and 10 announcements of a hundred operations.
fn mix() -> Mix {
    Mix::new(vec![(70, Box::new(Ping)), (20, Box::new(Headers)), (10, Box::new(Inv::new(7)))]).unwrap()
}

/// Returns the settings of a node that answers after 3 ms.
fn node() -> ResponderConfig {
    ResponderConfig::default().with_delay(3 * MILLI, 3 * MILLI).with_blocks(5).with_block_bytes(300)
}

/// Runs a mix whose main metrics have the indices `mains`.
fn run(mix: Mix, mains: &[usize], settings: ResponderConfig, change: impl FnOnce(&mut Plan)) -> Report {
    let received = Arc::new(Mutex::new(Received::default()));
    let keeper = Keeper(received.clone());
    let equip = |generator: Generator| generator.with_recorder(Box::new(keeper));
    let mut stage = Stage::of(Box::new(mix), settings, change, equip);
    stage.run_for(Duration::from_secs(60));
    let report = stage.finish();
    check_kinds(&report, &received, mains);
    report
}

/// Returns the numbers of planned operations of each metric.
fn planned(report: &Report) -> Vec<u64> {
    report.operations.iter().map(|of| of.work.planned).collect()
}

#[test]
fn each_part_has_its_share_and_its_own_latencies() {
    let report = run(mix(), &[0, 1, 2], node(), |_| ());
    assert_eq!((report.work.planned, report.work.answered, report.limit), (1_000, 1_000, Limit::None));
    for (of, (metric, count)) in
        report.operations.iter().zip([("ping_rtt", 700), ("headers_fetch", 200), ("inv_getdata", 100)])
    {
        assert_eq!((of.metric, of.work.planned, of.work.sent, of.work.answered), (metric, count, count, count));
        for histogram in [&of.planned, &of.sent] {
            assert_eq!(histogram.count(), count, "{metric}");
            for found in [histogram.percentile(0.0), histogram.max()] {
                assert!(found.unwrap().abs_diff(3 * MILLI) <= 3 * MILLI / 1_000, "{metric}: {found:?}");
            }
        }
    }
}

#[test]
fn operations_that_a_part_holds_do_not_delay_those_of_the_others() {
    let mix = || Mix::new(vec![(1, Box::new(BlockFetch::new(300))), (1, Box::new(Ping))]).unwrap();
    // The headers arrive 40 ms after the handshake, which is when the run begins, and each block 40 ms later. The first
    // block is due after 1 ms.
    let slow = node().with_delay(40 * MILLI, 40 * MILLI);
    let report = run(mix(), &[0, 2], slow, |plan| {
        *plan = Plan::new(plan.targets.clone(), 1, Rate::per_second(20))
            .with_rate(Rate::per_second(1_000), 200 * MILLI)
            .with_drain(Duration::from_secs(2));
    });
    let [blocks, _, pings] = &report.operations[..] else { panic!("{:?}", report.operations.len()) };
    assert_eq!((blocks.metric, blocks.work.planned, blocks.work.answered), ("block_fetch", 100, 100));
    assert_eq!((pings.metric, pings.work.planned, pings.work.answered), ("ping_rtt", 100, 100));
    let is_near = |found: Option<Duration>, millis: u32| {
        let expected = millis * MILLI;
        found.unwrap().abs_diff(expected) <= expected / 100
    };
    assert!(is_near(pings.planned.max(), 40), "{:?}", pings.planned.max());
    assert!(is_near(blocks.planned.percentile(0.0), 40) && is_near(blocks.planned.max(), 79), "{blocks:?}");
    // A node that never sends headers, and closes: the held operations are lost without a write, the pings are answered
    // or lost after it.
    let dumb = node().with_delay(30_000 * MILLI, 30_000 * MILLI).with_close_after(Some(5_000 * MILLI));
    let report = run(mix(), &[0, 2], dumb, |_| ());
    assert_eq!(report.operations[0].work.answered, 0);
    assert_eq!(report.operations[0].unanswered_waits.sent, None, "a held operation has a moment of its write");
    assert!(report.operations[2].unanswered_waits.sent.is_some());
}

/// Requests of headers that measure a metric that they do not have.
#[derive(Debug)]
struct WithoutMetric;

impl Workload for WithoutMetric {
    fn name(&self) -> &'static str {
        "without_metric"
    }

    fn metrics(&self) -> &[&'static str] {
        &["headers"]
    }

    fn start(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, operation: Operation) -> Started {
        Headers.start(ctx, peer, operation)
    }

    fn on_header(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, header: &Header) -> Delivery {
        Headers.on_header(ctx, peer, header)
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, _: Frame<'_>) {
        operations.step(peer, 0, 1, ctx.now());
    }
}

#[test]
#[should_panic = "the operation has no such metric"]
fn a_part_cannot_measure_a_metric_of_the_next_one() {
    run(Mix::new(vec![(1, Box::new(WithoutMetric)), (1, Box::new(Ping))]).unwrap(), &[0, 1], node(), |_| ());
}

#[test]
fn a_failure_counts_in_its_part_alone() {
    // The node drops nothing, but lacks the requested transaction.
    let lacking = GetData::new(vec![InventoryItem::tx(Tx::from_parts(1, &[], &[], 9).as_ref().txid())]).unwrap();
    let mix = Mix::new(vec![(3, Box::new(Ping)), (1, Box::new(lacking))]).unwrap();
    let report = run(mix, &[0, 1], node(), |_| ());
    let [pings, fetches] = &report.operations[..] else { panic!("{:?}", report.work) };
    assert_eq!((pings.work.planned, pings.work.answered, pings.work.refused), (750, 750, 0));
    assert_eq!((fetches.work.planned, fetches.work.answered, fetches.work.refused), (250, 0, 250));
    let [failure] = report.operation_failures[..] else { panic!("{:?}", report.operation_failures) };
    assert_eq!((failure.cause, failure.count), ("notfound", 250));
}

#[test]
fn steps_and_lists_of_a_part_count_its_own_operations() {
    let txs: Vec<Tx> = (0..110).map(|locktime| Tx::from_parts(1, &[], &[], locktime)).collect();
    let served = Tx::from_parts(1, &[], &[], 1_000);
    let items = GetData::new(vec![InventoryItem::tx(served.as_ref().txid())]).unwrap();
    // The warm-up sends the last ten transactions and the run the first hundred.
    let parts: Vec<(u32, Box<dyn Workload>)> =
        vec![(8, Box::new(Ping)), (1, Box::new(SendTx::new(txs))), (1, Box::new(items))];
    let settings = node().with_transactions(vec![Bytes::copy_from_slice(served.as_ref().encoded())]);
    let report = run(Mix::new(parts).unwrap(), &[0, 1, 3], settings, |_| ());
    let metrics: Vec<_> = report.operations.iter().map(|of| (of.metric, of.work.planned, of.work.answered)).collect();
    let expected =
        [("ping_rtt", 800, 800), ("tx_roundtrip", 100, 100), ("tx_getdata", 100, 100), ("tx_fetch", 100, 100)];
    assert_eq!(metrics, expected, "{:?}", report.operation_failures);
}

#[test]
fn segments_plan_the_same_operations_of_each_part() {
    let report_of = |segment: Segment| {
        let mut plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 10, Rate::per_second(10))
            .with_rate(Rate::per_second(777), Duration::from_secs(3));
        plan.segment = segment;
        Generator::new(plan).with_workload(Box::new(mix())).into_report_of_no_run(EndCause::NoneReady)
    };
    let whole = planned(&report_of(Segment::WHOLE));
    let expected = (0..2_331).fold([0; 3], |mut counts, index| {
        counts[mix().kind_of(index)] += 1;
        counts
    });
    assert_eq!(whole, expected);
    let mut sum = vec![0; 3];
    for index in 0..3 {
        let part = planned(&report_of(Segment::new(index, 3).unwrap()));
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    assert_eq!(sum, whole);
}

#[test]
fn the_operations_of_a_day_are_counted_without_a_look_at_each() {
    let report_of = |segment: Segment| {
        let mut plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 1_000, Rate::per_second(10))
            .with_rate(Rate::per_second(100_000), Duration::from_secs(86_400));
        plan.segment = segment;
        Generator::new(plan).with_workload(Box::new(mix())).into_report_of_no_run(EndCause::NoneReady)
    };
    let whole = report_of(Segment::WHOLE);
    assert_eq!(planned(&whole), [6_048_000_000, 1_728_000_000, 864_000_000]);
    assert_eq!((whole.work.planned, whole.work.absent), (8_640_000_000, 8_640_000_000));
    let mut sum = vec![0; 3];
    for index in 0..7 {
        let part = planned(&report_of(Segment::new(index, 7).unwrap()));
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    assert_eq!(sum, planned(&whole));
}

#[test]
fn operations_that_are_never_started_count_in_their_parts() {
    // All peers are closed in the middle of the run.
    let settings = node().with_close_after(Some(Duration::from_secs(6)));
    let report = run(mix(), &[0, 1, 2], settings, |_| ());
    assert_eq!(planned(&report), [700, 200, 100]);
    let total = report.work;
    assert!(total.unsent > 0 && total.answered > 0, "{total:?}");
    let unsent: u64 = report.operations.iter().map(|of| of.work.unsent).sum();
    let answered: u64 = report.operations.iter().map(|of| of.work.answered).sum();
    assert_eq!((unsent, answered, total.planned), (total.unsent, total.answered, 1_000));
}
