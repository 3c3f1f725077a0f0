//! The file beside the book with the headers of the relay's chain.
//!
//! It begins with a fixed head: a magic number, the version of the format, the network, and the place of the anchor.
//! The headers follow in the order in which the relay accepted them, 80 bytes each, and new ones are appended. A header
//! proves itself, so the file has no checksums: the relay checks each header again when it is read. An incomplete last
//! header, as after a power failure, is ignored. A file that cannot be used is renamed and kept.

use peerloop::Network;
use peerloop::relay::{AcceptedHeaders, HeaderAnchor, RelayConfig};
use peerloop::wire::BlockHeader;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 16] = *b"peerloop headers";
const FORMAT: u32 = 1;

/// The length of the head: the magic number, the format, the network's magic number, the height of the anchor's first
/// header, and the number of its headers.
const HEAD_LEN: usize = MAGIC.len() + 4 * 4;

/// The headers of a file.
#[derive(Debug, PartialEq)]
pub(super) struct Saved {
    pub(super) anchor: HeaderAnchor,
    /// The headers above the anchor.
    pub(super) headers: Vec<BlockHeader>,
}

/// The file, and the number of saved headers above the anchor.
#[derive(Debug)]
pub(super) struct HeaderFile {
    path: PathBuf,
    /// `None` until there is an anchor to save.
    open: Option<File>,
    /// The length of the anchor's part.
    base: u64,
    saved: usize,
}

/// Returns the path of the file that belongs to a book.
pub(super) fn beside(book: &Path) -> PathBuf {
    with_suffix(book, ".headers")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Reads a file; `None` if there is none. The error says why it cannot be used.
pub(super) fn read(path: &Path, network: Network) -> Result<Option<Saved>, String> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| error.to_string())?,
    };
    // The relay's chain has no more headers.
    let max_len = (HEAD_LEN + RelayConfig::new(Vec::new()).max_headers * BlockHeader::LEN_BYTES) as u64;
    let mut bytes = Vec::new();
    file.take(max_len + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > max_len {
        return Err(format!("it has more than {max_len} bytes"));
    }
    decode(&bytes, network).map(Some)
}

fn decode(bytes: &[u8], network: Network) -> Result<Saved, String> {
    let Some((head, records)) = bytes.split_at_checked(HEAD_LEN).filter(|(head, _)| head.starts_with(&MAGIC)) else {
        return Err("it does not contain headers of a relay".to_owned());
    };
    let number = |at: usize| {
        let at = MAGIC.len() + 4 * at;
        u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
    };
    if number(0) != FORMAT {
        return Err(format!("its format is {}, and this version reads format {FORMAT}", number(0)));
    }
    if number(1) != u32::from_le_bytes(network.magic()) {
        return Err(format!("its headers are not of {network}"));
    }
    let mut headers: Vec<BlockHeader> = records.as_chunks().0.iter().map(BlockHeader::decode).collect();
    let (first_height, anchor_len) = (number(2), number(3) as usize);
    if anchor_len > headers.len() {
        return Err("it ends before its first headers are complete".to_owned());
    }
    let above = headers.split_off(anchor_len);
    let anchor = HeaderAnchor::new(network, first_height, headers).map_err(|error| error.to_string())?;
    Ok(Saved { anchor, headers: above })
}

fn encode(anchor: &HeaderAnchor) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend(anchor.network().magic());
    bytes.extend(anchor.first_height().to_le_bytes());
    bytes.extend((anchor.headers().len() as u32).to_le_bytes());
    bytes.extend(anchor.headers().iter().flat_map(BlockHeader::encode));
    bytes
}

/// Renames a file that cannot be used, and returns its new path. A file that was renamed earlier is replaced.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let kept = with_suffix(path, ".set-aside");
    fs::rename(path, &kept).map(|()| kept)
}

impl HeaderFile {
    /// Returns the file of a relay without saved headers. It is created with the first headers.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None, base: 0, saved: 0 }
    }

    /// Opens the file whose headers were restored.
    pub(super) fn of_saved(path: PathBuf, saved: &Saved) -> io::Result<Self> {
        let open = OpenOptions::new().write(true).open(&path)?;
        let base = encode(&saved.anchor).len() as u64;
        Ok(Self { path, open: Some(open), base, saved: saved.headers.len() })
    }

    /// Returns the path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of saved headers above the anchor: the position of the next one.
    pub(super) fn saved(&self) -> usize {
        self.saved
    }

    /// Saves the headers from the next position on. After an error, the same headers may be saved again.
    pub(super) fn save(&mut self, accepted: &AcceptedHeaders) -> io::Result<()> {
        let headers: Vec<u8> = accepted.headers.iter().flat_map(BlockHeader::encode).collect();
        match (&mut self.open, &accepted.anchor) {
            (Some(_), _) if headers.is_empty() => return Ok(()),
            (Some(file), _) => {
                file.seek(SeekFrom::Start(self.base + (self.saved * BlockHeader::LEN_BYTES) as u64))?;
                file.write_all(&headers)?;
                file.sync_data()?;
            }
            (None, Some(anchor)) => {
                let begin = encode(anchor);
                self.base = begin.len() as u64;
                self.open = Some(create(&self.path, &[begin, headers].concat())?);
            }
            (None, None) => return Ok(()),
        }
        self.saved += accepted.headers.len();
        Ok(())
    }
}

/// Creates the file with these bytes. It has its name only once they are written.
fn create(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let new = with_suffix(path, ".new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&new, path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop_testkit::Folder;

    /// Returns headers with a proof of work on top of the genesis block.
    fn chain(count: usize) -> Vec<BlockHeader> {
        let mut parent = BlockHeader::genesis_of(Network::Regtest);
        let child = |_| {
            parent = BlockHeader { prev_hash: parent.hash(), time: parent.time + 1, nonce: 0, ..parent };
            while parent.check_proof_of_work(Network::Regtest).is_err() {
                parent.nonce += 1;
            }
            parent
        };
        (0..count).map(child).collect()
    }

    fn accepted(anchor: Option<HeaderAnchor>, headers: &[BlockHeader]) -> AcceptedHeaders {
        let mut accepted = AcceptedHeaders::default();
        (accepted.anchor, accepted.headers) = (anchor, headers.to_vec());
        accepted
    }

    fn saved(headers: &[BlockHeader]) -> Saved {
        Saved { anchor: HeaderAnchor::genesis_of_regtest(), headers: headers.to_vec() }
    }

    #[test]
    fn headers_are_appended_and_read_again_and_an_incomplete_one_is_ignored_and_replaced() {
        let folder = Folder::new(std::env::temp_dir());
        let path = beside(&folder.path().join("peers.redb"));
        let headers = chain(5);
        assert_eq!(read(&path, Network::Regtest), Ok(None));
        let mut file = HeaderFile::new(path.clone());
        file.save(&accepted(None, &[])).expect("nothing is saved without an anchor");
        assert_eq!(read(&path, Network::Regtest), Ok(None));
        file.save(&accepted(Some(HeaderAnchor::genesis_of_regtest()), &headers[..2])).expect("the disk works");
        file.save(&accepted(None, &headers[2..3])).expect("the disk works");
        assert_eq!((file.saved(), read(&path, Network::Regtest)), (3, Ok(Some(saved(&headers[..3])))));
        drop(file);
        let mut bytes = fs::read(&path).expect("the file exists");
        bytes.extend([9; 79]);
        fs::write(&path, &bytes).expect("the disk works");
        let read_again = read(&path, Network::Regtest).expect("the file is usable").expect("the file exists");
        assert_eq!(read_again, saved(&headers[..3]));
        let mut file = HeaderFile::of_saved(path.clone(), &read_again).expect("the file is writable");
        file.save(&accepted(None, &headers[3..])).expect("the disk works");
        assert_eq!((file.saved(), read(&path, Network::Regtest)), (5, Ok(Some(saved(&headers)))));
        let names: Vec<_> = fs::read_dir(folder.path()).expect("the folder exists").collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn a_file_of_another_kind_format_or_network_or_with_a_broken_anchor_is_refused_with_the_reason() {
        let anchor = HeaderAnchor::genesis_of_regtest();
        let bytes = encode(&anchor);
        let changed = |at: usize, value: u8| [&bytes[..at], &[value], &bytes[at + 1..]].concat();
        for (bytes, network, expected) in [
            (vec![], Network::Regtest, "it does not contain headers of a relay"),
            (changed(3, b'X'), Network::Regtest, "it does not contain headers of a relay"),
            (changed(16, 2), Network::Regtest, "its format is 2, and this version reads format 1"),
            (bytes.clone(), Network::Mainnet, "its headers are not of mainnet"),
            (changed(28, 2), Network::Regtest, "it ends before its first headers are complete"),
            (changed(28, 0), Network::Regtest, "an anchor of 0 headers is too short: the rules need 1"),
            (changed(24, 1), Network::Regtest, "an anchor of 1 headers is too short: the rules need 11"),
        ] {
            assert_eq!(decode(&bytes, network), Err(expected.to_owned()));
        }
    }
}
