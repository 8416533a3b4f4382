//! Every baseline keeps the laws of schedulers: what a test of one's own scheduler looks like.

use director::scheduler::laws::{self, Leeway};

#[test]
fn every_baseline_keeps_the_laws() {
    laws::check(baselines::ENTRIES, |_, _, _| Leeway::default());
}

#[test]
fn names_are_short_and_nobody_elses() {
    for (index, entry) in baselines::ENTRIES.iter().enumerate() {
        assert!(entry.name.len() <= 15);
        assert!(director::scheduler::find(entry.name).is_none());
        let others = &baselines::ENTRIES[..index];
        assert!(others.iter().all(|other| other.name != entry.name));
        let found = baselines::find(entry.name).map(|found| found.name);
        assert_eq!(found, Some(entry.name));
    }
    assert_eq!(baselines::find("wlc").map(|found| found.name), Some("wlc"));
    assert!(baselines::find("none").is_none());
}
