//! Bounds of the address book: its file, its cache, and the loop's waits for the disk.

use std::time::Duration;

/// Maximum number of peers in the book: about 12 MB in the loop, and 17 MB more if all have the longest user agent.
pub const MAX_BOOK_PEERS: usize = 65_536;
/// Maximum size of the book's file. A larger file is not opened, and the file never grows beyond this size. A full
/// book whose records all have their maximum length and are rewritten repeatedly uses half of this size.
pub const MAX_BOOK_FILE_BYTES: u64 = 128 * 1024 * 1024;
/// Size of the database's page cache.
#[cfg(any(feature = "internals", feature = "store"))]
pub const BOOK_CACHE_BYTES: usize = 1024 * 1024;
/// Maximum number of unusable books that are set aside. Once there are this many, opening a further unusable book
/// fails.
pub const MAX_BOOK_SET_ASIDE: u32 = 16;
/// Maximum number of changes in one batch for the book, about 1 MB.
pub const MAX_BOOK_BATCH: usize = 4_096;
/// Maximum number of batches passed to the book's writer thread that are not yet known to be durable.
pub const MAX_BOOK_QUEUE: usize = 4;
/// Delay between a change and its batch, to collect further changes. A changed ban, a full batch or a stop of the
/// loop ends the delay early. On a healthy disk, a change is durable within a second.
pub const BOOK_DELAY: Duration = Duration::from_millis(500);
/// Pause before the first retry of a failed write. Each further failure doubles the pause, up to [`MAX_BOOK_RETRY`].
pub const BOOK_RETRY_FIRST: Duration = Duration::from_millis(250);
/// Maximum pause between two attempts to write the book.
pub const MAX_BOOK_RETRY: Duration = Duration::from_secs(30);
/// Maximum time for a write. If its result has not arrived by then, the disk counts as failing.
pub const MAX_BOOK_ANSWER: Duration = Duration::from_secs(10);
/// Maximum time for which a stopping loop waits for each result of a disk. If it does not respond, the last changes may
/// be lost.
pub const MAX_BOOK_END: Duration = Duration::from_secs(5);
