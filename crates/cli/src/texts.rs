//! `ulvs proc`: the texts that kernel IPVS has below `/proc/net`, from a running director.

use std::io::Write;

use control::netlink::{Errno, Reply, Request};
use control::proc::TEXTS;

use crate::Transport;
use crate::client::{Client, Failure};

/// Prints the text of this name (`ip_vs`, or with `net/` or `/proc/net/` in front). Returns the exit code.
pub fn run(
    name: &str,
    out: &mut dyn Write,
    err: &mut dyn Write,
    transport: &mut dyn Transport,
) -> i32 {
    let short = name.strip_prefix("/proc/").unwrap_or(name);
    let short = short.strip_prefix("net/").unwrap_or(short);
    let asked = Client::new(transport).ask(&Request::DumpText(short.to_owned()));
    let sentence = match asked {
        Ok(replies) => {
            for reply in &replies {
                if let Reply::Text(piece) = reply
                    && out.write_all(piece).is_err()
                {
                    // Whoever closed the output does not want the rest.
                    break;
                }
            }
            return 0;
        }
        Err(Failure::Refused(Errno::ENOENT)) => {
            format!("there is no text {name}; there are {}", TEXTS.join(", "))
        }
        Err(Failure::Refused(errno)) => format!("{name} cannot be read: {errno}"),
        Err(Failure::Explained(sentence)) => sentence,
        Err(Failure::Unreachable(error)) => error.to_string(),
    };
    let _ = writeln!(err, "ulvs: {sentence}");
    1
}
