//! `-L -c`: the connection table.
//!
//! The real ipvsadm reads `/proc/net/ip_vs_conn` into a buffer of fixed size. A line that does not fit (a persistence
//! engine's long data) is read in two parts, and the second part is listed as if it were a line: its text where the
//! protocol belongs, the rest as the line before it had it. Scripts that know this listing find it here.

use std::io::Write as _;
use std::net::IpAddr;

use control::netlink::{ConnectionEntry, Reply};
use control::proc;
use control::rules::{Format, Names, endpoint_text};

/// Octets of a line that the real ipvsadm reads at once (`fgets` with 256).
const READ_MAX: usize = 255;
/// Octets of its variable for the protocol's name. What is longer runs over into the variables behind it: first the
/// minutes, then, at the following places, the families of the addresses and the return address.
const PROTOCOL_MAX: usize = 8;
const DEST_FAMILY_PLACE: usize = 50;
const FAMILY_PLACE: usize = 52;
const RETURN_PLACE: usize = 56;

/// The listing, as far as it goes.
pub(super) struct Listed {
    /// What is printed, octets of any kind.
    pub(super) text: Vec<u8>,
    /// The real one ends here, exit code 1: the second part of a line is empty.
    pub(super) fails: bool,
}

/// The whole listing, in the order in which the director tells the entries.
pub(super) fn list(replies: &[Reply], format: Format, names: &dyn Names) -> Listed {
    let more = if format.persistent_connections {
        "        pe name          pe_data"
    } else {
        ""
    };
    let mut text = format!(
        "IPVS connection entries\n\
         pro expire state       source             virtual            destination{more}\n"
    )
    .into_bytes();
    for reply in replies {
        let Reply::Connection(entry) = reply else {
            continue;
        };
        let rest = rest(entry);
        let rest_len = rest.as_ref().map_or(0, Vec::len);
        text.extend(line(entry, rest_len, format, names).as_bytes());
        match rest {
            Some(rest) if rest.is_empty() => return Listed { text, fails: true },
            // Where the real one overwrites its return address and dies, this one goes on.
            Some(rest) if rest.len() < RETURN_PLACE => {
                put_rest(&mut text, &rest, entry, names);
            }
            _ => {}
        }
    }
    Listed { text, fails: false }
}

/// What the real one reads of an entry's line at the second time, without the line break.
fn rest(entry: &ConnectionEntry) -> Option<Vec<u8>> {
    entry.engine.as_ref()?;
    let text = proc::connections([entry]);
    let line = text.lines().nth(1)?.as_bytes();
    line.get(READ_MAX..).map(<[u8]>::to_vec)
}

/// An entry's line; the last `unread` octets of its engine's data are not seen.
fn line(entry: &ConnectionEntry, unread: usize, format: Format, names: &dyn Names) -> String {
    let protocol = match entry.protocol {
        0 => "IP".to_owned(),
        1 => "ICMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        58 => "ICMPv6".to_owned(),
        132 => "SCTP".to_owned(),
        number => format!("IP_{number}"),
    };
    let (_, expires) = expiry(entry);
    let endpoint = |address, port| endpoint_text(address, port, entry.protocol, names);
    let client = endpoint(entry.client, entry.client_port);
    let virtual_server = endpoint(entry.virtual_address, entry.virtual_port);
    let dest = endpoint(entry.destination, entry.destination_port);
    let state = &entry.state;
    let start = format!("{protocol:<3} {expires:<6} {state:<11} {client:<18} {virtual_server:<18}");
    match &entry.engine {
        Some((name, data)) if format.persistent_connections => {
            let seen = data.len().saturating_sub(unread);
            let data = String::from_utf8_lossy(&data[..seen]);
            format!("{start} {dest:<16} {name:<18} {data}\n")
        }
        _ => format!("{start} {dest}\n"),
    }
}

/// Whole minutes until the entry expires, and the text of its column.
fn expiry(entry: &ConnectionEntry) -> (u64, String) {
    let seconds = entry.expires_ms / 1000;
    let minutes = seconds / 60;
    (minutes, format!("{minutes:02}:{:02}", seconds % 60))
}

/// The second part of an entry's line, as the real one lists it.
fn put_rest(text: &mut Vec<u8>, rest: &[u8], entry: &ConnectionEntry, names: &dyn Names) {
    let (minutes, expires) = expiry(entry);
    let mut protocol = rest[..rest.len().min(PROTOCOL_MAX)].to_vec();
    if rest.len() >= PROTOCOL_MAX {
        // Its end is lost; the minutes stand behind it in memory, least octet first, and end it with their first zero.
        let minutes = minutes.to_le_bytes();
        protocol.extend(minutes.iter().take_while(|octet| **octet != 0));
    }
    let number = match protocol.as_slice() {
        b"TCP" => 6,
        b"UDP" => 17,
        b"SCTP" => 132,
        _ => 0,
    };
    // A family other than IPv6 is not told again.
    let endpoint = |address: IpAddr, port, family_place| {
        if address.is_ipv4() && rest.len() >= family_place {
            format!("[(null)]:{port}")
        } else {
            endpoint_text(address, port, number, names)
        }
    };
    let client = endpoint(entry.client, 0, FAMILY_PLACE);
    let virtual_server = endpoint(entry.virtual_address, 0, FAMILY_PLACE);
    let dest = endpoint(entry.destination, entry.destination_port, DEST_FAMILY_PLACE);
    let state = &entry.state;
    protocol.resize(protocol.len().max(3), b' ');
    text.append(&mut protocol);
    // Writing to memory does not fail.
    let _ = writeln!(
        text,
        " {expires:<6} {state:<11} {client:<18} {virtual_server:<18} {dest}"
    );
}
