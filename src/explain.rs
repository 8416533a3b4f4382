//! The command line of `ulvs explain`.

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::replay::host::HostOptions;
use ::replay::{About, Question, QuestionError, ReplayError};

/// The arguments of `ulvs explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// tcp, udp or sctp, the client's address and port, and what it wants: tcp 192.0.2.7:1234 10.8.0.1:80.
    #[arg(value_names = ["PROTOCOL", "CLIENT:PORT", "VIP:PORT"], num_args = 0.., required_unless_present = "frame")]
    tuple: Vec<String>,
    /// An Ethernet frame instead: hexadecimal, or a capture and the number of a frame in it (1 where none is given).
    #[arg(long, value_name = "HEX|FILE.pcap[:N]", conflicts_with = "tuple")]
    frame: Option<String>,
    /// Ask a director with these rules on a host that is made up, instead of the running one; see `ulvs replay`.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// The packet's firewall mark (default: what the configuration's rules say).
    #[arg(long, value_name = "NUMBER")]
    mark: Option<u32>,
    /// The interface that the packet arrives on (default: found out).
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

/// Asks and prints; 0 = there was an answer.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let json = arguments.json;
    let rules = arguments.rules.clone();
    let question = match question(arguments) {
        Ok(question) => question,
        Err(sentence) => return fail(&sentence),
    };
    let Some(rules) = rules else {
        let question = question.to_string();
        return crate::asking(|out, err, transport| {
            cli::explain::run(&question, json, out, err, transport)
        });
    };
    match ::replay::explain(&rules, &HostOptions::default(), &question) {
        Ok(answer) => {
            let mut out = BufWriter::new(io::stdout().lock());
            let code = cli::explain::print(&answer, json, &mut out, &mut io::stderr().lock());
            // Whoever closed the output does not want the rest.
            let _ = out.flush();
            ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
        }
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(sentence: &str) -> ExitCode {
    eprintln!("ulvs: {sentence}");
    ExitCode::FAILURE
}

fn question(arguments: Arguments) -> Result<Question, String> {
    let mut question = match &arguments.frame {
        Some(frame) => Question {
            about: About::Frame(octets(frame)?),
            mark: None,
            interface: None,
        },
        None => tuple(&arguments.tuple).map_err(|error| error.to_string())?,
    };
    question.mark = arguments.mark;
    question.interface = arguments.interface;
    let is_too_long = |octets: &Vec<u8>| octets.len() > cli::explain::FRAME_MAX;
    if let About::Frame(octets) = &question.about
        && arguments.rules.is_none()
        && is_too_long(octets)
    {
        return Err(format!(
            "a frame of {} octets is too long to ask the daemon about ({} at most): ask with --rules",
            octets.len(),
            cli::explain::FRAME_MAX
        ));
    }
    Ok(question)
}

/// The client and what it wants, in three words.
fn tuple(words: &[String]) -> Result<Question, QuestionError> {
    let text = words.join(" ");
    if words.len() != 3 {
        return Err(QuestionError::NoQuestion(text));
    }
    text.parse()
}

/// The frame: of a capture where there is such a file, else written in hexadecimal.
fn octets(text: &str) -> Result<Vec<u8>, String> {
    let (path, number) = match text.rsplit_once(':') {
        Some((path, number)) if Path::new(path).exists() => {
            let fault = |_| format!("--frame {text}: {number:?} is not the number of a frame");
            (path, number.parse::<u64>().map_err(fault)?)
        }
        _ => (text, 1),
    };
    let sentence = |error: ReplayError| error.to_string();
    if Path::new(path).exists() || path.ends_with(".pcap") {
        return ::replay::frame_of(Path::new(path), number).map_err(sentence);
    }
    let question: Result<Question, _> = format!("frame {text}").parse();
    match question.map(|question| question.about) {
        Ok(About::Frame(octets)) => Ok(octets),
        _ => Err(format!(
            "--frame {text}: neither a capture file nor octets in hexadecimal"
        )),
    }
}
