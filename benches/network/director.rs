//! ulvs as a contender: `ulvs run` with the service, by one method over one link, and `ulvs decap` where the method
//! needs it.

use std::path::Path;

use clap::ValueEnum;

use crate::contender::{Contender, TCP, await_answer, path};
use crate::lab::Host;
use crate::process::Process;
use crate::serve::SINK;
use crate::world::{SERVERS, VIP, World};

/// How ulvs gets frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Link {
    /// Packet sockets, the default.
    AfPacket,
    /// The same, with the kernel sending on UDP flows by itself as well.
    Assist,
    /// The same, with every packet forwarded by a worker.
    NoAssist,
    /// The default, with two schedulers in the shadow of the real one.
    Shadow,
    /// AF_XDP sockets.
    AfXdp,
    /// Requests by a TUN device that the host routes the VIP into, all else by packet sockets.
    Tun,
}

impl Link {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Self; 6] = [
        Self::AfPacket,
        Self::Assist,
        Self::NoAssist,
        Self::Shadow,
        Self::AfXdp,
        Self::Tun,
    ];

    /// What reports put behind the method; nothing for the default.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::AfPacket => "",
            Self::Assist => "+assist",
            Self::NoAssist => "+no_assist",
            Self::Shadow => "+shadow",
            Self::AfXdp => "+af_xdp",
            Self::Tun => "+tun",
        }
    }

    /// What the configuration says about interfaces.
    fn config(self) -> &'static str {
        match self {
            Self::AfPacket | Self::Shadow => "interfaces = [\"eth0\", \"eth1\", \"eth2\"]\n",
            Self::Assist => "interfaces = [\"eth0\", \"eth1\", \"eth2\"]\nassist = \"all\"\n",
            Self::NoAssist => "interfaces = [\"eth0\", \"eth1\", \"eth2\"]\nassist = \"off\"\n",
            Self::AfXdp => "interfaces = [\"eth0\", \"eth1\", \"eth2\"]\nlink = \"af-xdp\"\n",
            Self::Tun => "interfaces = [\"ulvs0\", \"eth1\", \"eth2\"]\n",
        }
    }

    /// The sections behind everything else.
    fn sections(self) -> &'static str {
        match self {
            Self::AfPacket | Self::Assist | Self::NoAssist | Self::AfXdp => "",
            Self::Shadow => "[shadow]\nschedulers = [\"mh\", \"p2c\"]\n",
            Self::Tun => "[[interface]]\nname = \"ulvs0\"\nlink = \"tun\"\n",
        }
    }
}

/// `ulvs run` with the service, by a method as `ipvsadm` names it.
pub(crate) fn start(contender: &Contender, world: &World, method: &str) -> Vec<Process> {
    if contender.link == Link::Tun {
        world.director.forwards();
        // A VIP of the host's own would not be routed: the host answers for it on the client's side.
        let host = &world.director;
        host.ip(&format!("neigh add proxy {VIP} dev eth0"));
    } else {
        world.vip_on_director();
    }
    if method == "-g" {
        world.vip_on_servers();
    }
    let directory = world.lab.directory();
    let config = directory.join("ulvs.toml");
    let text = format!(
        "{}rules = \"\"\"\n{}\"\"\"\n{}",
        contender.link.config(),
        rules(method),
        contender.link.sections()
    );
    std::fs::write(&config, text).expect("a configuration is written");
    let socket = directory.join("control.sock");
    let mut command = world.director.command(path(&contender.build));
    command.args(["run", "--config", path(&config), "--control", path(&socket)]);
    command.args(["--state", path(&directory.join("state.rules"))]);
    let process = Process::spawn(command, &directory.join("ulvs.log"));
    let process = await_answer(process, || {
        let mut ask = world.director.command(path(&contender.build));
        ask.args(["ipvsadm", "-Ln"]).env("ULVS_CONTROL", &socket);
        ask.output().is_ok_and(|output| output.status.success())
    });
    if contender.link == Link::Tun {
        world.director.ip(&format!("route add {VIP}/32 dev ulvs0"));
    }
    vec![process]
}

fn rules(method: &str) -> String {
    let mut rules = String::new();
    let services = TCP
        .map(|port| ("-t", port))
        .into_iter()
        .chain([("-u", SINK)]);
    for (protocol, port) in services {
        rules += &format!("-A {protocol} {VIP}:{port} -s wlc\n");
        for server in SERVERS {
            rules += &format!("-a {protocol} {VIP}:{port} -r {server}:{port} {method}\n");
        }
    }
    rules
}

/// `ulvs decap` on every real server.
pub(crate) fn decap(build: &Path, world: &World) -> Vec<Process> {
    world.vip_on_servers();
    let start = |server: &Host| {
        let mut command = server.command(path(build));
        command.args(["decap", "--vip", VIP]);
        let log = world
            .lab
            .directory()
            .join(format!("decap-{}", server.role()));
        await_answer(Process::spawn(command, &log), || {
            server.shell("cat /proc/net/raw").contains(":0004 ")
        })
    };
    world.servers.iter().map(start).collect()
}
