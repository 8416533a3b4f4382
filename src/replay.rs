//! The command line of `ulvs replay`.

use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::process::ExitCode;

use ::replay::host::HostOptions;
use clap::ValueEnum;

/// The arguments of `ulvs replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Capture to replay: classic pcap of Ethernet or IP, as `tcpdump -i eth0 -w FILE` writes it.
    #[arg(value_name = "IN.pcap")]
    capture: PathBuf,
    /// Rules: what `ipvsadm -S -n` printed, a director's state file, or its configuration (FILE.toml).
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// Write the frames that the director sends to this capture file.
    #[arg(short, long, value_name = "OUT.pcap")]
    output: Option<PathBuf>,
    /// Compare with this scheduler, with its flags (`sh -b sh-port`), in every service; repeat for several.
    #[arg(long = "scheduler", value_name = "NAME")]
    schedulers: Vec<String>,
    /// Where the lots of schedulers that draw some (twos) begin: the recorded director's log tells it (default: what the
    /// state file says that is given as rules, else 0).
    #[arg(long, value_name = "NUMBER")]
    lots: Option<u64>,
    /// Print each frame: what it is, its verdict, the reason, what was sent.
    #[arg(long, visible_alias = "verbose", short_alias = 'v')]
    each: bool,
    /// Print the services with their counters and the connections at the end, as ipvsadm does.
    #[arg(long)]
    tables: bool,
    /// Write everything as JSON to this file (- = to standard output); with --each, each frame too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Link address of an interface of the director, where the capture does not show it; repeat for several.
    #[arg(long = "interface-mac", value_name = "MAC", value_parser = mac)]
    macs: Vec<::replay::Mac>,
    /// Name of the interface, for rules of the configuration that go by it.
    #[arg(long, value_name = "NAME", default_value = "eth0")]
    interface: String,
    /// MTU of the interfaces, octets (default: 1500, or what the longest frame needs).
    #[arg(long, value_name = "OCTETS", value_parser = clap::value_parser!(u32).range(68..=262_144))]
    mtu: Option<u32>,
    /// Who answers ARP, ping and refusals for VIPs: the director (owned) or the host (local).
    #[arg(long, value_enum, default_value_t = Vips::Owned)]
    vips: Vips,
}

/// Who answers for VIPs.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Vips {
    /// The director itself.
    Owned,
    /// The host, which has the addresses.
    Local,
}

fn mac(text: &str) -> Result<::replay::Mac, &'static str> {
    let octets: Result<Vec<u8>, _> = text
        .split(':')
        .map(|word| u8::from_str_radix(word, 16))
        .collect();
    let octets = octets
        .ok()
        .and_then(|octets| <[u8; 6]>::try_from(octets).ok());
    octets
        .map(::replay::Mac)
        .ok_or("a link address is written 02:00:00:00:00:01")
}

/// Replays and prints; 0 = all of the capture was replayed.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let options = ::replay::Options {
        capture: arguments.capture,
        rules: arguments.rules,
        output: arguments.output,
        schedulers: arguments.schedulers,
        lots: arguments.lots,
        host: HostOptions {
            macs: arguments.macs,
            interface: arguments.interface,
            mtu: arguments.mtu,
            vips: match arguments.vips {
                Vips::Owned => ::replay::Answer::Owned,
                Vips::Local => ::replay::Answer::Local,
            },
        },
        each: arguments.each,
    };
    let printing = ::replay::Printing {
        json: arguments.json,
        tables: arguments.tables,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let code = ::replay::command(&options, &printing, &mut out, &mut io::stderr().lock());
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}
