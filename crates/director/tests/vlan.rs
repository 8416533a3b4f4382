//! 802.1Q: tags are kept on the way to the server, given back to the client, and left alone where the host has an
//! interface for them.

mod world;

use director::destination::Method;
use director::protocol::Protocol;
use director::verdict::Verdict;
use packet::Vlan;
use world::{CLIENTS, VIP, World, syn};

const TAG: Vlan = Vlan {
    tpid: 0x8100,
    tci: 0x2064,
};

#[test]
fn a_tagged_frame_of_a_vlan_interface_is_left_to_it() {
    let mut world = World::new();
    let key = world.service(Protocol::Tcp, VIP, 80);
    world.server(&key, "10.2.0.11", 80, Method::Masq);
    let frame = syn(([192, 0, 2, 10], 1001), 80, 64);
    let receive = |world: &mut World| world.receive_as(CLIENTS, &frame, |p| p.vlan = Some(TAG)).0;
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
