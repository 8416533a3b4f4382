//! The `ulvs` binary: one file, many names. Called as `ipvsadm`, `ipvsadm-save` or `ipvsadm-restore` it is the
//! ipvsadm command line; otherwise its first argument says what it does.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// On a real server: take tunnelled packets for VIPs and hand them to the host.
    Decap(DecapArguments),
    /// Show the three forwarding methods in network namespaces of their own.
    Demo,
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// Configuration file (TOML); without one, everything is by default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Control socket that ipvsadm connects to (default: the configuration's, else $ULVS_CONTROL, else
    /// /run/ulvs/control.sock).
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// File that keeps services over a restart (default: the configuration's, else /var/lib/ulvs/state.rules).
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
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

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(arguments) => run(arguments),
        Command::Decap(arguments) => decap(arguments),
        Command::Demo => demo(),
    }
}

fn run(arguments: RunArguments) -> ExitCode {
    runtime::log::start();
    let RunArguments {
        config,
        control,
        state,
    } = arguments;
    match runtime::daemon::run(&runtime::daemon::Options {
        config,
        control,
        state,
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn demo() -> ExitCode {
    match runtime::demo::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn decap(arguments: DecapArguments) -> ExitCode {
    runtime::log::start();
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

/// One sentence to the operator.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("ulvs: {error}");
    ExitCode::FAILURE
}
