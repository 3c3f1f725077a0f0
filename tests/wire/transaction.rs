//! Transactions: every part is decoded in place, and counts that exceed the payload are rejected.

use crate::chain::{any_tx, any_tx_parts, assert_every_cut_fails, encoded, numbered_tx};
use crate::known_payload;
use allocation_counter::measure;
use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::wire::{Hash256, Tx, TxInRef, TxOutRef, TxRef};
use peerloop_testkit::bytes::hex;
use proptest::prelude::*;

const TRUNCATED: WireError = WireError::Truncated { command: CommandName::TX };
const NON_CANONICAL: WireError = WireError::NonCanonicalSize { command: CommandName::TX };
const OVERLONG: WireError = WireError::OverlongSize { command: CommandName::TX };

/// The coinbase of the main network's genesis block.
const GENESIS_COINBASE: &str = "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d\
    04ffff001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f\
    6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e0\
    3909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000";

#[test]
fn the_genesis_coinbase_decodes_to_its_parts() {
    let bytes = hex(GENESIS_COINBASE);
    let tx = TxRef::decode(&bytes).unwrap();
    assert_eq!(tx.txid().to_string(), "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b");
    assert_eq!((tx.version(), tx.locktime()), (1, 0));
    assert!(tx.is_coinbase());
    let input = tx.inputs().next().unwrap();
    assert_eq!((input.prev_txid, input.prev_index, input.sequence), (Hash256::ZERO, u32::MAX, u32::MAX));
    assert!(input.script.ends_with(b"The Times 03/Jan/2009 Chancellor on brink of second bailout for banks"));
    let output = tx.outputs().next().unwrap();
    assert_eq!((output.value, output.script.len()), (5_000_000_000, 67));
    assert_eq!((tx.inputs().len(), tx.outputs().len()), (1, 1));

    let built = Tx::from_parts(1, &[input], &[output], 0);
    assert_eq!(built.as_ref(), tx);
    assert_eq!(encoded(|out| built.as_ref().encode(out)), bytes);
    assert_eq!(tx.into_owned(), built);
}

#[test]
fn every_truncation_is_an_error() {
    assert_every_cut_fails(&hex(GENESIS_COINBASE), TxRef::decode);
    let long_script = [7; 300];
    let output = TxOutRef { value: 1, script: &long_script };
    let input = TxInRef { prev_txid: Hash256::ZERO, prev_index: 0, script: &long_script, sequence: 0 };
    let tx = Tx::from_parts(2, &[input; 2], &[output; 2], 9);
    assert_every_cut_fails(tx.as_ref().encoded(), TxRef::decode);
}

#[test]
fn bytes_after_the_lock_time_are_ignored_and_not_emitted() {
    let bytes = hex(GENESIS_COINBASE);
    let longer = [&bytes[..], b"more"].concat();
    let tx = TxRef::decode(&longer).unwrap();
    assert_eq!(tx.encoded(), bytes);
    assert_eq!(encoded(|out| tx.encode(out)), bytes);
    assert_eq!(TxRef::split_first(&longer), Ok((tx, &b"more"[..])));
}

#[test]
fn a_transaction_without_inputs_and_outputs_decodes() {
    let bytes = hex("02000000000007000000");
    assert_eq!(bytes.len(), TxRef::MIN_BYTES);
    let tx = TxRef::decode(&bytes).unwrap();
    assert_eq!((tx.version(), tx.locktime(), tx.inputs().len(), tx.outputs().len()), (2, 7, 0, 0));
    assert!(!tx.is_coinbase());
    assert_eq!(Tx::from_parts(2, &[], &[], 7).as_ref(), tx);
}

#[test]
fn counts_that_exceed_the_payload_or_are_not_canonical_are_rejected() {
    for count in ["fdfd00", "feffffffff", "02"] {
        let inputs = hex(&format!("01000000{count}{}", "00".repeat(41 + 41 - 1)));
        assert_eq!(TxRef::decode(&inputs), Err(TRUNCATED), "{count} inputs");
        let outputs = hex(&format!("0100000000{count}{}", "00".repeat(9 + 9 - 1)));
        assert_eq!(TxRef::decode(&outputs), Err(TRUNCATED), "{count} outputs");
    }
    assert_eq!(TxRef::decode(&hex("01000000ffffffffffffffffff00")), Err(OVERLONG));
    assert_eq!(TxRef::decode(&hex("01000000fd010000")), Err(NON_CANONICAL));
    assert_eq!(TxRef::decode(&hex("0100000000fe0100000000")), Err(NON_CANONICAL));
}

#[test]
fn script_sizes_that_exceed_the_payload_or_are_not_canonical_are_rejected() {
    let input = |size: &str| hex(&format!("0100000001{}{size}{}", "00".repeat(36), "00".repeat(60)));
    assert_eq!(TxRef::decode(&input("fc")), Err(TRUNCATED));
    assert_eq!(TxRef::decode(&input("fdfd00")), Err(TRUNCATED));
    assert_eq!(TxRef::decode(&input("feffffffff")), Err(TRUNCATED));
    assert_eq!(TxRef::decode(&input("ff0000000001000000")), Err(OVERLONG));
    assert_eq!(TxRef::decode(&input("fdfc00")), Err(NON_CANONICAL));
    let output = |size: &str| hex(&format!("010000000001{}{size}{}", "00".repeat(8), "00".repeat(60)));
    assert_eq!(TxRef::decode(&output("fdfd00")), Err(TRUNCATED));
    assert_eq!(TxRef::decode(&output("ffffffffffffffffff")), Err(OVERLONG));
    assert_eq!(TxRef::decode(&output("feffff0000")), Err(NON_CANONICAL));
}

#[test]
fn a_transaction_is_a_coinbase_only_if_its_single_input_has_the_null_outpoint() {
    let input = |prev_txid, prev_index| TxInRef { prev_txid, prev_index, script: &[], sequence: 0 };
    let is_coinbase = |inputs: &[TxInRef<'_>]| Tx::from_parts(1, inputs, &[], 0).as_ref().is_coinbase();
    assert!(is_coinbase(&[input(Hash256::ZERO, u32::MAX)]));
    assert!(!is_coinbase(&[input(Hash256::ZERO, 0)]));
    assert!(!is_coinbase(&[input(Hash256::of(b""), u32::MAX)]));
    assert!(!is_coinbase(&[input(Hash256::ZERO, u32::MAX); 2]));
}

#[test]
fn reading_a_transaction_allocates_nothing() {
    let tx = numbered_tx(1);
    let bytes = tx.as_ref().encoded();
    let bomb = hex(&format!("01000000feffffffff{}", "00".repeat(100)));
    let used = measure(|| {
        let tx = TxRef::decode(bytes).unwrap();
        assert_eq!(tx.inputs().count() + tx.outputs().count(), 2);
        assert_eq!(TxRef::decode(&bomb), Err(TRUNCATED));
    });
    assert_eq!(used.count_total, 0);
}

#[test]
fn the_only_transaction_of_a_block_ends_where_the_block_does() {
    let block = known_payload("block");
    let (tx, rest) = TxRef::split_first(&block[81..]).unwrap();
    assert!(rest.is_empty() && tx.is_coinbase());
    assert_eq!(tx.txid(), Hash256::from_bytes(block[36..68].try_into().unwrap()), "the root differs from the txid");
}

proptest! {
    #[test]
    fn built_values_decode_unchanged(parts in any_tx_parts()) {
        let tx = parts.to_tx();
        let read = TxRef::decode(tx.as_ref().encoded()).unwrap();
        prop_assert_eq!(read, tx.as_ref());
        prop_assert_eq!((read.version(), read.locktime()), (parts.version, parts.locktime));
        prop_assert_eq!(read.inputs().collect::<Vec<_>>(), parts.inputs());
        prop_assert_eq!(read.outputs().collect::<Vec<_>>(), parts.outputs());
        prop_assert_eq!(read.txid(), Hash256::of(read.encoded()));
    }

    #[test]
    fn a_damaged_transaction_is_refused_or_can_be_rebuilt_from_its_parts(
        tx in any_tx(),
        damage in any::<[(proptest::sample::Index, u8); 3]>(),
    ) {
        let mut bytes = tx.as_ref().encoded().to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(tx) = TxRef::decode(&bytes) {
            let (inputs, outputs): (Vec<_>, Vec<_>) = (tx.inputs().collect(), tx.outputs().collect());
            prop_assert_eq!(inputs.len(), tx.inputs().len());
            prop_assert_eq!(outputs.len(), tx.outputs().len());
            let built = Tx::from_parts(tx.version(), &inputs, &outputs, tx.locktime());
            prop_assert_eq!(built.as_ref().encoded(), tx.encoded());
        }
    }
}
