//! Files of transactions, one in hexadecimal per line: those that `serve` serves, and those that a bench sends.

use crate::exit::Failure;
use crate::lines;
use crate::units::counted;
use peerloop::wire::{Tx, TxRef};
use std::path::Path;

/// Reads the transactions in a file, which have at most `max_bytes` together.
pub(crate) fn read(path: &Path, max_bytes: usize) -> Result<Vec<Tx>, Failure> {
    let failed = |error: String| {
        Failure::run(format!("reading the transactions in {error}; write one transaction per line, in hexadecimal"))
    };
    let (mut transactions, mut bytes) = (Vec::new(), 0);
    let max_line_bytes = 2 * max_bytes as u64 + 100;
    let accept = |line: &str| {
        let transaction = decoded(line).and_then(|bytes| whole(&bytes))?;
        bytes += transaction.as_ref().encoded().len();
        transactions.push(transaction);
        match bytes > max_bytes {
            true => {
                let count = counted(transactions.len(), "transaction");
                Err(format!("{count} up to this line have {bytes} bytes, and at most {max_bytes} fit into memory"))
            }
            false => Ok(()),
        }
    };
    lines::read(path, max_line_bytes, accept).map_err(failed)?;
    match transactions.is_empty() {
        true => Err(failed(format!("{}: it has no transaction", path.display()))),
        false => Ok(transactions),
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

/// Returns the transaction if the bytes are exactly one.
fn whole(bytes: &[u8]) -> Result<Tx, String> {
    let (transaction, rest) = TxRef::split_first(bytes).map_err(|error| format!("not a transaction: {error}"))?;
    match rest.len() {
        0 => Ok(transaction.into_owned()),
        more => Err(format!("{more} bytes follow the transaction")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop_testkit::Folder;

    /// A transaction without inputs and outputs.
    const TX: &str = "01000000000007000000";

    const MAX_BYTES: usize = 1_000;

    /// Reads a file with this text. An error lacks the texts that surround every error.
    fn parse(text: &str, max_bytes: usize) -> Result<Vec<Vec<u8>>, String> {
        let folder = Folder::new(std::env::temp_dir());
        let path = folder.with("transactions", text);
        match read(Path::new(&path), max_bytes) {
            Ok(transactions) => Ok(transactions.iter().map(|tx| tx.as_ref().encoded().to_vec()).collect()),
            Err(failure) => {
                let error = failure.message.strip_prefix(&format!("reading the transactions in {path}:"));
                let error =
                    error.and_then(|rest| rest.strip_suffix("; write one transaction per line, in hexadecimal"));
                Err(error.unwrap_or_else(|| panic!("{}", failure.message)).to_owned())
            }
        }
    }

    #[test]
    fn each_line_is_one_transaction() {
        let text = format!("# two of them\n\n{TX}\r\n  {}\n", TX.to_uppercase());
        assert_eq!(parse(&text, MAX_BYTES), Ok(vec![vec![1, 0, 0, 0, 0, 0, 7, 0, 0, 0]; 2]));
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
            assert!(refused.starts_with("2: ") && refused.contains(part), "{line}: {refused}");
        }
        assert_eq!(parse("\n# nothing\n", MAX_BYTES), Err(" it has no transaction".to_owned()));
    }

    #[test]
    fn more_transactions_than_fit_into_memory_are_refused() {
        let text = format!("{TX}\n{TX}\n");
        assert_eq!(parse(&text, 20).map(|transactions| transactions.len()), Ok(2));
        let refused = "2: 2 transactions up to this line have 20 bytes, and at most 19 fit into memory";
        assert_eq!(parse(&text, 19), Err(refused.to_owned()));
    }

    #[test]
    fn a_missing_file_is_named() {
        let refused = read(Path::new("no/such/file"), MAX_BYTES).unwrap_err();
        assert!(refused.message.starts_with("reading the transactions in no/such/file: "), "{}", refused.message);
    }
}
