//! Random configurations and random packets through `Director::handle`: never a panic, every frame that leaves
//! is well-formed, every packet has one outcome, and what the real servers count is what the table holds.

#![no_main]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use director::connection::{Cursor, HashKind, TableConfig};
use director::destination::{DestinationConfig, Method, TunnelChecksum, TunnelConfig, TunnelKind};
use director::director::{Director, Host};
use director::frame::Output;
use director::net::{Answer, Interface, Network, Route, RouteKind};
use director::protocol::Protocol;
use director::scheduler::ENTRIES;
use director::service::{ServiceConfig, ServiceKey};
use director::shared::{Options, Shared};
use director::sysctl::SYSCTLS;
use director::time::Instant;
use director::verdict::Verdict;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use packet::{Family, Headers, Mac, Malformed, Offload, Packet, Vlan};
use ulvs_fuzz::wire::{self, Segment};

/// Octets in front of a frame, as the links leave them.
const HEADROOM: usize = 128;
/// Steps of one run.
const STEPS_MAX: usize = 200;
/// Frames that one packet may become: a whole datagram in the smallest fragments.
const FRAMES_MAX: usize = 4096;

#[derive(Debug, Arbitrary)]
struct Run {
    icmp_ratelimit: bool,
    owned: bool,
    estimators: bool,
    tun: bool,
    mtu: u16,
    steps: Vec<Step>,
}

#[derive(Debug, Arbitrary)]
enum Step {
    AddService {
        key: Key,
        scheduler: u8,
        flags: u8,
        timeout: u16,
        netmask: u8,
    },
    EditService {
        key: Key,
        scheduler: u8,
        flags: u8,
        timeout: u16,
        netmask: u8,
    },
    DeleteService {
        key: Key,
    },
    AddServer {
        key: Key,
        server: Server,
    },
    EditServer {
        key: Key,
        server: Server,
    },
    DeleteServer {
        key: Key,
        server: u8,
    },
    Flush,
    Zero,
    Sysctl {
        which: u8,
        value: i8,
    },
    Timeouts {
        tcp: u16,
        tcp_fin: u16,
        udp: u16,
    },
    Wait {
        milliseconds: u32,
    },
    Send(Segment),
    Raw {
        server_side: bool,
        bytes: Vec<u8>,
    },
}

#[derive(Clone, Copy, Debug, Arbitrary)]
struct Key {
    choice: u8,
}

#[derive(Debug, Arbitrary)]
struct Server {
    number: u8,
    port: u8,
    method: u8,
    tunnel: u8,
    weight: u8,
    upper: u8,
    lower: u8,
}

fuzz_target!(|run: Run| {
    if run.estimators && run.steps.len() > 8 {
        return;
    }
    let mut system = System::new(&run);
    for step in run.steps.iter().take(STEPS_MAX) {
        system.step(step);
        system.check_counts();
    }
    system.end();
});

struct System {
    tun: bool,
    shared: Arc<Shared>,
    director: Director,
    now: Instant,
}

impl System {
    fn new(run: &Run) -> Self {
        let shared = Arc::new(Shared::new(Options::default()));
        // A sample of every estimator for every two seconds of virtual time would be all that is done.
        if !run.estimators {
            let _ = shared.sysctls.write("run_estimation", "0");
        }
        let host = Arc::new(Host::default());
        host.network.store(Arc::new(network(run)));
        let table = TableConfig {
            max_connections: 64,
            hash: HashKind::default(),
            seed: [3, 4],
        };
        let director = Director::new(Arc::clone(&shared), host, 0, &table);
        Self {
            tun: run.tun,
            shared,
            director,
            now: Instant::START,
        }
    }

    fn step(&mut self, step: &Step) {
        // Commands that are impossible are refused; that is an outcome like any other.
        match step {
            Step::AddService {
                key,
                scheduler,
                flags,
                timeout,
                netmask,
            } => {
                let config = service(*key, *scheduler, *flags, *timeout, *netmask);
                let _ = self.shared.add_service(config);
            }
            Step::EditService {
                key,
                scheduler,
                flags,
                timeout,
                netmask,
            } => {
                let config = service(*key, *scheduler, *flags, *timeout, *netmask);
                let _ = self.shared.edit_service(config);
            }
            Step::DeleteService { key } => {
                let _ = self.shared.delete_service(&service_key(*key));
            }
            Step::AddServer { key, server } => {
                let _ = self
                    .shared
                    .add_destination(&service_key(*key), &destination(server));
            }
            Step::EditServer { key, server } => {
                let _ = self
                    .shared
                    .edit_destination(&service_key(*key), &destination(server));
            }
            Step::DeleteServer { key, server } => {
                let (address, port) = (wire::server_address(*server), 80);
                let _ = self
                    .shared
                    .delete_destination(&service_key(*key), address, port);
            }
            Step::Flush => self.shared.flush(),
            Step::Zero => {
                let _ = self.shared.zero(None);
            }
            Step::Sysctl { which, value } => {
                let entry = &SYSCTLS[usize::from(*which) % SYSCTLS.len()];
                let _ = self.shared.sysctls.write(entry.name, &value.to_string());
            }
            Step::Timeouts { tcp, tcp_fin, udp } => {
                let [tcp, tcp_fin, udp] = [*tcp, *tcp_fin, *udp].map(u32::from);
                let timeouts = director::shared::Timeouts { tcp, tcp_fin, udp };
                let _ = self.shared.set_timeouts(timeouts);
            }
            Step::Wait { milliseconds } => self.wait(Duration::from_millis((*milliseconds).into())),
            Step::Send(segment) => {
                let (server_side, frame) = segment.frame();
                let work = (segment.offload(), segment.vlan());
                self.send(server_side, segment.mark(), work, &frame);
            }
            Step::Raw { server_side, bytes } => {
                self.send(*server_side, 0, Default::default(), bytes);
            }
        }
    }

    fn send(
        &mut self,
        server_side: bool,
        mark: u32,
        (offload, vlan): (Offload, Option<Vlan>),
        frame: &[u8],
    ) {
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(frame);
        let whole = buffer.len();
        let link_len = if server_side && self.tun { 0 } else { 14 };
        let start = HEADROOM + (14 - link_len).min(frame.len());
        let mut packet = Packet::new(&mut buffer, start..whole, link_len);
        packet.offload = offload;
        packet.vlan = vlan;
        let mut output = Output::default();
        self.director.refresh();
        let interface = if server_side { 3 } else { 2 };
        let verdict = self
            .director
            .handle(self.now, interface, mark, packet, &mut output);
        match verdict {
            Verdict::Forwarded => assert!(!output.frames.is_empty(), "forwarded nothing"),
            Verdict::Pass => assert!(output.frames.is_empty(), "passed on and sent"),
            Verdict::Held | Verdict::Answered | Verdict::Drop(_) => {}
        }
        self.check_frames(&output);
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.shared.tick(self.now);
        self.shared.expire_templates(self.now, usize::MAX);
        self.director.refresh();
        for _ in 0..1000 {
            let mut output = Output::default();
            self.director.tick(self.now, &mut output);
            self.check_frames(&output);
            if self
                .director
                .next_deadline()
                .is_none_or(|next| next > self.now)
            {
                return;
            }
        }
        panic!("the director asks to be called for ever");
    }

    /// Each real server's counts are the connections that hold it.
    fn check_counts(&self) {
        let mut held: Vec<(IpAddr, u16, i32)> = Vec::new();
        self.director
            .connections()
            .list(Cursor::default(), u32::MAX, |_, connection| {
                let Some(destination) = connection.destination() else {
                    return;
                };
                let key = (destination.address, destination.port);
                match held.iter_mut().find(|entry| (entry.0, entry.1) == key) {
                    Some(entry) => entry.2 += 1,
                    None => held.push((key.0, key.1, 1)),
                }
            });
        let mut counted: Vec<(IpAddr, u16, i32)> = Vec::new();
        let snapshot = self.shared.snapshot();
        for destination in snapshot
            .iter()
            .flat_map(|service| service.destinations.iter())
        {
            let (active, inactive) = (destination.active(), destination.inactive());
            assert!(active >= 0 && inactive >= 0 && destination.persistent() >= 0);
            counted.push((destination.address, destination.port, active + inactive));
        }
        // Deleted real servers hold connections too, so at most what the table holds is counted.
        for (address, port, _) in &counted {
            let sum: i32 = counted
                .iter()
                .filter(|entry| (&entry.0, &entry.1) == (address, port))
                .map(|entry| entry.2)
                .sum();
            let table = held
                .iter()
                .find(|entry| (&entry.0, &entry.1) == (address, port))
                .map_or(0, |entry| entry.2);
            assert!(
                sum <= table,
                "{address}:{port} counts {sum} of {table} connections"
            );
        }
    }

    /// Every frame that leaves can be read again, and its header checksum is right.
    fn check_frames(&self, output: &Output<'_>) {
        assert!(
            output.frames.len() <= FRAMES_MAX,
            "{} frames",
            output.frames.len()
        );
        for outgoing in &output.frames {
            let link_len = if outgoing.interface == 3 && self.tun {
                0
            } else {
                14
            };
            let mut bytes = outgoing.frame.bytes().to_vec();
            let whole = bytes.len();
            let packet = Packet::new(&mut bytes, 0..whole, link_len);
            match Headers::parse(&packet) {
                Ok(headers) => assert_eq!(headers.end, packet.len(), "padding was sent"),
                // ARP; and a packet whose payload is cut off goes on as it came.
                Err(Malformed::NotIp | Malformed::TransportTruncated) => {}
                Err(malformed) => panic!("sent a malformed frame: {malformed:?}"),
            }
        }
    }

    /// Long after the last packet nothing is left.
    fn end(&mut self) {
        for _ in 0..3 {
            self.wait(Duration::from_secs(1_000_000));
        }
        assert_eq!(
            self.director.connections().len(),
            0,
            "a connection lives for ever"
        );
        self.check_counts();
    }
}

fn service_key(key: Key) -> ServiceKey {
    let choice = key.choice;
    if choice & 0xc0 == 0xc0 {
        return ServiceKey::Mark {
            family: if choice & 1 == 0 {
                Family::V4
            } else {
                Family::V6
            },
            mark: 1,
        };
    }
    ServiceKey::Address {
        protocol: [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][usize::from(choice & 3) % 3],
        address: wire::virtual_address(choice >> 2),
        port: [80, 0, 21, 53][usize::from(choice >> 4 & 3)],
    }
}

fn service(key: Key, scheduler: u8, flags: u8, timeout: u16, netmask: u8) -> ServiceConfig {
    let key = service_key(key);
    ServiceConfig {
        key,
        scheduler: ENTRIES[usize::from(scheduler) % ENTRIES.len()]
            .name
            .to_owned(),
        flags: u32::from(flags & 0x3d),
        timeout: timeout.into(),
        netmask: match key.family() {
            Family::V4 => u32::MAX.checked_shl(u32::from(netmask % 33)).unwrap_or(0),
            Family::V6 => u32::from(netmask % 129),
        },
        persistence_engine: None,
    }
}

fn destination(server: &Server) -> DestinationConfig {
    DestinationConfig {
        address: wire::server_address(server.number),
        port: [80, 8080, 0, 53][usize::from(server.port & 3)],
        method: [
            Method::Masq,
            Method::Tunnel,
            Method::DirectRoute,
            Method::Local,
        ][usize::from(server.method & 3)],
        tunnel: TunnelConfig {
            kind: [TunnelKind::Ipip, TunnelKind::Gue, TunnelKind::Gre]
                [usize::from(server.tunnel & 3) % 3],
            port: 6080,
            checksum: [
                TunnelChecksum::None,
                TunnelChecksum::Full,
                TunnelChecksum::Remote,
            ][usize::from(server.tunnel >> 2 & 3) % 3],
        },
        weight: i32::from(server.weight & 7),
        upper_threshold: u32::from(server.upper & 7),
        lower_threshold: u32::from(server.lower & 3),
    }
}

fn network(run: &Run) -> Network {
    let mut network = Network {
        icmp_ratelimit_ms: if run.icmp_ratelimit { 1000 } else { 0 },
        ..Network::default()
    };
    let mtu = u32::from(run.mtu % 2000).max(576);
    let sides = [
        (2, "cl0", 1500, ["10.1.0.1", "fd00:1::1"]),
        (3, "sv0", mtu, ["10.2.0.1", "fd00:2::1"]),
    ];
    for (index, name, mtu, addresses) in sides {
        let addresses: Vec<(IpAddr, u8)> = addresses
            .iter()
            .map(|text| text.parse().expect("an address"))
            .map(|address: IpAddr| (address, if address.is_ipv4() { 24 } else { 64 }))
            .collect();
        for &(address, length) in &addresses {
            let whole = if address.is_ipv4() { 32 } else { 128 };
            network
                .routes
                .insert(address, length, route(RouteKind::Unicast, index, None));
            network
                .routes
                .insert(address, whole, route(RouteKind::Local, 1, None));
        }
        network.interfaces.push(Interface {
            index,
            name: name.to_owned(),
            mac: wire::own_mac(index == 3),
            mtu,
            link_len: if index == 3 && run.tun { 0 } else { 14 },
            addresses,
            up: true,
        });
    }
    for gateway in ["10.1.0.254", "fd00:1::fe"] {
        let gateway: IpAddr = gateway.parse().expect("an address");
        let any = if gateway.is_ipv4() { "0.0.0.0" } else { "::" };
        let entry = route(RouteKind::Unicast, 2, Some(gateway));
        network
            .routes
            .insert(any.parse().expect("an address"), 0, entry);
        network
            .neighbours
            .insert((2, gateway), Mac([2, 0, 0, 0, 1, 0xfe]));
    }
    for number in 0..3 {
        // The fourth real server of each family answers no ARP.
        for address in [
            wire::server_address(number),
            wire::server_address(number | 4),
        ] {
            network
                .neighbours
                .insert((3, address), Mac([2, 0, 0, 0, 2, number]));
        }
    }
    for choice in 0..4 {
        let answer = if run.owned {
            Answer::Owned
        } else {
            Answer::Local
        };
        network.vips.insert(wire::virtual_address(choice), answer);
    }
    network
}

fn route(kind: RouteKind, interface: u32, gateway: Option<IpAddr>) -> Route {
    Route {
        kind,
        interface,
        gateway,
        source: None,
        mtu: None,
        metric: 0,
    }
}
