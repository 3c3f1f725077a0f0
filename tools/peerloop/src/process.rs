//! What the process does for many peers before it has a second thread.
//!
//! - The kernel doubles the table of descriptors as it fills up, and while a process has several threads, whoever asked
//!   for a descriptor then waits for some 10 ms: a turn of the loop. So the table gets its full size first.
//! - glibc keeps most of what a burst of large buffers leaves: peers that begin messages above 4 KiB and disconnect
//!   would leave the process as large as they made it. The library gathers those in large buffers only, whatever
//!   their size. So large buffers are mapped, and return to the system when they are freed.
//!
//! Nothing here fails: what the system refuses leaves the process slower or larger, and as correct.

/// Prepares for so many open files and sockets; each takes 8 bytes of the kernel's memory from here on.
pub(crate) fn prepare(descriptors: u64) {
    grow_descriptor_table(descriptors);
    return_large_buffers();
}

/// Takes the last of the descriptors and gives it back; the table keeps its size.
fn grow_descriptor_table(descriptors: u64) {
    let last = i32::try_from(descriptors.saturating_sub(1)).unwrap_or(i32::MAX);
    drop(rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), last));
}

/// Maps large buffers: all of at least the size in which messages above 4 KiB are gathered.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "nothing safe sets it")]
fn return_large_buffers() {
    const LARGE_BYTES: libc::c_int = peerloop::limits::BUFFER_GROWTH_BYTES as libc::c_int;
    // SAFETY: it takes and keeps two numbers, whatever they are, and no other thread allocates meanwhile.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn return_large_buffers() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn table_size() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("it is there");
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).expect("the kernel tells it");
        size.trim().parse().expect("it is a number")
    }

    #[test]
    fn the_table_has_room_for_the_last_descriptor() {
        let before = table_size();
        grow_descriptor_table(0);
        assert_eq!(table_size(), before, "there is room for one");
        let descriptors = rlimit::increase_nofile_limit(2 * before + 1).expect("it may be raised");
        grow_descriptor_table(descriptors);
        assert!(table_size() >= descriptors && table_size() > before, "{before} and then {}", table_size());
        grow_descriptor_table(u64::MAX);
        assert!(table_size() < u64::from(u32::MAX), "what is refused changes nothing");
    }
}
