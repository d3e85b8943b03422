//! How much memory the process has.

use std::fs;

/// A page of Linux on all that Rust runs on, but for some aarch64 and powerpc64 machines, where the
/// figure is too small by the same factor before and after.
const PAGE: u64 = 4096;

/// How much more than before is no growth: what the allocator keeps one time and not another. With
/// 10,000 requests, 3 KiB that each of them leaves behind are seen; less is not.
const SLACK: u64 = 8 << 20;

/// Bytes in memory; `None` where there is no `/proc`.
pub(crate) fn resident() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}

/// What is wrong when it is more than before.
pub(crate) fn grown(before: Option<u64>, after: Option<u64>) -> Option<String> {
    let (before, after) = before.zip(after)?;
    let most = before + before / 10 + SLACK;
    (after > most).then(|| format!("{after} bytes in memory, after {before}"))
}
