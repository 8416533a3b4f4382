//! The host that every case stands on: interfaces, addresses, neighbours and routes of the recordings, made in the
//! network namespace that this process is in.

use serde_json::Value;
use tun_tap::Iface;

use crate::record::{device, run};
use crate::recording::{Port, Topology};

/// The record of it, as every recording has it.
const TOPOLOGY: &str = include_str!("topology.json");

/// Settings that keep the host silent and let it forward, below `/proc/sys/net`.
const SETTINGS: [(&str, &str); 12] = [
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/default/forwarding", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/ip_forward", "1"),
    ("ipv4/icmp_ratelimit", "0"),
    ("ipv6/icmp/ratelimit", "0"),
];

/// The record as one value.
pub(crate) fn record() -> Value {
    serde_json::from_str(TOPOLOGY).unwrap_or_default()
}

/// Makes all of it; the two devices whose other ends are the wires.
///
/// # Errors
/// A sentence that says what could not be done.
pub(crate) fn set_up() -> Result<[(Port, Iface); 2], String> {
    let topology: Topology =
        serde_json::from_str(TOPOLOGY).map_err(|error| format!("topology.json: {error}"))?;
    for (name, value) in SETTINGS {
        let path = format!("/proc/sys/net/{name}");
        std::fs::write(&path, value).map_err(|error| format!("{path}: {error}"))?;
    }
    let devices = [
        (Port::Client, device("cl0")?),
        (Port::Server, device("sv0")?),
    ];
    batch(&["-batch", "-"], &link_lines(&topology))?;
    let is_v6 = |route: &&String| route.contains("::");
    let routes = |v6: bool| -> Vec<String> {
        let of_family = topology.routes.iter().filter(|route| is_v6(route) == v6);
        of_family
            .map(|route| format!("route add {route}"))
            .collect()
    };
    batch(&["-batch", "-"], &routes(false))?;
    batch(&["-6", "-batch", "-"], &routes(true))?;
    Ok(devices)
}

fn link_lines(topology: &Topology) -> Vec<String> {
    let mut lines = vec!["link set lo up".to_owned()];
    for (name, interface) in [
        ("cl0", &topology.cl0),
        ("sv0", &topology.sv0),
        ("lo", &topology.lo),
    ] {
        if let Some(mac) = &interface.mac {
            lines.push(format!("link set {name} address {mac}"));
            lines.push(format!("link set {name} up"));
        }
        for address in interface
            .addr
            .iter()
            .filter(|address| !address.starts_with("127."))
        {
            let now = if address.contains(':') { " nodad" } else { "" };
            lines.push(format!("addr add {address} dev {name}{now}"));
        }
    }
    for (key, mac) in &topology.neigh.0 {
        if let Some((device, address)) = key.split_once(' ') {
            lines.push(format!(
                "neigh replace {address} lladdr {mac} dev {device} nud permanent"
            ));
        }
    }
    lines
}

/// Runs `ip` with the lines as its input.
fn batch(arguments: &[&str], lines: &[String]) -> Result<(), String> {
    let argv: Vec<String> = std::iter::once("ip")
        .chain(arguments.iter().copied())
        .map(str::to_owned)
        .collect();
    let (rc, _, err) = run(&argv, Some(&(lines.join("\n") + "\n")))?;
    if rc == 0 {
        Ok(())
    } else {
        Err(format!("{}: {err}", argv.join(" ")))
    }
}
