//! Review.
use peerloop::framer::{Delivery, FramerMemory, FramerRules, Input, MessageFramer};
use peerloop::protocol::CommandName;
use peerloop::time::Instant;
use peerloop::wire::{Header, PayloadLimits};
#[test]
fn t14_room_is_zeroed_once() {
    let rules = FramerRules {
        magic: *b"\xda\xb5\xbf\xfa",
        limits: PayloadLimits { message_max_bytes: 2 << 20, block_max_bytes: 1 << 30 },
        buffered_message_max_bytes: 2 << 20,
    };
    let mut memory = FramerMemory::new(1 << 28);
    let mut framer = MessageFramer::default();
    let payload = vec![1_u8; 1_000_000];
    let header = Header::of(CommandName::TX, &payload);
    let mut bytes = rules.magic.to_vec();
    bytes.extend_from_slice(b"tx\0\0\0\0\0\0\0\0\0\0");
    bytes.extend_from_slice(&1_000_000_u32.to_le_bytes());
    bytes.extend_from_slice(&header.checksum.unwrap());
    let mut input = Input::new(&bytes);
    assert!(framer.next(&mut input, Instant::ZERO, &rules, &mut memory, |_| Ok(Delivery::Buffer)).unwrap().is_none());
    let room = framer.direct_room(&mut memory).unwrap();
    let len = room.len();
    room.fill(0xee);
    framer.received_directly(1_448, Instant::ZERO);
    let mut input = Input::new(&[]);
    assert!(framer.next(&mut input, Instant::ZERO, &rules, &mut memory, |_| Ok(Delivery::Buffer)).unwrap().is_none());
    let room = framer.direct_room(&mut memory).unwrap();
    let zeroed = room.iter().filter(|&&b| b == 0).count();
    assert_eq!(zeroed, 0, "{zeroed} of {} (before {len}) were zeroed again after 1,448 bytes came", room.len());
}
