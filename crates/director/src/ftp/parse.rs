//! FTP commands and answers that name an address or port (RFC 959, RFC 2428), read as the kernel's helper reads
//! them.
//!
//! Promises: no panic on any bytes, and only what stands whole in one segment is found: a line that is split over two
//! is not put together.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use packet::Family;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// PASV: the server is to listen, and answer 227.
    Passive,
    /// EPSV: the same, with 229.
    ExtendedPassive,
    /// PORT or EPRT: the client listens here (port in host order).
    Active(IpAddr, u16),
}

/// Where a server listens, as its answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address; where the answer leaves it out, the one that the caller gave.
    pub address: IpAddr,
    /// Port, host order.
    pub port: u16,
    /// The octets of the payload that say so.
    pub place: Range<usize>,
}

impl Command {
    /// The command in a client's segment. PASV and EPSV are found anywhere in it, PORT and EPRT at its beginning.
    #[must_use]
    pub fn parse(family: Family, payload: &[u8]) -> Option<Self> {
        let v4 = family == Family::V4;
        for at in 0..payload.len().saturating_sub(5) {
            let rest = payload.get(at..)?;
            if v4 && starts_with(rest, b"PASV\r\n") {
                return Some(Self::Passive);
            }
            if !starts_with(rest, b"EPSV") {
                continue;
            }
            let protocol = if v4 { b'1' } else { b'2' };
            match rest.get(4) {
                Some(b'\r') => return Some(Self::ExtendedPassive),
                Some(b' ') => {
                    let takes = rest.get(5..7) == Some(&[protocol, b'\r']);
                    return takes.then_some(Self::ExtendedPassive);
                }
                _ => {}
            }
        }
        let port = |payload| parse_list(payload, b"PORT", b' ');
        let extended = |payload| parse_extended(payload, b"EPRT", b' ', family, None);
        let plain = if v4 { port(payload) } else { None };
        let endpoint = plain.or_else(|| extended(payload))?;
        Some(Self::Active(endpoint.address, endpoint.port))
    }
}

impl Endpoint {
    /// What the answer 227 at the beginning of a server's segment says.
    #[must_use]
    pub fn of_passive(payload: &[u8]) -> Option<Self> {
        parse_list(payload, b"227 ", b'(')
    }

    /// What the answer 229 at the beginning of a server's segment says; it usually leaves out the address, which is
    /// `server` then.
    #[must_use]
    pub fn of_extended_passive(payload: &[u8], server: IpAddr) -> Option<Self> {
        let family = if server.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        parse_extended(payload, b"229 ", b'(', family, Some(server))
    }
}

/// The address and port as 227 names them.
#[must_use]
pub fn passive_text(address: Ipv4Addr, port: u16) -> String {
    let [a, b, c, d] = address.octets();
    let [high, low] = port.to_be_bytes();
    format!("{a},{b},{c},{d},{high},{low}")
}

/// The port as 229 names it.
#[must_use]
pub fn extended_passive_text(port: u16) -> String {
    format!("|||{port}|")
}

/// `word a,b,c,d,e,f` with something behind it: numbers wrap at 256, missing ones are 0, as in the kernel. What
/// stands between the word and `opening` or the first digit is skipped.
fn parse_list(payload: &[u8], word: &[u8], opening: u8) -> Option<Endpoint> {
    let mut start = word.len();
    if !starts_with(payload, word) {
        return None;
    }
    let mut opened = false;
    loop {
        let &octet = payload.get(start)?;
        if octet == opening {
            opened = true;
        } else if opened || octet.is_ascii_digit() {
            break;
        }
        start += 1;
    }
    let mut numbers = [0_u8; 6];
    let mut which = 0;
    let mut end = start;
    loop {
        match *payload.get(end)? {
            digit @ b'0'..=b'9' => {
                let number = numbers.get_mut(which)?;
                *number = number.wrapping_mul(10).wrapping_add(digit - b'0');
            }
            b',' if which < 5 => which += 1,
            _ => break,
        }
        end += 1;
    }
    let [a, b, c, d, high, low] = numbers;
    (which == 5).then(|| Endpoint {
        address: Ipv4Addr::new(a, b, c, d).into(),
        port: u16::from_be_bytes([high, low]),
        place: start..end,
    })
}

/// `word |family|address|port|` with any printable delimiter (RFC 2428); with `server` given, family and address
/// may both be empty.
fn parse_extended(
    payload: &[u8],
    word: &[u8],
    opening: u8,
    family: Family,
    server: Option<IpAddr>,
) -> Option<Endpoint> {
    if !starts_with(payload, word) {
        return None;
    }
    let behind = payload.get(word.len()..)?;
    let opened = behind.iter().position(|&octet| octet == opening)?;
    let skipped = behind.get(opened..)?;
    let start = word.len() + opened + skipped.iter().position(|&octet| octet != opening)?;
    let delimiter = *payload.get(start).filter(|it| it.is_ascii_graphic())?;
    let mut at = start + 1;
    let mut field = || -> Option<&[u8]> {
        let rest = payload.get(at..)?;
        let len = rest.iter().position(|&octet| octet == delimiter)?;
        at += len + 1;
        rest.get(..len)
    };
    let (number, text) = (field()?, field()?);
    let address = match (number, text) {
        ([], []) => server?,
        (b"1", text) if family == Family::V4 => IpAddr::V4(parse_ipv4(text)?),
        (b"2", text) if family == Family::V6 => {
            IpAddr::V6(core::str::from_utf8(text).ok()?.parse::<Ipv6Addr>().ok()?)
        }
        _ => return None,
    };
    let port = parse_port(field()?)?;
    Some(Endpoint {
        address,
        port,
        place: start..at,
    })
}

/// Digits of any number, wrapping at 65536; 0 is none.
fn parse_port(text: &[u8]) -> Option<u16> {
    let port = text.iter().try_fold(0_u16, |port, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        Some(port.wrapping_mul(10).wrapping_add(digit.into()))
    })?;
    (port != 0).then_some(port)
}

/// Four decimal numbers, leading zeros allowed.
fn parse_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut parts = text.split(|&octet| octet == b'.');
    for octet in &mut octets {
        let part = parts.next().filter(|part| !part.is_empty())?;
        *octet = part.iter().try_fold(0_u8, |number, digit| {
            let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
            number.checked_mul(10)?.checked_add(digit)
        })?;
    }
    parts.next().is_none().then(|| octets.into())
}

/// Whether the payload begins with `word`, in upper or lower case.
fn starts_with(payload: &[u8], word: &[u8]) -> bool {
    payload
        .get(..word.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));

    fn v4(payload: &str) -> Option<Command> {
        Command::parse(Family::V4, payload.as_bytes())
    }

    fn v6(payload: &str) -> Option<Command> {
        Command::parse(Family::V6, payload.as_bytes())
    }

    #[test]
    fn commands() {
        assert_eq!(v4("PASV\r\n"), Some(Command::Passive));
        assert_eq!(v4("TYPE I\r\npasv\r\n"), Some(Command::Passive));
        assert_eq!(v6("PASV\r\n"), None);
        for text in ["EPSV\r\n", "NOOP\r\nEPSV\r\n", "epsv 1\r\n"] {
            assert_eq!(v4(text), Some(Command::ExtendedPassive), "{text:?}");
        }
        assert_eq!(v6("EPSV 2\r\n"), Some(Command::ExtendedPassive));
        let active = Some(Command::Active(CLIENT, 51201));
        assert_eq!(v4("PORT 192,0,2,10,200,1\r\n"), active);
        assert_eq!(v4("port   192,0,2,10,200,1\n"), active);
        assert_eq!(v4("EPRT |1|192.0.2.10|51201|\r\n"), active);
        assert_eq!(v4("EPRT !1!192.0.2.10!51201!\r\n"), active);
        assert_eq!(
            v6("EPRT |2|2001:db8:c::10|51201|\r\n"),
            Some(Command::Active("2001:db8:c::10".parse().unwrap(), 51201))
        );
    }

    #[test]
    fn what_is_no_command() {
        for text in [
            "PASV\n",
            "EPSV ALL\r\n",
            "EPSV 2\r\n",
            "PORT 192,0,2,10,200,1",
            "PORT 192,0,2,10,200\r\n",
            "NOOP\r\nPORT 192,0,2,10,200,1\r\n",
            "EPRT |2|192.0.2.10|51201|\r\n",
            "EPRT ||192.0.2.10|51201|\r\n",
            "EPRT |1|192.0.2.256|51201|\r\n",
            "EPRT |1|192.0.2.10|0|\r\n",
            "EPRT |||51201|\r\n",
            "EPRT |1|192.0.2.10|51201\r\n",
        ] {
            assert_eq!(v4(text), None, "{text:?}");
        }
        assert_eq!(v6("PORT 192,0,2,10,200,1\r\n"), None);
        assert_eq!(v6("EPRT |1|192.0.2.10|51201|\r\n"), None);
    }

    #[test]
    fn answers() {
        let payload = b"227 Entering Passive Mode (10,2,0,11,195,80).\r\n";
        let found = Endpoint::of_passive(payload).unwrap();
        assert_eq!(found.address, IpAddr::from([10, 2, 0, 11]));
        assert_eq!(found.port, 50000);
        assert_eq!(&payload[found.place], b"10,2,0,11,195,80");
        assert!(Endpoint::of_passive(b"227 Entering Passive Mode 10,2,0,11,195,80\r\n").is_some());
        assert_eq!(
            Endpoint::of_passive(b"227 Entering Passive Mode (10,2,0,11,195,8"),
            None
        );
        assert_eq!(Endpoint::of_passive(b"226 (10,2,0,11,195,80)"), None);

        let payload = b"229 Entering Extended Passive Mode (|||50001|)\r\n";
        let found = Endpoint::of_extended_passive(payload, CLIENT).unwrap();
        assert_eq!((found.address, found.port), (CLIENT, 50001));
        assert_eq!(&payload[found.place], b"|||50001|");
        let payload = b"229 Elsewhere (|1|10.2.0.99|50001|)\r\n";
        let found = Endpoint::of_extended_passive(payload, CLIENT).unwrap();
        assert_eq!(found.address, IpAddr::from([10, 2, 0, 99]));
    }

    proptest! {
        /// Any bytes: no panic, and what is found lies in the payload.
        #[test]
        fn any_bytes(
            v4: bool,
            head in prop::sample::select(vec!["", "PORT ", "EPRT |", "227 (", "229 (|||", "EPSV", "x\r\nPASV"]),
            tail in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..64),
                prop::collection::vec(prop::sample::select(b"0123456789,.|:() \r\n".to_vec()), 0..64),
            ],
        ) {
            let family = if v4 { Family::V4 } else { Family::V6 };
            let payload = [head.as_bytes(), &tail].concat();
            let _ = Command::parse(family, &payload);
            let server = if v4 { CLIENT } else { Ipv6Addr::LOCALHOST.into() };
            for found in [
                Endpoint::of_passive(&payload),
                Endpoint::of_extended_passive(&payload, server),
            ]
            .into_iter()
            .flatten()
            {
                prop_assert!(found.place.start < found.place.end && found.place.end <= payload.len());
            }
        }

        /// What the director writes is read again as the same.
        #[test]
        fn written_is_read(address: [u8; 4], port in 1_u16.., tail in "[ .)]\r\n") {
            let text = format!("227 Entering Passive Mode ({}{tail}", passive_text(address.into(), port));
            let found = Endpoint::of_passive(text.as_bytes()).unwrap();
            prop_assert_eq!((found.address, found.port), (IpAddr::from(address), port));
            let text = format!("229 Entering Extended Passive Mode ({}{tail}", extended_passive_text(port));
            let found = Endpoint::of_extended_passive(text.as_bytes(), address.into()).unwrap();
            prop_assert_eq!((found.address, found.port), (IpAddr::from(address), port));
        }
    }
}
