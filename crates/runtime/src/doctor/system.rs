//! The kernel, this process's capabilities, and the facilities that links and guard are made of.

use std::path::Path;

use caps::Capability;
use control::config::LinkKind;
use link::LinkError;
use link::guard::{Guard, Method};
use link::probe;

use super::table::{Row, Section};
use super::{Look, has};

/// Guards as they can be had.
pub(super) struct Guards {
    tcx: Result<(), LinkError>,
    nftables: Result<(), LinkError>,
}

impl Guards {
    /// Tries both on loopback, with nothing to drop, and takes them away again.
    pub(super) fn try_all() -> Self {
        let attach = |method| Guard::attach_by(method, &["lo"]).map(drop);
        Self {
            tcx: attach(Method::Tcx),
            nftables: attach(Method::Nftables),
        }
    }

    /// The one that a director takes.
    fn choice(&self) -> Option<Method> {
        match (&self.tcx, &self.nftables) {
            (Ok(()), _) => Some(Method::Tcx),
            (_, Ok(())) => Some(Method::Nftables),
            _ => None,
        }
    }

    /// Why there is none, as the daemon says it; `None` = there is one.
    pub(super) fn refusal(&self) -> Option<String> {
        let (Err(tcx), Err(nftables)) = (&self.tcx, &self.nftables) else {
            return None;
        };
        Some(format!(
            "TCX: {}; nftables: {}",
            tcx.source, nftables.source
        ))
    }
}

pub(super) fn section(look: &mut Look, guards: &Guards) -> Section {
    let mut rows = vec![kernel()];
    rows.extend(capabilities(look, guards));
    rows.extend(packet_socket(look));
    rows.extend(guard(look, guards));
    rows.push(tun(look));
    rows.push(af_xdp(look));
    let tables = look.tables.is_some();
    rows.push(Row::new(
        "rtnetlink",
        tables,
        true,
        "the host's links, addresses, routes and neighbours; ulvs cannot run without",
    ));
    rows.push(memory(look));
    rows.push(ipvs());
    Section {
        title: "system",
        rows,
    }
}

fn kernel() -> Row {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let release = if release.is_empty() { "?" } else { release };
    Row::fact(
        format!("Linux {release}"),
        "4.20 for packet sockets, 6.6 for the guard by TCX, 5.12 for the one by nftables",
    )
}

fn capabilities(look: &mut Look, guards: &Guards) -> Vec<Row> {
    let (raw, admin, bpf) = (
        has(Capability::CAP_NET_RAW),
        has(Capability::CAP_NET_ADMIN),
        has(Capability::CAP_BPF) || has(Capability::CAP_SYS_ADMIN),
    );
    if !raw && look.uses_packet_sockets() {
        look.obstacle(
            "without CAP_NET_RAW it cannot open packet sockets: start it as root, by a container engine (which gives \
             the capability by default), or after `setcap cap_net_raw+ep` on the program",
        );
    }
    if !(admin && bpf) && look.uses(LinkKind::AfXdp) {
        look.obstacle(
            "without CAP_NET_ADMIN and CAP_BPF it cannot put an XDP program on an interface: start it as root, give it \
             both, or take `link = \"af-packet\"`",
        );
    }
    vec![
        Row::new(
            "CAP_NET_RAW",
            raw,
            true,
            "opens packet sockets; without it nothing works but TUN",
        ),
        Row::new(
            "CAP_NET_ADMIN",
            admin,
            true,
            "guard and GRO; without it: only VIPs that the host does not have, with ip_forward=0; a third fewer small \
             packets a second; half the bulk rate at frames of MTU size",
        ),
        Row::new(
            "CAP_BPF",
            bpf,
            guards.choice() == Some(Method::Tcx),
            "guard by TCX; without it: by nftables",
        ),
    ]
}

/// The facilities of packet sockets with what it means to lack them.
fn packet_socket(look: &mut Look) -> Vec<Row> {
    let used = look.uses_packet_sockets();
    let several = look
        .status
        .as_ref()
        .map_or(look.settings.workers, |status| status.workers)
        > 1;
    let mut rows = Vec::new();
    for (name, found) in probe::packet_socket() {
        let fanout = name == "PACKET_FANOUT";
        let lacking = match name {
            "AF_PACKET" => "raw frames of interfaces: the default link is made of it",
            "TPACKET_V2" => "receive ring in shared memory",
            "PACKET_VNET_HDR" => {
                "super-frames and unfinished checksums; without it no TCP on default veths"
            }
            "PACKET_IGNORE_OUTGOING" => "not seeing the host's own frames (Linux 4.20)",
            "PACKET_COPY_THRESH" => "frames beyond a slot of 2 KiB, whole and in order",
            _ => "sharing frames out among several workers",
        };
        let remark = match &found {
            Ok(()) => lacking.to_owned(),
            Err(error) => format!("{lacking} ({error})"),
        };
        rows.push(Row::new(
            name,
            found.is_ok(),
            used && (!fanout || several),
            remark,
        ));
        // Without CAP_NET_RAW that is said already.
        let needed = used && (!fanout || several) && has(Capability::CAP_NET_RAW);
        if let (true, Err(error)) = (needed, found) {
            look.obstacle(format!(
                "{name} is refused ({error}): it takes Linux 4.20 with CONFIG_PACKET"
            ));
        }
    }
    rows
}

fn guard(look: &Look, guards: &Guards) -> [Row; 2] {
    let used = match &look.status {
        Some(status) => status.guard.clone(),
        None if !look.shares_with_host() => None,
        None => guards.choice().map(|method| method.to_string()),
    };
    let row = |method: Method, result: &Result<(), LinkError>, remark: &str| {
        let name = method.to_string();
        let is_used = used.as_ref() == Some(&name);
        let remark = match result {
            Ok(()) => remark.to_owned(),
            Err(error) => format!("{}; {remark}", error.source),
        };
        Row::new(format!("guard by {name}"), result.is_ok(), is_used, remark)
    };
    [
        row(
            Method::Tcx,
            &guards.tcx,
            "keeps the kernel from answering and forwarding what ulvs takes; without any guard: only VIPs that the host \
             does not have, with ip_forward=0, and a third fewer small packets a second",
        ),
        row(
            Method::Nftables,
            &guards.nftables,
            "the same where TCX is not to be had",
        ),
    ]
}

fn tun(look: &mut Look) -> Row {
    let used = look.uses(LinkKind::Tun);
    match probe::tun() {
        Ok(found) => {
            let can = |can| if can { "yes" } else { "no" };
            let remark = format!(
                "`link = \"tun\"`; virtio-net headers: {}, several queues: {}; half the packet rate of AF_PACKET",
                can(found.virtio_header),
                can(found.several_queues)
            );
            Row::new("TUN", true, used, remark)
        }
        Err(error) => {
            if used {
                look.obstacle(format!("/dev/net/tun cannot be opened: {error}"));
            }
            Row::new(
                "TUN",
                false,
                used,
                format!("/dev/net/tun: {error}; only `link = \"tun\"` needs it"),
            )
        }
    }
}

fn af_xdp(look: &mut Look) -> Row {
    let used = look.uses(LinkKind::AfXdp);
    match probe::af_xdp() {
        Ok(()) => Row::new(
            "AF_XDP",
            true,
            used,
            "`link = \"af-xdp\"`; packets of services straight from an interface's driver",
        ),
        Err(error) => {
            if used {
                look.obstacle(format!("AF_XDP sockets are refused: {error}"));
            }
            let remark = format!("{error}; only `link = \"af-xdp\"` needs it");
            Row::new("AF_XDP", false, used, remark)
        }
    }
}

/// Receive rings are not locked memory; BPF maps were until Linux 5.11.
fn memory(look: &Look) -> Row {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let locked = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap_or("?");
    let workers = look.settings.workers;
    Row::fact(
        "memory",
        format!(
            "8 MiB of ring for each interface and worker (workers = {workers}); the limit of locked memory ({locked} \
             octets) counts none of it, only the guard's BPF map before Linux 5.11, and 12 to 24 MiB for each worker on \
             an interface with `link = \"af-xdp\"` where CAP_IPC_LOCK is lacking"
        ),
    )
}

fn ipvs() -> Row {
    let there = Path::new("/proc/net/ip_vs").exists();
    let remark = if there {
        "the kernel's own director is loaded, and takes what its table names as well: keep that empty (`ipvsadm -C` of \
         the package), or use it instead of ulvs"
    } else {
        "not loaded, and not needed"
    };
    Row::spare("kernel IPVS", there, remark)
}
