//! Where a director's lots begin, in its state file: with that number a replay draws the same.
//!
//! A comment there: the next start begins at another number.

/// What the line begins with.
const LINE: &str = "# lots begin at ";

/// The line that says it.
#[must_use]
pub fn line(lots: u64) -> String {
    format!("{LINE}{lots}")
}

/// What a state file says; `None` where it says nothing, as one written by hand.
#[must_use]
pub fn of_state(text: &str) -> Option<u64> {
    let said = text.lines().find_map(|line| line.strip_prefix(LINE))?;
    said.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for lots in [0, 7, u64::MAX] {
            let text = format!("# by ulvs\n{}\n--set 900 120 300\n", line(lots));
            assert_eq!(of_state(&text), Some(lots));
        }
        assert_eq!(of_state("# lots begin at noon\n"), None);
        assert_eq!(of_state("--set 900 120 300\n"), None);
    }
}
