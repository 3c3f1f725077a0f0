//! Inventories: `inv`, `getdata` and `notfound`.

use crate::exact::{MAIN, REGTEST, assert_same};
use peerloop::error::WireError;
use peerloop::internals::codec::put_compact_size;
use peerloop::protocol::CommandName;
use peerloop::wire::{Hash256, Inventory, InventoryItem, InventoryKind, InventoryRef, Message};
use peerloop_testkit::bytes::hex;
use peerloop_testkit::vectors::{COMPUTED, RECORDED, known};
use proptest::prelude::*;

const COMMANDS: [CommandName; 3] = [CommandName::INV, CommandName::GETDATA, CommandName::NOTFOUND];

fn hash(display: &str) -> Hash256 {
    display.parse().expect("the string is a hash")
}

fn encode(inventory: InventoryRef<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    inventory.encode(&mut out);
    out
}

#[test]
fn known_inventories_decode_and_encode_exactly() {
    let coinbase = hash("4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b");
    let genesis = hash("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f");
    let tx = Inventory::from_items([InventoryItem::tx(coinbase)]);
    let block = Inventory::from_items([InventoryItem::block(genesis)]);
    assert_same(known(&COMPUTED, "inv"), MAIN, "inv", Message::Inv(tx.clone()));
    assert_same(known(&COMPUTED, "getdata"), MAIN, "getdata", Message::GetData(block));
    assert_same(known(&COMPUTED, "notfound"), MAIN, "notfound", Message::NotFound(tx));

    let wire = hex(known(&RECORDED, "inv")).split_off(24);
    let items: Vec<_> = InventoryRef::decode(CommandName::INV, &wire).unwrap().iter().collect();
    assert_eq!(items.len(), 3);
    assert_eq!(
        items[1],
        InventoryItem::block(hash("6ae7f749d866c8bb8c5a9d294f2e3c3c1f5d9d1f839ceadb80a06bfa4fcccf35"))
    );
    assert_same(known(&RECORDED, "inv"), REGTEST, "inv", Message::Inv(Inventory::from_items(items)));
    let ones = Inventory::from_items([InventoryItem::tx(Hash256::from_bytes([0x11; 32]))]);
    assert_same(known(&RECORDED, "notfound"), REGTEST, "notfound", Message::NotFound(ones));
}

#[test]
fn every_truncation_is_an_error() {
    let items = [InventoryItem::tx(Hash256::from_bytes([1; 32])), InventoryItem::block(Hash256::from_bytes([2; 32]))];
    let whole = encode(Inventory::from_items(items).as_ref());
    assert_eq!(whole.len(), 1 + 2 * 36);
    for command in COMMANDS {
        for cut in 0..whole.len() {
            let decoded = InventoryRef::decode(command, &whole[..cut]);
            assert_eq!(decoded, Err(WireError::Truncated { command }), "{cut} bytes");
        }
        assert_eq!(InventoryRef::decode(command, &whole).unwrap().len(), 2);
    }
}

#[test]
fn a_count_that_exceeds_the_payload_or_is_not_canonical_is_an_error() {
    let truncated = Err(WireError::Truncated { command: CommandName::INV });
    for count in ["02", "fc", "fdfd00", "fdffff", "fe00000100", "feffffffff"] {
        let payload = [hex(count), vec![0; 2 * 36 - 1]].concat();
        assert_eq!(InventoryRef::decode(CommandName::INV, &payload), truncated, "{count}");
    }
    let huge = [hex("ff0000000001000000"), vec![0; 72]].concat();
    let overlong = Err(WireError::OverlongSize { command: CommandName::INV });
    assert_eq!(InventoryRef::decode(CommandName::INV, &huge), overlong);
    let long_form = [hex("fd0100"), vec![0; 36]].concat();
    let non_canonical = Err(WireError::NonCanonicalSize { command: CommandName::INV });
    assert_eq!(InventoryRef::decode(CommandName::INV, &long_form), non_canonical);
}

#[test]
fn bytes_after_the_last_item_are_neither_kept_nor_encoded() {
    let payload = [hex("01"), vec![7; 36], vec![9; 40]].concat();
    let inventory = InventoryRef::decode(CommandName::INV, &payload).unwrap();
    assert_eq!(encode(inventory), payload[..37]);
    assert_eq!(encode(inventory.into_owned().as_ref()), payload[..37]);
    assert_eq!(inventory, InventoryRef::decode(CommandName::INV, &payload[..37]).unwrap());
}

#[test]
fn an_empty_inventory_is_valid() {
    let empty = InventoryRef::decode(CommandName::GETDATA, &[0]).unwrap();
    assert!(empty.is_empty());
    assert_eq!(empty.iter().next(), None);
    assert_eq!(empty, Inventory::default().as_ref());
    assert_eq!(encode(empty), [0]);
}

#[test]
fn every_type_is_representable_and_some_have_names() {
    let names = ["undefined", "tx", "block", "filtered block", "compact block", "dataref tx"];
    for (kind, name) in (0..).zip(names) {
        assert_eq!(InventoryKind(kind).to_string(), name);
    }
    for kind in [6, 0x4000_0001, u32::MAX] {
        assert_eq!(InventoryKind(kind).name(), None, "{kind:#x} was mistaken for a known type");
        let item = InventoryItem { kind: InventoryKind(kind), hash: Hash256::ZERO };
        let payload = encode(Inventory::from_items([item]).as_ref());
        assert_eq!(payload[1..5], kind.to_le_bytes());
        assert_eq!(InventoryRef::decode(CommandName::INV, &payload).unwrap().iter().next(), Some(item));
    }
    assert_eq!(InventoryKind(0x4000_0001).to_string(), "type 0x40000001");
}

proptest! {
    #[test]
    fn items_encode_and_decode_in_order(raw in proptest::collection::vec(any::<(u32, [u8; 32])>(), 0..300)) {
        let item = |&(kind, hash): &(u32, [u8; 32])| InventoryItem {
            kind: InventoryKind(kind),
            hash: Hash256::from_bytes(hash),
        };
        let items: Vec<InventoryItem> = raw.iter().map(item).collect();
        let mut naive = Vec::new();
        put_compact_size(raw.len() as u64, &mut naive);
        for (kind, hash) in &raw {
            naive.extend(kind.to_le_bytes());
            naive.extend(hash);
        }
        let owned = Inventory::from_items(items.iter().copied());
        prop_assert_eq!(encode(owned.as_ref()), naive.clone());
        let decoded = InventoryRef::decode(CommandName::INV, &naive).unwrap();
        prop_assert_eq!(decoded.iter().len(), items.len());
        prop_assert_eq!(decoded.iter().collect::<Vec<_>>(), items.as_slice());
        prop_assert_eq!(decoded.iter().rev().collect::<Vec<_>>(), items.into_iter().rev().collect::<Vec<_>>());
        prop_assert_eq!(decoded.into_owned(), owned);
    }
}
