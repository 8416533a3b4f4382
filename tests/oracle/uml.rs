//! Kernels that run as programs: started from outside, each with a share of the cases; and the one program inside.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::arguments::{Case, case};

/// The kernel.
const KERNEL: &str = "linux.uml";
/// What a guest says when a case is done, in front of its name.
const DONE: &str = "recorded ";
/// What it says when one cannot be recorded.
const FAILED: &str = "not recorded ";
/// Longest silence of all guests.
const SILENCE: Duration = Duration::from_secs(150);
/// Seconds that one case may take.
const CASE_SECONDS: &str = "90";

/// A guest that ends with its owner.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        // It has powered itself off, unless something went wrong; then both of these say so, and nobody listens.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Records the cases into `folder`, in `count` kernels side by side; `progress` is told of every case, and why it
/// could not be recorded.
///
/// # Errors
/// A sentence when a kernel cannot be started or falls silent.
pub(crate) fn record(
    cases: &[Case],
    count: usize,
    folder: &Path,
    mut progress: impl FnMut(Option<String>),
) -> Result<(), String> {
    let (lines, said) = mpsc::channel();
    let mut guests = Vec::new();
    for place in 0..count.min(cases.len()) {
        let share: Vec<&Case> = cases.iter().skip(place).step_by(count).collect();
        let list = folder.join(format!("guest{place}.list"));
        let text: String = share
            .iter()
            .map(|case| {
                format!(
                    "{} {} {} {}\n",
                    case.seed,
                    case.index,
                    case.focus.name,
                    folder.display()
                )
            })
            .collect();
        std::fs::write(&list, text).map_err(|error| format!("{}: {error}", list.display()))?;
        let mut child = boot(&list, &folder.join(format!("guest{place}.err")))?;
        let output = child
            .stdout
            .take()
            .ok_or("a guest without standard output")?;
        guests.push(Guest(child));
        let lines = lines.clone();
        let log = folder.join(format!("guest{place}.log"));
        std::thread::spawn(move || listen(output, &log, &lines));
    }
    drop(lines);
    loop {
        match said.recv_timeout(SILENCE) {
            Ok(line) if line.starts_with(DONE) => progress(None),
            Ok(line) => progress(Some(line)),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                return Err(format!(
                    "the kernels say nothing any more: see {}/guest*.log",
                    folder.display()
                ));
            }
        }
    }
}

/// Starts a kernel whose root is the host's, and whose only program is ours; complaints of UML itself go to `errors`.
fn boot(list: &Path, errors: &Path) -> Result<Child, String> {
    let init = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/init.sh");
    let own = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    let errors =
        std::fs::File::create(errors).map_err(|error| format!("{}: {error}", errors.display()))?;
    let mut command = Command::new(KERNEL);
    command
        .args([
            "mem=384M",
            "rootfstype=hostfs",
            "rootflags=/",
            "rw",
            "quiet",
            "con=null",
            "con0=fd:0,fd:1",
        ])
        .arg(format!("init={}", init.display()))
        .arg(format!("ORACLE={}", own.display()))
        .arg(format!("ORACLE_LIST={}", list.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors);
    // scripts/oracle sets it where the processor has more state than this kernel can handle.
    if let Ok(preload) = std::env::var("ULVS_UML_PRELOAD") {
        command.env("LD_PRELOAD", preload);
    }
    command.spawn().map_err(|error| {
        format!("{KERNEL} cannot be started (Debian: apt-get install user-mode-linux): {error}")
    })
}

/// Passes on what a guest says of its cases; all of it stays in the log.
fn listen(output: impl std::io::Read, log: &Path, lines: &mpsc::Sender<String>) {
    let mut all = String::new();
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        all += &line;
        all.push('\n');
        if line.starts_with(DONE) || line.starts_with(FAILED) {
            // Nobody listens any more when the run has been given up.
            let _ = lines.send(line);
        }
    }
    if let Err(error) = std::fs::write(log, all) {
        let _ = lines.send(format!("{}: {error}", log.display()));
    }
}

/// Inside: records the cases of a list one after another, each in a process and a network namespace of its own.
///
/// # Errors
/// A sentence when the list cannot be read.
pub(crate) fn guest(list: &PathBuf) -> Result<(), String> {
    let text =
        std::fs::read_to_string(list).map_err(|error| format!("{}: {error}", list.display()))?;
    let own = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let [seed, index, focus, _] = words.as_slice() else {
            return Err(format!("{}: {line:?} is not a case", list.display()));
        };
        let name = case(seed, index, focus)?.name();
        let done = Command::new("timeout")
            .args([CASE_SECONDS, "unshare", "--net", "--"])
            .arg(&own)
            .arg("--record")
            .args(&words)
            .output();
        match done {
            Ok(output) if output.status.success() => println!("{DONE}{name}"),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
                println!("{FAILED}{name}: {} {why}", output.status);
            }
            Err(error) => println!("{FAILED}{name}: {error}"),
        }
    }
    Ok(())
}
