//! A block in transit: its payload is checked while it passes, and survives the loss of its source.
//!
//! A block's payload is the same from every node. If a source is lost in the middle, another one sends the block from
//! its start: the bytes that have passed are parsed and not passed again, and the parser's hashes must be those of the
//! first source's bytes. Two sources can also send the block at the same time, each in a lane: the bytes of the one
//! that is ahead pass, and those of the other one are compared once it is level. The last byte is held until the
//! length, the Merkle root and the checksum are right. Each byte is hashed as a part of its transaction, and once more
//! only for a checksum. Nothing here sends or knows a peer; memory is that of the window and of the offsets, and less
//! than 8 KiB.

use super::offsets::TxOffsets;
use super::window::Window;
use crate::bugs::canary;
use crate::error::WireError;
use crate::wire::{BlockStreamEvent, BlockStreamParser, Hash256, Header, MerkleVerdict, StreamedBlock};
use bytes::Bytes;
use sha2::{Digest, Sha256};

/// A block between its sources and its readers.
#[derive(Debug)]
pub(super) struct Transit {
    /// The hash of the requested block.
    hash: Hash256,
    /// The message's header, which readers receive with its checksum.
    header: Header,
    window: Window,
    parser: BlockStreamParser,
    /// The places of the transactions.
    offsets: TxOffsets,
    /// The hash of the bytes that have passed, for the checksum; `None` if there is none.
    passed: Option<Sha256>,
    lanes: [Lane; Self::LANES],
    /// The bytes that passed last, and are not read by the parser.
    unchecked: Bytes,
    /// The block, once it is complete and right.
    block: Option<StreamedBlock>,
}

/// The progress of a source.
#[derive(Debug, Default)]
struct Lane {
    /// The number of bytes that it has sent.
    sent: u64,
    /// Has read its bytes while it is behind; `None` at its start, and while all bytes that have passed are also its
    /// own.
    behind: Option<Box<BlockStreamParser>>,
}

/// The reason why the block, or its present source, is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The header is not that of the requested block.
    OtherBlock,
    /// The transactions cannot be read.
    Malformed(WireError),
    /// The payload continues after the last transaction, or ends before it.
    WrongLength,
    /// The transactions do not match the header's Merkle root.
    WrongMerkleRoot,
    /// The transactions match the root, but some are repeated so that another block has the same hash.
    Mutated,
    /// The payload does not match the checksum in the message's header.
    WrongChecksum,
    /// A further source's bytes differ from those of the sources before it. One of them lies.
    Differs,
}

impl Transit {
    /// The number of sources that can send the block at the same time.
    pub(super) const LANES: usize = 2;

    /// Begins a block with the message header of its first source.
    pub(super) fn new(hash: Hash256, header: Header) -> Self {
        Self {
            hash,
            header,
            window: Window::new(header.payload_len.max(1)),
            parser: BlockStreamParser::new(),
            offsets: TxOffsets::default(),
            passed: header.checksum.is_some().then(Sha256::new),
            lanes: Default::default(),
            unchecked: Bytes::new(),
            block: None,
        }
    }

    /// Continues with another source, which begins with this message header, in a lane that is free.
    pub(super) fn continue_with(&mut self, lane: usize, header: &Header) -> Result<(), Fault> {
        self.lanes[lane] = Lane::default();
        let is_same_checksum = match (header.checksum, self.header.checksum) {
            (Some(one), Some(other)) => one == other,
            (None, _) | (_, None) => true,
        };
        let is_same = header.payload_len == self.header.payload_len && is_same_checksum;
        if is_same { Ok(()) } else { Err(Fault::Differs) }
    }

    /// Makes a source's next bytes readable. They are checked with the next call, so that hashing does not delay them,
    /// and the block's last ones at once: the last byte becomes readable if the block is right. Returns whether bytes
    /// were new: another source may have sent them before. After an error, the last byte never becomes readable.
    pub(super) fn push(&mut self, lane: usize, part: &Bytes) -> Result<bool, Fault> {
        self.check()?;
        let passed = self.window.end() - u64::from(canary!(ContinuedEarly) && self.window.end() > 0);
        let skipped = usize::try_from(passed - self.lanes[lane].sent.min(passed));
        let (repeated, new) = part.split_at(part.len().min(skipped.unwrap_or(usize::MAX)));
        self.lanes[lane].sent += part.len() as u64;
        self.compare(lane, repeated)?;
        if new.is_empty() {
            return Ok(false);
        }
        if self.lanes[lane].sent > self.header.payload_len {
            return Err(Fault::WrongLength);
        }
        self.overtake();
        self.unchecked = part.slice_ref(new);
        self.window.push(self.unchecked.clone());
        if self.window.end() == self.header.payload_len {
            self.check()?;
            self.end()?;
        }
        Ok(true)
    }

    /// Reads and hashes the bytes that were pushed last.
    fn check(&mut self) -> Result<(), Fault> {
        let new = std::mem::take(&mut self.unchecked);
        if !new.is_empty() {
            self.parse(&new)?;
        }
        if let Some(passed) = &mut self.passed {
            passed.update(&new);
        }
        Ok(())
    }

    /// Returns whether other sources have sent bytes that the one in this lane has not.
    pub(super) fn is_behind(&self, lane: usize) -> bool {
        self.lanes[lane].sent < self.window.end()
    }

    /// Reads bytes that another source has sent before, and compares them once they are as many.
    fn compare(&mut self, lane: usize, mut repeated: &[u8]) -> Result<(), Fault> {
        if repeated.is_empty() {
            return Ok(());
        }
        let Lane { sent, behind } = &mut self.lanes[lane];
        let parser = behind.get_or_insert_default();
        // The bytes that have passed are well-formed.
        while parser.advance(&mut repeated).map_err(|_| Fault::Differs)?.is_some() {}
        if *sent < self.window.end() {
            return Ok(());
        }
        let is_same = parser.read_digest() == self.parser.read_digest();
        *behind = None;
        if is_same { Ok(()) } else { Err(Fault::Differs) }
    }

    /// Keeps the parser's state for a source that was level before one is ahead.
    fn overtake(&mut self) {
        let end = self.window.end();
        for lane in self.lanes.iter_mut().filter(|lane| lane.sent == end && end > 0) {
            lane.behind = Some(Box::new(self.parser.clone()));
        }
    }

    /// Reads new bytes of the block.
    fn parse(&mut self, mut unread: &[u8]) -> Result<(), Fault> {
        if self.block.is_some() {
            // The parser ignores bytes after the block's end.
            return Err(Fault::WrongLength);
        }
        while let Some(event) = self.parser.advance(&mut unread).map_err(Fault::Malformed)? {
            match event {
                BlockStreamEvent::Header { header, .. } if header.hash() != self.hash => return Err(Fault::OtherBlock),
                BlockStreamEvent::Header { tx_count, .. } => {
                    self.offsets = TxOffsets::of_block(self.header.payload_len, tx_count);
                }
                BlockStreamEvent::Transaction(tx) => self.offsets.push(tx.len_bytes),
                BlockStreamEvent::End(block) => {
                    self.block = Some(block);
                    break;
                }
            }
        }
        if unread.is_empty() { Ok(()) } else { Err(Fault::WrongLength) }
    }

    /// Checks the whole block, and makes its last byte readable.
    fn end(&mut self) -> Result<(), Fault> {
        let Some(block) = self.block else { return Err(Fault::WrongLength) };
        match block.verdict {
            MerkleVerdict::Valid => {}
            MerkleVerdict::Mutated => return Err(Fault::Mutated),
            MerkleVerdict::Mismatch if canary!(WrongBlockSent) => {}
            MerkleVerdict::Mismatch => return Err(Fault::WrongMerkleRoot),
        }
        if let Some((claimed, passed)) = self.header.checksum.zip(self.passed.take()) {
            let twice = Sha256::digest(passed.finalize());
            if claimed != twice[..claimed.len()] {
                return Err(Fault::WrongChecksum);
            }
        }
        self.window.release();
        Ok(())
    }

    /// Returns the message header of the block.
    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the window from which readers read.
    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    /// Returns the window.
    pub(super) fn window_mut(&mut self) -> &mut Window {
        &mut self.window
    }

    /// Returns the places of the transactions that have passed.
    pub(super) fn offsets(&self) -> &TxOffsets {
        &self.offsets
    }

    /// Returns the window of a block that is no longer in transit, and the places of its transactions.
    pub(super) fn into_parts(self) -> (Window, TxOffsets) {
        (self.window, self.offsets)
    }

    /// Returns the block, once it has passed and is right.
    pub(super) fn complete(&self) -> Option<&StreamedBlock> {
        self.block.as_ref().filter(|_| self.window.readable() == self.header.payload_len)
    }
}

#[cfg(test)]
mod tests {
    use super::super::window::Read;
    use super::*;
    use crate::protocol::CommandName;
    use crate::wire::{Block, BlockHeader, MerkleFrontier, Tx, TxOutRef};
    use proptest::prelude::*;

    /// Returns a block's payload with this number of transactions.
    fn block(count: u32) -> (Hash256, Vec<u8>) {
        let txs: Vec<Tx> = (0..count)
            .map(|number| Tx::from_parts(1, &[], &[TxOutRef { value: 1, script: &[0x51; 20] }], number))
            .collect();
        of_txs(&txs)
    }

    fn of_txs(txs: &[Tx]) -> (Hash256, Vec<u8>) {
        let tree: MerkleFrontier = txs.iter().map(|tx| tx.as_ref().txid()).collect();
        let header = BlockHeader { merkle_root: tree.root().unwrap(), ..BlockHeader::decode(&[0; 80]) };
        let mut payload = Vec::new();
        Block::from_parts(header, txs.iter().map(Tx::as_ref)).as_ref().encode(&mut payload);
        (header.hash(), payload)
    }

    fn header_of(payload: &[u8]) -> Header {
        Header::of(CommandName::BLOCK, payload)
    }

    fn extended(payload: &[u8]) -> Header {
        Header { checksum: None, ..header_of(payload) }
    }

    /// Sends a payload in parts of this length.
    fn send(transit: &mut Transit, payload: &[u8], part: usize) -> Result<(), Fault> {
        payload.chunks(part.max(1)).try_for_each(|part| transit.push(0, &Bytes::copy_from_slice(part)).map(drop))
    }

    fn read_all(transit: &Transit) -> Vec<u8> {
        let mut read = Vec::new();
        while let Read::Part(part) = transit.window().read(read.len() as u64) {
            read.extend_from_slice(&part);
        }
        read
    }

    #[test]
    fn a_right_block_passes_with_each_size_of_parts() {
        let (hash, payload) = block(9);
        for header in [header_of(&payload), extended(&payload)] {
            for part in [1, 7, 80, 81, payload.len()] {
                let mut transit = Transit::new(hash, header);
                assert_eq!(send(&mut transit, &payload[..payload.len() - 1], part), Ok(()));
                assert_eq!((read_all(&transit).len(), transit.complete()), (payload.len() - 1, None));
                assert_eq!(send(&mut transit, &payload[payload.len() - 1..], part), Ok(()));
                assert_eq!(read_all(&transit), payload);
                assert_eq!(transit.complete().map(|block| block.tx_count), Some(9));
            }
        }
    }

    #[test]
    fn the_last_byte_of_a_wrong_block_never_leaves() {
        let (hash, payload) = block(8);
        let changed = |at: usize| {
            let mut changed = payload.clone();
            changed[at] ^= 1;
            changed
        };
        let last = payload.len() - 1;
        let long = [&payload[..], &[0]].concat();
        let wrong_checksum = Header { checksum: Some([1, 2, 3, 4]), ..header_of(&payload) };
        for (sent, header, fault) in [
            (changed(3), header_of(&changed(3)), Fault::OtherBlock),
            (changed(last), header_of(&changed(last)), Fault::WrongMerkleRoot),
            (changed(last), extended(&changed(last)), Fault::WrongMerkleRoot),
            (payload[..last].to_vec(), header_of(&payload[..last]), Fault::WrongLength),
            (long.clone(), header_of(&long), Fault::WrongLength),
            (payload.clone(), wrong_checksum, Fault::WrongChecksum),
        ] {
            for part in [1, 30, sent.len()] {
                let mut transit = Transit::new(hash, header);
                assert_eq!(send(&mut transit, &sent, part), Err(fault));
                assert!(read_all(&transit).len() < sent.len() && transit.complete().is_none(), "{fault:?}");
            }
        }
        // The block with its last two transactions twice has the same hash.
        let tx = |number| Tx::from_parts(1, &[], &[], number);
        let (once, _) = of_txs(&[tx(1), tx(2), tx(3)]);
        let (twice, mutated) = of_txs(&[tx(1), tx(2), tx(3), tx(3)]);
        assert_eq!(once, twice);
        let mut transit = Transit::new(once, header_of(&mutated));
        assert_eq!(send(&mut transit, &mutated, 10), Err(Fault::Mutated));
        assert!(read_all(&transit).len() < mutated.len());
    }

    #[test]
    fn another_source_continues_at_each_offset() {
        let (hash, payload) = block(6);
        for lost_at in 0..payload.len() {
            let mut transit = Transit::new(hash, header_of(&payload));
            send(&mut transit, &payload[..lost_at], 50).unwrap();
            let before = read_all(&transit);
            transit.continue_with(0, &header_of(&payload)).unwrap();
            // It is lost, too, before it is level.
            send(&mut transit, &payload[..lost_at / 2], 13).unwrap();
            assert_eq!(read_all(&transit), before);
            transit.continue_with(0, &extended(&payload)).unwrap();
            assert_eq!(send(&mut transit, &payload, 37), Ok(()), "{lost_at}");
            assert_eq!(read_all(&transit), payload);
        }
    }

    #[test]
    fn a_source_that_sends_other_bytes_is_found_and_a_third_one_continues() {
        let (hash, payload) = block(6);
        let lost_at = 200;
        for at in [0, 4, 100, lost_at - 1] {
            let mut transit = Transit::new(hash, header_of(&payload));
            send(&mut transit, &payload[..lost_at], 50).unwrap();
            let mut other = payload.clone();
            other[at] ^= 0x80;
            transit.continue_with(0, &extended(&other)).unwrap();
            assert_eq!(send(&mut transit, &other, 33), Err(Fault::Differs), "{at}");
            assert_eq!(transit.window().end(), lost_at as u64, "bytes of the liar have passed");
            transit.continue_with(0, &header_of(&payload)).unwrap();
            assert_eq!(send(&mut transit, &payload, 33), Ok(()));
            assert_eq!(read_all(&transit), payload);
        }
        let mut transit = Transit::new(hash, header_of(&payload));
        let longer = Header { payload_len: payload.len() as u64 + 1, ..header_of(&payload) };
        assert_eq!(transit.continue_with(0, &longer), Err(Fault::Differs));
        let other_checksum = Header { checksum: Some([0; 4]), ..header_of(&payload) };
        assert_eq!(transit.continue_with(0, &other_checksum), Err(Fault::Differs));
    }

    proptest! {
        #[test]
        fn sources_that_are_lost_at_random_change_no_byte(
            losses in prop::collection::vec((0..600_usize, 1..90_usize), 0..6),
            part in 1..300_usize,
        ) {
            let (hash, payload) = block(12);
            let mut transit = Transit::new(hash, header_of(&payload));
            let mut passed = 0;
            for (lost_at, part) in losses {
                let lost_at = lost_at.min(payload.len() - 1);
                prop_assert_eq!(send(&mut transit, &payload[..lost_at], part), Ok(()));
                passed = passed.max(lost_at);
                prop_assert_eq!(read_all(&transit), &payload[..passed]);
                transit.continue_with(0, &header_of(&payload)).unwrap();
            }
            prop_assert_eq!(send(&mut transit, &payload, part), Ok(()));
            prop_assert_eq!(read_all(&transit), payload);
        }
    }
}
