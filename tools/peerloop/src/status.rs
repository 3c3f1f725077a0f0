//! A loop's status as text for people: a line that is updated each second, and a summary at the end.

use crate::units::{counted, show_bytes, show_seconds};
use peerloop::Handle;
use peerloop::api::{Pending, Stats};
use peerloop::histogram::Counters;
use std::time::Duration;

/// The interval between two status lines.
pub(crate) const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// A watch over a loop: requests its statistics, and keeps the previous ones.
#[derive(Debug)]
pub(crate) struct Watch {
    before: Stats,
    pending: Option<Pending<Stats>>,
}

/// A counter whose rate is shown, with its label.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown(pub(crate) &'static str, pub(crate) fn(&Counters) -> u64);

impl Watch {
    /// Requests the statistics for the first time.
    pub(crate) fn new<C>(handle: &Handle<C>) -> Self {
        Self { before: Stats::default(), pending: handle.stats().ok() }
    }

    /// Returns the status line if the loop has replied to the previous request: the text of `state`, followed by the
    /// rates of `shown` and of the bytes in and out. Requests the statistics again in any case.
    pub(crate) fn line<C>(
        &mut self,
        handle: &Handle<C>,
        state: impl FnOnce(&Stats) -> String,
        shown: &[Shown],
    ) -> Option<String> {
        let answer = self.pending.take().and_then(|pending| pending.try_take().ok().flatten());
        self.pending = handle.stats().ok();
        let now = answer?;
        let text = state(&now) + &rates(&now, &self.before, shown);
        self.before = now;
        Some(text)
    }
}

/// Maximum time to wait for a loop's reply after a signal has asked the program to end.
const MAX_ANSWER: Duration = Duration::from_secs(1);

/// Waits for a reply for at most a second, because the loop may hang. Returns `None` if none has arrived.
pub(crate) fn wait_for<T>(mut pending: Pending<T>) -> Option<T> {
    pending.wait_timeout(MAX_ANSWER).ok().flatten()
}

/// Returns the reply to a request if it has arrived. Keeps the request if its reply may still arrive.
pub(crate) fn take_reply<T>(pending: &mut Option<Pending<T>>) -> Option<T> {
    let reply = pending.as_ref()?.try_take();
    if !matches!(reply, Ok(None)) {
        *pending = None;
    }
    reply.ok().flatten()
}

fn rates(now: &Stats, before: &Stats, shown: &[Shown]) -> String {
    let seconds = now.uptime.saturating_sub(before.uptime).as_secs_f64();
    let per_second = |of: fn(&Counters) -> u64| {
        let rate = of(&now.counters).saturating_sub(of(&before.counters)) as f64 / seconds;
        if rate.is_finite() { rate.round() as u64 } else { 0 }
    };
    let mut text: String = shown.iter().map(|&Shown(what, of)| format!("  {what} {}/s", per_second(of))).collect();
    for Shown(what, of) in
        [Shown("in", |counters| counters.bytes_received), Shown("out", |counters| counters.bytes_sent)]
    {
        text += &format!("  {what} {}/s", show_bytes(per_second(of)));
    }
    text
}

/// Formats the totals: the word `verb`, the uptime, the text `done`, the further streams if there were any, and the
/// bytes in and out.
pub(crate) fn summary(verb: &str, uptime: Duration, done: &str, counters: &Counters) -> String {
    let streams = match counters.streams_opened + counters.stream_failures {
        0 => String::new(),
        _ => format!(
            ", {} opened and {} failed",
            counted(counters.streams_opened, "second stream"),
            counters.stream_failures
        ),
    };
    format!(
        "{verb} {}: {done}{streams}, in {}, out {}\n",
        show_seconds(uptime),
        show_bytes(counters.bytes_received),
        show_bytes(counters.bytes_sent)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: [Shown; 1] = [Shown("frames", |counters| counters.frames_received)];

    fn stats(uptime_secs: u64, frames: u64, bytes: u64) -> Stats {
        let mut stats = Stats::default();
        stats.uptime = Duration::from_secs(uptime_secs);
        (stats.counters.frames_received, stats.counters.bytes_received) = (frames, bytes);
        stats
    }

    #[test]
    fn rates_cover_the_time_since_the_previous_line() {
        let text = rates(&stats(14, 130, 4_096), &stats(10, 100, 0), &SHOWN);
        assert_eq!(text, "  frames 8/s  in 1.0 KiB/s  out 0 B/s");
    }

    #[test]
    fn a_line_at_the_same_uptime_as_the_previous_line_shows_zero_rates() {
        assert_eq!(rates(&stats(3, 9, 9), &stats(3, 0, 0), &SHOWN), "  frames 0/s  in 0 B/s  out 0 B/s");
    }
}
