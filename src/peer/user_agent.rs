//! Matches user agents against the patterns of [`VersionRules`](crate::config::VersionRules).
//!
//! The peer chooses the agent, and we choose the pattern. The parts of a pattern are separated by `*`. Matching a
//! pattern compares at most as many bytes as the agent's length times the length of the pattern's longest part. There
//! is no backtracking, no recursion and no allocation.

/// Returns whether one of `patterns` matches `agent`, ignoring ASCII case.
///
/// An empty pattern matches no agent, so that a stray comma in a list cannot ban every peer.
pub(super) fn is_named_by(patterns: &[String], agent: &str) -> bool {
    patterns.iter().any(|pattern| names(pattern.as_bytes(), agent.as_bytes()))
}

fn names(pattern: &[u8], agent: &[u8]) -> bool {
    let mut parts = pattern.split(|&byte| byte == b'*');
    let (Some(first), Some(last)) = (parts.next(), parts.next_back()) else {
        return !pattern.is_empty() && find(agent, pattern).is_some();
    };
    let Some(mut rest) = without_prefix(agent, first).and_then(|rest| without_suffix(rest, last)) else {
        return false;
    };
    // Only the leftmost match of each part needs to be tried, because the longest text remains after it.
    for part in parts {
        let Some(at) = find(rest, part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    text.windows(part.len()).position(|window| window.eq_ignore_ascii_case(part))
}

fn without_prefix<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at(prefix.len().min(text.len()));
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn without_suffix<'a>(text: &'a [u8], suffix: &[u8]) -> Option<&'a [u8]> {
    let (rest, tail) = text.split_at(text.len().saturating_sub(suffix.len()));
    tail.eq_ignore_ascii_case(suffix).then_some(rest)
}
