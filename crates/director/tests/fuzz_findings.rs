//! What fuzzing `Director::handle` found, each as a named case.

mod world;

use core::time::Duration;

use director::destination::Method;
use director::sync::{Entry, FLAG_NO_CLIENT_PORT};
use director::verdict::{DropReason, Verdict};
use etherparse::PacketBuilder;
use packet::{GsoKind, Headers, Malformed, Packet, checksum};
use world::{CLIENT_SIDE, CLIENTS, GATEWAY, SERVERS, World, told};

const CLIENT: [u8; 4] = [192, 0, 2, 10];
const VIP4: [u8; 4] = [10, 8, 0, 1];

fn syn(source: [u8; 4], port: u16) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(GATEWAY.0, CLIENT_SIDE.0)
        .ipv4(source, VIP4, 64)
        .tcp(port, 80, 1000, 64240)
        .syn();
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).unwrap();
    frame
}

/// A synchronisation message can tell of a connection that awaits its client's port, which no FTP helper made.
#[test]
fn a_told_connection_without_port_ends_like_any_other() {
    let mut world = World::with_server(Method::Masq);
    world.director.refresh();
    let entry = Entry {
        client: (CLIENT.into(), 0),
        ..told(FLAG_NO_CLIENT_PORT)
    };
    world.director.accept(world.now, &entry);
    assert_eq!(world.director.connections().len(), 1);
    world.sleep(Duration::from_secs(11));
    assert!(world.director.connections().is_empty());
    assert_eq!(
        world.receive(CLIENTS, &syn(CLIENT, 1001)).0,
        Verdict::Forwarded
    );
}

/// A super-frame says how long its segments are.
#[test]
fn no_segments_of_nothing() {
    let mut world = World::with_server(Method::DirectRoute);
    let (verdict, sent) = world.receive_as(CLIENTS, &syn(CLIENT, 1001), |packet| {
        packet.offload.gso = Some(GsoKind::TcpV4);
    });
    assert_eq!(
        verdict,
        Verdict::Drop(DropReason::Malformed(Malformed::BadLength))
    );
    assert!(sent.is_empty());
}

/// Segments that are longer than the path takes are cut after NAT: their checksums are made of the addresses
/// that they leave with.
#[test]
fn segments_of_a_translated_super_frame_have_right_checksums() {
    let mut world = World::with_server(Method::Masq);
    assert_eq!(
        world.receive(CLIENTS, &syn(CLIENT, 1001)).0,
        Verdict::Forwarded
    );
    let client_to_server = PacketBuilder::ethernet2(GATEWAY.0, CLIENT_SIDE.0)
        .ipv4(CLIENT, VIP4, 64)
        .tcp(1001, 80, 1001, 64240)
        .ack(1);
    let server_to_client = PacketBuilder::ethernet2(GATEWAY.0, world::SERVER_SIDE.0)
        .ipv4([10, 2, 0, 11], CLIENT, 64)
        .tcp(80, 1001, 1, 64240)
        .ack(1001);
    for (side, builder) in [(CLIENTS, client_to_server), (SERVERS, server_to_client)] {
        let mut frame = Vec::new();
        builder.write(&mut frame, &[7; 20_000]).unwrap();
        let (verdict, sent) = world.receive_as(side, &frame, |packet| {
            packet.offload.gso = Some(GsoKind::TcpV4);
            packet.offload.gso_size = 8948;
        });
        assert_eq!(verdict, Verdict::Forwarded);
        // The client is told as well what fits (ICMP, protocol 1): it had better send smaller segments itself.
        let (told, segments): (Vec<_>, Vec<_>) =
            sent.into_iter().partition(|(_, frame)| frame[14 + 9] == 1);
        assert_eq!(told.len(), usize::from(side == CLIENTS));
        for (_, frame) in told {
            assert_eq!(frame[34..42], [3, 4, frame[36], frame[37], 0, 0, 5, 220]);
        }
        assert_eq!(segments.len(), 14);
        for (_, mut segment) in segments {
            let whole = segment.len();
            assert!(whole <= 1514);
            let packet = Packet::new(&mut segment, 0..whole, 14);
            let headers = Headers::parse(&packet).unwrap();
            assert!(checksum::is_valid(&packet, &headers), "{headers:?}");
        }
    }
}
