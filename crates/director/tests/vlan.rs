//! 802.1Q: tags are kept on the way to the server, given back to the client, and left alone where the host has an
//! interface for them.

mod world;

use director::destination::Method;
use director::protocol::Protocol;
use director::verdict::Verdict;
use etherparse::PacketBuilder;
use packet::Vlan;
use world::{CLIENT_SIDE, CLIENTS, GATEWAY, VIP, World};

const TAG: Vlan = Vlan {
    tpid: 0x8100,
    tci: 0x2064,
};

fn syn() -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(GATEWAY.0, CLIENT_SIDE.0)
        .ipv4([192, 0, 2, 10], [10, 8, 0, 1], 64)
        .tcp(1001, 80, 1000, 64240)
        .syn();
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).unwrap();
    frame
}

#[test]
fn a_tagged_frame_of_a_vlan_interface_is_left_to_it() {
    let mut world = World::new();
    let key = world.service(Protocol::Tcp, VIP, 80);
    world.server(&key, "10.2.0.11", 80, Method::Masq);
    let receive = |world: &mut World| world.receive_as(CLIENTS, &syn(), |p| p.vlan = Some(TAG)).0;
    assert_eq!(receive(&mut world), Verdict::Forwarded);
    world.network(|network| {
        network.vlan_interfaces.insert((CLIENTS, 100));
    });
    assert_eq!(receive(&mut world), Verdict::Pass);
    world.network(|network| {
        network.vlan_interfaces.clear();
        network.vlan_interfaces.insert((CLIENTS, 101));
    });
    assert_eq!(receive(&mut world), Verdict::Forwarded);
}
