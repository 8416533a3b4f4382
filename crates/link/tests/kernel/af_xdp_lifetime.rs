//! AF_XDP links under load, on interfaces that come and go, with several workers, and their end.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use link::af_xdp::{self, Scope};
use link::guard::{Guard, Method};
use link::steering::Steering;
use link::{Frame, Outgoing};

use crate::af_packet::{collect, open as open_packet};
use crate::af_xdp::{PORT, SCOPES, datagram, guarded, is_service, open, rules, send};
use crate::guard::{Topology, VIPS, attach, topology};
use crate::namespace::{Namespace, mac};

/// What `ip link` says of an interface.
fn shown(namespace: &Namespace, interface: &str) -> String {
    let output = Command::new("ip")
        .args(["-n", &namespace.name, "-d", "link", "show", interface])
        .output()
        .expect("ip");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_is_lost_in_a_flood_is_counted() {
    for scope in SCOPES {
        what_is_lost_in_a_flood_is_counted_with(scope);
    }
}

fn what_is_lost_in_a_flood_is_counted_with(scope: Scope) {
    let topology = topology();
    let (_guard, mut link) = guarded(&topology, &rules(), scope);
    let client = open_packet(&topology.client, "c0");
    let bytes = datagram(&topology, &mut link);
    let before = link.receiver.statistics();
    let frame = Frame::new(&bytes, 14);
    let batch: Vec<Outgoing<'_>> = (0..1000).map(|_| frame.clone().into()).collect();
    let sent: usize = (0..10).map(|_| client.sender.transmit(&batch).sent).sum();
    let received = collect(&mut *link.receiver, sent, is_service).len();
    let after = link.receiver.statistics();
    let lost = usize::try_from(after.overrun - before.overrun).expect("few");
    let counted = usize::try_from(after.received - before.received).expect("few");
    assert!(
        counted >= received && counted < received + 20,
        "{before:?} {after:?}"
    );
    assert_eq!(received + lost, sent, "{after:?}");
    assert!(lost > 3000, "{lost}");
    // All memory is back: as many arrive at once as before.
    assert_eq!(client.sender.transmit(&batch).sent, 1000);
    assert_eq!(collect(&mut *link.receiver, 1000, is_service).len(), 1000);
}

#[test]
fn an_interface_that_goes_down_comes_back_and_one_that_is_removed_is_an_error() {
    for scope in SCOPES {
        an_interface_that_goes_down_comes_back_and_one_that_is_removed_is_an_error_with(scope);
    }
}

fn an_interface_that_goes_down_comes_back_and_one_that_is_removed_is_an_error_with(scope: Scope) {
    let topology = topology();
    let (_guard, mut link) = guarded(&topology, &rules(), scope);
    let mut client = open_packet(&topology.client, "c0");
    let bytes = datagram(&topology, &mut link);
    let frame = [Outgoing::from(Frame::new(&bytes, 14))];
    topology.director.ip("link set d0 down");
    assert_eq!(collect(&mut *link.receiver, 1, is_service), []);
    assert_eq!(link.receiver.statistics().link_down, 1);
    // What is given before that shows is the kernel's, and leaves when the interface is up again.
    let results = [(); 3].map(|()| link.sender.transmit(&frame));
    assert_eq!(
        results.map(|one| (one.sent, one.down)),
        [(1, 0), (0, 1), (0, 1)]
    );
    topology.director.ip("link set d0 up");
    // The packet socket of the client learnt that its link had no carrier.
    let _ = client.sender.transmit(&frame);
    assert_eq!(client.sender.transmit(&frame).sent, 1);
    assert!(!collect(&mut *link.receiver, 1, is_service).is_empty());
    collect(&mut *client.receiver, usize::MAX, |_| true);
    assert_eq!(link.sender.transmit(&frame).sent, 1);
    assert_eq!(collect(&mut *client.receiver, 3, is_service).len(), 2);

    topology.director.ip("link del d0");
    let error = loop {
        match link.receiver.receive(&mut Vec::new()) {
            Ok(0) => panic!("the link did not notice that its interface is gone"),
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(
        error.starts_with("cannot receive on d0: No such device"),
        "{error}"
    );
    assert_eq!(link.sender.transmit(&frame).down, 1);
}

#[test]
fn a_worker_without_a_queue_has_its_packet_socket() {
    let topology = topology();
    let mut guard = attach(&topology, Method::Tcx);
    guard.update(&rules()).expect("update");
    let mut all = open(&topology.director, "d0", (&guard, 3, Scope::Automatic));
    assert_eq!((all.status.queues, all.links.len()), (1, 3));
    assert_eq!(all.status.to_string(), "generic, copied, 1 queue, UDP");
    // The queue's worker gets what is for services, whosever flow it is.
    send(&topology.client, (VIPS[0], PORT), vec![b"one".to_vec(); 20]);
    assert_eq!(
        collect(&mut *all.links[0].receiver, 20, is_service).len(),
        20
    );
    let mut client = open_packet(&topology.client, "c0");
    let bytes = datagram(&topology, &mut all.links[0]);
    for link in &all.links {
        let frame = Frame::new(&bytes, 14);
        assert_eq!(link.sender.transmit(&[frame.into()]).sent, 1);
        assert_eq!(collect(&mut *client.receiver, 1, is_service).len(), 1);
    }
    all.group.steer(&Steering::new(&[], 1)).expect("steer");
}

#[test]
fn every_queue_has_a_socket() {
    let topology = topology();
    topology.director.ip("link del d0");
    let names = (&topology.client.name, &topology.director.name);
    let made = format!(
        "link add c0 numrxqueues 3 numtxqueues 3 address 02:00:00:00:00:01 type veth peer name d0 numrxqueues 3 \
         numtxqueues 3 address 02:00:00:00:00:02 netns {}",
        names.1
    );
    topology.client.ip(&made);
    for (namespace, name, address) in [
        (&topology.client, "c0", "10.0.0.1/24"),
        (&topology.director, "d0", "10.0.0.2/24"),
    ] {
        namespace.ip(&format!("link set {name} up"));
        namespace.ip(&format!("addr add {address} dev {name}"));
    }
    topology.director.ip("addr add 10.0.0.100/32 dev d0");
    let mut guard = attach(&topology, Method::Tcx);
    guard.update(&rules()).expect("update");
    let mut all = open(&topology.director, "d0", (&guard, 2, Scope::Automatic));
    assert_eq!(all.status.queues, 3);
    // veth receives by the queue that the sender chose by the flow's hash: many flows, all queues.
    for _ in 0..60 {
        send(&topology.client, (VIPS[0], PORT), vec![b"one".to_vec()]);
    }
    let seen = [0, 1].map(|worker| {
        let receiver = &mut *all.links[worker].receiver;
        std::iter::from_fn(|| {
            let mut batch = Vec::new();
            receiver.receive(&mut batch).expect("receive");
            let count = batch.iter().filter(|packet| is_service(packet)).count();
            (!batch.is_empty()).then_some(count)
        })
        .sum::<usize>()
    });
    assert_eq!(seen[0] + seen[1], 60, "{seen:?}");
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[test]
fn an_interface_without_xdp_of_its_own_has_the_generic_one() {
    let topology = topology();
    for line in [
        "link add br0 address 02:00:00:00:00:02 type bridge",
        "link set d0 master br0",
        "addr del 10.0.0.100/32 dev d0",
        "addr add 10.0.0.100/24 dev br0",
    ] {
        topology.director.ip(line);
    }
    let guard = topology.director.enter("attaching", || {
        // On the bridge alone: its port would not let a packet of the services through to it.
        let mut guard = Guard::attach_by(Method::Tcx, &["br0"]).expect("attach");
        guard.update(&rules()).expect("update");
        guard
    });
    // It may be down when the link is opened.
    let mut all = open(&topology.director, "br0", (&guard, 1, Scope::Automatic));
    assert_eq!(all.status.to_string(), "generic, copied, 1 queue, UDP");
    topology.director.ip("link set br0 up");
    let mut link = all.links.pop().expect("one link");
    let mut tap = open_packet(&topology.director, "br0");
    let bytes = datagram(&topology, &mut link);
    assert!(bytes.ends_with(b"a datagram"));
    assert_eq!(collect(&mut *tap.receiver, 1, is_service), []);
    // And out by the bridge.
    let mut client = open_packet(&topology.client, "c0");
    let mut answer = bytes;
    answer[..6].copy_from_slice(&mac(1));
    answer[6..12].copy_from_slice(&mac(2));
    let frame = Frame::new(&answer, 14);
    assert_eq!(link.sender.transmit(&[frame.into()]).sent, 1);
    assert_eq!(
        collect(&mut *client.receiver, 1, is_service)[0].bytes,
        answer
    );
}

#[test]
fn one_program_an_interface() {
    let topology = topology();
    let (guard, link) = guarded(&topology, &rules(), Scope::Automatic);
    assert!(shown(&topology.director, "d0").contains("xdp"));
    let flows = guard.flows().expect("a map").clone();
    let error = topology.director.enter("opening again", move || {
        af_xdp::open("d0", 1, &Steering::new(&[], 0), &flows, Scope::Automatic)
            .expect_err("another program is there")
            .to_string()
    });
    assert_eq!(
        error,
        "cannot attach an XDP program on d0: Device or resource busy (os error 16); d0 is in use by another program: \
         stop that first"
    );
    drop(link);
    assert!(!shown(&topology.director, "d0").contains("xdp"));
}

/// Environment by which this test binary is told to hold a link until it is killed.
const HOLDER: &str = "LINK_TEST_AF_XDP_HOLDER";

#[test]
fn a_program_ends_with_its_process_however_that_ends() {
    if std::env::var_os(HOLDER).is_some() {
        let guard = Guard::attach_by(Method::Tcx, &["d0"]).expect("attach");
        let flows = guard.flows().expect("a map");
        let _links = af_xdp::open("d0", 1, &Steering::new(&[], 0), flows, Scope::Automatic);
        println!("program is attached");
        loop {
            std::thread::park();
        }
    }
    let Topology { director, .. } = &topology();
    let test = "af_xdp_lifetime::a_program_ends_with_its_process_however_that_ends";
    let mut child = Command::new("ip")
        .args(["netns", "exec", &director.name])
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", test, "--nocapture"])
        .env(HOLDER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("start");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let ready = output
        .lines()
        .any(|line| line.expect("a line").contains("is attached"));
    let attached = shown(director, "d0").contains("xdp");
    child.kill().expect("SIGKILL");
    child.wait().expect("wait");
    assert!(ready && attached);
    // The kernel may finish the dead process's cleaning up a moment later.
    let gone = (0..40).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        !shown(director, "d0").contains("xdp")
    });
    assert!(gone, "the program outlived its process");
}
