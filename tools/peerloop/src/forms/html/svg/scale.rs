//! Scales of plots: they map values to positions, and choose the labelled values of an axis.

use std::time::Duration;

/// A mapping of values to positions in the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    is_log: bool,
    values: (f64, f64),
    positions: (f64, f64),
}

impl Scale {
    /// Returns a linear scale. Positions are in the units of the picture.
    pub(crate) fn linear(values: (f64, f64), positions: (f64, f64)) -> Self {
        Self { is_log: false, values, positions }
    }

    /// Returns a logarithmic scale; all values must be above zero.
    pub(crate) fn log(values: (f64, f64), positions: (f64, f64)) -> Self {
        Self { is_log: true, values, positions }
    }

    /// Returns the position of a value; a value outside the scale is at its end.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let map = |value: f64| if self.is_log { value.max(f64::MIN_POSITIVE).log10() } else { value };
        let (first, last) = (map(self.values.0), map(self.values.1));
        let part = if last > first { (map(value) - first) / (last - first) } else { 0.5 };
        self.positions.0 + part.clamp(0.0, 1.0) * (self.positions.1 - self.positions.0)
    }

    /// Returns whether the value is on the scale.
    pub(crate) fn holds(&self, value: f64) -> bool {
        self.values.0 <= value && value <= self.values.1
    }

    /// Returns the first and the last value.
    pub(crate) fn values(&self) -> (f64, f64) {
        self.values
    }

    /// Moves all positions downwards.
    pub(crate) fn below(mut self, distance: f64) -> Self {
        self.positions = (self.positions.0 + distance, self.positions.1 + distance);
        self
    }

    /// Returns the first and the last position.
    pub(crate) fn positions(&self) -> (f64, f64) {
        self.positions
    }
}

/// A labelled value of an axis.
pub(crate) type Tick = (f64, String);

/// Returns the end of an axis from zero to at least `max`, and its labelled values.
pub(crate) fn counts(max: f64) -> (f64, Vec<Tick>) {
    let step = nice(max.max(1.0) / 4.0).max(1.0);
    let steps = (max.max(1.0) / step).ceil() as u64;
    let ticks = (0..=steps).map(|index| index as f64 * step);
    let end = steps as f64 * step;
    (end, ticks.map(|value| (value, show_count(value, end))).collect())
}

/// Returns the smallest of 1, 2 and 5 times a power of ten that is not below the value.
pub(crate) fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0].map(|factor| factor * power).into_iter().find(|nice| *nice >= value * 0.999).unwrap_or(10.0 * power)
}

/// Formats a count in the unit of the axis that ends at `end`.
fn show_count(value: f64, end: f64) -> String {
    match end {
        _ if value == 0.0 => "0".to_owned(),
        1e9.. => format!("{}G", value / 1e9),
        1e6.. => format!("{}M", value / 1e6),
        1e4.. => format!("{}k", value / 1e3),
        _ => format!("{value}"),
    }
}

/// Returns the ends of an axis for latencies between `min` and `max` nanoseconds, and its labelled values: powers of
/// ten, and in short ranges 2 and 5 times these.
pub(crate) fn latencies(min: f64, max: f64) -> ((f64, f64), Vec<Tick>) {
    let [min, max] = [min, max].map(|value: f64| value.max(1.0));
    let is_short = (max / min).log10() < 1.5;
    let factors: &[f64] = if is_short { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let powers = min.log10().floor() as i32..=max.log10().ceil() as i32;
    let all = powers.flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)));
    let all: Vec<f64> = all.collect();
    let low = all.iter().rposition(|&value| value <= min * 1.001).unwrap_or(0);
    let high = all.iter().position(|&value| value >= max * 0.999).unwrap_or(all.len() - 1).max(low + 1);
    let shown = &all[low..=high.min(all.len() - 1)];
    let ends = (shown[0], shown[shown.len() - 1]);
    // A run of 1 ns to 104 days has 17 powers of ten.
    let every = shown.len().div_ceil(9);
    (ends, shown.iter().step_by(every).map(|&value| (value, show_latency(value))).collect())
}

/// Formats a round latency, for example as `500 ns`, `20 us` or `1 s`.
fn show_latency(nanos: f64) -> String {
    match nanos.round() {
        1e9.. => format!("{} s", (nanos / 1e9).round()),
        1e6.. => format!("{} ms", (nanos / 1e6).round()),
        1e3.. => format!("{} us", (nanos / 1e3).round()),
        _ => format!("{} ns", nanos.round()),
    }
}

/// Maximum number of decimals of a label.
const MAX_DECIMALS: f64 = 6.0;

/// Returns the ends of an axis that holds both changes, and its labelled values with their signs.
pub(crate) fn changes(low: f64, high: f64) -> ((f64, f64), Vec<Tick>) {
    let step = nice((high - low) / 5.0);
    let decimals = (-step.log10().floor()).clamp(0.0, MAX_DECIMALS) as usize;
    let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
    let show = |index: i64, value: f64| match index {
        0 => "0".to_owned(),
        _ if step >= 1e3 => format!("{}{}", if value < 0.0 { '-' } else { '+' }, show_count(value.abs(), 10.0 * step)),
        _ => format!("{value:+.decimals$}"),
    };
    let ticks = (first..=last).map(|index| (index, index as f64 * step));
    let ticks = ticks.map(|(index, value)| (value, show(index, value)));
    ((first as f64 * step, last as f64 * step), ticks.collect())
}

/// The distances between two labels of a time axis, in seconds.
const TIME_STEPS: [f64; 20] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0,
    28_800.0, 43_200.0, 86_400.0,
];

/// Maximum number of labels of a time axis.
const MAX_TIMES: f64 = 9.0;

/// Returns the labelled values of a time axis from zero to `end`, in seconds.
pub(crate) fn times(end: Duration) -> Vec<Tick> {
    let end = end.as_secs_f64();
    let step = TIME_STEPS.into_iter().find(|step| end / step <= MAX_TIMES).unwrap_or_else(|| nice(end / MAX_TIMES));
    let show = |secs: f64| match step {
        86_400.0.. => format!("{} d", secs / 86_400.0),
        3_600.0.. => format!("{} h", secs / 3_600.0),
        60.0.. => format!("{} min", secs / 60.0),
        1.0.. => format!("{secs} s"),
        _ => format!("{secs:.1} s"),
    };
    (0..=(end / step) as u64).map(|index| index as f64 * step).map(|secs| (secs, show(secs))).collect()
}

/// Returns the end of the axis of 1/(1-p) for this many operations, and its labelled values as percentiles.
pub(crate) fn percentiles(count: u64) -> (f64, Vec<Tick>) {
    let nines = (count.max(10) as f64).log10().ceil() as usize;
    let label = |nines: usize| match nines {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        _ => format!("99.{} %", "9".repeat(nines - 2)),
    };
    let mut ticks: Vec<Tick> = (0..=nines).map(|nines| (10_f64.powi(nines as i32), label(nines))).collect();
    // At many powers of ten, the labels would touch each other.
    if nines <= 5 {
        ticks.insert(1, (2.0, "50 %".to_owned()));
    }
    (10_f64.powi(nines as i32), ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|(_, label)| &**label).collect()
    }

    #[test]
    fn values_are_mapped_to_positions_and_those_outside_to_the_ends() {
        let linear = Scale::linear((0.0, 10.0), (100.0, 0.0));
        assert_eq!([-1.0, 0.0, 5.0, 10.0, 11.0].map(|value| linear.at(value)), [100.0, 100.0, 50.0, 0.0, 0.0]);
        let log = Scale::log((1.0, 100.0), (0.0, 10.0));
        assert_eq!([0.0, 1.0, 10.0, 100.0, 1e9].map(|value| log.at(value)), [0.0, 0.0, 5.0, 10.0, 10.0]);
        assert!(log.holds(1.0) && log.holds(100.0) && !log.holds(0.5) && !log.holds(101.0));
        assert_eq!(Scale::linear((5.0, 5.0), (0.0, 10.0)).at(5.0), 5.0);
    }

    #[test]
    fn an_axis_of_counts_holds_the_largest_count_and_its_labels_are_round() {
        let of = |max| {
            let (end, ticks) = counts(max);
            assert!(end >= max, "{max}");
            labels(&ticks).join(" ")
        };
        assert_eq!(of(0.0), "0 1");
        assert_eq!(of(7.0), "0 2 4 6 8");
        assert_eq!(of(1_000.0), "0 500 1000");
        assert_eq!(of(10_001.0), "0 5k 10k 15k");
        assert_eq!(of(3e6), "0 1M 2M 3M");
    }

    #[test]
    fn an_axis_of_latencies_holds_all_of_them_and_has_units() {
        let of = |min, max| {
            let ((low, high), ticks) = latencies(min, max);
            assert!(low <= min && max <= high * 1.001, "{min} {max}");
            labels(&ticks).join(" ")
        };
        assert_eq!(of(40e3, 8.7e6), "10 us 100 us 1 ms 10 ms");
        assert_eq!(of(40e3, 60e3), "20 us 50 us 100 us");
        assert_eq!(of(1.0, 1.0), "1 ns 2 ns");
        assert_eq!(of(5e5, 3e9), "100 us 1 ms 10 ms 100 ms 1 s 10 s");
        assert!(latencies(1.0, 9e15).1.len() <= 9);
    }

    #[test]
    fn an_axis_of_changes_holds_both_ends_and_its_labels_have_signs() {
        let of = |low, high| {
            let ((first, last), ticks) = changes(low, high);
            assert!(first <= low && high <= last, "{low} {high}");
            labels(&ticks).join(" ")
        };
        assert_eq!(of(-5.0, 5.0), "-6 -4 -2 0 +2 +4 +6");
        assert_eq!(of(-5.0, 30.2), "-10 0 +10 +20 +30 +40");
        assert_eq!(of(-0.1, 0.13), "-0.10 -0.05 0 +0.05 +0.10 +0.15");
        assert_eq!(of(-5.0, 4e9), "-1G 0 +1G +2G +3G +4G");
    }

    #[test]
    fn a_time_axis_has_few_labels_in_a_unit_that_fits() {
        let of = |secs: f64| labels(&times(Duration::from_secs_f64(secs))).join(" ");
        assert_eq!(of(0.5), "0.0 s 0.1 s 0.2 s 0.3 s 0.4 s 0.5 s");
        assert_eq!(of(12.0), "0 s 2 s 4 s 6 s 8 s 10 s 12 s");
        assert_eq!(of(602.0), "0 min 2 min 4 min 6 min 8 min 10 min");
        assert_eq!(of(90_000.0), "0 h 4 h 8 h 12 h 16 h 20 h 24 h");
        assert!(times(Duration::from_secs(1 << 33)).len() <= 10);
        assert_eq!(of(0.0), "0.0 s");
    }

    #[test]
    fn an_axis_of_percentiles_ends_beyond_the_last_operation() {
        let of = |count| {
            let (end, ticks) = percentiles(count);
            assert!(end >= count as f64, "{count}");
            labels(&ticks).join(" ")
        };
        assert_eq!(of(0), "0 % 50 % 90 %");
        assert_eq!(of(1_500), "0 % 50 % 90 % 99 % 99.9 % 99.99 %");
        assert_eq!(of(10_000_000), "0 % 90 % 99 % 99.9 % 99.99 % 99.999 % 99.9999 % 99.99999 %");
    }
}
