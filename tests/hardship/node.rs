//! A [`Node`]: a loop in a child process. The child executes the requests that it reads from its standard input, and
//! exits when its standard input is closed.
//!
//! The child is another process of this test program, and runs only the calling test. The child becomes a node at the
//! point where the test starts its [`Node`], so the child first repeats everything that the test does before this
//! point. Dropping the test's [`Node`] kills the child, even if the test fails.

use peerloop::api::{ControlEvent, Pending, Reply};
use peerloop::error::{CloseReason, Side};
use peerloop::wire::{Hash256, Inventory, InventoryItem, MessageRef};
use peerloop::{Config, Ctx, Event, Handler, Network, PeerId, Reactor};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Maximum time that a test waits, far above any expected wait, so that the test fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The environment variable that makes this program run as a test's node. Its value is the test's path.
const VARIABLE: &str = "PEERLOOP_HARDSHIP_NODE";

/// The test's handle to a child process.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
    /// strace's log, if the node runs under strace.
    strace_log: Option<PathBuf>,
}

/// A node's counters by name. The counter `end:LABEL` counts the connections that were closed for the reason `LABEL`,
/// and `refused:OPTION` counts the reported refusals of the socket option `OPTION`.
#[derive(Debug)]
pub(crate) struct Account(BTreeMap<String, u64>);

impl Account {
    /// Returns the counter `name`, or 0 if the node has not reported it.
    pub(crate) fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

impl Node {
    /// Starts a node without injected faults. `test` is the calling test's path. The child calls `prepare` with the
    /// node's configuration.
    pub(crate) fn start(test: &str, prepare: impl FnOnce(&mut Config)) -> Self {
        become_node(test, prepare);
        Self::spawn(itself(test), None)
    }

    /// Starts a node whose system calls fail as specified by `inject`, a strace expression such as
    /// `accept4:error=EMFILE:when=1..3`. Returns `None` if strace does not work here.
    pub(crate) fn with_fault(test: &str, inject: &str) -> Option<Self> {
        become_node(test, |_| {});
        if !has_strace() {
            return None;
        }
        let calls = inject.split(':').next().unwrap_or(inject);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("strace-{}-{number}", std::process::id()));
        // With -D, strace runs as a grandchild and the node is our child, so killing our child kills the node.
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-qq", "-e", &format!("trace={calls}"), "-e", &format!("inject={inject}"), "-o"]);
        command.arg(&log);
        Some(Self::spawn(behind(command, itself(test)), Some(log)))
    }

    /// Starts a node in a network namespace of its own, with only loopback and the local ports from `first` to `last`.
    /// Returns `None` if no namespace can be created here.
    pub(crate) fn with_ports(test: &str, (first, last): (u16, u16), prepare: impl FnOnce(&mut Config)) -> Option<Self> {
        become_node(test, prepare);
        if !has_namespaces() {
            return None;
        }
        let narrow = format!("echo '{first} {last}' >/proc/sys/net/ipv4/ip_local_port_range");
        let script = format!("ip link set lo up && {narrow} && exec \"$0\" \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "sh", "-c", &script]);
        Some(Self::spawn(behind(command, itself(test)), None))
    }

    fn spawn(mut command: Command, strace_log: Option<PathBuf>) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = child.stdin.take().expect("the stream is piped");
        let output = BufReader::new(child.stdout.take().expect("the stream is piped"));
        let address = SocketAddr::from(([0; 4], 0));
        // From here on, dropping `node` kills the process, so the next line may fail.
        let mut node = Self { child, input, output, address, strace_log };
        node.address = node.answer("listening on ").parse().expect("the node prints an address");
        node
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Makes the node dial `address` `times` times.
    pub(crate) fn dial(&mut self, address: SocketAddr, times: usize) {
        self.ask(&format!("dial {address} {times}"));
        self.answer("dialled");
    }

    /// Makes the node dial `address` `times` times from `source`.
    pub(crate) fn dial_from(&mut self, source: IpAddr, address: SocketAddr, times: usize) {
        self.ask(&format!("dial {address} {times} {source}"));
        self.answer("dialled");
    }

    /// Makes the node queue this many inventories of 36,003 payload bytes for every ready peer.
    pub(crate) fn say(&mut self, inventories: usize) {
        self.ask(&format!("say {inventories}"));
        self.answer("said");
    }

    pub(crate) fn account(&mut self) -> Account {
        self.ask("account");
        let line = self.answer("account ");
        let pairs = line.split_whitespace().filter_map(|pair| pair.split_once('='));
        Account(pairs.map(|(name, count)| (name.to_owned(), count.parse().expect("the field is a number"))).collect())
    }

    /// Requests the node's counters until they satisfy `done`, and returns them. Panics after [`PATIENCE`].
    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&Account) -> bool) -> Account {
        let began = Instant::now();
        loop {
            let account = self.account();
            if done(&account) {
                return account;
            }
            assert!(began.elapsed() < PATIENCE, "timed out before {what}: {account:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns the number of system calls that strace made fail.
    pub(crate) fn injected(&self) -> usize {
        let log = self.strace_log.as_ref().expect("the node runs under strace");
        fs::read_to_string(log).expect("strace writes a log").matches("(INJECTED)").count()
    }

    /// Returns the CPU time that the process has used, in all its threads.
    pub(crate) fn cpu_time(&self) -> Duration {
        // The kernel reports these times in hundredths of a second, even if its tick rate differs.
        const TICKS_PER_SEC: u64 = 100;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process())).expect("the process runs");
        let (_, behind_name) = stat.rsplit_once(')').expect("the program's name is in parentheses");
        let field = |index: usize| -> u64 {
            behind_name
                .split_whitespace()
                .nth(index)
                .and_then(|field| field.parse().ok())
                .expect("the field is a number")
        };
        Duration::from_millis((field(11) + field(12)) * 1_000 / TICKS_PER_SEC)
    }

    /// Returns the value of the line `name` in `/proc/PID/status`.
    pub(crate) fn status(&self, name: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("there is a shell");
        assert!(status.success(), "{kill}");
    }

    fn ask(&mut self, request: &str) {
        writeln!(self.input, "{request}").expect("the node is alive");
    }

    /// Returns the rest of the next line that begins with `beginning`.
    fn answer(&mut self, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            let len = self.output.read_line(&mut line).expect("the node writes text");
            assert_ne!(len, 0, "the node has exited without writing `{beginning}`: {:?}", self.child.wait());
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.trim_end().to_owned();
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // This also ends a process that SIGSTOP has stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(log) = &self.strace_log {
            let _ = fs::remove_file(log);
        }
    }
}

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Returns a command that runs this program again with only `test`. The new process becomes the test's node.
fn itself(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the program has a path"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(VARIABLE, test);
    command
}

/// Returns a command in which `wrapper` runs `command`.
fn behind(mut wrapper: Command, command: Command) -> Command {
    wrapper.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        wrapper.env(name, value.expect("no variable is removed"));
    }
    wrapper
}

// --- Capabilities of the machine ------------------------------------------------------------------------------------

/// Returns whether strace can inject faults here; prints a notice if not.
fn has_strace() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    let works = *WORKS.get_or_init(|| {
        works(Command::new("strace").args(["-qq", "-o", "/dev/null", "-e", "inject=getppid:error=EPERM", "true"]))
    });
    works || skipped("strace is missing or is not allowed to trace")
}

/// Returns whether a network namespace can be created here; prints a notice if not.
fn has_namespaces() -> bool {
    let script = "ip link set lo up && test -w /proc/sys/net/ipv4/ip_local_port_range";
    works(Command::new("unshare").args(["--user", "--map-root-user", "--net", "sh", "-c", script]))
        || skipped("no network namespace can be created")
}

/// Raises this process's descriptor limit as far as possible, and returns the limit.
pub(crate) fn raise_descriptors() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).expect("the soft limit may be raised to the hard limit")
}

fn works(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn skipped(why: &str) -> bool {
    static SKIPPED: AtomicUsize = AtomicUsize::new(0);
    let number = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    // The harness hides the output of a passing test, but not a direct write to stderr.
    let _ = writeln!(io::stderr(), "!!! SKIPPED: a test did NOT run ({why}); {number} in tests/hardship so far");
    false
}

// --- Inside the child -----------------------------------------------------------------------------------------------

/// If this process is the node of `test`, serves requests until its input closes, and exits. Returns in every other
/// process.
fn become_node(test: &str, prepare: impl FnOnce(&mut Config)) {
    if std::env::var(VARIABLE).is_ok_and(|node| node == test) {
        let mut config = Config::new(Network::Regtest).with_seed(Some(7));
        prepare(&mut config);
        serve(config);
        std::process::exit(0);
    }
}

fn serve(config: Config) {
    let mut reactor = Reactor::new(config, Tally::default()).expect("the kernel provides a poller");
    let address = reactor.listen(([127, 0, 0, 1], 0).into()).expect("a loopback port is free");
    let handle = reactor.handle();
    thread::spawn(move || {
        reactor.run().expect("the poller works");
    });
    // The harness has not ended its own line yet, so the output begins with a newline.
    println!("\nlistening on {address}");
    for line in io::stdin().lines() {
        let line = line.expect("requests are text");
        let words: Vec<&str> = line.split_whitespace().collect();
        let (answer, pending) = Pending::new();
        handle
            .request(match words[..] {
                ["account"] => Request::Account(answer),
                ["dial", address, times, ref source @ ..] => {
                    let source = source.first().map(|source| source.parse().expect("the word is an address"));
                    Request::Dial(
                        address.parse().expect("the word is an address"),
                        times.parse().expect("the word is a number"),
                        source,
                        answer,
                    )
                }
                ["say", times] => Request::Say(times.parse().expect("the word is a number"), answer),
                _ => panic!("unknown request: {line}"),
            })
            .expect("the queue has room");
        println!("{}", pending.wait().expect("the loop runs"));
    }
}

/// A request that the node passes from its input to its loop. The loop answers with a line.
#[derive(Debug)]
enum Request {
    Account(Reply<String>),
    Dial(SocketAddr, usize, Option<IpAddr>, Reply<String>),
    Say(usize, Reply<String>),
}

/// A handler that counts closed connections by their reasons, and refused socket options by their names.
#[derive(Debug, Default)]
struct Tally {
    ends: BTreeMap<&'static str, u64>,
    local_ends: u64,
    /// The number of reported refusals of each socket option, by the option's name.
    options_refused: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn ended(&mut self, reason: CloseReason) {
        *self.ends.entry(reason.label()).or_default() += 1;
        self.local_ends += u64::from(reason.side() == Side::Local);
    }

    fn account(&self, ctx: &Ctx<'_>) -> String {
        let counters = ctx.counters();
        let mut line = format!("account links={} ready={}", ctx.peers().count(), ctx.ready_count());
        for (name, count) in [
            ("turns", counters.turns),
            ("accepted", counters.accepted),
            ("accept_failures", counters.accept_failures),
            ("accept_pauses", counters.accept_pauses),
            ("socket_options_refused", counters.socket_options_refused),
            ("handshakes", counters.handshakes),
            ("closed", counters.closed),
            ("refused", counters.refused),
            ("pings_answered", counters.pings_answered),
            ("local_ends", self.local_ends),
        ] {
            line += &format!(" {name}={count}");
        }
        for (label, count) in &self.ends {
            line += &format!(" end:{label}={count}");
        }
        for (name, count) in &self.options_refused {
            line += &format!(" refused:{name}={count}");
        }
        line
    }
}

impl Handler for Tally {
    type Request = Request;

    fn on_event(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, event: Event<'_>) {
        if let Event::Closed { reason, .. } = event {
            self.ended(reason);
        }
    }

    fn on_control(&mut self, _ctx: &mut Ctx<'_>, event: &ControlEvent) {
        if let ControlEvent::SocketOptionRefused { refused } = event {
            *self.options_refused.entry(refused.option.name()).or_default() += 1;
        }
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, request: Request) {
        match request {
            Request::Account(reply) => reply.send(self.account(ctx)),
            Request::Dial(address, times, source, reply) => {
                for _ in 0..times {
                    match source {
                        None => ctx.connect(address),
                        Some(source) => ctx.connect_from(source, address),
                    }
                    .expect("the table has room");
                }
                reply.send("dialled".to_owned());
            }
            Request::Say(times, reply) => {
                let items = Inventory::from_items((0..1_000).map(|_| InventoryItem::tx(Hash256::ZERO)));
                let frame = ctx.encode(&MessageRef::Inv(items.as_ref()));
                let peers: Vec<PeerId> = ctx.peers().filter(|view| view.is_ready()).map(|view| view.id()).collect();
                for peer in peers {
                    for _ in 0..times {
                        ctx.send_shared(peer, &frame).expect("the queue has room");
                    }
                }
                reply.send("said".to_owned());
            }
        }
    }
}
