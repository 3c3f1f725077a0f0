//! Edge cases that a random run is unlikely to reach, and each rule of the wheel by itself.

use peerloop::internals::limits::WHEEL_SLOTS;
use peerloop::internals::wheel::Wheel;

const ALL: usize = usize::MAX;

fn expired(wheel: &mut Wheel, now_tick: u64) -> Vec<u32> {
    let mut due = Vec::new();
    assert!(!wheel.expire(now_tick, ALL, &mut due), "a key remained due although there was no limit");
    due
}

#[test]
fn an_empty_wheel_has_no_next_tick_and_no_armed_key() {
    let mut wheel = Wheel::new(64, 5);
    assert!(wheel.is_empty());
    assert_eq!(wheel.next_tick(), None);
    assert_eq!(expired(&mut wheel, u64::MAX), []);
    assert_eq!(wheel.next_tick(), None);
    assert!(!wheel.disarm(0));
    assert!(!wheel.disarm(u32::MAX));
    assert_eq!(wheel.armed_tick(u32::MAX), None);
}

#[test]
fn a_key_fires_once_and_not_a_tick_early() {
    for start in [0, 63, (1 << 31) - 1, (1 << 32) - 1, u64::MAX - 200] {
        for ahead in 1..200 {
            let mut wheel = Wheel::new(64, start);
            wheel.arm(7, start + ahead);
            assert_eq!(expired(&mut wheel, start + ahead - 1), []);
            assert_eq!(wheel.next_tick(), Some(start + ahead));
            assert_eq!(expired(&mut wheel, start + ahead), [7]);
            assert_eq!(expired(&mut wheel, u64::MAX), []);
        }
    }
}

#[test]
fn in_a_wheel_of_the_engines_size_every_key_fires_in_its_own_tick() {
    let start = (1 << 32) - 30_000;
    let mut wheel = Wheel::new(WHEEL_SLOTS, start);
    for key in (0..WHEEL_SLOTS as u32).rev() {
        wheel.arm(key, start + 1 + u64::from(key));
    }
    for key in 0..WHEEL_SLOTS as u32 {
        assert_eq!(wheel.next_tick(), Some(start + 1 + u64::from(key)));
        assert_eq!(expired(&mut wheel, start + 1 + u64::from(key)), [key]);
    }
    assert!(wheel.is_empty());
}

#[test]
fn a_key_armed_for_a_past_tick_is_due_at_once() {
    let mut wheel = Wheel::new(64, 1_000);
    wheel.arm(0, 1_000);
    wheel.arm(1, 3);
    assert_eq!(wheel.next_tick(), Some(1_000));
    assert_eq!(expired(&mut wheel, 1_000), [0, 1], "the keys did not both fire in the order of arming");
    wheel.arm(2, 0);
    assert_eq!(expired(&mut wheel, 1_000), [2], "the key did not fire, although its tick had already expired");
}

#[test]
fn a_key_armed_for_the_last_possible_tick_fires() {
    let mut wheel = Wheel::new(64, 0);
    wheel.arm(0, u64::MAX);
    wheel.arm(1, u64::MAX - 64);
    assert_eq!(expired(&mut wheel, u64::MAX - 65), []);
    assert_eq!(wheel.next_tick(), Some(u64::MAX - 64));
    assert_eq!(expired(&mut wheel, u64::MAX - 1), [1]);
    assert_eq!(wheel.next_tick(), Some(u64::MAX));
    assert_eq!(expired(&mut wheel, u64::MAX), [0]);
    wheel.arm(2, u64::MAX);
    assert_eq!(wheel.next_tick(), Some(u64::MAX));
    assert_eq!(expired(&mut wheel, u64::MAX), [2]);
}

#[test]
fn a_key_of_a_later_round_stays_when_its_slot_is_visited() {
    let mut wheel = Wheel::new(64, 0);
    wheel.arm(0, 10 + 3 * 64);
    for round in 0..3 {
        let tick = 10 + round * 64;
        assert_eq!(wheel.next_tick(), Some(tick));
        assert_eq!(expired(&mut wheel, tick), []);
        assert_eq!(expired(&mut wheel, tick), []);
    }
    assert_eq!(wheel.next_tick(), Some(10 + 3 * 64));
    assert_eq!(expired(&mut wheel, 10 + 3 * 64), [0]);
}

#[test]
fn after_a_very_long_sleep_keys_expire_in_the_order_of_their_slots() {
    let mut wheel = Wheel::new(WHEEL_SLOTS, 0);
    wheel.arm(0, u64::MAX);
    wheel.arm(1, (1 << 40) + 3);
    wheel.arm(2, 5);
    assert_eq!(expired(&mut wheel, 1 << 60), [1, 2], "other keys fired, or not in the order of their slots");
    assert_eq!(wheel.armed_tick(0), Some(u64::MAX));
    wheel.arm(3, (1 << 60) + 1);
    assert_eq!(expired(&mut wheel, (1 << 60) + 1), [3]);
}

#[test]
fn keys_beyond_the_limit_stay_due() {
    let mut wheel = Wheel::new(64, 0);
    for key in 0..10 {
        wheel.arm(key, u64::from(key / 4) + 1);
    }
    let mut due = Vec::new();
    assert!(wheel.expire(50, 0, &mut due), "no key was reported as due with a limit of 0");
    assert!(wheel.expire(50, 6, &mut due));
    assert_eq!(due, [0, 1, 2, 3, 4, 5]);
    assert_eq!((wheel.len(), wheel.next_tick()), (4, Some(2)));

    assert!(wheel.disarm(6));
    wheel.arm(10, 2);
    wheel.arm(11, 1);
    assert!(!wheel.expire(50, 5, &mut due), "a key remained due although the limit was exactly enough");
    assert_eq!(due[6..], [11, 7, 10, 8, 9]);
}

#[test]
fn keys_armed_while_due_keys_are_served_wait_for_the_next_call() {
    let mut wheel = Wheel::new(64, 0);
    wheel.arm(0, 1);
    wheel.arm(1, 1);
    let mut due = Vec::new();
    assert!(!wheel.expire(1, 2, &mut due));
    for key in due.drain(..) {
        assert_eq!(wheel.armed_tick(key), None);
        wheel.arm(key, 1);
    }
    assert!(wheel.expire(1, 1, &mut due));
    assert!(!wheel.expire(1, 1, &mut due));
    assert_eq!(due, [0, 1]);
}

#[test]
fn arming_a_key_again_moves_it_behind_the_other_keys_of_its_tick() {
    let mut wheel = Wheel::new(64, 0);
    for key in [0, 1, 2] {
        wheel.arm(key, 9);
    }
    wheel.arm(0, 9);
    wheel.arm(1, 73);
    wheel.arm(1, 9);
    assert_eq!(wheel.len(), 3);
    assert_eq!(expired(&mut wheel, 9), [2, 0, 1]);
}

#[test]
fn a_key_can_be_removed_from_every_position_of_its_list() {
    for gone in 0..4_u32 {
        let mut wheel = Wheel::new(64, 0);
        for key in 0..4 {
            wheel.arm(key, 9);
        }
        assert!(wheel.disarm(gone));
        assert!(!wheel.disarm(gone));
        let stay: Vec<u32> = (0..4).filter(|&key| key != gone).collect();
        assert_eq!(expired(&mut wheel, 9), stay);
    }
}

#[test]
fn a_clock_that_steps_back_fires_nothing_early() {
    let mut wheel = Wheel::new(64, 0);
    assert_eq!(expired(&mut wheel, 100), []);
    wheel.arm(0, 80);
    wheel.arm(1, 40);
    assert_eq!(expired(&mut wheel, 50), [1]);
    assert_eq!(expired(&mut wheel, 80), [0]);
}

#[test]
#[should_panic(expected = "power of two")]
fn a_wheel_without_slots_is_refused() {
    let _ = Wheel::new(0, 0);
}

#[test]
#[should_panic(expected = "power of two")]
fn a_wheel_whose_size_is_not_a_power_of_two_is_refused() {
    let _ = Wheel::new(96, 0);
}

#[test]
#[should_panic(expected = "below u32::MAX")]
fn the_largest_key_is_refused() {
    Wheel::new(64, 0).arm(u32::MAX, 0);
}
