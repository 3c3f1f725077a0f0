//! A hashed timer wheel: one deadline per key, counted in ticks.
//!
//! A loop has two wheels. In the first, a key is a link's position in the table, armed for the earliest of the link's
//! deadlines. In the second, a key is the index of a timer that a handler has set.
//!
//! A wheel is a ring of slots, one per tick, and each slot lists the keys whose tick falls on it. With the loop's
//! 65,536 slots of 1 ms the ring spans 65.536 s. A key armed for a later round stays in its slot and is visited once
//! per round. The wheel counts ticks and reads no clock; [`tick_at_or_after`], [`tick_of`] and [`instant_of`] convert
//! between ticks and moments.
//!
//! Guarantees:
//!
//! * The first call of [`Wheel::expire`] that reaches a key's tick, and has not yet returned `limit` keys, disarms the
//!   key and returns it. No key is returned early, or twice for one call of [`Wheel::arm`].
//! * The order of the returned keys depends only on the calls. Keys that were armed for a tick already passed are
//!   returned first. The others follow tick by tick. Keys of the same tick are in the order of arming. A call that
//!   passes more ticks than there are slots visits each slot only once, so it returns keys of different rounds in
//!   mixed order.
//! * An idle wheel has no cost: [`Wheel::next_tick`] returns the next tick with work.
//! * After construction only [`Wheel::arm`] allocates memory for the wheel, and only for a key higher than any before
//!   it.
//!
//! | call | cost |
//! |---|---|
//! | `arm`, `disarm`, `armed_tick`, `len` | O(1) |
//! | `next_tick` | O(1): one word of a bitmap, then a summary of one word per 4,096 slots |
//! | `expire` | O(keys in the occupied slots it passes), for any number of ticks |
//!
//! Most deadlines are moved before they pass. A heap would have to find and sift the entry, or keep a stale entry for
//! each move; `benches/wheel.rs` compares the wheel with such a heap and with an ordered set.

use crate::limits::TICK;
use crate::time::Instant;
use std::fmt;

const TICK_NANOS: u64 = TICK.as_nanos() as u64;
const WORD_BITS: usize = u64::BITS as usize;

/// Returns the first tick that does not begin before `deadline`.
///
/// Arm a key for this tick, and pass the current time's [`tick_of`] to [`Wheel::expire`]. No key then fires early,
/// and rounding delays a key by less than one tick.
pub const fn tick_at_or_after(deadline: Instant) -> u64 {
    deadline.as_nanos().div_ceil(TICK_NANOS)
}

/// Returns the tick that contains `now`.
pub const fn tick_of(now: Instant) -> u64 {
    now.as_nanos() / TICK_NANOS
}

/// Returns the moment at which `tick` begins, or [`Instant::MAX`] if that moment is beyond the clock's range.
pub const fn instant_of(tick: u64) -> Instant {
    Instant::from_nanos(tick.saturating_mul(TICK_NANOS))
}

/// A timer wheel; the module's page lists its guarantees.
///
/// It uses 4 bytes and one bit per slot, of which the kernel maps only the used pages. It also uses 16 bytes for every
/// key up to the highest key armed so far, or up to 32 bytes while the vector has spare capacity.
///
/// Internally a key is stored as an *entry*, the key plus one: 0 means none, so zeroed memory is an empty wheel.
pub struct Wheel {
    /// The last tick that was passed. Keys armed for a later tick are in a slot, the others in the overdue list.
    cursor: u64,
    /// The number of slots minus one.
    mask: u64,
    /// The first entry of each slot's list, followed by the overdue list's first entry.
    heads: Vec<u32>,
    occupied: Occupied,
    /// The node of each entry; entry 0 is never armed.
    nodes: Vec<Node>,
    armed: usize,
}

/// A key's tick, and the neighbouring entries in the key's circular list. Both neighbours are 0 if the key is not
/// armed.
#[derive(Clone, Copy, Default)]
struct Node {
    tick: u64,
    prev: u32,
    next: u32,
}

const _: () = assert!(size_of::<Node>() == 16, "a node does not have the documented 16 bytes");

impl Wheel {
    /// Creates an empty wheel with `slots` slots that has passed every tick up to `now_tick`.
    ///
    /// # Panics
    ///
    /// If `slots` is not a power of two.
    pub fn new(slots: usize, now_tick: u64) -> Self {
        assert!(slots.is_power_of_two(), "the number of slots is not a power of two");
        Self {
            cursor: now_tick,
            mask: slots as u64 - 1,
            heads: vec![0; slots + 1],
            occupied: Occupied::new(slots),
            nodes: Vec::new(),
            armed: 0,
        }
    }

    /// Returns the number of armed keys.
    #[cfg(feature = "internals")]
    pub const fn len(&self) -> usize {
        self.armed
    }

    /// Returns whether no key is armed.
    #[cfg(feature = "internals")]
    pub const fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// Returns the size of the wheel's heap memory in bytes.
    #[cfg(feature = "sim")]
    pub(crate) fn held_bytes(&self) -> usize {
        let words = self.occupied.words.capacity() + self.occupied.summary.capacity();
        self.heads.capacity() * size_of::<u32>() + words * size_of::<u64>() + self.nodes.capacity() * size_of::<Node>()
    }

    /// Returns the tick for which `key` is armed, or `None` if it is not armed.
    pub fn armed_tick(&self, key: u32) -> Option<u64> {
        let node = self.nodes.get(key as usize + 1)?;
        (node.next != 0).then_some(node.tick)
    }

    /// Arms `key` for `tick` and replaces its earlier tick, if any. A key armed for a tick already passed is due at
    /// once.
    ///
    /// Keys should be dense: the wheel uses 16 bytes for every key up to the highest.
    ///
    /// # Panics
    ///
    /// If `key` is `u32::MAX`.
    pub fn arm(&mut self, key: u32, tick: u64) {
        let entry = key.checked_add(1).expect("every key is below u32::MAX");
        if entry as usize >= self.nodes.len() {
            self.nodes.resize(entry as usize + 1, Node::default());
        }
        self.disarm(key);
        let list = self.list_of(tick);
        let head = self.heads[list];
        let (prev, next) = if head == 0 {
            self.heads[list] = entry;
            if list != self.overdue() {
                self.occupied.insert(list);
            }
            (entry, entry)
        } else {
            (self.node(head).prev, head)
        };
        self.nodes[prev as usize].next = entry;
        self.nodes[next as usize].prev = entry;
        self.nodes[entry as usize] = Node { tick, prev, next };
        self.armed += 1;
    }

    /// Disarms `key` and returns whether it was armed.
    pub fn disarm(&mut self, key: u32) -> bool {
        let Some(tick) = self.armed_tick(key) else { return false };
        self.unlink(key + 1, self.list_of(tick));
        true
    }

    /// Returns the tick at which to call [`Wheel::expire`] next, or `None` if no key is armed.
    ///
    /// This is the last passed tick if an armed key's tick had passed before the key was armed. Otherwise it is the
    /// earliest armed tick, or an earlier one at which a key of a later round is visited.
    pub fn next_tick(&self) -> Option<u64> {
        if self.heads[self.overdue()] != 0 { Some(self.cursor) } else { self.next_occupied_tick() }
    }

    /// Disarms at most `limit` keys that are armed for `now_tick` or an earlier tick, and appends them to `due`.
    /// Returns whether more such keys remain.
    ///
    /// If keys remain, [`Wheel::next_tick`] is not after `now_tick`, and the next call continues with the remaining
    /// keys. Visited keys of a later round do not count against `limit`. A `now_tick` before that of an earlier call
    /// is safe: no key fires early, and no tick is passed twice.
    pub fn expire(&mut self, now_tick: u64, limit: usize, due: &mut Vec<u32>) -> bool {
        let full_len = due.len().saturating_add(limit);
        if self.drain(self.overdue(), now_tick, full_len, due) {
            return true;
        }
        // One round visits every slot, and the keys that then remain are not due.
        let round_end = now_tick.min(self.cursor.saturating_add(self.mask + 1));
        while let Some(tick) = self.next_occupied_tick()
            && tick <= round_end
        {
            self.cursor = tick - 1;
            if self.drain((tick & self.mask) as usize, now_tick, full_len, due) {
                return true;
            }
            self.cursor = tick;
        }
        self.cursor = self.cursor.max(now_tick);
        false
    }

    /// Moves the due keys in `list` to `due`. Returns whether some remain because `due` has `full_len` keys.
    fn drain(&mut self, list: usize, now_tick: u64, full_len: usize, due: &mut Vec<u32>) -> bool {
        let mut entry = self.heads[list];
        if entry == 0 {
            return false;
        }
        let last = self.node(entry).prev;
        loop {
            let Node { tick, next, .. } = self.node(entry);
            if tick <= now_tick {
                if due.len() >= full_len {
                    return true;
                }
                self.unlink(entry, list);
                due.push(entry - 1);
            }
            if entry == last {
                return false;
            }
            entry = next;
        }
    }

    fn unlink(&mut self, entry: u32, list: usize) {
        let Node { prev, next, .. } = std::mem::take(&mut self.nodes[entry as usize]);
        if next == entry {
            self.heads[list] = 0;
            if list != self.overdue() {
                self.occupied.remove(list);
            }
        } else {
            self.nodes[prev as usize].next = next;
            self.nodes[next as usize].prev = prev;
            if self.heads[list] == entry {
                self.heads[list] = next;
            }
        }
        self.armed -= 1;
    }

    fn node(&self, entry: u32) -> Node {
        self.nodes[entry as usize]
    }

    /// Returns the list for keys armed for `tick`.
    fn list_of(&self, tick: u64) -> usize {
        if tick <= self.cursor { self.overdue() } else { (tick & self.mask) as usize }
    }

    fn overdue(&self) -> usize {
        self.heads.len() - 1
    }

    /// Returns the first tick after the cursor whose slot is occupied.
    ///
    /// A slot's keys are armed for the returned tick or for a later round of the ring, so the sum cannot overflow.
    /// Once the cursor has reached the very last tick, every slot is empty.
    fn next_occupied_tick(&self) -> Option<u64> {
        let from = self.cursor.wrapping_add(1);
        let slot = self.occupied.next_from((from & self.mask) as usize)?;
        Some(from + ticks_ahead(from, slot, self.mask))
    }
}

impl fmt::Debug for Wheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("cursor", &self.cursor)
            .field("slots", &self.overdue())
            .field("armed", &self.armed)
            .finish_non_exhaustive()
    }
}

/// The occupied slots: a bit for each slot, and above them a bit for each word of bits.
struct Occupied {
    words: Vec<u64>,
    summary: Vec<u64>,
}

impl Occupied {
    fn new(slots: usize) -> Self {
        let words = slots.div_ceil(WORD_BITS);
        Self { words: vec![0; words], summary: vec![0; words.div_ceil(WORD_BITS)] }
    }

    fn insert(&mut self, slot: usize) {
        let word = slot / WORD_BITS;
        set_bit(&mut self.words, slot);
        set_bit(&mut self.summary, word);
    }

    fn remove(&mut self, slot: usize) {
        let word = slot / WORD_BITS;
        clear_bit(&mut self.words, slot);
        if self.words[word] == 0 {
            clear_bit(&mut self.summary, word);
        }
    }

    /// Returns the first occupied slot from `slot` on, all the way around the ring.
    fn next_from(&self, slot: usize) -> Option<usize> {
        self.at_or_after(slot).or_else(|| self.at_or_after(0))
    }

    fn at_or_after(&self, slot: usize) -> Option<usize> {
        let word = slot / WORD_BITS;
        first_set_at_or_after(&self.words[..=word], slot).or_else(|| {
            let word = first_set_at_or_after(&self.summary, word + 1)?;
            first_set_at_or_after(&self.words, word * WORD_BITS)
        })
    }
}

/// Returns the number of ticks from `from` until the ring next visits `slot`; it is at most `mask`.
const fn ticks_ahead(from: u64, slot: usize, mask: u64) -> u64 {
    (slot as u64).wrapping_sub(from) & mask
}

fn set_bit(words: &mut [u64], bit: usize) {
    words[bit / WORD_BITS] |= 1 << (bit % WORD_BITS);
}

fn clear_bit(words: &mut [u64], bit: usize) {
    words[bit / WORD_BITS] &= !(1 << (bit % WORD_BITS));
}

/// Returns the first bit set in `words` at or after `bit`, which may be beyond the end.
fn first_set_at_or_after(words: &[u64], bit: usize) -> Option<usize> {
    let first = bit / WORD_BITS;
    let rest = words.get(first)? & (u64::MAX << (bit % WORD_BITS));
    let (index, word) = if rest != 0 {
        (first, rest)
    } else {
        let (index, &word) = words.iter().enumerate().skip(first + 1).find(|&(_, &word)| word != 0)?;
        (index, word)
    };
    Some(index * WORD_BITS + word.trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of slots around the bitmap's boundaries: less than one word, one word, several words, and several words
    /// of summary.
    const SIZES: [usize; 8] = [1, 2, 32, 64, 128, 4_096, 8_192, 65_536];

    fn slots_of_interest(slots: usize) -> Vec<usize> {
        let step = (slots / 64).max(1);
        let mut interest: Vec<usize> =
            (0..slots).step_by(step).flat_map(|slot| [slot.saturating_sub(1), slot]).chain([slots - 1]).collect();
        interest.dedup();
        interest
    }

    #[test]
    fn the_first_set_bit_of_every_pair_is_found_from_every_start() {
        const BITS: usize = 3 * WORD_BITS;
        for low in 0..BITS {
            for high in low..BITS {
                let mut words = [0; 3];
                set_bit(&mut words, low);
                set_bit(&mut words, high);
                for from in 0..=BITS + WORD_BITS {
                    let expected = [low, high].into_iter().find(|&bit| bit >= from);
                    assert_eq!(first_set_at_or_after(&words, from), expected, "{low} and {high} from {from}");
                }
            }
        }
        assert_eq!(first_set_at_or_after(&[], 0), None);
        assert_eq!(first_set_at_or_after(&[0, 0], 0), None);
    }

    #[test]
    fn clearing_a_bit_keeps_every_other_bit() {
        for bit in 0..2 * WORD_BITS {
            let mut words = [u64::MAX; 2];
            clear_bit(&mut words, bit);
            let cleared = u128::from(words[1]) << 64 | u128::from(words[0]);
            assert_eq!(cleared, !(1_u128 << bit));
            set_bit(&mut words, bit);
            assert_eq!(words, [u64::MAX; 2]);
        }
    }

    #[test]
    fn ticks_ahead_matches_counting() {
        for mask in [0, 1, 3, 63] {
            let starts = [0, 1 << 31, 1 << 32, u64::MAX - 64 - mask];
            for from in starts.into_iter().flat_map(|start| start..start + mask + 2) {
                for slot in 0..=mask {
                    let counted = (0..=mask).find(|ahead| from.wrapping_add(*ahead) & mask == slot);
                    assert_eq!(Some(ticks_ahead(from, slot as usize, mask)), counted, "{from} to {slot} of {mask}");
                }
            }
        }
    }

    #[test]
    fn the_next_occupied_slot_is_found_all_around_the_ring() {
        for slots in SIZES {
            let interest = slots_of_interest(slots);
            for &slot in &interest {
                let mut occupied = Occupied::new(slots);
                occupied.insert(slot);
                for &from in &interest {
                    assert_eq!(occupied.next_from(from), Some(slot), "{slot} from {from} of {slots}");
                }
                occupied.remove(slot);
                assert_eq!(occupied.next_from(slot), None);
                assert!(occupied.summary.iter().all(|&word| word == 0));
            }
        }
    }

    #[test]
    fn the_nearer_of_two_occupied_slots_is_next() {
        for slots in [2, 64, 128, 8_192] {
            let interest = slots_of_interest(slots);
            let ahead = |from: usize, slot: usize| (slot + slots - from) % slots;
            for &one in &interest {
                for &two in &interest {
                    let mut occupied = Occupied::new(slots);
                    occupied.insert(one);
                    occupied.insert(two);
                    for &from in interest.iter().step_by(7) {
                        let nearer = [one, two].into_iter().min_by_key(|&slot| ahead(from, slot));
                        assert_eq!(occupied.next_from(from), nearer, "{one} and {two} from {from} of {slots}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_word_stays_in_the_summary_while_one_of_its_slots_is_occupied() {
        let mut occupied = Occupied::new(8_192);
        occupied.insert(5_000);
        occupied.insert(5_001);
        occupied.remove(5_000);
        assert_eq!(occupied.next_from(0), Some(5_001));
    }

    #[test]
    fn deadlines_round_up_and_the_current_time_rounds_down() {
        let cases = [(0, 0, 0), (1, 1, 0), (999_999, 1, 0), (1_000_000, 1, 1), (1_000_001, 2, 1)];
        for (nanos, at_or_after, of) in cases {
            assert_eq!(tick_at_or_after(Instant::from_nanos(nanos)), at_or_after, "{nanos}");
            assert_eq!(tick_of(Instant::from_nanos(nanos)), of, "{nanos}");
        }
        assert!(tick_at_or_after(Instant::MAX) > tick_of(Instant::MAX), "a moment that is never reached became due");
    }

    #[test]
    fn a_deadlines_tick_begins_less_than_one_tick_after_it_and_never_before() {
        for nanos in [0, 1, 999_999, 1_000_000, 1 << 40, u64::MAX - 2_000_000] {
            let deadline = Instant::from_nanos(nanos);
            let fires = instant_of(tick_at_or_after(deadline));
            assert!(fires >= deadline && fires < deadline.plus(TICK));
            assert_eq!(tick_of(fires), tick_at_or_after(deadline));
        }
        assert_eq!(instant_of(u64::MAX), Instant::MAX);
    }
}
