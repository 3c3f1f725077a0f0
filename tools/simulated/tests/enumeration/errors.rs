//! The errors that each network call may return on Linux, according to the manual pages of its system calls.

use peerloop::internals::errno::{
    EADDRINUSE, EADDRNOTAVAIL, EAGAIN, ECONNABORTED, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EINTR, EMFILE, ENETDOWN,
    ENETUNREACH, ENFILE, ENOBUFS, ENOMEM, ENOSPC, ENOTCONN, EPIPE, EPROTO, ETIMEDOUT,
};
use peerloop::sim::Site;

/// Further error numbers, with their values on Linux on x86-64 and ARM. On other systems, some of these values mean
/// other errors.
const EPERM: i32 = 1;
const EIO: i32 = 5;
const EBADF: i32 = 9;
const EACCES: i32 = 13;
const EFAULT: i32 = 14;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;
const ENONET: i32 = 64;
const EMSGSIZE: i32 = 90;
const ENOPROTOOPT: i32 = 92;
const EOPNOTSUPP: i32 = 95;
const EAFNOSUPPORT: i32 = 97;
const EHOSTDOWN: i32 = 112;

/// Returns the errors that the calls at a site may return.
pub(crate) const fn errors_of(site: Site) -> &'static [i32] {
    match site {
        Site::Wait => &WAIT,
        Site::Listen => &LISTEN,
        Site::Accept => &ACCEPT,
        Site::Attach => &ATTACH,
        Site::Connect => &CONNECT,
        Site::Connected => &CONNECTED,
        Site::Read => &READ,
        Site::Write => &WRITE,
    }
}

/// Returns whether the loop merely repeats a call that fails with this error. Such a failure must not change the
/// outcome.
pub(crate) const fn is_put_off(errno: i32) -> bool {
    errno == EINTR || errno == EAGAIN
}

/// Returns whether a call at this site that fails with this error ends the loop.
pub(crate) const fn ends_the_loop(site: Site, errno: i32) -> bool {
    matches!(site, Site::Wait) && errno != EINTR
}

/// Errors of epoll_wait.
const WAIT: [i32; 4] = [EINTR, EBADF, EFAULT, EINVAL];

/// Errors of socket, setsockopt, bind, listen, getsockname and epoll_ctl.
const LISTEN: [i32; 10] =
    [EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EPERM];

/// Errors of accept4, including those of a connection that failed before it was accepted.
const ACCEPT: [i32; 20] = [
    EINTR,
    EAGAIN,
    ECONNABORTED,
    ECONNRESET,
    EPROTO,
    ETIMEDOUT,
    ENETDOWN,
    ENETUNREACH,
    EHOSTUNREACH,
    EHOSTDOWN,
    ENONET,
    ENOPROTOOPT,
    EOPNOTSUPP,
    EMFILE,
    ENFILE,
    ENOBUFS,
    ENOMEM,
    EPERM,
    EINVAL,
    EBADF,
];

/// Errors of epoll_ctl.
const ATTACH: [i32; 6] = [ENOMEM, ENOSPC, EPERM, EEXIST, EBADF, EINVAL];

/// Errors of socket, setsockopt, bind, connect and epoll_ctl.
const CONNECT: [i32; 16] = [
    EINTR,
    EMFILE,
    ENFILE,
    ENOBUFS,
    ENOMEM,
    ENOSPC,
    EACCES,
    EPERM,
    EADDRINUSE,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    ECONNREFUSED,
    ENETDOWN,
    ENETUNREACH,
    EHOSTUNREACH,
    ETIMEDOUT,
];

/// Errors of getsockopt with SO_ERROR, and of getpeername.
const CONNECTED: [i32; 13] = [
    EINTR,
    ECONNREFUSED,
    ECONNRESET,
    ECONNABORTED,
    ETIMEDOUT,
    EHOSTUNREACH,
    ENETUNREACH,
    ENETDOWN,
    EADDRNOTAVAIL,
    EACCES,
    EPERM,
    ENOBUFS,
    ENOMEM,
];

/// Errors of recvfrom.
const READ: [i32; 14] = [
    EINTR,
    EAGAIN,
    ECONNRESET,
    ECONNREFUSED,
    ETIMEDOUT,
    EHOSTUNREACH,
    ENETUNREACH,
    EPIPE,
    EPROTO,
    EIO,
    ENOBUFS,
    ENOMEM,
    ENOTCONN,
    EBADF,
];

/// Errors of sendto and sendmsg.
const WRITE: [i32; 15] = [
    EINTR,
    EAGAIN,
    EPIPE,
    ECONNRESET,
    ETIMEDOUT,
    EHOSTUNREACH,
    ENETUNREACH,
    ENETDOWN,
    EACCES,
    EPERM,
    EMSGSIZE,
    ENOBUFS,
    ENOMEM,
    ENOTCONN,
    EBADF,
];
