//! `--min-peers`: the number of peers that a run requires, as a count or as a share of the planned connections.

use crate::units::parse_count;
use std::fmt;

/// Number of millionths in one percent. A share in millionths is exact, because a percentage has at most four decimals.
const PARTS_PER_PERCENT: u64 = 10_000;

/// The minimum number of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MinPeers {
    Count(usize),
    /// A share of the planned connections, in millionths.
    Share(u64),
}

impl MinPeers {
    /// Returns the minimum number of peers for this many planned connections; a share is rounded up.
    pub(crate) fn of(self, connections: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Share(parts) => {
                let peers = (connections as u128 * u128::from(parts)).div_ceil(100 * u128::from(PARTS_PER_PERCENT));
                usize::try_from(peers).unwrap_or(usize::MAX)
            }
        }
    }
}

/// Parses a count or a percentage: `0`, `950`, `1k`, `95%`, `99.5%`.
pub(crate) fn parse_min_peers(text: &str) -> Result<MinPeers, String> {
    let refused = || format!("`{text}` is not a number of peers: use a count or a percentage, for example 950 or 95%");
    let Some(percent) = text.strip_suffix('%') else {
        let count = if text == "0" { Ok(0) } else { parse_count(text) };
        return count.map(MinPeers::Count).map_err(|_| refused());
    };
    let (whole, fraction) = percent.split_once('.').unwrap_or((percent, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 4 {
        return Err(refused());
    }
    let parts = format!("{whole}{fraction:0<4}").parse().map_err(|_| refused())?;
    if parts <= 100 * PARTS_PER_PERCENT { Ok(MinPeers::Share(parts)) } else { Err(refused()) }
}

impl fmt::Display for MinPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Share(parts) => write!(f, "{}%", *parts as f64 / PARTS_PER_PERCENT as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_shares_are_parsed_and_a_share_is_rounded_up_to_whole_peers() {
        for (text, connections, peers) in [
            ("0", 50, 0),
            ("45", 50, 45),
            ("1k", 50, 1_000),
            ("0%", 50, 0),
            ("100%", 50, 50),
            ("90%", 50, 45),
            ("91%", 50, 46),
            ("99.5%", 1_000, 995),
            ("0.0001%", 1, 1),
            ("100%", usize::MAX, usize::MAX),
        ] {
            let min_peers = parse_min_peers(text).unwrap();
            assert_eq!(min_peers.of(connections), peers, "{text} of {connections}");
        }
        assert_eq!(parse_min_peers("99.50%").unwrap().to_string(), "99.5%");
        for wrong in
            ["", "%", "-1", "101%", "100.0001%", "5.%", ".5%", "1.00001%", "1e1%", "many", "99999999999999999999%"]
        {
            assert!(parse_min_peers(wrong).is_err(), "{wrong}");
        }
    }
}
