//! The links of one worker, and the way of a batch through them.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use director::director::Director;
use director::frame::{Frame, Outgoing, Output};
use link::steering::Steering;
use link::sys::poll;
use link::{Link, LinkError, Receive, Statistics, Transmit, recycle};
use packet::Packet;

use super::announcements::Announcements;
use super::team::Team;
use super::{Marks, Tally};
use crate::clock::Clock;

/// A link of this worker.
struct Port {
    interface: u32,
    receiver: Box<dyn Receive>,
    /// There may be frames. Only a batch of none makes it false: until then the ring holds frames that were handled,
    /// and would not be waited for.
    ready: bool,
    /// Frames that had arrived by the last note, until they have been received.
    noted: Option<u64>,
}

/// All links of one worker.
pub(super) struct Ports {
    team: Team,
    marks: Option<Arc<Marks>>,
    announcements: Announcements,
    receivers: Vec<Port>,
    senders: Vec<(u32, Arc<dyn Transmit>)>,
    /// Memory for the batch's packets and its output, kept between batches.
    packets: Vec<Packet<'static>>,
    frames: Vec<Outgoing<'static>>,
}

impl Ports {
    pub(super) fn new(team: Team) -> Self {
        Self {
            team,
            marks: None,
            announcements: Announcements::default(),
            receivers: Vec::new(),
            senders: Vec::new(),
            packets: Vec::new(),
            frames: Vec::new(),
        }
    }

    pub(super) fn steer(&mut self, steering: Arc<Steering>) {
        self.team.steer(steering);
    }

    pub(super) fn mark(&mut self, marks: Option<Arc<Marks>>) {
        self.marks = marks;
    }

    pub(super) fn add(&mut self, interface: u32, link: Link) {
        self.remove(interface);
        self.receivers.push(Port {
            interface,
            receiver: link.receiver,
            ready: true,
            noted: None,
        });
        self.senders.push((interface, link.sender));
    }

    pub(super) fn remove(&mut self, interface: u32) {
        self.receivers.retain(|port| port.interface != interface);
        self.senders.retain(|(index, _)| *index != interface);
    }

    /// Waits for frames, orders, or frames handed over: not at all when a port may have frames, without end when
    /// `timeout` is `None`.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) {
        let busy = self.receivers.iter().any(|port| port.ready);
        let timeout = if busy { Some(Duration::ZERO) } else { timeout };
        let frames = self.receivers.iter().filter_map(|port| port.receiver.fd());
        let fds: Vec<BorrowedFd<'_>> = frames
            .chain(self.team.waker().map(|waker| waker.fd()))
            .collect();
        // A failure could only be a descriptor that is not one: the receivers would find out.
        let readable = poll::readable(&fds, timeout).unwrap_or_default();
        let waiting = self
            .receivers
            .iter_mut()
            .filter(|port| port.receiver.fd().is_some());
        for (port, readable) in waiting.zip(readable) {
            port.ready |= readable;
        }
        // Before looking for what this worker was woken for.
        self.team.waker().map(|waker| waker.clear());
    }

    /// Takes a note of the frames that stand in rings now.
    pub(super) fn note_arrivals(&mut self) {
        for port in &mut self.receivers {
            port.noted = port.receiver.arrived();
        }
    }

    /// Whether frames of the last note have not been received yet.
    pub(super) fn has_note(&self) -> bool {
        self.receivers.iter().any(|port| port.noted.is_some())
    }

    /// Whether all frames of the last note have been received, and sent on; ends the note if so.
    pub(super) fn has_caught_up(&mut self) -> bool {
        if !self.has_note() {
            return false;
        }
        for port in &mut self.receivers {
            let taken = port.receiver.taken();
            port.noted = port.noted.filter(|noted| taken < *noted);
        }
        !self.has_note()
    }

    /// The sharing out of frames among workers.
    pub(super) const fn team(&self) -> &Team {
        &self.team
    }

    pub(super) fn statistics(&mut self) -> Vec<(u32, Statistics)> {
        let statistics = |port: &mut Port| (port.interface, port.receiver.statistics());
        self.receivers.iter_mut().map(statistics).collect()
    }

    /// One batch from each link that may have frames. Returns how many there were, and the links that are gone.
    pub(super) fn receive(
        &mut self,
        director: &mut Director,
        clock: Clock,
        tally: &mut Tally,
    ) -> (usize, Vec<(u32, LinkError)>) {
        let Self {
            team,
            marks,
            announcements,
            receivers,
            senders,
            packets,
            frames,
        } = self;
        let mut total = 0;
        let mut lost = Vec::new();
        for port in receivers.iter_mut().filter(|port| port.ready) {
            let mut batch: Vec<Packet<'_>> = recycle(std::mem::take(packets));
            match port.receiver.receive(&mut batch) {
                Ok(0) => port.ready = false,
                Ok(count) => {
                    total += count;
                    tally.received += u64::try_from(count).unwrap_or(u64::MAX);
                    let now = clock.now();
                    director.refresh();
                    director.prefetch(&batch);
                    let mut output = Output {
                        frames: recycle(std::mem::take(frames)),
                        // Nothing comes: no synchronisation master can be started.
                        told: Vec::new(),
                    };
                    for packet in batch.drain(..) {
                        let owners = director.owners();
                        if team.hand_over(port.interface, &packet, now, owners, tally) {
                            continue;
                        }
                        // The verdict is in the director's counters.
                        let mark = mark_of(marks.as_ref(), port.interface, &packet);
                        let (announced, first) = (owners.announced(), output.frames.len());
                        let _ = director.handle(now, port.interface, mark, packet, &mut output);
                        if director.owners().announced() != announced {
                            announcements.hold(output.frames.drain(first..));
                        }
                    }
                    send(senders, &mut output.frames, tally);
                    *frames = recycle(output.frames);
                }
                Err(error) => lost.push((port.interface, error)),
            }
            *packets = recycle(batch);
        }
        (total, lost)
    }

    /// Frames that other workers handed over, at most a batch; returns whether there were any.
    pub(super) fn take_handed(
        &mut self,
        director: &mut Director,
        clock: Clock,
        tally: &mut Tally,
    ) -> bool {
        let mut handed = self.team.take();
        if handed.is_empty() {
            return false;
        }
        tally.taken_over += u64::try_from(handed.len()).unwrap_or(u64::MAX);
        let now = clock.now();
        director.refresh();
        for one in &mut handed {
            let interface = one.interface;
            let packet = one.frame.packet();
            let mark = mark_of(self.marks.as_ref(), interface, &packet);
            let announced = director.owners().announced();
            let mut output = Output::default();
            let _ = director.handle(now, interface, mark, packet, &mut output);
            if director.owners().announced() != announced {
                self.announcements.hold(output.frames.drain(..));
            }
            send(&self.senders, &mut output.frames, tally);
        }
        true
    }

    /// Whether frames that announce data connections wait of which the control thread is to be told now.
    pub(super) fn holds_new(&mut self) -> bool {
        self.announcements.tell()
    }

    /// Sends the frames that waited for the control thread's oldest answer.
    pub(super) fn release(&mut self, tally: &mut Tally) {
        send(&self.senders, &mut self.announcements.release(), tally);
    }

    /// Sends what `fill` puts out.
    pub(super) fn send_from<'a>(&mut self, tally: &mut Tally, fill: impl FnOnce(&mut Output<'a>)) {
        let mut output = Output::default();
        fill(&mut output);
        send(&self.senders, &mut output.frames, tally);
    }
}

fn mark_of(marks: Option<&Arc<Marks>>, interface: u32, packet: &Packet<'_>) -> u32 {
    marks.map_or(0, |marks| marks.of(interface, packet))
}

/// Sends the frames, all of one interface together, in their order.
fn send(senders: &[(u32, Arc<dyn Transmit>)], frames: &mut Vec<Outgoing<'_>>, tally: &mut Tally) {
    while let Some(first) = frames.first() {
        let interface = first.interface;
        let mut group = Vec::with_capacity(frames.len());
        let mut others = Vec::new();
        for frame in frames.drain(..) {
            if frame.interface == interface {
                group.push(outgoing(frame.frame));
            } else {
                others.push(frame);
            }
        }
        *frames = others;
        match senders.iter().find(|(index, _)| *index == interface) {
            Some((_, sender)) => tally.transmitted += sender.transmit(&group),
            None => tally.no_sender += u64::try_from(group.len()).unwrap_or(u64::MAX),
        }
    }
}

fn outgoing(frame: Frame<'_>) -> link::Outgoing<'_> {
    match frame {
        Frame::InPlace(packet) => link::Outgoing::InPlace(packet),
        Frame::Owned(frame) => {
            let (link_len, offload, vlan) = (frame.link_len, frame.offload, frame.vlan);
            let (buffer, start) = frame.into_buffer();
            let mut frame = link::Frame::from_buffer(buffer, start, link_len);
            (frame.offload, frame.vlan) = (offload, vlan);
            link::Outgoing::Owned(frame)
        }
    }
}
