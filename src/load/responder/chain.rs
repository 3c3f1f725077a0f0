//! The responder's chain: headers that follow from the network's genesis block, the same in every run.
//!
//! On regtest, where half of all hashes meet the target, every header has a valid proof of work. On the other networks
//! the headers have the genesis block's target and no proof, so a node that checks it rejects them.

use crate::limits::MAX_HEADERS_PER_MESSAGE;
use crate::protocol::Network;
use crate::wire::{BlockHeader, Hash256, LocatorRef};
use std::ops::Range;

/// Time between two blocks, in seconds.
const BLOCK_TIME_SECS: u32 = 600;
/// The version of all blocks but the first.
const BLOCK_VERSION: i32 = 0x2000_0000;

/// The headers of a chain by height, and the heights by hash.
#[derive(Debug)]
pub(super) struct Chain {
    headers: Vec<BlockHeader>,
    /// The hashes in their own order, each with its height.
    heights: Vec<(Hash256, u32)>,
}

impl Chain {
    /// Builds a chain of `blocks` blocks after the genesis block, all with the same Merkle root.
    pub(super) fn new(network: Network, blocks: u32, merkle_root: Hash256) -> Self {
        let genesis = BlockHeader::genesis_of(network);
        let (mut headers, mut heights) = (vec![genesis], vec![(genesis.hash(), 0)]);
        let mut prev_hash = genesis.hash();
        for height in 1..=blocks {
            let time = genesis.time.saturating_add(height.saturating_mul(BLOCK_TIME_SECS));
            let header = BlockHeader { version: BLOCK_VERSION, prev_hash, merkle_root, time, nonce: 0, ..genesis };
            let (header, hash) = mined(header, network);
            prev_hash = hash;
            headers.push(header);
            heights.push((hash, height));
        }
        heights.sort_unstable();
        Self { headers, heights }
    }

    /// Returns the header of the block at a height.
    pub(super) fn header(&self, height: u32) -> Option<&BlockHeader> {
        self.headers.get(height as usize)
    }

    /// Returns the headers of a range of heights.
    pub(super) fn headers(&self, heights: Range<u32>) -> &[BlockHeader] {
        self.headers.get(heights.start as usize..heights.end as usize).unwrap_or_default()
    }

    /// Returns the height of the block with this hash.
    pub(super) fn height(&self, hash: Hash256) -> Option<u32> {
        let index = self.heights.binary_search_by_key(&hash, |&(hash, _)| hash).ok()?;
        Some(self.heights[index].1)
    }

    /// Returns the heights of the headers that answer a `getheaders`, at most 2,000. `None` means no answer: the
    /// locator is empty and the last block is unknown (SV Node 1.2.2, net_processing.cpp ProcessGetHeadersMessage).
    pub(super) fn after(&self, locator: &LocatorRef<'_>) -> Option<Range<u32>> {
        let stop = self.height(locator.stop);
        if locator.hashes().len() == 0 {
            return stop.map(|height| height..height + 1);
        }
        let fork = locator.hashes().find_map(|hash| self.height(hash)).unwrap_or(0);
        let begin = fork + 1;
        let end = (self.headers.len() as u32).min(begin + MAX_HEADERS_PER_MESSAGE as u32);
        Some(begin..stop.filter(|&stop| stop >= begin).map_or(end, |stop| end.min(stop + 1)))
    }
}

/// Returns the header with its hash and, on regtest, with the first nonce whose hash meets the target.
fn mined(mut header: BlockHeader, network: Network) -> (BlockHeader, Hash256) {
    let hash = header.hash();
    let Some(target) = header.target().filter(|_| network == Network::Regtest) else { return (header, hash) };
    let mut hash = hash;
    while !target.is_met_by(hash) {
        header.nonce += 1;
        hash = header.hash();
    }
    (header, hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Locator, ProofOfWorkError};

    fn chain(network: Network, blocks: u32) -> Chain {
        Chain::new(network, blocks, Hash256::from_bytes([7; 32]))
    }

    #[test]
    fn every_header_links_to_its_parent_and_has_its_own_hash() {
        for network in Network::ALL {
            let chain = chain(network, 50);
            assert_eq!(chain.header(0), Some(&BlockHeader::genesis_of(network)));
            for height in 1..=50 {
                let (parent, header) = (chain.header(height - 1).unwrap(), chain.header(height).unwrap());
                assert_eq!((header.prev_hash, header.merkle_root), (parent.hash(), Hash256::from_bytes([7; 32])));
                assert_eq!((header.time - parent.time, header.bits), (600, parent.bits));
                assert_eq!(chain.height(header.hash()), Some(height));
            }
            assert_eq!((chain.header(51), chain.height(Hash256::ZERO)), (None, None));
        }
    }

    #[test]
    fn only_the_headers_on_regtest_have_a_proof_of_work() {
        for network in Network::ALL {
            let chain = chain(network, 20);
            let check = |height| chain.header(height).unwrap().check_proof_of_work(network);
            assert_eq!(check(0), Ok(()), "{network}");
            for height in 1..=20 {
                match network {
                    Network::Regtest => assert_eq!(check(height), Ok(())),
                    Network::Mainnet | Network::Testnet | Network::Stn => {
                        assert!(matches!(check(height), Err(ProofOfWorkError::HashAboveTarget { .. })), "{network}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_settings_give_the_same_chain() {
        let tip =
            |network, root: u8| Chain::new(network, 30, Hash256::from_bytes([root; 32])).header(30).unwrap().hash();
        assert_eq!(tip(Network::Regtest, 1), tip(Network::Regtest, 1));
        assert_ne!(tip(Network::Regtest, 1), tip(Network::Regtest, 2));
        assert_eq!(tip(Network::Testnet, 1), tip(Network::Stn, 1));
    }

    #[test]
    fn a_locator_is_answered_from_its_first_known_block_to_the_stop() {
        let chain = chain(Network::Regtest, 4_100);
        let hash = |height: u32| chain.header(height).unwrap().hash();
        let unknown = Hash256::from_bytes([9; 32]);
        let after =
            |hashes: &[Hash256], stop| chain.after(&Locator::from_hashes(1, hashes.iter().copied(), stop).as_ref());
        assert_eq!(after(&[hash(0)], Hash256::ZERO), Some(1..2_001));
        assert_eq!(after(&[unknown, hash(2_000), hash(3)], Hash256::ZERO), Some(2_001..4_001));
        assert_eq!(after(&[hash(4_000)], unknown), Some(4_001..4_101));
        assert_eq!(after(&[hash(4_100)], Hash256::ZERO), Some(4_101..4_101));
        assert_eq!(after(&[unknown], Hash256::ZERO), Some(1..2_001));
        assert_eq!(after(&[hash(10)], hash(12)), Some(11..13));
        assert_eq!(after(&[hash(10)], hash(11)), Some(11..12));
        assert_eq!(after(&[hash(10)], hash(10)), Some(11..2_011));
        assert_eq!(after(&[], hash(7)), Some(7..8));
        assert_eq!(after(&[], hash(0)), Some(0..1));
        assert_eq!(after(&[], unknown), None);
        assert_eq!(chain.headers(7..8), [*chain.header(7).unwrap()]);
        assert_eq!(chain.headers(4_101..4_101), []);
    }
}
