//! The reader of payload fields and the functions that write such fields: every form of a size, every limit, and
//! [`Reader::bytes`] compared with a naive reader.

use peerloop::error::WireError;
use peerloop::internals::codec::{Reader, put_compact_size, put_items, put_var_bytes};
use peerloop::protocol::CommandName;
use peerloop_testkit::bytes::hex;
use proptest::prelude::*;

const COMMAND: CommandName = CommandName::new("test");
const TRUNCATED: WireError = WireError::Truncated { command: COMMAND };
const TOO_LONG: WireError = WireError::TooLong { command: COMMAND };
const OVERLONG: WireError = WireError::OverlongSize { command: COMMAND };
const NON_CANONICAL: WireError = WireError::NonCanonicalSize { command: COMMAND };

fn compact_size(bytes: &[u8]) -> Result<u64, WireError> {
    let mut reader = Reader::new(COMMAND, bytes);
    let size = reader.compact_size()?;
    assert_eq!(reader.remaining(), 0, "{bytes:02x?}");
    Ok(size)
}

fn put(size: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_compact_size(size, &mut out);
    out
}

#[test]
fn a_one_byte_size_equals_its_byte() {
    for byte in 0..=0xfc {
        assert_eq!(compact_size(&[byte]), Ok(u64::from(byte)));
        assert_eq!(put(u64::from(byte)), [byte]);
    }
    for byte in 0xfd..=0xff {
        assert_eq!(compact_size(&[byte]), Err(TRUNCATED));
    }
}

#[test]
fn a_three_byte_size_is_rejected_if_one_byte_is_enough() {
    for number in 0..=u16::MAX {
        let [low, high] = number.to_le_bytes();
        let expected = if number < 0xfd { Err(NON_CANONICAL) } else { Ok(u64::from(number)) };
        assert_eq!(compact_size(&[0xfd, low, high]), expected);
        assert_eq!(compact_size(&[0xfd, low]), Err(TRUNCATED));
        assert_eq!(compact_size(&[0xfe, low, high]), Err(TRUNCATED));
        assert_eq!(compact_size(&[0xff, low, high]), Err(TRUNCATED));
        assert_eq!(compact_size(&[0xfe, low, high, 0, 0]), Err(NON_CANONICAL));
        if number >= 0xfd {
            assert_eq!(put(u64::from(number)), [0xfd, low, high]);
        }
    }
}

#[test]
fn five_byte_sizes_begin_where_three_byte_sizes_end() {
    for number in [0x1_0000, 0x1_0001, 0xff_ffff, 0x100_0000, 0xffff_fffe, 0xffff_ffff_u32] {
        let encoded = [&[0xfe][..], &number.to_le_bytes()].concat();
        assert_eq!(compact_size(&encoded), Ok(u64::from(number)));
        assert_eq!(put(u64::from(number)), encoded);
        for cut in 0..5 {
            assert_eq!(compact_size(&encoded[..cut]), Err(TRUNCATED));
        }
    }
}

#[test]
fn nine_byte_sizes_are_never_accepted() {
    for (number, expected) in [
        (0, NON_CANONICAL),
        (0xfc, NON_CANONICAL),
        (0xffff_ffff, NON_CANONICAL),
        (0x1_0000_0000, OVERLONG),
        (u64::MAX, OVERLONG),
    ] {
        let encoded = [&[0xff][..], &number.to_le_bytes()].concat();
        assert_eq!(compact_size(&encoded), Err(expected));
        for cut in 0..9 {
            assert_eq!(compact_size(&encoded[..cut]), Err(TRUNCATED));
        }
    }
    assert_eq!(put(0x1_0000_0000), [0xff, 0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(put(u64::MAX), [0xff; 9]);
}

#[test]
fn numbers_are_little_endian_and_ports_are_big_endian() {
    let bytes: Vec<u8> = (0x81..=0x90).collect();
    let mut reader = Reader::new(COMMAND, &bytes);
    assert_eq!(reader.u8(), Ok(0x81));
    assert_eq!(reader.u16(), Ok(0x8382));
    assert_eq!(reader.u16_be(), Ok(0x8485));
    assert_eq!(reader.u32(), Ok(0x8988_8786));
    assert_eq!(reader.array(), Ok([0x8a, 0x8b]));
    assert_eq!(reader.bytes(1), Ok(&[0x8c][..]));
    assert_eq!(reader.remaining(), 4);
    assert_eq!(reader.clone().i32(), Ok(i32::from_le_bytes([0x8d, 0x8e, 0x8f, 0x90])));
    assert_eq!(reader.u64(), Err(TRUNCATED));
    let mut reader = Reader::new(COMMAND, &bytes);
    assert_eq!(reader.clone().i64(), Ok(0x8887_8685_8483_8281_u64 as i64));
    assert_eq!(reader.u64(), Ok(0x8887_8685_8483_8281));
}

#[test]
fn a_truncated_number_is_an_error() {
    let zeros = [0; 8];
    for len in 0..8 {
        let reader = Reader::new(COMMAND, &zeros[..len]);
        assert_eq!(reader.clone().u8().is_ok(), len >= 1);
        assert_eq!(reader.clone().bool().is_ok(), len >= 1);
        assert_eq!(reader.clone().u16().is_ok(), len >= 2);
        assert_eq!(reader.clone().u16_be().is_ok(), len >= 2);
        assert_eq!(reader.clone().u32().is_ok(), len >= 4);
        assert_eq!(reader.clone().i32().is_ok(), len >= 4);
        assert_eq!(reader.clone().u64(), Err(TRUNCATED));
        assert_eq!(reader.clone().i64(), Err(TRUNCATED));
        assert_eq!(reader.clone().array::<8>(), Err(TRUNCATED));
        assert_eq!(reader.clone().bytes(len + 1), Err(TRUNCATED));
        assert_eq!(reader.clone().bytes(usize::MAX), Err(TRUNCATED));
    }
}

#[test]
fn only_zero_is_false() {
    for byte in 0..=u8::MAX {
        assert_eq!(Reader::new(COMMAND, &[byte]).bool(), Ok(byte != 0));
    }
}

#[test]
fn an_optional_field_is_absent_only_if_no_byte_remains() {
    assert_eq!(Reader::new(COMMAND, &[]).optional(Reader::u32), Ok(None));
    assert_eq!(Reader::new(COMMAND, &[1]).optional(Reader::u32), Err(TRUNCATED));
    assert_eq!(Reader::new(COMMAND, &[1, 0, 0, 0]).optional(Reader::u32), Ok(Some(1)));
}

#[test]
fn a_length_is_checked_before_the_bytes_that_it_counts() {
    let read = |bytes: &[u8], max_bytes| Reader::new(COMMAND, bytes).var_bytes(max_bytes).map(<[u8]>::to_vec);
    assert_eq!(read(&[], 8), Err(TRUNCATED));
    assert_eq!(read(&[0], 0), Ok(vec![]));
    assert_eq!(read(&[2, 7, 8, 9], 2), Ok(vec![7, 8]));
    assert_eq!(read(&[2, 7], 2), Err(TRUNCATED));
    assert_eq!(read(&[3, 7], 2), Err(TOO_LONG));
    assert_eq!(read(&[0xfd, 2, 0, 7, 8], 8), Err(NON_CANONICAL));
    assert_eq!(read(&[0xfe, 0xff, 0xff, 0xff, 0xff], 8), Err(TOO_LONG));
    assert_eq!(read(&[0xfe, 0xff, 0xff, 0xff, 0xff], usize::MAX), Err(TRUNCATED));
}

#[test]
fn a_string_is_cut_to_its_limit_when_written() {
    for (bytes, expected) in [(&b""[..], &b"\0"[..]), (b"ab", b"\x02ab"), (b"abc", b"\x03abc"), (b"abcd", b"\x03abc")] {
        let mut out = Vec::new();
        put_var_bytes(bytes, 3, &mut out);
        assert_eq!(out, expected);
    }
}

proptest! {
    #[test]
    fn any_size_is_written_in_its_shortest_form(size: u64, shift in 0..64_u32) {
        let size = size >> shift;
        let encoded = put(size);
        let expected_len = match size {
            0..=252 => 1,
            253..=0xffff => 3,
            0x1_0000..=0xffff_ffff => 5,
            _ => 9,
        };
        prop_assert_eq!(encoded.len(), expected_len);
        prop_assert_eq!(compact_size(&encoded), if expected_len == 9 { Err(OVERLONG) } else { Ok(size) });
    }

    #[test]
    fn the_reader_returns_the_same_slices_as_a_naive_reader(
        payload in proptest::collection::vec(any::<u8>(), 0..64),
        lens in proptest::collection::vec(0..20_usize, 0..8),
    ) {
        let mut reader = Reader::new(COMMAND, &payload);
        let mut at = 0;
        for len in lens {
            match payload.get(at..at + len) {
                Some(expected) => prop_assert_eq!(reader.bytes(len), Ok(expected)),
                None => {
                    prop_assert_eq!(reader.bytes(len), Err(TRUNCATED));
                    break;
                }
            }
            at += len;
            prop_assert_eq!(reader.remaining(), payload.len() - at);
        }
    }
}

#[test]
fn p20_a_count_is_accepted_only_if_the_rest_is_long_enough() {
    let count = |text: &str, rest: usize, min_element_bytes: usize| {
        Reader::new(COMMAND, &[hex(text), vec![0; rest]].concat()).count(min_element_bytes)
    };
    assert_eq!(count("00", 0, 36), Ok(0));
    assert_eq!(count("01", 35, 36), Err(TRUNCATED));
    assert_eq!(count("01", 36, 36), Ok(1));
    assert_eq!(count("02", 71, 36), Err(TRUNCATED));
    assert_eq!(count("02", 72, 36), Ok(2));
    assert_eq!(count("fdfd00", 252, 1), Err(TRUNCATED));
    assert_eq!(count("fdfd00", 253, 1), Ok(253));
    assert_eq!(count("feffffffff", 1_000, 1), Err(TRUNCATED));
}

#[test]
fn items_are_slices_of_the_payload() {
    let payload = hex("02aabbccddee");
    let mut reader = Reader::new(COMMAND, &payload);
    assert_eq!(reader.items::<2>(), Ok(&[[0xaa, 0xbb], [0xcc, 0xdd]][..]));
    assert_eq!(reader.remaining(), 1, "too many or too few bytes were consumed");
    let mut out = Vec::new();
    put_items(&[[0xaa, 0xbb], [0xcc, 0xdd]], &mut out);
    assert_eq!(out, payload[..5]);
}
