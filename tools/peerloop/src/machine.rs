//! The limits of this machine: descriptors, ports and source addresses, checked before a run starts.
//!
//! A refusal for lack of descriptors or ports shows its arithmetic, so that the reader can see which number to change.

use crate::exit::Failure;
use crate::output;
use crate::units::counted;
use peerloop::limits::MAX_OVER_CAPACITY;
use peerloop::refused_options;
use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::num::NonZeroUsize;

/// Number of descriptors that are not for peers: standard streams, files, pollers, wakers, and the built-in
/// node's listener.
const DESCRIPTORS_BESIDE_PEERS: u64 = 32;

/// The limit on open files that is assumed if the system reports none: no POSIX system of recent decades has a lower
/// default.
const DESCRIPTORS_IF_UNKNOWN: u64 = 256;

/// Maximum number of TCP streams of one peer, each with a descriptor of its own. An SV Node has two.
pub(crate) const STREAMS_PER_PEER: usize = 2;

/// The purpose for which a command needs descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Connections to nodes outside this process.
    Dial {
        /// Number of TCP streams of each peer.
        streams: usize,
    },
    /// Connections to a node in this process, which therefore holds both ends of each connection.
    BothEnds {
        /// Number of TCP streams of each peer.
        streams: usize,
    },
    /// A node that accepts connections, and also some above its maximum in order to refuse them. Each peer is certain
    /// of one stream.
    Accept {
        /// Number of addresses on which the node listens.
        listeners: usize,
    },
}

/// The limits of this machine, and its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Maximum number of open files and sockets of this process.
    pub(crate) descriptors: u64,
    /// The first and the last local port that the system assigns, if it reports them.
    pub(crate) ports: Option<(u16, u16)>,
    /// Maximum number of connections that wait at one listener to be accepted, if the system reports it.
    pub(crate) backlog: Option<u32>,
    /// Number of CPUs that this process may use.
    pub(crate) cpus: usize,
    /// The load average of the last minute in hundredths, if the system reports it.
    pub(crate) load_hundredths: Option<u32>,
}

impl Machine {
    /// Raises the limit on open files as far as possible and reads all other values.
    pub(crate) fn survey() -> Self {
        let read = |path| std::fs::read_to_string(path).ok();
        Self {
            descriptors: rlimit::increase_nofile_limit(u64::MAX).unwrap_or(DESCRIPTORS_IF_UNKNOWN),
            ports: read("/proc/sys/net/ipv4/ip_local_port_range").as_deref().and_then(parse_port_range),
            backlog: read("/proc/sys/net/core/somaxconn").and_then(|text| text.trim().parse().ok()),
            cpus: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            load_hundredths: read("/proc/loadavg").as_deref().and_then(parse_load),
        }
    }

    /// Returns the load average in the system's format: `0.52`.
    pub(crate) fn load_average_text(&self) -> Option<String> {
        self.load_hundredths.map(|load| format!("{}.{:02}", load / 100, load % 100))
    }

    /// Returns the number of descriptors for `peers` peers and everything else; all commands use this formula.
    pub(crate) fn descriptors_needed(&self, peers: usize, need: Need) -> u64 {
        (peers as u64).saturating_mul(need.per_peer()).saturating_add(self.besides(need))
    }

    /// Returns the maximum number of peers that the descriptors allow.
    pub(crate) fn max_peers(&self, need: Need) -> u64 {
        self.descriptors.saturating_sub(self.besides(need)) / need.per_peer()
    }

    /// Returns how many connections above the maximum may be open at once while they are refused: at most
    /// [`MAX_OVER_CAPACITY`], and at most half of the descriptors that neither the process nor the listeners need. 0
    /// unless `need` is [`Need::Accept`].
    pub(crate) fn max_over_capacity(&self, need: Need) -> usize {
        let Need::Accept { listeners } = need else { return 0 };
        let room = self.descriptors.saturating_sub(DESCRIPTORS_BESIDE_PEERS.saturating_add(listeners as u64));
        usize::try_from(room / 2).unwrap_or(usize::MAX).min(MAX_OVER_CAPACITY)
    }

    fn besides(&self, need: Need) -> u64 {
        let listeners = if let Need::Accept { listeners } = need { listeners } else { 0 };
        let more = listeners.saturating_add(self.max_over_capacity(need));
        DESCRIPTORS_BESIDE_PEERS.saturating_add(more as u64)
    }

    /// Returns the number of descriptors for this many peers, at most the available number.
    pub(crate) fn descriptors_for(&self, peers: usize, need: Need) -> u64 {
        self.descriptors_needed(peers, need).min(self.descriptors)
    }

    /// Checks that there are descriptors for this many peers.
    pub(crate) fn check_descriptors(&self, peers: usize, need: Need) -> Result<(), Failure> {
        let (has, needed, besides) = (self.descriptors, self.descriptors_needed(peers, need), self.besides(need));
        if needed <= has {
            return Ok(());
        }
        let each = match need {
            Need::Dial { streams: 1 } | Need::Accept { .. } => "one for each".to_owned(),
            Need::Dial { streams } => format!("{streams} for each: each peer has {streams} streams"),
            Need::BothEnds { streams: 1 } => "two for each: both ends are in this process".to_owned(),
            Need::BothEnds { streams } => {
                format!("{} for each: both ends of {streams} streams are in this process", need.per_peer())
            }
        };
        let peers = counted(peers, "peer");
        let fewer = match self.max_peers(need) {
            0 => String::new(),
            fits => format!("use at most {}, or ", counted(fits, "peer")),
        };
        Err(Failure::machine(format!(
            "{needed} descriptors are needed for {peers} ({each}, plus {besides} for the process), but this process \
             may open {has}; {fewer}raise the hard limit (ulimit -Hn)"
        )))
    }

    /// Returns the number of local ports that the system assigns per source address.
    pub(crate) fn port_count(&self) -> Option<u64> {
        self.ports.map(|(first, last)| u64::from(last) - u64::from(first) + 1)
    }

    /// Checks that there are ports for this many connections. Without source addresses, each target can use all
    /// ports; with them, a source address can use each port once, for all targets together.
    pub(crate) fn check_ports(&self, connections: usize, targets: usize, sources: usize) -> Result<(), Failure> {
        let Some(ports) = self.port_count() else { return Ok(()) };
        let (places, place) = match (sources, targets.max(1)) {
            (0, 1) => (1, "target"),
            (0, targets) => (targets, "target"),
            (1, _) => (1, "source address"),
            (sources, _) => (sources, "source address"),
        };
        let share = connections.div_ceil(places) as u64;
        if share <= ports {
            return Ok(());
        }
        let more = (connections as u64).div_ceil(ports);
        let (first, last) = self.ports.unwrap_or_default();
        Err(Failure::machine(format!(
            "{connections} connections need {share} local ports per {place}, but there are {ports} \
             ({first} to {last}); use {more} addresses with --source-ip, or widen net.ipv4.ip_local_port_range"
        )))
    }
}

impl Need {
    const fn per_peer(self) -> u64 {
        match self {
            Self::Dial { streams } => streams as u64,
            Self::BothEnds { streams } => 2 * streams as u64,
            Self::Accept { .. } => 1,
        }
    }
}

/// Reports the socket options that this system refuses, one line each: a run continues without them.
pub(crate) fn complain_of_refused_options() {
    for refused in refused_options() {
        output::complain(&refused.to_string());
    }
}

/// Checks that this machine has these addresses. If binding an address fails for another reason, the error is ignored
/// here: a connection from that address reports it.
pub(crate) fn check_sources(sources: &[IpAddr]) -> Result<(), Failure> {
    for source in sources {
        if let Err(error) = UdpSocket::bind((*source, 0))
            && error.kind() == ErrorKind::AddrNotAvailable
        {
            return Err(Failure::machine(format!(
                "binding the source address {source}: {error}; use an address of one of this machine's interfaces"
            )));
        }
    }
    Ok(())
}

fn parse_port_range(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_whitespace().map(str::parse::<u16>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) if first <= last => Some((first, last)),
        _ => None,
    }
}

/// Parses the first number of `/proc/loadavg`, which has two decimals, and returns it in hundredths.
fn parse_load(text: &str) -> Option<u32> {
    let (whole, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    let whole: u32 = whole.parse().ok()?;
    let hundredths = hundredths.parse().ok().filter(|_| hundredths.len() == 2)?;
    whole.checked_mul(100)?.checked_add(hundredths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    const MACHINE: Machine = Machine {
        descriptors: 20_000,
        ports: Some((32_768, 60_999)),
        backlog: Some(4_096),
        cpus: 2,
        load_hundredths: None,
    };

    const DIAL: Need = Need::Dial { streams: 1 };
    const BOTH_ENDS: Need = Need::BothEnds { streams: 1 };

    #[test]
    fn each_stream_of_a_peer_needs_a_descriptor_at_each_of_its_ends_here() {
        let needed = |need| MACHINE.descriptors_needed(100, need);
        let streams = STREAMS_PER_PEER;
        assert_eq!([DIAL, Need::Dial { streams }].map(needed), [132, 232]);
        assert_eq!([BOTH_ENDS, Need::BothEnds { streams }].map(needed), [232, 432]);
        let refused = MACHINE.check_descriptors(5_000, Need::BothEnds { streams }).unwrap_err();
        assert!(refused.message.contains("(4 for each: both ends of 2 streams "), "{}", refused.message);
    }

    #[test]
    fn the_check_of_descriptors_is_exact_to_one_peer() {
        assert_eq!(MACHINE.check_descriptors(19_968, DIAL), Ok(()));
        assert_eq!(MACHINE.check_descriptors(9_984, BOTH_ENDS), Ok(()));
        let refused = MACHINE.check_descriptors(9_985, BOTH_ENDS).unwrap_err();
        assert_eq!(refused.exit, Exit::MachineCannot);
        for number in ["9985", "20002", "20000", "9984"] {
            assert!(refused.message.contains(number), "{number}: {}", refused.message);
        }
        assert!(MACHINE.check_descriptors(usize::MAX, Need::Accept { listeners: usize::MAX }).is_err());
        assert_eq!(MACHINE.descriptors_for(9_000, BOTH_ENDS), 18_032);
        assert_eq!(
            MACHINE.descriptors_for(usize::MAX, BOTH_ENDS),
            20_000,
            "the result is not the number of available descriptors"
        );
    }

    #[test]
    fn a_refusal_suggests_the_maximum_number_of_peers_unless_it_is_zero() {
        let accept = Need::Accept { listeners: 0 };
        let refused = MACHINE.check_descriptors(19_950, accept).unwrap_err();
        for part in ["20046 descriptors are needed for 19950 peers", "plus 96 for the process", "at most 19904 peers"] {
            assert!(refused.message.contains(part), "{part}: {}", refused.message);
        }
        let refused = Machine { descriptors: 32, ..MACHINE }.check_descriptors(1, DIAL).unwrap_err();
        assert!(refused.message.starts_with("33 descriptors are needed for 1 peer ("), "{}", refused.message);
        assert!(refused.message.ends_with("may open 32; raise the hard limit (ulimit -Hn)"), "{}", refused.message);
    }

    #[test]
    fn the_check_accepts_the_maximum_number_of_peers_and_no_more() {
        for descriptors in (0..300).chain([1_024, 20_000]) {
            let machine = Machine { descriptors, ..MACHINE };
            let streams = STREAMS_PER_PEER;
            let dialling = [DIAL, BOTH_ENDS, Need::Dial { streams }, Need::BothEnds { streams }];
            for need in dialling.into_iter().chain([0, 3].map(|listeners| Need::Accept { listeners })) {
                let fits = machine.max_peers(need) as usize;
                assert!(fits == 0 || machine.check_descriptors(fits, need).is_ok(), "{descriptors} {need:?}");
                assert!(machine.check_descriptors(fits + 1, need).is_err(), "{descriptors} {need:?}");
            }
        }
        let fits = |descriptors| Machine { descriptors, ..MACHINE }.max_peers(Need::Accept { listeners: 1 });
        assert_eq!([fits(33), fits(64), fits(200), fits(1_024)], [0, 16, 103, 927]);
    }

    #[test]
    fn ports_are_counted_per_target_or_per_source() {
        assert_eq!(MACHINE.check_ports(28_232, 1, 0), Ok(()));
        assert_eq!(MACHINE.check_ports(2 * 28_232, 2, 0), Ok(()));
        assert_eq!(MACHINE.check_ports(3 * 28_232, 1, 3), Ok(()));
        assert!(
            MACHINE.check_ports(28_233, 9, 1).is_err(),
            "more connections than the source address has ports were accepted"
        );
        let refused = MACHINE.check_ports(28_233, 1, 0).unwrap_err();
        assert_eq!(refused.exit, Exit::MachineCannot);
        for part in ["28233", "28232", "32768 to 60999", "--source-ip", "2 addresses"] {
            assert!(refused.message.contains(part), "{part}: {}", refused.message);
        }
        assert_eq!(Machine { ports: None, ..MACHINE }.check_ports(usize::MAX, 1, 0), Ok(()));
    }

    #[test]
    fn the_kernels_port_range_is_parsed() {
        assert_eq!(parse_port_range("32768\t60999\n"), Some((32_768, 60_999)));
        for wrong in ["", "1", "x y", "5 4", "1 70000"] {
            assert_eq!(parse_port_range(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_load_average_of_the_last_minute_is_parsed() {
        assert_eq!(parse_load("12.05 0.58 0.59 1/467 12345\n"), Some(1_205));
        assert_eq!(Machine { load_hundredths: Some(1_205), ..MACHINE }.load_average_text().as_deref(), Some("12.05"));
        assert_eq!([parse_load(""), parse_load("1"), parse_load("1.5 2")], [None; 3]);
    }

    #[test]
    fn a_refusal_names_the_source_address_that_this_machine_lacks() {
        assert_eq!(check_sources(&["127.0.0.3".parse().unwrap()]), Ok(()));
        let refused = check_sources(&["203.0.113.7".parse().unwrap()]).unwrap_err();
        assert!(refused.message.contains("203.0.113.7"), "{}", refused.message);
    }
}
