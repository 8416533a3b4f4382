//! `-L -c`: the connection table.

use control::netlink::{ConnectionEntry, Reply};
use control::rules::{Format, Names, endpoint_text};

/// The whole listing, in the order in which the director tells the entries.
pub(super) fn text(replies: &[Reply], format: Format, names: &dyn Names) -> String {
    let more = if format.persistent_connections {
        "        pe name          pe_data"
    } else {
        ""
    };
    let mut text = format!(
        "IPVS connection entries\n\
         pro expire state       source             virtual            destination{more}\n"
    );
    for reply in replies {
        if let Reply::Connection(entry) = reply {
            text.push_str(&line(entry, format, names));
        }
    }
    text
}

fn line(entry: &ConnectionEntry, format: Format, names: &dyn Names) -> String {
    let protocol = match entry.protocol {
        0 => "IP".to_owned(),
        1 => "ICMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        58 => "ICMPv6".to_owned(),
        132 => "SCTP".to_owned(),
        number => format!("IP_{number}"),
    };
    let seconds = entry.expires_ms / 1000;
    let expires = format!("{:02}:{:02}", seconds / 60, seconds % 60);
    let endpoint = |address, port| endpoint_text(address, port, entry.protocol, names);
    let client = endpoint(entry.client, entry.client_port);
    let virtual_server = endpoint(entry.virtual_address, entry.virtual_port);
    let dest = endpoint(entry.destination, entry.destination_port);
    let state = &entry.state;
    let start = format!("{protocol:<3} {expires:<6} {state:<11} {client:<18} {virtual_server:<18}");
    match &entry.engine {
        Some((name, data)) if format.persistent_connections => {
            let data = String::from_utf8_lossy(data);
            format!("{start} {dest:<16} {name:<18} {data}\n")
        }
        _ => format!("{start} {dest}\n"),
    }
}
