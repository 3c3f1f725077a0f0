//! The numbers of the errors that a kernel gives, as this machine's operating system counts them.
//!
//! What the virtual kernel fails with are these numbers and nothing else, so that whatever tells errors apart does with
//! it what it would do with the real one.

/// The number on Linux, and the one on the systems that come from BSD.
const fn errno(linux: i32, bsd: i32) -> i32 {
    if cfg!(any(target_os = "linux", target_os = "android")) { linux } else { bsd }
}

/// A signal came first.
pub const EINTR: i32 = 4;
/// Not now.
pub const EAGAIN: i32 = errno(11, 35);
/// The device has failed.
pub const EIO: i32 = 5;
/// No memory.
pub const ENOMEM: i32 = 12;
/// No descriptor left in the whole system.
pub const ENFILE: i32 = 23;
/// No descriptor left for this process.
pub const EMFILE: i32 = 24;
/// No room on the device; for a poller, no room for another registration.
pub const ENOSPC: i32 = 28;
/// Nobody reads any more.
pub const EPIPE: i32 = 32;
/// The protocol went wrong.
pub const EPROTO: i32 = errno(71, 100);
/// The address is taken.
pub const EADDRINUSE: i32 = errno(98, 48);
/// No port is left, or the address is not one of this host.
pub const EADDRNOTAVAIL: i32 = errno(99, 49);
/// No interface is up.
pub const ENETDOWN: i32 = errno(100, 50);
/// No route leads there.
pub const ENETUNREACH: i32 = errno(101, 51);
/// The connection was gone before it was accepted.
pub const ECONNABORTED: i32 = errno(103, 53);
/// The peer has reset the connection.
pub const ECONNRESET: i32 = errno(104, 54);
/// The kernel has no room for it.
pub const ENOBUFS: i32 = errno(105, 55);
/// There is no connection.
pub const ENOTCONN: i32 = errno(107, 57);
/// Nobody has answered.
pub const ETIMEDOUT: i32 = errno(110, 60);
/// Nobody listens.
pub const ECONNREFUSED: i32 = errno(111, 61);
/// Nobody answers for the address on its network.
pub const EHOSTUNREACH: i32 = errno(113, 65);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    #[test]
    fn the_standard_library_counts_alike() {
        for (code, kind) in [
            (EINTR, ErrorKind::Interrupted),
            (EAGAIN, ErrorKind::WouldBlock),
            (ENOMEM, ErrorKind::OutOfMemory),
            (EPIPE, ErrorKind::BrokenPipe),
            (EADDRINUSE, ErrorKind::AddrInUse),
            (EADDRNOTAVAIL, ErrorKind::AddrNotAvailable),
            (ENETDOWN, ErrorKind::NetworkDown),
            (ENETUNREACH, ErrorKind::NetworkUnreachable),
            (ECONNABORTED, ErrorKind::ConnectionAborted),
            (ECONNRESET, ErrorKind::ConnectionReset),
            (ENOTCONN, ErrorKind::NotConnected),
            (ETIMEDOUT, ErrorKind::TimedOut),
            (ECONNREFUSED, ErrorKind::ConnectionRefused),
            (EHOSTUNREACH, ErrorKind::HostUnreachable),
        ] {
            assert_eq!(Error::from_raw_os_error(code).kind(), kind, "{code}");
        }
    }
}
