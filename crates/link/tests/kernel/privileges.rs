//! What an ordinary user with CAP_NET_RAW alone may do, and what the refusals say.

use std::net::Ipv6Addr;
use std::process::Command;

use link::af_xdp::{self, Scope};
use link::guard::Guard;
use link::steering::Steering;
use link::sys::multicast::{Membership, solicited_node};
use link::sys::{interface, raw_ip};
use link::{Frame, af_packet, tun};

use crate::namespace::{Namespace, veth};

/// Environment by which this test binary is told that it runs as that user.
const ROLE: &str = "LINK_TEST_PRIVILEGES";

/// Runs a test of this binary in the namespace as an ordinary user with these capabilities.
fn as_user(namespace: &Namespace, role: &str, test: &str, capabilities: &str) {
    // The user need not be able to read the build folder.
    let folder = tempfile::Builder::new()
        .prefix("lk")
        .tempdir()
        .expect("a folder");
    let binary = folder.path().join("kernel");
    std::fs::copy(std::env::current_exe().expect("this test"), &binary).expect("copy");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("permissions");
    let output = Command::new("ip")
        .args([
            "netns",
            "exec",
            &namespace.name,
            "setpriv",
            "--reuid",
            "65534",
        ])
        .args(["--regid", "65534", "--clear-groups", "--no-new-privs"])
        .args([
            format!("--inh-caps=-all{capabilities}"),
            format!("--ambient-caps=-all{capabilities}"),
        ])
        .arg(format!("--bounding-set=-all{capabilities}"))
        .arg(&binary)
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, role)
        .current_dir("/")
        .output()
        .expect("setpriv (util-linux)");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{role}: {text}\n{errors}"
    );
}

fn is(role: &str) -> bool {
    std::env::var(ROLE).is_ok_and(|given| given == role)
}

fn namespaces() -> (Namespace, Namespace) {
    let (left, right) = (Namespace::new("l"), Namespace::new("r"));
    veth((&left, "v0", 1), (&right, "v1", 2));
    (left, right)
}

#[test]
fn net_raw_alone_is_enough_for_frames() {
    let steering = Steering::new(&["10.0.0.100".parse().expect("an address")], 1);
    if is("net_raw") {
        let (mut links, group) = af_packet::open("v0", 2, &steering).expect("open");
        group.steer(&steering).expect("steer");
        let frame = Frame::new(&[0xff; 60], 14);
        assert_eq!(links[0].sender.transmit(&[frame.into()]).sent, 1);
        links[1].receiver.receive(&mut Vec::new()).expect("receive");
        raw_ip::Receiver::open(false, 4).expect("raw IPv4");
        raw_ip::Injector::open(true).expect("raw IPv6");
        let group = solicited_node(Ipv6Addr::LOCALHOST);
        let index = interface::index("v0").expect("an index");
        Membership::join(index, group).expect("join");
        return;
    }
    let (left, _right) = namespaces();
    as_user(
        &left,
        "net_raw",
        "privileges::net_raw_alone_is_enough_for_frames",
        ",+net_raw",
    );
}

#[test]
fn refusals_name_the_capability() {
    if is("none") {
        let steering = Steering::new(&[], 1);
        let error = af_packet::open("v0", 1, &steering)
            .expect_err("no capability")
            .to_string();
        assert_eq!(
            error,
            "cannot open a packet socket on v0: Operation not permitted (os error 1); needs \
             CAP_NET_RAW: run as root, give the container `--cap-add NET_RAW`, or `setcap \
             cap_net_raw+ep` the program"
        );
        let error = tun::open("lktun", 1)
            .expect_err("no capability")
            .to_string();
        assert!(error.contains("needs CAP_NET_ADMIN"), "{error}");
        let error = Guard::attach(&["v0"])
            .expect_err("no capability")
            .to_string();
        let start = "cannot keep the host's own stack from answering for virtual addresses: \
                     neither by TCX (cannot make a BPF map for the guard on v0: Operation not \
                     permitted";
        assert!(error.starts_with(start), "{error}");
        assert!(
            error.contains("nor by nftables (cannot make an nftables table"),
            "{error}"
        );
        return;
    }
    let (left, _right) = namespaces();
    as_user(
        &left,
        "none",
        "privileges::refusals_name_the_capability",
        "",
    );
}

/// A persistent TUN device works without CAP_NET_ADMIN for the user that it belongs to, and for nobody else.
#[test]
fn a_persistent_device_is_its_owners() {
    if is("owner") {
        tun::open("lkmine", 1).expect("this user's");
        let said = |name| tun::open(name, 1).map(drop).expect_err(name).to_string();
        let error = said("lkother");
        assert!(error.contains("it belongs to somebody else"), "{error}");
        let error = said("lknew");
        assert!(error.contains("needs CAP_NET_ADMIN"), "{error}");
        return;
    }
    let namespace = Namespace::new("t");
    for (name, user) in [("lkmine", 65534), ("lkother", 65533)] {
        namespace.ip(&format!("tuntap add {name} mode tun user {user}"));
        namespace.ip(&format!("link set {name} up"));
    }
    // The mode of /dev/net/tun is the machine's affair.
    let test = "privileges::a_persistent_device_is_its_owners";
    as_user(&namespace, "owner", test, ",+dac_override");
}

#[test]
fn tcx_is_taken_where_allowed_else_nftables() {
    // Without CAP_BPF only nftables is left, and it is taken.
    if is("net_admin") {
        let guard = Guard::attach(&["v0"]).expect("attach");
        assert_eq!(guard.method(), link::guard::Method::Nftables);
        return;
    }
    let (left, _right) = namespaces();
    let test = "privileges::tcx_is_taken_where_allowed_else_nftables";
    as_user(&left, "net_admin", test, ",+net_admin");
    let guard = left.enter("attaching", || Guard::attach(&["v0"]).expect("attach"));
    assert_eq!(guard.method(), link::guard::Method::Tcx);
}

#[test]
fn af_xdp_needs_three_capabilities_and_locked_memory() {
    const TEST: &str = "privileges::af_xdp_needs_three_capabilities_and_locked_memory";
    let open = |scope| {
        let guard = Guard::attach(&["v0"]).expect("attach");
        let flows = guard.flows().expect("a map");
        af_xdp::open("v0", 1, &Steering::new(&[], 1), flows, scope)
    };
    if is("all") {
        for scope in [Scope::Automatic, Scope::All] {
            open(scope).expect("open");
        }
        return;
    }
    if is("no_lock") {
        let error = open(Scope::Automatic)
            .expect_err("8 MiB are not enough")
            .to_string();
        assert_eq!(
            error,
            "cannot lock memory for AF_XDP on v0: the limit of locked memory is too low: give this program CAP_IPC_LOCK, \
             or raise the limit (`ulimit -l unlimited`, LimitMEMLOCK=infinity of systemd, `--ulimit memlock=-1` of a \
             container)"
        );
        return;
    }
    if is("no_bpf") {
        let guard = Guard::attach(&["v0"]).expect("attach");
        assert!(guard.flows().is_none());
        let steering = Steering::new(&[], 1);
        let request = link::Request {
            name: "v0",
            workers: 1,
            steering: &steering,
            flows: None,
        };
        let error = (af_xdp::ENTRY.open)(&request)
            .expect_err("no capability")
            .to_string();
        assert!(
            error.contains("give this program CAP_NET_ADMIN and CAP_BPF"),
            "{error}"
        );
        return;
    }
    let (left, _right) = namespaces();
    as_user(&left, "all", TEST, ",+net_raw,+net_admin,+bpf,+ipc_lock");
    as_user(&left, "no_lock", TEST, ",+net_raw,+net_admin,+bpf");
    as_user(&left, "no_bpf", TEST, ",+net_raw,+net_admin");
}
