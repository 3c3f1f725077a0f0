//! Products of more than 128 bits, divided at once.

/// Returns the quotient and the remainder of `factor x value / divisor`. The divisor is not zero and is less than
/// 2^127. A quotient that does not fit in 128 bits becomes the largest number.
pub(super) fn multiply_divide(factor: u64, value: u128, divisor: u128) -> (u128, u128) {
    debug_assert!(divisor > 0 && divisor < 1 << 127, "{divisor} is not a divisor");
    if let Some(product) = value.checked_mul(u128::from(factor)) {
        return (product / divisor, product % divisor);
    }
    let (whole, rest) = (value / divisor, value % divisor);
    // Adds up `rest` for each bit of the factor, the highest first, and reduces after each step.
    let (mut quotient, mut remainder) = (0_u128, 0_u128);
    for bit in (0..u64::BITS).rev() {
        quotient = quotient.saturating_mul(2);
        remainder *= 2;
        if remainder >= divisor {
            (quotient, remainder) = (quotient.saturating_add(1), remainder - divisor);
        }
        if factor >> bit & 1 == 1 {
            remainder += rest;
            if remainder >= divisor {
                (quotient, remainder) = (quotient.saturating_add(1), remainder - divisor);
            }
        }
    }
    (quotient.saturating_add(whole.saturating_mul(u128::from(factor))), remainder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_quotient_that_does_not_fit_is_the_largest_number() {
        assert_eq!(multiply_divide(u64::MAX, u128::MAX, 1).0, u128::MAX);
        assert_eq!(multiply_divide(0, u128::MAX, 3), (0, 0));
    }

    proptest! {
        /// `factor x value = quotient x divisor + remainder`, compared modulo 2^128 and modulo a prime.
        #[test]
        fn the_quotient_and_the_remainder_are_exact(
            factor in any::<u64>(),
            value in any::<u128>(),
            shift in 0..64_u32,
            divisor in (1_u128 << 64)..(1 << 127),
        ) {
            let value = value >> shift;
            let (quotient, remainder) = multiply_divide(factor, value, divisor);
            prop_assert!(remainder < divisor);
            let sum = quotient.wrapping_mul(divisor).wrapping_add(remainder);
            prop_assert_eq!(value.wrapping_mul(u128::from(factor)), sum);
            const PRIME: u128 = (1 << 61) - 1;
            let modulo = |a: u128, b: u128| (a % PRIME) * (b % PRIME) % PRIME;
            let sum = (modulo(quotient, divisor) + remainder % PRIME) % PRIME;
            prop_assert_eq!(modulo(value, u128::from(factor)), sum);
        }
    }
}
