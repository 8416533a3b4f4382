//! The three networks that most tests stand in. Every machine has an IPv4 and an IPv6 address with the
//! same last part, and the real servers are called `rs1`, `rs2`, ... and run nginx.

use super::director::{Director, DirectorBuilder, names_path};
use super::lab::{Host, Lab, cable};
use super::process::{Process, eventually};
use super::web::WebServer;
use std::time::Duration;

/// The virtual address in [`Flat`].
pub(crate) const FLAT_VIP: [&str; 2] = ["10.0.0.1", "fd00::1"];
/// The virtual address in [`TwoArm`] and [`Routed`].
pub(crate) const VIP: [&str; 2] = ["10.1.0.1", "fd01::1"];

/// An address as it stands in a URL or before a port: IPv6 in brackets.
pub(crate) fn bracketed(address: &str) -> String {
    if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    }
}

/// Everything on one switch: client .2, director .10, real servers .20, .30, .40 ... of 10.0.0.0/24 and
/// fd00::/64. For direct routing, and for NAT with one arm.
#[derive(Debug)]
pub(crate) struct Flat {
    /// The nginx of each real server.
    pub(crate) web: Vec<WebServer>,
    /// Where requests come from.
    pub(crate) client: Host,
    /// Where the director is to run.
    pub(crate) director: Host,
    /// The real servers, in order of their addresses.
    pub(crate) servers: Vec<Host>,
    /// The world they are in.
    pub(crate) lab: Lab,
}

impl Flat {
    /// The network with `count` real servers; nothing has the VIP yet.
    pub(crate) fn new(count: u32) -> Self {
        let lab = Lab::new();
        let switch = lab.switch("sw");
        let client = lab.host("client");
        switch.plug(&client, "eth0", &["10.0.0.2/24", "fd00::2/64"]);
        let director = lab.host("director");
        switch.plug(&director, "eth0", &["10.0.0.10/24", "fd00::10/64"]);
        let servers: Vec<Host> = (1..=count)
            .map(|number| {
                let server = lab.host(&format!("rs{number}"));
                let last = (number + 1) * 10;
                let addresses = [format!("10.0.0.{last}/24"), format!("fd00::{last}/64")];
                switch.plug(&server, "eth0", &addresses.each_ref().map(String::as_str));
                server
            })
            .collect();
        let web = servers
            .iter()
            .map(|server| WebServer::start(&lab, server))
            .collect();
        Self {
            web,
            client,
            director,
            servers,
            lab,
        }
    }

    /// Gives every real server the VIPs on `lo`, kept silent on the wire.
    pub(crate) fn with_vip_on_servers(self) -> Self {
        for server in &self.servers {
            vip_on_loopback(server, &FLAT_VIP);
        }
        self
    }

    /// Makes the director the real servers' way to the client, as NAT needs it.
    pub(crate) fn with_return_path(self) -> Self {
        for server in &self.servers {
            server.ip("route add 10.0.0.2/32 via 10.0.0.10");
            server.ip("-6 route add fd00::2/128 via fd00::10");
        }
        self
    }

    /// Gives the director's machine the VIPs as addresses of its own.
    pub(crate) fn with_vip_on_director(self) -> Self {
        self.director
            .addresses("eth0", &["10.0.0.1/32", "fd00::1/128"]);
        self
    }

    /// A director on `eth0`, everything else by default.
    pub(crate) fn start(&self) -> Director {
        Director::start(&self.lab, &self.director, &["eth0"])
    }

    /// A director on `eth0` to be configured further.
    pub(crate) fn builder(&self) -> DirectorBuilder {
        DirectorBuilder::new(&self.lab, &self.director, &["eth0"])
    }
}

/// A client on one side of the director and the real servers on the other: client 10.1.0.2,
/// director 10.1.0.10 (`eth0`) and 10.2.0.10 (`eth1`), real servers 10.2.0.20, .30, ... whose default
/// route is the director; IPv6 alike in fd01::/64 and fd02::/64.
#[derive(Debug)]
pub(crate) struct TwoArm {
    /// The nginx of each real server.
    pub(crate) web: Vec<WebServer>,
    /// Where requests come from.
    pub(crate) client: Host,
    /// Where the director is to run.
    pub(crate) director: Host,
    /// The real servers, in order of their addresses.
    pub(crate) servers: Vec<Host>,
    /// The world they are in.
    pub(crate) lab: Lab,
}

impl TwoArm {
    /// The network with `count` real servers; the VIP is not on the director yet, and its kernel does not
    /// forward.
    pub(crate) fn new(count: u32) -> Self {
        let lab = Lab::new();
        let client = lab.host("client");
        let director = lab.host("director");
        cable((&client, "eth0"), (&director, "eth0"));
        client.addresses("eth0", &["10.1.0.2/24", "fd01::2/64"]);
        director.addresses("eth0", &["10.1.0.10/24", "fd01::10/64"]);
        let switch = lab.switch("sw");
        switch.plug(&director, "eth1", &["10.2.0.10/24", "fd02::10/64"]);
        let servers: Vec<Host> = (1..=count)
            .map(|number| {
                let server = lab.host(&format!("rs{number}"));
                let last = (number + 1) * 10;
                let addresses = [format!("10.2.0.{last}/24"), format!("fd02::{last}/64")];
                switch.plug(&server, "eth0", &addresses.each_ref().map(String::as_str));
                server.ip("route add default via 10.2.0.10");
                server.ip("-6 route add default via fd02::10");
                server
            })
            .collect();
        let web = servers
            .iter()
            .map(|server| WebServer::start(&lab, server))
            .collect();
        Self {
            web,
            client,
            director,
            servers,
            lab,
        }
    }

    /// As the tutorials have it: the VIP is an address of the director, whose kernel forwards.
    pub(crate) fn like_the_tutorials(self) -> Self {
        self.director
            .addresses("eth0", &["10.1.0.1/32", "fd01::1/128"]);
        self.director.forwards();
        self
    }

    /// A director on both interfaces, everything else by default.
    pub(crate) fn start(&self) -> Director {
        Director::start(&self.lab, &self.director, &["eth0", "eth1"])
    }

    /// A director on both interfaces to be configured further.
    pub(crate) fn builder(&self) -> DirectorBuilder {
        DirectorBuilder::new(&self.lab, &self.director, &["eth0", "eth1"])
    }
}

/// Real servers behind a router: client 10.1.0.2 and director 10.1.0.10 on one switch with a router
/// (10.1.0.254), real servers 10.3.0.20, .30, ... behind it; IPv6 alike in fd01::/64 and fd03::/64. The
/// real servers have the VIPs on `lo` and answer the client through the router. For tunnelling.
#[derive(Debug)]
pub(crate) struct Routed {
    /// The nginx of each real server.
    pub(crate) web: Vec<WebServer>,
    /// The `ulvs decap` of each real server, where started.
    pub(crate) decap: Vec<Process>,
    /// Where requests come from.
    pub(crate) client: Host,
    /// Where the director is to run.
    pub(crate) director: Host,
    /// Between the two networks.
    pub(crate) router: Host,
    /// The real servers, in order of their addresses.
    pub(crate) servers: Vec<Host>,
    /// The world they are in.
    pub(crate) lab: Lab,
}

impl Routed {
    /// The network with `count` real servers.
    pub(crate) fn new(count: u32) -> Self {
        let lab = Lab::new();
        let near = lab.switch("near");
        let far = lab.switch("far");
        let client = lab.host("client");
        near.plug(&client, "eth0", &["10.1.0.2/24", "fd01::2/64"]);
        let director = lab.host("director");
        near.plug(&director, "eth0", &["10.1.0.10/24", "fd01::10/64"]);
        let router = lab.host("router");
        near.plug(&router, "eth0", &["10.1.0.254/24", "fd01::254/64"]);
        far.plug(&router, "eth1", &["10.3.0.254/24", "fd03::254/64"]);
        router.forwards();
        for near_host in [&client, &director] {
            near_host.ip("route add default via 10.1.0.254");
            near_host.ip("-6 route add default via fd01::254");
        }
        let servers: Vec<Host> = (1..=count)
            .map(|number| {
                let server = lab.host(&format!("rs{number}"));
                let last = (number + 1) * 10;
                let addresses = [format!("10.3.0.{last}/24"), format!("fd03::{last}/64")];
                far.plug(&server, "eth0", &addresses.each_ref().map(String::as_str));
                server.ip("route add default via 10.3.0.254");
                server.ip("-6 route add default via fd03::254");
                vip_on_loopback(&server, &VIP);
                server
            })
            .collect();
        let web = servers
            .iter()
            .map(|server| WebServer::start(&lab, server))
            .collect();
        Self {
            web,
            decap: Vec::new(),
            client,
            director,
            router,
            servers,
            lab,
        }
    }

    /// Starts `ulvs decap` for both VIPs on every real server.
    pub(crate) fn with_decap(self) -> Self {
        self.with_decap_options(&[])
    }

    /// The same with more options.
    pub(crate) fn with_decap_options(mut self, options: &[&str]) -> Self {
        self.decap = self
            .servers
            .iter()
            .map(|server| decap_with(&self.lab, server, &VIP, options))
            .collect();
        self
    }

    /// A director on `eth0`, everything else by default.
    pub(crate) fn start(&self) -> Director {
        Director::start(&self.lab, &self.director, &["eth0"])
    }

    /// A director on `eth0` to be configured further.
    pub(crate) fn builder(&self) -> DirectorBuilder {
        DirectorBuilder::new(&self.lab, &self.director, &["eth0"])
    }
}

/// Puts the VIPs on `lo` of a real server and keeps it silent about them on the wire, as the tutorials do.
pub(crate) fn vip_on_loopback(server: &Host, vips: &[&str]) {
    server.sysctl("net.ipv4.conf.all.arp_ignore", "1");
    server.sysctl("net.ipv4.conf.all.arp_announce", "2");
    for vip in vips {
        let length = if vip.contains(':') { 128 } else { 32 };
        server.ip(&format!("addr add {vip}/{length} dev lo"));
    }
}

/// Starts `ulvs decap` for `vips` on a real server and waits until it listens.
pub(crate) fn decap(lab: &Lab, server: &Host, vips: &[&str]) -> Process {
    decap_with(lab, server, vips, &[])
}

fn decap_with(lab: &Lab, server: &Host, vips: &[&str], options: &[&str]) -> Process {
    let mut command = server.command("ulvs");
    command.env("PATH", names_path()).arg("decap").args(options);
    for vip in vips {
        command.args(["--vip", vip]);
    }
    let mut process = Process::spawn(
        command,
        &lab.directory().join(format!("decap-{}", server.role())),
    );
    eventually("ulvs decap listens", Duration::from_secs(10), || {
        assert!(
            process.ended().is_none(),
            "ulvs decap ended:\n{}",
            process.output()
        );
        // IP protocol 4 appears in the kernel's table of raw sockets once it listens.
        server
            .shell("cat /proc/net/raw")
            .contains(":0004 ")
            .then_some(())
    });
    process
}
