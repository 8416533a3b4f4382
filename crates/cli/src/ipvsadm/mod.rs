//! ipvsadm 1.31, its messages, columns and exit codes, against a director behind a [`Transport`].
//!
//! Promises: output byte for byte that of the real program (compared with recordings of it). Never
//! reads a file but the tables of names (`/etc/services`, `/etc/hosts`), and those only without `-n`.

mod connections;
mod failure;
mod help;
mod list;
mod names;
mod order;

use std::io::{BufRead, Write};
use std::path::Path;

use control::netlink::Request;
use control::rules::{Command, Format, Listing, Names, NumericNames, Refusal, parse, words};

pub use names::SystemNames;

use crate::Transport;
use crate::client::Client;
use failure::Failed;

/// Runs a command line and returns its exit code. `argv` begins with the name the program was called
/// by; `ipvsadm-save` and `ipvsadm-restore` behave as the scripts of that name.
pub fn run(
    argv: &[String],
    stdin: &mut dyn BufRead,
    out: &mut dyn Write,
    err: &mut dyn Write,
    transport: &mut dyn Transport,
) -> i32 {
    run_with_names(argv, stdin, out, err, transport, &SystemNames::default())
}

/// As [`run`], with names of hosts and services from `names`.
pub fn run_with_names(
    argv: &[String],
    stdin: &mut dyn BufRead,
    out: &mut dyn Write,
    err: &mut dyn Write,
    transport: &mut dyn Transport,
    names: &dyn Names,
) -> i32 {
    let (program, arguments) = match argv.split_first() {
        Some((program, arguments)) => (program.as_str(), arguments),
        None => ("ipvsadm", argv),
    };
    let client = Client::new(transport);
    let session = &mut Session {
        program,
        out,
        client,
        names,
    };
    let name = Path::new(program)
        .file_name()
        .and_then(|name| name.to_str());
    let result = match name {
        Some("ipvsadm-save") => session.save(arguments),
        Some("ipvsadm-restore") => session.restore_afresh(stdin, err),
        _ if arguments.is_empty() => {
            session.carry_out(&Command::List(Listing::All, Format::default()))
        }
        _ => session.command_line(arguments, Some(&mut Input { stdin, err })),
    };
    // What cannot be written cannot be reported either.
    let _ = session.out.flush();
    match result {
        Ok(()) => 0,
        Err(failed) => {
            failed.print(err);
            failed.code
        }
    }
}

/// Where `-R` reads, and where it reports faults of lines that do not end it.
struct Input<'a> {
    stdin: &'a mut dyn BufRead,
    err: &'a mut dyn Write,
}

/// One run of the program.
struct Session<'a> {
    program: &'a str,
    out: &'a mut dyn Write,
    client: Client<'a>,
    names: &'a dyn Names,
}

impl Session<'_> {
    /// `input` is `None` inside a `-R`, which cannot contain another.
    fn command_line(
        &mut self,
        arguments: &[String],
        input: Option<&mut Input<'_>>,
    ) -> Result<(), Failed> {
        match parse(self.program, arguments, self.names)? {
            Command::Restore => match input {
                Some(input) => self.restore(input),
                None => Err(Refusal::try_help(self.program).into()),
            },
            command => self.carry_out(&command),
        }
    }

    /// Runs each line; the last line's exit code is the whole's. A usage error ends it.
    fn restore(&mut self, input: &mut Input<'_>) -> Result<(), Failed> {
        let mut result = Ok(());
        let mut line = Vec::new();
        while input
            .stdin
            .read_until(b'\n', &mut line)
            .is_ok_and(|length| length > 0)
        {
            let words = words(&String::from_utf8_lossy(&line));
            line.clear();
            if words.is_empty() {
                continue;
            }
            result = self.command_line(&words, None);
            if let Err(failed) = &mut result {
                failed.print(input.err);
                failed.text = None;
                if failed.fatal {
                    break;
                }
            }
        }
        result
    }

    fn carry_out(&mut self, command: &Command) -> Result<(), Failed> {
        match command {
            Command::Help => {
                help::print(self.out, self.program);
                Err(Failed::end())
            }
            Command::Version => {
                help::print_version(self.out);
                Err(Failed::end())
            }
            Command::List(listing, format) => self.list(*listing, *format),
            Command::Save(format) => self.print_rules(*format),
            _ => match command.request() {
                Some(request) => self.tell(command, &request),
                None => Ok(()),
            },
        }
    }

    /// Sends a command that has nothing to show.
    fn tell(&mut self, command: &Command, request: &Request) -> Result<(), Failed> {
        match self.client.ask(request) {
            Ok(_) => Ok(()),
            Err(failure) => Err(Failed::command(command, failure)),
        }
    }

    /// Names, or numbers only.
    fn names(&self, format: Format) -> &dyn Names {
        if format.numeric {
            &NumericNames
        } else {
            self.names
        }
    }

    /// `ipvsadm-save [-n]`.
    fn save(&mut self, arguments: &[String]) -> Result<(), Failed> {
        let mut format = Format::default();
        for argument in arguments {
            match argument.as_str() {
                "-n" => format.numeric = true,
                option if option.starts_with('-') => {
                    let text = format!(
                        "{}: Script to save the IPVS table to stdout.\n   \
                         With the -n option, prints out the table in numeric format.",
                        self.program
                    );
                    return Err(Failed {
                        text: Some(text),
                        code: 1,
                        fatal: true,
                    });
                }
                _ => {}
            }
        }
        self.print_rules(format)
    }

    /// `ipvsadm-restore`: clears the table and restores it from all of `stdin`, whose lines beginning
    /// with `#` are left out.
    fn restore_afresh(
        &mut self,
        stdin: &mut dyn BufRead,
        err: &mut dyn Write,
    ) -> Result<(), Failed> {
        let mut text = Vec::new();
        if let Err(error) = stdin.read_to_end(&mut text) {
            let text = format!("cannot read the rules from standard input: {error}");
            return Err(Failed {
                text: Some(text),
                code: 1,
                fatal: true,
            });
        }
        let kept: Vec<u8> = text
            .split_inclusive(|octet| *octet == b'\n')
            .filter(|line| !line.starts_with(b"#"))
            .flatten()
            .copied()
            .collect();
        if let Err(failed) = self.carry_out(&Command::Flush) {
            failed.print(err);
        }
        self.restore(&mut Input {
            stdin: &mut kept.as_slice(),
            err,
        })
    }
}

#[cfg(test)]
mod tests;
