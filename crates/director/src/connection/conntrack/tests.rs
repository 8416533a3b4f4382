//! What tracking says of sequences of segments, as the kernel said of them (`found.ftp_segments`).

use super::*;
use Direction::{ToClient, ToServer};
use tcp::{ACK, FIN, RST, SYN};

/// Header of a segment with a window of 8192.
fn header(sequence: u32, acknowledgment: u32, flags: u8) -> Vec<u8> {
    let mut header = vec![3, 233, 0, 21];
    header.extend(sequence.to_be_bytes());
    header.extend(acknowledgment.to_be_bytes());
    header.extend([0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    header
}

struct World(Conntrack, Instant);

impl World {
    fn new() -> Self {
        Self(Conntrack::default(), Instant::START)
    }

    fn takes(&mut self, direction: Direction, (seq, ack): (u32, u32), flags: u8) -> Outcome {
        let header = header(seq, ack, flags);
        let segment = Segment::parse(&header, 0).expect("a whole header");
        self.0.takes(direction, &segment, 0, self.1)
    }
}

fn established() -> World {
    let mut world = World::new();
    assert_eq!(world.takes(ToServer, (1000, 0), SYN), Outcome::New);
    assert_eq!(
        world.takes(ToClient, (5000, 1001), SYN | ACK),
        Outcome::Known
    );
    assert_eq!(world.takes(ToServer, (1001, 5001), ACK), Outcome::Known);
    world
}

#[test]
fn a_handshake_is_acknowledged() {
    let mut world = World::new();
    assert_eq!(world.takes(ToServer, (1000, 0), SYN), Outcome::New);
    assert_eq!(world.takes(ToServer, (1001, 5001), ACK), Outcome::Clash);
    assert_eq!(
        world.takes(ToServer, (1001, 5001), FIN | ACK),
        Outcome::Untracked
    );
    assert_eq!(
        world.takes(ToClient, (7, 5001), SYN | ACK),
        Outcome::Untracked
    );
    assert_eq!(world.takes(ToServer, (1001, 8), ACK), Outcome::Clash);
    assert_eq!(world.takes(ToClient, (7, 1001), SYN | ACK), Outcome::Known);
    assert_eq!(world.takes(ToServer, (1001, 8), ACK), Outcome::Known);
}

#[test]
fn windows_are_looked_at() {
    let mut world = established();
    assert_eq!(
        world.takes(ToServer, (900_000, 5001), ACK),
        Outcome::Clash,
        "beyond"
    );
    assert_eq!(
        world.takes(ToServer, (1001, 900_000), ACK),
        Outcome::Clash,
        "never sent"
    );
    assert_eq!(
        world.takes(ToServer, (9100, 5001), ACK),
        Outcome::Known,
        "within"
    );
    assert_eq!(
        world.takes(ToServer, (1, 5001), ACK),
        Outcome::Known,
        "late"
    );
    assert_eq!(
        world.takes(ToServer, (1001, 0), 0),
        Outcome::Untracked,
        "no flags"
    );
}

#[test]
fn what_is_picked_up_is_not_measured() {
    let mut world = World::new();
    assert_eq!(world.takes(ToClient, (1, 1), ACK), Outcome::New);
    assert_eq!(world.takes(ToClient, (900_000, 77), ACK), Outcome::Known);
}

#[test]
fn a_closed_connection_is_reopened() {
    let mut world = established();
    assert_eq!(
        world.takes(ToServer, (1001, 5001), FIN | ACK),
        Outcome::Known
    );
    assert_eq!(
        world.takes(ToClient, (5001, 1002), FIN | ACK),
        Outcome::Known
    );
    assert_eq!(world.takes(ToServer, (1002, 5002), ACK), Outcome::Known);
    assert_eq!(world.takes(ToServer, (70_000, 0), SYN), Outcome::New);
    let mut world = World::new();
    assert_eq!(world.takes(ToServer, (1000, 0), SYN), Outcome::New);
    assert_eq!(world.takes(ToClient, (0, 1001), RST | ACK), Outcome::Known);
    assert_eq!(
        world.takes(ToServer, (1001, 1), ACK),
        Outcome::New,
        "it was forgotten"
    );
}

#[test]
fn an_idle_connection_is_forgotten() {
    let mut world = World::new();
    assert_eq!(world.takes(ToServer, (1000, 0), SYN), Outcome::New);
    world.1 = world.1.after(Duration::from_secs(121));
    assert_eq!(world.takes(ToServer, (1001, 5001), ACK), Outcome::New);
}
