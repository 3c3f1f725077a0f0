//! Numbers with units, as people type and read them.
//!
//! A duration other than `0` must have a unit. A rate is per second unless it names another unit. A count may end in
//! `k` or `m`. Nothing is guessed: invalid input is refused with the reason or with an example of valid input.

use peerloop::load::Rate;
use peerloop::time::UnixTime;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A percentile together with the text that named it, which is also its label in the results.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Percentile {
    pub(crate) label: String,
    pub(crate) percent: f64,
}

/// The percentiles that a report shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Percentiles(pub(crate) Vec<Percentile>);

/// Maximum number of percentiles: more columns do not fit on a line.
const MAX_PERCENTILES: usize = 12;

/// The shortest duration above zero that [`parse_time`] accepts.
const MIN_TIME: Duration = Duration::from_millis(1);

/// Parses a count above zero: `1000`, `1.5k`, `2m`.
pub(crate) fn parse_count(text: &str) -> Result<usize, String> {
    let refused = || format!("`{text}` is not a count: use a whole number above zero, for example 1000 or 1.5k");
    let (digits, zeros) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 3),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 6),
        Some(_) | None => (text, 0),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = !whole.is_empty() && [whole, part].concat().bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || part.len() > zeros || digits.ends_with('.') {
        return Err(refused());
    }
    // Each decimal replaces one of the suffix's zeros: 1.5k is 1, 5 and two zeros.
    let count = format!("{whole}{part:0<zeros$}").parse().map_err(|_| format!("`{text}` is too large"))?;
    if count > 0 { Ok(count) } else { Err(refused()) }
}

/// Maximum rate: one operation per nanosecond, the resolution of a schedule.
const RATE_MAX_PER_SECOND: f64 = 1e9;

/// Parses a rate of zero or more: `500`, `500/s`, `10/ms`, `1.5k/s`. A decimal fraction is kept as an exact ratio.
pub(crate) fn parse_rate(text: &str) -> Result<Rate, String> {
    let refused = || format!("`{text}` is not a rate: use a number with /s, /ms or /m, for example 500/s");
    if text == "max" {
        return Err(
            "`max` is not a rate: use a number, for example 50k/s, and raise the rate until the report names the \
             bottleneck"
                .into(),
        );
    }
    let (amount, unit) = match text.split_once('/') {
        None => (text, Duration::from_secs(1)),
        Some((amount, "s")) => (amount, Duration::from_secs(1)),
        Some((amount, "ms")) => (amount, Duration::from_millis(1)),
        Some((amount, "m" | "min")) => (amount, Duration::from_secs(60)),
        Some(_) => return Err(refused()),
    };
    let (digits, factor) = match amount.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000),
        None => (amount, 1),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    if digits.is_empty() || digits == "." || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(refused());
    }
    let operations = format!("0{whole}{fraction}").parse::<u64>().ok().and_then(|count| count.checked_mul(factor));
    let scale = u32::try_from(fraction.len()).ok().and_then(|len| 10_u32.checked_pow(len));
    let time = scale.and_then(|scale| unit.checked_mul(scale));
    let rate = operations.zip(time).and_then(|(operations, time)| Rate::new(operations, time));
    match rate {
        Some(rate) if rate.as_per_second() <= RATE_MAX_PER_SECOND => Ok(rate),
        Some(_) | None => {
            Err(format!("`{text}` is out of range: a rate is at most 1000000k/s, with at most 9 decimals"))
        }
    }
}

/// Parses a rate above zero.
pub(crate) fn parse_rate_above_zero(text: &str) -> Result<Rate, String> {
    parse_rate(text).and_then(|rate| match rate.is_zero() {
        true => Err(format!("`{text}` must be above zero")),
        false => Ok(rate),
    })
}

/// Units of sizes; each unit is 1,024 times the unit before it.
const SIZE_UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// Parses a number of bytes: `4096`, `512B`, `2MiB`, `1.5GiB`.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let refused = || format!("`{text}` is not a size: use a number of bytes, or one with a unit, for example 2MiB");
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (digits, unit) = (text[..split].trim_end(), &text[split..]);
    let shift = match SIZE_UNITS.iter().position(|known| known.eq_ignore_ascii_case(unit)) {
        Some(power) => 10 * power,
        None if unit.is_empty() => 0,
        None => return Err(refused()),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(refused());
    }
    if let Ok(whole) = digits.parse::<u64>() {
        return whole.checked_mul(1 << shift).ok_or_else(refused);
    }
    let bytes = digits.parse::<f64>().map_err(|_| refused())? * (1_u64 << shift) as f64;
    // A fraction of a byte is an error, and so is a product of 2^53 or more, which a float may not hold exactly.
    let is_exact = bytes.fract() == 0.0 && bytes < (1_u64 << 53) as f64;
    if is_exact { Ok(bytes as u64) } else { Err(refused()) }
}

/// Formats a number of bytes in the largest unit that divides it, in the form that [`parse_bytes`] accepts.
pub(crate) fn write_bytes(bytes: u64) -> String {
    let power = (bytes.trailing_zeros() as usize / 10).min(SIZE_UNITS.len() - 1);
    match bytes {
        0 => "0B".to_owned(),
        _ => format!("{}{}", bytes >> (10 * power), SIZE_UNITS[power]),
    }
}

/// Parses a duration with its unit: `10s`, `1m 30s`, `250ms`. Zero is `0s` or `0`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| match error {
        humantime::DurationError::NumberOverflow => format!("`{text}` is too long"),
        _ if text.starts_with('-') => format!("`{text}` is not a duration: it cannot be negative"),
        _ => format!("`{text}` is not a duration: write the unit, for example 10s or 250ms"),
    })
}

/// Parses a duration above zero.
pub(crate) fn parse_duration_above_zero(text: &str) -> Result<Duration, String> {
    parse_duration(text).and_then(|duration| match duration.is_zero() {
        true => Err(format!("`{text}` must be longer than zero")),
        false => Ok(duration),
    })
}

/// Parses a duration that is zero or at least 1 ms.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        time if time.is_zero() || time >= MIN_TIME => Ok(time),
        _ => Err(format!("`{text}` is shorter than 1ms, the shortest time that is supported")),
    }
}

/// Parses a duration of at least 1 ms.
pub(crate) fn parse_time_above_zero(text: &str) -> Result<Duration, String> {
    parse_duration_above_zero(text).and_then(|_| parse_time(text))
}

/// Parses percentiles separated by commas, each above 0 and up to 100: `50,90,99,99.9,100`.
pub(crate) fn parse_percentiles(text: &str) -> Result<Percentiles, String> {
    let list: Vec<Percentile> =
        text.split(',').map(|label| parse_percentile(label.trim())).collect::<Result<_, _>>()?;
    for (number, percentile) in list.iter().enumerate() {
        if list[..number].iter().any(|before| before.percent == percentile.percent) {
            return Err(format!("the percentile {} is given twice", percentile.label));
        }
    }
    match list.len() <= MAX_PERCENTILES {
        true => Ok(Percentiles(list)),
        false => Err(format!("more than {MAX_PERCENTILES} percentiles do not fit on a line")),
    }
}

/// Parses one percentile: `99.9`.
pub(crate) fn parse_percentile(label: &str) -> Result<Percentile, String> {
    // The label is also a key in the results, so it has neither a sign nor an exponent.
    let is_plain = label.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let percent = label.parse::<f64>().ok().filter(|&percent| is_plain && percent > 0.0 && percent <= 100.0);
    match percent {
        Some(percent) => Ok(Percentile { label: label.to_owned(), percent }),
        None => {
            Err(format!("`{label}` is not a percentile: use numbers above 0 and up to 100, for example 50,99,99.9"))
        }
    }
}

/// Parses an IP address with a port. The error gives an example, and advice if the host is missing or the port is
/// out of range.
pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
        let hint = match port_mistake(port) {
            Some(mistake) => mistake,
            None if host.is_empty() && !port.is_empty() => {
                format!("; for all addresses of this machine use 0.0.0.0:{port}")
            }
            None => String::new(),
        };
        format!("`{text}` is not an address with a port, for example 192.0.2.1:8333 or [2001:db8::1]:8333{hint}")
    })
}

/// Describes the error if `port` is a number but not a valid port.
pub(crate) fn port_mistake(port: &str) -> Option<String> {
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !port.parse::<u16>().is_ok_and(|port| port > 0)).then(|| format!("; ports are 1 to {}", u16::MAX))
}

impl Percentile {
    /// Returns the heading of the percentile's column.
    pub(crate) fn heading(&self) -> String {
        if self.percent == 100.0 { "max".to_owned() } else { format!("p{}", self.label) }
    }
}

/// Formats a share as a percentage: `44 %`, `0.2 %`, `< 0.1 %`, `> 99.9 %`. Shows 0 % only if `part` is 0, and 100 %
/// only if `part` is the whole.
pub(crate) fn show_share(part: u64, whole: u64) -> String {
    let percent = part as f64 / whole.max(1) as f64 * 100.0;
    match percent {
        _ if part > 0 && percent < 0.1 => "< 0.1 %".to_owned(),
        _ if part < whole && percent > 99.9 => "> 99.9 %".to_owned(),
        _ if percent.fract() == 0.0 => format!("{percent:.0} %"),
        _ => format!("{percent:.1} %"),
    }
}

/// Formats operations per second: `1500/s`, `2.5/s`, `0.0125/s`. A rate below 0.1/s has at most three significant
/// digits.
pub(crate) fn show_rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 1_000.0 || rate.fract() == 0.0 => format!("{rate:.0}/s"),
        rate if rate >= 0.1 => format!("{rate:.1}/s"),
        rate => {
            let leading_zeros = (-rate.log10()).floor() as usize;
            let decimals = format!("{rate:.places$}", places = leading_zeros + 3);
            format!("{}/s", decimals.trim_end_matches('0'))
        }
    }
}

/// Formats a latency: `850 ns`, `3.4 us`, `41 us`, `12.3 ms`, `1.50 s`. Up to 9.99 s, it has at most three digits.
pub(crate) fn show_latency(latency: Duration) -> String {
    let nanos = latency.as_nanos() as f64;
    match latency.as_nanos() {
        0..1_000 => format!("{nanos:.0} ns"),
        1_000..9_950 => format!("{:.1} us", nanos / 1e3),
        9_950..999_500 => format!("{:.0} us", nanos / 1e3),
        999_500..9_995_000 => format!("{:.2} ms", nanos / 1e6),
        9_995_000..99_950_000 => format!("{:.1} ms", nanos / 1e6),
        99_950_000..999_500_000 => format!("{:.0} ms", nanos / 1e6),
        _ => format!("{:.2} s", nanos / 1e9),
    }
}

/// Formats a run's duration: `10 s`, `2.5 s`. One above zero and below 0.1 s is in milliseconds: `10 ms`.
pub(crate) fn show_seconds(time: Duration) -> String {
    match time.subsec_millis() / 100 {
        0 if time.as_secs() == 0 && !time.is_zero() => format!("{} ms", time.as_millis()),
        0 => format!("{} s", time.as_secs()),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// Formats a wall time as RFC 3339 in UTC, to the millisecond. A time outside the years 0 to 9999 is shown as `@` and
/// the seconds since 1970.
pub(crate) fn show_time(time: SystemTime) -> String {
    let (time, millis) = unix_time(time);
    let text = time.to_string();
    match text.strip_suffix('Z') {
        Some(date) => format!("{date}.{millis:03}Z"),
        None => text,
    }
}

/// Splits a wall time into whole seconds since 1970, saturated, and the milliseconds after them.
pub(crate) fn unix_time(time: SystemTime) -> (UnixTime, u32) {
    let secs = |of: Duration| i64::try_from(of.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (UnixTime::from_secs(secs(after)), after.subsec_millis()),
        Err(error) => {
            let before = error.duration();
            // The milliseconds count from the preceding second.
            let has_part = before.subsec_nanos() > 0;
            let millis = if has_part { (1_000_000_000 - before.subsec_nanos()) / 1_000_000 } else { 0 };
            (UnixTime::from_secs((-secs(before)).saturating_sub(i64::from(has_part))), millis)
        }
    }
}

/// Formats a number of things: `1 peer`, `2 peers`.
pub(crate) fn counted<N: fmt::Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Formats a number of bytes: `512 B`, `46.9 KiB`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1_024.0;
    let mut unit = 0;
    while amount >= 1_024.0 && unit + 1 < UNITS.len() {
        amount /= 1_024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_accept_suffixes_for_thousand_and_million() {
        assert_eq!(parse_count("19000"), Ok(19_000));
        assert_eq!(parse_count("19k"), Ok(19_000));
        assert_eq!(parse_count("2M"), Ok(2_000_000));
        assert_eq!(parse_count("1.5k"), Ok(1_500));
        assert_eq!(parse_count("0.25m"), Ok(250_000));
        assert_eq!(parse_count("007"), Ok(7));
        for wrong in ["", "0", "0k", "k", "-1", "1.5", "1kk", "1 000", "0.0k", "1.2345k", "1.k", ".5k", "1.2.3k", "+1"]
        {
            let expected = format!("`{wrong}` is not a count: use a whole number above zero, for example 1000 or 1.5k");
            assert_eq!(parse_count(wrong), Err(expected));
        }
        for large in ["99999999999999999999", "20000000000000000k"] {
            assert_eq!(parse_count(large), Err(format!("`{large}` is too large")));
        }
    }

    #[test]
    fn rates_are_per_second_unless_they_name_another_unit() {
        for (text, ratio) in [
            ("500", (500, 1)),
            ("500/s", (500, 1)),
            ("10/ms", (10_000, 1)),
            ("60/m", (1, 1)),
            ("1/min", (1, 60)),
            ("1.5k/s", (1_500, 1)),
            (".5", (1, 2)),
            ("5.", (5, 1)),
            ("0.1", (1, 10)),
            ("0.30", (3, 10)),
            ("0.0000001/m", (1, 600_000_000)),
            ("1000000k", (1_000_000_000, 1)),
            ("0", (0, 1)),
        ] {
            let (operations, secs) = ratio;
            assert_eq!(parse_rate(text).ok(), Rate::new(operations, Duration::from_secs(secs)), "{text}");
        }
        for text in ["1000001k", "18446744073709551616", "0.0000000001", "18446744073709551615k"] {
            assert!(parse_rate(text).unwrap_err().contains("out of range"), "{text}");
        }
        let wrong = ["", "/s", "5/h", "5/", "-5", "+5", "nan", "inf", "1e9", ".", "1.2.3", "k", "5/s/s", "5 /s"];
        for text in wrong {
            assert!(parse_rate(text).is_err(), "{text}");
        }
        assert!(parse_rate("max").unwrap_err().contains("raise the rate until the report names the bottleneck"));
        assert!(parse_rate_above_zero("0").is_err());
        assert_eq!(parse_rate_above_zero("0.5"), Ok(Rate::new(1, Duration::from_secs(2)).unwrap()));
    }

    #[test]
    fn unusable_durations_are_refused_with_the_reason() {
        assert_eq!(parse_time("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_time_above_zero("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(parse_time_above_zero("1d"), Ok(Duration::from_secs(86_400)));
        for (text, expected) in [
            ("1ns", "`1ns` is shorter than 1ms, the shortest time that is supported"),
            ("99999999999999999999y", "`99999999999999999999y` is too long"),
            ("-1s", "`-1s` is not a duration: it cannot be negative"),
            ("1.5", "`1.5` is not a duration: write the unit, for example 10s or 250ms"),
            ("0s", "`0s` must be longer than zero"),
        ] {
            assert_eq!(parse_time_above_zero(text), Err(expected.to_owned()));
        }
    }

    #[test]
    fn an_invalid_address_is_refused_with_an_example_and_advice() {
        assert_eq!(parse_address("[::1]:1"), Ok("[::1]:1".parse().unwrap()));
        for (text, hint) in [
            (":99999", "; ports are 1 to 65535"),
            ("127.0.0.1:99999", "; ports are 1 to 65535"),
            (":8333", "; for all addresses of this machine use 0.0.0.0:8333"),
            ("localhost", ""),
            ("127.0.0.1:-1", ""),
        ] {
            let example = "for example 192.0.2.1:8333 or [2001:db8::1]:8333";
            assert_eq!(parse_address(text), Err(format!("`{text}` is not an address with a port, {example}{hint}")));
        }
    }

    #[test]
    fn sizes_have_binary_units_or_none() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4_096),
            ("512B", 512),
            ("2MiB", 2 << 20),
            ("2 mib", 2 << 20),
            ("1.5GiB", 3 << 29),
            ("9223372036854775807", i64::MAX as u64),
            ("16383TiB", 16_383 << 40),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "B", "MiB", "-1", "+1", "1e3", "2MB", "2M", "1.1B", "0.3", ".", "1.2.3", "16777216TiB", "1 2"]
        {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            (write_bytes(2 << 20), write_bytes(1_536), write_bytes(0)),
            ("2MiB".into(), "1536B".into(), "0B".into())
        );
    }

    #[test]
    fn a_duration_above_zero_without_a_unit_is_refused() {
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        let refused = parse_duration("10").unwrap_err();
        assert_eq!(refused, "`10` is not a duration: write the unit, for example 10s or 250ms");
        assert!(parse_duration("").is_err());
        assert!(parse_duration("-1s").is_err());
        assert!(parse_duration_above_zero("0ms").is_err());
    }

    #[test]
    fn percentiles_keep_the_text_that_was_typed() {
        let Percentiles(list) = parse_percentiles("50, 99.90,100").unwrap();
        let headings: Vec<String> = list.iter().map(Percentile::heading).collect();
        assert_eq!(headings, ["p50", "p99.90", "max"]);
        for wrong in ["", "0", "-1", "100.1", "50,,99", "p50", "nan", "+50", "5e1", "1,2,3,4,5,6,7,8,9,10,11,12,13"] {
            assert!(parse_percentiles(wrong).is_err(), "{wrong}");
        }
        for (twice, expected) in [("50,50", "50"), ("50,99,50.0", "50.0"), ("99.9,99.90", "99.90"), ("100,100", "100")]
        {
            assert_eq!(parse_percentiles(twice), Err(format!("the percentile {expected} is given twice")));
        }
    }

    #[test]
    fn only_zero_is_shown_as_0_percent_and_only_the_whole_as_100_percent() {
        let shown = [(0, 10), (440, 1_000), (1, 3), (1, 10_000), (9_999, 10_000), (5, 5), (0, 0)]
            .map(|(part, whole)| show_share(part, whole));
        assert_eq!(shown, ["0 %", "44 %", "33.3 %", "< 0.1 %", "> 99.9 %", "100 %", "0 %"]);
    }

    #[test]
    fn latencies_change_their_unit_and_their_decimals_at_the_boundaries() {
        for (nanos, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.0 us"),
            (9_949, "9.9 us"),
            (9_950, "10 us"),
            (999_499, "999 us"),
            (999_500, "1.00 ms"),
            (9_994_999, "9.99 ms"),
            (9_995_000, "10.0 ms"),
            (99_950_000, "100 ms"),
            (999_500_000, "1.00 s"),
            (61_000_000_000, "61.00 s"),
        ] {
            assert_eq!(show_latency(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn every_wall_time_can_be_shown() {
        let of = |secs: u64, nanos| Duration::new(secs, nanos);
        for (time, text) in [
            (UNIX_EPOCH.checked_add(of(1_700_000_000, 125_999_999)), "2023-11-14T22:13:20.125Z"),
            (UNIX_EPOCH.checked_sub(of(0, 1)), "1969-12-31T23:59:59.999Z"),
            (UNIX_EPOCH.checked_sub(of(1, 0)), "1969-12-31T23:59:59.000Z"),
            (UNIX_EPOCH.checked_add(of(253_402_300_799, 999_999_999)), "9999-12-31T23:59:59.999Z"),
            (UNIX_EPOCH.checked_add(of(253_402_300_800, 0)), "@253402300800"),
            (UNIX_EPOCH.checked_sub(of(62_167_219_200, 1)), "@-62167219201"),
        ] {
            assert_eq!(show_time(time.expect("the system can represent the time")), text);
        }
        // The earliest and latest times, which not every system can represent.
        let outermost =
            [UNIX_EPOCH.checked_add(of(i64::MAX as u64, 999_999_999)), UNIX_EPOCH.checked_sub(of(1 << 63, 0))];
        for time in outermost.into_iter().flatten() {
            assert!(show_time(time).starts_with('@'));
        }
    }

    #[test]
    fn bytes_rates_and_durations_are_formatted() {
        assert_eq!(show_bytes(1_023), "1023 B");
        assert_eq!(show_bytes(48_026), "46.9 KiB");
        assert_eq!(show_bytes(u64::MAX), "16777216.0 TiB");
        for (rate, text) in [
            (0.0, "0/s"),
            (1e-9, "0.000000001/s"),
            (0.000_012_345, "0.0000123/s"),
            (0.0125, "0.0125/s"),
            (0.1, "0.1/s"),
            (99.96, "100.0/s"),
            (100.0, "100/s"),
            (1e9, "1000000000/s"),
        ] {
            assert_eq!(show_rate(rate), text);
        }
        assert_eq!(show_seconds(Duration::from_millis(2_510)), "2.5 s");
        assert_eq!(show_seconds(Duration::from_millis(10)), "10 ms");
        assert_eq!(show_seconds(Duration::from_millis(100)), "0.1 s");
        assert_eq!(show_seconds(Duration::ZERO), "0 s");
        assert_eq!(show_seconds(Duration::from_secs(10)), "10 s");
    }

    proptest! {
        #[test]
        fn no_text_causes_a_parser_to_panic(text in "\\PC{0,12}") {
            let _ = (parse_count(&text), parse_rate(&text), parse_duration(&text));
            let _ = (parse_percentiles(&text), parse_bytes(&text));
        }

        #[test]
        fn a_formatted_size_is_parsed_as_the_same_size(bytes: u64, shift in 0..64_u32) {
            let bytes = bytes >> shift << (shift / 2);
            prop_assert_eq!(parse_bytes(&write_bytes(bytes)), Ok(bytes));
        }

        #[test]
        fn no_parsed_rate_exceeds_the_maximum(text in "[0-9a-z./+-]{0,8}") {
            if let Ok(rate) = parse_rate(&text) {
                prop_assert!((0.0..=RATE_MAX_PER_SECOND).contains(&rate.as_per_second()));
            }
        }
    }
}
