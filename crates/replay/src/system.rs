//! A director with its control server, in this process and in virtual time.

use core::time::Duration;
use std::sync::Arc;

use cli::InProcess;
use control::config::{self, MarkRule};
use control::listing;
use control::netlink::ConnectionEntry;
use control::server::{ConnectionSource, Server};
use director::connection::{Cursor, HashKind, TableConfig};
use director::director::{Director, Host as Shell};
use director::frame::{Outgoing, Output};
use director::net::Network;
use director::shared::{Options, Shared};
use director::time::Instant;
use director::verdict::Verdict;
use packet::{Headers, Packet};

use crate::error::ReplayError;
use crate::rules::{self, Rules};

/// Most calls while time passes between two frames: what is due by then is done at the next ones.
const TICKS_MAX: u32 = 10_000;
/// What only the clock drives (estimators, templates) is looked at this often.
const STEP: Duration = Duration::from_millis(500);
/// Free memory that the `drop_entry` and `drop_packet` defences go by, pages: enough.
const FREE_PAGES: i32 = 100_000;

/// Director, control server and host.
#[derive(Debug)]
pub struct System {
    /// What the workers of a director share; here there is one.
    pub shared: Arc<Shared>,
    director: Director,
    server: Server,
    network: Network,
    marks: Vec<MarkRule>,
    now: Duration,
}

impl System {
    /// A director with these rules on this host, at time 0; `midnight_ms` are the milliseconds from midnight UTC to
    /// then.
    ///
    /// # Errors
    /// A sentence: the director refuses a rule.
    pub fn new(rules: &Rules, network: &Network, midnight_ms: u64) -> Result<Self, ReplayError> {
        let shared = Arc::new(Shared::new(Options {
            lots: rules.lots.unwrap_or_default(),
            ..rules::options()
        }));
        let applied = rules.state.apply(&shared);
        applied.map_err(|error| ReplayError::new(error.to_string()))?;
        let shell = Arc::new(Shell::default());
        shell.network.store(Arc::new(network.clone()));
        let order = core::sync::atomic::Ordering::Relaxed;
        shell.midnight_ms.store(midnight_ms, order);
        let table = TableConfig {
            max_connections: rules.max_connections,
            hash: HashKind::default(),
            seed: [1, 2],
        };
        let director = Director::new(Arc::clone(&shared), shell, 0, &table);
        shared.set_free_pages(FREE_PAGES);
        shared.tick(Instant::START);
        Ok(Self {
            server: Server::new(Arc::clone(&shared)),
            shared,
            director,
            network: network.clone(),
            marks: rules.marks.clone(),
            now: Duration::ZERO,
        })
    }

    /// Virtual time since the first frame.
    #[must_use]
    pub const fn now(&self) -> Duration {
        self.now
    }

    fn instant(&self) -> Instant {
        Instant::START.after(self.now)
    }

    /// Lets time pass up to `time`: the director is called whenever it asks to be. `sent` gets what it sends.
    pub fn advance(&mut self, time: Duration, sent: &mut dyn FnMut(Duration, &Outgoing<'_>)) {
        for _ in 0..TICKS_MAX {
            let deadline = self
                .director
                .next_deadline()
                .map(|deadline| deadline.since(Instant::START));
            if deadline.is_none() && self.director.connections().is_empty() {
                break;
            }
            let next = deadline.unwrap_or(time).min(self.now + STEP);
            if next >= time {
                break;
            }
            self.now = self.now.max(next);
            self.tick(sent);
        }
        self.now = self.now.max(time);
        // A tick does what is due within a budget; a packet finds no connection whose time has come.
        for _ in 0..TICKS_MAX {
            self.tick(sent);
            let deadline = self.director.next_deadline();
            if deadline.is_none_or(|deadline| deadline > self.instant()) {
                break;
            }
        }
    }

    fn tick(&mut self, sent: &mut dyn FnMut(Duration, &Outgoing<'_>)) {
        let now = self.instant();
        self.shared.tick(now);
        self.shared.expire_templates(now, usize::MAX);
        self.director.refresh();
        let mut output = Output::default();
        self.director.tick(now, &mut output);
        for frame in &output.frames {
            sent(self.now, frame);
        }
    }

    /// Gives the director one frame that arrives now.
    pub fn frame<'a>(
        &mut self,
        interface: u32,
        packet: Packet<'a>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let mark = self.mark(interface, &packet);
        let now = self.instant();
        self.director.handle(now, interface, mark, packet, output)
    }

    pub(crate) fn mark(&self, interface: u32, packet: &Packet<'_>) -> u32 {
        if self.marks.is_empty() {
            return 0;
        }
        let name = self.network.interface(interface);
        let name = name.map_or("", |interface| interface.name.as_str());
        Headers::parse(packet).map_or(0, |headers| {
            MarkRule::mark_of(&self.marks, &config::Packet::of(name, &headers))
        })
    }

    /// The director.
    #[must_use]
    pub const fn director(&self) -> &Director {
        &self.director
    }

    /// What `ipvsadm` prints with these arguments.
    #[must_use]
    pub fn ipvsadm(&self, arguments: &[&str]) -> String {
        let argv: Vec<String> = core::iter::once("ipvsadm")
            .chain(arguments.iter().copied())
            .map(str::to_owned)
            .collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut transport = InProcess {
            server: &self.server,
            source: self,
            now: self.instant(),
        };
        cli::ipvsadm::run(
            &argv,
            &mut [].as_slice(),
            &mut out,
            &mut err,
            &mut transport,
        );
        out.extend(err);
        String::from_utf8_lossy(&out).into_owned()
    }
}

impl ConnectionSource for System {
    fn connections(&self, now: Instant) -> Vec<ConnectionEntry> {
        let mut entries = Vec::new();
        let connections = self.director.connections();
        connections.list(Cursor::default(), u32::MAX, |_, connection| {
            entries.push(listing::connection(connection, now));
        });
        entries
    }
}
