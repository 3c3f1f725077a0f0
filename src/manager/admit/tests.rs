//! The counts of connections, compared with naive counts, and the refusals by caps and by the rate.

use super::*;
use crate::protocol::Network;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::time::Duration;

fn config() -> ManagerConfig {
    ManagerConfig {
        max_peers: 10,
        max_per_host: 2,
        max_per_group_percent: 30,
        accepts_per_host_per_second: 10,
        trusted: vec![(ip("1.1.0.0"), 24)],
        ..ManagerConfig::new(Network::Regtest)
    }
}

fn admission() -> Admission {
    Admission::new(&config(), KeyedState::new(&mut StdRng::seed_from_u64(1)))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn an_ipv4_address_and_its_ipv6_form_count_towards_one_hosts_maximum() {
    let mut admission = admission();
    for text in ["9.9.9.9", "::ffff:9.9.9.9"] {
        assert_eq!(admission.admit(ip(text), Instant::ZERO), Ok(()));
        admission.link_added(ip(text));
    }
    let full = Err(Refusal::HostFull { count: 2 });
    assert_eq!(admission.admit(ip("9.9.9.9"), Instant::ZERO), full);
    assert_eq!(admission.has_room(ip("::ffff:9.9.9.9")), full);
    assert_eq!(admission.admit(ip("9.9.9.8"), Instant::ZERO), Ok(()));
    admission.link_removed(ip("::ffff:9.9.9.9"));
    assert_eq!(admission.admit(ip("9.9.9.9"), Instant::ZERO), Ok(()));
}

#[test]
fn an_ipv6_slash_64_is_one_host() {
    let mut admission = admission();
    admission.link_added(ip("2a00:1:2:3::1"));
    admission.link_added(ip("2a00:1:2:3:ffff::"));
    assert!(matches!(admission.has_room(ip("2a00:1:2:3::2")), Err(Refusal::HostFull { count: 2 })));
    assert_eq!(admission.has_room(ip("2a00:1:2:4::2")), Ok(()));
}

#[test]
fn hosts_behind_the_nat64_prefix_are_counted_by_their_ipv4_addresses() {
    let mut admission = admission();
    for text in ["64:ff9b::808:808", "64:ff9b::808:808"] {
        assert_eq!(admission.admit(ip(text), Instant::ZERO), Ok(()));
        admission.link_added(ip(text));
    }
    assert_eq!(admission.has_room(ip("64:ff9b::909:909")), Ok(()));
    assert_eq!(admission.has_room(ip("8.8.8.8")), Err(Refusal::HostFull { count: 2 }));
}

#[test]
fn a_range_is_full_at_its_percentage_of_max_peers() {
    let mut admission = admission();
    ["9.9.1.1", "9.9.2.2", "9.9.3.3"].iter().for_each(|text| admission.link_added(ip(text)));
    let full = Err(Refusal::GroupFull { count: 3 });
    assert_eq!(admission.admit(ip("9.9.4.4"), Instant::ZERO), full);
    assert_eq!(admission.has_room(ip("2002:909:404::1")), full, "a 6to4 address was not refused like its IPv4 address");
    assert_eq!(admission.has_room(ip("9.8.4.4")), Ok(()));
}

#[test]
fn a_host_that_connects_too_often_is_refused_but_may_be_dialled() {
    let mut admission = admission();
    for _ in 0..20 {
        assert_eq!(admission.admit(ip("9.9.9.9"), Instant::ZERO), Ok(()));
    }
    let refusal = Refusal::TooFast { per_second: 10 };
    assert_eq!(admission.admit(ip("9.9.9.9"), Instant::ZERO), Err(refusal));
    assert_eq!(admission.has_room(ip("9.9.9.9")), Ok(()));
    assert_eq!(admission.admit(ip("9.9.9.8"), Instant::ZERO), Ok(()));
    let later = Instant::ZERO.plus(Duration::from_millis(100));
    assert_eq!(admission.admit(ip("9.9.9.9"), later), Ok(()));
    assert_eq!(admission.admit(ip("9.9.9.9"), later), Err(refusal));
}

#[test]
fn a_connection_refused_by_a_cap_does_not_count_towards_the_rate() {
    let mut admission = admission();
    admission.link_added(ip("9.9.9.9"));
    admission.link_added(ip("9.9.9.9"));
    for _ in 0..100 {
        assert!(matches!(admission.admit(ip("9.9.9.9"), Instant::ZERO), Err(Refusal::HostFull { .. })));
    }
    admission.link_removed(ip("9.9.9.9"));
    assert_eq!(admission.admit(ip("9.9.9.9"), Instant::ZERO), Ok(()));
}

#[test]
fn trusted_addresses_are_counted_but_never_refused() {
    let mut admission = admission();
    assert!(admission.is_trusted(ip("::ffff:1.1.0.7")) && !admission.is_trusted(ip("1.1.1.7")));
    for _ in 0..100 {
        assert_eq!(admission.admit(ip("1.1.0.7"), Instant::ZERO), Ok(()));
        admission.link_added(ip("1.1.0.7"));
    }
    let full = Refusal::GroupFull { count: 100 };
    assert_eq!(admission.admit(ip("1.1.1.7"), Instant::ZERO), Err(full));
    (0..100).for_each(|_| admission.link_removed(ip("1.1.0.7")));
    assert_eq!(admission.admit(ip("1.1.1.7"), Instant::ZERO), Ok(()));
}

#[test]
fn a_new_configuration_applies_to_the_next_connection() {
    let mut admission = admission();
    admission.link_added(ip("9.9.9.9"));
    admission.link_added(ip("9.9.9.9"));
    let wide = ManagerConfig { max_peers: 100, max_per_host: 3, accepts_per_host_per_second: 1, ..config() };
    admission.reconfigure(&ManagerConfig { trusted: vec![(ip("8.8.8.8"), 32)], ..wide.clone() });
    assert_eq!(admission.admit(ip("9.9.9.9"), Instant::ZERO), Ok(()));
    assert_eq!(admission.admit(ip("9.9.9.9"), Instant::ZERO), Ok(()));
    let too_fast = Refusal::TooFast { per_second: 1 };
    assert_eq!(admission.admit(ip("9.9.9.9"), Instant::ZERO), Err(too_fast));
    assert!(admission.is_trusted(ip("8.8.8.8")) && !admission.is_trusted(ip("1.1.0.7")));
    admission.reconfigure(&ManagerConfig { max_per_host: 1, ..wide });
    let full = Refusal::HostFull { count: 2 };
    assert_eq!(admission.admit(ip("9.9.9.9"), Instant::ZERO), Err(full));
}

#[test]
#[cfg_attr(debug_assertions, should_panic(expected = "a connection that was not counted was removed"))]
fn removing_an_uncounted_connection_panics_in_debug_builds_and_is_ignored_otherwise() {
    let mut admission = admission();
    admission.link_removed(ip("9.9.9.9"));
    assert_eq!(admission.by_host.of(Host::of(ip("9.9.9.9"))), 0);
}

#[test]
fn no_counts_remain_after_a_flood_of_short_connections() {
    const CONNECTIONS: u32 = 100_000;
    let mut admission = admission();
    for bits in 0..CONNECTIONS {
        let address = IpAddr::from(bits.to_be_bytes());
        assert_eq!(admission.admit(address, Instant::from_nanos(u64::from(bits))), Ok(()));
        admission.link_added(address);
        admission.link_removed(address);
    }
    assert!(admission.by_host.0.is_empty() && admission.by_group.0.is_empty());
}

/// Generates addresses of a few hosts and ranges, including trusted ones, in several notations.
fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0..3_u8, 0..3_u8).prop_map(|(group, host)| IpAddr::from([9, group, 0, host])),
        (0..2_u8).prop_map(|host| IpAddr::from([1, 1, host, 7])),
        (0..3_u16, 0..3_u16).prop_map(|(group, host)| IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x0900 + group, host])),
        (0..3_u16, any::<u16>()).prop_map(|(host, low)| IpAddr::from([0x2a00, 1, 2, host, 0, 0, 0, low])),
        any::<u8>().prop_map(|low| IpAddr::from([127, 0, 0, low])),
    ]
}

proptest! {
    #[test]
    fn each_refusal_by_a_cap_matches_a_naive_count_of_the_live_connections(
        steps in prop::collection::vec((address(), any::<bool>(), any::<prop::sample::Index>()), 1..200),
    ) {
        let mut admission = admission();
        let mut live: Vec<IpAddr> = Vec::new();
        for (address, leaves, index) in steps {
            if leaves && !live.is_empty() {
                admission.link_removed(live.swap_remove(index.index(live.len())));
                continue;
            }
            let connections = live.iter().filter(|&&other| Host::of(other) == Host::of(address)).count();
            let of_group = live.iter().filter(|&&other| NetGroup::of(other) == NetGroup::of(address)).count();
            let expected = if admission.is_trusted(address) {
                Ok(())
            } else if connections >= 2 {
                Err(Refusal::HostFull { count: connections })
            } else if of_group >= 3 {
                Err(Refusal::GroupFull { count: of_group })
            } else {
                Ok(())
            };
            prop_assert_eq!(admission.has_room(address), expected);
            if expected.is_ok() {
                admission.link_added(address);
                live.push(address);
            }
        }
        let mut hosts: BTreeMap<Host, usize> = BTreeMap::new();
        live.iter().for_each(|&address| *hosts.entry(Host::of(address)).or_default() += 1);
        prop_assert_eq!(admission.by_host.0.len(), hosts.len());
        prop_assert!(hosts.iter().all(|(&host, &count)| admission.by_host.of(host) == count));
        live.into_iter().for_each(|address| admission.link_removed(address));
        prop_assert!(admission.by_host.0.is_empty() && admission.by_group.0.is_empty());
    }
}
