//! Services and destinations as `-S` writes them, and the texts that listings share with it.
//!
//! As the real `-S` this loses connection thresholds; [`crate::state`] is what loses nothing.

use core::fmt::Write as _;
use core::net::{IpAddr, Ipv6Addr};

use super::Names;
use crate::netlink::{
    DestKey, DestReply, FORWARD_MASQUERADE, FORWARD_TUNNEL, Netmask, SERVICE_ONE_PACKET,
    SERVICE_PERSISTENT, SERVICE_SCHED_1, SERVICE_SCHED_2, SERVICE_SCHED_3, ServiceKey,
    ServiceReply, TUNNEL_CSUM, TUNNEL_GRE, TUNNEL_GUE, TUNNEL_IPIP, TUNNEL_NOCSUM, TUNNEL_REMCSUM,
};

/// An address as `inet_ntop` writes it. Differs from std for `::a.b.c.d`.
#[must_use]
pub fn address_text(address: IpAddr) -> String {
    match address {
        IpAddr::V6(v6) => ipv6_text(v6),
        IpAddr::V4(v4) => v4.to_string(),
    }
}

fn ipv6_text(address: Ipv6Addr) -> String {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            format!("::{a}.{b}.{c}.{d}")
        }
        _ => address.to_string(),
    }
}

/// `address:port`, IPv6 in brackets; names instead of numbers as far as `names` knows them. At most 59
/// characters, which is the real one's buffer.
#[must_use]
pub fn endpoint_text(address: IpAddr, port: u16, protocol: u16, names: &dyn Names) -> String {
    let host = names
        .host_name(address)
        .unwrap_or_else(|| address_text(address));
    let port = names
        .service_name(port, protocol)
        .unwrap_or_else(|| port.to_string());
    let mut text = match address {
        IpAddr::V4(_) => format!("{host}:{port}"),
        IpAddr::V6(_) => format!("[{host}]:{port}"),
    };
    text.truncate(text.floor_char_boundary(59));
    text
}

/// `-t 10.8.0.1:80`, `-f 5 -6`: the options that name a service. A mark is written as a signed
/// number, as the real one does.
fn service_options(key: ServiceKey, names: &dyn Names) -> String {
    match key {
        ServiceKey::Mark { mark, .. } => {
            let six = if key.family().number() == 10 {
                " -6"
            } else {
                ""
            };
            format!("-f {}{six}", mark.cast_signed())
        }
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            let option = match protocol {
                6 => "-t",
                17 => "-u",
                132 => "--sctp-service",
                _ => "--xxx-service",
            };
            format!("{option} {}", endpoint_text(address, port, protocol, names))
        }
    }
}

/// `address:port` of a destination, as [`endpoint_text`]. Ports behind a firewall mark have no names:
/// there is no protocol to look them up by.
#[must_use]
pub fn dest_text(service: ServiceKey, dest: DestKey, names: &dyn Names) -> String {
    let protocol = match service {
        ServiceKey::Address { protocol, .. } => protocol,
        ServiceKey::Mark { .. } => 0,
    };
    endpoint_text(dest.address, dest.port, protocol, names)
}

/// The names of the scheduler flags, separated by commas; `None` if no flag is set. The real program
/// has no name for the third flag of sh and mh and leaves it out.
#[must_use]
pub fn scheduler_flags_text(scheduler: &str, flags: u32) -> Option<String> {
    let names = match scheduler {
        "sh" => [Some("sh-fallback"), Some("sh-port"), None],
        "mh" => [Some("mh-fallback"), Some("mh-port"), None],
        _ => [Some("flag-1"), Some("flag-2"), Some("flag-3")],
    };
    let bits = [SERVICE_SCHED_1, SERVICE_SCHED_2, SERVICE_SCHED_3];
    if bits.iter().all(|bit| flags & bit == 0) {
        return None;
    }
    let set = bits.iter().zip(names).filter(|(bit, _)| flags & *bit != 0);
    Some(
        set.filter_map(|(_, name)| name)
            .collect::<Vec<_>>()
            .join(","),
    )
}

/// The `-A` line of a service, without a line feed.
#[must_use]
pub fn service_line(service: &ServiceReply, names: &dyn Names) -> String {
    let settings = &service.settings;
    let flags = settings.flags.value;
    let options = service_options(service.key, names);
    let mut line = format!("-A {options} -s {}", settings.scheduler);
    // Writing to a String cannot fail.
    if flags & SERVICE_PERSISTENT != 0 {
        let _ = write!(line, " -p {}", settings.timeout);
        let _ = match settings.netmask {
            Netmask::V4(mask) if !mask.is_broadcast() => write!(line, " -M {mask}"),
            Netmask::V6(prefix) if prefix != 128 => write!(line, " -M {prefix}"),
            _ => Ok(()),
        };
    }
    if let Some(engine) = &settings.engine {
        let _ = write!(line, " --pe {engine}");
    }
    if flags & SERVICE_ONE_PACKET != 0 {
        line.push_str(" -o");
    }
    if let Some(names) = scheduler_flags_text(&settings.scheduler, flags) {
        let _ = write!(line, " -b {names}");
    }
    line
}

/// The `-a` line of a destination, without a line feed.
#[must_use]
pub fn dest_line(service: ServiceKey, dest: &DestReply, names: &dyn Names) -> String {
    let settings = &dest.settings;
    let server = dest_text(service, dest.key, names);
    let method = match settings.forward {
        FORWARD_MASQUERADE => "-m",
        FORWARD_TUNNEL => "-i",
        _ => "-g",
    };
    let options = service_options(service, names);
    let mut line = format!("-a {options} -r {server} {method} -w {}", settings.weight);
    if settings.forward == FORWARD_TUNNEL {
        let _ = match settings.tunnel_type {
            TUNNEL_IPIP => write!(line, " --tun-type ipip"),
            TUNNEL_GUE => write!(line, " --tun-type gue --tun-port {}", settings.tunnel_port),
            TUNNEL_GRE => write!(line, " --tun-type gre"),
            _ => Ok(()),
        };
        if matches!(settings.tunnel_type, TUNNEL_GUE | TUNNEL_GRE) {
            line.push_str(match settings.tunnel_flags {
                TUNNEL_NOCSUM => " --tun-nocsum",
                TUNNEL_CSUM => " --tun-csum",
                TUNNEL_REMCSUM => " --tun-remcsum",
                _ => "",
            });
        }
    }
    line
}
