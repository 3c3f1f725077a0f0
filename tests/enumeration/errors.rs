//! What each call can fail with on Linux, by the manual pages of the system calls behind it.

use peerloop::sim::Site;

/// The numbers that only this table needs, as Linux on x86-64 and ARM has them; elsewhere they are errors of some kind.
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

use peerloop::sim::errno::{
    EADDRINUSE, EADDRNOTAVAIL, EAGAIN, ECONNABORTED, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EINTR, EMFILE, ENETDOWN,
    ENETUNREACH, ENFILE, ENOBUFS, ENOMEM, ENOSPC, ENOTCONN, EPIPE, EPROTO, ETIMEDOUT,
};

/// What the calls of a site can fail with.
pub(crate) const fn errors_of(site: Site) -> &'static [i32] {
    match site {
        // epoll_wait.
        Site::Wait => &[EINTR, EBADF, EFAULT, EINVAL],
        // socket, setsockopt, bind, listen, getsockname, epoll_ctl.
        Site::Listen => {
            &[EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EPERM]
        }
        // accept4, with what befell the connection before it was accepted.
        Site::Accept => &[
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
        ],
        // epoll_ctl.
        Site::Attach => &[ENOMEM, ENOSPC, EPERM, EEXIST, EBADF, EINVAL],
        // socket, setsockopt, bind, connect, epoll_ctl.
        Site::Connect => &[
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
        ],
        // getsockopt with SO_ERROR, getpeername.
        Site::Connected => &[
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
        ],
        // recvfrom.
        Site::Read => &[
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
        ],
        // sendto, sendmsg.
        Site::Write => &[
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
        ],
    }
}

/// Whether a call that failed so was only put off: nothing of it may be seen in what the loop does.
pub(crate) const fn is_put_off(errno: i32) -> bool {
    errno == EINTR || errno == EAGAIN
}

/// Whether a wait that failed so ends the loop.
pub(crate) const fn ends_the_loop(site: Site, errno: i32) -> bool {
    matches!(site, Site::Wait) && errno != EINTR
}
