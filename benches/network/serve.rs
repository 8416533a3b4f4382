//! The servers on a real server: a UDP port that nobody reads, TCP bulk in both directions, and a TCP echo.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;

/// Datagrams end here: counted by the kernel, dropped at the full buffer, read by nobody.
pub(crate) const SINK: u16 = 9000;
/// TCP bulk: the client's first octet says which way ([`UP`], [`DOWN`]).
pub(crate) const BULK: u16 = 5001;
/// TCP: every octet comes back.
pub(crate) const ECHO: u16 = 5002;
/// The client sends.
pub(crate) const UP: u8 = b'u';
/// The server sends.
pub(crate) const DOWN: u8 = b'd';
/// Octets written or read at a time.
pub(crate) const BLOCK: usize = 128 * 1024;

/// Serves until killed.
///
/// # Errors
/// A port that is taken.
pub(crate) fn run() -> io::Result<()> {
    // The socket must exist, or the kernel would answer with ICMP.
    let _sink = UdpSocket::bind(("0.0.0.0", SINK))?;
    let bulk_port = TcpListener::bind(("0.0.0.0", BULK))?;
    let echo_port = TcpListener::bind(("0.0.0.0", ECHO))?;
    thread::spawn(move || accept(&bulk_port, bulk));
    accept(&echo_port, echo);
    Ok(())
}

fn accept(listener: &TcpListener, serve: fn(TcpStream) -> io::Result<()>) {
    for stream in listener.incoming().flatten() {
        // A client that has gone ends its thread, which is all there is to do.
        thread::spawn(move || serve(stream));
    }
}

fn bulk(mut stream: TcpStream) -> io::Result<()> {
    let mut which = [0];
    stream.read_exact(&mut which)?;
    let mut block = vec![0; BLOCK];
    if which == [DOWN] {
        loop {
            stream.write_all(&block)?;
        }
    }
    while stream.read(&mut block)? > 0 {}
    Ok(())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut block = [0; 4096];
    loop {
        let length = stream.read(&mut block)?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&block[..length])?;
    }
}
