//! Shadow schedulers beside a live one: what they would have done is told, and no packet goes another way.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Director, TwoArm, count, eventually, fetch_each, hold_connections, stderr, stdout,
};

const SERVICE: &str = "ipvsadm -A -t 10.1.0.1:80 -s wlc
    ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.20:80 -m
    ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.30:80 -m";

/// What this command prints. The shadows' thread has the lowest priority: on a busy machine the daemon may have to be asked
/// more than once.
fn ask(director: &Director, line: &str) -> String {
    eventually(line, Duration::from_secs(60), || {
        let output = director.try_shell(line);
        let said = stderr(&output);
        let succeeded = output.status.success();
        assert!(succeeded || said.contains("ask again"), "{line}: {said}");
        succeeded.then(|| stdout(&output))
    })
}

/// The report of `ulvs shadow --json`.
fn report(director: &Director) -> Value {
    serde_json::from_str(&ask(director, "ulvs shadow --json")).expect("the report is JSON")
}

/// What `ulvs shadow --json` says of the only service: its rows by scheduler, and the number of changes.
fn rows(director: &Director) -> (BTreeMap<String, Value>, u64) {
    let report = report(director);
    assert_eq!(report["lost"], 0, "{report}");
    let [service] = &report["services"].as_array().expect("a list")[..] else {
        panic!("one service: {report}");
    };
    assert_eq!(service["service"], "TCP 10.1.0.1:80");
    let rows = service["schedulers"].as_array().expect("a list");
    let name = |row: &Value| match row["live"].as_bool() {
        Some(true) => "live".to_owned(),
        _ => row["scheduler"].as_str().expect("a name").to_owned(),
    };
    let rows = rows.iter().map(|row| (name(row), row.clone())).collect();
    (rows, service["changes"].as_u64().expect("a number"))
}

fn number(row: &Value, name: &str) -> u64 {
    row[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} in {row}"))
}

/// Threads of the director that have this name.
fn threads(director: &mut Director, name: &str) -> usize {
    let tasks = format!("/proc/{}/task", director.process().pid());
    let tasks = std::fs::read_dir(tasks).expect("the daemon runs");
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|found| found.trim() == name).count()
}

#[test]
fn a_shadow_of_the_live_scheduler_agrees_and_another_differs() {
    let net = TwoArm::new(2);
    let director = net
        .builder()
        .config("workers = 1\nshadow = { schedulers = [\"wlc\", \"mh\", \"p2c\", \"ovf\"], sample = 1 }")
        .start();
    director.type_lines(SERVICE);
    let answers = fetch_each(&net.client, "http://10.1.0.1/", 40);
    let went = count(&answers);
    assert_eq!(answers.len(), 40);
    let (before, changes) = rows(&director);
    assert_eq!(number(&before["live"], "connections"), 40);
    assert_eq!(number(&before["wlc"], "elsewhere"), 0, "{before:?}");
    // One client's address: a hash sends all of it to one server, wlc to both in turn.
    assert_eq!(number(&before["mh"], "connections"), 40);
    assert_eq!(number(&before["mh"], "moved"), 0);
    let other = number(&before["mh"], "elsewhere");
    assert!(
        went.values().any(|&of_one| of_one as u64 == 40 - other),
        "{went:?}, {other}"
    );
    // The live one's rows are what the clients saw.
    let mut seen: Vec<u64> = went.values().map(|&of_one| of_one as u64).collect();
    let servers = before["live"]["servers"].as_array().expect("a list");
    let mut told: Vec<u64> = servers.iter().map(|it| number(it, "connections")).collect();
    seen.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, seen);
    // After a change of the real servers too.
    director.shell("ipvsadm -e -t 10.1.0.1:80 -r 10.2.0.20:80 -m -w 3");
    fetch_each(&net.client, "http://10.1.0.1/", 40);
    let (after, changed) = rows(&director);
    assert_eq!(changed, changes + 1);
    assert_eq!(number(&after["live"], "connections"), 80);
    assert_eq!(number(&after["wlc"], "elsewhere"), 0, "{after:?}");
    assert_eq!(number(&after["wlc"]["after_change"], "returning"), 1);
    // For people, and in the counters.
    let table = ask(&director, "ulvs shadow");
    assert!(
        table.contains("wlc (live)") && table.contains("TCP 10.1.0.1:80, "),
        "{table}"
    );
    let shadow = eventually("the shadows' counters", Duration::from_secs(60), || {
        let stats = director.shell("ulvs stats --json");
        let stats: Value = serde_json::from_str(&stats).expect("JSON");
        stats["total"].get("shadow").cloned()
    });
    let counted = &shadow["TCP_10.1.0.1:80"]["mh"];
    assert_eq!(counted["connections"], 80, "{shadow}");
}

/// The daemon's own list is the kernel's, whatever the shadows may be.
#[test]
fn shadows_are_no_schedulers_of_services() {
    let net = TwoArm::new(1);
    let director = net
        .builder()
        .config("shadow = { schedulers = [\"maglev -b maglev-port\"], sample = 2 }")
        .start();
    let refused = director.try_shell("ipvsadm -A -t 10.1.0.1:80 -s maglev");
    assert!(!refused.status.success());
    let report = report(&director);
    assert_eq!(
        (report["sample"].as_u64(), report["services"][0].clone()),
        (Some(2), Value::Null)
    );
}

#[test]
fn without_a_wish_there_is_no_shadow() {
    let net = TwoArm::new(2);
    let mut director = net.start();
    director.type_lines(SERVICE);
    fetch_each(&net.client, "http://10.1.0.1/", 4);
    assert_eq!(threads(&mut director, "shadow"), 0);
    let refused = director.try_shell("ulvs shadow");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("[shadow]"),
        "{said}"
    );
    assert!(!director.shell("ulvs stats --json").contains("shadow"));
}

/// Puts this in the place of the configuration's first line, which is about shadows, and has it read again; waits for
/// as many such reloads in the log.
fn reload(director: &mut Director, shadow: &str, reloads: usize) {
    director.reconfigure(|text| {
        let (_, rest) = text.split_once('\n').expect("lines");
        format!("{shadow}\n{rest}")
    });
    director.process().signal("HUP");
    eventually("the reload", Duration::from_secs(10), || {
        let log = director.log();
        (log.matches("configuration read again").count() == reloads).then_some(())
    });
}

/// By SIGHUP shadows come, begin anew when they are changed, go on when they are not, and go; connections live on.
#[test]
fn a_reload_changes_the_shadows() {
    let net = TwoArm::new(2);
    let mut director = net.start();
    director.reconfigure(|text| format!("# no shadows\n{text}"));
    director.type_lines(SERVICE);
    let _held = hold_connections(&net.lab, &net.client, "10.1.0.1", 80, 2);
    let fetch = || fetch_each(&net.client, "http://10.1.0.1/", 10).len();
    assert_eq!(fetch(), 10);
    let counted = |director: &Director| {
        let (rows, _) = rows(director);
        let numbers = |(name, row): (String, Value)| (name, number(&row, "connections"));
        rows.into_iter().map(numbers).collect::<BTreeMap<_, _>>()
    };
    let expected = |rows: &[(&str, u64)]| {
        let rows = rows.iter().map(|&(name, count)| (name.to_owned(), count));
        rows.collect::<BTreeMap<_, _>>()
    };
    reload(
        &mut director,
        "shadow = { schedulers = [\"mh\"], sample = 1 }",
        1,
    );
    assert_eq!(fetch(), 10);
    assert_eq!(counted(&director), expected(&[("live", 10), ("mh", 10)]));
    // Others beside it: all begin anew.
    let two = "shadow = { schedulers = [\"mh\", \"p2c\"], sample = 1 }";
    reload(&mut director, two, 2);
    assert_eq!(fetch(), 10);
    let after = expected(&[("live", 10), ("mh", 10), ("p2c", 10)]);
    assert_eq!(counted(&director), after);
    // What is not changed goes on, what is wrong is not taken.
    reload(&mut director, two, 3);
    let wrong = "shadow = { schedulers = [\"nosuch\"] }";
    director.reconfigure(|text| format!("{wrong}\n{}", text.split_once('\n').unwrap().1));
    director.process().signal("HUP");
    director.await_log("configuration not taken");
    assert_eq!(counted(&director), after);
    // The sample alone.
    reload(&mut director, &two.replace("1 }", "65536 }"), 4);
    let report = report(&director);
    assert_eq!(report["sample"], 65536);
    eventually("the others end", Duration::from_secs(5), || {
        (threads(&mut director, "shadow") == 1).then_some(())
    });
    // None any more.
    reload(&mut director, "# no shadows", 5);
    assert!(!director.try_shell("ulvs shadow").status.success());
    eventually("the thread ends", Duration::from_secs(5), || {
        (threads(&mut director, "shadow") == 0).then_some(())
    });
    assert_eq!(fetch(), 10);
    let listed = director.shell("ipvsadm -Lcn");
    assert_eq!(listed.matches("ESTABLISHED").count(), 2, "{listed}");
    // The thread ends with the daemon, too.
    reload(&mut director, two, 6);
    assert!(director.terminate().success());
}

#[test]
fn a_wrong_wish_is_one_sentence() {
    for (wish, expected) in [
        ("[\"nosuch\"]", "there is no scheduler \"nosuch\""),
        ("[\"mh -b sh-port\"]", "\"sh-port\" is not a flag of mh"),
        ("[\"rr\", \"rr\"]", "it stands there twice"),
        ("[]\nshadow.sample = 0", "1 to 65536"),
        ("[]\nshadow.often = 1", "often"),
    ] {
        let net = TwoArm::new(1);
        let line = format!("shadow.schedulers = {wish}");
        let mut director = net.builder().config(&line).launch();
        let status = director.process().wait(Duration::from_secs(10));
        assert!(!status.success(), "{wish}");
        let log = director.log();
        assert!(
            log.contains(expected) && log.contains("ulvs.toml"),
            "{wish}: {log}"
        );
    }
}
