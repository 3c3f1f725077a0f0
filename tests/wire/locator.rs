//! Requests with a locator (`getblocks`, `getheaders` and `gethdrsen`), and a locator's heights.

use crate::exact::{MAIN, REGTEST, assert_same};
use crate::known_payload;
use peerloop::error::WireError;
use peerloop::internals::codec::put_compact_size;
use peerloop::protocol::CommandName;
use peerloop::wire::{Hash256, Locator, LocatorRef, Message, locator_heights};
use peerloop_testkit::bytes::hex;
use peerloop_testkit::vectors::{COMPUTED, RECORDED};
use proptest::prelude::*;

const COMMANDS: [CommandName; 3] = [CommandName::GETBLOCKS, CommandName::GETHEADERS, CommandName::GETHDRSEN];

fn genesis() -> Hash256 {
    "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f".parse().expect("the string is a hash")
}

fn encode(locator: LocatorRef<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    locator.encode(&mut out);
    out
}

#[test]
fn known_requests_decode_and_encode_exactly() {
    let from_genesis = Locator::from_hashes(70_016, [genesis()], Hash256::ZERO);
    let genesis_alone = Locator::from_hashes(70_016, [], genesis());
    let regtest =
        "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206".parse().expect("the string is a hash");
    let node = Locator::from_hashes(70_016, [regtest], Hash256::ZERO);
    for (command, message) in [
        ("getblocks", Message::GetBlocks(from_genesis.clone())),
        ("getheaders", Message::GetHeaders(from_genesis)),
        ("gethdrsen", Message::GetHdrsEn(genesis_alone)),
    ] {
        let (_, text) = COMPUTED.iter().find(|(name, _)| *name == command).expect(command);
        assert_same(text, MAIN, command, message);
    }
    let (_, text) = RECORDED.iter().find(|(name, _)| *name == "getheaders").expect("the vectors have a getheaders");
    assert_same(text, REGTEST, "getheaders", Message::GetHeaders(node));
}

#[test]
fn every_truncation_is_an_error() {
    let whole = known_payload("getheaders");
    for command in COMMANDS {
        for cut in 0..whole.len() {
            let decoded = LocatorRef::decode(command, &whole[..cut]);
            assert_eq!(decoded, Err(WireError::Truncated { command }), "{cut} bytes");
        }
    }
}

#[test]
fn the_stop_hash_does_not_count_as_a_locator_hash() {
    // The payload has two hashes. With a count of two, both belong to the locator, and the stop hash is missing.
    let payload = [&70_016_i32.to_le_bytes()[..], &[2], &[0xaa; 64]].concat();
    let truncated = Err(WireError::Truncated { command: CommandName::GETHEADERS });
    assert_eq!(LocatorRef::decode(CommandName::GETHEADERS, &payload), truncated);
    let bomb = [&[0; 4][..], &hex("feffffffff"), &[0xaa; 64]].concat();
    assert_eq!(LocatorRef::decode(CommandName::GETHEADERS, &bomb), truncated);
}

#[test]
fn bytes_after_the_stop_hash_are_neither_kept_nor_encoded() {
    let whole = known_payload("getblocks");
    let longer = [&whole[..], &[0xff; 32]].concat();
    let locator = LocatorRef::decode(CommandName::GETBLOCKS, &longer).unwrap();
    assert_eq!(encode(locator), whole);
    assert_eq!(encode(locator.into_owned().as_ref()), whole);
}

#[test]
fn a_locator_steps_back_as_the_node_does() {
    let heights = |tip| locator_heights(tip).collect::<Vec<_>>();
    assert_eq!(heights(0), [0]);
    assert_eq!(heights(1), [1, 0]);
    assert_eq!(heights(11), [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    assert_eq!(heights(12), [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    assert_eq!(heights(100), [100, 99, 98, 97, 96, 95, 94, 93, 92, 91, 90, 89, 87, 83, 75, 59, 27, 0]);
    assert_eq!(heights(u32::MAX).len(), 43);
}

/// Computes a locator's heights with the node's own algorithm (SV Node 1.2.2, chain.cpp CChain::GetLocator).
fn naive_heights(tip: u32) -> Vec<u32> {
    let (mut height, mut step, mut listed) = (i64::from(tip), 1, Vec::new());
    loop {
        listed.push(height as u32);
        if height == 0 {
            return listed;
        }
        height = (height - step).max(0);
        if listed.len() > 10 {
            step *= 2;
        }
    }
}

proptest! {
    #[test]
    fn any_locator_has_the_heights_that_the_node_would_choose(tip in prop_oneof![0..5_000_u32, any::<u32>()]) {
        let heights: Vec<u32> = locator_heights(tip).collect();
        prop_assert!(heights.len() <= 43);
        prop_assert_eq!(heights, naive_heights(tip));
    }

    #[test]
    fn a_locator_keeps_the_order_of_its_hashes(
        protocol_version: i32,
        hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..300),
        stop: [u8; 32],
    ) {
        let mut naive = protocol_version.to_le_bytes().to_vec();
        put_compact_size(hashes.len() as u64, &mut naive);
        naive.extend(hashes.concat());
        naive.extend(stop);
        let hashes: Vec<Hash256> = hashes.into_iter().map(Hash256::from_bytes).collect();
        let stop = Hash256::from_bytes(stop);
        let owned = Locator::from_hashes(protocol_version, hashes.iter().copied(), stop);
        prop_assert_eq!(encode(owned.as_ref()), naive.clone());
        let decoded = LocatorRef::decode(CommandName::GETHDRSEN, &naive).unwrap();
        prop_assert_eq!((decoded.protocol_version, decoded.stop), (protocol_version, stop));
        prop_assert_eq!(decoded.hashes().collect::<Vec<_>>(), hashes);
        prop_assert_eq!(decoded.into_owned(), owned);
    }
}
