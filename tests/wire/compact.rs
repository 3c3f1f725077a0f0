//! Compact blocks and `getblocktxn`: a block that a live node sent, valid positions, and invalid positions.

use crate::chain::{any_header, any_tx, assert_every_cut_fails, compact_txids, encoded, numbered_tx};
use crate::known_payload;
use allocation_counter::measure;
use peerloop::error::WireError;
use peerloop::internals::siphash::SipKey;
use peerloop::protocol::CommandName;
use peerloop::wire::compact::SHORT_ID_BYTES;
use peerloop::wire::{BlockHeader, CompactBlock, CompactBlockRef, GetBlockTxn, GetBlockTxnRef, Hash256, ShortIds, Tx};
use peerloop_testkit::bytes::hex;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

const BAD_VALUE: WireError = WireError::BadValue { command: CommandName::CMPCTBLOCK };
const TRUNCATED: WireError = WireError::Truncated { command: CommandName::CMPCTBLOCK };

mod cmpctblock {
    use super::*;

    #[test]
    fn a_live_nodes_block_decodes_and_encodes_exactly() {
        let payload = known_payload("cmpctblock");
        let block = CompactBlockRef::decode(&payload).unwrap();
        assert!(block.header.hash().to_string().starts_with("779f3507"));
        assert_eq!(block.nonce, u64::from_le_bytes(hex("70c84a2de0255f0e").try_into().unwrap()));
        assert_eq!((block.tx_count(), block.short_ids.len(), block.prefilled().len()), (5, 4, 1));
        let coinbase = block.prefilled().next().unwrap();
        assert_eq!((coinbase.index, coinbase.tx.txid()), (0, compact_txids()[0]));
        assert!(coinbase.tx.is_coinbase());

        let key = block.short_id_key();
        assert_eq!(key.key(), SipKey { k0: 0x45fa_6b76_c482_a719, k1: 0x2cdf_8f44_8c82_08e5 });
        let short_ids: Vec<_> = compact_txids()[1..].iter().map(|&txid| key.short_id(txid)).collect();
        assert_eq!(block.short_ids, short_ids);

        assert_eq!(encoded(|out| block.encode(out)), payload);
        assert_eq!(encoded(|out| block.into_owned().as_ref().encode(out)), payload);
        assert_every_cut_fails(&payload, CompactBlockRef::decode);
        assert_eq!(CompactBlockRef::decode(&[&payload[..], b"more"].concat()), Ok(block));
    }

    /// Returns a block with `short_ids` short ids and one prefilled transaction for each distance in `prefilled`.
    fn block(short_ids: u8, prefilled: &[&str]) -> Vec<u8> {
        let mut payload = known_payload("cmpctblock")[..88].to_vec();
        payload.push(short_ids);
        payload.resize(payload.len() + SHORT_ID_BYTES * usize::from(short_ids), 7);
        payload.push(prefilled.len() as u8);
        for distance in prefilled {
            payload.extend_from_slice(&hex(distance));
            numbered_tx(1).as_ref().encode(&mut payload);
        }
        payload
    }

    fn indexes(payload: &[u8]) -> Result<Vec<u32>, WireError> {
        Ok(CompactBlockRef::decode(payload)?.prefilled().map(|prefilled| prefilled.index).collect())
    }

    #[test]
    fn each_position_is_encoded_as_a_distance_from_the_previous_one() {
        assert_eq!(indexes(&block(0, &["00"])), Ok(vec![0]));
        assert_eq!(indexes(&block(0, &["00", "00", "00"])), Ok(vec![0, 1, 2]));
        assert_eq!(indexes(&block(4, &["00", "02", "00"])), Ok(vec![0, 3, 4]));
        assert_eq!(indexes(&block(4, &["04", "00"])), Ok(vec![4, 5]));
        assert_eq!(indexes(&block(4, &["00", "04"])), Ok(vec![0, 5]), "the last position was refused or is wrong");
        assert_eq!(indexes(&block(4, &[])), Ok(vec![]));
    }

    #[test]
    fn messages_that_the_reference_node_rejects_are_refused() {
        assert_eq!(indexes(&block(0, &[])), Err(BAD_VALUE), "a block without transactions was not refused");
        assert_eq!(
            indexes(&block(0, &["01"])),
            Err(BAD_VALUE),
            "a block without a transaction at position 0 was not refused"
        );
        assert_eq!(
            indexes(&block(4, &["05"])),
            Err(BAD_VALUE),
            "a block without a transaction at position 4 was not refused"
        );
        assert_eq!(
            indexes(&block(4, &["00", "05"])),
            Err(BAD_VALUE),
            "a block without a transaction at position 5 was not refused"
        );
        assert_eq!(indexes(&block(4, &["feffffffff"])), Err(BAD_VALUE));
        let mut without_target = block(1, &[]);
        without_target[72..76].fill(0);
        assert_eq!(indexes(&without_target), Err(BAD_VALUE));
    }

    #[test]
    fn counts_that_exceed_the_payload_are_rejected_without_an_allocation() {
        let mut short_ids = block(0, &[]);
        short_ids.truncate(88);
        let mut prefilled = short_ids.clone();
        short_ids.extend_from_slice(&hex("feffffff7f000000000000"));
        prefilled.extend_from_slice(&hex("00feffffff7f00000000000000000000"));
        let used = measure(|| {
            assert_eq!(CompactBlockRef::decode(&short_ids), Err(TRUNCATED));
            assert_eq!(CompactBlockRef::decode(&prefilled), Err(TRUNCATED));
        });
        assert_eq!(used.count_total, 0);
    }

    proptest! {
        #[test]
        fn built_values_decode_unchanged(
            header in any_header(),
            nonce in any::<u64>(),
            transactions in vec(any_tx(), 1..10),
            choice in any::<u16>(),
        ) {
            let header = BlockHeader { bits: header.bits.max(1), ..header };
            let is_prefilled = |index: u32| choice >> index & 1 == 1;
            let txs = transactions.iter().map(Tx::as_ref);
            let built = CompactBlock::from_transactions(header, nonce, txs, is_prefilled);
            let payload = encoded(|out| built.as_ref().encode(out));
            let read = CompactBlockRef::decode(&payload).unwrap();
            prop_assert_eq!(read.into_owned(), built);

            // The reassembled block is the original.
            let key = ShortIds::new(&header, nonce);
            let (mut short_ids, mut prefilled) = (read.short_ids.iter(), read.prefilled().peekable());
            for (index, tx) in transactions.iter().enumerate() {
                if let Some(prefilled) = prefilled.next_if(|prefilled| prefilled.index as usize == index) {
                    prop_assert_eq!(prefilled.tx, tx.as_ref());
                } else {
                    prop_assert_eq!(short_ids.next(), Some(&key.short_id(tx.as_ref().txid())));
                }
            }
            prop_assert!(short_ids.next().is_none() && prefilled.next().is_none());
            prop_assert_eq!(read.tx_count(), transactions.len());
        }
    }
}

mod getblocktxn {
    use super::*;

    const TRUNCATED: WireError = WireError::Truncated { command: CommandName::GETBLOCKTXN };
    const TOO_LONG: WireError = WireError::TooLong { command: CommandName::GETBLOCKTXN };
    const OVERLONG: WireError = WireError::OverlongSize { command: CommandName::GETBLOCKTXN };

    fn indexes(distances: &str) -> Result<Vec<u32>, WireError> {
        let payload = [&[9; 32][..], &hex(distances)].concat();
        GetBlockTxnRef::decode(&payload).map(|message| message.indexes().collect())
    }

    #[test]
    fn a_request_is_encoded_as_specified_and_decodes_unchanged() {
        let block_hash = Hash256::of(&known_payload("cmpctblock")[..80]);
        let message = GetBlockTxn::from_indexes(block_hash, [1, 3]);
        let payload = encoded(|out| message.as_ref().encode(out));
        assert_eq!(payload, [&block_hash.to_bytes()[..], &[2, 1, 1]].concat());
        let read = GetBlockTxnRef::decode(&payload).unwrap();
        assert_eq!((read.block_hash, read.indexes().len()), (block_hash, 2));
        assert_eq!(read.indexes().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(read.into_owned(), message);
        assert_every_cut_fails(&payload, GetBlockTxnRef::decode);
        assert_eq!(GetBlockTxnRef::decode(&[&payload[..], b"more"].concat()), Ok(read));
    }

    #[test]
    fn distances_and_positions_must_fit_in_32_bits() {
        assert_eq!(indexes("00"), Ok(vec![]));
        assert_eq!(indexes("01feffffffff"), Ok(vec![u32::MAX]));
        assert_eq!(indexes("02fefeffffff00"), Ok(vec![u32::MAX - 1, u32::MAX]));
        assert_eq!(indexes("02feffffffff00"), Err(TOO_LONG));
        assert_eq!(indexes("02fefeffffff01"), Err(TOO_LONG));
        assert_eq!(indexes("0200feffffffff"), Err(TOO_LONG));
        assert_eq!(indexes("01ff0000000001000000"), Err(OVERLONG));
    }

    #[test]
    fn a_count_that_exceeds_the_payload_is_rejected_without_an_allocation() {
        let payload = [&[9; 32][..], &hex("feffffffff000000")].concat();
        let used = measure(|| assert_eq!(GetBlockTxnRef::decode(&payload), Err(TRUNCATED)));
        assert_eq!(used.count_total, 0);
    }

    #[test]
    fn each_position_is_requested_once_in_ascending_order() {
        let message = GetBlockTxn::from_indexes(Hash256::ZERO, [7, 3, 7, u32::MAX, 0, 3]);
        assert_eq!(message.as_ref().indexes().collect::<Vec<_>>(), [0, 3, 7, u32::MAX]);
    }

    proptest! {
        #[test]
        fn built_values_decode_unchanged(indexes in btree_set(prop_oneof![any::<u32>(), 0..300_u32], 0..50)) {
            let message = GetBlockTxn::from_indexes(Hash256::ZERO, indexes.iter().copied());
            let payload = encoded(|out| message.as_ref().encode(out));
            let read = GetBlockTxnRef::decode(&payload).unwrap();
            prop_assert!(read.indexes().eq(indexes.iter().copied()));
            prop_assert_eq!(read.into_owned(), message);
        }

        #[test]
        fn decoded_requests_have_increasing_indexes_and_encode_unchanged(payload in vec(any::<u8>(), 33..80)) {
            if let Ok(message) = GetBlockTxnRef::decode(&payload) {
                let indexes: Vec<u32> = message.indexes().collect();
                prop_assert!(indexes.is_sorted_by(|a, b| a < b));
                prop_assert_eq!(GetBlockTxn::from_indexes(message.block_hash, indexes), message.into_owned());
                prop_assert!(payload.starts_with(&encoded(|out| message.encode(out))));
            }
        }
    }
}
