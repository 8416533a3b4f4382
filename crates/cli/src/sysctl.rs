//! `ulvs sysctl`: the `net.ipv4.vs.*` settings of a running director, read and set as sysctl(8) does.

use std::io::Write;

use control::netlink::{Errno, Reply, Request, Setting};

use crate::Transport;
use crate::client::Client;

/// What every name begins with.
const PREFIX: &str = "net.ipv4.vs.";

/// Carries out `words`, each NAME or NAME=VALUE (names with or without `net.ipv4.vs.`); without any, tells all
/// settings. Returns the exit code: 0, or 1 when one of them could not be done.
pub fn run(
    words: &[String],
    out: &mut dyn Write,
    err: &mut dyn Write,
    transport: &mut dyn Transport,
) -> i32 {
    let mut client = Client::new(transport);
    let mut code = 0;
    let results = if words.is_empty() {
        vec![list(&mut client, None)]
    } else {
        let carry_out = |word: &String| match word.split_once('=') {
            Some((name, value)) => set(&mut client, name.trim(), value.trim()),
            None => list(&mut client, Some(word.trim())),
        };
        words.iter().map(carry_out).collect()
    };
    for result in results {
        // Whoever closed the output does not want to know.
        let _ = match result {
            Ok(text) => out.write_all(text.as_bytes()),
            Err(sentence) => {
                code = 1;
                writeln!(err, "ulvs: {sentence}")
            }
        };
    }
    code
}

/// All settings, or the one of this name.
fn list(client: &mut Client<'_>, name: Option<&str>) -> Result<String, String> {
    let replies = client.ask(&Request::DumpSettings).map_err(|failure| {
        failure.sentence(|errno| format!("the settings cannot be read: {errno}"))
    })?;
    let wanted = name.map(|name| name.strip_prefix(PREFIX).unwrap_or(name));
    let text: String = replies
        .iter()
        .filter_map(|reply| match reply {
            Reply::Setting(setting) => Some(setting),
            _ => None,
        })
        .filter(|setting| wanted.is_none_or(|wanted| wanted == setting.name))
        .map(line)
        .collect();
    match name {
        Some(name) if text.is_empty() => Err(unknown(name)),
        _ => Ok(text),
    }
}

/// Sets one, and tells what it is now.
fn set(client: &mut Client<'_>, name: &str, value: &str) -> Result<String, String> {
    let setting = Setting {
        name: name.to_owned(),
        value: value.to_owned(),
        note: None,
    };
    let replies = client
        .ask(&Request::SetSetting(setting))
        .map_err(|failure| {
            failure.sentence(|errno| match errno {
                Errno::ENOENT => unknown(name),
                _ => format!("{name} cannot be set to {value:?}: {errno}"),
            })
        })?;
    let mut text = String::new();
    for reply in &replies {
        if let Reply::Setting(setting) = reply {
            text += &line(setting);
        }
    }
    Ok(text)
}

/// A setting as sysctl(8) shows it, and behind it as a comment why it does nothing, where it does not.
fn line(setting: &Setting) -> String {
    let note = setting.note.as_ref();
    let comment = note.map_or_else(String::new, |note| format!("# {note}\n"));
    format!("{PREFIX}{} = {}\n{comment}", setting.name, setting.value)
}

fn unknown(name: &str) -> String {
    format!("there is no setting {name}; `ulvs sysctl -a` lists them all")
}

#[cfg(test)]
mod tests {
    use control::netlink::{Answer, requests, respond};

    use super::*;

    /// A director with two settings, one of them without effect.
    struct Director;

    impl Transport for Director {
        fn exchange(&mut self, request: &[u8]) -> std::io::Result<Vec<Vec<u8>>> {
            let setting = |name: &str, value: &str| Setting {
                name: name.to_owned(),
                value: value.to_owned(),
                note: (name == "conntrack").then(|| "no effect: netfilter".to_owned()),
            };
            let frame = requests(request).next().expect("a request");
            let answer = match frame.request.clone().expect("a readable request") {
                Request::DumpSettings => {
                    let all = [setting("conntrack", "0"), setting("sloppy_tcp", "0")];
                    Ok(Answer::List(all.map(Reply::Setting).to_vec()))
                }
                Request::SetSetting(set) if set.value == "x" => Err(Errno::EINVAL),
                Request::SetSetting(set) => {
                    let name = set.name.strip_prefix(PREFIX).unwrap_or(&set.name);
                    if name == "sloppy" {
                        Err(Errno::ENOENT)
                    } else {
                        Ok(Answer::One(Reply::Setting(setting(name, &set.value))))
                    }
                }
                other => panic!("{other:?}"),
            };
            Ok(respond(&frame, 0, &answer))
        }
    }

    fn said(words: &[&str]) -> (i32, String, String) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&words, &mut out, &mut err, &mut Director);
        let text = |octets| String::from_utf8(octets).unwrap();
        (code, text(out), text(err))
    }

    #[test]
    fn settings_are_read_with_a_word_on_those_that_do_nothing() {
        let (code, out, err) = said(&[]);
        assert_eq!((code, err.as_str()), (0, ""));
        let all = "net.ipv4.vs.conntrack = 0\n# no effect: netfilter\nnet.ipv4.vs.sloppy_tcp = 0\n";
        assert_eq!(out, all);
        assert_eq!(said(&["net.ipv4.vs.conntrack", "sloppy_tcp"]).1, all);
    }

    #[test]
    fn settings_are_set_with_a_word_where_that_does_nothing() {
        let (code, out, _) = said(&["net.ipv4.vs.sloppy_tcp=1", "conntrack = 1"]);
        assert_eq!(code, 0);
        assert_eq!(
            out,
            "net.ipv4.vs.sloppy_tcp = 1\nnet.ipv4.vs.conntrack = 1\n# no effect: netfilter\n"
        );
    }

    #[test]
    fn what_cannot_be_is_said_and_the_rest_done() {
        let (code, out, err) = said(&["sloppy", "sloppy=1", "sloppy_tcp=x", "sloppy_tcp"]);
        assert_eq!((code, out.as_str()), (1, "net.ipv4.vs.sloppy_tcp = 0\n"));
        let unknown = "ulvs: there is no setting sloppy; `ulvs sysctl -a` lists them all\n";
        let invalid = "ulvs: sloppy_tcp cannot be set to \"x\": Invalid argument\n";
        assert_eq!(err, format!("{unknown}{unknown}{invalid}"));
    }
}
