//! Block headers, and the `headers` message. An item's size depends on its transaction count, which is normally 0.

use crate::exact::{MAIN, REGTEST, assert_same};
use crate::known_payload;
use peerloop::error::WireError;
use peerloop::internals::codec::put_compact_size;
use peerloop::protocol::CommandName;
use peerloop::wire::{BlockHeader, Hash256, Headers, HeadersRef, ListedHeader, Message};
use peerloop_testkit::bytes::hex;
use peerloop_testkit::vectors::{COMPUTED, RECORDED};
use proptest::prelude::*;

const TRUNCATED: WireError = WireError::Truncated { command: CommandName::HEADERS };

const GENESIS: &str = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b2\
    7ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c";

fn hash(display: &str) -> Hash256 {
    display.parse().expect("the string is a hash")
}

fn genesis(time: u32, bits: u32, nonce: u32) -> BlockHeader {
    let merkle_root = hash("4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b");
    BlockHeader { version: 1, prev_hash: Hash256::ZERO, merkle_root, time, bits, nonce }
}

fn encode(headers: HeadersRef<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    headers.encode(&mut out);
    out
}

#[test]
fn the_genesis_blocks_have_their_known_hashes() {
    let main = genesis(1_231_006_505, 0x1d00_ffff, 2_083_236_893);
    assert_eq!(main.encode()[..], hex(GENESIS));
    assert_eq!(BlockHeader::decode(hex(GENESIS)[..].try_into().unwrap()), main);
    assert_eq!(main.hash(), hash("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"));
    let test = genesis(1_296_688_602, 0x1d00_ffff, 414_098_458);
    assert_eq!(test.hash(), hash("000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943"));
    let regtest = genesis(1_296_688_602, 0x207f_ffff, 2);
    assert_eq!(regtest.hash(), hash("0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"));
}

#[test]
fn known_headers_decode_and_encode_exactly() {
    let (_, none) = COMPUTED.iter().find(|(name, _)| *name == "headers").expect("a computed frame exists");
    assert_same(none, MAIN, "headers", Message::Headers(Headers::default()));

    let (_, one) = RECORDED.iter().find(|(name, _)| *name == "headers").expect("a recorded frame exists");
    let header = BlockHeader {
        version: 0x2000_0000,
        prev_hash: hash("6ae7f749d866c8bb8c5a9d294f2e3c3c1f5d9d1f839ceadb80a06bfa4fcccf35"),
        merkle_root: hash("c9389116eb0b33cc228311b757c4926c53ae3c5f7a8abbaee4eeea4017fe637b"),
        time: 0x6b02_9981,
        bits: 0x207f_ffff,
        nonce: 2,
    };
    assert_same(one, REGTEST, "headers", Message::Headers(Headers::from_headers([header])));
}

#[test]
fn every_truncation_is_an_error() {
    let headers = [genesis(1, 2, 3), genesis(4, 5, 6)];
    let plain = encode(Headers::from_headers(headers).as_ref());
    let counted = [&[2], &headers[0].encode()[..], &hex("fdfd00"), &headers[1].encode(), &hex("fe00000100")].concat();
    for whole in [plain, counted] {
        for cut in 0..whole.len() {
            assert_eq!(HeadersRef::decode(&whole[..cut]), Err(TRUNCATED), "{cut} bytes");
        }
        assert_eq!(HeadersRef::decode(&whole).unwrap().len(), 2);
        let longer = [&whole[..], &[0xff; 90]].concat();
        assert_eq!(encode(HeadersRef::decode(&longer).unwrap()), whole, "bytes after the last header were not ignored");
    }
}

#[test]
fn a_header_without_its_transaction_count_is_an_error() {
    let payload = [&[1][..], &hex(GENESIS)].concat();
    assert_eq!(HeadersRef::decode(&payload), Err(TRUNCATED));
    let two = [&[2][..], &hex(GENESIS), &[0], &hex(GENESIS)].concat();
    assert_eq!(HeadersRef::decode(&two), Err(TRUNCATED));
}

#[test]
fn a_payload_too_short_for_a_long_transaction_count_is_an_error() {
    // The payload has room for two items of the minimum size, but the first item is longer.
    let payload = [&[2][..], &[0; 80], &hex("fdfd00"), &[0; 79]].concat();
    assert_eq!(payload.len(), 1 + 2 * 81);
    assert_eq!(HeadersRef::decode(&payload), Err(TRUNCATED));
}

#[test]
fn transaction_counts_must_be_canonical_and_header_counts_must_fit_the_payload() {
    let item = |count: &str| [&[1][..], &[0; 80], &hex(count)].concat();
    let decode = |count: &str| HeadersRef::decode(&item(count)).map(|headers| headers.iter().next().unwrap().tx_count);
    assert_eq!(decode("fc"), Ok(0xfc));
    assert_eq!(decode("feffffffff"), Ok(0xffff_ffff));
    assert_eq!(decode("fd0000"), Err(WireError::NonCanonicalSize { command: CommandName::HEADERS }));
    assert_eq!(decode("ff0000000001000000"), Err(WireError::OverlongSize { command: CommandName::HEADERS }));
    for count in ["02", "fdffff", "feffffffff"] {
        assert_eq!(HeadersRef::decode(&[hex(count), vec![0; 161]].concat()), Err(TRUNCATED), "{count}");
    }
}

#[test]
fn a_finished_iterator_yields_nothing_more() {
    let payload = known_payload("headers");
    assert_eq!(HeadersRef::decode(&payload).unwrap().iter().next(), None);
    let headers = Headers::from_headers([genesis(1, 2, 3)]);
    let mut items = headers.as_ref().iter();
    assert_eq!(items.len(), 1);
    assert_eq!(items.next(), Some(ListedHeader { header: genesis(1, 2, 3), tx_count: 0 }));
    assert_eq!((items.len(), items.next(), items.next()), (0, None, None));
}

proptest! {
    #[test]
    fn headers_decode_in_order(raw in proptest::collection::vec(any::<([[u8; 16]; 5], u32)>(), 0..20)) {
        let mut naive = vec![raw.len() as u8];
        let mut items = Vec::new();
        for (bytes, tx_count) in &raw {
            naive.extend(bytes.as_flattened());
            put_compact_size(u64::from(*tx_count), &mut naive);
            let header = BlockHeader::decode(bytes.as_flattened().try_into().unwrap());
            prop_assert_eq!(&header.encode(), bytes.as_flattened());
            prop_assert_eq!(header.hash(), Hash256::of(bytes.as_flattened()));
            items.push(ListedHeader { header, tx_count: u64::from(*tx_count) });
        }
        let decoded = HeadersRef::decode(&naive).unwrap();
        prop_assert_eq!(encode(decoded), naive.clone());
        prop_assert_eq!(decoded.iter().len(), items.len());
        prop_assert_eq!(decoded.iter().collect::<Vec<_>>(), items.clone());
        let owned = decoded.into_owned();
        prop_assert_eq!(owned.as_ref(), decoded);
        let built = Headers::from_headers(items.iter().map(|item| item.header));
        prop_assert_eq!(built.as_ref().len(), items.len());
        prop_assert!(built.as_ref().iter().map(|item| item.header).eq(items.iter().map(|item| item.header)));
        prop_assert!(built.as_ref().iter().all(|item| item.tx_count == 0));
    }
}
