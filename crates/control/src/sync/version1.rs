//! Version 1: a header of 8 octets, then entries of 36 (IPv4) or 72 (IPv6) octets with options behind, each
//! aligned to 4. All numbers in network order.

use core::net::IpAddr;

use director::sync::{Entry, SequenceShift};

use super::Problem;

/// The header's version field.
pub(super) const VERSION: u8 = 1;
/// Kind of an entry with IPv6 addresses; IPv4 has 0.
const KIND_IPV6: u8 = 1;
/// The size field has 12 bits; the 4 above them are the entry's version, 0.
const SIZE_MASK: u16 = 0x0fff;
/// Octets of an entry in front of its addresses.
const FIXED: usize = 24;
/// Octets of the smallest entry.
const ENTRY_MIN: usize = FIXED + 3 * 4;

/// Option: sequence number shifts.
const OPTION_SHIFTS: u8 = 1;
/// Option: what the persistence engine found.
const OPTION_DATA: u8 = 2;
/// Option: the persistence engine's name.
const OPTION_ENGINE: u8 = 3;
/// Bit of an option that may be passed over by those who do not know it.
const OPTION_OPTIONAL: u8 = 0x40;
/// Octets of an option's kind and length.
const OPTION_HEADER: usize = 2;
/// Octets of the shifts.
const SHIFTS: usize = 24;
/// Longest name of a persistence engine.
const ENGINE_MAX: usize = 16;

/// Count of entries, and the octets behind the header; `None` when the message is of version 0.
pub(super) fn body(message: &[u8]) -> Option<(u8, &[u8])> {
    match message {
        [0, _, _, _, count, VERSION, 0, 0, body @ ..] => Some((*count, body)),
        _ => None,
    }
}

/// An entry's octets, without those that align it; `None` when the version has no form for it (a real server of the
/// other address family, an engine's name or data out of bounds).
pub(super) fn write(entry: &Entry) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(ENTRY_MIN);
    octets.extend([kind(entry)?, entry.protocol, 0, 0]);
    octets.extend(entry.flags.to_be_bytes());
    octets.extend(entry.state.to_be_bytes());
    for (_, port) in [entry.client, entry.virtual_server, entry.server] {
        octets.extend(port.to_be_bytes());
    }
    octets.extend(entry.mark.to_be_bytes());
    octets.extend(entry.timeout.to_be_bytes());
    for (address, _) in [entry.client, entry.virtual_server, entry.server] {
        match address {
            IpAddr::V4(address) => octets.extend(address.octets()),
            IpAddr::V6(address) => octets.extend(address.octets()),
        }
    }
    if let Some(shifts) = &entry.shifts {
        let numbers = shifts
            .iter()
            .flat_map(|shift| [shift.initial, shift.delta, shift.previous_delta]);
        put_option(
            &mut octets,
            OPTION_SHIFTS,
            &numbers.flat_map(u32::to_be_bytes).collect::<Vec<_>>(),
        )?;
    }
    if let Some((name, data)) = &entry.engine {
        put_option(&mut octets, OPTION_DATA, data)?;
        if name.len() > ENGINE_MAX {
            return None;
        }
        put_option(&mut octets, OPTION_ENGINE, name.as_bytes())?;
    }
    let size = u16::try_from(octets.len()).ok()?;
    octets
        .get_mut(2..4)?
        .copy_from_slice(&(size & SIZE_MASK).to_be_bytes());
    Some(octets)
}

fn kind(entry: &Entry) -> Option<u8> {
    let [client, virtual_server, server] =
        [entry.client, entry.virtual_server, entry.server].map(|(address, _)| address.is_ipv6());
    (client == virtual_server && client == server).then_some(if client { KIND_IPV6 } else { 0 })
}

/// `None` when the value is empty or too long for an option.
fn put_option(octets: &mut Vec<u8>, kind: u8, value: &[u8]) -> Option<()> {
    let length = u8::try_from(value.len())
        .ok()
        .filter(|length| *length > 0)?;
    octets.extend([kind, length]);
    octets.extend(value);
    Some(())
}

/// Reads entries one after the other. One that only this reader does not know what to do with is passed over.
pub(super) fn read(count: u8, mut body: &[u8], entries: &mut Vec<Entry>) -> Result<(), Problem> {
    for _ in 0..count {
        let &[_, _, high, low, ..] = body.first_chunk::<ENTRY_MIN>().ok_or(Problem::Truncated)?;
        let version_size = u16::from_be_bytes([high, low]);
        let size = usize::from(version_size & SIZE_MASK);
        let octets = body.get(..size).ok_or(Problem::Truncated)?;
        if version_size & !SIZE_MASK != 0 {
            return Err(Problem::Kind);
        }
        entries.extend(read_entry(octets)?);
        body = body.get(size.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(())
}

/// `None` for an entry with an option that must be understood and is not, or with half a persistence engine.
fn read_entry(octets: &[u8]) -> Result<Option<Entry>, Problem> {
    let (fixed, rest) = octets
        .split_first_chunk::<FIXED>()
        .ok_or(Problem::Truncated)?;
    let &[kind, protocol, _, _, numbers @ ..] = fixed;
    let is_ipv6 = match kind {
        0 => false,
        kind if kind & KIND_IPV6 != 0 => true,
        _ => return Err(Problem::Kind),
    };
    let [
        f0,
        f1,
        f2,
        f3,
        s0,
        s1,
        c0,
        c1,
        v0,
        v1,
        d0,
        d1,
        m0,
        m1,
        m2,
        m3,
        t0,
        t1,
        t2,
        t3,
    ] = numbers;
    let (client, rest) = address(is_ipv6, rest)?;
    let (virtual_server, rest) = address(is_ipv6, rest)?;
    let (server, rest) = address(is_ipv6, rest)?;
    let Some(options) = Options::read(rest)? else {
        return Ok(None);
    };
    let engine = match (options.engine, options.data) {
        (Some(name), Some(data)) => Some((String::from_utf8_lossy(name).into_owned(), data.into())),
        (None, Some(_)) => return Ok(None),
        (_, None) => None,
    };
    Ok(Some(Entry {
        protocol,
        flags: u32::from_be_bytes([f0, f1, f2, f3]),
        state: u16::from_be_bytes([s0, s1]),
        client: (client, u16::from_be_bytes([c0, c1])),
        virtual_server: (virtual_server, u16::from_be_bytes([v0, v1])),
        server: (server, u16::from_be_bytes([d0, d1])),
        mark: u32::from_be_bytes([m0, m1, m2, m3]),
        timeout: u32::from_be_bytes([t0, t1, t2, t3]),
        shifts: options.shifts,
        engine,
    }))
}

fn address(is_ipv6: bool, octets: &[u8]) -> Result<(IpAddr, &[u8]), Problem> {
    let split = if is_ipv6 {
        let split = octets.split_first_chunk::<16>();
        split.map(|(address, rest)| (IpAddr::from(*address), rest))
    } else {
        let split = octets.split_first_chunk::<4>();
        split.map(|(address, rest)| (IpAddr::from(*address), rest))
    };
    split.ok_or(Problem::Truncated)
}

/// The options behind an entry.
#[derive(Debug, Default)]
struct Options<'a> {
    shifts: Option<[SequenceShift; 2]>,
    data: Option<&'a [u8]>,
    engine: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// `None` when there is one that must be understood and is not.
    fn read(mut rest: &'a [u8]) -> Result<Option<Self>, Problem> {
        let mut options = Self::default();
        while !rest.is_empty() {
            let &[kind, length] = rest
                .first_chunk::<OPTION_HEADER>()
                .ok_or(Problem::Truncated)?;
            let end = OPTION_HEADER + usize::from(length);
            let value = rest.get(OPTION_HEADER..end).ok_or(Problem::Truncated)?;
            if value.is_empty() {
                return Err(Problem::Option);
            }
            match kind & !OPTION_OPTIONAL {
                OPTION_SHIFTS => set(&mut options.shifts, shifts(value)?)?,
                OPTION_DATA => set(&mut options.data, value)?,
                OPTION_ENGINE if value.len() <= ENGINE_MAX => set(&mut options.engine, value)?,
                OPTION_ENGINE => return Err(Problem::Option),
                _ if kind & OPTION_OPTIONAL != 0 => {}
                _ => return Ok(None),
            }
            rest = rest.get(end..).unwrap_or(&[]);
        }
        Ok(Some(options))
    }
}

/// An option may stand only once.
fn set<T>(place: &mut Option<T>, value: T) -> Result<(), Problem> {
    if place.replace(value).is_some() {
        return Err(Problem::Option);
    }
    Ok(())
}

fn shifts(value: &[u8]) -> Result<[SequenceShift; 2], Problem> {
    let value: &[u8; SHIFTS] = value.try_into().map_err(|_| Problem::Option)?;
    Ok(super::version0::shifts(value, u32::from_be_bytes))
}
