//! Command lines of `ipvsadm`, right and wrong ones.

use crate::plan::Step;
use crate::world::World;

const SERVICES: [&str; 8] = [
    "10.8.0.1:80",
    "10.8.0.2:443",
    "10.8.0.1:53",
    "[fd00:8::1]:80",
    "[fd00:8::2]:443",
    "10.8.0.3:0",
    "[fd00:8::1]:0",
    "10.8.0.1",
];
const NOT_SERVICES: [&str; 14] = [
    "10.8.0.1:99999",
    "10.8.0.1:-1",
    "10.8.0:80",
    "fd00:8::1:80",
    "[fd00:8::1]",
    "[fd00:8::1]:http",
    "10.8.0.1:http",
    "localhost:80",
    "0.0.0.0:80",
    "",
    "255.255.255.255:80",
    "224.0.0.1:80",
    ":80",
    "10.8.0.1:",
];
const SERVERS: [&str; 14] = [
    "10.2.0.11:80",
    "10.2.0.12",
    "10.2.0.13:8080",
    "[fd00:2::11]:80",
    "fd00:2::12",
    "[fd00:2::13]",
    "10.3.0.11:80",
    "10.2.0.14:0",
    "127.0.0.1:80",
    "10.8.0.1:80",
    "224.0.0.1:80",
    "0.0.0.0:80",
    "10.2.0.11:99999",
    "255.255.255.255",
];
const SCHEDULERS: [&str; 16] = [
    "rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "lblc", "lblcr", "mh", "fo", "ovf", "foo",
    "", "none",
];
const FLAGS: [&str; 13] = [
    "sh-fallback",
    "sh-port",
    "sh-fallback,sh-port",
    "mh-port",
    "mh-fallback",
    "mh-fallback,mh-port",
    "flag-1",
    "flag-2",
    "flag-3",
    "flag-1,flag-2,flag-3",
    "foo",
    "sh-port,foo",
    "",
];
const LISTS: [&str; 13] = [
    "-L",
    "-l",
    "-Ln",
    "-ln",
    "-L -n",
    "--list --numeric",
    "-Lcn",
    "-L -c -n",
    "-Sn",
    "-S -n",
    "--save -n",
    "-L --timeout",
    "-L --daemon",
];
const LIST_OPTIONS: [&str; 13] = [
    "--stats",
    "--rate",
    "--exact",
    "--thresholds",
    "--persistent-conn",
    "--nosort",
    "--sort",
    "-6",
    "--tun-info",
    "-n",
    "-c",
    "--timeout",
    "--daemon",
];
const WHOLE: [&str; 26] = [
    "-h",
    "--help",
    "-v",
    "--version",
    "foo",
    "-A",
    "-a",
    "-r 10.2.0.11",
    "-X",
    "--foo",
    "-L foo",
    "-t",
    "-A -D",
    "-6",
    "-n",
    "--stats",
    "-AL",
    "-LS",
    "-A -t 10.8.0.1:80 -t 10.8.0.2:80",
    "-A -t 10.8.0.1:80 -u 10.8.0.1:53",
    "-L -C",
    "-w 1",
    "--stop-daemon master",
    "--stop-daemon",
    "--stop-daemon foo",
    "-A -t 10.8.0.1:80 -f 1",
];

/// The words of a text.
fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl World {
    /// The option with its value, so many times in a hundred.
    fn maybe(&mut self, percent: u32, options: &[&str], values: &[&str]) -> Vec<String> {
        if !self.draw.chance(percent) {
            return Vec::new();
        }
        let option = self.draw.of(options).to_owned();
        vec![option, self.draw.of(values).to_owned()]
    }

    fn line_service(&mut self) -> Vec<String> {
        if self.draw.chance(15) {
            let option = self.draw.of(&["-f", "--fwmark-service"]);
            let odd = ["7", "0", "-1", "4294967295", "4294967296", "x"];
            let mark = if self.draw.chance(20) {
                self.draw.of(&odd)
            } else {
                self.draw.of(&["1", "2"])
            };
            let family = if self.draw.chance(40) {
                self.draw.of(&["-6", "--ipv6"])
            } else {
                ""
            };
            return words(&format!("{option} {mark} {family}"));
        }
        let option = self.draw.of(&[
            "-t",
            "-t",
            "-u",
            "--sctp-service",
            "--tcp-service",
            "--udp-service",
        ]);
        let address = if self.draw.chance(10) {
            self.draw.of(&NOT_SERVICES)
        } else {
            self.draw.of(&SERVICES)
        };
        vec![option.to_owned(), address.to_owned()]
    }

    fn line_service_options(&mut self) -> Vec<String> {
        let mut line = self.maybe(70, &["-s", "--scheduler"], &SCHEDULERS);
        if self.draw.chance(30) {
            line.push(self.draw.of(&["-p", "--persistent"]).to_owned());
            let seconds = [
                "1", "10", "300", "3600", "0", "-5", "abc", "2678400", "2678401", "86400",
            ];
            line.extend(
                self.draw
                    .chance(70)
                    .then(|| self.draw.of(&seconds).to_owned()),
            );
        }
        let masks = [
            "255.255.255.0",
            "24",
            "64",
            "128",
            "129",
            "0",
            "255.255.255.255",
            "0.0.0.0",
            "33",
            "abc",
        ];
        line.extend(self.maybe(15, &["-M", "--netmask"], &masks));
        line.extend(
            self.draw
                .chance(8)
                .then(|| self.draw.of(&["-o", "--ops"]).to_owned()),
        );
        line.extend(self.maybe(8, &["--pe"], &["sip", "foo"]));
        line.extend(self.maybe(15, &["-b", "--sched-flags"], &FLAGS));
        line
    }

    fn line_server(&mut self) -> Vec<String> {
        let option = self.draw.of(&["-r", "-r", "--real-server"]).to_owned();
        vec![option, self.draw.of(&SERVERS).to_owned()]
    }

    fn line_server_options(&mut self) -> Vec<String> {
        let mut line = Vec::new();
        let methods = [
            "-g",
            "-m",
            "-i",
            "-g",
            "-m",
            "-i",
            "--gatewaying",
            "--masquerading",
            "--ipip",
        ];
        line.extend(
            self.draw
                .chance(60)
                .then(|| self.draw.of(&methods).to_owned()),
        );
        let weights = [
            "0",
            "1",
            "2",
            "5",
            "100",
            "1",
            "2",
            "65535",
            "65536",
            "2147483647",
            "2147483648",
            "-1",
            "abc",
            "1x",
        ];
        line.extend(self.maybe(60, &["-w", "--weight"], &weights));
        line.extend(self.maybe(
            20,
            &["-x", "--u-threshold"],
            &[
                "0",
                "1",
                "5",
                "100",
                "65535",
                "65536",
                "-1",
                "x",
                "4294967295",
            ],
        ));
        line.extend(self.maybe(
            15,
            &["-y", "--l-threshold"],
            &["0", "1", "5", "100", "-1", "y"],
        ));
        line.extend(self.maybe(20, &["--tun-type"], &["ipip", "gue", "gre", "foo"]));
        line.extend(self.maybe(
            15,
            &["--tun-port"],
            &["6080", "0", "65535", "65536", "-1", "p"],
        ));
        let checksums = ["--tun-csum", "--tun-nocsum", "--tun-remcsum"];
        line.extend(
            self.draw
                .chance(12)
                .then(|| self.draw.of(&checksums).to_owned()),
        );
        line
    }

    fn line_list(&mut self) -> Vec<String> {
        let mut line = words(self.draw.of(&LISTS));
        for option in LIST_OPTIONS {
            line.extend(self.draw.chance(7).then(|| option.to_owned()));
        }
        if self.draw.chance(20) {
            line.extend(self.line_service());
        }
        line
    }

    /// What `-R` reads.
    fn line_rules(&mut self) -> String {
        let mut rules = Vec::new();
        for _ in 0..self.draw.between(1, 5) {
            let line = match self.draw.between(0, 7) {
                0 | 1 => [
                    words("-A"),
                    self.line_service(),
                    self.maybe(70, &["-s"], &SCHEDULERS),
                ]
                .concat(),
                2 | 3 => [
                    words("-a"),
                    self.line_service(),
                    self.line_server(),
                    self.line_server_options(),
                ]
                .concat(),
                4 => words("-C"),
                5 => [words("ipvsadm -A"), self.line_service()].concat(),
                6 => words(self.draw.of(&["junk", "# remark", ""])),
                _ => words("-L -n"),
            };
            rules.push(line.join(" "));
        }
        rules.join("\n") + self.draw.of(&["\n", ""])
    }

    /// One command line.
    pub(crate) fn line(&mut self) {
        let start = |world: &mut Self, names: &[&str]| vec![world.draw.of(names).to_owned()];
        let mut input = None;
        let mut line = match self.draw.between(0, 99) {
            0..22 => [
                start(self, &["-A", "-A", "--add-service"]),
                self.line_service(),
                self.line_service_options(),
            ]
            .concat(),
            22..30 => [
                start(self, &["-E", "--edit-service"]),
                self.line_service(),
                self.line_service_options(),
            ]
            .concat(),
            30..35 => [
                start(self, &["-D", "--delete-service"]),
                self.line_service(),
            ]
            .concat(),
            35..58 => [
                start(self, &["-a", "-a", "--add-server"]),
                self.line_service(),
                self.line_server(),
                self.line_server_options(),
            ]
            .concat(),
            58..68 => [
                start(self, &["-e", "--edit-server"]),
                self.line_service(),
                self.line_server(),
                self.line_server_options(),
            ]
            .concat(),
            68..73 => [
                start(self, &["-d", "--delete-server"]),
                self.line_service(),
                self.line_server(),
            ]
            .concat(),
            73..85 => self.line_about_all(),
            85..89 => {
                input = Some(self.line_rules());
                words("-R")
            }
            _ => self.line_list(),
        };
        if input.is_none() && self.draw.chance(3) {
            line.extend(words(
                self.draw
                    .of(&["-w 1", "extra", "-g", "-n", "-p", "-x 1", "-o"]),
            ));
        }
        if input.is_none() && self.draw.chance(3) && line.len() > 1 {
            line.pop();
        }
        line.insert(0, "ipvsadm".to_owned());
        self.plan.steps.push(Step::Command(line, input));
    }

    /// One command about a service or about all.
    fn line_about_all(&mut self) -> Vec<String> {
        match self.draw.between(0, 11) {
            0..2 => words(self.draw.of(&["-C", "--clear", "-C -t 10.8.0.1:80"])),
            2..5 => {
                let service = if self.draw.chance(50) {
                    self.line_service()
                } else {
                    Vec::new()
                };
                [words(self.draw.of(&["-Z", "--zero"])), service].concat()
            }
            5..9 => {
                let values = ["0", "10", "900", "-1", "x", "2147483", "21474837"];
                let count = self.draw.of(&[3, 3, 3, 2, 1, 4]);
                let numbers = (0..count).map(|_| self.draw.of(&values).to_owned());
                std::iter::once("--set".to_owned()).chain(numbers).collect()
            }
            _ => words(self.draw.of(&WHOLE)),
        }
    }
}
