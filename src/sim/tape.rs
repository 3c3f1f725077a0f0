//! The source of all random numbers of a world: numbered streams of draws, which can be written down and replayed.
//!
//! Each crowd has a stream of its own, and each host has one for each purpose. Removing a crowd or a host therefore
//! changes no draws of the others. Stream `s` of seed `S` begins at a hash of both, and streams are independent. A
//! recording tape keeps the draws, not the random numbers from which they were made. Therefore its text can be replayed
//! by a program that draws fewer or more numbers, or from other ranges, and can be reduced by hand or by a machine. A
//! draw of 0 is always the simplest outcome, and a replayed stream returns 0 after its last draw.
//!
//! Never use these random numbers for secrets.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

/// Maximum number of zeros that one word of a tape's text may represent. In memory, these zeros need 8 MiB.
const MAX_ZEROS: usize = 1 << 20;

/// All draws of a world. Clones are cheap and draw from the same streams.
#[derive(Clone, Debug)]
pub struct Tape {
    reel: Rc<Reel>,
}

/// One stream of a [`Tape`]. Clones are cheap and draw from the same stream.
#[derive(Clone, Debug)]
pub struct Chance {
    stream: Rc<Stream>,
}

/// The error for text that is not a valid tape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapeError {
    /// The line, counted from 1.
    pub line: usize,
    /// The unexpected word.
    pub word: String,
}

#[derive(Debug)]
struct Reel {
    source: Source,
    streams: RefCell<BTreeMap<u32, Rc<Stream>>>,
}

#[derive(Debug)]
enum Source {
    Seed(u64),
    Recording(u64),
    /// Each stream's draws. Zeros follow the last draw.
    Written(BTreeMap<u32, Vec<u64>>),
}

#[derive(Debug)]
struct Stream {
    /// The generator's state; unused if the stream replays written draws.
    state: Cell<u64>,
    track: Track,
}

#[derive(Debug)]
enum Track {
    None,
    Recorded(RefCell<Vec<u64>>),
    Played { draws: Vec<u64>, next: Cell<usize> },
}

impl Tape {
    /// Returns a tape that draws from a seed and keeps nothing.
    pub fn from_seed(seed: u64) -> Self {
        Self::of_source(Source::Seed(seed))
    }

    /// Returns a tape that draws as [`Tape::from_seed`] does and keeps eight bytes for each draw.
    pub fn recording(seed: u64) -> Self {
        Self::of_source(Source::Recording(seed))
    }

    /// Returns a tape whose streams return these draws, listed by stream number, and then zeros.
    pub fn of_draws(draws: BTreeMap<u32, Vec<u64>>) -> Self {
        Self::of_source(Source::Written(draws))
    }

    fn of_source(source: Source) -> Self {
        Self { reel: Rc::new(Reel { source, streams: RefCell::default() }) }
    }

    /// Parses a tape's text, in the format of [`Tape::to_text`]. `#` begins a comment.
    ///
    /// # Errors
    ///
    /// A [`TapeError`] for the first unexpected word.
    pub fn parse(text: &str) -> Result<Self, TapeError> {
        let mut draws: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let error = |word: &str| TapeError { line: index + 1, word: word.to_owned() };
            let line = line.split('#').next().unwrap_or_default();
            let Some((head, rest)) = line.split_once(':') else {
                match line.split_whitespace().collect::<Vec<_>>()[..] {
                    [] => continue,
                    ["seed", seed] if draws.is_empty() => {
                        return seed.parse().map(Self::from_seed).map_err(|_| error(seed));
                    }
                    [word, ..] => return Err(error(word)),
                }
            };
            let stream = draws.entry(head.trim().parse().map_err(|_| error(head.trim()))?).or_default();
            for word in rest.split_whitespace() {
                match word.split_once('*') {
                    None => stream.push(word.parse().map_err(|_| error(word))?),
                    Some(("0", zeros)) => {
                        let zeros = zeros
                            .parse::<usize>()
                            .ok()
                            .filter(|zeros| *zeros <= MAX_ZEROS)
                            .ok_or_else(|| error(word))?;
                        stream.resize(stream.len() + zeros, 0);
                    }
                    Some(_) => return Err(error(word)),
                }
            }
        }
        Ok(Self::of_draws(draws))
    }

    /// Returns the tape as text. A tape that keeps nothing is one line such as `seed 7`. Any other tape has one line
    /// `stream: draw draw ...` for each stream with a draw other than 0; `0*9` represents nine zeros.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        if let Source::Seed(seed) = self.reel.source {
            return format!("seed {seed}\n");
        }
        for (stream, draws) in self.draws() {
            text += &format!("{stream}:");
            for group in draws.chunk_by(|one, two| (*one == 0) == (*two == 0)) {
                match group {
                    [0, 0, ..] => text += &format!(" 0*{}", group.len()),
                    group => text.extend(group.iter().map(|draw| format!(" {draw}"))),
                }
            }
            text.push('\n');
        }
        text
    }

    /// Returns the recorded or written draws of each stream, without the zeros at its end. Returns no draws if the tape
    /// keeps nothing.
    pub fn draws(&self) -> BTreeMap<u32, Vec<u64>> {
        let mut draws = match &self.reel.source {
            Source::Seed(_) => BTreeMap::new(),
            Source::Written(draws) => draws.clone(),
            Source::Recording(_) => {
                let streams = self.reel.streams.borrow();
                streams.iter().map(|(id, stream)| (*id, stream.recorded())).collect()
            }
        };
        trim(&mut draws);
        draws
    }

    /// Returns the stream with this number, at its current position.
    pub fn stream(&self, id: u32) -> Chance {
        let mut streams = self.reel.streams.borrow_mut();
        let stream = streams.entry(id).or_insert_with(|| Rc::new(Stream::new(&self.reel.source, id)));
        Chance { stream: Rc::clone(stream) }
    }
}

impl Chance {
    /// Returns a number below `bound`, or 0 if `bound` is 0.
    pub fn below(&self, bound: u32) -> u32 {
        let draw = self.stream.draw(|random| scaled(random, u128::from(bound)));
        draw.min(u64::from(bound).saturating_sub(1)) as u32
    }

    /// Returns a number from `low` to `high_inclusive`; returns `low` for a draw of 0.
    pub fn range(&self, low: u64, high_inclusive: u64) -> u64 {
        let width = high_inclusive.saturating_sub(low);
        let draw = self.stream.draw(|random| scaled(random, u128::from(width) + 1));
        low + draw.min(width)
    }

    /// Returns `true` with a probability of 1 in `n`; never if `n` is 0, and never for a draw of 0.
    pub fn one_in(&self, n: u32) -> bool {
        n > 0 && self.stream.draw(|random| u64::from(scaled(random, u128::from(n)) == 0)) != 0
    }

    /// Fills `bytes` from a single draw, regardless of their number; a draw of 0 fills them with zeros.
    pub fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.stream.draw(|random| random);
        if state == 0 {
            return bytes.fill(0);
        }
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&next(&mut state).to_le_bytes()[..chunk.len()]);
        }
    }

    /// Returns one of `items`; the first for a draw of 0.
    ///
    /// # Panics
    ///
    /// If `items` is empty or has 2^32 or more items.
    pub fn pick<'a, T>(&self, items: &'a [T]) -> &'a T {
        let count = u32::try_from(items.len()).expect("there are fewer than 2^32 items");
        &items[self.below(count) as usize]
    }
}

impl Stream {
    fn new(source: &Source, id: u32) -> Self {
        let begin = |seed: u64| Cell::new(mix(mix(seed).wrapping_add(mix(u64::from(id) ^ STEP))));
        match source {
            Source::Seed(seed) => Self { state: begin(*seed), track: Track::None },
            Source::Recording(seed) => Self { state: begin(*seed), track: Track::Recorded(RefCell::default()) },
            Source::Written(draws) => {
                let draws = draws.get(&id).cloned().unwrap_or_default();
                Self { state: Cell::new(0), track: Track::Played { draws, next: Cell::new(0) } }
            }
        }
    }

    /// Returns the stream's next draw. A written stream returns its next written draw, or 0 after the last one. Any
    /// other stream returns the `outcome` of the next random number.
    fn draw(&self, outcome: impl FnOnce(u64) -> u64) -> u64 {
        let random = || {
            let mut state = self.state.get();
            let random = next(&mut state);
            self.state.set(state);
            random
        };
        match &self.track {
            Track::None => outcome(random()),
            Track::Recorded(draws) => {
                let draw = outcome(random());
                draws.borrow_mut().push(draw);
                draw
            }
            Track::Played { draws, next } => {
                let at = next.get();
                next.set(at + 1);
                draws.get(at).copied().unwrap_or(0)
            }
        }
    }

    fn recorded(&self) -> Vec<u64> {
        match &self.track {
            Track::Recorded(draws) => draws.borrow().clone(),
            Track::None | Track::Played { .. } => Vec::new(),
        }
    }
}

/// Removes the zeros at the end of each stream, and empty streams. A tape returns zeros there anyway.
pub(super) fn trim(draws: &mut BTreeMap<u32, Vec<u64>>) {
    draws.retain(|_, stream| {
        let len = stream.iter().rposition(|draw| *draw != 0).map_or(0, |last| last + 1);
        stream.truncate(len);
        len > 0
    });
}

/// Scales a random number to the range below `bound`. The bound is at most 2^64.
fn scaled(random: u64, bound: u128) -> u64 {
    ((u128::from(random) * bound) >> 64) as u64
}

/// Returns the next number of SplitMix64 (Steele, Lea and Flood, 2014), a small and fast generator without bad seeds.
pub(super) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(STEP);
    mix(*state)
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

impl fmt::Display for TapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the tape: unexpected {:?}", self.line, self.word)
    }
}

impl std::error::Error for TapeError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws numbers of each kind.
    fn some_of_each(chance: &Chance) -> (u32, u64, Vec<bool>, [u8; 11], char) {
        let mut bytes = [1; 11];
        chance.fill(&mut bytes);
        let flags = (0..40).map(|_| chance.one_in(4)).collect();
        (chance.below(1_000), chance.range(5, u64::MAX), flags, bytes, *chance.pick(&['a', 'b', 'c']))
    }

    #[test]
    fn splitmix64_returns_the_published_numbers() {
        let mut state = 1_234_567;
        let numbers: Vec<u64> = (0..3).map(|_| next(&mut state)).collect();
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn a_recorded_tape_is_replayed_from_its_text() {
        let seeded = Tape::from_seed(9);
        let recording = Tape::recording(9);
        for id in [0, 3, u32::MAX] {
            assert_eq!(some_of_each(&seeded.stream(id)), some_of_each(&recording.stream(id)));
        }
        let played = Tape::parse(&recording.to_text()).unwrap();
        assert_eq!(played.to_text(), recording.to_text());
        assert_eq!(played.draws(), recording.draws());
        let again = Tape::from_seed(9);
        for id in [u32::MAX, 3, 0] {
            assert_eq!(some_of_each(&played.stream(id)), some_of_each(&again.stream(id)));
        }
    }

    #[test]
    fn a_seed_is_a_tape_of_one_line() {
        assert_eq!(Tape::from_seed(77).to_text(), "seed 77\n");
        let tape = Tape::parse("# found yesterday\nseed 77\n").unwrap();
        assert_eq!(some_of_each(&tape.stream(4)), some_of_each(&Tape::from_seed(77).stream(4)));
    }

    #[test]
    fn streams_are_independent() {
        let (alone, crowded) = (Tape::from_seed(1), Tape::from_seed(1));
        let expected = some_of_each(&alone.stream(5));
        for id in [4, 6, 5 << 8] {
            assert_ne!(some_of_each(&crowded.stream(id)), expected);
        }
        assert_eq!(some_of_each(&crowded.stream(5)), expected);
        assert_ne!(some_of_each(&Tape::from_seed(2).stream(5)), expected);
        let (one, same) = (alone.stream(8), alone.stream(8));
        assert_ne!(one.range(0, u64::MAX), same.range(0, u64::MAX), "two handles of one stream returned the same draw");
    }

    #[test]
    fn zero_is_the_simplest_outcome_and_is_drawn_after_the_end() {
        let chance = Tape::parse("3: 2").unwrap().stream(3);
        assert_eq!(chance.below(9), 2);
        assert_eq!(some_of_each(&chance), (0, 5, vec![false; 40], [0; 11], 'a'));
        assert!(!chance.one_in(1), "a draw of 0 was a hit");
        assert_eq!((chance.below(0), chance.range(7, 7)), (0, 7));
    }

    #[test]
    fn draws_beyond_the_range_are_clamped_to_its_end() {
        let chance = Tape::of_draws(BTreeMap::from([(1, vec![9, 9, 9, u64::MAX])])).stream(1);
        assert_eq!((chance.below(4), chance.range(2, 4), chance.one_in(3)), (3, 4, true));
        assert_eq!(chance.range(3, u64::MAX), u64::MAX);
    }

    #[test]
    fn draws_are_spread_evenly_and_within_their_bounds() {
        let chance = Tape::from_seed(3).stream(0);
        let mut counts = [0; 10];
        for _ in 0..10_000 {
            counts[chance.below(10) as usize] += 1;
            assert!((7..=9).contains(&chance.range(7, 9)));
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
        let hits = (0..10_000).filter(|_| chance.one_in(20)).count();
        assert!((400..600).contains(&hits), "{hits}");
        assert!(chance.one_in(1) && !chance.one_in(0));
    }

    #[test]
    fn long_runs_of_zeros_are_short_in_the_text() {
        let draws = BTreeMap::from([(7, [vec![1], vec![0; 500], vec![2, 0, 3], vec![0; 9]].concat()), (8, vec![0; 4])]);
        let text = Tape::of_draws(draws).to_text();
        assert_eq!(text, "7: 1 0*500 2 0 3\n");
        assert_eq!(Tape::parse(&text).unwrap().to_text(), text);
    }

    #[test]
    fn text_that_is_not_a_tape_is_refused_at_its_first_unexpected_word() {
        for (text, line, word) in [
            ("1: 2\n\nx: 3", 3, "x"),
            ("1: 2 -3", 1, "-3"),
            ("1: 1*4", 1, "1*4"),
            ("1: 0*x", 1, "0*x"),
            ("1: 0*99999999999", 1, "0*99999999999"),
            ("nonsense", 1, "nonsense"),
            ("seed x", 1, "x"),
            ("1: 2\nseed 3", 2, "seed"),
            ("4294967296: 1", 1, "4294967296"),
        ] {
            let error = Tape::parse(text).unwrap_err();
            assert_eq!(error, TapeError { line, word: word.to_owned() });
            assert!(error.to_string().contains(word));
        }
    }
}
