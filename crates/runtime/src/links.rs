//! The interfaces that the daemon receives and sends on: opened for every worker, opened again when an interface
//! that went away comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use link::steering::Steering;
use link::sys::interface;
use link::{Entry, Group, LinkError, Opened, Outgoing, Request, Transmit, Transmitted};

use crate::error::{Result, RuntimeError};
use crate::network::tables::{self, Tables};
use crate::worker::{Handle, Order};

/// Which interfaces to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Every Ethernet interface but loopback and the ports of bridges and bonds.
    All,
    /// These, by name; each must exist at the start.
    Named(Vec<String>),
    /// TUN devices of these names, to be made.
    Tun(Vec<String>),
}

impl Wanted {
    /// Whether it is one of them.
    #[must_use]
    pub fn wants(&self, link: &tables::Link) -> bool {
        match self {
            Self::All => link.ethernet && !link.loopback && !link.enslaved,
            Self::Named(names) | Self::Tun(names) => names.contains(&link.name),
        }
    }

    /// The name of the kind of link to open on them.
    #[must_use]
    pub const fn link(&self) -> &'static str {
        if self.is_tun() {
            link::tun::ENTRY.name
        } else {
            link::af_packet::ENTRY.name
        }
    }

    /// The kind of link to open on them.
    fn entry(&self) -> Result<&'static Entry> {
        let name = self.link();
        link::entry(name)
            .ok_or_else(|| RuntimeError::Refused(format!("this build has no links of kind {name}")))
    }

    /// Whether the interfaces are TUN devices of the daemon's own.
    #[must_use]
    pub const fn is_tun(&self) -> bool {
        matches!(self, Self::Tun(_))
    }
}

struct Open {
    name: String,
    group: Option<Group>,
    sender: Arc<dyn Transmit>,
}

/// All open interfaces, by index.
pub struct Links {
    wanted: Wanted,
    entry: &'static Entry,
    open: BTreeMap<u32, Open>,
    /// Interfaces that could not be opened, told once: tried again when they change.
    failed: BTreeMap<u32, tables::Link>,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.open.values().map(|open| &open.name);
        formatter.debug_list().entries(names).finish()
    }
}

impl Links {
    /// Checks that the wanted interfaces exist; opens nothing yet.
    ///
    /// # Errors
    /// A name that no interface has, or no interface at all: a sentence that lists those there are.
    pub fn new(wanted: Wanted, tables: &Tables) -> Result<Self> {
        let there: Vec<&str> = tables
            .links()
            .values()
            .filter(|link| !link.loopback)
            .map(|link| link.name.as_str())
            .collect();
        let list = if there.is_empty() {
            "none".into()
        } else {
            there.join(", ")
        };
        let entry = wanted.entry()?;
        if let Wanted::Named(names) = &wanted
            && let Some(name) = names.iter().find(|name| !there.contains(&name.as_str()))
        {
            return Err(RuntimeError::Refused(format!(
                "there is no interface {name} (there are: {list}): correct `interfaces` in the \
                 configuration"
            )));
        }
        if !wanted.is_tun() && !tables.links().values().any(|link| wanted.wants(link)) {
            return Err(RuntimeError::Refused(format!(
                "there is no interface to work on (there are: {list}): name one with `interfaces` in the configuration"
            )));
        }
        Ok(Self {
            wanted,
            entry,
            open: BTreeMap::new(),
            failed: BTreeMap::new(),
        })
    }

    /// The names of the wanted interfaces that are there.
    #[must_use]
    pub fn wanted(&self, tables: &Tables) -> BTreeSet<String> {
        let wanted = tables
            .links()
            .values()
            .filter(|link| self.wanted.wants(link));
        wanted.map(|link| link.name.clone()).collect()
    }

    /// Wants other interfaces from now on; lets go of those not wanted any more.
    ///
    /// # Errors
    /// As [`Links::new`]; nothing changed then.
    pub fn want(&mut self, wanted: Wanted, tables: &Tables, workers: &[Handle]) -> Result<()> {
        self.wanted = Self::new(wanted, tables)?.wanted;
        let is_wanted = |index| {
            tables
                .links()
                .get(&index)
                .is_none_or(|link| self.wanted.wants(link))
        };
        let unwanted: Vec<u32> = self
            .open
            .keys()
            .copied()
            .filter(|&index| !is_wanted(index))
            .collect();
        for index in unwanted {
            self.close(index, workers);
        }
        Ok(())
    }

    /// Opens what is wanted and there, for each worker, and forgets what is gone. `strict`: the first failure is the
    /// caller's; otherwise it is logged, once for each state of the interface.
    ///
    /// # Errors
    /// With `strict`, what the system said.
    pub fn update(
        &mut self,
        tables: &Tables,
        workers: &[Handle],
        steering: &Steering,
        strict: bool,
    ) -> Result<()> {
        let links = tables.links();
        let gone: Vec<u32> = self
            .open
            .iter()
            .filter(|(index, open)| links.get(index).is_none_or(|link| link.name != open.name))
            .map(|(&index, _)| index)
            .collect();
        for index in gone {
            self.close(index, workers);
        }
        self.failed
            .retain(|index, link| links.get(index) == Some(link));
        for name in self.missing(tables) {
            match self.open_one(&name, workers, steering) {
                Ok(()) => tracing::info!("working on {name}"),
                Err(source) if strict => {
                    return Err(RuntimeError::Refused(source.to_string()));
                }
                Err(error) => {
                    tracing::warn!("{error}");
                    let found = links.iter().find(|(_, link)| link.name == name);
                    self.failed
                        .extend(found.map(|(&index, link)| (index, link.clone())));
                }
            }
        }
        Ok(())
    }

    /// The wanted interfaces that are there, not open, and did not fail as they are. TUN devices are made.
    fn missing(&self, tables: &Tables) -> Vec<String> {
        if let Wanted::Tun(names) = &self.wanted {
            let open = |name: &&String| self.open.values().any(|open| open.name == **name);
            return names.iter().filter(|name| !open(name)).cloned().collect();
        }
        tables
            .links()
            .iter()
            .filter(|(index, link)| {
                self.wanted.wants(link)
                    && !self.open.contains_key(index)
                    && !self.failed.contains_key(index)
            })
            .map(|(_, link)| link.name.clone())
            .collect()
    }

    fn open_one(
        &mut self,
        name: &str,
        workers: &[Handle],
        steering: &Steering,
    ) -> std::result::Result<(), LinkError> {
        let request = Request {
            name,
            workers: workers.len(),
            steering,
        };
        let Opened { links, group } = (self.entry.open)(&request)?;
        let index = interface::index(name)
            .map_err(|source| LinkError::new("look up the interface", name, source))?;
        if let Some(first) = links.first() {
            let sender = Arc::clone(&first.sender);
            self.open.insert(
                index,
                Open {
                    name: name.to_owned(),
                    group,
                    sender,
                },
            );
        }
        for (worker, link) in workers.iter().zip(links) {
            worker.order(Order::AddLink {
                interface: index,
                link,
            });
        }
        Ok(())
    }

    /// Lets go of an interface that is gone.
    pub fn close(&mut self, index: u32, workers: &[Handle]) {
        if let Some(open) = self.open.remove(&index) {
            tracing::warn!("no longer working on {}", open.name);
            for worker in workers {
                worker.order(Order::RemoveLink { interface: index });
            }
        }
    }

    /// Tells the kernel a new way to share frames out among the workers.
    pub fn steer(&self, steering: &Steering) {
        for open in self.open.values() {
            // After a failure the old steering goes on; frames of new VIPs are handed over.
            if let Some(Err(error)) = open.group.as_ref().map(|group| group.steer(steering)) {
                tracing::warn!("{error}");
            }
        }
    }

    /// Indices and names of the open interfaces.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.open
            .iter()
            .map(|(&index, open)| (index, open.name.as_str()))
    }

    /// Sends frames of the control thread's own by an interface.
    pub fn send(&self, index: u32, frames: &[Outgoing<'_>]) -> Transmitted {
        self.open
            .get(&index)
            .map_or_else(Transmitted::default, |open| open.sender.transmit(frames))
    }
}
