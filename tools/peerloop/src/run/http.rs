//! A small HTTP server for one document at one path: `GET` and `HEAD`, one request per connection.
//!
//! One thread serves all connections at once, so that a slow or silent client delays no other. At most
//! [`MAX_CONNECTIONS`] are open: a further one replaces the oldest. A client has [`MAX_REQUEST`] to send its request
//! and the same time to read the reply. Its request head may have at most [`MAX_HEAD_BYTES`].

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Maximum number of open connections; a further one replaces the oldest. If each has a request head and a reply of
/// about 100 KB, they use at most 7 MB. Several collectors need only a few connections.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// Maximum size of a request head; browsers and proxies send 1 or 2 KiB.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Maximum time for a request to arrive, and for its reply to be read.
const MAX_REQUEST: Duration = Duration::from_secs(2);

/// The pause when no connection can be accepted, for example for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The document's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// The text format of Prometheus, version 0.0.4.
    Plain,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Serves the result of `text` at `path`. If `text` returns `None`, the reply is 503. Returns only if the listener
/// cannot be made non-blocking or the poll fails.
pub(super) fn serve(
    listener: &TcpListener,
    path: &str,
    mut text: impl FnMut(Format) -> Option<Arc<str>>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut connections: Vec<Connection> = Vec::new();
    let mut accept_at = Instant::now();
    loop {
        let is_ready = wait(listener, accept_at, &connections)?;
        if is_ready && !accept(listener, &mut connections) {
            accept_at = Instant::now() + ACCEPT_PAUSE;
        }
        let now = Instant::now();
        let mut answer = |head: &[u8]| answer(head, path, &mut text);
        connections.retain_mut(|connection| now < connection.until && connection.advance(&mut answer, now).is_ok());
    }
}

/// Waits until a connection can be accepted or served, a connection times out, or a pause in accepting ends. Returns
/// whether to accept.
fn wait(listener: &TcpListener, accept_at: Instant, connections: &[Connection]) -> io::Result<bool> {
    let now = Instant::now();
    let may_accept = accept_at <= now;
    let mut polled: Vec<PollFd<'_>> = connections.iter().map(Connection::polled).collect();
    if may_accept {
        polled.push(PollFd::new(listener, PollFlags::IN));
    }
    let deadlines = connections.iter().map(|connection| connection.until);
    let until = deadlines.chain((!may_accept).then_some(accept_at)).min();
    let timeout = until.map(|until| Timespec::try_from(until.saturating_duration_since(now)).unwrap_or_default());
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) => Ok(may_accept && polled.last().is_some_and(|listener| !listener.revents().is_empty())),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Accepts waiting connections, at most [`MAX_CONNECTIONS`]; returns `false` if accepting has to pause.
fn accept(listener: &TcpListener, connections: &mut Vec<Connection>) -> bool {
    for _ in 0..MAX_CONNECTIONS {
        match listener.accept() {
            Ok((socket, _)) => {
                if connections.len() >= MAX_CONNECTIONS {
                    connections.remove(0);
                }
                // A socket that cannot be made non-blocking is closed.
                if socket.set_nonblocking(true).is_ok() {
                    let until = Instant::now() + MAX_REQUEST;
                    connections.push(Connection { socket, until, stage: Stage::Reading(Vec::new()) });
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            // A connection that was closed before it was accepted does not affect the next.
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
            Err(_) => return false,
        }
    }
    true
}

/// A client's connection.
#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    /// The deadline at which the connection is closed if it is still open.
    until: Instant,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Reading(Vec<u8>),
    Writing {
        answer: Vec<u8>,
        written: usize,
    },
    /// The reply is written. Further input is read, because closing with unread bytes would reset the connection and
    /// lose the reply.
    Draining,
}

impl Connection {
    fn polled(&self) -> PollFd<'_> {
        let flags = match self.stage {
            Stage::Reading(_) | Stage::Draining => PollFlags::IN,
            Stage::Writing { .. } => PollFlags::OUT,
        };
        PollFd::new(&self.socket, flags)
    }

    /// Makes progress without blocking. After an error the connection must be dropped.
    fn advance(&mut self, answer: &mut impl FnMut(&[u8]) -> Vec<u8>, now: Instant) -> io::Result<()> {
        loop {
            let is_blocked = match &mut self.stage {
                Stage::Reading(head) => match read(&mut self.socket, head)? {
                    Progress::Blocked => true,
                    Progress::Done => {
                        self.stage = Stage::Writing { answer: answer(head), written: 0 };
                        self.until = now + MAX_REQUEST;
                        false
                    }
                },
                Stage::Writing { answer, written } => match write(&mut self.socket, answer, written)? {
                    Progress::Blocked => true,
                    Progress::Done => {
                        self.socket.shutdown(Shutdown::Write)?;
                        self.stage = Stage::Draining;
                        false
                    }
                },
                Stage::Draining => drain(&mut self.socket)?,
            };
            if is_blocked {
                return Ok(());
            }
        }
    }
}

enum Progress {
    Done,
    Blocked,
}

/// Reads until the head is whole or has reached its limit, the client has closed its side, or no more input has
/// arrived.
fn read(socket: &mut TcpStream, head: &mut Vec<u8>) -> io::Result<Progress> {
    let mut part = [0; 1024];
    while head.len() < MAX_HEAD_BYTES && !is_whole(head) {
        let room = part.len().min(MAX_HEAD_BYTES - head.len());
        match socket.read(&mut part[..room]) {
            // A client that closes its side before it sends anything gets no reply.
            Ok(0) if head.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(0) => break,
            Ok(len) => head.extend_from_slice(&part[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Blocked),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Progress::Done)
}

fn is_whole(head: &[u8]) -> bool {
    head.windows(4).any(|end| end == b"\r\n\r\n") || head.windows(2).any(|end| end == b"\n\n")
}

fn write(socket: &mut TcpStream, answer: &[u8], written: &mut usize) -> io::Result<Progress> {
    while *written < answer.len() {
        match socket.write(&answer[*written..]) {
            Ok(len) => *written += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Blocked),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Progress::Done)
}

/// Reads at most 1 KiB and discards it. Returns `true` if nothing had arrived. Fails if the client has closed its side.
fn drain(socket: &mut TcpStream) -> io::Result<bool> {
    match socket.read(&mut [0; 1024]) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}

/// Builds the whole reply to a request.
fn answer(head: &[u8], path: &str, text: &mut impl FnMut(Format) -> Option<Arc<str>>) -> Vec<u8> {
    let has_body = !head.starts_with(b"HEAD ");
    let format = match format_of(head, path) {
        Ok(format) => format,
        Err(status) => return response(status, "text/plain; charset=utf-8", &format!("{status}\n"), has_body),
    };
    match text(format) {
        Some(text) => response("200 OK", format.content_type(), &text, has_body),
        None => response("503 Service Unavailable", "text/plain; charset=utf-8", "the node is stopping\n", has_body),
    }
}

fn response(status: &str, content_type: &str, body: &str, has_body: bool) -> Vec<u8> {
    let allow = if status == METHOD_NOT_ALLOWED { "Allow: GET, HEAD\r\n" } else { "" };
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len}\r\n{allow}Vary: Accept\r\n\
         Connection: close\r\n\r\n"
    );
    (head + if has_body { body } else { "" }).into_bytes()
}

const METHOD_NOT_ALLOWED: &str = "405 Method Not Allowed";

/// Returns the format of the reply to a request for `path`.
///
/// # Errors
///
/// For any other request, returns the status of the reply.
fn format_of(head: &[u8], path: &str) -> Result<Format, &'static str> {
    const BAD_REQUEST: &str = "400 Bad Request";
    if !is_whole(head) && head.len() >= MAX_HEAD_BYTES {
        return Err("431 Request Header Fields Too Large");
    }
    let head = std::str::from_utf8(head).map_err(|_| BAD_REQUEST)?;
    let mut lines = head.lines();
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, version] = words[..] else { return Err(BAD_REQUEST) };
    if !version.starts_with("HTTP/1.") {
        return Err(BAD_REQUEST);
    }
    if path_of(target) != path {
        return Err("404 Not Found");
    }
    if !["GET", "HEAD"].contains(&method) {
        return Err(METHOD_NOT_ALLOWED);
    }
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
    let accepted = headers.filter(|(name, _)| name.eq_ignore_ascii_case("accept")).map(|(_, value)| value);
    Ok(preferred(accepted))
}

/// Returns the path of a request's target. The target may have the absolute form that proxies send:
/// `http://host/path?query`.
fn path_of(target: &str) -> &str {
    let without_scheme = ["http://", "https://"].iter().find_map(|scheme| target.strip_prefix(scheme));
    let path = without_scheme.map_or(target, |rest| rest.find('/').map_or("/", |at| &rest[at..]));
    path.split(['?', '#']).next().unwrap_or_default()
}

/// Returns OpenMetrics if the client accepts it by name and prefers it at least as much as plain text. Otherwise
/// returns plain text, which every collector reads.
fn preferred<'a>(accepted: impl Iterator<Item = &'a str>) -> Format {
    let (mut plain, mut open_metrics) = (0.0_f32, 0.0_f32);
    for range in accepted.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse).unwrap_or(0.0);
        match kind.as_str() {
            "application/openmetrics-text" => open_metrics = open_metrics.max(weight),
            "text/plain" | "text/*" | "*/*" => plain = plain.max(weight),
            _ => {}
        }
    }
    if open_metrics > 0.0 && open_metrics >= plain { Format::OpenMetrics } else { Format::Plain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Starts a server for `text`. Returns the server's address, and a counter of the server's requests for the text.
    fn server(text: Option<&'static str>) -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            serve(&listener, "/metrics", |format| {
                count.fetch_add(1, Ordering::Relaxed);
                text.map(|text| Arc::from(format!("{format:?} {text}")))
            })
        });
        (address, asked)
    }

    /// Sends `request` and returns the whole reply.
    fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(request).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text
    }

    const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
                         Content-Length: 7\r\nVary: Accept\r\nConnection: close\r\n\r\n";

    #[test]
    fn the_reply_to_get_has_the_text_and_the_reply_to_head_has_none() {
        let (address, _) = server(Some("x"));
        assert_eq!(ask(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), format!("{PLAIN}Plain x"));
        assert_eq!(ask(address, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), PLAIN);
    }

    #[test]
    fn no_reply_to_head_has_a_body() {
        for (text, path) in [(Some("x"), "/"), (None, "/metrics")] {
            let (address, _) = server(text);
            let reply = ask(address, format!("HEAD {path} HTTP/1.1\r\n\r\n").as_bytes());
            assert!(reply.ends_with("\r\n\r\n") && !reply.contains("200 OK"), "{reply}");
        }
    }

    #[test]
    fn every_form_of_the_path_is_accepted_and_invalid_requests_are_refused() {
        let (address, asked) = server(Some("x"));
        for target in
            ["/metrics", "/metrics?x=1", "http://node:9333/metrics", "https://[::1]:1/metrics?y", "/metrics#top"]
        {
            let text = ask(address, format!("GET {target} HTTP/1.0\r\n\r\n").as_bytes());
            assert_eq!(text, format!("{PLAIN}Plain x"), "{target}");
        }
        assert_eq!(ask(address, b"GET /metrics HTTP/1.1\n\n"), format!("{PLAIN}Plain x"));
        let answered = asked.load(Ordering::Relaxed);
        for (request, status) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "404 Not Found"),
            (b"GET http://node HTTP/1.1\r\n\r\n", "404 Not Found"),
            (b"GET /metrics/ HTTP/1.1\r\n\r\n", "404 Not Found"),
            (b"GET /metrics\r\n\r\n", "400 Bad Request"),
            (b"GET /metrics SSH-2.0\r\n\r\n", "400 Bad Request"),
            (b"\r\n\r\n", "400 Bad Request"),
            (b"GET /\xff HTTP/1.1\r\n\r\n", "400 Bad Request"),
        ] {
            let len = status.len() + 1;
            let expected = format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len}\r\n\
                 Vary: Accept\r\nConnection: close\r\n\r\n{status}\n"
            );
            assert_eq!(ask(address, request), expected, "{request:?}");
        }
        assert_eq!(asked.load(Ordering::Relaxed), answered, "the text was requested for an invalid request");
        assert!(ask(server(None).0, b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 503 Service Unavailable"));
    }

    #[test]
    fn the_reply_to_a_refused_method_lists_the_allowed_methods() {
        let (address, _) = server(Some("x"));
        for method in ["POST", "PUT", "OPTIONS", "get"] {
            let text = ask(address, format!("{method} /metrics HTTP/1.1\r\n\r\n").as_bytes());
            assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{text}");
            assert!(text.contains("\r\nAllow: GET, HEAD\r\n"), "{text}");
        }
    }

    #[test]
    fn the_client_gets_its_preferred_format() {
        for (accepted, format) in [
            (&[][..], Format::Plain),
            (&["*/*"], Format::Plain),
            (&["text/plain"], Format::Plain),
            (&["application/openmetrics-text"], Format::OpenMetrics),
            (&["application/openmetrics-text; version=1.0.0; q=0.5", "text/plain;q=0.4"], Format::OpenMetrics),
            (&["text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.8"], Format::Plain),
            (&["application/openmetrics-text;version=1.0.0,*/*;q=0.1"], Format::OpenMetrics),
            (&["Application/OpenMetrics-Text, */*"], Format::OpenMetrics),
            (&["application/openmetrics-text;q=0"], Format::Plain),
            (&["application/openmetrics-text;q=x"], Format::Plain),
        ] {
            assert_eq!(preferred(accepted.iter().copied()), format, "{accepted:?}");
        }
        let (address, _) = server(Some("x"));
        let text = ask(address, b"GET /metrics HTTP/1.1\r\naccept: application/openmetrics-text\r\n\r\n");
        assert!(text.contains("\r\nContent-Type: application/openmetrics-text; version=1.0.0; "), "{text}");
        assert!(text.ends_with("\r\n\r\nOpenMetrics x"), "{text}");
    }

    #[test]
    fn idle_and_slow_clients_delay_no_other_client() {
        let (address, _) = server(Some("x"));
        // Twice as many as may be open: the oldest are closed.
        let idle: Vec<TcpStream> = (0..2 * MAX_CONNECTIONS)
            .map(|at| {
                let mut client = TcpStream::connect(address).unwrap();
                if at % 2 == 1 {
                    client.write_all(b"GET /metr").unwrap();
                }
                client
            })
            .collect();
        assert_eq!(ask(address, b"GET /metrics HTTP/1.1\r\n\r\n"), format!("{PLAIN}Plain x"));
        drop(idle);
    }

    #[test]
    fn a_client_that_does_not_read_delays_no_other_and_is_closed() {
        const MORE_THAN_BUFFERS_TAKE: usize = 64 << 20;
        let text: &'static str = "~".repeat(MORE_THAN_BUFFERS_TAKE).leak();
        let (address, _) = server(Some(text));
        let mut stuck = TcpStream::connect(address).unwrap();
        stuck.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        assert!(ask(address, b"HEAD /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
        // The client reads nothing for longer than allowed.
        std::thread::sleep(MAX_REQUEST + Duration::from_millis(500));
        let mut taken = Vec::new();
        let _ = stuck.read_to_end(&mut taken);
        assert!(taken.len() < MORE_THAN_BUFFERS_TAKE, "{}", taken.len());
    }

    #[test]
    fn a_request_head_without_an_end_is_refused_at_the_maximum_size() {
        let (address, _) = server(Some("x"));
        let text = ask(address, &[b'x'; 4 * MAX_HEAD_BYTES]);
        assert!(text.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{text}");
    }

    #[test]
    fn a_half_closed_client_gets_a_reply_only_if_it_has_sent_a_request() {
        let (address, _) = server(Some("x"));
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("{PLAIN}Plain x"));
        let mut silent = TcpStream::connect(address).unwrap();
        silent.shutdown(Shutdown::Write).unwrap();
        text.clear();
        silent.read_to_string(&mut text).unwrap();
        assert_eq!(text, "");
    }
}
