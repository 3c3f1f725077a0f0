//! The effect of a thousand hostile peers on an honest one.
//!
//! For each kind of hostility a fresh node, in a process of its own, serves one honest peer that pings in a closed
//! loop (it sends the next ping when the pong has arrived): first alone, then together with 1,000 hostile peers. The
//! benchmark prints the honest peer's latency and throughput in both cases, the node's resident memory before, during
//! and after the attack, and the node's longest turn. A figure that misses its goal is marked with `!`.
//!
//! The attacker should have a machine of its own, but here it shares this one. So the attacker is a third process of
//! lower priority (nice 5). The peers of each kind together offer a fixed number of actions per second: messages,
//! bytes, connections or checks. Actions that are more than 20 ms late are skipped. The table shows the number offered
//! and the number delivered. For `silent` the second number counts opened connections, not checks. Turns are measured
//! in wall time, so a turn in which the node is preempted is long. The table therefore also shows for how many
//! milliseconds of each second the node was runnable but did not run. On a machine with other work,
//! `PEERLOOP_ISOLATION_NODE='chrt --fifo 10'` keeps that work from preempting the node.
//!
//! Tables and pools do not shrink once they have grown, so memory is first measured after a wave of 1,000 honest peers
//! has connected and disconnected in the middle of a message. It is measured again 6 s after the hostile peers have
//! disconnected, or 60 s after with `PEERLOOP_LONG=1`. An argument selects the kinds whose names contain it:
//! `cargo bench --bench isolation -- claims`. Only Linux reports memory in `/proc`.
//!
//! The node's process is prepared like the process of `peerloop serve`: the descriptor table is grown to its full
//! size before the test, and glibc returns large buffers to the system when they are freed. With glibc's default
//! (`MALLOC_MMAP_THRESHOLD_=131072` in the environment), glibc keeps about 64 MB that the node allocated and freed
//! for the length claims.

#![allow(clippy::disallowed_methods, reason = "the attacker and the honest peer read the clock")]

use bytes::Bytes;
use peerloop::histogram::{LatencyHistogram, LatencySummary};
use peerloop::internals::limits::{BUFFER_GROWTH_BYTES, HEADER_LEN_BYTES};
use peerloop::protocol::CommandName;
use peerloop::wire::{Hash256, Header, Inventory, InventoryItem, MessageRef};
use peerloop::{Config, Ctx, Delivery, Frame, Handler, Network, PeerId, Reactor};
use peerloop_testkit::greeting::{MAGIC, frame, greeting};
use socket2::SockRef;
use std::env;
use std::fs;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

const HOSTILE_PEERS: usize = 1_000;
const QUIET: Duration = Duration::from_secs(2);
const UNDER_ATTACK: Duration = Duration::from_secs(5);
/// The environment variable with a child process's role: `node`, or `attacker/KIND/ADDRESS`.
const ROLE: &str = "PEERLOOP_ISOLATION_ROLE";
/// The environment variable with the command that starts the nodes, such as `chrt --fifo 10` on a machine with other
/// work.
const NODE_WRAPPER: &str = "PEERLOOP_ISOLATION_NODE";
/// The environment variable that sets the size from which glibc returns a freed buffer to the system, and the value
/// that this benchmark uses: the size of the first allocation for a large message.
const ALLOCATOR: (&str, usize) = ("MALLOC_MMAP_THRESHOLD_", BUFFER_GROWTH_BYTES);
/// Timeout of each read, longer than any reply needs.
const PATIENCE: Duration = Duration::from_secs(20);

const P99_GOAL: Duration = Duration::from_millis(50);
const THROUGHPUT_GOAL_PERCENT: f64 = 80.0;
const MEMORY_GOAL_PERCENT: f64 = 5.0;
const TURN_GOAL: Duration = Duration::from_millis(5);

/// One kind of hostile peer.
struct Kind {
    name: &'static str,
    /// Actions per second of all peers of this kind together. [`Kind::what`] names the action.
    per_second: u32,
    what: &'static str,
    conduct: Conduct,
}

/// A hostile peer's conduct. A handshake, or the connect of `Silent`, happens once per connection. Everything else is
/// repeated in each of the peer's turns.
enum Conduct {
    /// Connects, and then only checks whether it is still connected.
    Silent,
    /// Completes the handshake, then sends one byte of this message.
    Drip(fn() -> Vec<u8>),
    /// Completes the handshake, then sends this message; reads the replies.
    Flood(fn() -> Vec<u8>),
    /// Completes the handshake, then sends this message; never reads.
    NeverRead(fn() -> Vec<u8>),
    /// Opens a new connection in place of its old one, and sends this message.
    Reopen(fn() -> Vec<u8>),
    /// Opens a new connection and closes its old one. Every second peer closes its connections with a reset.
    Reconnect,
}

const KINDS: [Kind; 11] = [
    Kind { name: "silent", per_second: 1_000, what: "checks, on silent connections", conduct: Conduct::Silent },
    Kind { name: "dripping header", per_second: 1_000, what: "bytes", conduct: Conduct::Drip(ping) },
    Kind { name: "garbage", per_second: 1_000, what: "connects and 1 KiB", conduct: Conduct::Reopen(garbage) },
    Kind { name: "wrong checksum", per_second: 10_000, what: "inv of 1 KiB", conduct: Conduct::Flood(wrong_checksum) },
    Kind { name: "ping flood", per_second: 20_000, what: "pings", conduct: Conduct::Flood(ping) },
    Kind { name: "inv flood", per_second: 1_000, what: "inv of 36 KB", conduct: Conduct::Flood(inventory) },
    Kind { name: "never reads pongs", per_second: 20_000, what: "pings", conduct: Conduct::NeverRead(ping) },
    Kind {
        name: "never reads data",
        per_second: 2_000,
        what: "requests for 36 KB",
        conduct: Conduct::NeverRead(getaddr),
    },
    Kind {
        name: "length claims",
        per_second: 1_000,
        what: "claims of 2 MiB, 16 KiB sent",
        conduct: Conduct::Reopen(claim),
    },
    Kind { name: "reconnect storm", per_second: 1_000, what: "connect and close", conduct: Conduct::Reconnect },
    Kind {
        name: "count bombs",
        per_second: 10_000,
        what: "inv claiming 2^32 - 1 items",
        conduct: Conduct::Flood(count_bomb),
    },
];

fn main() {
    match env::var(ROLE) {
        Ok(role) if role == "node" => run_node(),
        Ok(role) => {
            let [_, kind, address] = *role.split('/').collect::<Vec<_>>() else { panic!("unknown role `{role}`") };
            let kind = kind.parse::<usize>().expect("the role contains the kind's number");
            Attacker::new(&KINDS[kind].conduct, address.parse().expect("the role contains the node's address"))
                .run(KINDS[kind].per_second);
        }
        Err(_) if cfg!(target_os = "linux") => run_all(),
        Err(_) => println!("this measurement needs /proc"),
    }
}

// --- The measurement ------------------------------------------------------------------------------------------------

fn run_all() {
    rlimit::increase_nofile_limit(4 * HOSTILE_PEERS as u64).expect("the soft limit can be raised");
    let wanted = env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let settle = Duration::from_secs(if env::var_os("PEERLOOP_LONG").is_some() { 60 } else { 6 });
    println!(
        "one honest peer with {HOSTILE_PEERS} hostile ones; goals: p99 <= {P99_GOAL:?}, throughput >= \
         {THROUGHPUT_GOAL_PERCENT} %, memory within {MEMORY_GOAL_PERCENT} % after {settle:?}, longest turn \
         <= {TURN_GOAL:?}"
    );
    let (allocator, threshold) = allocator();
    println!("the nodes run with a descriptor table of full size and {allocator}={threshold}");
    println!(
        "{:<18}|{:^46}|{:^17}|{:^18}|{:^21}|{:^31}|{:^31}",
        "", "hostile, per second", "alone", "under attack", "pings/s", "resident memory, KiB", "turns, ms"
    );
    println!(
        "{:<18}|{:>8} {:>8} {:<28}|{:>8} {:>8}|{:>8} {:>8} |{:>6} {:>6} {:>6} |{:>7} {:>7} {:>7} {:>6} |{:>7} {:>7} \
         {:>7}  {:>6}",
        "kind",
        "offered",
        "done",
        "of",
        "p50 us",
        "p99 us",
        "p50 us",
        "p99 us",
        "alone",
        "attack",
        "%",
        "before",
        "during",
        "after",
        "%",
        "alone",
        "99.9 %",
        "longest",
        "waited"
    );
    for (index, kind) in KINDS.iter().enumerate().filter(|(_, kind)| kind.name.contains(&wanted)) {
        println!("{}", measure(index, kind, settle));
    }
}

fn measure(index: usize, kind: &Kind, settle: Duration) -> String {
    let mut node = Process::start("node", &env::var(NODE_WRAPPER).unwrap_or_default());
    let address: SocketAddr = node.answer("address ").parse().expect("the node prints its address");
    let mut wave: Vec<Peer> = (0..HOSTILE_PEERS).map(|_| Peer::ready(address)).collect();
    for peer in &mut wave {
        peer.0.write_all(&ping()[..HEADER_LEN_BYTES - 1]).expect("the socket is connected");
    }
    thread::sleep(Duration::from_millis(300));
    drop(wave);
    let mut honest = Peer::ready(address);
    honest.ping_for(Duration::from_secs(1));
    let before = node.memory_kib();
    let alone = honest.ping_for(QUIET);
    let ([longest_alone, _], waited_alone) = (node.numbers(), node.waited());

    let mut attacker = Process::start(&format!("attacker/{index}/{address}"), "nice -n 5");
    attacker.answer("all connected");
    let (attack_began, [sent_before, _]) = (Instant::now(), attacker.numbers());
    let attacked = honest.ping_for(UNDER_ATTACK);
    let delivered = (attacker.numbers()[0] - sent_before) as f64 / attack_began.elapsed().as_secs_f64();
    let during = node.memory_kib();
    let waited = (node.waited() - waited_alone).as_secs_f64() * 1_000.0 / attack_began.elapsed().as_secs_f64();
    let [longest, high] = node.numbers().map(Duration::from_nanos);
    drop(attacker);
    let settled = Instant::now();
    while settled.elapsed() < settle {
        honest.ping_for(Duration::from_millis(10));
        thread::sleep(Duration::from_millis(200));
    }
    let after = node.memory_kib();

    let [alone_p50, alone_p99, attacked_p50, attacked_p99] = [alone.p50, alone.p99, attacked.p50, attacked.p99]
        .map(|latency| latency.expect("each interval has an answered ping"));
    let rate = |pings: &LatencySummary, time: Duration| pings.count as f64 / time.as_secs_f64();
    let (rate_alone, rate_attacked) = (rate(&alone, QUIET), rate(&attacked, UNDER_ATTACK));
    let share = rate_attacked / rate_alone * 100.0;
    let growth = (after as f64 / before as f64 - 1.0) * 100.0;
    let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
    format!(
        "{:<18}|{:>8} {delivered:>8.0} {:<28}|{:>8.1} {:>8.1}|{:>8.1} {:>8.1}{}|{rate_alone:>6.0} {rate_attacked:>6.0} \
         {share:>6.0}{}|{before:>7} {during:>7} {after:>7} {growth:>6.1}{}|{:>7.2} {:>7.2} {:>7.2}{} {waited:>6.0}",
        kind.name,
        kind.per_second,
        kind.what,
        micros(alone_p50),
        micros(alone_p99),
        micros(attacked_p50),
        micros(attacked_p99),
        mark(attacked_p99 > P99_GOAL),
        mark(share < THROUGHPUT_GOAL_PERCENT),
        mark(growth > MEMORY_GOAL_PERCENT),
        millis(Duration::from_nanos(longest_alone)),
        millis(high),
        millis(longest),
        mark(longest > TURN_GOAL),
    )
}

/// Returns the allocator's setting, preferably from this process's environment.
fn allocator() -> (&'static str, String) {
    let (name, threshold) = ALLOCATOR;
    (name, env::var(name).unwrap_or_else(|_| threshold.to_string()))
}

fn micros(latency: Duration) -> f64 {
    latency.as_nanos() as f64 / 1_000.0
}

fn mark(is_missed: bool) -> char {
    if is_missed { '!' } else { ' ' }
}

/// Another process of this program, killed when dropped.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Starts the process through another command, such as `nice -n 5`, or directly.
    fn start(role: &str, wrapper: &str) -> Self {
        let program = env::current_exe().expect("the program has a path");
        let mut words = wrapper.split_whitespace();
        let mut command = match words.next() {
            Some(wrapper) => {
                let mut command = Command::new(wrapper);
                command.args(words).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        let (allocator, threshold) = allocator();
        let mut child = command
            .env(ROLE, role)
            .env(allocator, threshold)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = child.stdin.take().expect("the stream is piped");
        let output = BufReader::new(child.stdout.take().expect("the stream is piped"));
        Self { child, input, output }
    }

    /// Reads the next line, which must start with `beginning`, and returns the rest.
    fn answer(&mut self, beginning: &str) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the process writes text");
        let rest = line.strip_prefix(beginning).unwrap_or_else(|| panic!("expected `{beginning}`, got `{line}`"));
        rest.trim().to_owned()
    }

    /// Requests two numbers from the process. The node returns its longest turn and its 99.9 % turn in nanoseconds. The
    /// attacker returns the actions delivered and the connections opened.
    fn numbers(&mut self) -> [u64; 2] {
        self.input.write_all(b"numbers\n").expect("the process is alive");
        let line = self.answer("numbers ");
        let mut numbers = line.split(' ').map(|number| number.parse().expect("the field is a number"));
        [(); 2].map(|()| numbers.next().expect("the process prints two numbers"))
    }

    fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process is alive");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel reports the size");
        line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("the field is a number")
    }

    /// Returns the total time for which the process's threads were runnable but did not run.
    fn waited(&self) -> Duration {
        let tasks = format!("/proc/{}/task", self.child.id());
        let tasks =
            fs::read_dir(tasks).expect("the process is alive").map(|task| task.expect("the task can be listed").path());
        let nanos = tasks.map(|task| {
            let text = fs::read_to_string(task.join("schedstat")).expect("the thread is alive");
            let nanos = text.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
            Duration::from_nanos(nanos.expect("the kernel reports the wait"))
        });
        nanos.sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// --- The honest peer ------------------------------------------------------------------------------------------------

struct Peer(TcpStream);

impl Peer {
    fn ready(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("the node listens");
        socket.set_nodelay(true).expect("the socket is connected");
        socket.set_read_timeout(Some(PATIENCE)).expect("the socket is connected");
        let mut peer = Self(socket);
        peer.0.write_all(&greeting()).expect("the socket is connected");
        while peer.read_frame() != CommandName::SENDHEADERS {}
        peer
    }

    /// Pings the node in a closed loop for `time`, and returns a summary of the latencies.
    fn ping_for(&mut self, time: Duration) -> LatencySummary {
        let mut latencies = LatencyHistogram::new();
        let (ping, began) = (ping(), Instant::now());
        while began.elapsed() < time {
            let sent = Instant::now();
            self.0.write_all(&ping).expect("the node keeps an honest peer");
            while self.read_frame() != CommandName::PONG {}
            latencies.record(sent.elapsed());
        }
        latencies.summary()
    }

    fn read_frame(&mut self) -> CommandName {
        let mut header = [0; HEADER_LEN_BYTES];
        self.0.read_exact(&mut header).expect("the node answers an honest peer");
        let header = Header::decode(&header);
        let mut payload = [0; 512];
        self.0.read_exact(&mut payload[..header.payload_len as usize]).expect("the node answers an honest peer");
        header.command
    }
}

// --- The attacker ---------------------------------------------------------------------------------------------------

struct Attacker<'a> {
    conduct: &'a Conduct,
    address: SocketAddr,
    peers: Vec<Hostile>,
    message: Vec<u8>,
    /// Whole messages sent, bytes dripped, or connections opened, depending on the kind.
    delivered: u64,
    opened: u64,
}

struct Hostile {
    socket: TcpStream,
    /// The number of bytes of the current message that have been sent.
    written: usize,
}

impl<'a> Attacker<'a> {
    fn new(conduct: &'a Conduct, address: SocketAddr) -> Self {
        let message = match conduct {
            Conduct::Silent | Conduct::Reconnect => Vec::new(),
            Conduct::Drip(message)
            | Conduct::Flood(message)
            | Conduct::NeverRead(message)
            | Conduct::Reopen(message) => message(),
        };
        rlimit::increase_nofile_limit(2 * HOSTILE_PEERS as u64).expect("the soft limit can be raised");
        Self { conduct, address, peers: Vec::new(), message, delivered: 0, opened: 0 }
    }

    /// Performs the hostile peers' actions in turn, at the kind's rate, until the standard input is closed.
    fn run(mut self, per_second: u32) {
        let input = lines_of_input();
        for _ in 0..HOSTILE_PEERS {
            let peer = self.open();
            self.peers.push(peer);
        }
        println!("all connected");
        let mut next = 0;
        let interval = Duration::from_secs(1) / per_second;
        let mut due = Instant::now();
        loop {
            match input.try_recv() {
                Ok(_) => println!("numbers {} {}", self.delivered, self.opened),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            let now = Instant::now();
            // Actions that are more than 20 ms late are skipped.
            due = due.max(now.checked_sub(Duration::from_millis(20)).unwrap_or(now));
            while due <= now {
                self.act(next);
                next = (next + 1) % HOSTILE_PEERS;
                due += interval;
            }
            thread::sleep(due.saturating_duration_since(Instant::now()).max(Duration::from_micros(500)));
        }
    }

    fn act(&mut self, index: usize) {
        let is_alive = match self.conduct {
            Conduct::Silent => self.peers[index].drain(),
            Conduct::Reopen(_) => false,
            Conduct::Drip(_) => self.send(index, 1) && self.peers[index].drain(),
            Conduct::Flood(_) => self.send(index, usize::MAX) && self.peers[index].drain(),
            Conduct::NeverRead(_) => self.send(index, usize::MAX),
            Conduct::Reconnect => {
                if index.is_multiple_of(2) {
                    // If the option cannot be set, the socket closes without a reset.
                    let _ = SockRef::from(&self.peers[index].socket).set_linger(Some(Duration::ZERO));
                }
                false
            }
        };
        if !is_alive {
            self.peers[index] = self.open();
        }
    }

    /// Sends up to `most` bytes of the message; returns whether the connection is alive.
    fn send(&mut self, index: usize, most: usize) -> bool {
        let peer = &mut self.peers[index];
        let rest = &self.message[peer.written..];
        match peer.socket.write(&rest[..rest.len().min(most)]) {
            Ok(len) => {
                peer.written += len;
                if peer.written == self.message.len() {
                    peer.written = 0;
                }
                self.delivered += u64::from(peer.written == 0 || most == 1);
                true
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }

    fn open(&mut self) -> Hostile {
        let socket = TcpStream::connect(self.address).expect("the node listens");
        socket.set_nodelay(true).expect("the socket is connected");
        self.opened += 1;
        let hello = match self.conduct {
            Conduct::Silent | Conduct::Reconnect => Vec::new(),
            Conduct::Drip(_) | Conduct::Flood(_) => greeting(),
            Conduct::NeverRead(_) => {
                SockRef::from(&socket).set_recv_buffer_size(4_096).expect("the socket is connected");
                greeting()
            }
            Conduct::Reopen(_) => self.message.clone(),
        };
        // The node may have closed the connection already; this peer's next turn notices that.
        let _ = (&socket).write_all(&hello);
        socket.set_nonblocking(true).expect("the socket is connected");
        self.delivered += match self.conduct {
            Conduct::Silent | Conduct::Reconnect | Conduct::Reopen(_) => 1,
            Conduct::Drip(_) | Conduct::Flood(_) | Conduct::NeverRead(_) => 0,
        };
        Hostile { socket, written: 0 }
    }
}

impl Hostile {
    /// Reads up to 16 KiB; returns whether the connection is alive.
    fn drain(&mut self) -> bool {
        match self.socket.read(&mut [0; 16 * 1024]) {
            Ok(len) => len > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

// --- The node -------------------------------------------------------------------------------------------------------

/// Reads all messages, and answers a `getaddr` with an inventory of 36 KB.
struct Reader {
    answer: Option<Bytes>,
}

impl Handler for Reader {
    type Request = ();

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, _header: &Header) -> Delivery {
        Delivery::Buffer
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        if frame.command() == CommandName::new("getaddr") {
            let answer = self.answer.get_or_insert_with(|| inventory().into());
            // If a peer does not read its replies, its queue fills up, and further replies are dropped.
            let _ = ctx.send_shared(peer, answer);
        } else {
            // An invalid message is read up to its first error.
            let _ = black_box(frame.decode());
        }
    }
}

fn run_node() {
    rlimit::increase_nofile_limit(4 * HOSTILE_PEERS as u64).expect("the soft limit can be raised");
    grow_descriptor_table();
    let mut reactor =
        Reactor::new(Config::new(Network::Regtest), Reader { answer: None }).expect("the kernel provides a poller");
    let address = reactor.listen(([127, 0, 0, 1], 0).into()).expect("a loopback port is free");
    let handle = reactor.handle();
    thread::spawn(move || reactor.run().expect("the poller works"));
    println!("address {address}");
    for _ in lines_of_input() {
        let stats = handle.stats().expect("the queue has room").wait().expect("the loop runs");
        let [max, p999] = [stats.turn.max, stats.turn.p999].map(Option::unwrap_or_default);
        println!("numbers {} {}", max.as_nanos(), p999.as_nanos());
    }
}

/// Makes the kernel grow the descriptor table while the process has only one thread. Later, each time the table doubles
/// in a process with several threads, every call that needs a descriptor waits for about 10 ms. So does an accept that
/// finds no connection.
fn grow_descriptor_table() {
    let clones: io::Result<Vec<OwnedFd>> =
        (0..2 * HOSTILE_PEERS).map(|_| io::stdin().as_fd().try_clone_to_owned()).collect();
    drop(clones.expect("the limit allows this many descriptors"));
}

/// Returns the lines of standard input, up to its end.
fn lines_of_input() -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || io::stdin().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

// --- Messages -------------------------------------------------------------------------------------------------------

fn ping() -> Vec<u8> {
    frame(&MessageRef::Ping { nonce: 7 })
}

fn getaddr() -> Vec<u8> {
    frame(&MessageRef::GetAddr)
}

fn garbage() -> Vec<u8> {
    vec![0x42; 1_024]
}

fn inventory() -> Vec<u8> {
    inventory_of(1_000)
}

fn inventory_of(items: usize) -> Vec<u8> {
    let items = Inventory::from_items((0..items).map(|_| InventoryItem::tx(Hash256::ZERO)));
    frame(&MessageRef::Inv(items.as_ref()))
}

/// Returns an inventory whose last byte was changed, so that its checksum is wrong.
fn wrong_checksum() -> Vec<u8> {
    let mut bytes = inventory_of(28);
    *bytes.last_mut().expect("the frame has a payload") ^= 1;
    bytes
}

/// Returns a greeting, then the header and the first 16 KiB of an `inv` that claims the largest accepted payload.
fn claim() -> Vec<u8> {
    let header = Header { command: CommandName::INV, payload_len: 2 * 1024 * 1024, checksum: Some([0; 4]) };
    [greeting(), header.encode(MAGIC).to_vec(), vec![0; 16 * 1024]].concat()
}

/// Returns an inventory that contains one item, but claims 2^32 - 1 items in its count, which is encoded in nine bytes.
fn count_bomb() -> Vec<u8> {
    let payload = [&[0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0][..], &[0; InventoryItem::LEN_BYTES]].concat();
    let mut bytes = Vec::new();
    peerloop::wire::put_frame(MAGIC, CommandName::INV, &payload, &mut bytes);
    bytes
}
