//! What happens to real servers and directors shows in the numbers, as much as it must.

use lab::results::{SchedulerResults, ServerShare};
use lab::run::{Plan, run};
use lab::scenario::Scenario;

const REPEATS: u32 = 4;

/// Eight servers at 200 connections a second for 10 s, of 20 ms of work each, and what `more` says.
fn all(schedulers: &[&str], more: &str) -> Vec<SchedulerResults> {
    let servers = if more.contains("servers =") {
        ""
    } else {
        "servers = [{ count = 8 }]"
    };
    let kinds = "connections = [{ work = { kind = \"exponential\", mean = 0.02 }, packets = 4 }]";
    let kinds = if more.contains("connections =") {
        ""
    } else {
        kinds
    };
    let text = format!(
        r#"
        name = "events"
        summary = "Something happens"
        duration = 10
        warmup = 1
        schedulers = {schedulers:?}
        arrivals = {{ kind = "poisson", rate = 200.0 }}
        {servers}
        {kinds}
        {more}
        "#
    );
    let scenario: Scenario = toml::from_str(&text).expect("a scenario");
    let plan = Plan {
        seed: 3,
        repeats: REPEATS,
        quick: true,
        threads: 0,
    };
    let mut results = run(&scenario, &plan, &|_| {}).expect("the scenario runs");
    results.remove(0).schedulers
}

fn one(scheduler: &str, more: &str) -> SchedulerResults {
    all(&[scheduler], more).remove(0)
}

fn mean(results: &SchedulerResults, metric: &str) -> f64 {
    let estimate = results.metrics.get(metric);
    estimate
        .unwrap_or_else(|| panic!("{} has no {metric}", results.name))
        .mean
}

fn connections(results: &SchedulerResults) -> Vec<f64> {
    let of = |share: &ServerShare| share.connections;
    results.per_server.iter().map(of).collect()
}

/// Connections that stay open for a long time.
const LONG: &str = r#"connections = [{
    work = { kind = "deterministic", mean = 0.001 },
    linger = { kind = "deterministic", mean = 4.0 },
    packets = 20,
}]"#;

#[test]
fn nothing_breaks_where_nothing_happens() {
    for results in all(&[], "") {
        assert_eq!(mean(&results, "broken"), 0.0, "{}", results.name);
        assert!(!results.metrics.contains_key("remapped"));
        let counted = mean(&results, "connections");
        let refused = mean(&results, "refused");
        assert!(
            (counted / (1.0 - refused) - 1800.0).abs() < 100.0,
            "{}: {counted}",
            results.name
        );
        let shares: f64 = connections(&results).iter().sum();
        assert!((shares - counted).abs() < 1e-6);
        let packets: f64 = results.per_server.iter().map(|share| share.packets).sum();
        // SYN, ACK, four packets, FIN.
        assert!((packets - 7.0 * counted).abs() < 1e-6, "{}", results.name);
    }
}

#[test]
fn a_removal_moves_its_own_flows_at_least() {
    let [rr, maglev, mh] = &all(
        &["rr", "maglev", "mh"],
        r#"events = [{ action = "remove", at = 5.0, count = 2 }]"#,
    )[..] else {
        panic!("three schedulers");
    };
    // Of about 1000 clients of the time before, a quarter were theirs.
    let flows = 1000.0;
    for results in [rr, maglev, mh] {
        let least = results.metrics["remapped_least"];
        assert!(
            (least.mean - flows / 4.0).abs() < 40.0,
            "{}: {least:?}",
            results.name
        );
        assert!(results.metrics["remapped"].mean >= least.mean);
    }
    assert!(
        mean(rr, "remapped") > 0.8 * flows,
        "rr forgets who was where"
    );
    assert!(mean(maglev, "remapped") < 1.2 * mean(maglev, "remapped_least"));
    assert!(mean(mh, "remapped") < 1.5 * mean(mh, "remapped_least"));
}

#[test]
fn an_addition_and_a_weight_have_to_take_their_share() {
    let added = one(
        "maglev",
        r#"events = [{ action = "add", at = 5.0, count = 8 }]"#,
    );
    let least = mean(&added, "remapped_least");
    assert!((least - 500.0).abs() < 40.0, "half of the flows: {least}");
    let moved = mean(&added, "remapped");
    assert!((least * 0.9..least * 1.3).contains(&moved), "{moved}");
    let weight = r#"events = [{ action = "weight", at = 5.0, server = 1, weight = 8 }]"#;
    // From 1/8 to 8/15 of all.
    let heavier = mean(&one("maglev", weight), "remapped_least");
    assert!(
        (heavier - 1000.0 * (8.0 / 15.0 - 0.125)).abs() < 40.0,
        "{heavier}"
    );
}

#[test]
fn a_server_of_weight_0_gets_nothing_new() {
    let drain = r#"events = [{ action = "weight", at = 0.5, server = 3, weight = 0 }]"#;
    let results = one("wlc", drain);
    let shares = connections(&results);
    assert_eq!(shares[2], 0.0);
    assert!(
        shares
            .iter()
            .enumerate()
            .all(|(server, &share)| server == 2 || share > 200.0)
    );
    assert_eq!(mean(&results, "broken"), 0.0);
    // Evenness is of those that have weight.
    assert!(mean(&results, "connections_cv") < 0.05);
}

#[test]
fn a_deleted_servers_connections_break_and_a_drained_ones_do_not() {
    let gone = format!("{LONG}\nevents = [{{ action = \"remove\", at = 6.0, count = 1 }}]");
    // 200 a second that live for 4 s on eight servers.
    let broken = mean(&one("rr", &gone), "broken");
    assert!((broken - 100.0).abs() < 10.0, "{broken}");
    let drained =
        format!("{LONG}\nevents = [{{ action = \"scale\", at = 2.0, to = 7, every = 5.0 }}]");
    assert_eq!(mean(&one("rr", &drained), "broken"), 0.0);
    // A flap that no packet falls into is none.
    let flap =
        format!("{LONG}\nevents = [{{ action = \"flap\", at = 6.0, server = 8, down = 0.05 }}]");
    let broken = mean(&one("rr", &flap), "broken");
    assert!((25.0 - 12.0..25.0 + 12.0).contains(&broken), "{broken}");
}

#[test]
fn a_restart_breaks_what_the_scheduler_cannot_find_again() {
    let more = format!("{LONG}\nevents = [{{ action = \"restart\", at = 6.0 }}]");
    let [rr, sh, maglev] = &all(&["rr", "sh", "maglev"], &more)[..] else {
        panic!("three schedulers");
    };
    let live = 800.0;
    assert!(
        (mean(rr, "broken") - live * 7.0 / 8.0).abs() < 50.0,
        "{}",
        mean(rr, "broken")
    );
    assert_eq!((mean(sh, "broken"), mean(maglev, "broken")), (0.0, 0.0));
}

#[test]
fn a_restart_without_sloppy_tcp_breaks_every_connection() {
    let more = format!(
        "{LONG}\nevents = [{{ action = \"restart\", at = 6.0 }}]\ndirectors = {{ sloppy_tcp = false }}"
    );
    let live = 800.0;
    for (name, found) in ["rr", "sh", "maglev"]
        .iter()
        .zip(all(&["rr", "sh", "maglev"], &more))
    {
        let broken = mean(&found, "broken");
        assert!((broken - live).abs() < 60.0, "{name}: {broken}");
    }
}

#[test]
fn a_directors_death_moves_its_own_flows() {
    let more = |shared| {
        format!(
            "{LONG}\ndirectors = {{ count = 4, shared = {shared} }}
            events = [{{ action = \"director-dies\", at = 6.0, director = 2 }}]"
        )
    };
    let [random, sh] = &all(&["random", "sh"], &more(false))[..] else {
        panic!("two schedulers");
    };
    // A quarter of 800, and one in eight comes to the same server again.
    let broken = mean(random, "broken");
    assert!((broken - 200.0 * 7.0 / 8.0).abs() < 25.0, "{broken}");
    assert_eq!(mean(sh, "broken"), 0.0);
    assert_eq!(mean(sh, "disagreement"), 0.0);
    let differ = mean(random, "disagreement");
    assert!((differ - 7.0 / 8.0).abs() < 0.03, "{differ}");
    let shared = one("random", &more(true));
    assert_eq!(mean(&shared, "broken"), 0.0);
    assert!(!shared.metrics.contains_key("disagreement"));
}

#[test]
fn directors_on_their_own_crowd_together() {
    let alone = r#"directors = { count = 8 }"#;
    let shared = r#"directors = { count = 8, shared = true }"#;
    let (alone, shared) = (one("lc", alone), one("lc", shared));
    let key = "sojourn_mean";
    assert!(
        mean(&alone, key) > 1.1 * mean(&shared, key),
        "{} {}",
        mean(&alone, key),
        mean(&shared, key)
    );
}

#[test]
fn churn_loses_what_the_servers_had() {
    let more = r#"servers = [{ count = 8, churn = { mtbf = 2.0, mttr = 1.0 } }]"#;
    let results = one("lc", more);
    let broken = mean(&results, "broken");
    // About 8 * 9 s / 3 s failures, each with the few connections that the server had.
    assert!((5.0..100.0).contains(&broken), "{broken}");
    assert!(mean(&results, "connections") > 1500.0);
}

#[test]
fn who_looks_at_the_load_avoids_a_brown_out() {
    let slow =
        r#"events = [{ action = "slow", at = 2.0, server = 4, factor = 0.05, lasting = 6.0 }]"#;
    let [rr, lc] = &all(&["rr", "lc"], slow)[..] else {
        panic!("two schedulers");
    };
    assert!(mean(rr, "sojourn_p99") > 5.0 * mean(lc, "sojourn_p99"));
    assert!(connections(lc)[3] < 0.7 * connections(rr)[3]);
}

/// A short and mild one within a long and deep one changes nothing: neither its beginning nor its end.
#[test]
fn the_slowest_of_brown_outs_at_a_time_holds_to_its_end() {
    let deep = r#"{ action = "slow", at = 2.0, server = 4, factor = 0.05, lasting = 6.0 }"#;
    let mild = r#"{ action = "slow", at = 3.0, server = 4, factor = 0.5, lasting = 1.0 }"#;
    let one_only = one("rr", &format!("events = [{deep}]"));
    let both = one("rr", &format!("events = [{deep}, {mild}]"));
    for metric in ["sojourn_p50", "sojourn_p99", "sojourn_mean"] {
        let (expected, found) = (mean(&one_only, metric), mean(&both, metric));
        assert!(
            (found / expected - 1.0).abs() < 1e-3,
            "{metric}: {found} instead of {expected}"
        );
    }
}

#[test]
fn an_update_comes_to_every_server_in_turn() {
    let more = r#"events = [{ action = "rolling-update", at = 1.5, drain = 0.5, down = 0.5 }]"#;
    let results = one("wlc", more);
    assert_eq!(mean(&results, "broken"), 0.0);
    assert_eq!(mean(&results, "refused"), 0.0);
    // Each is away for a ninth of the time, and wlc makes some of it up.
    assert!(
        connections(&results)
            .iter()
            .all(|&share| (180.0..260.0).contains(&share))
    );
}

#[test]
fn scaling_adds_servers_and_takes_them_away() {
    let more = r#"events = [
        { action = "scale", at = 2.0, to = 12, every = 0.25 },
        { action = "scale", at = 6.0, to = 8, every = 0.25 },
    ]"#;
    let results = one("rr", more);
    let shares = connections(&results);
    assert_eq!(shares.len(), 12);
    // Of 9 s, the last one is there from 2.75 to 6 s only.
    assert!(
        shares[11] < 0.5 * shares[0] && shares[11] > 30.0,
        "{shares:?}"
    );
    assert_eq!(mean(&results, "broken"), 0.0);
    assert!(mean(&results, "connections_cv") < 0.1);
}

#[test]
fn a_slow_start_is_slow() {
    let more = |slow: f64| {
        format!(
            "servers = [{{ count = 7, weight = 10, slow_start = {slow:?} }}]
            events = [{{ action = \"add\", at = 5.0, count = 1 }}]"
        )
    };
    let (slow, quick) = (one("wrr", &more(5.0)), one("wrr", &more(0.0)));
    let share = connections(&slow)[7] / connections(&quick)[7];
    assert!((0.4..0.7).contains(&share), "{share}");
}

#[test]
fn thresholds_refuse() {
    let more = r#"servers = [{ count = 8, upper_threshold = 40 }]"#;
    let refused = mean(&one("wlc", more), "refused");
    // 320 connections at most, which are counted for two minutes after their end.
    assert!(refused > 0.7, "{refused}");
}

#[test]
fn a_persistent_client_stays() {
    let more = "clients = { kind = \"uniform\", count = 3 }";
    let free = one("rr", more);
    let kept = one("rr", &format!("{more}\nservice = {{ persistent = 60 }}"));
    let served =
        |results: &SchedulerResults| connections(results).iter().filter(|&&it| it > 0.0).count();
    assert_eq!((served(&free), served(&kept)), (8, 3));
}

#[test]
fn a_flood_is_not_counted_but_takes_its_place() {
    let more = "syn_flood = { rate = 500.0, from = 0.0, until = 10.0 }";
    let [wlc, free] = [one("wlc", more), one("wlc", "")];
    let counted = mean(&wlc, "connections") - mean(&free, "connections");
    assert_eq!(counted, 0.0);
    assert!(mean(&wlc, "sojourn_mean") > mean(&free, "sojourn_mean"));
}

/// Those that are deleted from the beginning would fail a few times, and be repaired.
#[test]
fn a_deleted_server_is_not_brought_back_by_its_repair() {
    let more = r#"
        servers = [{ count = 4 }, { count = 4, churn = { mtbf = 1.0, mttr = 0.1 } }]
        events = [{ action = "remove", at = 0.0, count = 4 }]"#;
    let shares = connections(&one("rr", more));
    assert!(shares[..4].iter().all(|&share| share > 400.0), "{shares:?}");
    assert_eq!(shares[4..], [0.0; 4]);
}

/// The end of a brown-out is waited for, and a server comes back meanwhile: the latest clients are gone by then.
#[test]
fn what_happens_after_the_end_is_not_looked_at() {
    let flap = r#"{ action = "flap", at = 9.0, server = 1, down = 5.0 }"#;
    let slow = r#"{ action = "slow", at = 8.0, server = 2, factor = 1e-6, lasting = 8.0 }"#;
    let calm = one("rr", &format!("events = [{flap}]"));
    let late = one("rr", &format!("events = [{flap}, {slow}]"));
    assert!(mean(&late, "sojourn_p99") > 5.0, "it is waited for");
    assert_eq!(mean(&late, "remapped"), mean(&calm, "remapped"));
}

#[test]
fn a_server_that_is_stopped_loses_idle_connections_too() {
    let more = r#"
        connections = [{
            work = { kind = "deterministic", mean = 0.001 },
            linger = { kind = "deterministic", mean = 4.0 },
            packets = 0,
        }]
        events = [{ action = "rolling-update", at = 5.0, drain = 0.0, down = 0.05 }]"#;
    // 200 a second that live for 4 s. Few of them have a packet while their server is away.
    let broken = mean(&one("rr", more), "broken");
    assert!((broken - 800.0).abs() < 60.0, "{broken}");
}

/// All go to one of 64 servers, which needs 400 s for the work of 10 s: the lab waits for half of that. Who was answered
/// then had waited for 117 s in the middle, who was not for more than 190 s, and they are more.
#[test]
fn who_is_never_answered_has_waited_longest() {
    let more = r#"
        servers = [{ count = 64, discipline = "fcfs" }]
        connections = [{ work = { kind = "deterministic", mean = 0.2 } }]"#;
    let found = one("dh", more);
    let half = mean(&found, "sojourn_p50");
    assert!((185.0..200.0).contains(&half), "{half}");
}

/// The raises that were planned for its slow start would give it weight again.
#[test]
fn a_weight_that_is_edited_amid_a_slow_start_stays() {
    let more = r#"
        servers = [{ count = 8, weight = 10, slow_start = 4.0 }]
        events = [
            { action = "flap", at = 1.5, server = 8, down = 0.05 },
            { action = "weight", at = 2.0, server = 8, weight = 0 },
        ]"#;
    // 25 a second until it goes, and next to nothing after.
    let share = connections(&one("wrr", more))[7];
    assert!((8.0..22.0).contains(&share), "{share}");
}

/// One of eight servers would need 500 s for what the others do in half a second: nobody waits so long.
const STUCK: &str = r#"
    servers = [{ count = 7, processors = 1000 }, { count = 1, processors = 1000, speed = 0.001 }]
    connections = [{ work = { kind = "deterministic", mean = 0.5 }, packets = 20 }]"#;

#[test]
fn a_slowdown_is_against_the_servers_own_speed() {
    let more = r#"
        servers = [{ count = 8, processors = 1000, speed = 0.25 }]
        connections = [{ work = { kind = "deterministic", mean = 0.02 } }]"#;
    for slowdown in ["slowdown_p50", "slowdown_p99"] {
        let alone = mean(&one("rr", more), slowdown);
        assert!((0.98..1.02).contains(&alone), "{slowdown}: {alone}");
        // Those that were given up had not had even the time that they take alone.
        let stuck = mean(&one("rr", STUCK), slowdown);
        assert!((0.98..1.02).contains(&stuck), "{slowdown}: {stuck}");
    }
}

/// What breaks is counted by itself, answered or not: it is in no time.
#[test]
fn times_are_of_connections_that_did_not_break() {
    let answered = r#"
        servers = [{ count = 8, processors = 1000 }]
        connections = [{ work = { kind = "deterministic", mean = 1.0 }, packets = 20 }]
        events = [
            { action = "slow", at = 4.0, server = 8, factor = 0.5, lasting = 4.0 },
            { action = "remove", at = 5.0, count = 1 },
        ]"#;
    // Two in a hundred break, and are answered after 1.5 to 2 s; the longest of the others took 1.5 s.
    let found = one("rr", answered);
    let (broken, longest) = (mean(&found, "broken"), mean(&found, "sojourn_p99"));
    assert!((25.0..50.0).contains(&broken), "{broken}");
    assert!((0.98..1.3).contains(&longest), "{longest}");

    // A packet each 25 s: all 100 of the four seconds that are counted find their server gone.
    let found = one(
        "rr",
        &format!("{STUCK}\nevents = [{{ action = \"remove\", at = 5.0, count = 1 }}]"),
    );
    let (broken, longest) = (mean(&found, "broken"), mean(&found, "sojourn_p99"));
    assert!((85.0..115.0).contains(&broken), "{broken}");
    assert!((0.49..0.51).contains(&longest), "{longest}");
}
