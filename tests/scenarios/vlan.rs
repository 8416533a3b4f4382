//! An 802.1Q tag survives the way through the director.

use std::time::Duration;

use crate::harness::{Capture, Flat, eventually, fetch, send_frames};

/// A UDP datagram from 10.0.0.2:4000 to the VIP, port 53, tagged with VLAN 100 and priority 5.
fn tagged_datagram(source: &str, destination: &str) -> String {
    let mut header: Vec<u8> = vec![0x45, 0, 0, 33, 0x12, 0x34, 0x40, 0, 64, 17, 0, 0];
    header.extend([10, 0, 0, 2, 10, 0, 0, 1]);
    let sum: u32 = header
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from(folded).expect("twelve words fold in one step");
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    // Ports 4000 and 53, length 13, no checksum, five octets of payload.
    header.extend([0x0f, 0xa0, 0, 53, 0, 13, 0, 0]);
    header.extend(b"hello");
    let packet: String = header.iter().map(|octet| format!("{octet:02x}")).collect();
    let address = |mac: &str| mac.replace(':', "");
    format!(
        "{}{}8100a0640800{packet}",
        address(destination),
        address(source)
    )
}

#[test]
fn tag_is_kept_by_direct_routing() {
    let net = Flat::new(1).with_vip_on_servers();
    let director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.0.0.1:80
        ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.20:80 -g
        ipvsadm -A -u 10.0.0.1:53
        ipvsadm -a -u 10.0.0.1:53 -r 10.0.0.20:53 -g",
    );
    // An untagged request first, so that the real server's Ethernet address is known.
    fetch(&net.client, "http://10.0.0.1/").expect("served");
    let frame = tagged_datagram(&net.client.mac("eth0"), &net.director.mac("eth0"));
    let capture = Capture::arriving(&net.lab, &net.servers[0], "eth0", "vlan and udp port 53");
    eventually(
        "the tagged datagram at the real server",
        Duration::from_secs(5),
        || {
            send_frames(&net.client, "eth0", std::slice::from_ref(&frame));
            std::thread::sleep(Duration::from_millis(100));
            let from = net.director.mac("eth0");
            capture
                .frames()
                .iter()
                .any(|frame| {
                    frame.contains("vlan 100, p 5") && frame.contains(&format!("{from} > "))
                })
                .then_some(())
        },
    );
}
