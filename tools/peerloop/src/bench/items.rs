//! Files of items that a bench requests, one per line: `tx HASH` or `block HASH`.

use crate::exit::Failure;
use crate::lines;
use peerloop::wire::InventoryItem;
use std::path::Path;

/// Maximum number of items. All of them are in memory during the load, in about 150 bytes each.
const MAX_ITEMS: usize = 1_000_000;

/// Maximum length of a line. An item needs 70 bytes.
const MAX_LINE_BYTES: u64 = 1_000;

/// Reads the items in a file, at least one.
pub(crate) fn read(path: &Path) -> Result<Vec<InventoryItem>, Failure> {
    read_up_to(path, MAX_ITEMS).map_err(|error| {
        Failure::run(format!("reading the items in {error}; write `tx HASH` or `block HASH` on each line"))
    })
}

fn read_up_to(path: &Path, max_items: usize) -> Result<Vec<InventoryItem>, String> {
    let mut items = Vec::new();
    lines::read(path, MAX_LINE_BYTES, |line| {
        items.push(parse(line)?);
        if items.len() > max_items { Err(format!("more than {max_items} items")) } else { Ok(()) }
    })?;
    if items.is_empty() { Err(format!("{}: it has no item", path.display())) } else { Ok(items) }
}

fn parse(line: &str) -> Result<InventoryItem, String> {
    let mut words = line.split_whitespace();
    let (Some(kind), Some(hash), None) = (words.next(), words.next(), words.next()) else {
        return Err(format!("`{line}` is not a kind and a hash"));
    };
    let hash = hash.parse().map_err(|_| format!("`{hash}` is not a hash: it has 64 hexadecimal digits"))?;
    match kind {
        "tx" => Ok(InventoryItem::tx(hash)),
        "block" => Ok(InventoryItem::block(hash)),
        _ => Err(format!("`{kind}` is neither `tx` nor `block`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::wire::Hash256;
    use peerloop_testkit::Folder;

    const HASH: &str = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";

    /// Reads a file with this text. An error lacks the file's name.
    fn items(text: &str, max_items: usize) -> Result<Vec<InventoryItem>, String> {
        let folder = Folder::new(std::env::temp_dir());
        let path = folder.with("items", text);
        let read = read_up_to(Path::new(&path), max_items);
        read.map_err(|error| error.strip_prefix(&format!("{path}:")).expect("the file is named").to_owned())
    }

    #[test]
    fn each_line_is_one_item() {
        let hash: Hash256 = HASH.parse().unwrap();
        let text = format!("# two\n\ntx {HASH}\n  block\t{}\r\n", HASH.to_uppercase());
        assert_eq!(items(&text, 2), Ok(vec![InventoryItem::tx(hash), InventoryItem::block(hash)]));
    }

    #[test]
    fn a_mistake_names_its_line_and_its_cause() {
        for (line, part) in [
            (HASH, "is not a kind and a hash"),
            (&format!("tx {HASH} 1"), "is not a kind and a hash"),
            (&format!("Tx {HASH}"), "`Tx` is neither `tx` nor `block`"),
            (&format!("tx {}", &HASH[1..]), "is not a hash: it has 64"),
            (&format!("tx {}g", &HASH[1..]), "is not a hash"),
        ] {
            let refused = items(&format!("tx {HASH}\n{line}\n"), 9).unwrap_err();
            assert!(refused.starts_with("2: ") && refused.contains(part), "{line}: {refused}");
        }
        assert_eq!(items("#\n", 9), Err(" it has no item".to_owned()));
        assert_eq!(items(&format!("tx {HASH}\n").repeat(3), 2), Err("3: more than 2 items".to_owned()));
        let missing = read(Path::new("no/such/file")).unwrap_err();
        assert!(missing.message.starts_with("reading the items in no/such/file: "), "{}", missing.message);
    }
}
