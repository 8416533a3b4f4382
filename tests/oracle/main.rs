//! `oracle`: asks a real kernel. Random configurations and random packets go through the IPVS of a kernel that runs as
//! a program (User Mode Linux), which records them; the recordings are replayed through ulvs and compared.
//!
//! `scripts/oracle [--seed N] [--cases N] [--focus TOPIC] [--keep DIR] [--guests N]` calls it. The same seed gives the
//! same plans. Inside the kernel the same program is called again: `--guest LIST` for all cases of one kernel,
//! `--record SEED INDEX TOPIC DIR` for one of them.

mod arguments;
mod compose;
mod dialogue;
mod draw;
mod focus;
mod frame;
mod lines;
mod outcome;
mod plan;
mod record;
mod seen;
mod topology;
mod traffic;
mod uml;
mod walk;
mod world;

#[path = "../conformance/case.rs"]
mod case;
#[path = "../conformance/compare.rs"]
mod compare;
#[path = "../conformance/decode.rs"]
mod decode;
#[path = "../conformance/flow.rs"]
mod flow;
#[path = "../conformance/forwarding.rs"]
mod forwarding;
#[path = "../conformance/host.rs"]
mod host;
#[path = "../conformance/mark.rs"]
mod mark;
#[path = "../conformance/mask.rs"]
mod mask;
#[path = "../conformance/recording.rs"]
mod recording;
#[path = "../conformance/replay.rs"]
mod replay;
#[path = "../conformance/sync.rs"]
mod sync;
#[path = "../conformance/system.rs"]
mod system;
#[path = "../conformance/texts.rs"]
mod texts;
#[path = "../conformance/workers.rs"]
mod workers;

use std::process::ExitCode;

use arguments::Face;

fn main() -> ExitCode {
    let done = arguments::parse(std::env::args().skip(1)).and_then(|face| match face {
        Face::Outside(options) => outcome::run(&options),
        Face::Guest(list) => uml::guest(&list).map(|()| true),
        Face::Record(case, folder) => {
            let doc = format!(
                "seed {}, case {}, focus {}",
                case.seed, case.index, case.focus.name
            );
            let plan = walk::plan(case.seed, case.index, case.focus);
            record::record(&plan, &case.name(), &doc, &folder).map(|()| true)
        }
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(sentence) => {
            eprintln!("oracle: {sentence}");
            ExitCode::from(2)
        }
    }
}
