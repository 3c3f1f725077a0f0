//! Exact tests, which assume no distribution of the runs.
//!
//! - Sign-flip test, for pairs: if the true change were just the margin, each pair's distance from the margin would be
//!   as likely positive as negative. The test counts in how many of all assignments of signs the sum is as large as the
//!   measured one.
//! - Rank-sum test, for sides that are not paired: if the new version changed by just the margin, every assignment of
//!   the ranks to both sides would be equally likely. It is used where infinite values forbid an interval.
//!
//! Both count assignments without listing them: sums of integers are added up value by value. For the sign-flip test
//! the distances are rounded to a grid, to which the test then applies exactly.

use super::change::Changes;
use crate::student::{NORMAL_FREEDOM, student_tail};

/// The number of steps into which the largest distance is divided, for few pairs.
const GRID: f64 = 1_024.0;

/// The largest product of both sides' numbers for which rank sums are counted. Their distribution is then normal to
/// within the third digit.
const MAX_COUNTED: usize = 2_500;

/// The largest number of possible sums, which limits the time of the test to some milliseconds.
const MAX_SUMS: f64 = 32_768.0;

/// Returns the probability of changes at least as far beyond the margin as these if the true change were the margin.
pub(super) fn tail_beyond(changes: &Changes, is_increase: bool) -> f64 {
    let sign = if is_increase { 1.0 } else { -1.0 };
    if changes.is_paired() {
        let beyond: Vec<f64> = changes.of_pairs().iter().map(|change| sign * change - changes.margin()).collect();
        return sign_flip_tail(&beyond);
    }
    let base: Vec<f64> = changes.base.iter().map(|value| sign * value + changes.margin()).collect();
    let new: Vec<f64> = changes.new.iter().map(|value| sign * value).collect();
    rank_sum_tail(&base, &new)
}

/// Returns the share of all assignments of signs in which the sum of the distances is at least the measured one.
/// Infinite distances count like the largest finite one, which keeps the test exact: how far a distance is clipped does
/// not depend on signs.
fn sign_flip_tail(distances: &[f64]) -> f64 {
    let finite = distances.iter().map(|distance| distance.abs()).filter(|distance| distance.is_finite());
    let largest = finite.fold(0.0, f64::max);
    let largest = if largest > 0.0 { largest } else { 1.0 };
    let steps = GRID.min((MAX_SUMS / distances.len() as f64).floor()).max(1.0);
    let rounded = |distance: &f64| (distance.clamp(-largest, largest) / largest * steps).round() as i64;
    let rounded: Vec<i64> = distances.iter().map(rounded).collect();
    let measured: i64 = rounded.iter().sum();
    let most: i64 = rounded.iter().map(|distance| distance.abs()).sum();
    // chances[i]: how likely the signs so far make the sum `i - most`.
    let mut chances = vec![0.0; 2 * most as usize + 1];
    chances[most as usize] = 1.0;
    let mut reach = 0;
    for size in rounded.iter().map(|distance| distance.unsigned_abs() as usize) {
        let mut next = vec![0.0; chances.len()];
        for index in most as usize - reach..=most as usize + reach {
            let half = chances[index] / 2.0;
            next[index - size] += half;
            next[index + size] += half;
        }
        chances = next;
        reach += size;
    }
    chances[(most + measured) as usize..].iter().sum::<f64>().min(1.0)
}

/// Returns the share of all assignments of ranks in which the new side's sum is at least the measured one. Equal values
/// share the mean of their ranks.
fn rank_sum_tail(base: &[f64], new: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> =
        base.iter().map(|&value| (value, false)).chain(new.iter().map(|&value| (value, true))).collect();
    all.sort_by(|one, other| one.0.total_cmp(&other.0));
    // Twice the mean rank of equal values, which is an integer.
    let mut ranks = Vec::with_capacity(all.len());
    for equal in all.chunk_by(|one, other| one.0 == other.0) {
        let before = ranks.len();
        ranks.extend(equal.iter().map(|_| 2 * before + equal.len() + 1));
    }
    let measured: usize = ranks.iter().zip(&all).filter(|(_, (_, is_new))| *is_new).map(|(rank, _)| rank).sum();
    if base.len() * new.len() > MAX_COUNTED {
        return normal_tail(&ranks, new.len(), measured);
    }
    counted_tail(&ranks, new.len(), measured)
}

/// Counts the assignments of ranks to the new side's `chosen` values whose sum is at least `measured`.
fn counted_tail(ranks: &[usize], chosen: usize, measured: usize) -> f64 {
    let most: usize = ranks.iter().sum();
    // ways[k][sum]: the share of the assignments so far that give the new side `k` ranks with this sum. Each value
    // belongs to the new side with the chance that makes all assignments of the whole equally likely.
    let mut ways = vec![vec![0.0; most + 1]; chosen + 1];
    ways[0][0] = 1.0;
    for (seen, &rank) in ranks.iter().enumerate() {
        let remaining = (ranks.len() - seen) as f64;
        let mut next = vec![vec![0.0; most + 1]; chosen + 1];
        for (count, sums) in ways.iter().enumerate() {
            let chance = (chosen - count) as f64 / remaining;
            for (sum, &way) in sums.iter().enumerate().filter(|(_, way)| **way > 0.0) {
                next[count][sum] += way * (1.0 - chance);
                if count < chosen {
                    next[count + 1][sum + rank] += way * chance;
                }
            }
        }
        ways = next;
    }
    ways[chosen][measured..].iter().sum::<f64>().min(1.0)
}

/// Approximates the same probability by a normal distribution with the mean and variance of the sum.
fn normal_tail(ranks: &[usize], chosen: usize, measured: usize) -> f64 {
    let (count, chosen) = (ranks.len() as f64, chosen as f64);
    let mean = ranks.iter().sum::<usize>() as f64 / count;
    let squares: f64 = ranks.iter().map(|&rank| (rank as f64 - mean).powi(2)).sum();
    let variance = chosen * (count - chosen) / count * squares / (count - 1.0);
    // Ranks are doubled, so neighbouring sums are two apart and their border lies one below.
    let distance = measured as f64 - 1.0 - chosen * mean;
    if variance > 0.0 { student_tail(distance / variance.sqrt(), NORMAL_FREEDOM) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pairs_that_all_agree_have_the_probability_of_as_many_coins() {
        for pairs in [1, 3, 5, 8, 20] {
            let tail = sign_flip_tail(&vec![0.3; pairs]);
            assert!((tail - 0.5_f64.powi(pairs as i32)).abs() < 1e-15, "{pairs} pairs: {tail}");
        }
        assert!((sign_flip_tail(&[f64::INFINITY; 8]) - 1.0 / 256.0).abs() < 1e-15);
        assert_eq!(sign_flip_tail(&[f64::NEG_INFINITY; 8]), 1.0);
    }

    #[test]
    fn sides_without_overlap_have_the_probability_of_one_assignment() {
        // One of 70 ways to choose 4 of 8 ranks.
        let tail = rank_sum_tail(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, f64::INFINITY]);
        assert!((tail - 1.0 / 70.0).abs() < 1e-12, "{tail}");
        assert!((rank_sum_tail(&[1.0; 4], &[1.0; 4]) - 1.0).abs() < 1e-12);
        // A published table: of 5 and 5 values, a sum of at least 36 has 0.0476 (one side).
        let tail = rank_sum_tail(&[1.0, 2.0, 3.0, 6.0, 7.0], &[4.0, 5.0, 8.0, 9.0, 10.0]);
        assert!((tail - 0.0476).abs() < 5e-5, "{tail}");
    }

    #[test]
    fn counted_and_approximated_rank_sums_agree() {
        let ranks: Vec<usize> = (0..100).map(|index| 2 * index + 2).collect();
        for measured in [4_600, 5_050, 5_500, 5_800, 6_100] {
            let (counted, normal) = (counted_tail(&ranks, 50, measured), normal_tail(&ranks, 50, measured));
            assert!((counted - normal).abs() < 1e-3, "{measured}: {counted} and {normal}");
        }
        let (base, new) = (vec![1.0; 80], vec![2.0; 70]);
        assert!(rank_sum_tail(&base, &new) < 1e-9 && rank_sum_tail(&new, &base) > 1.0 - 1e-9);
    }

    #[test]
    fn many_pairs_need_little_time() {
        let distances: Vec<f64> = (0..500).map(|i| f64::from(i % 7) - 3.0).collect();
        assert!((sign_flip_tail(&distances) - 0.5).abs() < 0.1);
    }

    proptest! {
        #[test]
        fn the_sign_flip_test_counts_all_assignments(
            distances in prop::collection::vec(-64_i32..=64, 1..12),
        ) {
            // Powers of two lie on the grid, so that rounding changes nothing.
            let mut distances: Vec<f64> = distances.into_iter().map(f64::from).collect();
            distances.push(64.0);
            let measured: f64 = distances.iter().sum();
            let flipped = |signs: u32| -> f64 {
                let flip = |(index, distance): (usize, &f64)| {
                    if signs >> index & 1 == 1 { -distance.abs() } else { distance.abs() }
                };
                distances.iter().enumerate().map(flip).sum()
            };
            let all = 1_u32 << distances.len();
            let extreme = (0..all).filter(|&signs| flipped(signs) >= measured).count();
            prop_assert!((sign_flip_tail(&distances) - extreme as f64 / f64::from(all)).abs() < 1e-12);
        }

        #[test]
        fn the_rank_sum_test_counts_all_assignments(
            base in prop::collection::vec(0_u8..6, 1..6),
            new in prop::collection::vec(0_u8..6, 1..6),
        ) {
            let all: Vec<u8> = base.iter().chain(&new).copied().collect();
            let rank = |value: u8| {
                let below = all.iter().filter(|&&other| other < value).count();
                2 * below + all.iter().filter(|&&other| other == value).count() + 1
            };
            let measured: usize = new.iter().map(|&value| rank(value)).sum();
            let (mut extreme, mut count) = (0, 0);
            for chosen in (0_u32..1 << all.len()).filter(|chosen| chosen.count_ones() as usize == new.len()) {
                let is_chosen = |index: &usize| chosen >> index & 1 == 1;
                let sum: usize = (0..all.len()).filter(is_chosen).map(|index| rank(all[index])).sum();
                count += 1;
                extreme += u32::from(sum >= measured);
            }
            let floats = |values: &[u8]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
            let tail = rank_sum_tail(&floats(&base), &floats(&new));
            prop_assert!((tail - f64::from(extreme) / f64::from(count)).abs() < 1e-9);
        }
    }
}
