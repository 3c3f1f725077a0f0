//! Files with one entry per line. Empty lines and lines that begin with `#` are ignored. A mistake names its line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Calls `accept` with each entry of a file, of at most `max_line_bytes`. Only one line is in memory at a time. The
/// error begins with the file's name and, unless the file cannot be read, the line's number.
pub(crate) fn read(
    path: &Path,
    max_line_bytes: u64,
    mut accept: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        if reader.by_ref().take(max_line_bytes + 1).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        let wrong = |error: String| format!("{}:{number}: {error}", path.display());
        if line.len() as u64 > max_line_bytes {
            return Err(wrong(format!("the line is longer than {max_line_bytes} bytes")));
        }
        let text = str::from_utf8(&line).map_err(|_| wrong("the line is not text in UTF-8".to_owned()))?.trim();
        if !text.is_empty() && !text.starts_with('#') {
            accept(text).map_err(wrong)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop_testkit::Folder;

    /// Reads a file with this content, and returns its entries.
    fn entries(content: &[u8]) -> Result<Vec<String>, String> {
        let folder = Folder::new(std::env::temp_dir());
        let path = folder.path().join("entries");
        std::fs::write(&path, content).unwrap();
        let mut entries = Vec::new();
        let read = read(&path, 8, |line| match line {
            "wrong" => Err("it is wrong".to_owned()),
            line => {
                entries.push(line.to_owned());
                Ok(())
            }
        });
        let name = format!("{}:", path.display());
        read.map_err(|error| error.strip_prefix(&name).expect("the error begins with the name").to_owned())?;
        Ok(entries)
    }

    #[test]
    fn each_line_but_empty_ones_and_remarks_is_an_entry() {
        assert_eq!(entries(b"# two\n\n one\r\ntwo"), Ok(vec!["one".to_owned(), "two".to_owned()]));
        assert_eq!(entries(b""), Ok(Vec::new()));
    }

    #[test]
    fn a_mistake_names_its_line() {
        assert_eq!(entries(b"\n#\nwrong\n"), Err("3: it is wrong".to_owned()));
        assert_eq!(entries(b"1234567\n12345678\n"), Err("2: the line is longer than 8 bytes".to_owned()));
        assert_eq!(entries(b"\xff\n"), Err("1: the line is not text in UTF-8".to_owned()));
    }

    #[test]
    fn a_missing_file_is_named() {
        let refused = read(Path::new("no/such/file"), 8, |_| Ok(())).unwrap_err();
        assert!(refused.starts_with("no/such/file: "), "{refused}");
    }
}
