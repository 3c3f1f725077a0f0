//! The generator's side of a workload: every way in which an operation of its own ends is counted and timed.

use crate::kept::{Keeper, Received, check};
use crate::stage::Stage;
use peerloop::error::Disconnect;
use peerloop::limits::MAX_OPERATIONS_PER_PEER;
use peerloop::load::{
    EndCause, Limit, Operation, OperationReport, OperationResult, Operations, Pace, Plan, Rate, ResponderConfig,
    Started, Workload,
};
use peerloop::protocol::CommandName;
use peerloop::time::Instant;
use peerloop::wire::{Hash256, Header, Inventory, InventoryItem, MessageRef};
use peerloop::{Ctx, Delivery, Event, Frame, PeerId};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);

/// The treatment of a reply by a scripted workload.
#[derive(Clone, Copy, Debug)]
enum Script {
    Answer,
    /// Fails each second operation.
    FailHalf,
    /// Reports a step, and answers this much later.
    StepThenAnswer(Duration),
    /// Closes the peer.
    Close,
}

/// Requests transactions that nobody has; each `notfound` is treated by the script.
#[derive(Debug)]
struct Scripted {
    script: Script,
    /// Operations whose answer is due later.
    later: Vec<(u64, PeerId)>,
}

impl Scripted {
    fn new(script: Script) -> Box<Self> {
        Box::new(Self { script, later: Vec::new() })
    }
}

fn hash_of(mark: u64) -> Hash256 {
    let mut bytes = [9; 32];
    bytes[..8].copy_from_slice(&mark.to_le_bytes());
    Hash256::from_bytes(bytes)
}

impl Workload for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn metrics(&self) -> &[&'static str] {
        &["whole", "step"]
    }

    fn start(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, operation: Operation) -> Started {
        let items = Inventory::from_items([InventoryItem::tx(hash_of(operation.mark))]);
        let frame = ctx.encode(&MessageRef::GetData(items.as_ref()));
        match ctx.send_marked(peer, &frame, operation.mark) {
            Ok(()) => Started::Sent { key: operation.mark },
            Err(error) => Started::NotSent { cause: error.label() },
        }
    }

    fn on_header(&mut self, _: &mut Ctx<'_>, _: PeerId, header: &Header) -> Delivery {
        if header.command == CommandName::NOTFOUND { Delivery::Buffer } else { Delivery::Discard }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, frame: Frame<'_>) {
        let Ok(MessageRef::NotFound(items)) = frame.decode() else { panic!("not a notfound") };
        let key = items.iter().map(|item| u64::from_le_bytes(*item.hash.as_bytes().first_chunk().unwrap())).next();
        let key = key.unwrap();
        match self.script {
            Script::Answer => assert!(operations.answered(peer, key, ctx.now())),
            Script::FailHalf if key.is_multiple_of(2) => assert!(operations.failed(peer, key, "even", ctx.now())),
            Script::FailHalf => assert!(operations.answered(peer, key, ctx.now())),
            Script::StepThenAnswer(time) => {
                assert!(operations.step(peer, key, 1, ctx.now()));
                self.later.push((key, peer));
                ctx.set_timer(key, ctx.now().plus(time)).unwrap();
            }
            Script::Close => ctx.close(peer, Disconnect::Done),
        }
        assert!(!operations.answered(peer, u64::MAX, ctx.now()), "an unknown key was answered");
    }

    fn on_event(&mut self, _: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, event: &Event<'_>) {
        if let (Script::Close, Event::Closed { .. }) = (self.script, event) {
            assert_eq!(operations.count(peer), 1, "the operation had ended before its peer closed");
        }
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, key: u64) {
        let index = self.later.iter().position(|(of, _)| *of == key).unwrap();
        let (_, peer) = self.later.swap_remove(index);
        assert!(operations.step(peer, key, 1, Instant::MAX), "the operation has ended");
        assert!(operations.answered(peer, key, ctx.now()));
    }
}

/// Returns a stage of a scripted workload, and everything that a recorder receives from it.
fn scripted(script: Script, node: ResponderConfig, change: impl FnOnce(&mut Plan)) -> (Stage, Arc<Mutex<Received>>) {
    let received = Arc::new(Mutex::new(Received::default()));
    let keeper = Keeper(received.clone());
    let equip = |generator: peerloop::load::Generator| generator.with_recorder(Box::new(keeper));
    (Stage::of(Scripted::new(script), node, change, equip), received)
}

fn slow(delay: Duration) -> ResponderConfig {
    ResponderConfig::default().with_delay(delay, delay)
}

/// Returns the smallest and the largest latency from the planned moments.
fn range(report: &OperationReport) -> (Option<Duration>, Option<Duration>) {
    (report.planned.percentile(0.0), report.planned.max())
}

#[track_caller]
fn assert_all(report: &OperationReport, latency: Duration) {
    // A histogram's buckets are exact to three digits.
    let is_near = |found: Option<Duration>| found.is_some_and(|found| found.abs_diff(latency) <= latency / 1_000);
    let (least, most) = range(report);
    assert!(is_near(least) && is_near(most), "{least:?} to {most:?} instead of {latency:?}");
    assert_eq!(report.sent.max(), report.planned.max());
}

#[test]
fn an_operation_is_timed_from_its_plan_and_its_write_to_its_answer() {
    let (stage, received) = scripted(Script::Answer, slow(5 * MILLI), |_| ());
    let report = stage.finish();
    check(&report, &received);
    assert_eq!((report.work.planned, report.work.answered, report.work.refused), (1_000, 1_000, 0));
    assert_all(&report.operations[0], 5 * MILLI);
    assert_eq!((report.operations[1].work.answered, report.operations[1].planned.max()), (0, None));
    assert_eq!((report.operation_failures.len(), report.limit), (0, Limit::None));
}

#[test]
fn a_failed_operation_counts_as_refused_and_its_cause_is_listed() {
    let (stage, received) = scripted(Script::FailHalf, slow(5 * MILLI), |_| ());
    let report = stage.finish();
    check(&report, &received);
    let work = report.work;
    assert_eq!((work.planned, work.sent, work.answered, work.timed_out, work.refused), (1_000, 1_000, 500, 500, 500));
    assert_eq!(report.targets[0].work, work);
    assert_eq!((report.operations[0].work, report.stages[0].operations[0].work), (work, work));
    let [failure] = report.operation_failures[..] else { panic!("{:?}", report.operation_failures) };
    assert_eq!((failure.cause, failure.count), ("even", 500));
    assert_eq!(report.operations[0].unanswered_waits.planned, Some(5 * MILLI));
    let refused = |record: &&peerloop::load::OperationRecord| record.result == OperationResult::Refused;
    assert_eq!(received.lock().unwrap().operations.iter().filter(refused).count(), 500);
    assert_eq!(report.limit, Limit::Node, "the failures were not counted against the node");
}

#[test]
fn a_step_is_timed_by_its_own_metric_and_only_once() {
    let (stage, received) = scripted(Script::StepThenAnswer(20 * MILLI), slow(5 * MILLI), |_| ());
    let report = stage.finish();
    check(&report, &received);
    let [whole, step] = &report.operations[..] else { panic!("not two metrics") };
    assert_eq!((whole.work.answered, step.work.answered, step.work.planned), (1_000, 1_000, 1_000));
    assert_all(step, 5 * MILLI);
    let (least, most) = range(whole);
    assert!(least >= Some(Duration::from_micros(24_900)) && most <= Some(27 * MILLI), "{least:?} {most:?}");
}

#[test]
fn an_operation_without_a_reply_times_out_and_one_beyond_the_bound_is_not_sent() {
    const BOUND: u64 = MAX_OPERATIONS_PER_PEER as u64;
    let deaf = ResponderConfig::default().with_drop_share(1.0);
    let (stage, received) = scripted(Script::Answer, deaf, |plan| {
        plan.connections = 1;
        plan.warmup = Duration::ZERO;
        plan.stages = vec![peerloop::load::Stage::constant(Rate::per_second(BOUND + 100), Duration::from_secs(1))];
    });
    let report = stage.finish();
    check(&report, &received);
    let work = report.work;
    assert_eq!((work.sent, work.timed_out, work.unsent, work.absent), (BOUND, BOUND, 100, 100));
    let [failure] = report.operation_failures[..] else { panic!("{:?}", report.operation_failures) };
    assert_eq!((failure.cause, failure.count), ("too_many_operations", 100));
    assert_eq!(report.operations[1].work.timed_out, BOUND);
}

#[test]
fn operations_in_flight_are_lost_with_their_peers() {
    let (stage, _) = scripted(Script::Close, slow(5 * MILLI), |_| ());
    let report = stage.finish();
    // The warm-up has one operation for each peer, whose reply closes the peer.
    assert_eq!((report.peers.ready, report.peers.lost, report.work.sent), (10, 10, 0));
    assert_eq!(report.early_end.unwrap().cause, EndCause::AllLost);

    let (stage, received) = scripted(Script::Close, slow(5 * MILLI), |plan| plan.warmup = Duration::ZERO);
    let report = stage.finish();
    check(&report, &received);
    assert_eq!((report.peers.lost, report.work.sent, report.work.timed_out, report.work.refused), (10, 10, 10, 0));
    let results = received.lock().unwrap().operations.iter().filter(|of| of.result == OperationResult::Lost).count();
    assert_eq!(results, 10);
}

#[test]
fn at_the_maximum_pace_each_operation_follows_the_end_of_the_one_before() {
    for script in [Script::Answer, Script::FailHalf] {
        let (stage, received) = scripted(script, slow(10 * MILLI), |plan| {
            plan.pace = Pace::Max;
            plan.warmup = Duration::ZERO;
        });
        let report = stage.finish();
        check(&report, &received);
        // Ten peers, one operation each 10 ms, for 10 s.
        assert_eq!((report.work.planned, report.work.sent), (10_000, 10_000), "{script:?}");
    }
}
