//! The load of a running generator, as a search steers it from the main thread.
//!
//! Every wait has a limit. A generator that does not reply in time makes a trial untrusted; it is never a verdict on
//! the target.

use super::load::{Load, Sample};
use crate::bench::display::Display;
use crate::bench::watch::report_at_once;
use crate::exit::{Failure, Stops};
use crate::notices::{Notice, Notices};
use crate::status::wait_for;
use peerloop::Handle;
use peerloop::api::{Pending, Reply};
use peerloop::load::{GeneratorRequest, Phase, Progress, Rate, Report};
use peerloop_measure::Searched;
use std::ops::Range;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// The pause between two looks at a load that has not begun its counted part.
const WAIT: Duration = Duration::from_millis(200);

/// A generator at work.
pub(super) struct Steered<'a> {
    pub(super) notices: &'a Notices,
    pub(super) handle: &'a Handle<GeneratorRequest>,
    pub(super) samples: Receiver<Sample>,
    pub(super) searched: Searched,
    /// The number of peers, if the rate is searched.
    pub(super) connections: usize,
    pub(super) display: Display,
    pub(super) stops: Stops,
    pub(super) has_ended: bool,
    pub(super) shown: Option<Instant>,
}

impl Steered<'_> {
    fn request(&self, request: GeneratorRequest) {
        // The request fails only if the loop has ended. `Notice::Ended` then arrives.
        let _ = self.handle.request(request);
    }

    /// Sends a request, and waits for its reply for at most a second.
    fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> GeneratorRequest) -> Option<T> {
        let (reply, pending) = Pending::new();
        self.handle.request(request(reply)).ok()?;
        wait_for(pending)
    }

    /// Shows the opening of the peers and the warm-up, before the first interval.
    fn show_begin(&mut self) {
        let Some(Progress { phase, peers, .. }) = self.ask(GeneratorRequest::Progress) else { return };
        match phase {
            Phase::Ramp => {
                self.show(&format!("ramp    {}/{} peers  failed {}", peers.ready, peers.asked, peers.failed));
            }
            Phase::Warmup => self.show("warmup"),
            Phase::Run | Phase::Drain | Phase::Done => {}
        }
    }

    /// Ends the load, and waits until the generator's thread has ended. After a second signal, returns the report in
    /// its current state instead.
    pub(super) fn end(mut self) -> Result<(Stops, Option<Report>), Failure> {
        if !self.has_ended {
            self.request(GeneratorRequest::Finish);
        }
        while !self.has_ended {
            match self.notices.next(None) {
                Some(Notice::Stop(stop)) if self.stops.note(stop) => {
                    self.display.clear();
                    let report = report_at_once(self.handle, stop)?;
                    return Ok((self.stops, Some(report)));
                }
                Some(Notice::Ended) | None => self.has_ended = true,
                Some(Notice::Stop(_) | Notice::Rate(_) | Notice::Bell) => {}
            }
        }
        self.display.clear();
        Ok((self.stops, None))
    }
}

impl Load for Steered<'_> {
    fn apply(&mut self, load: u64) {
        self.request(match self.searched {
            Searched::Rate => GeneratorRequest::SetRate(Rate::per_second(load)),
            Searched::Peers => GeneratorRequest::SetPeers(load as usize),
        });
    }

    fn restore_peers(&mut self) {
        // A number of peers that was applied is kept already.
        if self.searched == Searched::Rate {
            self.request(GeneratorRequest::SetPeers(self.connections));
        }
    }

    fn unanswered(&mut self, ages: Range<Duration>, lags: Range<Duration>) -> Option<u64> {
        self.ask(|reply| GeneratorRequest::Unanswered { ages, lags, reply })
    }

    fn give_up(&mut self, older_than: Duration) -> Option<u64> {
        self.ask(|reply| GeneratorRequest::GiveUp { older_than, reply })
    }

    fn next(&mut self) -> Option<Sample> {
        loop {
            if let Ok(sample) = self.samples.try_recv() {
                return Some(sample);
            }
            match self.notices.next(Some(WAIT)) {
                Some(Notice::Bell) => {}
                None => self.show_begin(),
                Some(Notice::Stop(stop)) => {
                    self.stops.note(stop);
                    self.display.note("stopping: waiting for the last replies; send the signal again to stop at once");
                    return None;
                }
                Some(Notice::Ended) => {
                    self.has_ended = true;
                    return None;
                }
                Some(Notice::Rate(_)) => self.display.note("the rate is not changed: the search sets it"),
            }
        }
    }

    fn busy(&mut self) -> Option<(Duration, Duration)> {
        self.ask(GeneratorRequest::Progress).map(|progress| (progress.busy, progress.phase_elapsed))
    }

    fn is_settled(&mut self) -> bool {
        self.ask(GeneratorRequest::Progress).is_some_and(|progress| {
            let peers = progress.peers;
            peers.ready + peers.failed >= peers.asked
        })
    }

    fn show(&mut self, line: &str) {
        let now = Instant::now();
        if self.shown.is_none_or(|shown| now.saturating_duration_since(shown) >= self.display.interval()) {
            self.shown = Some(now);
            self.display.note(line);
        }
    }
}
