//! Bytes that no correct peer sends. The tests check the error for such bytes, the byte at which it is reported, and
//! the memory that the bytes use.

use allocation_counter::{AllocationInfo, measure};
use peerloop::Network;
use peerloop::error::WireError;
use peerloop::internals::framer::{Delivery, DropCause, Framed, FramerMemory, FramerRules, Input, MessageFramer};
use peerloop::protocol::CommandName;
use peerloop::time::Instant;
use peerloop::wire::PayloadLimits;
use peerloop_testkit::bytes::sha256_twice;
use peerloop_testkit::framing::{
    Arrival, Choice, MAGIC, Outcome, command, frame, head, memory, payload, read_arriving, rules,
};

/// Maximum size of a boxed error, in bytes. Only a framer with an error has the box, so other framers stay small.
const MAX_ERROR_BOX_BYTES: i64 = 48;

type Next<'a> = Result<Option<Framed<'a>>, WireError>;

fn next<'a>(framer: &mut MessageFramer, bytes: &'a [u8], rules: &FramerRules, memory: &mut FramerMemory) -> Next<'a> {
    framer.next(&mut Input::new(bytes), Instant::ZERO, rules, memory, |_| Ok(Delivery::Buffer))
}

fn is_bad_magic(next: &Next<'_>) -> bool {
    matches!(next, Err(WireError::BadMagic { .. }))
}

#[test]
fn the_first_wrong_byte_of_the_magic_is_an_error() {
    for wrong in 0..4 {
        for change in 1..=255 {
            let mut bytes = MAGIC;
            bytes[wrong] ^= change;
            let (mut framer, mut memory) = (MessageFramer::default(), memory());
            for at in 0..wrong {
                assert_eq!(next(&mut framer, &bytes[at..=at], &rules(), &mut memory), Ok(None));
            }
            assert!(is_bad_magic(&next(&mut framer, &bytes[wrong..=wrong], &rules(), &mut memory)));

            let (mut framer, mut memory) = (MessageFramer::default(), FramerMemory::new(0));
            assert!(is_bad_magic(&next(&mut framer, &bytes[..=wrong], &rules(), &mut memory)));
        }
    }
}

#[test]
fn garbage_allocates_only_its_error() {
    let garbage = [b"GET / HTTP/1.1\r\n".repeat(4_000), vec![0; 10], vec![0xff; 65_536]];
    let rules = rules();
    for garbage in garbage {
        let (mut framer, mut memory) = (MessageFramer::default(), memory());
        let cost = measure(|| {
            for block in garbage.chunks(1_460) {
                assert!(is_bad_magic(&next(&mut framer, block, &rules, &mut memory)));
            }
        });
        check_is_one_error(cost);
        drop(framer);
    }
}

#[test]
fn garbage_after_part_of_the_magic_allocates_only_its_error() {
    let (mut framer, mut memory, rules) = (MessageFramer::default(), memory(), rules());
    // The record of a partial frame is allocated here, so that the measured calls reuse it.
    assert_eq!(next(&mut framer, &MAGIC[..1], &rules, &mut memory), Ok(None));
    framer.reset(&mut memory);
    let cost = measure(|| {
        assert_eq!(next(&mut framer, &MAGIC[..3], &rules, &mut memory), Ok(None));
        assert!(is_bad_magic(&next(&mut framer, &[0; 1_000], &rules, &mut memory)));
        assert!(is_bad_magic(&next(&mut framer, &[0; 1_000], &rules, &mut memory)));
    });
    check_is_one_error(cost);
}

fn check_is_one_error(cost: AllocationInfo) {
    assert_eq!(cost.count_total, 1, "{cost:?}");
    assert!(cost.bytes_current <= MAX_ERROR_BOX_BYTES, "{cost:?}");
}

#[test]
fn the_error_for_another_networks_magic_names_that_network() {
    for network in Network::ALL {
        let mut bytes = frame("version", &payload(100));
        bytes[..4].copy_from_slice(&network.magic());
        let (mut framer, mut memory) = (MessageFramer::default(), memory());
        let expected = match network {
            Network::Mainnet => continue,
            Network::Testnet | Network::Stn | Network::Regtest => {
                WireError::BadMagic { found: network.magic(), network: Some(network) }
            }
        };
        assert_eq!(next(&mut framer, &bytes, &rules(), &mut memory), Err(expected));
        assert_eq!(next(&mut framer, &bytes, &rules(), &mut memory), Err(expected));
    }
}

#[test]
fn another_networks_magic_is_an_error_between_frames_too() {
    let stream = [frame("ping", b"12345678"), Network::Regtest.magic().to_vec()].concat();
    let (mut framer, mut memory, mut input) = (MessageFramer::default(), memory(), Input::new(&stream));
    let mut next = || framer.next(&mut input, Instant::ZERO, &rules(), &mut memory, |_| Ok(Delivery::Buffer));
    assert!(matches!(next(), Ok(Some(Framed::Frame { .. }))));
    let found = Network::Regtest.magic();
    assert_eq!(next(), Err(WireError::BadMagic { found, network: Some(Network::Regtest) }));
}

/// Commands and their limits in bytes. The block limit is chosen so that every limit fits a basic header.
const LIMITS: [(&str, u32); 11] = [
    ("protoconf", 1_048_576),
    ("tx", 1_000_000_000),
    ("datareftx", 1_000_000_000),
    ("block", 4_000_000_000),
    ("cmpctblock", 4_000_000_000),
    ("blocktxn", 4_000_000_000),
    ("hdrsen", 4_000_000_000),
    ("getblocktxn", 4_000_000_000 / 215 * 6 + 24),
    ("ping", 2_097_152),
    ("no such", 2_097_152),
    ("\u{7f}", 2_097_152),
];

fn limited() -> FramerRules {
    FramerRules { limits: PayloadLimits { max_block_bytes: 4_000_000_000, ..PayloadLimits::default() }, ..rules() }
}

#[test]
fn req_e50_a_length_above_the_limit_is_an_error_as_soon_as_the_header_is_complete() {
    for (name, limit) in LIMITS {
        let name = command(name.as_bytes());
        let expected = WireError::OverLimit { command: CommandName::from_bytes(name), len_bytes: u64::from(limit) + 1 };
        let bytes = head(name, limit + 1, [0; 4]);
        for cut in 0..24 {
            let (mut framer, mut memory) = (MessageFramer::default(), memory());
            assert_eq!(next(&mut framer, &bytes[..cut], &limited(), &mut memory), Ok(None));
            let mut input = Input::new(&bytes[cut..]);
            let asked = |_: &_| panic!("the framer asked how to deliver a message above its limit");
            assert_eq!(framer.next(&mut input, Instant::ZERO, &limited(), &mut memory, asked), Err(expected));
            assert_eq!(memory.gathered_bytes(), 0);
        }
    }
}

#[test]
fn a_length_equal_to_the_limit_is_accepted() {
    for (name, limit) in LIMITS {
        let bytes = head(command(name.as_bytes()), limit, [0; 4]);
        for cut in 0..24 {
            let (mut framer, mut memory) = (MessageFramer::default(), memory());
            assert_eq!(next(&mut framer, &bytes[..cut], &limited(), &mut memory), Ok(None));
            assert_eq!(next(&mut framer, &bytes[cut..], &limited(), &mut memory), Ok(None));
            assert!(framer.is_within_frame());
            framer.reset(&mut memory);
        }
    }
}

#[test]
fn a_wrong_checksum_does_not_affect_the_neighbouring_frames() {
    let wrong = [head(command(b"inv"), 37, [1, 2, 3, 4]), payload(37)].concat();
    let stream = [frame("ping", b"12345678"), wrong, frame("pong", b"12345678")].concat();
    for arrival in [Arrival::Block(usize::MAX), Arrival::Block(1), Arrival::Block(33)] {
        let results = read_arriving(&stream, &[arrival], &rules(), &[Choice::BUFFER]);
        let frame = |name: &[u8]| Outcome::Frame { command: command(name), payload: b"12345678".to_vec() };
        let cause = DropCause::BadChecksum;
        let dropped = Outcome::Dropped { command: command(b"inv"), payload_len: 37, cause };
        assert_eq!(results.outcomes, [frame(b"ping"), dropped, frame(b"pong")]);
        assert_eq!(results.error, None);
    }
}

#[test]
fn a_large_discarded_payload_is_not_buffered() {
    let (mut framer, mut memory, rules) = (MessageFramer::default(), memory(), rules());
    let block = payload(60_000);
    let header = head(command(b"tx"), 600_000, sha256_twice(b""));
    let mut give = |bytes| {
        framer
            .next(&mut Input::new(bytes), Instant::ZERO, &rules, &mut memory, |_| Ok(Delivery::Discard))
            .map(|next| next.is_some())
    };
    assert_eq!(give(&header), Ok(false));
    let cost = measure(|| {
        for _ in 0..9 {
            assert_eq!(give(&block), Ok(false));
        }
    });
    assert_eq!(cost.count_total, 0);
    assert_eq!(give(&block), Ok(true));
}
