//! Real servers that speak HTTP (unmodified nginx) and the clients that ask them (unmodified curl).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::lab::{Host, Lab};
use super::process::{Process, eventually, stderr, stdout};

/// Octets in the file that bulk tests carry: 100 MB.
const BLOB: u64 = 100 * 1024 * 1024;

/// An nginx on one machine. `/` answers the machine's name, `/blob` is 100 MB of noise,
/// `/slow` takes some seconds, and `PUT /upload/NAME` stores what it is sent.
#[derive(Debug)]
pub(crate) struct WebServer {
    process: Process,
    root: PathBuf,
}

impl WebServer {
    /// Starts nginx on every address of `host`, ports 80, 8080 and 10123, and waits until it answers.
    pub(crate) fn start(lab: &Lab, host: &Host) -> Self {
        let directory = lab.directory().join(format!("nginx-{}", host.role()));
        let root = directory.join("www");
        std::fs::create_dir_all(root.join("upload")).expect("the lab's directory can be written");
        for page in ["index.html", "test.html"] {
            std::fs::write(root.join(page), format!("{}\n", host.role()))
                .expect("a page is written");
        }
        std::fs::write(root.join("slow"), "x".repeat(8192)).expect("a page is written");
        std::os::unix::fs::symlink(&blob().0, root.join("blob")).expect("a symlink is made");
        let config = directory.join("nginx.conf");
        std::fs::write(&config, configuration(&directory)).expect("a configuration is written");
        let mut command = host.command("nginx");
        command.arg("-p").arg(&directory).arg("-c").arg(&config);
        command.args(["-e", "error.log"]);
        let process = Process::spawn(command, &directory.join("nginx.log"));
        let server = Self { process, root };
        eventually(
            &format!("nginx on {}", host.role()),
            Duration::from_secs(10),
            || (fetch(host, "http://127.0.0.1/").ok()?.trim() == host.role()).then_some(()),
        );
        server
    }

    /// The SHA-256 of what was uploaded under `name`, where it was.
    pub(crate) fn uploaded(&self, name: &str) -> Option<String> {
        let path = self.root.join("upload").join(name);
        path.exists().then(|| sha256(&path))
    }

    /// Ends the server as a crash does.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }
}

fn configuration(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "daemon off; master_process off; user root; pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_timeout 0; client_max_body_size 0; sendfile on;
  client_header_timeout 1h;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 80; listen [::]:80; listen 8080; listen [::]:8080; listen 10123;
    root {directory}/www;
    location /upload/ {{ dav_methods PUT; }}
    location /slow {{ limit_rate 2048; }}
  }}
}}
"
    )
}

/// The 100 MB file and its SHA-256; made once and kept in cargo's directory for tests.
pub(crate) fn blob() -> &'static (PathBuf, String) {
    static MADE: OnceLock<(PathBuf, String)> = OnceLock::new();
    MADE.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("blob");
        let whole = std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() == BLOB);
        if !whole {
            let partial = path.with_extension(std::process::id().to_string());
            let line = format!(
                "head -c {BLOB} /dev/urandom > {0} && mv {0} {1}",
                partial.display(),
                path.display()
            );
            let status = Command::new("sh").args(["-c", &line]).status();
            assert!(status.is_ok_and(|status| status.success()), "{line}");
        }
        let sum = sha256(&path);
        (path, sum)
    })
}

/// The SHA-256 of a file, in hexadecimal.
fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum")
        .arg(path)
        .output()
        .expect("sha256sum can be started");
    stdout(&output)
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Fetches `url` once with curl on `host`; the body, or curl's sentence.
pub(crate) fn fetch(host: &Host, url: &str) -> Result<String, String> {
    let output = host
        .command("curl")
        .args(["-sS", "--fail", "--max-time", "5", url])
        .output()
        .expect("curl can be started");
    if output.status.success() {
        Ok(stdout(&output))
    } else {
        Err(stderr(&output).trim().to_owned())
    }
}

/// Fetches `url` once from this local port; panics where it is not answered.
pub(crate) fn fetch_from(host: &Host, port: u16, url: &str) {
    let output = host
        .command("curl")
        .args(["-sS", "--fail", "--globoff", "--max-time", "30"])
        .args(["--local-port", &port.to_string(), url])
        .output()
        .expect("curl can be started");
    let said = stderr(&output);
    assert!(output.status.success(), "{url} from port {port}: {said}");
}

/// Fetches `url` `requests` times, a new connection each, one after the other; the bodies in order.
/// Panics where one is not answered.
pub(crate) fn fetch_each(host: &Host, url: &str, requests: usize) -> Vec<String> {
    let output = host
        .command("curl")
        .args([
            "-sS",
            "--fail",
            "--max-time",
            "30",
            "--connect-timeout",
            "5",
        ])
        .arg(format!("{url}?[1-{requests}]"))
        .output()
        .expect("curl can be started");
    let body = stdout(&output);
    let answers: Vec<String> = body.split_whitespace().map(str::to_owned).collect();
    assert!(
        output.status.success() && answers.len() == requests,
        "{requests} requests to {url} from {}: {} answers ({answers:?}), {}: {}",
        host.role(),
        answers.len(),
        output.status,
        stderr(&output)
    );
    answers
}

/// Downloads `/blob` from `base` and gives the SHA-256 of what arrived.
pub(crate) fn download(host: &Host, base: &str) -> String {
    let line = format!("curl -sS --fail --max-time 60 -g '{base}/blob' | sha256sum");
    host.shell(&line)
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Uploads the 100 MB file to `base` under `name`; panics where curl fails.
pub(crate) fn upload(host: &Host, base: &str, name: &str) {
    let file = blob().0.display();
    host.shell(&format!(
        "curl -sS --fail --max-time 60 -g -H Expect: -T {file} '{base}/upload/{name}' -o /dev/null"
    ));
}

/// Uploads the first `octets` of the 100 MB file to `base` under `name`; gives their SHA-256. Panics where curl fails.
pub(crate) fn upload_part(host: &Host, base: &str, name: &str, octets: u64) -> String {
    let part = format!("head -c {octets} {}", blob().0.display());
    host.shell(&format!(
        "{part} | curl -sS --fail --max-time 60 -g -H Expect: -T - '{base}/upload/{name}' -o /dev/null"
    ));
    host.shell(&format!("{part} | sha256sum"))
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// How often each answer was given.
pub(crate) fn count(answers: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.as_str()).or_insert(0) += 1;
    }
    counts
}
