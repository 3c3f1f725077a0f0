//! The chain of headers against a naive model, and each reason to refuse a header.

use super::chain::{Block, HeaderChain, HeaderError, MAX_BRANCH_DEPTH, TipChange};
use super::locate::{Located, MAX_BLOCKS, MAX_HEADERS};
use super::restore::restore;
use super::{AnchorSource, HeaderAnchor, InvalidAnchor, InvalidSavedHeaders};
use crate::protocol::Network;
use crate::wire::siphash::SipKey;
use crate::wire::{BlockHeader, Hash256, Locator, ProofOfWorkError};
use proptest::prelude::*;

const KEY: SipKey = SipKey { k0: 7, k1: 9 };

/// A clock after the times of all blocks of these tests.
const NOW_S: u32 = 1_400_000_000;

fn chain() -> HeaderChain {
    HeaderChain::new(&HeaderAnchor::genesis_of_regtest(), 5_000, KEY)
}

fn genesis() -> BlockHeader {
    BlockHeader::genesis_of(Network::Regtest)
}

/// Returns a child with a proof of work; different salts give different children.
fn child(parent: &BlockHeader, seconds: u32, salt: u8) -> BlockHeader {
    let merkle_root = Hash256::of(&[salt]);
    let mut header =
        BlockHeader { prev_hash: parent.hash(), merkle_root, time: parent.time + seconds, nonce: 0, ..*parent };
    while header.check_proof_of_work(Network::Regtest).is_err() {
        header.nonce += 1;
    }
    header
}

/// Adds this many blocks on top of a header.
fn extend(chain: &mut HeaderChain, from: BlockHeader, count: usize, salt: u8) -> Vec<BlockHeader> {
    let mut last = from;
    (0..count)
        .map(|_| {
            last = child(&last, 1, salt);
            chain.accept(&last, NOW_S).unwrap();
            last
        })
        .collect()
}

fn request(hashes: &[Hash256], stop: Hash256) -> Locator {
    Locator::from_hashes(70_016, hashes.iter().copied(), stop)
}

#[test]
fn the_branch_with_more_work_becomes_the_best_chain() {
    let mut chain = chain();
    let one = extend(&mut chain, genesis(), 3, 1);
    let other = extend(&mut chain, one[0], 2, 2);
    // As much work arrived later.
    assert_eq!(chain.tip(), Block { hash: one[2].hash(), height: 3 });
    let last = child(&other[1], 1, 2);
    assert_eq!(chain.accept(&last, NOW_S), Ok(TipChange::Tip { fork_height: 1 }));
    assert_eq!(chain.tip(), Block { hash: last.hash(), height: 4 });
    assert_eq!(chain.at(2), Some(&other[0]));
    assert!(chain.is_best(one[0].hash()) && !chain.is_best(one[1].hash()));
    assert_eq!(chain.get(one[2].hash()), Some(Block { hash: one[2].hash(), height: 3 }));
    // And back again.
    assert_eq!(chain.accept(&child(&one[2], 1, 3), NOW_S), Ok(TipChange::Branch));
    let tip = child(&child(&one[2], 1, 3), 1, 3);
    assert_eq!(chain.accept(&tip, NOW_S), Ok(TipChange::Tip { fork_height: 1 }));
    assert_eq!(chain.accept(&tip, NOW_S), Ok(TipChange::Known));
    assert_eq!((chain.at(2), chain.block_at(6)), (Some(&one[1]), None));
}

#[test]
fn each_fault_of_a_header_is_refused_with_its_reason() {
    let mut chain = chain();
    let blocks = extend(&mut chain, genesis(), 20, 1);
    let last = blocks[19];
    let good = child(&last, 1, 1);
    let fails = |chain: &mut HeaderChain, header: &BlockHeader, now_s: u32| chain.accept(header, now_s).unwrap_err();

    let orphan = child(&good, 1, 1);
    assert_eq!(fails(&mut chain, &orphan, NOW_S), HeaderError::Orphan);
    let easy = BlockHeader { bits: 0x207f_fffe, ..good };
    let wrong = HeaderError::WrongBits { bits: 0x207f_fffe, required: 0x207f_ffff };
    assert_eq!(fails(&mut chain, &easy, NOW_S), wrong);
    let mut unworked = good;
    while unworked.check_proof_of_work(Network::Regtest).is_ok() {
        unworked.nonce += 1;
    }
    let error = fails(&mut chain, &unworked, NOW_S);
    assert!(matches!(error, HeaderError::ProofOfWork(ProofOfWorkError::HashAboveTarget { .. })), "{error}");
    // The median of the last eleven times is that of the block five before the last.
    let median = blocks[14].time;
    let old = child(&BlockHeader { time: median, ..last }, 0, 1);
    let old = BlockHeader { prev_hash: last.hash(), ..old };
    let old = worked(old);
    assert_eq!(fails(&mut chain, &old, NOW_S), HeaderError::TooOld { time: median, median });
    let (limit, late) = (good.time - 7_200, HeaderError::TooNew { time: good.time });
    assert_eq!(fails(&mut chain, &good, limit - 1), late);
    assert_eq!(chain.tip().hash, last.hash(), "a refused header changed the tip");
    assert_eq!(
        chain.accept(&worked(BlockHeader { time: median + 1, ..old }), NOW_S),
        Ok(TipChange::Tip { fork_height: 20 })
    );
    assert_eq!(chain.accept(&good, limit), Ok(TipChange::Branch));
    for (error, misbehaves) in [(HeaderError::Orphan, false), (wrong, true), (late, false)] {
        assert_eq!(error.is_misbehaviour(), misbehaves, "{error}");
    }
}

/// Changes the nonce until the header has a proof of work.
fn worked(mut header: BlockHeader) -> BlockHeader {
    while header.check_proof_of_work(Network::Regtest).is_err() {
        header.nonce += 1;
    }
    header
}

#[test]
fn deep_branches_and_headers_beyond_the_capacity_are_refused() {
    let mut small = HeaderChain::new(&HeaderAnchor::genesis_of_regtest(), 3, KEY);
    let blocks = extend(&mut small, genesis(), 2, 1);
    assert_eq!(small.accept(&child(&blocks[1], 1, 1), NOW_S), Err(HeaderError::Full { capacity: 3 }));
    let mut chain = chain();
    let depth = MAX_BRANCH_DEPTH as usize;
    let blocks = extend(&mut chain, genesis(), depth, 1);
    assert_eq!(chain.accept(&child(&genesis(), 1, 2), NOW_S), Ok(TipChange::Branch));
    extend(&mut chain, blocks[depth - 1], 1, 1);
    assert_eq!(chain.accept(&child(&genesis(), 1, 3), NOW_S), Err(HeaderError::TooDeep { height: 1 }));
}

#[test]
fn locators_are_answered_as_a_node_does() {
    let mut chain = chain();
    let best = extend(&mut chain, genesis(), 2_500, 1);
    let branch = extend(&mut chain, best[2_490], 3, 2);
    let hash = |height: usize| best[height - 1].hash();
    let (unknown, none) = (Hash256::of(b"unknown"), Hash256::ZERO);
    let after = |hashes: &[Hash256], stop| chain.headers_after(request(hashes, stop).as_ref());
    assert_eq!(after(&[hash(10)], none), Located::Heights(11..2_011));
    assert_eq!(after(&[hash(2_400)], none), Located::Heights(2_401..2_501));
    assert_eq!(after(&[hash(2_500)], none), Located::Heights(2_501..2_501));
    // The stop block is the last one; a stop that is unknown, or not after the locator, means nothing.
    assert_eq!(after(&[hash(10)], hash(12)), Located::Heights(11..13));
    assert_eq!(after(&[hash(10)], unknown), Located::Heights(11..2_011));
    assert_eq!(after(&[hash(10)], hash(10)), Located::Heights(11..2_011));
    // A branch's block is skipped, and an unknown locator begins after the genesis block.
    assert_eq!(after(&[branch[2].hash(), hash(2_491)], none), Located::Heights(2_492..2_501));
    assert_eq!(after(&[unknown], none), Located::Heights(1..1 + MAX_HEADERS));
    assert_eq!(after(&[], hash(7)), Located::One(hash(7)));
    assert_eq!(after(&[], branch[0].hash()), Located::One(branch[0].hash()));
    assert_eq!(after(&[], unknown), Located::Unknown);
    let blocks = |hashes: &[Hash256], stop| chain.blocks_after(request(hashes, stop).as_ref());
    assert_eq!(blocks(&[hash(10)], hash(12)), Located::Heights(11..12));
    assert_eq!(blocks(&[hash(10)], none), Located::Heights(11..11 + MAX_BLOCKS));
    assert_eq!(chain.headers_of(&Located::Heights(11..13)), [best[10], best[11]]);
    assert_eq!(chain.headers_of(&Located::One(branch[0].hash())), [branch[0]]);
    let locator: Vec<Hash256> = chain.locator().collect();
    assert_eq!((locator[0], locator[locator.len() - 1]), (hash(2_500), genesis().hash()));
    assert!(locator.len() < 32);
}

#[test]
fn a_chain_from_an_anchor_cannot_answer_for_the_blocks_below_it() {
    let mut whole = chain();
    let blocks = extend(&mut whole, genesis(), 30, 1);
    let anchor = HeaderAnchor::new(Network::Regtest, 10, blocks[9..20].to_vec()).unwrap();
    let mut chain = HeaderChain::new(&anchor, 100, KEY);
    assert_eq!((chain.first_height(), chain.tip()), (10, Block { hash: blocks[19].hash(), height: 20 }));
    for block in &blocks[20..] {
        chain.accept(block, NOW_S).unwrap();
    }
    assert_eq!(chain.tip(), whole.tip());
    let after = |hash: Hash256| chain.headers_after(request(&[hash], Hash256::ZERO).as_ref());
    assert_eq!(after(blocks[24].hash()), Located::Heights(26..31));
    assert_eq!(after(blocks[4].hash()), Located::BelowAnchor);
    assert_eq!((chain.at(9), chain.at(10)), (None, Some(&blocks[9])));
    // A branch from inside the anchor cannot be checked.
    assert_eq!(chain.accept(&child(&blocks[19], 1, 2), NOW_S), Ok(TipChange::Branch));
    assert_eq!(chain.accept(&child(&blocks[18], 1, 2), NOW_S), Err(HeaderError::TooDeep { height: 20 }));
    assert_eq!(chain.locator().last(), Some(blocks[9].hash()));
}

#[test]
fn an_anchor_that_cannot_be_checked_further_is_refused() {
    let mut chain = chain();
    let blocks = extend(&mut chain, genesis(), 11, 1);
    let new = |network, height, headers: &[BlockHeader]| HeaderAnchor::new(network, height, headers.to_vec());
    let too_few = InvalidAnchor::TooFew { count: 11, needed: 147 };
    assert_eq!(new(Network::Mainnet, 600_000, &blocks), Err(too_few));
    assert_eq!(new(Network::Regtest, 1, &[]), Err(InvalidAnchor::TooFew { count: 0, needed: 11 }));
    let low = vec![blocks[0]; 147];
    let too_low = InvalidAnchor::TooLow { height: 1_146, lowest: 504_031 };
    assert_eq!(new(Network::Mainnet, 1_000, &low), Err(too_low));
    assert_eq!(new(Network::Regtest, 0, &[]), Err(InvalidAnchor::TooFew { count: 0, needed: 1 }));
    let gap = [&blocks[..5], &blocks[6..], &blocks[..1]].concat();
    assert_eq!(new(Network::Regtest, 1, &gap), Err(InvalidAnchor::NotConsecutive { height: 6 }));
    let hard = [&blocks[..10], &[BlockHeader { bits: 0x1d00_ffff, ..blocks[10] }]].concat();
    assert_eq!(new(Network::Regtest, 1, &hard), Err(InvalidAnchor::NoProofOfWork { height: 11 }));
    assert_eq!(new(Network::Regtest, 1, &blocks).unwrap().headers(), blocks);
}

#[test]
fn a_mainnet_chain_requires_the_rules_bits_and_a_version_of_today() {
    // The headers of an anchor are believed, so that none has to be mined here.
    let mut headers = vec![BlockHeader::genesis_of(Network::Mainnet)];
    while headers.len() < 147 {
        let last = headers[headers.len() - 1];
        headers.push(BlockHeader { prev_hash: last.hash(), time: last.time + 600, version: 4, ..last });
    }
    let last = headers[146];
    let anchor = HeaderAnchor::believed(Network::Mainnet, 600_000, headers);
    let mut chain = HeaderChain::new(&anchor, 200, KEY);
    let next = BlockHeader { prev_hash: last.hash(), time: last.time + 600, ..last };
    let refused = |chain: &mut HeaderChain, header| chain.accept(&header, NOW_S).unwrap_err();
    let version = HeaderError::OldVersion { version: 3 };
    assert_eq!(refused(&mut chain, BlockHeader { version: 3, ..next }), version);
    let bits = HeaderError::WrongBits { bits: 0x1c00_ffff, required: 0x1d00_ffff };
    assert_eq!(refused(&mut chain, BlockHeader { bits: 0x1c00_ffff, ..next }), bits);
    assert!(matches!(refused(&mut chain, next), HeaderError::ProofOfWork(_)));
    assert!(!version.is_misbehaviour() && bits.is_misbehaviour());
}

proptest! {
    /// Each step adds a child to one of the blocks so far.
    #[test]
    fn the_best_chain_is_that_of_a_naive_model(steps in prop::collection::vec(any::<prop::sample::Index>(), 1..60)) {
        let mut chain = chain();
        // The blocks with their heights and parents. All have the same work, so the highest one is best.
        let mut model = vec![(genesis(), 0_u32, 0_usize)];
        let mut tip = 0;
        for (salt, step) in (0..).zip(steps) {
            let parent = step.index(model.len());
            let header = child(&model[parent].0, 1, salt);
            let height = model[parent].1 + 1;
            let before = model.len();
            model.push((header, height, parent));
            let is_tip = height > model[tip].1;
            let found = chain.accept(&header, NOW_S).unwrap();
            prop_assert_eq!(matches!(found, TipChange::Tip { .. }), is_tip);
            if is_tip {
                tip = before;
            }
        }
        let mut at = tip;
        loop {
            let (header, height, parent) = model[at];
            prop_assert_eq!(chain.at(height), Some(&header));
            prop_assert!(chain.is_best(header.hash()));
            if at == 0 {
                break;
            }
            at = parent;
        }
        prop_assert_eq!(chain.tip().hash, model[tip].0.hash());
        let best = model.iter().filter(|(header, ..)| chain.is_best(header.hash())).count();
        prop_assert_eq!(best, model[tip].1 as usize + 1);
    }
}

#[test]
fn saved_headers_restore_the_same_chain_with_its_branches_and_another_key_finds_them() {
    let mut chain = chain();
    let one = extend(&mut chain, genesis(), 20, 1);
    let other = extend(&mut chain, one[9], 5, 2);
    let anchor = HeaderAnchor::genesis_of_regtest();
    assert_eq!(chain.anchor(), (0, vec![genesis()]));
    let saved: Vec<BlockHeader> = (0..9).flat_map(|batch| chain.accepted(3 * batch, 3)).collect();
    assert_eq!(saved, [one, other].concat());
    assert_eq!((chain.accepted(25, 3), chain.accepted(usize::MAX, 3)), (vec![], vec![]));
    let mut restored = restore(&AnchorSource::Network, &anchor, &saved, 5_000).unwrap();
    restored.set_key(SipKey { k0: 1, k1: 2 });
    assert_eq!((restored.tip(), restored.len(), restored.network()), (chain.tip(), 26, Network::Regtest));
    assert!(saved.iter().all(|header| restored.get(header.hash()) == chain.get(header.hash())));
    let next = extend(&mut restored, saved[24], 6, 3);
    assert_eq!(restored.tip(), Block { hash: next[5].hash(), height: 21 });
}

#[test]
fn saved_headers_are_refused_whole_with_the_position_of_the_first_invalid_one() {
    let mut chain = chain();
    let saved = extend(&mut chain, genesis(), 10, 1);
    let anchor = HeaderAnchor::genesis_of_regtest();
    let restored = |saved: &[BlockHeader], capacity| {
        restore(&AnchorSource::Upstream, &anchor, saved, capacity)
            .map(|chain| chain.len())
            .map_err(|error| error.to_string())
    };
    let refused = |position: usize, why: &str| Err(format!("the header at position {position} is invalid: {why}"));
    assert_eq!(restored(&saved, 11), Ok(11));
    assert_eq!(restored(&saved, 10), refused(9, "the chain has the maximum of 10 headers"));
    assert_eq!(restored(&saved[1..], 11), refused(0, "its parent is unknown"));
    assert_eq!(restored(&[saved[0], saved[0]], 11), refused(1, "it is there twice"));
    let with = |change: fn(&mut BlockHeader)| {
        let mut changed = saved.clone();
        change(&mut changed[4]);
        restored(&changed, 11)
    };
    assert_eq!(with(|header| header.prev_hash = Hash256::ZERO), refused(4, "its parent is unknown"));
    let bits = "its bits are 0x207ffffe, and the difficulty rule requires 0x207fffff";
    assert_eq!(with(|header| header.bits = 0x207f_fffe), refused(4, bits));
    assert!(
        with(|header| {
            while header.check_proof_of_work(Network::Regtest).is_ok() {
                header.nonce += 1;
            }
        })
        .is_err_and(|error| error.starts_with("the header at position 4 is invalid: "))
    );
    // A clock that was set back refuses no saved header.
    let ahead = child(&saved[9], 2_000_000_000, 1);
    assert_eq!(restored(&[saved, vec![ahead]].concat(), 12), Ok(12));
    let given = HeaderAnchor::believed(Network::Regtest, 0, vec![genesis(), child(&genesis(), 1, 1)]);
    let other = restore(&AnchorSource::Given(given.clone()), &anchor, &[], 11).map(|_| ());
    assert_eq!(other, Err(InvalidSavedHeaders::OtherAnchor));
    let other = restore(&AnchorSource::Network, &given, &[], 11).map(|_| ());
    assert_eq!(other, Err(InvalidSavedHeaders::OtherAnchor));
}
