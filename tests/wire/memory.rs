//! What decoding costs in memory, whatever the bytes claim.

use crate::frames::{COMPUTED, RECORDED};
use crate::hex;
use allocation_counter::measure;
use peerloop::protocol::CommandName;
use peerloop::wire::{BlockHeader, Headers, Inventory, InventoryItem, InventoryRef, MessageRef};
use std::hint::black_box;

/// The most that may be allocated at one time for a payload of this length.
fn allowed(payload: &[u8]) -> u64 {
    2 * payload.len() as u64 + 4_096
}

fn assert_bounded(command: CommandName, payload: &[u8]) {
    let info = measure(|| {
        let _ = black_box(MessageRef::decode(command, payload).map(MessageRef::into_owned));
    });
    assert!(info.bytes_max <= allowed(payload), "{command}: {} bytes for {}", info.bytes_max, payload.len());
}

#[test]
fn p20_a_count_alone_reserves_nothing() {
    for count in ["fc", "fdffff", "feffffffff", "ff0000000001000000", "ffffffffffffffffff"] {
        for len_before in 0..=120 {
            for len_behind in [0, 8, 200] {
                let payload = [vec![0; len_before], hex(count), vec![1; len_behind]].concat();
                for command in CommandName::ALL {
                    assert_bounded(command, &payload);
                }
            }
        }
    }
}

#[test]
fn p21_no_count_or_length_within_a_message_reserves_anything() {
    for (command, frame) in COMPUTED.iter().chain(&RECORDED) {
        let whole = hex(frame).split_off(24);
        for at in 0..whole.len() {
            for bomb in ["fc", "fdffff", "feffffffff", "ffffffffffffffffff"] {
                let payload = [&whole[..at], &hex(bomb), &whole[at + 1..]].concat();
                assert_bounded(CommandName::new(command), &payload);
            }
        }
    }
}

#[test]
fn looking_at_a_message_allocates_nothing() {
    for (command, frame) in COMPUTED.iter().chain(&RECORDED) {
        let payload = hex(frame).split_off(24);
        let mut out = Vec::with_capacity(payload.len());
        let info = measure(|| {
            let message = MessageRef::decode(CommandName::new(command), &payload).expect("a known payload");
            message.encode_payload(&mut out);
        });
        assert_eq!(info.count_total, 0, "{command}");
        assert_eq!(out, payload);
    }
}

#[test]
fn walking_a_list_allocates_nothing() {
    let mut payload = Vec::new();
    let header = BlockHeader::decode(&[7; 80]);
    let hash = header.hash();
    Inventory::from_items([InventoryItem::tx(hash); 500]).as_ref().encode(&mut payload);
    let headers = Headers::from_headers([header; 100]);
    let info = measure(|| {
        let inventory = InventoryRef::decode(CommandName::INV, &payload).expect("an inventory");
        assert!(inventory.iter().all(|item| item.hash == hash));
        assert!(headers.as_ref().iter().all(|item| item.header.hash() == hash));
    });
    assert_eq!(info.count_total, 0);
}
