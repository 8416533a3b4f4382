//! Keeping the host's kernel from answering what ulvs has taken.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use caps::Capability;
use director::net::Answer;
use director::services::Services;

use crate::links::Links;
use crate::network::tables::Tables;
use crate::vips::{self, Choice, Forwarding};

/// The guard, or why there is none.
#[derive(Debug)]
pub(super) struct Shield {
    /// Why no guard can be set on this host.
    refusal: Option<String>,
    told: BTreeSet<String>,
}

impl Shield {
    /// A shield that is not up yet.
    pub(super) fn new() -> Self {
        Self {
            refusal: Some("not permitted".into()),
            told: BTreeSet::new(),
        }
    }

    /// Capabilities that the control thread keeps: to open an interface again that went away and came back.
    pub(super) fn capabilities(&self) -> &'static [Capability] {
        match self.refusal {
            Some(_) => &[Capability::CAP_NET_RAW],
            None => &[
                Capability::CAP_NET_RAW,
                Capability::CAP_NET_ADMIN,
                Capability::CAP_BPF,
            ],
        }
    }

    /// Whether a service for `vip` can work here: either the kernel keeps silent, or a guard can be set.
    ///
    /// # Errors
    /// A sentence that says why not, and what to do.
    pub(super) fn check(&self, tables: &Tables, vip: IpAddr, choice: Choice) -> Result<(), String> {
        let Some(refusal) = &self.refusal else {
            return Ok(());
        };
        let answer = match vips::place(tables, vip, choice) {
            Ok(placement) => placement.answer,
            // Told when the VIP is placed.
            Err(_) => Answer::Owned,
        };
        match vips::guard_reason(tables, vip, answer, Forwarding::read()) {
            Some(reason) => Err(vips::unguarded(&reason, refusal, vip, answer)),
            None => Ok(()),
        }
    }

    /// Brings the guard in line with services, VIPs and host.
    pub(super) fn update(
        &mut self,
        tables: &Tables,
        services: &Services,
        answers: &HashMap<IpAddr, Answer>,
        links: &Links,
    ) {
        let _ = (services, links);
        let Some(refusal) = &self.refusal else {
            return;
        };
        let forwarding = Forwarding::read();
        for (&vip, &answer) in answers {
            if let Some(reason) = vips::guard_reason(tables, vip, answer, forwarding) {
                let sentence = vips::unguarded(&reason, refusal, vip, answer);
                if self.told.insert(sentence.clone()) {
                    tracing::error!("{sentence}");
                }
            }
        }
    }
}
