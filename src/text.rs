//! Counts with their nouns, for messages.

use std::fmt;

/// A count with its noun: `1 peer`, `2 peers`. The plural of a noun that ends in `s` ends in `es`.
pub(crate) struct Counted<N>(pub(crate) N, pub(crate) &'static str);

impl<N: fmt::Display + PartialEq + From<u8>> fmt::Display for Counted<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, what) = self;
        let plural = match what {
            _ if *count == N::from(1) => "",
            what if what.ends_with('s') => "es",
            _ => "s",
        };
        write!(f, "{count} {what}{plural}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_count_1_has_a_singular_noun() {
        let texts = [0_u64, 1, 2].map(|count| Counted(count, "peer").to_string());
        assert_eq!(texts, ["0 peers", "1 peer", "2 peers"]);
        assert_eq!(Counted(2_u32, "address").to_string(), "2 addresses");
    }
}
