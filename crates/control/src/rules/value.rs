//! Values of options, read as the C library reads them: `strtol`, `atoi`, `inet_aton`, `inet_pton`.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Names;

/// White space of the C locale.
const fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// `strtol(text, &end, 10)` with `*end == 0`: white space, a sign, digits, nothing else.
/// `None` also where the number does not fit 64 bits.
fn whole_number(text: &str) -> Option<i64> {
    let text = text.trim_start_matches(is_space);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A number in `min..=max`.
pub(super) fn number<T: TryFrom<i64> + PartialOrd>(text: &str, min: T, max: T) -> Option<T> {
    let number = T::try_from(whole_number(text)?).ok()?;
    (min <= number && number <= max).then_some(number)
}

/// A firewall mark, 1..=4294967295.
pub(super) fn mark(text: &str) -> Option<u32> {
    number(text, 1, u32::MAX)
}

/// `atoi`: the number at the start of the text, 0 if there is none; what does not fit wraps as the
/// cast of `strtol`'s result to int does.
pub(super) fn leading_number(text: &str) -> i32 {
    let text = text.trim_start_matches(is_space);
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned
        .find(|digit: char| !digit.is_ascii_digit())
        .unwrap_or(unsigned.len());
    let signed = text
        .get(..text.len() - unsigned.len() + digits)
        .unwrap_or_default();
    let limit = if text.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    let value = if digits == 0 {
        0
    } else {
        signed.parse::<i64>().unwrap_or(limit)
    };
    let [a, b, c, d, ..] = value.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

/// `inet_aton`: one to four numbers, each decimal, octal (`0..`) or hexadecimal (`0x..`), the last
/// filling the rest; anything may follow behind white space.
pub(super) fn dotted(text: &str) -> Option<Ipv4Addr> {
    let text = text.split(is_space).next().unwrap_or_default();
    let parts = text
        .split('.')
        .map(dotted_part)
        .collect::<Option<Vec<u32>>>()?;
    let (last, heads) = parts.split_last()?;
    if heads.len() > 3 {
        return None;
    }
    let mut address = 0_u32;
    for (index, head) in (0_u32..).zip(heads) {
        address |= u32::from(u8::try_from(*head).ok()?) << (24 - 8 * index);
    }
    let room = u32::MAX
        .checked_shr(8 * u32::try_from(heads.len()).ok()?)
        .unwrap_or(0);
    (*last <= room).then(|| Ipv4Addr::from(address | last))
}

fn dotted_part(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    // from_str_radix takes a sign, which inet_aton does not.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

/// A dotted address, else a host's name.
pub(super) fn ipv4(text: &str, names: &dyn Names) -> Option<Ipv4Addr> {
    dotted(text).or_else(|| {
        if text.is_empty() {
            None
        } else {
            names.host_address(text)
        }
    })
}

/// An address with or without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
}

/// `host[:port]`, `ipv6`, `[ipv6]:port`. Digits alone are refused (a port without a host), and so is
/// `[ipv6]`. Of `[ipv4]:port` the port is lost, as the real ipvsadm loses it.
pub(super) fn endpoint(text: &str, protocol: u16, names: &dyn Names) -> Option<Endpoint> {
    if text.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let (host, bracket_port) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, tail) = inner.split_once(']')?;
            (host, Some(tail.strip_prefix(':')?))
        }
        None => (text, None),
    };
    let (address, port) = match host.parse::<Ipv6Addr>() {
        Ok(address) => (IpAddr::V6(address), bracket_port),
        Err(_) => {
            let (host, port) = match host.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host, None),
            };
            (IpAddr::V4(ipv4(host, names)?), port)
        }
    };
    let port = match port {
        Some(text) => {
            Some(number(text, 0, u16::MAX).or_else(|| names.service_port(text, protocol))?)
        }
        None => None,
    };
    Some(Endpoint { address, port })
}

/// A name of at most `max` octets: what is longer is cut, as `strncpy` cuts it.
pub(super) fn name(text: &str, max: usize) -> String {
    text.get(..text.floor_char_boundary(max))
        .unwrap_or_default()
        .to_owned()
}
