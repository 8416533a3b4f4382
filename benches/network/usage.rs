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
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name may hold blanks and parentheses; user and system time are fields 14 and 15.
        let rest = text.rsplit(')').next().unwrap_or_default();
        let fields = rest.split_whitespace().skip(11).take(2);
        fields
            .filter_map(|word| word.parse::<f64>().ok())
            .sum::<f64>()
    };
    pids.iter().map(one).sum::<f64>() / TICKS
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
