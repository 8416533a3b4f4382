//! The IPv4 options of an answer: what was recorded on the way of the packet that it answers, with the answer's own
//! record, as Linux repeats it (recordings `found.options_refused`, `found.options_at_stack`).

use core::net::Ipv4Addr;

use crate::options::{END, FLAGS, Options, POINTER, TIME_AT_ADDRESS, advance};
use crate::view::put;

/// Octets of options that an IPv4 header has room for.
const ROOM: usize = 40;

/// The options of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo {
    octets: [u8; ROOM],
    len: usize,
}

impl Default for Echo {
    fn default() -> Self {
        Self {
            octets: [END; ROOM],
            len: 0,
        }
    }
}

impl Echo {
    /// What an answer from `source` repeats of the options of `header`, which were processed: the recorded route and the
    /// timestamps, each with the answer's own where there is room, and security. None when they forbid an answer, as
    /// Linux sees it.
    pub(crate) fn of(header: &[u8], options: &Options, source: Ipv4Addr) -> Option<Self> {
        let mut echo = Self::default();
        if options.record_route != 0 {
            let option = echo.copy(header, options.record_route)?;
            if options.routed
                && let Some(at) = next_record(option)
            {
                put(option, at, source.octets())?;
                advance(option, 4);
            }
        }
        if options.timestamp != 0 {
            echo.timestamp(header, options, source)?;
        }
        if options.security != 0 {
            echo.copy(header, options.security)?;
        }
        echo.len = echo.len.next_multiple_of(4);
        (echo.len <= ROOM).then_some(echo)
    }

    fn timestamp(&mut self, header: &[u8], options: &Options, source: Ipv4Addr) -> Option<()> {
        let option = self.copy(header, options.timestamp)?;
        let Some(mut at) = next_record(option).filter(|_| options.timed) else {
            return Some(());
        };
        if options.addressed {
            if option.len() < at + 4 {
                return None;
            }
            // Written once it is known that the time finds room too.
            at += 4;
        }
        let prescribed = option.get(FLAGS)? & 0x0f == TIME_AT_ADDRESS;
        if option.len() < at + 4 {
            return None;
        }
        if prescribed {
            if options.timed_again {
                put(option, at + 4, options.time.to_be_bytes())?;
                advance(option, 8);
            }
            return Some(());
        }
        if options.addressed {
            put(option, at - 4, source.octets())?;
            advance(option, 4);
        }
        put(option, at, options.time.to_be_bytes())?;
        advance(option, 4);
        Some(())
    }

    /// Appends the option that stands at `offset` of `header`.
    fn copy(&mut self, header: &[u8], offset: u8) -> Option<&mut [u8]> {
        let option = header.get(usize::from(offset)..)?;
        let option = option.get(..usize::from(*option.get(1)?))?;
        let copied = self.octets.get_mut(self.len..self.len + option.len())?;
        copied.copy_from_slice(option);
        self.len += option.len();
        Some(copied)
    }

    pub(crate) fn octets(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

/// Where the next record of a checked option belongs; none when it is full.
fn next_record(option: &[u8]) -> Option<usize> {
    let pointer = usize::from(*option.get(POINTER)?);
    (pointer <= option.len()).then(|| pointer.saturating_sub(1))
}
