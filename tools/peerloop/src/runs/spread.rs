//! How a value differs from run to run.

use super::values::Unit;
use peerloop_measure::{CONFIDENCE, MIN_RUNS, student_quantile};

/// The values of one metric in several runs of the same version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The geometric mean, of shares the mean. Infinite if a value is.
    pub(crate) mean: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// The typical distance of a run from the mean: a part of it, of shares a difference. `None` for one run, and if
    /// a value is infinite or zero.
    pub(crate) deviation: Option<f64>,
    /// The interval that contains the mean of endlessly many runs with 95 % confidence; from three runs on.
    pub(crate) interval: Option<(f64, f64)>,
}

impl Spread {
    /// Summarises the values; `None` without any.
    pub(crate) fn of(values: &[f64], unit: Unit) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let linear: Vec<f64> =
            values.iter().map(|value| if unit == Unit::Share { *value } else { value.ln() }).collect();
        let written = |value: f64| if unit == Unit::Share { value } else { value.exp() };
        let count = values.len() as f64;
        let mean = linear.iter().sum::<f64>() / count;
        let squares: f64 = linear.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (values.len() > 1 && squares.is_finite()).then(|| (squares / (count - 1.0)).sqrt());
        let half = deviation
            .filter(|_| values.len() >= MIN_RUNS)
            .map(|deviation| student_quantile(0.5 + CONFIDENCE / 2.0, count - 1.0) * deviation / count.sqrt());
        Some(Self {
            mean: written(mean),
            low: values.iter().copied().fold(f64::INFINITY, f64::min),
            high: values.iter().copied().fold(0.0, f64::max),
            deviation: deviation.map(|deviation| if unit == Unit::Share { deviation } else { deviation.exp_m1() }),
            interval: half.map(|half| (written(mean - half), written(mean + half))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_known_values_is_that_of_students_t() {
        let spread = Spread::of(&[0.01, 0.02, 0.03], Unit::Share).unwrap();
        assert_eq!((spread.low, spread.high), (0.01, 0.03));
        assert!((spread.mean - 0.02).abs() < 1e-12 && (spread.deviation.unwrap() - 0.01).abs() < 1e-12);
        // 4.303 is the value of Student's t with two degrees of freedom.
        let half = 4.302_652_73 * 0.01 / 3_f64.sqrt();
        let (low, high) = spread.interval.unwrap();
        assert!((low - (0.02 - half)).abs() < 1e-8 && (high - (0.02 + half)).abs() < 1e-8, "{low} {high}");
    }

    #[test]
    fn ratios_count_for_latencies_and_rates() {
        let spread = Spread::of(&[50.0, 100.0, 200.0], Unit::Nanoseconds).unwrap();
        assert!((spread.mean - 100.0).abs() < 1e-9 && (spread.deviation.unwrap() - 1.0).abs() < 1e-9, "{spread:?}");
        let (low, high) = spread.interval.unwrap();
        assert!((low * high / 10_000.0 - 1.0).abs() < 1e-9, "{low} {high}");
    }

    #[test]
    fn few_or_infinite_values_have_no_interval() {
        assert_eq!(Spread::of(&[], Unit::Share), None);
        let one = Spread::of(&[7.0], Unit::Nanoseconds).unwrap();
        assert_eq!((one.deviation, one.interval), (None, None));
        assert!(Spread::of(&[7.0, 8.0], Unit::Nanoseconds).unwrap().interval.is_none());
        let infinite = Spread::of(&[7.0, f64::INFINITY, 8.0], Unit::Nanoseconds).unwrap();
        assert_eq!((infinite.mean, infinite.deviation, infinite.interval), (f64::INFINITY, None, None));
    }
}
