//! The workload that sends transactions, with exact latencies.

use crate::kept::{Keeper, Received, check};
use crate::stage::{Stage, config, plan};
use peerloop::load::workloads::SendTx;
use peerloop::load::{Generator, Limit, Plan, Report, ResponderConfig, ResponderCounts, Segment};
use peerloop::protocol::CommandName;
use peerloop::sim::{Actor, Driver, World};
use peerloop::time::Instant;
use peerloop::wire::{Header, MessageRef, RejectCode, RejectRef, Tx};
use peerloop::{Ctx, Delivery, Frame, Handler, PeerId, Reactor};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);

/// Returns different transactions without inputs and outputs.
fn transactions(count: u32) -> Vec<Tx> {
    (0..count).map(|locktime| Tx::from_parts(1, &[], &[], locktime)).collect()
}

/// Sends transactions to a responder with these settings. Returns the report and the responder's counts.
fn run(count: u32, node: ResponderConfig, change: impl FnOnce(&mut Plan)) -> (Report, ResponderCounts) {
    let received = Arc::new(Mutex::new(Received::default()));
    let keeper = Keeper(received.clone());
    let workload = Box::new(SendTx::new(transactions(count)));
    let mut stage = Stage::of(workload, node, change, |generator| generator.with_recorder(Box::new(keeper)));
    stage.run_for(Duration::from_secs(60));
    let counts = stage.node.handler().snapshot(0, &stage.node.stats().counters).counts;
    let report = stage.finish();
    check(&report, &received);
    (report, counts)
}

fn slow() -> ResponderConfig {
    ResponderConfig::default().with_delay(3 * MILLI, 3 * MILLI)
}

/// Asserts that all operations that were answered had this latency.
#[track_caller]
fn assert_latency(report: &Report, index: usize, metric: &str, latency: Duration) {
    let of = &report.operations[index];
    assert_eq!((of.metric, of.planned.count(), of.sent.count()), (metric, report.work.answered, report.work.answered));
    for found in [of.planned.percentile(0.0), of.planned.max(), of.sent.percentile(0.0), of.sent.max()] {
        // A histogram's buckets are exact to three digits.
        assert!(found.unwrap().abs_diff(latency) <= latency / 1_000, "{metric}: {found:?}");
    }
}

#[test]
fn a_transaction_is_timed_until_it_is_requested_and_until_the_pong_after_it() {
    // The warm-up has a hundred operations too.
    let (report, counts) = run(1_100, slow(), |_| ());
    assert_eq!((report.work.planned, report.work.answered), (1_000, 1_000));
    assert_latency(&report, 0, "tx_roundtrip", 6 * MILLI);
    assert_latency(&report, 1, "tx_getdata", 3 * MILLI);
    assert_eq!((counts.txs_received, report.operation_failures.len(), report.limit), (1_100, 0, Limit::None));
}

#[test]
fn an_operation_without_a_transaction_is_not_sent() {
    let (report, counts) = run(900, slow(), |_| ());
    // The warm-up has used the last hundred.
    assert_eq!((report.work.sent, report.work.answered, report.work.unsent), (800, 800, 200));
    let [failure] = report.operation_failures[..] else { panic!("{:?}", report.operation_failures) };
    assert_eq!((failure.cause, failure.count, counts.txs_received), ("no_transaction", 200, 900));
}

#[test]
fn segments_use_the_transactions_of_their_own_operations() {
    // The ten connections and their operations belong to the segments in turn.
    for (index, share) in [(0, 4), (1, 3), (2, 3)] {
        let segment = Segment::new(index, 3).unwrap();
        let workload = Box::new(SendTx::new(transactions(1_100)));
        let mut stage = Stage::of(workload, slow(), |plan| plan.segment = segment, |generator| generator);
        stage.run_for(Duration::from_secs(60));
        let counts = stage.node.handler().snapshot(0, &stage.node.stats().counters).counts;
        let work = stage.finish().work;
        assert_eq!((work.answered, work.unsent, counts.txs_received), (share * 100, 0, share * 110));
    }
}

#[test]
fn announcements_that_are_ignored_time_out() {
    let (report, _) = run(1_100, ResponderConfig::default().with_drop_share(1.0), |_| ());
    assert_eq!((report.work.sent, report.work.timed_out, report.work.refused), (1_000, 1_000, 0));
    assert_eq!((report.operations[1].planned.count(), report.limit), (0, Limit::Node));
}

/// Requests each announced transaction, and rejects it if its lock time is odd. Nothing else is answered; pings are,
/// by the loop.
#[derive(Debug)]
struct Rejecting;

impl Handler for Rejecting {
    type Request = ();

    fn on_header(&mut self, _: &mut Ctx<'_>, _: PeerId, header: &Header) -> Delivery {
        let is_wanted = [CommandName::INV, CommandName::TX].contains(&header.command);
        if is_wanted { Delivery::Buffer } else { Delivery::Discard }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        match frame.decode().unwrap() {
            MessageRef::Inv(items) => ctx.send(peer, &MessageRef::GetData(items)).unwrap(),
            MessageRef::Tx(tx) if tx.locktime() % 2 == 1 => {
                let hash = Some(tx.txid().to_bytes());
                let reject = RejectRef { message: b"tx", code: RejectCode::INVALID, reason: b"odd", hash };
                ctx.send(peer, &MessageRef::Reject(reject)).unwrap();
            }
            _ => {}
        }
    }
}

#[test]
fn a_transaction_that_the_peer_rejects_is_a_failed_operation() {
    let world = World::new(7, Instant::from_nanos(123_456_789));
    let mut node = Reactor::with_net(config(), world.host(), Rejecting).unwrap();
    let address = SocketAddr::new(node.net().ip(), 18_444);
    node.listen(address).unwrap();
    let workload = Box::new(SendTx::new(transactions(1_100)));
    let generator = Generator::new(plan(address)).with_workload(workload);
    let mut generator = Reactor::with_net(config(), world.host(), generator).unwrap();
    let until = world.now().plus(Duration::from_secs(60));
    let actors: &mut [&mut dyn Actor] = &mut [&mut generator, &mut node];
    Driver::new(&world).run_until(until, actors).unwrap();
    let report = generator.into_handler().into_report();
    let work = report.work;
    assert_eq!((work.sent, work.answered, work.refused, work.timed_out), (1_000, 500, 500, 500));
    let [failure] = report.operation_failures[..] else { panic!("{:?}", report.operation_failures) };
    assert_eq!((failure.cause, failure.count), ("rejected", 500));
    // The step before the rejection counts for all.
    assert_eq!(report.operations[1].planned.count(), 1_000);
}
