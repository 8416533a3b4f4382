//! The three methods as the demo shows them: a picture, a network, commands, and the expected split.

use super::DemoError;
use super::network::{Namespace, Workshop};

/// The virtual address; the same for every method.
pub(super) const VIP: &str = "10.0.0.1";

/// One forwarding method on its network.
pub(super) struct Method {
    /// What it is called.
    pub(super) name: &'static str,
    /// How the machines stand.
    pub(super) picture: &'static str,
    /// What happens to a packet.
    pub(super) explanation: &'static str,
    /// Makes the machines.
    pub(super) build: fn(&Workshop) -> Result<Network, DemoError>,
    /// The interfaces the director works on.
    pub(super) interfaces: &'static [&'static str],
    /// The port the real servers listen on.
    pub(super) server_port: u16,
    /// Whether the real servers unpack tunnelled packets.
    pub(super) decapsulates: bool,
    /// What configures the director.
    pub(super) commands: &'static [&'static str],
    /// The real servers and their weights.
    pub(super) weights: &'static [(&'static str, usize)],
    /// The client's address, which the real servers must see.
    pub(super) client: &'static str,
}

/// The machines of one method; deleted when dropped.
pub(super) struct Network {
    pub(super) client: Namespace,
    pub(super) director: Namespace,
    pub(super) servers: Vec<Namespace>,
    /// Switches and routers, kept for as long as the rest.
    _between: Vec<Namespace>,
}

/// In the order shown.
pub(super) const METHODS: &[Method] = &[
    Method {
        name: "direct routing (ipvsadm -g)",
        picture: "
    client 10.0.0.2 ---+--- director 10.0.0.10   VIP 10.0.0.1
                       |
             +---------+---------+
            rs1       rs2       rs3              VIP on lo, silent on the wire
           .0.11     .0.12     .0.13
",
        explanation: "The director gives each request the Ethernet address of a real server and leaves the \
                      rest\nas it is; the real server answers the client itself.",
        build: switched,
        interfaces: &["eth0"],
        server_port: 80,
        decapsulates: false,
        commands: &[
            "ipvsadm -A -t 10.0.0.1:80 -s wrr",
            "ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 1",
            "ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.12:80 -g -w 2",
            "ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.13:80 -g -w 3",
        ],
        weights: &[("rs1", 1), ("rs2", 2), ("rs3", 3)],
        client: "10.0.0.2",
    },
    Method {
        name: "NAT, two arms (ipvsadm -m)",
        picture: "
    client 10.0.0.2 ------ director 10.0.0.10    VIP 10.0.0.1
                              | 10.2.0.10        the real servers' gateway
                    +---------+---------+
                   rs1       rs2       rs3       listening on port 8080
                 10.2.0.11 10.2.0.12 10.2.0.13
",
        explanation: "The director writes a real server's address and port into each request, and the VIP \
                      into\neach reply, which comes back through it.",
        build: two_armed,
        interfaces: &["eth0", "eth1"],
        server_port: 8080,
        decapsulates: false,
        commands: &[
            "ipvsadm -A -t 10.0.0.1:80 -s wrr",
            "ipvsadm -a -t 10.0.0.1:80 -r 10.2.0.11:8080 -m -w 3",
            "ipvsadm -a -t 10.0.0.1:80 -r 10.2.0.12:8080 -m -w 2",
            "ipvsadm -a -t 10.0.0.1:80 -r 10.2.0.13:8080 -m -w 1",
        ],
        weights: &[("rs1", 3), ("rs2", 2), ("rs3", 1)],
        client: "10.0.0.2",
    },
    Method {
        name: "tunnelling over a router (ipvsadm -i)",
        picture: "
    client 10.0.0.2 ---+--- director 10.0.0.10   VIP 10.0.0.1
                       |
                     router
                       |
             +---------+---------+
            rs1       rs2       rs3              VIP on lo, `ulvs decap` unpacks
          10.3.0.11 10.3.0.12 10.3.0.13
",
        explanation: "The director sends each request inside another IP packet to a real server anywhere; \
                      the real\nserver unpacks it and answers the client itself.",
        build: routed,
        interfaces: &["eth0"],
        server_port: 80,
        decapsulates: true,
        commands: &[
            "ipvsadm -A -t 10.0.0.1:80 -s wrr",
            "ipvsadm -a -t 10.0.0.1:80 -r 10.3.0.11:80 -i -w 1",
            "ipvsadm -a -t 10.0.0.1:80 -r 10.3.0.12:80 -i -w 1",
            "ipvsadm -a -t 10.0.0.1:80 -r 10.3.0.13:80 -i -w 3",
        ],
        weights: &[("rs1", 1), ("rs2", 1), ("rs3", 3)],
        client: "10.0.0.2",
    },
];

/// Client, director and a switch between them; the client and the director are on 10.0.0.0/24.
fn front(workshop: &Workshop) -> Result<(Namespace, Namespace, Namespace), DemoError> {
    let switch = workshop.switch("switch")?;
    let client = workshop.namespace("client")?;
    workshop.plug(&client, "eth0", "10.0.0.2/24", &switch, "p0")?;
    let director = workshop.namespace("director")?;
    workshop.plug(&director, "eth0", "10.0.0.10/24", &switch, "p1")?;
    Ok((client, director, switch))
}

/// Three machines on `network` (such as `10.2.0`), .11 to .13.
fn servers(
    workshop: &Workshop,
    switch: &Namespace,
    network: &str,
) -> Result<Vec<Namespace>, DemoError> {
    (1..=3)
        .map(|number| {
            let server = workshop.namespace(&format!("rs{number}"))?;
            let address = format!("{network}.1{number}/24");
            workshop.plug(&server, "eth0", &address, switch, &format!("s{number}"))?;
            Ok(server)
        })
        .collect()
}

fn switched(workshop: &Workshop) -> Result<Network, DemoError> {
    let (client, director, switch) = front(workshop)?;
    let servers = servers(workshop, &switch, "10.0.0")?;
    for server in &servers {
        server.take_quietly(VIP)?;
    }
    Ok(Network {
        client,
        director,
        servers,
        _between: vec![switch],
    })
}

fn two_armed(workshop: &Workshop) -> Result<Network, DemoError> {
    let (client, director, switch) = front(workshop)?;
    let inside = workshop.switch("inside")?;
    workshop.plug(&director, "eth1", "10.2.0.10/24", &inside, "p0")?;
    let servers = servers(workshop, &inside, "10.2.0")?;
    for server in &servers {
        server.ip("route add default via 10.2.0.10")?;
    }
    Ok(Network {
        client,
        director,
        servers,
        _between: vec![switch, inside],
    })
}

fn routed(workshop: &Workshop) -> Result<Network, DemoError> {
    let (client, director, switch) = front(workshop)?;
    let far = workshop.switch("far")?;
    let router = workshop.namespace("router")?;
    workshop.plug(&router, "eth0", "10.0.0.254/24", &switch, "p2")?;
    workshop.plug(&router, "eth1", "10.3.0.254/24", &far, "p0")?;
    router.set("net/ipv4/ip_forward", "1")?;
    for near in [&client, &director] {
        near.ip("route add default via 10.0.0.254")?;
    }
    let servers = servers(workshop, &far, "10.3.0")?;
    for server in &servers {
        server.ip("route add default via 10.3.0.254")?;
        server.take_quietly(VIP)?;
    }
    Ok(Network {
        client,
        director,
        servers,
        _between: vec![switch, far, router],
    })
}
