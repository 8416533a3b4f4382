//! FTP through NAT with an unmodified server (vsftpd) and client (curl): both sides may open data connections, by the
//! old commands and the extended ones, over IPv4 and IPv6, and several in one session.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{
    Capture, Director, DirectorBuilder, Host, Lab, Process, TwoArm, VIP, bracketed, eventually,
    fetch,
};
use crate::scenarios::guard::WITHOUT_BPF;

/// Octets of the file that is fetched and stored.
const FILE: usize = 3_000_000;

/// A vsftpd for anonymous users on one machine: `file` to fetch, `upload/` to store into.
#[derive(Debug)]
struct FtpServer {
    _process: Process,
    root: PathBuf,
}

impl FtpServer {
    fn start(lab: &Lab, host: &Host) -> Self {
        let directory = lab.directory().join(format!("ftp-{}", host.role()));
        let root = directory.join("root");
        let empty = directory.join("empty");
        for made in [&root.join("upload"), &empty] {
            std::fs::create_dir_all(made).expect("the lab's directory can be written");
        }
        host.shell(&format!("chmod 777 {}/upload", root.display()));
        // The server gives up its rights, and must still reach its files.
        host.shell(&format!("chmod a+x {}", lab.directory().display()));
        std::fs::write(root.join("name"), host.role()).expect("a file is written");
        std::fs::write(root.join("file"), noise()).expect("a file is written");
        let config = directory.join("vsftpd.conf");
        let lines = [
            "listen=NO",
            "listen_ipv6=YES",
            "background=NO",
            "anonymous_enable=YES",
            "no_anon_password=YES",
            "write_enable=YES",
            "anon_upload_enable=YES",
            "anon_world_readable_only=NO",
            "connect_from_port_20=YES",
            "xferlog_enable=NO",
            "seccomp_sandbox=NO",
            &format!("anon_root={}", root.display()),
            &format!("secure_chroot_dir={}", empty.display()),
        ];
        std::fs::write(&config, lines.join("\n") + "\n").expect("a configuration is written");
        let mut command = host.command("vsftpd");
        command.arg(&config);
        let process = Process::spawn(command, &directory.join("vsftpd.log"));
        let server = Self {
            _process: process,
            root,
        };
        eventually("vsftpd answers", Duration::from_secs(10), || {
            (fetch(host, "ftp://127.0.0.1/name").ok()? == host.role()).then_some(())
        });
        server
    }

    fn stored(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.root.join("upload").join(name)).unwrap_or_default()
    }
}

/// What the file holds: no two parts of it are alike.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()
    });
    words.flatten().take(FILE).collect()
}

/// Each way of opening data connections, as options of curl, which shall believe the address in the answer.
const WAYS: [(&str, &str); 4] = [
    ("pasv", "--disable-epsv --no-ftp-skip-pasv-ip"),
    ("epsv", "--no-ftp-skip-pasv-ip"),
    ("port", "-P - --disable-eprt"),
    ("eprt", "-P -"),
];

/// Adds a service with both real servers on each VIP.
fn serve(director: &Director) {
    for (vip, prefix) in VIP.into_iter().zip(["10.2.0.", "fd02::"]) {
        let service = format!("{}:21", bracketed(vip));
        director.shell(&format!("ipvsadm -A -t {service} -s rr"));
        for last in ["20", "30"] {
            let real = bracketed(&format!("{prefix}{last}"));
            director.shell(&format!("ipvsadm -a -t {service} -r {real}:21 -m"));
        }
    }
}

/// Fetches a file three times in one session and stores it in another, each way, over both families. A short file
/// would be too quick for curl where several workers forward: the server's last word may overtake it.
fn sessions(net: &TwoArm, director: &Director) {
    let servers: Vec<FtpServer> = (net.servers.iter())
        .map(|host| FtpServer::start(&net.lab, host))
        .collect();
    let directory = net.lab.directory().join("fetched");
    std::fs::create_dir_all(&directory).expect("the lab's directory can be written");
    let (kept, noise) = (directory.display(), noise());
    for vip in VIP {
        let base = format!("ftp://{}", bracketed(vip));
        for (way, options) in WAYS {
            if vip.contains(':') && matches!(way, "pasv" | "port") {
                continue; // They cannot say an IPv6 address.
            }
            for round in 0..4 {
                let stored = format!("{way}-{round}-{}", vip.len());
                net.client.shell(&format!(
                    "cd {kept} && rm -f one two three && curl -v --stderr {stored}-fetch.log -sS --fail \
                     --max-time 20 -g {options} {base}/file -o one {base}/file -o two {base}/file -o three \
                     && curl -v --stderr {stored}-store.log -sS --fail --max-time 20 -g {options} \
                     -T one {base}/upload/{stored}",
                ));
                for name in ["one", "two", "three"] {
                    let file = std::fs::read(directory.join(name)).unwrap_or_default();
                    assert!(file == noise, "{vip} {way} {round}: {name} is another");
                }
                let copies: Vec<usize> = (servers.iter())
                    .map(|server| server.stored(&stored).len())
                    .collect();
                assert!(
                    copies.contains(&FILE) && copies.contains(&0),
                    "{vip} {way} {round}: stored {copies:?}"
                );
            }
        }
    }
    let listed = director.shell("ipvsadm -Lcn");
    let of_client = |line: &&str| line.contains("10.1.0.2:") && line.contains("10.1.0.1:");
    let (control, data): (Vec<&str>, Vec<&str>) =
        (listed.lines().filter(of_client)).partition(|line| line.contains("10.1.0.1:21 "));
    assert_eq!(control.len(), 32, "control connections:\n{listed}");
    // A port that the client drew twice within two minutes is one entry, or one of each of two workers.
    let data: BTreeSet<String> = data.iter().map(|line| endpoints(line)).collect();
    let active = announced_ports(&directory).len();
    assert!(active > 24, "{active} ports announced by the client");
    assert_eq!(data.len(), 32 + active, "data connections:\n{listed}");
}

/// The ports that the client's IPv4 sessions announced for active data connections, each once.
fn announced_ports(directory: &Path) -> BTreeSet<u16> {
    let entries = std::fs::read_dir(directory).expect("the directory of fetched files");
    let logs = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let texts = logs
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned());
    texts
        .flat_map(|text| text.lines().filter_map(announced).collect::<Vec<u16>>())
        .collect()
}

/// A connection's client and virtual server, as listed.
fn endpoints(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    words.join(" ")
}

/// The port in curl's line about a `PORT` or `EPRT` command of an IPv4 session.
fn announced(line: &str) -> Option<u16> {
    if let Some(numbers) = line.strip_prefix("> PORT ") {
        let mut last = numbers.trim_end().rsplit(',').map(str::parse::<u16>);
        let (low, high) = (last.next()?.ok()?, last.next()?.ok()?);
        return Some(high * 256 + low);
    }
    let (_, port) = line.strip_prefix("> EPRT |1|")?.split_once('|')?;
    port.trim_end().trim_end_matches('|').parse().ok()
}

#[test]
fn ftp_by_nat() {
    let net = TwoArm::new(2);
    let director = net.start();
    serve(&director);
    sessions(&net, &director);
}

#[test]
fn ftp_by_nat_with_three_workers() {
    let net = TwoArm::new(2);
    let director = net.builder().config("workers = 3").start();
    serve(&director);
    sessions(&net, &director);
}

/// The host has the VIP and forwards: its stack must neither refuse data connections to the VIP nor pass on what real
/// servers send.
fn on_a_forwarding_host(launch: impl FnOnce(DirectorBuilder) -> DirectorBuilder) {
    let net = TwoArm::new(2).like_the_tutorials();
    let director = launch(net.builder()).start();
    let untranslated = "src net 10.2.0.0/24 or src net fd02::/64 and not icmp6";
    serve(&director);
    // In a burst of commands the guard comes a moment later.
    std::thread::sleep(Duration::from_secs(1));
    let leaks = Capture::arriving(&net.lab, &net.client, "eth0", untranslated);
    sessions(&net, &director);
    assert_eq!(leaks.stop(), [""; 0], "untranslated frames of real servers");
}

#[test]
fn ftp_on_a_forwarding_host() {
    on_a_forwarding_host(|builder| builder);
}

#[test]
fn ftp_on_a_forwarding_host_with_nftables_and_three_workers() {
    on_a_forwarding_host(|builder| builder.config("workers = 3").running_as(&[WITHOUT_BPF]));
}
