//! CPU time and received datagrams, as `/proc` counts them.

use crate::lab::Host;

/// Clock ticks a second in `/proc` (`USER_HZ`), fixed on Linux.
const TICKS: f64 = 100.0;

/// Seconds that all processors together have worked since boot (interrupts included; waiting and time taken by the
/// hypervisor not).
pub(crate) fn machine() -> f64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal
    [0, 1, 2, 5, 6]
        .iter()
        .filter_map(|index| fields.get(*index))
        .sum::<f64>()
        / TICKS
}

/// Seconds of CPU that these processes have used, threads included.
pub(crate) fn processes(pids: &[u32]) -> f64 {
    let one = |pid: &u32| {
        // User and system time are fields 14 and 15.
        let text = read(&pid.to_string());
        let times = fields(&text).skip(11).take(2);
        times
            .filter_map(|word| word.parse::<f64>().ok())
            .sum::<f64>()
    };
    pids.iter().map(one).sum::<f64>() / TICKS
}

/// Seconds of CPU that processes outside of this one's process group have used so far, children that have ended included;
/// kernel threads, which work for the load too, are not among them.
pub(crate) fn others() -> f64 {
    let own = group(&read("self")).unwrap_or_default();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let processes = names.filter(|name| name.bytes().all(|octet| octet.is_ascii_digit()));
    let one = |name: String| {
        let text = read(&name);
        let group = group(&text)?;
        // Kernel threads have group 0.
        (group != own && group != "0").then(|| {
            let times = fields(&text).skip(11).take(4);
            times
                .filter_map(|word| word.parse::<f64>().ok())
                .sum::<f64>()
        })
    };
    processes.filter_map(one).sum::<f64>() / TICKS
}

fn read(process: &str) -> String {
    std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default()
}

/// The fields of `/proc/PID/stat` from the third on: the name before them may hold blanks and parentheses.
fn fields(text: &str) -> std::str::SplitWhitespace<'_> {
    text.rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
}

/// The process group, field 5.
fn group(text: &str) -> Option<String> {
    fields(text).nth(2).map(str::to_owned)
}

/// Datagrams that reached a socket on these machines so far: read, or dropped at a full buffer. Those with a wrong
/// checksum or without a socket are not among them.
pub(crate) fn datagrams(hosts: &[Host]) -> f64 {
    hosts
        .iter()
        .map(|host| udp_counters(&host.shell("cat /proc/net/snmp")))
        .sum()
}

fn udp_counters(text: &str) -> f64 {
    let mut lines = text.lines().filter(|line| line.starts_with("Udp: "));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return 0.0;
    };
    let wanted = ["InDatagrams", "RcvbufErrors", "MemErrors"];
    let pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs
        .filter(|(name, _)| wanted.contains(name))
        .filter_map(|(_, value)| value.parse::<f64>().ok())
        .sum()
}
