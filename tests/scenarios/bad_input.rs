//! What a user gets wrong: one sentence that names the thing, a nonzero exit, nothing half-applied.

use std::time::Duration;

use crate::harness::{DirectorBuilder, Flat, Lab, Process, binary, stderr};

/// Starts a director that must refuse, and gives its sentence.
fn refused(builder: DirectorBuilder) -> String {
    let mut director = builder.launch();
    let status = director.process().wait(Duration::from_secs(10));
    let log = director.log();
    assert!(
        status.code().is_some_and(|code| code != 0),
        "it must refuse: {status}\n{log}"
    );
    assert!(!log.contains("panicked"), "it must not panic:\n{log}");
    assert!(!director.socket().exists(), "no socket is left:\n{log}");
    log
}

#[test]
fn unknown_interface() {
    let net = Flat::new(0);
    let said = refused(DirectorBuilder::new(
        &net.lab,
        &net.director,
        &["eth0", "nosuch7"],
    ));
    assert!(said.contains("nosuch7"), "{said}");
}

#[test]
fn misspelt_key() {
    let net = Flat::new(0);
    let said = refused(net.builder().config("worker = 2"));
    assert!(
        said.contains("worker") && said.contains("ulvs.toml"),
        "{said}"
    );
}

#[test]
fn wrong_value() {
    let net = Flat::new(0);
    let said = refused(net.builder().vip("10.0.0.1", "sometimes"));
    assert!(said.contains("sometimes"), "{said}");
    let said = refused(net.builder().vip("10.0.0.999", "owned"));
    assert!(said.contains("10.0.0.999"), "{said}");
}

#[test]
fn vip_that_is_nowhere() {
    let net = Flat::new(0);
    let said = refused(net.builder().vip("203.0.113.9", "auto"));
    assert!(said.contains("203.0.113.9"), "{said}");
}

/// Runs the program, which must end with a nonzero exit status; what it says.
fn refused_command(args: &[&str]) -> String {
    let lab = Lab::new();
    let host = lab.host("director");
    let mut command = host.command(binary().to_str().expect("the binary's path is text"));
    command.args(args);
    let mut process = Process::spawn(command, &lab.directory().join("output"));
    let status = process.wait(Duration::from_secs(10));
    let said = process.output();
    assert!(
        status.code().is_some_and(|code| code != 0),
        "{args:?}: {status}\n{said}"
    );
    assert!(!said.contains("panicked"), "{args:?}: {said}");
    said
}

#[test]
fn missing_configuration_file() {
    let said = refused_command(&["run", "--config", "/nonexistent/ulvs.toml"]);
    assert!(said.contains("/nonexistent/ulvs.toml"), "{said}");
}

#[test]
fn unknown_flags_and_names() {
    let said = refused_command(&["run", "--nosuch"]);
    assert!(said.contains("--nosuch"), "{said}");
    let said = refused_command(&["nosuch"]);
    assert!(said.contains("nosuch"), "{said}");
    let said = refused_command(&["decap", "--vip", "nonsense"]);
    assert!(said.contains("nonsense"), "{said}");
    let said = refused_command(&["decap"]);
    assert!(said.contains("--vip"), "{said}");
}

/// Whoever asks a director that is not there, or may not ask, is told what to do.
#[test]
fn nobody_to_ask() {
    for command in ["shadow", "stats", "explain tcp 192.0.2.7:1234 10.0.0.1:80"] {
        let words: Vec<&str> = command.split(' ').collect();
        let said = refused_command(&words);
        assert!(
            said.contains("is not running on") && said.contains("`ulvs run`"),
            "{command}: {said}"
        );
    }
    let net = Flat::new(0);
    let director = net.start();
    let output =
        director.try_shell("setpriv --reuid 65534 --regid 65534 --clear-groups ulvs shadow");
    let said = stderr(&output);
    assert!(
        !output.status.success() && said.contains("run this as root") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn saved_state_with_a_bad_line() {
    let net = Flat::new(0);
    let mut director = net.start();
    director.shell("ipvsadm -A -t 10.0.0.1:80");
    director.terminate();
    let state = director.directory().join("state.rules");
    let saved = std::fs::read_to_string(&state).expect("the state was saved");
    std::fs::write(&state, format!("{saved}-A -t nonsense\n")).expect("it can be written");
    drop(director);
    let said = refused(net.builder());
    assert!(
        said.contains("state.rules") && said.contains("nonsense"),
        "{said}"
    );
}

#[test]
fn impossible_commands_change_nothing() {
    let net = Flat::new(0);
    let director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.0.0.1:80 -s rr
        ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.20:80 -g",
    );
    let before = director.shell("ipvsadm -Sn");
    for (line, code) in [
        ("ipvsadm -A -t 10.0.0.1:80 -s rr", 255),
        ("ipvsadm -A -t 10.0.0.2:80 -s nosuch", 255),
        ("ipvsadm -A -t 10.0.0.2", 255),
        ("ipvsadm -a -t 10.0.0.9:80 -r 10.0.0.20:80", 255),
        ("ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.20:80", 255),
        ("ipvsadm -d -t 10.0.0.1:80 -r 10.0.0.21:80", 255),
        ("ipvsadm -D -t 10.0.0.3:80", 255),
        ("ipvsadm -A -D", 2),
        ("ipvsadm --nosuch", 255),
    ] {
        let output = director.try_shell(line);
        let said = stderr(&output);
        assert!(
            !output.status.success() && !said.trim().is_empty(),
            "{line}: {said}"
        );
        if code == 2 {
            assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        }
        assert_eq!(
            director.shell("ipvsadm -Sn"),
            before,
            "{line} changes nothing"
        );
    }
}
