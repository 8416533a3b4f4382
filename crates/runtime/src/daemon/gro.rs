//! Receive aggregation (GRO) of the veth interfaces that the daemon works on.
//!
//! A veth interface has it off by default, and then passes on each frame of MTU size by itself; with it, segments of a
//! stream come as super-frames, which cost as much as one frame. Other drivers decide better themselves.
//!
//! Promises: what was off and was turned on here is turned off again at the end, or when the interface is not worked on
//! any more. Nothing else of an interface is changed. After SIGKILL it stays on.

use std::collections::{BTreeMap, BTreeSet};

use caps::Capability;
use control::config::Gro;
use link::sys::ethtool::{self, Feature};
use link::sys::interface;

const AGGREGATION: Feature = Feature::ReceiveAggregation;
/// The driver whose interfaces are meant.
const VETH: &str = "veth";

/// What was done to which interface.
#[derive(Debug, Default)]
pub(super) struct Aggregation {
    /// Interfaces that were looked at; what somebody else changes later stays.
    seen: BTreeSet<u32>,
    /// Those where it was turned on, with their names.
    turned_on: BTreeMap<u32, String>,
}

impl Aggregation {
    /// Turns it on where it is off, on interfaces that are new; off again on those that are not worked on any more, or
    /// everywhere when the operator wants interfaces left alone.
    pub(super) fn update<'a>(
        &mut self,
        interfaces: impl Iterator<Item = (u32, &'a str)>,
        gro: Gro,
    ) {
        let interfaces: BTreeMap<u32, &str> = match gro {
            Gro::Auto => interfaces.collect(),
            Gro::Leave => BTreeMap::new(),
        };
        self.seen.retain(|index| interfaces.contains_key(index));
        let unused: Vec<u32> = self
            .turned_on
            .keys()
            .copied()
            .filter(|index| !interfaces.contains_key(index))
            .collect();
        for index in unused {
            self.restore_one(index);
        }
        for (index, name) in interfaces {
            if self.seen.insert(index) && is_wanting(name) {
                self.turn_on(index, name);
            }
        }
    }

    fn turn_on(&mut self, index: u32, name: &str) {
        match ethtool::set(name, AGGREGATION, true) {
            Ok(()) => {
                tracing::info!("gro turned on for {name}");
                self.turned_on.insert(index, name.to_owned());
            }
            Err(error) => tracing::info!(
                "gro stays off on {name} ({error}): bulk transfers in frames of MTU size have half the rate; give ulvs \
                 CAP_NET_ADMIN, or `ethtool -K {name} gro on`"
            ),
        }
    }

    /// Turns it off again where it was turned on.
    pub(super) fn restore(&mut self) {
        for index in self.turned_on.keys().copied().collect::<Vec<u32>>() {
            self.restore_one(index);
        }
    }

    fn restore_one(&mut self, index: u32) {
        let Some(name) = self.turned_on.remove(&index) else {
            return;
        };
        // Gone, or another one has the name now.
        if interface::index(&name).ok() != Some(index) {
            return;
        }
        match ethtool::set(&name, AGGREGATION, false) {
            Ok(()) => tracing::info!("gro turned off again for {name}"),
            Err(error) => tracing::warn!(
                "gro stays on for {name} ({error}): `ethtool -K {name} gro off` turns it off"
            ),
        }
    }

    /// Names of the interfaces where it was turned on.
    pub(super) fn turned_on(&self) -> Vec<String> {
        self.turned_on.values().cloned().collect()
    }

    /// What the control thread must keep to undo what was done.
    pub(super) fn capabilities(&self) -> &'static [Capability] {
        if self.turned_on.is_empty() {
            &[]
        } else {
            &[Capability::CAP_NET_ADMIN]
        }
    }
}

/// Whether an interface is of those meant and has it off.
fn is_wanting(name: &str) -> bool {
    ethtool::driver(name).is_ok_and(|driver| driver == VETH)
        && ethtool::is_on(name, AGGREGATION).is_ok_and(|on| !on)
}
