//! The terms of a schedule, as people type them: rates, stages, arrivals, segments and starts.
//!
//! Nothing is guessed: invalid input is refused with the reason and with an example of valid input.

use crate::units::{parse_count, parse_duration, parse_rate, parse_time_above_zero};
use peerloop::load::{Rate, Segment, Stage};
use std::fmt;
use std::time::{Duration, SystemTime};

/// Maximum number of segments of a load: more processes than any load has peers.
const MAX_SEGMENTS: u64 = 1_000_000;

/// A rate, or the highest rate that the peers allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskedRate {
    At(Rate),
    Max,
}

/// The distribution of the operations in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ArrivalKind {
    #[default]
    Even,
    Poisson,
    Burst(u64),
}

impl fmt::Display for ArrivalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Even => f.write_str("even"),
            Self::Poisson => f.write_str("poisson"),
            Self::Burst(size) => write!(f, "burst:{size}"),
        }
    }
}

/// The start of the counted part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartAt {
    In(Duration),
    At(SystemTime),
}

/// Parses a rate of zero or more, or `max`.
pub(crate) fn parse_asked_rate(text: &str) -> Result<AskedRate, String> {
    match text {
        "max" => Ok(AskedRate::Max),
        _ => parse_rate(text).map(AskedRate::At),
    }
}

/// Parses a stage: `1k@30s`, or `1k..5k@60s` for a rate that changes steadily.
pub(crate) fn parse_stage(text: &str) -> Result<Stage, String> {
    let Some((rates, time)) = text.rsplit_once('@') else {
        return Err(format!(
            "`{text}` is not a stage: use RATE@TIME or RATE..RATE@TIME, for example 1k@30s or 1k..5k@60s"
        ));
    };
    if rates == "max" {
        return Err(format!("`{text}` has no rate: stages need numbers, and -r max -d TIME is a run of its own"));
    }
    let part = |error: String| format!("stage `{text}`: {error}");
    let time = parse_time_above_zero(time).map_err(part)?;
    match rates.split_once("..") {
        None => Ok(Stage::constant(parse_rate(rates).map_err(part)?, time)),
        Some((from, to)) => Ok(Stage::ramp(parse_rate(from).map_err(part)?, parse_rate(to).map_err(part)?, time)),
    }
}

/// Parses an arrival: `even`, `poisson` or `burst:N`.
pub(crate) fn parse_arrival(text: &str) -> Result<ArrivalKind, String> {
    match (text, text.strip_prefix("burst:")) {
        ("even", _) => Ok(ArrivalKind::Even),
        ("poisson", _) => Ok(ArrivalKind::Poisson),
        (_, Some(size)) => match parse_count(size)? {
            // A burst of one operation is an even arrival.
            1 => Ok(ArrivalKind::Even),
            size => Ok(ArrivalKind::Burst(size as u64)),
        },
        (_, None) => Err(format!("`{text}` is not an arrival: use even, poisson or burst:N, for example burst:10")),
    }
}

/// Parses a segment: `2/3` is the second of three.
pub(crate) fn parse_segment(text: &str) -> Result<Segment, String> {
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| is_number)
    };
    let pair = text.split_once('/').and_then(|(index, of)| Some((number(index)?, number(of)?)));
    let segment = pair.filter(|&(_, of)| of <= MAX_SEGMENTS);
    segment.and_then(|(index, of)| Segment::new(index.checked_sub(1)?, of)).ok_or_else(|| {
        format!(
            "`{text}` is not a segment: use I/N with I from 1 to N and N up to {MAX_SEGMENTS}, for example 2/3 for the \
             second of three"
        )
    })
}

/// Parses a start: `+10s` from now, or a wall time in RFC 3339 such as `2026-01-31T12:00:00Z`.
pub(crate) fn parse_start_at(text: &str) -> Result<StartAt, String> {
    if let Some(time) = text.strip_prefix('+') {
        return parse_duration(time).map(StartAt::In);
    }
    wall_time(text).map(StartAt::At).ok_or_else(|| {
        format!(
            "`{text}` is not a time: use RFC 3339, for example 2026-01-31T12:00:00Z or 2026-01-31T13:00:00+01:00, or a \
             time from now such as +10s"
        )
    })
}

/// Parses a wall time in RFC 3339, with `Z` or an offset from UTC.
fn wall_time(text: &str) -> Option<SystemTime> {
    if let Ok(time) = humantime::parse_rfc3339(text) {
        return Some(time);
    }
    let split = text.len().checked_sub("+00:00".len()).filter(|&split| text.is_char_boundary(split))?;
    let (date, offset) = text.split_at(split);
    if !date.ends_with(|last: char| last.is_ascii_digit()) {
        return None;
    }
    let (sign, offset) = (offset.get(..1)?, offset.get(1..)?);
    let (hours, minutes) = offset.split_once(':').filter(|(hours, minutes)| hours.len() == 2 && minutes.len() == 2)?;
    let is_number = [hours, minutes].concat().bytes().all(|byte| byte.is_ascii_digit());
    let (hours, minutes) = (hours.parse::<u64>().ok()?, minutes.parse::<u64>().ok()?);
    if !is_number || hours > 23 || minutes > 59 {
        return None;
    }
    let offset = Duration::from_secs((hours * 60 + minutes) * 60);
    let local = humantime::parse_rfc3339(&format!("{date}Z")).ok()?;
    match sign {
        "+" => local.checked_sub(offset),
        "-" => local.checked_add(offset),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_stage_is_a_rate_or_two_and_a_time() {
        let [one, five] = [1_000, 5_000].map(Rate::per_second);
        let tenth = Rate::new(1, seconds(10)).unwrap();
        assert_eq!(parse_stage("1k@30s"), Ok(Stage::constant(one, seconds(30))));
        assert_eq!(parse_stage("1k..5k@1m"), Ok(Stage::ramp(one, five, seconds(60))));
        assert_eq!(parse_stage("5/ms..0.1/s@1m 30s"), Ok(Stage::ramp(five, tenth, seconds(90))));
        assert_eq!(parse_stage("0@10s"), Ok(Stage::constant(Rate::ZERO, seconds(10))));
        for (text, part) in [
            ("", "is not a stage: use RATE@TIME"),
            ("1k", "is not a stage: use RATE@TIME"),
            ("1k@30", "write the unit"),
            ("1k@0s", "longer than zero"),
            ("@30s", "`` is not a rate"),
            ("1k..@30s", "`` is not a rate"),
            ("1..2..3@30s", "`2..3` is"),
            ("max@30s", "-r max -d TIME"),
            ("1k..max@30s", "`max` is not a rate"),
        ] {
            let error = parse_stage(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn arrivals_and_segments_are_parsed_or_refused_with_an_example() {
        assert_eq!(parse_arrival("even"), Ok(ArrivalKind::Even));
        assert_eq!(parse_arrival("poisson"), Ok(ArrivalKind::Poisson));
        assert_eq!(parse_arrival("burst:1k"), Ok(ArrivalKind::Burst(1_000)));
        assert_eq!(parse_arrival("burst:1"), Ok(ArrivalKind::Even));
        for wrong in ["", "burst", "Even", "uniform"] {
            assert!(parse_arrival(wrong).unwrap_err().contains("for example burst:10"), "{wrong}");
        }
        assert!(parse_arrival("burst:0").unwrap_err().contains("not a count"));
        assert_eq!(parse_segment("2/3"), Ok(Segment::new(1, 3).unwrap()));
        assert_eq!(parse_segment("1/1"), Ok(Segment::WHOLE));
        for wrong in ["", "2", "0/3", "4/3", "1/0", "+1/3", "1/+3", "1/3/5", "a/b", "-1/3", "1/1000001"] {
            assert!(parse_segment(wrong).unwrap_err().contains("for example 2/3"), "{wrong}");
        }
    }

    #[test]
    fn a_start_is_a_wall_time_or_a_time_from_now() {
        let noon = SystemTime::UNIX_EPOCH + seconds(1_769_860_800);
        for text in ["2026-01-31T12:00:00Z", "2026-01-31T13:30:00+01:30", "2026-01-31T07:00:00.000-05:00"] {
            assert_eq!(parse_start_at(text), Ok(StartAt::At(noon)), "{text}");
        }
        assert_eq!(parse_start_at("+10s"), Ok(StartAt::In(seconds(10))));
        assert!(parse_start_at("+10").unwrap_err().contains("write the unit"));
        for wrong in [
            "",
            "now",
            "10s",
            "12:00",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31T12:00:00+24:00",
            "2026-01-31T12:00:00+1:00",
            "2026-01-31T12:00:00Z+01:00",
            "2026-13-31T12:00:00Z",
            "éé+01:00",
        ] {
            assert!(parse_start_at(wrong).unwrap_err().contains("use RFC 3339"), "{wrong}");
        }
    }

    #[test]
    fn only_the_word_max_is_the_highest_rate() {
        assert_eq!(parse_asked_rate("max"), Ok(AskedRate::Max));
        assert_eq!(parse_asked_rate("2k"), Ok(AskedRate::At(Rate::per_second(2_000))));
        assert!(parse_asked_rate("MAX").unwrap_err().contains("is not a rate"));
    }

    proptest! {
        #[test]
        fn no_text_causes_a_parser_to_panic(text in "\\PC{0,28}") {
            let _ = (parse_stage(&text), parse_arrival(&text), parse_segment(&text), parse_start_at(&text));
        }

        #[test]
        fn a_stage_keeps_its_rates_and_its_time(from in 0..99_999_u64, to in 0..99_999_u64, millis in 1..99_999_u64) {
            let stage = Stage::ramp(Rate::per_second(from), Rate::per_second(to), Duration::from_millis(millis));
            prop_assert_eq!(parse_stage(&format!("{from}..{to}@{millis}ms")), Ok(stage));
        }
    }
}
