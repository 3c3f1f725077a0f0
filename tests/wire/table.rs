//! The table in the documentation of `wire`, compared with the code.

use peerloop::protocol::CommandName;
use peerloop::wire::header::payload_limit;
use peerloop::wire::{MessageRef, PayloadLimits};
use peerloop_testkit::vectors::payloads;

struct Row {
    command: CommandName,
    direction: &'static str,
    limit: &'static str,
    decoded_as: &'static str,
}

/// Returns the rows whose first cell is a command.
fn rows() -> Vec<Row> {
    let lines = include_str!("../../src/wire/mod.rs").lines().filter(|line| line.starts_with("//! | `"));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_start_matches("//!").split('|').map(str::trim).collect();
            let ["", command, direction, limit, _, decoded_as, ""] = cells[..] else {
                panic!("the row does not have 5 cells: {line}")
            };
            Row { command: CommandName::new(command.trim_matches('`')), direction, limit, decoded_as }
        })
        .collect()
}

#[test]
fn every_command_has_one_row() {
    let commands: Vec<CommandName> = rows().iter().map(|row| row.command).collect();
    assert_eq!(commands, CommandName::ALL);
    for row in rows() {
        assert!(["both", "from", "to"].contains(&row.direction), "{}: {}", row.command, row.direction);
        assert!(row.command.is_well_formed());
    }
}

#[test]
fn every_limit_matches_the_code() {
    let default = PayloadLimits::default();
    let small = PayloadLimits { max_message_bytes: 1_048_577, max_block_bytes: 4_000_000_000 };
    let huge = PayloadLimits { max_block_bytes: 1 << 40, ..default };
    for limits in [default, small, huge] {
        for row in rows() {
            let indexes = limits.max_block_bytes / 215 * 6;
            let expected = match row.limit {
                "message" => limits.max_message_bytes,
                "block" => limits.max_block_bytes,
                "indexes" if indexes > u64::from(u32::MAX) => indexes + 44,
                "indexes" => indexes + 24,
                "1 MiB" => 1 << 20,
                "1 GB" => 1_000_000_000,
                limit => panic!("{}: unknown limit {limit}", row.command),
            };
            assert_eq!(payload_limit(row.command, &limits), expected, "{}", row.command);
        }
    }
}

#[test]
fn every_message_decodes_to_the_type_in_the_table() {
    for row in rows().iter().filter(|row| row.command != CommandName::EXTMSG) {
        let vectors: Vec<_> = payloads().filter(|(command, _)| *command == row.command).collect();
        assert!(!vectors.is_empty(), "no vector for {}", row.command);
        // The debug form of a message is its variant followed by its type.
        let name = row.decoded_as.trim_matches(['[', '`', ']']).trim_start_matches("MessageRef::");
        for (_, payload) in vectors {
            let shown = format!("{:?}", MessageRef::decode(row.command, &payload).expect("a vector is valid"));
            let words: Vec<&str> = shown.split(|c: char| !c.is_alphanumeric()).take(2).collect();
            assert!(words.contains(&name), "{} is decoded as {shown}, not as {name}", row.command);
        }
    }
}

#[test]
fn extmsg_is_decoded_as_an_opaque_message() {
    let command = CommandName::EXTMSG;
    assert_eq!(MessageRef::decode(command, b"any"), Ok(MessageRef::Opaque { command, payload: b"any" }));
}
