//! `bench --tui` on a terminal of its own, which the test plays.

use crate::live::{address_of_metrics, scrape_until};
use crate::{ResultFile, command, peerloop};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

/// Starts the alternate screen of a terminal, and ends it.
const SCREEN: [&str; 2] = ["\x1b[?1049h", "\x1b[?1049l"];

/// The sample of the planned rate.
const RATE: &str = "peerloop_bench_planned_rate{network=\"regtest\"}";

/// A terminal: the end of the test, and the end of the program.
struct Terminal {
    own: File,
    shown: File,
}

impl Terminal {
    fn open() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let own = openpt(flags).expect("the system has terminals");
        grantpt(&own).and_then(|()| unlockpt(&own)).expect("the terminal is ours");
        let name = ptsname(&own, Vec::new()).expect("the terminal has a name");
        let name = name.to_str().expect("the text is UTF-8");
        let shown = OpenOptions::new().read(true).write(true).open(name).expect("the file exists");
        let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&shown, size).expect("the terminal has a size");
        Self { own: own.into(), shown }
    }

    /// Starts the program in a session of its own, whose terminal this is.
    fn start(&self, arguments: &[&str]) -> Child {
        let end = || Stdio::from(self.shown.try_clone().expect("a descriptor is free"));
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command(&[]).get_program()).args(arguments);
        session.env("TERM", "xterm").stdin(end()).stderr(end()).stdout(Stdio::piped());
        session.spawn().expect("setsid is installed")
    }

    /// Reads the program's output until it contains `part`.
    fn read_until(&mut self, part: &str, text: &mut String) {
        let mut bytes = [0; 4096];
        while !text.contains(part) {
            let count = self.own.read(&mut bytes).expect("the terminal can be read");
            *text += &String::from_utf8_lossy(&bytes[..count]);
        }
    }
}

#[test]
fn the_live_view_obeys_its_keys_and_restores_the_terminal() {
    let (mut terminal, file) = (Terminal::open(), ResultFile::new("live-view.json"));
    let before = tcgetattr(&terminal.shown).expect("the terminal has settings");
    let load = ["bench", "--tui", "-c", "3", "-r", "300", "-d", "1h", "--warmup", "0s", "--json", file.path()];
    let mut run = terminal.start(&[&load[..], &["--metrics-addr", "127.0.0.1:0"]].concat());
    let mut stdout = BufReader::new(run.stdout.take().expect("stdout is piped"));
    let address = address_of_metrics(|| {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the output can be read");
        line
    });
    let mut text = String::new();
    // The chart of the lags is drawn once an interval has ended.
    terminal.read_until("send p99", &mut text);
    assert!(text.contains(SCREEN[0]) && !text.contains(SCREEN[1]), "{text:?}");
    let during = tcgetattr(&terminal.shown).expect("the terminal has settings");
    assert!(!during.local_modes.intersects(LocalModes::ECHO | LocalModes::ICANON));
    assert!(during.local_modes.contains(LocalModes::ISIG), "Ctrl-C raises no signal");
    terminal.own.write_all(b"x+").expect("the terminal can be written");
    scrape_until(&address, |samples| samples.get(RATE) == Some(&330.0));
    terminal.own.write_all(b"q").expect("the terminal can be written");
    terminal.read_until(SCREEN[1], &mut text);
    let mut report = String::new();
    stdout.read_to_string(&mut report).expect("the program writes UTF-8");
    assert_eq!(run.wait().expect("the program ends").code(), Some(130));
    assert!(report.contains("\nPeers ") && !report.contains('\x1b'), "{report}");
    let changes = file.json()["run"]["rate_changes"].as_array().expect("the run lists the changes").len();
    assert_eq!(changes, 1);
    let after = tcgetattr(&terminal.shown).expect("the terminal has settings");
    assert_eq!(after.local_modes, before.local_modes);
    assert_eq!(format!("{:?}", after.special_codes), format!("{:?}", before.special_codes));
}

#[test]
fn without_a_terminal_the_live_view_is_the_usual_progress() {
    let run = peerloop(&["bench", "--tui", "-c", "2", "-r", "20", "-d", "1s", "--warmup", "0s"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(!run.stderr.contains('\x1b') && run.stdout.contains("\nPeers "), "{}", run.stderr);
    let refused = peerloop(&["bench", "--tui", "-q"]);
    assert_eq!(refused.code, Some(2));
}
