//! `--metrics-addr`: one route over HTTP, for a collector that asks now and then.
//!
//! A thread of its own serves one request at a time: it reads at most [`REQUEST_MAX_BYTES`], takes at most
//! [`REQUEST_MAX`] for each, asks the loop for a snapshot, answers and closes. Whoever is slow or sends anything else
//! keeps the next one waiting for that long and harms nobody.

use super::exposition::{CONTENT_TYPE, Snapshot, exposition};
use crate::exit::Failure;
use peerloop::api::Latency;
use peerloop::histogram::LatencyHistogram;
use peerloop::{Handle, Network};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// The longest head of a request.
const REQUEST_MAX_BYTES: usize = 8 * 1024;

/// Time for a request to arrive, and for as long an answer to be taken.
const REQUEST_MAX: Duration = Duration::from_secs(2);

/// How long to wait when no connection can be accepted, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bound address.
#[derive(Debug)]
pub(super) struct Metrics {
    listener: TcpListener,
    address: SocketAddr,
}

impl Metrics {
    pub(super) fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let bound = TcpListener::bind(address).and_then(|listener| {
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        });
        bound.map_err(|error| {
            Failure::run(format!(
                "serving metrics at {address}: {error}; use --metrics-addr with an address of this machine and a port \
                 that is free"
            ))
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on a thread of its own for as long as the process lives.
    pub(super) fn serve(self, handle: Handle<()>, network: Network) -> Result<(), Failure> {
        let serve = move || {
            let mut latencies = Latencies::default();
            let mut snapshot = || exposition(latencies.snapshot(&handle)?, network).ok();
            loop {
                match self.listener.accept() {
                    // Who does not wait for the answer does not get it.
                    Ok((socket, _)) => drop(answer(socket, &mut snapshot)),
                    Err(_) => std::thread::sleep(ACCEPT_PAUSE),
                }
            }
        };
        let thread = Builder::new().name("metrics".to_owned()).spawn(serve);
        thread.map(drop).map_err(|error| Failure::machine(format!("starting the metrics thread: {error}")))
    }
}

/// The latencies since the loop began: it gives away what it has recorded whenever it is asked.
#[derive(Debug, Default)]
struct Latencies {
    connect: LatencyHistogram,
    handshake: LatencyHistogram,
    /// What the loop gets for the next one.
    spare: LatencyHistogram,
}

impl Latencies {
    /// What is to be told; nothing when the loop has ended.
    fn snapshot(&mut self, handle: &Handle<()>) -> Option<Snapshot> {
        let stats = handle.stats().ok()?.wait().ok()?;
        let Self { connect, handshake, spare } = self;
        for (latency, all) in [(Latency::Connect, &mut *connect), (Latency::Handshake, &mut *handshake)] {
            let taken = handle.take_latencies(latency, std::mem::take(spare)).ok()?.wait().ok()?;
            all.merge(&taken);
            *spare = taken;
        }
        Some(Snapshot { stats, connect: connect.clone(), handshake: handshake.clone() })
    }
}

/// Reads one request and answers it; `snapshot` has nothing when the loop has ended.
fn answer(mut socket: TcpStream, snapshot: &mut impl FnMut() -> Option<String>) -> io::Result<()> {
    socket.set_write_timeout(Some(REQUEST_MAX))?;
    let head = read_head(&mut socket)?;
    let (status, body) = match route(&head) {
        Err(status) => (status, String::new()),
        Ok(()) => snapshot().map_or(("503 Service Unavailable", String::new()), |body| ("200 OK", body)),
    };
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
    );
    socket.write_all((head + &body).as_bytes())
}

/// What comes up to the first empty line, or as much of it as may.
fn read_head(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let until = Instant::now() + REQUEST_MAX;
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    while head.len() < REQUEST_MAX_BYTES && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut part) {
            Ok(0) => break,
            Ok(len) => head.extend_from_slice(&part[..len]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(head)
}

/// Whether the metrics are asked for, or else what to say.
fn route(head: &[u8]) -> Result<(), &'static str> {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let [method, target, version] = words[..] else { return Err("400 Bad Request") };
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    match (method, path) {
        _ if !version.starts_with(b"HTTP/1.") => Err("400 Bad Request"),
        (b"GET", b"/metrics") => Ok(()),
        (_, b"/metrics") => Err("405 Method Not Allowed"),
        _ => Err("404 Not Found"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;
    use std::thread::spawn;

    /// What a client gets that sends `request` and, if it is told to, ends its half.
    fn asked(request: &[u8], snapshot: Option<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = spawn(move || answer(listener.accept().unwrap().0, &mut || snapshot.clone()));
        client.write_all(request).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        // What is refused unread is reset.
        let _ = client.read_to_string(&mut text);
        let _ = server.join().unwrap();
        text
    }

    #[test]
    fn the_one_route_has_the_metrics_and_all_else_an_error() {
        let body = Some("peerloop_peers 1\n".to_owned());
        let whole = asked(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", body.clone());
        assert!(whole.starts_with("HTTP/1.1 200 OK\r\n") && whole.ends_with("\r\n\r\npeerloop_peers 1\n"), "{whole}");
        assert!(whole.contains("Content-Length: 17\r\n"), "{whole}");
        for (request, status) in [
            (&b"GET /metrics?x=1 HTTP/1.0\r\n\r\n"[..], "200 "),
            (b"GET / HTTP/1.1\r\n\r\n", "404 "),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "405 "),
            (b"GET /metrics\r\n\r\n", "400 "),
            (b"GET /metrics SSH-2.0\r\n\r\n", "400 "),
            (b"\r\n\r\n", "400 "),
            (b"", "400 "),
            (b"\xff\xfe\x00", "400 "),
        ] {
            let text = asked(request, body.clone());
            assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {text}");
        }
        assert!(asked(b"GET /metrics HTTP/1.1\r\n\r\n", None).starts_with("HTTP/1.1 503 "));
    }

    #[test]
    fn a_request_without_an_end_is_cut_at_its_limit() {
        let text = asked(&[b'x'; REQUEST_MAX_BYTES + 1], None);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 400 "), "{text}");
    }
}
