//! The transactions that a node serves from the beginning: a file with one in hexadecimal per line.
//!
//! Empty lines and lines that begin with `#` are ignored. A mistake names its line.

use crate::exit::Failure;
use peerloop::bytes::Bytes;
use peerloop::limits::RESPONDER_POOL_BYTES;
use peerloop::wire::TxRef;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Maximum length of all transactions together.
const MAX_BYTES: usize = RESPONDER_POOL_BYTES;

/// Number of bytes that the node's pool counts for a transaction besides its length, at most, if the length counts
/// twice.
const MAX_OTHER_BYTES: usize = 256;

/// Maximum size of a file, with room for line ends and remarks. The whole text is in memory while it is parsed.
const MAX_FILE_BYTES: u64 = 3 * RESPONDER_POOL_BYTES as u64;

/// Reads the transactions in a file.
pub(super) fn read(path: &Path) -> Result<Vec<Bytes>, Failure> {
    let failed = |error: String| {
        Failure::run(format!(
            "reading the transactions in {}: {error}; write one transaction per line, in hexadecimal",
            path.display()
        ))
    };
    let mut text = String::new();
    let file = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text));
    file.map_err(|error| failed(error.to_string()))?;
    parse(&text, MAX_BYTES).map_err(failed)
}

/// Returns the number of bytes that these transactions use in the node's pool, at most.
pub(super) fn pool_bytes(transactions: &[Bytes]) -> usize {
    transactions.iter().map(|transaction| 2 * transaction.len() + MAX_OTHER_BYTES).sum()
}

fn parse(text: &str, max_bytes: usize) -> Result<Vec<Bytes>, String> {
    let mut transactions: Vec<Bytes> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let transaction = decoded(line).and_then(whole).map_err(|error| format!("line {}: {error}", index + 1))?;
        transactions.push(transaction.into());
    }
    let bytes: usize = transactions.iter().map(Bytes::len).sum();
    match transactions.len() {
        0 => Err("it has no transaction".to_owned()),
        count if bytes > max_bytes || text.len() as u64 > MAX_FILE_BYTES => {
            Err(format!("its first {count} transactions have {bytes} bytes, and at most {max_bytes} are served"))
        }
        _ => Ok(transactions),
    }
}

fn decoded(line: &str) -> Result<Vec<u8>, String> {
    if let Some(wrong) = line.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(format!("`{}` is not a hexadecimal digit", wrong.escape_default()));
    }
    let (pairs, rest) = line.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err("the number of digits is odd".to_owned());
    }
    let value = |digit: u8| char::from(digit).to_digit(16).map_or(0, |value| value as u8);
    Ok(pairs.iter().map(|&[high, low]| value(high) << 4 | value(low)).collect())
}

/// Returns the bytes if they are exactly one transaction.
fn whole(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let (_, rest) = TxRef::split_first(&bytes).map_err(|error| format!("not a transaction: {error}"))?;
    match rest.len() {
        0 => Ok(bytes),
        more => Err(format!("{more} bytes follow the transaction")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A transaction without inputs and outputs.
    const TX: &str = "01000000000007000000";

    #[test]
    fn each_line_is_one_transaction() {
        let text = format!("# two of them\n\n{TX}\r\n  {}\n", TX.to_uppercase());
        let transactions = parse(&text, MAX_BYTES).unwrap();
        assert_eq!(transactions, [1, 2].map(|_| Bytes::from_static(&[1, 0, 0, 0, 0, 0, 7, 0, 0, 0])));
    }

    #[test]
    fn a_mistake_names_its_line_and_its_cause() {
        for (line, part) in [
            ("0", "the number of digits is odd"),
            ("0g", "`g` is not a hexadecimal digit"),
            ("0100", "not a transaction"),
            ("0x01", "`x` is not"),
            ("é0", "`\\u{e9}` is not a hexadecimal digit"),
            (&format!("{TX}ff"), "1 bytes follow the transaction"),
        ] {
            let refused = parse(&format!("{TX}\n{line}\n"), MAX_BYTES).unwrap_err();
            assert!(refused.starts_with("line 2: ") && refused.contains(part), "{line}: {refused}");
        }
        assert_eq!(parse("\n# nothing\n", MAX_BYTES), Err("it has no transaction".to_owned()));
    }

    #[test]
    fn more_transactions_than_the_node_keeps_are_refused() {
        let text = format!("{TX}\n{TX}\n");
        assert_eq!(parse(&text, 20).map(|transactions| transactions.len()), Ok(2));
        let refused = "its first 2 transactions have 20 bytes, and at most 19 are served";
        assert_eq!(parse(&text, 19), Err(refused.to_owned()));
    }

    #[test]
    fn a_missing_file_is_named() {
        let refused = read(Path::new("no/such/file")).unwrap_err();
        assert!(refused.message.starts_with("reading the transactions in no/such/file: "), "{}", refused.message);
    }
}
