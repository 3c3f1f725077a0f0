//! Targets, work and proofs of work, compared with figures from explorers, from a live regtest node and from SV
//! Node's own tests.

use crate::known_payload;
use peerloop::Network;
use peerloop::wire::{BlockHeader, BlockRef, Hash256, ProofOfWorkError, Target, Work};

/// Returns the main network's first header.
fn genesis() -> BlockHeader {
    let merkle_root =
        "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b".parse().expect("the string is a hash");
    let (prev_hash, time, bits, nonce) = (Hash256::ZERO, 1_231_006_505, 0x1d00_ffff, 2_083_236_893);
    BlockHeader { version: 1, prev_hash, merkle_root, time, bits, nonce }
}

fn with_bits(bits: u32) -> BlockHeader {
    BlockHeader { bits, ..genesis() }
}

#[test]
fn the_first_header_has_the_target_and_the_work_that_explorers_show() {
    let target = genesis().target().unwrap();
    assert_eq!(target.to_string(), format!("00000000ffff{}", "0".repeat(52)));
    assert_eq!(genesis().work().to_string(), format!("{:064x}", 0x1_0001_0001_u64));
    assert_eq!(genesis().check_proof_of_work(Network::Mainnet), Ok(()));
    // Up to block 1,000, the main network has 1,001 headers of the same difficulty.
    let chain: Work = (0..1_001).map(|_| genesis().work()).sum();
    assert_eq!(chain.to_string(), format!("{:064x}", 0x3e9_03e9_03e9_u64));
}

#[test]
fn a_block_of_a_live_regtest_node_has_the_easiest_target() {
    let payload = known_payload("block");
    let header = BlockRef::decode(&payload).unwrap().header;
    assert_eq!(header.bits, 0x207f_ffff);
    assert_eq!(header.work().to_string(), format!("{:064x}", 2));
    assert_eq!(header.check_proof_of_work(Network::Regtest), Ok(()));
    let too_easy = ProofOfWorkError::TargetTooEasy { target: header.target().unwrap() };
    assert_eq!(header.check_proof_of_work(Network::Mainnet), Err(too_easy));
}

#[test]
fn a_header_with_one_changed_bit_has_no_proof() {
    for bit in 0..80 * 8 {
        let mut bytes = genesis().encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let header = BlockHeader::decode(&bytes);
        assert!(
            header.check_proof_of_work(Network::Mainnet).is_err(),
            "the proof was accepted despite the changed bit {bit}"
        );
    }
}

#[test]
fn the_compact_form_is_decoded_as_a_node_decodes_it() {
    let text = |bits: u32| Target::from_bits(bits).map(|target| target.to_string().trim_start_matches('0').to_owned());
    // SV Node 1.2.2, test/arith_uint256_tests.cpp bignum_SetCompact.
    for (bits, expected) in [
        (0, None),
        (0x0012_3456, None),
        (0x0100_3456, None),
        (0x0200_0056, None),
        (0x0300_0000, None),
        (0x0400_0000, None),
        (0x0092_3456, None),
        (0x0180_3456, None),
        (0x01fe_dcba, None),
        (0x0112_3456, Some("12")),
        (0x0212_3456, Some("1234")),
        (0x0312_3456, Some("123456")),
        (0x0412_3456, Some("12345600")),
        (0x0492_3456, None),
        (0x0500_9234, Some("92340000")),
        (0x2012_3456, Some("1234560000000000000000000000000000000000000000000000000000000000")),
        (0x2200_00ff, Some("ff00000000000000000000000000000000000000000000000000000000000000")),
        (0x2100_ffff, Some("ffff000000000000000000000000000000000000000000000000000000000000")),
        (0x2112_3456, None),
        (0x2200_0100, None),
        (0x2300_00ff, None),
        (0xff12_3456, None),
    ] {
        assert_eq!(text(bits).as_deref(), expected, "{bits:#010x}");
    }
}

#[test]
fn a_hash_equal_to_the_target_meets_it_and_a_larger_hash_does_not() {
    let target = Target::from_bits(0x0412_3456).unwrap();
    let hash = |low: u32| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&low.to_le_bytes());
        Hash256::from_bytes(bytes)
    };
    assert!(target.is_met_by(hash(0x1234_5600)) && target.is_met_by(hash(0)));
    assert!(!target.is_met_by(hash(0x1234_5601)));
    let mut high = [0; 32];
    high[31] = 1;
    assert!(!target.is_met_by(Hash256::from_bytes(high)));
}

#[test]
fn a_header_without_a_valid_target_has_no_work_and_no_proof() {
    for bits in [0, 0x0492_3456, 0xff12_3456] {
        let header = with_bits(bits);
        assert_eq!((header.target(), header.work()), (None, Work::ZERO));
        let invalid = ProofOfWorkError::InvalidTarget { bits };
        assert_eq!(header.check_proof_of_work(Network::Regtest), Err(invalid));
    }
}

#[test]
fn work_is_compared_and_added_as_a_number_and_never_wraps() {
    let most = Work::from_be_bytes([0xff; 32]);
    let two = with_bits(0x207f_ffff).work();
    assert!(two > Work::ZERO && most > genesis().work() && genesis().work() > two);
    assert_eq!(most + two, most);
    assert_eq!(Work::from_be_bytes(two.to_be_bytes()), two);
    let mut sum = Work::ZERO;
    sum += two;
    assert_eq!(sum + two, [two, two].into_iter().sum());
    // The hardest target: one hash in 2^255 meets it.
    assert_eq!(with_bits(0x0101_0000).work().to_string(), format!("8{}", "0".repeat(63)));
}
