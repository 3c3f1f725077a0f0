//! The latencies of a relay since its start. They are added up here, because each request returns and clears those of
//! the loop.

use peerloop::Handle;
use peerloop::api::Pending;
use peerloop::histogram::{LatencyHistogram, LatencySummary};
use peerloop::relay::{Hops, RelayRequest};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Maximum time to wait for the loop's reply. A later reply is used by the next request.
const MAX_ANSWER: Duration = Duration::from_secs(1);

/// The latencies so far, which the status line and the metrics share.
#[derive(Clone, Debug, Default)]
pub(super) struct HopsSoFar(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: Hops,
    /// The first receivers' hops from arrival, since the previous status line.
    latest: LatencyHistogram,
    /// The histograms that the next request exchanges for the loop's.
    spare: Box<Hops>,
    pending: Option<Pending<Box<Hops>>>,
}

impl HopsSoFar {
    /// Requests the latencies since the last request, and returns the result of `use_all` on all of them. If the loop
    /// does not reply in time, they lack the latest ones.
    pub(super) fn refresh<R>(&self, handle: &Handle<RelayRequest>, use_all: impl FnOnce(&Hops) -> R) -> R {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.request(handle);
        taken.receive(MAX_ANSWER);
        use_all(&taken.all)
    }

    /// Returns the summary of the first receivers' hops from arrival since the previous call, as far as the loop has
    /// replied, and requests the next ones. Never waits: returns `None` if another thread waits for a reply.
    pub(super) fn latest(&self, handle: &Handle<RelayRequest>) -> Option<LatencySummary> {
        let mut taken = self.0.try_lock().ok()?;
        taken.receive(Duration::ZERO);
        taken.request(handle);
        Some(taken.take_latest())
    }

    /// Adds `last`, the latencies that a loop that has ended has kept, and returns all of them.
    pub(super) fn finish(&self, last: &Hops) -> Hops {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.receive(Duration::ZERO);
        let mut all = taken.all.clone();
        all.merge(last);
        all
    }
}

impl Taken {
    /// Requests the latencies, unless the reply to an earlier request has not arrived.
    fn request(&mut self, handle: &Handle<RelayRequest>) {
        if self.pending.is_none() {
            let (request, pending) = RelayRequest::take_hops(std::mem::take(&mut self.spare));
            self.pending = handle.request(request).ok().map(|()| pending);
        }
    }

    fn take_latest(&mut self) -> LatencySummary {
        let summary = self.latest.summary();
        self.latest.clear();
        summary
    }

    fn receive(&mut self, patience: Duration) {
        let Some(mut pending) = self.pending.take() else { return };
        match pending.wait_timeout(patience) {
            Ok(Some(mut hops)) => {
                self.all.merge(&hops);
                self.latest.merge(&hops.hop_first_with_lag);
                hops.clear();
                self.spare = hops;
            }
            Ok(None) => self.pending = Some(pending),
            // The loop has ended.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_hops_are_those_since_the_previous_status_line_and_from_arrival() {
        let mut taken = Taken::default();
        let mut receive = |millis: u64| {
            let (reply, pending) = Pending::new();
            let mut hops = Box::<Hops>::default();
            hops.hop_first.record(Duration::from_micros(1));
            hops.hop_first_with_lag.record(Duration::from_millis(millis));
            reply.send(hops);
            taken.pending = Some(pending);
            taken.receive(Duration::ZERO);
            (taken.take_latest(), taken.all.summary().hop_first_with_lag.count)
        };
        for (received, millis) in [(1, 900), (2, 3)] {
            let (latest, count) = receive(millis);
            assert_eq!((latest.count, count), (1, received));
            assert!(latest.max.is_some_and(|max| max.as_millis() == millis.into()), "{latest:?}");
        }
        assert_eq!(taken.take_latest().count, 0);
    }
}
