//! The `ulvs` binary: one file, many names. Called as `ipvsadm`, `ipvsadm-save` or `ipvsadm-restore` it is the
//! ipvsadm command line; otherwise its first argument says what it does.

mod explain;
mod lab;
mod replay;

use std::io::{self, BufWriter, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

/// The names under which this program is ipvsadm.
const IPVSADM: [&str; 3] = ["ipvsadm", "ipvsadm-save", "ipvsadm-restore"];

/// Userspace Linux Virtual Server: IPVS without the kernel module.
#[derive(Debug, Parser)]
#[command(name = "ulvs", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the director until SIGTERM; SIGHUP reads the configuration again.
    Run(RunArguments),
    /// Configure a running director, as the program of that name does; a link of that name to this file does the same.
    #[command(disable_help_flag = true)]
    Ipvsadm(IpvsadmArguments),
    /// Print the services of a running director as ipvsadm commands.
    #[command(disable_help_flag = true)]
    IpvsadmSave(IpvsadmArguments),
    /// Replace the services of a running director by the commands on standard input.
    #[command(disable_help_flag = true)]
    IpvsadmRestore(IpvsadmArguments),
    /// Read and set the net.ipv4.vs.* settings of a running director, as sysctl(8) does.
    Sysctl(SysctlArguments),
    /// Print what kernel IPVS has below /proc/net: ip_vs, ip_vs_conn, ip_vs_stats and the like.
    Proc(ProcArguments),
    /// Print what a running director has counted: frames, drops by reason, connections, memory.
    Stats(StatsArguments),
    /// Print what shadow schedulers ([shadow] of the configuration) would have done with the connections of a running
    /// director, beside what its own did.
    Shadow(ShadowArguments),
    /// Print what this host offers a director, what is used of it, and what it costs to lack the rest. Changes nothing.
    Doctor(DoctorArguments),
    /// Print what a running director, or one with given rules, would do with a packet, and why. Changes nothing.
    Explain(explain::Arguments),
    /// Put the frames of a capture through the director: what it does with each, and what other schedulers would do.
    Replay(replay::Arguments),
    /// On a real server: take tunnelled packets for VIPs and hand them to the host.
    Decap(DecapArguments),
    /// Compare schedulers in simulations around the real director.
    #[command(subcommand)]
    Lab(lab::Command),
    /// Show the three forwarding methods in network namespaces of their own.
    Demo,
    /// A real server of the demo: answers HTTP requests with its name.
    #[command(hide = true)]
    DemoServer(DemoServerArguments),
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// Configuration file (TOML); without one, everything is by default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Control socket that ipvsadm connects to (default: the configuration's).
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// File that keeps services over a restart (default: the configuration's).
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Look for frames this many microseconds before going to sleep, while they keep coming (default: the
    /// configuration's, which is not at all).
    #[arg(long, value_name = "MICROSECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "50",
          value_parser = clap::value_parser!(u32).range(0..=i64::from(runtime::daemon::BUSY_POLL_MAX)))]
    busy_poll: Option<u32>,
}

#[derive(Debug, clap::Args)]
struct IpvsadmArguments {
    /// Arguments of ipvsadm(8); the environment variable ULVS_CONTROL names the director's control socket.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct SysctlArguments {
    /// List all settings; so does a call without arguments.
    #[arg(short, long, conflicts_with = "settings")]
    all: bool,
    /// A setting to read, or to change at once and for good; names with or without net.ipv4.vs.
    #[arg(value_name = "NAME[=VALUE]")]
    settings: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct ProcArguments {
    /// ip_vs, ip_vs_app, ip_vs_conn, ip_vs_conn_sync, ip_vs_stats or ip_vs_stats_percpu.
    name: String,
}

#[derive(Debug, clap::Args)]
struct StatsArguments {
    /// All counters, of each worker too, as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ShadowArguments {
    /// Everything, of each real server too, as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct DoctorArguments {
    /// Configuration file of the director that is to run here.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Control socket of a director that may run here (default: $ULVS_CONTROL, else the configuration's).
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// An interface to look at; repeat for several (default: those that the director works on).
    #[arg(short, long = "interface", value_name = "NAME")]
    interfaces: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct DecapArguments {
    /// A virtual address that tunnelled packets may be for; repeat for several.
    #[arg(long = "vip", value_name = "ADDRESS", required = true)]
    vips: Vec<IpAddr>,
    /// A UDP port that GUE comes to (the director's --tun-port); repeat for several.
    #[arg(long = "gue-port", value_name = "PORT")]
    gue_ports: Vec<u16>,
}

#[derive(Debug, clap::Args)]
struct DemoServerArguments {
    /// The name it answers with.
    name: String,
    /// Where it listens.
    address: SocketAddr,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    if let Some(arguments) = ipvsadm_arguments(&words) {
        return ipvsadm(arguments);
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return wrong(&error),
    };
    match arguments.command {
        Command::Run(arguments) => run(arguments),
        Command::Sysctl(SysctlArguments { settings, .. }) => {
            asking(|out, err, transport| cli::sysctl::run(&settings, out, err, transport))
        }
        Command::Proc(ProcArguments { name }) => {
            asking(|out, err, transport| cli::texts::run(&name, out, err, transport))
        }
        Command::Stats(StatsArguments { json }) => {
            asking(|out, err, transport| cli::stats::run(json, out, err, transport))
        }
        Command::Shadow(ShadowArguments { json }) => {
            asking(|out, err, transport| cli::shadow::run(json, out, err, transport))
        }
        Command::Doctor(arguments) => doctor(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Replay(arguments) => replay::run(arguments),
        Command::Decap(arguments) => decap(arguments),
        Command::Lab(command) => lab::run(command),
        Command::Demo => demo(),
        // Taken before clap, whose grammar is not ipvsadm's; they stand here for the help.
        Command::Ipvsadm(given) | Command::IpvsadmSave(given) | Command::IpvsadmRestore(given) => {
            ipvsadm(&given.arguments)
        }
        Command::DemoServer(arguments) => demo_server(&arguments),
    }
}

/// A wrong command line is one sentence; help and version are what was asked for.
fn wrong(error: &clap::Error) -> ExitCode {
    let asked = !error.use_stderr();
    if asked || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Whoever closed the output does not want the rest.
        let _ = error.print();
        return ExitCode::from(if asked { 0 } else { 2 });
    }
    let text = error.to_string();
    let lines = text.lines().take_while(|line| !line.is_empty());
    let sentence: Vec<&str> = lines.map(str::trim).collect();
    let sentence = sentence.join(" ");
    let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence);
    eprintln!("ulvs: {sentence} (`--help` says what there is)");
    ExitCode::from(2)
}

/// The words from the name ipvsadm on, if this is ipvsadm: by the name of the file, or by the first argument.
fn ipvsadm_arguments(words: &[String]) -> Option<&[String]> {
    let is_ipvsadm = |word: &String| {
        let name = Path::new(word).file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| IPVSADM.contains(&name))
    };
    match words {
        [program, ..] if is_ipvsadm(program) => Some(words),
        [_, rest @ ..]
            if rest
                .first()
                .is_some_and(|word| IPVSADM.contains(&word.as_str())) =>
        {
            Some(rest)
        }
        _ => None,
    }
}

/// Carries requests to the daemon.
struct Transport(runtime::client::Client);

impl cli::Transport for Transport {
    fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.0.exchange(request)
    }
}

fn ipvsadm(words: &[String]) -> ExitCode {
    let mut transport = Transport(runtime::client::Client::new(runtime::client::path()));
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut input, mut errors) = (io::stdin().lock(), io::stderr().lock());
    let code = cli::ipvsadm::run(words, &mut input, &mut out, &mut errors, &mut transport);
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

/// Runs a command that asks the daemon, and ends with its exit code.
fn asking(
    command: impl FnOnce(&mut dyn io::Write, &mut dyn io::Write, &mut dyn cli::Transport) -> i32,
) -> ExitCode {
    let mut transport = Transport(runtime::client::Client::new(runtime::client::path()));
    let mut out = BufWriter::new(io::stdout().lock());
    let mut errors = io::stderr().lock();
    let code = command(&mut out, &mut errors, &mut transport);
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

fn run(arguments: RunArguments) -> ExitCode {
    let RunArguments {
        config,
        control,
        state,
        busy_poll,
    } = arguments;
    match runtime::daemon::run(&runtime::daemon::Options {
        config,
        control,
        state,
        busy_poll: busy_poll.map(|time| Duration::from_micros(time.into())),
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn demo_server(arguments: &DemoServerArguments) -> ExitCode {
    match runtime::demo::server::serve(&arguments.name, arguments.address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn decap(arguments: DecapArguments) -> ExitCode {
    runtime::log::start(runtime::log::ordinary());
    let options = runtime::decap::Options {
        vips: arguments.vips,
        gue_ports: arguments.gue_ports,
    };
    match runtime::decap::run(&options) {
        Ok(counters) => {
            println!("{counters}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

/// 0 = a director can run here, 1 = it cannot, 2 = the command line is wrong.
fn doctor(arguments: DoctorArguments) -> ExitCode {
    let options = runtime::doctor::Options {
        config: arguments.config,
        control: arguments.control,
        interfaces: arguments.interfaces,
    };
    match runtime::doctor::run(&options) {
        Ok(findings) => {
            // Whoever closed the output does not want the rest.
            let _ = write!(io::stdout(), "{findings}");
            ExitCode::from(u8::from(!findings.can_run()))
        }
        Err(error) => {
            fail(&error);
            ExitCode::from(2)
        }
    }
}

fn demo() -> ExitCode {
    match runtime::demo::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// One sentence to the operator.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("ulvs: {error}");
    ExitCode::FAILURE
}
