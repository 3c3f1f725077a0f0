//! A real Bitcoin SV node on regtest, which runs as long as a test needs it.
//!
//! [`Node`] listens on free loopback ports and keeps its data in a folder of its own. A killed node can be started
//! again with the same ports and data. Dropping the value, including in a panic, kills the process by its id and
//! removes the folder. Nothing outside that folder is written.

use peerloop_testkit::Folder;
use serde_json::Value;
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::thread;
use std::time::Duration;

/// The environment variable with the path of the folder that contains `bitcoind` and `bitcoin-cli`.
const PROGRAMS_VARIABLE: &str = "PEERLOOP_REAL_NODE";
/// Maximum number of attempts to start the node. An attempt fails if another process binds one of the ports first.
const MAX_STARTS: usize = 3;
const ANSWER_POLL: Duration = Duration::from_millis(50);
/// Maximum number of polls for an answer. All of them together last at least a minute.
const MAX_ANSWER_POLLS: usize = 1_200;

/// A node. Dropping the value kills the process.
#[derive(Debug)]
pub(crate) struct Node {
    process: Child,
    programs: PathBuf,
    options: Vec<String>,
    data: Folder,
    address: SocketAddr,
    rpc_port: u16,
}

impl Node {
    /// Starts a node and waits until it answers. Returns `None` if [`PROGRAMS_VARIABLE`] is not set and `CI` is unset,
    /// empty, 0 or false.
    ///
    /// # Panics
    ///
    /// When the node does not start, or when the variable is not set and `CI` has any other value.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts a node like [`Node::start`], with additional options. They override the options that every node has.
    pub(crate) fn start_with(options: &[&str]) -> Option<Self> {
        let programs = programs()?;
        let start = || Self::try_start(&programs, options);
        for _ in 1..MAX_STARTS {
            if let Ok(node) = start() {
                return Some(node);
            }
        }
        Some(start().unwrap_or_else(|problem| panic!("the real node does not start: {problem}")))
    }

    /// Kills the node without a clean shutdown; its data stays.
    pub(crate) fn kill(&mut self) {
        // An error means that the process has already exited.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts a killed node again at the same address, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When the node does not start.
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(&self.programs, &self.data, self.address, self.rpc_port, &self.options);
        self.wait_until_it_answers().unwrap_or_else(|problem| panic!("the node does not start again: {problem}"));
    }

    /// Returns the output of `bitcoin-cli` for a command, without trailing white space.
    ///
    /// # Panics
    ///
    /// When the command fails.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        self.try_cli(arguments).unwrap_or_else(|problem| panic!("bitcoin-cli {arguments:?}: {problem}"))
    }

    /// Returns `bitcoin-cli`'s output for a command, parsed as JSON.
    ///
    /// # Panics
    ///
    /// When the command fails, or when its output is not JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.cli(arguments)).expect("the answer is JSON")
    }

    /// Waits until `holds` returns true for the node's view of its only peer, and returns that view.
    ///
    /// # Panics
    ///
    /// When the node has more than one peer, or when `holds` has not returned true after a minute.
    pub(crate) fn peer_once(&self, holds: impl Fn(&Value) -> bool) -> Value {
        let mut peers = Value::Null;
        for _ in 0..MAX_ANSWER_POLLS {
            peers = self.json(&["getpeerinfo"]);
            let list = peers.as_array().expect("the reply is a list").iter();
            // For a moment, the node lists a further stream as a peer without a version.
            let mut peers = list.filter(|peer| peer["version"] != 0);
            let peer = peers.next();
            assert_eq!(peers.next(), None, "the node has more than one peer");
            if let Some(peer) = peer.filter(|peer| holds(peer)) {
                return peer.clone();
            }
            thread::sleep(ANSWER_POLL);
        }
        panic!("timed out waiting for the expected view of the node's peer: {peers:#}");
    }

    /// Waits until the node has no peer.
    ///
    /// # Panics
    ///
    /// When the node still has a peer after a minute.
    pub(crate) fn wait_for_no_peer(&self) {
        for _ in 0..MAX_ANSWER_POLLS {
            if self.cli(&["getconnectioncount"]) == "0" {
                return;
            }
            thread::sleep(ANSWER_POLL);
        }
        panic!("the node still has a peer: {:#}", self.json(&["getpeerinfo"]));
    }

    /// Waits until the log contains `text`, and returns the log. The option `-debug=net` makes the node log more.
    ///
    /// # Panics
    ///
    /// When the log does not contain `text` after a minute.
    pub(crate) fn log_once_it_says(&self, text: &str) -> String {
        let mut log = String::new();
        for _ in 0..MAX_ANSWER_POLLS {
            let bytes = fs::read(self.data.path().join("regtest").join("bitcoind.log")).expect("the node writes a log");
            log = String::from_utf8_lossy(&bytes).into_owned();
            if log.contains(text) {
                return log;
            }
            thread::sleep(ANSWER_POLL);
        }
        panic!("the node's log does not contain {text:?}: {log}");
    }

    /// Returns the address that the node listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the loopback port on which the node answers RPC.
    pub(crate) fn rpc_port(&self) -> u16 {
        self.rpc_port
    }

    /// Returns the node's data folder, which holds its log in `regtest/bitcoind.log`.
    pub(crate) fn data_folder(&self) -> &Path {
        self.data.path()
    }

    fn try_start(programs: &Path, options: &[&str]) -> Result<Self, String> {
        let data = Folder::new(env::temp_dir());
        let [address, rpc_address] = free_addresses();
        let rpc_port = rpc_address.port();
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let process = spawn(programs, &data, address, rpc_port, &options);
        let mut node = Self { process, programs: programs.to_owned(), options, data, address, rpc_port };
        node.wait_until_it_answers().map(|()| node)
    }

    fn wait_until_it_answers(&mut self) -> Result<(), String> {
        let mut problem = String::new();
        for _ in 0..MAX_ANSWER_POLLS {
            if let Some(status) = self.process.try_wait().expect("the node is our child") {
                let output = fs::read_to_string(self.data.path().join("output")).unwrap_or_default();
                return Err(format!("the process ended with {status}: {output}"));
            }
            match self.try_cli(&["getblockcount"]) {
                Ok(_) => return Ok(()),
                Err(error) => problem = error,
            }
            thread::sleep(ANSWER_POLL);
        }
        Err(format!("RPC does not answer: {problem}"))
    }

    fn try_cli(&self, arguments: &[&str]) -> Result<String, String> {
        let program = self.programs.join("bitcoin-cli");
        let output = Command::new(&program)
            .args(["-regtest", "-rpcclienttimeout=60"])
            // The node writes a password into its folder. Another node on the same port refuses this password.
            .args([format!("-rpcport={}", self.rpc_port), format!("-datadir={}", self.data.path().display())])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{} does not run: {error}", program.display()))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Fields are dropped after this call, so the folder is removed after the process has ended.
        self.kill();
    }
}

fn spawn(programs: &Path, data: &Folder, address: SocketAddr, rpc_port: u16, options: &[String]) -> Child {
    let output = File::create(data.path().join("output")).expect("the folder can be written");
    Command::new(programs.join("bitcoind"))
        .args(["-regtest", "-server", "-listen", "-dnsseed=0", "-printtoconsole=0"])
        .args([format!("-bind={address}"), format!("-port={}", address.port())])
        .args(["-rpcbind=127.0.0.1", "-rpcallowip=127.0.0.1"])
        .args([format!("-rpcport={rpc_port}"), format!("-datadir={}", data.path().display())])
        // The node does not start without these three.
        .args(["-excessiveblocksize=1000000000", "-maxstackmemoryusageconsensus=100000000"])
        .arg("-minminingtxfee=0.00000001")
        // Generating the default 2,000 keys would dominate the start-up time.
        .arg("-keypool=1")
        // The node itself lowers this to 865, of which 856 are for inbound peers.
        .arg("-maxconnections=1000")
        .args(options)
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a descriptor is free"))
        .stderr(output)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run bitcoind in {} ({PROGRAMS_VARIABLE}): {error}", programs.display()))
}

/// Returns the folder of the node's programs. If [`PROGRAMS_VARIABLE`] is not set, prints a notice and returns `None`.
/// If `CI` is also set to anything but an empty string, 0 or false, panics instead.
fn programs() -> Option<PathBuf> {
    static SAID: Once = Once::new();
    if let Some(folder) = env::var_os(PROGRAMS_VARIABLE) {
        return Some(PathBuf::from(folder));
    }
    let ci = env::var("CI").unwrap_or_default();
    assert!(["", "0", "false"].contains(&ci.as_str()), "CI is set, but {PROGRAMS_VARIABLE} is not: run tools/test");
    SAID.call_once(|| {
        // Writes to standard error directly, because the test harness captures the printed output of passing tests.
        let line = "!!! SKIPPED: the tests against a real node did NOT run; run them with: tools/test real-node\n";
        io::stderr().write_all(line.as_bytes()).expect("standard error is open");
    });
    None
}

fn free_addresses() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free"));
    listeners.map(|listener| listener.local_addr().expect("the listener is bound"))
}
