//! An anchor that is learned from an upstream: its headers are read from a tip downwards.
//!
//! More headers are read than the rules need, so that the latest ones may be replaced by a reorganisation. The upstream
//! names the tip, so it is believed as a given anchor is: each header must have the hash that the one above it names,
//! and a proof of work. Nothing here sends; memory is that of the anchor, at most 167 headers.

use super::anchor::{HeaderAnchor, InvalidAnchor, needed_headers};
use crate::protocol::Network;
use crate::wire::{BlockHeader, Hash256};

/// The number of headers beyond those that the rules need: the anchor's tip may be this far above a fork.
pub(in crate::relay) const SPARE_HEADERS: usize = 20;

/// An anchor of which the highest headers are known.
#[derive(Debug)]
pub(in crate::relay) struct LearnedAnchor {
    network: Network,
    /// The height of the tip, as the upstream states it.
    tip_height: u32,
    /// The hash of the next header.
    next: Hash256,
    /// The headers, the highest first.
    headers: Vec<BlockHeader>,
}

/// The result of a header.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::relay) enum Learned {
    /// Another header is needed.
    Next,
    /// The anchor is complete.
    Anchor(HeaderAnchor),
    /// The header is not the next one.
    OtherHeader,
    /// The stated height of the tip is lower than the number of headers below it.
    WrongHeight,
    /// The headers cannot be an anchor.
    Invalid(InvalidAnchor),
}

impl LearnedAnchor {
    /// Begins at a tip.
    pub(in crate::relay) fn new(network: Network, tip: Hash256, tip_height: u32) -> Self {
        Self { network, tip_height, next: tip, headers: Vec::new() }
    }

    /// Returns the hash of the next header.
    pub(in crate::relay) fn next(&self) -> Hash256 {
        self.next
    }

    /// Adds the next header.
    pub(in crate::relay) fn add(&mut self, header: &BlockHeader) -> Learned {
        if header.hash() != self.next {
            return Learned::OtherHeader;
        }
        self.headers.push(*header);
        self.next = header.prev_hash;
        let first_height = self.tip_height.checked_sub(self.headers.len() as u32 - 1);
        // The genesis block has no parent.
        let is_genesis = header.prev_hash == Hash256::ZERO;
        let Some(first_height) = first_height.filter(|&height| (height == 0) == is_genesis) else {
            return Learned::WrongHeight;
        };
        if self.headers.len() < needed_headers(self.network, first_height) + SPARE_HEADERS && !is_genesis {
            return Learned::Next;
        }
        let headers = self.headers.drain(..).rev().collect();
        match HeaderAnchor::new(self.network, first_height, headers) {
            Ok(anchor) => Learned::Anchor(anchor),
            Err(error) => Learned::Invalid(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a chain on top of the genesis block.
    fn chain(count: usize) -> Vec<BlockHeader> {
        let mut headers = vec![BlockHeader::genesis_of(Network::Regtest)];
        for _ in 0..count {
            let parent = headers[headers.len() - 1];
            let mut header = BlockHeader { prev_hash: parent.hash(), time: parent.time + 1, nonce: 0, ..parent };
            while header.check_proof_of_work(Network::Regtest).is_err() {
                header.nonce += 1;
            }
            headers.push(header);
        }
        headers
    }

    #[test]
    fn an_anchor_is_complete_once_the_rules_can_check_the_next_header() {
        let headers = chain(40);
        let mut learned = LearnedAnchor::new(Network::Regtest, headers[40].hash(), 40);
        for header in headers[11..].iter().rev() {
            assert_eq!(learned.next(), header.hash());
            assert_eq!(learned.add(header), Learned::Next);
        }
        assert_eq!(learned.add(&headers[9]), Learned::OtherHeader);
        let anchor = HeaderAnchor::new(Network::Regtest, 10, headers[10..].to_vec()).unwrap();
        assert_eq!(learned.add(&headers[10]), Learned::Anchor(anchor));
    }

    #[test]
    fn a_short_chain_begins_at_its_genesis_block() {
        let headers = chain(3);
        let mut learned = LearnedAnchor::new(Network::Regtest, headers[3].hash(), 3);
        for header in headers[1..].iter().rev() {
            assert_eq!(learned.add(header), Learned::Next);
        }
        let anchor = HeaderAnchor::new(Network::Regtest, 0, headers.clone()).unwrap();
        assert_eq!(learned.add(&headers[0]), Learned::Anchor(anchor));
        for wrong in [2, 4] {
            let mut learned = LearnedAnchor::new(Network::Regtest, headers[3].hash(), wrong);
            let last = headers.iter().rev().map(|header| learned.add(header)).find(|result| *result != Learned::Next);
            assert_eq!(last, Some(Learned::WrongHeight));
        }
    }

    #[test]
    fn headers_of_another_network_or_below_the_rule_are_no_anchor() {
        let headers = chain(200);
        let mut learned = LearnedAnchor::new(Network::Mainnet, headers[200].hash(), 900_000);
        let last = headers.iter().rev().map(|header| learned.add(header)).find(|result| *result != Learned::Next);
        assert_eq!(last, Some(Learned::Invalid(InvalidAnchor::NoProofOfWork { height: 900_000 - 166 })));
        let mut learned = LearnedAnchor::new(Network::Mainnet, headers[200].hash(), 200);
        let last = headers.iter().rev().map(|header| learned.add(header)).find(|result| *result != Learned::Next);
        assert_eq!(last, Some(Learned::Invalid(InvalidAnchor::TooLow { height: 200, lowest: 504_031 })));
    }
}
