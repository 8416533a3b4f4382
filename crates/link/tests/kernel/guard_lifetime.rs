//! How long a guard lives: as long as its process, whatever becomes of the interfaces.

use std::io::{BufRead, BufReader, ErrorKind};
use std::process::{Child, Command, Stdio};

use link::guard::{Guard, Method, Rules};

use crate::guard::{METHODS, Topology, VIPS, attach, connect, endpoints, topology};
use crate::namespace::veth;

#[test]
fn a_guard_follows_its_interfaces() {
    for method in METHODS {
        let topology = topology();
        let mut guard = attach(&topology, method);
        // Many, so that making it anew is a long message.
        let services = (80..5080)
            .flat_map(|port| endpoints(&VIPS, 6, port))
            .collect();
        let rules = Rules {
            services,
            ..Rules::default()
        };
        guard.update(&rules).expect("update");
        topology.director.ip("link del d0");
        veth((&topology.client, "c0", 1), (&topology.director, "d0", 2));
        topology.client.ip("addr add 10.0.0.1/24 dev c0");
        topology.director.ip("addr add 10.0.0.2/24 dev d0");
        topology.director.ip("addr add 10.0.0.100/32 dev d0");
        let guard = topology.director.enter("attaching again", move || {
            guard.reattach(&["d0", "d1"]).expect("reattach");
            guard
        });
        let silent = Err(ErrorKind::TimedOut);
        assert_eq!(connect(&topology.client, VIPS[0], 80), silent, "{method}");
        // Twice on one host is no conflict.
        let _second = attach_in_another_process(&topology, method);
        assert_eq!(connect(&topology.client, VIPS[0], 80), silent, "{method}");
        drop(guard);
    }
}

/// Environment by which this test binary is told to hold a guard until it is killed.
const HOLDER: &str = "LINK_TEST_GUARD_HOLDER";

struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().expect("SIGKILL");
        self.0.wait().expect("wait");
    }
}

fn attach_in_another_process(topology: &Topology, method: Method) -> Holder {
    let test = "guard_lifetime::a_guard_ends_with_its_process_however_that_ends";
    let child = Command::new("ip")
        .args(["netns", "exec", &topology.director.name])
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", test, "--nocapture"])
        .env(HOLDER, method.to_string())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Holder(child.expect("start"));
    let output = BufReader::new(child.0.stdout.take().expect("piped"));
    let ready = output
        .lines()
        .any(|line| line.expect("a line").contains("guard is attached"));
    assert!(ready, "the other process attached no guard");
    child
}

#[test]
fn a_guard_ends_with_its_process_however_that_ends() {
    if let Ok(method) = std::env::var(HOLDER) {
        let method = METHODS
            .into_iter()
            .find(|known| known.to_string() == method);
        let mut guard = Guard::attach_by(method.expect("a method"), &["d0"]).expect("attach");
        let rules = Rules {
            services: endpoints(&VIPS, 6, 80),
            ..Rules::default()
        };
        guard.update(&rules).expect("update");
        println!("guard is attached");
        loop {
            std::thread::park();
        }
    }
    let topology = topology();
    for method in METHODS {
        let holder = attach_in_another_process(&topology, method);
        for vip in VIPS {
            let silent = Err(ErrorKind::TimedOut);
            assert_eq!(connect(&topology.client, vip, 80), silent, "{method} {vip}");
        }
        drop(holder);
        for vip in VIPS {
            // The kernel may finish the dead process's cleaning up a moment later.
            let refused = (0..20)
                .any(|_| connect(&topology.client, vip, 80) == Err(ErrorKind::ConnectionRefused));
            assert!(refused, "{method} {vip}: the guard outlived its process");
        }
    }
}
