//! Shadow schedulers as the configuration changes, and what they found, for `ulvs shadow` and `ulvs stats`.

use control::counters::Counters;
use control::shadow::{Report, Scheduler};

use super::control::Control;
use super::settings::Settings;
use crate::error::Result;
use crate::shadow::Shadows;
use crate::worker::Order;

impl Control {
    /// The shadows that these settings wish for, where those that run are others.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(super) fn start_shadows(&self, settings: &Settings) -> Result<Option<Shadows>> {
        let wish = settings.shadow.as_ref();
        let wish = wish.filter(|wish| Some(*wish) != self.settings.shadow.as_ref());
        wish.map(|wish| Shadows::start(wish, &self.shared, self.clock))
            .transpose()
    }

    /// From now on these are told of connections, and those that ran are let go of.
    pub(super) fn put_shadows(&mut self, shadows: Option<Shadows>) {
        for (index, worker) in self.workers.iter().enumerate() {
            let observer = shadows.as_ref().map(|shadows| shadows.observer(index));
            worker.order(Order::Run(Box::new(move |director, _| {
                director.set_observer(observer);
            })));
        }
        tracing::info!(
            "{}",
            match shadows {
                Some(_) => "the shadow schedulers were changed: they begin anew",
                None => "no shadow schedulers any more",
            }
        );
        self.shadows = shadows;
    }

    /// The report for `ulvs shadow`, as JSON; `None` when no shadows are configured.
    pub(super) fn shadow_report(&self) -> Option<String> {
        let report = self.shadows.as_ref()?.report();
        // Strings and numbers alone: that cannot fail.
        serde_json::to_string(&report).ok()
    }

    /// The same for `ulvs stats`, as far as it is counts.
    pub(super) fn count_shadows(&self, counters: &mut Counters) {
        if let Some(Ok(report)) = self.shadows.as_ref().map(|shadows| shadows.report()) {
            count(&report, counters);
        }
    }
}

fn count(report: &Report, counters: &mut Counters) {
    counters.add(None, "shadow", "lost", report.lost);
    counters.add(None, "shadow", "restarts", report.restarts);
    counters.add(None, "shadow", "live", report.live);
    for service in &report.services {
        for row in &service.schedulers {
            let kind = if row.live { "live" } else { &row.scheduler };
            // Words apart would be read as two.
            let words = [service.service.as_str(), kind].map(|name| name.replace(' ', "_"));
            let group = format!("shadow/{}", words.join("/"));
            for (name, value) in numbers(row) {
                counters.add(None, &group, name, value);
            }
        }
    }
}

fn numbers(row: &Scheduler) -> [(&'static str, u64); 8] {
    [
        ("connections", row.connections),
        ("refused", row.refused),
        ("elsewhere", row.elsewhere),
        ("returning", row.returning),
        ("moved", row.moved),
        ("returning_after_change", row.after_change.returning),
        ("moved_after_change", row.after_change.moved),
        ("forced_after_change", row.after_change.forced),
    ]
}

#[cfg(test)]
mod tests {
    use control::shadow::Service;

    use super::*;

    #[test]
    fn names_of_counters_are_single_words() {
        let row = |live, scheduler: &str| Scheduler {
            scheduler: scheduler.to_owned(),
            live,
            connections: 5,
            ..Scheduler::default()
        };
        let report = Report {
            services: vec![Service {
                service: "TCP 10.8.0.1:80".to_owned(),
                schedulers: vec![row(true, "wlc"), row(false, "mh -b mh-port")],
                ..Service::default()
            }],
            ..Report::default()
        };
        let mut counters = Counters::default();
        count(&report, &mut counters);
        let read = Counters::parse(&counters.to_string());
        assert_eq!(read, counters);
        let groups = ["live", "mh_-b_mh-port"].map(|it| format!("shadow/TCP_10.8.0.1:80/{it}"));
        for group in groups {
            let mut found = read.iter().filter(|counter| counter.group == group);
            assert!(
                found.any(|it| it.name == "connections" && it.value == 5),
                "{group}"
            );
        }
    }
}
