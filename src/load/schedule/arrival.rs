//! The arrival of operations within a stage: evenly spaced, in bursts, or at random.
//!
//! Random arrivals form a Poisson process. Its gaps on the axis of operations are exponential with mean 1. They are
//! drawn with von Neumann's method, which compares integers only. So a seed gives the same moments on every machine.

use super::curve::FRACTION_BITS;

/// The arrival of the operations.
///
/// ```
/// use peerloop::load::{Arrival, Plan, Rate};
/// use std::time::Duration;
///
/// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 100, Rate::per_second(100))
///     .with_rate(Rate::per_second(1_000), Duration::from_secs(10))
///     .with_arrival(Arrival::Poisson { seed: 7 });
/// assert_ne!(plan.arrival, Arrival::Even);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrival {
    /// Evenly spaced.
    #[default]
    Even,
    /// At random and independently of each other, with the same mean rate: a Poisson process. A stage then has about as
    /// many operations as its rate says. The operations that remain after an early end are counted one by one, which
    /// costs the loop about 20 ns for each.
    Poisson {
        /// The seed of the moments. All [segments](super::Segment) of a load need the same one.
        seed: u64,
    },
    /// In bursts at equal distances, so that the mean rate is the same. The last burst of a stage may be smaller.
    Burst {
        /// The number of operations in a burst. Zero counts as one.
        size: u64,
    },
}

/// The positions of a Poisson process on the axis of operations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    random: Random,
    position: u128,
}

impl Axis {
    /// Returns the axis of a stream of this seed, at its first operation.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut random = Random(seed);
        random = Random(random.next() ^ stream.wrapping_mul(Random::STEP));
        let mut axis = Self { random, position: 0 };
        axis.advance();
        axis
    }

    /// Returns the position of the current operation, with [`FRACTION_BITS`].
    pub(super) fn position(&self) -> u128 {
        self.position
    }

    /// Proceeds to the next operation.
    pub(super) fn advance(&mut self) {
        self.position += u128::from(self.random.exponential());
    }
}

/// A generator of random integers: SplitMix64 of Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators" (2014). A cryptographic generator would be slower and is not needed, because nobody gains by a guess.
#[derive(Clone, Copy, Debug)]
struct Random(u64);

impl Random {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::STEP);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Draws an exponential number with mean 1 and [`FRACTION_BITS`].
    ///
    /// A first number is drawn, and then numbers as long as each is below the one before. The first number is accepted
    /// as the fraction if the length of this falling run is odd, which has the probability e^-fraction. Each refused
    /// run adds one to the whole part.
    fn exponential(&mut self) -> u64 {
        let mut whole = 0;
        loop {
            let first = self.next();
            let (mut last, mut is_odd) = (first, true);
            loop {
                let number = self.next();
                if number >= last {
                    break;
                }
                (last, is_odd) = (number, !is_odd);
            }
            if is_odd {
                return (whole << FRACTION_BITS) + (first >> (u64::BITS - FRACTION_BITS));
            }
            whole += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_numbers() {
        let mut random = Random(1_234_567);
        let numbers = [(); 5].map(|()| random.next());
        // Computed with the reference implementation in C.
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(numbers, expected);
    }

    #[test]
    fn gaps_are_exponential_with_mean_one() {
        const COUNT: usize = 200_000;
        let mut random = Random(99);
        let mut gaps: Vec<f64> =
            (0..COUNT).map(|_| random.exponential() as f64 / (1_u64 << FRACTION_BITS) as f64).collect();
        gaps.sort_unstable_by(f64::total_cmp);
        let mean = gaps.iter().sum::<f64>() / COUNT as f64;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        // Kolmogorov and Smirnov: the largest distance between the two distributions. 1.63 / sqrt(n) is exceeded once
        // in a hundred seeds.
        let distance = gaps
            .iter()
            .enumerate()
            .map(|(rank, gap)| ((1.0 - (-gap).exp()) - (rank as f64 + 0.5) / COUNT as f64).abs())
            .fold(0.0, f64::max);
        assert!(distance < 1.63 / (COUNT as f64).sqrt(), "{distance}");
    }

    #[test]
    fn streams_of_one_seed_differ_and_each_is_repeatable() {
        let positions = |seed, stream| {
            let mut axis = Axis::new(seed, stream);
            [(); 4].map(|()| {
                axis.advance();
                axis.position()
            })
        };
        assert_eq!(positions(1, 2), positions(1, 2));
        assert!(positions(1, 2) != positions(1, 3) && positions(1, 2) != positions(2, 2));
    }
}
