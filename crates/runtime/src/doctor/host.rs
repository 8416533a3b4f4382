//! The host's settings that matter to a director, and who answers for its VIPs.

use std::collections::BTreeSet;
use std::net::IpAddr;

use director::net::Answer;

use super::Look;
use super::system::Guards;
use super::table::{Row, Section};
use crate::network::read_sysctl;
use crate::vips::{self, Forwarding};

pub(super) fn section(look: &mut Look, guards: &Guards, names: &[String]) -> Section {
    let mut rows: Vec<Row> = forwarding().into();
    for name in names {
        rows.extend(of_interface(name));
    }
    rows.extend(virtual_addresses(look, guards));
    Section {
        title: "host",
        rows,
    }
}

/// What the kernel does with packets to others.
fn forwarding() -> [Row; 2] {
    let forwarding = Forwarding::read();
    let row = |name: &str, on: bool, more: &str| {
        let remark = if on {
            format!("the kernel would forward what ulvs takes once more: needs the guard{more}")
        } else {
            "the kernel keeps silent about what is not its own; ulvs does not need forwarding"
                .into()
        };
        Row::fact(format!("{name} = {}", u8::from(on)), remark)
    };
    [
        row(
            "net.ipv4.ip_forward",
            forwarding.v4,
            "; with NAT on one arm set send_redirects=0",
        ),
        row("net.ipv6.conf.all.forwarding", forwarding.v6, ""),
    ]
}

/// The settings that tutorials speak of. The larger one of `all` and the interface's counts.
fn of_interface(name: &str) -> Vec<Row> {
    let value = |key: &str| {
        // A dot of a VLAN interface's name is part of a folder's name.
        let of = |place: &str| read_sysctl(&format!("net/ipv4/conf/{place}/{key}"));
        of("all").into_iter().chain(of(name)).max()
    };
    let mut rows = Vec::new();
    if let Some(filter) = value("rp_filter") {
        rows.push(Row::fact(
            format!("{name} rp_filter = {filter}"),
            "no matter: ulvs takes frames before the kernel looks at their sources",
        ));
    }
    if let Some(ignore) = value("arp_ignore") {
        let remark = match ignore {
            0 => "the kernel answers ARP for every address of the host; ulvs for those it owns",
            _ => {
                "the kernel answers ARP for the interface's own addresses only: a VIP that the host has must be on it"
            }
        };
        rows.push(Row::fact(format!("{name} arp_ignore = {ignore}"), remark));
    }
    rows
}

fn virtual_addresses(look: &mut Look, guards: &Guards) -> Vec<Row> {
    if let Some(status) = &look.status {
        let rows = status.vips.iter().map(|(vip, local)| {
            let remark = match (local, status.guard.is_some()) {
                (true, true) => "local: the host's kernel answers ARP and ping, the guard keeps it from the rest",
                (true, false) => "local: the host's kernel answers, and would also answer clients: it lacks the guard",
                (false, _) => "owned: ulvs answers ARP, neighbour discovery and ping",
            };
            Row::fact(format!("VIP {vip}"), remark)
        });
        return rows.collect();
    }
    let (rows, obstacles): (Vec<Row>, Vec<Option<String>>) = configured(look)
        .into_iter()
        .filter_map(|vip| placed(look, guards, vip))
        .unzip();
    look.obstacles.extend(obstacles.into_iter().flatten());
    rows
}

/// The VIPs that the configuration names.
fn configured(look: &Look) -> BTreeSet<IpAddr> {
    let settings = &look.settings;
    let services = settings.desired.services.iter();
    let of_services = services.flat_map(|(config, _)| settings.vips_of(&config.key));
    of_services.chain(settings.vips.keys().copied()).collect()
}

/// Who would answer for a VIP, and what keeps a director from working with it.
fn placed(look: &Look, guards: &Guards, vip: IpAddr) -> Option<(Row, Option<String>)> {
    let tables = look.tables.as_ref()?;
    let what = format!("VIP {vip}");
    let placement = match vips::place(tables, vip, &look.settings.wish(vip, tables)) {
        Ok(placement) => placement,
        Err(sentence) => {
            return Some((Row::fact(what, "nobody can answer for it"), Some(sentence)));
        }
    };
    let remark = match placement.answer {
        Answer::Local => {
            "local: the host has it, so its kernel answers ARP and ping; needs the guard"
        }
        Answer::Owned => "owned: ulvs answers ARP, neighbour discovery and ping",
    };
    let reason = vips::guard_reason(tables, vip, placement.answer, Forwarding::read());
    let refusal = guards.refusal().filter(|_| look.shares_with_host());
    let obstacle = reason
        .zip(refusal)
        .map(|(reason, refusal)| vips::unguarded(&reason, &refusal, vip, placement.answer));
    Some((Row::fact(what, remark), obstacle))
}
