//! SCTP by NAT and by direct routing. Every kernel carries packets of a raw socket; where it has SCTP itself, a transfer
//! by its sockets too.

use crate::harness::{
    Director, FLAT_VIP, Flat, Host, Lab, TwoArm, VIP, ask_by, bracketed, serve_by,
};

/// A service with one real server for each VIP, and what answers there.
fn exchange(
    director: &Director,
    lab: &Lab,
    (client, server): (&Host, &Host),
    (vips, reals): ([&str; 2], [&str; 2]),
    method: &str,
) {
    let kernel = ask_by(client, &["sctp-kernel"]).concat();
    for (vip, real) in vips.into_iter().zip(reals) {
        let bound = if method == "-m" { real } else { vip };
        let service = format!("{}:9899", bracketed(vip));
        director.shell(&format!("ipvsadm -A --sctp-service {service}"));
        let (from, port) = (bracketed(real), if method == "-m" { 9900 } else { 9899 });
        director.shell(&format!(
            "ipvsadm -a --sctp-service {service} -r {from}:{port} {method}"
        ));
        if kernel == "yes" {
            let _server = serve_by(lab, server, "sctp-echo", bound, port);
            assert_eq!(ask_by(client, &["sctp-kernel", vip, "9899"]), ["yes"]);
        } else {
            eprintln!("no transfer by SCTP sockets: {kernel}");
            // INIT and DATA are answered by INIT ACK and SACK, every one with a right checksum.
            let _server = serve_by(lab, server, "sctp-answer", bound, port);
            assert_eq!(ask_by(client, &["sctp-ask", vip, "9899"]), ["2", "3"]);
        }
        let listed = director.shell("ipvsadm -Lcn");
        assert!(listed.contains("SCTP"), "{listed}");
    }
}

#[test]
fn nat_to_another_port() {
    let net = TwoArm::new(1);
    let director = net.start();
    let ends = (&net.client, &net.servers[0]);
    let places = (VIP, ["10.2.0.20", "fd02::20"]);
    exchange(&director, &net.lab, ends, places, "-m");
}

#[test]
fn direct_routing() {
    let net = Flat::new(1).with_vip_on_servers();
    let director = net.start();
    let ends = (&net.client, &net.servers[0]);
    let places = (FLAT_VIP, ["10.0.0.20", "fd00::20"]);
    exchange(&director, &net.lab, ends, places, "-g");
}
