//! Random configurations, hosts and packets through `Director::handle`: never a panic, every frame that leaves is
//! well-formed, every packet has one outcome, what the director says beforehand that it would do is what it does, what
//! the real servers count is what the table holds, and with time everything comes to an end.

#![no_main]

use std::sync::Arc;
use std::time::Duration;

use director::connection::{Connection, Cursor, HashKind, TableConfig};
use director::destination::Destination;
use director::director::{Director, Host};
use director::explain::{About, Explanation, Question};
use director::frame::Output;
use director::shared::{Options, Shared, Timeouts};
use director::sysctl::SYSCTLS;
use director::template::Template;
use director::time::Instant;
use libfuzzer_sys::arbitrary::{self, Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use packet::{Offload, Packet, Vlan};
use ulvs_fuzz::check;
use ulvs_fuzz::command::{self, Command};
use ulvs_fuzz::follow::Follow;
use ulvs_fuzz::host::{self, CLIENTS, Links, Tables};
use ulvs_fuzz::shape::Shape;
use ulvs_fuzz::told::Told;
use ulvs_fuzz::wire::{Neighbour, Opening, Segment, Wire};

/// Octets in front of a frame, as the links leave them.
const HEADROOM: usize = 128;
/// The director is asked about one frame in so many beforehand, as it takes a copy.
const ASKED: u64 = 16;
/// Steps of one run.
const STEPS_MAX: usize = 200;
/// Connections that the table takes.
const CONNECTIONS_MAX: usize = 64;
/// Calls of `tick` within which all is done that was due.
const TICKS_MAX: usize = 2000;

#[derive(Debug, Arbitrary)]
struct Run {
    links: Links,
    tables: Tables,
    estimators: u8,
    /// Mostly there are services that work.
    unprepared: u8,
    begin: Vec<Command>,
    steps: Steps,
}

/// Steps until the input ends: a list of the usual kind would end with every second step.
#[derive(Debug)]
struct Steps(Vec<Step>);

impl<'a> Arbitrary<'a> for Steps {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let mut steps = Vec::new();
        while !u.is_empty() && steps.len() < STEPS_MAX {
            steps.push(u.arbitrary()?);
        }
        Ok(Self(steps))
    }
}

#[derive(Debug, Arbitrary)]
enum Step {
    Command(Command),
    Other(Other),
    Wait {
        milliseconds: u32,
    },
    /// The ordinary first packet of a client.
    Open(Opening),
    /// An ordinary further packet of a connection.
    Talk {
        which: u8,
        from_server: bool,
        said: u8,
    },
    Send {
        segment: Segment,
        shape: Option<Shape>,
        beside: Beside,
    },
    Follow {
        which: u8,
        follow: Follow,
        shape: Option<Shape>,
        beside: Beside,
    },
}

/// What happens seldom.
#[derive(Debug, Arbitrary)]
enum Other {
    Sysctl {
        which: u8,
        value: i8,
    },
    Timeouts {
        tcp: u16,
        tcp_fin: u16,
        udp: u16,
    },
    Host(Tables),
    Roles {
        master: bool,
        backup: bool,
    },
    /// What another director tells.
    Told(Told),
    Neighbour(Neighbour),
    Raw {
        server_side: bool,
        bytes: Vec<u8>,
    },
}

/// What the link says of a frame, or gets wrong.
#[derive(Clone, Copy, Debug, Default, Arbitrary)]
struct Beside {
    mark: u8,
    vlan: u8,
    mac: u8,
    headroom: u8,
}

fuzz_target!(|run: Run| {
    let mut system = System::new(&run);
    system.begin(run.unprepared & 7 == 7, &run.begin);
    for step in &run.steps.0 {
        system.step(step);
        system.check_counts();
    }
    system.end();
});

struct System {
    links: Links,
    shared: Arc<Shared>,
    host: Arc<Host>,
    director: Director,
    now: Instant,
    /// Every real server that ever was.
    known: Vec<Arc<Destination>>,
}

impl System {
    fn new(run: &Run) -> Self {
        let shared = Arc::new(Shared::new(Options::default()));
        // A sample of every estimator for every two seconds of virtual time would be all that is done.
        if run.estimators & 15 != 15 || run.steps.0.len() > 8 {
            let _ = shared.set_sysctl("run_estimation", "0");
        }
        let host = Arc::new(Host::default());
        let links = run.links.mostly_ordinary();
        let network = host::network(&links, &run.tables);
        host.network.store(Arc::new(network));
        let table = TableConfig {
            max_connections: CONNECTIONS_MAX,
            hash: HashKind::default(),
            seed: [3, 4],
        };
        let director = Director::new(Arc::clone(&shared), Arc::clone(&host), 0, &table);
        Self {
            links,
            shared,
            host,
            director,
            now: Instant::START,
            known: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Command(command) => self.command(command),
            Step::Other(other) => self.other(other),
            Step::Open(opening) => {
                let wire = opening.wire();
                self.send(vec![wire], Beside::default());
            }
            Step::Talk {
                which,
                from_server,
                said,
            } => {
                let follow = Follow::ordinary(*from_server, *said);
                if let Some(wire) = self.follow(*which, &follow) {
                    self.send(vec![wire], Beside::default());
                }
            }
            Step::Wait { milliseconds } => self.wait(Duration::from_millis((*milliseconds).into())),
            Step::Send {
                segment,
                shape,
                beside,
            } => {
                self.send(shaped(shape.as_ref(), segment.wire()), *beside);
            }
            Step::Follow {
                which,
                follow,
                shape,
                beside,
            } => {
                let Some(wire) = self.follow(*which, follow) else {
                    return;
                };
                self.send(shaped(shape.as_ref(), wire), *beside);
            }
        }
    }

    fn other(&mut self, other: &Other) {
        match other {
            Other::Sysctl { which, value } => {
                let entry = &SYSCTLS[usize::from(*which) % SYSCTLS.len()];
                let _ = self.shared.set_sysctl(entry.name, &value.to_string());
            }
            Other::Timeouts { tcp, tcp_fin, udp } => {
                let [tcp, tcp_fin, udp] = [*tcp, *tcp_fin, *udp].map(u32::from);
                let _ = self.shared.set_timeouts(Timeouts { tcp, tcp_fin, udp });
            }
            Other::Roles { master, backup } => {
                self.shared.sync.set_master(*master);
                self.shared.sync.set_backup(*backup);
            }
            Other::Told(told) => {
                self.director.refresh();
                self.director.accept(self.now, &told.entry());
            }
            Other::Host(tables) => {
                let network = host::network(&self.links, tables);
                self.host.network.store(Arc::new(network));
            }
            Other::Neighbour(neighbour) => {
                let own = host::own_mac(CLIENTS);
                let (server_side, _) = neighbour.frame(own);
                let own = host::own_mac(self.side(server_side));
                let (_, frame) = neighbour.frame(own);
                self.receive(self.side(server_side), &frame, Wire::default(), None);
            }
            Other::Raw { server_side, bytes } => {
                self.receive(self.side(*server_side), bytes, Wire::default(), None);
            }
        }
    }

    fn begin(&mut self, unprepared: bool, commands: &[Command]) {
        if !unprepared {
            command::begin_ordinarily(&self.shared);
        }
        for command in commands.iter().take(16) {
            command.give(&self.shared);
        }
        self.note_servers();
    }

    fn command(&mut self, command: &Command) {
        command.give(&self.shared);
        self.note_servers();
    }

    fn note_servers(&mut self) {
        for service in self.shared.snapshot().iter() {
            for destination in service.destinations.iter() {
                if !self
                    .known
                    .iter()
                    .any(|known| Arc::ptr_eq(known, destination))
                {
                    self.known.push(Arc::clone(destination));
                }
            }
        }
    }

    fn side(&self, server_side: bool) -> u32 {
        if server_side {
            host::server_side(&self.links)
        } else {
            CLIENTS
        }
    }

    fn follow(&self, which: u8, follow: &Follow) -> Option<Wire> {
        let connections = self.connections();
        let index = usize::from(which).checked_rem(connections.len())?;
        let connection = connections.get(index)?;
        follow.wire(connection)
    }

    fn connections(&self) -> Vec<&Connection> {
        let mut all = Vec::new();
        let table = self.director.connections();
        let rest = table.list(Cursor::default(), u32::MAX, |_, connection| {
            all.push(connection)
        });
        assert!(rest.is_none());
        all
    }

    fn send(&mut self, wires: Vec<Wire>, beside: Beside) {
        for wire in wires {
            let interface = self.side(wire.server_side);
            let mut mac = host::own_mac(interface).0;
            if beside.mac == 1 {
                mac[5] ^= 8;
            }
            let kind: [u8; 2] = match wire.bytes.first() {
                Some(first) if first >> 4 == 6 => [0x86, 0xdd],
                _ => [8, 0],
            };
            let frame = if host::link_len(&self.links, interface) > 0 {
                [&mac[..], &[2, 0, 0, 0, 9, 9], &kind, &wire.bytes].concat()
            } else {
                wire.bytes.clone()
            };
            self.receive(interface, &frame, wire, Some(beside));
        }
    }

    /// One frame arrives; nothing beside it is a frame that may speak of neighbours, and so set others free.
    fn receive(&mut self, interface: u32, frame: &[u8], wire: Wire, beside: Option<Beside>) {
        let link_len = host::link_len(&self.links, interface);
        let headroom = match beside {
            Some(Beside { headroom: 255, .. }) => 0,
            _ => HEADROOM,
        };
        let mut buffer = vec![0xa5; headroom];
        buffer.extend_from_slice(frame);
        let whole = buffer.len();
        let mut packet = Packet::new(&mut buffer, headroom..whole, link_len);
        packet.offload = wire.offload;
        let front = u16::try_from(link_len).expect("a link header's length");
        packet.offload.checksum_start = wire.offload.checksum_start.saturating_add(front);
        let mut mark = 0;
        if let Some(beside) = beside {
            mark = u32::from(beside.mark & 0x81 == 0x81);
            packet.vlan = (beside.vlan & 0xc0 == 0x40).then(|| Vlan {
                tpid: if beside.vlan & 1 == 0 { 0x8100 } else { 0x88a8 },
                tci: u16::from(beside.vlan),
            });
        }
        self.director.refresh();
        let before = self.director.counters().received;
        let is_plain = packet.offload == Offload::default() && packet.vlan.is_none();
        let asks = is_plain && headroom == HEADROOM && before.is_multiple_of(ASKED);
        let foretold = asks.then(|| self.explain(interface, mark, frame)).flatten();
        let mut output = Output::default();
        let verdict = self
            .director
            .handle(self.now, interface, mark, packet, &mut output);
        assert_eq!(self.director.counters().received, before + 1);
        if let Some(foretold) = foretold {
            assert_eq!(foretold.at_once, verdict, "{foretold}");
        }
        check::frames(&self.host.network.load(), &output, wire.is_right);
        if beside.is_some() && !speaks_of_neighbours(&wire.bytes) {
            check::outcome(verdict, &output, |interface| {
                host::link_len(&self.links, interface)
            });
        }
    }

    /// What the director says of a frame before it arrives; `None` where it cannot be asked.
    fn explain(&self, interface: u32, mark: u32, frame: &[u8]) -> Option<Explanation> {
        let network = self.host.network.load();
        let name = network.interface(interface)?.name.clone();
        let question = Question {
            about: About::Frame(frame.to_vec()),
            mark: Some(mark),
            interface: Some(name),
        };
        self.director.explain(self.now, &question, |_, _| 0).ok()
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.shared.tick(self.now);
        self.shared.expire_templates(self.now, usize::MAX);
        self.director.refresh();
        for _ in 0..TICKS_MAX {
            let mut output = Output::default();
            self.director.tick(self.now, &mut output);
            check::frames(&self.host.network.load(), &output, false);
            let next = self.director.next_deadline();
            if next.is_none_or(|next| next > self.now) {
                return;
            }
        }
        panic!("the director asks to be called for ever");
    }

    /// Each real server's and each template's counts are what holds them.
    fn check_counts(&self) {
        let connections = self.connections();
        assert_eq!(connections.len(), self.director.connections().len());
        let mut templates: Vec<Arc<Template>> = Vec::new();
        self.shared
            .for_each_template(|template| templates.push(Arc::clone(template)));
        for known in &self.known {
            let holds = |connection: &&&Connection| {
                let destination = connection.destination();
                destination.is_some_and(|destination| Arc::ptr_eq(destination, known))
            };
            let held = connections.iter().filter(holds).count();
            let (active, inactive) = (known.active(), known.inactive());
            assert!(
                active >= 0 && inactive >= 0,
                "{active} active, {inactive} inactive"
            );
            assert_eq!(
                usize::try_from(active + inactive),
                Ok(held),
                "{:?}",
                known.config()
            );
            let bound = templates
                .iter()
                .filter(|template| Arc::ptr_eq(&template.destination, known))
                .count();
            assert_eq!(usize::try_from(known.persistent()), Ok(bound), "templates");
        }
        for template in &templates {
            let holds = |connection: &&&Connection| {
                let own = connection.template();
                own.is_some_and(|own| Arc::ptr_eq(own, template))
            };
            let held = connections.iter().filter(holds).count();
            assert_eq!(
                usize::try_from(template.connections()),
                Ok(held),
                "of a template"
            );
        }
    }

    /// Long after the last packet nothing is left; another director may tell of a life of 136 years.
    fn end(&mut self) {
        for _ in 0..8 {
            self.wait(Duration::from_secs(1_000_000_000));
        }
        assert_eq!(self.director.next_deadline(), None, "something is left");
        assert!(self.director.connections().is_empty());
        assert!(
            self.director.owners().is_empty(),
            "somebody owns what is not"
        );
        self.shared
            .for_each_template(|template| panic!("a template lives for ever: {template:?}"));
        self.check_counts();
        for known in &self.known {
            assert!(!known.is_bound());
        }
    }
}

fn shaped(shape: Option<&Shape>, wire: Wire) -> Vec<Wire> {
    match shape {
        Some(shape) => shape.shape(wire),
        None => vec![wire],
    }
}

/// Neighbour discovery may set free what waits.
fn speaks_of_neighbours(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first >> 4 == 6)
        && (datagram.get(6) == Some(&58) || datagram.get(40) == Some(&58))
}
