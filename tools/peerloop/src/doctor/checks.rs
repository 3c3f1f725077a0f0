//! The checks of `doctor`. Each check uses some of the facts to decide whether the machine suffices for the wanted
//! peers. A verdict depends only on the facts, the number of peers and their network.

use super::facts::{Clock, Facts};
use super::{Finding, Verdict, Wanted};
use crate::machine::Need;
use crate::units::{show_bytes, show_latency};
use peerloop::limits::{LISTEN_BACKLOG, MAX_ROW_BYTES, MAX_USER_AGENT_BYTES, UNREAD_REPLIES_PAUSE_BYTES};
use peerloop::wire::Version;
use std::io::ErrorKind;
use std::time::Duration;

/// Maximum number of inbound peers of an SV Node by default (SV Node 1.2.2: net.h, init.cpp, compat.h).
const SV_NODE_PEERS: usize = 116;
/// Maximum number of inbound peers of an SV Node with the highest setting.
const MAX_SV_NODE_PEERS: usize = 856;
/// Maximum duration of one read of a good clock. A read that enters the kernel lasts longer than this. Any other read
/// lasts about a tenth of this.
const MAX_CLOCK_READ: Duration = Duration::from_nanos(250);
/// Maximum step of a good clock, because latencies are shown in microseconds.
const MAX_CLOCK_STEP: Duration = Duration::from_micros(1);
/// The need of a process that has one end of each connection, such as `serve` and `run`.
const ACCEPT: Need = Need::Accept { listeners: 1 };
/// A wall clock before this time is wrong, because this program was written later.
const WALL_CLOCK_MIN_UNIX_SECS: i64 = 1_700_000_000;
/// The last second of the year 9999; later years do not have four digits.
const WALL_CLOCK_MAX_UNIX_SECS: i64 = 253_402_300_799;
/// If this side closes a connection first, the connection keeps its port for this time (Linux, TCP_TIMEWAIT_LEN).
const TIME_WAIT_SECS: u64 = 60;
/// Memory of a link besides its row and its peer's `version`, in bytes: its timer in the wheel, with the wheel's spare
/// room, and its list entries.
const BESIDE_ROW_BYTES: u64 = 64;

/// Returns the findings of all checks, in the order of the report.
pub(super) fn all(facts: &Facts, wanted: Wanted) -> Vec<Finding> {
    let findings = [
        descriptors(facts, wanted),
        system_files(facts, wanted),
        ports(facts, wanted),
        time_wait(facts),
        backlog(facts),
        half_open(facts),
        tracking(facts, wanted),
        listening(facts, wanted),
        options(facts),
        clock(&facts.clock),
        wall_clock(&facts.clock),
        memory(facts, wanted),
        tcp_memory(facts, wanted),
        cpus(facts),
        nodes(wanted),
    ];
    findings.into_iter().flatten().collect()
}

fn finding(name: &'static str, verdict: Verdict, value: impl Into<String>, means: impl Into<String>) -> Finding {
    Finding { name, verdict, value: value.into(), means: means.into(), change: None }
}

impl Finding {
    fn change(self, change: impl Into<String>) -> Self {
        Self { change: Some(change.into()), ..self }
    }
}

fn unknown(name: &'static str, means: &str) -> Finding {
    finding(name, Verdict::Unknown, "the system does not report it", means)
}

fn descriptors(facts: &Facts, Wanted { peers, .. }: Wanted) -> Option<Finding> {
    const NAME: &str = "descriptors";
    let needed = |need| facts.machine.descriptors_needed(peers, need);
    let (one_end, both_ends) = (needed(ACCEPT), needed(Need::BothEnds { streams: 1 }));
    let has = facts.machine.descriptors;
    let value = match facts.descriptor_limits {
        Some((soft, hard)) => format!("soft limit {soft}, hard limit {hard}"),
        None => format!("{has} by default"),
    };
    let highest = facts.descriptors_highest.filter(|highest| *highest < one_end);
    let fits = facts.machine.max_peers(ACCEPT);
    Some(if one_end > has {
        let means = format!("{peers} peers need {one_end}, but this process may have {has}: enough for {fits} peers");
        finding(NAME, Verdict::Problem, value, means).change(match highest {
            Some(_) => {
                format!("sysctl -w fs.nr_open={one_end} && ulimit -Hn {one_end}, both as root, before peerloop starts")
            }
            None => {
                format!("ulimit -Hn {one_end} as root, or LimitNOFILE={one_end} in the unit, before peerloop starts")
            }
        })
    } else if both_ends > has {
        let means = format!(
            "{peers} peers need {one_end}; peerloop raises the soft limit itself. Only `bench` without a target has \
             both ends here, and would need {both_ends}"
        );
        finding(NAME, Verdict::Ok, value, means)
    } else {
        let means = format!(
            "{peers} peers need {one_end}, with both ends here {both_ends}; peerloop raises the soft limit itself"
        );
        finding(NAME, Verdict::Ok, value, means)
    })
}

fn system_files(facts: &Facts, Wanted { peers, .. }: Wanted) -> Option<Finding> {
    let (open, most) = facts.system_files?;
    let needed = open.saturating_add(facts.machine.descriptors_needed(peers, ACCEPT));
    // The default of a 64-bit kernel is no limit.
    let value =
        if most > i64::MAX as u64 / 2 { format!("{open} open, no limit") } else { format!("{open} of {most} open") };
    Some(match needed <= most {
        true => finding("system files", Verdict::Ok, value, "enough for all processes together"),
        false => {
            finding("system files", Verdict::Problem, value, format!("with {peers} peers there would be {needed}"))
                .change(format!("sysctl -w fs.file-max={}", needed.saturating_mul(2)))
        }
    })
}

fn ports(facts: &Facts, Wanted { peers, .. }: Wanted) -> Option<Finding> {
    const NAME: &str = "local ports";
    let Some((ports, (first, last))) = facts.machine.port_count().zip(facts.machine.ports) else {
        return Some(unknown(NAME, "they limit the connections to one address; see --source-ip"));
    };
    let value = format!("{ports} ({first} to {last})");
    if peers as u64 <= ports {
        let means = format!("{ports} connections to each target, from each source address");
        return Some(finding(NAME, Verdict::Ok, value, means));
    }
    let sources = (peers as u64).div_ceil(ports);
    let means = format!("{ports} connections to one target; accepted peers need no port");
    Some(finding(NAME, Verdict::Warning, value, means).change(format!(
        "dial several targets, use {sources} addresses with --source-ip, or sysctl -w \
         net.ipv4.ip_local_port_range=\"1024 65535\""
    )))
}

fn time_wait(facts: &Facts) -> Option<Finding> {
    const NAME: &str = "TIME_WAIT";
    let reuse = facts.time_wait_reuse?;
    let ports = facts.machine.port_count()?;
    let held = facts.time_wait.unwrap_or(0);
    let per_second = ports / TIME_WAIT_SECS;
    let value = format!("{held} sockets, tcp_tw_reuse {reuse}");
    let slow = format!(
        "the side that closes first keeps the port for {TIME_WAIT_SECS} s, so at most {per_second} new connections a \
         second"
    );
    Some(match reuse {
        0 => finding(NAME, Verdict::Warning, value, format!("{slow} to one target"))
            .change("sysctl -w net.ipv4.tcp_tw_reuse=1"),
        1 => finding(
            NAME,
            Verdict::Ok,
            value,
            "a dial reuses the port of a connection that was closed at least a second ago",
        ),
        _ => finding(NAME, Verdict::Ok, value, format!("reused on loopback; elsewhere {slow} to one target")),
    })
}

fn backlog(facts: &Facts) -> Option<Finding> {
    const NAME: &str = "listen backlog";
    let Some(backlog) = facts.machine.backlog else {
        return Some(unknown(NAME, "it limits the connections that wait to be accepted in a burst"));
    };
    let wanted = LISTEN_BACKLOG as u32;
    Some(match backlog >= wanted {
        true => finding(NAME, Verdict::Ok, format!("{backlog}"), format!("peerloop requests {wanted}")),
        false => finding(
            NAME,
            Verdict::Warning,
            format!("{backlog}"),
            format!("in a burst, {backlog} connections wait; the others are a second late or fail"),
        )
        .change(format!("sysctl -w net.core.somaxconn={wanted}")),
    })
}

fn half_open(facts: &Facts) -> Option<Finding> {
    const NAME: &str = "SYN backlog";
    let (most, cookies) = facts.max_half_open.zip(facts.syn_cookies)?;
    Some(match (cookies, most >= LISTEN_BACKLOG as u64) {
        (0, false) => finding(
            NAME,
            Verdict::Warning,
            format!("{most}, no SYN cookies"),
            format!("in a burst, half-open connections above {most} are dropped"),
        )
        .change("sysctl -w net.ipv4.tcp_syncookies=1"),
        (0, true) => finding(NAME, Verdict::Ok, format!("{most}, no SYN cookies"), "enough for the listen backlog"),
        _ => finding(NAME, Verdict::Ok, format!("{most}, then SYN cookies"), "no connection in a burst is lost"),
    })
}

fn tracking(facts: &Facts, Wanted { peers, .. }: Wanted) -> Option<Finding> {
    const NAME: &str = "conntrack";
    let (followed, most) = facts.tracked?;
    // On loopback, and after peers restart, a connection counts twice for a few minutes.
    let needed = followed.saturating_add((peers as u64).saturating_mul(2));
    let value = format!("the packet filter tracks {followed} of {most} connections");
    Some(match needed <= most {
        true => finding(NAME, Verdict::Ok, value, "it has room for all connections"),
        false => finding(
            NAME,
            Verdict::Warning,
            value,
            format!("if it also tracks peerloop's connections, there may be {needed}; those above {most} are dropped"),
        )
        .change(format!("sysctl -w net.netfilter.nf_conntrack_max={needed}")),
    })
}

fn listening(facts: &Facts, Wanted { network, .. }: Wanted) -> Option<Finding> {
    const NAME: &str = "network port";
    let port = network.default_port();
    let value = format!("{port} of {network}");
    let warning = |means: &str| finding(NAME, Verdict::Warning, value.clone(), means);
    Some(match &facts.port {
        Ok(()) => finding(NAME, Verdict::Ok, value, "free to listen on"),
        Err((ErrorKind::AddrInUse, _)) => warning("in use: another program listens on it")
            .change(format!("stop the other program (ss -ltnp 'sport = :{port}'), or use --listen with another port")),
        Err((ErrorKind::PermissionDenied, _)) => {
            warning("this user may not listen on it").change("use --listen with another port, or permit this one")
        }
        Err((_, error)) => {
            finding(NAME, Verdict::Unknown, value, format!("an attempt to listen on it failed: {error}"))
        }
    })
}

fn options(facts: &Facts) -> Option<Finding> {
    const NAME: &str = "socket options";
    let texts: Vec<String> = facts.refused_options.iter().map(ToString::to_string).collect();
    let names: Vec<&str> = facts.refused_options.iter().map(|refused| refused.option.name()).collect();
    Some(match texts.is_empty() {
        true => finding(NAME, Verdict::Ok, "all can be set", "the system accepts every option that peerloop sets"),
        false => finding(NAME, Verdict::Warning, names.join(", "), texts.join("; "))
            .change("run peerloop on another kernel, or outside the sandbox"),
    })
}

fn clock(clock: &Clock) -> Option<Finding> {
    const NAME: &str = "clock";
    let Clock { source, read, step, .. } = clock;
    let name = source.as_ref().map_or("unknown source", |(current, _)| current);
    let value = format!("{name}, {} per read, steps of {}", show_latency(*read), show_latency(*step));
    let is_good = *read <= MAX_CLOCK_READ && *step <= MAX_CLOCK_STEP;
    if is_good {
        return Some(finding(NAME, Verdict::Ok, value, "latencies are exact to the microsecond"));
    }
    let means = "the clock is read several times for each message, and limits the resolution of latencies";
    let finding = finding(NAME, Verdict::Warning, value, means);
    Some(match source {
        Some((current, available)) if current != "tsc" && available.split(' ').any(|name| name == "tsc") => {
            finding.change("echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource, as root")
        }
        Some(_) | None => finding.change("run peerloop on another machine, or use an optimised build"),
    })
}

fn wall_clock(clock: &Clock) -> Option<Finding> {
    const NAME: &str = "wall clock";
    let change = "check it with date -u, and set it: timedatectl set-ntp true";
    let time = clock.unix.to_string();
    Some(match (WALL_CLOCK_MIN_UNIX_SECS..=WALL_CLOCK_MAX_UNIX_SECS).contains(&clock.unix.as_secs()) {
        true => finding(NAME, Verdict::Ok, time, "it is sent to peers; only other clocks show whether it is right"),
        false => {
            let value = format!("{time}, which is wrong");
            finding(NAME, Verdict::Warning, value, "it is sent to peers, and determines when bans end").change(change)
        }
    })
}

fn memory(facts: &Facts, Wanted { peers, .. }: Wanted) -> Option<Finding> {
    const NAME: &str = "memory";
    let per_peer = (MAX_ROW_BYTES + size_of::<Version>() + MAX_USER_AGENT_BYTES) as u64 + BESIDE_ROW_BYTES;
    let idle = per_peer.saturating_mul(peers as u64);
    let held = (UNREAD_REPLIES_PAUSE_BYTES as u64).saturating_mul(peers as u64);
    let means = format!(
        "{peers} idle peers need at most {} besides kernel memory, and {} more if none of them reads its replies",
        show_bytes(idle),
        show_bytes(held)
    );
    let Some(available) = facts.memory_bytes else { return Some(unknown(NAME, &means)) };
    let value = format!("{} available", show_bytes(available));
    Some(match idle <= available {
        true => finding(NAME, Verdict::Ok, value, means),
        false => finding(NAME, Verdict::Problem, value, means)
            .change(format!("use at most {} peers, or a machine with more memory", available / per_peer)),
    })
}

fn tcp_memory(facts: &Facts, Wanted { peers, .. }: Wanted) -> Option<Finding> {
    let pages = facts.max_tcp_pages?;
    let needed = peers as u64;
    let value = format!("{pages} pages");
    Some(match needed <= pages {
        true => finding("TCP memory", Verdict::Ok, value, "the kernel has a page for each peer's data in flight"),
        false => finding(
            "TCP memory",
            Verdict::Warning,
            value,
            "if every peer has data in flight, the kernel lacks pages and drops packets",
        )
        .change(format!(
            "sysctl -w net.ipv4.tcp_mem=\"{} {} {}\"",
            needed,
            needed.saturating_mul(2),
            needed.saturating_mul(4)
        )),
    })
}

fn cpus(facts: &Facts) -> Option<Finding> {
    Some(match facts.machine.cpus {
        1 => finding(
            "CPUs",
            Verdict::Warning,
            "1",
            "a loop shares the CPU with the kernel's work, and two loops share it in `bench` without a target",
        )
        .change("for trustworthy latencies, use a machine with two or more CPUs"),
        cpus => finding(
            "CPUs",
            Verdict::Ok,
            format!("{cpus}"),
            "one loop uses one CPU; `bench` without a target runs two loops",
        ),
    })
}

fn nodes(Wanted { peers, .. }: Wanted) -> Option<Finding> {
    let means =
        format!("one SV Node accepts {SV_NODE_PEERS} peers by default, {MAX_SV_NODE_PEERS} with -maxconnections=1000");
    Some(match peers <= SV_NODE_PEERS {
        true => finding("target", Verdict::Ok, format!("{peers} peers"), means),
        false => finding(
            "target",
            Verdict::Ok,
            format!("{peers} peers"),
            format!("{means}; `peerloop serve` accepts as many as the descriptors allow"),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use peerloop::Network;
    use peerloop::error::{RefusedOption, SocketOption};
    use peerloop::time::UnixTime;
    use std::io;

    const GIB: u64 = 1 << 30;

    fn no_user_timeout() -> RefusedOption {
        RefusedOption::new(SocketOption::UserTimeout, &io::Error::from_raw_os_error(92))
    }

    fn facts() -> Facts {
        Facts {
            machine: Machine {
                descriptors: 20_000,
                ports: Some((32_768, 60_999)),
                backlog: Some(4_096),
                cpus: 2,
                load_hundredths: None,
            },
            descriptor_limits: Some((1_024, 20_000)),
            system_files: Some((1_000, 2_000_000)),
            descriptors_highest: Some(1_048_576),
            time_wait: Some(3),
            time_wait_reuse: Some(1),
            max_half_open: Some(2_048),
            syn_cookies: Some(1),
            tracked: Some((10, 262_144)),
            clock: Clock {
                source: Some(("tsc".to_owned(), "tsc hpet acpi_pm".to_owned())),
                read: Duration::from_nanos(25),
                step: Duration::from_nanos(20),
                unix: UnixTime::from_secs(1_800_000_000),
            },
            memory_bytes: Some(4 * GIB),
            max_tcp_pages: Some(500_000),
            port: Ok(()),
            refused_options: Vec::new(),
        }
    }

    fn wanted(peers: usize) -> Wanted {
        Wanted { peers, network: Network::Regtest }
    }

    fn none_known() -> Facts {
        Facts {
            machine: Machine { descriptors: 20_000, ports: None, backlog: None, cpus: 2, load_hundredths: None },
            descriptor_limits: None,
            system_files: None,
            descriptors_highest: None,
            time_wait: None,
            time_wait_reuse: None,
            max_half_open: None,
            syn_cookies: None,
            tracked: None,
            clock: Clock { source: None, ..facts().clock },
            memory_bytes: None,
            max_tcp_pages: None,
            port: Ok(()),
            refused_options: Vec::new(),
        }
    }

    /// Returns the name and the verdict of every finding that is not `Ok`. Asserts that all warnings and problems,
    /// and no other findings, suggest a change.
    fn faults(facts: &Facts, peers: usize) -> Vec<(&'static str, Verdict)> {
        let findings = all(facts, wanted(peers));
        for finding in &findings {
            let has_change = finding.change.is_some();
            let is_fine = matches!(finding.verdict, Verdict::Ok | Verdict::Unknown);
            assert_eq!(has_change, !is_fine, "a change is missing or superfluous: {finding:?}");
        }
        let faulty = findings.iter().filter(|finding| finding.verdict != Verdict::Ok);
        faulty.map(|finding| (finding.name, finding.verdict)).collect()
    }

    #[test]
    fn a_good_machine_has_nothing_to_change() {
        assert_eq!(faults(&facts(), 1), []);
        assert_eq!(faults(&facts(), 9_984), []);
    }

    #[test]
    fn facts_that_the_system_does_not_report_cause_no_warning_and_no_problem() {
        let unknown = ["local ports", "listen backlog", "memory"].map(|name| (name, Verdict::Unknown));
        assert_eq!(faults(&none_known(), 100), unknown);
    }

    #[test]
    fn the_verdict_on_descriptors_changes_at_the_exact_number_of_peers() {
        assert_eq!(faults(&facts(), 9_985), [], "the check assumed both ends of each connection");
        assert_eq!(faults(&facts(), 19_903), []);
        assert_eq!(faults(&facts(), 19_904), [("descriptors", Verdict::Problem)]);
        let change =
            |peers| descriptors(&facts(), wanted(peers)).and_then(|finding| finding.change).unwrap_or_default();
        assert!(change(19_904).starts_with("ulimit -Hn 20001 as root"), "{}", change(19_904));
        assert!(change(2_000_000).starts_with("sysctl -w fs.nr_open=2000097 &&"), "{}", change(2_000_000));
    }

    #[test]
    fn each_fault_changes_exactly_one_verdict() {
        type Fault = (&'static str, Verdict, fn(&mut Facts));
        let cases: [Fault; 18] = [
            ("system files", Verdict::Problem, |facts| facts.system_files = Some((1_900_000, 1_901_000))),
            ("local ports", Verdict::Warning, |facts| facts.machine.ports = Some((50_000, 50_999))),
            ("TIME_WAIT", Verdict::Warning, |facts| facts.time_wait_reuse = Some(0)),
            ("listen backlog", Verdict::Warning, |facts| facts.machine.backlog = Some(4_095)),
            ("SYN backlog", Verdict::Warning, |facts| facts.syn_cookies = Some(0)),
            ("conntrack", Verdict::Warning, |facts| facts.tracked = Some((10, 9_000))),
            ("network port", Verdict::Warning, |facts| facts.port = Err((ErrorKind::AddrInUse, String::new()))),
            ("network port", Verdict::Warning, |facts| facts.port = Err((ErrorKind::PermissionDenied, String::new()))),
            ("network port", Verdict::Unknown, |facts| facts.port = Err((ErrorKind::Unsupported, String::new()))),
            ("socket options", Verdict::Warning, |facts| facts.refused_options = vec![no_user_timeout()]),
            ("clock", Verdict::Warning, |facts| facts.clock.read = Duration::from_nanos(900)),
            ("clock", Verdict::Warning, |facts| facts.clock.step = Duration::from_millis(1)),
            ("wall clock", Verdict::Warning, |facts| facts.clock.unix = UnixTime::from_secs(5)),
            ("wall clock", Verdict::Warning, |facts| facts.clock.unix = UnixTime::from_secs(i64::MIN)),
            ("wall clock", Verdict::Warning, |facts| facts.clock.unix = UnixTime::from_secs(i64::MAX)),
            ("memory", Verdict::Problem, |facts| facts.memory_bytes = Some(1 << 20)),
            ("TCP memory", Verdict::Warning, |facts| facts.max_tcp_pages = Some(100)),
            ("CPUs", Verdict::Warning, |facts| facts.machine.cpus = 1),
        ];
        for (name, verdict, spoil) in cases {
            let mut facts = facts();
            spoil(&mut facts);
            assert_eq!(faults(&facts, 5_000), [(name, verdict)]);
        }
    }

    #[test]
    fn a_fast_clock_is_suggested_only_if_it_is_available_and_unused() {
        let change = |current: &str, available: &str| {
            let source = Some((current.to_owned(), available.to_owned()));
            let slow = Clock { source, read: Duration::from_micros(1), ..facts().clock };
            clock(&slow).and_then(|finding| finding.change).unwrap_or_default()
        };
        assert!(change("hpet", "tsc hpet").starts_with("echo tsc > "));
        assert!(!change("hpet", "hpet acpi_pm").contains("echo"));
        assert!(!change("tsc", "tsc hpet").contains("echo"));
    }

    #[test]
    fn the_largest_number_of_peers_is_a_problem_and_does_not_overflow() {
        assert!(all(&facts(), wanted(usize::MAX)).iter().any(|finding| finding.verdict == Verdict::Problem));
    }
}
