//! Holm's correction: of several metrics, some change by chance alone, so each has to show more.

/// Returns which of the probabilities are small enough, if the chance that any of them is so by accident may be at most
/// `level`.
pub(super) fn holm(p_values: &[f64], level: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&one, &other| p_values[one].total_cmp(&p_values[other]));
    let mut confirmed = vec![false; p_values.len()];
    for (rank, index) in order.into_iter().enumerate() {
        if p_values[index] > level / (p_values.len() - rank) as f64 {
            break;
        }
        confirmed[index] = true;
    }
    confirmed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_probability_has_to_be_the_smallest_part() {
        assert_eq!(holm(&[0.04], 0.05), [true]);
        assert_eq!(holm(&[0.04, 0.9], 0.05), [false, false]);
        assert_eq!(holm(&[0.9, 0.02], 0.05), [false, true]);
        // The second needs only half of the level, because the first is decided.
        assert_eq!(holm(&[0.02, 0.01, 0.9], 0.05), [true, true, false]);
        assert_eq!(holm(&[0.02, 0.02, 0.02], 0.05), [false; 3]);
        assert_eq!(holm(&[0.0, 0.0], 0.05), [true; 2]);
        assert_eq!(holm(&[], 0.05), Vec::<bool>::new());
    }
}
