//! How much room a link leaves in front of a frame makes no difference to what becomes of it.

mod world;

use director::destination::{Method, TunnelConfig, TunnelKind};
use director::frame::Output;
use director::protocol::Protocol;
use director::verdict::Verdict;
use packet::Packet;
use world::{CLIENTS, VIP, World, ip, syn};

/// The client's SYN, behind a link header of `link_len` octets and so much room; the frame that it becomes.
fn sent(world: &mut World, room: usize, link_len: usize) -> Vec<u8> {
    let frame = syn(([192, 0, 2, 10], 1001), 80, 64);
    let mut buffer = vec![0xa5; room];
    buffer.extend_from_slice(&frame[14 - link_len..]);
    let end = buffer.len();
    let packet = Packet::new(&mut buffer, room..end, link_len);
    world.director.refresh();
    let mut output = Output::default();
    let verdict = world
        .director
        .handle(world.now, CLIENTS, 0, packet, &mut output);
    assert_eq!(verdict, Verdict::Forwarded, "{room} octets");
    output.frames[0].frame.bytes().to_vec()
}

#[test]
fn frames_without_room_are_sent_as_those_with_it() {
    for (method, kind, server) in [
        (Method::DirectRoute, TunnelKind::Ipip, "10.2.0.11"),
        (Method::Tunnel, TunnelKind::Ipip, "10.2.0.11"),
        (Method::Tunnel, TunnelKind::Gre, "10.2.0.11"),
        (Method::Tunnel, TunnelKind::Gue, "10.2.0.11"),
        (Method::Tunnel, TunnelKind::Gue, "fd00:2::11"),
    ] {
        for link_len in [14, 0] {
            let of_room = |room| {
                let mut world = World::new();
                let key = world.service(Protocol::Tcp, VIP, 80);
                let mut server = world::server(server, 80, method);
                server.tunnel = TunnelConfig {
                    kind,
                    port: 6080,
                    ..TunnelConfig::default()
                };
                world.shared.add_destination(&key, &server).unwrap();
                world.network(|network| {
                    let clients = network.interfaces.iter_mut();
                    clients
                        .filter(|it| it.addresses.contains(&(ip("10.1.0.1"), 24)))
                        .for_each(|it| it.link_len = link_len);
                });
                sent(&mut world, room, link_len)
            };
            let roomy = of_room(128);
            for room in 0..=67 {
                assert_eq!(of_room(room), roomy, "{kind:?} {server} {link_len} {room}");
            }
        }
    }
}
