//! The network that a soak runs in:
//!
//! ```text
//! client eth0 10.1.0.2 -- 10.1.0.10 eth0 director eth1 10.2.1.10 -- 10.2.1.20 eth0 rs1
//! other  eth0 10.4.0.2 -- 10.4.0.10 eth3          eth2 10.2.2.10 -- 10.2.2.20 eth0 rs2
//! client eth1 10.3.1.2 ------------------------------------------- 10.3.1.20 eth1 rs1
//! client eth2 10.3.2.2 ------------------------------------------- 10.3.2.20 eth1 rs2
//! ```
//!
//! IPv6 alike (`fd01::/64`, `fd02:0:0:N::/64`, ...). What a real server says from the VIP goes straight to the client,
//! what it says from its own address goes through the director. No machine has the VIP but the real servers, on `lo`.

use crate::harness::{
    Director, DirectorBuilder, Host, Lab, Process, bracketed, cable, decap, vip_on_loopback,
};

/// The virtual addresses.
pub(crate) const VIP: [&str; 2] = ["10.1.0.1", "fd01::1"];

/// A forwarding method with a service of its own, TCP and UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Method {
    /// What reports call it.
    pub(crate) name: &'static str,
    /// ipvsadm's option.
    pub(crate) option: &'static str,
    /// The port of its service.
    pub(crate) port: u16,
    /// The port on the real servers.
    pub(crate) real_port: u16,
}

/// All of them.
pub(crate) const METHODS: [Method; 3] = [
    method("dr", "-g", 7001, 7001),
    method("nat", "-m", 7002, 8002),
    method("tun", "-i", 7003, 7003),
];

const fn method(name: &'static str, option: &'static str, port: u16, real_port: u16) -> Method {
    Method {
        name,
        option,
        port,
        real_port,
    }
}

impl Method {
    /// Whether the real server sees its own address, and answers through the director.
    pub(crate) fn is_nat(self) -> bool {
        self.real_port != self.port
    }

    /// Where a service's real server listens: `family` 0 is IPv4, 1 is IPv6.
    pub(crate) fn listens(self, server: usize, family: usize) -> String {
        let address = if self.is_nat() {
            real(server, family)
        } else {
            VIP[family].to_owned()
        };
        format!("{}:{}", bracketed(&address), self.real_port)
    }
}

/// A real server's address towards the director; servers count from 0.
pub(crate) fn real(server: usize, family: usize) -> String {
    let number = server + 1;
    if family == 0 {
        format!("10.2.{number}.20")
    } else {
        format!("fd02:0:0:{number}::20")
    }
}

/// Machines and cables; everything ends with it.
#[derive(Debug)]
pub(crate) struct World {
    /// `ulvs decap` of each real server.
    _decap: Vec<Process>,
    /// Where traffic comes from.
    pub(crate) client: Host,
    /// Another client on a cable of its own.
    pub(crate) other: Host,
    /// Where the director runs.
    pub(crate) director: Host,
    /// The real servers.
    pub(crate) servers: Vec<Host>,
    /// The scratch directory and the names.
    pub(crate) lab: Lab,
}

impl World {
    /// The network with two real servers, and no director yet.
    pub(crate) fn new() -> Self {
        let lab = Lab::named("usk");
        let [client, other, director] =
            ["client", "other", "director"].map(|role| machine(&lab, role));
        let servers: Vec<Host> = ["rs1", "rs2"].map(|role| machine(&lab, role)).into();
        cable((&client, "eth0"), (&director, "eth0"));
        client.addresses("eth0", &["10.1.0.2/24", "fd01::2/64"]);
        director.addresses("eth0", &["10.1.0.10/24", "fd01::10/64"]);
        for (server, number) in servers.iter().zip(1..) {
            let port = format!("eth{number}");
            cable((&director, &port), (server, "eth0"));
            let near = format!("fd02:0:0:{number}::10");
            director.addresses(
                &port,
                &[&format!("10.2.{number}.10/24"), &format!("{near}/64")],
            );
            server.addresses(
                "eth0",
                &[
                    &format!("10.2.{number}.20/24"),
                    &format!("fd02:0:0:{number}::20/64"),
                ],
            );
            cable((&client, &port), (server, "eth1"));
            client.addresses(
                &port,
                &[
                    &format!("10.3.{number}.2/24"),
                    &format!("fd03:0:0:{number}::2/64"),
                ],
            );
            server.addresses(
                "eth1",
                &[
                    &format!("10.3.{number}.20/24"),
                    &format!("fd03:0:0:{number}::20/64"),
                ],
            );
            ways_back(server, number);
            vip_on_loopback(server, &VIP);
        }
        cable((&other, "eth0"), (&director, "eth3"));
        other.addresses("eth0", &["10.4.0.2/24", "fd04::2/64"]);
        director.addresses("eth3", &["10.4.0.10/24", "fd04::10/64"]);
        other.ip("route add default via 10.4.0.10");
        other.ip("-6 route add default via fd04::10");
        // Clients that are nowhere: what is said to them ends at the client's machine.
        director.ip("route add 10.64.0.0/10 via 10.1.0.2");
        let _decap = servers
            .iter()
            .map(|server| decap(&lab, server, &VIP))
            .collect();
        Self {
            _decap,
            client,
            other,
            director,
            servers,
            lab,
        }
    }

    /// A director on all four interfaces, with more lines of configuration. The link is the one whose frames are those
    /// on the cables.
    pub(crate) fn start(&self, workers: usize, more: &str) -> Director {
        let interfaces = ["eth0", "eth1", "eth2", "eth3"];
        DirectorBuilder::new(&self.lab, &self.director, &interfaces)
            .config(&format!(
                "link = \"af-packet\"\nworkers = {workers}\n{more}"
            ))
            .start()
    }
}

/// The configuration's `assist`: whose packets the kernel sends on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Assist {
    /// Nobody's.
    Off,
    /// Those of TCP connections.
    Tcp,
    /// Those of TCP connections and UDP flows.
    All,
}

impl Assist {
    /// Its line of the configuration.
    pub(crate) const fn line(self) -> &'static str {
        match self {
            Self::Off => "assist = \"off\"\n",
            Self::Tcp => "assist = \"tcp\"\n",
            Self::All => "assist = \"all\"\n",
        }
    }
}

/// Adds the service of `method` for `protocol` (`-t`, `-u`) on both VIPs, with both real servers.
pub(crate) fn add_service(director: &Director, protocol: &str, method: Method, scheduler: &str) {
    for (family, vip) in VIP.iter().enumerate() {
        let service = format!("{}:{}", bracketed(vip), method.port);
        director.shell(&format!("ipvsadm -A {protocol} {service} -s {scheduler}"));
        for server in 0..2 {
            director.shell(&server_line(("-a", protocol), method, server, family, 1));
        }
    }
}

/// The ipvsadm line that adds (`-a`) or edits (`-e`) a real server.
pub(crate) fn server_line(
    (command, protocol): (&str, &str),
    method: Method,
    server: usize,
    family: usize,
    weight: u32,
) -> String {
    let real = bracketed(&real(server, family));
    format!(
        "ipvsadm {command} {protocol} {}:{} -r {real}:{} {} -w {weight}",
        bracketed(VIP[family]),
        method.port,
        method.real_port,
        method.option
    )
}

fn machine(lab: &Lab, role: &str) -> Host {
    let host = lab.host(role);
    // Before there are interfaces, so that they begin with these.
    for kind in ["all", "default"] {
        host.sysctl(&format!("net.ipv4.conf.{kind}.rp_filter"), "0");
        host.sysctl(&format!("net.ipv4.conf.{kind}.send_redirects"), "0");
    }
    host.sysctl("net.ipv4.ip_local_port_range", "10240 65535");
    host
}

/// A real server's routes: from the VIP straight to the client, from its own address through the director.
fn ways_back(server: &Host, number: u32) {
    server.ip(&format!("route add default via 10.3.{number}.2"));
    server.ip(&format!("-6 route add default via fd03:0:0:{number}::2"));
    server.ip(&format!("rule add from 10.2.{number}.20 lookup 100"));
    server.ip(&format!("route add default via 10.2.{number}.10 table 100"));
    server.ip(&format!(
        "-6 rule add from fd02:0:0:{number}::20 lookup 100"
    ));
    server.ip(&format!(
        "-6 route add default via fd02:0:0:{number}::10 table 100"
    ));
}
