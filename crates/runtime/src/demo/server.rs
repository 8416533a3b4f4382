//! The demo's real server: answers every HTTP request with its name and the address the request
//! came from. One request a connection; never trusts the client with more than a small buffer or a few
//! seconds.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// What it prints once it listens.
pub const READY: &str = "ready";

/// The most octets of a request that are read.
const REQUEST_MAX: usize = 8192;

/// How long a client may take for each read or write.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves on `address` under `name` until the process ends.
///
/// # Errors
/// Where the address cannot be listened on.
pub fn serve(name: &str, address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("{READY}");
    std::thread::scope(|scope| {
        for stream in listener.incoming().flatten() {
            // One client's failure is no other client's.
            scope.spawn(move || drop(answer(stream, name)));
        }
    });
    Ok(())
}

fn answer(mut stream: TcpStream, name: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let client = stream.peer_addr()?.ip();
    if !request_arrived(&mut stream)? {
        return Ok(());
    }
    let body = format!("{name} {client}\n");
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// Reads until the empty line that ends a request; whether it came.
fn request_arrived(stream: &mut impl Read) -> io::Result<bool> {
    let mut request: Vec<u8> = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|octets| octets == b"\r\n\r\n") {
        let count = stream.read(&mut piece)?;
        if count == 0 || request.len() > REQUEST_MAX {
            return Ok(false);
        }
        request.extend(piece.iter().take(count));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_with_an_empty_line() {
        let arrived = |text: &[u8]| request_arrived(&mut &*text).expect("reading a slice");
        assert!(arrived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(!arrived(b"GET / HTTP/1.1\r\nHost: x\r\n"));
        assert!(!arrived(b""));
        assert!(!arrived(&[b'x'; 4 * REQUEST_MAX]));
    }

    #[test]
    fn answers_with_its_name_and_the_client() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let client = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream
                .write_all(b"GET / HTTP/1.1\r\n\r\n")
                .expect("it reads");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("it answers");
            text
        });
        let (stream, _) = listener.accept().expect("a client");
        answer(stream, "rs1").expect("answered");
        let text = client.join().expect("the client ran");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nrs1 127.0.0.1\n"), "{text}");
    }
}
