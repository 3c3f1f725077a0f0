//! Files of workloads that a bench mixes, one per line with its weight: `70 ping`.

use crate::exit::Failure;
use crate::lines;
use peerloop::load::workloads::MAX_MIX_WEIGHT;
use std::path::Path;

/// Maximum length of a line. The longest part is a file's name.
const MAX_LINE_BYTES: u64 = 10_000;

/// Calls `accept` with the weight and the text of each workload in a file, of which there is at least one.
pub(super) fn read(path: &Path, accept: impl FnMut(u32, &str) -> Result<(), String>) -> Result<(), Failure> {
    read_lines(path, accept).map_err(|error| {
        Failure::run(format!(
            "reading the workloads in {error}; write a weight and a workload on each line, for example `70 ping`: \
             ping, inv, headers, tx:FILE, getdata:FILE or block:SIZE"
        ))
    })
}

fn read_lines(path: &Path, mut accept: impl FnMut(u32, &str) -> Result<(), String>) -> Result<(), String> {
    let mut is_empty = true;
    lines::read(path, MAX_LINE_BYTES, |line| {
        let (weight, workload) = parse(line)?;
        is_empty = false;
        accept(weight, workload)
    })?;
    if is_empty { Err(format!("{}: it has no workload", path.display())) } else { Ok(()) }
}

fn parse(line: &str) -> Result<(u32, &str), String> {
    let Some((text, workload)) = line.split_once(char::is_whitespace) else {
        return Err(format!("`{line}` is not a weight and a workload"));
    };
    let weight = text.parse::<u32>().ok().filter(|weight| (1..=MAX_MIX_WEIGHT).contains(weight));
    let weight = weight.ok_or_else(|| format!("`{text}` is not a weight: use 1 to {MAX_MIX_WEIGHT}"))?;
    Ok((weight, workload.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop_testkit::Folder;

    /// Reads a file with this text. An error lacks the file's name.
    fn lines(text: &str) -> Result<Vec<(u32, String)>, String> {
        let folder = Folder::new(std::env::temp_dir());
        let path = folder.with("mix", text);
        let mut lines = Vec::new();
        let read = read_lines(Path::new(&path), |weight, workload| match workload {
            "wrong" => Err("refused".to_owned()),
            _ => {
                lines.push((weight, workload.to_owned()));
                Ok(())
            }
        });
        let read = read.map(|()| lines);
        read.map_err(|error| error.strip_prefix(&format!("{path}:")).expect("the file is named").to_owned())
    }

    #[test]
    fn each_line_is_a_weight_and_a_workload() {
        let expected = [(70, "ping"), (30, "tx:a file")].map(|(weight, text)| (weight, text.to_owned()));
        assert_eq!(lines("# two\n70 ping\n\n 30\t tx:a file \r\n"), Ok(expected.into()));
    }

    #[test]
    fn a_mistake_names_its_line_and_its_cause() {
        for (line, part) in [
            ("ping", "`ping` is not a weight and a workload"),
            ("0 inv", "`0` is not a weight: use 1 to 1000"),
            ("-1 inv", "`-1` is not a weight"),
            ("1001 inv", "`1001` is not a weight"),
            ("1 wrong", "refused"),
        ] {
            let refused = lines(&format!("5 ping\n{line}\n")).unwrap_err();
            assert!(refused.starts_with("2: ") && refused.contains(part), "{line}: {refused}");
        }
        assert_eq!(lines("#\n"), Err(" it has no workload".to_owned()));
        let missing = read(Path::new("no/such/file"), |_, _| Ok(())).unwrap_err();
        assert!(missing.message.starts_with("reading the workloads in no/such/file: "), "{}", missing.message);
    }
}
