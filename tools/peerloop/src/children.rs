//! Runs of this program as processes of their own, one after the other.
//!
//! Each run starts with fresh memory and fresh ports, so no run profits from the one before. Signals are passed on to
//! the run in progress, which then ends in order; on Linux a run also ends if this process is killed.

use crate::exit::{Failure, Stop, Stops};
use crate::notices::{Notice, Notices};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The hidden flag that makes a bench a run of another process. It must be the first one.
const CHILD: &str = "--child";

/// Runs `bench` with these arguments, and returns its exit code. Its errors are shown; its report is not.
pub(crate) fn bench(notices: &Notices, stops: &mut Stops, arguments: &[OsString]) -> Result<u8, Failure> {
    let failed = |error: std::io::Error| Failure::machine(format!("starting a run: {error}"));
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(program);
    command.arg("bench").arg(CHILD).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().map_err(failed)?;
    let pid = Pid::from_child(&child);
    let waiting = notices.spawn("run", move || child.wait())?;
    loop {
        match notices.next(None) {
            Some(Notice::Stop(stop)) => {
                stops.note(stop);
                // The run may have ended by itself meanwhile.
                let _ = kill_process(pid, signal(stop));
            }
            Some(Notice::Ended) | None => break,
            Some(Notice::Rate(_) | Notice::Bell) => {}
        }
    }
    let status = waiting.join().map_err(|_| Failure::run("waiting for a run: the thread panicked"))?.map_err(failed)?;
    // A run that a signal killed has no code of its own.
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn signal(stop: Stop) -> Signal {
    match stop {
        Stop::HungUp => Signal::HUP,
        Stop::Interrupted => Signal::INT,
        Stop::Terminated => Signal::TERM,
    }
}

/// Waits before the next run, until a signal arrives.
pub(crate) fn pause(notices: &Notices, stops: &mut Stops, time: Duration) {
    let end = Instant::now() + time;
    while !stops.is_any() {
        let left = end.saturating_duration_since(Instant::now());
        match notices.next(Some(left)) {
            Some(Notice::Stop(stop)) => drop(stops.note(stop)),
            Some(Notice::Ended | Notice::Rate(_) | Notice::Bell) => {}
            None => return,
        }
    }
}

/// Creates the folder for the runs' folders. Refuses one that holds anything, which would count as a run.
pub(crate) fn create_folder(path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    let failed = |error: std::io::Error| Failure::run(format!("-o {shown}: creating the folder: {error}"));
    fs::create_dir_all(path).map_err(failed)?;
    match fs::read_dir(path).map_err(failed)?.next() {
        None => Ok(()),
        Some(_) => Err(Failure::usage(format!("-o {shown}: the folder is not empty; name an empty or a new folder"))),
    }
}

/// Returns the name of a run's folder: `001` for the first.
pub(crate) fn folder_name(number: usize) -> String {
    format!("{number:03}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn only_an_empty_folder_holds_new_runs() {
        let folder = peerloop_testkit::Folder::new(std::env::temp_dir());
        let path = folder.path().join("a/b");
        assert_eq!(create_folder(&path), Ok(()));
        assert_eq!(create_folder(&path), Ok(()));
        fs::write(path.join("notes"), "mine").unwrap();
        let refused = create_folder(&path).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        assert!(refused.message.contains("is not empty"), "{}", refused.message);
        assert!(create_folder(&path.join("notes/c")).unwrap_err().message.contains("creating the folder"));
    }

    #[test]
    fn folders_of_runs_sort_by_their_numbers() {
        assert_eq!([1, 42, 999].map(folder_name), ["001", "042", "999"]);
    }
}
