//! Why merged runs may not belong together, or why one of them may mislead.

use crate::model::{Part, Trust};
use crate::units::{counted, show_seconds};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// Maximum number of missing segments that are named.
const MAX_NAMED: usize = 8;

/// Lists the warnings about runs whose intervals have this length.
pub(super) fn of(parts: &[Part], interval: Duration) -> Vec<String> {
    let mut warnings = segments(parts);
    warnings.extend(starts(parts, interval));
    let versions: BTreeSet<&str> = parts.iter().map(|part| part.version.as_str()).collect();
    if versions.len() > 1 {
        let versions: Vec<&str> = versions.into_iter().collect();
        warnings.push(format!("the runs are of different versions of peerloop: {}", versions.join(", ")));
    }
    for part in parts {
        if part.partial {
            warnings.push(format!("{} is partial: its results cover less than was planned", part.source));
        }
        match part.verdict {
            Trust::Trusted => {}
            Trust::NotTrusted => warnings.push(format!("{} is not trusted", part.source)),
        }
    }
    warnings
}

/// Lists missing and overlapping segments. Runs that each carried a whole load are no segments.
fn segments(parts: &[Part]) -> Vec<String> {
    let divisions: BTreeSet<u32> = parts.iter().map(|part| part.segment[1]).collect();
    let of = match divisions.into_iter().collect::<Vec<_>>()[..] {
        [] | [1] => return Vec::new(),
        [of] => of,
        ref several => {
            let several: Vec<String> = several.iter().map(|of| format!("n = {of}")).collect();
            return vec![format!(
                "the segments i/n are of different divisions, {}: parts of the load overlap or are missing",
                several.join(" and ")
            )];
        }
    };
    let mut by_index: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for part in parts {
        by_index.entry(part.segment[0]).or_default().push(&part.source);
    }
    let overlap = by_index.iter().filter(|(_, sources)| sources.len() > 1).map(|(index, sources)| {
        format!("segment {index}/{of} is in {}: its load counts more than once", sources.join(" and "))
    });
    let mut warnings: Vec<String> = overlap.collect();
    let missing = of as usize - by_index.len().min(of as usize);
    if missing > 0 {
        let absent = (1..=of).filter(|index| !by_index.contains_key(index));
        let mut named: Vec<String> = absent.take(MAX_NAMED).map(|index| format!("{index}/{of}")).collect();
        named.extend((missing > MAX_NAMED).then(|| "and others".to_owned()));
        let are = if missing == 1 { "is" } else { "are" };
        warnings.push(format!("{} {are} missing: {}", counted(missing as u64, "segment"), named.join(", ")));
    }
    warnings
}

/// Warns of counted parts that did not begin together. Intervals are added by their time since that begin.
fn starts(parts: &[Part], interval: Duration) -> Option<String> {
    let unknown = parts.iter().find(|part| start(part).is_none());
    if let Some(part) = unknown {
        return Some(format!("{} does not state when its counted part began", part.source));
    }
    let first = parts.iter().min_by_key(|part| start(part))?;
    let last = parts.iter().max_by_key(|part| start(part))?;
    let apart = start(last)?.duration_since(start(first)?).ok()?;
    (apart > interval).then(|| {
        format!(
            "{} began {} after {}: intervals are added by their time since the begin, and rates as if all runs had \
             begun together",
            last.source,
            show_seconds(apart),
            first.source
        )
    })
}

fn start(part: &Part) -> Option<SystemTime> {
    part.load_start.as_ref().and_then(|time| humantime::parse_rfc3339(time).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(source: &str, segment: [u32; 2], second: u32) -> Part {
        Part {
            source: source.to_owned(),
            id: source.to_owned(),
            version: "1".to_owned(),
            host: None,
            segment,
            load_start: Some(format!("2026-01-01T00:00:{second:02}.500Z")),
            partial: false,
            verdict: Trust::Trusted,
        }
    }

    fn warnings(parts: &[Part]) -> Vec<String> {
        of(parts, Duration::from_secs(1))
    }

    #[test]
    fn whole_segments_and_whole_loads_that_began_together_need_no_warning() {
        assert_eq!(warnings(&[part("a", [1, 2], 0), part("b", [2, 2], 1)]), [""; 0]);
        assert_eq!(warnings(&[part("a", [1, 1], 0), part("b", [1, 1], 0), part("c", [1, 1], 0)]), [""; 0]);
    }

    #[test]
    fn missing_and_overlapping_segments_are_named() {
        let found = warnings(&[part("a", [1, 4], 0), part("b", [1, 4], 0), part("c", [3, 4], 0)]);
        assert_eq!(
            found,
            ["segment 1/4 is in a and b: its load counts more than once", "2 segments are missing: 2/4, 4/4"]
        );
        let found = warnings(&[part("a", [1, 100], 0)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("99 segments are missing: 2/100, 3/100") && found[0].ends_with(", and others"));
        let found = warnings(&[part("a", [1, 2], 0), part("b", [2, 3], 0)]);
        assert!(found[0].contains("different divisions, n = 2 and n = 3"), "{found:?}");
    }

    #[test]
    fn starts_more_than_an_interval_apart_are_named() {
        let found = warnings(&[part("a", [1, 1], 30), part("b", [1, 1], 0), part("c", [1, 1], 7)]);
        assert!(found[0].starts_with("a began 30 s after b: intervals are added by"), "{found:?}");
        let unknown = Part { load_start: None, ..part("c", [1, 1], 0) };
        assert_eq!(warnings(&[part("a", [1, 1], 0), unknown]), ["c does not state when its counted part began"]);
    }

    #[test]
    fn versions_partial_and_untrusted_runs_are_named() {
        let partial = Part { partial: true, version: "2".to_owned(), ..part("a", [1, 1], 0) };
        let untrusted = Part { verdict: Trust::NotTrusted, ..part("b", [1, 1], 0) };
        assert_eq!(
            warnings(&[partial, untrusted]),
            [
                "the runs are of different versions of peerloop: 1, 2",
                "a is partial: its results cover less than was planned",
                "b is not trusted"
            ]
        );
    }
}
