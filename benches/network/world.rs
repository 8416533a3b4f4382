//! The network that every contender stands in, one of its own each:
//!
//! ```text
//! client eth0 10.1.0.2 -- 10.1.0.10 eth0 director eth1 10.2.1.10 -- 10.2.1.20 eth0 rs1
//!                                                 eth2 10.2.2.10 -- 10.2.2.20 eth0 rs2
//! client eth1 10.3.1.2 ------------------------------------------- 10.3.1.20 eth1 rs1
//! client eth2 10.3.2.2 ------------------------------------------- 10.3.2.20 eth1 rs2
//! ```
//!
//! Plain cables, no bridge. Real servers answer through the director, or straight to the client where the method
//! (DR, TUN) is made for that.

use std::process::Command;

use crate::lab::{Host, Lab, cable};
use crate::process::{Process, eventually};
use std::time::Duration;

/// The virtual address.
pub(crate) const VIP: &str = "10.1.0.1";
/// The client's address.
pub(crate) const CLIENT: &str = "10.1.0.2";
/// The real servers' addresses on the director's side.
pub(crate) const SERVERS: [&str; 2] = ["10.2.1.20", "10.2.2.20"];
/// The first real server's address on the client's own cable.
pub(crate) const BESIDE: &str = "10.3.1.20";

/// Machines, cables and the servers on them; everything ends with it.
#[derive(Debug)]
pub(crate) struct World {
    /// nginx and this program's own servers.
    pub(crate) _serving: Vec<Process>,
    /// Where load comes from.
    pub(crate) client: Host,
    /// Where the contender runs.
    pub(crate) director: Host,
    /// The real servers.
    pub(crate) servers: Vec<Host>,
    /// The scratch directory.
    pub(crate) lab: Lab,
}

impl World {
    /// The network, with servers that listen. `straight`: real servers answer the client on their own cable.
    pub(crate) fn new(straight: bool, offloads: bool) -> Self {
        let lab = Lab::named("ubn");
        let [client, director] = ["client", "director"].map(|role| machine(&lab, role));
        let servers: Vec<Host> = ["rs1", "rs2"].map(|role| machine(&lab, role)).into();
        cable((&client, "eth0"), (&director, "eth0"));
        client.addresses("eth0", &[&format!("{CLIENT}/24")]);
        director.addresses("eth0", &["10.1.0.10/24"]);
        client.ip("route add default via 10.1.0.10");
        for (server, number) in servers.iter().zip(1..) {
            let port = format!("eth{number}");
            cable((&director, &port), (server, "eth0"));
            director.addresses(&port, &[&format!("10.2.{number}.10/24")]);
            server.addresses("eth0", &[&format!("10.2.{number}.20/24")]);
            cable((&client, &port), (server, "eth1"));
            client.addresses(&port, &[&format!("10.3.{number}.2/24")]);
            server.addresses("eth1", &[&format!("10.3.{number}.20/24")]);
            server.ip(&format!("route add default via 10.2.{number}.10"));
            if straight {
                server.ip(&format!("route add {CLIENT}/32 dev eth1"));
            }
        }
        if !offloads {
            for host in [&client, &director].into_iter().chain(&servers) {
                host.shell(
                    "for i in eth0 eth1 eth2; do [ ! -e /proc/sys/net/ipv4/conf/$i ] || \
                     ethtool -K $i tso off gso off gro off tx off rx off; done",
                );
            }
        }
        let _serving = servers
            .iter()
            .flat_map(|server| serve(&lab, server))
            .collect();
        Self {
            _serving,
            client,
            director,
            servers,
            lab,
        }
    }

    /// Gives the director the VIP as an address, as every LVS tutorial and every proxy does.
    pub(crate) fn vip_on_director(&self) {
        self.director.addresses("eth0", &[&format!("{VIP}/32")]);
    }

    /// Gives the real servers the VIP, silent on the wire.
    pub(crate) fn vip_on_servers(&self) {
        for server in &self.servers {
            server.sysctl("net.ipv4.conf.all.arp_ignore", "1");
            server.sysctl("net.ipv4.conf.all.arp_announce", "2");
            server.ip(&format!("addr add {VIP}/32 dev lo"));
        }
    }

    /// This program in one of its other roles on `host`.
    pub(crate) fn myself(host: &Host, words: &[&str]) -> Command {
        let program = std::env::current_exe().expect("a program knows its own path");
        let mut command = host.command(program.to_str().expect("the path is text"));
        command.args(words);
        command
    }
}

fn machine(lab: &Lab, role: &str) -> Host {
    let host = lab.host(role);
    // Before there are interfaces, so that they begin with these.
    for kind in ["all", "default"] {
        host.sysctl(&format!("net.ipv4.conf.{kind}.rp_filter"), "0");
        host.sysctl(&format!("net.ipv4.conf.{kind}.send_redirects"), "0");
    }
    host.sysctl("net.ipv4.ip_local_port_range", "2048 65535");
    host
}

/// nginx and this program's servers on a real server.
fn serve(lab: &Lab, host: &Host) -> [Process; 2] {
    let directory = lab.directory().join(format!("www-{}", host.role()));
    std::fs::create_dir_all(&directory).expect("the lab's directory can be written");
    std::fs::write(directory.join("index.html"), "x".repeat(64)).expect("a page is written");
    let config = directory.join("nginx.conf");
    let shown = directory.display();
    let text = format!(
        "daemon off; master_process off; user root; pid {shown}/pid; error_log {shown}/error.log;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_timeout 60; keepalive_requests 100000000;
  client_body_temp_path {shown}/a; proxy_temp_path {shown}/b; fastcgi_temp_path {shown}/c;
  uwsgi_temp_path {shown}/d; scgi_temp_path {shown}/e;
  server {{ listen 80 backlog=8192; root {shown}; }} }}
"
    );
    std::fs::write(&config, text).expect("a configuration is written");
    let mut nginx = host.command("nginx");
    nginx.arg("-p").arg(&directory).arg("-c").arg(&config);
    nginx.args(["-e", "error.log"]);
    let log = |name: &str| lab.directory().join(format!("{name}-{}", host.role()));
    let mut started = [
        Process::spawn(nginx, &log("nginx")),
        Process::spawn(World::myself(host, &["serve"]), &log("serve")),
    ];
    eventually("the servers listen", Duration::from_secs(20), || {
        for process in &mut started {
            assert!(process.ended().is_none(), "ended:\n{}", process.output());
        }
        let listening = host.shell("cat /proc/net/tcp");
        [80, 5001, 5002]
            .iter()
            .all(|port| listening.contains(&format!(":{port:04X} ")))
            .then_some(())
    });
    started
}
