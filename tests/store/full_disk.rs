//! A full disk: the book reports it, keeps its contents, and continues when there is room again.
//!
//! A limit on file size, set in a child process, simulates a full disk on every Unix system. On Linux, a second test
//! mounts a small file system and fills it, if this process may mount one.

use crate::support::{Folder, address, ban, chance, rich_peer, start};
use peerloop::store::{Change, FileStep, PeerStore, RedbStore, StoreError};
use rlimit::Resource;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The environment variable that makes a test in this file run as the child process. Its value is the folder in which
/// the child works.
const CHILD: &str = "PEERLOOP_TEST_FULL_DISK";

fn child(test: &str, script: &str, folder: &Path) -> std::process::Output {
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    start(command.env(CHILD, folder).stdout(Stdio::piped()).stderr(Stdio::piped())).wait_with_output().unwrap()
}

fn as_child() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

#[test]
fn fault_e09_the_book_reports_a_limit_on_file_size_and_recovers() {
    if let Some(folder) = as_child() {
        let (soft, hard) = Resource::FSIZE.get().unwrap();
        let book = folder.join("book");
        return outlive(
            &book,
            || {
                let len_bytes = fs::metadata(&book).unwrap().len();
                Resource::FSIZE.set(len_bytes, hard).unwrap();
            },
            || Resource::FSIZE.set(soft, hard).unwrap(),
            ErrorKind::FileTooLarge,
        );
    }
    let folder = Folder::new();
    // The shell ignores SIGXFSZ, and the child inherits that, so a write beyond the limit returns an error instead of
    // ending the child.
    let script = "trap '' XFSZ; exec \"$0\" \"$@\"";
    let output =
        child("full_disk::fault_e09_the_book_reports_a_limit_on_file_size_and_recovers", script, folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_outlived(&folder.book());
}

#[cfg(target_os = "linux")]
#[test]
fn fault_e09_the_book_reports_a_full_file_system_and_recovers() {
    if let Some(folder) = as_child() {
        let ballast = folder.join("ballast");
        return outlive(
            &folder.join("book"),
            || {
                let mut file = fs::File::create(&ballast).unwrap();
                let full = (0..).find_map(|_| file.write_all(&[1; 4_096]).err()).unwrap();
                assert_eq!(full.kind(), ErrorKind::StorageFull);
            },
            || fs::remove_file(&ballast).unwrap(),
            ErrorKind::StorageFull,
        );
    }
    let folder = Folder::new();
    // Only the child sees the mount, which disappears when the child ends.
    let mount = format!("mount -t tmpfs -o size=4m none '{}'", folder.path().display());
    let works =
        start(Command::new("sh").args(["-c", "exec unshare --mount sh -c \"$0\"", &mount]).stderr(Stdio::null()));
    if !works.wait_with_output().unwrap().status.success() {
        println!("no file system can be mounted here; only the limit on file size is tested");
        return;
    }
    let script = format!("exec unshare --mount sh -c \"{mount}\"' && exec \"$0\" \"$@\"' \"$0\" \"$@\"");
    let output = child("full_disk::fault_e09_the_book_reports_a_full_file_system_and_recovers", &script, folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Fills the disk with `fill`, writes until an error occurs, makes room with `free`, and checks that writing continues.
fn outlive(book: &Path, fill: impl Fn(), free: impl Fn(), expected: ErrorKind) {
    let mut rng = chance(2);
    let mut changes = |round: u32| -> Vec<Change> {
        let peers = (round * 500..round * 500 + 500).map(|number| Change::PutPeer(rich_peer(number, &mut rng)));
        peers.chain([Change::PutBan(ban(round))]).collect()
    };
    let (mut store, _) = RedbStore::open(book).unwrap();
    store.apply(&changes(0)).unwrap();
    fill();
    let (mut round, mut batch) = (1, changes(1));
    let error = loop {
        match store.apply(&batch) {
            Ok(()) => (round, batch) = (round + 1, changes(round + 1)),
            Err(error) => break error,
        }
        assert!(round < 1_000, "the disk did not become full");
    };
    let words = error.to_string();
    assert!(words.contains("book") && words.contains("make room"), "{words}");
    assert!(matches!(error, StoreError::File { step: FileStep::Write, kind, .. } if kind == expected), "{error:?}");
    for _ in 0..3 {
        let again = store.apply(&batch).unwrap_err();
        assert!(matches!(again, StoreError::File { kind, .. } if kind == expected), "{again:?}");
    }
    free();
    store.apply(&batch).unwrap();
    assert_eq!(store.list_all().unwrap().len() as u32, 500 * (round + 1));
    drop(store);
    let (store, opened) = RedbStore::open(book).unwrap();
    assert_eq!((opened.set_aside, opened.dropped), (None, 0));
    assert_eq!(store.bans().unwrap().len() as u32, round + 1);
    assert!(store.read(address(0)).unwrap().is_some());
}

fn assert_outlived(book: &Path) {
    let (store, opened) = RedbStore::open(book).unwrap();
    assert_eq!((opened.set_aside, opened.dropped), (None, 0));
    assert!(store.bans().unwrap().len() > 1);
}
