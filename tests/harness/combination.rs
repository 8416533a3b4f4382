//! The link, the number of workers and the offloads that a whole run of the tests is made with (`scripts/links`).
//!
//! `ULVS_COMBINATION=LINK/WORKERS/OFFLOADS` (`tun/2/off`); without it every director has its defaults. What a test asks
//! for itself stays as it asks. `tests/combinations.txt` lists the tests that a combination leaves out, and why.

use std::sync::OnceLock;

use super::lab::Host;
use super::topology::{FLAT_VIP, VIP};

/// The TUN device of every director of a run with that link.
pub(crate) const TUN: &str = "ulvs0";
/// The routing table that leads into it.
const TABLE: u32 = 7100;

/// Every link that runs are made with, and what directors have for it; a new one goes here and into `scripts/links`.
const LINKS: [(&str, &str); 5] = [
    ("af-packet", "link = \"af-packet\""),
    ("assist", "link = \"af-packet\"\nassist = \"all\""),
    ("no-assist", "link = \"af-packet\"\nassist = \"off\""),
    ("af-xdp", "link = \"af-xdp\""),
    ("tun", "link = \"tun\""),
];

/// What every director of the run has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Combination {
    /// The link's name, and the configuration's keys for it.
    link: (&'static str, &'static str),
    /// The configuration's `workers`.
    workers: u32,
    /// Whether interfaces keep their offloads; `lab` turns them off where not.
    offloads: bool,
}

impl Combination {
    /// That of this run; `None` = the defaults.
    pub(crate) fn of_this_run() -> Option<&'static Self> {
        static THIS: OnceLock<Option<Combination>> = OnceLock::new();
        let read = || {
            let text = std::env::var("ULVS_COMBINATION").ok()?;
            Some(Self::parse(&text).unwrap_or_else(|| {
                panic!(
                    "ULVS_COMBINATION={text} is not LINK/WORKERS/OFFLOADS, such as af-packet/2/off"
                )
            }))
        };
        THIS.get_or_init(read).as_ref()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (link, workers, offloads) = (parts.next()?, parts.next()?, parts.next()?);
        let link = LINKS.into_iter().find(|(name, _)| *name == link)?;
        Some(Self {
            link,
            workers: workers.parse().ok()?,
            offloads: match offloads {
                "on" => true,
                "off" => false,
                _ => return None,
            },
        })
        .filter(|_| parts.next().is_none())
    }

    /// The configuration of a director on `interfaces` of `host`, whose machine is made ready for it.
    pub(crate) fn director(&self, host: &Host, interfaces: &[String], config: &str) -> String {
        let has = |key: &str| config.lines().any(|line| line.starts_with(key));
        if has("link =") || has("assist =") || config.contains("[[interface]]") {
            return config.to_owned();
        }
        let mut config = config.to_owned();
        let (link, keys) = self.link;
        let mut keys = vec![keys.to_owned()];
        if link == "tun" {
            let several = self.workers > 1 || has("workers =") && !has("workers = 1");
            route_into_tun(host, interfaces, several);
            let named = config
                .lines()
                .find(|line| line.starts_with("interfaces = "));
            let named = named.unwrap_or_default().to_owned();
            config = config.replacen(&named, &format!("interfaces = [\"{TUN}\"]"), 1);
        }
        if !has("workers =") {
            keys.push(format!("workers = {}", self.workers));
        }
        if !self.offloads && !has("gro =") {
            // The director's own interfaces would gather segments again.
            keys.push("gro = \"leave\"".to_owned());
        }
        // Behind the keys that are no section's, so that lines keep their numbers.
        let sections = config.find("\n[").map_or(config.len(), |at| at + 1);
        config.insert_str(sections, &format!("{}\n", keys.join("\n")));
        config
    }
}

/// Has the host route into a TUN device whatever comes by the interfaces and is not its own, and answer for the VIPs,
/// which are nobody's address then. The device stays when a director ends, as do its routes.
fn route_into_tun(host: &Host, interfaces: &[String], several_queues: bool) {
    if host
        .try_shell(&format!("ip link show {TUN}"))
        .status
        .success()
    {
        return;
    }
    host.forwards();
    let queues = if several_queues { "multi_queue" } else { "" };
    host.ip(&format!("tuntap add {TUN} mode tun {queues}"));
    host.ip(&format!("link set {TUN} up"));
    for family in ["-4", "-6"] {
        host.ip(&format!(
            "{family} route add default dev {TUN} table {TABLE}"
        ));
        for interface in interfaces {
            host.ip(&format!("{family} rule add iif {interface} lookup {TABLE}"));
        }
    }
    host.sysctl("net.ipv6.conf.all.proxy_ndp", "1");
    for interface in interfaces {
        host.sysctl(&format!("net.ipv6.conf.{interface}.proxy_ndp"), "1");
        // The host would tell clients of a shorter way than through the director.
        host.sysctl(&format!("net.ipv4.conf.{interface}.send_redirects"), "0");
        host.sysctl(&format!("net.ipv4.conf.{TUN}.send_redirects"), "0");
        host.sysctl("net.ipv4.conf.all.send_redirects", "0");
        for vip in VIP.iter().chain(&FLAT_VIP) {
            host.ip(&format!("neigh add proxy {vip} dev {interface}"));
        }
    }
}

#[test]
fn combinations_are_read() {
    let read = |text| Combination::parse(text).map(|run| (run.link.0, run.workers, run.offloads));
    assert_eq!(read("tun/2/off"), Some(("tun", 2, false)));
    assert_eq!(read("assist/1/on"), Some(("assist", 1, true)));
    for text in [
        "",
        "tun",
        "tun/2",
        "tun/two/on",
        "tun/2/maybe",
        "pigeon/1/on",
        "tun/1/on/off",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}
