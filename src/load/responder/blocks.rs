//! The responder's blocks: their headers, their transactions, and the checksums of their messages.
//!
//! Headers and transactions are computed at the first request. A checksum needs the hash of a whole block. It is
//! computed at the block's first request, in steps of a bounded number of bytes, and kept.

use super::body::Body;
use super::chain::Chain;
use super::config::ResponderConfig;
use crate::id::PeerId;
use crate::limits::RESPONDER_HASH_STEP_BYTES;
use crate::protocol::{CommandName, Network};
use crate::wire::Headers;
use crate::wire::header::finish_checksum;
use crate::wire::{Hash256, Header, LocatorRef, MessageRef};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

#[derive(Debug)]
pub(super) struct Blocks {
    count: u32,
    block_bytes: u64,
    built: Option<Built>,
    checksums: BTreeMap<u32, [u8; 4]>,
    hashing: Option<Hashing>,
    /// The peers that wait for a block's checksum, in the order of their requests.
    awaiting: VecDeque<(u32, PeerId)>,
    /// The last `headers` frame, with its heights.
    last_headers: Option<(Range<u32>, Bytes)>,
}

/// The data of all blocks.
#[derive(Debug)]
struct Built {
    chain: Chain,
    body: Body,
}

/// A block whose first bytes are hashed.
#[derive(Debug)]
struct Hashing {
    height: u32,
    offset: u64,
    hasher: Sha256,
}

impl Blocks {
    pub(super) fn new(config: &ResponderConfig) -> Self {
        Self {
            count: config.blocks,
            block_bytes: config.block_bytes,
            built: None,
            checksums: BTreeMap::new(),
            hashing: None,
            awaiting: VecDeque::new(),
            last_headers: None,
        }
    }

    /// Returns the data of all blocks, and computes it at the first call.
    fn built(&mut self, network: Network) -> &Built {
        let (count, block_bytes) = (self.count, self.block_bytes);
        self.built.get_or_insert_with(|| {
            let body = Body::new(block_bytes);
            Built { chain: Chain::new(network, count, body.merkle_root()), body }
        })
    }

    /// Returns the heights of the headers that answer a `getheaders`; `None` if nothing does.
    pub(super) fn after(&mut self, network: Network, locator: &LocatorRef<'_>) -> Option<Range<u32>> {
        self.built(network).chain.after(locator)
    }

    /// Returns the `headers` frame of a range of heights; `encode` encodes it. The last frame is kept, because many
    /// peers send the same request.
    pub(super) fn headers_frame(
        &mut self,
        network: Network,
        heights: Range<u32>,
        encode: impl FnOnce(&MessageRef<'_>) -> Bytes,
    ) -> Bytes {
        if let Some((_, frame)) = self.last_headers.as_ref().filter(|(last, _)| *last == heights) {
            return frame.clone();
        }
        let headers = Headers::from_headers(self.built(network).chain.headers(heights.clone()).iter().copied());
        let frame = encode(&MessageRef::Headers(headers.as_ref()));
        self.last_headers = Some((heights, frame.clone()));
        frame
    }

    /// Returns the height of a block that is served; `None` for an unknown one, and for the genesis block, whose
    /// transactions are not served.
    pub(super) fn height(&mut self, network: Network, hash: Hash256) -> Option<u32> {
        self.built(network).chain.height(hash).filter(|&height| height > 0)
    }

    /// Returns the next bytes of a block after the first `offset` ones; no bytes at its end.
    pub(super) fn part(&self, height: u32, offset: u64) -> Bytes {
        let Some(Built { chain, body }) = &self.built else { return Bytes::new() };
        chain.header(height).map_or_else(Bytes::new, |header| body.part(header, offset))
    }

    /// Returns the message header of a block; `None` if its checksum must be computed first. [`Blocks::hash`] then
    /// returns the peer when the checksum is known.
    pub(super) fn message_header(&mut self, height: u32, peer: PeerId) -> Option<Header> {
        let header = |checksum| Header { command: CommandName::BLOCK, payload_len: self.block_bytes, checksum };
        if self.block_bytes > u64::from(u32::MAX) {
            return Some(header(None));
        }
        if let Some(&checksum) = self.checksums.get(&height) {
            return Some(header(Some(checksum)));
        }
        if self.block_bytes <= RESPONDER_HASH_STEP_BYTES {
            let mut hashing = Hashing { height, offset: 0, hasher: Sha256::new() };
            while self.advance(&mut hashing).is_none() {}
            return self.message_header(height, peer);
        }
        self.awaiting.push_back((height, peer));
        None
    }

    /// Returns whether blocks are to be hashed.
    pub(super) fn has_work(&self) -> bool {
        !self.awaiting.is_empty()
    }

    /// Hashes the next bytes of the first awaited block. Returns the peers that wait for the block once its checksum is
    /// known.
    pub(super) fn hash(&mut self) -> Vec<PeerId> {
        let Some(&(height, _)) = self.awaiting.front() else { return Vec::new() };
        let mut hashing = match self.hashing.take() {
            Some(hashing) if hashing.height == height => hashing,
            Some(_) | None => Hashing { height, offset: 0, hasher: Sha256::new() },
        };
        if !self.checksums.contains_key(&height) && self.advance(&mut hashing).is_none() {
            self.hashing = Some(hashing);
            return Vec::new();
        }
        let mut ready = Vec::new();
        self.awaiting.retain(|&(of, peer)| {
            if of == height {
                ready.push(peer);
            }
            of != height
        });
        ready
    }

    /// Removes a closed peer from the waiting ones, so that no block is hashed for it alone.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.awaiting.retain(|&(_, of)| of != peer);
    }

    /// Hashes the next step of a block. At the block's end, keeps and returns the checksum.
    fn advance(&mut self, hashing: &mut Hashing) -> Option<[u8; 4]> {
        let end = hashing.offset + RESPONDER_HASH_STEP_BYTES;
        while hashing.offset < end {
            let part = self.part(hashing.height, hashing.offset);
            if part.is_empty() {
                let checksum = finish_checksum(std::mem::take(&mut hashing.hasher));
                self.checksums.insert(hashing.height, checksum);
                return Some(checksum);
            }
            hashing.hasher.update(&part);
            hashing.offset += part.len() as u64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkId;
    use crate::wire::header::checksum;
    use crate::wire::{BlockHeader, BlockRef, HeadersRef, Locator};

    const NETWORK: Network = Network::Regtest;

    fn blocks(count: u32, block_bytes: u64) -> Blocks {
        Blocks::new(&ResponderConfig::default().with_blocks(count).with_block_bytes(block_bytes))
    }

    fn peer(slot: u32) -> PeerId {
        PeerId::of(LinkId::new(slot, 0))
    }

    /// Returns the hashes of all blocks but the first.
    fn hashes(blocks: &mut Blocks) -> Vec<Hash256> {
        let genesis = BlockHeader::genesis_of(NETWORK).hash();
        let locator = Locator::from_hashes(1, [genesis], Hash256::ZERO);
        let heights = blocks.after(NETWORK, &locator.as_ref()).unwrap();
        let mut payload = Bytes::new();
        let frame = blocks.headers_frame(NETWORK, heights, |message| {
            let mut out = Vec::new();
            message.encode_payload(&mut out);
            payload = out.into();
            payload.clone()
        });
        HeadersRef::decode(&frame).unwrap().iter().map(|item| item.header.hash()).collect()
    }

    fn payload(blocks: &Blocks, height: u32) -> Vec<u8> {
        let mut payload = Vec::new();
        loop {
            match blocks.part(height, payload.len() as u64) {
                part if part.is_empty() => return payload,
                part => payload.extend_from_slice(&part),
            }
        }
    }

    #[test]
    fn a_short_block_has_its_checksum_at_once() {
        let mut blocks = blocks(3, 5_000);
        for hash in hashes(&mut blocks) {
            let height = blocks.height(NETWORK, hash).unwrap();
            let header = blocks.message_header(height, peer(1)).unwrap();
            let payload = payload(&blocks, height);
            assert_eq!(header, Header::of(CommandName::BLOCK, &payload));
            assert_eq!(BlockRef::decode(&payload).unwrap().hash(), hash);
        }
        assert!(!blocks.has_work());
    }

    #[test]
    fn a_long_block_is_hashed_in_steps_once_for_all_peers() {
        const LEN: u64 = 3 * RESPONDER_HASH_STEP_BYTES + 17;
        let mut blocks = blocks(2, LEN);
        hashes(&mut blocks);
        for (height, slot) in [(1, 1), (2, 2), (1, 3), (1, 4)] {
            assert_eq!(blocks.message_header(height, peer(slot)), None);
        }
        blocks.forget(peer(4));
        let mut steps = Vec::new();
        while blocks.has_work() {
            steps.push(blocks.hash());
        }
        let ready: Vec<_> = steps.iter().filter(|peers| !peers.is_empty()).collect();
        assert_eq!(ready, [&vec![peer(1), peer(3)], &vec![peer(2)]]);
        assert!((6..=10).contains(&steps.len()), "{}", steps.len());
        for height in [1, 2] {
            let header = blocks.message_header(height, peer(9)).unwrap();
            assert_eq!((header.payload_len, header.checksum), (LEN, Some(checksum(&payload(&blocks, height)))));
        }
    }

    #[test]
    fn a_block_that_nobody_awaits_any_more_is_not_hashed() {
        let mut blocks = blocks(2, 2 * RESPONDER_HASH_STEP_BYTES);
        hashes(&mut blocks);
        assert_eq!(blocks.message_header(1, peer(1)), None);
        assert_eq!(blocks.hash(), []);
        blocks.forget(peer(1));
        assert!(!blocks.has_work());
        assert_eq!(blocks.hash(), []);
        // The next block does not continue the hash of the first one.
        assert_eq!(blocks.message_header(2, peer(1)), None);
        while blocks.hash().is_empty() {}
        let header = blocks.message_header(2, peer(1)).unwrap();
        assert_eq!(header.checksum, Some(checksum(&payload(&blocks, 2))));
    }

    #[test]
    fn a_block_above_4_gib_has_an_extended_header_and_is_not_hashed() {
        let mut long = blocks(1, 1 << 32);
        hashes(&mut long);
        let header = long.message_header(1, peer(1)).unwrap();
        assert!(header.is_extended() && header.payload_len == 1 << 32 && !long.has_work());
        let mut short = blocks(1, u64::from(u32::MAX));
        hashes(&mut short);
        assert_eq!((short.message_header(1, peer(1)), short.has_work()), (None, true));
    }

    #[test]
    fn the_genesis_block_and_unknown_blocks_are_not_served() {
        let mut blocks = blocks(1, 500);
        assert_eq!(blocks.height(NETWORK, BlockHeader::genesis_of(NETWORK).hash()), None);
        assert_eq!(blocks.height(NETWORK, Hash256::ZERO), None);
        assert_eq!(blocks.part(5, 0), Bytes::new());
    }

    #[test]
    fn the_last_headers_are_encoded_once() {
        let mut blocks = blocks(9, 500);
        let mut encoded = 0;
        for heights in [1..4, 1..4, 2..4, 1..4] {
            blocks.headers_frame(NETWORK, heights, |_| {
                encoded += 1;
                Bytes::new()
            });
        }
        assert_eq!(encoded, 3);
    }
}
