//! Start, stop, kill, start again, reload: what is kept, and that nothing is left behind.

use std::time::Duration;

use crate::harness::{Director, Host, TwoArm, eventually, fetch, fetch_each, stderr, stdout};

/// What a director could leave behind in its machine's network, in words that can be compared.
fn traces(host: &Host) -> String {
    host.shell(
        "nft list ruleset; ip route; ip -6 route | sed 's/ expires [^ ]*//'; ip rule; ip -o addr \
         | sed 's/ valid_lft.*//'; tc qdisc; ip -d link | grep -o 'promiscuity [0-9]* '; \
         ip maddr | grep -c .",
    )
}

const SERVICES: &str = "ipvsadm -A -t 10.1.0.1:80 -s wrr -p 300
    ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.20:80 -m -w 2 -x 100 -y 50
    ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.30:80 -m -w 1
    ipvsadm -A -u 10.1.0.1:53 -s rr -o
    ipvsadm -a -u 10.1.0.1:53 -r 10.2.0.20:53 -m
    ipvsadm -A -f 7 -s sh
    ipvsadm --set 1000 100 200";

fn everything(director: &Director) -> String {
    let lines = [
        "ipvsadm -Sn",
        "ipvsadm -Ln --thresholds",
        "ipvsadm -L --timeout",
    ];
    lines.map(|line| director.shell(line)).join("\n")
}

#[test]
fn restart_restores_everything_configured() {
    let net = TwoArm::new(2).like_the_tutorials();
    let before = traces(&net.director);
    let mut director = net.start();
    director.type_lines(SERVICES);
    let configured = everything(&director);
    fetch_each(&net.client, "http://10.1.0.1/", 4);

    let status = director.terminate();
    assert!(
        status.success(),
        "SIGTERM is a normal end: {status}\n{}",
        director.log()
    );
    assert_eq!(
        traces(&net.director),
        before,
        "nothing is left after SIGTERM"
    );
    assert!(
        !director.socket().exists(),
        "the socket is gone after SIGTERM"
    );
    assert_kernel_refuses(&net);

    director.restart();
    assert_eq!(everything(&director), configured, "restored after SIGTERM");
    fetch_each(&net.client, "http://10.1.0.1/", 4);

    director.kill();
    assert_eq!(
        traces(&net.director),
        before,
        "nothing is left after kill -9"
    );
    assert_kernel_refuses(&net);

    director.restart();
    assert_eq!(everything(&director), configured, "restored after kill -9");
    fetch_each(&net.client, "http://10.1.0.1/", 4);
}

/// The guard is gone: the kernel, which has the VIP and no listener, refuses again.
fn assert_kernel_refuses(net: &TwoArm) {
    let refused = fetch(&net.client, "http://10.1.0.1/").expect_err("no director, no service");
    assert!(
        refused.contains("(7)"),
        "refused at once by the kernel: {refused}"
    );
}

#[test]
fn owned_vip_leaves_nothing_behind() {
    let net = TwoArm::new(1);
    net.director.forwards();
    let before = traces(&net.director);
    let mut director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:80
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.20:80 -m
        ipvsadm -A -t [fd01::1]:80
        ipvsadm -a -t [fd01::1]:80 -r [fd02::20]:80 -m",
    );
    fetch(&net.client, "http://10.1.0.1/").expect("served");
    director.kill();
    assert_eq!(
        traces(&net.director),
        before,
        "nothing is left after kill -9"
    );
}

#[test]
fn reload_keeps_connections() {
    let net = TwoArm::new(1);
    let director = &mut net.start();
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:80
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.20:80 -m",
    );
    let client = net.client.clone();
    let download = std::thread::spawn(move || fetch(&client, "http://10.1.0.1/slow"));
    eventually("the download is under way", Duration::from_secs(5), || {
        director
            .shell("ipvsadm -Lcn")
            .contains("ESTABLISHED")
            .then_some(())
    });
    director.process().signal("HUP");
    let body = download
        .join()
        .expect("the download ran")
        .expect("it survives the reload");
    assert_eq!(body.len(), 8192);
    fetch(&net.client, "http://10.1.0.1/").expect("served after the reload");

    director.reconfigure(|config| format!("interfacess = []\n{config}"));
    director.process().signal("HUP");
    director.await_log("interfacess");
    fetch(&net.client, "http://10.1.0.1/").expect("a bad configuration changes nothing");
}

#[test]
fn second_instance_is_refused() {
    let net = TwoArm::new(1);
    let director = net.start();
    director.shell("ipvsadm -A -t 10.1.0.1:80");
    let mut second = net.builder().launch();
    let status = second.process().wait(Duration::from_secs(10));
    let log = second.log();
    assert!(
        !status.success(),
        "a second instance on the same socket:\n{log}"
    );
    let socket = director.socket();
    let named = log
        .lines()
        .any(|line| line.contains(&*socket.to_string_lossy()));
    assert!(named, "its sentence names the socket:\n{log}");
    drop(second);
    assert!(
        director.shell("ipvsadm -Ln").contains("10.1.0.1:80"),
        "the first one is unharmed"
    );
}

#[test]
fn commands_say_when_no_director_runs() {
    let net = TwoArm::new(1);
    let mut director = net.start();
    director.terminate();
    let output = director.try_shell("ipvsadm -Ln");
    assert!(!output.status.success(), "{}", stdout(&output));
    let said = stderr(&output);
    assert!(said.contains("control.sock"), "it names the socket: {said}");
}

/// Save and restore through pipes, as `ipvsadm-save | ipvsadm-restore` users do.
#[test]
fn save_and_restore_by_their_own_names() {
    let net = TwoArm::new(2);
    let director = net.start();
    director.type_lines(SERVICES);
    let saved = director.shell("ipvsadm-save -n");
    assert_eq!(saved, director.shell("ipvsadm -Sn"));
    director.shell("ipvsadm-save -n > rules; ipvsadm -C; ipvsadm-restore < rules");
    assert_eq!(
        director.shell("ipvsadm-save -n"),
        saved,
        "the round trip changes nothing"
    );
}
