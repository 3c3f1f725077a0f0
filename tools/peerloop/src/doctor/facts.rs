//! The facts that the system reports about itself. Most are read from files that only Linux has; elsewhere such a
//! fact is missing.

use crate::machine::Machine;
use crate::units::unix_time;
use peerloop::Network;
use peerloop::error::RefusedOption;
use peerloop::refused_options;
use peerloop::time::UnixTime;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant, SystemTime};

/// Number of clock reads from which the mean duration of a read is computed.
const CLOCK_READS: u32 = 10_000;

/// Facts that the checks evaluate.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) machine: Machine,
    /// The soft and the hard limit on open files, read before this process raised its soft limit.
    pub(super) descriptor_limits: Option<(u64, u64)>,
    /// Number of files that the whole system has open, and the maximum of this number.
    pub(super) system_files: Option<(u64, u64)>,
    /// The highest value to which a limit on open files may be raised.
    pub(super) descriptors_highest: Option<u64>,
    /// Number of closed connections whose port stays in use for a minute (TIME_WAIT).
    pub(super) time_wait: Option<u64>,
    /// Whether dials reuse the ports of closed connections: 0 never, 1 always, 2 only on loopback.
    pub(super) time_wait_reuse: Option<u64>,
    /// Maximum number of half-open connections per listener.
    pub(super) max_half_open: Option<u64>,
    /// Whether SYN cookies replace half-open connections above the maximum; 0 means never.
    pub(super) syn_cookies: Option<u64>,
    /// Number of connections that the packet filter tracks, and its maximum; `None` if it does not track connections.
    pub(super) tracked: Option<(u64, u64)>,
    pub(super) clock: Clock,
    /// Available memory, in bytes.
    pub(super) memory_bytes: Option<u64>,
    /// Maximum number of memory pages for all TCP connections together.
    pub(super) max_tcp_pages: Option<u64>,
    /// `Ok` if this process can listen on the network's default port, else the error.
    pub(super) port: Result<(), (ErrorKind, String)>,
    /// Socket options that the system refuses.
    pub(super) refused_options: Vec<RefusedOption>,
}

/// The monotonic clock and the wall clock.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    /// The kernel's clock source, and the available sources separated by spaces.
    pub(super) source: Option<(String, String)>,
    /// The mean duration of a read of the monotonic clock.
    pub(super) read: Duration,
    /// The smallest observed step of the monotonic clock, or [`Duration::MAX`] if the clock did not move.
    pub(super) step: Duration,
    /// The wall clock.
    pub(super) unix: UnixTime,
}

impl Facts {
    /// Collects the facts.
    pub(super) fn collect(network: Network) -> Self {
        let descriptor_limits = rlimit::Resource::NOFILE.get().ok();
        Self {
            descriptor_limits,
            machine: Machine::survey(),
            system_files: read("/proc/sys/fs/file-nr").as_deref().and_then(parse_system_files),
            descriptors_highest: number("/proc/sys/fs/nr_open"),
            time_wait: read("/proc/net/sockstat").as_deref().and_then(parse_time_wait),
            time_wait_reuse: number("/proc/sys/net/ipv4/tcp_tw_reuse"),
            max_half_open: number("/proc/sys/net/ipv4/tcp_max_syn_backlog"),
            syn_cookies: number("/proc/sys/net/ipv4/tcp_syncookies"),
            tracked: number("/proc/sys/net/netfilter/nf_conntrack_count")
                .zip(number("/proc/sys/net/netfilter/nf_conntrack_max")),
            clock: Clock::collect(),
            memory_bytes: memory_bytes(),
            max_tcp_pages: read("/proc/sys/net/ipv4/tcp_mem").as_deref().and_then(parse_last_number),
            port: try_port(network.default_port()),
            refused_options: refused_options(),
        }
    }
}

/// Tries to listen on `port`, on all IPv4 addresses.
fn try_port(port: u16) -> Result<(), (ErrorKind, String)> {
    let listened = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
    listened.map(drop).map_err(|error| (error.kind(), error.to_string()))
}

impl Clock {
    fn collect() -> Self {
        const SOURCES: &str = "/sys/devices/system/clocksource/clocksource0";
        let trimmed = |file: &str| read(&format!("{SOURCES}/{file}")).map(|text| text.trim().to_owned());
        let began = Instant::now();
        let (mut before, mut step) = (began, Duration::MAX);
        for _ in 0..CLOCK_READS {
            let now = Instant::now();
            let passed = now.saturating_duration_since(before);
            if !passed.is_zero() {
                step = step.min(passed);
            }
            before = now;
        }
        Self {
            source: trimmed("current_clocksource").zip(trimmed("available_clocksource")),
            read: before.saturating_duration_since(began) / CLOCK_READS,
            step,
            unix: unix_time(SystemTime::now()).0,
        }
    }
}

/// Returns the available memory in bytes; in a container, at most the unused part of the container's limit.
fn memory_bytes() -> Option<u64> {
    let available = read("/proc/meminfo").as_deref().and_then(parse_available);
    let most = number("/sys/fs/cgroup/memory.max");
    let used = number("/sys/fs/cgroup/memory.current").unwrap_or(0);
    let left = most.map(|most| most.saturating_sub(used));
    match (available, left) {
        (Some(available), Some(left)) => Some(available.min(left)),
        (known, None) | (None, known) => known,
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn number(path: &str) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

/// Parses three file counts: allocated, unused, and the maximum. Returns the number of open files and the maximum.
fn parse_system_files(text: &str) -> Option<(u64, u64)> {
    let numbers: Vec<u64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    match numbers[..] {
        [allocated, unused, most] => Some((allocated.saturating_sub(unused), most)),
        _ => None,
    }
}

/// Parses the number after `tw` in the `TCP:` line.
fn parse_time_wait(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace().skip_while(|word| *word != "tw");
    words.nth(1)?.parse().ok()
}

fn parse_available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

fn parse_last_number(text: &str) -> Option<u64> {
    text.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_files_are_parsed() {
        assert_eq!(parse_system_files("1312\t32\t2466170\n"), Some((1_280, 2_466_170)));
        let sockets = "sockets: used 34\nTCP: inuse 1 orphan 0 tw 17 alloc 1 mem 0\nUDP: inuse 0 mem 0\n";
        assert_eq!(parse_time_wait(sockets), Some(17));
        assert_eq!(parse_available("MemTotal: 5 kB\nMemAvailable:    3210 kB\n"), Some(3_210 * 1_024));
        assert_eq!(parse_last_number("287898\t383867\t575796\n"), Some(575_796));
    }

    #[test]
    fn a_kernel_file_in_an_unexpected_format_yields_no_number() {
        for text in ["", "1 2", "x y z", "1 2 3 4"] {
            assert_eq!(parse_system_files(text), None, "{text}");
        }
        for text in ["", "TCP: inuse 1", "TCP: tw", "TCP: tw x", "UDP: tw 1"] {
            assert_eq!(parse_time_wait(text), None, "{text}");
        }
        for text in ["", "MemAvailable: 5", "MemAvailable: x kB", "MemAvailable: 18446744073709551615 kB"] {
            assert_eq!(parse_available(text), None, "{text}");
        }
        assert_eq!(parse_last_number("max\n"), None);
    }

    #[test]
    fn the_clock_of_this_machine_moves() {
        let clock = Clock::collect();
        assert!(clock.step > Duration::ZERO && clock.step < Duration::MAX, "{clock:?}");
        assert!(clock.unix.as_secs() > 0);
    }
}
