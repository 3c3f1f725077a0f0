//! Fingerprints of transactions that were announced and whose entries have been dropped.
//!
//! A fingerprint is 56 bits of the keyed hash, in one word with an epoch of 8 bits. The table consists of shards, each
//! of which doubles on its own, so no insertion stalls the loop. A sweep removes old fingerprints step by step, and a
//! shard removes them before it doubles. If the maximum number is reached, the oldest epoch expires early. A hash that
//! was never added is found with a probability of at most 3e-11 while two million are held; its transaction is then not
//! relayed by us.

use crate::limits::RELAY_SEEN_TIME;
use crate::time::Instant;
use std::time::Duration;

const SHARDS: usize = 256;
/// Number of epochs in the time for which fingerprints are kept. Fewer than 128, so that epochs can be compared.
const EPOCHS: u64 = 100;
const EPOCH: Duration = Duration::from_millis(RELAY_SEEN_TIME.as_millis() as u64 / EPOCHS);
const FIRST_SHARD_LEN: usize = 16;
/// A free place of a shard.
const EMPTY: u64 = 0;

/// The fingerprints of dropped entries.
#[derive(Debug)]
pub(super) struct Seen {
    shards: Vec<Shard>,
    max: usize,
    len: usize,
    /// The number of the current epoch.
    epoch: u64,
    /// The number of the oldest epoch whose fingerprints count.
    oldest: u64,
    /// The number of fingerprints of each epoch that is still counted, by epoch modulo 256.
    counts: Vec<u32>,
    /// The next shard to be swept.
    swept: usize,
    /// The number of fingerprints that were dropped before their time.
    early: u64,
}

#[derive(Clone, Debug, Default)]
struct Shard {
    /// Words of 56 bits of a hash and 8 bits of an epoch. The length is zero or a power of two.
    words: Vec<u64>,
    len: usize,
}

impl Seen {
    /// Creates an empty table for at most `max` fingerprints.
    pub(super) fn new(max: usize) -> Self {
        let (shards, counts) = (vec![Shard::default(); SHARDS], vec![0; 256]);
        Self { shards, max, len: 0, epoch: EPOCHS, oldest: 0, counts, swept: 0, early: 0 }
    }

    /// Returns the maximum number of bytes that a table for `max` fingerprints uses.
    pub(super) const fn memory_bytes(max: usize) -> usize {
        // The keyed hash fills the shards at random: none has more than six standard deviations above the average.
        let average = max / SHARDS + 1;
        let words = ((average + 6 * average.isqrt()) * 8 / 5).next_power_of_two();
        let words = if words < FIRST_SHARD_LEN { FIRST_SHARD_LEN } else { words };
        SHARDS * (size_of::<Shard>() + words * size_of::<u64>()) + 256 * size_of::<u32>()
    }

    /// Returns whether the hash was added and is still remembered.
    pub(super) fn contains(&self, key: u64) -> bool {
        let (shard, word) = (&self.shards[shard_of(key)], word_of(key, 0));
        shard.find(word).is_some_and(|at| is_young(shard.words[at], self.epoch, self.oldest))
    }

    /// Adds a hash.
    pub(super) fn insert(&mut self, key: u64) {
        while self.len >= self.max.max(1) {
            let is_current = self.oldest == self.epoch;
            if is_current {
                self.epoch += 1;
            }
            self.early += u64::from(self.counts[self.oldest as usize % 256]);
            self.expire_oldest();
            if is_current {
                // Without time, the sweep would not run before the bits of the epoch repeat.
                self.sweep(SHARDS);
            }
        }
        let word = word_of(key, self.epoch);
        let (epoch, oldest) = (self.epoch, self.oldest);
        let epoch_before = self.shards[shard_of(key)].insert(word, |word| is_young(word, epoch, oldest));
        if let Some(before) = epoch_before {
            self.uncount(before);
        }
        self.counts[self.epoch as usize % 256] += 1;
        self.len += 1;
    }

    /// Advances the time, and removes fingerprints that have expired from some shards. Call it about once a second.
    pub(super) fn advance(&mut self, now: Instant) {
        let epoch = EPOCHS + now.as_nanos() / EPOCH.as_nanos() as u64;
        if epoch > self.epoch + EPOCHS {
            // Eight bits cannot tell such old epochs from young ones.
            self.shards.fill(Shard::default());
            self.counts.fill(0);
            (self.len, self.oldest) = (0, epoch);
        }
        let passed = epoch.saturating_sub(self.epoch);
        self.epoch = self.epoch.max(epoch);
        while self.oldest + EPOCHS < self.epoch {
            self.expire_oldest();
        }
        // Each shard is swept at least once in 43 epochs, so an expired fingerprint is removed long before the 8 bits
        // of its epoch repeat.
        self.sweep((passed as usize * 6).clamp(8, SHARDS));
    }

    /// Returns the number of fingerprints that count.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the number of fingerprints that were dropped early because the table was full.
    pub(super) fn early(&self) -> u64 {
        self.early
    }

    fn expire_oldest(&mut self) {
        let count = &mut self.counts[self.oldest as usize % 256];
        self.len -= *count as usize;
        *count = 0;
        self.oldest += 1;
    }

    /// Stops counting a fingerprint that is replaced.
    fn uncount(&mut self, epoch_bits: u8) {
        if is_young(u64::from(epoch_bits), self.epoch, self.oldest) {
            self.counts[usize::from(epoch_bits)] -= 1;
            self.len -= 1;
        }
    }

    fn sweep(&mut self, shards: usize) {
        for _ in 0..shards {
            let (epoch, oldest) = (self.epoch, self.oldest);
            self.shards[self.swept].retain(|word| is_young(word, epoch, oldest));
            self.swept = (self.swept + 1) % SHARDS;
        }
    }
}

impl Shard {
    /// Returns the index of the word with the same hash.
    fn find(&self, word: u64) -> Option<usize> {
        if self.words.is_empty() {
            return None;
        }
        let mut at = self.home(word);
        while self.words[at] != EMPTY {
            if self.words[at] >> 8 == word >> 8 {
                return Some(at);
            }
            at = (at + 1) % self.words.len();
        }
        None
    }

    /// Adds a word, and returns the epoch of the word with the same hash that it replaces. Doubles only if the words
    /// that are kept fill five eighths: at three quarters, each insertion could rebuild the shard.
    fn insert(&mut self, word: u64, is_kept: impl Fn(u64) -> bool) -> Option<u8> {
        if let Some(at) = self.find(word) {
            let before = self.words[at] as u8;
            self.words[at] = word;
            return Some(before);
        }
        if (self.len + 1) * 4 > self.words.len() * 3 {
            let kept = self.words.iter().filter(|&&word| word != EMPTY && is_kept(word)).count();
            let is_full = (kept + 1) * 8 > self.words.len() * 5;
            self.resize(self.words.len().max(FIRST_SHARD_LEN / 2) << u32::from(is_full), is_kept);
        }
        self.put(word);
        None
    }

    fn put(&mut self, word: u64) {
        let mut at = self.home(word);
        while self.words[at] != EMPTY {
            at = (at + 1) % self.words.len();
        }
        self.words[at] = word;
        self.len += 1;
    }

    fn retain(&mut self, is_kept: impl Fn(u64) -> bool) {
        if self.words.iter().any(|&word| word != EMPTY && !is_kept(word)) {
            self.resize(self.words.len(), is_kept);
        }
    }

    fn resize(&mut self, len: usize, is_kept: impl Fn(u64) -> bool) {
        let before = std::mem::replace(&mut self.words, vec![EMPTY; len]);
        self.len = 0;
        before.into_iter().filter(|&word| word != EMPTY && is_kept(word)).for_each(|word| self.put(word));
    }

    fn home(&self, word: u64) -> usize {
        (word >> 8) as usize & (self.words.len() - 1)
    }
}

/// Returns whether the epoch of a word counts, if this one is current and the oldest one counts.
const fn is_young(word: u64, epoch: u64, oldest: u64) -> bool {
    let age = (epoch as u8).wrapping_sub(word as u8);
    epoch - age as u64 >= oldest
}

const fn shard_of(key: u64) -> usize {
    (key >> 56) as usize
}

/// Returns the word of a hash and an epoch. It is never [`EMPTY`].
const fn word_of(key: u64, epoch: u64) -> u64 {
    let hash = key & (u64::MAX >> 8);
    let hash = if hash == 0 { 1 } else { hash };
    hash << 8 | epoch & 0xff
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn at(epochs: u64) -> Instant {
        Instant::from_nanos(epochs * EPOCH.as_nanos() as u64)
    }

    /// Returns a hash whose shard and place depend on `number`.
    fn key(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number << 60
    }

    /// Returns a hash with random bits.
    fn random(number: u64) -> u64 {
        let mixed = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

        #[test]
        fn a_hash_is_remembered_for_its_time(steps in prop::collection::vec((0..500_u64, 0..30_u64), 0..400)) {
            let mut seen = Seen::new(1_000_000);
            let (mut model, mut now) = (BTreeMap::new(), 0);
            for (number, pause) in steps {
                now += pause;
                seen.advance(at(now));
                seen.insert(key(number));
                model.insert(number, now);
                model.retain(|_, added| *added + EPOCHS >= now);
                prop_assert_eq!(seen.len(), model.len());
                for number in 0..500 {
                    prop_assert_eq!(seen.contains(key(number)), model.contains_key(&number), "{}", number);
                }
            }
        }
    }

    #[test]
    fn the_oldest_epochs_are_dropped_early_when_the_table_is_full() {
        let mut seen = Seen::new(100);
        for number in 0..300 {
            seen.advance(at(number / 10));
            seen.insert(key(number));
            assert!(seen.len() <= 100);
        }
        assert!((210..300).all(|number| seen.contains(key(number))));
        assert!(!(0..200).any(|number| seen.contains(key(number))));
        assert_eq!(seen.early() + seen.len() as u64, 300);
    }

    #[test]
    fn more_than_the_maximum_in_one_epoch_is_dropped_early() {
        let mut seen = Seen::new(10);
        for number in 0..5_000 {
            seen.insert(key(number));
            assert!(seen.len() <= 10 && seen.contains(key(number)));
        }
        assert_eq!(seen.early() + seen.len() as u64, 5_000);
        assert!(seen.shards.iter().map(|shard| shard.len).sum::<usize>() <= 20);
    }

    #[test]
    fn expired_fingerprints_are_removed_and_never_count_again() {
        let mut seen = Seen::new(1_000_000);
        (0..10_000).for_each(|number| seen.insert(key(number)));
        for epoch in 0..400 {
            seen.advance(at(epoch));
            seen.advance(at(epoch));
            assert_eq!(seen.contains(key(77)), epoch <= EPOCHS, "{epoch}");
        }
        assert_eq!(seen.shards.iter().map(|shard| shard.len).sum::<usize>(), 0);
    }

    #[test]
    fn a_long_pause_forgets_everything() {
        for pause in [EPOCHS + 1, 255, 256, 257, 512, 10_000] {
            let mut seen = Seen::new(1_000);
            seen.insert(key(1));
            seen.advance(at(pause));
            assert_eq!((seen.len(), seen.contains(key(1))), (0, false), "{pause}");
            seen.insert(key(1));
            assert!(seen.contains(key(1)));
        }
    }

    /// Returns the number of bytes that the table uses.
    fn used_bytes(seen: &Seen) -> usize {
        let words: usize = seen.shards.iter().map(|shard| shard.words.capacity()).sum();
        words * size_of::<u64>() + SHARDS * size_of::<Shard>() + seen.counts.capacity() * size_of::<u32>()
    }

    #[test]
    fn the_memory_stays_within_the_formula() {
        for max in [1, 10, 1_000, 50_000, 130_000, 1_000_000] {
            let mut seen = Seen::new(max);
            (0..max as u64).for_each(|number| seen.insert(random(number)));
            let (bytes, stated) = (used_bytes(&seen), Seen::memory_bytes(max));
            assert!(bytes <= stated, "{bytes} bytes for {max}, at most {stated}");
            assert!(stated <= 27 * max + 64 * 1024, "{stated} bytes for {max}");
        }
    }

    #[test]
    fn a_flood_between_two_sweeps_stays_within_the_formula() {
        let mut seen = Seen::new(50_000);
        for number in 0..1_000_000 {
            if number % 25_000 == 0 {
                seen.advance(at(number / 25_000));
            }
            seen.insert(random(number));
        }
        assert!(used_bytes(&seen) <= Seen::memory_bytes(50_000), "{} bytes", used_bytes(&seen));
        assert!(seen.len() <= 50_000 && (975_000..1_000_000).all(|number| seen.contains(random(number))));
    }
}
