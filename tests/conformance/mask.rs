//! Which bytes of a recorded frame must not be compared: those that differ between two runs of the
//! kernel itself.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use crate::decode::{GUE_PORTS, be16, be32};
use crate::recording::{Frame, Port, Record, Recording};

/// Contents of a `volatile.json`: case, number of the `recv` record from 1, byte offsets.
pub(crate) type Volatile = BTreeMap<String, BTreeMap<String, Vec<usize>>>;

/// Reads `volatile.json` of the folder, else of its parent; without one, nothing is masked.
///
/// # Errors
/// A sentence when a file is there but cannot be read.
pub(crate) fn volatile(folder: &Path) -> Result<Volatile, String> {
    let candidates = [
        folder.join("volatile.json"),
        folder.join("..").join("volatile.json"),
    ];
    for path in candidates {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                return serde_json::from_str(&text)
                    .map_err(|error| format!("{}: {error}", path.display()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
    }
    Ok(Volatile::new())
}

/// Masked offsets of every `recv` record of a case, in order.
pub(crate) fn masks(recording: &Recording, volatile: &Volatile) -> Vec<HashSet<usize>> {
    let listed = volatile.get(&recording.name);
    let mut sent = Sent::default();
    let mut frames = Vec::new();
    for line in &recording.lines {
        match &line.record {
            Record::Send { frame, .. } => sent.note(&frame.0),
            Record::Recv { port, frame, .. } => frames.push((*port, frame)),
            _ => {}
        }
    }
    let mut of_kind: BTreeMap<Kind, HashSet<usize>> = BTreeMap::new();
    for (index, (port, frame)) in frames.iter().enumerate() {
        let offsets = listed.and_then(|case| case.get(&(index + 1).to_string()));
        of_kind
            .entry(kind(*port, frame))
            .or_default()
            .extend(offsets.into_iter().flatten());
    }
    frames
        .iter()
        .map(|(port, frame)| {
            let mut mask = of_kind
                .get(&kind(*port, frame))
                .cloned()
                .unwrap_or_default();
            by_nature(&frame.0, &sent, &mut mask);
            mask
        })
        .collect()
}

/// What makes two frames of one kind: interface, EtherType, protocol, and ICMP type and code or the
/// UDP destination port.
type Kind = (String, u16, u8, u16);

/// The kind of a frame.
fn kind(port: Port, frame: &Frame) -> Kind {
    let bytes = &frame.0;
    let ether_type = be16(bytes, 12).unwrap_or(0);
    let (protocol, upper) = match ether_type {
        0x0800 => (
            bytes.get(23).copied().unwrap_or(0),
            14 + usize::from(bytes.get(14).copied().unwrap_or(0) & 15) * 4,
        ),
        0x86dd => (bytes.get(20).copied().unwrap_or(0), 54),
        _ => (0, 0),
    };
    let detail = match protocol {
        1 | 58 => be16(bytes, upper),
        17 => be16(bytes, upper + 2),
        _ => None,
    };
    (port.to_string(), ether_type, protocol, detail.unwrap_or(0))
}

/// Identifiers that a forwarded frame may have kept from a frame that was sent in.
#[derive(Debug, Default)]
struct Sent {
    /// IPv4 identifications.
    ids: HashSet<u16>,
    /// IPv6 flow labels.
    labels: HashSet<u32>,
    /// IPv6 fragment identifications.
    fragments: HashSet<u32>,
}

impl Sent {
    fn note(&mut self, bytes: &[u8]) {
        match be16(bytes, 12) {
            Some(0x0800) => self.ids.extend(be16(bytes, 18)),
            Some(0x86dd) => {
                self.labels
                    .extend(be32(bytes, 14).map(|word| word & 0xf_ffff));
                if bytes.get(20) == Some(&44) {
                    self.fragments.extend(be32(bytes, 58));
                }
            }
            _ => {}
        }
    }
}

/// Adds the fields that are not reproducible by nature: identification (and with it the header
/// checksum) of director-made IPv4 packets without DF, flow labels and fragment identifications that
/// the director chose, the source port (and checksum) of GUE and of synchronisation datagrams.
fn by_nature(bytes: &[u8], sent: &Sent, mask: &mut HashSet<usize>) {
    match be16(bytes, 12) {
        Some(0x0800) => {
            let without_df = bytes.get(20).is_some_and(|flags| flags & 0x40 == 0);
            if without_df && (is_made_here(bytes) || has_own_id(bytes, sent)) {
                mask.extend([18, 19, 24, 25]);
            }
            let upper = 14 + usize::from(bytes.get(14).copied().unwrap_or(0) & 15) * 4;
            if bytes.get(23) == Some(&17) {
                gue(bytes, upper, mask);
                sync(bytes, upper, mask);
            }
        }
        Some(0x86dd) => {
            let label = be32(bytes, 14).map_or(0, |word| word & 0xf_ffff);
            if label != 0 && !sent.labels.contains(&label) {
                mask.extend([15, 16, 17]);
            }
            match bytes.get(20) {
                Some(17) => gue(bytes, 54, mask),
                Some(44) => {
                    if be32(bytes, 58).is_some_and(|id| !sent.fragments.contains(&id)) {
                        mask.extend(58..62);
                    }
                    let is_first = be16(bytes, 56).is_some_and(|field| field & 0xfff8 == 0);
                    if bytes.get(54) == Some(&17) && is_first {
                        gue(bytes, 62, mask);
                    }
                }
                _ => {}
            }
        }
        _ => {}
    }
}

/// Source port and checksum of a synchronisation datagram at `upper`: the kernel's socket has a random port.
fn sync(bytes: &[u8], upper: usize, mask: &mut HashSet<usize>) {
    if bytes.get(30).is_some_and(|octet| octet & 0xf0 == 0xe0) {
        mask.extend([upper, upper + 1, upper + 6, upper + 7]);
    }
}

/// Whether the director made the IPv4 packet itself: the outer one of a tunnel, or an answer, whose TTL no router has
/// touched yet.
fn is_made_here(bytes: &[u8]) -> bool {
    let upper = 14 + usize::from(bytes.get(14).copied().unwrap_or(0) & 15) * 4;
    match bytes.get(23) {
        Some(4 | 41 | 47) => true,
        Some(17) if is_gue(bytes, upper) => true,
        _ => bytes.get(22) == Some(&64),
    }
}

/// Whether no packet that was sent in has its identification.
fn has_own_id(bytes: &[u8], sent: &Sent) -> bool {
    be16(bytes, 18).is_some_and(|id| !sent.ids.contains(&id))
}

/// Whether a UDP header at `upper` goes to a GUE port.
fn is_gue(bytes: &[u8], upper: usize) -> bool {
    be16(bytes, upper + 2).is_some_and(|port| GUE_PORTS.contains(&port))
}

/// Source port and, where there is one, the checksum of a GUE header at `upper`.
fn gue(bytes: &[u8], upper: usize, mask: &mut HashSet<usize>) {
    if is_gue(bytes, upper) {
        mask.extend([upper, upper + 1]);
        if be16(bytes, upper + 6).is_some_and(|checksum| checksum != 0) {
            mask.extend([upper + 6, upper + 7]);
        }
    }
}
