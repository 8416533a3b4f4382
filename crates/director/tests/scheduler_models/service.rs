//! The modelled service: its real servers with their connections and thresholds, and what a formula sees of them.

use std::net::IpAddr;

/// A real server's number: its place in [`Service::servers`], for ever.
pub(crate) type Id = usize;

/// A real server, as the kernel's `struct ip_vs_dest` is described.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) weight: i128,
    /// The latest weight that was not 0, or the one that it was added with.
    pub(crate) last_weight: i128,
    pub(crate) upper: i128,
    pub(crate) lower: i128,
    pub(crate) overloaded: bool,
    /// In the service's list; false once it was deleted.
    pub(crate) listed: bool,
    pub(crate) active: i128,
    pub(crate) inactive: i128,
}

impl Server {
    pub(crate) fn usable(&self) -> bool {
        self.weight > 0 && !self.overloaded
    }

    /// An active connection counts as 256 inactive ones.
    pub(crate) fn overhead(&self) -> i128 {
        256 * self.active + self.inactive
    }

    /// A new connection: inactive at first.
    pub(crate) fn bind(&mut self) {
        self.inactive += 1;
        if self.upper > 0 && self.active + self.inactive >= self.upper {
            self.overloaded = true;
        }
    }

    /// A connection changes between active and inactive.
    pub(crate) fn turn(&mut self, to_active: bool) {
        let change = if to_active { 1 } else { -1 };
        self.active += change;
        self.inactive -= change;
    }

    /// A connection ends.
    pub(crate) fn unbind(&mut self, was_active: bool) {
        if was_active {
            self.active -= 1;
        } else {
            self.inactive -= 1;
        }
        let connections = self.active + self.inactive;
        let relieved = if self.lower > 0 {
            connections < self.lower
        } else if self.upper > 0 {
            4 * connections < 3 * self.upper
        } else {
            true
        };
        if relieved {
            self.overloaded = false;
        }
    }

    /// New settings; `added` when it comes (back) into the list by them.
    pub(crate) fn set(&mut self, weight: i128, upper: i128, lower: i128, added: bool) {
        if added || weight != 0 {
            self.last_weight = weight;
        }
        self.weight = weight;
        if upper == 0 || upper > self.upper {
            self.overloaded = false;
        }
        self.upper = upper;
        self.lower = lower;
        self.listed = true;
    }
}

/// What a formula decides on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) servers: &'a [Server],
    /// Newest first.
    pub(crate) list: &'a [Id],
    /// An IPv4 service; its real servers may be of the other family.
    pub(crate) is_v4: bool,
}

impl Scene<'_> {
    pub(crate) fn server(&self, id: Id) -> &Server {
        &self.servers[id]
    }

    /// The first usable real server of `among` that no later one beats.
    pub(crate) fn first_unbeaten(
        &self,
        among: &[Id],
        beats: impl Fn(&Server, &Server) -> bool,
    ) -> Option<Id> {
        let mut best = None;
        for &id in among {
            if !self.server(id).usable() {
                continue;
            }
            if best.is_none_or(|best| beats(self.server(id), self.server(best))) {
                best = Some(id);
            }
        }
        best
    }
}

/// A new connection, and the settings that count for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) client: IpAddr,
    pub(crate) client_port: u16,
    pub(crate) virtual_address: IpAddr,
    /// `sh-port`, `mh-port`.
    pub(crate) with_port: bool,
    /// `sh-fallback`, `mh-fallback`.
    pub(crate) with_fallback: bool,
    /// Milliseconds.
    pub(crate) now: u64,
    /// `lblc_expiration`, `lblcr_expiration`, milliseconds.
    pub(crate) expiration: u64,
}

/// A scheduler as a formula.
pub(crate) trait Formula {
    /// The list is another one, or a real server of it has other settings.
    fn changed(&mut self, _scene: Scene<'_>) {}

    /// `gone` was deleted; `before` is the real server that stood before it in the list.
    fn deleted(&mut self, _gone: Id, _before: Option<Id>) {}

    /// The real server of a new connection.
    fn pick(&mut self, scene: Scene<'_>, arrival: Arrival) -> Option<Id>;
}

/// The formula of a scheduler.
pub(crate) fn formula(scheduler: &str) -> Option<Box<dyn Formula>> {
    use crate::{hashes, loads, locality, turns};
    Some(match scheduler {
        "rr" => Box::new(turns::RoundRobin::default()),
        "wrr" => Box::new(turns::WeightedRoundRobin::default()),
        "lc" => Box::new(loads::LeastConnection),
        "wlc" => Box::new(loads::WeightedLeastConnection),
        "sed" => Box::new(loads::ShortestExpectedDelay),
        "nq" => Box::new(loads::NeverQueue),
        "fo" => Box::new(loads::Failover),
        "ovf" => Box::new(loads::Overflow),
        "sh" => Box::new(hashes::SourceHash::default()),
        "dh" => Box::new(hashes::DestinationHash::default()),
        "mh" => Box::new(hashes::Maglev::default()),
        "lblc" => Box::new(locality::Lblc::default()),
        "lblcr" => Box::new(locality::Lblcr::default()),
        _ => return None,
    })
}

/// A service and its scheduler.
pub(crate) struct Service {
    /// All real servers that it ever had.
    pub(crate) servers: Vec<Server>,
    pub(crate) list: Vec<Id>,
    is_v4: bool,
    formula: Box<dyn Formula>,
}

impl Service {
    pub(crate) fn new(is_v4: bool, formula: Box<dyn Formula>) -> Self {
        Self {
            servers: Vec::new(),
            list: Vec::new(),
            is_v4,
            formula,
        }
    }

    fn tell(&mut self) {
        let scene = Scene {
            servers: &self.servers,
            list: &self.list,
            is_v4: self.is_v4,
        };
        self.formula.changed(scene);
    }

    pub(crate) fn pick(&mut self, arrival: Arrival) -> Option<Id> {
        let scene = Scene {
            servers: &self.servers,
            list: &self.list,
            is_v4: self.is_v4,
        };
        self.formula.pick(scene, arrival)
    }

    /// Adds a real server that never was in the list.
    pub(crate) fn add(&mut self, server: Server) -> Id {
        self.servers.push(server);
        let id = self.servers.len() - 1;
        self.list.insert(0, id);
        self.tell();
        id
    }

    /// Adds one that was deleted: it still has its connections.
    pub(crate) fn add_again(&mut self, id: Id, weight: i128, upper: i128, lower: i128) {
        self.servers[id].set(weight, upper, lower, true);
        self.list.insert(0, id);
        self.tell();
    }

    pub(crate) fn edit(&mut self, id: Id, weight: i128, upper: i128, lower: i128) {
        self.servers[id].set(weight, upper, lower, false);
        self.tell();
    }

    pub(crate) fn delete(&mut self, id: Id) {
        let at = self.list.iter().position(|&other| other == id).unwrap();
        let before = at.checked_sub(1).map(|before| self.list[before]);
        self.list.remove(at);
        self.servers[id].listed = false;
        self.formula.deleted(id, before);
        self.tell();
    }

    /// Another scheduler takes the list over.
    pub(crate) fn bind(&mut self, formula: Box<dyn Formula>) {
        self.formula = formula;
        self.tell();
    }
}
