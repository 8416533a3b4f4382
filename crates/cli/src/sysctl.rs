//! `ulvs sysctl`: the `net.ipv4.vs.*` settings of a running director, read and set as sysctl(8) does.

use std::io::Write;

use control::netlink::{Errno, Reply, Request, Setting};

use crate::Transport;
use crate::client::{Client, Failure};

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
        sentence(failure, |errno| {
            format!("the settings cannot be read: {errno}")
        })
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
            sentence(failure, |errno| match errno {
                Errno::ENOENT => unknown(name),
                _ => format!("{name} cannot be set to {value:?}: {errno}"),
            })
        })?;
    let mut text = String::new();
    for reply in &replies {
        if let Reply::Setting(setting) = reply {
            text += &line(setting);
            if let Some(note) = &setting.note {
                text += &format!("# {note}\n");
            }
        }
    }
    Ok(text)
}

fn line(setting: &Setting) -> String {
    format!("{PREFIX}{} = {}\n", setting.name, setting.value)
}

fn unknown(name: &str) -> String {
    format!("there is no setting {name}; `ulvs sysctl -a` lists them all")
}

fn sentence(failure: Failure, refused: impl FnOnce(Errno) -> String) -> String {
    match failure {
        Failure::Refused(errno) => refused(errno),
        Failure::Explained(sentence) => sentence,
        Failure::Unreachable(error) => error.to_string(),
    }
}
