//! The numbers of operations of each kind among equally spaced ones, without a look at each operation.
//!
//! The kinds repeat after a period, so equally spaced operations run through orbits of residues. A table has the number
//! of operations of each kind before each point of an orbit. It needs 4 bytes for each residue, and 4 for each kind.

use std::ops::Range;

/// The numbers of operations of each kind among operations with one distance.
#[derive(Debug)]
pub(super) struct KindCounts {
    /// The number of points of each orbit.
    orbit_len: u64,
    /// The point of each residue: those of one orbit follow each other.
    points: Vec<u32>,
    /// For each kind, the number of its operations before each point of the point's orbit.
    before: Vec<Vec<u32>>,
    /// For each kind, the number of its operations in each whole orbit.
    totals: Vec<Vec<u32>>,
}

impl KindCounts {
    /// Counts the operations of `kinds` kinds, which repeat after `period` operations, at distances of `step`. Both are
    /// above 0.
    pub(super) fn new(period: u32, step: u64, kinds: usize, kind_of: impl Fn(u64) -> usize) -> Self {
        let (period, step) = (u64::from(period), step % u64::from(period));
        let orbits = common_divisor(period, step);
        let orbit_len = period / orbits;
        let mut points = vec![0; period as usize];
        let mut before = vec![Vec::with_capacity(period as usize); kinds];
        let mut totals = vec![Vec::with_capacity(orbits as usize); kinds];
        for orbit in 0..orbits {
            let (mut residue, mut counts) = (orbit, vec![0; kinds]);
            for point in orbit * orbit_len..(orbit + 1) * orbit_len {
                // A point is below the period.
                points[residue as usize] = point as u32;
                before.iter_mut().zip(&counts).for_each(|(before, &count)| before.push(count));
                counts[kind_of(residue)] += 1;
                residue = (residue + step) % period;
            }
            totals.iter_mut().zip(counts).for_each(|(totals, count)| totals.push(count));
        }
        Self { orbit_len, points, before, totals }
    }

    /// Returns the number of operations of each kind among `count` operations from `first` on.
    pub(super) fn count(&self, first: u64, count: u64) -> Vec<u64> {
        let point = u64::from(self.points[(first % self.points.len() as u64) as usize]);
        let (orbit, begin) = (point / self.orbit_len, point % self.orbit_len);
        let within = |kind: usize, Range { start, end }: Range<u64>| {
            let total = u64::from(self.totals[kind][orbit as usize]);
            let before = |steps: u64| {
                let point = orbit * self.orbit_len + steps % self.orbit_len;
                steps / self.orbit_len * total + u64::from(self.before[kind][point as usize])
            };
            before(end) - before(start)
        };
        (0..self.totals.len()).map(|kind| within(kind, begin..begin + count)).collect()
    }
}

/// Returns the greatest common divisor of two numbers, of which the first is above 0.
pub(super) fn common_divisor(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { common_divisor(other, one % other) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_kinds_of_equally_spaced_operations_are_counted_as_if_each_was_looked_at(
            kinds in prop::collection::vec(0..4_usize, 1..60),
            step in 1..200_u64,
            first in 0..1_000_u64,
            count in 0..300_u64,
        ) {
            let kind_of = |index: u64| kinds[(index % kinds.len() as u64) as usize];
            let mut expected = vec![0; 4];
            (0..count).for_each(|operation| expected[kind_of(first + operation * step)] += 1);
            let counts = KindCounts::new(kinds.len() as u32, step, 4, kind_of);
            prop_assert_eq!(counts.count(first, count), expected);
        }
    }
}
