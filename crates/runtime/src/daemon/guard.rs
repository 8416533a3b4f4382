//! Keeping the host's kernel from answering what ulvs has taken.

use std::collections::{BTreeSet, HashMap};
use std::iter;
use std::net::IpAddr;

use caps::Capability;
use director::destination::{self, Destination};
use director::net::Answer;
use director::protocol::Protocol;
use director::service::ServiceKey;
use director::services::FTP_PORT;
use director::shared::Shared;
use link::guard::{Endpoint, Flows, Guard, Method, Rules};

use super::control::Control;
use super::settings::Settings;
use crate::links::{Links, Wanted};
use crate::log::Told;
use crate::network::tables::Tables;
use crate::vips::{self, Forwarding, Wish};
use crate::worker::Order;

/// The guard, or why there is none.
#[derive(Debug)]
pub(super) struct Shield {
    guard: Result<Guard, String>,
    /// What the guard is attached to.
    interfaces: BTreeSet<String>,
    rules: Rules,
    /// Some of the rules are about real servers that translate no new connections, but still have some.
    keeps: bool,
    told: Told,
    /// On TUN devices the host's kernel is meant to route what ulvs gets and sends.
    needless: bool,
}

impl Shield {
    /// What these interfaces need: a guard on those that the host hears too.
    pub(super) fn of(interfaces: &Wanted, links: &Links, tables: &Tables) -> Self {
        if interfaces.has_others() {
            Self::raise(links.wanted(tables))
        } else {
            Self::needless()
        }
    }

    /// Attaches a guard to these interfaces, where the system permits; it drops nothing yet.
    fn raise(interfaces: BTreeSet<String>) -> Self {
        let guard = Guard::attach(&names(&interfaces));
        match &guard {
            Ok(guard) => tracing::info!("guard by {}", guard.method()),
            Err(error) => tracing::debug!("{error}"),
        }
        let guard = guard.map_err(|error| {
            let (tcx, nftables) = (&error.tcx.source, &error.nftables.source);
            format!("TCX: {tcx}; nftables: {nftables}")
        });
        Self {
            guard,
            interfaces,
            rules: Rules::default(),
            keeps: false,
            told: Told::default(),
            needless: false,
        }
    }

    /// No guard, and no need of one.
    fn needless() -> Self {
        Self {
            guard: Err("not needed".into()),
            interfaces: BTreeSet::new(),
            rules: Rules::default(),
            keeps: false,
            told: Told::default(),
            needless: true,
        }
    }

    /// Whether these interfaces need it as it is: a guard, or none.
    pub(super) fn suits(&self, interfaces: &Wanted) -> bool {
        self.needless != interfaces.has_others()
    }

    /// How the kernel is kept silent; `None` = not at all.
    pub(super) fn method(&self) -> Option<Method> {
        self.guard.as_ref().ok().map(Guard::method)
    }

    /// What the guard drops, for links that take it from the interface themselves.
    pub(super) fn flows(&self) -> Option<&Flows> {
        self.guard.as_ref().ok().and_then(Guard::flows)
    }

    /// Capabilities that the control thread keeps: to open an interface again that went away and came back, and to
    /// guard that too.
    pub(super) const fn capabilities(&self) -> &'static [Capability] {
        match self.guard {
            Ok(_) => &[
                Capability::CAP_NET_RAW,
                Capability::CAP_NET_ADMIN,
                Capability::CAP_BPF,
            ],
            Err(_) => &[Capability::CAP_NET_RAW],
        }
    }

    /// Whether a service for `vip` can work here: either the kernel keeps silent, or there is a guard.
    ///
    /// # Errors
    /// A sentence that says why not, and what to do.
    pub(super) fn check(&self, tables: &Tables, vip: IpAddr, wish: &Wish) -> Result<(), String> {
        let answer = match vips::place(tables, vip, wish) {
            Ok(placement) => placement.answer,
            // Told when the VIP is placed.
            Err(_) => Answer::Owned,
        };
        self.complaint(tables, vip, answer, Forwarding::read())
            .map_or(Ok(()), Err)
    }

    /// Why this VIP needs a guard that is not there.
    fn complaint(
        &self,
        tables: &Tables,
        vip: IpAddr,
        answer: Answer,
        forwarding: Forwarding,
    ) -> Option<String> {
        let refusal = self.guard.as_ref().err().filter(|_| !self.needless)?;
        let reason = vips::guard_reason(tables, vip, answer, forwarding)?;
        Some(vips::unguarded(&reason, refusal, vip, answer))
    }

    /// Brings the guard in line with services, VIPs and host. What cannot be done is logged.
    pub(super) fn update(
        &mut self,
        tables: &Tables,
        shared: &Shared,
        settings: &Settings,
        answers: &HashMap<IpAddr, Answer>,
        interfaces: BTreeSet<String>,
    ) {
        let forwarding = Forwarding::read();
        let complaints: Vec<String> = answers
            .iter()
            .filter_map(|(&vip, &answer)| self.complaint(tables, vip, answer, forwarding))
            .collect();
        for sentence in complaints {
            self.tell(&sentence);
        }
        let Ok(guard) = &mut self.guard else {
            return;
        };
        let attached = if interfaces == self.interfaces {
            Ok(())
        } else {
            guard.reattach(&names(&interfaces))
        };
        let mut rules = rules(tables, shared, settings, answers);
        let kept = kept(shared, settings, &self.rules.real_servers);
        let wanted = |one: &Endpoint| rules.real_servers.binary_search(one).is_ok();
        let data = passive_data(shared, answers);
        self.keeps = !kept.iter().all(wanted) || data != Rules::default();
        rules.services = sorted(rules.services.into_iter().chain(data.services));
        let replies = kept.into_iter().chain(data.real_servers);
        rules.real_servers = sorted(rules.real_servers.into_iter().chain(replies));
        let updated = if rules == self.rules {
            Ok(())
        } else {
            guard.update(&rules)
        };
        // After a failure both are tried again with the next change.
        if attached.is_ok() {
            self.interfaces = interfaces;
        }
        if updated.is_ok() {
            self.rules = rules;
        }
        for error in [attached, updated].into_iter().filter_map(Result::err) {
            tracing::error!("the guard is not in line: {error}");
        }
    }

    /// Takes in FTP data connections that were announced, before anybody else hears of them. They go with the first
    /// update after their end.
    fn expect(&mut self, shared: &Shared, answers: &HashMap<IpAddr, Answer>) {
        let Ok(guard) = &mut self.guard else {
            return;
        };
        let data = passive_data(shared, answers);
        if let Err(error) = guard.extend(&data) {
            tracing::error!("the guard is not in line: {error}");
            return;
        }
        self.keeps = true;
        for (rules, more) in [
            (&mut self.rules.services, data.services),
            (&mut self.rules.real_servers, data.real_servers),
        ] {
            for endpoint in more {
                if let Err(place) = rules.binary_search(&endpoint) {
                    rules.insert(place, endpoint);
                }
            }
        }
    }

    /// Whether some rules are to go as soon as connections end, which no command tells.
    pub(super) const fn keeps(&self) -> bool {
        self.keeps
    }

    fn tell(&mut self, sentence: &str) {
        if self.told.is_new(sentence) {
            tracing::error!("{sentence}");
        }
    }
}

impl Control {
    /// FTP data connections were announced: the guard comes first, then the worker may say it.
    pub(super) fn announced(&mut self, worker: usize) {
        self.shield.expect(&self.shared, &self.presence.answers());
        if let Some(worker) = self.workers.get(worker) {
            worker.order(Order::Release);
        }
    }
}

fn names(interfaces: &BTreeSet<String>) -> Vec<&str> {
    interfaces.iter().map(String::as_str).collect()
}

/// What the kernel must not see.
fn rules(
    tables: &Tables,
    shared: &Shared,
    settings: &Settings,
    answers: &HashMap<IpAddr, Answer>,
) -> Rules {
    let owned = answers
        .iter()
        .filter(|(_, answer)| **answer == Answer::Owned);
    let own = tables
        .links()
        .keys()
        .flat_map(|&index| tables.addresses(index));
    let mut rules = Rules {
        owned: sorted(owned.map(|(&vip, _)| vip)),
        locals: sorted(own.map(|&(address, _)| address)),
        ..Rules::default()
    };
    for service in shared.snapshot().iter() {
        for endpoint in settings.endpoints_of(&service.config.key) {
            let is_local = answers.get(&endpoint.address) == Some(&Answer::Local);
            if is_local {
                rules.services.push(endpoint);
            }
            // Replies to be translated would leak untranslated through a kernel that forwards, now or later: turning
            // forwarding on is nothing that the kernel tells us.
            for server in service.destinations.iter() {
                if server.method() == destination::Method::Masq {
                    let replies = replies_of(server, endpoint);
                    rules.real_servers.push(replies);
                    rules.real_servers.extend(active_data(endpoint, replies));
                    let data = active_data(endpoint, endpoint).filter(|_| is_local);
                    rules.services.extend(data);
                }
            }
        }
    }
    rules.services = sorted(rules.services.into_iter());
    rules.real_servers = sorted(rules.real_servers.into_iter());
    rules
}

/// Which of the real servers that were guarded so far (in order) still have connections. A connection outlives the deletion of its
/// real server, and an edit of its method; its replies are to be translated until it ends.
fn kept(shared: &Shared, settings: &Settings, guarded: &[Endpoint]) -> BTreeSet<Endpoint> {
    let services = shared.snapshot();
    let mut kept = BTreeSet::new();
    let mut look = |key: &ServiceKey, server: &Destination| {
        // Without any service of its family nothing is translated, and the kernel's director is out of the way too.
        if server.has_connections() && services.serves(key.family()) {
            let endpoints = settings.endpoints_of(key).into_iter();
            let replies = endpoints.flat_map(|endpoint| {
                let replies = replies_of(server, endpoint);
                iter::once(replies).chain(active_data(endpoint, replies))
            });
            kept.extend(replies.filter(|one| guarded.binary_search(one).is_ok()));
        }
    };
    for service in services.iter() {
        for server in service.destinations.iter() {
            look(&service.config.key, server);
        }
    }
    shared.for_each_deleted(look);
    kept
}

/// Where the replies of a real server to connections with a service's `endpoint` come from.
fn replies_of(server: &Destination, endpoint: Endpoint) -> Endpoint {
    Endpoint {
        address: server.address,
        port: server.port,
        ..endpoint
    }
}

/// Where active FTP data connections come from, for a service's `endpoint`: the port below the one that control
/// connections go to at `server`, the virtual or a real one. None for other services, and where any port is meant.
fn active_data(endpoint: Endpoint, server: Endpoint) -> Option<Endpoint> {
    let is_ftp = endpoint.protocol == Protocol::Tcp.number() && endpoint.port == FTP_PORT;
    let port = server.port.checked_sub(1).filter(|_| is_ftp)?;
    Some(Endpoint { port, ..server })
}

/// The endpoints of passive FTP data connections: the virtual servers' on the host's addresses, and the real servers'.
fn passive_data(shared: &Shared, answers: &HashMap<IpAddr, Answer>) -> Rules {
    let endpoint = |(address, port)| Endpoint {
        protocol: Protocol::Tcp.number(),
        address,
        port,
    };
    let ends = shared.owners.passive();
    let is_local = |one: &Endpoint| answers.get(&one.address) == Some(&Answer::Local);
    let services = ends.iter().map(|one| endpoint(one.virtual_server));
    Rules {
        services: sorted(services.filter(is_local)),
        real_servers: sorted(ends.iter().map(|one| endpoint(one.server))),
        ..Rules::default()
    }
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_data_comes_from_the_port_below() {
        let tcp = Protocol::Tcp.number();
        let at = |protocol, last: u8, port| Endpoint {
            protocol,
            address: IpAddr::from([10, 0, 0, last]),
            port,
        };
        let (vip, server) = (at(tcp, 1, 21), at(tcp, 2, 2121));
        assert_eq!(active_data(vip, vip), Some(at(tcp, 1, 20)));
        assert_eq!(active_data(vip, server), Some(at(tcp, 2, 2120)));
        // Any port is guarded already.
        assert_eq!(active_data(vip, at(tcp, 2, 0)), None);
        assert_eq!(active_data(at(tcp, 1, 80), server), None);
        let udp = Protocol::Udp.number();
        assert_eq!(active_data(at(udp, 1, 21), at(udp, 2, 2121)), None);
    }
}
