//! The link alone: what comes in by one interface goes out by the other with new Ethernet addresses, and nothing else
//! is done, but that a guard keeps the host from looking at it too. What ulvs costs beyond this is the director's; what
//! this costs is the kernel's packet sockets.
//!
//! `network bare IN-INTERFACE,TO-MAC OUT-INTERFACE,TO-MAC` forwards both ways between the two, for ever.

use std::os::fd::BorrowedFd;

use link::guard::{Guard, Rules};
use link::steering::Steering;
use link::sys::poll;
use link::{Link, Outgoing, recycle};

use crate::lab::Host;
use crate::world::{CLIENT, SERVERS};

/// The type of Ethernet frames that are forwarded.
const IPV4: [u8; 2] = [8, 0];

/// The words that tell a bare forwarder to pass frames between two interfaces of `director`, each with the machine
/// at the other end of its cable.
pub(crate) fn words(director: &Host, ends: [(&str, &Host); 2]) -> Vec<String> {
    let end = |(interface, other): (&str, &Host)| {
        let address = other.shell("cat /sys/class/net/eth0/address");
        format!("{interface},{}", address.trim())
    };
    // The kernel of a director that does not forward drops these frames without a word.
    director.sysctl("net.ipv4.ip_forward", "0");
    std::iter::once("bare".to_owned())
        .chain(ends.map(end))
        .collect()
}

/// Forwards for ever.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let [one, other] = words else {
        return Err("bare: needs two of INTERFACE,MAC".into());
    };
    let names = [one, other].map(|end| end.split(',').next().unwrap_or_default());
    let mut guard = Guard::attach(&names).map_err(|error| error.to_string())?;
    let addresses = [CLIENT, SERVERS[0]].map(|address| address.parse().ok());
    let rules = Rules {
        owned: addresses.into_iter().flatten().collect(),
        ..Rules::default()
    };
    guard.update(&rules).map_err(|error| error.to_string())?;
    let (mut one, mut other) = (End::open(one)?, End::open(other)?);
    println!("forwarding");
    loop {
        let waiting = [&one, &other].map(|end| end.link.receiver.fd());
        let waiting: Vec<BorrowedFd<'_>> = waiting.into_iter().flatten().collect();
        poll::readable(&waiting, None).map_err(|error| error.to_string())?;
        while one.pass(&mut other)? + other.pass(&mut one)? > 0 {}
    }
}

/// An interface, and what stands at the other end of its cable.
struct End {
    link: Link,
    addresses: [u8; 12],
    frames: Vec<Outgoing<'static>>,
}

impl End {
    fn open(text: &str) -> Result<Self, String> {
        let (name, to) = text.split_once(',').ok_or("bare: no INTERFACE,MAC")?;
        let own = std::fs::read_to_string(format!("/sys/class/net/{name}/address"))
            .map_err(|error| format!("bare: {name}: {error}"))?;
        let steering = Steering::new(&[], 0);
        let (links, _group) =
            link::af_packet::open(name, 1, &steering).map_err(|error| format!("bare: {error}"))?;
        let mut addresses = [0; 12];
        let octets = to.split(':').chain(own.trim().split(':'));
        for (place, octet) in addresses.iter_mut().zip(octets) {
            *place = u8::from_str_radix(octet, 16).map_err(|_| format!("bare: no MAC {to}"))?;
        }
        Ok(Self {
            link: links.into_iter().next().ok_or("bare: no link")?,
            addresses,
            frames: Vec::new(),
        })
    }

    /// Sends what came in by this end out by the other; returns how many frames came.
    fn pass(&mut self, other: &mut Self) -> Result<usize, String> {
        let mut batch = Vec::new();
        let count = self.link.receiver.receive(&mut batch);
        let mut frames = recycle(std::mem::take(&mut other.frames));
        for mut packet in batch {
            let bytes = packet.bytes_mut();
            if bytes.get(12..14) != Some(&IPV4) {
                continue;
            }
            if let Some(addresses) = bytes.first_chunk_mut() {
                *addresses = other.addresses;
                frames.push(Outgoing::InPlace(packet));
            }
        }
        let _ = other.link.sender.transmit(&frames);
        frames.clear();
        other.frames = recycle(frames);
        count.map_err(|error| error.to_string())
    }
}
