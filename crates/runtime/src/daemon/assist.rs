//! The kernel assist, as the control thread keeps it in line: made at the start, void when anything changes, counted
//! before anything is shown.

use caps::Capability;
use control::config::LinkKind;
use control::netlink::Request;
use director::assist::Scope;
use link::assist::Assist;

use super::ask::ask;
use super::control::Control;
use crate::links::Wanted;

/// Makes the assist where it is wanted and possible; the log says which.
pub(super) fn raise(scope: Option<Scope>, interfaces: &Wanted) -> Option<Assist> {
    let is_of_use = interfaces.kinds().contains(&LinkKind::AfPacket);
    let flows = match scope.filter(|_| is_of_use)? {
        Scope::Tcp => "TCP connections",
        Scope::All => "TCP connections and UDP flows",
    };
    match Assist::load() {
        Ok(assist) => {
            tracing::info!("the kernel sends on established {flows} by itself");
            Some(assist)
        }
        Err(error) => {
            tracing::info!("without the kernel's assist, every packet wakes a worker: {error}");
            None
        }
    }
}

impl Control {
    /// Capabilities that the control thread keeps: to attach the programs to an interface that comes back.
    pub(super) fn assist_capabilities(&self) -> &'static [Capability] {
        match self.links.assist() {
            Some(_) => &[Capability::CAP_NET_ADMIN, Capability::CAP_BPF],
            None => &[],
        }
    }

    /// What was decided is void: services, settings or host have changed.
    pub(super) fn void_assisted(&self) {
        if let Some(assist) = self.links.assist() {
            assist.flows().invalidate();
        }
    }

    /// The same, after a request that changes something.
    pub(super) fn void_after(&self, request: &Request) {
        if !asks(request) {
            self.void_assisted();
        }
    }

    /// Counts what the kernel sent on by itself. Before anything is shown, estimated, or changed.
    pub(super) fn fold_assisted(&self) {
        if self.links.assist().is_none_or(|it| it.flows().count() == 0) {
            return;
        }
        let now = self.clock.now();
        for worker in &self.workers {
            let mut from = None;
            while let Some(Some(next)) = ask(worker, move |director| director.fold(now, from)) {
                from = Some(next);
            }
        }
    }
}

/// Whether a request only asks.
const fn asks(request: &Request) -> bool {
    matches!(
        request,
        Request::GetService(_)
            | Request::DumpServices
            | Request::DumpDests(_)
            | Request::DumpDaemons
            | Request::GetConfig
            | Request::GetInfo
            | Request::DumpConnections
            | Request::DumpSettings
            | Request::DumpText(_)
    )
}
