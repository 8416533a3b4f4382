//! The interfaces that the daemon receives and sends on: opened for every worker, opened again when an interface
//! that went away comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;

use caps::Capability;
use control::config::LinkKind;
use link::assist::Assist;
use link::guard::Flows;
use link::steering::Steering;
use link::sys::interface;
use link::{Entry, Group, LinkError, Opened, Outgoing, Request, Transmit, Transmitted};

use crate::error::{Result, RuntimeError};
use crate::network::tables::{self, Tables};
use crate::worker::{Handle, Order};

/// Which interfaces to work on, and by which kind of link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// These, by name; `None` = every Ethernet interface but loopback and the ports of bridges and bonds, and those of
    /// `links`.
    pub names: Option<BTreeSet<String>>,
    /// The kind of link where `links` does not say.
    pub link: LinkKind,
    /// Interfaces with a kind of link of their own, by name.
    pub links: BTreeMap<String, Choice>,
}

/// The kind of link of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub link: LinkKind,
    /// Where the configuration says so.
    pub place: String,
}

impl Wanted {
    /// Whether it is one of them.
    #[must_use]
    pub fn wants(&self, link: &tables::Link) -> bool {
        match &self.names {
            Some(names) => names.contains(&link.name),
            None if self.links.contains_key(&link.name) => true,
            None => link.ethernet && !link.loopback && !link.enslaved,
        }
    }

    /// The names that the operator gave.
    pub fn named(&self) -> impl Iterator<Item = &String> {
        let names: Vec<&String> = match &self.names {
            Some(names) => names.iter().collect(),
            None => self.links.keys().collect(),
        };
        names.into_iter()
    }

    /// The kind of link to open on an interface.
    #[must_use]
    pub fn kind(&self, name: &str) -> LinkKind {
        self.links.get(name).map_or(self.link, |choice| choice.link)
    }

    /// The names of the TUN devices to be made.
    fn tuns(&self) -> impl Iterator<Item = &String> {
        self.named().filter(|name| self.kind(name) == LinkKind::Tun)
    }

    /// The kinds of links to open, each once.
    #[must_use]
    pub fn kinds(&self) -> Vec<LinkKind> {
        let default = Some(self.link).filter(|_| self.names.is_none());
        let named = self.named().map(|name| self.kind(name));
        let used: Vec<LinkKind> = default.into_iter().chain(named).collect();
        let all = LinkKind::ALL.into_iter();
        all.filter(|kind| used.contains(kind)).collect()
    }

    /// Whether some of the interfaces are TUN devices of the daemon's own.
    #[must_use]
    pub fn has_tun(&self) -> bool {
        self.kinds().contains(&LinkKind::Tun)
    }

    /// Whether some of the interfaces are there without the daemon.
    #[must_use]
    pub fn has_others(&self) -> bool {
        self.kinds().iter().any(|kind| *kind != LinkKind::Tun)
    }

    /// A sentence about the link of an interface, with the place where the configuration speaks of it alone.
    fn about(&self, name: &str, sentence: impl Display) -> RuntimeError {
        RuntimeError::Refused(match self.links.get(name) {
            Some(choice) => format!("{}: {sentence}", choice.place),
            None => sentence.to_string(),
        })
    }
}

/// The kind of link of that name.
fn entry(kind: LinkKind) -> Result<&'static Entry> {
    let name = kind.name();
    link::entry(name)
        .ok_or_else(|| RuntimeError::Refused(format!("this build has no links of kind {name}")))
}

/// Lets the host take packets from its own addresses by a TUN device: those that ulvs puts into tunnels.
fn accept_own_addresses(name: &str) {
    let path = format!("/proc/sys/net/ipv4/conf/{name}/accept_local");
    let is_on = std::fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1");
    if is_on {
        return;
    }
    if let Err(error) = std::fs::write(&path, "1") {
        tracing::warn!(
            "the host will drop tunnelled packets that come by {name} ({error}): `sysctl net.ipv4.conf.{name}.accept_local=1`"
        );
    }
}

struct Open {
    name: String,
    kind: LinkKind,
    group: Option<Group>,
    sender: Arc<dyn Transmit>,
    /// How it is done, where there is a choice.
    detail: Option<String>,
}

/// All open interfaces, by index.
pub struct Links {
    wanted: Wanted,
    open: BTreeMap<u32, Open>,
    /// By which the kernel sends on established flows.
    assist: Option<Assist>,
    /// Interfaces that could not be opened, by name, as they were: told once, and tried again when they change.
    failed: BTreeMap<String, Option<tables::Link>>,
    /// What links take that take it away from the host.
    flows: Option<Flows>,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.open.values().map(|open| &open.name);
        formatter.debug_list().entries(names).finish()
    }
}

impl Links {
    /// Checks that the wanted interfaces exist, but for TUN devices; opens nothing yet.
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
        let is_missing =
            |name: &&String| wanted.kind(name) != LinkKind::Tun && !there.contains(&name.as_str());
        if let Some(name) = wanted.named().find(is_missing) {
            let sentence = format!(
                "there is no interface {name} (there are: {list}): correct `interfaces` in the \
                 configuration"
            );
            return Err(wanted.about(name, sentence));
        }
        if !wanted.has_tun() && !tables.links().values().any(|link| wanted.wants(link)) {
            return Err(RuntimeError::Refused(format!(
                "there is no interface to work on (there are: {list}): name one with `interfaces` in the configuration"
            )));
        }
        Ok(Self {
            wanted,
            open: BTreeMap::new(),
            assist: None,
            failed: BTreeMap::new(),
            flows: None,
        })
    }

    /// Lets the kernel send on established flows by this, on all interfaces that are opened from now on.
    pub fn assist_by(&mut self, assist: Option<Assist>) {
        self.assist = assist;
    }

    /// By what the kernel sends on established flows.
    #[must_use]
    pub const fn assist(&self) -> Option<&Assist> {
        self.assist.as_ref()
    }

    /// The interfaces on which it does.
    #[must_use]
    pub fn assisted(&self) -> Vec<String> {
        let assist = self.assist.iter();
        assist
            .flat_map(Assist::interfaces)
            .map(str::to_owned)
            .collect()
    }

    /// What links opened from now on take away from the host: what the guard drops.
    pub fn follow(&mut self, flows: Option<&Flows>) {
        self.flows = flows.cloned();
    }

    /// The names of the wanted interfaces that are there, but for TUN devices: what a guard goes on.
    #[must_use]
    pub fn wanted(&self, tables: &Tables) -> BTreeSet<String> {
        let links = tables.links().values();
        let is_other = |link: &&tables::Link| self.wanted.kind(&link.name) != LinkKind::Tun;
        let wanted = links
            .filter(|link| self.wanted.wants(link))
            .filter(is_other);
        wanted.map(|link| link.name.clone()).collect()
    }

    /// Wants other interfaces from now on; lets go of those not wanted any more, or by another kind of link.
    ///
    /// # Errors
    /// As [`Links::new`]; nothing changed then.
    pub fn want(&mut self, wanted: Wanted, tables: &Tables, workers: &[Handle]) -> Result<()> {
        self.wanted = Self::new(wanted, tables)?.wanted;
        self.failed.clear();
        let is_wanted = |index, open: &Open| {
            let link = tables.links().get(&index);
            open.kind == self.wanted.kind(&open.name)
                && link.is_none_or(|link| self.wanted.wants(link))
        };
        let unwanted: Vec<u32> = self
            .open
            .iter()
            .filter(|&(&index, open)| !is_wanted(index, open))
            .map(|(&index, _)| index)
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
        let found = |name: &str| links.values().find(|link| link.name == name);
        self.failed
            .retain(|name, link| found(name) == link.as_ref());
        for name in self.missing(tables) {
            let kind = self.wanted.kind(&name);
            let opened = self.open_one(&name, kind, workers, steering);
            match opened.map_err(|error| self.wanted.about(&name, error)) {
                Ok(None) => tracing::info!("working on {name} by {}", kind.name()),
                Ok(Some(detail)) => {
                    tracing::info!("working on {name} by {} ({detail})", kind.name());
                }
                Err(error) if strict => return Err(error),
                Err(error) => {
                    tracing::warn!("{error}");
                    let as_it_is = found(&name).cloned();
                    self.failed.insert(name, as_it_is);
                }
            }
        }
        Ok(())
    }

    /// The wanted interfaces that are there, not open, and did not fail as they are. TUN devices are made.
    fn missing(&self, tables: &Tables) -> Vec<String> {
        let links = tables.links().iter();
        let there = links
            .filter(|(index, link)| self.wanted.wants(link) && !self.open.contains_key(index))
            .map(|(_, link)| &link.name);
        let is_open = |name: &&String| self.open.values().any(|open| open.name == **name);
        let tuns = self.wanted.tuns().filter(|name| !is_open(name));
        let names: BTreeSet<&String> = there.chain(tuns).collect();
        names
            .into_iter()
            .filter(|name| !self.failed.contains_key(*name))
            .cloned()
            .collect()
    }

    /// Opens an interface for each worker; returns how it is done, where there is a choice.
    fn open_one(
        &mut self,
        name: &str,
        kind: LinkKind,
        workers: &[Handle],
        steering: &Steering,
    ) -> std::result::Result<Option<String>, Box<dyn Error>> {
        let request = Request {
            name,
            workers: workers.len(),
            steering,
            flows: self.flows.as_ref(),
        };
        let Opened {
            links,
            group,
            detail,
            unsteered,
        } = (entry(kind)?.open)(&request)?;
        if let Some(error) = unsteered {
            tracing::warn!("{error}; workers hand frames over to each other");
        }
        let index = interface::index(name)
            .map_err(|source| LinkError::new("look up the interface", name, source))?;
        if kind == LinkKind::Tun {
            accept_own_addresses(name);
        }
        if let (LinkKind::AfPacket, Some(assist), Some(Group::AfPacket(group))) =
            (kind, &mut self.assist, &group)
            && let Err(error) = assist
                .attach(name)
                .and_then(|()| group.assist(assist.filter()))
        {
            // Without the program behind it, the filter would take frames that nobody sends on.
            group.end_assist();
            assist.detach(index);
            tracing::warn!("every packet of {name} wakes a worker: {error}");
        }
        if let Some(first) = links.first() {
            let sender = Arc::clone(&first.sender);
            self.open.insert(
                index,
                Open {
                    name: name.to_owned(),
                    kind,
                    group,
                    sender,
                    detail: detail.clone(),
                },
            );
        }
        for (worker, link) in workers.iter().zip(links) {
            worker.order(Order::AddLink {
                interface: index,
                link,
            });
        }
        Ok(detail)
    }

    /// Lets go of an interface that is gone.
    pub fn close(&mut self, index: u32, workers: &[Handle]) {
        if let Some(open) = self.open.remove(&index) {
            tracing::warn!("no longer working on {}", open.name);
            if let Some(Group::AfPacket(group)) = &open.group {
                group.end_assist();
            }
            if let Some(assist) = &mut self.assist {
                assist.detach(index);
            }
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

    /// The same of those that are no TUN devices: they have link addresses, and the host hears what comes by them.
    pub fn on_wires(&self) -> impl Iterator<Item = (u32, &str)> {
        let open = self.open.iter();
        open.filter(|(_, open)| open.kind != LinkKind::Tun)
            .map(|(&index, open)| (index, open.name.as_str()))
    }

    /// The open TUN device by which packets go that no open interface leads to.
    #[must_use]
    pub fn tun(&self) -> Option<u32> {
        let mut open = self.open.iter();
        open.find(|(_, open)| open.kind == LinkKind::Tun)
            .map(|(&index, _)| index)
    }

    /// Capabilities that the control thread keeps: to make a TUN device again that went away and steer its packets, and to
    /// give AF_XDP sockets their memory again.
    #[must_use]
    pub fn capabilities(&self) -> Vec<Capability> {
        let needed = |kind| match kind {
            LinkKind::Tun => vec![Capability::CAP_NET_ADMIN, Capability::CAP_BPF],
            LinkKind::AfXdp => vec![Capability::CAP_IPC_LOCK],
            LinkKind::AfPacket => Vec::new(),
        };
        self.wanted.kinds().into_iter().flat_map(needed).collect()
    }

    /// Names of the open interfaces with their kinds of link.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, LinkKind)> {
        let open = self.open.values();
        open.map(|open| (open.name.as_str(), open.kind))
    }

    /// Names of the open interfaces whose kind of link has a choice, with how it is done.
    pub fn details(&self) -> impl Iterator<Item = (&str, &str)> {
        let open = self.open.values();
        open.filter_map(|open| Some((open.name.as_str(), open.detail.as_deref()?)))
    }

    /// Sends frames of the control thread's own by an interface.
    pub fn send(&self, index: u32, frames: &[Outgoing<'_>]) -> Transmitted {
        self.open
            .get(&index)
            .map_or_else(Transmitted::default, |open| open.sender.transmit(frames))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configured_kind_of_link_is_there() {
        for kind in LinkKind::ALL {
            assert_eq!(entry(kind).unwrap().name, kind.name());
        }
    }
}
