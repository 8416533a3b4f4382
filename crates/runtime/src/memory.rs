//! How much memory the host has left, for the defences whose mode depends on it, and how much this process has.

use std::fs;

/// Of a process's auxiliary vector: the octets of a page (AT_PAGESZ, getauxval(3)).
const PAGE_SIZE: usize = 6;

/// Pages that are free or hold buffers of block devices, as the kernel's director counts them; none where `/proc` does
/// not say.
pub(crate) fn free_pages() -> Option<i32> {
    let page = page_size(&fs::read("/proc/self/auxv").ok()?)?;
    pages(&fs::read_to_string("/proc/meminfo").ok()?, page)
}

/// Octets of this process in memory (`VmRSS`, proc_pid_status(5)); none where `/proc` does not say.
pub(crate) fn resident() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS")?.checked_mul(1024)
}

/// The number behind `name` in a text of lines `NAME: NUMBER kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// Octets of a page, from an auxiliary vector: pairs of a type and a value, each of the machine's word.
fn page_size(vector: &[u8]) -> Option<u64> {
    const WORD: usize = size_of::<usize>();
    let mut words = vector
        .chunks_exact(WORD)
        .filter_map(|word| Some(usize::from_ne_bytes(word.try_into().ok()?)));
    while let (Some(kind), Some(value)) = (words.next(), words.next()) {
        if kind == PAGE_SIZE {
            return u64::try_from(value).ok();
        }
    }
    None
}

/// Pages of `page` octets that `/proc/meminfo` counts as MemFree and Buffers.
fn pages(meminfo: &str, page: u64) -> Option<i32> {
    let octets = kibibytes(meminfo, "MemFree")?
        .checked_add(kibibytes(meminfo, "Buffers")?)?
        .checked_mul(1024)?;
    Some(i32::try_from(octets.checked_div(page)?).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_and_buffers_count_and_the_page_cache_does_not() {
        let meminfo = "MemTotal: 500 kB\nMemFree:     400 kB\nMemAvailable: 999 kB\nBuffers:  16 kB\nCached: 7 kB\n";
        assert_eq!(pages(meminfo, 4096), Some(104));
        assert_eq!(pages(meminfo, 0), None);
        assert_eq!(pages("MemFree: 400 kB\n", 4096), None);
    }

    #[test]
    fn this_machine_tells() {
        assert!(free_pages().is_some_and(|pages| pages > 0));
        assert!(resident().is_some_and(|octets| octets > 100_000));
    }
}
