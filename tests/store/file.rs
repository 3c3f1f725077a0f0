//! The book's file: its contents, the files that are set aside, and the processes that may use it.

use crate::support::{Folder, address, ban, chance, host, is_long, peer, rich_peer, start};
use peerloop::internals::limits::{MAX_BANS, MAX_BOOK_BATCH, MAX_BOOK_FILE_BYTES, MAX_BOOK_PEERS, MAX_BOOK_SET_ASIDE};
use peerloop::store::{Change, FileStep, KnownPeer, Opened, PeerStore, RedbStore, StoreError, Unfit, UserAgent};
use peerloop::time::UnixTime;
use rand::RngExt;
use redb::{Database, TableDefinition};
use std::fs::{self, File};
use std::io;
use std::path::Path;

const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("peerloop");
const PEERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("peers");
const BANS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bans");

/// Creates a book with a peer and a ban.
fn small_book(path: &Path) -> RedbStore {
    let (mut store, opened) = RedbStore::open(path).unwrap();
    assert_eq!((opened.set_aside, opened.dropped), (None, 0));
    store.apply(&[Change::PutPeer(peer(1)), Change::PutBan(ban(1))]).unwrap();
    store
}

/// Opens a file that must be set aside for a reason that `is_why` accepts. Asserts that the file is kept whole and
/// that the new book works.
fn assert_set_aside(folder: &Folder, is_why: impl Fn(&Unfit) -> bool) {
    let before = fs::read(folder.book()).unwrap();
    let (mut store, opened) = RedbStore::open(folder.book()).unwrap();
    let set_aside = opened.set_aside.expect("the file is set aside");
    assert!(is_why(&set_aside.why), "{:?}", set_aside.why);
    assert_eq!(set_aside.path, folder.path().join("book.set-aside-1"));
    assert!(fs::read(&set_aside.path).unwrap() == before, "the file was changed");
    assert_eq!((store.list_all(), store.bans()), (Ok(Vec::new()), Ok(Vec::new())));
    store.put_ban(ban(3)).unwrap();
    drop(store);
    let (store, opened) = RedbStore::open(folder.book()).unwrap();
    assert_eq!((opened.set_aside, store.bans()), (None, Ok(vec![ban(3)])));
}

#[test]
fn req_e40_a_book_is_created_where_there_is_none_and_opened_again() {
    let folder = Folder::new();
    let store = small_book(&folder.book());
    assert_eq!(store.path(), folder.book());
    drop(store);
    let (store, opened) = RedbStore::open(folder.book()).unwrap();
    assert_eq!((opened.set_aside, opened.dropped), (None, 0));
    assert_eq!((store.list_all(), store.bans()), (Ok(vec![peer(1)]), Ok(vec![ban(1)])));
    assert_eq!(folder.others(), Vec::<String>::new());
}

#[test]
fn req_e37_every_field_is_read_back_from_the_file() {
    let folder = Folder::new();
    let mut rng = chance(9);
    let peers: Vec<KnownPeer> = (0..300).map(|number| rich_peer(number, &mut rng)).collect();
    let (mut store, _) = RedbStore::open(folder.book()).unwrap();
    let put = |peer: &KnownPeer| Change::PutPeer(peer.clone());
    let bans = (0..60).map(|number| Change::PutBan(ban(number)));
    store.apply(&peers.iter().map(put).chain(bans).collect::<Vec<_>>()).unwrap();
    drop(store);
    let (store, _) = RedbStore::open(folder.book()).unwrap();
    for peer in peers {
        assert_eq!(store.read(peer.address()).unwrap(), Some(peer));
    }
    let bans = store.bans().unwrap();
    assert!((0..60).all(|number| bans.contains(&ban(number))) && bans.len() == 60);
}

#[test]
fn fault_e10_an_empty_file_is_set_aside() {
    let folder = Folder::new();
    File::create(folder.book()).unwrap();
    assert_set_aside(&folder, |why| *why == Unfit::Empty);
}

/// Asserts that every way to open the file refuses it for the reason `why`, and changes neither the file nor its
/// folder.
fn assert_left_alone(folder: &Folder, why: &str) {
    let state = || {
        let metadata = fs::metadata(folder.book()).unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        (metadata.len(), metadata.modified().unwrap(), names)
    };
    let (before, bytes) = (state(), fs::read(folder.book()).unwrap());
    for refused in [
        RedbStore::open(folder.book()).map(|_| ()),
        RedbStore::open_existing(folder.book()).map(|_| ()),
        RedbStore::read_contents(folder.book()).map(|_| ()),
    ] {
        let (path, what) = (folder.book(), why.to_owned());
        assert_eq!(refused, Err(StoreError::Unfit { path, what }));
    }
    assert_eq!(state(), before);
    assert!(fs::read(folder.book()).unwrap() == bytes, "the file was changed");
}

#[test]
fn a_file_that_never_was_a_book_is_refused_and_not_changed() {
    for bytes in [&b"{\"peers\": []}"[..], b"redb is what begins this text", &[0; 8_192]] {
        let folder = Folder::new();
        fs::write(folder.book(), bytes).unwrap();
        assert_left_alone(&folder, "it is not an address book");
    }
}

#[test]
fn the_database_of_another_program_is_not_changed() {
    let folder = Folder::new();
    let database = Database::create(folder.book()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(PEERS).unwrap().insert(&b"a"[..], &b"b"[..]).unwrap();
    transaction.commit().unwrap();
    let crashed = fs::read(folder.book()).unwrap();
    drop(database);
    assert_left_alone(&folder, "it is not an address book");
    fs::write(folder.book(), crashed).unwrap();
    assert_left_alone(&folder, "it is not an address book");
}

/// Changes the book's tables without the store.
fn meddle(path: &Path, meddle: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    meddle(&transaction);
    transaction.commit().unwrap();
}

#[test]
fn fault_e10_a_book_of_a_later_version_is_set_aside() {
    let folder = Folder::new();
    drop(small_book(&folder.book()));
    meddle(&folder.book(), |transaction| {
        transaction.open_table(ABOUT).unwrap().insert("format", 2).unwrap();
    });
    let (store, opened) = RedbStore::open(folder.book()).unwrap();
    assert_eq!(opened.set_aside.unwrap().why, Unfit::FromTheFuture { format: 2 });
    assert_eq!(store.list_all(), Ok(Vec::new()));
}

#[test]
fn opening_an_existing_book_never_creates_a_book_or_changes_an_invalid_one() {
    let folder = Folder::new();
    let names = || {
        let entries = fs::read_dir(folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).filter(|name| name != "book.lock").count()
    };
    let missing = RedbStore::open_existing(folder.book()).unwrap_err();
    assert!(matches!(&missing, StoreError::File { kind: io::ErrorKind::NotFound, .. }), "{missing}");
    assert_eq!(names(), 0);
    drop(small_book(&folder.book()));
    let (store, dropped) = RedbStore::open_existing(folder.book()).unwrap();
    assert_eq!((store.bans(), dropped), (Ok(vec![ban(1)]), 0));
    assert!(matches!(RedbStore::open_existing(folder.book()), Err(StoreError::InUse { .. })));
    drop(store);
    let whole = fs::read(folder.book()).unwrap();
    for (bytes, why) in [
        (&b""[..], "it is empty"),
        (b"a shopping list", "it is not an address book"),
        (&whole[..whole.len() / 2], "it is damaged"),
    ] {
        fs::write(folder.book(), bytes).unwrap();
        let refused = RedbStore::open_existing(folder.book()).unwrap_err().to_string();
        let ending = "; it was not changed; move it away, or use another";
        assert!(refused.contains(why) && refused.ends_with(ending), "{refused}");
        assert!(fs::read(folder.book()).unwrap() == bytes, "{why}");
        assert_eq!(names(), 1);
    }
}

#[test]
fn fault_e10_a_file_above_the_cap_is_refused_and_no_other_file_is_created() {
    let folder = Folder::new();
    File::create(folder.book()).unwrap().set_len(MAX_BOOK_FILE_BYTES + 1).unwrap();
    let what = format!("it has {} bytes, more than any address book", MAX_BOOK_FILE_BYTES + 1);
    let path = folder.book();
    assert_eq!(RedbStore::open(&path).map(|_| ()), Err(StoreError::Unfit { path, what }));
    assert_eq!(folder.names(), ["book"]);
}

#[test]
fn a_book_is_read_without_a_change_to_it_or_its_folder() {
    let folder = Folder::new();
    let store = small_book(&folder.book());
    let crashed = fs::read(folder.book()).unwrap();
    drop(store);
    let closed = fs::read(folder.book()).unwrap();
    for bytes in [crashed, closed] {
        let folder = Folder::new();
        fs::write(folder.book(), &bytes).unwrap();
        let mut permissions = fs::metadata(folder.book()).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(folder.book(), permissions).unwrap();
        let before = fs::metadata(folder.book()).unwrap().modified().unwrap();
        let contents = RedbStore::read_contents(folder.book()).unwrap();
        assert_eq!((contents.peers, contents.bans, contents.skipped), (vec![peer(1)], vec![ban(1)], 0));
        assert!(fs::read(folder.book()).unwrap() == bytes, "the file was changed");
        assert_eq!(fs::metadata(folder.book()).unwrap().modified().unwrap(), before);
        assert_eq!(folder.names(), ["book"]);
    }
}

#[test]
fn a_book_that_a_store_has_open_is_not_read() {
    let folder = Folder::new();
    let store = small_book(&folder.book());
    let in_use = Err(StoreError::InUse { path: folder.book() });
    assert_eq!(RedbStore::read_contents(folder.book()).map(|_| ()), in_use);
    // The database's own locks are enough, without the lock file.
    fs::remove_file(folder.path().join("book.lock")).unwrap();
    assert_eq!(RedbStore::read_contents(folder.book()).map(|_| ()), in_use);
    drop(store);
    assert!(RedbStore::read_contents(folder.book()).is_ok());
}

#[test]
fn fault_e10_a_truncated_book_is_set_aside() {
    let folder = Folder::new();
    drop(small_book(&folder.book()));
    let whole = fs::read(folder.book()).unwrap();
    for len in [1, 8, 9, 10, 63, 64, 319, 320, 4_095, 4_096, 8_192, whole.len() / 2, whole.len() - 1] {
        let folder = Folder::new();
        fs::write(folder.book(), &whole[..len]).unwrap();
        assert_set_aside(&folder, |why| matches!(why, Unfit::Damaged { .. } | Unfit::Foreign));
    }
}

#[test]
fn files_set_aside_are_never_overwritten_and_their_number_is_bounded() {
    let folder = Folder::new();
    drop(small_book(&folder.book()));
    let whole = fs::read(folder.book()).unwrap();
    let spoilt = |number: u32| &whole[..100 + number as usize];
    fs::write(folder.path().join("book.set-aside-2"), "somebody's own").unwrap();
    for number in (1..=MAX_BOOK_SET_ASIDE).filter(|number| *number != 2) {
        fs::write(folder.book(), spoilt(number)).unwrap();
        let (_, opened) = RedbStore::open(folder.book()).unwrap();
        assert!(opened.set_aside.unwrap().path.ends_with(format!("book.set-aside-{number}")));
    }
    fs::write(folder.book(), spoilt(1_000)).unwrap();
    let error = RedbStore::open(folder.book()).unwrap_err();
    assert!(matches!(error, StoreError::File { step: FileStep::SetAside, kind: io::ErrorKind::AlreadyExists, .. }));
    assert!(error.to_string().contains("remove some"), "{error}");
    assert!(fs::read(folder.book()).unwrap() == spoilt(1_000));
    assert_eq!(fs::read(folder.path().join("book.set-aside-2")).unwrap(), b"somebody's own");
    assert!(fs::read(folder.path().join("book.set-aside-3")).unwrap() == spoilt(3));
}

#[test]
fn a_book_in_use_is_not_reported_as_damaged() {
    let folder = Folder::new();
    let store = small_book(&folder.book());
    let error = RedbStore::open(folder.book()).unwrap_err();
    assert_eq!(error, StoreError::InUse { path: folder.book() });
    assert!(error.to_string().contains("in use"), "{error}");
    drop(store);
    assert_eq!(RedbStore::open(folder.book()).unwrap().0.list_all(), Ok(vec![peer(1)]));
    assert_eq!(folder.others(), Vec::<String>::new());
}

#[test]
fn a_book_that_another_program_has_open_is_reported_as_in_use() {
    let folder = Folder::new();
    drop(small_book(&folder.book()));
    let other = Database::open(folder.book()).unwrap();
    assert_eq!(RedbStore::open(folder.book()).unwrap_err(), StoreError::InUse { path: folder.book() });
    drop(other);
    assert_eq!(RedbStore::open(folder.book()).unwrap().0.list_all(), Ok(vec![peer(1)]));
}

#[test]
fn a_refusal_by_the_system_is_an_error_with_path_cause_and_remedy() {
    let folder = Folder::new();
    let error = RedbStore::open(folder.path().join("none/book")).unwrap_err();
    assert!(matches!(error, StoreError::File { kind: io::ErrorKind::NotFound, .. }));
    assert!(error.to_string().contains("none/book") && error.to_string().contains("create the folder"), "{error}");
    let error = RedbStore::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::File { step: FileStep::Open, kind: io::ErrorKind::IsADirectory, .. }));
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_is_followed_and_all_files_of_the_book_are_next_to_its_target() {
    let folder = Folder::new();
    let real = folder.path().join("elsewhere");
    std::os::unix::fs::symlink(&real, folder.book()).unwrap();
    // No book is created at the link's target, because the target may be missing only temporarily.
    let error = RedbStore::open(folder.book()).unwrap_err();
    assert!(matches!(error, StoreError::File { step: FileStep::Open, kind: io::ErrorKind::NotFound, .. }), "{error:?}");
    assert!(error.to_string().contains("the target of the symbolic link"), "{error}");
    assert!(folder.book().is_symlink() && folder.others().is_empty());

    drop(small_book(&real));
    let whole = fs::read(&real).unwrap();
    let store = RedbStore::open(folder.book()).unwrap().0;
    assert_eq!(store.list_all(), Ok(vec![peer(1)]));
    assert!(
        matches!(RedbStore::open(&real), Err(StoreError::InUse { .. })),
        "the book was not reported as in use under its other name"
    );
    drop(store);
    fs::write(&real, &whole[..whole.len() / 2]).unwrap();
    let (_, opened) = RedbStore::open(folder.book()).unwrap();
    assert_eq!(opened.set_aside.unwrap().path, fs::canonicalize(folder.path()).unwrap().join("elsewhere.set-aside-1"));
    assert!(fs::read(folder.path().join("elsewhere.set-aside-1")).unwrap() == whole[..whole.len() / 2]);
    assert!(folder.book().is_symlink(), "the symbolic link was replaced");
    assert_eq!(folder.names(), ["book", "elsewhere", "elsewhere.lock", "elsewhere.set-aside-1"]);
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_refused_without_blocking() {
    let folder = Folder::new();
    let made = start(std::process::Command::new("mkfifo").arg(folder.book())).wait();
    assert!(made.unwrap().success());
    let error = RedbStore::open(folder.book()).unwrap_err();
    assert!(matches!(error, StoreError::File { step: FileStep::Open, kind: io::ErrorKind::Unsupported, .. }));
    assert!(error.to_string().contains("use an ordinary file"), "{error}");
    assert_eq!(folder.others(), Vec::<String>::new());
}

#[test]
fn an_obstacle_to_a_new_book_is_named_if_it_cannot_be_removed() {
    let folder = Folder::new();
    fs::write(folder.path().join("book.new"), "half a book").unwrap();
    drop(small_book(&folder.book()));
    assert_eq!(folder.others(), Vec::<String>::new(), "the half-written file was not removed");
    fs::remove_file(folder.book()).unwrap();
    fs::create_dir(folder.path().join("book.new")).unwrap();
    let error = RedbStore::open(folder.book()).unwrap_err();
    assert!(matches!(error, StoreError::File { step: FileStep::Create, .. }), "{error:?}");
    assert!(error.to_string().contains("book.new"), "{error}");
}

#[cfg(unix)]
#[test]
fn opening_a_book_without_write_permission_is_an_error_and_does_not_change_it() {
    use std::os::unix::fs::PermissionsExt;
    let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let refused = |step| {
        move |error: StoreError| {
            let is_as_said = matches!(
                &error,
                StoreError::File { step: of, kind: io::ErrorKind::PermissionDenied, .. } if *of == step
            );
            assert!(is_as_said && error.to_string().contains("allow this process to write"), "{error}");
        }
    };
    let folder = Folder::new();
    drop(small_book(&folder.book()));
    allow(&folder.book(), 0o400);
    // The test is skipped for root, because permissions do not restrict root.
    if fs::OpenOptions::new().write(true).open(folder.book()).is_ok() {
        println!("skipped: permissions do not restrict this user");
        return;
    }
    fs::remove_file(folder.path().join("book.lock")).unwrap();
    RedbStore::open(folder.book()).map(|_| ()).map_err(refused(FileStep::Open)).unwrap_err();
    RedbStore::open_existing(folder.book()).map(|_| ()).map_err(refused(FileStep::Open)).unwrap_err();
    assert_eq!(folder.names(), ["book"], "the folder has a file other than the refused book");
    assert_eq!(RedbStore::read_contents(folder.book()).unwrap().peers, [peer(1)]);
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    let spoilt = &fs::read(folder.book()).unwrap()[..100];
    fs::write(closed.join("book"), spoilt).unwrap();
    fs::write(closed.join("book.lock"), "").unwrap();
    allow(&closed, 0o500);
    RedbStore::open(closed.join("book")).map(|_| ()).map_err(refused(FileStep::SetAside)).unwrap_err();
    RedbStore::open(closed.join("another")).map(|_| ()).map_err(refused(FileStep::Lock)).unwrap_err();
    assert!(fs::read(closed.join("book")).unwrap() == spoilt);
    allow(&closed, 0o700);
    allow(&folder.book(), 0o600);
    assert_eq!(RedbStore::open(folder.book()).unwrap().0.list_all(), Ok(vec![peer(1)]));
}

#[test]
fn invalid_records_are_dropped_and_counted() {
    let folder = Folder::new();
    drop(small_book(&folder.book()));
    let key = |number: u8| [4, 9, 9, 9, number, 0x20, 0x8d];
    let value = |status: u8, flag: u8, agent: &[u8]| {
        [&[status][..], &[0; 8], &[flag], &[0; 8], &[0; 12], &[agent.len() as u8], agent].concat()
    };
    let good = value(0, 0, b"/fine/");
    meddle(&folder.book(), |transaction| {
        let mut peers = transaction.open_table(PEERS).unwrap();
        let mut put = |key: &[u8], value: &[u8]| {
            peers.insert(key, value).unwrap();
        };
        put(&key(0), &good);
        put(&key(1), &value(9, 0, b""));
        put(&key(2), &value(16 + 5, 0, b""));
        put(&key(3), &value(0, 2, b""));
        put(&key(4), &value(0, 0, b"esc \x1b"));
        put(&key(5), &good[..good.len() - 1]);
        put(&key(6), &[&good[..], &[0]].concat());
        put(&key(7), &[]);
        put(&[4, 9, 9, 9, 9], &good);
        put(&[5, 9, 9, 9, 9, 0, 1], &good);
        put(&[], &good);
        let mapped = [&[6][..], &[0; 10], &[0xff; 2], &[9; 4], &[0x20, 0x8d]].concat();
        put(&mapped, &good);
        drop(peers);
        let mut bans = transaction.open_table(BANS).unwrap();
        bans.insert(&[4, 9, 9, 9, 9][..], &[&[5][..], &[0; 17]].concat()[..]).unwrap();
        bans.insert(&[6, 9, 9, 9, 9][..], &[0; 18][..]).unwrap();
        bans.insert(&[4, 8, 8, 8, 8][..], &[0; 18][..]).unwrap();
    });
    let contents = RedbStore::read_contents(folder.book()).unwrap();
    assert_eq!((contents.peers.len(), contents.bans.len(), contents.skipped), (2, 2, 13));
    let (store, opened) = RedbStore::open(folder.book()).unwrap();
    assert_eq!((opened.set_aside, opened.dropped), (None, 13));
    let addresses: Vec<_> = store.list_all().unwrap().iter().map(KnownPeer::address).collect();
    assert_eq!(addresses, ["9.9.9.0:8333".parse().unwrap(), address(1)]);
    assert_eq!(store.bans().unwrap().len(), 2);
    drop(store);
    assert_eq!(RedbStore::open(folder.book()).unwrap().1.dropped, 0);
}

#[test]
fn a_full_book_that_is_rewritten_repeatedly_stays_well_within_the_cap() {
    let folder = Folder::new();
    let (mut store, _) = RedbStore::open(folder.book()).unwrap();
    let mut rng = chance(4);
    let longest = |number: u32, failures: u32| {
        let mut peer = KnownPeer::new(address(number), UnixTime::from_secs(i64::MAX));
        (peer.user_agent, peer.failures) = (UserAgent::sanitised(&[b'a'; 256]), failures);
        Change::PutPeer(peer)
    };
    let mut largest = 0;
    for first in (0..MAX_BOOK_PEERS as u32).step_by(MAX_BOOK_BATCH) {
        let batch = first..first + MAX_BOOK_BATCH as u32;
        store.apply(&batch.clone().map(|number| longest(number, 0)).collect::<Vec<_>>()).unwrap();
        store.apply(&batch.map(|number| Change::PutBan(ban(number))).collect::<Vec<_>>()).unwrap();
    }
    for failures in 1..if is_long() { 300 } else { 20 } {
        let any = |rng: &mut rand::rngs::StdRng| rng.random_range(0..MAX_BOOK_PEERS as u32);
        let mut changes: Vec<Change> = (0..MAX_BOOK_BATCH).map(|_| longest(any(&mut rng), failures)).collect();
        // Some peers are removed and added again. Their hosts' bans are removed.
        let gone: Vec<u32> = (0..500).map(|_| any(&mut rng)).collect();
        changes.extend(gone.iter().map(|number| Change::RemovePeer(address(*number))));
        changes.extend(gone.iter().map(|number| Change::RemoveBan(host(*number))));
        changes.extend(gone.iter().map(|number| longest(*number, failures)));
        store.apply(&changes).unwrap();
        largest = largest.max(fs::metadata(folder.book()).unwrap().len());
    }
    assert!(largest <= MAX_BOOK_FILE_BYTES / 5 * 3, "the file had {largest} bytes");
    println!("the largest file had {largest} bytes");
    assert_eq!(store.list_all().unwrap().len(), MAX_BOOK_PEERS);
    assert!(store.bans().unwrap().len() <= MAX_BANS);
    drop(store);
    let (_, Opened { set_aside, dropped, .. }) = RedbStore::open(folder.book()).unwrap();
    assert_eq!((set_aside, dropped), (None, 0));
}
