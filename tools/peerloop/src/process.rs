//! Prepares the process for many peers before it has a second thread.
//!
//! - The kernel doubles the process's table of descriptors when a descriptor is requested and the table is full. In a
//!   process with several threads, the requesting thread then waits for about 10 ms, which delays a turn. So the
//!   table gets its full size here.
//! - glibc would keep most of the memory of a burst of large buffers, for example after many peers have each sent a
//!   part of a message above 4 KiB and disconnected. The library buffers such a message in a large buffer. So this
//!   module makes glibc allocate large buffers with `mmap`, and their memory returns to the system when they are freed.
//!
//! Nothing here fails: if the system refuses, the process is slower or uses more memory, but still works.

/// Prepares for this many open files and sockets. From then on, the kernel uses 8 bytes for each of them, open or not.
pub(crate) fn prepare(descriptors: u64) {
    grow_descriptor_table(descriptors);
    return_large_buffers();
}

/// Ends this process if the process that started it is killed, so that no run outlives the command that repeats it.
#[cfg(target_os = "linux")]
pub(crate) fn end_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn end_with_parent() {}

/// Duplicates stderr to the last descriptor number and closes the duplicate; the table keeps its size.
fn grow_descriptor_table(descriptors: u64) {
    let last = i32::try_from(descriptors.saturating_sub(1)).unwrap_or(i32::MAX);
    drop(rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), last));
}

/// Makes glibc allocate every large buffer with `mmap`. The library buffers messages above 4 KiB only in such buffers.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no safe function sets the threshold")]
fn return_large_buffers() {
    const LARGE_BYTES: libc::c_int = peerloop::limits::BUFFER_GROWTH_BYTES as libc::c_int;
    // SAFETY: the call stores a number, every number is valid, and no other thread allocates meanwhile.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn return_large_buffers() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn table_size() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).expect("the kernel reports the size");
        size.trim().parse().expect("the field is a number")
    }

    #[test]
    fn the_table_has_room_for_the_last_descriptor() {
        let before = table_size();
        grow_descriptor_table(0);
        assert_eq!(table_size(), before, "the table grew for a single descriptor");
        let descriptors = rlimit::increase_nofile_limit(2 * before + 1).expect("the limit can be raised");
        grow_descriptor_table(descriptors);
        assert!(table_size() >= descriptors && table_size() > before, "{before} entries became {}", table_size());
        grow_descriptor_table(u64::MAX);
        assert!(table_size() < u64::from(u32::MAX), "the table has grown to the refused size");
    }
}
