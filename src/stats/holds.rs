//! Counts of the reports that dials are held back, by cause.

use crate::error::DialHold;

/// The number of [`DialsHeldBack`](crate::ControlEvent::DialsHeldBack) reports by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DialHoldCounts {
    /// Indexed by the position of the cause in [`DialHold::ALL`].
    counts: [u64; DialHold::ALL.len()],
}

impl DialHoldCounts {
    /// Lists all causes in the order of [`DialHold::ALL`], each with the number of its reports.
    pub fn iter(&self) -> impl Iterator<Item = (DialHold, u64)> {
        DialHold::ALL.into_iter().zip(self.counts)
    }

    /// Returns the number of reports of one cause.
    pub const fn count(&self, cause: DialHold) -> u64 {
        self.counts[cause as usize]
    }

    pub(crate) const fn add(&mut self, cause: DialHold) {
        self.counts[cause as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_cause_has_its_own_count_and_label() {
        let mut counts = DialHoldCounts::default();
        for (index, cause) in DialHold::ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| counts.add(cause));
        }
        assert!(counts.iter().eq(DialHold::ALL.into_iter().zip(1..)));
        assert_eq!(counts.count(DialHold::MaxLinks), 8);
        assert_eq!(DialHold::ALL.map(DialHold::label).into_iter().collect::<BTreeSet<_>>().len(), 8);
    }
}
