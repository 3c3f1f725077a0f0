//! Optional socket options that the loop sets.

use std::fmt;
use std::io;

/// An optional socket option. A system or a sandbox may refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketOption {
    /// `TCP_NODELAY`: small messages are sent at once.
    NoDelay,
    /// `TCP_USER_TIMEOUT`: the kernel gives up on a peer that acknowledges nothing.
    UserTimeout,
    /// `IPV6_V6ONLY`: a listener on an IPv6 address accepts no IPv4 connection.
    OnlyV6,
    /// `SO_REUSEADDR`: a listener can bind an address while closed connections still hold it.
    ReuseAddress,
    /// `SO_REUSEPORT`: several loops can listen on one address.
    ReusePort,
}

/// A socket option that the system has refused. The socket is used without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedOption {
    /// The option.
    pub option: SocketOption,
    /// The system's error number, 0 if there is none.
    pub code: i32,
}

impl SocketOption {
    /// Returns the option's name in the system's manuals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoDelay => "TCP_NODELAY",
            Self::UserTimeout => "TCP_USER_TIMEOUT",
            Self::OnlyV6 => "IPV6_V6ONLY",
            Self::ReuseAddress => "SO_REUSEADDR",
            Self::ReusePort => "SO_REUSEPORT",
        }
    }

    /// Returns the disadvantage of a connection or listener without the option.
    const fn loss(self) -> &'static str {
        match self {
            Self::NoDelay => "latencies may include waits of up to 40 ms for acknowledgements",
            Self::UserTimeout => "a vanished peer is noticed only by its missing pong or its full queue",
            Self::OnlyV6 => "an IPv6 listener may accept IPv4 connections too",
            Self::ReuseAddress => "listening again right after a restart may fail for a few minutes",
            Self::ReusePort => "only one loop can listen on an address",
        }
    }
}

impl RefusedOption {
    /// Records that setting `option` failed with `error`.
    pub fn new(option: SocketOption, error: &io::Error) -> Self {
        Self { option, code: error.raw_os_error().unwrap_or(0) }
    }
}

impl fmt::Display for RefusedOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, loss) = (self.option.name(), self.option.loss());
        match self.code {
            0 => write!(f, "the system refuses the socket option {name}; continuing without it: {loss}"),
            code => {
                let error = io::Error::from_raw_os_error(code);
                write!(f, "the system refuses the socket option {name} ({error}); continuing without it: {loss}")
            }
        }
    }
}
