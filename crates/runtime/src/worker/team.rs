//! The workers among each other: whose flow a frame belongs to, and how it gets there.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use director::owners::Owners;
use director::protocol::Protocol;
use director::time::Instant;
use link::steering::Steering;
use link::sys::poll::Waker;
use packet::{Family, Headers, Packet, Quoted, ethernet, protocol};

use super::Tally;
use super::fragments::{Fate, Fragments};

/// UDP port of the key exchange that ESP and AH belong to (RFC 7296).
const ISAKMP_PORT: u16 = 500;
/// Frames that wait to be taken over by their owner, at most; beyond that they are dropped and counted. At a million
/// frames a second this is 4 ms of a worker not looking.
const INBOX: usize = 4096;

/// A frame that arrived at a worker that does not own its flow.
#[derive(Debug)]
pub struct Handed {
    /// Index of the interface that it arrived on.
    pub interface: u32,
    /// The whole frame.
    pub frame: link::Frame,
}

/// Where the other workers put frames for one worker.
#[derive(Clone, Debug)]
struct Inbox {
    queue: Arc<ArrayQueue<Handed>>,
    waker: Arc<Waker>,
}

impl Inbox {
    fn new() -> io::Result<Self> {
        Ok(Self {
            queue: Arc::new(ArrayQueue::new(INBOX)),
            waker: Arc::new(Waker::new()?),
        })
    }
}

/// One worker's place among all. The daemon's threads have one each; the conformance runner drives several in turn.
#[derive(Debug)]
pub struct Team {
    index: usize,
    /// Of all workers, this one included.
    inboxes: Vec<Inbox>,
    /// `None` until the control thread has said how flows are shared out: then every frame stays where it is.
    steering: Option<Arc<Steering>>,
    fragments: Fragments,
}

impl Team {
    /// The places of `count` workers, in their order.
    ///
    /// # Errors
    /// The system refuses an event counter.
    pub fn all(count: usize) -> io::Result<Vec<Self>> {
        let inboxes = (0..count)
            .map(|_| Inbox::new())
            .collect::<io::Result<Vec<Inbox>>>()?;
        let team = |index| Self::new(index, inboxes.clone());
        Ok((0..count).map(team).collect())
    }

    fn new(index: usize, inboxes: Vec<Inbox>) -> Self {
        Self {
            index,
            inboxes,
            steering: None,
            fragments: Fragments::default(),
        }
    }

    /// Shares flows out like this from now on; before, every frame stays where it is.
    pub fn steer(&mut self, steering: Arc<Steering>) {
        self.steering = Some(steering);
    }

    /// What wakes this worker.
    pub(super) fn waker(&self) -> Option<&Arc<Waker>> {
        self.inboxes.get(self.index).map(|inbox| &inbox.waker)
    }

    /// Gives the frame to the worker that owns its flow, if that is another one; returns whether the frame is dealt
    /// with. What belongs to no flow stays with the worker that the kernel chose.
    pub fn hand_over(
        &mut self,
        interface: u32,
        packet: &Packet<'_>,
        now: Instant,
        owners: &Owners,
        tally: &mut Tally,
    ) -> bool {
        let Some(steering) = self.steering.as_ref().filter(|_| self.inboxes.len() > 1) else {
            return false;
        };
        let Ok(headers) = Headers::parse(packet) else {
            return false;
        };
        let Some([from, to]) = ends(steering, packet, &headers) else {
            return false;
        };
        let workers = self.inboxes.len();
        let owner = || owner_of(steering, workers, owners, [from, to]);
        let copy = || Handed {
            interface,
            frame: link::Frame::from(packet),
        };
        match self.fragments.decide(&headers, now, owner, copy) {
            Fate::To(owner, earlier) => {
                for handed in earlier {
                    self.put(owner, handed, tally);
                }
                let mine = owner == self.index;
                if !mine {
                    self.put(owner, copy(), tally);
                }
                !mine
            }
            Fate::Wait => true,
            Fate::Drop => {
                tally.inbox_full += 1;
                true
            }
        }
    }

    /// Puts a frame into a worker's inbox, which may be this one's own.
    fn put(&self, owner: usize, handed: Handed, tally: &mut Tally) {
        let Some(inbox) = self.inboxes.get(owner) else {
            return;
        };
        match inbox.queue.push(handed) {
            Ok(()) => {
                tally.handed_over += 1;
                inbox.waker.wake();
            }
            Err(_) => tally.inbox_full += 1,
        }
    }

    /// Fragments that wait for the first one of their datagram, which says whose they are.
    #[must_use]
    pub fn waiting_fragments(&self) -> usize {
        self.fragments.waiting()
    }

    /// Fragments so far whose first one did not come in time.
    #[must_use]
    pub const fn unclaimed_fragments(&self) -> u64 {
        self.fragments.unclaimed()
    }

    /// Frames that others handed over, at most a batch.
    #[must_use]
    pub fn take(&self) -> Vec<Handed> {
        let Some(inbox) = self.inboxes.get(self.index) else {
            return Vec::new();
        };
        std::iter::from_fn(|| inbox.queue.pop())
            .take(link::BATCH)
            .collect()
    }
}

/// Which of `workers` deals with a packet that arrives: the one that owns its flow; what belongs to none stays with the
/// one that the kernel chooses. `None`: a later fragment, which goes where the first one went.
pub(crate) fn worker_of(
    steering: &Steering,
    workers: usize,
    owners: &Owners,
    packet: &Packet<'_>,
) -> Option<usize> {
    let headers = Headers::parse(packet).ok();
    if let Some(headers) = &headers {
        if headers.fragment.is_some_and(|fragment| fragment.offset > 0) {
            return None;
        }
        if let Some(ends) = ends(steering, packet, headers) {
            return Some(owner_of(steering, workers, owners, ends));
        }
    }
    let ether_type = match headers.map(|headers| headers.family) {
        Some(Family::V4) => ethernet::IPV4,
        Some(Family::V6) => ethernet::IPV6,
        None => 0,
    };
    let network = packet.bytes().get(packet.link_len..).unwrap_or_default();
    Some(nth(steering.frame(ether_type, network), workers))
}

/// The worker that owns the flow between these ends: the one that it was announced to, or the one that the client's
/// endpoint says.
fn owner_of(steering: &Steering, workers: usize, owners: &Owners, [from, to]: [End; 2]) -> usize {
    let announced = if steering.is_virtual(to.0) {
        owners.find(from, to.1)
    } else {
        owners.find(to, from.1)
    };
    announced.unwrap_or_else(|| nth(steering.flow(from, to), workers))
}

/// The worker of this hash, as the kernel's program takes it.
fn nth(hash: u32, workers: usize) -> usize {
    usize::try_from(hash).unwrap_or(0) % workers.max(1)
}

/// An address and a port.
type End = (IpAddr, u16);

/// The ends of the flow that a packet belongs to, where it came from first. ESP and AH belong to the key exchange
/// between the same addresses, and an ICMP error to the flow of the packet that it quotes, or of the packet in that
/// one's tunnel; `None` = to no flow.
fn ends(steering: &Steering, packet: &Packet<'_>, headers: &Headers) -> Option<[End; 2]> {
    if Protocol::from_number(headers.protocol).is_some() {
        let (source, destination) = headers.ports();
        return Some([(headers.source, source), (headers.destination, destination)]);
    }
    if matches!(headers.protocol, protocol::ESP | protocol::AH) {
        return Some([headers.source, headers.destination].map(|address| (address, ISAKMP_PORT)));
    }
    let quoted = Quoted::of(packet, headers)?;
    let inner = quoted.tunnelled(packet);
    let inner = inner.filter(|inner| steering.is_virtual(inner.destination));
    let of = inner.unwrap_or(quoted);
    let (source, destination) = of.ports?;
    let (source, destination) = ((of.source, source), (of.destination, destination));
    // The error about a packet travels as its answer would, but a tunnelled one came from the client.
    Some(if inner.is_some() {
        [source, destination]
    } else {
        [destination, source]
    })
}

#[cfg(test)]
mod tests {

    use director::connection::{Connection, NewConnection};
    use director::destination::Method;
    use director::protocol::Protocol;

    use super::*;

    fn frame(client: [u8; 4], port: u16) -> Vec<u8> {
        let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(client, [10, 0, 0, 1], 60)
            .udp(port, 53);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, b"x").unwrap();
        bytes
    }

    #[test]
    fn every_frame_has_one_owner() {
        let inboxes: Vec<Inbox> = (0..3).map(|_| Inbox::new().unwrap()).collect();
        let steering = Arc::new(Steering::new(&["10.0.0.1".parse().unwrap()], 7));
        let mut teams: Vec<Team> = (0..3)
            .map(|index| {
                let mut team = Team::new(index, inboxes.clone());
                team.steer(Arc::clone(&steering));
                team
            })
            .collect();
        let mut tally = Tally::default();
        for port in 1000..1300 {
            let mut bytes = frame([10, 9, 0, 1], port);
            let len = bytes.len();
            let packet = Packet::new(&mut bytes, 0..len, 14);
            let mut owners = Vec::new();
            for team in &mut teams {
                if !team.hand_over(5, &packet, Instant::START, &Owners::default(), &mut tally) {
                    owners.push(team.index);
                }
            }
            assert_eq!(owners.len(), 1, "{owners:?}");
            // Both others gave it to the owner, whole.
            let handed = teams[owners[0]].take();
            assert_eq!(handed.len(), 2);
            assert!(
                handed
                    .iter()
                    .all(|one| one.interface == 5 && one.frame.bytes() == packet.bytes())
            );
        }
        assert_eq!((tally.handed_over, tally.inbox_full), (600, 0));
    }

    #[test]
    fn announced_data_connections_go_to_their_owner() {
        let vip: IpAddr = "10.0.0.1".parse().unwrap();
        let inboxes: Vec<Inbox> = (0..3).map(|_| Inbox::new().unwrap()).collect();
        let mut team = Team::new(0, inboxes.clone());
        team.steer(Arc::new(Steering::new(&[vip], 7)));
        let mut tally = Tally::default();
        for worker in 0..3 {
            let owners = Owners::default();
            let announced = NewConnection {
                protocol: Protocol::Udp,
                client: (IpAddr::from([10, 9, 0, 1]), 0),
                virtual_server: (vip, 53),
                server: (IpAddr::from([10, 2, 0, 1]), 53),
                destination: None,
                template: None,
                method: Method::Masq,
                mark: 0,
                client_interface: 5,
                client_vlan: 0,
            };
            owners.add(&Connection::new(announced), worker);
            for port in 1000..1010 {
                let mut bytes = frame([10, 9, 0, 1], port);
                let len = bytes.len();
                let packet = Packet::new(&mut bytes, 0..len, 14);
                assert_eq!(
                    team.hand_over(5, &packet, Instant::START, &owners, &mut tally),
                    worker != 0
                );
            }
        }
        let waiting = |index: usize| inboxes[index].queue.len();
        assert_eq!([waiting(0), waiting(1), waiting(2)], [0, 10, 10]);
    }

    #[test]
    fn whose_a_packet_is_can_be_asked() {
        let vip: IpAddr = "10.0.0.1".parse().unwrap();
        let steering = Arc::new(Steering::new(&[vip], 7));
        let owners = Owners::default();
        let inboxes: Vec<Inbox> = (0..3).map(|_| Inbox::new().unwrap()).collect();
        let mut team = Team::new(0, inboxes.clone());
        team.steer(Arc::clone(&steering));
        let mut tally = Tally::default();
        for port in 1000..1100 {
            let mut bytes = frame([10, 9, 0, 1], port);
            let len = bytes.len();
            let packet = Packet::new(&mut bytes, 0..len, 14);
            let is_handed = team.hand_over(5, &packet, Instant::START, &owners, &mut tally);
            let of_others = inboxes.iter().position(|inbox| inbox.queue.pop().is_some());
            assert_eq!(is_handed, of_others.is_some());
            let said = worker_of(&steering, 3, &owners, &packet);
            assert_eq!(said, of_others.or(Some(0)), "port {port}");
        }
        let [mut first, mut later] = fragments([10, 9, 0, 1], 1000);
        let of = |bytes: &mut Vec<u8>| {
            let len = bytes.len();
            worker_of(&steering, 3, &owners, &Packet::new(bytes, 0..len, 14))
        };
        assert_eq!(of(&mut later), None);
        assert_eq!(of(&mut first), of(&mut frame([10, 9, 0, 1], 1000)));
        let mut arp = [[2; 12].as_slice(), &[8, 6], &[0; 28]].concat();
        assert_eq!(of(&mut arp), Some(0));
    }

    #[test]
    fn a_full_inbox_drops_and_counts() {
        let inboxes: Vec<Inbox> = (0..2).map(|_| Inbox::new().unwrap()).collect();
        let mut team = Team::new(0, inboxes);
        team.steer(Arc::new(Steering::new(&["10.0.0.1".parse().unwrap()], 7)));
        let mut tally = Tally::default();
        for port in 0..20_000 {
            let mut bytes = frame([10, 9, 0, 1], port);
            let len = bytes.len();
            team.hand_over(
                5,
                &Packet::new(&mut bytes, 0..len, 14),
                Instant::START,
                &Owners::default(),
                &mut tally,
            );
        }
        assert_eq!(tally.handed_over, u64::try_from(INBOX).unwrap());
        assert!(tally.inbox_full > 1000, "{tally:?}");
    }

    /// The fragments of the UDP datagram of [`frame`], which has 16 octets then, 8 octets each.
    fn fragments(client: [u8; 4], port: u16) -> [Vec<u8>; 2] {
        let whole = frame(client, port);
        let piece = |offset: u16, more: bool, payload: &[u8]| {
            let mut header = etherparse::Ipv4Header::from_slice(&whole[14..34])
                .unwrap()
                .0;
            header.identification = port;
            header.more_fragments = more;
            header.fragment_offset = etherparse::IpFragOffset::try_new(offset).unwrap();
            header.set_payload_len(payload.len()).unwrap();
            header.header_checksum = header.calc_header_checksum();
            let mut bytes = whole[..14].to_vec();
            header.write(&mut bytes).unwrap();
            bytes.extend_from_slice(payload);
            bytes
        };
        [piece(0, true, &whole[34..42]), piece(1, false, &[7; 8])]
    }

    #[test]
    fn fragments_follow_the_first_one_in_either_order() {
        let inboxes: Vec<Inbox> = (0..3).map(|_| Inbox::new().unwrap()).collect();
        let mut tally = Tally::default();
        for (port, reversed) in (1000..1100).flat_map(|port| [(port, false), (port + 5000, true)]) {
            let mut team = Team::new(0, inboxes.clone());
            team.steer(Arc::new(Steering::new(&["10.0.0.1".parse().unwrap()], 7)));
            let mut whole = frame([10, 9, 0, 1], port);
            let len = whole.len();
            let packet = Packet::new(&mut whole, 0..len, 14);
            let foreign =
                team.hand_over(5, &packet, Instant::START, &Owners::default(), &mut tally);
            inboxes
                .iter()
                .for_each(|inbox| while inbox.queue.pop().is_some() {});

            let mut pieces = fragments([10, 9, 0, 1], port);
            if reversed {
                pieces.reverse();
            }
            let mut kept = 0;
            for bytes in &mut pieces {
                let len = bytes.len();
                let packet = Packet::new(bytes, 0..len, 14);
                kept += usize::from(!team.hand_over(
                    5,
                    &packet,
                    Instant::START,
                    &Owners::default(),
                    &mut tally,
                ));
            }
            let own = inboxes[0].queue.len();
            let others = inboxes[1].queue.len() + inboxes[2].queue.len();
            inboxes
                .iter()
                .for_each(|inbox| while inbox.queue.pop().is_some() {});
            if foreign {
                assert_eq!((kept, own, others), (0, 0, 2), "port {port}");
            } else {
                // What waited for the first one comes by the worker's own inbox.
                assert_eq!((kept + own, others), (2, 0), "port {port}");
            }
        }
        assert_eq!(tally.inbox_full, 0);
    }
}
