//! A trace as a capture of real traffic: connections are what clients begin in it.

use core::net::IpAddr;
use core::time::Duration;
use std::io::ErrorKind;
use std::path::Path;

use hashbrown::HashMap;
use link::Frame;
use link::pcap::Reader;
use packet::{Headers, Malformed, Transport, tcp};

use super::{ROWS_MAX, Row, TraceError};
use crate::scenario::Protocol;

/// A UDP flow is over when it has said nothing for so long: as the director forgets it (`--set`).
const IDLE: Duration = Duration::from_secs(300);
/// Most packets that a connection is said to have.
const PACKETS_MAX: u32 = 10_000;

/// A flow's ends: client's address and port, server's address and port.
type Flow = (IpAddr, u16, IpAddr, u16);

/// A flow that was begun.
struct Known {
    row: usize,
    last: Duration,
    /// Sequence number of its SYN; one that comes again is the same connection's.
    sequence: u32,
}

/// What was found so far.
#[derive(Default)]
struct Capture {
    rows: Vec<Row>,
    flows: HashMap<Flow, Known, foldhash::fast::FixedState>,
}

/// Reads SYNs, or first datagrams.
pub(super) fn read(path: &Path, protocol: Protocol) -> Result<Vec<Row>, TraceError> {
    let name = path.display();
    let mut reader = Reader::open(path).map_err(|error| {
        let what = match error.source.kind() {
            ErrorKind::UnexpectedEof => "it is cut off before its first packet: capture it again",
            _ => "capture on one interface instead of `any`",
        };
        TraceError(format!("{name}: {}: {what}", error.source))
    })?;
    let mut capture = Capture::default();
    let mut begin = None;
    let mut count: u64 = 0;
    loop {
        let record = reader.next_record().map_err(|error| {
            let rest = match count {
                0 => String::new(),
                _ => format!(
                    ", or keep what is whole with `editcap -r {name} OUT.pcap 1-{count}`"
                ),
            };
            TraceError(format!(
                "{name}: it is cut off or broken behind packet {count} ({}): capture it again{rest}",
                error.source
            ))
        })?;
        let Some(record) = record else {
            break;
        };
        count += 1;
        let begin = *begin.get_or_insert(record.time);
        let mut frame = record.frame;
        if let Some(headers) = headers(&mut frame) {
            capture.see(&headers, record.time.saturating_sub(begin), protocol);
        }
        if capture.rows.len() > ROWS_MAX {
            return Err(TraceError(format!(
                "{name}: more than {ROWS_MAX} connections: split it with `editcap -c`"
            )));
        }
    }
    if capture.rows.is_empty() {
        let what = match protocol {
            Protocol::Tcp => "SYN of TCP",
            Protocol::Udp => "datagram of UDP",
        };
        return Err(TraceError(format!(
            "{name}: no {what} is among its {count} packets: capture where connections begin, or change `protocol` \
             of [service]"
        )));
    }
    Ok(capture.rows)
}

/// A frame's headers, also where the capture kept only its beginning.
fn headers(frame: &mut Frame) -> Option<Headers> {
    match Headers::parse(&frame.packet()) {
        Ok(headers) => return Some(headers),
        Err(Malformed::BadLength) => {}
        Err(_) => return None,
    }
    // IPv4 says how long all of it is (RFC 791 section 3.1), IPv6 what is behind its header (RFC 8200 section 3).
    let (at, before) = match frame.bytes().get(frame.link_len)? >> 4 {
        4 => (2, 0),
        _ => (4, 40),
    };
    let length = frame
        .bytes()
        .get(frame.link_len + at..)?
        .first_chunk::<2>()?;
    let total = before + usize::from(u16::from_be_bytes(*length));
    let mut bytes = frame.bytes().to_vec();
    bytes.resize(bytes.len().max(frame.link_len + total), 0);
    let mut whole = Frame::new(&bytes, frame.link_len);
    Headers::parse(&whole.packet()).ok()
}

impl Capture {
    fn see(&mut self, headers: &Headers, at: Duration, protocol: Protocol) {
        match (protocol, headers.transport) {
            (
                Protocol::Tcp,
                Transport::Tcp {
                    source,
                    destination,
                    sequence,
                    flags,
                    header_len,
                    ..
                },
            ) => {
                let flow = (headers.source, source, headers.destination, destination);
                let payload = headers
                    .end
                    .saturating_sub(headers.transport_offset + usize::from(header_len));
                if flags & (tcp::SYN | tcp::ACK) == tcp::SYN {
                    let known = self.flows.get(&flow);
                    if known.is_none_or(|known| known.sequence != sequence) {
                        self.begin(flow, at, sequence);
                    }
                } else if payload > 0 {
                    self.go_on(&flow, at);
                }
            }
            (
                Protocol::Udp,
                Transport::Udp {
                    source,
                    destination,
                    ..
                },
            ) => {
                let flow = (headers.source, source, headers.destination, destination);
                let answer = (headers.destination, destination, headers.source, source);
                let is_live = |known: &Known| at.saturating_sub(known.last) <= IDLE;
                if let Some(known) = self.flows.get_mut(&answer).filter(|known| is_live(known)) {
                    known.last = at;
                } else if self.flows.get(&flow).is_some_and(is_live) {
                    self.go_on(&flow, at);
                } else {
                    self.begin(flow, at, 0);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, flow: Flow, at: Duration, sequence: u32) {
        let known = Known {
            row: self.rows.len(),
            last: at,
            sequence,
        };
        self.flows.insert(flow, known);
        self.rows.push(Row {
            at,
            client: (flow.0, flow.1),
            work: None,
            packets: Some(0),
        });
    }

    /// One more packet of the client.
    fn go_on(&mut self, flow: &Flow, at: Duration) {
        let Some(known) = self.flows.get_mut(flow) else {
            return;
        };
        known.last = at;
        let packets = self
            .rows
            .get_mut(known.row)
            .and_then(|row| row.packets.as_mut());
        if let Some(packets) = packets {
            *packets = packets.saturating_add(1).min(PACKETS_MAX);
        }
    }
}
