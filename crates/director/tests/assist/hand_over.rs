//! A flow is the director's until nothing waits that the kernel's packets would overtake.

use director::destination::Method;
use director::protocol::Protocol;

use crate::world::{CLIENTS, SERVERS};
use crate::{ACK, Assisted, FIN, udp};

/// A UDP flow that is installed, by its eighth datagram.
fn installed() -> Assisted {
    let mut world = Assisted::new(Protocol::Udp, Method::DirectRoute);
    come(&mut world, 8);
    assert_eq!(world.notes.ways(), [(CLIENTS, SERVERS)]);
    world
}

fn come(world: &mut Assisted, datagrams: u32) {
    for _ in 0..datagrams {
        let _ = world.arrive(CLIENTS, &udp());
    }
}

#[test]
fn it_takes_a_packet_that_came_after_the_flow_was_installed() {
    let mut world = installed();
    assert!(!world.world.director.prepare_hand_over());
    world.notes.arrive(CLIENTS, Some(8));
    assert!(!world.world.director.prepare_hand_over());
    come(&mut world, 8);
    assert!(world.world.director.prepare_hand_over());
    assert_eq!(world.notes.taken_over(), []);
    world.world.director.hand_over();
    assert_eq!(world.notes.taken_over(), [(CLIENTS, SERVERS)]);
    // Packets that came by here nevertheless change nothing.
    come(&mut world, 16);
    assert!(!world.world.director.prepare_hand_over());
}

#[test]
fn a_packet_in_between_puts_it_off() {
    let mut world = installed();
    world.notes.arrive(CLIENTS, Some(8));
    come(&mut world, 8);
    assert!(world.world.director.prepare_hand_over());
    world.notes.arrive(CLIENTS, Some(9));
    world.world.director.hand_over();
    assert_eq!(world.notes.taken_over(), []);
    // Until the next time a packet asks for it.
    assert!(!world.world.director.prepare_hand_over());
    come(&mut world, 8);
    assert!(world.world.director.prepare_hand_over());
    world.world.director.hand_over();
    assert_eq!(world.notes.taken_over(), [(CLIENTS, SERVERS)]);
}

#[test]
fn a_packet_on_its_way_puts_it_off() {
    let mut world = installed();
    world.notes.arrive(CLIENTS, None);
    come(&mut world, 8);
    assert!(!world.world.director.prepare_hand_over());
    world.notes.arrive(CLIENTS, Some(16));
    come(&mut world, 8);
    assert!(world.world.director.prepare_hand_over());
}

#[test]
fn what_is_noted_last_counts() {
    let mut world = installed();
    world.notes.arrive(CLIENTS, Some(8));
    come(&mut world, 8);
    assert!(world.world.director.prepare_hand_over());
    world.notes.arrive(CLIENTS, Some(16));
    come(&mut world, 8);
    assert!(world.world.director.prepare_hand_over());
    world.world.director.hand_over();
    assert_eq!(world.notes.taken_over(), [(CLIENTS, SERVERS)]);
}

#[test]
fn what_another_worker_received_is_neither_installed_nor_handed_over() {
    let mut world = Assisted::new(Protocol::Udp, Method::DirectRoute);
    for _ in 0..8 {
        let _ = world.world.receive(CLIENTS, &udp());
    }
    world.world.director.discard_offers();
    let now = world.world.now;
    world.world.director.install_offers(now);
    assert_eq!(world.notes.ways(), []);

    let mut world = installed();
    world.notes.arrive(CLIENTS, Some(8));
    come(&mut world, 8);
    world.world.director.discard_offers();
    assert!(!world.world.director.prepare_hand_over());
    come(&mut world, 8);
    assert!(world.world.director.prepare_hand_over());
}

#[test]
fn a_flow_that_is_gone_is_not_handed_over() {
    let mut world = Assisted::established(Method::Masq);
    for interface in [CLIENTS, SERVERS] {
        world.notes.arrive(interface, Some(1));
    }
    for _ in 0..8 {
        world.segment(ACK);
        world.answer(ACK);
    }
    assert!(world.world.director.prepare_hand_over());
    world.segment(FIN);
    assert_eq!(world.notes.ways(), []);
    world.world.director.hand_over();
    assert!(!world.world.director.prepare_hand_over());
}

/// A packet that came after the note may have come behind others.
#[test]
fn each_direction_is_handed_over_by_a_note_of_its_own() {
    let mut world = Assisted::established(Method::Masq);
    for interface in [CLIENTS, SERVERS] {
        world.notes.arrive(interface, Some(3));
    }
    world.answer(ACK);
    assert!(world.world.director.prepare_hand_over());
    for _ in 0..8 {
        world.segment(ACK);
    }
    world.world.director.hand_over();
    assert_eq!(world.notes.taken_over(), [(SERVERS, CLIENTS)]);
    assert!(world.world.director.prepare_hand_over());
    world.world.director.hand_over();
    assert_eq!(
        world.notes.taken_over(),
        [(CLIENTS, SERVERS), (SERVERS, CLIENTS)]
    );
    assert!(!world.world.director.prepare_hand_over());
}
