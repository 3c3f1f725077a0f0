//! Tests of the ban list: against a naive list, at its limit, and with clocks that are set or stall.

use super::*;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::net::Ipv4Addr;

const DAY: Duration = Duration::from_secs(86_400);
const START: UnixTime = UnixTime::from_secs(1_700_000_000);

fn state() -> KeyedState {
    KeyedState::new(&mut StdRng::seed_from_u64(7))
}

fn host(bits: u32) -> Host {
    Host::V4(Ipv4Addr::from_bits(bits))
}

fn address(bits: u32) -> IpAddr {
    Ipv4Addr::from_bits(bits).into()
}

fn after(length: Duration) -> Instant {
    Instant::ZERO.plus(length)
}

fn wall(secs: i64) -> UnixTime {
    UnixTime::from_secs(START.as_secs() + secs)
}

const fn moment(now: Instant, unix: UnixTime) -> Moment {
    Moment { now, unix }
}

/// Returns a list in which `host(1)` is banned for a day, beginning at the start of both clocks.
fn one_day() -> BanList {
    let mut list = BanList::new(state());
    let outcome = list.ban(host(1), BanReason::Misbehavior, Some(DAY), moment(Instant::ZERO, START));
    let ban = Ban { host: host(1), reason: BanReason::Misbehavior, since: START, until: Some(wall(86_400)) };
    assert_eq!(outcome, Outcome::Entered { ban, displaced: None });
    list
}

#[test]
fn a_ban_lasts_exactly_its_length() {
    let mut list = one_day();
    let last = after(DAY).minus(Duration::from_nanos(1));
    assert!(list.is_banned(address(1), moment(last, wall(86_399))));
    assert_eq!(list.next_expiry(moment(last, wall(86_399))), Some(after(DAY)));
    assert_eq!(list.pop_expired(moment(last, wall(86_399))), None);
    assert!(!list.is_banned(address(1), moment(after(DAY), wall(86_400))));
    assert_eq!(list.pop_expired(moment(after(DAY), wall(86_400))).map(|ban| ban.host), Some(host(1)));
    assert_eq!((list.len(), list.next_expiry(moment(after(DAY), wall(86_400)))), (0, None));
}

#[test]
fn fault_e07_a_wall_clock_set_back_does_not_extend_a_ban() {
    let mut list = one_day();
    for unix in [wall(-1), UnixTime::from_secs(0), UnixTime::from_secs(i64::MIN)] {
        assert!(list.is_banned(address(1), moment(after(DAY / 2), unix)));
        assert_eq!(list.next_expiry(moment(after(DAY / 2), unix)), Some(after(DAY)));
        assert!(!list.is_banned(address(1), moment(after(DAY), unix)));
    }
    assert!(list.pop_expired(moment(after(DAY), UnixTime::from_secs(i64::MIN))).is_some());
}

#[test]
fn fault_e07_a_ban_ends_early_and_is_removed_if_the_wall_clock_is_set_to_its_end_or_later() {
    let mut list = one_day();
    let now = after(Duration::from_secs(1));
    assert!(list.is_banned(address(1), moment(now, wall(86_399))));
    for unix in [wall(86_400), UnixTime::from_secs(i64::MAX)] {
        assert!(!list.is_banned(address(1), moment(now, unix)));
        assert_eq!(list.next_expiry(moment(now, unix)), Some(now));
        assert_eq!(list.list(moment(now, unix)), []);
    }
    assert!(list.pop_expired(moment(now, wall(86_400))).is_some());
}

#[test]
fn fault_e08_the_wall_clock_ends_a_ban_while_the_monotonic_clock_stalls() {
    let list = one_day();
    assert!(list.is_banned(address(1), moment(Instant::ZERO, wall(86_399))));
    assert!(!list.is_banned(address(1), moment(Instant::ZERO, wall(86_400))));
}

#[test]
fn a_permanent_ban_never_expires() {
    let mut list = BanList::new(state());
    let (now, unix) = (Instant::MAX, UnixTime::from_secs(i64::MAX));
    for reason in [BanReason::NetworkMismatch, BanReason::Manual] {
        let outcome = list.ban(host(1), reason, None, moment(Instant::ZERO, START));
        assert!(matches!(outcome, Outcome::Entered { ban: Ban { until: None, .. }, .. }), "{outcome:?}");
        assert!(list.is_banned(address(1), moment(now, unix)));
        assert_eq!((list.pop_expired(moment(now, unix)), list.next_expiry(moment(now, unix))), (None, None));
    }
    assert_eq!(list.unban(host(1)).map(|ban| ban.reason), Some(BanReason::Manual));
    assert!(!list.is_banned(address(1), moment(Instant::ZERO, START)));
    assert_eq!(list.unban(host(1)), None);
}

#[test]
fn req_e38_a_ban_applies_to_all_of_a_hosts_addresses() {
    let mut list = BanList::new(state());
    let banned: IpAddr = "2a00:1:2:3::1".parse().unwrap();
    let _ = list.ban(Host::of(banned), BanReason::Manual, None, moment(Instant::ZERO, START));
    let is_banned = |text: &str| list.is_banned(text.parse().unwrap(), moment(Instant::ZERO, START));
    assert!(is_banned("2a00:1:2:3:ffff::9") && !is_banned("2a00:1:2:4::1"));
    let mut list = one_day();
    assert!(list.is_banned("::ffff:0.0.0.1".parse().unwrap(), moment(Instant::ZERO, START)));
    let _ = list.unban(Host::of("::ffff:0.0.0.1".parse().unwrap()));
    assert!(!list.is_banned(address(1), moment(Instant::ZERO, START)));
}

#[test]
fn only_a_requested_ban_shortens_a_ban_in_force() {
    let mut list = one_day();
    let hour = Some(DAY / 24);
    let standing = list.find(address(1), moment(Instant::ZERO, START)).unwrap();
    for length in [hour, Some(DAY)] {
        let outcome = list.ban(host(1), BanReason::BannedUserAgent, length, moment(Instant::ZERO, START));
        assert_eq!(outcome, Outcome::Outlasted(standing));
    }
    let outcome = list.ban(host(1), BanReason::Manual, hour, moment(Instant::ZERO, START));
    assert!(matches!(outcome, Outcome::Entered { .. }));
    assert!(!list.is_banned(address(1), moment(after(DAY / 24), START)));
    let outcome = list.ban(host(1), BanReason::Misbehavior, None, moment(Instant::ZERO, START));
    assert!(matches!(outcome, Outcome::Entered { ban: Ban { until: None, .. }, .. }));
    assert_eq!((list.len(), list.next_expiry(moment(Instant::ZERO, START))), (1, None));
}

#[test]
fn a_later_ban_of_the_same_length_replaces_the_first() {
    let mut list = one_day();
    let (now, unix) = (after(DAY / 2), wall(43_200));
    let outcome = list.ban(host(1), BanReason::BlockchainMismatch, Some(DAY), moment(now, unix));
    assert!(matches!(outcome, Outcome::Entered { ban, displaced: None } if ban.since == unix), "{outcome:?}");
    assert!(list.is_banned(address(1), moment(after(DAY), wall(86_400))));
}

#[test]
fn a_ban_of_zero_length_changes_nothing() {
    let mut list = one_day();
    for (host, reason) in [(host(1), BanReason::Manual), (host(2), BanReason::Misbehavior)] {
        assert_eq!(list.ban(host, reason, Some(Duration::ZERO), moment(Instant::ZERO, START)), Outcome::Over);
    }
    assert_eq!(list.list(moment(Instant::ZERO, START)).len(), 1);
}

#[test]
fn the_longest_length_does_not_overflow() {
    let mut list = BanList::new(state());
    let now = Instant::from_nanos(u64::MAX - 1);
    for (bits, unix) in [(1, START), (2, UnixTime::from_secs(i64::MAX - 1)), (3, UnixTime::from_secs(i64::MIN))] {
        let outcome = list.ban(host(bits), BanReason::Misbehavior, Some(Duration::MAX), moment(now, unix));
        assert!(matches!(outcome, Outcome::Entered { .. }), "{outcome:?}");
        assert!(list.is_banned(address(bits), moment(Instant::MAX, unix)));
    }
}

fn load(since: i64, until: i64) -> Option<(UnixTime, Option<UnixTime>)> {
    let mut list = BanList::new(state());
    let (since, until) = (UnixTime::from_secs(since), Some(UnixTime::from_secs(until)));
    match list.load(Ban { host: host(1), reason: BanReason::Manual, since, until }, moment(Instant::ZERO, START)) {
        Outcome::Entered { ban, displaced: None } => {
            assert!(ban.since <= START && ban.until > Some(START));
            Some((ban.since, ban.until))
        }
        outcome => {
            assert_eq!((outcome, list.len()), (Outcome::Over, 0));
            None
        }
    }
}

#[test]
fn req_e38_a_loaded_ban_lasts_for_its_remaining_time_and_at_most_its_length() {
    let at = |secs| wall(secs).as_secs();
    assert_eq!(load(at(-100), at(50)), Some((wall(-100), Some(wall(50)))));
    assert_eq!(load(at(-100), at(0)), None);
    assert_eq!(load(at(-100), at(-50)), None);
    // The clock was ahead when the ban started, or has been set back since.
    assert_eq!(load(at(1_000_000), at(1_000_060)), Some((START, Some(wall(60)))));
    assert_eq!(load(i64::MAX - 60, i64::MAX), Some((START, Some(wall(60)))));
    assert_eq!(load(at(50), at(40)), None);
    assert_eq!(load(i64::MAX, i64::MIN), None);
    assert_eq!(load(i64::MIN, i64::MAX), Some((UnixTime::from_secs(i64::MIN), Some(UnixTime::from_secs(i64::MAX)))));
    let mut list = BanList::new(state());
    let for_ever = Ban { host: host(1), reason: BanReason::Misbehavior, since: wall(9), until: None };
    let outcome = list.load(for_ever, moment(Instant::ZERO, START));
    assert_eq!(outcome, Outcome::Entered { ban: Ban { since: START, ..for_ever }, displaced: None });
}

#[test]
fn the_monotonic_clock_ends_a_loaded_ban_too() {
    let mut list = BanList::new(state());
    let ban = Ban { host: host(1), reason: BanReason::Manual, since: wall(-10), until: Some(wall(60)) };
    let _ = list.load(ban, moment(Instant::ZERO, START));
    let minute = Duration::from_secs(60);
    assert!(list.is_banned(address(1), moment(after(minute).minus(Duration::from_nanos(1)), wall(-1_000))));
    assert!(!list.is_banned(address(1), moment(after(minute), wall(-1_000))));
}

#[test]
fn after_a_flood_of_hosts_the_latest_and_the_requested_bans_remain() {
    const HOSTS: u32 = 200_000;
    let mut list = BanList::new(state());
    let hour = Some(DAY / 24);
    let asked_for = list.ban(host(HOSTS), BanReason::Manual, Some(DAY / 1_000), moment(Instant::ZERO, START));
    assert!(matches!(asked_for, Outcome::Entered { .. }));
    for bits in 0..HOSTS {
        let now = Instant::from_nanos(u64::from(bits));
        let outcome = list.ban(host(bits), BanReason::Misbehavior, hour, moment(now, START));
        let expected = (bits + 1).checked_sub(MAX_BANS as u32).map(host);
        let Outcome::Entered { displaced, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(displaced.map(|ban| ban.host), expected);
    }
    assert_eq!((list.entries.len(), list.asked_for.len()), (MAX_BANS, 1));
    assert_eq!((list.earned.len() + 1, list.by_wall_clock.len()), (MAX_BANS, MAX_BANS));
    assert!(list.entries.capacity() <= 4 * MAX_BANS, "the map's capacity exceeds 4 * MAX_BANS");
    let now = Instant::from_nanos(u64::from(HOSTS));
    assert!(
        list.is_banned(address(HOSTS), moment(now, START)) && list.is_banned(address(HOSTS - 1), moment(now, START))
    );
    assert!(!list.is_banned(address(0), moment(now, START)));
    assert!(list.list(moment(now, START)).is_sorted_by_key(|ban| ban.host));
}

#[test]
fn a_list_full_of_requested_bans_accepts_only_a_requested_ban_that_outlasts_one_of_them() {
    let mut list = BanList::with_room_for(2, state());
    let mut ban = |bits, reason, length| list.ban(host(bits), reason, length, moment(Instant::ZERO, START));
    assert!(matches!(ban(1, BanReason::Manual, None), Outcome::Entered { .. }));
    assert!(matches!(ban(2, BanReason::Manual, Some(DAY)), Outcome::Entered { .. }));
    assert_eq!(ban(3, BanReason::Misbehavior, None), Outcome::Full);
    assert_eq!(ban(3, BanReason::Manual, Some(DAY)), Outcome::Full);
    let outcome = ban(3, BanReason::Manual, Some(DAY * 2));
    assert!(
        matches!(outcome, Outcome::Entered { displaced: Some(removed), .. } if removed.host == host(2)),
        "{outcome:?}"
    );
    assert_eq!(ban(4, BanReason::Manual, Some(DAY)), Outcome::Full);
}

#[test]
fn an_expired_ban_is_displaced_first_even_if_it_was_requested() {
    let mut list = BanList::with_room_for(2, state());
    let _ = list.ban(host(1), BanReason::Manual, Some(DAY), moment(Instant::ZERO, START));
    let _ = list.ban(host(2), BanReason::Misbehavior, Some(DAY * 2), moment(Instant::ZERO, START));
    let outcome = list.ban(host(3), BanReason::Misbehavior, Some(DAY), moment(after(DAY), START));
    assert!(
        matches!(outcome, Outcome::Entered { displaced: Some(removed), .. } if removed.host == host(1)),
        "{outcome:?}"
    );
}

#[test]
fn a_ban_beyond_the_monotonic_clocks_range_is_not_replaced_by_the_same_ban_loaded_later() {
    let mut list = BanList::with_room_for(2, state());
    let ban =
        Ban { host: host(1), reason: BanReason::Manual, since: START, until: Some(UnixTime::from_secs(i64::MAX)) };
    let load = |list: &mut BanList, now| list.load(ban, moment(now, START));
    assert_eq!(load(&mut list, Instant::ZERO), Outcome::Entered { ban, displaced: None });
    assert_eq!(load(&mut list, after(Duration::from_millis(1))), Outcome::Outlasted(ban));
}

const MAX_MODEL: usize = 5;

/// A ban with its length and its start on the monotonic clock.
#[derive(Clone, Debug)]
struct Given {
    ban: Ban,
    at: Instant,
    length: Option<Duration>,
}

impl Given {
    fn left(&self, Moment { now, unix }: Moment) -> Duration {
        let Some((length, until)) = self.length.zip(self.ban.until) else { return Duration::MAX };
        let by_monotonic_clock = match self.ends() {
            Instant::MAX => Duration::MAX,
            _ => length.saturating_sub(now.since(self.at)),
        };
        let by_wall_clock = until.as_secs().saturating_sub(unix.as_secs());
        by_monotonic_clock.min(Duration::from_secs(by_wall_clock.max(0) as u64))
    }

    /// Returns the moment at which the monotonic clock ends the ban; `Instant::MAX` if that clock never ends it.
    fn ends(&self) -> Instant {
        self.length.map_or(Instant::MAX, |length| self.at.plus(length))
    }

    /// Returns the ban's rank. If the list is full of unexpired bans, a new ban can only displace the ban with the
    /// lowest rank, and only if the new ban's rank is higher.
    fn rank(&self) -> (bool, Instant) {
        (self.ban.reason == BanReason::Manual, self.ends())
    }

    fn ranks_below(&self, other: &Self) -> bool {
        self.rank() < other.rank()
    }
}

#[derive(Debug, Default)]
struct Model {
    given: Vec<Given>,
}

impl Model {
    /// Adds `new`, and checks `outcome`, the real list's result.
    fn enter(&mut self, new: Given, overrides: bool, outcome: Outcome, moment: Moment) {
        if new.left(moment).is_zero() {
            return assert_eq!(outcome, Outcome::Over);
        }
        if let Some(at) = self.given.iter().position(|given| given.ban.host == new.ban.host) {
            if !overrides && self.given[at].left(moment) >= new.left(moment) {
                return assert_eq!(outcome, Outcome::Outlasted(self.given[at].ban));
            }
            self.given.remove(at);
        }
        let Outcome::Entered { ban, displaced } = outcome else {
            assert_eq!((outcome, self.given.len()), (Outcome::Full, MAX_MODEL));
            assert!(self.given.iter().all(|given| !given.left(moment).is_zero() && !given.ranks_below(&new)));
            return;
        };
        assert_eq!(ban, new.ban);
        assert_eq!(displaced.is_some(), self.given.len() == MAX_MODEL);
        if let Some(displaced) = displaced {
            let at =
                self.given.iter().position(|given| given.ban == displaced).expect("the displaced ban was in the list");
            let removed = self.given.remove(at);
            let is_first = self.given.iter().chain([&new]).all(|given| !given.ranks_below(&removed));
            let is_over = removed.left(moment).is_zero();
            let any_over = self.given.iter().any(|given| given.left(moment).is_zero());
            assert!(is_over || (is_first && !any_over), "{removed:?} was displaced out of order");
        }
        self.given.push(new);
    }

    fn check(&self, list: &BanList, moment: Moment) {
        let mut in_force: Vec<Ban> =
            self.given.iter().filter(|given| !given.left(moment).is_zero()).map(|given| given.ban).collect();
        in_force.sort_by_key(|ban| ban.host);
        assert_eq!(list.list(moment), in_force);
        for bits in 0..8 {
            let ban = in_force.iter().find(|ban| ban.host == host(bits)).copied();
            assert_eq!(list.find(address(bits), moment), ban);
        }
        assert_eq!(list.len(), self.given.len());
        let ending = self.given.iter().filter(|given| given.length.is_some());
        assert_eq!(
            list.next_expiry(moment).map(|at| at.max(moment.now)),
            ending.map(|given| moment.now.plus(given.left(moment))).min()
        );
    }
}

#[derive(Clone, Debug)]
enum Step {
    Ban { host: u32, reason: usize, length: Option<Duration> },
    Load { host: u32, reason: usize, since: i64, until: Option<i64> },
    Unban { host: u32 },
    Pass { time: Duration },
    SetWallClock { secs: i64 },
    Pop,
}

/// Generates a number of seconds: -9 to 8; plus or minus 1 or 10 years; or the least or greatest `i64`.
fn secs() -> impl Strategy<Value = i64> {
    let years = prop_oneof![Just(-10), Just(-1), Just(1), Just(10)].prop_map(|years| years * 365 * 86_400);
    prop_oneof![12 => -9..9_i64, 1 => years, 1 => Just(i64::MIN), 1 => Just(i64::MAX)]
}

fn step() -> impl Strategy<Value = Step> {
    let reason = || 0..BanReason::ALL.len();
    let length = prop_oneof![8 => (0..9_u64).prop_map(|n| Duration::from_millis(n * 700)), 1 => Just(DAY * 36_500)];
    let time = prop_oneof![8 => (0..3_000_u64).prop_map(Duration::from_millis), 1 => Just(DAY * 365)];
    prop_oneof![
        4 => (0..8_u32, reason(), prop::option::weighted(0.8, length))
            .prop_map(|(host, reason, length)| Step::Ban { host, reason, length }),
        2 => (0..8_u32, reason(), secs(), prop::option::weighted(0.8, secs()))
            .prop_map(|(host, reason, since, until)| Step::Load { host, reason, since, until }),
        1 => (0..8_u32).prop_map(|host| Step::Unban { host }),
        2 => time.prop_map(|time| Step::Pass { time }),
        1 => secs().prop_map(|secs| Step::SetWallClock { secs }),
        1 => Just(Step::Pop),
    ]
}

fn sum(time: UnixTime, secs: i64) -> UnixTime {
    UnixTime::from_secs(time.as_secs().saturating_add(secs))
}

proptest! {
    #[test]
    fn the_list_matches_a_naive_one_while_the_wall_clock_is_set_forward_and_back(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut list = BanList::with_room_for(MAX_MODEL, state());
        let mut model = Model::default();
        let (mut now, mut unix) = (Instant::ZERO, START);
        for step in steps {
            let present = moment(now, unix);
            match step {
                Step::Ban { host: bits, reason, length } => {
                    let reason = BanReason::ALL[reason];
                    let until = length.map(|length| sum(unix, length.as_millis().div_ceil(1_000) as i64));
                    let ban = Ban { host: host(bits), reason, since: unix, until };
                    let outcome = list.ban(host(bits), reason, length, present);
                    model.enter(Given { ban, at: now, length }, reason == BanReason::Manual, outcome, present);
                }
                Step::Load { host: bits, reason, since, until } => {
                    let (since, until) = (sum(unix, since), until.map(|until| sum(unix, until)));
                    let between = |from: UnixTime, to: UnixTime| to.as_secs().saturating_sub(from.as_secs()).max(0);
                    let left = until.map(|until| between(since, until).min(between(unix, until)));
                    let given = Given {
                        ban: Ban {
                            host: host(bits),
                            reason: BanReason::ALL[reason],
                            since: since.min(unix),
                            until: left.map(|left| sum(unix, left)),
                        },
                        at: now,
                        length: left.map(|left| Duration::from_secs(left as u64)),
                    };
                    let outcome = list.load(Ban { since, until, ..given.ban }, present);
                    model.enter(given, false, outcome, present);
                }
                Step::Unban { host: bits } => {
                    let at = model.given.iter().position(|given| given.ban.host == host(bits));
                    prop_assert_eq!(list.unban(host(bits)), at.map(|at| model.given.remove(at).ban));
                }
                Step::Pass { time } => {
                    now = now.plus(time);
                    unix = sum(unix, time.as_secs() as i64);
                }
                Step::SetWallClock { secs } => unix = sum(unix, secs),
                Step::Pop => {
                    let over = |given: &Given| given.left(present).is_zero();
                    match list.pop_expired(present) {
                        Some(ban) => {
                            let at = model.given.iter().position(|given| given.ban == ban && over(given));
                            model.given.remove(at.expect("the removed ban was in the list and has expired"));
                        }
                        None => prop_assert!(!model.given.iter().any(over)),
                    }
                }
            }
            model.check(&list, moment(now, unix));
        }
    }
}
