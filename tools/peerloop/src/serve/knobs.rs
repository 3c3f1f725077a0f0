//! The values of the flags that make a node misbehave, as people type them, and as the greeting shows them.

use crate::units::{parse_bytes, parse_count, parse_duration, show_rate, show_share, write_bytes};
use peerloop::limits::{MAX_RESPONDER_BLOCK_BYTES, MAX_RESPONDER_BLOCKS, MIN_RESPONDER_BLOCK_BYTES};
use peerloop::load::{ResponderConfig, Stall};
use std::time::Duration;

/// Parses a time or a range of times: `200us`, `1ms..20ms`. The longest must be above zero.
pub(super) fn parse_delay(text: &str) -> Result<(Duration, Duration), String> {
    let (min, max) = match text.split_once("..") {
        None => (text, text),
        Some(range) => range,
    };
    let (min, max) = (parse_duration(min.trim())?, parse_duration(max.trim())?);
    if max.is_zero() {
        return Err(format!("`{text}` delays nothing; use a time above zero, for example 200us or 1ms..20ms"));
    }
    if min > max {
        return Err(format!("`{text}` begins after its end; write the shorter time first"));
    }
    Ok((min, max))
}

/// Parses a share above zero: `5%`, `0.05`.
pub(super) fn parse_share(text: &str) -> Result<f64, String> {
    let refused = || format!("`{text}` is not a share: use a percentage above 0% and up to 100%, for example 5%");
    let number = |digits: &str| {
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        digits.parse::<f64>().ok().filter(|_| is_plain)
    };
    let share = match text.strip_suffix('%') {
        Some(percent) => number(percent.trim_end()).map(|percent| percent / 100.0),
        // A whole number may be meant as a percentage.
        None => number(text).filter(|share| *share < 1.0),
    };
    share.filter(|share| *share > 0.0 && *share <= 1.0).ok_or_else(refused)
}

/// Parses the length and the interval of pauses: `200ms/10s`.
pub(super) fn parse_stall(text: &str) -> Result<Stall, String> {
    let Some((length, interval)) = text.split_once('/') else {
        return Err(format!("`{text}` is not a pause and an interval, for example 200ms/10s"));
    };
    let (length, interval) = (parse_duration(length.trim())?, parse_duration(interval.trim())?);
    Stall::new(length, interval).ok_or_else(|| match length.is_zero() {
        true => format!("`{text}` pauses nothing; use a pause above zero, for example 200ms/10s"),
        false => format!("`{text}` never answers, because the pause is not shorter than the interval"),
    })
}

/// Parses the length of a block.
pub(crate) fn parse_block_bytes(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text)?;
    match (MIN_RESPONDER_BLOCK_BYTES..=MAX_RESPONDER_BLOCK_BYTES).contains(&bytes) {
        true => Ok(bytes),
        false => Err(format!(
            "`{text}` is out of range: a block has {} to {}",
            write_bytes(MIN_RESPONDER_BLOCK_BYTES),
            write_bytes(MAX_RESPONDER_BLOCK_BYTES)
        )),
    }
}

/// Parses a number of blocks.
pub(super) fn parse_blocks(text: &str) -> Result<u32, String> {
    let count = parse_count(text)?;
    let blocks = u32::try_from(count).ok().filter(|&blocks| blocks <= MAX_RESPONDER_BLOCKS);
    blocks.ok_or_else(|| format!("`{text}` is too large: a chain has at most {MAX_RESPONDER_BLOCKS} blocks"))
}

/// Describes the ways in which a node misbehaves; `None` if it does not.
pub(super) fn misbehaviour(config: &ResponderConfig) -> Option<String> {
    let time = |time: Duration| humantime::format_duration(time).to_string();
    let mut ways = Vec::new();
    if !config.max_delay.is_zero() {
        ways.push(match config.min_delay == config.max_delay {
            true => format!("delays each reply by {}", time(config.max_delay)),
            false => format!("delays each reply by {} to {}", time(config.min_delay), time(config.max_delay)),
        });
    }
    if config.drop_share > 0.0 {
        const PARTS: f64 = 1e9;
        let share = show_share((config.drop_share * PARTS).round() as u64, PARTS as u64);
        ways.push(format!("drops {share} of the requests"));
    }
    if let Some(stall) = config.stall {
        ways.push(format!("sends no reply for {} once every {}", time(stall.length()), time(stall.interval())));
    }
    if let Some(rate) = config.max_rate {
        ways.push(format!("limits its replies to {}", show_rate(rate.as_per_second())));
    }
    if let Some(close_after) = config.close_after {
        ways.push(format!("closes each peer after {}", time(close_after)));
    }
    (!ways.is_empty()).then(|| format!("misbehaves on purpose: {}", ways.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::load::Rate;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn a_delay_is_a_time_or_a_range() {
        assert_eq!(parse_delay("200us"), Ok((MILLI / 5, MILLI / 5)));
        assert_eq!(parse_delay("1ms..20ms"), Ok((MILLI, 20 * MILLI)));
        assert_eq!(parse_delay("0 .. 1s"), Ok((Duration::ZERO, 1_000 * MILLI)));
        assert_eq!(parse_delay("1s..1s"), Ok((1_000 * MILLI, 1_000 * MILLI)));
        for (wrong, part) in [
            ("0", "delays nothing"),
            ("0..0s", "delays nothing"),
            ("2ms..1ms", "the shorter time first"),
            ("5", "write the unit"),
            ("..5ms", "is not a duration"),
            ("1ms..", "is not a duration"),
            ("1ms..2ms..3ms", "is not a duration"),
            ("-1ms", "cannot be negative"),
        ] {
            let refused = parse_delay(wrong).unwrap_err();
            assert!(refused.contains(part), "{wrong}: {refused}");
        }
    }

    #[test]
    fn a_share_is_a_percentage_or_a_fraction_and_never_ambiguous() {
        assert_eq!(
            ["5%", "0.05", "100%", "0.5 %", "12.5%", ".5"].map(parse_share),
            [0.05, 0.05, 1.0, 0.005, 0.125, 0.5].map(Ok)
        );
        for wrong in ["", "%", "0", "0%", "1", "5", "101%", "-5%", "+5%", "1e-3", "nan", "inf%", "5%%", "0.0"] {
            let refused = parse_share(wrong).unwrap_err();
            assert!(refused.contains("is not a share") && refused.contains("for example 5%"), "{wrong}: {refused}");
        }
    }

    #[test]
    fn a_stall_has_a_pause_that_is_shorter_than_its_interval() {
        assert_eq!(parse_stall("200ms/10s").ok(), Stall::new(200 * MILLI, 10_000 * MILLI));
        for (wrong, part) in [
            ("200ms", "for example 200ms/10s"),
            ("0/1s", "pauses nothing"),
            ("1s/1s", "never answers"),
            ("2s/1s", "never answers"),
            ("1s/0", "never answers"),
            ("1s/", "is not a duration"),
            ("1/2s", "write the unit"),
        ] {
            let refused = parse_stall(wrong).unwrap_err();
            assert!(refused.contains(part), "{wrong}: {refused}");
        }
    }

    #[test]
    fn a_block_and_a_chain_have_their_bounds() {
        assert_eq!(["143", "4GiB", "64GiB"].map(parse_block_bytes), [143, 4 << 30, 64 << 30].map(Ok));
        for wrong in ["142", "0", "65GiB", "99999999GiB"] {
            let refused = parse_block_bytes(wrong).unwrap_err();
            assert!(refused.contains("143B to 64GiB") || refused.contains("is not a size"), "{refused}");
        }
        assert_eq!((parse_blocks("1"), parse_blocks("100k")), (Ok(1), Ok(100_000)));
        assert!(parse_blocks("0").unwrap_err().contains("above zero"));
        assert!(parse_blocks("100001").unwrap_err().contains("at most 100000 blocks"));
    }

    #[test]
    fn the_greeting_names_every_way_of_misbehaving() {
        let config = ResponderConfig::default();
        assert_eq!(misbehaviour(&config), None);
        let delayed = config.clone().with_delay(MILLI, MILLI);
        assert_eq!(misbehaviour(&delayed).unwrap(), "misbehaves on purpose: delays each reply by 1ms");
        let bad = config
            .with_delay(MILLI / 5, 2 * MILLI)
            .with_drop_share(0.000_5)
            .with_stall(Stall::new(MILLI, 5 * MILLI))
            .with_max_rate(Some(Rate::per_second(20_000)))
            .with_close_after(Some(90_000 * MILLI));
        assert_eq!(
            misbehaviour(&bad).unwrap(),
            "misbehaves on purpose: delays each reply by 200us to 2ms, drops < 0.1 % of the requests, sends no reply \
             for 1ms once every 5ms, limits its replies to 20000/s, closes each peer after 1m 30s"
        );
    }
}
