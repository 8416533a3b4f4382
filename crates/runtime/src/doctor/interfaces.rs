//! The interfaces that a director works on.

use caps::Capability;
use control::config::{Gro, LinkKind};
use link::steering::Steering;
use link::sys::ethtool::{self, Feature};

use super::table::{Row, Section};
use super::{Look, has, wrong};
use crate::error::Result;
use crate::network::tables::Link;

/// The names of the interfaces to look at: those of the command line, those that a running director works on, or those
/// that one would.
///
/// # Errors
/// There is none of that name.
pub(super) fn names(look: &Look, asked: &[String]) -> Result<Vec<String>> {
    let Some(tables) = &look.tables else {
        return Ok(Vec::new());
    };
    let links = tables.links().values();
    let there: Vec<&str> = links.clone().map(|link| link.name.as_str()).collect();
    if let Some(name) = asked.iter().find(|name| !there.contains(&name.as_str())) {
        return Err(wrong(format!(
            "there is no interface {name} (there are: {})",
            there.join(", ")
        )));
    }
    if !asked.is_empty() {
        return Ok(asked.to_vec());
    }
    Ok(match &look.status {
        Some(status) => status
            .interfaces
            .iter()
            .map(|(name, _)| name.clone())
            .collect(),
        None => links
            .filter(|link| look.settings.interfaces.wants(link))
            .map(|link| link.name.clone())
            .collect(),
    })
}

pub(super) fn section(look: &mut Look, names: &[String]) -> Section {
    let tables = look.tables.clone().unwrap_or_default();
    let mut rows = Vec::new();
    for name in names {
        if let Some(link) = tables.links().values().find(|link| link.name == *name) {
            rows.extend(rows_of(look, link));
        }
    }
    missing(look, tables.links().values());
    Section {
        title: "interfaces",
        rows,
    }
}

/// Interfaces that the director needs and that are not there.
fn missing<'a>(look: &mut Look, links: impl Iterator<Item = &'a Link> + Clone) {
    if look.tables.is_none() || look.status.is_some() {
        return;
    }
    let wanted = &look.settings.interfaces;
    let absent: Vec<String> = wanted
        .named()
        .filter(|name| wanted.kind(name) != LinkKind::Tun)
        .filter(|name| !links.clone().any(|link| link.name == **name))
        .cloned()
        .collect();
    let none =
        !wanted.has_tun() && absent.is_empty() && !links.clone().any(|link| wanted.wants(link));
    for name in absent {
        look.obstacle(format!(
            "the configuration names {name}, which is not there"
        ));
    }
    if none {
        look.obstacle(
            "there is no Ethernet interface but loopback and ports of bridges and bonds: make one, or name one with \
             `interfaces` in the configuration",
        );
    }
}

fn rows_of(look: &mut Look, link: &Link) -> Vec<Row> {
    let name = &link.name;
    let driver = ethtool::driver(name).unwrap_or_else(|_| "unknown driver".into());
    let kind = look.link(link).map(str::to_owned);
    let used = kind.is_some();
    let remark = match (link.up, link.enslaved) {
        (_, true) => {
            "a port of a bridge or bond, whose frames appear on that one too: by default ulvs works on the latter"
        }
        (false, _) => "it is down: nothing comes and goes until it is up",
        _ => "",
    };
    let mut rows = vec![Row::new(
        format!("{name}: {driver}, MTU {}", link.mtu),
        link.up,
        used,
        remark,
    )];
    if let Some(entry) = kind.as_deref().and_then(link::entry) {
        let (kind, when) = (entry.name, entry.when);
        let mut details = look.status.iter().flat_map(|status| &status.details);
        let detail = details.find(|(one, _)| one == name);
        let remark = detail.map_or_else(|| when.to_owned(), |(_, how)| format!("{how}. {when}"));
        rows.push(Row::fact(format!("{name} link {kind}"), remark));
        if kind != LinkKind::Tun.name() {
            rows.push(ring(look, name));
        }
    }
    rows.push(aggregation(look, name, &driver, used));
    rows.extend(sending(name, used));
    rows
}

/// Opens what a worker opens, and closes it.
fn ring(look: &mut Look, name: &str) -> Row {
    let what = format!("{name} ring");
    let remark = "received frames in shared memory, sent from there";
    match link::af_packet::open(name, look.settings.workers, &Steering::new(&[], 0)) {
        Ok(_) => Row::new(what, true, true, remark),
        Err(error) => {
            if has(Capability::CAP_NET_RAW) {
                look.obstacle(error.to_string());
            }
            Row::new(what, false, true, error.source.to_string())
        }
    }
}

fn aggregation(look: &Look, name: &str, driver: &str, used: bool) -> Row {
    const COST: &str = "bulk transfers in frames of MTU size have half the rate";
    let what = format!("{name} gro");
    let by_director = look
        .status
        .as_ref()
        .is_some_and(|status| status.gro.iter().any(|one| one == name));
    match ethtool::is_on(name, Feature::ReceiveAggregation) {
        Ok(true) if by_director => Row::new(
            what,
            true,
            used,
            "turned on by the director, off again at its end",
        ),
        Ok(true) => Row::new(
            what,
            true,
            used,
            "segments of a stream come as super-frames",
        ),
        Ok(false) => {
            let will = look.status.is_none() && look.settings.gro == Gro::Auto && driver == "veth";
            let remark = match (will && used, has(Capability::CAP_NET_ADMIN)) {
                (true, true) => format!("off; `ulvs run` turns it on, without it {COST}"),
                (true, false) => {
                    format!("off: {COST}; give ulvs CAP_NET_ADMIN, or `ethtool -K {name} gro on`")
                }
                (false, _) => format!("off: {COST}; `ethtool -K {name} gro on`"),
            };
            Row::new(what, false, used, remark)
        }
        Err(error) => Row::new(what, false, used, error.to_string()),
    }
}

/// What the interface does for frames that are sent by it.
fn sending(name: &str, used: bool) -> Vec<Row> {
    let features = [
        (
            Feature::TransmitChecksum,
            "tx-checksum",
            "the kernel finishes checksums",
        ),
        (
            Feature::Segmentation,
            "tso",
            "the kernel cuts TCP super-frames",
        ),
    ];
    features
        .into_iter()
        .map(|(feature, short, instead)| {
            let what = format!("{name} {short}");
            match ethtool::is_on(name, feature) {
                Ok(true) => Row::new(what, true, used, ""),
                Ok(false) => Row::new(
                    what,
                    false,
                    used,
                    format!(
                        "off: {instead} of what is sent, at a multiple of the processor time; `ethtool -K {name} {} on`",
                        if short == "tso" { "tso" } else { "tx" }
                    ),
                ),
                Err(error) => Row::new(what, false, used, error.to_string()),
            }
        })
        .collect()
}
