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
    let mut from = 0;
    loop {
        let place = value_place(message, from)?;
        let value = message.get(place..)?;
        let len = id_len(value);
        if len > 0 {
            let ended = value.get(len).is_some_and(|next| is_line_break(*next));
            return (ended && len <= CALL_ID_MAX).then_some(&value[..len]);
        }
        // The kernel adds the whole place, and so may pass over the next header of the name.
        from += place;
    }
}

/// Where the value of the first Call-ID header behind a line break at or after `from` stands. A header of that
/// name without a colon ends the search.
fn value_place(message: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while at < message.len() {
        if !is_line_break(*message.get(at)?) {
            at += 1;
            continue;
        }
        at = behind_break(message, at)?;
        if let Some(name_len) = name_len(message.get(at..)?) {
            let colon = skip_white(message, at + name_len)?;
            if *message.get(colon)? != b':' || colon + 1 >= message.len() {
                return None;
            }
            return skip_white(message, colon + 1);
        }
        at += 1;
    }
    None
}

/// The place behind the line break at `at`; none at the end of the message.
fn behind_break(message: &[u8], at: usize) -> Option<usize> {
    let len = if message[at..].starts_with(b"\r\n") {
        2
    } else {
        1
    };
    (at + len < message.len()).then_some(at + len)
}

/// Octets of the name that a Call-ID line begins with, in its long or its compact form.
fn name_len(line: &[u8]) -> Option<usize> {
    let begins = |name: &[u8]| {
        let start = line.get(..name.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    if begins(b"call-id") {
        return Some(b"call-id".len());
    }
    let next = line.get(1)?;
    (begins(b"i") && !is_letter(*next)).then_some(1)
}

/// The place of what follows white space, or a line break and the white space that continues the line behind it.
fn skip_white(message: &[u8], at: usize) -> Option<usize> {
    let white = |from: usize| {
        let rest = message.get(from..)?.iter();
        let is_white = |octet: &&u8| matches!(**octet, b' ' | b'\t');
        Some(rest.take_while(is_white).count())
    };
    let at = at + white(at)?;
    if !message.get(at).is_some_and(|octet| is_line_break(*octet)) {
        return Some(at);
    }
    let next = behind_break(message, at)?;
    match white(next)? {
        0 => None,
        len => Some(next + len),
    }
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

/// Whether an octet belongs to a `word` (RFC 3261 section 25.1; the kernel counts Latin-1 letters too).
const fn is_word(octet: u8) -> bool {
    is_letter(octet)
        || octet.is_ascii_digit()
        || matches!(
            octet,
            b'!' | b'"' | b'%' | b'\'' | b'('..=b'+' | b'-'..=b'/' | b':' | b'<' | b'>' | b'?'
                | b'['..=b']' | b'_' | b'`' | b'{' | b'}' | b'~'
        )
}

/// Whether an octet is a letter of Latin-1.
const fn is_letter(octet: u8) -> bool {
    octet.is_ascii_alphabetic() || (octet >= 0xc0 && octet != 0xd7 && octet != 0xf7)
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

    /// [sip.dr], [found.sip_headers]: long and compact names, any case, and datagrams without one.
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
        for (text, id) in [
            ("X\r\nCall-ID: \r\ni: b\r\n", None),
            ("X\r\nCall-ID:\r\n\tb\r\n", Some("b")),
            ("X\r\nCall-ID:\r\n aaa@h1\r\n", Some("aaa@h1")),
            ("X\r\nCall-IDx: a\r\ni: b\r\n", None),
            ("X\r\n Call-ID: a\r\ni: b\r\n", Some("b")),
            ("X\r\ni: caf\u{e9}\r\n", None),
        ] {
            assert_eq!(found(text), id, "{text:?}");
        }
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
