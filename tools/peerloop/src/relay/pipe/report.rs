//! A pipe's report as text: the status line, the lines about changes, and the closing summary.

use crate::status;
use crate::units::{counted, show_bytes, show_latency};
use peerloop::api::Stats;
use peerloop::histogram::LatencySummary;
use peerloop::relay::pipe::{HopKind, HopSummary, PipeReport, SideReport, SideState};
use std::time::Duration;

/// Returns the state of both sides and the hop of transactions from arrival, for the status line.
pub(super) fn state(report: &PipeReport) -> String {
    let sides: Vec<String> = report.sides.iter().map(|side| format!("{} {}", side.side, side.state)).collect();
    let hop = report.hops.iter().find(|hop| hop.kind == HopKind::Tx).or_else(|| report.hops.first());
    let hop = hop.map_or_else(String::new, |hop| {
        format!("  {} hop p50 {} p99 {}", hop.kind.label(), latency(hop.arrived.p50), latency(hop.arrived.p99))
    });
    sides.join("  ") + &hop
}

/// Returns a line for each side that became ready, was lost, or has another problem than before.
pub(super) fn changes(before: Option<&PipeReport>, now: &PipeReport) -> Vec<String> {
    let change = |side: &SideReport| {
        let before = before.map(|report| report.side(side.side));
        let is_ready = side.state == SideState::Ready;
        let was_ready = before.is_some_and(|before| before.state == SideState::Ready);
        let has_reconnected = before.is_some_and(|before| before.connects != side.connects);
        let is_lost = was_ready && !is_ready;
        let former = before.and_then(|before| before.problem);
        let problem = side.problem.filter(|problem| is_lost || former != Some(*problem));
        if is_ready && (!was_ready || has_reconnected) {
            let agent = side.user_agent.as_deref().unwrap_or_default();
            return Some(format!("{} is ready: {} {agent}", side.side, side.address));
        }
        problem.map(|problem| format!("{} is {}: {}: {problem}", side.side, side.state, side.address))
    };
    now.sides.iter().filter_map(change).collect()
}

/// Returns the closing summary.
pub(super) fn summary(report: &PipeReport, stats: &Stats, uptime: Duration) -> String {
    let [one, two] = report.sides.each_ref().map(|side| side.forwarded.total());
    let done = format!(
        "A to B {} of {}, B to A {} of {}",
        counted(one.messages, "message"),
        show_bytes(one.payload_bytes),
        counted(two.messages, "message"),
        show_bytes(two.payload_bytes)
    );
    let mut text = status::summary("relayed", uptime, &done, &stats.counters);
    for side in &report.sides {
        let commands: Vec<String> = side
            .forwarded
            .iter()
            .filter(|(_, count)| count.messages > 0)
            .map(|(command, count)| {
                let name = command.map_or_else(|| "others".to_owned(), |command| command.to_string());
                format!("{name} {}", count.messages)
            })
            .collect();
        let commands = if commands.is_empty() { "nothing".to_owned() } else { commands.join(", ") };
        text += &format!(
            "from {} {}: {commands}; withheld {}, lost {}, connects {}\n",
            side.side,
            side.address,
            side.withheld.total().messages,
            side.lost.total().messages,
            side.connects
        );
    }
    let counts = report.counts;
    text += &format!(
        "replays {}, notfounds {}, closed after a loss {}, closed alone {}\n",
        counts.replays, counts.notfounds, counts.closed_after_loss, counts.closed_alone
    );
    report.hops.iter().for_each(|hop| text += &hop_lines(hop));
    text
}

/// Returns both views of a hop: from the moment of the read, and from the earliest possible arrival in the kernel.
fn hop_lines(hop: &HopSummary) -> String {
    let line = |view: &str, summary: &LatencySummary| {
        format!(
            "pipe_hop{{command={}}} from {view}: {} samples, p50 {}, p99 {}, max {}\n",
            hop.kind.label(),
            summary.count,
            latency(summary.p50),
            latency(summary.p99),
            latency(summary.max)
        )
    };
    let unmeasured = match hop.unmeasured {
        0 => String::new(),
        count => format!("pipe_hop{{command={}}}: {count} not measured\n", hop.kind.label()),
    };
    line("read", &hop.read) + &line("arrival", &hop.arrived) + &unmeasured
}

fn latency(latency: Option<Duration>) -> String {
    latency.map_or_else(|| "-".to_owned(), show_latency)
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::relay::pipe::{Pipe, PipeProblem, Side};
    use peerloop::time::Instant;

    fn report() -> PipeReport {
        let addresses = ["127.0.0.1:1", "127.0.0.1:2"].map(|address| vec![address.parse().unwrap()]);
        Pipe::new(addresses).report(Instant::ZERO)
    }

    #[test]
    fn a_change_is_described_once() {
        let (before, mut now) = (report(), report());
        assert_eq!(changes(None, &before), [""; 0]);
        now.sides[1].problem = Some(PipeProblem::Alone);
        let expected = "B is waiting: 127.0.0.1:2: the other node was not ready in time";
        assert_eq!(changes(Some(&before), &now), [expected]);
        assert_eq!(changes(Some(&now), &now), [""; 0]);
        let lost = now.clone();
        now.sides[1].state = SideState::Ready;
        now.sides[1].user_agent = Some("/node/".to_owned());
        assert_eq!(changes(Some(&lost), &now), ["B is ready: 127.0.0.1:2 /node/"]);
        assert_eq!(now.side(Side::B).connects, 0);
        // The node is lost again for the same reason.
        assert_eq!(changes(Some(&now), &lost), [expected]);
    }

    #[test]
    fn the_summary_of_a_pipe_without_traffic_has_no_hops() {
        let text = summary(&report(), &Stats::default(), Duration::from_secs(2));
        assert!(text.starts_with("relayed 2 s: A to B 0 messages of 0 B, B to A 0 messages of 0 B, in"), "{text}");
        assert!(text.contains("from A 127.0.0.1:1: nothing; withheld 0, lost 0, connects 0\n"), "{text}");
        assert!(!text.contains("pipe_hop"), "{text}");
        assert_eq!(state(&report()), "A waiting  B waiting");
    }
}
