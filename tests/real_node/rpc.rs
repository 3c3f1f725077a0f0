//! A node's RPC over one connection that stays open, fast enough to wait for a transaction within a millisecond.
//!
//! A start of `bitcoin-cli` lasts several milliseconds, which would hide the latencies that the tests measure.

use crate::node::Node;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// Maximum time for a reply. The mining of many blocks lasts longest.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a node's RPC.
#[derive(Debug)]
pub(crate) struct Rpc {
    connection: BufReader<TcpStream>,
    /// The line with the node's password, which the node has written into its folder.
    authorization: String,
}

impl Rpc {
    /// Connects to a node that answers.
    ///
    /// # Panics
    ///
    /// When the node does not accept the connection, or has no file with its password.
    pub(crate) fn connect(node: &Node) -> Self {
        let cookie = fs::read(node.data_folder().join("regtest").join(".cookie")).expect("the node writes a password");
        let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, node.rpc_port())).expect("the node listens");
        connection.set_nodelay(true).expect("the socket is open");
        connection.set_read_timeout(Some(PATIENCE)).expect("the timeout is above zero");
        let authorization = format!("Authorization: Basic {}", base64(&cookie));
        Self { connection: BufReader::new(connection), authorization }
    }

    /// Returns the result of a call.
    ///
    /// # Panics
    ///
    /// When the node reports an error.
    pub(crate) fn call(&mut self, method: &str, parameters: &[Value]) -> Value {
        self.try_call(method, parameters).unwrap_or_else(|error| panic!("{method} {parameters:?}: {error}"))
    }

    /// Returns the result of a call, or the node's error.
    pub(crate) fn try_call(&mut self, method: &str, parameters: &[Value]) -> Result<Value, Value> {
        let body = json!({"id": 1, "method": method, "params": parameters}).to_string();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: keep-alive\r\n\r\n{body}",
            self.authorization,
            body.len()
        );
        self.connection.get_mut().write_all(request.as_bytes()).expect("the node reads requests");
        let mut reply: Value = serde_json::from_slice(&self.read_body()).expect("the reply is JSON");
        match reply["error"].take() {
            Value::Null => Ok(reply["result"].take()),
            error => Err(error),
        }
    }

    /// Reads a reply's head, and returns its body. The node sends the replies of some calls in chunks.
    fn read_body(&mut self) -> Vec<u8> {
        let (mut len_bytes, mut is_chunked) = (None, false);
        loop {
            let line = self.read_line();
            if line.is_empty() {
                break;
            }
            match line.split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    len_bytes = value.trim().parse().ok();
                }
                Some((name, value)) if name.eq_ignore_ascii_case("transfer-encoding") => {
                    is_chunked = value.trim().eq_ignore_ascii_case("chunked");
                }
                Some(_) | None => {}
            }
        }
        if !is_chunked {
            return self.read_bytes(len_bytes.expect("the reply states its length"));
        }
        let mut body = Vec::new();
        loop {
            let len_bytes = usize::from_str_radix(&self.read_line(), 16).expect("a chunk begins with its length");
            body.extend(self.read_bytes(len_bytes));
            assert_eq!(self.read_line(), "", "a chunk is longer than stated");
            if len_bytes == 0 {
                return body;
            }
        }
    }

    fn read_bytes(&mut self, len_bytes: usize) -> Vec<u8> {
        let mut bytes = vec![0; len_bytes];
        self.connection.read_exact(&mut bytes).expect("the node sends the whole reply");
        bytes
    }

    fn read_line(&mut self) -> String {
        let mut line = String::new();
        let len_bytes = self.connection.read_line(&mut line).expect("the node replies in time");
        assert!(len_bytes > 0, "the node closed the connection");
        line.trim_end().to_owned()
    }
}

/// Encodes bytes for an HTTP header (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |group: u32, at: usize| char::from(DIGITS[(group >> (18 - 6 * at)) as usize & 63]);
    let group_of =
        |chunk: &[u8]| (0..3).fold(0, |group, at| group << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
    let encode = |chunk: &[u8]| -> String {
        (0..4).map(|at| if at <= chunk.len() { digit(group_of(chunk), at) } else { '=' }).collect()
    };
    bytes.chunks(3).map(encode).collect()
}

#[test]
fn base64_equals_the_examples_of_the_standard() {
    let examples =
        [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
    for (bytes, text) in examples {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
}
