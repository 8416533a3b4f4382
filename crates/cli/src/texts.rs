//! `ulvs proc`: the texts that kernel IPVS has below `/proc/net`, from a running director.

use std::io::Write;

use control::netlink::{Errno, Reply, Request};
use control::proc::TEXTS;

use crate::Transport;
use crate::client::Client;

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
        Err(failure) => failure.sentence(|errno| match errno {
            Errno::ENOENT => format!("there is no text {name}; there are {}", TEXTS.join(", ")),
            errno => format!("{name} cannot be read: {errno}"),
        }),
    };
    let _ = writeln!(err, "ulvs: {sentence}");
    1
}

#[cfg(test)]
mod tests {
    use control::netlink::{Answer, requests, respond};

    use super::*;

    /// A director whose one text comes in two pieces.
    struct Director;

    impl Transport for Director {
        fn exchange(&mut self, request: &[u8]) -> std::io::Result<Vec<Vec<u8>>> {
            let frame = requests(request).next().expect("a request");
            let answer = match frame.request.clone() {
                Ok(Request::DumpText(name)) if name == "ip_vs" => {
                    let pieces = ["IP Virtual ", "Server\n"].map(|piece| piece.as_bytes().to_vec());
                    Ok(Answer::List(pieces.map(Reply::Text).to_vec()))
                }
                _ => Err(Errno::ENOENT),
            };
            Ok(respond(&frame, 0, &answer))
        }
    }

    fn said(name: &str) -> (i32, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(name, &mut out, &mut err, &mut Director);
        let text = |octets| String::from_utf8(octets).unwrap();
        (code, text(out), text(err))
    }

    #[test]
    fn a_text_is_printed_by_any_of_its_names() {
        for name in ["ip_vs", "net/ip_vs", "/proc/net/ip_vs"] {
            let text = "IP Virtual Server\n".to_owned();
            assert_eq!(said(name), (0, text, String::new()));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_there_are() {
        let (code, out, err) = said("ip_vs_ext");
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.starts_with("ulvs: there is no text ip_vs_ext; there are ip_vs, ip_vs_app, "));
    }
}
