//! The configuration that a plan has reached: services and real servers, and random changes of them as command lines.

use std::net::IpAddr;

use crate::draw::Draw;
use crate::focus::Focus;
use crate::frame::{SCTP, TCP, UDP};
use crate::plan::{Plan, Step};

/// A virtual service.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// Its protocol, also of what a mark's packets are.
    pub(crate) protocol: u8,
    /// The virtual address.
    pub(crate) address: IpAddr,
    /// Its port; 0 is every port.
    pub(crate) port: u16,
    /// The firewall mark, of a service by mark.
    pub(crate) mark: Option<u32>,
    /// It has a persistence engine.
    sip: bool,
    /// One-packet scheduling.
    ops: bool,
    /// Its real servers.
    servers: Vec<(IpAddr, u16)>,
}

/// A plan under way.
#[derive(Debug)]
pub(crate) struct World {
    /// Where choices come from.
    pub(crate) draw: Draw,
    /// What the case is about.
    pub(crate) focus: &'static Focus,
    /// What has been decided.
    pub(crate) plan: Plan,
    /// The services that are there.
    pub(crate) services: Vec<Service>,
    /// Identification of the last packet.
    pub(crate) id: u16,
    marks: u32,
    /// Which hosts get direct routing.
    direct: [bool; HOSTS],
    /// Whose tunnels without a port are GRE; the others' are IPIP.
    gre: [bool; HOSTS],
}

/// Hosts of real servers.
const HOSTS: usize = 5;

/// The host of a real server's address ([`World::server_address`]).
fn host_of(address: IpAddr) -> usize {
    let last = match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15] - 6,
    };
    usize::from(last.saturating_sub(11)) % HOSTS
}

/// An address in front of a port.
fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn number(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

impl Service {
    /// An address of the director with nothing on that port.
    pub(crate) fn absent() -> Self {
        let address = IpAddr::from([10, 8, 0, 3]);
        let servers = Vec::new();
        Self {
            protocol: TCP,
            address,
            port: 81,
            mark: None,
            sip: false,
            ops: false,
            servers,
        }
    }

    /// How `ipvsadm` names it.
    fn key(&self) -> String {
        if let Some(mark) = self.mark {
            let family = if self.address.is_ipv6() { " -6" } else { "" };
            return format!("-f {mark}{family}");
        }
        let option = match self.protocol {
            TCP => "-t",
            UDP => "-u",
            _ => "--sctp-service",
        };
        format!("{option} {}:{}", bracketed(self.address), self.port)
    }

    fn is(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl World {
    /// Nothing yet.
    pub(crate) fn new(mut draw: Draw, focus: &'static Focus) -> Self {
        Self {
            direct: std::array::from_fn(|_| focus.methods.contains(&'g') && draw.chance(35)),
            gre: std::array::from_fn(|_| draw.chance(35)),
            draw,
            focus,
            plan: Plan::default(),
            services: Vec::new(),
            id: 0,
            marks: 0,
        }
    }

    /// A command line, words apart by spaces.
    pub(crate) fn command(&mut self, line: &str) {
        let argv = line.split_whitespace().map(str::to_owned).collect();
        self.plan.steps.push(Step::Command(argv, None));
    }

    /// The first services and their real servers.
    pub(crate) fn begin(&mut self) {
        for _ in 0..self.draw.between(1, 3) {
            self.add_service();
            for _ in 0..self.draw.between(0, 4) {
                self.add_server(self.services.len().saturating_sub(1));
            }
        }
    }

    fn scheduler(&mut self) -> String {
        let name = self.draw.of(self.focus.schedulers);
        let mut words = format!(" -s {name}");
        if name == "sh" || name == "mh" {
            let mut flags = Vec::new();
            for flag in ["fallback", "port"] {
                if self.draw.chance(40) {
                    flags.push(format!("{name}-{flag}"));
                }
            }
            if !flags.is_empty() {
                words += &format!(" -b {}", flags.join(","));
            }
        }
        words
    }

    fn options(&mut self, service: &Service) -> String {
        let mut words = String::new();
        if service.sip {
            return format!(" --pe sip -p {}", self.draw.of(&[60, 300]));
        }
        if self.draw.chance(self.focus.persistent) || service.port == 0 && service.mark.is_none() {
            words += &format!(" -p {}", self.draw.of(&[10, 60, 300, 1000]));
            if self.draw.chance(50) {
                let masks: &[&str] = if service.address.is_ipv4() {
                    &[
                        "255.255.255.0",
                        "255.255.0.0",
                        "255.255.255.255",
                        "255.255.255.240",
                    ]
                } else {
                    &["64", "120", "128"]
                };
                words += &format!(" -M {}", self.draw.of(masks));
            }
        }
        if service.ops {
            words += " -o";
        }
        words
    }

    fn draw_service(&mut self) -> Service {
        let v6 = self.draw.chance(self.focus.v6);
        let protocol = self.draw.of(self.focus.protocols);
        let host = self.draw.between(1, 2);
        let address: IpAddr = if v6 {
            IpAddr::from([0xfd00, 8, 0, 0, 0, 0, 0, number(host)])
        } else {
            IpAddr::from([10, 8, 0, u8::try_from(host).unwrap_or(1)])
        };
        let mut port = self.draw.of(&[80, 443, 53, 5060, 9]);
        let sip = self.focus.name == "sip" && self.draw.chance(80);
        if self.focus.name == "ftp" {
            port = 21;
        }
        let ops = protocol == UDP && self.draw.chance(15);
        let mut service = Service {
            protocol,
            address,
            port,
            mark: None,
            sip,
            ops,
            servers: Vec::new(),
        };
        if self.draw.chance(self.focus.wide) {
            if self.draw.chance(30) {
                service.port = 0;
            } else {
                self.marks += 1;
                service.mark = Some(self.marks);
                self.mark(&service);
            }
        }
        service
    }

    /// The rule that gives a service's packets its mark.
    fn mark(&mut self, service: &Service) {
        let (program, source) = match service.address {
            IpAddr::V4(_) => ("iptables", "192.0.2.0/28"),
            IpAddr::V6(_) => ("ip6tables", "2001:db8:c::/64"),
        };
        let protocol = match service.protocol {
            TCP => "tcp",
            UDP => "udp",
            _ => "sctp",
        };
        let matches = match self.draw.between(0, 3) {
            0 => format!("-p {protocol} --dport {}", service.port),
            1 => format!("-p {protocol} -s {source}"),
            2 => format!("-i cl0 -p {protocol} --dport 0:1023"),
            _ => format!("-p {protocol}"),
        };
        let mark = service.mark.unwrap_or_default();
        let address = service.address;
        self.command(&format!(
            "{program} -t mangle -A PREROUTING -d {address} {matches} -j MARK --set-mark {mark}"
        ));
    }

    fn add_service(&mut self) {
        let service = self.draw_service();
        let line = format!(
            "ipvsadm -A {}{}{}",
            service.key(),
            self.scheduler(),
            self.options(&service)
        );
        self.command(&line);
        // One that is there already is refused.
        if !self.services.iter().any(|have| have.is(&service)) {
            self.services.push(service);
        }
    }

    /// Method, weight and thresholds of a real server.
    ///
    /// Of the tunnels of one host only GUE, or only one kind without a port: which of two such kinds the kernel takes
    /// an error for, it decides by the order in which the real servers came into its hash table.
    fn server_options(&mut self, method: char, host: usize) -> String {
        let mut words = format!(" -{method}");
        if method == 'i' {
            words += match self.draw.between(0, 7) {
                0..=5 if !self.gre[host] => "",
                0..=2 => " --tun-type gre",
                3..=5 => " --tun-type gre --tun-csum",
                6 => " --tun-type gue --tun-port 6080",
                _ => self.draw.of(&[
                    " --tun-type gue --tun-port 6080 --tun-csum",
                    " --tun-type gue --tun-port 6080 --tun-nocsum",
                    " --tun-type gue --tun-port 5555 --tun-remcsum",
                ]),
            };
        }
        if self.draw.chance(90) {
            words += &format!(" -w {}", self.draw.of(&[0, 1, 1, 1, 2, 3, 5, 100]));
        }
        if self.draw.chance(self.focus.threshold) {
            let upper = self.draw.between(1, 6);
            words += &format!(" -x {upper}");
            if self.draw.chance(50) {
                words += &format!(" -y {}", self.draw.between(0, upper));
            }
        }
        words
    }

    /// The forwarding method of a real server, which keeps to direct routing or stays without it: where an old
    /// connection with another method has looked the route up, direct routing asks the link for the VIP, again and again
    /// by a timer of the kernel's (and over IPv6 only from a link-local address, which the recordings' interfaces have
    /// not); `deletion.change_method` has that in virtual time.
    fn method(&mut self, host: usize) -> char {
        let method = self.draw.of(self.focus.methods);
        match (self.direct[host], method) {
            (true, _) => 'g',
            (false, 'g') => 'm',
            (false, method) => method,
        }
    }

    /// The address of host `host`, where `method` can reach it.
    fn server_address(&mut self, method: char, v6: bool, host: usize) -> IpAddr {
        let last = number(u32::try_from(host).unwrap_or(0) + 1);
        let remote = method == 'i' && self.draw.chance(50);
        // Only a tunnel leads to the other family.
        let v6 = v6 != (method == 'i' && self.draw.chance(15));
        let net = if remote { 3 } else { 2 };
        if v6 {
            IpAddr::from([0xfd00, net, 0, 0, 0, 0, 0, 0x10 + last])
        } else {
            let [_, net] = net.to_be_bytes();
            let [_, last] = (10 + last).to_be_bytes();
            IpAddr::from([10, net, 0, last])
        }
    }

    fn add_server(&mut self, place: usize) {
        let Some(service) = self.services.get(place).cloned() else {
            return;
        };
        let host = self.draw.place(HOSTS);
        let method = self.method(host);
        let address = self.server_address(method, service.address.is_ipv6(), host);
        let moved =
            method == 'm' && service.port != 0 && service.port != 21 && self.draw.chance(40);
        let port = if moved { 8080 } else { service.port };
        let options = self.server_options(method, host);
        self.command(&format!(
            "ipvsadm -a {} -r {}:{port}{options}",
            service.key(),
            bracketed(address)
        ));
        let servers = &mut self.services[place].servers;
        if !servers.contains(&(address, port)) {
            servers.push((address, port));
        }
    }

    /// A change of services or real servers.
    pub(crate) fn configure(&mut self) {
        let kind = self.draw.between(0, 99);
        if kind < 10 || self.services.is_empty() {
            self.add_service();
            self.add_server(self.services.len().saturating_sub(1));
            return;
        }
        let place = self.draw.place(self.services.len());
        let service = self.services[place].clone();
        let key = service.key();
        let some = self.draw.place(service.servers.len());
        match (kind, service.servers.get(some).copied()) {
            (0..30, _) => self.add_server(place),
            (30..60, Some((address, port))) => {
                let method = self.method(host_of(address));
                let options = self.server_options(method, host_of(address));
                self.command(&format!(
                    "ipvsadm -e {key} -r {}:{port}{options}",
                    bracketed(address)
                ));
            }
            (60..76, Some((address, port))) => {
                self.command(&format!(
                    "ipvsadm -d {key} -r {}:{port}",
                    bracketed(address)
                ));
                self.services[place].servers.remove(some);
            }
            (76..88, _) => {
                let line = format!(
                    "ipvsadm -E {key}{}{}",
                    self.scheduler(),
                    self.options(&service)
                );
                self.command(&line);
            }
            (88..91, _) if self.services.len() > 1 => {
                self.command(&format!("ipvsadm -D {key}"));
                self.services.remove(place);
            }
            (91..95, _) => {
                let times =
                    [[0, 100, 900], [0, 30, 120], [0, 20, 300]].map(|times| self.draw.of(&times));
                self.command(&format!(
                    "ipvsadm --set {} {} {}",
                    times[0], times[1], times[2]
                ));
            }
            (95..96, _) => self.command("ipvsadm -Z"),
            (96..98, _) => self.command(&format!("ipvsadm -Ln {key}")),
            _ => self.command("ipvsadm -Ln"),
        }
    }

    /// A change of a setting.
    pub(crate) fn sysctl(&mut self) {
        let (name, values): (&str, &[u32]) = self.draw.of(&SYSCTLS);
        let value = self.draw.of(values);
        self.plan.steps.push(Step::Sysctl(name, value));
    }

    /// Whether a service's clients speak SCTP.
    pub(crate) fn has_sctp(&self) -> bool {
        self.focus.protocols.contains(&SCTP)
    }
}

/// Settings that have an effect on single packets, and values for them.
const SYSCTLS: [(&str, &[u32]); 8] = [
    ("expire_nodest_conn", &[0, 1]),
    ("expire_quiescent_template", &[0, 1]),
    ("conn_reuse_mode", &[0, 1, 2, 3]),
    ("sloppy_tcp", &[0, 1]),
    ("sloppy_sctp", &[0, 1]),
    ("nat_icmp_send", &[0, 1]),
    ("schedule_icmp", &[0, 1]),
    ("pmtu_disc", &[0, 1]),
];
