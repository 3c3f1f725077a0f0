//! Reduces a tape with which a run fails, so that a person can see the cause.
//!
//! A draw of 0 is the simplest outcome and the value that a tape returns after its end. Omitting a whole stream,
//! cutting one short and removing a single event are therefore the same operation: setting draws to 0. Whole streams
//! are tried first, then the ends of streams, then ever smaller blocks of draws down to single ones. Last, each
//! remaining draw is lowered. This repeats until no change helps or the caller ends the search. A change is kept only
//! if the tape still fails with it. Each kept change lowers draws, so the search ends. The tape's text never
//! grows.
//!
//! This module never runs anything itself: the caller decides whether a tape still fails.

use super::tape::{Tape, trim};
use std::collections::BTreeMap;

/// The result of a search: a smaller tape, and the search's cost.
#[derive(Clone, Debug)]
pub struct Minimised {
    /// The smallest failing tape found.
    pub tape: Tape,
    /// The number of runs.
    pub runs: u64,
    /// Whether no draw can be set to 0, halved or lowered by one any more; otherwise the search ended early.
    pub is_least: bool,
}

/// Reduces `tape` while it still `fails`. Returns `None` if `tape` itself does not fail, or if `may_continue` does not
/// allow even the first run. A tape that [keeps nothing](Tape::from_seed) is run as an empty one.
///
/// `fails` must be deterministic, and should check for the very same failure; neither is verified. `may_continue` is
/// called before each run with the number of runs so far; once it returns `false`, the search ends without further
/// calls.
pub fn minimise(
    tape: &Tape,
    fails: impl FnMut(&Tape) -> bool,
    may_continue: impl FnMut(u64) -> bool,
) -> Option<Minimised> {
    let mut search = Search { draws: tape.draws(), fails, may_continue, runs: 0, is_over: false };
    if !search.fails_with(search.draws.clone()) {
        return None;
    }
    while search.pass() {}
    Some(Minimised { tape: Tape::of_draws(search.draws), runs: search.runs, is_least: !search.is_over })
}

/// A tape's streams.
type Draws = BTreeMap<u32, Vec<u64>>;

struct Search<F, G> {
    /// The smallest failing draws so far, without zeros at the end of a stream.
    draws: Draws,
    fails: F,
    may_continue: G,
    runs: u64,
    is_over: bool,
}

/// A draw's position: its stream, and its index there.
type Place = (u32, usize);

impl<F: FnMut(&Tape) -> bool, G: FnMut(u64) -> bool> Search<F, G> {
    /// Tries every reduction once; returns whether another pass may help.
    fn pass(&mut self) -> bool {
        let before = self.draws.clone();
        self.omit_streams();
        self.cut_ends();
        self.omit_draws();
        self.lower_draws();
        !self.is_over && self.draws != before
    }

    fn omit_streams(&mut self) {
        let streams: Vec<u32> = self.draws.keys().copied().collect();
        self.omit(streams, |draws, stream| {
            draws.remove(&stream);
        });
    }

    /// Shortens each stream while the tape still fails.
    fn cut_ends(&mut self) {
        let streams: Vec<u32> = self.draws.keys().copied().collect();
        for stream in streams {
            let mut cut = self.len_of(stream);
            while cut > 0 {
                let len = self.len_of(stream);
                let was_cut = self.improve(|draws| {
                    draws.entry(stream).and_modify(|draws| draws.truncate(len.saturating_sub(cut)));
                });
                cut = if was_cut { cut.min(self.len_of(stream)) } else { cut / 2 };
            }
        }
    }

    fn omit_draws(&mut self) {
        let places = self.places();
        self.omit(places, |draws, place| set(draws, place, 0));
    }

    /// Lowers each draw above 1: to 1 if possible, or else by halving. If the draw can then be lowered by one,
    /// bisection lowers it further.
    fn lower_draws(&mut self) {
        for place in self.places() {
            let value = self.at(place);
            if value < 2 || self.lower(place, 1) {
                continue;
            }
            while self.at(place) > 3 && self.lower(place, self.at(place) / 2) {}
            if self.lower(place, self.at(place).saturating_sub(1)) {
                self.bisect(place);
            }
        }
    }

    /// Lowers a draw to just above a value with which the tape no longer fails.
    fn bisect(&mut self, place: Place) {
        let mut not_enough = self.at(place) / 2;
        while self.at(place) - not_enough > 1 {
            let middle = not_enough + (self.at(place) - not_enough) / 2;
            if !self.lower(place, middle) {
                not_enough = middle;
            }
        }
    }

    /// Omits as many `units` as possible, in blocks that shrink from half of all units to a single unit.
    fn omit<T: Copy>(&mut self, mut units: Vec<T>, omit: fn(&mut Draws, T)) {
        let mut block = units.len().div_ceil(2);
        while block > 0 {
            let mut at = 0;
            while at < units.len() {
                let end = (at + block).min(units.len());
                let has_helped = self.improve(|draws| {
                    units[at..end].iter().for_each(|unit| omit(draws, *unit));
                });
                if has_helped {
                    units.drain(at..end);
                } else {
                    at = end;
                }
            }
            block = if block == 1 { 0 } else { block.div_ceil(2) };
        }
    }

    fn lower(&mut self, place: Place, value: u64) -> bool {
        value < self.at(place) && self.improve(|draws| set(draws, place, value))
    }

    /// Keeps a change if the tape still fails with it. Returns whether the change is kept.
    fn improve(&mut self, change: impl FnOnce(&mut Draws)) -> bool {
        // Many changes may be untried when the search ends. Without this return, the draws would be copied for each of
        // them, and each copy costs as much as a short run.
        if self.is_over {
            return false;
        }
        let mut changed = self.draws.clone();
        change(&mut changed);
        trim(&mut changed);
        if changed == self.draws {
            return true;
        }
        let fails = self.fails_with(changed.clone());
        if fails {
            self.draws = changed;
        }
        fails
    }

    fn fails_with(&mut self, draws: Draws) -> bool {
        if !(self.may_continue)(self.runs) {
            self.is_over = true;
            return false;
        }
        self.runs += 1;
        (self.fails)(&Tape::of_draws(draws))
    }

    /// Returns the positions of all draws that are not 0.
    fn places(&self) -> Vec<Place> {
        let streams = self.draws.iter();
        let places = streams.flat_map(|(stream, draws)| (0..draws.len()).map(|at| (*stream, at)));
        places.filter(|place| self.at(*place) != 0).collect()
    }

    fn at(&self, (stream, at): Place) -> u64 {
        self.draws.get(&stream).and_then(|draws| draws.get(at)).copied().unwrap_or(0)
    }

    fn len_of(&self, stream: u32) -> usize {
        self.draws.get(&stream).map_or(0, Vec::len)
    }
}

fn set(draws: &mut Draws, (stream, at): Place, value: u64) {
    if let Some(draw) = draws.get_mut(&stream).and_then(|draws| draws.get_mut(at)) {
        *draw = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn for_ever(_runs: u64) -> bool {
        true
    }

    fn tape_of(streams: &[(u32, &[u64])]) -> Tape {
        Tape::of_draws(streams.iter().map(|(stream, draws)| (*stream, draws.to_vec())).collect())
    }

    /// The draws that make a tape fail: each draw's stream, index and minimum value.
    type Needs = Vec<(u32, usize, u64)>;

    fn meets(tape: &Tape, needs: &Needs) -> bool {
        let draws = tape.draws();
        let draw = |stream: u32, at: usize| draws.get(&stream).and_then(|draws| draws.get(at)).copied().unwrap_or(0);
        needs.iter().all(|(stream, at, least)| draw(*stream, *at) >= *least)
    }

    #[test]
    fn only_the_needed_draws_remain_each_at_its_minimum() {
        let long: Vec<u64> = (1..=5_000).collect();
        let tape = tape_of(&[(1, &long), (2, &long), (1 << 31, &long), (7, &[])]);
        let needs = vec![(1, 3_000, 17), (1 << 31, 4, 5)];
        let least = minimise(&tape, |tape| meets(tape, &needs), for_ever).unwrap();
        assert_eq!(least.tape.to_text(), "1: 0*3000 17\n2147483648: 0*4 5\n");
        assert!(least.is_least && least.runs < 200, "{}", least.runs);
    }

    #[test]
    fn a_tape_that_does_not_fail_or_is_not_run_gives_no_result() {
        assert!(minimise(&tape_of(&[(1, &[5])]), |_| false, for_ever).is_none());
        let asked = |tape: &Tape| !tape.draws().is_empty();
        assert!(minimise(&Tape::from_seed(1), asked, for_ever).is_none(), "the tape was not run as an empty one");
        assert!(minimise(&tape_of(&[(1, &[5])]), |_| true, |_| false).is_none(), "a result was returned without a run");
    }

    #[test]
    fn a_tape_of_a_run_that_always_fails_is_reduced_to_nothing() {
        let least = minimise(&tape_of(&[(1, &[5, 6]), (2, &[7])]), |_| true, for_ever).unwrap();
        assert_eq!((least.tape.to_text().as_str(), least.is_least), ("", true));
    }

    #[test]
    fn the_draws_of_a_recording_tape_are_reduced() {
        let fails = |tape: &Tape| (0..100).any(|_| tape.stream(3).one_in(40));
        let recording = (0..).map(Tape::recording).find(fails).unwrap();
        let least = minimise(&recording, fails, for_ever).unwrap();
        let text = least.tape.to_text();
        assert!(text == "3: 1\n" || text.starts_with("3: 0") && text.ends_with(" 1\n"), "{text}");
    }

    #[test]
    fn a_caller_that_ends_the_search_is_not_called_again() {
        let long: Vec<u64> = (1..=200).collect();
        let needs = (0..200).step_by(3).map(|at| (4, at, 1)).collect();
        for max_runs in 1..60 {
            let (mut runs, mut seen_runs) = (0, Vec::new());
            let fails = |tape: &Tape| {
                runs += 1;
                meets(tape, &needs)
            };
            let may_continue = |runs| {
                seen_runs.push(runs);
                runs < max_runs
            };
            let found = minimise(&tape_of(&[(4, &long)]), fails, may_continue).unwrap();
            assert_eq!((found.runs, runs, found.is_least), (max_runs, max_runs, false));
            assert_eq!(seen_runs, (0..=max_runs).collect::<Vec<u64>>());
            assert!(meets(&found.tape, &needs));
        }
    }

    #[test]
    fn the_tape_of_a_long_run_is_reduced_to_at_most_4_kib() {
        let streams: Vec<(u32, Vec<u64>)> = (0..300)
            .map(|stream| (stream, (0..400).map(|at| u64::from(stream) * 7_919 + at * 104_729).collect()))
            .collect();
        let tape = Tape::of_draws(streams.into_iter().collect());
        let needs: Needs = (0..60).map(|need| (need * 5, need as usize * 6 + 1, 1_000 + u64::from(need))).collect();
        let found = minimise(&tape, |tape| meets(tape, &needs), |runs| runs < 4_000).unwrap();
        assert!(found.tape.to_text().len() <= 4_096, "{} bytes, {} runs", found.tape.to_text().len(), found.runs);
    }

    /// Returns whether a tape still fails after one of its draws is set to 0, halved or lowered by one.
    fn can_be_smaller(tape: &Tape, fails: impl Fn(&Tape) -> bool) -> bool {
        let draws = tape.draws();
        let places = draws.iter().flat_map(|(stream, draws)| (0..draws.len()).map(|at| (*stream, at)));
        places.into_iter().any(|place| {
            let value = draws[&place.0][place.1];
            let smaller = [0, value / 2, value.saturating_sub(1)];
            smaller.into_iter().filter(|smaller| *smaller < value).any(|smaller| {
                let mut changed = draws.clone();
                set(&mut changed, place, smaller);
                fails(&Tape::of_draws(changed))
            })
        })
    }

    fn draws() -> impl Strategy<Value = Draws> {
        let value = prop_oneof![3 => Just(0), 3 => 1..20_u64, 1 => any::<u64>()];
        proptest::collection::btree_map(0..6_u32, proptest::collection::vec(value, 0..20), 0..5)
    }

    /// Returns whether a tape fails under rule number `shape`. Half of the rules are not monotonic, so bisection may
    /// miss the lowest failing value.
    fn fails_by(shape: u8, tape: &Tape) -> bool {
        let draws = tape.draws();
        let all = || draws.values().flatten();
        match shape {
            0 => all().fold(0, |sum: u64, draw| sum.saturating_add(*draw)) >= 10,
            1 => all().any(|draw| draw % 3 == 2),
            2 => all().filter(|draw| **draw != 0).count() % 4 == 3,
            3 => draws.len() >= 2,
            4 => draws.values().any(|draws| draws.len() >= 5),
            _ => all().fold(0, |mixed, draw| mixed ^ draw) & 5 == 5,
        }
    }

    proptest! {
        #[test]
        fn the_result_still_fails_and_is_minimal_and_not_longer(draws in draws(), shape in 0..6_u8) {
            let tape = Tape::of_draws(draws);
            let fails = |tape: &Tape| fails_by(shape, tape);
            let found = minimise(&tape, fails, for_ever);
            prop_assert_eq!(found.is_some(), fails(&tape));
            if let Some(found) = found {
                prop_assert!(found.is_least && fails(&found.tape));
                prop_assert!(!can_be_smaller(&found.tape, fails));
                prop_assert!(found.tape.to_text().len() <= tape.to_text().len());
                let again = minimise(&tape, fails, for_ever).unwrap();
                prop_assert_eq!((again.tape.to_text(), again.runs), (found.tape.to_text(), found.runs));
                prop_assert_eq!(minimise(&found.tape, fails, for_ever).unwrap().tape.to_text(), found.tape.to_text());
            }
        }

        #[test]
        fn the_result_of_few_runs_fails_and_is_not_longer(draws in draws(), shape in 0..6_u8, max_runs in 1..30_u64) {
            let tape = Tape::of_draws(draws);
            if let Some(found) = minimise(&tape, |tape| fails_by(shape, tape), |runs| runs < max_runs) {
                prop_assert!(fails_by(shape, &found.tape) && found.runs <= max_runs);
                prop_assert!(found.tape.to_text().len() <= tape.to_text().len());
            }
        }
    }
}
