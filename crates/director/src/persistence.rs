//! Persistence engines: what in a packet, beside the client's address, keeps connections together (`--pe`).

use crate::protocol::Protocol;

/// A persistence engine as the operator knows it.
#[derive(Debug)]
pub struct Engine {
    /// Name (`--pe`), at most 16 octets.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    find: fn(Protocol, &[u8]) -> Option<&[u8]>,
}

impl Engine {
    /// What the engine keeps connections together by, in a packet's upper-layer payload; `None` when the
    /// packet has nothing of the kind.
    #[must_use]
    pub fn find<'a>(&self, protocol: Protocol, payload: &'a [u8]) -> Option<&'a [u8]> {
        (self.find)(protocol, payload)
    }
}

/// Every persistence engine.
pub const ENGINES: &[Engine] = &[Engine {
    name: "sip",
    summary: "SIP over UDP: datagrams with the same Call-ID go to the same real server",
    find: call_id,
}];

/// The persistence engine of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Engine> {
    ENGINES.iter().find(|engine| engine.name == name)
}

/// The longest Call-ID, octets (kernel: IP_VS_PEDATA_MAXLEN).
const CALL_ID_MAX: usize = 255;

/// The Call-ID of a SIP message (RFC 3261 section 20.8), as the kernel's helper finds it: the value of the
/// first header of that name that has one, ended by a line break.
fn call_id(protocol: Protocol, message: &[u8]) -> Option<&[u8]> {
    if protocol != Protocol::Udp {
        return None;
    }
    // The first line is the request or the status.
    let first = message.iter().position(|octet| is_line_break(*octet))?;
    let mut rest = &message[first..];
    loop {
        let break_len = match rest {
            [b'\r', b'\n', ..] => 2,
            [] => return None,
            _ => 1,
        };
        rest = &rest[break_len..];
        let end = rest.iter().position(|octet| is_line_break(*octet))?;
        let (line, following) = rest.split_at(end);
        if let Some(value) = header_value(line) {
            let len = id_len(value);
            if len > 0 {
                let ended = len == value.len() && len <= CALL_ID_MAX;
                return ended.then_some(value);
            }
        }
        rest = following;
    }
}

/// The value of a Call-ID line, in its long or its compact form.
fn header_value(line: &[u8]) -> Option<&[u8]> {
    let name_len = ["call-id", "i"]
        .map(str::as_bytes)
        .into_iter()
        .find(|name| {
            let start = line.get(..name.len());
            let next = line.get(name.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(name))
                && next.is_some_and(|next| !next.is_ascii_alphabetic())
        })?
        .len();
    let value = skip_spaces(&line[name_len..]).strip_prefix(b":")?;
    Some(skip_spaces(value))
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|octet| *octet != b' ');
    start.map_or(&[], |start| &text[start..])
}

/// Octets of `word [ "@" word ]` at the start; 0 when there is none.
fn id_len(value: &[u8]) -> usize {
    let word_len = |text: &[u8]| {
        let end = text.iter().position(|octet| !is_word(*octet));
        end.unwrap_or(text.len())
    };
    let local = word_len(value);
    match value.get(local) {
        Some(b'@') if local > 0 => match word_len(&value[local + 1..]) {
            0 => 0,
            domain => local + 1 + domain,
        },
        _ => local,
    }
}

const fn is_line_break(octet: u8) -> bool {
    matches!(octet, b'\r' | b'\n')
}

/// Whether an octet belongs to a `word` (RFC 3261 section 25.1).
const fn is_word(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
        || matches!(
            octet,
            b'!' | b'"' | b'%' | b'\'' | b'('..=b'+' | b'-'..=b'/' | b':' | b'<' | b'>' | b'?'
                | b'['..=b'`' | b'{' | b'}' | b'~'
        ) && octet != b'^'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(message: &str) -> Option<&str> {
        let engine = find("sip").expect("an engine");
        let data = engine.find(Protocol::Udp, message.as_bytes());
        data.map(|data| core::str::from_utf8(data).expect("ASCII"))
    }

    /// [sip.dr]: long and compact names, any case, and datagrams without one.
    #[test]
    fn the_call_id_is_found() {
        let message = |line: &str| format!("INVITE sip:x@y SIP/2.0\r\nVia: z\r\n{line}\r\n\r\n");
        for line in [
            "Call-ID: aaa@h1",
            "call-id:aaa@h1",
            "i: aaa@h1",
            "CALL-ID  :  aaa@h1",
        ] {
            assert_eq!(found(&message(line)), Some("aaa@h1"), "{line}");
        }
        assert_eq!(found("X\nCall-ID: a\n"), Some("a"), "line feeds alone");
        assert_eq!(
            found("X\r\nCall-ID: \r\ni: b\r\n"),
            Some("b"),
            "the first that has one"
        );
        for line in ["Call-ID: aaa@", "Call-ID: a b", "Info: a", "x: Call-ID: a"] {
            assert_eq!(found(&message(line)), None, "{line}");
        }
        assert_eq!(found("\r\n\r\n"), None);
        assert_eq!(
            found("INVITE\r\nCall-ID: aaa@h1"),
            None,
            "no line break behind it"
        );
        let long = "a".repeat(CALL_ID_MAX);
        assert_eq!(found(&message(&format!("i: {long}"))), Some(&*long));
        assert_eq!(found(&message(&format!("i: {long}a"))), None);
    }

    #[test]
    fn sip_is_read_over_udp_only() {
        let message = b"X\r\nCall-ID: a\r\n";
        let engine = find("sip").expect("an engine");
        assert!(engine.find(Protocol::Tcp, message).is_none());
    }

    proptest! {
        #[test]
        fn no_payload_panics(payload in "([iC :@\r\n]|call-id|.)*") {
            if let Some(id) = found(&payload) {
                prop_assert!(!id.is_empty() && payload.contains(id));
            }
        }
    }
}
