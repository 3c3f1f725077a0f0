//! `peers`: shows and changes the book of a stopped node.
//!
//! A running node locks its book: every command but `allow` then fails with a one-line error. If there is no book,
//! `import` creates it, and every other command but `allow` fails. No command changes or moves a file that is not a
//! book. `list`, `show` and `export` read the book without changing it, and need no write permission.

mod lines;
mod show;

use crate::book::{self, Known};
use crate::cli::{PeersArgs, PeersCommand};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::run::settings_file;
use crate::settings::{Effective, SettingFlags, Settings};
use crate::units::unix_time;
use peerloop::address::Host;
use peerloop::ban::{Ban, BanReason};
use peerloop::store::{Change, KnownPeer, PeerStatus, PeerStore, RedbStore};
use peerloop::time::UnixTime;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

pub(crate) fn run(args: &PeersArgs) -> Result<Exit, Failure> {
    let file = settings_file(args.config.as_deref())?;
    let book = SettingFlags::of_book(args.book.as_deref());
    let settings = Settings::load(&book, std::env::vars_os(), file.as_ref())?;
    output::print(&carry_out(&args.command, &settings)?).map(|()| Exit::Success)
}

/// Carries out the command, and returns the text to print.
fn carry_out(command: &PeersCommand, settings: &Effective) -> Result<String, Failure> {
    let opened = || open(book_of(settings)?);
    match command {
        PeersCommand::List { status, json } => {
            let Known { mut peers, mut bans } = read(book_of(settings)?)?;
            if let Some(status) = status {
                peers.retain(|peer| peer.status.is_like(*status));
                bans.clear();
            }
            if *json { lines::document(&peers, &bans) } else { Ok(show::list(&peers, &bans)) }
        }
        PeersCommand::Show { wanted, json } => {
            let Known { mut peers, mut bans } = read(book_of(settings)?)?;
            peers.retain(|peer| wanted.is(peer.address()));
            bans.retain(|ban| ban.host == wanted.host());
            if peers.is_empty() && bans.is_empty() {
                return Err(Failure::run(format!("the address book does not list {wanted}; `peers list` shows all")));
            }
            if *json { lines::document(&peers, &bans) } else { Ok(show::each(&peers, &bans)) }
        }
        PeersCommand::Ban { ip, duration } => ban(&mut opened()?, *ip, *duration),
        PeersCommand::Unban { ip } => unban(&mut opened()?, *ip),
        PeersCommand::Allow { network } => Ok(allowing(settings, *network)),
        PeersCommand::Import { file } => import(book_of(settings)?, file),
        PeersCommand::Export => {
            let Known { peers, bans } = read(book_of(settings)?)?;
            lines::export(&peers, &bans)
        }
    }
}

fn book_of(settings: &Effective) -> Result<&Path, Failure> {
    let what = "no address book; name it with --book FILE, PEERLOOP_BOOK, or `book` in a settings file";
    settings.node.book.as_deref().ok_or_else(|| Failure::usage(what))
}

/// Reads an existing book.
fn read(path: &Path) -> Result<Known, Failure> {
    check_is_there(path)?;
    book::read(path)
}

/// Opens an existing book.
fn open(path: &Path) -> Result<RedbStore, Failure> {
    check_is_there(path)?;
    let (store, dropped) = RedbStore::open_existing(path)?;
    book::report_dropped(path, dropped);
    Ok(store)
}

fn check_is_there(path: &Path) -> Result<(), Failure> {
    match path.exists() || path.is_symlink() {
        true => Ok(()),
        false => Err(Failure::run(format!("there is no address book {}; `run --book` creates one", path.display()))),
    }
}

/// Adds the content of `file` to the book, which is created if it does not exist.
fn import(path: &Path, file: &Path) -> Result<String, Failure> {
    // Errors in the file are found before a book is created.
    let changes = lines::read(file)?;
    let is_begun = !path.exists();
    let mut store = if is_begun { book::open(path)? } else { open(path)? };
    if let Err(error) = store.apply(&changes) {
        if is_begun {
            // The new book is empty, and no other process has it open.
            let _ = std::fs::remove_file(store.path());
        }
        return Err(Failure::run(format!("{error}; nothing was imported")));
    }
    let bans = changes.iter().filter(|change| matches!(change, Change::PutBan(_))).count();
    Ok(format!("imported into {}: peers {}, bans {bans}\n", path.display(), changes.len() - bans))
}

fn ban(store: &mut RedbStore, ip: IpAddr, duration: Option<Duration>) -> Result<String, Failure> {
    let (host, since) = (Host::of(ip), now());
    let until = duration.map(|duration| {
        UnixTime::from_secs(
            since.as_secs().saturating_add(i64::try_from(duration.as_secs().max(1)).unwrap_or(i64::MAX)),
        )
    });
    let ban = Ban { host, reason: BanReason::Manual, since, until };
    let mut changes = vec![Change::PutBan(ban)];
    let status = PeerStatus::Banned(BanReason::Manual);
    changes.extend(of_host(store, host)?.into_iter().map(|peer| with_status(peer, status, since)));
    store.apply(&changes)?;
    Ok(format!("banned {host} {}\n", show::end_of(&ban)))
}

fn unban(store: &mut RedbStore, ip: IpAddr) -> Result<String, Failure> {
    let host = Host::of(ip);
    let bans = store.bans()?.into_iter().filter(|ban| ban.host == host);
    let peers = of_host(store, host)?.into_iter().filter(|peer| matches!(peer.status, PeerStatus::Banned(_)));
    let unbanned = peers.map(|peer| with_status(peer, PeerStatus::Unknown, now()));
    let changes: Vec<Change> = bans.map(|ban| Change::RemoveBan(ban.host)).chain(unbanned).collect();
    if changes.is_empty() {
        return Err(Failure::run(format!("{host} is not banned; `peers list` shows all bans")));
    }
    store.apply(&changes)?;
    Ok(format!("{host} is no longer banned\n"))
}

fn with_status(mut peer: KnownPeer, status: PeerStatus, since: UnixTime) -> Change {
    (peer.status, peer.status_since) = (status, since);
    Change::PutPeer(peer)
}

fn of_host(store: &RedbStore, host: Host) -> Result<Vec<KnownPeer>, Failure> {
    Ok(store.list_all()?.into_iter().filter(|peer| Host::of(peer.address().ip()) == host).collect())
}

/// Returns the setting `trusted` with `network` added, as lines for a running node's settings file.
fn allowing(settings: &Effective, network: (IpAddr, u8)) -> String {
    let manager = settings.node.config.manager.as_ref().expect("the settings have a manager");
    let mut networks = manager.trusted.clone();
    if !networks.contains(&network) {
        networks.push(network);
    }
    let texts: Vec<String> = networks.iter().map(|(address, bits)| format!("\"{address}/{bits}\"")).collect();
    format!(
        "# Put this into the settings file in place of any other `trusted`; a running node reads it on SIGHUP.\n\
         trusted = [{}]\n",
        texts.join(", ")
    )
}

fn now() -> UnixTime {
    unix_time(SystemTime::now()).0
}
