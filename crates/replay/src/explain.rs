//! `ulvs explain --rules`: what a director with these rules would do with a packet, on a host that is made up.

use core::time::Duration;
use std::path::Path;

use director::explain::{About, Question};
use director::time::Instant;
use link::Frame;
use link::pcap::{LinkType, Record};

use crate::capture::Capture;
use crate::error::ReplayError;
use crate::host::{HostOptions, MADE_UP_MAC, Survey};
use crate::rules::Rules;
use crate::system::System;

/// The answer, a line a note as [`director::explain::Explanation`] prints it, and what was made up.
///
/// # Errors
/// A sentence: the rules or the question are at fault.
pub fn explain(
    rules: &Path,
    options: &HostOptions,
    question: &Question,
) -> Result<String, ReplayError> {
    let rules = Rules::open(rules)?;
    let mut survey = Survey::new(&rules, options, LinkType::Ethernet);
    let octets = match &question.about {
        About::Frame(octets) => octets.clone(),
        About::Tuple(probe) => probe.frame(Some(MADE_UP_MAC), false),
    };
    survey.note(&mut Record {
        time: Duration::ZERO,
        frame: Frame::new(&octets, LinkType::Ethernet.link_len()),
        left_out: 0,
    });
    let host = survey.host(options);
    let system = System::new(&rules, &host.network, 0)?;
    let mark = |interface, packet: &packet::Packet<'_>| system.mark(interface, packet);
    let explanation = system.director().explain(Instant::START, question, mark);
    let explanation = explanation.map_err(|error| ReplayError::new(error.to_string()))?;
    let mut text = explanation.to_string();
    text += "made up\tthe host: its interfaces, and link addresses that are not the frame's \
             (02:00 and the last four octets); a running director knows the real ones\n";
    Ok(text)
}

/// The frame of this number, from 1, of a capture.
///
/// # Errors
/// A sentence: the capture cannot be read, is none of Ethernet frames, or has no such frame.
pub fn frame_of(path: &Path, number: u64) -> Result<Vec<u8>, ReplayError> {
    let mut capture = Capture::open(path)?;
    let name = path.display().to_string();
    if capture.link_type() != LinkType::Ethernet {
        return Err(ReplayError::new(format!(
            "{name}: it holds IP packets without link header: ask about the tuple instead"
        )));
    }
    while let Some(record) = capture.next() {
        if capture.frames() == number {
            return Ok(record.frame.bytes().to_vec());
        }
    }
    let last = capture.frames();
    Err(ReplayError::new(capture.broken().map_or_else(
        || format!("{name}: there is no frame {number}, the last one is {last}"),
        str::to_owned,
    )))
}
