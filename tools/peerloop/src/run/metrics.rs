//! `--metrics-addr`: one route over HTTP, for a collector that asks now and then.
//!
//! A thread of its own serves one request at a time: it reads at most [`REQUEST_MAX_BYTES`] for [`REQUEST_MAX`] at the
//! most, asks the loop for a snapshot, writes the answer for as long at the most, and closes. Whoever is slow or sends
//! anything else keeps the next one waiting for that long and harms nobody.

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

/// Time for a request to arrive, and as much again for its answer to be taken.
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
    ping_rtt: LatencyHistogram,
    /// What the loop gets for the next one.
    spare: LatencyHistogram,
}

impl Latencies {
    /// What is to be told; nothing when the loop takes no more commands.
    fn snapshot(&mut self, handle: &Handle<()>) -> Option<Snapshot> {
        let stats = handle.stats().ok()?.wait().ok()?;
        let Self { connect, handshake, ping_rtt, spare } = self;
        for (latency, all) in [
            (Latency::Connect, &mut *connect),
            (Latency::Handshake, &mut *handshake),
            (Latency::PingRtt, &mut *ping_rtt),
        ] {
            let taken = handle.take_latencies(latency, std::mem::take(spare)).ok()?.wait().ok()?;
            all.merge(&taken);
            *spare = taken;
        }
        Some(Snapshot { stats, connect: connect.clone(), handshake: handshake.clone(), ping_rtt: ping_rtt.clone() })
    }
}

/// Reads one request and answers it; `snapshot` may have nothing to tell.
fn answer(mut socket: TcpStream, snapshot: &mut impl FnMut() -> Option<String>) -> io::Result<()> {
    let head = read_head(&mut socket)?;
    let (status, body) = match route(&head) {
        Err(status) => (status, String::new()),
        Ok(()) => snapshot().map_or(("503 Service Unavailable", String::new()), |body| ("200 OK", body)),
    };
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
    );
    write_all(&mut socket, (head + &body).as_bytes(), REQUEST_MAX)
}

/// What comes up to the first empty line, or as much of it as may.
fn read_head(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let until = Instant::now() + REQUEST_MAX;
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    while head.len() < REQUEST_MAX_BYTES && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        socket.set_read_timeout(Some(left(until)?))?;
        let room = part.len().min(REQUEST_MAX_BYTES - head.len());
        match socket.read(&mut part[..room]) {
            Ok(0) => break,
            Ok(len) => head.extend_from_slice(&part[..len]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(head)
}

/// Who takes it drop by drop has no more time than who takes none of it.
fn write_all(socket: &mut TcpStream, mut text: &[u8], within: Duration) -> io::Result<()> {
    let until = Instant::now() + within;
    while !text.is_empty() {
        socket.set_write_timeout(Some(left(until)?))?;
        match socket.write(text) {
            Ok(len) => text = &text[len..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What is left of the time, if anything is.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
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
    fn an_answer_that_is_taken_drop_by_drop_has_an_end() {
        const MORE_THAN_BUFFERS_TAKE: usize = 64 << 20;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut server = listener.accept().unwrap().0;
        let sipping = spawn(move || {
            let mut drop = [0; 64 * 1024];
            while client.read(&mut drop).is_ok_and(|len| len > 0) {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let written = write_all(&mut server, &vec![0; MORE_THAN_BUFFERS_TAKE], Duration::from_millis(200));
        let kind = written.expect_err("it cannot be taken so fast").kind();
        assert!(matches!(kind, ErrorKind::TimedOut | ErrorKind::WouldBlock), "{kind}");
        server.shutdown(Shutdown::Both).unwrap();
        drop(server);
        let _ = sipping.join();
    }

    #[test]
    fn a_request_without_an_end_is_cut_at_its_limit() {
        let text = asked(&[b'x'; REQUEST_MAX_BYTES + 1], None);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 400 "), "{text}");
    }
}
