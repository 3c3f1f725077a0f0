//! This operating system's error numbers.
//!
//! The standard library has an `ErrorKind` for most of them; the others are matched by number. The simulator's
//! virtual kernel fails with these numbers, so that its errors are classified like the real kernel's.

/// Returns the number that this system uses: Linux's, BSD's, or System V's, which Solaris, illumos and Linux on MIPS
/// use.
const fn errno(linux: i32, bsd: i32, system_v: i32) -> i32 {
    const IS_SYSTEM_V: bool = cfg!(any(
        target_os = "solaris",
        target_os = "illumos",
        target_arch = "mips",
        target_arch = "mips64",
        target_arch = "mips32r6",
        target_arch = "mips64r6"
    ));
    if IS_SYSTEM_V {
        system_v
    } else if cfg!(any(target_os = "linux", target_os = "android")) {
        linux
    } else {
        bsd
    }
}

/// The value of [`EPROTO`] on BSD. It differs between BSD systems.
const EPROTO_OF_BSD: i32 = if cfg!(any(target_os = "freebsd", target_os = "dragonfly")) {
    92
} else if cfg!(target_os = "openbsd") {
    95
} else if cfg!(target_os = "netbsd") {
    96
} else {
    100
};

/// A signal interrupted the call.
pub const EINTR: i32 = 4;
/// The call would block.
pub const EAGAIN: i32 = errno(11, 35, 11);
/// The device has failed.
pub const EIO: i32 = 5;
/// Out of memory.
pub const ENOMEM: i32 = 12;
/// The whole system has no free descriptor.
pub const ENFILE: i32 = 23;
/// This process has no free descriptor.
pub const EMFILE: i32 = 24;
/// The device is full; for a poller, no further registration is possible.
pub const ENOSPC: i32 = 28;
/// The peer no longer reads.
pub const EPIPE: i32 = 32;
/// The machine is not on the network. BSD has no such error, so the number there is -1, which no error uses.
pub const ENONET: i32 = errno(64, -1, 64);
/// The peer violated the protocol.
pub const EPROTO: i32 = errno(71, EPROTO_OF_BSD, 71);
/// The protocol has no such option.
pub const ENOPROTOOPT: i32 = errno(92, 42, 99);
/// The address is in use.
pub const EADDRINUSE: i32 = errno(98, 48, 125);
/// No port is free, or the address does not belong to this host.
pub const EADDRNOTAVAIL: i32 = errno(99, 49, 126);
/// The network interface is down.
pub const ENETDOWN: i32 = errno(100, 50, 127);
/// No route leads to the network.
pub const ENETUNREACH: i32 = errno(101, 51, 128);
/// The connection was closed before it was accepted.
pub const ECONNABORTED: i32 = errno(103, 53, 130);
/// The peer has reset the connection.
pub const ECONNRESET: i32 = errno(104, 54, 131);
/// The kernel has no buffer space.
pub const ENOBUFS: i32 = errno(105, 55, 132);
/// The socket is not connected.
pub const ENOTCONN: i32 = errno(107, 57, 134);
/// The peer did not answer in time.
pub const ETIMEDOUT: i32 = errno(110, 60, 145);
/// No socket listens on the address.
pub const ECONNREFUSED: i32 = errno(111, 61, 146);
/// The peer's host is down.
pub const EHOSTDOWN: i32 = errno(112, 64, 147);
/// The connection attempt is in progress.
pub const EINPROGRESS: i32 = errno(115, 36, 150);
/// The peer's host cannot be reached.
pub const EHOSTUNREACH: i32 = errno(113, 65, 148);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    /// Compares all numbers except [`ENONET`] with the C library of the target system, at compile time.
    const _: () = {
        assert!(EINTR == libc::EINTR && EAGAIN == libc::EAGAIN && EIO == libc::EIO && ENOMEM == libc::ENOMEM);
        assert!(ENFILE == libc::ENFILE && EMFILE == libc::EMFILE && ENOSPC == libc::ENOSPC && EPIPE == libc::EPIPE);
        assert!(EPROTO == libc::EPROTO && ENOPROTOOPT == libc::ENOPROTOOPT && EADDRINUSE == libc::EADDRINUSE);
        assert!(EADDRNOTAVAIL == libc::EADDRNOTAVAIL && ENETDOWN == libc::ENETDOWN);
        assert!(ENETUNREACH == libc::ENETUNREACH && ECONNABORTED == libc::ECONNABORTED);
        assert!(ECONNRESET == libc::ECONNRESET && ENOBUFS == libc::ENOBUFS && ENOTCONN == libc::ENOTCONN);
        assert!(ETIMEDOUT == libc::ETIMEDOUT && ECONNREFUSED == libc::ECONNREFUSED && EHOSTDOWN == libc::EHOSTDOWN);
        assert!(EINPROGRESS == libc::EINPROGRESS && EHOSTUNREACH == libc::EHOSTUNREACH);
    };

    #[cfg(any(target_os = "linux", target_os = "android", target_os = "solaris", target_os = "illumos"))]
    const _: () = assert!(ENONET == libc::ENONET);

    #[test]
    fn the_standard_library_maps_these_numbers_to_the_expected_kinds() {
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
