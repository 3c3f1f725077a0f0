//! A process that writes the book is killed at a random moment. The book then contains everything that was reported
//! as durable.
//!
//! The test runs itself as a child. The child writes batches, and reports on a pipe when it begins to commit a batch
//! and when the batch is durable. The parent kills the child and opens the book. The book must have the whole state
//! after the last durable batch, or after the batch that was being committed: no mixture of two states, and no
//! earlier state.

use crate::support::{Folder, address, ban, chance, host, is_long, peer, start};
use peerloop::ban::Ban;
use peerloop::store::{Change, KnownPeer, PeerStore, RedbStore};
use peerloop::time::UnixTime;
use rand::RngExt;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The environment variable that makes this test run as the child process. Its value is the book's path.
const CHILD: &str = "PEERLOOP_TEST_KILLED";
const TEST: &str = "killed::fault_e11_nothing_durable_is_lost_whenever_the_process_is_killed";
const BEGUN: &str = "begun";
const DURABLE: &str = "durable";

const PEERS: u32 = 300;
const BANS_PER_BATCH: u32 = 8;
/// The number of batches after which a batch's bans are removed.
const BATCHES_BANNED: u32 = 50;

#[test]
#[expect(clippy::disallowed_methods, reason = "the child is killed at an arbitrary instant")]
fn fault_e11_nothing_durable_is_lost_whenever_the_process_is_killed() {
    if let Some(book) = std::env::var_os(CHILD) {
        write_for_ever(&PathBuf::from(book));
    }
    let folder = Folder::new();
    let mut rng = chance(11);
    let kills = if is_long() { 1_000 } else { 20 };
    let (mut inside, mut state) = (0, 0);
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", TEST, "--nocapture"]).env(CHILD, folder.book());
        let mut child = start(child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()));
        let mut reports = BufReader::new(child.stderr.take().unwrap()).lines();
        // In three of four cases, the parent waits for the child's first report. In the others, the child may be
        // killed before it has created or opened the book.
        let mut lines: Vec<String> = Vec::new();
        if rng.random_range(0..4) > 0 {
            lines.extend(reports.next().map(|line| line.unwrap()));
        }
        std::thread::sleep(Duration::from_micros(rng.random_range(0..150_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        lines.extend(reports.map(|line| line.unwrap()));
        let numbers = |word: &str| -> Vec<u32> {
            lines.iter().filter_map(|line| line.strip_prefix(word)?.trim().parse().ok()).collect()
        };
        let durable = numbers(DURABLE).last().copied().unwrap_or(state);
        let begun = numbers(BEGUN).last().copied().unwrap_or(durable);
        inside += usize::from(begun > durable);
        state = found(&folder.book(), &[durable, begun], kill);
    }
    println!("{kills} kills, {inside} of them inside a commit, {state} batches");
    assert!(inside * 10 >= kills * 3, "only {inside} of {kills} kills fell inside a commit");
}

/// Commits batch after batch until the process is killed, and reports the start and the end of each commit.
fn write_for_ever(book: &Path) -> ! {
    let (mut store, opened) = RedbStore::open(book).unwrap();
    assert_eq!((opened.set_aside, opened.dropped), (None, 0));
    let mut number = store.read(address(0)).unwrap().map_or(0, |peer| peer.failures);
    // Each line is one write, so that the parent never reads half a number.
    let say = |word, number| std::io::stderr().write_all(format!("{word} {number}\n").as_bytes()).unwrap();
    loop {
        number += 1;
        say(BEGUN, number);
        store.apply(&batch(number)).unwrap();
        say(DURABLE, number);
    }
}

fn batch(number: u32) -> Vec<Change> {
    let mut changes: Vec<Change> = bans(number).map(Change::PutBan).collect();
    let gone = number.saturating_sub(BATCHES_BANNED);
    changes.extend(bans(gone).map(|ban| Change::RemoveBan(ban.host)));
    changes.extend(peers(number).map(Change::PutPeer));
    changes
}

fn bans(number: u32) -> impl Iterator<Item = Ban> {
    let hosts = number * BANS_PER_BATCH..(number + 1) * BANS_PER_BATCH;
    hosts.map(move |of| Ban { host: host(of), since: UnixTime::from_secs(number.into()), ..ban(of) })
}

fn peers(number: u32) -> impl Iterator<Item = KnownPeer> {
    (0..PEERS).map(move |of| {
        let mut peer = peer(of);
        peer.failures = number;
        peer
    })
}

/// Returns the number of the book's last batch. Asserts that the number is one of `allowed`, and that the book has
/// the whole state after that batch.
fn found(book: &Path, allowed: &[u32], kill: usize) -> u32 {
    let (store, opened) = RedbStore::open(book).unwrap();
    assert_eq!((opened.set_aside, opened.dropped), (None, 0), "kill {kill}");
    let found = store.read(address(0)).unwrap().map_or(0, |peer| peer.failures);
    assert!(allowed.contains(&found), "kill {kill}: the book has batch {found}, not one of {allowed:?}");
    let mut expected: Vec<KnownPeer> = peers(found).filter(|_| found > 0).collect();
    expected.sort_by_key(KnownPeer::address);
    assert!(store.list_all().unwrap() == expected, "kill {kill}: the peers differ from batch {found}");
    let mut expected: Vec<Ban> = (1..=found).rev().take(BATCHES_BANNED as usize).flat_map(bans).collect();
    expected.sort_by_key(|ban| ban.host);
    assert!(store.bans().unwrap() == expected, "kill {kill}: the bans differ from batch {found}");
    found
}
