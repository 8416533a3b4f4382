//! How far a run is: a bar on a terminal, nothing elsewhere.

use std::io::Write;
use std::sync::Mutex;

/// Parts of the bar.
const PARTS: u64 = 40;

/// A bar that is drawn again when it grows, from any thread.
#[derive(Debug)]
pub struct Progress<W> {
    inner: Mutex<Inner<W>>,
}

#[derive(Debug)]
struct Inner<W> {
    /// Where it is drawn; `None` = it is not.
    out: Option<W>,
    /// Steps that are done, and all.
    done: u64,
    total: u64,
    /// What stands there now, to be drawn again only when it differs.
    drawn: (u64, String),
}

impl<W: Write> Progress<W> {
    /// A bar of so many steps on `out`, or none.
    #[must_use]
    pub fn new(out: Option<W>, total: u64) -> Self {
        Self {
            inner: Mutex::new(Inner {
                out,
                done: 0,
                total: total.max(1),
                drawn: (u64::MAX, String::new()),
            }),
        }
    }

    /// A step is done; `what` says which, in a few words.
    pub fn step(&self, what: &str) {
        let mut inner = match self.inner.lock() {
            Ok(inner) => inner,
            // Only a picture of what was done: it is whole even if a thread died while drawing.
            Err(poisoned) => poisoned.into_inner(),
        };
        inner.done = (inner.done + 1).min(inner.total);
        let permille = inner.done * 1000 / inner.total;
        if inner.drawn.0 == permille && inner.drawn.1 == what {
            return;
        }
        inner.drawn = (permille, what.to_owned());
        let filled = inner.done * PARTS / inner.total;
        let bar: String = (0..PARTS)
            .map(|part| if part < filled { '#' } else { '.' })
            .collect();
        let what: String = what.chars().take(32).collect();
        let (done, total) = (inner.done, inner.total);
        if let Some(out) = &mut inner.out {
            // Whoever closed the terminal does not want the rest.
            let _ = write!(
                out,
                "\r[{bar}] {:>3} %  {done} of {total}  {what:<32}",
                permille / 10
            );
            let _ = out.flush();
        }
    }

    /// Wipes the bar.
    pub fn finish(self) {
        let mut inner = match self.inner.into_inner() {
            Ok(inner) => inner,
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some(out) = &mut inner.out {
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
        let progress = Progress::new(Some(&mut drawn), 4);
        for _ in 0..5 {
            progress.step("steady, rr");
        }
        progress.finish();
        let text = String::from_utf8(drawn).expect("it is text");
        let states: Vec<&str> = text.split('\r').collect();
        // Nothing, a quarter, ..., the whole once (a step too many draws nothing), and wiped.
        assert_eq!(states.len(), 6, "{text}");
        assert!(states[1].starts_with("[##########......"), "{text}");
        assert!(states[1].contains("25 %  1 of 4  steady, rr"));
        assert!(states[4].contains("100 %  4 of 4"));
        assert_eq!(states[5], "\x1b[K");
    }

    #[test]
    fn without_a_terminal_there_is_no_bar() {
        let progress: Progress<Vec<u8>> = Progress::new(None, 2);
        progress.step("one");
        progress.finish();
    }
}
