//! Real intervals and operations for the tests of the recording: the library alone can make them.

use super::node::BuiltInNode;
use peerloop::load::{Generator, Interval, IntervalHistograms, OperationRecord, Plan, Rate, Recorder, ResponderConfig};
use peerloop::{Config, Network, Reactor};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// The values that a load has recorded.
#[derive(Debug)]
pub(super) struct Captured {
    /// Histograms of one interval, with at least one latency.
    pub(super) histograms: IntervalHistograms,
    pub(super) interval: Interval,
    pub(super) operation: OperationRecord,
}

struct Capture(Sender<(Interval, IntervalHistograms)>, Sender<OperationRecord>);

impl Recorder for Capture {
    fn on_interval(&mut self, interval: &Interval, histograms: &mut IntervalHistograms) {
        let _ = self.0.send((*interval, histograms.clone()));
    }

    fn on_operation(&mut self, operation: &OperationRecord) {
        let _ = self.1.send(*operation);
    }

    fn wants_operations(&self) -> bool {
        true
    }
}

/// Runs a short load on loopback and returns its first interval with a latency.
pub(super) fn capture() -> Captured {
    let node = BuiltInNode::start(Network::Regtest, 1, ResponderConfig::default()).expect("the node starts");
    let plan = Plan::new(vec![node.address], 1, Rate::per_second(100));
    let plan = plan.with_rate(Rate::per_second(100), Duration::from_millis(250)).with_drain(Duration::from_secs(5));
    let (intervals, operations) = (channel(), channel());
    let generator = Generator::new(plan).with_recorder(Box::new(Capture(intervals.0, operations.0)));
    let mut reactor = Reactor::new(Config::new(Network::Regtest), generator).expect("the loop can be built");
    reactor.run().expect("the loop runs");
    drop(reactor.into_handler().into_report());
    node.stop().expect("the node stops");
    let has_latency =
        |(_, histograms): &(Interval, IntervalHistograms)| histograms.iter().any(|(_, _, one)| one.count() > 0);
    let (interval, histograms) = intervals.1.into_iter().find(has_latency).expect("a ping is answered");
    Captured { histograms, interval, operation: operations.1.into_iter().next().expect("an operation ends") }
}
