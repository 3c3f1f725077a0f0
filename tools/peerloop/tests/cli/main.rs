//! The program from a user's point of view: run as a process, checked by exit code, stdout and stderr.
//!
//! All connections stay on loopback. Time limits are many times the expected durations.

mod bench;
mod comparing;
mod doctor;
mod find;
mod foreign_logs;
mod live;
#[cfg(all(feature = "tui", target_os = "linux"))]
mod live_view;
mod merging;
mod observing;
mod peers;
mod probe;
mod process;
mod relay;
mod relaying;
mod results;
mod run;
mod schema;
mod scripted;
mod serve;
mod serving;
mod shape;
#[cfg(feature = "sim")]
mod sim;
mod starved;
mod streams;
mod thresholds;
mod usage;
mod workloads;

use peerloop_testkit::Folder;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

/// The arguments that start a node on a free port.
const SERVE: [&str; 5] = ["serve", "--network", "regtest", "--listen", "127.0.0.1:0"];

/// The result of a finished run.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Returns the one line on stderr that describes the error.
    #[track_caller]
    pub(crate) fn complaint(&self) -> &str {
        let lines: Vec<&str> = self.stderr.lines().filter(|line| line.starts_with("peerloop: ")).collect();
        assert_eq!(lines.len(), 1, "stderr does not have exactly one error line: {}", self.stderr);
        lines[0]
    }
}

/// Runs the program to its end.
pub(crate) fn peerloop(arguments: &[&str]) -> Finished {
    let output = command(arguments).output().expect("the program starts");
    Finished { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("the program writes UTF-8")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peerloop"));
    command.args(arguments).stdin(Stdio::null());
    // The settings of the user who runs the tests must not apply.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PEERLOOP_")) {
        command.env_remove(name);
    }
    command
}

/// The running program; it is killed when the value is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: BufReader<ChildStderr>,
    /// The text read from stderr so far.
    stderr_text: String,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawn(command(arguments))
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let stdout = child.stdout.take().map(BufReader::new);
        let stderr = BufReader::new(child.stderr.take().expect("the stream is piped"));
        Self { child, stdout, stderr, stderr_text: String::new() }
    }

    /// Starts a node on a free port, and returns it with its address.
    pub(crate) fn serve(arguments: &[&str]) -> (Self, String) {
        let mut node = Self::start(&[&SERVE, arguments].concat());
        let address = node.address();
        (node, address)
    }

    /// Starts a node on a free port, and returns it with its address. The node may have at most `descriptors` open
    /// descriptors.
    pub(crate) fn serve_under(descriptors: u64) -> (Self, String) {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_peerloop")]).args(SERVE).stdin(Stdio::null());
        let mut node = Self::spawn(shell);
        let address = node.address();
        (node, address)
    }

    fn address(&mut self) -> String {
        let line = self.greeting();
        let address = line.strip_prefix("listening on ").and_then(|rest| rest.split_whitespace().next());
        address.unwrap_or_else(|| panic!("no address in `{line}`")).to_owned()
    }

    /// Reads and returns the next line of stdout.
    pub(crate) fn greeting(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().expect("stdout is open");
        stdout.read_line(&mut line).expect("the output can be read");
        line
    }

    /// Closes our reading end of the program's stdout.
    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Reads stderr up to a line that starts with `beginning`.
    pub(crate) fn wait_for(&mut self, beginning: &str) {
        loop {
            let mut line = String::new();
            let len = self.stderr.read_line(&mut line).expect("the output can be read");
            assert_ne!(len, 0, "`{beginning}` never arrived: {}", self.stderr_text);
            self.stderr_text += &line;
            if line.starts_with(beginning) {
                return;
            }
        }
    }

    /// Reads stderr up to a line that contains `part`, and returns that line.
    pub(crate) fn wait_for_part(&mut self, part: &str) -> String {
        loop {
            let mut line = String::new();
            let len = self.stderr.read_line(&mut line).expect("the output can be read");
            assert_ne!(len, 0, "`{part}` never arrived: {}", self.stderr_text);
            self.stderr_text += &line;
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Starts the program with a signal ignored, as a shell does for a command in the background.
    pub(crate) fn start_with_ignored(signal: &str, arguments: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        let script = format!("trap '' {signal}; exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_peerloop")]).args(arguments).stdin(Stdio::null());
        Self::spawn(shell)
    }

    /// Sends a signal repeatedly until the program ends, because a repetition shortly after the first signal does not
    /// count as a second signal.
    pub(crate) fn signal_until_it_ends(&mut self, name: &str) {
        while self.child.try_wait().expect("the process can be polled").is_none() {
            self.signal(name);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell starts");
        assert!(status.success(), "{kill}");
    }

    /// Waits until the program ends.
    pub(crate) fn finish(mut self) -> Finished {
        let mut stdout = String::new();
        if let Some(rest) = &mut self.stdout {
            rest.read_to_string(&mut stdout).expect("the output can be read");
        }
        self.stderr.read_to_string(&mut self.stderr_text).expect("the output can be read");
        let code = self.child.wait().expect("the program ends").code();
        Finished { code, stdout, stderr: std::mem::take(&mut self.stderr_text) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of a result file. The file is removed when the value is dropped.
#[derive(Debug)]
pub(crate) struct ResultFile(PathBuf);

impl ResultFile {
    pub(crate) fn new(name: &str) -> Self {
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id())))
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("the path is UTF-8")
    }

    pub(crate) fn read(&self) -> String {
        std::fs::read_to_string(&self.0).expect("the file exists")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.read()).expect("the output is JSON")
    }
}

impl Drop for ResultFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Makes a folder for the files of one test.
pub(crate) fn folder() -> Folder {
    Folder::new(env!("CARGO_TARGET_TMPDIR"))
}
