//! The memory of the process.

use std::fs;

/// The size of a page of Linux, but for some aarch64 and powerpc64 machines, where the figure is too
/// small by the same factor before and after.
const PAGE: u64 = 4096;

/// A difference that is not a leak: memory that the allocator may keep or return. With 10,000
/// requests, a leak of 3 KiB a request is detected.
const SLACK: u64 = 8 << 20;

/// Returns the resident bytes, or `None` without `/proc`.
pub(crate) fn resident() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}

/// Describes the growth, if there is any.
pub(crate) fn grown(before: Option<u64>, after: Option<u64>) -> Option<String> {
    let (before, after) = before.zip(after)?;
    let most = before + before / 10 + SLACK;
    (after > most).then(|| format!("{after} bytes in memory, after {before}"))
}
