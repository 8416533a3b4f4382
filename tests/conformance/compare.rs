//! Frames of the kernel against frames of ulvs: per interface, in order, byte for byte after the mask.

use std::collections::HashSet;

use crate::decode;
use crate::recording::{Frame, Port};

/// A recorded frame and the offsets that are not compared.
#[derive(Debug)]
pub(crate) struct Recorded<'a> {
    pub(crate) port: Port,
    pub(crate) frame: &'a Frame,
    pub(crate) mask: &'a HashSet<usize>,
}

/// The first difference between what the kernel sent and what ulvs sent, in words; `None` when equal.
pub(crate) fn frames(recorded: &[Recorded<'_>], ours: &[(Port, Frame)]) -> Option<String> {
    [Port::Client, Port::Server].into_iter().find_map(|port| {
        let kernel: Vec<&Recorded<'_>> = recorded.iter().filter(|it| it.port == port).collect();
        let ulvs: Vec<&Frame> = ours
            .iter()
            .filter(|(own, _)| *own == port)
            .map(|(_, frame)| frame)
            .collect();
        one_interface(port, &kernel, &ulvs)
    })
}

fn one_interface(port: Port, kernel: &[&Recorded<'_>], ulvs: &[&Frame]) -> Option<String> {
    (0..kernel.len().max(ulvs.len())).find_map(|place| {
        let detail = match (kernel.get(place), ulvs.get(place)) {
            (Some(recorded), Some(frame)) => unequal(recorded, frame)?,
            (Some(recorded), None) => format!(
                "kernel: {}\nulvs:   (no frame)",
                decode::frame(recorded.frame)
            ),
            (None, Some(frame)) => {
                format!("kernel: (no frame)\nulvs:   {}", decode::frame(frame))
            }
            (None, None) => return None,
        };
        Some(format!(
            "frame {} on {port} (kernel {}, ulvs {})\n{detail}",
            place + 1,
            kernel.len(),
            ulvs.len()
        ))
    })
}

/// Both frames in readable form when they differ.
fn unequal(recorded: &Recorded<'_>, ulvs: &Frame) -> Option<String> {
    let (kernel_text, ulvs_text) = (decode::frame(recorded.frame), decode::frame(ulvs));
    let both = format!("kernel: {kernel_text}\nulvs:   {ulvs_text}");
    let (kernel, ulvs) = (&recorded.frame.0, &ulvs.0);
    if kernel.len() != ulvs.len() {
        return Some(format!(
            "{both}\nlength: {} against {}",
            kernel.len(),
            ulvs.len()
        ));
    }
    let offsets: Vec<usize> = (0..kernel.len())
        .filter(|at| kernel.get(*at) != ulvs.get(*at) && !recorded.mask.contains(at))
        .collect();
    if let Some((first, last)) = offsets.first().zip(offsets.last()) {
        let slice = |bytes: &[u8]| {
            bytes
                .get(*first..=*last)
                .map(|part| decode::hex(part, 48))
                .unwrap_or_default()
        };
        return Some(format!(
            "{both}\noctets {offsets:?}: {} against {}",
            slice(kernel),
            slice(ulvs)
        ));
    }
    // A masked checksum has another value, but must be as right as the kernel's.
    let wrong = |text: &str| text.matches("=BAD").count();
    (wrong(&kernel_text) != wrong(&ulvs_text)).then(|| format!("{both}\nchecksum"))
}

/// The server that the first frame went to, in the words of `sequence` records.
pub(crate) fn chosen(ours: &[(Port, Frame)]) -> String {
    match ours.first() {
        None => "none".to_owned(),
        Some((Port::Server, frame)) => {
            let name = frame.0.get(0..6).map(decode::mac).unwrap_or_default();
            if name == "rsgw" {
                destination(frame)
            } else {
                name
            }
        }
        Some((Port::Client, frame)) => format!("cl:{}", refusal(&decode::frame(frame))),
    }
}

/// Outer destination address.
fn destination(frame: &Frame) -> String {
    let text = decode::frame(frame);
    text.split_once('>')
        .and_then(|(_, rest)| rest.split_once('>'))
        .and_then(|(_, rest)| rest.split(' ').next())
        .unwrap_or_default()
        .to_owned()
}

/// `ICMP:3/3`, `TCP:RA` or `other`, from a decoded frame.
fn refusal(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let named = |name: &str, skip: usize| {
        let place = words.iter().position(|word| *word == name)?;
        words
            .get(place + skip)
            .map(|value| format!("{name}:{value}"))
    };
    named("ICMP", 1)
        .or_else(|| named("ICMP6", 1))
        .or_else(|| named("TCP", 2))
        .unwrap_or_else(|| "other".to_owned())
}
