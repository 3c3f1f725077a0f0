//! Student's t distribution, with any positive number of degrees of freedom.
//!
//! The distribution function is the regularised incomplete beta function, computed as a continued fraction. The
//! quantile is found by bisection of it. Both are exact to about 10 digits, which the tests check against published
//! tables and a numerical integral.

/// The two-sided confidence of every interval of this crate.
pub const CONFIDENCE: f64 = 0.95;

/// The degrees of freedom with which Student's t distribution is the normal one to six digits.
pub(crate) const NORMAL_FREEDOM: f64 = 1e6;

/// Returns the probability that a value of Student's t distribution does not exceed `t`.
///
/// ```
/// use peerloop_measure::student_cdf;
///
/// assert!((student_cdf(2.228_138_85, 10.0) - 0.975).abs() < 1e-8);
/// ```
///
/// # Panics
///
/// If `freedom` is not positive, or `t` is not a number.
pub fn student_cdf(t: f64, freedom: f64) -> f64 {
    assert!(freedom > 0.0, "a t distribution has a positive number of degrees of freedom, not {freedom}");
    assert!(!t.is_nan(), "a t distribution has no value for NaN");
    if t.is_infinite() {
        return if t > 0.0 { 1.0 } else { 0.0 };
    }
    let tail = 0.5 * incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5);
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// Returns the probability that a value of Student's t distribution is at least `t`; precise also where it is tiny.
pub(crate) fn student_tail(t: f64, freedom: f64) -> f64 {
    student_cdf(-t, freedom)
}

/// Returns the value that a t-distributed variable does not exceed with the given probability.
///
/// ```
/// use peerloop_measure::student_quantile;
///
/// assert!((student_quantile(0.975, 15.0) - 2.131_449_55).abs() < 1e-8);
/// ```
///
/// # Panics
///
/// If `probability` is not between 0 and 1, both excluded, or `freedom` is not positive.
pub fn student_quantile(probability: f64, freedom: f64) -> f64 {
    assert!(probability > 0.0 && probability < 1.0, "a quantile needs a probability within 0 and 1, not {probability}");
    if probability < 0.5 {
        return -student_quantile(1.0 - probability, freedom);
    }
    let (mut low, mut high) = (0.0, 1.0);
    while student_cdf(high, freedom) < probability {
        (low, high) = (high, high * 2.0);
    }
    // Every step halves the bracket, so 60 steps exhaust the digits of a double.
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if student_cdf(middle, freedom) < probability { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// The regularised incomplete beta function.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln();
    // The continued fraction converges fast only below this bound; beyond it, the complement does.
    if x < (a + 1.0) / (a + b + 2.0) {
        front.exp() * beta_fraction(x, a, b) / a
    } else {
        1.0 - front.exp() * beta_fraction(1.0 - x, b, a) / b
    }
}

/// The continued fraction of the incomplete beta function, by the method of Lentz.
fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let bounded = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / bounded(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..1_000 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for coefficient in [even, odd] {
            d = 1.0 / bounded(1.0 + coefficient * d);
            c = bounded(1.0 + coefficient / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

/// The logarithm of the gamma function for positive arguments, by the approximation of Lanczos.
fn ln_gamma(x: f64) -> f64 {
    const SERIES: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        // The reflection formula.
        return (std::f64::consts::PI / (std::f64::consts::PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let base = x + 7.5;
    let terms = SERIES.iter().zip(1_u8..).map(|(coefficient, index)| coefficient / (x + f64::from(index)));
    let sum = 0.999_999_999_999_809_9 + terms.sum::<f64>();
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * base.ln() - base + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published values of the quantile at 97.5 %.
    const TABLE_975: [(f64, f64); 10] = [
        (1.0, 12.706_204_736),
        (2.0, 4.302_652_730),
        (3.0, 3.182_446_305),
        (5.0, 2.570_581_836),
        (10.0, 2.228_138_852),
        (15.0, 2.131_449_546),
        (20.0, 2.085_963_447),
        (30.0, 2.042_272_456),
        (60.0, 2.000_297_822),
        (120.0, 1.979_930_405),
    ];

    #[test]
    fn the_quantiles_are_those_of_published_tables() {
        for (freedom, expected) in TABLE_975 {
            let found = student_quantile(0.975, freedom);
            assert!((found - expected).abs() < 1e-8, "t(0.975, {freedom}) = {found}, not {expected}");
        }
        for (probability, freedom, expected) in [
            (0.95, 4.0, 2.131_846_786),
            (0.99, 7.0, 2.997_951_567),
            (0.995, 15.0, 2.946_712_883),
            (0.9, 1.0, 3.077_683_537),
        ] {
            let found = student_quantile(probability, freedom);
            assert!((found - expected).abs() < 1e-8, "t({probability}, {freedom}) = {found}, not {expected}");
        }
        // With many degrees of freedom, it is the normal distribution.
        assert!((student_quantile(0.975, 1e6) - 1.959_963_985).abs() < 1e-5);
        assert!((student_quantile(0.8, 1e6) - 0.841_621_234).abs() < 1e-5);
    }

    #[test]
    fn the_distribution_is_the_integral_of_its_density() {
        for freedom in [0.7, 1.5, 2.5, 7.3, 31.9, 200.0] {
            let constant = (ln_gamma((freedom + 1.0) / 2.0) - ln_gamma(freedom / 2.0)).exp()
                / (freedom * std::f64::consts::PI).sqrt();
            let density = |t: f64| constant * (1.0 + t * t / freedom).powf(-(freedom + 1.0) / 2.0);
            for end in [0.1, 0.9, 2.0, 3.7] {
                // Simpson's rule from 0, below which half of the distribution lies.
                let step = end / 2_000.0;
                let inner: f64 =
                    (1..2_000).map(|i| if i % 2 == 1 { 4.0 } else { 2.0 } * density(f64::from(i) * step)).sum();
                let integral = 0.5 + step / 3.0 * (density(0.0) + inner + density(end));
                let found = student_cdf(end, freedom);
                assert!((found - integral).abs() < 1e-9, "P(t({freedom}) <= {end}) = {found}, not {integral}");
            }
        }
    }

    #[test]
    fn the_distribution_is_symmetric_and_the_quantile_its_inverse() {
        for freedom in [0.5, 1.0, 3.3, 29.0, 1e4] {
            for t in [0.0, 0.3, 1.0, 5.0, 40.0] {
                assert!((student_cdf(t, freedom) + student_cdf(-t, freedom) - 1.0).abs() < 1e-12);
            }
            for probability in [0.001, 0.025, 0.4, 0.5, 0.8, 0.9999] {
                let quantile = student_quantile(probability, freedom);
                assert!((student_cdf(quantile, freedom) - probability).abs() < 1e-9, "{probability} of {freedom}");
            }
        }
        assert_eq!((student_cdf(f64::INFINITY, 3.0), student_cdf(f64::NEG_INFINITY, 3.0)), (1.0, 0.0));
    }

    #[test]
    fn a_tiny_tail_keeps_its_digits() {
        // With one degree of freedom the tail is arctan(1/t) / pi.
        let expected = (1e-9_f64).atan() / std::f64::consts::PI;
        assert!((student_tail(1e9, 1.0) / expected - 1.0).abs() < 1e-9);
    }
}
