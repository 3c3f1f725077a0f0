//! The findings of a probe as text for people or as JSON.

use super::{Findings, PINGS};
use crate::exit::Exit;
use crate::output::json::{self, SCHEMA, Tool, nanos, pretty};
use crate::targets::Target;
use crate::units::{show_bytes, show_latency};
use peerloop::Network;
use peerloop::peer::StreamPolicy;
use peerloop::protocol::{SERVICE_BITCOIN_CASH, SERVICE_NETWORK};
use peerloop::wire::Version;
use serde::Serialize;
use std::net::SocketAddr;
use std::time::Duration;

/// Service bits with a known meaning.
const SERVICES: [(u64, &str); 6] = [
    (SERVICE_NETWORK, "serves the whole chain"),
    (0x02, "answers getutxos"),
    (0x04, "supports bloom filters"),
    (0x10, "supports thin blocks"),
    (SERVICE_BITCOIN_CASH, "Bitcoin Cash or Bitcoin SV"),
    (0x400, "serves recent blocks only"),
];

#[derive(Debug, Serialize)]
struct Document<'a> {
    schema: u32,
    tool: Tool,
    target: Probed<'a>,
    steps: Vec<Step>,
    pings_ns: Vec<u64>,
    peer: Option<Peer>,
    rejects: &'a [String],
    exit: json::Exit,
}

#[derive(Debug, Serialize)]
struct Probed<'a> {
    name: &'a str,
    addr: String,
    addresses: Vec<Outcome>,
    network: &'static str,
}

/// An address, and the outcome of connecting to it.
#[derive(Debug, Serialize)]
struct Outcome {
    addr: String,
    outcome: String,
}

#[derive(Debug, Serialize)]
struct Step {
    name: &'static str,
    ns: u64,
}

#[derive(Debug, Serialize)]
struct Peer {
    agent: String,
    protocol: i32,
    /// A string, because the services may use all 64 bits. The clock offset is a string for the same reason.
    services: String,
    services_text: String,
    height: Option<i32>,
    clock_offset_s: Option<String>,
    relay: bool,
    max_recv_payload_bytes: Option<u32>,
    stream_policies: Option<String>,
    stream_policy: Option<&'static str>,
    streams: Vec<&'static str>,
    stream_failure: Option<String>,
    send_headers: bool,
}

/// Formats the findings for people.
pub(super) fn text(target: &Target, network: Network, findings: &Findings) -> String {
    let mut lines = vec![format!("probe {} on {network}", target.name), String::new()];
    let outcomes = outcomes(target, findings);
    let resolve = format!("{:<12}{:>9}   ", "resolve", show_latency(findings.resolve));
    match outcomes.as_slice() {
        [only] => lines.push(resolve + &only.addr),
        all => {
            lines.push(resolve + &format!("{} addresses", all.len()));
            lines.extend(all.iter().map(|one| format!("{:<24}{}: {}", "", one.addr, one.outcome)));
        }
    }
    if let Some(connect) = findings.connect {
        lines.push(format!("{:<12}{:>9}", "connect", show_latency(connect)));
    }
    if let Some(version) = findings.version_after {
        lines.push(format!("{:<12}{:>9}   ours sent, theirs received", "version", show_latency(version)));
    }
    if let Some(verack) = findings.verack_after {
        let remark = if verack.is_zero() { "arrived with the version: " } else { "" };
        lines.push(format!("{:<12}{:>9}   {remark}the handshake is complete", "verack", show_latency(verack)));
    }
    for (index, ping) in findings.pings.iter().enumerate() {
        lines.push(format!("{:<12}{:>9}", format!("ping {}", index + 1), show_latency(*ping)));
    }
    if !findings.pings.is_empty() {
        lines.push(format!("{:<12}{}", "pings", ping_summary(&findings.pings)));
    }
    if let Some(version) = &findings.version {
        lines.push(String::new());
        lines.extend(peer_lines(version, findings));
    }
    lines.extend(findings.rejects.iter().map(|reject| format!("{:<12}{reject}", "reject")));
    lines.join("\n") + "\n"
}

/// Returns the outcome of each address of the target.
fn outcomes(target: &Target, findings: &Findings) -> Vec<Outcome> {
    let tried = findings.unreached.len();
    let outcome = |(index, address): (usize, &SocketAddr)| Outcome {
        addr: address.to_string(),
        outcome: match findings.unreached.get(index) {
            Some((_, reason)) => reason.to_string(),
            None if index > tried => "not tried".to_owned(),
            None if findings.connect.is_some() => "connected".to_owned(),
            None => "not connected".to_owned(),
        },
    };
    target.addresses.iter().enumerate().map(outcome).collect()
}

/// Formats the findings for programs.
pub(super) fn json(target: &Target, network: Network, findings: &Findings, exit: Exit) -> String {
    let step = |name, duration: Option<Duration>| duration.map(|duration| Step { name, ns: nanos(duration) });
    let steps = [
        step("resolve", Some(findings.resolve)),
        step("connect", findings.connect),
        step("version", findings.version_after),
        step("verack", findings.verack_after),
    ];
    let peer = findings.version.as_ref().map(|version| Peer {
        agent: version.printable_user_agent(),
        protocol: version.protocol_version,
        services: version.services.to_string(),
        services_text: services(version.services),
        height: version.start_height,
        clock_offset_s: findings.clock_offset_secs.map(|seconds| seconds.to_string()),
        relay: version.relays(),
        max_recv_payload_bytes: findings.max_recv_payload_bytes,
        stream_policies: findings.stream_policies.clone(),
        stream_policy: findings.stream_policy.map(StreamPolicy::name),
        streams: findings.streams.iter().map(|stream| stream.name()).collect(),
        stream_failure: findings.stream_failure.clone(),
        send_headers: findings.send_headers,
    });
    pretty(&Document {
        schema: SCHEMA,
        tool: Tool::THIS,
        target: Probed {
            name: &target.name,
            addr: findings.address(target).to_string(),
            addresses: outcomes(target, findings),
            network: network.name(),
        },
        steps: steps.into_iter().flatten().collect(),
        pings_ns: findings.pings.iter().copied().map(nanos).collect(),
        peer,
        rejects: &findings.rejects,
        exit: json::Exit {
            code: exit.code(),
            reason: findings.failed.clone().unwrap_or_else(|| "finished".to_owned()),
        },
    })
}

fn ping_summary(pings: &[Duration]) -> String {
    let mut sorted = pings.to_vec();
    sorted.sort_unstable();
    let [first, .., last] = sorted[..] else { return format!("{} of {PINGS} answered", pings.len()) };
    format!(
        "{} of {PINGS} answered   min {}   median {}   max {}",
        pings.len(),
        show_latency(first),
        show_latency(sorted[sorted.len() / 2]),
        show_latency(last)
    )
}

fn peer_lines(version: &Version, findings: &Findings) -> Vec<String> {
    let agent = match version.printable_user_agent() {
        agent if agent.is_empty() => "(none)".to_owned(),
        agent => agent,
    };
    let mut facts = vec![
        ("user agent", agent),
        ("protocol", version.protocol_version.to_string()),
        ("services", format!("{:#x}: {}", version.services, services(version.services))),
    ];
    facts.extend(version.start_height.map(|height| ("height", height.to_string())));
    facts.extend(findings.clock_offset_secs.map(|offset| ("clock", clock(offset))));
    let relays = if version.relays() { "wants transactions announced" } else { "wants no transactions announced" };
    facts.push(("relay", relays.to_owned()));
    facts.extend(
        findings
            .max_recv_payload_bytes
            .map(|bytes| ("protoconf", format!("accepts messages of up to {}", show_bytes(u64::from(bytes))))),
    );
    facts.extend(streams(findings).map(|text| ("streams", text)));
    facts.extend(findings.stream_policies.clone().map(|names| ("policies", names)));
    if findings.send_headers {
        facts.push(("sendheaders", "wants new blocks announced by their headers".to_owned()));
    }
    facts.into_iter().map(|(name, fact)| format!("{name:<12}{fact}")).collect()
}

/// Describes the peer's open TCP streams; `None` before the first pong.
fn streams(findings: &Findings) -> Option<String> {
    let names: Vec<&str> = findings.streams.iter().map(|stream| stream.name()).collect();
    let remark = match (&findings.stream_failure, findings.stream_policy) {
        (Some(failure), _) => format!("; no second stream: {failure}"),
        (None, Some(policy)) => format!(" with the policy {}", policy.name()),
        (None, None) => String::new(),
    };
    (!names.is_empty()).then(|| names.join(", ") + &remark)
}

fn services(bits: u64) -> String {
    let mut words: Vec<String> =
        SERVICES.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, word)| (*word).to_owned()).collect();
    let rest = SERVICES.iter().fold(bits, |rest, (bit, _)| rest & !bit);
    if rest != 0 {
        words.push(format!("others {rest:#x}"));
    }
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn clock(offset_secs: i64) -> String {
    match offset_secs {
        0 => "same as ours".to_owned(),
        1.. => format!("{offset_secs} s ahead of ours"),
        _ => format!("{} s behind ours", offset_secs.unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_bits_are_shown_in_words() {
        assert_eq!(services(0x21), "serves the whole chain, Bitcoin Cash or Bitcoin SV");
        assert_eq!(services(0), "none");
        assert_eq!(services(1 << 63 | 1), "serves the whole chain, others 0x8000000000000000");
    }

    #[test]
    fn any_clock_offset_can_be_shown() {
        assert_eq!(clock(0), "same as ours");
        assert_eq!(clock(i64::MAX), "9223372036854775807 s ahead of ours");
        assert_eq!(clock(i64::MIN), "9223372036854775808 s behind ours");
    }

    #[test]
    fn the_pings_are_summarised() {
        let pings: Vec<Duration> = (1..=10).rev().map(Duration::from_micros).collect();
        assert_eq!(ping_summary(&pings), "10 of 10 answered   min 1.0 us   median 6.0 us   max 10 us");
        assert_eq!(ping_summary(&pings[..1]), "1 of 10 answered");
    }
}
