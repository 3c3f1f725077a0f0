//! The way of the intervals from the recording's thread to the search on the main thread.
//!
//! The recording never waits for the search. Each interval rings the main thread's bell.

use super::load::Sample;
use crate::notices::Bell;
use peerloop::load::{Interval, IntervalHistograms};
use peerloop_measure::Tally;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// The recording's end of the way.
#[derive(Debug)]
pub(crate) struct Samples {
    /// The goal's metric and view.
    metric: String,
    view: &'static str,
    sender: Sender<Sample>,
    bell: Bell,
    /// The end of the interval before.
    before: Duration,
}

impl Samples {
    /// Returns both ends of the way for a search that judges this metric and view.
    pub(crate) fn new(metric: &str, view: &'static str, bell: Bell) -> (Self, Receiver<Sample>) {
        let (sender, receiver) = channel();
        (Self { metric: metric.to_owned(), view, sender, bell, before: Duration::ZERO }, receiver)
    }

    /// Passes an interval on, or several that were joined.
    pub(crate) fn pass(&mut self, interval: &Interval, histograms: &IntervalHistograms) {
        let tally = |metric: &str, view: &str| {
            let found = histograms.iter().find(|(name, of, _)| (*name, of.name()) == (metric, view));
            found.map_or_else(Tally::default, |(_, _, histogram)| Tally::of(histogram.as_hdr(), 0))
        };
        let sample = Sample {
            length: interval.end.saturating_sub(self.before),
            planned: interval.planned,
            absent: interval.absent,
            answered: interval.answered,
            broken: interval.broken,
            peers: interval.peers as u64,
            latencies: tally(&self.metric, self.view),
            send_lag: tally("send_lag", "measured"),
            loop_lag: tally("loop_lag", "measured"),
        };
        self.before = interval.end;
        // If the search has ended, nobody waits for the interval.
        if self.sender.send(sample).is_ok() {
            self.bell.ring();
        }
    }
}
