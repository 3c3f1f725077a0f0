//! Bloom filters: limits, and examples from BIP 37 and the reference node's tests, which must match bit for bit.

use crate::chain::{assert_every_cut_fails, encoded};
use allocation_counter::measure;
use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::wire::{BloomFilter, FilterAdd, FilterAddRef, FilterLoadRef, Hash256};
use peerloop_testkit::bytes::hex;
use proptest::collection::vec;
use proptest::prelude::*;

const TOO_LONG: WireError = WireError::TooLong { command: CommandName::FILTERLOAD };

fn payload(filter: &BloomFilter) -> Vec<u8> {
    encoded(|out| filter.as_ref().encode(out))
}

fn filled(mut filter: BloomFilter, elements: &[&str]) -> BloomFilter {
    for element in elements {
        filter.insert(&hex(element));
        assert!(filter.contains(&hex(element)));
    }
    filter
}

#[test]
fn the_reference_nodes_filters_are_reproduced_exactly() {
    let elements = [
        "99108ad8ed9bb6274d3980bab5a85c048f0950c8",
        "b5a2c786d9ef4658287ced5914b37a1b4aa32eee",
        "b9300670b4c5366e95b2699e8b18bc75e5f729c5",
    ];
    let key = [
        "045b81f0017e2091e2edcd5eecf10d5bdd120a5514cb3ee65b8447ec18bfc4575c\
         6d5bf415e54e03b1067934a0f0ba76b01c6b9ab227142ee1d543764b69d901e0",
        "477abbacd4113f2e6b100526222eedd953c26a64",
    ];
    for (filter, elements, bytes) in [
        (BloomFilter::new(3, 0.01, 0, BloomFilter::UPDATE_ALL), &elements[..], "03614e9b050000000000000001"),
        (BloomFilter::new(3, 0.01, 2_147_483_649, BloomFilter::UPDATE_ALL), &elements, "03ce4299050000000100008001"),
        (BloomFilter::new(2, 0.001, 0, BloomFilter::UPDATE_ALL), &key, "038fc16b080000000000000001"),
    ] {
        let mut filter = filled(filter, elements);
        let bytes = hex(bytes);
        assert_eq!(payload(&filter), bytes);
        assert_eq!(FilterLoadRef::decode(&bytes), Ok(filter.as_ref()));
        assert_eq!(FilterLoadRef::decode(&bytes).unwrap().into_owned(), filter);
        assert!(
            !filter.contains(&hex("19108ad8ed9bb6274d3980bab5a85c048f0950c8")),
            "an element that was not inserted matches"
        );
        assert_every_cut_fails(&bytes, FilterLoadRef::decode);
        assert_eq!(FilterLoadRef::decode(&[&bytes[..], b"more"].concat()), Ok(filter.as_ref()));
        filter.clear();
        assert!(elements.iter().all(|element| !filter.contains(&hex(element))));
    }
}

#[test]
fn elements_longer_than_520_bytes_never_match_a_filter() {
    // The first filter contains an element of 520 bytes, each 0xab. The second contains an element of 521 such bytes,
    // because a node without the limit built it.
    let with_520 = hex("2300080000000000000121200004400001020400100200000400000000100000a000000c130000000000000001");
    let with_521 = hex("232020000080000100088000800000000008000804000000880002000800820028000080130000000000000001");
    assert!(FilterLoadRef::decode(&with_520).unwrap().contains(&[0xab; 520]));
    assert!(!FilterLoadRef::decode(&with_521).unwrap().contains(&[0xab; 521]));

    let mut filter = BloomFilter::new(10, 0.01, 0, BloomFilter::UPDATE_NONE);
    let empty = filter.clone();
    filter.insert(&[0xab; 521]);
    assert_eq!(filter, empty);
    filter.insert(&[0xab; 520]);
    assert_ne!(filter, empty);
}

#[test]
fn sizes_are_limited_when_decoded() {
    let filter = |len: usize, hash_count: u32| {
        let mut payload = vec![0xfd];
        payload.extend_from_slice(&(len as u16).to_le_bytes());
        payload.resize(payload.len() + len, 0);
        payload.extend_from_slice(&hash_count.to_le_bytes());
        payload.extend_from_slice(&[0; 5]);
        payload
    };
    assert!(FilterLoadRef::decode(&filter(36_000, 50)).is_ok());
    assert_eq!(FilterLoadRef::decode(&filter(36_001, 50)), Err(TOO_LONG));
    assert_eq!(FilterLoadRef::decode(&filter(36_000, 51)), Err(TOO_LONG));
    assert_eq!(FilterLoadRef::decode(&filter(300, u32::MAX)), Err(TOO_LONG));
    assert_eq!(FilterLoadRef::decode(&hex("feffffffff")), Err(TOO_LONG));
}

#[test]
fn requested_sizes_are_capped_at_the_limits_and_can_be_zero() {
    for (count, rate) in [(u32::MAX, 1e-300), (1_000_000, 0.0), (1, 0.0), (u32::MAX, f64::NEG_INFINITY)] {
        let filter = BloomFilter::new(count, rate, 0, 0);
        assert_eq!(filter.as_ref().bits.len(), 36_000, "{count} {rate}");
        assert!(filter.as_ref().hash_count <= 50);
        assert!(FilterLoadRef::decode(&payload(&filter)).is_ok());
    }
    for (count, rate) in [(0, 0.01), (0, 0.0), (10, 1.0), (10, 7.0), (10, f64::NAN), (10, f64::INFINITY)] {
        let filter = BloomFilter::new(count, rate, 0, 0);
        assert!(filter.as_ref().bits.is_empty(), "{count} {rate}");
    }
}

#[test]
fn a_filter_without_bits_matches_any_element_of_at_most_520_bytes() {
    let empty = hex("00050000000000000001");
    let mut filter = FilterLoadRef::decode(&empty).unwrap().into_owned();
    filter.insert(b"anything");
    assert!(filter.contains(b"something else"));
    assert!(!filter.contains(&[0; 521]));
    assert_eq!(payload(&filter), empty);
}

#[test]
fn a_filter_without_hash_functions_matches_an_element() {
    let filter = FilterLoadRef { bits: &[0; 4], hash_count: 0, tweak: 0, flags: 0 };
    assert!(filter.contains(b"anything"));
}

#[test]
fn an_outpoint_is_matched_by_its_txid_and_index() {
    let txid = Hash256::of(b"a");
    let mut filter = BloomFilter::new(10, 1e-6, 5, BloomFilter::UPDATE_PUBKEYS);
    filter.insert_outpoint(txid, 0x0102_0304);
    assert!(filter.contains(&[&txid.to_bytes()[..], &[4, 3, 2, 1]].concat()));
    assert!(filter.as_ref().contains_outpoint(txid, 0x0102_0304));
    assert!(!filter.as_ref().contains_outpoint(txid, 0x0403_0201));
}

#[test]
fn filteradd_decodes_and_encodes_exactly_and_its_element_is_limited_to_520_bytes() {
    let payload = hex("03aabbcc");
    let message = FilterAddRef::decode(&payload).unwrap();
    assert_eq!(message.element, [0xaa, 0xbb, 0xcc]);
    assert_eq!(encoded(|out| message.encode(out)), payload);
    assert_eq!(message.into_owned(), FilterAdd { element: Box::from(&[0xaa, 0xbb, 0xcc][..]) });
    assert_eq!(message.into_owned().as_ref(), message);
    assert_every_cut_fails(&payload, FilterAddRef::decode);

    let longest = FilterAdd { element: vec![7; 520].into() };
    let bytes = encoded(|out| longest.as_ref().encode(out));
    assert_eq!(FilterAddRef::decode(&bytes), Ok(longest.as_ref()));
    let longer = FilterAdd { element: vec![7; 521].into() };
    assert_eq!(encoded(|out| longer.as_ref().encode(out)), bytes, "the element was not shortened to 520 bytes");
    let refused = WireError::TooLong { command: CommandName::FILTERADD };
    assert_eq!(FilterAddRef::decode(&[&hex("fd0902")[..], &[7; 521]].concat()), Err(refused));
}

#[test]
fn reading_a_filter_allocates_nothing() {
    let bytes = hex("03614e9b050000000000000001");
    let used = measure(|| {
        assert!(!FilterLoadRef::decode(&bytes).unwrap().contains(b"something"));
        assert!(FilterAddRef::decode(&bytes).is_ok());
    });
    assert_eq!(used.count_total, 0);
}

proptest! {
    #[test]
    fn inserted_elements_always_match(
        elements in vec(vec(any::<u8>(), 0..=520), 1..20),
        rate in 1e-9..1.0_f64,
        tweak in any::<u32>(),
        flags in any::<u8>(),
    ) {
        let mut filter = BloomFilter::new(elements.len() as u32, rate, tweak, flags);
        elements.iter().for_each(|element| filter.insert(element));
        let bytes = payload(&filter);
        let read = FilterLoadRef::decode(&bytes).unwrap();
        prop_assert_eq!(read.into_owned(), filter);
        prop_assert!(elements.iter().all(|element| read.contains(element)));
    }

    #[test]
    fn any_bytes_decode_or_are_refused(payload in vec(any::<u8>(), 0..60), element in vec(any::<u8>(), 0..40)) {
        if let Ok(filter) = FilterLoadRef::decode(&payload) {
            let mut owned = filter.into_owned();
            owned.insert(&element);
            prop_assert!(owned.contains(&element));
            prop_assert!(payload.starts_with(&encoded(|out| filter.encode(out))));
        }
    }
}
