//! What connection tracking reads of a TCP segment (RFC 9293 section 3.1).

use packet::tcp;

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
/// Octets of a SACK block: two sequence numbers.
const SACK_BLOCK: usize = 8;
/// The largest shift of a window (RFC 7323 section 2.3).
const LARGEST_SCALE: u8 = 14;
/// Place of the window in the header.
const WINDOW: usize = 14;

/// A segment's numbers, flags and options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    pub(super) sequence: u32,
    pub(super) acknowledgment: u32,
    pub(super) flags: u8,
    pub(super) window: u32,
    payload: u32,
    options: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads the `header` of a segment with `payload` octets; `None` when it is cut off.
    pub(crate) fn parse(header: &'a [u8], payload: usize) -> Option<Self> {
        let number = |at: usize| {
            let octets: &[u8; 4] = header.get(at..)?.first_chunk()?;
            Some(u32::from_be_bytes(*octets))
        };
        let window: &[u8; 2] = header.get(WINDOW..)?.first_chunk()?;
        Some(Self {
            sequence: number(4)?,
            acknowledgment: number(8)?,
            flags: *header.get(13)?,
            window: u16::from_be_bytes(*window).into(),
            payload: u32::try_from(payload).ok()?,
            options: header.get(tcp::LEN..)?,
        })
    }

    /// The number that it acknowledges.
    pub(crate) const fn acknowledgment(&self) -> u32 {
        self.acknowledgment
    }

    pub(super) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The sequence number behind its last octet; SYN and FIN count as one each.
    pub(super) fn end(&self) -> u32 {
        self.sequence
            .wrapping_add(self.payload)
            .wrapping_add(u32::from(self.has(tcp::SYN)))
            .wrapping_add(u32::from(self.has(tcp::FIN)))
    }

    /// Whether the combination of flags has a meaning (kernel: `tcp_valid_flags`).
    pub(super) const fn is_valid(&self) -> bool {
        const SYN_URG: u8 = tcp::SYN | tcp::URG;
        const SYN_ACK: u8 = tcp::SYN | tcp::ACK;
        const RST_ACK: u8 = tcp::RST | tcp::ACK;
        const FIN_ACK: u8 = tcp::FIN | tcp::ACK;
        const FIN_ACK_URG: u8 = tcp::FIN | tcp::ACK | tcp::URG;
        const ACK_URG: u8 = tcp::ACK | tcp::URG;
        matches!(
            self.flags & !(tcp::ECE | tcp::CWR | tcp::PSH),
            tcp::SYN
                | SYN_URG
                | SYN_ACK
                | tcp::RST
                | RST_ACK
                | FIN_ACK
                | FIN_ACK_URG
                | tcp::ACK
                | ACK_URG
        )
    }

    /// The window's shift that it offers.
    pub(super) fn scale(&self) -> Option<u8> {
        self.options()
            .find_map(|(kind, value)| match (kind, value) {
                (WINDOW_SCALE, [shift]) => Some((*shift).min(LARGEST_SCALE)),
                _ => None,
            })
    }

    /// Whether it permits selective acknowledgments.
    pub(super) fn permits_sack(&self) -> bool {
        self.options().any(|(kind, _)| kind == SACK_PERMITTED)
    }

    /// The ends of the blocks that it acknowledges selectively.
    pub(super) fn sack_ends(&self) -> impl Iterator<Item = u32> {
        self.options()
            .filter(|(kind, _)| *kind == SACK)
            .flat_map(|(_, value)| value.chunks_exact(SACK_BLOCK))
            .filter_map(|block| block.last_chunk().copied().map(u32::from_be_bytes))
    }

    /// Kind and value of each option, up to a malformed one.
    fn options(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut rest = self.options;
        core::iter::from_fn(move || {
            loop {
                match *rest {
                    [] | [END_OF_OPTIONS, ..] => return None,
                    [NO_OPERATION, ..] => rest = &rest[1..],
                    [kind, len, ..] if len >= 2 => {
                        let (option, behind) = rest.split_at_checked(len.into())?;
                        rest = behind;
                        return Some((kind, &option[2..]));
                    }
                    _ => return None,
                }
            }
        })
    }
}

/// Whether sequence number `a` comes after `b` (RFC 9293 section 3.4).
pub(super) const fn is_after(a: u32, b: u32) -> bool {
    let ahead = a.wrapping_sub(b);
    ahead != 0 && ahead < 1 << 31
}
