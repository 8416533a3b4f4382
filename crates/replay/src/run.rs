//! One capture through one director, or through several that differ in their schedulers.

use core::net::SocketAddr;
use core::time::Duration;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use director::explain::describe;
use director::frame::{Frame, Outgoing, Output};
use director::verdict::Verdict;
use link::LinkError;
use link::pcap::{LinkType, Record, Writer};
use packet::{Mac, Packet};

use crate::capture::Capture;
use crate::choices::{Choice, Watch, endpoints};
use crate::error::ReplayError;
use crate::host::{Host, HostOptions, Survey};
use crate::report::{self, FrameReport, Report};
use crate::rules::Rules;
use crate::system::System;

/// Milliseconds of a day.
const DAY_MS: u128 = 86_400_000;

/// What is to be replayed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The capture file.
    pub capture: PathBuf,
    /// The rules file, see [`Rules::open`].
    pub rules: PathBuf,
    /// Where the frames go that the director sends; `None` = they are counted.
    pub output: Option<PathBuf>,
    /// Schedulers to compare with the rules' own, see [`Rules::with_scheduler`].
    pub schedulers: Vec<String>,
    /// Where schedulers that draw lots begin; `None` = as [`Rules::lots`] says.
    pub lots: Option<u64>,
    /// What is known of the host.
    pub host: HostOptions,
    /// Whether each frame is to be told of.
    pub each: bool,
}

/// Replays a capture. `told` gets what became of each frame, in order, if `options.each`.
///
/// A capture that is broken somewhere is replayed up to there, and [`Report::broken`] says so.
///
/// # Errors
/// A sentence: a file cannot be read or written, a rule or an option is wrong.
pub fn run(options: &Options, told: &mut dyn FnMut(FrameReport)) -> Result<Report, ReplayError> {
    let mut rules = Rules::open(&options.rules)?;
    rules.lots = options.lots.or(rules.lots);
    let others = options.schedulers.iter();
    let others = others.map(|name| Ok((name.as_str(), rules.with_scheduler(name)?)));
    let others: Vec<(&str, Rules)> = others.collect::<Result<_, ReplayError>>()?;
    let (host, survey) = survey(options, &rules)?;

    let mut player = Player::new(&rules, &host, &survey)?;
    if options.each {
        player.told = Some(told);
    }
    if let Some(path) = &options.output {
        check_apart("-o", path, &[&options.capture, &options.rules])?;
        player.sink.writer = Some(Writer::create(path, survey.link_type)?);
    }
    let played = player.play(&options.capture);
    if let (Err(_), Some(path)) = (&played, &options.output) {
        discard(path);
    }
    played?;
    let mut report = player.report(&host);
    report.capture = options.capture.display().to_string();
    report.rules = options.rules.display().to_string();
    report.cut_short = survey.cut_short;
    report.lots = rules.lots.unwrap_or_default();
    report.notes.extend(rules.unknown_lots());
    let own = std::mem::take(&mut player.choices);
    report
        .schedulers
        .push(report::outcome("rules", &player.system, &own, &own));
    report.connections = own.iter().map(report::connection).collect();
    for (name, rules) in others {
        let mut player = Player::new(&rules, &host, &survey)?;
        player.play(&options.capture)?;
        let outcome = report::outcome(name, &player.system, &own, &player.choices);
        report.schedulers.push(outcome);
    }
    Ok(report)
}

/// Writing into a file that is read, or written for something else, would destroy it.
///
/// # Errors
/// `path`, which `option` names, is one of `others`.
pub(crate) fn check_apart(option: &str, path: &Path, others: &[&Path]) -> Result<(), ReplayError> {
    let file = |path: &Path| {
        let known = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((known.dev(), known.ino()))
    };
    let is_same = |other: &&Path| match file(other) {
        Some(known) => file(path) == Some(known),
        None => *other == path && !path.exists(),
    };
    if others.iter().any(is_same) {
        let name = path.display();
        return Err(ReplayError::new(format!(
            "{option} {name}: this replay reads or writes that file already, name another one"
        )));
    }
    Ok(())
}

/// Takes away what was written of a file that could not be finished; a device stays.
pub(crate) fn discard(path: &Path) {
    if path.is_file() {
        // The sentence about why it could not be written says more.
        let _ = std::fs::remove_file(path);
    }
}

/// What a first look over the whole capture found.
struct Looked {
    link_type: LinkType,
    start: Duration,
    cut_short: u64,
}

fn survey(options: &Options, rules: &Rules) -> Result<(Host, Looked), ReplayError> {
    let mut capture = Capture::open(&options.capture)?;
    let link_type = capture.link_type();
    let mut survey = Survey::new(rules, &options.host, link_type);
    let mut looked = Looked {
        link_type,
        start: Duration::ZERO,
        cut_short: 0,
    };
    while let Some(mut record) = capture.next() {
        if capture.frames() == 1 {
            looked.start = record.time;
        }
        looked.cut_short += u64::from(record.left_out > 0);
        survey.note(&mut record);
    }
    Ok((survey.host(&options.host), looked))
}

/// A director under way through a capture.
struct Player<'a> {
    system: System,
    watch: Watch,
    host: &'a Host,
    start: Duration,
    choices: Vec<Choice>,
    frames: u64,
    own: u64,
    out_of_order: u64,
    broken: Option<String>,
    told: Option<&'a mut dyn FnMut(FrameReport)>,
    sink: Sink,
}

impl<'a> Player<'a> {
    fn new(rules: &Rules, host: &'a Host, looked: &Looked) -> Result<Self, ReplayError> {
        let midnight = u64::try_from(looked.start.as_millis() % DAY_MS).unwrap_or(0);
        let system = System::new(rules, &host.network, midnight)?;
        Ok(Self {
            watch: Watch::new(&system.shared),
            system,
            host,
            start: looked.start,
            choices: Vec::new(),
            frames: 0,
            own: 0,
            out_of_order: 0,
            broken: None,
            told: None,
            sink: Sink {
                start: looked.start,
                ..Sink::default()
            },
        })
    }

    /// Plays the whole capture, as far as it can be read.
    fn play(&mut self, path: &Path) -> Result<(), ReplayError> {
        let mut capture = Capture::open(path)?;
        while let Some(record) = capture.next() {
            self.frame(capture.frames(), record);
            self.sink.check()?;
        }
        let now = self.system.now();
        let sink = &mut self.sink;
        self.system
            .advance(now, &mut |now, frame| sink.take(now, frame));
        self.sink.finish()?;
        self.frames = capture.frames();
        self.broken = capture.broken().map(str::to_owned);
        Ok(())
    }

    fn frame(&mut self, number: u64, mut record: Record) {
        let mut time = record.time.saturating_sub(self.start);
        if time < self.system.now() {
            time = self.system.now();
            self.out_of_order += 1;
        }
        let sink = &mut self.sink;
        self.system
            .advance(time, &mut |now, frame| sink.take(now, frame));
        let interface = self.host.arrival(&mut record);
        let packet = record.frame.packet();
        let name = self.told.is_some().then(|| describe::frame(&packet));
        let Some(interface) = interface else {
            self.own += 1;
            self.tell(number, name, "own", None, None, Vec::new());
            return;
        };
        let endpoints = endpoints(&packet);
        let mut output = Output::default();
        let verdict = self.system.frame(interface, packet, &mut output);
        for frame in &output.frames {
            self.sink.take(time, frame);
        }
        let server = self.choices(number, endpoints);
        let sent = output.frames.iter().filter(|_| name.is_some());
        let sent = sent.map(|frame| self.described(frame)).collect();
        let (verdict, reason) = words(verdict);
        self.tell(number, name, verdict, reason, server, sent);
    }

    /// Notes the connections that this frame began; the last one's real server.
    fn choices(
        &mut self,
        frame: u64,
        endpoints: Option<(SocketAddr, SocketAddr, u8)>,
    ) -> Option<SocketAddr> {
        if !self.watch.has_new(&self.system.shared) {
            return None;
        }
        let (client, virtual_server, protocol) = endpoints?;
        let time = u64::try_from(self.system.now().as_nanos()).unwrap_or(u64::MAX);
        let choices = &mut self.choices;
        self.watch.look(&self.system.shared, |service, server| {
            choices.push(Choice {
                frame,
                time,
                client,
                virtual_server,
                protocol,
                service,
                server,
            });
        });
        choices.last().map(|choice| choice.server)
    }

    fn tell(
        &mut self,
        number: u64,
        name: Option<String>,
        verdict: &'static str,
        reason: Option<&'static str>,
        server: Option<SocketAddr>,
        sent: Vec<String>,
    ) {
        if let (Some(told), Some(frame)) = (&mut self.told, name) {
            told(FrameReport {
                number,
                time_ns: u64::try_from(self.system.now().as_nanos()).unwrap_or(u64::MAX),
                frame,
                verdict,
                reason,
                server: server.map(|server| server.to_string()),
                sent,
            });
        }
    }

    /// A frame that was sent: what it is, where it goes.
    fn described(&self, outgoing: &Outgoing<'_>) -> String {
        let link_len = match &outgoing.frame {
            Frame::InPlace(packet) => packet.link_len,
            Frame::Owned(frame) => frame.link_len,
        };
        let mut octets = outgoing.frame.bytes().to_vec();
        let to = octets.first_chunk::<6>().map(|mac| Mac(*mac));
        let end = octets.len();
        let what = describe::frame(&Packet::new(&mut octets, 0..end, link_len));
        let name = self.host.network.interface(outgoing.interface);
        let name = name.map_or("?", |interface| interface.name.as_str());
        match to.filter(|_| link_len > 0) {
            Some(mac) => format!("{what} by {name} to {mac}"),
            None => format!("{what} by {name}"),
        }
    }

    fn report(&self, host: &Host) -> Report {
        self.system.shared.estimate();
        let counters = self.system.director().counters();
        Report {
            frames: self.frames,
            own: self.own,
            out_of_order: self.out_of_order,
            duration_ns: u64::try_from(self.system.now().as_nanos()).unwrap_or(u64::MAX),
            verdicts: report::verdicts(counters),
            drops: report::drops(counters),
            sent: self.sink.frames,
            interfaces: report::interfaces(host),
            notes: host.told.clone(),
            services_table: self.system.ipvsadm(&["-Ln", "--stats", "--exact"]),
            connections_table: self.system.ipvsadm(&["-Lcn"]),
            broken: self.broken.clone(),
            ..Report::default()
        }
    }
}

/// A verdict in words, and why.
const fn words(verdict: Verdict) -> (&'static str, Option<&'static str>) {
    let reason = match verdict {
        Verdict::Drop(reason) => Some(reason.name()),
        _ => None,
    };
    (verdict.name(), reason)
}

/// Where the frames go that the director sends.
#[derive(Debug, Default)]
struct Sink {
    writer: Option<Writer>,
    /// When the first frame was captured.
    start: Duration,
    frames: u64,
    error: Option<LinkError>,
}

impl Sink {
    fn take(&mut self, now: Duration, outgoing: &Outgoing<'_>) {
        self.frames += 1;
        if let (Some(writer), None) = (&mut self.writer, &self.error) {
            let (bytes, vlan) = (outgoing.frame.bytes(), outgoing.frame.vlan());
            self.error = writer.write(self.start + now, bytes, vlan).err();
        }
    }

    /// No frame comes any more.
    ///
    /// # Errors
    /// What could not be written.
    fn finish(&mut self) -> Result<(), ReplayError> {
        self.check()?;
        Ok(self.writer.take().map_or(Ok(()), Writer::finish)?)
    }

    /// # Errors
    /// What could not be written.
    fn check(&mut self) -> Result<(), ReplayError> {
        self.error.take().map_or(Ok(()), |error| Err(error.into()))
    }
}
