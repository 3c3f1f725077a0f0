//! Failures that the operating system reports, and the shortages of this machine that cause some of them.

use super::label::Label;
use crate::errno::{EHOSTDOWN, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENONET, ENOPROTOOPT, EPROTO};
use std::fmt;
use std::io;

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoStep {
    /// Opening a socket and connecting it.
    Connect,
    /// Binding a socket to the requested source address, before it connects.
    BindSource,
    /// Registering the socket with the poller.
    Register,
    /// Receiving.
    Read,
    /// Sending.
    Write,
    /// Listening on an address.
    Bind,
    /// Resolving a name.
    Resolve,
}

/// A resource that this machine lacks. No peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shortage {
    /// No file descriptor is free (EMFILE, ENFILE).
    Descriptors,
    /// No local port is free for the dial (EADDRNOTAVAIL when connecting, or EADDRINUSE when binding a source address).
    Ports,
    /// The source address does not belong to this machine (EADDRNOTAVAIL when binding it).
    SourceAddress,
    /// The kernel has no memory for the socket (ENOBUFS, ENOMEM).
    Memory,
}

/// A failure that the operating system reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkFailure {
    /// The failed step.
    pub step: IoStep,
    /// The error's kind.
    pub kind: io::ErrorKind,
    /// The system's error number, or 0 if there is none.
    pub code: i32,
}

impl NetworkFailure {
    /// Builds the failure of `step` from `error`.
    pub fn new(step: IoStep, error: &io::Error) -> Self {
        Self { step, kind: error.kind(), code: error.raw_os_error().unwrap_or(0) }
    }

    /// Returns the shortage that caused the failure, if there is one.
    pub const fn shortage(&self) -> Option<Shortage> {
        match self.code {
            EMFILE | ENFILE => Some(Shortage::Descriptors),
            ENOBUFS | ENOMEM => Some(Shortage::Memory),
            _ => match (self.step, self.kind) {
                (IoStep::BindSource, io::ErrorKind::AddrNotAvailable) => Some(Shortage::SourceAddress),
                (IoStep::BindSource, io::ErrorKind::AddrInUse) | (IoStep::Connect, io::ErrorKind::AddrNotAvailable) => {
                    Some(Shortage::Ports)
                }
                _ => None,
            },
        }
    }

    /// Returns the step at which a dial failed. If the socket has a source address, an error about an address in use or
    /// unavailable counts as a failure to bind that source address.
    pub(crate) fn step_of_dial(has_source: bool, error: &io::Error) -> IoStep {
        match error.kind() {
            io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable if has_source => IoStep::BindSource,
            _ => IoStep::Connect,
        }
    }

    /// Returns whether a failed accept affects at most one connection, so that the next accept may succeed at once. On
    /// Linux, accept also reports errors that the new connection already had (accept(2), "Error handling").
    pub(crate) const fn is_of_one_connection(&self) -> bool {
        match self.kind {
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable => true,
            // Two of these constants may have the same value, so they cannot be patterns.
            _ => self.code == EPROTO || self.code == ENOPROTOOPT || self.code == EHOSTDOWN || self.code == ENONET,
        }
    }

    pub(super) const fn label(&self) -> Label {
        match self.shortage() {
            Some(Shortage::Descriptors) => Label::NoDescriptors,
            Some(Shortage::Ports) => Label::NoPorts,
            Some(Shortage::SourceAddress) => Label::SourceAddress,
            Some(Shortage::Memory) => Label::NoMemory,
            None => match self.kind {
                io::ErrorKind::ConnectionRefused => Label::Refused,
                io::ErrorKind::ConnectionReset => Label::Reset,
                io::ErrorKind::ConnectionAborted => Label::Aborted,
                io::ErrorKind::BrokenPipe => Label::BrokenPipe,
                io::ErrorKind::TimedOut => Label::NetworkTimeout,
                io::ErrorKind::HostUnreachable => Label::HostUnreachable,
                io::ErrorKind::NetworkUnreachable => Label::NetworkUnreachable,
                _ => Label::IoError,
            },
        }
    }
}

impl fmt::Display for NetworkFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempted = match self.step {
            IoStep::Connect => "connecting",
            IoStep::BindSource => "binding the source address",
            IoStep::Register => "registering the socket",
            IoStep::Read => "receiving",
            IoStep::Write => "sending",
            IoStep::Bind => "listening",
            IoStep::Resolve => "resolving the name",
        };
        let remedy = match self.shortage() {
            Some(Shortage::Descriptors) => "; raise the limit on open files (ulimit -n)",
            Some(Shortage::Ports) => "; no local port is free: add source addresses",
            Some(Shortage::SourceAddress) => "; use an address of one of this machine's interfaces",
            Some(Shortage::Memory) => "; the kernel has no memory for more sockets",
            None => match (self.step, self.kind) {
                (IoStep::Bind, io::ErrorKind::AddrNotAvailable) => {
                    "; use an address of one of this machine's interfaces"
                }
                (IoStep::Bind, io::ErrorKind::AddrInUse) => "; another socket listens there; use another port",
                (IoStep::Bind, io::ErrorKind::PermissionDenied) => "; this process may not use that port",
                _ => "",
            },
        };
        match self.code {
            0 => write!(f, "{attempted} failed: {}{remedy}", self.kind),
            code => write!(f, "{attempted} failed: {}{remedy}", io::Error::from_raw_os_error(code)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errno::{EADDRINUSE, EADDRNOTAVAIL, ECONNREFUSED};
    use crate::error::{CloseReason, Side};

    #[test]
    fn a_failed_bind_of_a_source_address_differs_from_a_failed_connect() {
        let failed = |has_source: bool, code: i32| {
            let error = io::Error::from_raw_os_error(code);
            let failure = NetworkFailure::new(NetworkFailure::step_of_dial(has_source, &error), &error);
            (failure.shortage(), CloseReason::Network(failure).side(), failure.label().name())
        };
        assert_eq!(failed(false, EADDRNOTAVAIL), (Some(Shortage::Ports), Side::Local, "local_eaddrnotavail"));
        assert_eq!(failed(true, EADDRINUSE), (Some(Shortage::Ports), Side::Local, "local_eaddrnotavail"));
        assert_eq!(failed(true, EADDRNOTAVAIL), (Some(Shortage::SourceAddress), Side::Local, "local_source_address"));
        assert_eq!(failed(true, ECONNREFUSED), (None, Side::Remote, "refused"));
        let listening = NetworkFailure::new(IoStep::Bind, &io::Error::from_raw_os_error(EADDRNOTAVAIL));
        assert_eq!(listening.shortage(), None, "a listener's address was reported as a shortage");
        assert!(listening.to_string().ends_with("; use an address of one of this machine's interfaces"), "{listening}");
    }
}
