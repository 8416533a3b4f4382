//! What is measured: no director at all, the kernel's forwarding and NAT, two proxies, and ulvs by three methods.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use crate::director::Link;
use crate::process::{Process, eventually};
use crate::serve::{BULK, ECHO, SINK};
use crate::world::{BESIDE, SERVERS, VIP, World};
use crate::{bare, director};

/// TCP ports of the service.
pub(crate) const TCP: [u16; 3] = [80, BULK, ECHO];

/// What stands between client and real servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A cable to one real server.
    Direct,
    /// The kernel forwards to one real server; no balancing.
    Forward,
    /// The link of ulvs forwards to one real server; no director.
    Bare,
    /// nftables DNAT by a hash of the client's address and port.
    Nft,
    /// iptables DNAT by the statistic match.
    Iptables,
    /// HAProxy, `mode tcp`, two threads.
    Haproxy,
    /// nginx, `stream`, two processes.
    Nginx,
    /// ulvs by direct routing.
    Dr,
    /// ulvs by NAT.
    Nat,
    /// ulvs by IPIP, with `ulvs decap` on the real servers.
    Tun,
}

impl Kind {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Self; 10] = [
        Self::Direct,
        Self::Forward,
        Self::Bare,
        Self::Nft,
        Self::Iptables,
        Self::Haproxy,
        Self::Nginx,
        Self::Dr,
        Self::Nat,
        Self::Tun,
    ];

    /// The name on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Forward => "forward",
            Self::Bare => "bare",
            Self::Nft => "nft",
            Self::Iptables => "iptables",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Dr => "dr",
            Self::Nat => "nat",
            Self::Tun => "tun",
        }
    }

    /// Whether it is ulvs.
    pub(crate) fn is_ulvs(self) -> bool {
        matches!(self, Self::Dr | Self::Nat | Self::Tun)
    }

    /// Whether real servers answer the client without the director.
    fn straight(self) -> bool {
        matches!(self, Self::Direct | Self::Dr | Self::Tun)
    }
}

/// One of those, by a name that is its own in this run.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    /// What it is.
    pub(crate) kind: Kind,
    /// What reports call it: the kind's name, with `+LINK` for another link than the default, and
    /// `@BUILD` where there are several builds of ulvs.
    pub(crate) name: String,
    /// How it gets frames, for ulvs.
    pub(crate) link: Link,
    /// The program, for ulvs.
    pub(crate) build: PathBuf,
}

impl Contender {
    /// Something other than ulvs.
    pub(crate) fn peer(kind: Kind) -> Self {
        Self::ulvs(kind, Link::AfPacket, None, PathBuf::new())
    }

    /// A build of ulvs over a link; `named` where it is one of several.
    pub(crate) fn ulvs(kind: Kind, link: Link, named: Option<&str>, build: PathBuf) -> Self {
        let build_name = named.map(|name| format!("@{name}")).unwrap_or_default();
        Self {
            kind,
            name: format!("{}{}{build_name}", kind.name(), link.suffix()),
            link,
            build,
        }
    }

    /// Starts it in a world of its own. Panics with a sentence where that is not possible.
    pub(crate) fn start(&self, offloads: bool) -> Standing {
        let world = World::new(self.kind.straight(), offloads);
        let (address, director, others) = match self.kind {
            Kind::Direct => (BESIDE, Vec::new(), Vec::new()),
            Kind::Forward => {
                world.director.forwards();
                (SERVERS[0], Vec::new(), Vec::new())
            }
            Kind::Bare => (SERVERS[0], bare(&world), Vec::new()),
            Kind::Nft => (VIP, nftables(&world), Vec::new()),
            Kind::Iptables => (VIP, iptables(&world), Vec::new()),
            Kind::Haproxy => (VIP, haproxy(&world), Vec::new()),
            Kind::Nginx => (VIP, nginx(&world), Vec::new()),
            Kind::Dr => (VIP, director::start(self, &world, "-g"), Vec::new()),
            Kind::Nat => (VIP, director::start(self, &world, "-m"), Vec::new()),
            Kind::Tun => {
                let decap = director::decap(&self.build, &world);
                (VIP, director::start(self, &world, "-i"), decap)
            }
        };
        Standing {
            director,
            _others: others,
            address,
            world,
        }
    }
}

/// A contender that is ready.
#[derive(Debug)]
pub(crate) struct Standing {
    /// The processes that are the director; none where the kernel is.
    pub(crate) director: Vec<Process>,
    /// What else it needs; ended with it.
    _others: Vec<Process>,
    /// What the client asks.
    pub(crate) address: &'static str,
    /// Where it stands.
    pub(crate) world: World,
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}

/// Waits until a process that was just started is ready; panics with what it printed where it ends.
pub(crate) fn await_answer(mut process: Process, mut ready: impl FnMut() -> bool) -> Process {
    eventually("a contender answers", Duration::from_secs(15), || {
        assert!(process.ended().is_none(), "it ended:\n{}", process.output());
        ready().then_some(())
    });
    process
}

fn bare(world: &World) -> Vec<Process> {
    let ends = [("eth0", &world.client), ("eth1", &world.servers[0])];
    let words = bare::words(&world.director, ends);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let log = world.lab.directory().join("bare.log");
    let process = Process::spawn(World::myself(&world.director, &words), &log);
    vec![await_answer(process, || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("forwarding"))
    })]
}

fn nftables(world: &World) -> Vec<Process> {
    world.vip_on_director();
    world.director.forwards();
    let tcp = TCP.map(|port| port.to_string()).join(", ");
    let map = format!("mod 2 map {{ 0 : {}, 1 : {} }}", SERVERS[0], SERVERS[1]);
    world.director.shell(&format!(
        "nft -f - <<'RULES'
table ip balance {{
 chain prerouting {{
  type nat hook prerouting priority dstnat;
  ip daddr {VIP} tcp dport {{ {tcp} }} dnat to jhash ip saddr . tcp sport {map}
  ip daddr {VIP} udp dport {SINK} dnat to jhash ip saddr . udp sport {map}
}}
}}
RULES"
    ));
    Vec::new()
}

fn iptables(world: &World) -> Vec<Process> {
    world.vip_on_director();
    world.director.forwards();
    let [first, second] = SERVERS;
    for (protocol, ports) in [
        ("tcp", TCP.map(|port| port.to_string()).join(",")),
        ("udp", SINK.to_string()),
    ] {
        let rule = format!(
            "iptables -t nat -A PREROUTING -d {VIP} -p {protocol} -m multiport --dports {ports}"
        );
        world.director.shell(&format!(
            "{rule} -m statistic --mode random --probability 0.5 -j DNAT --to-destination {first} && \
             {rule} -j DNAT --to-destination {second}"
        ));
    }
    Vec::new()
}

fn haproxy(world: &World) -> Vec<Process> {
    world.vip_on_director();
    let mut text =
        "global\n  nbthread 2\n  maxconn 4000\ndefaults\n  mode tcp\n  option splice-auto\n  \
                    timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n"
            .to_owned();
    for port in TCP {
        text += &format!("listen p{port}\n  bind {VIP}:{port}\n  balance leastconn\n");
        for (server, number) in SERVERS.iter().zip(1..) {
            text += &format!("  server s{number} {server}:{port}\n");
        }
    }
    let config = world.lab.directory().join("haproxy.cfg");
    std::fs::write(&config, text).expect("a configuration is written");
    let mut command = world.director.command("haproxy");
    command.args(["-db", "-f", path(&config)]);
    let log = world.lab.directory().join("haproxy.log");
    vec![await_answer(Process::spawn(command, &log), || {
        listens(world)
    })]
}

fn nginx(world: &World) -> Vec<Process> {
    world.vip_on_director();
    let start = |number: u32| {
        let directory = world.lab.directory().join(format!("stream{number}"));
        std::fs::create_dir_all(&directory).expect("the lab's directory can be written");
        let shown = directory.display();
        // One process a configuration, two of them: a master's workers would outlive a bench that is killed.
        let mut text = format!(
            "daemon off; master_process off; user root; pid {shown}/pid; error_log {shown}/error.log;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
stream {{ proxy_timeout 60s; proxy_connect_timeout 5s;
"
        );
        let services = TCP
            .map(|port| (port, ""))
            .into_iter()
            .chain([(SINK, "udp")]);
        for (port, protocol) in services {
            let [first, second] = SERVERS;
            text += &format!(
                "upstream p{port} {{ server {first}:{port}; server {second}:{port}; }}
server {{ listen {VIP}:{port} {protocol} reuseport; proxy_pass p{port}; }}
"
            );
        }
        text += "}\n";
        let config = directory.join("nginx.conf");
        std::fs::write(&config, text).expect("a configuration is written");
        let mut command = world.director.command("nginx");
        command.args([
            "-p",
            path(&directory),
            "-c",
            path(&config),
            "-e",
            "error.log",
        ]);
        Process::spawn(command, &directory.join("log"))
    };
    [1, 2]
        .map(start)
        .map(|process| await_answer(process, || listens(world)))
        .into()
}

/// Whether the director's own kernel has a listener on the service's ports.
fn listens(world: &World) -> bool {
    let listening = world.director.shell("cat /proc/net/tcp");
    TCP.iter()
        .all(|port| listening.contains(&format!(":{port:04X} 00000000:0000 0A")))
}
