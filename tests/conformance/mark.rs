//! Firewall marks as the recordings make them: `iptables -t mangle -A PREROUTING MATCHES -j MARK`.

use std::net::IpAddr;

use director::net::route;

use crate::decode::be16;
use crate::host::prefix;
use crate::recording::Port;

/// Rules of the mangle table's PREROUTING chain, both families, in order.
#[derive(Debug, Default)]
pub(crate) struct MarkRules {
    rules: Vec<Rule>,
}

/// One rule; a match that is not given matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rule {
    v6: bool,
    interface: Option<String>,
    source: Option<(IpAddr, u8)>,
    destination: Option<(IpAddr, u8)>,
    protocol: Option<u8>,
    source_ports: Option<(u16, u16)>,
    destination_ports: Option<(u16, u16)>,
    mark: u32,
}

impl MarkRules {
    /// Does what an `iptables` or `ip6tables` command says.
    ///
    /// # Errors
    /// A sentence for an argv that the model does not know.
    pub(crate) fn command(&mut self, v6: bool, arguments: &[&str]) -> Result<(), String> {
        let unknown = || {
            format!(
                "the host model does not know: iptables {}",
                arguments.join(" ")
            )
        };
        if matches!(arguments, ["-t", "mangle", "-F" | "-X"]) {
            self.rules.retain(|rule| rule.v6 != v6);
            return Ok(());
        }
        let ["-t", "mangle", action, "PREROUTING", rest @ ..] = arguments else {
            return Err(unknown());
        };
        match (*action, rest) {
            ("-F", []) => self.rules.retain(|rule| rule.v6 != v6),
            ("-A", _) => self.rules.push(parse(v6, rest).ok_or_else(unknown)?),
            ("-I", _) => self.rules.insert(0, parse(v6, rest).ok_or_else(unknown)?),
            ("-D", _) => {
                let rule = parse(v6, rest).ok_or_else(unknown)?;
                let place = self.rules.iter().position(|have| *have == rule);
                self.rules.remove(place.ok_or("no such rule")?);
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }

    /// The mark of a frame; the last matching rule sets it, as MARK does not end the chain.
    pub(crate) fn mark(&self, port: Port, frame: &[u8]) -> u32 {
        let Some(fields) = Fields::read(frame) else {
            return 0;
        };
        self.rules
            .iter()
            .filter(|rule| rule.matches(port, &fields))
            .fold(0, |_, rule| rule.mark)
    }
}

/// The matches and the target of a rule.
fn parse(v6: bool, words: &[&str]) -> Option<Rule> {
    let mut rule = Rule {
        v6,
        ..Rule::default()
    };
    let mut words = words.iter();
    let mut marked = false;
    while let Some(word) = words.next() {
        let value = *words.next()?;
        match *word {
            "-i" => rule.interface = Some(value.to_owned()),
            "-s" => rule.source = Some(prefix(value).ok()?),
            "-d" => rule.destination = Some(prefix(value).ok()?),
            "-p" => rule.protocol = Some(protocol(value)?),
            "--sport" => rule.source_ports = Some(ports(value)?),
            "--dport" => rule.destination_ports = Some(ports(value)?),
            "-m" if matches!(value, "tcp" | "udp" | "sctp") => {}
            "-j" if value == "MARK" => {}
            "--set-mark" | "--set-xmark" => {
                rule.mark = number(value.split('/').next()?)?;
                marked = true;
            }
            _ => return None,
        }
    }
    marked.then_some(rule)
}

/// A decimal number, or a hexadecimal one with `0x`.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn protocol(text: &str) -> Option<u8> {
    match text {
        "tcp" => Some(6),
        "udp" => Some(17),
        "sctp" => Some(132),
        "icmp" => Some(1),
        "icmpv6" => Some(58),
        _ => text.parse().ok(),
    }
}

/// `PORT` or `FIRST:LAST`.
fn ports(text: &str) -> Option<(u16, u16)> {
    match text.split_once(':') {
        Some((first, last)) => Some((first.parse().ok()?, last.parse().ok()?)),
        None => text.parse().ok().map(|port| (port, port)),
    }
}

/// What rules look at.
struct Fields {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ports: Option<(u16, u16)>,
}

impl Fields {
    fn read(frame: &[u8]) -> Option<Self> {
        match be16(frame, 12)? {
            0x0800 => {
                let header = usize::from(frame.get(14)? & 15) * 4;
                let first = be16(frame, 20)? & 0x1fff == 0;
                let at = 14 + header;
                Some(Self {
                    source: v4(frame, 26)?,
                    destination: v4(frame, 30)?,
                    protocol: *frame.get(23)?,
                    ports: be16(frame, at).zip(be16(frame, at + 2)).filter(|_| first),
                })
            }
            0x86dd => {
                let (protocol, at, first) = upper(frame)?;
                Some(Self {
                    source: v6(frame, 22)?,
                    destination: v6(frame, 38)?,
                    protocol,
                    ports: be16(frame, at).zip(be16(frame, at + 2)).filter(|_| first),
                })
            }
            _ => None,
        }
    }
}

/// Protocol of an IPv6 frame behind its extension headers, where it begins, and whether it does begin there.
fn upper(frame: &[u8]) -> Option<(u8, usize, bool)> {
    let (mut next, mut at) = (*frame.get(20)?, 54);
    loop {
        match next {
            0 | 43 | 60 => {
                let length = usize::from(*frame.get(at + 1)?) + 1;
                next = *frame.get(at)?;
                at += length * 8;
            }
            44 => {
                next = *frame.get(at)?;
                let first = be16(frame, at + 2)? & 0xfff8 == 0;
                at += 8;
                if !first {
                    return Some((next, at, false));
                }
            }
            _ => return Some((next, at, true)),
        }
    }
}

fn v4(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(IpAddr::from(octets))
}

fn v6(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
    Some(IpAddr::from(octets))
}

impl Rule {
    fn matches(&self, port: Port, fields: &Fields) -> bool {
        let name = match port {
            Port::Client => "cl0",
            Port::Server => "sv0",
        };
        let within = |network: Option<(IpAddr, u8)>, address: IpAddr| {
            network.is_none_or(|(base, length)| {
                base.is_ipv4() == address.is_ipv4()
                    && route::prefix(base, length) == route::prefix(address, length)
            })
        };
        let between = |range: Option<(u16, u16)>, port: Option<u16>| {
            range
                .is_none_or(|(first, last)| port.is_some_and(|port| (first..=last).contains(&port)))
        };
        self.v6 == fields.destination.is_ipv6()
            && self.interface.as_deref().is_none_or(|own| own == name)
            && within(self.source, fields.source)
            && within(self.destination, fields.destination)
            && self.protocol.is_none_or(|own| own == fields.protocol)
            && between(self.source_ports, fields.ports.map(|ports| ports.0))
            && between(self.destination_ports, fields.ports.map(|ports| ports.1))
    }
}
