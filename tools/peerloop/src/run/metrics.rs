//! `--metrics-addr`: the state of a loop over HTTP, for collectors.
//!
//! One thread serves all clients at once ([`http`]). It requests at most one snapshot from the loop per
//! [`MIN_SNAPSHOT_INTERVAL`], however many clients there are, so a flood of requests never reaches the loop.

use super::exposition::{END, Snapshot, plain, section};
use super::http::{self, Format};
use crate::exit::Failure;
use peerloop::api::Latency;
use peerloop::histogram::LatencyHistogram;
use peerloop::{Handle, Network};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

/// The path of the metrics.
const PATH: &str = "/metrics";

/// For this long, all clients receive the same snapshot. Collectors request one every second or less often.
const MIN_SNAPSHOT_INTERVAL: Duration = Duration::from_millis(50);

/// A bound listener and its address.
#[derive(Debug)]
pub(crate) struct Metrics {
    listener: TcpListener,
    address: SocketAddr,
}

impl Metrics {
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let bound = TcpListener::bind(address).and_then(|listener| {
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        });
        bound.map_err(|error| {
            Failure::run(format!(
                "serving metrics on {address}: {error}; use --metrics-addr with an address of this machine and a \
                 free port"
            ))
        })
    }

    /// Returns the line of a greeting that shows the address.
    pub(crate) fn line(&self) -> String {
        format!("metrics at http://{}{PATH}", self.address)
    }

    /// Serves the metrics on a thread of its own for as long as the process lives. `more` returns further metrics as
    /// OpenMetrics text without an end mark, or `None` if the loop does not reply.
    pub(crate) fn serve<C: Send + 'static>(
        self,
        handle: Handle<C>,
        network: Network,
        mut more: impl FnMut() -> Option<String> + Send + 'static,
    ) -> Result<(), Failure> {
        let serve = move || {
            let mut latencies = Latencies::default();
            let mut texts = Texts::default();
            let mut snapshot = || {
                let text = section(latencies.snapshot(&handle)?, network)?;
                Some(text + &more()? + END)
            };
            // The server ends only if the listener cannot be made non-blocking or the poll fails. The node then
            // continues without metrics.
            let _ = http::serve(&self.listener, PATH, |format| texts.take(format, Instant::now(), &mut snapshot));
        };
        let thread = Builder::new().name("metrics".to_owned()).spawn(serve);
        thread.map(drop).map_err(|error| Failure::machine(format!("starting the metrics thread: {error}")))
    }
}

/// The last snapshot in both formats.
#[derive(Debug, Default)]
struct Texts {
    taken: Option<Instant>,
    open_metrics: Option<Arc<str>>,
    plain: Option<Arc<str>>,
}

impl Texts {
    /// Returns the last snapshot in this format. If there is none yet or it is too old, requests a new one first.
    /// Returns `None` if the last request failed.
    fn take(
        &mut self,
        format: Format,
        now: Instant,
        snapshot: &mut impl FnMut() -> Option<String>,
    ) -> Option<Arc<str>> {
        let is_fresh = |taken: Instant| now.saturating_duration_since(taken) < MIN_SNAPSHOT_INTERVAL;
        if !self.taken.is_some_and(is_fresh) {
            let text = snapshot();
            *self = Self {
                taken: Some(now),
                plain: text.as_deref().map(|text| plain(text).into()),
                open_metrics: text.map(Arc::from),
            };
        }
        match format {
            Format::OpenMetrics => self.open_metrics.clone(),
            Format::Plain => self.plain.clone(),
        }
    }
}

/// The latencies since the loop started. They are added up here, because each request to the loop returns and clears
/// the loop's latencies.
#[derive(Debug, Default)]
struct Latencies {
    connect: LatencyHistogram,
    handshake: LatencyHistogram,
    ping_rtt: LatencyHistogram,
    /// The histogram that the next request exchanges for the loop's histogram.
    spare: LatencyHistogram,
}

impl Latencies {
    /// Returns the current snapshot; `None` if the loop refuses a request, or ends before it replies.
    fn snapshot<C>(&mut self, handle: &Handle<C>) -> Option<Snapshot> {
        let stats = handle.stats().ok()?.wait().ok()?;
        let Self { connect, handshake, ping_rtt, spare } = self;
        for (latency, all) in [
            (Latency::Connect, &mut *connect),
            (Latency::Handshake, &mut *handshake),
            (Latency::PingRtt, &mut *ping_rtt),
        ] {
            let taken = handle.take_latencies(latency, std::mem::take(spare)).ok()?.wait().ok()?;
            all.merge(&taken);
            *spare = taken;
        }
        Some(Snapshot { stats, connect: connect.clone(), handshake: handshake.clone(), ping_rtt: ping_rtt.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_requests_causes_one_snapshot_per_interval() {
        let (mut texts, mut count) = (Texts::default(), 0);
        let mut snapshot = || {
            count += 1;
            (count != 3).then(|| format!("# TYPE peerloop_bans counter\npeerloop_bans_total {count}\n# EOF\n"))
        };
        let began = Instant::now();
        let mut take = |format, after| texts.take(format, began + after, &mut snapshot);
        let first = "# TYPE peerloop_bans counter\npeerloop_bans_total 1\n# EOF\n";
        let just_before = MIN_SNAPSHOT_INTERVAL - Duration::from_nanos(1);
        assert_eq!(take(Format::OpenMetrics, Duration::ZERO).as_deref(), Some(first));
        assert_eq!(take(Format::OpenMetrics, just_before).as_deref(), Some(first));
        let first = "# TYPE peerloop_bans_total counter\npeerloop_bans_total 1\n";
        assert_eq!(take(Format::Plain, just_before).as_deref(), Some(first));
        let second = "# TYPE peerloop_bans_total counter\npeerloop_bans_total 2\n";
        assert_eq!(take(Format::Plain, MIN_SNAPSHOT_INTERVAL).as_deref(), Some(second));
        assert_eq!(
            take(Format::Plain, 2 * MIN_SNAPSHOT_INTERVAL),
            None,
            "a text was returned although the request failed"
        );
    }
}
