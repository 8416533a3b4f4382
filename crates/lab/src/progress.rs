//! How far a run is: a bar on a terminal, nothing elsewhere.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// Parts of the bar.
const PARTS: u64 = 40;
/// Parts of the work: the bar's number is in per cent with a decimal.
pub const WHOLE: u64 = 1000;

/// A bar that is drawn again when it grows, from any thread.
#[derive(Debug)]
pub struct Progress<W>(Mutex<Inner<W>>);

#[derive(Debug)]
struct Inner<W> {
    /// Where it is drawn; `None` = it is not.
    out: Option<W>,
    /// What stands there now; it never goes back.
    drawn: u64,
}

impl<W: Write> Progress<W> {
    /// A bar on `out`, or none.
    #[must_use]
    pub const fn new(out: Option<W>) -> Self {
        Self(Mutex::new(Inner { out, drawn: 0 }))
    }

    /// So many of [`WHOLE`] parts are done; `what` says at what the work is, in a few words.
    pub fn at(&self, parts: u64, what: &str) {
        // Only a picture of what was done: it is whole even if a thread died while drawing.
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = parts.min(WHOLE);
        if parts <= inner.drawn {
            return;
        }
        inner.drawn = parts;
        if let Some(out) = &mut inner.out {
            let filled = parts * PARTS / WHOLE;
            let bar: String = (0..PARTS)
                .map(|part| if part < filled { '#' } else { '.' })
                .collect();
            let what: String = what.chars().take(30).collect();
            let (percent, tenth) = (parts / 10, parts % 10);
            // Whoever closed the terminal does not want the rest.
            let _ = write!(out, "\r[{bar}] {percent:>3}.{tenth} %  {what:<30}");
            let _ = out.flush();
        }
    }

    /// Wipes the bar.
    pub fn finish(self) {
        let inner = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut out) = inner.out.filter(|_| inner.drawn > 0) {
            let _ = write!(out, "\r\x1b[K");
            let _ = out.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_grows_to_its_end_and_is_wiped() {
        let mut drawn = Vec::new();
        let progress = Progress::new(Some(&mut drawn));
        for parts in [250, 200, 255, 1000, 2000] {
            progress.at(parts, "steady, rr");
        }
        progress.finish();
        let text = String::from_utf8(drawn).expect("it is text");
        let states: Vec<&str> = text.split('\r').collect();
        // Nothing, a quarter and a little more, the whole once, and wiped.
        assert_eq!(states.len(), 5, "{text}");
        assert!(states[1].starts_with("[##########......"), "{text}");
        assert!(states[1].contains(" 25.0 %  steady, rr"));
        assert!(states[3].contains("100.0 %"));
        assert_eq!(states[4], "\x1b[K");
    }

    #[test]
    fn without_a_terminal_there_is_no_bar() {
        let progress: Progress<Vec<u8>> = Progress::new(None);
        progress.at(1, "one");
        progress.finish();
    }
}
