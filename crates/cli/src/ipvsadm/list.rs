//! `-L` and `-S`: services, destinations, timeouts, daemons.

use control::netlink::{
    DaemonAttrs, DestReply, FORWARD_BYPASS, FORWARD_LOCAL, FORWARD_MASQUERADE, FORWARD_TUNNEL,
    Info, Netmask, Reply, Request, SERVICE_ONE_PACKET, SERVICE_PERSISTENT, ServiceAttrs,
    ServiceKey, ServiceReply, SyncState, TUNNEL_CSUM, TUNNEL_GRE, TUNNEL_GUE, TUNNEL_IPIP,
    TUNNEL_NOCSUM, TUNNEL_REMCSUM, Timeouts,
};
use control::rules::{
    Command, Format, Listing, Names, address_text, dest_line, dest_text, endpoint_text,
    scheduler_flags_text, service_line,
};

use super::failure::Failed;
use super::{Session, connections, order};

/// Columns of a service's name; an IPv4 one is cut there.
const SERVICE_WIDTH: usize = 33;
/// Columns of a destination's name; an IPv4 one is cut there.
const DEST_WIDTH: usize = 28;

impl Session<'_> {
    pub(super) fn list(&mut self, listing: Listing, format: Format) -> Result<(), Failed> {
        let text = match listing {
            Listing::All => {
                let header = self.version_line()?;
                // The real one has printed this when the rest fails.
                self.print(&header);
                self.all_services(format)?
            }
            Listing::Service(key) => self.one_service(key, format)?,
            Listing::Connections => {
                let entries = self.ask(&Request::DumpConnections, listing, format)?;
                let listed = connections::list(&entries, format, self.names(format));
                let _ = self.out.write_all(&listed.text);
                if listed.fails {
                    return Err(Failed::silent());
                }
                return Ok(());
            }
            Listing::Timeouts => timeouts(&self.ask(&Request::GetConfig, listing, format)?),
            Listing::Daemons => daemons(&self.ask(&Request::DumpDaemons, listing, format)?),
        };
        self.print(&text);
        Ok(())
    }

    /// `-S`.
    pub(super) fn print_rules(&mut self, format: Format) -> Result<(), Failed> {
        let mut text = String::new();
        for service in self.services(format)? {
            let dests = self.dests(service.key, format)?;
            let names = self.names(format);
            text.push_str(&service_line(&service, names));
            text.push('\n');
            for dest in dests {
                text.push_str(&dest_line(service.key, &dest, names));
                text.push('\n');
            }
        }
        self.print(&text);
        Ok(())
    }

    fn print(&mut self, text: &str) {
        // As printf of the real one, this does not look back.
        let _ = self.out.write_all(text.as_bytes());
    }

    fn ask(
        &mut self,
        request: &Request,
        listing: Listing,
        format: Format,
    ) -> Result<Vec<Reply>, Failed> {
        let command = Command::List(listing, format);
        self.client
            .ask(request)
            .map_err(|failure| Failed::listing(&command, failure))
    }

    fn version_line(&mut self) -> Result<String, Failed> {
        let replies = self.ask(&Request::GetInfo, Listing::All, Format::default())?;
        let info = replies.iter().find_map(|reply| match reply {
            Reply::Info(info) => Some(*info),
            _ => None,
        });
        let Info {
            version,
            table_size,
        } = info.unwrap_or_default();
        let [_, major, minor, patch] = version.to_be_bytes();
        Ok(format!(
            "IP Virtual Server version {major}.{minor}.{patch} (size={table_size})\n"
        ))
    }

    /// All services in listing order.
    fn services(&mut self, format: Format) -> Result<Vec<ServiceReply>, Failed> {
        let replies = self.ask(&Request::DumpServices, Listing::All, format)?;
        let services = replies.into_iter().filter_map(|reply| match reply {
            Reply::Service(service) => Some(service),
            _ => None,
        });
        let services = services.collect();
        Ok(if format.no_sort {
            services
        } else {
            order::services(services)
        })
    }

    /// A service's destinations in listing order.
    fn dests(&mut self, key: ServiceKey, format: Format) -> Result<Vec<DestReply>, Failed> {
        let request = Request::DumpDests(ServiceAttrs::from_key(key));
        let replies = self.ask(&request, Listing::Service(key), format)?;
        let dests = replies.into_iter().filter_map(|reply| match reply {
            Reply::Dest(dest) => Some(dest),
            _ => None,
        });
        let dests = dests.collect();
        Ok(if format.no_sort {
            dests
        } else {
            order::dests(dests)
        })
    }

    fn all_services(&mut self, format: Format) -> Result<String, Failed> {
        let mut text = title(format);
        for service in self.services(format)? {
            self.service(&service, format, &mut text)?;
        }
        Ok(text)
    }

    fn one_service(&mut self, key: ServiceKey, format: Format) -> Result<String, Failed> {
        let listing = Listing::Service(key);
        let request = Request::GetService(ServiceAttrs::from_key(key));
        let mut text = title(format);
        for reply in self.ask(&request, listing, format)? {
            if let Reply::Service(service) = reply {
                self.service(&service, format, &mut text)?;
            }
        }
        Ok(text)
    }

    fn service(
        &mut self,
        service: &ServiceReply,
        format: Format,
        text: &mut String,
    ) -> Result<(), Failed> {
        let dests = self.dests(service.key, format)?;
        let names = self.names(format);
        text.push_str(&service_entry(service, format, names));
        for dest in dests {
            text.push_str(&dest_entry(service.key, &dest, format, names));
        }
        Ok(())
    }
}

/// The column titles. What is asked for first in this order wins.
fn title(format: Format) -> String {
    let local = "Prot LocalAddress:Port";
    let remote = "  -> RemoteAddress:Port";
    if format.stats || format.rate {
        let [a, b, c, d, e] = if format.stats {
            ["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"]
        } else {
            ["CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"]
        };
        format!("{local:<33} {a:>8} {b:>8} {c:>8} {d:>8} {e:>8}\n{remote}\n")
    } else if format.thresholds {
        let [a, b, c, d] = ["Uthreshold", "Lthreshold", "ActiveConn", "InActConn"];
        format!("{local:<33} {a:<10} {b:<10} {c:<10} {d:<10}\n{remote}\n")
    } else if format.persistent_connections {
        let [a, b, c, d] = ["Weight", "PersistConn", "ActiveConn", "InActConn"];
        format!("{local:<33} {a:<9} {b:<11} {c:<10} {d:<10}\n{remote}\n")
    } else {
        let tunnel = if format.tunnel_info {
            "TunnelInfo    "
        } else {
            ""
        };
        format!(
            "{local} Scheduler Flags\n\
             {remote}           Forward {tunnel}Weight ActiveConn InActConn\n"
        )
    }
}

/// `TCP  10.8.0.1:80`, `FWM  5 IPv6`.
fn service_name(key: ServiceKey, names: &dyn Names) -> String {
    match key {
        ServiceKey::Mark { mark, .. } => {
            let six = if key.family().number() == 10 {
                " IPv6"
            } else {
                ""
            };
            format!("FWM  {}{six}", mark.cast_signed())
        }
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            let kind = match protocol {
                6 => "TCP",
                17 => "UDP",
                132 => "SCTP",
                _ => "???",
            };
            let name = endpoint_text(address, port, protocol, names);
            let text = format!("{kind:<4} {name}");
            if address.is_ipv4() {
                cut(text, SERVICE_WIDTH)
            } else {
                text
            }
        }
    }
}

fn cut(mut text: String, width: usize) -> String {
    text.truncate(text.floor_char_boundary(width));
    text
}

fn service_entry(service: &ServiceReply, format: Format, names: &dyn Names) -> String {
    let name = service_name(service.key, names);
    let statistics = &service.statistics;
    if format.stats {
        let numbers = counters(statistics)
            .map(|number| large(number, format))
            .concat();
        return format!("{name:<SERVICE_WIDTH$}{numbers}\n");
    }
    if format.rate {
        let numbers = rates(statistics)
            .map(|number| large(number, format))
            .concat();
        return format!("{name:<SERVICE_WIDTH$}{numbers}\n");
    }
    let settings = &service.settings;
    let flags = settings.flags.value;
    let mut text = format!("{name} {}", settings.scheduler);
    let scheduler_flags = scheduler_flags_text(&settings.scheduler, flags);
    if let Some(names) = scheduler_flags {
        text.push_str(&format!(" ({names})"));
    }
    if flags & SERVICE_PERSISTENT != 0 {
        text.push_str(&format!(" persistent {}", settings.timeout));
        match settings.netmask {
            Netmask::V4(mask) if !mask.is_broadcast() => text.push_str(&format!(" mask {mask}")),
            Netmask::V6(prefix) if prefix != 128 => text.push_str(&format!(" mask {prefix}")),
            _ => {}
        }
        if let Some(engine) = &settings.engine {
            text.push_str(&format!(" pe {engine}"));
        }
    }
    if flags & SERVICE_ONE_PACKET != 0 {
        text.push_str(" ops");
    }
    text.push('\n');
    text
}

fn counters(statistics: &control::netlink::Statistics) -> [u64; 5] {
    [
        statistics.connections,
        statistics.in_packets,
        statistics.out_packets,
        statistics.in_bytes,
        statistics.out_bytes,
    ]
}

fn rates(statistics: &control::netlink::Statistics) -> [u64; 5] {
    [
        statistics.connection_rate,
        statistics.in_packet_rate,
        statistics.out_packet_rate,
        statistics.in_byte_rate,
        statistics.out_byte_rate,
    ]
}

fn dest_entry(service: ServiceKey, dest: &DestReply, format: Format, names: &dyn Names) -> String {
    let name = dest_text(service, dest.key, names);
    let name = if dest.key.address.is_ipv4() {
        cut(name, DEST_WIDTH)
    } else {
        name
    };
    let name = format!("  -> {name:<DEST_WIDTH$}");
    let settings = &dest.settings;
    let (active, inactive) = (dest.active_connections, dest.inactive_connections);
    if format.stats {
        let numbers = counters(&dest.statistics)
            .map(|number| large(number, format))
            .concat();
        format!("{name}{numbers}\n")
    } else if format.rate {
        let [connections, in_packets, out_packets, in_bytes, out_bytes] = rates(&dest.statistics);
        let bytes = large(in_bytes, format) + &large(out_bytes, format);
        format!("{name} {connections:>8} {in_packets:>8} {out_packets:>8}{bytes}\n")
    } else if format.thresholds {
        let (upper, lower) = (settings.upper_threshold, settings.lower_threshold);
        format!("{name} {upper:<10} {lower:<10} {active:<10} {inactive:<10}\n")
    } else if format.persistent_connections {
        let weight = settings.weight.cast_unsigned();
        let templates = dest.persistent_connections;
        format!("{name} {weight:<9} {templates:<11} {active:<10} {inactive:<10}\n")
    } else {
        let weight = settings.weight;
        let tunnel = if format.tunnel_info {
            format!("{:<13} ", tunnel_info(dest))
        } else {
            String::new()
        };
        let method = forward_name(settings.forward);
        format!("{name} {method:<7} {tunnel}{weight:<6} {active:<10} {inactive:<10}\n")
    }
}

fn forward_name(forward: u32) -> &'static str {
    match forward {
        FORWARD_MASQUERADE => "Masq",
        FORWARD_LOCAL => "Local",
        FORWARD_TUNNEL => "Tunnel",
        FORWARD_BYPASS => "Bypass",
        _ => "Route",
    }
}

fn tunnel_info(dest: &DestReply) -> String {
    let settings = &dest.settings;
    let checksum = match settings.tunnel_flags {
        TUNNEL_NOCSUM => "-c",
        TUNNEL_CSUM => "+c",
        TUNNEL_REMCSUM => "r+c",
        _ => "?",
    };
    match (settings.forward, settings.tunnel_type) {
        (FORWARD_TUNNEL, TUNNEL_IPIP) => "ipip".to_owned(),
        (FORWARD_TUNNEL, TUNNEL_GUE) => format!("gue:{}:{checksum}", settings.tunnel_port),
        (FORWARD_TUNNEL, TUNNEL_GRE) => format!("gre:{checksum}"),
        _ => "n/a".to_owned(),
    }
}

/// A number in nine columns, with a unit where it would not fit; in full with `--exact`.
fn large(number: u64, format: Format) -> String {
    let (number, unit) = match number {
        _ if format.exact => {
            let digits = number.to_string();
            return if digits.len() <= 8 {
                format!("{digits:>9}")
            } else {
                format!(" {digits}")
            };
        }
        0..100_000_000 => return format!("{number:>9}"),
        100_000_000..1_000_000_000 => (number / 1000, 'K'),
        1_000_000_000..100_000_000_000 => (number / 1_000_000, 'M'),
        100_000_000_000..100_000_000_000_000 => (number / 1_000_000_000, 'G'),
        _ => (number / 1_000_000_000_000, 'T'),
    };
    format!("{number:>8}{unit}")
}

fn timeouts(replies: &[Reply]) -> String {
    let found = replies.iter().find_map(|reply| match reply {
        Reply::Config(timeouts) => Some(*timeouts),
        _ => None,
    });
    let Timeouts { tcp, tcp_fin, udp } = found.unwrap_or_default();
    let [tcp, tcp_fin, udp] = [tcp, tcp_fin, udp].map(Option::unwrap_or_default);
    format!("Timeout (tcp tcpfin udp): {tcp} {tcp_fin} {udp}\n")
}

fn daemons(replies: &[Reply]) -> String {
    let mut text = String::new();
    for (state, name) in [(SyncState::Master, "master"), (SyncState::Backup, "backup")] {
        for reply in replies {
            match reply {
                Reply::Daemon(daemon) if daemon.state == Some(state.number()) => {
                    text.push_str(&daemon_line(name, daemon));
                }
                _ => {}
            }
        }
    }
    text
}

/// What is not set is not shown.
fn daemon_line(name: &str, daemon: &DaemonAttrs) -> String {
    let interface = daemon.interface.as_deref().unwrap_or_default();
    let id = daemon.sync_id.unwrap_or_default();
    let mut text = format!("{name} sync daemon (mcast={interface}, syncid={id}");
    if let Some(length) = daemon.max_length.filter(|length| *length != 0) {
        text.push_str(&format!(", maxlen={length}"));
    }
    if let Some(group) = daemon.group.filter(|group| !group.is_unspecified()) {
        text.push_str(&format!(", group={}", address_text(group)));
    }
    if let Some(port) = daemon.port.filter(|port| *port != 0) {
        text.push_str(&format!(", port={port}"));
    }
    if let Some(ttl) = daemon.ttl.filter(|ttl| *ttl != 0) {
        text.push_str(&format!(", ttl={ttl}"));
    }
    text + ")\n"
}
