//! The texts of `/proc/net/ip_vs*`, as Linux 6.1 prints them, for the tools that read them.
//!
//! Promises: pure functions of the tables; the kernel's columns to the space. Never orders anything: services and connections stand in the order given (the kernel's is that of its
//! hash tables, which nobody may rely on), real servers in list order.

use core::fmt::Write as _;
use core::net::IpAddr;

use director::destination::{Destination, Method};
use director::protocol::Protocol;
use director::service::{FLAG_ONE_PACKET, Service, ServiceKey};
use director::shared::Shared;
use director::stats::{Counters, Stats};
use director::sync::FLAG_SYNC;
use packet::Family;

use crate::netlink::{CONNECTION_TABLE_SIZE, ConnectionEntry, IPVS_VERSION};

/// Port of the FTP helper.
const FTP_PORT: u16 = 21;
/// IP_VS_CONN_F_FWD_MASK: the forwarding method's number in an entry's flags.
const METHOD_MASK: u32 = 7;
/// Ticks in a second of the recorded kernel: `ip_vs` tells persistence timeouts in ticks.
const HZ: u32 = 100;

/// Names of the texts, below `/proc/net` in the kernel.
pub const TEXTS: [&str; 6] = [
    "ip_vs",
    "ip_vs_app",
    "ip_vs_conn",
    "ip_vs_conn_sync",
    "ip_vs_stats",
    "ip_vs_stats_percpu",
];

/// The text of this name, as it is now; `None` when there is none. `entries` tells connections and templates, and is
/// asked only for the texts about them.
#[must_use]
pub fn text(
    name: &str,
    shared: &Shared,
    entries: impl FnOnce() -> Vec<ConnectionEntry>,
) -> Option<String> {
    Some(match name {
        "ip_vs" => {
            let ordered = shared.snapshot().in_order();
            services(ordered.iter().map(|service| &**service))
        }
        "ip_vs_app" => applications(&entries()),
        "ip_vs_conn" => connections(&entries()),
        "ip_vs_conn_sync" => connections_sync(&entries()),
        "ip_vs_stats" => stats(&shared.stats),
        "ip_vs_stats_percpu" => stats_percpu(&shared.stats),
        _ => return None,
    })
}

/// `/proc/net/ip_vs`: services and their real servers.
#[must_use]
pub fn services<'a>(services: impl IntoIterator<Item = &'a Service>) -> String {
    let [_, major, minor, patch] = IPVS_VERSION.to_be_bytes();
    let mut text = format!(
        "IP Virtual Server version {major}.{minor}.{patch} (size={CONNECTION_TABLE_SIZE})\n\
         Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
    );
    for service in services {
        put_service(&mut text, service);
        for destination in service.destinations.iter() {
            put_destination(&mut text, destination);
        }
    }
    text
}

fn put_service(text: &mut String, service: &Service) {
    let config = &service.config;
    let scheduler = &config.scheduler;
    let one_packet = if config.flags & FLAG_ONE_PACKET != 0 {
        "ops "
    } else {
        ""
    };
    match config.key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            let (name, endpoint) = (protocol.name(), bracketed(address));
            let _ = write!(text, "{name}  {endpoint}:{port:04X} {scheduler} ");
            // The kernel has the flag's column for IPv4 alone.
            if address.is_ipv4() {
                let _ = write!(text, "{one_packet} ");
            }
        }
        ServiceKey::Mark { mark, .. } => {
            let _ = write!(text, "FWM  {mark:08X} {scheduler} {one_packet}");
        }
    }
    if config.is_persistent() {
        let mask = match config.key.family() {
            Family::V4 => config.netmask,
            // A prefix length in host order that the kernel prints as if it were in network order.
            Family::V6 => u32::from_be(config.netmask.to_le()),
        };
        let ticks = config.timeout.wrapping_mul(HZ);
        let _ = write!(text, "persistent {ticks} {mask:08X}");
    }
    text.push('\n');
}

fn put_destination(text: &mut String, destination: &Destination) {
    let method = match destination.method() {
        Method::Local => "Local",
        Method::Tunnel => "Tunnel",
        Method::DirectRoute => "Route",
        Method::Masq | Method::Bypass => "Masq",
    };
    let _ = writeln!(
        text,
        "  -> {}:{:04X}      {method:<7} {:<6} {:<10} {:<10}",
        bracketed(destination.address),
        destination.port,
        destination.weight(),
        destination.active(),
        destination.inactive(),
    );
}

/// `/proc/net/ip_vs_conn`: connections and persistence templates.
#[must_use]
pub fn connections<'a>(entries: impl IntoIterator<Item = &'a ConnectionEntry>) -> String {
    let mut text = String::from(
        "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n",
    );
    for entry in entries {
        put_endpoints(&mut text, entry);
        let _ = write!(text, " {:<11} {:7}", entry.state, entry.expires_ms / 1000);
        if let Some((name, data)) = &entry.engine {
            let _ = write!(text, " {name} {}", String::from_utf8_lossy(data));
        }
        text.push('\n');
    }
    text
}

/// `/proc/net/ip_vs_conn_sync`: the same, and which entries another director sent.
#[must_use]
pub fn connections_sync<'a>(entries: impl IntoIterator<Item = &'a ConnectionEntry>) -> String {
    let mut text =
        String::from("Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n");
    for entry in entries {
        put_endpoints(&mut text, entry);
        let origin = if entry.flags & FLAG_SYNC != 0 {
            "SYNC"
        } else {
            "LOCAL"
        };
        let _ = writeln!(
            text,
            " {:<11} {origin:<6} {:7}",
            entry.state,
            entry.expires_ms / 1000
        );
    }
    text
}

/// `/proc/net/ip_vs_app`: the helpers (there is the one for FTP) and how many connections each has. The kernel gives
/// a connection its helper by protocol, virtual port and method alone.
#[must_use]
pub fn applications<'a>(entries: impl IntoIterator<Item = &'a ConnectionEntry>) -> String {
    let uses_ftp = |entry: &&ConnectionEntry| {
        entry.protocol == u16::from(Protocol::Tcp.number())
            && entry.virtual_port == FTP_PORT
            && entry.flags & METHOD_MASK == Method::Masq as u32
    };
    let users = entries.into_iter().filter(uses_ftp).count();
    format!(
        "prot port    usecnt name\nTCP  {FTP_PORT:<7} {users:<6} {:<17}\n",
        "ftp"
    )
}

/// Protocol, client, virtual endpoint and real server.
fn put_endpoints(text: &mut String, entry: &ConnectionEntry) {
    let protocol = match entry.protocol {
        6 => "TCP",
        17 => "UDP",
        132 => "SCTP",
        _ => "IP",
    };
    let _ = write!(
        text,
        "{protocol:<3} {} {:04X} {} {:04X} {} {:04X}",
        bare(entry.client),
        entry.client_port,
        bare(entry.virtual_address),
        entry.virtual_port,
        bare(entry.destination),
        entry.destination_port,
    );
}

/// `/proc/net/ip_vs_stats`: counters and rates of the whole director, hexadecimal.
#[must_use]
pub fn stats(stats: &Stats) -> String {
    let mut text = String::from(
        "   Total Incoming Outgoing         Incoming         Outgoing\n   \
         Conns  Packets  Packets            Bytes            Bytes\n",
    );
    let _ = writeln!(text, "{}\n", columns(&stats.shown()));
    text.push_str(" Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n");
    let _ = writeln!(text, "{}", rates(stats));
    text
}

/// `/proc/net/ip_vs_stats_percpu`: the same with the counters of each worker, which stands for a processor.
#[must_use]
pub fn stats_percpu(stats: &Stats) -> String {
    let mut text = String::from(
        "       Total Incoming Outgoing         Incoming         Outgoing\n\
         CPU    Conns  Packets  Packets            Bytes            Bytes\n",
    );
    for (worker, counters) in stats.by_worker().enumerate() {
        let _ = writeln!(text, "{worker:3X} {}", columns(&counters));
    }
    let _ = writeln!(text, "  ~ {}\n", columns(&stats.shown()));
    text.push_str("     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n");
    let _ = writeln!(text, "    {}", rates(stats));
    text
}

fn columns(counters: &Counters) -> String {
    format!(
        "{:8X} {:8X} {:8X} {:16X} {:16X}",
        counters.connections,
        counters.in_packets,
        counters.out_packets,
        counters.in_bytes,
        counters.out_bytes
    )
}

fn rates(stats: &Stats) -> String {
    let rates = stats.rates();
    columns(&Counters {
        connections: rates.connections,
        in_packets: rates.in_packets,
        out_packets: rates.out_packets,
        in_bytes: rates.in_bytes,
        out_bytes: rates.out_bytes,
    })
}

/// `C0A80001`, or `fd00:0008:...` in full (`%pI6`).
fn bare(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{:08X}", address.to_bits()),
        IpAddr::V6(address) => address
            .segments()
            .map(|segment| format!("{segment:04x}"))
            .join(":"),
    }
}

/// [`bare`], an IPv6 address in brackets.
fn bracketed(address: IpAddr) -> String {
    let text = bare(address);
    if address.is_ipv6() {
        format!("[{text}]")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use director::destination::{DestinationConfig, TunnelConfig};
    use director::service::{FLAG_PERSISTENT, ServiceConfig};
    use director::shared::{Options, Shared};

    use super::*;

    fn service(address: &str, flags: u32, netmask: u32) -> ServiceConfig {
        ServiceConfig {
            key: ServiceKey::Address {
                protocol: Protocol::Udp,
                address: address.parse().unwrap(),
                port: 53,
            },
            scheduler: "rr".to_owned(),
            flags,
            timeout: 300,
            netmask,
            persistence_engine: None,
        }
    }

    #[test]
    fn every_text_has_a_name_and_nothing_else_has() {
        let shared = Shared::new(Options::default());
        for name in TEXTS {
            assert!(text(name, &shared, Vec::new).is_some(), "{name}");
        }
        assert_eq!(text("ip_vs_ext", &shared, Vec::new), None);
    }

    #[test]
    fn services_stand_in_the_kernels_columns() {
        let shared = Shared::new(Options {
            workers: 1,
            seed: (1, 2),
            ..Options::default()
        });
        let flags = FLAG_ONE_PACKET | FLAG_PERSISTENT;
        let v4 = service("10.8.0.1", flags, u32::MAX);
        let v6 = service("fd00:8::1", FLAG_PERSISTENT, 64);
        shared.add_service(v4.clone()).unwrap();
        shared.add_service(v6).unwrap();
        let destination = DestinationConfig {
            address: "10.2.0.11".parse().unwrap(),
            port: 53,
            method: Method::DirectRoute,
            tunnel: TunnelConfig::default(),
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
        };
        shared.add_destination(&v4.key, &destination).unwrap();
        let snapshot = shared.snapshot();
        let list = snapshot.in_order();
        let text = services(list.iter().map(|service| &**service));
        assert_eq!(
            text,
            "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
UDP  0A080001:0035 rr ops  persistent 30000 FFFFFFFF
  -> 0A02000B:0035      Route   1      0          0         \n\
UDP  [fd00:0008:0000:0000:0000:0000:0000:0001]:0035 rr persistent 30000 40000000
"
        );
    }

    #[test]
    fn connections_stand_in_the_kernels_columns() {
        let entry = ConnectionEntry {
            protocol: 17,
            client: "192.0.2.11".parse().unwrap(),
            client_port: 0,
            virtual_address: "10.8.0.1".parse().unwrap(),
            virtual_port: 5060,
            destination: "10.2.0.12".parse().unwrap(),
            destination_port: 5060,
            state: "NONE".to_owned(),
            expires_ms: 99_999,
            flags: FLAG_SYNC,
            engine: Some(("sip".to_owned(), b"aaa@h1".to_vec())),
        };
        assert_eq!(
            connections([&entry]).lines().nth(1),
            Some("UDP C000020B 0000 0A080001 13C4 0A02000C 13C4 NONE             99 sip aaa@h1")
        );
        assert_eq!(
            connections_sync([&entry]).lines().nth(1),
            Some("UDP C000020B 0000 0A080001 13C4 0A02000C 13C4 NONE        SYNC        99")
        );
    }

    #[test]
    fn counters_are_hexadecimal() {
        let stats = Stats::new(1);
        stats.count_connection(0);
        stats.count_in(0, 2640);
        stats.estimate();
        assert_eq!(
            stats_percpu(&stats).lines().nth(2),
            Some("  0        1        1        0              A50                0")
        );
        assert!(super::stats(&stats).contains("\n       1        1        0              A50"));
    }
}
