//! What a running daemon has counted: a table of numbers, as text between daemon and `ulvs stats`.
//!
//! Promises: what is written is read back the same; lines that cannot be read are left out.

use core::fmt::{self, Write as _};
use core::ops::Deref;

/// The name of the text in a request ([`crate::netlink::Request::DumpText`]).
pub const NAME: &str = "ulvs_counters";

/// One number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The worker that counted it; none for what the workers have in common.
    pub worker: Option<usize>,
    /// What it belongs to: `frames`, `dropped`, `link/eth0`. No white space.
    pub group: String,
    /// What was counted. No white space.
    pub name: String,
    /// How many.
    pub value: u64,
}

/// All numbers, those of one group together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(Vec<Counter>);

impl Counters {
    /// Adds a number.
    pub fn add(&mut self, worker: Option<usize>, group: &str, name: &str, value: u64) {
        self.0.push(Counter {
            worker,
            group: group.to_owned(),
            name: name.to_owned(),
            value,
        });
    }

    /// Reads the text that `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(line).collect())
    }
}

impl Deref for Counters {
    type Target = [Counter];

    fn deref(&self) -> &[Counter] {
        &self.0
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for counter in &self.0 {
            match counter.worker {
                Some(worker) => write!(f, "{worker}")?,
                None => f.write_char('-')?,
            }
            writeln!(f, " {} {} {}", counter.group, counter.name, counter.value)?;
        }
        Ok(())
    }
}

fn line(text: &str) -> Option<Counter> {
    let mut words = text.split(' ');
    let worker = match words.next()? {
        "-" => None,
        number => Some(number.parse().ok()?),
    };
    Some(Counter {
        worker,
        group: words.next()?.to_owned(),
        name: words.next()?.to_owned(),
        value: words.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut counters = Counters::default();
        counters.add(Some(0), "frames", "received", u64::MAX);
        counters.add(Some(1), "link/eth0", "ring_full", 7);
        counters.add(None, "memory", "resident", 0);
        let text = counters.to_string();
        assert_eq!(Counters::parse(&text), counters);
        assert_eq!(
            text.lines().nth(1),
            Some("1 link/eth0 ring_full 7"),
            "{text}"
        );
        let strange =
            Counters::parse("x frames received 1\n0 frames received\n\n0 a b -1\n0 a b 2\n");
        assert_eq!(strange.len(), 1);
    }
}
