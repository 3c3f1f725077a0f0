//! Addresses: `addr`, and conversion to and from socket addresses.

use crate::exact::{MAIN, REGTEST, assert_same};
use crate::known_payload;
use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::wire::{AddressEntry, Addresses, AddressesRef, Message, NetAddress};
use peerloop_testkit::bytes::hex;
use peerloop_testkit::vectors::{COMPUTED, RECORDED};
use proptest::prelude::*;
use std::net::SocketAddr;

const TRUNCATED: WireError = WireError::Truncated { command: CommandName::ADDR };

fn entry(time: u32, services: u64, socket: &str) -> AddressEntry {
    AddressEntry { time, address: NetAddress::from_socket(services, socket.parse().expect("the text is an address")) }
}

fn encode(addresses: AddressesRef<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    addresses.encode(&mut out);
    out
}

#[test]
fn known_addresses_decode_and_encode_exactly() {
    let computed = Addresses::from_entries([entry(1_700_000_000, 0x21, "1.2.3.4:8333")]);
    let recorded = Addresses::from_entries([entry(0x6b02_9acb, 0x25, "44.55.66.77:19444")]);
    let frame = |known: &[(&str, &'static str)]| {
        known.iter().find(|(name, _)| *name == "addr").expect("the vectors have an addr").1
    };
    assert_same(frame(&COMPUTED), MAIN, "addr", Message::Addr(computed));
    assert_same(frame(&RECORDED), REGTEST, "addr", Message::Addr(recorded));
}

#[test]
fn every_truncation_is_an_error_and_extra_bytes_are_ignored() {
    let entries = [entry(1, 0x21, "1.2.3.4:5"), entry(2, 0, "[2001:db8::1]:6")];
    let whole = encode(Addresses::from_entries(entries).as_ref());
    assert_eq!(whole.len(), 1 + 2 * 30);
    for cut in 0..whole.len() {
        assert_eq!(AddressesRef::decode(&whole[..cut]), Err(TRUNCATED), "{cut} bytes");
    }
    let longer = [&whole[..], &[0xff; 30]].concat();
    let addresses = AddressesRef::decode(&longer).unwrap();
    assert_eq!(encode(addresses), whole, "the bytes after the last entry were not ignored");
    assert!(addresses.iter().eq(entries));
}

#[test]
fn only_a_count_that_exceeds_the_payload_is_an_error() {
    for count in ["02", "fde903", "feffffffff"] {
        assert_eq!(AddressesRef::decode(&[hex(count), vec![0; 59]].concat()), Err(TRUNCATED), "{count}");
    }
    assert!(AddressesRef::decode(&[0]).unwrap().is_empty());
    let more_than_a_node_takes = [hex("fde903"), vec![0; 1_001 * 30]].concat();
    assert_eq!(AddressesRef::decode(&more_than_a_node_takes).unwrap().len(), 1_001);
}

#[test]
fn a_socket_address_converts_to_a_net_address_and_back() {
    for text in ["1.2.3.4:8333", "[2001:db8::1]:18444", "0.0.0.0:0", "[::]:1"] {
        let socket: SocketAddr = text.parse().unwrap();
        assert_eq!(NetAddress::from_socket(0x21, socket).to_socket(), socket);
    }
    assert_eq!(NetAddress::UNSPECIFIED.to_socket(), "[::]:0".parse().unwrap());
    let payload = known_payload("addr");
    let entry = AddressesRef::decode(&payload).unwrap().iter().next().unwrap();
    assert_eq!(
        entry.address.to_socket(),
        "1.2.3.4:8333".parse().unwrap(),
        "the IPv4-mapped address was not converted to IPv4"
    );
}

proptest! {
    #[test]
    fn entries_decode_in_order(raw in proptest::collection::vec(any::<(u32, u64, [u8; 16], u16)>(), 0..40)) {
        let mut naive = vec![raw.len() as u8];
        let mut entries = Vec::new();
        for (time, services, ip, port) in raw {
            naive.extend(time.to_le_bytes());
            naive.extend(services.to_le_bytes());
            naive.extend(ip);
            naive.extend(port.to_be_bytes());
            entries.push(AddressEntry { time, address: NetAddress { services, ip, port } });
        }
        let owned = Addresses::from_entries(entries.iter().copied());
        prop_assert_eq!(encode(owned.as_ref()), naive.clone());
        let decoded = AddressesRef::decode(&naive).unwrap();
        prop_assert_eq!(decoded.iter().len(), entries.len());
        prop_assert_eq!(decoded.iter().collect::<Vec<_>>(), entries);
        prop_assert_eq!(decoded.into_owned(), owned);
    }
}
